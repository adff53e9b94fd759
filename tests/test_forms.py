"""What is written under an axis, form by form: its levels, what they set and where they stand, before any trainer is asked."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ablate.forms import FORMS, Written, nested_at, read_axes
from ablate.levels import kind_of, label_text, misread, same


def read(axes: Mapping[str, Any], *, drawn: bool = False) -> tuple[Written, ...]:
    return read_axes(axes, drawn=drawn)


def one(written: Any, *, drawn: bool = False) -> Written:
    (axis,) = read({"x": written}, drawn=drawn)
    return axis


def labels(written: Any) -> list[Any]:
    axis = one(written)
    assert axis.faults == ()
    return [level.label for level in axis.levels]


def messages(written: Any) -> list[str]:
    return [fault.message for fault in one(written).faults]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([16, 24], [16, 24]),
        (["a", "b"], ["a", "b"]),
        ([True, False], [True, False]),
        ({"list": [3]}, [3]),
        ({"range": [16, 64], "step": 16}, [16, 32, 48, 64]),
        ({"range": [16, 60], "step": 16}, [16, 32, 48]),
        ({"range": [0, 3000003], "step": 1000001}, [0, 1000001, 2000002, 3000003]),
        ({"range": [0.1, 0.7], "step": 0.2}, [0.1, 0.3, 0.5, 0.7]),
        ({"range": [-1, 1], "step": 0.5}, [-1.0, -0.5, 0.0, 0.5, 1.0]),
        ({"linspace": [0.1, 0.5], "points": 5}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"linspace": [0, 1], "points": 4}, [0, 0.333333, 0.666667, 1]),
        ({"linspace": [1, 5], "points": 3}, [1, 3, 5]),
        ({"linspace": [1000001, 1000009], "points": 2}, [1000001, 1000009]),
        ({"log": [1e-4, 1e-2], "points": 4}, [1e-4, 4.64159e-4, 2.15443e-3, 1e-2]),
        ({"log": [1, 100], "points": 3}, [1, 10, 100]),
        ({"simplex": ["a", "b"], "list": ["1:1", {"a": 0.25, "b": 0.75}]}, ["1:1", "25:75"]),
        ({"simplex": ["a", "b"], "lattice": 4}, ["100:0", "75:25", "50:50", "25:75", "0:100"]),
        ({"simplex": ["a", "b"], "lattice": 4, "min": {"a": 0.4}}, ["100:0", "75:25", "50:50"]),
        ({"simplex": ["a", "b"], "raise": {"from": "1:1", "by": [0.25]}}, ["1:1", "75:25", "25:75"]),
    ],
)
def test_form_has_its_levels_in_order(written: Any, expected: list[Any]) -> None:
    assert labels(written) == expected
    assert [type(label) for label in labels(written)] == [type(label) for label in expected]


def test_dirichlet_has_distinct_mixes_that_sum_to_one() -> None:
    axis = one({"simplex": ["a", "b", "c"], "dirichlet": {"points": 8, "seed": 3}})
    assert len({level.label for level in axis.levels}) == 8
    assert all(sum(level.value.values()) == pytest.approx(1) for level in axis.levels)
    assert axis == one({"simplex": ["a", "b", "c"], "dirichlet": {"points": 8, "seed": 3}})


def test_named_levels_set_their_fields() -> None:
    axis = one({"levels": {"small": {"w": 32, "d": 1}, "large": {"w": 96}}})
    assert [(level.label, level.changes) for level in axis.levels] == [("small", {"w": 32, "d": 1}), ("large", {"w": 96})]
    assert axis.paths == ("w", "d")
    assert axis.levels[0].places == {"w": ("axes", "x", "levels", "small", "w"), "d": ("axes", "x", "levels", "small", "d")}


def test_zipped_fields_change_together_and_are_named_by_the_first() -> None:
    axis = one({"zip": {"w": [32, 64], "d": ["thin", "deep"]}})
    assert [(level.label, level.changes) for level in axis.levels] == [(32, {"w": 32, "d": "thin"}), (64, {"w": 64, "d": "deep"})]
    assert axis.levels[1].places == {"w": ("axes", "x", "zip", "w", 1), "d": ("axes", "x", "zip", "d", 1)}


def test_choices_bring_axes_in_any_form_two_deep() -> None:
    inner = {"slow": {"rate": {"log": [1, 100], "points": 3}}, "frozen": {}}
    axes = read({"kind": {"choices": {"a": {"mode": {"choices": inner}, "size": {"zip": {"w": [1], "d": [2]}}}, "b": {}}}})
    assert [(axis.name, axis.context, [level.label for level in axis.levels]) for axis in axes] == [
        ("kind", {}, ["a", "b"]),
        ("mode", {"kind": "a"}, ["slow", "frozen"]),
        ("rate", {"kind": "a", "mode": "slow"}, [1, 10, 100]),
        ("size", {"kind": "a"}, [1]),
    ]
    assert axes[2].at == ("axes", "kind", "choices", "a", "mode", "choices", "slow", "rate")


def test_condition_of_an_axis_holds_for_those_inside_it() -> None:
    axes = read({"kind": {"when": "n > 1", "choices": {"a": {"w": {"list": [1], "when": "m > 2"}}}}})
    assert [[text for text, _ in axis.when] for axis in axes] == [["n > 1"], ["n > 1", "m > 2"]]
    assert axes[1].when[1][1] == ("axes", "kind", "choices", "a", "w", "when")


@pytest.mark.parametrize("form", ["linspace", "log"])
def test_bounds_without_points_are_for_designs_that_draw(form: str) -> None:
    assert one({form: [1, 10]}, drawn=True).bounds == (1.0, 10.0)
    assert messages({form: [1, 10]}) == [
        "points is missing: how many levels between the bounds (search, latin_hypercube and sobol draw values by themselves)"
    ]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"range": [0.0, 1e308], "step": 1e-300}, "are about 1e608 levels"),
        ({"range": [1, 2], "step": 3}, "are 1 levels"),
        ({"linspace": [-1e308, 1e308], "points": 3}, "is too far for numbers between"),
        ({"log": [1e-308, 1e308], "points": 3}, "is too far for numbers between"),
        ({"linspace": [1, 10**299 * 9], "points": 10_001}, "expected a whole number from 2 to 10,000, found 10001"),
        ({"linspace": [1000001, 1000003], "points": 3}, "levels 1 and 2 are the same: 1000001"),
        ({"zip": {"a": [], "b": []}}, "expected at least 1 of them, found an empty list"),
        ({"list": [1, "1e400"]}, "levels mix numbers and text: text '1e400' beside 1"),
        ({"list": [1.5, float("nan")]}, "a level is a number, text, true or false; found nan"),
        ({"list": [], "when": "a > 1"}, "an axis needs at least one level"),
        ({"level": [1]}, "found a mapping (level); did you mean 'levels'?"),
        (7, "found 7, and an axis needs a list of levels"),
    ],
)
def test_form_that_cannot_be_is_refused_in_one_sentence(written: Any, message: str) -> None:
    found = messages(written)
    assert message in found[0]
    assert len(set(found)) == 1


def test_two_axes_on_one_field_are_a_fault_of_the_second() -> None:
    first = {"levels": {"s": {"a.b": 1}}}
    for second, about in (
        ({"a.b": [1]}, "a.b is varied by the axis x already"),
        ({"a.b.c": [1]}, "a.b.c and a.b overlap"),
        ({"a": [1]}, "a and a.b"),
    ):
        one, other = read({"x": first} | second)
        assert (one.faults, [about in fault.message for fault in other.faults]) == ((), [True])


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"x": {"levels": {"small": {"a": 1}, "Small": {"a": 2}}}}, "levels 1 and 2 differ in case only: small and Small"),
        ({"x": ["gelu", "relu", "GELU"]}, "levels 1 and 3 differ in case only: gelu and GELU"),
        ({"x": ["STRASSE", "stra\u00dfe"]}, "levels 1 and 2 differ in case only"),
        ({"x": ["a", "b\u200b"]}, "found text 'bU+200B'; U+200B cannot be seen"),
        ({"x": ["a\nb"]}, "U+000A cannot be seen"),
        ({"x": {"zip": {"a": ["l", "\u202el"], "b": [1, 2]}}}, "U+202E cannot be seen"),
        ({"size": {"levels": {"a": {"p": 1}}}, "SIZE": {"levels": {"a": {"q": 1}}}}, "the axes size and SIZE differ in case only"),
    ],
)
def test_what_people_would_confuse_is_refused(axes: Mapping[str, Any], message: str) -> None:
    (fault,) = [fault for axis in read(axes) for fault in axis.faults]
    assert message in fault.message


def test_nested_axis_is_found_where_it_stands() -> None:
    axes = {"kind": {"choices": {"a": {"mode": {"choices": {"s": {"rate": [1]}}}}, "b": None}}, "w": [1]}
    assert nested_at(axes, "w") == ("w",)
    assert nested_at(axes, "rate") == ("kind", "choices", "a", "mode", "choices", "s", "rate")
    assert nested_at(axes, "s") is None


def test_every_form_is_told_by_its_key() -> None:
    assert all(key in {info.alias or name for name, info in model.model_fields.items()} for key, model in FORMS.items())


NUMBERS = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)


@example("range", 0, 5.788038166477345e16, 5.788038166477345e16, 2, False)  # beyond 2^53
@given(st.sampled_from(["range", "linspace", "log"]), NUMBERS, NUMBERS, NUMBERS, st.integers(2, 30), st.booleans())
def test_spaced_levels_never_crash_and_stay_between_their_bounds(
    form: str, low: float, high: float, step: float, points: int, drawn: bool
) -> None:
    axis = one({form: [low, high]} | ({"step": step} if form == "range" else {"points": points}), drawn=drawn)
    assert axis.faults or (axis.levels[0].label == low and all(low <= level.label <= high for level in axis.levels))  # type: ignore[operator]


WRITTEN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FORMS, "points", "step", "when", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(WRITTEN, st.booleans())
def test_whatever_is_written_is_levels_or_a_fault(written: Any, drawn: bool) -> None:
    for axis in read({"x": written}, drawn=drawn):
        assert axis.faults or axis.levels or axis.bounds


def test_label_in_a_name_is_short_and_exact() -> None:
    written = [(True, "true"), (1e-4, "0.0001"), (1e9, "1e+09"), (0.1 + 0.2, repr(0.1 + 0.2)), (7, "7"), ("a,b", '"a,b"'), (1.5, "1.5")]
    assert [label_text(label) for label, _ in written] == [text for _, text in written]


def test_one_and_true_are_two_levels_and_one_and_one_point_zero_are_one() -> None:
    assert same(1, 1.0)
    assert not same(1, True)
    assert same({"a": 0.1}, {"a": 1e-1})
    assert [kind_of(value) for value in (1, 1.5, True, "1", None, float("inf"), [])] == [
        "numbers",
        "numbers",
        "true or false",
        "text",
        "",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("value", "meaning", "message"),
    [
        ("1e-4", 1e-4, "expected a number, found text '1e-4'; write 1e-4 without quotes"),
        (True, 1.0, "expected a number, found true"),
        ("no", 0.0, "expected a number, found text 'no'"),
        ("true", True, "expected true or false, found text 'true'; write true without quotes"),
        (1, True, "expected true or false, found 1"),
        (1, 1.0, None),
        ("5:5:1", {"a": 1}, None),
    ],
)
def test_value_that_the_trainer_would_take_for_another_is_refused(value: Any, meaning: Any, message: str | None) -> None:
    fault = misread(value, meaning, at=("axes", "x"))
    assert (fault.message if fault else None) == message
