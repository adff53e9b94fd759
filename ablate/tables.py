"""The tables that people bring to the analysis, and the files that it writes for them."""

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pandas as pd

from ablate.analysis.columns import LINE
from ablate.analysis.effects import USABLE
from ablate.analysis.optima import DIVERGED, MISSING
from ablate.analysis.trial_values import counts_of
from ablate.errors import InputError, did_you_mean
from ablate.imports.runs import DIVERGED_THERE, said
from ablate.imports.table import Table, read_table, state_columns, states_of
from ablate.quantities import counted


def read_csv(path: Path, *, names: Collection[str] = ("arm",), metric: str = "") -> pd.DataFrame:
    """A table with a line of names and at least one row, its index the lines of the file; refused with what is wrong with the file.

    `names`: columns that are read as text. Columns `state` and `status` become one, `state`, in our words; a row without a word counts as
    done, or as `missing` where its cell of `metric` holds nothing.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a CSV file")
    if not path.exists():
        raise InputError(f"no file {path}")
    table = read_table(path)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.header, *table.rows])
    text.seek(0)
    # an arm called 1 is a name like any other
    frame = pd.read_csv(text, dtype=dict.fromkeys(names, str), index_col=False).set_axis(pd.Index(table.lines, name=LINE))
    return _with_states(
        frame, table, columns=[name for name in state_columns(table) if name not in (*names, metric)], metric=metric, path=path
    )


def _with_states(frame: pd.DataFrame, table: Table, *, columns: Sequence[str], metric: str, path: Path) -> pd.DataFrame:
    ends, problems = states_of(table, columns)
    if problems:
        raise said(problems, about=str(path))
    empty = _empty(frame, table, metric) if metric in table.header else [False] * len(ends)
    words = [
        (MISSING if nothing else USABLE[0]) if end is None else DIVERGED if end[1] == DIVERGED_THERE else end[0]
        for end, nothing in zip(ends, empty, strict=True)
    ]
    return frame.drop(columns=list(columns)).assign(state=words) if columns or MISSING in words else frame


def _empty(frame: pd.DataFrame, table: Table, metric: str) -> list[bool]:
    """Where nothing was measured; `nan` is what a diverged run measures."""
    cells = (cell.strip().lower() for cell in table.column(metric))
    return [bool(absent) and cell != "nan" for absent, cell in zip(frame[metric].isna(), cells, strict=True)]


def finished_rows(frame: pd.DataFrame, *, path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows of runs that ended well, and in words how many others there are."""
    if "state" not in frame:
        return frame, ()
    kept = frame[frame["state"].isin(USABLE)]
    others = counts_of(frame["state"][~frame["state"].isin(USABLE)])
    if kept.empty:
        raise InputError(f"{path}: no run ended well ({others})")
    lost = len(frame) - len(kept)
    return kept, (f"{lost} of {counted(len(frame), 'row')} left out ({others})",) if lost else ()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Faults of a table's rows are said with the table's name."""
    try:
        yield
    except InputError as error:
        if error.problems:
            raise
        raise InputError("\n".join(line if str(path) in line else f"{path}: {line}" for line in str(error).splitlines())) from error


def sense(goal: str) -> Literal["min", "max"]:
    """Which way is better, as `--goal` says it."""
    if goal == "min":
        return "min"
    if goal == "max":
        return "max"
    raise InputError(f"--goal {goal}: min or max{did_you_mean(goal, ('min', 'max'))}")


def write_new(text: str, path: Path) -> None:
    """Refuses to replace a file: what is written there may have been edited."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} exists already; move it away, or name another file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
