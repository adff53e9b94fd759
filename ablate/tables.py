"""The tables that people bring to the analysis, and the files that it writes for them."""

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pandas as pd

from ablate.analysis.optima import DIVERGED
from ablate.errors import InputError, did_you_mean
from ablate.imports.runs import STATES, state_of


def read_csv(path: Path, *, names: Collection[str] = ("arm",)) -> pd.DataFrame:
    """A CSV with a line of names and at least one row; refused with what is wrong with the file. `names`: columns that are read as text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with a cell too many would lose it
            # an arm called 1 is a name like any other; no column becomes the index because rows are longer than the header
            frame = pd.read_csv(path, dtype=dict.fromkeys(names, str), index_col=False, sep=_separator(path))
    except FileNotFoundError:
        raise InputError(f"no file {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; name a CSV file") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path} is empty; the first line names the columns") from None
    except pd.errors.ParserWarning:
        raise InputError(f"{path}: rows have more cells than the first line has names; is one quoted that holds a comma?") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV table: {error}") from error
    if frame.empty:
        raise InputError(f"{path} has no rows below its columns ({', '.join(map(str, frame.columns))})")
    for column in ("state", "status"):
        if column in frame:
            frame[column] = _states(frame[column], column=column, path=path)
    return frame


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Faults of a table's rows are said with the table's name."""
    try:
        yield
    except InputError as error:
        if error.problems:
            raise
        raise InputError("\n".join(line if str(path) in line else f"{path}: {line}" for line in str(error).splitlines())) from error


def _separator(path: Path) -> str:
    """Of the first line: commas, or what spreadsheets of other countries write."""
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline()
    return max((",", ";", "\t"), key=first.count)


def _states(said: "pd.Series[str]", *, column: str, path: Path) -> "pd.Series[str]":
    """What a source calls the end of a run, in our words; a row without a word counts as done."""
    words = {str(word): str(word).strip().lower() for word in said.dropna().unique()}
    if strange := [word for word, plain in words.items() if state_of(plain) is None]:
        raise InputError(f"{path}: column {column}: {', '.join(map(repr, strange[:5]))} is no state of a run ({', '.join(STATES)})")
    ours = {word: plain if plain == DIVERGED else ended[0] for word, plain in words.items() if (ended := state_of(plain))}
    return said.astype(object).map(lambda word: "done" if pd.isna(word) else ours[str(word)])


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
