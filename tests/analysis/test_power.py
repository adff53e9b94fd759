import numpy as np
import pytest
from scipy import stats

from ablate.analysis.power import detectable_difference, detectable_shift, margin_power, seeds_for_margin, seeds_needed


@pytest.mark.parametrize(("n", "expected"), [(2, 11.55), (3, 3.26), (4, 2.13), (5, 1.68), (6, 1.43), (8, 1.16), (10, 1.00), (20, 0.66)])
def test_detectable_difference_own_sd_matches_the_simulated_table(n: int, expected: float) -> None:
    assert detectable_difference(n) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(("n", "expected"), [(1, 2.95), (2, 2.08), (3, 1.70), (5, 1.32)])
def test_detectable_difference_pooled_sd_matches_the_simulated_table(n: int, expected: float) -> None:
    assert detectable_difference(n, df=20) == pytest.approx(expected, abs=0.006)


def test_detectable_difference_small_alpha_is_not_the_value_of_statsmodels() -> None:
    assert detectable_difference(4, alpha=0.005) == pytest.approx(4.70, abs=0.006)  # statsmodels 0.15 says 3.42


@pytest.mark.parametrize("df", [1, 2, 5, 30, 999])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_detectable_shift_has_its_power_by_scipy(df: int, alpha: float) -> None:
    critical = stats.t.ppf(1 - alpha / 2, df)
    assert stats.nct.sf(critical, df, detectable_shift(df, alpha=alpha)) == pytest.approx(0.8, abs=1e-9)


def test_seeds_needed_is_the_smallest_number_that_detects_it() -> None:
    n = seeds_needed(1.0, sd=1.2)
    assert n is not None
    assert detectable_difference(n, sd=1.2) <= 1.0 < detectable_difference(n - 1, sd=1.2)


@pytest.mark.parametrize(("difference", "expected"), [(1000.0, 2), (-1000.0, 2), (1e-6, None), (0.0, None)])
def test_seeds_needed_extreme_difference_stays_finite(difference: float, expected: int | None) -> None:
    assert seeds_needed(difference, sd=1.0) == expected


@pytest.mark.parametrize("difference", [0.0, 0.8])
def test_seeds_for_margin_has_the_promised_power(difference: float) -> None:
    """Both one-sided tests must place the mean inside ±2, as the verdict does."""
    within, sd = 2.0, 2.0
    n = seeds_for_margin(difference, within=within, sd=sd)
    assert n is not None
    draws = np.random.default_rng(0).normal(difference, sd, size=(4000, n))
    half = stats.t.ppf(0.95, n - 1) * draws.std(axis=1, ddof=1) / np.sqrt(n)
    inside = (draws.mean(axis=1) - half > -within) & (draws.mean(axis=1) + half < within)
    # the bound never promises too few seeds; one seed fewer would fall short
    assert 0.78 <= np.mean(inside) <= 0.88


@pytest.mark.parametrize(("n", "within"), [(2, 3.0), (3, 2.0), (5, 2.0), (12, 2.0), (12, 0.1)])
def test_margin_power_is_that_of_two_one_sided_tests(n: int, within: float) -> None:
    draws = np.random.default_rng(1).normal(0.0, 2.0, size=(40_000, n))
    half = stats.t.ppf(0.95, n - 1) * draws.std(axis=1, ddof=1) / np.sqrt(n)
    inside = (draws.mean(axis=1) - half > -within) & (draws.mean(axis=1) + half < within)
    assert margin_power(n, within=within, sd=2.0) == pytest.approx(np.mean(inside), abs=0.01)
