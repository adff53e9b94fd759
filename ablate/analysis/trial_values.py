"""A frame of trials becomes one finite number a trial, and a count of the trials that have none."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.effects import ENDED, USABLE
from ablate.errors import InputError


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
            raise InputError(f"column {column}: {int(frame[column].isna().sum())} rows without a value; fill it in or drop these rows")
    table = pd.DataFrame({column: frame[column] for column in (*keys, "seed")} | {"value": numbers(frame, metric)}).reset_index(drop=True)
    usable = np.isfinite(table["value"].to_numpy())
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
    return TrialValues(kept.reset_index(drop=True), _left_out(frame, usable=usable))


def _left_out(frame: pd.DataFrame, *, usable: "np.ndarray[Any, np.dtype[np.bool_]]") -> str:
    """How many trials have no number, by why."""
    missing = int((~usable).sum())
    if not missing:
        return ""
    states = frame["state"].to_numpy() if "state" in frame else np.full(len(frame), USABLE[0])
    why = Counter("without a finite value" if state in USABLE else state if state in ENDED else "unfinished" for state in states[~usable])
    return f"{missing} of {len(frame)} trials left out ({', '.join(f'{why[each]} {each}' for each in sorted(why))})"


def joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
