"""The columns of a frame that people bring, checked: present, and numbers where numbers are needed."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from ablate.errors import InputError, did_you_mean

LINE = "line"
"""Name of a frame's index where it is the lines of the file that it was read from."""


def row_name(frame: pd.DataFrame | pd.Series, label: object) -> str:
    """A row for a message: `line 4` of a file, or `row 4` by the frame's own index."""
    return f"{LINE if frame.index.name == LINE else 'row'} {label}"


def plain(column: "pd.Series[Any]") -> list[Any]:
    """The values as Python has them; a column's own `tolist` takes texts from Arrow one by one, which is many times slower."""
    values: list[Any] = column.to_numpy().tolist()
    return values


def require_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    columns = [str(column) for column in frame.columns]
    missing = [name for name in dict.fromkeys(names) if name not in columns]
    if missing:
        raise InputError("\n".join(f"no column '{name}' (there: {', '.join(columns)}){did_you_mean(name, columns)}" for name in missing))


def numbers(frame: pd.DataFrame, column: str) -> "pd.Series[float]":
    """The column as floats, so that products of counts cannot overflow later; text that is no number is an error."""
    values = pd.to_numeric(frame[column], errors="coerce").astype(float)
    broken = values.isna() & frame[column].notna()
    if broken.any():
        first = frame[column][broken]
        raise InputError(f"column {column}: {first.iloc[0]!r} is not a number ({row_name(frame, first.index[0])})")
    return values


def all_numbers(frame: pd.DataFrame, columns: Iterable[str]) -> "dict[str, pd.Series[float]]":
    """Several columns as floats; what is missing or holds text is said of all of them at once."""
    names = list(dict.fromkeys(columns))
    require_columns(frame, names)
    found, problems = {}, []
    for name in names:
        try:
            found[name] = numbers(frame, name)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return found
