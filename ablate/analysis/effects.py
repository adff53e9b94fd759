"""A results frame becomes effects: each level (or arm) against its baseline, paired by seed, with an interval.

What counts as one observation: **one seed**. Trials of one seed share their data order and initialisation, and the
cells of the other axes are the cells the author chose, not a sample of anything. So where the other axes vary, the
differences of one seed are first averaged over the cells, and n is the number of seeds: 3 seeds x 9 cells are 3
observations of the average effect, not 27. Every seed must be averaged over the same cells, or the cells' own
differences would pass as noise.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import exp, inf, isfinite, lgamma, log, sqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special
from statsmodels.stats.multitest import multipletests

from ablate.analysis.columns import numbers, require_columns
from ablate.errors import InputError, did_you_mean
from ablate.model import Level
from ablate.quantities import counted, joined

USABLE = ("done", "cached")
"""States whose metrics are final; a frame without a `state` column counts as all done."""

ENDED = ("failed", "diverged", "pruned", "lost")
"""States that a left out trial is counted under; whatever else is not usable is unfinished."""

LARGEST = 1e150
"""Beyond it a value's square overflows: such a trial diverged and counts as one without a finite value."""

SEEDS_FOR_G = 9
"""Paired seeds below which no Hedges g is given: its unit, the seeds' SD, would be known worse than to a factor of 2.

The mean of two paired variances has 2 (n - 1) / (1 + rho²) degrees of freedom (twice its squared mean over its variance, as Satterthwaite
counts them; variances of a correlation rho covary by rho²), n - 1 at least; n seeds do not say which rho. By chi² the upper end of the SD's
95 % interval is 6.3 times the SD at 3 seeds, 2.04 at 8 and 1.92 at 9.
"""

FEW_FOR_G = f"no Hedges g below {SEEDS_FOR_G} seeds: the SD that it is measured in is not known within a factor of 2"

TOO_SMALL = "no interval: differences are so small that their squares are 0; give the metric in a smaller unit"

Interval = tuple[float, float]


@dataclass(frozen=True)
class Effect:
    """`level` minus `baseline` on `metric`. A number that does not exist is None and `note` says why."""

    axis: str
    level: Level
    baseline: Level
    metric: str
    mean_diff: float | None
    ci: Interval | None
    p: float | None
    n: int
    """Paired seeds."""
    df: int
    level_mean: float | None
    """Mean over the paired trials only, so `level_mean - baseline_mean == mean_diff`."""
    baseline_mean: float | None
    hedges_g: float | None
    """Mean difference in units of the seeds' SD within a level (root mean square of the two), corrected for small n; see `SEEDS_FOR_G`."""
    note: str = ""
    se: float | None = None
    confidence: float = 0.95
    cells: int = 1
    """Cells of the other axes that each seed is averaged over."""
    p_holm: float | None = None
    p_bh: float | None = None
    hedges_g_note: str = ""
    """Why there is no `hedges_g` where there is an interval."""

    def interval(self, confidence: float) -> Interval | None:
        """The Student-t interval at another confidence; None where `ci` is."""
        if self.mean_diff is None or self.se is None:
            return None
        half = _critical(self.df, confidence) * self.se
        return self.mean_diff - half, self.mean_diff + half

    def p_within(self, margin: float) -> float | None:
        """Of two one-sided t tests that the true difference lies outside ±`margin`; None where `ci` is."""
        if self.mean_diff is None or not self.se:
            return None
        return float(special.stdtr(self.df, -(margin - abs(self.mean_diff)) / self.se))

    def reversed(self) -> "Effect":
        """`baseline` minus `level`."""
        return replace(
            self,
            level=self.baseline,
            baseline=self.level,
            mean_diff=None if self.mean_diff is None else -self.mean_diff,
            ci=None if self.ci is None else (-self.ci[1], -self.ci[0]),
            level_mean=self.baseline_mean,
            baseline_mean=self.level_mean,
            hedges_g=None if self.hedges_g is None else -self.hedges_g,
        )

    @property
    def sd(self) -> float | None:
        """SD of the seeds' differences."""
        return None if self.se is None else self.se * sqrt(self.n)


def level_effects(
    frame: pd.DataFrame,
    *,
    axis: str,
    baseline: Level,
    metric: str,
    axes: Sequence[str] | None = None,
    level: float = 0.95,
) -> tuple[Effect, ...]:
    """Each level of `axis` against `baseline`, paired by seed and by the labels of all other `axes` of the study.

    `axes` may be left out only where `axis` alone tells the arms apart. The levels of one call are Holm's family.
    """
    _check(frame, needs=[axis, "seed", *(axes or ())], confidence=level)
    others = [name for name in axes or () if name != axis]
    table = _trials(frame, axis=axis, others=others, metric=metric)
    if baseline not in set(table["level"]):
        found = list(dict.fromkeys(map(str, table["level"])))
        raise InputError(
            f"axis {axis}: no trial at the baseline {baseline!r} (there: {', '.join(found)}){did_you_mean(str(baseline), found)}"
        )
    levels = [found for found in _in_order(table["level"]) if found != baseline]
    values = _keyed(table)
    return adjust(
        _effect(values[found], values[baseline], axis=axis, level=found, baseline=baseline, metric=metric, confidence=level)
        for found in levels
    )


def seed_differences(
    frame: pd.DataFrame, *, axis: str, level: Level, baseline: Level, metric: str, axes: Sequence[str]
) -> dict[Any, float]:
    """Seed -> the difference that `level_effects` takes the mean of; nothing where a side has no trial."""
    _check(frame, needs=[axis, "seed", *axes], confidence=0.95)
    others = [name for name in axes if name != axis]
    table = _trials(frame[frame[axis].isin([level, baseline])], axis=axis, others=others, metric=metric)
    values = _keyed(table)
    if level not in values or baseline not in values:
        return {}
    pairs = _pairs(values[level], values[baseline])
    return dict(zip(pairs.seeds, map(float, pairs.level - pairs.base), strict=True))


def paired_trials(frame: pd.DataFrame, *, axis: str, level: Level, baseline: Level, metric: str, axes: Sequence[str]) -> pd.DataFrame:
    """The rows of `frame` that `level_effects` compares, pair by pair in the order of the seeds, the level's before the baseline's."""
    _check(frame, needs=[axis, "seed", *axes], confidence=0.95)
    others = [name for name in axes if name != axis]
    table = _trials(frame[frame[axis].isin([level, baseline])], axis=axis, others=others, metric=metric)
    values = _keyed(table)
    if level not in values or baseline not in values:
        return frame.iloc[:0]
    pairs = _pairs(values[level], values[baseline])
    used = table[table["seed"].isin(pairs.seeds) & table["cell"].isin(pairs.cells) & table["value"].notna()]
    ordered = used.assign(second=used["level"] != level).sort_values(["seed", "cell", "second"], kind="stable")
    return frame.loc[ordered.index]


def paired_effect(level: Mapping[Any, float], baseline: Mapping[Any, float], *, axis: str, metric: str, confidence: float = 0.95) -> Effect:
    """One number a seed on each side, such as two differences: the mean of `level - baseline` over the seeds that both have."""
    sides = [Values({(0, seed): value for seed, value in side.items()}, {}) for side in (level, baseline)]
    return _effect(sides[0], sides[1], axis=axis, level=None, baseline=None, metric=metric, confidence=confidence)


def adjust(effects: Iterable[Effect]) -> tuple[Effect, ...]:
    """Fills `p_holm` and `p_bh` (Benjamini-Hochberg) over these effects as one family; without a p they stay None."""
    effects = tuple(effects)
    tested = [effect.p for effect in effects if effect.p is not None]
    if not tested:
        return effects
    stepped, screened = iter(holm(tested)), iter(multipletests(tested, method="fdr_bh")[1])
    return tuple(
        effect if effect.p is None else replace(effect, p_holm=float(next(stepped)), p_bh=float(next(screened))) for effect in effects
    )


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979), in the order given.

    To the bit what `multipletests` answers, which has the interpreter search all its memory for garbage on the way: a quarter of a second
    each time in a process that has loaded much.
    """
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(stepped, 1.0)
    return found.tolist()


def _check(frame: pd.DataFrame, *, needs: Iterable[str], confidence: float) -> None:
    require_columns(frame, needs)
    if frame.empty:
        raise InputError("the frame has no rows")
    if frame["seed"].isna().any():
        raise InputError(f"column seed: {counted(int(frame['seed'].isna().sum()), 'row')} without a seed; effects are paired by seed")
    if not 0 < confidence < 1:
        raise InputError(f"confidence level {confidence}: must lie between 0 and 1")


def _trials(frame: pd.DataFrame, *, axis: str, others: Sequence[str], metric: str) -> pd.DataFrame:
    """Columns `level, cell, seed, value, why`, one row a trial; NaN, and `why`, unless it is done and its metric finite."""
    usable = frame["state"].isin(USABLE) if "state" in frame else pd.Series(True, index=frame.index)
    if metric not in frame and not usable.any():
        values = pd.Series(np.nan, index=frame.index)  # a study before its first finished trial
    else:
        require_columns(frame, [metric])
        values = numbers(frame, metric)
    cells = frame.groupby(list(others), dropna=False, sort=False).ngroup() if others else 0
    table = pd.DataFrame({"level": frame[axis].map(_plain), "cell": cells, "seed": frame["seed"], "value": values}, index=frame.index)
    table["value"] = table["value"].where(usable & (table["value"].abs() <= LARGEST))
    table["why"] = np.where(np.isfinite(values), f"beyond {LARGEST:g}", "without a finite value").astype(object)
    if "state" in frame:
        table["why"] = table["why"].where(usable, frame["state"].where(frame["state"].isin(ENDED), "unfinished"))
    repeated = table.duplicated(["level", "cell", "seed"], keep=False) & table["value"].notna()
    if table[repeated].duplicated(["level", "cell", "seed"]).any():
        first = table[repeated].iloc[0]
        raise InputError(
            f"several values of {metric} at {axis} = {first['level']}, seed {first['seed']}: "
            "name all axes of the study, or keep one row per arm and seed"
        )
    return table


def _plain(value: Any) -> Level:
    """A label as Python's own: numpy scalars unwrapped, missing is None."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not isfinite(value) else value


def _in_order(levels: "pd.Series[Any]") -> list[Level]:
    """Numbers ascending, labels as they first appear."""
    found = list(dict.fromkeys(levels))
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in found)
    return sorted(found) if numeric else found


def _keyed(table: pd.DataFrame) -> dict[Level, "Values"]:
    """Per level the value by (cell, seed); a failed trial and its finished repeat are one."""
    keyed: dict[Level, Values] = {}
    for level, cell, seed, value, why in zip(
        *(table[column].tolist() for column in ("level", "cell", "seed", "value", "why")), strict=True
    ):
        side = keyed.setdefault(level, Values({}, {}))
        if isfinite(value):
            side.values[cell, seed] = value
            side.missing.pop((cell, seed), None)
        elif (cell, seed) not in side.values:
            side.missing[cell, seed] = why
    return keyed


Place = tuple[int, Any]
"""Cell and seed."""


class Values(NamedTuple):
    """One level's trials."""

    values: dict[Place, float]
    missing: dict[Place, str]
    """Trials without a value -> why."""


class _Pairs(NamedTuple):
    seeds: Sequence[Any]
    level: "np.ndarray[Any, np.dtype[np.float64]]"
    base: "np.ndarray[Any, np.dtype[np.float64]]"
    cells: Sequence[int]
    note: str


def _pairs(level: Values, base: Values) -> _Pairs:
    """The seeds' means over the same cells, and what had to be left out."""
    sides = [side.values.keys() | side.missing.keys() if side.missing else side.values.keys() for side in (level, base)]
    if not (level.missing or base.missing) and sides[0] == sides[1] and len({cell for cell, _ in sides[0]}) == 1:
        places = sorted(sides[0])  # the plain case, of which there may be thousands
        means = [[side.values[place] for place in places] for side in (level, base)]
        return _Pairs([seed for _, seed in places], np.array(means[0]), np.array(means[1]), [places[0][0]], "")
    shared = {cell for cell, _ in sides[0]} & {cell for cell, _ in sides[1]}
    planned = [place for place in sides[0] | sides[1] if place[0] in shared]
    whole = [place for place in planned if place in level.values and place in base.values]
    seeds, cells = _same_cells(whole)
    notes = []
    if dropped := len(planned) - len(whole):
        why = Counter(_why(place, level, base) for place in planned if place not in level.values or place not in base.values)
        notes.append(f"{dropped} of {len(planned)} pairs dropped ({', '.join(f'{why[each]} {each}' for each in sorted(why))})")
    if unbalanced := len(whole) - len(seeds) * len(cells):
        notes.append(f"{unbalanced} pairs left out so that every seed is averaged over the same cells")
    means = [[float(np.mean([side.values[cell, seed] for cell in cells])) for seed in seeds] for side in (level, base)]
    return _Pairs(seeds, np.array(means[0]), np.array(means[1]), cells, joined(*notes))


def _why(place: Place, *sides: Values) -> str:
    """A failure outweighs a seed that one side never had."""
    return min((side.missing[place] for side in sides if place in side.missing), default="without a partner")


def _same_cells(pairs: Iterable[tuple[int, Any]]) -> tuple[list[Any], list[int]]:
    """Seeds and cells of the full block that promises the narrowest interval; among the seeds the fullest come first.

    The width goes as t(seeds - 1) / sqrt(seeds x cells): a third seed is worth more than four times the cells.
    """
    cells_of: dict[Any, set[int]] = {}
    for cell, seed in sorted(pairs):
        cells_of.setdefault(seed, set()).add(cell)
    seeds = sorted(cells_of, key=lambda seed: -len(cells_of[seed]))
    blocks = [(seeds[:count], set.intersection(*(cells_of[seed] for seed in seeds[:count]))) for count in range(1, len(seeds) + 1)]
    best = min(
        (block for block in blocks if block[1]),
        key=lambda block: _width(len(block[0]), len(block[1])),
        default=([], set[int]()),
    )
    return sorted(best[0]), sorted(best[1])


def _width(seeds: int, cells: int) -> tuple[float, int]:
    return (_critical(seeds - 1, 0.95) / sqrt(seeds * cells) if seeds > 1 else inf, -cells)


@lru_cache(maxsize=4096)
def _critical(df: int, confidence: float) -> float:
    """Two-sided quantile of Student's t."""
    return float(special.stdtrit(df, (1 + confidence) / 2))


def _effect(
    level_values: Values,
    base_values: Values,
    *,
    axis: str,
    level: Level,
    baseline: Level,
    metric: str,
    confidence: float,
) -> Effect:
    pairs = _pairs(level_values, base_values)
    differences = pairs.level - pairs.base
    n, se, p, ci, g, note = len(differences), None, None, None, None, ""
    mean = float(differences.mean()) if n else None
    if mean is None:
        note = "no pair: no seed has finished in two arms that differ in this axis alone"
    elif n == 1:
        note = "one seed: no interval; a second seed gives one"
    elif (sd := _sd(differences)) <= 1e-12 * max(map(abs, (*pairs.level.tolist(), *pairs.base.tolist()))):
        alike = len(set(differences.tolist())) == 1 or sd > 0
        note = f"all {n} differences are identical: no spread, so no interval" if alike else TOO_SMALL
    else:
        se = sd / sqrt(n)
        # the bits of scipy.stats.ttest_rel, whose distributions take ten times as long to call
        p = 2 * float(special.stdtr(n - 1, -abs(mean) / se))
        half = _critical(n - 1, confidence) * se
        ci, g = (mean - half, mean + half), _hedges_g(mean, pairs) if n >= SEEDS_FOR_G else None
    return Effect(
        axis=axis,
        level=level,
        baseline=baseline,
        metric=metric,
        mean_diff=mean,
        ci=ci,
        p=p,
        n=n,
        df=max(n - 1, 0),
        level_mean=float(pairs.level.mean()) if n else None,
        baseline_mean=float(pairs.base.mean()) if n else None,
        hedges_g=g,
        note=joined(note, pairs.note),
        se=se,
        confidence=confidence,
        cells=len(pairs.cells),
        hedges_g_note=FEW_FOR_G if ci and n < SEEDS_FOR_G else "",
    )


def _sd(values: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
    return float(values.std(ddof=1))


def _hedges_g(mean: float, pairs: _Pairs) -> float | None:
    """g_av: mean difference over the root mean square of the two SDs, times J for 2 (n - 1) degrees of freedom."""
    spread = sqrt((_sd(pairs.level) ** 2 + _sd(pairs.base) ** 2) / 2)
    df = 2 * (len(pairs.seeds) - 1)
    return mean / spread * exp(lgamma(df / 2) - lgamma((df - 1) / 2) - log(df / 2) / 2) if spread else None
