"""How loud a metric is: its seed-to-seed SD, whether the arms stand out from it, and by how much the best arm flatters itself.

All arms share one noise (Bartlett's test says when they do not). The noise floor does not use the pairing by seed; whatever compares arms
does, where their seeds pair: it rests on `paired_noise`, what is left once each arm and each seed has its mean (analysis in blocks).
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import exp, isfinite, lgamma, log, sqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import integrate, special, stats

from ablate.analysis.effects import TOO_SMALL, Interval
from ablate.analysis.trial_values import TrialValues, far_out, several, trial_values
from ablate.errors import InputError
from ablate.quantities import counted, joined

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
    """Range of the arms' means over the noise that comparing them rests on."""

    metric: str
    ratio: float | None
    """`spread / sd`."""
    chance: float | None
    """The ratio that as many equal arms with these seeds have on average: 2 E[max] / sqrt(seeds) E[SD / its estimate]; with df = 1
    that mean does not exist."""
    spread: float
    """Largest minus smallest mean of an arm, in the metric's unit; means adjusted for seeds where these pair."""
    noise: NoiseFloor
    paired: PairedNoise
    blocked: bool
    """Whether seeds pair: every two arms can be compared by the seeds that they, or arms between them, share."""
    p: float | None
    """F test that all arms have one mean: adjusted for seeds where these pair, else of a one-way ANOVA."""
    separates: bool | None
    """Whether some arms can be told apart at 5 %; None where nothing can be tested."""
    arms: int
    """With a finite number."""
    seeds: float
    """Trials behind an arm's mean: the harmonic mean over arms; where seeds pair and trials are missing, the number that as many complete
    seeds would need to compare two arms as well on average. 0 without an arm."""
    note: str = ""
    far_out: tuple[str, ...] = ()
    """Finite trials far from everything else, which diverged if anything did; they count all the same."""

    @property
    def far_warning(self) -> str:
        """Empty where no trial is."""
        said = "it moves the means, SDs and intervals here, and nothing was left out; if it diverged, give it the state failed"
        return f"far from all other trials: {several(self.far_out, apart='; ')}; {said}" if self.far_out else ""

    @property
    def sd(self) -> float | None:
        """What the comparison of arms rests on: `paired` where seeds pair, else the noise floor; None without an interval."""
        return self.paired.sd if self.blocked else self.noise.sd if self.noise.ci else None

    @property
    def df(self) -> int:
        return self.paired.df if self.blocked else self.noise.df

    @property
    def curse(self) -> "WinnersCurse | None":
        """Of looking at the best of these arms; None below three of them, or without a noise to compare them by."""
        return None if self.arms < 3 or self.sd is None else winners_curse(self.arms, self.sd / sqrt(self.seeds))

    def to_json(self) -> dict[str, Any]:
        noise = self.noise
        return {
            "metric": self.metric,
            "ratio": self.ratio,
            "chance": self.chance,
            "spread": self.spread,
            "noise": {"sd": noise.sd, "df": noise.df, "ci": list(noise.ci) if noise.ci else None, "bartlett_p": noise.bartlett_p},
            "blocked": self.blocked,
            "sd": self.sd,
            "df": self.df,
            "arms": self.arms,
            "p": self.p,
            "separates": self.separates,
            "note": self.note,
            "far_out": list(self.far_out),
        }


@dataclass(frozen=True)
class WinnersCurse:
    """What the best of equal arms owes to luck."""

    n_arms: int
    in_sds: float
    """Expected maximum of `n_arms` standard normal numbers."""
    sd: float
    """Standard error of an arm's mean, in the metric's unit."""
    overrating: float
    """`in_sds x sd`."""
    advice: str

    def to_json(self) -> dict[str, Any]:
        return {"arms": self.n_arms, "in_sds": self.in_sds, "sd": self.sd, "overrating": self.overrating, "advice": self.advice}


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
        if sd == 0 and table.groupby(by)["value"].nunique().max() > 1:
            note = TOO_SMALL
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
    """The same from columns."""
    return _Blocks.of(pd.factorize(arms)[0], pd.factorize(seeds)[0], values.to_numpy(dtype=float)).noise


def signal_to_noise(frame: pd.DataFrame, *, metric: str, by: str = "arm") -> SignalToNoise:
    """From `<by>, seed, <metric>`. The noise is that of the seeds alone.

    Not as in the public `snr_simple.py`, whose noise is the SD over all variants and checkpoints: the range of 25 numbers is about 4 of
    their own SDs whatever they measure.
    """
    trials = trial_values(frame, keys=[by], metric=metric)
    table, noise, groups = trials.table, _noise_floor(trials, metric=metric, by=by), _Groups.of(trials.table, by=by)
    blocks = _Blocks.of(pd.factorize(table[by])[0], pd.factorize(table["seed"])[0], table["value"].to_numpy(dtype=float))
    blocked = blocks.means is not None
    count, means = len(groups.sizes), groups.means if blocks.means is None else blocks.means
    spread = float(means.max() - means.min()) if count else 0.0
    seeds = count / float((1 / groups.sizes).sum()) if count else 0.0  # the means' variances average to SD² / seeds
    bare = SignalToNoise(
        metric,
        None,
        None,
        spread,
        noise,
        blocks.noise,
        blocked,
        None,
        None,
        count,
        blocks.seeds if blocked else seeds,
        noise.note,
        far_out(table, by=by),
    )
    if count < 2:
        return replace(bare, note=joined(f"{counted(count, 'arm')} with a finite {metric}: nothing to tell apart", noise.note))
    if bare.sd is None:
        alike = "every seed moves all arms alike, to the last digit: no noise is left to test them against" if blocked and noise.ci else ""
        return replace(bare, note=joined(alike, noise.note))
    chance = 2 * _expected_maximum(count) / sqrt(bare.seeds) * _mean_of_inverse(bare.df) if bare.df > 1 else None
    between = blocks.between if blocked else groups.between
    p = float(stats.f.sf(between / bare.sd**2, count - 1, bare.df))
    test = "F test blocked by seed" if blocked else "F test"
    silent = f"this metric cannot separate these arms ({test}, p = {p:.2g}): more seeds, or a metric with less noise" if p >= ALPHA else ""
    return replace(bare, ratio=spread / bare.sd, chance=chance, p=p, separates=p < ALPHA, note=joined(silent, noise.note))


def winners_curse(n_arms: int, sd: float) -> WinnersCurse:
    """How far the best of `n_arms` equal arms lies above the truth on average; `sd` is that of one arm's mean, so seed SD / sqrt(seeds)."""
    if n_arms < 1:
        raise InputError(f"n_arms: {n_arms}; give the number of arms compared, at least 1")
    if not isfinite(sd) or sd < 0:
        raise InputError(f"sd: {sd} is not a standard deviation")
    in_sds = _expected_maximum(n_arms)
    advice = (
        f"the best of {n_arms} equal arms looks {in_sds * sd:.3g} better than it is ({in_sds:.2f} standard errors of an arm's mean): "
        "re-run the winner and the baseline with new seeds, and report those alone"
    )
    return WinnersCurse(n_arms, in_sds, sd, in_sds * sd, advice if n_arms > 1 else "one arm: nothing was chosen, so nothing is overrated")


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
    statistic = max(0.0, df.sum() * log(pooled) - float((df * np.log(variances)).sum()))  # below 0 by rounding where all are equal
    correction = 1 + (float((1 / df).sum()) - 1 / df.sum()) / (3 * (len(df) - 1))
    return float(special.chdtrc(len(df) - 1, statistic / correction)), ""


Values = np.ndarray[Any, np.dtype[Any]]
Codes = np.ndarray[Any, np.dtype[np.intp]]


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
    def by(cls, codes: Codes, values: Values) -> "_Groups":
        sizes = np.bincount(codes).astype(float)
        means = np.bincount(codes, weights=values) / sizes
        squares = np.bincount(codes, weights=(values - means[codes]) ** 2)
        largest = np.zeros(len(sizes))
        np.maximum.at(largest, codes, np.abs(values))
        df = int((sizes - 1).sum())
        return cls(sizes, means, squares, largest, sqrt(float(squares.sum()) / df) if df else None, df)

    @property
    def between(self) -> float:
        """Mean square of the arms; an arm of one seed adds to it and nothing to the noise."""
        grand = float((self.means * self.sizes).sum() / self.sizes.sum())
        return float((self.sizes * (self.means - grand) ** 2).sum()) / (len(self.sizes) - 1)


class _Blocks(NamedTuple):
    """Arms and seeds added: an analysis of variance in blocks, complete or not."""

    noise: PairedNoise
    means: Values | None
    """Of the arms, adjusted for seeds; None where seeds do not pair all arms, or leave nothing to compare them by."""
    between: float
    """Mean square of the arms adjusted for seeds (type II)."""
    seeds: float
    """2 SD² over the variance of a difference of two adjusted means, on average over pairs: how many seeds where none is missing."""

    @classmethod
    def of(cls, arms: Codes, seeds: Codes, y: Values) -> "_Blocks":
        """Whichever of arms and seeds are more are taken off by their means, the fewer fitted beside them, which is the same fit (Frisch
        and Waugh)."""
        few, many = sorted((arms, seeds), key=lambda code: int(code.max(initial=-1)))
        if len(y) == 0 or few.max() < 1:
            return cls(PairedNoise(None, 0, None), None, 0.0, 0.0)
        dummies = (few[:, None] == np.arange(few.max() + 1)).astype(float)
        x, rest = centred(dummies, many), centred(y[:, None], many)[:, 0]
        values, vectors = np.linalg.eigh(x.T @ x)
        kept = values > 1e-9 * values.max(initial=0.0)
        inverse = vectors[:, kept] @ (vectors[:, kept].T / values[kept, None])
        fitted = inverse @ (x.T @ rest)
        left = rest - x @ fitted
        df, squares = len(y) - int(many.max()) - 1 - int(kept.sum()), float(left @ left)
        if df < 1 or squares <= df * (NO_SPREAD * float(np.abs(y).max())) ** 2:
            noise = PairedNoise(None, max(df, 0), None)
        else:
            within = _Groups.by(arms, y).sd
            noise = PairedNoise(sqrt(squares / df), df, None if within is None else 1 - squares / df / within**2)
        if df < 1 or int(kept.sum()) < few.max():  # a part of the arms shares no seed with the rest
            return cls(noise, None, 0.0, 0.0)
        count, plain = int(arms.max()) + 1, centred(y[:, None], seeds)[:, 0]
        if few is arms:
            means, variance = fitted, 2 * float(np.trace(inverse)) / (count - 1)
        else:
            sizes, mixed = np.bincount(arms), dummies - x  # each trial's row: the share of its arm's trials that a seed has
            means = np.bincount(arms, weights=y - dummies @ fitted) / sizes
            moved, total = ((mixed @ inverse) * mixed).sum(axis=1) / sizes[arms], (mixed / sizes[arms, None]).sum(axis=0)
            pairs = float(moved.sum()) - float(total @ inverse @ total) / count
            variance = 2 * float((1 / sizes).mean()) + 2 * pairs / (count - 1)
        return cls(noise, means, max(0.0, float(plain @ plain) - squares) / (count - 1), 2 / variance)


def centred(columns: Values, codes: Codes) -> Values:
    """Each column less its mean within each group."""
    sizes = np.bincount(codes)
    sums = np.zeros((len(sizes), columns.shape[1]))
    np.add.at(sums, codes, columns)
    centred: Values = columns - (sums / sizes[:, None])[codes]
    return centred
