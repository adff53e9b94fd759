"""Which fields of the recorded configs a surface reads, as what, and what it refuses."""

from typing import Any

import pytest

from ablate.surface_inputs import LevelInput, NumberInput, find_inputs, flatten


def inputs(*configs: dict[str, Any], axes: tuple[tuple[str, ...], ...] = ()) -> tuple[NumberInput | LevelInput, ...]:
    return find_inputs([flatten(config) for config in configs], axes=axes)


def test_number_is_read_in_its_logarithm_where_it_spans_a_factor_of_four() -> None:
    (rate,) = inputs({"lr": 1e-4}, {"lr": 1e-3}, {"lr": 1e-2})
    assert rate == NumberInput(field="lr", low=1e-4, high=1e-2, log=True, curved=True)
    assert rate.features({"lr": 1e-3}) == pytest.approx([0.0, 0.0])
    assert rate.features({"lr": 1e-4}) == pytest.approx([-1.0, 1.0])
    (size,) = inputs({"size": 16}, {"size": 24})
    assert size == NumberInput(field="size", low=16, high=24, log=False, curved=False)
    assert size.features({"size": 18}) == pytest.approx([-0.5])


def test_number_beyond_the_recorded_ones_is_refused_and_one_between_is_not() -> None:
    (rate,) = inputs({"train": {"lr": 0.1}}, {"train": {"lr": 0.2}})
    assert list(rate.faults({"train.lr": 0.15})) == []
    (said,) = rate.faults({"train.lr": 0.3})
    assert said == "train.lr: lr is 0.3, and recorded are numbers from 0.1 to 0.2; beyond them the surface knows nothing"
    assert len(list(rate.faults({"train.lr": "fast"}))) == 1


def test_texts_switches_and_fields_that_some_configs_lack_are_levels() -> None:
    kind, depth, fast = inputs(
        {"c": {"kind": "a", "depth": 2}, "fast": True}, {"c": {"kind": "b"}, "fast": False}, {"c": {"kind": "d"}, "fast": True}
    )
    assert [kind.fields, depth.fields, fast.fields] == [("c.kind",), ("c.depth",), ("fast",)]
    assert kind.features({"c.kind": "b"}) == [0.0, 1.0, 0.0]
    assert depth.features({"c.kind": "b"}) == [0.0, 1.0]
    assert list(kind.faults({"c.kind": "e"})) == ["c.kind: kind is text 'e', which was not recorded (text 'a', text 'b', text 'd')"]


def test_shares_are_numbers_each_and_other_fields_of_one_axis_are_one_input() -> None:
    mixes = [{"mix": {"a": 0.5, "b": 0.5}}, {"mix": {"a": 0.2, "b": 0.8}}]
    assert [one.fields for one in inputs(*mixes, axes=(("mix",),))] == [("mix.a",), ("mix.b",)]
    sizes = [{"width": 64, "heads": 2}, {"width": 128, "heads": 4}]
    (size,) = inputs(*sizes, axes=(("width", "heads"),))
    assert size.fields == ("width", "heads")
    (said,) = size.faults({"width": 64, "heads": 4})
    assert "width is width 64 with heads 4, which was not recorded" in said


def test_fields_that_no_axis_sets_and_that_change_together_are_one_input() -> None:
    (stage, lr) = inputs({"sft": {"steps": 5, "lr": 1.0}, "lr": 1}, {"lr": 1}, {"lr": 2}, {"sft": {"steps": 5, "lr": 1.0}, "lr": 2})
    assert stage.fields == ("sft.steps", "sft.lr")
    assert lr.fields == ("lr",)
