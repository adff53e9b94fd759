import pandas as pd
import pytest

from ablate.compare_figures import studies_forest
from ablate.compare_studies import Measured, apart, declared_differences, effects_of, shared_axes, shared_metrics

EVIL = "<img src=x>"


def measured(
    name: str, *, shift: float = 1.0, axes: dict[str, list[str]] | None = None, metric: str = "score", simulated: bool = False
) -> Measured:
    """Each level of the first axis is better than the one before by `shift`, whatever the seed."""
    known = axes or {"connector": ["a", "b", "c"]}
    axis, levels = next(iter(known.items()))
    rows = [
        {
            "trial": f"{level}-{seed}",
            "arm": level,
            "seed": seed,
            "state": "done",
            axis: level,
            metric: shift * place + 0.1 * seed + 0.01 * place * seed,
        }
        for place, level in enumerate(levels)
        for seed in range(3)
    ]
    return Measured(name, simulated, known, pd.DataFrame(rows))


def test_shared_axes_are_those_with_two_levels_in_common() -> None:
    first, second = measured("one"), measured("two", axes={"connector": ["a", "c", "d"]})
    assert [(one.axis, one.baseline, one.levels, one.note) for one in shared_axes([first, second])] == [("connector", "a", ("c",), "")]
    assert shared_axes([first, measured("two", axes={"connector": ["a", "x"]})]) == []
    assert shared_axes([first, measured("two", axes={"pooling": ["a", "b"]})]) == []


def test_apart_says_of_each_axis_why_it_is_not_shared() -> None:
    first = measured("one")
    assert apart([first, measured("two", axes={"pooling": ["a", "b"]})]) == ["connector: only in one", "pooling: only in two"]
    for levels, said in (["a", "x"], "one level in common, a"), (["x", "y"], "no level in common"):
        assert apart([first, measured("two", axes={"connector": levels})]) == [f"connector: in all, with {said}; it takes two"]
    assert apart([first, measured("two")]) == []
    mixes = [Measured(name, False, {"mix": ["1:1", "9:1"]}, pd.DataFrame(), {"mix": (name, "text")}) for name in ("caption", "web")]
    assert apart(mixes) == ["mix: in all, of other sources: equal shares are not the same mix"]


def test_another_baseline_is_said() -> None:
    (one,) = shared_axes([measured("one"), measured("two", axes={"connector": ["b", "a"]})])
    assert (one.baseline, one.levels) == ("a", ("b",))
    assert one.note == "connector: against a, which is not the baseline of two"


def test_mixes_of_other_sources_are_no_levels_in_common() -> None:
    one, two = (
        Measured(name, False, {"mix": ["1:2", "2:1"]}, pd.DataFrame(), {"mix": sources})
        for name, sources in (("one", ("x", "y")), ("two", ("y", "x")))
    )
    assert shared_axes([one, two]) == []
    assert len(shared_axes([one, one])) == 1


def test_shared_metrics_are_those_that_all_have() -> None:
    assert shared_metrics([measured("one"), measured("two")]) == ["score"]
    assert shared_metrics([measured("one"), measured("two", metric="loss")]) == []
    assert shared_metrics([]) == []


def test_effects_are_each_studys_own_at_shared_levels_alone() -> None:
    studies = [measured("one"), measured("two", shift=5.0, axes={"connector": ["a", "b", "d"]})]
    shared = shared_axes(studies)
    found = [effects_of(study, shared, metric="score") for study in studies]
    assert [[(effect.level, effect.mean_diff) for effect in one.effects] for one in found] == [
        [("b", pytest.approx(1.01))],
        [("b", pytest.approx(5.01))],
    ]
    assert effects_of(studies[0], shared, metric="loss").notes == ("one: no finished trial with loss yet",)


def test_declared_differences_are_fields_that_not_all_say_alike() -> None:
    one = {
        "name": "a",
        "trainer": "x",
        "base": {"decoder": {"width": 8}, "train.steps": 5},
        "seeds": [0, 1],
        "metric": {"name": "m", "goal": "min"},
    }
    two = one | {"name": "b", "base": {"decoder": {"width": 16, "depth": 2}, "train.steps": 5}, "claims": [1]}
    three = one | {"base": {"decoder": {"width": 8}, "train.steps": 6}}
    found = {differing.path: differing.values for differing in declared_differences([one, two, three])}
    assert found == {"base.decoder.width": ("8", "16", "8"), "base.decoder.depth": ("–", "2", "–"), "base.train.steps": ("5", "5", "6")}
    assert declared_differences([one, one | {"seeds": (0, 1)}]) == []


@pytest.mark.parametrize("dark", [False, True])
def test_forest_has_a_marker_a_study_in_each_row(dark: bool) -> None:
    studies = [measured("one", simulated=True), measured(EVIL, axes={"connector": ["a", "b", "d"]})]
    figure = studies_forest([effects_of(study, shared_axes([study]), metric="score") for study in studies], metric="score", dark=dark)
    assert [trace.name for trace in figure.data] == ["one (simulated)", "&lt;img src=x&gt;"]
    assert list(figure.layout.yaxis.ticktext) == ["connector: b against a", "connector: c against a", "connector: d against a"]
    assert list(figure.data[0].x) == pytest.approx([1.01, 2.02])
    assert [round(row) for trace in figure.data for row in trace.y] == [0, 1, 0, 2]
    assert len({(trace.marker.color, trace.marker.symbol) for trace in figure.data}) == 2
    assert not figure.layout.title.text.startswith("simulated")
    low, high = effects_of(studies[0], shared_axes(studies[:1]), metric="score").effects[0].ci or (0, 0)
    assert figure.data[0].error_x.array[0] == pytest.approx((high - low) / 2)
    only = studies_forest([effects_of(studies[0], shared_axes(studies[:1]), metric="score")], metric="score", dark=dark)
    assert only.layout.title.text.startswith("simulated: ")
