"""A frame of trials becomes one finite number a trial, and a count of the trials that have none."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.effects import USABLE
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
    left_out = int((~usable).sum())
    note = f"{left_out} of {len(table)} trials left out (failed, unfinished or not finite)" if left_out else ""
    return TrialValues(kept.reset_index(drop=True), note)


def joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
