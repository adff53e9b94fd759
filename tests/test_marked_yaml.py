"""What the reader makes of YAML: values by the rules of 1.2, and the place of every key and value."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.marked_yaml import Fault, Marks, Place, dotted, read, resolve, shown


def values(text: str) -> Any:
    document = read(text.encode(), file="a.yaml")
    assert not document.problems
    return document.values


def problems(text: str) -> list[str]:
    return [str(problem) for problem in read(text.encode(), file="a.yaml").problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 0.0001),
        ("5E-5", 5e-5),
        ("1e4", 10000.0),
        ("+1.5", 1.5),
        (".5", 0.5),
        ("-7", -7),
        ("0x10", 16),
        ("0o17", 15),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        *(
            (word, word)
            for word in ("no", "on", "y", "Yes", "off", "012", "1:30", "5:5:1", "2024-01-01", "1_000", "=", "1e", "0b11", ".", "-")
        ),
    ],
)
def test_plain_scalar_follows_yaml_1_2(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quoted_and_block_scalars_are_text() -> None:
    assert values("a: '1'\nb: \"true\"\nc: |\n  1\nd: >-\n  1\n") == {"a": "1", "b": "true", "c": "1\n", "d": "1"}


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=50)
def test_every_finite_float_survives_python_repr(number: float) -> None:
    assert values(f"a: {number!r}") == {"a": number}


@given(st.binary(max_size=60))
@settings(max_examples=100)
def test_any_bytes_are_read_or_refused_without_a_crash(data: bytes) -> None:
    document = read(data, file="a.yaml")
    assert isinstance(document.values, dict) or document.problems


PLAIN = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)


@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3)))
@settings(max_examples=50)
def test_json_is_read_as_json(value: object) -> None:
    assert values(json.dumps({"a": value})) == {"a": value}


def test_marks_point_at_keys_and_values() -> None:
    marks = read(b"a: 1\nb: {c: [1, 'x'], d: 2}\n", file="a.yaml").marks
    assert marks.key(("b", "d")) == Place("a.yaml", 2, 18)
    assert marks.value(("b", "d")) == Place("a.yaml", 2, 21)
    assert marks.value(("b", "c", 1)) == Place("a.yaml", 2, 12)
    assert marks.value(("b", "c", 7)) == marks.value(("b", "c"))
    assert marks.value(("nowhere",)) == Place("a.yaml", 1, 1)


def test_fault_in_a_text_counts_from_its_first_character() -> None:
    marks = read(b"plain: abc\nquoted: 'abc'\n", file="a.yaml").marks
    assert str(marks.problem(Fault(("plain",), "odd", column=2))) == "a.yaml:1:9: plain: odd"
    assert str(marks.problem(Fault(("quoted",), "odd", column=2))) == "a.yaml:2:11: quoted: odd"


def test_grafted_marks_name_their_own_file_and_path() -> None:
    marks = read(b"base: tiny.yaml\n", file="study.yaml").marks
    marks.graft(("base",), read(b"\nwidth: 3\n", file="tiny.yaml").marks)
    assert str(marks.problem(Fault(("base", "width"), "odd"))) == "tiny.yaml:2:8: width: odd"


def test_marks_are_no_part_of_equality() -> None:
    assert Marks("a") == Marks("b")
    assert Marks("a") != "a"


def test_problems_of_one_text_are_reported_together() -> None:
    assert problems("a: .inf\na: !t 1\n1: x\n") == [
        "a.yaml:1:4: .inf is not a finite number",
        "a.yaml:2:1: 'a' is given twice, first at line 1; keep one",
        "a.yaml:2:4: tags are not allowed: !t; write the value alone",
        "a.yaml:3:1: keys are text, found 1; put it in quotes",
    ]


def test_alias_repeats_a_value() -> None:
    assert values("a: &x [1, 2]\nb: [*x, *x]\n") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_depth_of_32_is_read_and_33_refused_also_through_an_alias() -> None:
    assert values("a: " + "[" * 31 + "]" * 31)
    assert "nested deeper than 32" in problems("a: " + "[" * 32 + "]" * 32)[0]
    assert "nested deeper than 32" in problems("a: &x " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*x" + "]" * 20)[0]


def test_path_and_values_are_shown_as_a_person_writes_them() -> None:
    assert dotted(("claims", 0, "axis")) == "claims[0].axis"
    assert [shown(value) for value in (None, True, 1.5, "a\u202eb", {"a": 1}, [1, 2])] == [
        "nothing",
        "true",
        "1.5",
        "text 'aU+202Eb'",
        "a mapping (a)",
        "a list of 2",
    ]
