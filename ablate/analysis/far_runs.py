"""Runs at several rates and sizes whose metric no neighbour explains: one that diverged and was not marked so moves its size's optimum.

A run is held against the other seeds of its rate, or where it is the only one against the rates beside it. At the ends of a grid the
metric may rise as steeply as it likes.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ablate.analysis.optima import Cell, cells_of
from ablate.analysis.trial_values import FEWEST, MADS

SMALL = 1e-3
"""Share of the metric that a typical difference counts as at least: rounded numbers are the same in most runs."""
CLEAREST = 0.75
"""Share of a size's largest difference that a run's must have: beside a run that is far out, its neighbours look odd as well."""


class FarRun(NamedTuple):
    cell: Cell
    lr: float
    seed: object
    value: float
    others: tuple[float, float]
    """Least and largest metric of the cell's other runs."""


def far_runs(table: pd.DataFrame) -> list[FarRun]:
    """Of `optima.finished_runs`: farther than 20 median differences from their neighbours and from the median of their cell."""
    cells = {cell: runs.dropna(subset="value") for cell, runs in cells_of(table).items()}
    away = {cell: _unlike_neighbours(runs) for cell, runs in cells.items() if len(runs) >= FEWEST}
    known = pd.concat(away.values()).dropna() if away else pd.Series(dtype=float)
    if len(known) < FEWEST:
        return []
    least = MADS * max(float(known.median()), SMALL * float(table["value"].abs().median()))
    return [run for cell, apart in away.items() for run in _far(cell, cells[cell], apart, least=least)]


def _unlike_neighbours(runs: pd.DataFrame) -> "pd.Series[float]":
    """Absolute difference of each run from what its neighbours say; NaN where it has none."""
    by_rate = runs.groupby("lr")["value"].median()
    beside = (by_rate.shift(1) + by_rate.shift(-1)) / 2
    expected = []
    for index, lr in runs["lr"].items():
        others = runs["value"][(runs["lr"] == lr) & (runs.index != index)]
        expected.append(float(others.median() if len(others) else beside[lr]))
    apart: pd.Series[float] = (runs["value"] - np.array(expected)).abs()
    return apart


def _far(cell: Cell, runs: pd.DataFrame, apart: "pd.Series[float]", *, least: float) -> list[FarRun]:
    from_middle = (runs["value"] - runs["value"].median()).abs()
    odd = (apart > least) & (from_middle > least) & (apart >= CLEAREST * apart.max())
    # of two seeds that differ, the one that is like nothing else
    odd &= from_middle == from_middle.where(odd).groupby(runs["lr"]).transform("max")
    others = runs["value"][~odd]
    if others.empty:
        return []
    near = float(others.min()), float(others.max())
    found = zip(runs["lr"][odd], runs["seed"][odd], runs["value"][odd], strict=True)
    return [FarRun(cell, float(lr), seed, float(value), near) for lr, seed, value in found]
