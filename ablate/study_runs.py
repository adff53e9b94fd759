"""A study's trials as one frame with everything that can be a number of a run: levels, metrics, parameters, FLOPs, fields of the config.

`finished` and `at_baseline` keep the rows that a question is about; `sizes_and_arms` finds which axes make the sizes and which the arms.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ablate.analysis.columns import numbers
from ablate.analysis.effects import USABLE
from ablate.analysis.optima import ALIKE
from ablate.errors import InputError, did_you_mean
from ablate.model import Level
from ablate.results import at_baselines, results_frame
from ablate.stores import Store, find_study
from ablate.study import Study

COUNTED = ("num_params", "train_flops")
"""Columns beside those of the results."""


class Kept(NamedTuple):
    frame: pd.DataFrame
    notes: tuple[str, ...]


class SizesAndArms(NamedTuple):
    size: str
    """`num_params`, or an axis of numbers."""
    size_axes: tuple[str, ...]
    arm_axis: str


@dataclass(frozen=True)
class StudyRuns:
    name: str
    simulated: bool
    metric: str
    goal: str
    axes: Mapping[str, list[Any]]
    """Axis -> its levels, the baseline first."""
    forms: Mapping[str, Any]
    """Axis -> as the study's file writes it."""
    frame: pd.DataFrame
    """One row a trial: `trial, arm, seed, state`, levels (the baseline where an axis does not apply), metrics, COUNTED. What is not known
    of a trial is NaN, a count of 0 too."""
    configs: Mapping[str, Mapping[str, Any]]
    """Trial -> its resolved config."""

    def column(self, frame: pd.DataFrame, name: str) -> "pd.Series[float]":
        """Numbers of these rows: a column, or a field of the config by its dotted name. Raises InputError with all there is."""
        if name in frame:
            return numbers(frame, name)
        values = [_field(self.configs[trial], name) for trial in frame["trial"]]
        if len(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            return pd.Series(values, index=frame.index, dtype=float)
        metrics = [column for column in frame.columns if column not in (*self.axes, "trial", "arm", "seed", "state", *COUNTED)]
        known = [*COUNTED, *self.axes, *map(str, metrics)]
        what = "is no number in every trial" if any(value is not None for value in values) else "is not there"
        listed = f"counted: {', '.join(COUNTED)}; axes: {', '.join(self.axes)}; metrics: {', '.join(map(str, metrics)) or 'none yet'}"
        raise InputError(f"{self.name}: '{name}' {what} ({listed}; or a field of the config){did_you_mean(name, known)}")

    def finished(self, metric: str) -> tuple[pd.DataFrame, list[str]]:
        """The rows with a final, finite metric, and how many were left out."""
        values = self.column(self.frame, metric)
        usable = self.frame["state"].isin(USABLE) & np.isfinite(values)
        if not usable.any():
            raise InputError(f"{self.name}: no finished trial with a finite {metric} yet; `ablate status {self.name}` says how it stands")
        lost = int((~usable).sum())
        return self.frame[usable].copy(), [f"{lost} of {len(usable)} trials left out (failed, unfinished or not finite)"] if lost else []

    def known(self, frame: pd.DataFrame, columns: Mapping[str, str]) -> Kept:
        """The rows in which these counts are known. `columns`: each with the option that names another."""
        notes, keep = [], np.ones(len(frame), dtype=bool)
        for column, option in columns.items():
            unknown = np.asarray(frame[column].isna())
            if unknown.all():
                raise InputError(f"{self.name}: {column} is not known of any trial; {option} names an axis, metric or field that says it")
            notes += [f"{int(unknown.sum())} of {len(frame)} trials left out: {column} is not known of them"] if unknown.any() else []
            keep &= ~unknown
        if not keep.any():
            raise InputError(f"{self.name}: no trial of which {' and '.join(columns)} are all known")
        return Kept(frame[keep].copy(), tuple(notes))

    def at_baseline(self, frame: pd.DataFrame, *, sizes: Collection[str], others: Collection[str] = ()) -> Kept:
        """The rows in which all axes but these stand at their baseline; the notes say which are sizes, and which stand there."""
        varied = {*sizes, *others}
        held = {axis: levels[0] for axis, levels in self.axes.items() if axis not in varied and len(levels) > 1}
        keep = np.ones(len(frame), dtype=bool)
        for axis, level in held.items():
            keep &= np.asarray(frame[axis] == level)
        if not keep.any():
            where = ", ".join(f"{axis} = {level}" for axis, level in held.items())
            raise InputError(f"{self.name}: no trial at the baseline of the other axes ({where})")
        told = ", ".join(f"{axis} = {level}" for axis, level in held.items())
        notes = [f"{int(keep.sum())} of {len(keep)} trials used: the other axes stand at their baseline ({told})"] if held else []
        notes += [f"axes taken as sizes: {', '.join(axis for axis in self.axes if axis in sizes)}"] if sizes else []
        return Kept(frame[keep], tuple(notes))

    def sizes_and_arms(self, *, size: str, arm: str) -> SizesAndArms:
        """The axes that make the sizes, those that move num_params or the one that `size` names, and that whose levels are the arms."""
        varied = [axis for axis, levels in self.axes.items() if len(levels) > 1]
        problems = []
        if arm and arm not in varied:
            problems.append(f"--arm {arm}: no axis with two levels ({', '.join(varied) or 'none'}){did_you_mean(arm, varied)}")
        if size not in ("", "num_params", *varied):
            allowed = ("num_params", *varied)
            problems.append(f"--size {size}: num_params or an axis with two levels ({', '.join(varied)}){did_you_mean(size, allowed)}")
        if arm and arm == size:
            problems.append(f"--size and --arm are both {arm}: the arms are the levels of another axis")
        if problems:
            raise InputError("\n".join(problems))
        by_axis = size in varied
        moving = {size} if by_axis else moving_axes(self.frame, varied, ["num_params"]) - {arm}
        if not moving:
            raise InputError(f"{self.name}: no axis changes num_params, so there is one size; --size names an axis ({', '.join(varied)})")
        others = [axis for axis in varied if axis not in moving]
        if not arm and len(others) != 1:
            what = f"{len(others)} axes could be the arms ({', '.join(others)})" if others else "every axis changes the size"
            raise InputError(f"{self.name}: {what}; say with --arm AXIS whose levels are compared ({', '.join(varied)})")
        numeric = by_axis and all(isinstance(label, int | float) and not isinstance(label, bool) for label in self.axes[size])
        return SizesAndArms(size if numeric else "num_params", tuple(sorted(moving)), arm or others[0])

    def size_of(self, frame: pd.DataFrame, chosen: SizesAndArms, *, baseline: Level) -> "tuple[pd.Series[float], float | None]":
        """N of each row as its baseline arm has it (NaN where that was not run, or its N is not known), and the largest factor by which
        an arm's own differs."""
        own = self.column(frame, chosen.size)
        axes = list(chosen.size_axes)
        keys = [tuple(row) for row in frame[axes].itertuples(index=False)]
        base = {
            key: value for key, arm, value in zip(keys, frame[chosen.arm_axis], own, strict=True) if arm == baseline and not isnan(value)
        }
        sizes = pd.Series([base.get(key, float("nan")) for key in keys], index=frame.index, dtype=float)
        factors = pd.concat([own / sizes, sizes / own]).dropna()
        worst = float(factors.max()) if len(factors) else 1.0
        return sizes, worst if worst > 1.001 else None


def study_runs(store: Store, name: str) -> StudyRuns:
    """Raises InputError for an unknown study, or one that has no trials yet."""
    record, trials = find_study(store, name), store.trials(name)
    study = Study.model_validate(record.spec)
    frame = at_baselines(results_frame(store, name), axes=record.axes)
    if frame.empty:
        raise InputError(f"{name}: no trials yet")
    counted = {column: [float(getattr(trial, column) or "nan") for trial in trials] for column in COUNTED}
    return StudyRuns(
        name=name,
        simulated=record.simulated,
        metric=study.metric.name,
        goal=study.metric.goal,
        axes=record.axes,
        forms=study.axes,
        frame=frame.assign(**counted),
        configs={trial.id: trial.config for trial in trials},
    )


def moving_axes(frame: pd.DataFrame, axes: Collection[str], columns: Sequence[str]) -> set[str]:
    """Axes along which, all others and the seed being held, one of the columns changes by more than `ALIKE`."""
    found = set()
    for axis in axes:
        held = [*(other for other in axes if other != axis), "seed"]
        if frame[axis].nunique(dropna=False) < 2:
            continue
        if (frame.groupby(held, dropna=False)[axis].nunique(dropna=False) < 2).all():
            held.remove("seed")  # its levels have no seed in common
        groups = frame[list(columns)].groupby([frame[column] for column in held] or np.zeros(len(frame)), dropna=False)
        low, high = groups.min(), groups.max()
        if ((high != low) & high.notna() & ~((low > 0) & (high <= ALIKE * low))).to_numpy().any():
            found.add(axis)
    return found


def _field(config: Mapping[str, Any], name: str) -> Any:
    here: Any = config
    for part in name.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here
