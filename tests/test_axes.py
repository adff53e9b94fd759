"""The levels a written axis becomes: spaced numbers, mixes and their labels."""

from collections.abc import Mapping
from typing import Any

import pytest

from ablate.design import make_arms
from ablate.errors import InputError
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
