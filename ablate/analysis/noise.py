"""How loud a metric is: its seed-to-seed SD, whether the arms stand out from it, and by how much the best arm flatters itself.

All arms share one noise (Bartlett's test says when they do not). The noise floor does not use the pairing by seed: where the seeds shift
all arms alike, paired effects (effects.py) can tell apart what it cannot. `paired_noise` is what is left once they have.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, isfinite, lgamma, log, sqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import integrate, special, stats

from ablate.analysis.effects import Interval
from ablate.analysis.trial_values import TrialValues, joined, trial_values
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
class PairedNoise:
    """What is left of a trial's metric once its arm's and its seed's mean are taken off, pooled over all trials."""

    sd: float | None
    """In the metric's unit; a paired difference has sqrt(2) times this. None with fewer than two arms or seeds, or without a spread."""
    df: int
    rho: float | None
    """Correlation of two arms at one seed: 1 - sd² / SD within an arm², so what pairing saves. Below 0 by chance alone."""

    def interval(self, mean_diff: float, *, n: int, confidence: float = 0.95) -> Interval | None:
        """Of a mean of n paired differences, where all arms share this noise."""
        if self.sd is None or n < 1:
            return None
        half = float(special.stdtrit(self.df, (1 + confidence) / 2)) * self.sd * sqrt(2 / n)
        return mean_diff - half, mean_diff + half


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
    arms: int
    """With a finite number."""
    seeds: float
    """Finite trials of an arm: the harmonic mean over arms, 0 without an arm."""
    note: str = ""

    @property
    def curse(self) -> "WinnersCurse | None":
        """Of looking at the best of these arms; None below three of them, or without a noise floor."""
        if self.arms < 3 or self.noise.sd is None or self.noise.ci is None:
            return None
        return winners_curse(self.arms, self.noise.sd / sqrt(self.seeds))

    def to_json(self) -> dict[str, Any]:
        noise = self.noise
        return {
            "metric": self.metric,
            "ratio": self.ratio,
            "chance": self.chance,
            "spread": self.spread,
            "noise": {"sd": noise.sd, "df": noise.df, "ci": list(noise.ci) if noise.ci else None, "bartlett_p": noise.bartlett_p},
            "arms": self.arms,
            "p": self.p,
            "separates": self.separates,
            "note": self.note,
        }


@dataclass(frozen=True)
class WinnersCurse:
    """What the best of equal arms owes to luck."""

    n_arms: int
    in_sds: float
    """Expected maximum of `n_arms` standard normal numbers."""
    overrating: float
    """The same in the metric's unit."""
    advice: str

    def to_json(self) -> dict[str, Any]:
        return {"arms": self.n_arms, "in_sds": self.in_sds, "overrating": self.overrating, "advice": self.advice}


def noise_floor(frame: pd.DataFrame, *, metric: str, by: str = "arm") -> NoiseFloor:
    """From `<by>, seed, <metric>` and optionally `state`."""
    return _noise_floor(trial_values(frame, keys=[by], metric=metric), metric=metric, by=by)


def _noise_floor(trials: TrialValues, *, metric: str, by: str) -> NoiseFloor:
    table, left_out = trials
    groups = _Groups.of(table, by=by)
    sd, df, arms = groups.sd, groups.df, int((groups.sizes > 1).sum())
    if sd is None:
        return NoiseFloor(metric, None, 0, None, None, 0, joined("no arm has two seeds: no noise floor; a second seed gives one", left_out))
    if sd <= NO_SPREAD * float(table["value"].abs().max()):
        note = "the seeds of every arm are identical: no spread, so no interval; check that the seed reaches the trainer"
        return NoiseFloor(metric, sd, df, None, None, arms, joined(note, left_out))
    low, high = (sd * bound for bound in spread_bounds(df))
    p, untested = _equal_variances(groups)
    note = joined(untested, left_out)
    if p is not None and p < ALPHA:
        unequal = f"the arms' variances differ (Bartlett's p = {p:.2g}): one pooled SD is too large for some and too small for others"
        note = joined(unequal, note)
    return NoiseFloor(metric, sd, df, (low, high), p, arms, note)


def spread_bounds(df: int) -> Interval:
    """The 95 % interval of a true SD in units of its estimate, by chi²: 0.52 to 6.3 with 2 degrees of freedom."""
    return sqrt(df / float(special.chdtri(df, ALPHA / 2))), sqrt(df / float(special.chdtri(df, 1 - ALPHA / 2)))


def paired_noise(frame: pd.DataFrame, *, metric: str, by: str = "arm") -> PairedNoise:
    """From `<by>, seed, <metric>`: the residual of an analysis of variance in blocks, arms and seeds added. Trials may be missing."""
    table, _ = trial_values(frame, keys=[by], metric=metric)
    return left_by_seeds(table[by], table["seed"], table["value"])


def left_by_seeds(arms: "pd.Series[Any]", seeds: "pd.Series[Any]", values: "pd.Series[float]") -> PairedNoise:
    """The same from columns. Whichever of arms and seeds are more are taken off by their means, the fewer fitted beside them, which is the
    same fit (Frisch and Waugh)."""
    codes = sorted((pd.factorize(arms)[0], pd.factorize(seeds)[0]), key=lambda code: int(code.max(initial=-1)))
    few, many = codes
    y = values.to_numpy(dtype=float)
    if len(y) == 0 or few.max() < 1:
        return PairedNoise(None, 0, None)
    dummies = (few[:, None] == np.arange(few.max() + 1)).astype(float)
    x, rest = centred(dummies, many), centred(y[:, None], many)[:, 0]
    values_of, vectors = np.linalg.eigh(x.T @ x)
    kept = values_of > 1e-9 * values_of.max(initial=0.0)
    left = rest - x @ (vectors[:, kept] @ (vectors[:, kept].T @ (x.T @ rest) / values_of[kept]))
    df = len(y) - int(many.max()) - 1 - int(kept.sum())
    squares = float(left @ left)
    if df < 1 or squares <= df * (NO_SPREAD * float(np.abs(y).max())) ** 2:
        return PairedNoise(None, max(df, 0), None)
    within = _Groups.by(pd.factorize(arms)[0], y).sd
    return PairedNoise(sqrt(squares / df), df, None if within is None else 1 - squares / df / within**2)


def signal_to_noise(frame: pd.DataFrame, *, metric: str, by: str = "arm") -> SignalToNoise:
    """From `<by>, seed, <metric>`. The noise is that of the seeds alone.

    Not as in the public `snr_simple.py`, whose noise is the SD over all variants and checkpoints: the range of 25 numbers is about 4 of
    their own SDs whatever they measure.
    """
    trials = trial_values(frame, keys=[by], metric=metric)
    noise, groups = _noise_floor(trials, metric=metric, by=by), _Groups.of(trials.table, by=by)
    count, means = len(groups.sizes), groups.means
    spread = float(means.max() - means.min()) if count else 0.0
    seeds = count / float((1 / groups.sizes).sum()) if count else 0.0  # the means' variances average to SD² / seeds
    if count < 2:
        note = f"{count} arms with a finite {metric}: nothing to tell apart"
        return SignalToNoise(metric, None, None, spread, noise, None, None, count, seeds, joined(note, noise.note))
    if noise.sd is None or noise.ci is None:
        return SignalToNoise(metric, None, None, spread, noise, None, None, count, seeds, noise.note)
    chance = 2 * _expected_maximum(count) / sqrt(seeds) * _mean_of_inverse(noise.df) if noise.df > 1 else None
    p = _one_mean(groups, sd=noise.sd, df=noise.df)
    silent = f"this metric cannot separate these arms (F test, p = {p:.2g}): more seeds, or a metric with less noise" if p >= ALPHA else ""
    return SignalToNoise(metric, spread / noise.sd, chance, spread, noise, p, p < ALPHA, count, seeds, joined(silent, noise.note))


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


def _equal_variances(groups: "_Groups") -> tuple[float | None, str]:
    """Bartlett's test; scipy's takes most of a second for ten thousand arms."""
    repeated = groups.sizes > 1
    if repeated.sum() < 2:
        return None, "one arm with two seeds: equal variances cannot be tested"
    df, variances = groups.sizes[repeated] - 1, groups.squares[repeated] / (groups.sizes[repeated] - 1)
    if (variances <= (NO_SPREAD * groups.largest[repeated]) ** 2).any():
        return None, "an arm's seeds are identical: equal variances cannot be tested"
    pooled = float((df * variances).sum() / df.sum())
    statistic = df.sum() * log(pooled) - float((df * np.log(variances)).sum())
    correction = 1 + (float((1 / df).sum()) - 1 / df.sum()) / (3 * (len(df) - 1))
    return float(special.chdtrc(len(df) - 1, statistic / correction)), ""


def _one_mean(groups: "_Groups", *, sd: float, df: int) -> float:
    """p of the one-way F test; an arm of one seed adds to the means and nothing to the noise."""
    grand = float((groups.means * groups.sizes).sum() / groups.sizes.sum())
    between = float((groups.sizes * (groups.means - grand) ** 2).sum()) / (len(groups.sizes) - 1)
    return float(stats.f.sf(between / sd**2, len(groups.sizes) - 1, df))


Values = np.ndarray[Any, np.dtype[Any]]


class _Groups(NamedTuple):
    """The arms' trials: how many, their mean, and the noise they share."""

    sizes: Values
    means: Values
    squares: Values
    """Around the arm's mean."""
    largest: Values
    """Absolute value."""
    sd: float | None
    df: int

    @classmethod
    def of(cls, table: pd.DataFrame, *, by: str) -> "_Groups":
        return cls.by(pd.factorize(table[by])[0], table["value"].to_numpy(dtype=float))

    @classmethod
    def by(cls, codes: "np.ndarray[Any, np.dtype[np.intp]]", values: Values) -> "_Groups":
        sizes = np.bincount(codes).astype(float)
        means = np.bincount(codes, weights=values) / sizes
        squares = np.bincount(codes, weights=(values - means[codes]) ** 2)
        largest = np.zeros(len(sizes))
        np.maximum.at(largest, codes, np.abs(values))
        df = int((sizes - 1).sum())
        return cls(sizes, means, squares, largest, sqrt(float(squares.sum()) / df) if df else None, df)


def centred(columns: Values, codes: "np.ndarray[Any, np.dtype[np.intp]]") -> Values:
    """Each column less its mean within each group."""
    sizes = np.bincount(codes)
    sums = np.zeros((len(sizes), columns.shape[1]))
    np.add.at(sums, codes, columns)
    centred: Values = columns - (sums / sizes[:, None])[codes]
    return centred
