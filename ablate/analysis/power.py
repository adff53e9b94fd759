"""How small a difference n seeds can find, and how many seeds a difference needs: the power of a t test.

Own code for two reasons: `TTestPower.solve_power` of statsmodels 0.15 answers 3.42 where the truth is 4.70 (n = 4, alpha 0.005,
power 0.8), and importing scipy costs as much as all the rest of `ablate plan`.
"""

from collections.abc import Callable
from functools import lru_cache
from math import ceil, erf, erfc, exp, lgamma, log, sqrt

ALPHA = 0.05
"""Two-sided, as in the tables of effects."""
POWER = 0.8
MAX_SEEDS = 1000


def detectable_difference(n: int, *, sd: float = 1.0, df: int | None = None, alpha: float = ALPHA, power: float = POWER) -> float:
    """Smallest true mean of n paired differences with this SD that a two-sided t test finds with this power.

    `df` is that of the SD: n - 1 where it comes from these n, more where it is pooled over arms.
    """
    assert n >= 1
    return detectable_shift(n - 1 if df is None else df, alpha=alpha, power=power) * sd / sqrt(n)


@lru_cache(maxsize=1024)
def detectable_shift(df: int, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """The same in standard errors of the estimate: the noncentrality at which the test has this power.

    The chance of a significant result in the wrong direction is not counted as power.
    """
    critical = _critical(df, tail=alpha / 2)
    return _crossing(lambda shift: _power(shift, critical=critical, df=df) - power, 0.0, 4 * critical + 10)


def seeds_needed(difference: float, *, sd: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Seeds for a two-sided paired t test to find `difference` with this power; None above 1,000."""
    standardised = abs(difference) / sd

    def enough(n: int) -> bool:
        return _power(standardised * sqrt(n), critical=_critical(n - 1, tail=alpha / 2), df=n - 1) >= power

    return _fewest_seeds(enough)


def seeds_for_margin(difference: float, *, within: float, sd: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Seeds for two one-sided t tests to place a mean inside ±`within`; None above 1,000.

    Both must succeed, so the power is at least 1 minus the sum of their chances to fail (Bonferroni's bound, exact enough: never
    fewer seeds than are needed).
    """

    def enough(n: int) -> bool:
        critical = _critical(n - 1, tail=alpha)
        distances = (within - difference, within + difference)
        return sum(1 - _power(distance / sd * sqrt(n), critical=critical, df=n - 1) for distance in distances) <= 1 - power

    return _fewest_seeds(enough)


def margin_power(n: int, *, within: float, sd: float, alpha: float = ALPHA) -> float:
    """The chance that two one-sided t tests place the mean of n paired differences inside ±`within`, where it is truly 0.

    The mean over s = sqrt(chi²/df) of P(|Z| < within sqrt(n) / sd - t s): exact but for the trapezoidal rule (1e-6).
    """
    assert n >= 2
    reach, critical = within / sd * sqrt(n), _critical(n - 1, tail=alpha)
    return _mean_over_spread(lambda s: max(0.0, erf((reach - critical * s) / sqrt(2))), df=n - 1, step=0.001)


def _mean_over_spread(function: Callable[[float], float], *, df: int, step: float) -> float:
    """The mean of a function of s = sqrt(chi²/df), by the trapezoidal rule in ln s, where the density falls off on both sides."""
    scale = log(2) + df / 2 * log(df / 2) - lgamma(df / 2)
    above, below = 8 / sqrt(df) + 1, 40 / df + 8 / sqrt(df)
    total = 0.0
    for place in range(-ceil(below / step), ceil(above / step) + 1):
        u = place * step
        total += exp(scale + df * (u - exp(2 * u) / 2)) * function(exp(u))
    return min(total * step, 1.0)


def _fewest_seeds(enough: Callable[[int], bool]) -> int | None:
    """By halving: what n seeds can do, more can."""
    low, high = 1, MAX_SEEDS
    if not enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@lru_cache(maxsize=4096)
def _critical(df: int, *, tail: float) -> float:
    """The value that Student's t exceeds with probability `tail`."""
    assert df >= 1
    high = 2.0
    while _power(0.0, critical=high, df=df) > tail:
        high *= 2
    return _crossing(lambda critical: tail - _power(0.0, critical=critical, df=df), 0.0, high)


def _power(shift: float, *, critical: float, df: int) -> float:
    """The chance that a noncentral t exceeds `critical`: the mean of Φ(shift - critical s) over s = sqrt(chi²/df).

    The trapezoidal rule in u = ln s, where the density ∝ exp(df (u - e^2u / 2)) is smooth and falls off on both sides, so that
    the error falls exponentially with the step: within 1e-12 of scipy's.
    """
    step = min(0.1, 0.35 / sqrt(df), 0.7 / (abs(shift) + 8))
    return _mean_over_spread(lambda s: erfc((critical * s - shift) / sqrt(2)) / 2, df=df, step=step)


def _crossing(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0, by halving."""
    while high - low > 1e-10 * (1 + high):
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) >= 0 else (middle, high)
    return high
