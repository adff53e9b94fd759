"""Does the small winner stay the winner: the order of arms at two scales, and each arm's effect against the size.

A **pair of arms** is the unit of decision accuracy. A pair tied at the large scale has no right order and is left out; a pair tied at the
small scale alone counts half, since a coin would decide it. Kendall's tau-b treats both scales alike.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from math import isfinite, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.effects import Effect, Interval, level_effects
from ablate.analysis.laws import positive, size_label
from ablate.analysis.trial_values import trial_values
from ablate.errors import InputError, did_you_mean
from ablate.model import Level
from ablate.quantities import counted, joined

MIN_ARMS = 4
"""Of the bootstrap: of three arms' resamples 11 % hold one arm only and 67 % two."""
MAX_SPLITS = 100
"""Of the seeds into halves; with more possible ones as many are drawn."""
OWN_SE_SEEDS = 5
"""Seeds at every size from which each size's own SE makes its weight."""
ON_A_LINE = 1e-9
"""Residual SD as a share of the largest effect below which effects count as lying exactly on a line."""

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class RankTransfer:
    """How well the order of arms at a small scale tells that at a large one. A number that does not exist is None, `note` says why."""

    metric: str
    arms: tuple[Level, ...]
    """Those that both scales have; all numbers are theirs."""
    tau: float | None
    """Kendall's tau-b of the arms' means."""
    tau_interval: Interval | None
    accuracy: float | None
    """Share of pairs of arms ordered alike; 0.5 is a coin."""
    accuracy_interval: Interval | None
    """Both intervals: 95 %, percentiles of a bootstrap over arms; None below 4 arms and where every resample is the same."""
    ceiling: float | None
    """Accuracy between disjoint halves of the large scale's seeds: what its own noise allows. A half is noisier than the whole, so the
    true ceiling is a little higher."""
    pairs: int
    """Pairs that are not tied at the large scale."""
    small_winner: Level
    """Best at the small scale; None where two tie."""
    large_winner: Level
    winner_stays: bool | None
    regret: float | None
    """What the large scale loses by taking the small winner, in the metric's unit; 0 where it stays."""
    only_small: tuple[Level, ...]
    only_large: tuple[Level, ...]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Flip:
    """Two sizes at which an arm's effect has different signs."""

    smaller: float
    """n_params"""
    larger: float
    clear: bool
    """Both 95 % intervals exclude 0."""


@dataclass(frozen=True)
class SizeTrend:
    """An arm's effect against model size: effect = intercept + slope ln(n_params)."""

    arm: Level
    baseline: Level
    metric: str
    effects: tuple[tuple[float, Effect], ...]
    """n_params and the effect there, paired by seed, ascending."""
    slope: float | None
    """Metric units per unit of ln(n_params); times 2.303 per decade."""
    intercept: float | None
    se: float | None
    """Of the slope, scaled by the scatter around the line; None with two sizes."""
    ci: Interval | None
    p: float | None
    df: int
    weights: Literal["own_se", "pooled_se"]
    """1/SE² of each effect, or of one SD for all sizes, which is the number of seeds: effect_against_size says when."""
    flips: tuple[Flip, ...]
    note: str = ""

    @property
    def clear_flips(self) -> tuple[Flip, ...]:
        return tuple(flip for flip in self.flips if flip.clear)

    def to_json(self) -> dict[str, Any]:
        """Keys as the fields; `effects` has `n_params`, the difference, its interval, p and the seeds of each size."""
        keys = ("arm", "baseline", "metric", "slope", "intercept", "se", "p", "df", "weights", "note")
        effects = [
            {
                "n_params": size,
                "diff": effect.mean_diff,
                "ci": effect.ci and list(effect.ci),
                "p": effect.p,
                "n": effect.n,
                "note": effect.note,
            }
            for size, effect in self.effects
        ]
        return {key: getattr(self, key) for key in keys} | {
            "ci": self.ci and list(self.ci),
            "effects": effects,
            "flips": [asdict(flip) for flip in self.flips],
        }


def rank_transfer(
    small: pd.DataFrame,
    large: pd.DataFrame,
    *,
    metric: str,
    goal: Literal["min", "max"],
    by: str = "arm",
    seed: int = 0,
    resamples: int = 1000,
) -> RankTransfer:
    """From two frames `<by>, seed, <metric>` (optionally `state`); an arm's mean is over its finished seeds.

    The bootstrap takes the arms as drawn from a larger set of arms. Simulated (normal means, correlation 0.5 or 0.9 between scales, 300
    studies each), its 95 % intervals cover 1.00 with 5 arms, 0.98 with 10 and 0.96 to 0.98 with 25: wide, not narrow. It treats the means
    as exact, so what more seeds would change is not in it; compare with `ceiling`.
    """
    if goal not in ("min", "max"):
        raise InputError(f"goal: unknown '{goal}' (min, max)")
    if resamples < 100:
        raise InputError(f"resamples: {resamples}; percentiles at 2.5 % need at least 100, better 1000")
    sides = [_Side.of(frame, by=by, metric=metric, name=name) for frame, name in ((small, "small"), (large, "large"))]
    shared = [arm for arm in sides[0].means if arm in sides[1].means]
    only = [tuple(arm for arm in side.means if arm not in shared) for side in sides]
    lonely = [f"{', '.join(map(str, arms))} only at the {name} scale" for arms, name in zip(only, ("small", "large"), strict=True) if arms]
    if not shared:
        raise InputError(f"no arm with a finite {metric} at both scales ({' and '.join(lonely)}); give both the same names")
    first, second = (_without_rounding([side.means[arm] for arm in shared]) for side in sides)
    signs = _signs(first), _signs(second)
    sign = 1 if goal == "max" else -1
    winners = [_best(sign * means, shared) for means in (first, second)]
    at_small = shared.index(winners[0]) if winners[0] is not None else None
    counts = np.ones((1, len(shared)))
    accuracy, tau = _accuracy(*signs, counts=counts)[0], _tau(first, second)
    intervals, unbounded = _intervals(signs, seed=seed, resamples=resamples)
    ceiling, no_ceiling = _ceiling(sides[1].table, by=by, arms=shared, seed=seed)
    return RankTransfer(
        metric=metric,
        arms=tuple(shared),
        tau=tau,
        tau_interval=intervals[0] if tau is not None else None,
        accuracy=float(accuracy) if isfinite(accuracy) else None,
        accuracy_interval=intervals[1] if isfinite(accuracy) else None,
        ceiling=ceiling,
        pairs=int(np.sum(signs[1] != 0)) // 2,
        small_winner=winners[0],
        large_winner=winners[1],
        winner_stays=None if None in winners or len(shared) < 2 else winners[0] == winners[1],
        regret=None if at_small is None or len(shared) < 2 else float((sign * second).max() - sign * second[at_small]),
        only_small=only[0],
        only_large=only[1],
        note=joined(
            "one arm at both scales: nothing to order" if len(shared) < 2 else "",
            _tied(signs, winners) if len(shared) > 1 else "",
            *lonely,
            _missed(sides[0], shared, only[0], sign=sign),
            unbounded if len(shared) > 1 else "",
            no_ceiling if len(shared) > 1 else "",
            *(side.note for side in sides),
        ),
    )


def effect_against_size(frame: pd.DataFrame, *, baseline: Level, metric: str, level: float = 0.95) -> tuple[SizeTrend, ...]:
    """Each arm's effect at each size and its line on ln(n_params), from `arm, n_params, seed, <metric>` (optionally `state`).

    Weights are 1/SE², the interval is Student's t with sizes - 2 degrees of freedom. With fewer than 5 seeds at some size the SD of the
    differences is taken as the same at all sizes (the weight is then the number of seeds): an SE of 3 seeds is so loose that its weights
    make the 95 % interval cover 0.92 with 4 sizes and 0.87 with 6 (of 2 seeds: 0.87 and 0.76), one SD 0.95. Where the SD does change by
    a factor of 3 over the sizes, one SD covers 0.95 and 0.94. From 5 seeds, own SEs cover 0.92 to 0.94 (20,000 simulated arms each).
    """
    require_columns(frame, ["arm", "n_params", "seed", metric])
    if frame.empty:
        raise InputError("the frame has no rows; give one row a trial")
    arms = list(dict.fromkeys(frame["arm"]))
    if baseline not in arms:
        found = [str(arm) for arm in arms]
        raise InputError(f"no arm '{baseline}' to compare with (there: {', '.join(found)}){did_you_mean(str(baseline), found)}")
    sizes = numbers(frame, "n_params")
    known = sorted({positive(size, what="column n_params") for size in sizes})
    effects: dict[Any, dict[float, Effect]] = {arm: {} for arm in sorted(arms, key=str) if arm != baseline}
    without = []
    for size in known:
        rows = frame[sizes == size]
        if not (rows["arm"] == baseline).any():
            without.append(size_label(size))
            continue
        for effect in level_effects(rows, axis="arm", baseline=baseline, metric=metric, level=level):
            effects[effect.level][size] = effect
    note = f"the baseline was not run at {', '.join(without)}" if without else ""
    return tuple(_trend(arm, found, baseline=baseline, metric=metric, level=level, note=note) for arm, found in effects.items())


class _Side(NamedTuple):
    table: pd.DataFrame
    means: dict[Level, float]
    note: str

    @classmethod
    def of(cls, frame: pd.DataFrame, *, by: str, metric: str, name: str) -> "_Side":
        try:
            table, left_out = trial_values(frame, keys=[by], metric=metric)
        except InputError as error:
            raise InputError(f"{name} scale: {error}") from error
        grouped = table.groupby(by, sort=False)["value"]
        seeds = grouped.size()
        unequal = f"{seeds.min()} to {seeds.max()} seeds an arm" if seeds.nunique() > 1 else ""
        notes = joined(left_out, unequal)
        arms: list[Level] = [arm.item() if isinstance(arm, np.generic) else arm for arm in grouped.mean().index]
        return cls(table, dict(zip(arms, map(float, grouped.mean()), strict=True)), notes and f"{name} scale: {notes}")


def _without_rounding(means: Sequence[float]) -> Array:
    """Equal up to the rounding of a mean is equal: (0.1 + 0.3) / 2 ties with 0.2."""
    values = np.asarray(means, dtype=float)
    largest = float(np.abs(values).max())
    return values if largest == 0 else np.round(values / largest, 12) * largest


def _signs(values: Array) -> Array:
    """+1 where the row's arm has the larger value, 0 where they tie."""
    return np.sign(values[:, None] - values[None, :])


def _best(values: Array, arms: Sequence[Level]) -> Level:
    (best,) = np.nonzero(values == values.max())
    return arms[int(best[0])] if len(best) == 1 else None


def _tau(first: Array, second: Array) -> float | None:
    if len(set(first.tolist())) < 2 or len(set(second.tolist())) < 2:
        return None
    return float(stats.kendalltau(first, second, variant="b").statistic)


def _weighed(matrix: Array, counts: Array) -> Array:
    """Sum over pairs of arms, each as often as a resample holds it."""
    summed: Array = np.sum(counts @ matrix * counts, axis=1)
    return summed


def _accuracy(small: Array, large: Array, *, counts: Array) -> Array:
    """One a row of `counts`; NaN where every pair is tied at the large scale."""
    ordered = np.abs(large)
    with np.errstate(invalid="ignore"):
        return _weighed(ordered * (1 + small * large) / 2, counts) / _weighed(ordered, counts)


def _resampled_tau(small: Array, large: Array, *, counts: Array) -> Array:
    """Tau-b; an arm drawn twice is tied with itself at both scales, which tau-b leaves out."""
    with np.errstate(invalid="ignore"):
        return _weighed(small * large, counts) / np.sqrt(_weighed(np.abs(small), counts) * _weighed(np.abs(large), counts))


def _intervals(signs: tuple[Array, Array], *, seed: int, resamples: int) -> tuple[tuple[Interval | None, Interval | None], str]:
    """Of tau and of accuracy."""
    arms = len(signs[0])
    if arms < MIN_ARMS:
        return (None, None), f"{arms} arms: no interval, a bootstrap over arms needs {MIN_ARMS}"
    counts = np.random.default_rng(seed).multinomial(arms, np.full(arms, 1 / arms), size=resamples).astype(float)
    found = [_percentiles(function(*signs, counts=counts)) for function in (_resampled_tau, _accuracy)]
    narrow = "every resample of arms gives the same: no spread, so no interval" if None in found else ""
    return (found[0], found[1]), narrow


def _percentiles(values: Array) -> Interval | None:
    """Resamples without an ordered pair are left out."""
    finite = values[np.isfinite(values)]
    if not len(finite) or np.ptp(finite) < 1e-9:
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return (float(low), float(high)) if high - low > 1e-9 else None


def _ceiling(table: pd.DataFrame, *, by: str, arms: Sequence[Level], seed: int) -> tuple[float | None, str]:
    """Both halves take the same seeds of every arm, so that what a seed shifts in all arms changes no order."""
    values = table[table[by].isin(arms)].pivot(index=by, columns="seed", values="value").dropna(axis=1).to_numpy(dtype=float)
    seeds = values.shape[1]
    if seeds < 2:
        return None, f"{seeds or 'no'} seed of all arms at the large scale: no ceiling, its halves need two"
    splits = np.array([_accuracy_of_halves(values, half) for half in _halves(seeds, seed=seed)])
    finite = splits[np.isfinite(splits)]
    return (float(finite.mean()), "") if len(finite) else (None, "no ceiling: all arms tie in every half of the seeds")


def _halves(seeds: int, *, seed: int) -> list[list[int]]:
    """First halves; each split comes once. With an odd number the second half has one more."""
    half = seeds // 2
    if seeds <= 8:
        found = [list(chosen) for chosen in combinations(range(seeds), half)]
        return found if seeds % 2 else found[: len(found) // 2]
    rng = np.random.default_rng(seed)
    return [rng.permutation(seeds)[:half].tolist() for _ in range(MAX_SPLITS)]


def _accuracy_of_halves(values: Array, half: list[int]) -> float:
    """The mean of both directions, since accuracy treats ties of the two sides differently."""
    others = [index for index in range(values.shape[1]) if index not in half]
    sides = [_signs(_without_rounding(values[:, chosen].mean(axis=1).tolist())) for chosen in (half, others)]
    counts = np.ones((1, len(values)))
    both = [float(_accuracy(first, second, counts=counts)[0]) for first, second in (sides, sides[::-1])]
    return float(np.mean(both))


def _tied(signs: tuple[Array, Array], winners: Sequence[Level]) -> str:
    tied = [int(np.sum(np.triu(side == 0, k=1))) for side in signs]
    return joined(
        f"{tied[0]} pairs tied at the small scale count half" if tied[0] else "",
        f"{tied[1]} pairs tied at the large scale left out" if tied[1] else "",
        *(f"no single winner at the {name} scale" for winner, name in zip(winners, ("small", "large"), strict=True) if winner is None),
    )


def _missed(side: _Side, shared: Sequence[Level], only: Sequence[Level], *, sign: int) -> str:
    best = max(sign * side.means[arm] for arm in shared)
    better = [str(arm) for arm in only if sign * side.means[arm] > best]
    return f"better at the small scale than all that were run at the large one: {', '.join(better)}" if better else ""


def _trend(arm: Level, effects: dict[float, Effect], *, baseline: Level, metric: str, level: float, note: str) -> SizeTrend:
    measured = {size: effect for size, effect in effects.items() if effect.mean_diff is not None}
    flips = tuple(_flips(measured))
    seeds = np.array([effect.n for effect in measured.values()], dtype=float)
    errors = [effect.se for effect in measured.values() if effect.se is not None and effect.n >= OWN_SE_SEEDS]
    own = bool(errors) and len(errors) == len(measured)
    lost = [size_label(size) for size in effects if size not in measured]
    notes = joined(f"no pair of seeds at {', '.join(lost)}" if lost else "", note)
    bare = SizeTrend(
        arm, baseline, metric, tuple(effects.items()), None, None, None, None, None, 0, "own_se" if own else "pooled_se", flips, notes
    )
    if len(measured) < 2:
        return replace(bare, note=joined(f"{counted(len(measured), 'size')} with an effect: no line, two are needed", notes))
    x, y = np.log(list(measured)), np.array([effect.mean_diff or 0.0 for effect in measured.values()])
    weights = 1 / np.array(errors) ** 2 if own else seeds
    weights = weights / weights.sum()
    centre = float(weights @ x)
    spread = float(weights @ (x - centre) ** 2)
    slope = float(weights @ ((x - centre) * y)) / spread
    intercept = float(weights @ y) - slope * centre
    line = replace(bare, slope=slope, intercept=intercept, df=len(x) - 2, note=notes)
    if len(x) == 2:
        return replace(line, note=joined("two sizes always lie on a line: no interval of the slope, a third gives one", notes))
    scatter = sqrt(float(weights @ (y - intercept - slope * x) ** 2) / line.df)
    if scatter <= ON_A_LINE * float(np.abs(y).max()):
        return replace(line, note=joined("the effects lie exactly on a line: no scatter, so no interval of the slope", notes))
    se = scatter / sqrt(spread)
    half = float(stats.t.ppf((1 + level) / 2, line.df)) * se
    return replace(line, se=se, ci=(slope - half, slope + half), p=2 * float(stats.t.sf(abs(slope) / se, line.df)))


def _flips(effects: dict[float, Effect]) -> list[Flip]:
    found = []
    for (smaller, first), (larger, second) in combinations(effects.items(), 2):
        if (first.mean_diff or 0.0) * (second.mean_diff or 0.0) < 0:
            known = [effect.ci for effect in (first, second)]
            found.append(Flip(smaller, larger, clear=all(ci is not None and (ci[0] > 0 or ci[1] < 0) for ci in known)))
    return found
