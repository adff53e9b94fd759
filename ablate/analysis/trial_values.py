"""A frame of trials becomes one finite number a trial, and a count of the trials that have none."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.effects import LARGEST, USABLE
from ablate.errors import InputError
from ablate.quantities import counted

Flags = np.ndarray[Any, np.dtype[np.bool_]]

MADS = 20.0
"""Median absolute deviations from the median beyond which a value may be far out."""
SPREADS = 100.0
"""Ranges of all other values that it must be away as well."""
BEFORE_THE_END = ("queued", "running", "stale")
"""States of a trial that says nothing yet."""
FEWEST = 4
"""Values below which there is no telling which is the odd one."""


class TrialValues(NamedTuple):
    table: pd.DataFrame
    """The keys, `seed` and `value`, one row a trial with a finite metric, in an order that does not depend on the frame's."""
    note: str
    """How many trials are left out; empty where none is."""


def trial_values(frame: pd.DataFrame, *, keys: Sequence[str], metric: str) -> TrialValues:
    """`keys` tell trials of one seed apart, such as `["arm"]`; a frame without a `state` column counts as all done."""
    require_columns(frame, [*keys, "seed", metric])
    if frame.empty:
        raise InputError("the frame has no rows; give one row a trial")
    for column in (*keys, "seed"):
        if frame[column].isna().any():
            raise InputError(f"column {column}: {counted(int(frame[column].isna().sum()), 'row')} without a value; fill it in or drop them")
    table = pd.DataFrame({column: frame[column] for column in (*keys, "seed")} | {"value": numbers(frame, metric)}).reset_index(drop=True)
    usable = np.abs(values := table["value"].to_numpy()) <= LARGEST
    if "state" in frame:
        usable &= frame["state"].isin(USABLE).to_numpy()
    kept = table[usable]
    repeated = kept.duplicated([*keys, "seed"])
    if repeated.any():
        first = kept[repeated].iloc[0]
        where = ", ".join(f"{key} {first[key]}" for key in (*keys, "seed"))
        raise InputError(f"several values of {metric} at {where}; keep one row a trial")
    # means of the same numbers in another order differ in the last bit, which would make or break ties
    kept = kept.sort_values([*keys, "seed"], key=lambda column: column if column.dtype.kind in "if" else column.astype(str))
    return TrialValues(kept.reset_index(drop=True), _left_out(frame, usable=usable, large=np.isfinite(values) & (np.abs(values) > LARGEST)))


def far_out(table: pd.DataFrame, *, by: str) -> tuple[str, ...]:
    """Trials of `trial_values` whose number is far from the rest of their arm and of everything else, in words: one that diverged and was
    not marked so moves every mean and SD.

    Far: more than 20 MADs from the median, and more than 100 times the range of all that are not. An arm most of whose trials are out
    there is not flagged: that is what the arm does.
    """
    values = table["value"].to_numpy(dtype=float)
    if len(values) < FEWEST:
        return ()
    middle = float(np.median(values))
    away = np.abs(values - middle)
    near = values[away <= MADS * float(np.median(away))]
    # rounded numbers may be the same in most trials
    spread = float(near.max() - near.min()) or abs(middle)
    far = (away > MADS * float(np.median(away))) & (away > SPREADS * spread) & (spread > 0)
    share = table.assign(far=far).groupby(by)["far"].transform("mean").to_numpy()
    return tuple(
        f"{by} {row[by]}, seed {row['seed']}: {row['value']:.2g} (the others: {near.min():.4g} to {near.max():.4g})"
        for row in table[far & (share <= 0.5)].to_dict("records")
    )


def several(names: Sequence[str], *, shown: int = 5, apart: str = ", ") -> str:
    """As many as one can read."""
    return apart.join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _left_out(frame: pd.DataFrame, *, usable: Flags, large: Flags) -> str:
    """How many trials have no number, by why."""
    if usable.all():
        return ""
    states = frame["state"].to_numpy() if "state" in frame else np.full(len(frame), USABLE[0])
    words = np.where(large, f"beyond {LARGEST:g}", "without a finite value")
    why = counts_of(word if state in USABLE else state for state, word in zip(states[~usable], words[~usable].tolist(), strict=True))
    return f"{int((~usable).sum())} of {len(frame)} trials left out ({why})"


def counts_of(reasons: Iterable[str]) -> str:
    """How many were left out for each reason, a state or words of its own: 2 failed, 1 unfinished."""
    why = Counter("unfinished" if reason in BEFORE_THE_END else reason for reason in reasons)
    return ", ".join(f"{why[each]} {each}" for each in sorted(why))
