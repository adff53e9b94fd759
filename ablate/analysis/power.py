"""How small a difference n seeds can find, and how many seeds a difference needs: the power of a t test.

Own code because `TTestPower.solve_power` of statsmodels 0.15 answers 3.42 where the truth is 4.70 (n = 4, alpha 0.005,
power 0.8).
"""

from math import sqrt

from scipy import optimize, stats

MAX_SEEDS = 1000


def detectable_difference(n: int, *, sd: float = 1.0, df: int | None = None, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest true mean of n paired differences with this SD that a two-sided t test finds with this power.

    `df` is that of the SD: n - 1 where it comes from these n, more where it is pooled over arms. The chance of a
    significant result in the wrong direction is not counted as power.
    """
    df = n - 1 if df is None else df
    assert n >= 1
    assert df >= 1
    critical = stats.t.ppf(1 - alpha / 2, df)
    shift = optimize.brentq(lambda ncp: stats.nct.sf(critical, df, ncp) - power, 0.0, 4 * critical + 10)
    return float(shift) * sd / sqrt(n)


def seeds_needed(difference: float, *, sd: float, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """Seeds for a two-sided paired t test to find `difference` with this power; None above 1,000."""
    return _seeds(abs(difference) / sd, tail=alpha / 2, power=power)


def seeds_for_margin(difference: float, *, within: float, sd: float, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """Seeds for two one-sided t tests to place a mean inside ±`within`; None above 1,000.

    Both must succeed, so the power is at least 1 minus the sum of their chances to fail (Bonferroni's bound, exact enough: never
    fewer seeds than are needed).
    """
    for n in range(2, MAX_SEEDS + 1):
        critical = stats.t.ppf(1 - alpha, n - 1)
        failures = sum(
            1 - _power(distance / sd * sqrt(n), critical=critical, df=n - 1) for distance in (within - difference, within + difference)
        )
        if 1 - failures >= power:
            return n
    return None


def _seeds(standardised: float, *, tail: float, power: float) -> int | None:
    for n in range(2, MAX_SEEDS + 1):
        critical = stats.t.ppf(1 - tail, n - 1)
        if _power(standardised * sqrt(n), critical=critical, df=n - 1) >= power:
            return n
    return None


def _power(shift: float, *, critical: float, df: int) -> float:
    # far above the critical value the power is 1, and scipy's noncentral t gives NaN
    return 1.0 if shift > 10 * critical else float(stats.nct.sf(critical, df, shift))
