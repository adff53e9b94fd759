"""Bad input, row by row: what a person may get wrong in a study file, and the line, column and words that answer.

Each row is a study with a mistake and *all* the problems it must report, so a row fails on a missing problem and on a spurious one.
Every row also checks that nothing in the folder changed. To add a row, edit the lines of `GOOD` or add some after them.
"""
# ruff: noqa: E501 - a study of one long line stays one long line

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from ablate.design import make_arms
from ablate.errors import InputError
from ablate.load import load_study

GOOD = """\
schema: 1
name: tiny
trainer: synthetic
base: {noise_sd: 0.0}
axes:
  num_tokens: [16, 64]
metric: {name: loss, goal: min}
"""
ZOO = {3: "trainer: model_zoo", 4: "base: {encoder: {image_size: 16}}", 7: "metric: {name: val_loss, goal: min}"}


class Row(NamedTuple):
    about: str
    expected: tuple[tuple[str, ...], ...]
    """For each problem `line:column`, then parts of its message."""
    edit: Mapping[int, str] = {}
    """Line of GOOD -> what stands there instead."""
    add: str = ""
    files: Mapping[str, str] = {}


def row(
    about: str, *expected: tuple[str, ...], edit: Mapping[int, str] | None = None, add: str = "", files: Mapping[str, str] | None = None
) -> Row:
    return Row(about, expected, edit or {}, add, files or {})


def text_of(case: Row) -> str:
    lines = dict(enumerate(GOOD.splitlines(), start=1)) | dict(case.edit)
    return "\n".join(lines[number] for number in sorted(lines)) + "\n" + case.add


BOMB = "".join(f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 9 if level else ['x'] * 9)}]\n" for level in range(9))

KEYS = [
    row("unknown key at the top", ("8:1", "unknown key 'seed'", "allowed: schema, name", "did you mean 'seeds'?"), add="seed: 3\n"),
    row(
        "axis instead of axes",
        ("5:1", "unknown key 'axis'", "did you mean 'axes'?"),
        ("1:1", "'axes' is missing"),
        edit={5: "axis:"},
    ),
    row(
        "unknown key in metric",
        ("7:24", "metric: unknown key 'gaol'", "allowed: name, goal", "did you mean 'goal'?"),
        ("7:9", "metric: 'goal' is missing"),
        edit={7: "metric: {  name: loss, gaol: min}"},
    ),
    row("unknown key in resources", ("8:13", "resources: unknown key 'gpu'", "did you mean 'gpus'?"), add="resources: {gpu: 1}\n"),
    row("unknown key in budget", ("8:10", "budget: unknown key 'minutes'", "wall_minutes"), add="budget: {minutes: 1}\n"),
    row(
        "unknown key in a claim",
        ("9:43", "claims[0]: unknown key 'margin'", "within"),
        add="claims:\n  - {axis: num_tokens, expect: decreases, margin: 1}\n",
    ),
    row(
        "unknown key in law",
        ("8:37", "law: unknown key 'sizes'", "did you mean 'size'?"),
        add="law: {hyperparameter: num_tokens,   sizes: x}\n",
    ),
    row(
        "unknown key in an axis",
        ("6:36", "unknown key 'point'", "allowed: when, linspace, points", "did you mean 'points'?"),
        edit={6: "  num_tokens: {linspace: [1, 3],   point: 3}"},
    ),
    row(
        "unknown key in an inline base",
        ("4:8", "base: unknown key 'nose_sd'", "did you mean 'noise_sd'?"),
        edit={4: "base: {nose_sd: 0.0}"},
    ),
    row("duplicate key", ("8:1", "'name' is given twice, first at line 2"), add="name: other\n"),
    row("two duplicate keys", ("8:1", "first at line 2"), ("9:1", "'axes' is given twice, first at line 5"), add="name: other\naxes: {}\n"),
    row("keys that are no text", ("8:1", "keys are text, found 1"), ("9:1", "keys are text, found true"), add="1: x\ntrue: y\n"),
    row("null key", ("8:1", "keys are text, found nothing"), add="~: x\n"),
    row("list as a key", ("8:3", "keys are text, found a list of 2"), add="? [1, 2]\n: x\n"),
    row("merge key", ("4:8", "merge keys (<<) are not read"), edit={4: "base: {<<: {noise_sd: 0.0}}"}),
    row("schema of the future", ("1:9", "schema: found 2 (allowed: 1)"), edit={1: "schema: 2"}),
    row("schema as text", ("1:9", "schema: found text '1' (allowed: 1)"), edit={1: 'schema: "1"'}),
    row(
        "nothing required is there",
        ("1:1", "'schema' is missing"),
        ("1:1", "'trainer' is missing"),
        edit={1: "# one", 3: "# three", 2: "name: a"},
    ),
]

YAML = [
    row("alias bomb", ("12:30", "aliases expand to more than 50,000 values"), add=BOMB),
    row("alias to itself", ("8:12", "alias *a refers to itself"), add="where: &a [*a]\n"),
    row("alias to nothing", ("8:8", "alias *nobody names no anchor before it"), add="where: *nobody\n"),
    row(
        "tag that would run code",
        ("8:11", "tags are not allowed: tag:yaml.org,2002:python/object/apply:os.system"),
        add="question: !!python/object/apply:os.system x\n",
    ),
    row("tag of one's own", ("4:7", "tags are not allowed: !include"), edit={4: "base: !include tiny.yaml"}),
    row("not a number", ("4:18", ".nan is not a finite number"), edit={4: "base: {noise_sd: .nan}"}),
    row("beyond any number", ("4:18", "1e400 is not a finite number"), edit={4: "base: {noise_sd: 1e400}"}),
    row("too many digits", ("4:20", "a number of 5,000 digits is too large"), edit={4: "base: {num_params: " + "9" * 5000 + "}"}),
    row("nested too deeply", ("8:39", "nested deeper than 32"), add="where: " + "[" * 50 + "]" * 50 + "\n"),
    row("two documents", ("8:1", "a second document starts here"), add="---\nschema: 1\n"),
    row("tab indent", ("6:1", "a tab; indent with spaces"), edit={6: "\tnum_tokens: [16, 64]"}),
    row("second colon in a line", ("8:20", "not YAML", "quotes"), add="question: Which one: this or that?\n"),
    row("control character", ("8:12", "character U+0007 is not allowed"), add="question: a\x07b\n"),
]

NAMES = [
    row(f"name {name}", ("2:7", "name: found", "letters, digits, - _ . , up to 64"), edit={2: f"name: {name}"})
    for name in (
        "a/b",
        "../x",
        "/etc",
        "'C:\\x'",
        "'..'",
        ".hidden",
        "-rf",
        "'~'",
        "a.",
        "x" * 65,
        "'<img src=x onerror=alert(1)>'",
        "$(id)",
        "é",
        '"a\\nb"',
        '""',
    )
] + [
    row("name that turns the line round", ("2:7", "U+202E"), edit={2: "name: a\u202eb"}),
    row("name that is a number", ("2:7", "name: expected text, found 12"), edit={2: "name: 12"}),
]

FIELDS = [
    row("seeds 0", ("8:8", "seeds: found 0; write a count from 1"), add="seeds: 0\n"),
    row("seeds true", ("8:8", "seeds: found true; write a count"), add="seeds: true\n"),
    row("seeds 2.5", ("8:8", "seeds: found 2.5; write a count"), add="seeds: 2.5\n"),
    row("seeds by the billion", ("8:8", "seeds: found 1000000000000"), add="seeds: 1000000000000\n"),
    row("seeds negative", ("8:12", "seeds[1]: must be at least 0, found -1"), add="seeds: [1, -1]\n"),
    row("seeds too large", ("8:9", "seeds[0]: must be at most 4294967295"), add="seeds: [18446744073709551616]\n"),
    row("seeds of two kinds", ("8:9", "found true"), ("8:15", "found 1.5"), add="seeds: [true, 1.5]\n"),
    row("seeds repeated", ("8:8", "seeds 1 and 3 are the same: 7"), add="seeds: [7, 1, 7]\n"),
    row("seeds without one", ("8:8", "found an empty list"), add="seeds: []\n"),
    row("goal", ("7:29", "metric.goal: found text 'maximum' (allowed: min, max)"), edit={7: "metric: {name: loss,  goal: maximum}"}),
    row(
        "metric",
        ("7:16", "the trainer synthetic declares no 'score/1'", "loss, score/0", "did you mean 'score/"),
        edit={7: "metric: {name: score/1, goal: max}"},
    ),
    row("trainer", ("3:10", "unknown trainer 'model-zoo'", "did you mean 'model_zoo'?"), edit={3: "trainer: model-zoo"}),
    row(
        "design",
        ("8:9", "found text 'grids' (allowed: grid, one_at_a_time, leave_one_out,", "list, search); did you mean 'grid'?"),
        add="design: grids\n",
    ),
    row("design of nothing", ("8:9", "expected at least 1 of them, found an empty list"), add="design: []\n"),
    row(
        "two designs at fault",
        ("8:19", "design[0].kind: found text 'gird'"),
        ("8:52", "design[1].points: must be at least 2, found 1"),
        add="design: [{  kind: gird}, {kind: sobol,     points: 1}]\n",
    ),
    row("setting of another design", ("8:22", "unknown key 'points'", "axes, kind, sample, seed"), add="design: {kind: grid, points: 3}\n"),
    row("sample of nothing", ("8:33", "design.sample: must be at least 1, found 0"), add="design: {kind: grid,    sample: 0}\n"),
    row("resolution", ("8:41", "found 6 (allowed: 3, 4 or 5)"), add="design: {kind: fractional,  resolution: 6}\n"),
    row("axis of no design", ("8:29", "design.axes[0]: no axis 'tokens' (num_tokens)"), add="design: {kind: grid, axes: [tokens]}\n"),
    row(
        "axis twice in a design",
        ("8:41", "design.axes[1]: the axis num_tokens is given twice"),
        add="design: {kind: grid, axes: [num_tokens, num_tokens]}\n",
    ),
    row(
        "recipe of nobody",
        ("8:36", "design.final: no axis 'tokens' (num_tokens)"),
        ("8:59", "design.final.num_tokens: no level 5 on num_tokens (16, 64)"),
        add="design: {kind: cumulative, final: {tokens: 1, num_tokens: 5}}\n",
    ),
    row(
        "arm outside the bounds",
        ("8:43", "design[0].arms[0].num_tokens: 99.0 is not between the bounds of num_tokens, 1 and 64"),
        edit={6: "  num_tokens: {linspace: [1, 64]}"},
        add="design: [{kind: list, arms: [{num_tokens: 99.0}]}, {kind: sobol, points: 2}]\n",
    ),
    row(
        "arm on an axis that is not the design's",
        ("9:52", "design.arms[0]: the axis num_tokens is not among the axes of this design (connector)"),
        edit={6: "  num_tokens: [16, 64]\n  connector: [avg_pool, c_abstractor]"},
        add="design: {kind: list, axes: [connector], arms: [{   num_tokens: 64}]}\n",
    ),
    row(
        "three levels in a fraction",
        ("6:3", "fractional needs two levels an axis", "num_tokens has the levels 16, 64, 144"),
        edit={6: "  num_tokens: [16, 64, 144]\n  connector: [avg_pool, c_abstractor]"},
        add="design: fractional\n",
    ),
    row(
        "grid between bounds",
        ("6:15", "points is missing: grid needs levels, and draws none between the bounds"),
        edit={6: "  num_tokens: {linspace: [1, 64]}"},
        add="design: [grid, {kind: sobol, points: 2}]\n",
    ),
    row(
        "recipe of the base alone",
        ("6:3", "leave_one_out needs a level that is not the base's own, 16"),
        edit={6: "  num_tokens: [16]"},
        add="design: leave_one_out\n",
    ),
    row("cpus", ("8:20", "resources.cpus: must be above 0, found 0"), add="resources: {cpus:  0}\n"),
    row("cpus as text", ("8:19", "resources.cpus: expected a number, found text '2'"), add='resources: {cpus: "2"}\n'),
    row("gpus", ("8:19", "resources.gpus: must be at least 0, found -1"), add="resources: {gpus: -1}\n"),
    row("budget", ("8:24", "budget.wall_minutes: expected a number, found text 'soon'"), add="budget: {wall_minutes: soon}\n"),
    row("where that is no list", ("8:8", "where: expected a list, found text"), add="where: num_tokens > 1\n"),
    row("search without trials", ("8:9", "design: 'trials' is missing"), add="design: search\n"),
    row("search block beside the design", ("8:1", "unknown key 'search'"), add="search: {trials: 3, max_steps: 9}\n"),
    row("asha without steps", ("8:9", "max_steps is missing"), add="design: {kind: search, trials: 3, stop_early: asha}\n"),
    row(
        "search beside another design",
        ("8:9", "a search stands alone"),
        add="design: [grid, {kind: search, trials: 3}]\n",
    ),
    row(
        "search with two seeds",
        ("9:8", "a search runs each arm with one seed, found 2"),
        add="design: {kind: search, trials: 3}\nseeds: 2\n",
    ),
    row(
        "search with a metric of nobody",
        ("8:58", "design.objectives[0].name: the trainer synthetic declares no 'score'"),
        ("8:84", "loss is an objective already, or the study's metric"),
        add="design: {kind: search, trials: 3, objectives: [{   name: score, goal: max}, {name: loss, goal: min}]}\n",
    ),
    row("search of levels by cmaes", ("6:15", "cmaes draws between bounds"), add="design: {kind: search, trials: 3, sampler: cmaes}\n"),
    row(
        "search over nothing",
        ("5:7", "a search needs at least one axis"),
        edit={5: "axes: {}", 6: "# none"},
        add="design: {kind: search, trials: 3}\n",
    ),
    row(
        "sampler that is none, and bounds that are right",
        ("8:44", "found text 'foo' (allowed: tpe, random, cmaes, nsgaii)"),
        edit={6: "  peak_lr: {log: [1e-4, 1e-2]}"},
        add="design: {kind: search, trials: 3, sampler: foo}\n",
    ),
    row("law over no axis", ("8:23", "no axis 'peak_lr' (num_tokens)"), add="law: {hyperparameter: peak_lr}\n"),
    row(
        "law over words",
        ("8:23", "needs an axis of numbers", "avg_pool"),
        edit={6: "  connector: [avg_pool, c_abstractor]"},
        add="law: {hyperparameter: connector}\n",
    ),
]

AXES = [
    row("unknown axis", ("6:3", "no field 'num_token'", "did you mean 'num_tokens'?"), edit={6: "  num_token: [16, 64]"}),
    row(
        "unknown axis of the zoo",
        ("6:3", "no field 'knid' in connector (kind, num_tokens); did you mean 'kind'?"),
        edit=ZOO | {6: "  connector.knid: [avg_pool]"},
    ),
    row(
        "axis without its group",
        ("6:3", "no field 'learning_rate'", "did you mean 'train.learning_rate'?"),
        edit=ZOO | {6: "  learning_rate: [0.1]"},
    ),
    row("axis into a value", ("6:3", "encoder.width is one value", "write encoder.width"), edit=ZOO | {6: "  encoder.width.x: [1]"}),
    row("axis into Python", ("6:3", "no field '__class__' in encoder"), edit=ZOO | {6: "  encoder.__class__: [1]"}),
    row("axis with a hole", ("6:3", "no field '' in encoder"), edit=ZOO | {6: "  encoder..width: [1]"}),
    row(
        "axis on a group",
        ("6:16", "expected a group of fields (kind, num_tokens), found text 'avg_pool'"),
        edit=ZOO | {6: "  connector: [ avg_pool]"},
    ),
    row("empty axis", ("6:15", "an axis needs at least one level"), edit={6: "  num_tokens: []"}),
    row("axis of nothing", ("6:15", "an axis needs at least one level"), edit={6: "  num_tokens: ~"}),
    row("axis of one number", ("6:15", "found 16, and an axis needs a list of levels"), edit={6: "  num_tokens: 16"}),
    row("axis form with a typo", ("6:15", "a mapping (lgo)", "did you mean 'log'?"), edit={6: "  num_tokens: {lgo: [1, 2]}"}),
    row("number in quotes", ("6:20", "levels mix numbers and text: write 64 without quotes"), edit={6: '  num_tokens: [16, "64"]'}),
    row("number and boolean", ("6:20", "levels mix numbers and true or false: true beside 16"), edit={6: "  num_tokens: [16, true]"}),
    row("number and word", ("6:20", "levels mix numbers and text: text 'no' beside 16"), edit={6: "  num_tokens: [16, no]"}),
    row(
        "numbers in quotes only",
        ("6:14", "expected a number, found text '1e-4'; write 1e-4 without quotes"),
        edit={6: '  peak_lr: ["1e-4"]'.replace("  peak_lr: [", "  peak_lr:  [")},
    ),
    row("boolean for a number", ("6:16", "expected a number, found true"), edit={6: "  num_tokens: [true]"}),
    row(
        "no and on for a number",
        ("6:16", "expected a whole number, found text 'no'"),
        ("6:20", "found text 'on'"),
        edit={6: "  num_tokens: [no, on]"},
    ),
    row("underscores", ("6:16", "expected a number, found text '1_000'"), edit={6: "  num_tokens: [1_000]"}),
    row("level that is a list", ("6:16", "a level is a number, text, true or false; found a list of 1"), edit={6: "  num_tokens: [[16]]"}),
    row("level twice", ("6:25", "levels 2 and 3 are the same: 0.1"), edit={6: "  peak_lr: [0.5, 0.1,   1e-1]"}),
    row("level twice, whole and not", ("6:20", "levels 1 and 2 are the same: 16"), edit={6: "  num_tokens: [16, 16.0]"}),
    row("level out of range", ("6:20", "must be above 0, found -16"), edit={6: "  num_tokens: [16, -16]"}),
    row("fractional count", ("6:20", "expected a whole number, found 16.5"), edit={6: "  num_tokens: [16, 16.5]"}),
    row("log from 0", ("6:18", "log needs bounds above 0, found 0; use linspace"), edit={6: "  peak_lr: {log: [0, 1], points: 3}"}),
    row("bounds the wrong way", ("6:18", "the low bound 2 is not below the high bound 1"), edit={6: "  peak_lr: {log: [2, 1], points: 3}"}),
    row(
        "bounds that are no numbers",
        ("6:18", "expected two numbers, [low, high]; found text '1e-4:1e-2'"),
        edit={6: "  peak_lr: {log: 1e-4:1e-2, points: 3}"},
    ),
    row("points missing", ("6:12", "points is missing: how many levels", "latin_hypercube"), edit={6: "  peak_lr: {log: [1, 2]}"}),
    row("points 0", ("6:35", "expected a whole number from 2 to 10,000, found 0"), edit={6: "  peak_lr: {log: [1, 2],  points: 0}"}),
    row(
        "a grid of 10^9",
        ("6:3", "1000 x 1000 x 1000 levels x 1 seeds are 1,000,000,000 trials, the limit is 1,000,000"),
        edit={
            6: "  num_params: {log: [1.0, 9.0], points: 1000}\n  peak_lr: {log: [0.1, 0.9], points: 1000}\n  step_seconds: {linspace: [0.1, 0.9], points: 1000}"
        },
    ),
    row("step of the wrong sign", ("6:45", "step: must be above 0, found -2"), edit={6: "  num_tokens: {range: [16, 64],       step: -2}"}),
    row("step of 0", ("6:45", "step: must be above 0, found 0"), edit={6: "  num_tokens: {range: [16, 64],       step: 0}"}),
    row(
        "step without end",
        ("6:39", "are about 1e20 levels; 2 to 10,000 are allowed"),
        edit={6: "  peak_lr: {range: [0.0, 0.1],  step: 1e-21}"},
    ),
    row("step over the end", ("6:39", "are 1 levels; 2 to 10,000"), edit={6: "  peak_lr: {range: [0.0, 0.1],  step: 0.2}"}),
    row("no step", ("6:12", "'step' is missing"), edit={6: "  peak_lr: {range: [0.1, 0.2]}"}),
    row(
        "bounds too far apart",
        ("6:26", "from -1e+308 to 1e+308 is too far for numbers between"),
        edit={6: "  num_params: {linspace: [-1e308, 1e308], points: 3}"},
    ),
    row("number beyond any in quotes", ("6:16", "levels mix numbers and text: text '1e400' beside 1"), edit={6: '  peak_lr: [1, "1e400"]'}),
    row("two forms", ("6:28", "unknown key 'log'"), edit={6: "  peak_lr: {list: [0.1],   log: [1, 2]}"}),
    row("null among the levels", ("6:20", "a level is a number, text, true or false; found nothing"), edit={6: "  num_tokens: [16, ~]"}),
    row(
        "base that is no group",
        ("4:20", "found text 'avg_pool'; the axis connector.kind needs a mapping here"),
        edit=ZOO | {4: "base: {connector:  avg_pool}", 6: "  connector.kind: [avg_pool]"},
    ),
]

NESTED = [
    row(
        "level of a nested axis",
        ("8:45", "axes.connector.kind.choices.avg_pool.connector.num_tokens[1]: num_tokens is 5"),
        edit=ZOO | {6: "  connector.kind:\n    choices:\n      avg_pool: {connector.num_tokens: [4,  5]}\n      c_abstractor: {}"},
    ),
    row(
        "form and field of nested axes",
        ("8:18", "no field 'tokens' in connector"),
        ("9:44", "log needs bounds above 0, found 0"),
        edit=ZOO
        | {
            6: "  connector.kind:\n    choices:\n      avg_pool: {connector.tokens: [4]}\n      c_abstractor: {encoder.depth:  {log: [0, 3], points: 2}}"
        },
    ),
    row(
        "kind and its parent",
        ("6:3", "no field 'conector'", "did you mean 'connector'?"),
        edit=ZOO | {6: "  conector.kind: {choices: {avg_pool: {connector.num_tokens: [4, 16]}, c_abstractor: {}}}"},
    ),
    row(
        "kind that is none",
        ("6:40", "found text 'avgpool'", "did you mean 'avg_pool'?"),
        edit=ZOO | {6: "  connector.kind: {choices: {avgpool:  {connector.num_tokens: [4]}, c_abstractor: {}}}"},
    ),
    row("no choices", ("6:29", "expected at least 1 of them, found an empty mapping"), edit=ZOO | {6: "  connector.kind: {choices: {}}"}),
    row("choices as a list", ("6:29", "expected a mapping, found a list of 1"), edit=ZOO | {6: "  connector.kind: {choices: [avg_pool]}"}),
    row(
        "axis under two choices",
        ("6:84", "the axis connector.num_tokens is written twice", "when: such as kind in ['a', 'b']"),
        edit=ZOO | {6: "  connector.kind: {choices: {avg_pool: {connector.num_tokens: [4]}, c_abstractor: {connector.num_tokens: [9]}}}"},
    ),
    row(
        "zip of unequal lengths",
        ("6:13", "zipped fields need equally many values: encoder.width has 2, encoder.depth has 1"),
        edit=ZOO | {6: "  s: {zip:  {encoder.width: [32, 64], encoder.depth: [1]}}"},
    ),
    row("zip of one", ("6:12", "expected at least 2 of them"), edit=ZOO | {6: "  s: {zip: {encoder.width: [32, 64]}}"}),
    row(
        "zip of nothing",
        ("6:28", "expected at least 1 of them, found an empty list"),
        ("6:48", "expected at least 1 of them, found an empty list"),
        edit=ZOO | {6: "  s: {zip: {encoder.width: [], encoder.depth:  []}}"},
    ),
    row(
        "zip with a typo and a width",
        ("6:40", "no field 'depht' in encoder", "did you mean 'depth'?"),
        edit=ZOO | {6: "  s: {zip: {encoder.width: [32, 63],   encoder.depht: [1, 2]}}"},
    ),
    row(
        "value in a zip",
        ("6:34", "axes.s.zip.encoder.width[1]: 63 is not divisible by 2 heads"),
        edit=ZOO | {6: "  s: {zip: {encoder.width: [ 32, 63], encoder.depth: [1, 2]}}"},
    ),
    row(
        "zip that names no levels",
        ("6:33", "the first field's values name the levels: numbers or texts, each once"),
        edit=ZOO | {6: "  s: {zip: {encoder.width: [32, 32], encoder.depth: [1, 2]}}"},
    ),
    row(
        "value in a named level",
        ("6:62", "axes.s.levels.b.encoder.width: must be above 0, found -1"),
        edit=ZOO | {6: "  s: {levels: {a: {encoder.width: 32}, b: {encoder.width:    -1}}}"},
    ),
    row(
        "field in a named level",
        ("6:39", "axes.s.levels.a: no field 'depht' in encoder"),
        edit=ZOO | {6: "  s: {levels: {a: {encoder.width: 32, encoder.depht: 1}, b: {encoder.width: 64}}}"},
    ),
    row(
        "level without fields",
        ("6:19", "a level sets at least one field"),
        edit=ZOO | {6: "  s: {levels: {a: {}, b: {encoder.width: 64}}}"},
    ),
    row(
        "named levels that are one",
        ("6:59", "levels 1 and 2 are the same: a and b"),
        edit=ZOO | {6: "  s: {levels: {a: {encoder.width: 32}, b: {encoder.width: 32}}}"},
    ),
    row(
        "level called base that is another",
        ("6:38", "the level 'base' sets other values than the base"),
        edit={4: "base: {num_tokens: 7}", 6: "  s: {levels: {base: {num_tokens:    1}, big: {num_tokens: 2}}}"},
        add="design: one_at_a_time\n",
    ),
    row(
        "two axes on one field",
        ("7:3", "encoder.width is varied by the axis s already"),
        edit=ZOO | {6: "  s: {levels: {a: {encoder.width: 32}, b: {encoder.width: 64}}}\n  encoder.width: [32, 64]"},
    ),
    row(
        "an axis on a group and one inside it",
        ("7:3", "encoder.pretrain is varied by the axis s already (encoder.pretrain.steps and encoder.pretrain overlap)"),
        edit=ZOO
        | {6: "  s: {levels: {a: {encoder.pretrain: {steps: 5}}, b: {encoder.pretrain: {steps: 6}}}}\n  encoder.pretrain.steps: [1, 2]"},
    ),
    row(
        "axis called like a column",
        ("6:3", "'seed' is a column of the results (trial, arm, seed, state)"),
        edit={6: "  seed: {zip: {num_tokens: [1], image_size: [2]}}"},
    ),
    row("axis called like a metric", ("6:9", "'loss' is a metric too"), edit={6: "  loss: {zip: {num_tokens: [1], image_size: [2]}}"}),
]

WHEN = [
    row(
        about,
        *expected,
        edit=ZOO | {6: f"  encoder.training: {{list: [frozen, slow],  when: {when}}}\n  connector.kind: [avg_pool, c_abstractor]"},
    )
    for about, when, *expected in (
        (
            "when of a later axis",
            "connector.kind == 'avg_pool'",
            ("6:51", "axes.encoder.training.when: 'connector.kind' is varied by a later axis; write that axis before encoder.training"),
        ),
        ("when of itself", "encoder.training == 'slow'", ("6:51", "'encoder.training' is what this axis varies")),
        ("when of nobody", "encoder.trainin == 'slow'", ("6:51", "unknown name 'encoder.trainin'; did you mean 'encoder.training'?")),
        ("when that cannot be read", "encoder.depth >", ("6:66", "cannot be read")),
        ("when that is no text", "3", ("6:51", "expected text, found 3")),
        ("when of two kinds", "encoder.depth == 'a'", ("6:68", "compares number with text")),
        ("when that is a call", "f(1)", ("6:51", "not allowed in where: call")),
        (
            "when that never holds",
            "encoder.depth > 2",
            ("6:3", "the axis encoder.training applies in no arm: encoder.depth > 2 holds nowhere"),
        ),
    )
] + [
    row(
        "when of what a later axis decides",
        ("6:50", "'encoder.num_patches' changes with what the later axis encoder.image_size varies"),
        edit=ZOO | {6: "  encoder.training: {list: [frozen, slow], when: encoder.num_patches > 10}\n  encoder.image_size: [16, 8]"},
    ),
    row(
        "when of what the axis decides",
        ("6:45", "'encoder.num_patches' changes with what this axis varies"),
        edit=ZOO | {6: "  encoder.image_size: {list: [16, 8], when: encoder.num_patches > 10}"},
    ),
]

MIXES = [
    row(
        "shares that do not sum to one",
        ("6:62", "sum is 0.99; use 45:45:10 or shares that sum to 1"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [9:0:1, {caption: 0.45, interleaved: 0.45, text: 0.09}]}"},
    ),
    row(
        "ratio with too few parts",
        ("6:55", "text '5:5' has 2 parts, expected 3: caption:interleaved:text"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [5:5]}"},
    ),
    row(
        "ratio with a hole",
        ("6:55", "the part '' of text '5::1' is not a number"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [5::1]}"},
    ),
    row("ratio of nothing", ("6:55", "are all 0"), edit={6: "  mix: {simplex: [caption, interleaved, text], list: [0:0:0]}"}),
    row(
        "unknown source",
        ("6:55", "unknown source 'txt'", "did you mean 'text'?"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [{caption: 0.5, interleaved: 0.4, txt: 0.1}]}"},
    ),
    row(
        "missing source",
        ("6:55", "no share for text; write all of caption, interleaved, text"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [{caption: 0.5, interleaved: 0.5}]}"},
    ),
    row(
        "negative share",
        ("6:55", "the share of text is -0.1"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [{caption: 0.6, interleaved: 0.5, text: -0.1}]}"},
    ),
    row(
        "ratios that are one mix",
        ("6:62", "levels 1 and 2 are the same: 5:5:1 and 10:10:2"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [5:5:1, 10:10:2]}"},
    ),
    row(
        "ratios that are one mix, in a plain list",
        ("6:16", "levels 1 and 2 are the same: 5:5:1 and 10:10:2"),
        edit={6: "  mix: [5:5:1, 10:10:2]"},
    ),
    row(
        "shares that sum to more than one",
        ("6:55", "sum is 1.01; use 45:45:10 or shares that sum to 1"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [{caption: 0.45, interleaved: 0.45, text: 0.11}]}"},
    ),
    row(
        "ratio with too many parts",
        ("6:55", "text '5:5:1:0' has 4 parts, expected 3: caption:interleaved:text"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [5:5:1:0]}"},
    ),
    row(
        "ratio of letters",
        ("6:55", "the part 'a' of text 'a:b:c' is not a number"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [a:b:c]}"},
    ),
    row(
        "least shares over one",
        ("6:67", "the least shares", "sum to 1.2, over 1"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], lattice: 4,   min: 0.4}"},
    ),
    row(
        "more repeats than there may be",
        ("6:56", "caption 0.9 x 10 / 3 = 3 repeats, at most 2"),
        edit={
            6: "  mix: {simplex: [caption, interleaved, text], list: [ 9:0:1], repeats: {sizes: {caption: 3, interleaved: 9, text: 9}, total: 10, at_most: 2}}"
        },
    ),
    row(
        "source without data",
        ("6:56", "from a source of size 0, which can have share 0 only"),
        edit={
            6: "  mix: {simplex: [caption, interleaved, text], list: [ 9:0:1], repeats: {sizes: {caption: 0, interleaved: 9, text: 9}, total: 10, at_most: 2}}"
        },
    ),
    row(
        "two forms of mixes",
        ("6:8", "found list and lattice; write one of"),
        edit={6: "  mix: {simplex: [caption, interleaved, text], list: [5:5:1], lattice: 4}"},
    ),
    row("ratio the trainer refuses", ("6:9", "'5:5' is not a ratio of 3 parts"), edit={6: "  mix: [5:5]"}),
    row(
        "empty simplex list",
        ("6:55", "an axis needs at least one level"),
        edit={6: "  mix: {simplex: [caption, interleaved, text],  list: []}"},
    ),
]

ZOO_LEVELS = [
    row(
        "resolution that patches do not divide",
        ("6:29", "encoder.image_size[1]", "30 is not a multiple of patch 4: nearest 28, 32"),
        edit=ZOO | {6: "  encoder.image_size: [16,  30]"},
    ),
    row(
        "tokens the grid cannot give",
        ("6:28", "num_tokens is 5, which kind avg_pool cannot give on a grid of 4 x 4", "nearest 4"),
        edit=ZOO | {6: "  connector.num_tokens: [4,5]"},
    ),
    row(
        "tokens that only one resolution can give",
        ("6:28", "encoder.image_size[1]", "num_tokens is 16, which kind avg_pool cannot give on a grid of 2 x 2"),
        edit=ZOO | {6: "  encoder.image_size: [16, 8]\n  connector.num_tokens: [ 16]"},
    ),
    row(
        "base that does not fit itself",
        ("4:44", "30 is not a multiple of patch 4"),
        edit=ZOO | {4: "base: {encoder: {patch_size: 4,image_size: 30}}", 6: "  train.steps: [100, 200]"},
    ),
    row(
        "base file with two mistakes",
        ("base.yaml:2:3", "encoder: unknown key 'widht'", "did you mean 'width'?"),
        ("base.yaml:4:10", "train.steps: expected a whole number, found text '1_000'"),
        edit=ZOO | {4: "base: base.yaml", 6: "  decoder.depth: [1, 2]"},
        files={"base.yaml": "encoder:\n  widht: 64\ntrain:\n  steps: 1_000\n"},
    ),
    row(
        "base file with a key given twice",
        ("base.yaml:3:1", "'encoder' is given twice, first at line 1"),
        edit=ZOO | {4: "base: base.yaml", 6: "  decoder.depth: [1, 2]"},
        files={"base.yaml": "encoder:\n  width: 64\nencoder: {}\n"},
    ),
    row(
        "unknown kind",
        ("6:20", "found text 'c-abstractor'", "avg_pool, attention_pool, c_abstractor", "did you mean 'c_abstractor'?"),
        edit=ZOO | {6: "  connector.kind: [c-abstractor]"},
    ),
    row(
        "unknown kind and what else is wrong beside it",
        ("4:24", "found text 'vitt' (allowed: vit, "),
        ("4:30", "base.encoder: unknown key 'widht' (allowed: kind, ", "did you mean 'width'?"),
        ("4:47", "base.encoder.depth: must be above 0, found -1"),
        edit=ZOO | {4: "base: {encoder: {kind: vitt, widht: 3, depth: -1}}", 6: "  train.steps: [100, 200]"},
    ),
    row(
        "a combination that cannot be built",
        ("7:30", "which kind mlp cannot give on a grid of 8 x 8 patches (64): nearest 64; or leave the combination out with where"),
        edit=ZOO
        | {
            4: "base: {connector: {kind: avg_pool, num_tokens: 16}}\ndesign: grid",
            6: "  connector.kind: [avg_pool, mlp]\n  encoder.image_size: [16, 32]",
        },
    ),
    row(
        "parts that do not fit together in several ways",
        ("4:28", "base.decoder.training: decoder.training is frozen and data.mix has texts alone"),
        ("4:95", "base.eval: eval.few_shot and eval.harness ask about files"),
        ("4:172", "base.sft: sft.connector: num_tokens is 16, which kind mlp cannot give on a grid of 8 x 8 patches (64)"),
        edit=ZOO
        | {
            4: "base: {decoder: {training: frozen}, data: {mix: {caption: 0, interleaved: 0, text: 1}}, eval: {harness: {scores: [arc/acc]}},"
            " connector: {kind: mlp, num_tokens: 16}, sft: {encoder: {image_size: 32}}}",
            6: "  train.steps: [100, 200]",
        },
    ),
]

BASES = [
    row(
        "missing base",
        (
            "4:7",
            "no file 'bases/tny.yaml'",
            "among the shipped bases (bases/mm1_paper.yaml, bases/mm1_tiny.yaml, bases/tiny.yaml",
            "did you mean 'bases/tiny.yaml'?",
        ),
        edit={4: "base: bases/tny.yaml"},
    ),
    row("base outside the folder", ("4:7", "'../secret.yaml' lies outside the study's folder"), edit={4: "base: ../secret.yaml"}),
    row("absolute base", ("4:7", "'/etc/passwd' lies outside the study's folder"), edit={4: "base: /etc/passwd"}),
    row("base that is a list", ("4:7", "base: expected a mapping, found a list of 1"), edit={4: "base: [1]"}),
    row("empty base file", ("base.yaml:1:1", "the file is empty"), edit={4: "base: base.yaml"}, files={"base.yaml": "# nothing\n"}),
]

WHERE = [
    row("call", ("8:10", "where[0]: not allowed in where: call"), add="where: [\"__import__('os').system('touch pwned') == 0\"]\n"),
    row("lambda", ("8:10", "not allowed in where: lambda"), add='where: ["lambda: 1"]\n'),
    row("power", ("8:10", "not allowed in where: power"), add='where: ["9**9**9 > num_tokens"]\n'),
    row("attribute of a value", ("8:10", "not allowed in where: attribute of a value"), add="where: [\"'x'.upper == num_tokens\"]\n"),
    row("f-string", ("8:10", "not allowed in where: f-string"), add="where: [\"f'{num_tokens}' == 1\"]\n"),
    row("unknown name", ("8:16", "unknown name 'num_token'; did you mean 'num_tokens'?"), add="where: [ 16 <= num_token]\n"),
    row("two unknown names", ("9:5", "unknown name 'a'"), ("9:9", "unknown name 'b'"), add="where:\n  - a < b\n"),
    row("no expression", ("8:22", "cannot be read"), add='where: ["num_tokens >"]\n'),
    row("text against number", ("8:23", "compares number with text: 16 with text '16'"), add="where: [num_tokens == '16']\n"),
    row("no condition", ("8:9", "expected something true or false"), add="where: [num_tokens + 1]\n"),
    row(
        "too long",
        ("8:9", "a condition of 10,000 characters is too long, the limit is 2,000"),
        add=f"where: [{'1' * 10_000}]\n".replace("[1", "[a"),
    ),
    row("nested", ("8:133", "nested deeper than 30"), add=f"where: [{'not ' * 100}num_tokens]\n"),
    row(
        "nothing left",
        ("8:8", "leave nothing of 2 cells", "`num_tokens > 16` removes 1", "`num_tokens < 64` removes 1"),
        add="where: [num_tokens > 16, num_tokens < 64]\n",
    ),
    row("baseline gone", ("8:8", "no cell with num_tokens = 16 is left", "`num_tokens > 16` removes 1"), add="where: [num_tokens > 16]\n"),
    row(
        "base gone",
        ("9:8", "the base itself is removed", "`num_tokens + image_size > 240` removes 1"),
        edit={6: "  num_tokens: [16, 64]\n  image_size: [224, 448]"},
        add="where: [num_tokens + image_size > 240]\ndesign: one_at_a_time\n",
    ),
    row(
        "where in a search",
        ("10:8", "conditions do not go with design: search"),
        add="design:\n  {kind: search, trials: 2, stop_early: none}\nwhere: [num_tokens > 1]\n",
    ),
]

CLAIMS = [
    row(
        about,
        *expected,
        edit={6: "  num_tokens: [16, 64]\n  connector: [avg_pool, attention_pool, c_abstractor]"},
        add=f"claims:\n  - {{{claim}}}\n",
    )
    for about, claim, *expected in (
        (
            "claim on no axis",
            "axis: tokens, expect: increases",
            ("10:12", "claims[0].axis: no axis 'tokens' (num_tokens, connector); did you mean 'num_tokens'?"),
        ),
        ("claim on no level", "axis: num_tokens, level: 63, expect: increases", ("10:31", "no level 63 on num_tokens (16, 64)")),
        (
            "claim on no word",
            "axis: connector, against: avgpool, expect: equivalent, within: 1",
            ("10:32", "no level text 'avgpool'", "did you mean 'avg_pool'?"),
        ),
        ("claim on no metric", "axis: num_tokens, metric: los, expect: increases", ("10:32", "declares no 'los'", "did you mean 'loss'?")),
        (
            "claim of nobody",
            "axis: num_tokens, expect: rises",
            ("10:32", "found text 'rises' (allowed: increases, decreases, equivalent, best_level, larger_effect_than, interior_optimum)"),
        ),
        ("equivalent without margin", "axis: connector, expect: equivalent", ("10:31", "equivalent needs within")),
        (
            "equivalent within less than nothing",
            "axis: connector, expect: equivalent, within: -1",
            ("10:51", "within: must be above 0, found -1"),
        ),
        ("best without level", "axis: connector, expect: best_level", ("10:31", "best_level needs level")),
        (
            "order without order",
            "axis: connector, expect: increases",
            ("10:31", "increases needs level, because the levels of connector have no order"),
        ),
        ("level against itself", "axis: num_tokens, level: 16, expect: increases", ("10:31", "level and against are both 16")),
        (
            "level of a wrong kind",
            "axis: num_tokens, level: [16], expect: increases",
            ("10:31", "claims[0].level: expected", "found a list of 1"),
        ),
        ("larger than nothing", "axis: num_tokens, expect: larger_effect_than", ("10:32", "larger_effect_than needs than: {axis: ...}")),
        (
            "larger than nobody",
            "axis: num_tokens, expect: larger_effect_than, than: {axis: tokens}",
            ("10:65", "claims[0].than.axis: no axis 'tokens'"),
        ),
        (
            "than without its expectation",
            "axis: num_tokens, expect: increases, than: {axis: connector}",
            ("10:49", "than goes with larger_effect_than only"),
        ),
        ("interior of two", "axis: num_tokens, expect: interior_optimum", ("10:12", "interior_optimum needs three levels or more")),
        ("claim in no cell", "axis: num_tokens, expect: increases, when: num_token > 1", ("10:49", "unknown name 'num_token'")),
    )
] + [
    row(
        "claims that contradict each other",
        ("10:5", "claims 1 and 2 contradict each other: increases from 16 to 64 and decreases from 16 to 64"),
        add="claims:\n  - {axis: num_tokens, expect: increases}\n  - {axis: num_tokens, expect: decreases}\n",
    ),
    row("claims that are no list", ("8:9", "claims: expected a list, found a mapping"), add="claims: {axis: num_tokens}\n"),
]

TOGETHER = [
    row(
        "levels after one that cannot be read",
        ("6:26", "levels mix numbers and text: write 16 without quotes"),
        ("6:32", "num_tokens is 5, which kind avg_pool cannot give"),
        ("6:35", "must be above 0, found -4"),
        edit=ZOO | {6: '  connector.num_tokens: ["16", 5, -4, 4]'},
        add="claims:\n  - {axis: connector.num_tokens, level: 16, expect: increases}\n",
    ),
    row(
        "metric with two mistakes",
        ("7:16", "declares no 'los'"),
        ("7:27", "found text 'lowest' (allowed: min, max)"),
        edit={7: "metric: {name: los, goal: lowest}"},
    ),
    row(
        "trainer misspelt, and all that needs no trainer",
        ("3:10", "unknown trainer 'synthetik'", "did you mean 'synthetic'?"),
        ("6:18", "log needs bounds above 0, found 0"),
        ("7:18", "levels 1 and 2 are the same: 1"),
        ("8:17", "zipped fields need equally many values"),
        ("10:8", "seeds: found 0"),
        ("11:13", "where[0]: cannot be read"),
        ("11:17", "where[1]: not allowed in where: call"),
        ("13:12", "no axis 'tokens' (peak_lr, num_tokens, size)"),
        ("14:32", "equivalent needs within"),
        ("15:56", "claims[2].when: cannot be read"),
        ("16:23", "law.hyperparameter: no axis 'rate'"),
        ("17:29", "design.axes[0]: no axis 'size_of' (peak_lr, num_tokens, size)"),
        edit={
            3: "trainer: synthetik",
            6: "  peak_lr: {log: [0, 1], points: 2}\n  num_tokens: [1,1]\n  size: {  zip: {steps: [1], image_size: [1, 2]}}",
        },
        add="seeds: 0\nwhere: ['a +', 'f(a)']\nclaims:\n  - {axis: tokens, expect: increases}\n  - {axis: num_tokens, expect: equivalent}\n"
        "  - {axis: num_tokens, expect: increases, when: steps >}\nlaw: {hyperparameter: rate}\ndesign: {kind: grid, axes: [size_of]}\n",
    ),
    row(
        "one mistake in every part",
        ("2:7", "letters, digits"),
        ("4:18", "base.noise_sd: expected a number, found text 'loud'"),
        ("6:20", "must be above 0, found 0"),
        ("7:3", "no field 'conector'", "did you mean 'connector'?"),
        ("8:16", "declares no 'los'"),
        ("9:1", "unknown key 'seed'"),
        ("10:9", "unknown name 'nm_tokens'"),
        ("12:12", "no axis 'tokens'"),
        edit={
            2: "name: a b",
            4: "base: {noise_sd: loud}",
            6: "  num_tokens: [16, 0]\n  conector: [avg_pool]",
            7: "metric: {name: los, goal: min}",
        },
        add="seed: 3\nwhere: [nm_tokens > 1]\nclaims:\n  - {axis: tokens, expect: increases}\n",
    ),
]

BUDGETS = [
    row("budget of 0", ("8:18", "budget.trials: must be above 0, found 0"), add="budget: {trials: 0}\n"),
    row("budget below 0", ("8:17", "budget.money: must be above 0, found -1"), add="budget: {money: -1}\n"),
    row("hours without hardware", ("8:24", "a limit on device_hours needs hardware: {peak_flops"), add="budget: {device_hours: 3}\n"),
    row("money without hardware", ("8:17", "a limit on money needs hardware with its price_per_hour"), add="budget: {money: 3}\n"),
    row(
        "money without a price",
        ("9:17", "a limit on money needs hardware with its price_per_hour"),
        add="hardware: {peak_flops: 1.0e+12, utilisation: 0.4}\nbudget: {money: 3}\n",
    ),
    row(
        "too many cells behind a condition",
        ("6:3", "more than 1,000,000 trials: fewer levels"),
        edit={
            6: "  peak_lr: {log: [1e-5, 1e-2], points: 10000}\n  num_params: {log: [1e6, 1e9], points: 10000, when: peak_lr > 1e-4}",
        },
    ),
    row(
        "axis that never applies in a search",
        ("7:3", "the axis connector applies in no arm: peak_lr > 1 holds nowhere"),
        edit={6: "  peak_lr: {log: [1e-5, 1e-2]}\n  connector: {list: [avg_pool, c_abstractor], when: peak_lr > 1}"},
        add="design: {kind: search, trials: 5}\n",
    ),
    row("memory as text", ("8:13", "resources: unknown key 'memory' (allowed: cpus, gpus,"), add="resources: {memory: 2GB}\n"),
    row("cores of a country", ("8:19", "resources.cpus: must be at most 1024, found 1000000"), add="resources: {cpus: 1000000}\n"),
    row(
        "hardware without its speed",
        ("8:11", "hardware: 'peak_flops' is missing"),
        ("8:25", "hardware.utilisation: must be at most 1, found 40"),
        add="hardware: {utilisation: 40}\n",
    ),
]

LEFT_OUT = [
    row(
        "claim on a level that conditions remove",
        ("9:5", "claims[0].level: no arm has num_tokens = 48: the design or its conditions leave it out"),
        edit={6: "  num_tokens: {range: [16, 48], step: 16}"},
        add="claims:\n  - {axis: num_tokens, expect: increases}\nwhere: [num_tokens < 40]\n",
    ),
    row(
        "sample of nothing that is left",
        ("9:8", "the conditions leave nothing of 2 cells: `num_tokens > 99` removes 2"),
        add="design: {kind: grid, sample: 2}\nwhere: [num_tokens > 99]\n",
    ),
    row(
        "condition on no axes",
        ("6:8", "the conditions leave nothing of 1 cells: `num_tokens > 99` removes 1"),
        edit={5: "axes: {}", 6: "where: [num_tokens > 99]"},
    ),
]

MIX = "  mix: {simplex: [caption, interleaved, text], "
CELLS = "  num_tokens: [16, 64, 144]\n  image_size: [224, 448]"
WORDS = "  num_tokens: [16, 64, 144]\n  connector: [avg_pool, attention_pool, c_abstractor]"
SIZE = "axes.size.levels."


def levels(about: str, axis: str, *expected: tuple[str, ...]) -> Row:
    return row(about, *expected, edit={6: f"  {axis}"})


def added(about: str, add: str, *expected: tuple[str, ...], **edit: str) -> Row:
    """A line after the good ones; `line6` and so on replace one of them."""
    return row(about, *expected, add=f"{add}\n", edit={int(key.removeprefix("line")): text for key, text in edit.items()})


FURTHER_YAML = [
    added("empty key", '"": 1', ("8:1", "the key is empty; keys are text")),
    added("tag that is nobody's", "question: !foo x", ("8:11", "tags are not allowed: !foo")),
    added("alias to the mapping around it", "law: &a {hyperparameter: *a}", ("8:26", "alias *a refers to itself")),
    row("key of a group twice", ("7:33", "'goal' is given twice, first at line 7"), edit={7: "metric: {name: loss, goal: min, goal: max}"}),
    levels(
        "levels that are not finite", "peak_lr: [.nan, -.inf, 1e-3]", ("6:13", ".nan is not a finite"), ("6:19", "-.inf is not a finite")
    ),
    levels("level beyond any number", "peak_lr: [1.0e+400]", ("6:13", "1.0e+400 is not a finite number")),
    row("schema 1.0", ("1:9", "schema: found 1.0 (allowed: 1)"), edit={1: "schema: 1.0"}),
    row("schema true", ("1:9", "schema: found true (allowed: 1)"), edit={1: "schema: true"}),
    row("trainer missing", ("1:1", "'trainer' is missing"), edit={3: "# none"}),
    row("trainer of nothing", ("3:10", "trainer: expected text, found nothing"), edit={3: "trainer: ~"}),
    row(
        "trainer that would run code", ("3:10", "unknown trainer 'python: os:system' (model_zoo,"), edit={3: "trainer: 'python: os:system'"}
    ),
    added("question that is a list", "question: [a]", ("8:11", "question: expected text, found a list of 1")),
]

FURTHER_NAMES = [
    *(
        row(f"name {name}", ("2:7", "name: found", "Windows keeps"), edit={2: f"name: {name}"})
        for name in ("CON", "nul", "com1.txt", "LPT9.a.b")
    ),
    *(
        row(f"name {about}", ("2:7", "name: found", "letters, digits, - _ ."), edit={2: f'name: "{name}"'})
        for about, name in (
            ("of an emoji", "\U0001f600"),
            ("of a template", "{{7*7}}"),
            ("composed", "\u00e9"),
            ("decomposed", "e\u0301"),
            ("in full width", "\uff41"),
            ("with nothing in it", "a\u200bb"),
            ("with a NUL", "a\\0b"),
        )
    ),
    row("name of nothing", ("2:7", "name: expected text, found nothing"), edit={2: "name: ~"}),
    *(
        levels(
            f"axis called {name}",
            f"'{name}': {{levels: {{a: {{num_tokens: 1}}, b: {{num_tokens: 2}}}}}}",
            ("6:3", f"found '{name[:50]}", "letters, digits, - _ ."),
        )
        for name in ("a/b", "my size", "a,b", "a=b", "-a", "a.", "x" * 65, "é")
    ),
    levels("zip with an odd name", "a/b: {zip: {num_tokens: [1, 2], image_size: [1, 2]}}", ("6:3", "found 'a/b'; the name of an axis")),
    levels(
        "axis called like a field it leaves alone",
        "image_size: {levels: {a: {num_tokens: 1}, b: {num_tokens: 2}}}",
        ("6:3", "'image_size' is a field, and this axis does not set it"),
    ),
    levels(
        "axes that differ in case",
        "size: {levels: {a: {num_tokens: 1}}}\n  Size: {levels: {a: {image_size: 1}}}",
        ("7:3", "the axes size and Size differ in case only"),
    ),
    levels(
        "levels that differ in case",
        "size: {levels: {a: {num_tokens: 1}, A: {num_tokens: 2}}}",
        ("6:55", f"{SIZE}A.num_tokens: levels 1 and 2 differ in case only: a and A"),
    ),
    levels(
        "words that differ in case",
        "connector: [avg_pool, Avg_Pool]",
        ("6:25", "levels 1 and 2 differ in case only: avg_pool and Avg_Pool"),
    ),
    levels(
        "level that turns the line round",
        'size: {levels: {"a\\u202eb": {num_tokens: 1}, c: {num_tokens: 2}}}',
        ("6:44", f"{SIZE}aU+202Eb.num_tokens: found text 'aU+202Eb'; U+202E cannot be seen"),
    ),
    levels(
        "one level name twice",
        "size: {levels: {a: {num_tokens: 1}, a: {num_tokens: 2}}}",
        ("6:39", "'a' is given twice, first at line 6"),
    ),
    levels("level without a name", "size: {levels: {'': {num_tokens: 1}, a: {num_tokens: 2}}}", ("6:19", "the key is empty")),
    added(
        "one arm twice",
        "design: {kind: list, arms: [{num_tokens: 64}, {num_tokens: 64}]}",
        ("8:47", "design.arms[1]: arms 1 and 2 are the same; give each once"),
    ),
    added("the base twice", "design: {kind: list, arms: [{}, {num_tokens: 64}, {num_tokens: 16}]}", ("8:51", "arms 1 and 3 are the same")),
]

CIRCLES = [
    row(about, *expected, edit=edit, add=add, files=files)
    for about, edit, add, files, *expected in (
        (
            "study that extends itself",
            {},
            "extends: study.yaml\n",
            {},
            ("8:10", "extends: files extend one another in a circle:", "study.yaml -> "),
        ),
        (
            "studies in a circle",
            {},
            "extends: b.yaml\n",
            {"b.yaml": "extends: study.yaml\n"},
            ("b.yaml:1:10", "study.yaml -> ", "b.yaml -> "),
        ),
        (
            "a circle further up",
            {},
            "extends: b.yaml\n",
            {"b.yaml": "extends: c.yaml\n", "c.yaml": "extends: b.yaml\n"},
            ("c.yaml:1:10", "b.yaml -> ", "c.yaml -> "),
        ),
        (
            "study that is its own base",
            {4: "base: study.yaml"},
            "",
            {},
            ("4:7", "base: a study is no base for itself", "write the fields here"),
        ),
        ("inline base that extends its study", {4: "base: {extends: study.yaml}"}, "", {}, ("4:17", "in a circle", "study.yaml -> ")),
        (
            "base that extends itself",
            {4: "base: b.yaml"},
            "",
            {"b.yaml": "noise_sd: 0.1\nextends: b.yaml\n"},
            ("b.yaml:2:10", "in a circle", "b.yaml -> "),
        ),
        (
            "base that extends its study",
            {4: "base: b.yaml"},
            "",
            {"b.yaml": "extends: study.yaml\n"},
            ("b.yaml:1:10", "in a circle", "study.yaml -> "),
        ),
        (
            "studies eleven deep",
            {},
            "extends: f0.yaml\n",
            {f"f{place}.yaml": f"extends: f{place + 1}.yaml\n" for place in range(12)},
            ("f8.yaml:1:10", "extends is more than 10 files deep:", "f9.yaml"),
        ),
        (
            "bases eleven deep",
            {4: "base: f0.yaml"},
            "",
            {f"f{place}.yaml": f"extends: f{place + 1}.yaml\n" for place in range(12)},
            ("f8.yaml:1:10", "extends is more than 10 files deep:", "f9.yaml"),
        ),
        ("parent that is nowhere", {}, "extends: nowhere.yaml\n", {}, ("8:10", "no file 'nowhere.yaml'", "among the shipped studies")),
        ("parent outside the folder", {}, "extends: ../x.yaml\n", {}, ("8:10", "'../x.yaml' lies outside the study's folder")),
        ("parent that is no name", {}, "extends: 3\n", {}, ("8:10", "expected the name of a file to extend")),
        (
            "parent that is a suite",
            {},
            "extends: b.yaml\n",
            {"b.yaml": "schema: 1\nname: b\nstudies: [quickstart]\n"},
            ("8:10", "b.yaml is a suite, which lists studies; extend one of them"),
        ),
        ("parent that is a base", {}, "extends: bases/tiny.yaml\n", {}, ("8:10", "no file 'bases/tiny.yaml'")),
    )
]

FURTHER_AXES = [
    levels("axis of one word", "num_tokens: sixteen", ("6:15", "found text 'sixteen', and an axis needs a list of levels")),
    levels("axis of an empty mapping", "num_tokens: {}", ("6:15", "an axis needs at least one level")),
    levels(
        "numbers and a boolean that are one", "num_params: [1, 1.0, true]", ("6:24", "levels mix numbers and true or false: true beside 1")
    ),
    levels("one tenth in three ways", "peak_lr: [0.1, 1e-1, 0.10]", ("6:18", "levels 1 and 2 are the same: 0.1")),
    row("axis into a list index", ("6:3", "no field '0' in data.mix (caption, interleaved, text)"), edit=ZOO | {6: "  data.mix.0: [1]"}),
    row("axis into a number's digit", ("6:3", "encoder.width is one value"), edit=ZOO | {6: "  encoder.width.0: [1]"}),
    row("axis that ends in a dot", ("6:3", "no field '' in encoder"), edit=ZOO | {6: "  encoder.: [1]"}),
    row("axis that begins with a dot", ("6:3", "no field '' ("), edit=ZOO | {6: "  .encoder: [1]"}),
    levels("rate of 0", "peak_lr: [0, 1e-3]", ("6:13", "must be above 0, found 0")),
    row("share over one", ("6:29", "must be at most 1, found 1.5"), edit=ZOO | {6: "  train.final_lr_fraction: [1.5]"}),
    row(
        "text in a named level",
        ("6:35", "axes.s.levels.a.decoder.width: expected a whole number, found text '32'"),
        edit=ZOO | {6: '  s: {levels: {a: {decoder.width: "32"}, b: {decoder.width: 64}}}'},
    ),
    row(
        "boolean in a zip",
        ("6:57", "axes.s.zip.decoder.depth[1]: expected a whole number, found true"),
        edit=ZOO | {6: "  s: {zip: {decoder.width: [32, 64], decoder.depth: [1, true]}}"},
    ),
    row(
        "nothing in a zip",
        ("6:57", "axes.s.zip.decoder.depth[1]: expected a whole number, found nothing"),
        edit=ZOO | {6: "  s: {zip: {decoder.width: [32, 64], decoder.depth: [1, ~]}}"},
    ),
    row(
        "list in a named level",
        ("6:35", "expected a whole number, found a list of 1"),
        edit=ZOO | {6: "  s: {levels: {a: {decoder.width: [32]}, b: {decoder.width: 64}}}"},
    ),
    levels("range of one", "num_tokens: {range: [16, 16], step: 1}", ("6:23", "the low bound 16 is not below the high bound 16")),
    levels("range the wrong way", "num_tokens: {range: [64, 16], step: 1}", ("6:23", "the low bound 64 is not below the high bound 16")),
    levels("linspace the wrong way", "peak_lr: {linspace: [2, 1], points: 3}", ("6:23", "the low bound 2 is not below the high bound 1")),
    levels("log below 0", "peak_lr: {log: [-1, 1], points: 3}", ("6:18", "log needs bounds above 0, found -1; use linspace")),
    *(
        levels(
            f"points {points}",
            f"peak_lr: {{linspace: [0.1, 1], points: {points}}}",
            ("6:41", "expected a whole number from 2 to 10,000, found", found),
        )
        for points, found in (("1", "1"), ("-1", "-1"), ("true", "true"), ("2.5", "2.5"), ("'3'", "text '3'"))
    ),
    levels(
        "range from 0 of what is above 0", "num_tokens: {range: [0, 32], step: 16}", ("6:15", "axes.num_tokens: must be above 0, found 0")
    ),
    levels(
        "linspace from 0 of what is above 0", "peak_lr: {linspace: [0, 1], points: 3}", ("6:12", "axes.peak_lr: must be above 0, found 0")
    ),
    levels("step as text", "num_tokens: {range: [16, 64], step: '16'}", ("6:39", "step: expected a number, found text '16'")),
    levels("three bounds", "num_tokens: {range: [16, 32, 64], step: 16}", ("6:23", "expected two numbers, [low, high]; found a list of 3")),
    levels("bounds of two kinds", "num_tokens: {range: [16, '64'], step: 16}", ("6:23", "expected two numbers, [low, high]")),
    levels("bound that is true", "num_tokens: {range: [true, 64], step: 16}", ("6:23", "expected two numbers, [low, high]")),
    row(
        "bounds of a search from 0",
        ("6:18", "log needs bounds above 0, found 0"),
        edit={6: "  peak_lr: {log: [0, 1]}"},
        add="design: {kind: search, trials: 3}\n",
    ),
]

FURTHER_MIXES = [
    *(
        levels(about, f"{MIX.lstrip()}{written}}}", expected)
        for about, written, expected in (
            (
                "share that is not a number",
                "list: [{caption: .nan, interleaved: 0.45, text: 0.1}]",
                ("6:65", ".nan is not a finite number"),
            ),
            ("ratio of nan", "list: ['nan:1:1']", ("6:55", "the part 'nan' of text 'nan:1:1' is not a number of 0 or more")),
            ("negative part", "list: ['-1:1:1']", ("6:55", "the part '-1' of text '-1:1:1' is not a number of 0 or more")),
            ("shares of nothing", "list: [{caption: 0, interleaved: 0, text: 0}]", ("6:55", "sum is 0; use 45:45:10")),
            (
                "mix that is a number",
                "list: [5]",
                ("6:55", "expected a ratio such as 5:5:1 (caption:interleaved:text) or shares by source, found 5"),
            ),
            ("mix of nothing", "list: [~]", ("6:55", "or shares by source, found nothing")),
            ("least share over one", "lattice: 4, min: {text: 1.5}", ("6:65", "the least share of text is 1.5; shares are from 0 to 1")),
            ("least share below 0", "lattice: 4, min: -0.1", ("6:65", "the least share of caption is -0.1")),
            ("least share of nobody", "lattice: 4, min: {txt: 0.1}", ("6:66", "unknown source 'txt'", "did you mean 'text'?")),
            (
                "least share in words",
                "lattice: 4, min: few",
                ("6:65", "expected a number, or numbers by source (caption, interleaved, text)"),
            ),
            ("mix under its least share", "list: ['9:1:0'], min: {text: 0.05}", ("6:55", "text 0 is under its least share 0.05")),
            ("lattice without room", "lattice: 2, min: 0.3", ("6:57", "the limits leave none of the 6 mixes in steps of 1/2")),
            ("lattice too fine", "lattice: 1000", ("6:57", "over 3 sources are 501,501 mixes; up to 10,000 are allowed")),
            ("lattice of 0", "lattice: 0", ("6:57", "lattice: must be at least 1, found 0")),
            ("part raised over one", "raise: {from: '9:1:0', by: [0.2]}", ("6:76", "caption 0.9 + 0.2 = 1.1; a share is from 0 to 1")),
            ("no draws", "dirichlet: {points: 0}", ("6:68", "points: must be at least 1, found 0")),
            (
                "draws without room",
                "dirichlet: {points: 5}, min: 0.33333",
                ("6:59", "10,000 draws give 0 of 5 mixes: 10,000 lie outside the limits", "loosen the limits"),
            ),
            (
                "sources without data",
                "lattice: 2, repeats: {sizes: {caption: 0, interleaved: 0, text: 0}, total: 10, at_most: 2}",
                ("6:69", "2 repeats allow shares up to caption 0 + interleaved 0 + text 0, 0 in all, and a mix needs 1"),
            ),
            (
                "less data than a mix needs",
                "lattice: 2, repeats: {sizes: {caption: 1, interleaved: 1, text: 1}, total: 10, at_most: 2}",
                ("6:69", "caption 0.2 + interleaved 0.2 + text 0.2, 0.6 in all, and a mix needs 1; allow more repeats"),
            ),
            (
                "data of some sources",
                "lattice: 2, repeats: {sizes: {caption: 1}, total: 10, at_most: 2}",
                ("6:77", "no size for interleaved, text; write all of caption, interleaved, text"),
            ),
            (
                "data of a source that is none",
                "lattice: 2, repeats: {sizes: {caption: 1, interleaved: 5, text: 9, txt: 2}, total: 10, at_most: 2}",
                ("6:115", "unknown source 'txt'", "did you mean 'text'?"),
            ),
        )
    ),
    levels(
        "sources twice",
        "mix: {simplex: [caption, caption, text], list: ['5:5:1']}",
        ("6:18", "expected the names of two or more sources, each once"),
    ),
    levels("one source", "mix: {simplex: [caption], list: ['1']}", ("6:18", "expected the names of two or more sources, each once")),
    levels(
        "source of no trainer",
        "mix: {simplex: [caption, interleaved, vide], list: ['5:5:1']}",
        ("6:55", "unknown source 'vide' (caption, interleaved, text)"),
    ),
    row(
        "underscores in the base", ("4:20", "base.image_size: expected a number, found text '1_000'"), edit={4: "base: {image_size: 1_000}"}
    ),
    row("base mix of too few", ("4:13", "base.mix: '5:5' is not a ratio of 3 parts"), edit={4: "base: {mix: '5:5'}"}),
    row("base mix of nothing", ("4:13", "base.mix: the parts of '0:0:0' are all zero"), edit={4: "base: {mix: '0:0:0'}"}),
    row("base mix below 0", ("4:13", "none negative"), edit={4: "base: {mix: {caption: 1.5, interleaved: -0.5, text: 0}}"}),
    row("base share that is not a number", ("4:23", ".nan is not a finite number"), edit={4: "base: {mix: {caption: .nan}}"}),
    row(
        "base share in quotes",
        ("4:23", "base.mix.caption: expected a number, found text '1'; write 1 without"),
        edit={4: "base: {mix: {caption: '1'}}"},
    ),
    *(
        row(f"base {written}", ("4:17", "base.peak_lr: expected a number, found", found), edit={4: f"base: {{peak_lr: {written}}}"})
        for written, found in (("'1e-4'", "text '1e-4'; write 1e-4 without quotes"), ("true", "true"), ("no", "text 'no'"))
    ),
]

COLOURS = [
    row("base that would colour the terminal", ("4:14", "base.fail: 'U+001B[31mred' is none of"), edit={4: 'base: {fail: "\\e[31mred"}'}),
    levels(
        "levels that would colour the terminal",
        'fail: ["\\e[31mred", "\\e[31mred"]',
        ("6:10", "'U+001B[31mred' is none of"),
        ("6:23", "levels 1 and 2 are the same: U+001B[31mred"),
    ),
]

FURTHER_ZOO = [
    row(about, expected, edit=ZOO | {6: f"  {axis}"} | ({4: f"base: {base}"} if base else {}))
    for about, axis, base, expected in (
        (
            "more tokens than patches",
            "connector.num_tokens: [4, 64]",
            "",
            ("6:29", "num_tokens is 64, which kind avg_pool cannot give", "nearest 16"),
        ),
        (
            "tokens of a convolution",
            "connector.num_tokens: [4, 5]",
            "{connector: {kind: c_abstractor}}",
            ("6:29", "num_tokens is 5, which kind c_abstractor cannot give on a grid of 4 x 4"),
        ),
        (
            "more queries than patches",
            "connector.num_tokens: [4, 5, 64]",
            "{connector: {kind: attention_pool}}",
            ("6:32", "num_tokens is 64, which kind attention_pool cannot give", "(1 to 16)"),
        ),
        ("heads that do not divide", "decoder.num_heads: [2, 3]", "", ("6:26", "64 is not divisible by 3 heads of even width")),
        (
            "width that heads do not divide",
            "decoder.width: [64, 65]",
            "",
            ("6:23", "65 is not divisible by 2 heads of even width: nearest 64, 68"),
        ),
        (
            "resolution in quotes in the base",
            "decoder.depth: [1, 2]",
            "{encoder: {image_size: '16'}}",
            ("4:30", "expected a whole number, found text '16'"),
        ),
    )
]

LARGE = [
    row(
        "10^12 cells with a condition",
        ("6:3", "1000 x 1000 x 1000 x 1000 levels x 1 seeds are 1,000,000,000,000 trials, the limit is 1,000,000"),
        edit={
            6: "  num_params: {log: [1.0, 9.0], points: 1000}\n  peak_lr: {log: [0.1, 0.9], points: 1000}\n"
            "  step_seconds: {linspace: [0.1, 0.9], points: 1000}\n  noise_sd: {linspace: [0.1, 0.9], points: 1000}"
        },
        add="where: [num_params > 1]\n",
    ),
    added(
        "a million seeds of two arms", "seeds: 1000000", ("6:3", "2 levels x 1000000 seeds are 2,000,000 trials, the limit is 1,000,000")
    ),
    added("a million seeds and one", "seeds: 1000001", ("8:8", "seeds: found 1000001; write a count from 1 to 1,000,000")),
    added(
        "a million points and one",
        "design: {kind: sobol, points: 1000001}",
        ("8:31", "design.points: must be at most 1000000, found 1000001"),
    ),
    row(
        "one change each, of very many",
        ("9:9", "design: 20001 arms x 100 seeds are 2,000,100 trials"),
        edit={
            6: "  num_params: {log: [1.0, 9.0], points: 10000}\n  peak_lr: {log: [0.1, 0.9], points: 10000}",
            7: "metric: {name: loss, goal: min}",
        },
        add="design: one_at_a_time\nseeds: 100\n",
    ),
]

FURTHER_WHERE = [
    *(
        added(f"condition with {about}", f"where: ['{text}']", (place, *parts))
        for about, text, place, *parts in (
            ("a comprehension", "[x for x in num_tokens]", "8:10", "not allowed in where: list comp"),
            ("a subscript", "num_tokens[0] > 1", "8:10", "not allowed in where: subscript"),
            ("a mapping", "{1: 2} > 1", "8:10", "not allowed in where: dict"),
            ("an assignment", "(a := 1) > 0", "8:11", "not allowed in where: assignment"),
            ("200 parentheses", "(" * 201 + "num_tokens > 1" + ")" * 201, "8:210", "cannot be read: too many nested"),
            ("a number beyond any", "num_tokens < 10e400", "8:23", "not a finite number"),
            ("a product beyond any", "num_tokens * 1e308 * 1e308 > 1", "8:10", "the number is too large"),
            ("a name of Python", "__builtins__ == 1", "8:10", "unknown name '__builtins__'"),
        )
    ),
    added("condition that is a number", "where: [1]", ("8:9", "where[0]: expected text, found 1")),
    added("condition of nothing", "where: [~]", ("8:9", "where[0]: expected text, found nothing")),
    added("conditions of nothing", "where: ~", ("8:8", "where: expected a list, found nothing")),
    added("empty condition", "where: ['']", ("8:10", "the condition is empty; write one such as")),
    added("one condition twice", "where: [num_tokens > 1, ' num_tokens > 1']", ("8:25", "where[1]: conditions 1 and 2 are the same")),
    added(
        "no arm with one level",
        "where: [num_tokens != 64]",
        ("6:20", "axes.num_tokens[1]: no arm with num_tokens = 64 is left: `num_tokens != 64` removes 2"),
        line6=CELLS,
    ),
    added(
        "no arm but the baseline's",
        "where: [num_tokens < 20, image_size > 1]",
        ("6:20", "no arm with num_tokens = 64 is left: `num_tokens < 20` removes 4, `image_size > 1` removes 0"),
        ("6:24", "no arm with num_tokens = 144 is left"),
        line6=CELLS,
    ),
    added(
        "spaced levels that all go but one",
        "where: [num_tokens < 20]",
        ("6:3", "axes: of num_tokens only 16 is left: `num_tokens < 20` removes 2"),
        line6="  num_tokens: {range: [16, 48], step: 16}",
    ),
    added(
        "named level that goes",
        "where: [num_tokens < 20]\ndesign: one_at_a_time",
        ("6:54", "axes.s.levels.b.num_tokens: no arm with s = b is left: `num_tokens < 20` removes 1"),
        line6="  s: {levels: {a: {num_tokens: 16}, b: {num_tokens:  64}}}",
    ),
    added(
        "base of a path that goes",
        "where: [num_tokens > 16]\ndesign: cumulative",
        ("9:8", "the base itself is removed, which every level is measured against: `num_tokens > 16` removes 1"),
        line6="  num_tokens: [16, 64]\n  image_size: [224, 448]",
        line7="metric: {name: loss, goal: min}",
    ),
    added(
        "points that all go",
        "where: [num_tokens < 1]\ndesign: {kind: latin_hypercube, points: 4}",
        ("8:8", "the conditions leave nothing of 4 cells: `num_tokens < 1` removes 4"),
    ),
]

FURTHER_NESTED = [
    row(about, *expected, edit=ZOO | {6: f"  {axes}"})
    for about, axes, *expected in (
        (
            "zip of three lengths",
            "s: {zip: {encoder.width: [32, 64], encoder.depth: [1], decoder.depth: [1, 2, 3]}}",
            ("6:12", "zipped fields need equally many values: encoder.width has 2, encoder.depth has 1, decoder.depth has 3"),
        ),
        (
            "zip of two lengths under a kind",
            "connector.kind: {choices: {avg_pool: {s: {zip: {encoder.width: [32, 64], encoder.depth: [1]}}}, c_abstractor: {}}}",
            ("6:50", "choices.avg_pool.s.zip: zipped fields need equally many values"),
        ),
        (
            "condition under a kind, of a later axis",
            "connector.kind: {choices: {avg_pool: {train.steps: {list: [50, 60], when: decoder.depth > 1}}, c_abstractor: {}}}\n  decoder.depth: [1, 2]",
            ("6:77", "train.steps.when: 'decoder.depth' is varied by a later axis; write that axis before train.steps"),
        ),
        (
            "conditions in a circle",
            "train.steps: {list: [300, 400], when: decoder.depth > 1}\n  decoder.depth: {list: [1, 2], when: train.steps > 350}",
            ("6:41", "axes.train.steps.when: 'decoder.depth' is varied by a later axis"),
        ),
        (
            "condition over nobody's field",
            "connector.kind: [avg_pool, c_abstractor]\n  train.steps: {list: [300, 400], when: decoder.dept > 1}",
            ("7:41", "axes.train.steps.when: unknown name 'decoder.dept'; did you mean 'decoder.depth'?"),
        ),
        ("empty when", "train.steps: {list: [300, 400], when: ''}", ("6:42", "the condition is empty")),
        (
            "when that is a list",
            "train.steps: {list: [300, 400], when: [decoder.depth > 1]}",
            ("6:41", "when: expected text, found a list of 1"),
        ),
        (
            "kind under itself",
            "connector.kind: {choices: {avg_pool: {connector.kind: [avg_pool]}, c_abstractor: {}}}",
            ("6:41", "the axis connector.kind is written twice"),
        ),
        (
            "kinds that are numbers",
            "connector.kind: {choices: {1: {}, 2: {decoder.width: [32, 64]}}}",
            ("6:30", "keys are text, found 1; put it in quotes"),
            ("6:37", "keys are text, found 2; put it in quotes"),
        ),
        (
            "kinds of nothing",
            "connector.kind: {choices: {avg_pool: 3, c_abstractor: ~}}",
            ("6:40", "avg_pool: expected a mapping, found 3"),
            ("6:57", "c_abstractor: expected a mapping, found nothing"),
        ),
    )
] + [
    row(
        "kind that the design never chooses",
        ("6:61", "the axis connector.num_tokens applies in no arm: connector.kind == 'c_abstractor' holds nowhere"),
        edit=ZOO
        | {6: "  connector.kind: {choices: {avg_pool: {}, c_abstractor: {  connector.num_tokens: [4, 16]}}}\n  train.steps: [300, 400]"},
        add="design: {kind: list, arms: [{}, {train.steps: 400}]}\n",
    ),
]

FURTHER_FIELDS = [
    added("seed of 2^32", "seeds: [4294967296]", ("8:9", "seeds[0]: must be at most 4294967295, found 4294967296")),
    added("seed that is no whole number", "seeds: [1.0]", ("8:9", "seeds[0]: expected a whole number, found 1.0")),
    added("seed of true", "seeds: [true]", ("8:9", "seeds[0]: expected a whole number, found true")),
    *(
        added(f"seeds: {written}", f"seeds: {written}", ("8:8", f"seeds: found {found}; write a count"))
        for written, found in (("-3", "-3"), ("five", "text 'five'"), ("~", "nothing"), ("{from: 1}", "a mapping (from)"))
    ),
    row("no metric", ("1:1", "'metric' is missing"), edit={7: "# none"}),
    row(
        "metric that is a word",
        ("7:9", "metric: expected a group of fields (name, goal, noise_sd), found text 'loss'"),
        edit={7: "metric: loss"},
    ),
    row("metric without a name", ("7:9", "metric: 'name' is missing"), edit={7: "metric: {goal: min}"}),
    row("metric without a goal", ("7:9", "metric: 'goal' is missing"), edit={7: "metric: {name: loss}"}),
    row("metric of nothing", ("7:16", "metric.name: expected text, found nothing"), edit={7: "metric: {name: ~, goal: min}"}),
    row("noise of 0", ("7:43", "metric.noise_sd: must be above 0, found 0"), edit={7: "metric: {name: loss, goal: min, noise_sd: 0}"}),
    *(
        added(f"{group} {written}", f"{group}: {{{written}}}", (place, f"{group}.{part}"))
        for group, written, place, part in (
            ("resources", "gpus: 65", "8:19", "gpus: must be at most 64, found 65"),
            ("resources", "gpus: one", "8:19", "gpus: expected a number, found text 'one'"),
            ("resources", "cpus: true", "8:19", "cpus: expected a number, found true"),
            ("resources", "cpus: -1", "8:19", "cpus: must be above 0, found -1"),
            ("budget", "wall_minutes: 0", "8:24", "wall_minutes: must be above 0, found 0"),
            ("budget", "wall_minutes: -5", "8:24", "wall_minutes: must be above 0, found -5"),
            ("budget", "trials: 1.5", "8:18", "trials: expected a whole number, found 1.5"),
            ("hardware", "peak_flops: 0, utilisation: 0.4", "8:24", "peak_flops: must be above 0, found 0"),
            ("hardware", "peak_flops: 1e12, utilisation: 0.4, price_per_hour: -1", "8:64", "price_per_hour: must be at least 0, found -1"),
            ("hardware", "peak_flops: 1e12, utilisation: 0.4, devices: 0", "8:57", "devices: must be above 0, found 0"),
            ("law", "hyperparameter: num_tokens, target: 0", "8:43", "target: must be above 0, found 0"),
            ("law", "hyperparameter: num_tokens, size: num_tokens", "8:41", "size: num_tokens is the hyperparameter"),
            (
                "law",
                "hyperparameter: num_tokens, size: num_param",
                "8:41",
                "size: no axis 'num_param' (num_params, num_tokens); did you mean 'num_params'?",
            ),
            ("law", "hyperparameter: num_tokens, form: N+T", "8:41", "form: found text 'N+T' (allowed: N, N+D, N+B, C)"),
            ("law", "hyperparameter: num_tokens, form: N+D", "8:41", "form: the form N+D reads tokens; name the axis or the metric"),
            ("law", "hyperparameter: num_tokens, tokens: tokens", "8:43", "tokens: the trainer synthetic declares no 'tokens'"),
        )
    ),
    *(
        added(f"{group} of nothing", f"{group}: ~", (place, f"{group}: expected"))
        for group, place in (("resources", "8:12"), ("budget", "8:9"), ("claims", "8:9"), ("design", "8:9"))
    ),
    added("memory with an i", "resources: {memory: 2Gi}", ("8:13", "resources: unknown key 'memory' (allowed: cpus, gpus,")),
    added("budget that is a number", "budget: 100", ("8:9", "budget: expected a group of fields (trials, train_flops,")),
    added(
        "law that is a word",
        "law: num_tokens",
        ("8:6", "law: expected a group of fields (hyperparameter, size, target, form, tokens, batch_tokens, definitions)"),
    ),
    added(
        "law whose definitions say little",
        "law: {hyperparameter: num_tokens, definitions: {counts: non_embeding, batch: '', horizon: x}}",
        ("8:48", "law.definitions: 'schedule' is missing"),
        ("8:48", "law.definitions: 'weight_decay' is missing"),
        ("8:57", "law.definitions.counts: found text 'non_embeding' (allowed: non_embedding,", "did you mean 'non_embedding'?"),
        ("8:78", "law.definitions.batch: expected text, found text ''"),
    ),
    added(
        "seeds of listed arms that are none",
        "design: [{kind: list, arms: [{}], seeds: [1, 1]}, {kind: list, arms: [{num_tokens: 64}], seeds: 0}]",
        ("8:42", "design[0].seeds: seeds 1 and 2 are the same: 1"),
        ("8:97", "design[1].seeds: found 0; write a count from 1 to"),
    ),
    added("designs of numbers", "design: [3]", ("8:10", "design[0]: expected a group of fields", "found 3")),
    added("arms of nothing", "design: {kind: list, arms: []}", ("8:28", "design.arms: expected at least 1 of them")),
    added(
        "arm at a list",
        "design: {kind: list, arms: [{num_tokens: [16]}]}",
        ("8:42", "design.arms[0].num_tokens: expected", "found a list of 1"),
    ),
    added("axes of a design that are numbers", "design: {kind: grid, axes: [3]}", ("8:29", "design.axes[0]: expected text, found 3")),
    added("list without arms", "design: list", ("8:9", "design: 'arms' is missing")),
    added("seed below 0", "design: {kind: sobol, points: 4, seed: -1}", ("8:40", "design.seed: must be at least 0, found -1")),
    *(
        added(
            f"{kind} that ends where it began",
            f"design: {{kind: {kind},   final: {{num_tokens: 16}}}}",
            (place, "16 is the base's own level of num_tokens; write another one"),
        )
        for kind, place in (("leave_one_out", "8:53"), ("cumulative", "8:50"))
    ),
    added(
        "two designs that do not fit their axes",
        "design: [{kind: list, arms: [{num_tokens: 5}]}, {kind: cumulative, final: {num_tokens: 6}}]",
        ("8:43", "design[0].arms[0].num_tokens: no level 5 on num_tokens (16, 64)"),
        ("8:88", "design[1].final.num_tokens: no level 6 on num_tokens (16, 64)"),
    ),
    added(
        "two designs over axes of nobody",
        "design: [{kind: grid, axes: [toks]}, {kind: cumulative, axes: [tokens]}]",
        ("8:30", "design[0].axes[0]: no axis 'toks'"),
        ("8:64", "design[1].axes[0]: no axis 'tokens'"),
    ),
    *(
        added(f"search with {about}", f"design: {{kind: search, {written}}}", *expected)
        for about, written, *expected in (
            ("no trial", "trials: 0", ("8:32", "design.trials: must be above 0, found 0")),
            ("very many trials", "trials: 1000000", ("8:32", "design.trials: must be at most 100000")),
            ("no steps", "trials: 3, max_steps: 0", ("8:46", "design.max_steps: must be above 0, found 0")),
            ("axes of its own", "trials: 3, axes: [num_tokens]", ("8:35", "design: unknown key 'axes'")),
            (
                "one objective twice",
                "trials: 3, objectives: [{name: score/0, goal: max}, {name: score/0, goal: min}]",
                ("8:83", "score/0 is an objective already"),
            ),
            (
                "a goal that is none",
                "trials: 3, objectives: [{name: score/0, goal: maxi}]",
                ("8:70", "goal: found text 'maxi' (allowed: min, max)"),
            ),
            (
                "objectives and early stops",
                "trials: 3, stop_early: asha, max_steps: 3, objectives: [{name: score/0, goal: max}]",
                ("8:47", "asha compares trials on one metric, and this search has objectives"),
            ),
            (
                "a rule of nobody",
                "trials: 3, stop_early: hyperbnd, max_steps: 3",
                ("8:47", "found text 'hyperbnd' (allowed: none, asha, hyperband, median, pbt); did you mean 'hyperband'?"),
            ),
            (
                "groups of too few",
                "trials: 3, stop_early: hyperband, max_steps: 9",
                ("8:32", "hyperband needs 4 trials or more", "found 3"),
            ),
            ("a median of too few", "trials: 3, stop_early: median, max_steps: 9", ("8:32", "median needs 4 trials or more", "found 3")),
            (
                "a median without steps",
                "trials: 4, stop_early: median",
                ("8:9", "max_steps is missing: median compares trials at parts of it; write max_steps, or stop_early: none"),
            ),
            (
                "copies of weights along a fixed field",
                "trials: 4, stop_early: pbt, max_steps: 9",
                ("6:3", "num_tokens may not change then (allowed: peak_lr); leave it at the base, or take asha"),
            ),
            (
                "everything wrong with copies of weights",
                "trials: 2, stop_early: pbt, objectives: [{name: score/0, goal: max}]",
                ("6:3", "num_tokens may not change then (allowed: peak_lr)"),
                ("8:32", "pbt needs 4 trials or more to compare, found 2; asha does with fewer"),
                ("8:47", "pbt compares trials on one metric"),
                ("8:9", "max_steps is missing: pbt"),
            ),
        )
    ),
    row(
        "copies of weights between levels",
        ("6:12", "pbt moves between bounds; write {log: [low, high]} or linspace, without points"),
        edit={6: "  peak_lr: [1e-4, 1e-2]"},
        add="design: {kind: search, trials: 4, stop_early: pbt, max_steps: 9}\n",
    ),
    row(
        "copies of weights of a trainer that names no field for it",
        ("10:47", "trainer command names no field that may change while it trains; asha, hyperband and median go with any trainer"),
        edit={3: "trainer: command", 4: "base: {lr: 0.1}", 6: "  lr: {log: [1e-4, 1e-2]}"},
        add="command:\n  {argv: ['{python}', -c, pass], metrics: {loss: nats}}\ndesign: {kind: search, trials: 4, stop_early: pbt, max_steps: 9}\n",
    ),
    row(
        "law over trials whose rate was changed on the way",
        ("9:6", "a law needs trials that kept their values from start to end, and pbt changes them; take asha"),
        edit={6: "  peak_lr: {log: [1e-4, 1e-2]}"},
        add="design: {kind: search, trials: 4, stop_early: pbt, max_steps: 9}\nlaw: {hyperparameter: peak_lr}\n",
    ),
    row(
        "several objectives of cmaes",
        ("8:44", "cmaes has one objective"),
        edit={6: "  peak_lr: {log: [1e-4, 1e-2]}"},
        add="design: {kind: search, trials: 3, sampler: cmaes, objectives: [{name: score/0, goal: max}]}\n",
    ),
]

FURTHER_CLAIMS = [
    added(about, "claims:\n" + "\n".join(f"  - {{{claim}}}" for claim in written), *expected, line6=WORDS)
    for about, written, *expected in (
        ("claim without an axis", ["expect: increases"], ("10:5", "claims[0]: 'axis' is missing")),
        ("claim without an expectation", ["axis: num_tokens"], ("10:5", "claims[0]: 'expect' is missing")),
        ("equivalent within nothing", ["axis: num_tokens, expect: equivalent, within: 0"], ("10:52", "within: must be above 0, found 0")),
        ("margin in quotes", ["axis: num_tokens, expect: equivalent, within: '1'"], ("10:52", "within: expected a number, found text '1'")),
        (
            "number in quotes as a level",
            ["axis: num_tokens, expect: increases, level: '64'"],
            ("10:50", "no level text '64' on num_tokens (16, 64, 144)"),
        ),
        (
            "two levels that are one",
            ["axis: num_tokens, expect: increases, level: 64, against: 64.0"],
            ("10:50", "level and against are both 64"),
        ),
        (
            "optimum at an end",
            ["axis: num_tokens, expect: interior_optimum, level: 16"],
            ("10:57", "16 is an end of num_tokens; an optimum inside is one of 64"),
        ),
        (
            "optimum against a level",
            ["axis: num_tokens, expect: interior_optimum, against: 16"],
            ("10:59", "compares with both ends by itself; leave against out"),
        ),
        (
            "optimum among words",
            ["axis: connector, expect: interior_optimum"],
            ("10:12", "needs an axis of numbers", "avg_pool, attention_pool, c_abstractor"),
        ),
        (
            "best against a level",
            ["axis: connector, expect: best_level, level: avg_pool, against: c_abstractor"],
            ("10:69", "best_level compares with every other level by itself; leave against out"),
        ),
        (
            "other difference on no level",
            ["axis: num_tokens, expect: larger_effect_than, than: {axis: connector, level: x}"],
            ("10:83", "claims[0].than.level: no level text 'x' on connector"),
        ),
        (
            "other difference with a typo",
            ["axis: num_tokens, expect: larger_effect_than, than: {  axes: connector}"],
            ("10:58", "claims[0].than: 'axis' is missing"),
            ("10:61", "claims[0].than: unknown key 'axes' (allowed: axis, level, against); did you mean 'axis'?"),
        ),
        (
            "other difference as a word",
            ["axis: num_tokens, expect: larger_effect_than, than: connector"],
            ("10:58", "than: expected a group of fields (axis, level, against)"),
        ),
        (
            "larger than itself",
            ["axis: num_tokens, expect: larger_effect_than, than: {axis: num_tokens}"],
            ("10:58", "claims[0].than: 144 against 16 of num_tokens is compared with itself; name another difference"),
        ),
        (
            "larger than itself turned round",
            ["axis: num_tokens, expect: larger_effect_than, than: {axis: num_tokens, level: 16, against: 144}"],
            ("10:58", "144 against 16 of num_tokens is compared with itself"),
        ),
        (
            "condition of two kinds",
            ["axis: num_tokens, expect: increases, when: connector > 3"],
            ("10:61", "claims[0].when: compares text with number"),
        ),
        (
            "condition that is none",
            ["axis: num_tokens, expect: increases, when: 1 + 1"],
            ("10:49", "claims[0].when: expected something true or false"),
        ),
        (
            "condition of no arm",
            ["axis: num_tokens, expect: increases, when: connector == 'zzz'"],
            ("10:49", "no arm is left where connector == 'zzz'"),
        ),
        (
            "condition that leaves a level out",
            ["axis: num_tokens, expect: increases, when: num_tokens < 100"],
            ("10:5", "claims[0].level: no arm has num_tokens = 144 where num_tokens < 100"),
        ),
        ("lesson that is a number", ["axis: num_tokens, expect: increases, lesson: 3"], ("10:51", "lesson: expected text, found 3")),
        ("claim of nothing", [""], ("10:5", "claims[0]: 'axis' is missing"), ("10:5", "claims[0]: 'expect' is missing")),
        (
            "claims that contradict each other, one in full",
            ["axis: num_tokens, expect: increases", "axis: num_tokens, expect: decreases, level: 144, against: 16"],
            ("11:5", "claims[1]: claims 1 and 2 contradict each other: increases from 16 to 144 and decreases from 16 to 144"),
        ),
        (
            "claims that contradict each other turned round",
            ["axis: num_tokens, expect: increases, level: 64, against: 16", "axis: num_tokens, expect: increases, level: 16, against: 64"],
            ("11:5", "contradict each other: increases from 16 to 64 and increases from 64 to 16"),
        ),
        (
            "claims that contradict each other where the same holds",
            [f"axis: num_tokens, expect: {expect}, when: connector == 'avg_pool'" for expect in ("increases", "decreases")],
            ("11:5", "contradict each other"),
        ),
        (
            "each larger than the other",
            [
                "axis: num_tokens, expect: larger_effect_than, than: {axis: connector}",
                "axis: connector, expect: larger_effect_than, than: {axis: num_tokens}",
            ],
            ("11:5", "contradict each other: num_tokens larger than connector and connector larger than num_tokens"),
        ),
    )
] + [
    added("claims that are texts", "claims: [num_tokens increases]", ("8:10", "claims[0]: expected a group of fields (axis, expect,")),
    added(
        "claim between bounds",
        "design: {kind: latin_hypercube, points: 4}\nclaims:\n  - {axis: peak_lr, expect: increases}",
        ("10:12", "peak_lr is drawn between bounds, and a claim needs levels"),
        line6="  peak_lr: {log: [1e-4, 1e-2]}",
    ),
    row(
        "claims on an axis whose base is no value",
        ("4:25", "base.decoder.width: expected a whole number, found nothing"),
        edit=ZOO | {4: "base: {decoder: {width: ~}}", 6: "  decoder.width: [32, 64, 96]"},
        add="design: one_at_a_time\nlaw: {hyperparameter: decoder.width}\nclaims:\n  - {axis: decoder.width, expect: interior_optimum}\n",
    ),
]

WITHOUT_TRAINER = [
    row(
        about,
        ("3:10", "unknown trainer 'synth'"),
        *expected,
        edit={3: "trainer: synth", **({6: f"  {axes}"} if axes else {})},
        add=f"{add}\n" if add else "",
    )
    for about, axes, add, *expected in (
        (
            "claims of an unknown trainer's study",
            "",
            "claims:\n  - {axis: num_tokens, expect: increases, level: 5}\n  - {axis: num_tokens, expect: interior_optimum}\n"
            "  - {axis: num_tokens, expect: increases, level: 16}\n  - {axis: num_tokens, expect: decreases}\n  - {axis: num_tokens, expect: increases}",
            ("9:50", "no level 5 on num_tokens (16, 64)"),
            ("10:12", "interior_optimum needs three levels or more"),
            ("11:50", "level and against are both 16"),
            ("13:5", "claims 4 and 5 contradict each other"),
        ),
        (
            "arms of an unknown trainer's study",
            "",
            "design: {kind: list, arms: [{num_tokens: 5}, {toks: 3}]}",
            ("8:42", "design.arms[0].num_tokens: no level 5 on num_tokens (16, 64)"),
            ("8:47", "design.arms[1]: no axis 'toks'"),
        ),
        (
            "law of an unknown trainer's study",
            "num_tokens: [a, b]",
            "law: {hyperparameter: num_tokens}",
            ("8:23", "a law needs an axis of numbers"),
        ),
        (
            "names of an unknown trainer's axes",
            "seed: {zip: {a: [1, 2], b: [3, 4]}}\n  a/b: {levels: {x: {c: 1}, y: {c: 2}}}\n  b: [1, 2]",
            "",
            ("6:3", "'seed' is a column of the results"),
            ("7:3", "found 'a/b'; the name of an axis"),
            ("8:3", "b is varied by the axis seed already"),
        ),
        (
            "search of an unknown trainer",
            "",
            "design: {kind: search, trials: 3, sampler: cmaes, stop_early: asha}\nseeds: 2\nwhere: [a > 1]",
            ("6:15", "cmaes draws between bounds"),
            ("8:9", "max_steps is missing"),
            ("9:8", "a search runs each arm with one seed, found 2"),
            ("10:8", "conditions do not go with design: search"),
        ),
        (
            "fraction of an unknown trainer's axes",
            "num_tokens: [1, 2, 3]",
            "design: fractional",
            ("6:3", "fractional needs two levels an axis"),
        ),
        (
            "condition over an unknown trainer's later axis",
            "a: {list: [1, 2], when: b > 1}\n  b: [1, 2]",
            "",
            ("6:27", "'b' is varied by a later axis"),
        ),
        (
            "twice the same in an unknown trainer's study",
            "",
            "where: [a > 1, a > 1]\nbudget: {money: 0}",
            ("8:16", "conditions 1 and 2 are the same"),
            ("9:17", "budget.money: must be above 0, found 0"),
        ),
    )
]

ROWS = [
    *KEYS,
    *YAML,
    *NAMES,
    *FIELDS,
    *AXES,
    *NESTED,
    *WHEN,
    *MIXES,
    *ZOO_LEVELS,
    *BASES,
    *WHERE,
    *CLAIMS,
    *BUDGETS,
    *LEFT_OUT,
    *TOGETHER,
    *FURTHER_YAML,
    *FURTHER_NAMES,
    *CIRCLES,
    *FURTHER_AXES,
    *FURTHER_MIXES,
    *COLOURS,
    *FURTHER_ZOO,
    *LARGE,
    *FURTHER_WHERE,
    *FURTHER_NESTED,
    *FURTHER_FIELDS,
    *FURTHER_CLAIMS,
    *WITHOUT_TRAINER,
]


def write(case: Row, folder: Path) -> Path:
    for name, text in case.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    path = folder / "study.yaml"
    path.write_text(text_of(case), encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", ROWS, ids=[case.about[:60] for case in ROWS])
def test_bad_input_is_reported_in_full_and_changes_nothing(case: Row, tmp_path: Path) -> None:
    path = write(case, tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError) as caught:
        load_study(path)
    assert contents(tmp_path) == before
    assert caught.value.exit_code == 2
    left = [str(problem).removeprefix(f"{tmp_path}/").removeprefix("study.yaml:") for problem in caught.value.problems]
    for place, *parts in case.expected:
        at = f"{place}: "
        found = [problem for problem in left if problem.startswith(at) and all(part in problem for part in parts)]
        assert found, f"nothing at {place} says {parts}; reported:\n" + "\n".join(left)
        left.remove(found[0])
    assert not left, "also reported:\n" + "\n".join(left)


def test_good_study_is_accepted(tmp_path: Path) -> None:
    assert [arm.name for arm in make_arms(load_study(write(row("good"), tmp_path)))] == ["base", "num_tokens=64"]


def test_scientific_notation_is_a_number_with_the_same_config(tmp_path: Path) -> None:
    configs = []
    for written in ("1e-4", "0.0001", "1E-4", "1.0e-4"):
        study = load_study(write(row("rate", edit={6: f"  peak_lr: [{written}]"}), tmp_path))
        configs += [dict(arm.config) for arm in make_arms(study)]
        assert study.axes == {"peak_lr": [0.0001]}
    assert all(config == configs[0] for config in configs)


def test_words_of_yaml_1_1_stay_text(tmp_path: Path) -> None:
    written = ["no", "on", "y", "012", "1:30", "5:5:1", "2024-01-01", "1_000"]
    study = load_study(write(row("words", add=f"claims: []\nquestion: {written[0]}\n"), tmp_path))
    assert study.question == "no"
    with pytest.raises(InputError) as caught:
        load_study(write(row("words", edit={6: f"  fail: [{', '.join(written)}]"}), tmp_path))
    assert [problem.message.split("'")[1] for problem in caught.value.problems] == written


@pytest.mark.parametrize(
    ("data", "place", "part"),
    [
        (b"", "1:1", "the file is empty"),
        (b"# nothing\n", "1:1", "the file is empty"),
        (b"- a\n", "1:1", "expected a mapping at the top, found a list of 1"),
        (b"schema: 1\nname: \xff\n", "2:7", "byte 0xFF is not UTF-8"),
        ("schema: 1\n".encode("utf-16"), "1:1", "UTF-16"),
        (b"a: " + b"x" * 1_000_001, "1:1", "larger than 1 MB"),
        (b"a: [" + b"1," * 60_000 + b"]", "1:", "more than 50,000 values"),
        (b"[" * 50_000, "1:33", "nested deeper than 32"),
        (b"a: 'x\n", "2:1", "not YAML"),
        (b"a: \x00\n", "1:4", "U+0000"),
    ],
    ids=["empty", "comments", "list", "latin-1", "utf-16", "2 MB", "60,000 items", "50,000 brackets", "open quote", "NUL"],
)
def test_file_that_is_no_study_is_refused(data: bytes, place: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_study(path)
    (problem,) = caught.value.problems
    assert f"{problem.line}:{problem.column}".startswith(place)
    assert part in problem.message


def test_byte_order_mark_and_windows_lines_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_study(path).name == "tiny"


def test_link_out_of_the_folder_is_no_base(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.yaml").write_text("noise_sd: 0.5\n", encoding="utf-8")
    (tmp_path / "inner" / "base.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(InputError, match="lies outside the study's folder"):
        load_study(write(row("link", edit={4: "base: base.yaml"}), tmp_path / "inner"))


def test_reference_that_is_nothing_lists_the_shipped_studies(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"'quickstrat' is no file here and no shipped study \(.*quickstart.*\); did you mean 'quickstart'\?"
    ):
        load_study("quickstrat")
    with pytest.raises(InputError, match="is a folder"):
        load_study(tmp_path)
    with pytest.raises(InputError, match="is not a regular file"):
        load_study("/dev/zero")


def test_no_message_holds_a_character_that_cannot_be_seen(tmp_path: Path) -> None:
    """Whatever a study says, a terminal shows it as text: also where the trainer repeats it."""
    bad = "a\\e[2J\\u202e\\u0007b"
    for edit in (
        {2: f'name: "{bad}"'},
        {3: f'trainer: "{bad}"'},
        {4: f'base: {{"{bad}": 1}}'},
        {4: f'base: {{fail: "{bad}", mix: "{bad}", connector: "{bad}"}}'},
        {4: f'base: "{bad}"'},
        {6: f'  "{bad}": [1]'},
        {6: f'  fail: ["{bad}", "{bad}"]'},
        {6: f'  "{bad}": {{levels: {{"{bad}": {{"{bad}": 1}}, c: {{num_tokens: "{bad}"}}}}}}'},
        {6: f'  "{bad}": {{zip: {{fail: ["{bad}", none], "{bad}": [1, 2]}}}}'},
        {6: f'  mix: {{simplex: [caption, "{bad}"], list: ["{bad}", {{"{bad}": 1}}], min: {{"{bad}": "{bad}"}}}}'},
        {6: f'  num_tokens: {{list: [16, 64], when: "{bad}"}}\nwhere: ["{bad}", "\'{bad}\' == num_tokens"]'},
        {7: f'metric: {{name: "{bad}", goal: "{bad}", "{bad}": 1}}'},
        {8: f'design: {{kind: "{bad}"}}\nclaims: [{{axis: "{bad}", expect: "{bad}", level: "{bad}"}}]\nextends: "{bad}"'},
        {8: f'design: {{kind: list, arms: [{{"{bad}": "{bad}", num_tokens: "{bad}"}}]}}\nlaw: {{hyperparameter: "{bad}", size: "{bad}"}}'},
        {8: f'claims: [{{axis: num_tokens, expect: increases, level: "{bad}", metric: "{bad}", when: "{bad}", than: {{axis: "{bad}"}}}}]'},
        {4: f"base: {{fail: {'x' * 5000}}}"},
        {8: f'"{bad}": 1\nseeds: "{bad}"\nbudget: {{"{bad}": "{bad}"}}\nquestion: !{"x" * 9} a'},
    ):
        with pytest.raises(InputError) as caught:
            load_study(write(row("hidden", edit=edit), tmp_path))
        assert all(problem.message.isprintable() and len(problem.message) <= 1000 for problem in caught.value.problems), (
            caught.value.problems
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    path = write(row("locked"), tmp_path)
    path.chmod(0)
    with pytest.raises(InputError, match=r"study\.yaml: cannot be read: Permission denied"):
        load_study(path)
