from collections.abc import Mapping
from typing import Any

import pytest

from ablate.arm_names import base_note, shown_names
from ablate.stores import TrialRecord


def trial(arm: str, levels: Mapping[str, Any]) -> TrialRecord:
    return TrialRecord("s", f"{arm}.s0", arm, 0, "done", None, "", ("job",), None, None, 1, levels, {}, {}, {}, 0, 0.0)


@pytest.mark.parametrize(("level", "name"), [("45:45:10", "base (45:45:10)"), (0.004, "base (0.004)"), (True, "base (true)")])
def test_base_of_one_axis_is_named_with_its_level(level: Any, name: str) -> None:
    trials = [trial("kind=b", {"kind": "b"}), trial("base", {"kind": level})]
    assert shown_names(trials, axes=["kind"]) == {"base": name}
    assert base_note(trials, axes=["kind"]) == ""


def test_base_of_several_axes_keeps_its_name_and_has_a_note() -> None:
    trials = [trial("base", {"kind": "a", "depth": None, "rate": 0.1})]
    assert shown_names(trials, axes=["kind", "depth", "rate"]) == {}
    assert base_note(trials, axes=["kind", "depth", "rate"]) == "base: kind = a, rate = 0.1"  # an axis that does not apply has no level


@pytest.mark.parametrize("levels", [{"kind": "base"}, {"kind": None}, {}])
def test_base_that_has_no_other_name_keeps_its_own(levels: Mapping[str, Any]) -> None:
    assert shown_names([trial("base", levels)], axes=["kind"]) == {}


def test_study_without_a_base_arm_says_nothing_of_it() -> None:
    trials = [trial("kind=b", {"kind": "b", "rate": 0.1})]
    assert shown_names(trials, axes=["kind"]) == {}
    assert base_note(trials, axes=["kind", "rate"]) == ""
