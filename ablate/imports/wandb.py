"""What people export from Weights & Biases becomes runs: the runs table as CSV, or the public API's records as JSON or JSON lines.

A record is `{"name", "state", "config": {...}, "summary": {...}, "history": [...]}`. The usual export script writes those dictionaries
into cells of a CSV as Python shows them; they are read as literals, which runs no code.
"""

import ast
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablate.errors import InputError, did_you_mean
from ablate.imports.runs import STATES, Asked, Found, Run, clean, listed, number_of, read_bytes, said, sha256, state_of, text_of, unique_ids
from ablate.imports.table import Table, read_table, runs_of
from ablate.marked_yaml import visible

WRAPPED = ({"value"}, {"value", "desc"})
"""Keys of a config value as the service stores it."""
SUMMARIES = ("summary", "summary_metrics", "summaryMetrics")
MAX_DEPTH = 20
MAX_LITERAL = 1_000_000
"""Characters of a dictionary in a cell."""


def read_wandb(asked: Asked) -> Found:
    """Raises InputError with every problem of the file."""
    path = Path(asked.source)
    data = read_bytes(path)
    if data.lstrip()[:1] not in (b"[", b"{"):
        table = read_table(path)
        if not {"config", "summary"} <= set(table.header):
            return runs_of(table, asked, like_wandb=True)
        records = _in_cells(table, path=path)
    else:
        records = _in_json(text_of(data, path=path), path=path)
    return _found(records, asked, digest=sha256(data))


def _in_json(text: str, *, path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """(where, record)."""
    try:
        try:
            whole = json.loads(text)
            values = whole if isinstance(whole, list) else whole["runs"] if isinstance(whole.get("runs"), list) else [whole]
            found = [(f"run {number}", value) for number, value in enumerate(values, start=1)]
        except json.JSONDecodeError as error:
            if "Extra data" not in error.msg:
                raise
            lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
            found = [(f"line {number}", _line(line, number=number, path=path)) for number, line in lines]
    except json.JSONDecodeError as error:
        raise said([f"line {error.lineno}: not JSON: {error.msg}"], about=str(path)) from None
    except RecursionError:
        raise said(["its JSON is nested too deeply"], about=str(path)) from None
    except ValueError as error:  # a number of thousands of digits
        raise said([f"not JSON: {visible(str(error), limit=200)}"], about=str(path)) from None
    if odd := [f"{where}: expected a record with name, config and summary" for where, value in found if not isinstance(value, Mapping)]:
        raise said(odd, about=str(path))
    return found


def _line(line: str, *, number: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise said([f"line {number}: not JSON: {error.msg}"], about=str(path)) from None


def _in_cells(table: Table, *, path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    found, problems = list[tuple[str, Mapping[str, Any]]](), list[str]()
    for line, row in zip(table.lines, table.rows, strict=True):
        record: dict[str, Any] = dict(zip(table.header, row, strict=True))
        for key in ("config", "summary"):
            try:
                record[key] = _literal(record[key])
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                problems.append(f"line {line}: {key} is no dictionary: '{visible(str(row[table.header.index(key)]))}'")
        found.append((f"line {line}", record))
    if problems:
        raise said(problems, about=str(path))
    return found


class _Numbers(ast.NodeTransformer):
    """`nan` and `inf` are names to Python; here they are the texts that `number_of` knows."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.copy_location(ast.Constant(node.id), node) if node.id in ("nan", "inf") else node


def _literal(text: str) -> Mapping[str, Any]:
    if len(text) > MAX_LITERAL:
        raise ValueError("too long")
    try:
        value = json.loads(text or "{}")
    except json.JSONDecodeError:
        value = ast.literal_eval(_Numbers().visit(ast.parse(text.strip(), mode="eval")))
    if not isinstance(value, Mapping):
        raise ValueError("no dictionary")
    return value


def _found(records: Sequence[tuple[str, Mapping[str, Any]]], asked: Asked, *, digest: str) -> Found:
    problems, runs = list[str](), list[Run]()
    if not records:
        raise said(["it holds no runs"], about=asked.source)
    names = [clean(str(record.get("id") or record.get("run_id") or record.get("name") or f"run {number}"))
             for number, (_, record) in enumerate(records, start=1)]  # fmt: skip
    for name, (where, record) in zip(unique_ids(names), records, strict=True):
        try:
            runs.append(_run(name, record, asked))
        except InputError as error:
            problems.append(f"{where}: {error}")
    known = list(dict.fromkeys(metric for run in runs for metric in run.metrics))
    if not asked.metric:
        problems.append(f"--metric is missing: which value of the summaries counts? ({listed(known) or 'there is none'})")
    for metric in (asked.metric, *asked.also):
        if metric and runs and metric not in known:
            hint = did_you_mean(metric, known)
            problems.append(f"no run has '{visible(metric)}' in its summary ({listed(known) or 'there is nothing'}){hint}")
    if problems:
        raise said(problems, about=asked.source)
    columns = tuple(dict.fromkeys(key for run in runs for key in run.config))
    return Found(asked.kind, clean(asked.source), tuple(runs), columns, frozenset(columns), digest=digest)


def _run(name: str, record: Mapping[str, Any], asked: Asked) -> Run:
    written = str(record.get("state") or "finished")
    state = state_of(written)
    if state is None:
        raise InputError(f"state '{visible(written)}' is no state of a run ({', '.join(STATES)}){did_you_mean(written, STATES)}")
    config = _mapping(record.get("config"), what="config")
    summary = _mapping(next((record[key] for key in SUMMARIES if record.get(key)), None), what="summary")
    kept = {clean(key): value for key, value in _flat(config) if not key.startswith("_wandb")}
    finals = {clean(key): number for key, value in _flat(summary) if not key.startswith("_") and (number := number_of(value)) is not None}
    wanted = {asked.metric, *asked.also}
    curves = _curves(record.get("history"), wanted=wanted) if asked.curves else {}
    started = _started(record, summary)
    runtime = number_of(record.get("runtime") or summary.get("_runtime"))
    return Run(
        id=name,
        name=clean(str(record.get("display_name") or record.get("displayName") or record.get("name") or name)),
        state=state[0],
        reason=state[1],
        started=started,
        seconds=runtime if runtime is not None and math.isfinite(runtime) and runtime >= 0 else None,
        host=clean(str(record.get("host") or "")),
        commit=clean(str(record.get("commit") or "")),
        config=kept,
        metrics={metric: points[-1][1] for metric, points in curves.items()} | finals,
        curves=curves,
    )


def _mapping(value: Any, *, what: str) -> Mapping[str, Any]:
    if isinstance(value, str):  # as the service's own API answers
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InputError(f"{what} is no JSON object: '{visible(value)}'") from None
    if value is not None and not isinstance(value, Mapping):
        raise InputError(f"{what} is no object: {visible(str(value))}")
    return value or {}


def _flat(values: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Dotted name and plain value; a list is its JSON text."""
    for key, value in values.items():
        inner = value["value"] if isinstance(value, Mapping) and set(value) in WRAPPED else value
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping) and inner and depth < MAX_DEPTH:
            yield from _flat(inner, f"{name}.", depth + 1)
        elif isinstance(inner, Mapping | list | tuple):
            yield name, json.dumps(inner, sort_keys=True, default=str)
        else:
            yield name, inner


def _curves(history: Any, *, wanted: set[str]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, dict[int, float]] = {}
    for place, row in enumerate(history if isinstance(history, list) else ()):
        if not isinstance(row, Mapping):
            continue
        at = number_of(row.get("_step", place))
        step = int(at) if at is not None and math.isfinite(at) and abs(at) < 2**62 else place
        for key in wanted & set(row):
            if (number := number_of(row[key])) is not None:
                found.setdefault(key, {})[step] = number
    return {key: sorted(points.items()) for key, points in found.items()}


def _started(record: Mapping[str, Any], summary: Mapping[str, Any]) -> float | None:
    """Unix time; the summary's own `_timestamp` is of its last row."""
    written = record.get("created_at") or record.get("createdAt") or record.get("created")
    if isinstance(written, str):
        try:
            moment = datetime.fromisoformat(written)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    last, runtime = number_of(summary.get("_timestamp")), number_of(summary.get("_runtime"))
    return last - runtime if last is not None and runtime is not None and math.isfinite(last - runtime) and last > runtime else None
