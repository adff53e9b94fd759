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
        ("6:36", "unknown key 'point'", "did you mean 'points'?"),
        ("6:15", "points is missing"),
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
    row("design", ("8:9", "found text 'grids' (allowed: grid, one_at_a_time, search); did you mean 'grid'?"), add="design: grids\n"),
    row("cpus", ("8:20", "resources.cpus: must be above 0, found 0"), add="resources: {cpus:  0}\n"),
    row("cpus as text", ("8:19", "resources.cpus: expected a number, found text '2'"), add='resources: {cpus: "2"}\n'),
    row("gpus", ("8:19", "resources.gpus: must be at least 0, found -1"), add="resources: {gpus: -1}\n"),
    row("budget", ("8:24", "budget.wall_minutes: expected a number, found text 'soon'"), add="budget: {wall_minutes: soon}\n"),
    row("where that is no list", ("8:8", "where: expected a list, found text"), add="where: num_tokens > 1\n"),
    row("search without its block", ("8:9", "design: search needs search: {trials: n}"), add="design: search\n"),
    row("search block without the design", ("8:9", "goes with design: search only"), add="search: {trials: 3, max_steps: 9}\n"),
    row("asha without steps", ("9:9", "max_steps is missing"), add="design: search\nsearch: {trials: 3}\n"),
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
    row("log from 0", ("6:19", "log needs bounds above 0, found 0; use linspace"), edit={6: "  peak_lr: {log: [0, 1], points: 3}"}),
    row("bounds the wrong way", ("6:18", "the low bound 2 is not below the high bound 1"), edit={6: "  peak_lr: {log: [2, 1], points: 3}"}),
    row(
        "bounds that are no numbers",
        ("6:18", "expected two numbers, [low, high]; found text '1e-4:1e-2'"),
        edit={6: "  peak_lr: {log: 1e-4:1e-2, points: 3}"},
    ),
    row("points missing", ("6:12", "points is missing"), edit={6: "  peak_lr: {log: [1, 2]}"}),
    row("points 0", ("6:35", "expected a whole number from 2 to 10,000, found 0"), edit={6: "  peak_lr: {log: [1, 2],  points: 0}"}),
    row(
        "a grid of 10^9",
        ("6:3", "1000 x 1000 x 1000 levels x 1 seeds are 1,000,000,000 trials, the limit is 1,000,000"),
        edit={
            6: "  num_params: {log: [1.0, 9.0], points: 1000}\n  peak_lr: {log: [0.1, 0.9], points: 1000}\n  step_seconds: {linspace: [0.1, 0.9], points: 1000}"
        },
    ),
    row(
        "base that is no group",
        ("4:20", "found text 'avg_pool'; the axis connector.kind needs a mapping here"),
        edit=ZOO | {4: "base: {connector:  avg_pool}", 6: "  connector.kind: [avg_pool]"},
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
        add="design: search\nsearch: {trials: 2, stop_early: none}\nwhere: [num_tokens > 1]\n",
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
            ("10:32", "found text 'rises' (allowed: increases, decreases, equivalent, best_level)"),
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

ROWS = [*KEYS, *YAML, *NAMES, *FIELDS, *AXES, *MIXES, *ZOO_LEVELS, *BASES, *WHERE, *CLAIMS, *TOGETHER]


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
