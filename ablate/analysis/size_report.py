"""Arms that were run at several sizes, compared: does the small winner stay the winner, how do effects change, what are they worth.

Puts together `scales` (order of the arms, effects against ln N) and `compute_units` (the factor of compute that the base would need). What
cannot be said of a frame is None with a reason; what is wrong with it is said all at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.columns import numbers, require_columns, row_name
from ablate.analysis.compute_units import ComputeReport, ComputeUnits, compute_units
from ablate.analysis.effects import LARGEST, USABLE, Effect
from ablate.analysis.laws import size_label
from ablate.analysis.optima import Goal
from ablate.analysis.scales import RankTransfer, SizeTrend, effect_against_size, rank_transfer
from ablate.analysis.trial_values import trial_values
from ablate.errors import InputError, did_you_mean
from ablate.model import Level
from ablate.quantities import counted

NO_COMPUTE = "no compute is known of these runs"
OWN_NAMES: Mapping[str, str] = {}


@dataclass(frozen=True)
class Transfer:
    """The order of the arms at one size against that at the largest."""

    small: float
    large: float
    """n_params"""
    rank: RankTransfer | None
    missing: str
    """Why there is none."""

    def to_json(self) -> dict[str, Any]:
        return {"small": self.small, "large": self.large, "rank": self.rank and self.rank.to_json(), "missing": self.missing}


@dataclass(frozen=True)
class SizeReport:
    metric: str
    goal: Goal
    baseline: Level
    arms: tuple[Level, ...]
    sizes: tuple[float, ...]
    """n_params, ascending; the last is the large scale of every transfer."""
    transfers: tuple[Transfer, ...]
    trends: tuple[SizeTrend, ...]
    compute: ComputeReport | None
    compute_missing: str
    """Why there is no report in units of compute."""
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        keys = ("metric", "goal", "baseline", "compute_missing")
        return {key: getattr(self, key) for key in keys} | {
            "arms": list(self.arms),
            "sizes": list(self.sizes),
            "transfers": [transfer.to_json() for transfer in self.transfers],
            "effects": [trend.to_json() for trend in self.trends],
            "compute": self.compute and self.compute.to_json(),
            "warnings": list(self.warnings),
        }


def compare_sizes(
    frame: pd.DataFrame,
    *,
    baseline: Level,
    metric: str,
    goal: Goal,
    no_compute: str = NO_COMPUTE,
    notes: tuple[str, ...] = (),
    called: Mapping[str, str] = OWN_NAMES,
) -> SizeReport:
    """From one row a trial, `arm, n_params, seed, <metric>` and optionally `state` and `compute` (FLOPs).

    `no_compute`: why there is no compute, where the frame has none; `notes` stand before the report's own warnings. `called`: columns
    by the names that the caller knows.
    """
    runs = _runs(frame, baseline=baseline, metric=metric, goal=goal, called=called)
    sizes = [float(size) for size in np.unique(runs["n_params"])]
    large = runs[runs["n_params"] == sizes[-1]]
    transfers = tuple(_transfer(runs[runs["n_params"] == size], large, metric=metric, goal=goal) for size in sizes[:-1])
    trends = effect_against_size(runs, baseline=baseline, metric=metric)
    compute, missing = _compute(runs, trends, baseline=baseline, metric=metric, goal=goal) if "compute" in runs else (None, no_compute)
    return SizeReport(
        metric=metric,
        goal=goal,
        baseline=baseline,
        arms=tuple(_plain(arm) for arm in dict.fromkeys(runs["arm"])),
        sizes=tuple(sizes),
        transfers=transfers,
        trends=trends,
        compute=compute,
        compute_missing=missing,
        warnings=(*notes, *_warnings(runs, metric=metric)),
    )


def _runs(frame: pd.DataFrame, *, baseline: Level, metric: str, goal: Goal, called: Mapping[str, str]) -> pd.DataFrame:
    """The columns that are read, with counts as floats; raises InputError with every fault."""
    if goal not in ("min", "max"):
        raise InputError(f"goal: unknown '{goal}' (min, max)")
    require_columns(frame, ["arm", "n_params", "seed", metric])
    if frame.empty:
        raise InputError("no rows; give one row a trial: arm, n_params, seed and the metric")
    counts = ["n_params", *(["compute"] if "compute" in frame else [])]
    read, problems = dict[str, "pd.Series[float]"](), list[str]()
    for name in dict.fromkeys([*counts, metric]):
        own = called.get(name, name)
        try:
            read[name] = numbers(frame[[name]].set_axis([own], axis=1), own)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    for name in counts:
        if (bad := read[name][~(read[name] > 0) | ~np.isfinite(read[name])]).size:
            problems.append(
                f"column {called.get(name, name)}: {bad.iloc[0]} ({row_name(frame, bad.index[0])}) is not a positive, finite number"
                + (f", {bad.size} such rows" if bad.size > 1 else "")
            )
    distinct = read["n_params"].nunique()
    if distinct < 2:
        needed = "comparing sizes needs two, and three for a line with an interval"
        problems.append(f"column {called.get('n_params', 'n_params')}: {distinct} distinct size; {needed}")
    for name in ("arm", "seed"):
        if missing := int(frame[name].isna().sum()):
            problems.append(f"column {called.get(name, name)}: {counted(missing, 'row')} without a value; fill it in or drop these rows")
    arms = [str(arm) for arm in dict.fromkeys(frame["arm"].dropna())]
    if baseline not in set(frame["arm"]):
        problems.append(f"no arm '{baseline}' to compare with (there: {', '.join(arms)}){did_you_mean(str(baseline), arms)}")
    if len(arms) < 2:
        problems.append(f"{len(arms)} arm; comparing arms needs two")
    if not np.isfinite(read[metric]).any():
        problems.append(f"column {metric}: no finite number in any row")
    if problems:
        raise InputError("\n".join(problems))
    kept = frame[["arm", "seed", *(["state"] if "state" in frame else [])]]
    return kept.assign(**read)


def _transfer(small: pd.DataFrame, large: pd.DataFrame, *, metric: str, goal: Goal) -> Transfer:
    sizes = float(small["n_params"].iloc[0]), float(large["n_params"].iloc[0])
    finished = [set(side.loc[_usable(side, metric=metric), "arm"]) for side in (small, large)]
    for size, arms in zip(sizes, finished, strict=True):
        if not arms:
            return Transfer(*sizes, None, f"no finished trial with a finite {metric} at {size_label(size)}")
    if finished[0].isdisjoint(finished[1]):  # nothing to compare, and nothing wrong with the rows
        return Transfer(*sizes, None, f"no arm with a finite {metric} at both sizes")
    return Transfer(*sizes, rank_transfer(small, large, metric=metric, goal=goal), "")


def _compute(
    runs: pd.DataFrame, trends: tuple[SizeTrend, ...], *, baseline: Level, metric: str, goal: Goal
) -> tuple[ComputeReport | None, str]:
    usable = _usable(runs, metric=metric)
    found = runs.loc[usable & (runs["arm"] == baseline), "compute"].nunique()
    if found < 3:
        return None, f"the baseline {baseline} finished at {found} computes; its scaling curve needs 3, better 5"
    report = compute_units(runs, baseline=baseline, metric=metric, goal=goal)
    measured = {(trend.arm, size): effect for trend in trends for size, effect in trend.effects}
    sizes = {(_plain(arm), compute): size for arm, compute, size in zip(runs["arm"], runs["compute"], runs["n_params"], strict=True)}
    units = tuple(_agreeing(unit, measured.get((unit.arm, sizes.get((unit.arm, unit.compute), 0.0))), goal=goal) for unit in report.arms)
    return replace(report, arms=units), ""


def _agreeing(unit: ComputeUnits, effect: Effect | None, *, goal: Goal) -> ComputeUnits:
    """Without a factor that says the opposite of a clear effect at the same size: there the base's curve misses the base."""
    if unit.factor is None or effect is None or effect.ci is None or effect.mean_diff is None or effect.ci[0] <= 0 <= effect.ci[1]:
        return unit
    is_better = (effect.mean_diff < 0) == (goal == "min")
    if is_better == (unit.factor > 1):
        return unit
    said = f"no factor: its seeds are {'better' if is_better else 'worse'} than the base's there, the base's curve says the opposite"
    return replace(unit, matched=None, factor=None, interval=None, extrapolation_decades=None, note=said)


def _usable(runs: pd.DataFrame, *, metric: str) -> "pd.Series[bool]":
    finite = pd.Series(np.abs(runs[metric].to_numpy(dtype=float)) <= LARGEST, index=runs.index)
    return finite & runs["state"].isin(USABLE) if "state" in runs else finite


def _warnings(runs: pd.DataFrame, *, metric: str) -> list[str]:
    usable = runs[_usable(runs, metric=metric)]
    seeds = usable.groupby(["arm", "n_params"])["seed"].nunique()
    found = []
    if len(runs) > len(usable):
        found.append(trial_values(runs, keys=["arm", "n_params"], metric=metric).note)
    if seeds.max() == 1:
        found.append("one seed an arm and size: no interval of an effect at a size and no ceiling, so a flip may be noise")
    elif seeds.nunique() > 1:
        found.append(f"{seeds.min()} to {seeds.max()} seeds an arm and size: effects pair the seeds that both sides have")
    return found


def _plain(value: Any) -> Level:
    plain: Level = value.item() if isinstance(value, np.generic) else value
    assert not isinstance(plain, float) or isfinite(plain)
    return plain
