"""Finished trials become means over seeds with Student-t intervals, one for each combination of levels of some axes."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ablate.analysis.columns import numbers, plain, require_columns
from ablate.analysis.effects import USABLE
from ablate.plot_style import is_numeric


class LevelMeans(NamedTuple):
    """The axes are the columns 0, 1, ... of both frames, because an axis may have any name."""

    table: pd.DataFrame
    """The axes, `mean`, `half` (of the interval, NaN of one seed) and `n` seeds; one row a combination."""
    seeds: pd.DataFrame
    """The axes, `seed` and `value`."""
    note: str
    """Over what the means go beside seeds, and which trials were left out for that; empty where the axes are all that varies."""


def level_means(results: pd.DataFrame, *, by: Sequence[str], metric: str, others: Sequence[str] = (), level: float = 0.95) -> LevelMeans:
    """`others`: the study's other axes. Where they vary, the combinations are compared at those of their levels that all have."""
    require_columns(results, [*by, *others, "arm", "seed", metric])
    done = results[results["state"].isin(USABLE)] if "state" in results else results
    kept, note = comparable(done[np.isfinite(numbers(done, metric))], by=by, others=others)
    keys = list(range(len(by)))
    values = pd.DataFrame({key: kept[axis] for key, axis in zip(keys, by, strict=True)})
    seeds = per_seed(values.assign(arm=kept["arm"], seed=kept["seed"], value=numbers(kept, metric)), by=keys)
    return LevelMeans(over_seeds(seeds, by=keys, level=level), seeds, note)


def comparable(frame: pd.DataFrame, *, by: Sequence[str], others: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """The rows at those levels of the other axes that every combination has, and a note where that is not all of them.

    A design of one axis at a time has more arms at its baseline than elsewhere, and a mean over them is no baseline.
    """
    varying = [axis for axis in others if frame[axis].nunique(dropna=False) > 1]
    if frame.empty or not varying:
        return frame, ""
    cells = frame.groupby(list(by), dropna=False, sort=False).ngroup()
    around = frame.groupby(varying, dropna=False, sort=False).ngroup()
    shared = around.map(cells.groupby(around).nunique()) == cells.nunique()
    told = ", ".join(varying)
    if shared.all():
        return frame, f"mean over {told}"
    if not shared.any():
        return frame, f"mean over {told}, which differ between what is compared"
    return frame[shared], f"{int(shared.sum())} of {len(frame)} finished trials: those at levels of {told} that all have"


def averaged_over(results: pd.DataFrame, *, axis: str, axes: Iterable[str]) -> list[str]:
    """A note for a figure of one axis where others vary beside it; none where none does."""
    others = [other for other in axes if other != axis and results[other].nunique(dropna=False) > 1]
    return [f"Each point is a mean over what else varies: {', '.join(others)}."] if others else []


def per_seed(values: pd.DataFrame, *, by: Sequence[str | int], sort: bool = False) -> pd.DataFrame:
    """Columns `<by>, seed, value`: the mean of the combination's arm means plus what the seed adds to them.

    Each arm counts at its own mean: a failed trial must not shift its seed towards the arms that are left.
    """
    keys = list(by)
    combinations = values.groupby(keys, sort=sort, dropna=False)
    combination = combinations.ngroup()  # grouping by whole numbers from here on takes a third of the time that levels do
    arms = values["value"].groupby([combination, pd.factorize(values["arm"])[0]], sort=False)
    level = arms.mean().groupby(level=0).mean()
    added = (values["value"] - arms.transform("mean")).groupby([combination, values["seed"]], sort=sort).mean()
    at = added.index.get_level_values(0)
    levels = combinations[keys].head(1).set_axis(combination[~combination.duplicated()])
    found = levels.loc[at].reset_index(drop=True)
    return found.assign(seed=added.index.get_level_values(1), value=added.to_numpy() + level.loc[at].to_numpy())


def over_seeds(seeds: pd.DataFrame, *, by: Sequence[str | int], level: float) -> pd.DataFrame:
    """Columns `<by>, mean, half, n`, in the order of the rows."""
    if seeds.empty:
        return pd.DataFrame(columns=[*by, "mean", "half", "n"])
    values = seeds.groupby(list(by), sort=False, dropna=False)["value"]
    found = pd.DataFrame({"mean": values.mean(), "sem": values.sem(), "n": values.size()}).reset_index()
    half = found["sem"] * stats.t.ppf((1 + level) / 2, found["n"].clip(lower=2) - 1)
    return found.assign(half=half)[[*by, "mean", "half", "n"]]


def ordered(labels: "pd.Series[Any]") -> list[Any]:
    """The levels: numbers ascending, labels as they first appear."""
    levels = list(dict.fromkeys(plain(labels)))
    return sorted(levels) if is_numeric(labels) else levels
