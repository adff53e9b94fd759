"""Quantities as people read them."""

from math import inf, nan

import pytest

from ablate.quantities import duration_text, interval_text


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


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((39.9, 51.62), "[39.9, 51.6]"),  # two digits of the half width, 5.9
        ((-87.38, -83.8), "[−87.4, −83.8]"),
        ((-0.021, 3.1), "[0.0, 3.1]"),
        ((0.7, 0.7004), "[0.70000, 0.70040]"),
        ((120.4, 3001.0), "[120, 3001]"),
        ((0.02, 31.0), "[0.02, 31]"),
        ((100 * 0.2, 100 * 0.3), "[20.0, 30.0]"),
        ((100 * 0.15, 100 * 0.35), "[15, 35]"),
        ((1.23456e6, 4e7), "[1.23e+06, 4e+07]"),
    ],
)
def test_both_ends_of_an_interval_are_written_to_one_place(interval: tuple[float, float], expected: str) -> None:
    assert interval_text(interval) == expected
