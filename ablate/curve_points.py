"""The curves of a group of trials become a mean with a band, against steps or what they cost, in as few points as a screen can show."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from ablate.analysis.columns import numbers, require_columns
from ablate.errors import InputError, did_you_mean

Band = Literal["range", "interval", "none"]
Floats = NDArray[np.float64]

MAX_POINTS = 500
"""Of a line that is drawn."""
LEVEL = 0.95
BANDS: Mapping[Band, str] = {
    "range": "Band: from the least to the most of the seeds.",
    "interval": "Band: 95 % Student-t interval of the mean.",
    "none": "",
}
THINNED = f"Lines of more than {MAX_POINTS} points are drawn by the first, the last, and the least and most of each stretch."


class StageCost(NamedTuple):
    """Of a trial's last stage, whose curve is drawn, from its start to its end."""

    arm: str
    flops: float
    seconds: float | None
    attempts: int


class Line(NamedTuple):
    x: list[float]
    y: list[float]


class Group(NamedTuple):
    """What is drawn of a group; each line has at most `MAX_POINTS` points."""

    trials: dict[str, Line]
    mean: Line
    """As far as all trials of the group have come."""
    low: Line
    high: Line
    """Of the band; empty without one, and with a single trial."""
    thinned: bool


def placed(frame: pd.DataFrame, *, metric: str, x: str = "step", per_step: Mapping[str, float] | None = None) -> pd.DataFrame:
    """The metric's finite points with a column `x`: the step, another metric of the same trial and step, or a column of the frame.

    `per_step`: trial -> what one step is worth, such as FLOPs or seconds; then x is that times the step, and `x` only names it. Trials
    without one, and points without an x, are left out. Raises InputError for an `x` that is neither.
    """
    require_columns(frame, ["trial", "metric", "step", "value"])
    rows = frame[(frame["metric"] == metric) & np.isfinite(frame["value"].astype(float))]
    if per_step is not None:
        at = rows["step"].astype(float) * rows["trial"].map(per_step).astype(float)
    elif x in ("step", *frame.columns):
        at = numbers(rows, x)
    else:
        known = frame[frame["metric"] == x].drop_duplicates(["trial", "step"], keep="last").set_index(["trial", "step"])["value"]
        if known.empty and len(rows):
            metrics = list(dict.fromkeys(frame["metric"]))
            raise InputError(f"no curve of '{x}' (there: step, {', '.join(metrics)}){did_you_mean(x, metrics)}")
        keys = pd.MultiIndex.from_frame(rows[["trial", "step"]])
        at = pd.Series(known.reindex(keys).to_numpy(dtype=float), index=rows.index)
    return rows.assign(x=at)[np.isfinite(at)]


def flops_per_step(points: pd.DataFrame, *, costs: Mapping[str, StageCost]) -> dict[str, float]:
    """Trial -> training FLOPs of one step. `points`: `trial, arm, step`; `costs`: of ended trials, whose last point is their last step.

    A trial that runs takes the number of an ended one of its arm, which differs from it in the seed alone; without one it has none.
    """
    ended = _per_step(points, totals={trial: cost.flops for trial, cost in costs.items() if cost.flops > 0})
    of_arm = {costs[trial].arm: each for trial, each in ended.items()}
    arms = dict(zip(points["trial"], points["arm"], strict=True))
    found = {str(trial): ended.get(trial, of_arm.get(arm)) for trial, arm in arms.items()}
    return {trial: each for trial, each in found.items() if each is not None}


def seconds_per_step(points: pd.DataFrame, *, costs: Mapping[str, StageCost]) -> dict[str, float]:
    """Trial -> its own seconds over its steps. A trial that took several attempts has none: the seconds are those of the last one alone."""
    totals = {trial: cost.seconds for trial, cost in costs.items() if cost.seconds and cost.attempts == 1}
    return _per_step(points, totals=totals)


def group_lines(points: pd.DataFrame, *, band: Band) -> Group:
    """`points`: of one group, as `placed` gives them. Trials meet at equal steps; there x is the mean of theirs."""
    codes, trials = pd.factorize(points["trial"], sort=True)
    steps, rows = np.unique(points["step"].to_numpy(), return_inverse=True)
    values, places = np.full((2, len(steps), len(trials)), np.nan)
    values[rows, codes], places[rows, codes] = points["value"], points["x"]
    there = np.isfinite(values)
    lines = {str(trial): _line(places[there[:, at], at], values[there[:, at], at]) for at, trial in enumerate(trials)}
    shared = there.all(axis=1)
    x, low, high = places[shared].mean(axis=1), *_bounds(values[shared], band=band)
    thinned = bool((there.sum(axis=0) > MAX_POINTS).any())
    return Group(lines, _line(x, values[shared].mean(axis=1)), _line(x[: len(low)], low), _line(x[: len(high)], high), thinned)


def thin(values: Floats, *, most: int = MAX_POINTS) -> NDArray[np.intp]:
    """Places, ascending, of at most `most` values: the first, the last, and the least and the most of each of equal stretches."""
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), (most - 2) // 2 + 1).astype(int)
    stretches = list(pairwise(edges))
    ends = [start + int(pick(values[start:end])) for start, end in stretches for pick in (np.argmin, np.argmax)]
    return np.unique([0, *ends, len(values) - 1])


def _per_step(points: pd.DataFrame, *, totals: Mapping[str, float]) -> dict[str, float]:
    last = points.groupby("trial")["step"].max()
    return {trial: totals[trial] / step for trial, step in zip(map(str, last.index), last, strict=True) if trial in totals and step > 0}


def _line(x: Floats, y: Floats) -> Line:
    kept = thin(y)
    return Line(x[kept].tolist(), y[kept].tolist())


def _bounds(values: Floats, *, band: Band) -> tuple[Floats, Floats]:
    """Of each row; empty where there is no band."""
    count = values.shape[1]
    if band == "none" or count < 2:
        return np.empty(0), np.empty(0)
    if band == "range":
        return values.min(axis=1), values.max(axis=1)
    mean, half = values.mean(axis=1), float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) / np.sqrt(count) * values.std(axis=1, ddof=1)
    return mean - half, mean + half
