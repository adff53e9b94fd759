"""Templates name fields of the config and nothing else; a value arrives as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.template import read_template

FIELDS = ("connector.kind", "lr", "a-b")
GROUPS = ("connector",)


def rendered(text: str, **values: object) -> str:
    template, faults = read_template(text, fields=FIELDS, groups=GROUPS)
    assert faults == []
    return template.text(lambda name: values[name])


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.1, "0.1"), (1e-5, "1e-05"), (3, "3"), (True, "true"), (None, "null"), ([1, "x"], '[1,"x"]'), ("a b; $(id)", "a b; $(id)")],
)
def test_value_is_written_as_text_or_json(value: object, written: str) -> None:
    assert rendered("--lr={lr}!", lr=value) == f"--lr={written}!"


def test_doubled_braces_are_braces() -> None:
    assert rendered('{{"lr": {lr}}}', lr=1) == '{"lr": 1}'


@given(st.text())
def test_any_text_arrives_byte_for_byte(value: str) -> None:
    assert rendered("{lr}", lr=value) == value


@given(st.text(alphabet="{}$a.lr[]!:0 "))
def test_any_template_is_read_or_refused(text: str) -> None:
    template, faults = read_template(text, fields=FIELDS, groups=GROUPS)
    assert set(template.names) <= {*FIELDS, "seed", "dir", "config_file", "python"}
    assert all(1 <= column <= len(text) and message for column, message in faults)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("{arm.__class__}", 1, "only names of fields"),
        ("{0}", 1, "only names of fields"),
        ("x={lr!r}", 3, "only names of fields"),
        ("{lr:>10}", 1, "only names of fields"),
        ("{lr[0]}", 1, "only names of fields"),
        ("{}", 1, "only names of fields"),
        ("${HOME}", 1, "no shell reads this"),
        ("--lr={lr", 6, "unmatched '{'; write {{"),
        ("lr}", 3, "unmatched '}'; write }}"),
        ("{{lr}", 5, "unmatched '}'"),
        ("{connector}", 1, "is a group of fields; name one of connector.kind"),
        ("{connector.knid}", 1, "did you mean 'connector.kind'?"),
    ],
)
def test_anything_but_a_listed_name_is_refused_at_its_column(text: str, column: int, message: str) -> None:
    _, faults = read_template(text, fields=FIELDS, groups=GROUPS)
    assert [at for at, _ in faults] == [column]
    assert message in faults[0][1]


def test_name_that_is_given_and_a_field_is_refused() -> None:
    _, faults = read_template("{seed}", fields=["seed"], groups=())
    assert "rename the field" in faults[0][1]
