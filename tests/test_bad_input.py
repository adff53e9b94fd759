"""Bad input, row by row: what a person may get wrong in a study file, and the line, column and words that answer.

Each row is a study with a mistake and *all* the problems it must report, so a row fails on a missing problem and on a spurious one.
Every row also checks that nothing in the folder changed. To add a row, edit the lines of `GOOD` or add some after them.
"""
# ruff: noqa: E501 - a study of one long line stays one long line

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
        ("6:28", "num_tokens is 5, which avg_pool cannot give on a grid of 4 x 4", "nearest 4"),
        edit=ZOO | {6: "  connector.num_tokens: [4,5]"},
    ),
    row(
        "tokens that only one resolution can give",
        ("6:28", "encoder.image_size[1]", "num_tokens is 16, which avg_pool cannot give on a grid of 2 x 2"),
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
]

BASES = [
    row(
        "missing base",
        ("4:7", "no file 'bases/tny.yaml'", "among the shipped bases (bases/tiny.yaml", "did you mean 'bases/tiny.yaml'?"),
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
            "axis: connector, against: avgpool, expect: best_level, level: avg_pool",
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
        ("10:5", "claims 1 and 2 contradict each other: increases and decreases"),
        add="claims:\n  - {axis: num_tokens, expect: increases}\n  - {axis: num_tokens, expect: decreases}\n",
    ),
    row("claims that are no list", ("8:9", "claims: expected a list, found a mapping"), add="claims: {axis: num_tokens}\n"),
]

TOGETHER = [
    row(
        "levels after one that cannot be read",
        ("6:26", "levels mix numbers and text: write 16 without quotes"),
        ("6:32", "num_tokens is 5, which avg_pool cannot give"),
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
    row("memory as text", ("8:13", "resources: unknown key 'memory' (allowed: cpus, gpus)"), add="resources: {memory: 2GB}\n"),
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
        ("9:5", "claims[0].level: no arm has num_tokens = 64"),
        add="claims:\n  - {axis: num_tokens, expect: increases}\nwhere: [num_tokens < 20]\n",
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
