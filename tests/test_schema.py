"""The JSON Schema of a study file, for editors: it takes every study that loads here, and the mistakes it can see it refuses.

What needs the trainer or two keys at once (levels that repeat, claims on no axis) is left to `ablate validate`.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ablate.compose import shipped_studies, suite_members
from ablate.marked_yaml import read
from ablate.schema import TITLE, json_schema

ROOT = Path(__file__).parent.parent
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
DOCUMENT = (ROOT / "docs" / "study-format.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(# whole study\n.*?)```", DOCUMENT, flags=re.DOTALL)
SHIPPED = {name: file.read_text(encoding="utf-8") for name, file in shipped_studies().items() if not suite_members(name)}
WHOLE = SHIPPED | {
    "template": (ROOT / "studies" / "template.yaml").read_text(encoding="utf-8"),
    **{f"example {text.split('name: ', 1)[1].splitlines()[0]}": text for text in EXAMPLES},
}
GOOD: dict[str, Any] = {
    "schema": 1,
    "name": "good",
    "trainer": "synthetic",
    "axes": {"num_tokens": [16, 64]},
    "metric": {"name": "loss", "goal": "min"},
}


def errors(study: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(study)]


def test_schema_is_one_of_its_draft() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert (SCHEMA["$schema"], SCHEMA["title"]) == ("https://json-schema.org/draft/2020-12/schema", TITLE)


def test_every_key_of_a_study_has_a_description() -> None:
    assert [name for name, key in SCHEMA["properties"].items() if not (key.get("description") or "$ref" in key)] == []


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE)
def test_study_that_loads_is_valid(text: str) -> None:
    assert errors(read(text.encode(), file="study.yaml").values) == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seeds": 3},
        {"seeds": [0, 4294967295]},
        {"design": [{"kind": "grid", "axes": ["num_tokens"]}, "one_at_a_time"]},
        {"axes": {}},
        {"axes": {"num_tokens": {"linspace": [1, 64]}}},
        {"axes": {"fail": ["none", "raise"], "frozen": [True, False], "peak_lr": [1e-4, 1]}},
        {"axes": {"k": {"choices": {"a": {"b": [1]}, "c": {}}}}},
        {"base": "bases/tiny.yaml"},
        {"base": {"extends": "bases/tiny.yaml", "train": {"steps": 3}}},
        {"extends": "quickstart.yaml"},
    ],
)
def test_good_study_is_valid(changes: Mapping[str, Any]) -> None:
    assert errors(GOOD | changes) == []


def test_study_that_extends_another_needs_no_more_than_its_name() -> None:
    assert errors({"schema": 1, "name": "child", "extends": "quickstart.yaml"}) == []


@pytest.mark.parametrize("key", ["schema", "name", "trainer", "axes", "metric"])
def test_study_without_a_required_key_is_refused(key: str) -> None:
    assert errors({name: value for name, value in GOOD.items() if name != key})


AXES: list[Any] = [
    3,
    "sixteen",
    None,
    [],
    {},
    [16, "64"],
    [16, None],
    [[16]],
    {"lgo": [1, 2], "points": 3},
    {"list": [1], "log": [1, 2]},
    {"range": [1, 2]},
    {"range": [1, 2], "step": -1},
    {"range": [1, 2, 3], "step": 1},
    {"linspace": [1, 2], "points": 1},
    {"linspace": [1, 2], "points": "3"},
    {"linspace": [1, 2], "point": 3},
    {"log": [0, 1], "points": 3},
    {"zip": {"a": [1, 2]}},
    {"choices": {}},
    {"choices": ["a"]},
    {"levels": {}},
    {"simplex": ["a", "b"], "lattice": 0},
    {"simplex": "a:b", "list": ["1:1"]},
    {"list": [1, 2], "when": ["a > 1"]},
]
MISTAKES: list[dict[str, Any]] = [
    *({"axes": {"num_tokens": axis}} for axis in AXES),
    {"axis": {"num_tokens": [1]}},
    *({"schema": version} for version in (2, "1", None)),
    *({"name": name} for name in ("a/b", "", "../x", "x" * 65, "a.", ".a", 3, "é")),
    *({"seeds": seeds} for seeds in (0, -1, "five", True, 1.5, [], [1, 1], [-1], [2**32], 10**7)),
    *(
        {"metric": metric}
        for metric in ("loss", {"name": "loss"}, {"name": "loss", "goal": "maximum"}, {"name": "loss", "goal": "min", "gaol": 1})
    ),
    *(
        {"design": design}
        for design in ("grids", "sobol", "search", [], 3, None, {"kind": "grid", "points": 3}, {"kind": "sobol", "points": 1})
    ),
    *({"design": {"kind": "search", "trials": trials}} for trials in (0, "many", 10**6)),
    {"design": {"kind": "search", "trials": 3, "sampler": "best"}},
    {"design": {"kind": "fractional", "resolution": 6}},
    {"design": {"kind": "list", "arms": []}},
    *({"where": where} for where in ("a > 1", [1], {"a": 1})),
    *({"claims": claims} for claims in (None, {"axis": "a"}, ["a"], [{"axis": "a"}], [{"axis": "a", "expect": "rises"}])),
    {"claims": [{"axis": "a", "expect": "equivalent", "within": 0}]},
    {"claims": [{"axis": "a", "expect": "increases", "margin": 1}]},
    {"claims": [{"axis": "a", "expect": "larger_effect_than", "than": "b"}]},
    *({"resources": resources} for resources in ({"cpus": 0}, {"gpus": -1}, {"memory": "2GB"}, 2)),
    *({"budget": budget} for budget in ({"money": 0}, {"wall_minutes": "soon"}, {"trials": 1.5}, 100)),
    *({"hardware": hardware} for hardware in ({"device": "x"}, {"peak_flops": 1, "utilisation": 40})),
    *({"law": law} for law in ("a", {"size": "b"}, {"hyperparameter": "a", "sizes": 1}, {"hyperparameter": "a", "target": 0})),
    {"base": [1]},
    {"extends": 3},
    {"trainer": 3},
    {"question": ["a"]},
]


@pytest.mark.parametrize("changes", MISTAKES, ids=[json.dumps(changes)[:60] for changes in MISTAKES])
def test_typical_mistake_is_refused(changes: Mapping[str, Any]) -> None:
    assert errors(GOOD | changes)


def test_command_prints_the_schema_and_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-m", "ablate", "schema"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == SCHEMA
