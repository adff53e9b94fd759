import pytest

from ablate.analysis.laws import Range, decades_outside, extrapolation_notes, positive, range_label, rate_label, size_label
from ablate.errors import InputError


@pytest.mark.parametrize(
    ("size", "expected"), [(9e6, "9M"), (302e6, "302M"), (1.2e9, "1.2B"), (999.9e6, "1B"), (12.0, "12"), (1.5e12, "1.5T")]
)
def test_size_label_reads_as_people_write_sizes(size: float, expected: str) -> None:
    assert size_label(size) == expected


def test_rate_label_can_be_copied_into_a_config() -> None:
    assert rate_label(2.2108e-5) == "2.21e-5"
    assert float(rate_label(2.2108e-5)) == 2.21e-5


@pytest.mark.parametrize(
    ("fitted", "expected"),
    [
        ((1e7, 1e8), "10M to 100M"),
        ((1e7, None), "from 10M, upper end not known"),
        ((None, 1e8), "up to 100M, lower end not known"),
        ((None, None), "not known"),
    ],
)
def test_range_label_says_which_end_is_not_known(fitted: Range, expected: str) -> None:
    assert range_label(fitted, quantity="n_params") == expected


def test_range_label_gives_flops_as_powers() -> None:
    assert range_label((1e17, 2e19), quantity="compute") == "1e17 to 2e19 FLOPs"


@pytest.mark.parametrize(
    ("value", "fitted", "decades", "said"),
    [
        (1e9, (1e7, 1e8), 1.0, "outside 10M to 100M"),
        (1e6, (1e7, 1e8), 1.0, "outside 10M to 100M"),
        (1e6, (1e7, None), 1.0, "below 10M"),
        (1e9, (None, 1e8), 1.0, "above 100M"),
        (3e7, (1e7, 1e8), 0.0, ""),
        (1e7, (1e7, 1e8), 0.0, ""),
        # beside an end that is not known, inside cannot be said
        (1e9, (1e7, None), None, ""),
        (1e6, (None, 1e8), None, ""),
        (1e6, (None, None), None, ""),
    ],
)
def test_decades_are_counted_outside_what_is_known(value: float, fitted: Range, decades: float | None, said: str) -> None:
    assert decades_outside(value, fitted) == (decades if decades is None else pytest.approx(decades))
    assert extrapolation_notes(decades, fitted) == ((f"extrapolated by 1.0 decades {said}",) if said else ())


def test_positive_refuses_an_integer_beyond_all_floats() -> None:
    with pytest.raises(InputError, match="tokens: 1000"):
        positive(10**400, what="tokens")
