"""How loud a metric is: its seed-to-seed SD, whether the arms stand out from it, and by how much the best arm flatters itself.

All arms share one noise (Bartlett's test says when they do not). Pairing by seed is not used here: where the seeds shift all arms alike,
paired effects (effects.py) can tell apart what this cannot.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, isfinite, lgamma, sqrt

import numpy as np
import pandas as pd
from scipy import integrate, special, stats

from ablate.analysis.effects import Interval, pooled_noise
from ablate.analysis.trial_values import joined, trial_values
from ablate.errors import InputError

ALPHA = 0.05
NO_SPREAD = 1e-12
"""SD as a share of the largest value below which seeds count as identical: the rounding of a mean."""


@dataclass(frozen=True)
class NoiseFloor:
    """Seed-to-seed SD within an arm, pooled over the arms with two or more seeds. A number that does not exist is None."""

    metric: str
    sd: float | None
    """In the metric's unit."""
    df: int
    ci: Interval | None
    """95 % interval of the SD by chi², which takes the noise as normal."""
    bartlett_p: float | None
    """Of equal variances in all arms; small too where the noise is not normal."""
    arms: int
    """Arms with two or more seeds."""
    note: str = ""


@dataclass(frozen=True)
class SignalToNoise:
    """Range of the arms' means over the pooled SD within an arm."""

    metric: str
    ratio: float | None
    chance: float | None
    """The ratio that as many equal arms with these seeds have on average: 2 E[max] / sqrt(seeds) E[SD / its estimate]; with df = 1
    that mean does not exist."""
    spread: float
    """Largest minus smallest mean of an arm, in the metric's unit."""
    noise: NoiseFloor
    p: float | None
    """F test of a one-way ANOVA: that all arms have one mean."""
    separates: bool | None
    """Whether some arms can be told apart at 5 %; None where nothing can be tested."""
    note: str = ""


@dataclass(frozen=True)
class WinnersCurse:
    """What the best of equal arms owes to luck."""

    n_arms: int
    in_sds: float
    """Expected maximum of `n_arms` standard normal numbers."""
    overrating: float
    """The same in the metric's unit."""
    advice: str


def noise_floor(frame: pd.DataFrame, *, metric: str, by: str = "arm") -> NoiseFloor:
    """From `<by>, seed, <metric>` and optionally `state`."""
    table, left_out = trial_values(frame, keys=[by], metric=metric)
    groups = [group.to_numpy() for _, group in table.groupby(by)["value"] if len(group) > 1]
    noise = pooled_noise(table, metric="value", by=by)
    if noise.sd is None:
        return NoiseFloor(metric, None, 0, None, None, 0, joined("no arm has two seeds: no noise floor; a second seed gives one", left_out))
    if noise.sd <= NO_SPREAD * float(table["value"].abs().max()):
        note = "the seeds of every arm are identical: no spread, so no interval; check that the seed reaches the trainer"
        return NoiseFloor(metric, noise.sd, noise.df, None, None, len(groups), joined(note, left_out))
    low, high = (noise.sd * sqrt(noise.df / float(stats.chi2.ppf(tail, noise.df))) for tail in (1 - ALPHA / 2, ALPHA / 2))
    p, untested = _equal_variances(groups)
    note = joined(untested, left_out)
    if p is not None and p < ALPHA:
        unequal = f"the arms' variances differ (Bartlett's p = {p:.2g}): one pooled SD is too large for some and too small for others"
        note = joined(unequal, note)
    return NoiseFloor(metric, noise.sd, noise.df, (low, high), p, len(groups), note)


def signal_to_noise(frame: pd.DataFrame, *, metric: str, by: str = "arm") -> SignalToNoise:
    """From `<by>, seed, <metric>`. The noise is that of the seeds alone.

    Not as in the public `snr_simple.py`, whose noise is the SD over all variants and checkpoints: the range of 25 numbers is about 4 of
    their own SDs whatever they measure.
    """
    noise = noise_floor(frame, metric=metric, by=by)
    table, _ = trial_values(frame, keys=[by], metric=metric)
    groups = [group.to_numpy() for _, group in table.groupby(by)["value"]]
    means = [float(group.mean()) for group in groups]
    spread = max(means) - min(means) if means else 0.0
    if len(groups) < 2:
        note = f"{len(groups)} arms with a finite {metric}: nothing to tell apart"
        return SignalToNoise(metric, None, None, spread, noise, None, None, joined(note, noise.note))
    if noise.sd is None or noise.ci is None:
        return SignalToNoise(metric, None, None, spread, noise, None, None, noise.note)
    seeds = len(groups) / sum(1 / len(group) for group in groups)  # the harmonic mean: the means' variances average to SD² / seeds
    chance = 2 * _expected_maximum(len(groups)) / sqrt(seeds) * _mean_of_inverse(noise.df) if noise.df > 1 else None
    p = _one_mean(groups, sd=noise.sd, df=noise.df)
    silent = f"this metric cannot separate these arms (F test, p = {p:.2g}): more seeds, or a metric with less noise" if p >= ALPHA else ""
    return SignalToNoise(metric, spread / noise.sd, chance, spread, noise, p, p < ALPHA, joined(silent, noise.note))


def winners_curse(n_arms: int, sd: float) -> WinnersCurse:
    """How far the best of `n_arms` equal arms lies above the truth on average; `sd` is that of one arm's mean, so seed SD / sqrt(seeds)."""
    if n_arms < 1:
        raise InputError(f"n_arms: {n_arms}; give the number of arms compared, at least 1")
    if not isfinite(sd) or sd < 0:
        raise InputError(f"sd: {sd} is not a standard deviation")
    in_sds = _expected_maximum(n_arms)
    advice = (
        f"the best of {n_arms} equal arms looks {in_sds:.2f} SD ({in_sds * sd:.3g}) better than it is: "
        "re-run the winner and the baseline with new seeds, and report those alone"
    )
    return WinnersCurse(n_arms, in_sds, in_sds * sd, advice if n_arms > 1 else "one arm: nothing was chosen, so nothing is overrated")


@lru_cache(maxsize=256)
def _expected_maximum(count: int) -> float:
    """Of standard normal numbers: the integral over x > 0 of 1 - Φ(x)^count - Φ(-x)^count."""
    if count == 1:
        return 0.0

    def integrand(x: float) -> float:
        return -float(np.expm1(count * special.log_ndtr(x))) - float(special.ndtr(-x)) ** count

    # to 12: beyond it 1 - Φ(x)^count is below count x 2e-33
    return float(integrate.quad(integrand, 0, 12, points=[2, 4, 6], epsabs=1e-10)[0])


def _mean_of_inverse(df: int) -> float:
    """Mean of SD / estimated SD: above 1, since 1/x is convex."""
    return sqrt(df / 2) * exp(lgamma((df - 1) / 2) - lgamma(df / 2))


def _equal_variances(groups: list["np.ndarray[tuple[int], np.dtype[np.float64]]"]) -> tuple[float | None, str]:
    if len(groups) < 2:
        return None, "one arm with two seeds: equal variances cannot be tested"
    if any(group.std() <= NO_SPREAD * np.abs(group).max() for group in groups):
        return None, "an arm's seeds are identical: equal variances cannot be tested"
    return float(stats.bartlett(*groups).pvalue), ""


def _one_mean(groups: list["np.ndarray[tuple[int], np.dtype[np.float64]]"], *, sd: float, df: int) -> float:
    """p of the one-way F test; an arm of one seed adds to the means and nothing to the noise."""
    grand = float(np.concatenate(groups).mean())
    between = sum(len(group) * (float(group.mean()) - grand) ** 2 for group in groups) / (len(groups) - 1)
    return float(stats.f.sf(between / sd**2, len(groups) - 1, df))
