"""The levels a written axis becomes: spaced numbers, mixes and their labels, and what an axis answers about them."""

import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from ablate import trainers
from ablate.axes import Axis, resolve_unread
from ablate.design import axis_labels, make_arms
from ablate.errors import InputError
from ablate.forms import read_axes
from ablate.levels import Choice, one_field
from ablate.load import load_study
from tests.conftest import make_study

MIX = {"simplex": ["caption", "interleaved", "text"], "list": ["5:5:1", "9:0:1", {"caption": 0.45, "interleaved": 0.45, "text": 0.10}]}


@pytest.mark.parametrize(
    ("written", "levels"),
    [
        ({"log": [1e-4, 1e-2], "points": 3}, [1e-4, 1e-3, 1e-2]),
        ({"log": [5e-4, 3.2e-2], "points": 7}, [5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2]),
        ({"log": [1e-4, 1e-2], "points": 4}, [1e-4, 4.64159e-4, 2.15443e-3, 1e-2]),
        ({"linspace": [0.1, 0.5], "points": 5}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"linspace": [-1, 1], "points": 2}, None),
    ],
)
def test_spaced_levels_are_known_numbers(written: Mapping[str, Any], levels: list[float] | None) -> None:
    if levels is None:
        with pytest.raises(InputError, match="must be above 0, found -1"):
            make_arms(make_study(axes={"peak_lr": written}))
    else:
        assert [arm.levels["peak_lr"] for arm in make_arms(make_study(axes={"peak_lr": written}))] == levels


def test_whole_bounds_give_whole_levels() -> None:
    axes = {"connector.num_tokens": {"log": [1, 16], "points": 3}}
    study = make_study(trainer="model_zoo", metric={"name": "val_loss", "goal": "min"}, axes=axes)
    levels = [arm.levels["connector.num_tokens"] for arm in make_arms(study)]
    assert levels == [1, 4, 16]
    assert all(type(level) is int for level in levels)


def test_mixes_are_normalised_and_labelled_as_written() -> None:
    arms = make_arms(make_study(axes={"mix": MIX}))
    assert [arm.levels["mix"] for arm in arms] == ["5:5:1", "9:0:1", "45:45:10"]
    assert [arm.name for arm in arms] == ["base", "mix=9:0:1", "mix=45:45:10"]
    assert arms[0].config["mix"] == {"caption": 5 / 11, "interleaved": 5 / 11, "text": 1 / 11}
    assert arms[1].changes == {"mix": {"caption": 0.9, "interleaved": 0.0, "text": 0.1}}


def test_simplex_has_the_order_of_its_own_sources() -> None:
    (arm,) = make_arms(make_study(axes={"mix": {"simplex": ["text", "interleaved", "caption"], "list": ["1:0:3"]}}))
    assert arm.config["mix"] == {"caption": 0.75, "interleaved": 0.0, "text": 0.25}


def test_shares_within_a_millionth_are_accepted() -> None:
    near = {"simplex": ["caption", "interleaved", "text"], "list": [{"caption": 0.3333333, "interleaved": 0.3333333, "text": 0.3333333}]}
    assert len(make_arms(make_study(axes={"mix": near}))) == 1


def axis_of(*values: Any, base: Any) -> Axis:
    levels = tuple(one_field("x", value, at=("axes", "x", place)) for place, value in enumerate(values))
    return Axis("x", ("x",), levels, base if isinstance(base, Choice) else one_field("x", base, at=("base", "x")))


@pytest.mark.parametrize(
    ("values", "base", "numeric"),
    [
        ((1, 2.5), 1, True),
        ((1, 2.5), 7, True),
        ((1, 2), Choice("base", {}, {}), False),
        ((1, 2), Choice("null", {"x": None}, {}), False),
        ((1, 2), "auto", False),
        (("a", "b"), "a", False),
        ((True, False), True, False),
    ],
)
def test_axis_has_an_order_where_all_it_may_be_at_are_numbers(values: tuple[Any, ...], base: Any, numeric: bool) -> None:
    assert axis_of(*values, base=base).numeric is numeric


def test_axis_between_bounds_has_an_order() -> None:
    assert Axis("x", ("x",), (), Choice("null", {"x": None}, {}), bounds=(0.0, 1.0)).numeric


class Optional(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int | None = None
    depth: int = 1


@pytest.fixture
def optional_trainer(monkeypatch: pytest.MonkeyPatch) -> str:
    module = SimpleNamespace(Config=Optional, METRICS={"loss": ""})
    monkeypatch.setitem(sys.modules, "optional_trainer", module)  # type: ignore[arg-type]
    monkeypatch.setitem(trainers.TRAINERS, "optional", "optional_trainer")
    return "optional"


def declared(trainer: str, **changes: Any) -> dict[str, Any]:
    plain = {"schema": 1, "name": "s", "trainer": trainer, "axes": {"width": [1, 2, 3]}, "metric": {"name": "loss", "goal": "min"}}
    return plain | {"base": {"width": None}, "design": "one_at_a_time"} | changes


def test_baseline_of_nothing_is_a_level_without_an_order(optional_trainer: str) -> None:
    study = load_study(declared(optional_trainer, claims=[{"axis": "width", "expect": "equivalent", "within": 1}]))
    assert axis_labels(study) == {"width": ("null", 1, 2, 3)}
    assert [(claim.level, claim.against) for claim in study.claims] == [(3, "null")]
    assert [arm.name for arm in make_arms(study)] == ["base", "width=1", "width=2", "width=3"]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"claims": [{"axis": "width", "expect": "interior_optimum"}]}, "interior_optimum needs an axis of numbers"),
        ({"claims": [{"axis": "width", "expect": "increases"}]}, "increases needs level, because the levels of width have no order"),
        ({"law": {"hyperparameter": "width"}}, "a law needs an axis of numbers"),
    ],
)
def test_order_is_not_asked_of_a_baseline_of_nothing(changes: dict[str, Any], part: str, optional_trainer: str) -> None:
    with pytest.raises(InputError) as caught:
        load_study(declared(optional_trainer, **changes))
    (problem,) = caught.value.problems
    assert part in problem.message
    assert problem.message.endswith("null, 1, 2, 3")


@pytest.mark.parametrize(
    ("axes", "base", "in_grid", "baseline"),
    [
        ({"a.b": [1, 2]}, {}, False, 1),
        ({"a.b": [1, 2]}, {"a": {"b": 2.0}}, False, 2),
        ({"a.b": [1, 2]}, {"a": {"b": 7}}, False, 7),
        ({"a.b": [1, 2]}, {"a": {"b": 7}}, True, 1),
        ({"s": {"zip": {"a": ["x", "y"], "b": [1, 2]}}}, {"b": 2}, False, "y"),
        ({"s": {"zip": {"a": ["x", "y"], "b": [1, 2]}}}, {"a": "x", "b": 2}, False, "base"),
        ({"m": {"simplex": ["a", "b"], "list": ["1:1", "3:1"]}}, {"m": {"a": 0.75, "b": 0.25}}, False, "3:1"),
    ],
)
def test_baseline_without_a_trainer_is_what_the_base_says_as_written(axes: Any, base: Any, in_grid: bool, baseline: Any) -> None:
    axis, faults = resolve_unread(read_axes(axes, drawn=False)[0], values=base, first_is_base=in_grid, later=())
    assert faults == []
    assert axis is not None
    assert axis.baseline == baseline
