"""Quantities as people read them."""

from math import inf, nan

import pytest

from ablate.quantities import duration_text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "–"),
        (nan, "–"),
        (inf, "–"),
        (0, "0 s"),
        (0.25, "0.25 s"),
        (12.3, "12 s"),
        (59.4, "59 s"),
        (59.94, "1 min"),
        (65, "1 min 5 s"),
        (3_599.7, "1 h"),
        (3_720, "1 h 2 min"),
        (36_000, "10 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_duration_has_two_units_at_most_and_a_dash_for_what_is_missing(seconds: float | None, expected: str) -> None:
    assert duration_text(seconds) == expected
