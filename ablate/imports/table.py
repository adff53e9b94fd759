"""A CSV (or TSV) table, one run a row, becomes runs: which columns were measured has to be said, the others are what was set.

`arm, seed, <metric>` is such a table, and so is the runs table that the pages of Weights & Biases export.
"""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ablate.errors import InputError, did_you_mean
from ablate.imports.runs import (
    NOT_NUMBERS,
    STATES,
    Asked,
    Found,
    Run,
    State,
    clean,
    listed,
    number_of,
    read_bytes,
    said,
    sha256,
    state_of,
    text_of,
    unique_ids,
)
from ablate.marked_yaml import visible

MAX_CELL = 10_000_000
"""Characters of one cell."""
NAMES = ("run_id", "run id", "id", "name", "run_name", "run name", "run")
"""Columns, in lower case, that name a run where no two runs share a name; the first that does."""
STATE_COLUMNS = ("state", "status")
STARTED_COLUMNS = ("created", "started", "start_time", "created_at", "_timestamp")
SECONDS_COLUMNS = ("seconds", "runtime", "duration", "_runtime")
HOST_COLUMNS = ("hostname", "host")
COMMIT_COLUMNS = ("commit", "git_commit", "git commit")
WANDB_COLUMNS = ("notes", "user", "tags", "sweep", "_step", "_wandb.runtime", "gpu type", "gpu count", "end time", "ended", "updated")
"""What the runs table of Weights & Biases adds of its own."""


FINE: tuple[State, str] = ("done", "")
"""Of a row that says nothing of its state."""


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    """Line of the file on which each row ends."""
    digest: str

    def column(self, name: str) -> list[str]:
        place = self.header.index(name)
        return [row[place] for row in self.rows]


def read_csv_runs(asked: Asked) -> Found:
    """Raises InputError with every problem of the table."""
    path = Path(asked.source)
    if _is_json(read_bytes(path), path=path):
        raise InputError(f"{path}: JSON and no table; records of Weights & Biases are read by: ablate import wandb {path}")
    return runs_of(read_table(path), asked)


def _is_json(data: bytes, *, path: Path) -> bool:
    if data.lstrip()[:1] not in (b"[", b"{"):
        return False
    try:
        json.JSONDecoder().raw_decode(text_of(data, path=path).lstrip())
    except (ValueError, RecursionError):  # a header may begin with a bracket
        return path.suffix.lower() in (".json", ".jsonl", ".ndjson")
    return True


def read_table(path: Path) -> Table:
    data = read_bytes(path)
    text = text_of(data, path=path)
    first = text.partition("\n")[0]
    delimiter = max(",\t;", key=first.count)  # commas, or what spreadsheets of other countries write
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines = list[tuple[str, ...]](), list[int]()
    try:
        for row in reader:
            if row and any(cell.strip() for cell in row):
                rows.append(tuple(row))
                lines.append(reader.line_num)
    except csv.Error as error:
        raise said([f"line {reader.line_num}: not a CSV table: {error}"], about=str(path)) from None
    if len(rows) < 2:
        why = f"it has no rows below its header ({listed(rows[0])})" if rows else "it is empty; the first line names the columns"
        raise said([why], about=str(path))
    header = tuple(clean(name.strip()) for name in rows[0])
    repeated = _repeated(header)
    problems = [f"the column '{name}' is there {header.count(name)} times; rename all but one" for name in repeated]
    problems += [
        f"line {line}: {len(row)} cells below a header of {len(header)}"
        for line, row in zip(lines[1:], rows[1:], strict=True)
        if len(row) != len(header)
    ]
    if problems:
        raise said(problems, about=str(path))
    return Table(header, tuple(rows[1:]), tuple(lines[1:]), sha256(data))


def runs_of(table: Table, asked: Asked, *, like_wandb: bool = False) -> Found:
    """The rows as runs. `like_wandb`: whether columns have the meaning that Weights & Biases gives them."""
    lower = {name.lower(): name for name in reversed(table.header)}
    wanted = {*asked.axes, *asked.base, asked.seed, asked.size, asked.rate, asked.metric, *asked.also}

    def first(names: Sequence[str]) -> str:
        return next((lower[name] for name in names if name in lower and lower[name] not in wanted), "")

    measured, problems = _metrics(table, asked)
    ended = [name for name in state_columns(table) if name not in wanted]
    states, wrong = states_of(table, ended)
    problems += wrong
    if problems:  # with what else is wrong, to be said at once
        named = {"axis": asked.axes, "base": asked.base, "seed-column": [asked.seed], "size": [asked.size], "rate": [asked.rate]}
        absent = [(option, name) for option, names in named.items() for name in names if name and name not in table.header]
        problems += [f"--{option}: no column '{visible(name)}'{did_you_mean(name, table.header[:5_000])}" for option, name in absent]
        raise said(problems, about=clean(asked.source))
    label = next((name for key in NAMES if (name := first([key])) and _names(table.column(name))), "")
    started, seconds = first(STARTED_COLUMNS), first(SECONDS_COLUMNS)
    host, commit = first(HOST_COLUMNS), first(COMMIT_COLUMNS)
    own = {lower[name] for name in WANDB_COLUMNS if name in lower} if like_wandb else set()
    meta = {label, started, seconds, host, commit, *ended, *measured, *own} - (wanted - {*measured}) | {""}
    columns = tuple(name for name in table.header if name not in meta)  # nor the index that pandas writes without a name
    places = [(place, name) for place, name in enumerate(table.header) if name not in meta]
    ids = table.column(label) if label else [f"line {line}" for line in table.lines]
    times = [_time(text) for text in table.column(started)] if started else [None] * len(table.rows)
    lengths = [_seconds(text) for text in table.column(seconds)] if seconds else [None] * len(table.rows)
    hosts, commits = (table.column(name) if name else [""] * len(table.rows) for name in (host, commit))
    runs = tuple(
        Run(
            id=name,
            name=name,
            state=state[0],
            reason=state[1],
            started=times[number],
            seconds=lengths[number],
            host=clean(hosts[number].strip()),
            commit=clean(commits[number].strip()),
            config={key: row[place] for place, key in places},
            metrics={metric: values[number] for metric, values in measured.items() if values[number] is not None},  # type: ignore[misc]
        )
        for number, (row, name, state) in enumerate(
            zip(table.rows, unique_ids(map(clean, ids)), (state or FINE for state in states), strict=True)
        )
    )
    return Found(asked.kind, clean(asked.source), runs, columns, None, digest=table.digest)


def _metrics(table: Table, asked: Asked) -> tuple[dict[str, list[float | None]], list[str]]:
    """Metric -> its value in each row, and what is wrong."""
    found, problems = dict[str, list[float | None]](), list[str]()
    if not asked.metric:
        problems.append(f"--metric is missing: which column was measured? ({listed(_numeric(table)) or 'none of them has numbers'})")
    for name in dict.fromkeys((asked.metric, *asked.also)):
        if not name:
            continue
        if name not in table.header:
            hint = did_you_mean(name, table.header) if len(table.header) < 5_000 else ""
            problems.append(f"no column '{visible(name)}' (there: {listed(table.header)}){hint}")
            continue
        values: list[float | None] = []
        for line, text in zip(table.lines, table.column(name), strict=True):
            bare = text.strip()
            number = number_of(bare) if bare else None
            if number is None and bare and bare.lower() not in NOT_NUMBERS:
                problems.append(f"line {line}: {visible(name)} is '{visible(bare)}', which is no number; write nan where a run diverged")
            values.append(number)
        found[name] = values
    return found, problems


def state_columns(table: Table) -> list[str]:
    """Those that say how a run ended."""
    return [name for name in table.header if name.lower() in STATE_COLUMNS]


def states_of(table: Table, columns: Sequence[str]) -> tuple[list[tuple[State, str] | None], list[str]]:
    """How each row's run ended, as all these columns together say it (None: they say nothing), and what is wrong."""
    found, problems = list[tuple[State, str] | None](), list[str]()
    texts = [table.column(column) for column in columns]
    for line, words in zip(table.lines, zip(*texts, strict=True) if texts else [()] * len(table.rows), strict=True):
        said = {
            column: word.strip()
            for column, word in zip(columns, words, strict=True)
            if word.strip() and word.strip().lower() not in NOT_NUMBERS
        }
        ends = dict.fromkeys(state_of(word) for word in said.values())
        for column, word in said.items():
            if state_of(word) is None:
                hint = did_you_mean(word.lower(), STATES)
                problems.append(f"line {line}: {column} '{visible(word)}' is no state of a run ({', '.join(STATES)}){hint}")
        if len(ends) > 1 and None not in ends:
            told = " and ".join(f"{column} '{visible(word)}'" for column, word in said.items())
            problems.append(f"line {line}: {told} disagree on how the run ended; keep the one that is true")
        found.append(next(iter(ends), None))
    return found, problems


def _numeric(table: Table) -> list[str]:
    """Columns of numbers, for who has to choose a metric."""
    some = table.rows[:200]

    def fits(place: int) -> bool:
        texts = [row[place].strip() for row in some if row[place].strip()]
        return bool(texts) and all(number_of(text) is not None or text.lower() in NOT_NUMBERS for text in texts)

    return [name for place, name in enumerate(table.header[:5_000]) if name and fits(place)]


def _repeated(header: Sequence[str]) -> list[str]:
    counts: dict[str, int] = {}
    for name in header:
        counts[name] = counts.get(name, 0) + 1
    return [name for name, count in counts.items() if count > 1 and name]


def _names(texts: Sequence[str]) -> bool:
    return all(text.strip() for text in texts) and len(set(texts)) == len(texts)


def _time(text: str) -> float | None:
    """Unix time of a number of seconds, or of an ISO date; UTC where it names no zone."""
    number = number_of(text.strip())
    if number is not None:
        number = number / 1000 if number > 1e11 else number  # milliseconds
        return number if math.isfinite(number) and 0 < number < 1e11 else None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _seconds(text: str) -> float | None:
    number = number_of(text.strip())
    return number if number is not None and math.isfinite(number) and number >= 0 else None
