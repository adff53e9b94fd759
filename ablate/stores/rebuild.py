"""The attempts' folders of a workspace become the rows of a store that was lost or is damaged.

A job's identity, attempts, curve and last metrics lie in its folders. What no folder knows: which studies and trials there were, what
they declared, and when. A run of the study file brings trials back, and finds their jobs done; a search draws its trials anew.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ablate.attempt import Outcome, read_outcome
from ablate.fingerprint import fingerprint
from ablate.journal import read_points
from ablate.stores import Store, open_store
from ablate.stores.rows import AttemptRow, IdentityRow, JobRow, MetricRow, PointRow, Row
from ablate.stores.sql_engine import StoreDamaged, check_file, sqlite_file
from ablate.workspace import Workspace

JOBS_AT_ONCE = 100
FINAL = ("done", "failed", "pruned")


@dataclass(frozen=True)
class Rebuilt:
    """What came back."""

    set_aside: Path | None
    """Where the damaged database lies now."""
    jobs: int
    """Found in the folders."""
    added: int
    """Of these, the jobs whose results the store did not have."""
    done: int
    unreadable: tuple[str, ...]
    """Files that were passed over, and why."""


class _Asked(BaseModel):
    """An attempt's job.json."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    trainer: Any
    stage: str
    version: str
    seed: int
    needs: dict[str, str]
    config: dict[str, Any]


@dataclass(frozen=True)
class _Found:
    """One job's folder, read."""

    job: JobRow
    rows: tuple[Row, ...]
    unreadable: tuple[str, ...]


def rebuild(workspace: Workspace) -> Rebuilt:
    """Fills the workspace's store from its folders; a damaged one is put aside first, a sound one only gets what it lacks."""
    workspace.create()
    aside = _set_damaged_aside(workspace.store_url)
    store = open_store(workspace.store_url, write=True)
    try:
        return _fill(store, workspace, aside=aside)
    finally:
        store.close()


def _fill(store: Store, workspace: Workspace, *, aside: Path | None) -> Rebuilt:
    folders = sorted(folder for folder in workspace.runs.iterdir() if any(folder.glob("attempt-*")))
    jobs = added = done = 0
    unreadable: list[str] = []
    for start in range(0, len(folders), JOBS_AT_ONCE):
        found = [_read(folder) for folder in folders[start : start + JOBS_AT_ONCE]]
        known = store.job_states(one.job.id for one in found)
        new = [one for one in found if _adds(one.job, known.get(one.job.id))]
        _add(store, new)
        jobs, added = jobs + len(found), added + len(new)
        done += sum(one.job.state == "done" for one in found)
        unreadable += [text for one in found for text in one.unreadable]
    return Rebuilt(set_aside=aside, jobs=jobs, added=added, done=done, unreadable=tuple(unreadable))


def _add(store: Store, new: Sequence[_Found]) -> None:
    rows = [row for one in new for row in (one.job, *one.rows)]
    store.add_rows(lambda: rows, study=None, jobs=[one.job.id for one in new])


def _adds(job: JobRow, known: tuple[str, int] | None) -> bool:
    return known is None or (known[0] != "done" and job.state == "done")


def _set_damaged_aside(url: str) -> Path | None:
    file = sqlite_file(url)
    if file is None:
        return None
    try:
        check_file(file, shown=str(file))
    except StoreDamaged:
        number = next(n for n in range(1, 10_000) if not file.with_name(f"{file.name}.damaged-{n}").exists())
        aside = file.with_name(f"{file.name}.damaged-{number}")
        # the database last: a write-ahead log that stayed behind would be played into the new one
        for suffix in ("-wal", "-shm", ""):
            part = file.with_name(file.name + suffix)
            if part.exists():
                os.replace(part, aside.with_name(aside.name + suffix))
        return aside
    return None


def _read(folder: Path) -> _Found:
    """One job from all its attempts' folders; the attempt that was done decides, or else the last."""
    numbers = sorted(int(path.name.partition("-")[2]) for path in folder.glob("attempt-*") if path.name.partition("-")[2].isdecimal())
    unreadable: list[str] = []
    outcomes = {number: _outcome(folder / f"attempt-{number}", unreadable) for number in numbers}
    ended = [outcome for outcome in outcomes.values() if outcome is not None]
    last = next((outcome for outcome in ended if outcome.state == "done"), ended[-1] if ended else None)
    final = last if last is not None and last.state in FINAL else None
    asked = next((asked for number in numbers if (asked := _asked(folder / f"attempt-{number}", unreadable))), None)
    job = JobRow(
        id=folder.name,
        stage=asked.stage if asked else folder.name.rpartition("-")[0],
        state=final.state if final and final.state != "lost" else "queued",
        cause=final.cause if final else None,
        reason=final.reason if final else "",
        num_params=0,
        train_flops=0.0,
        attempts=numbers[-1] if numbers else 0,
        started=final.started if final else None,
        seconds=final.seconds if final else None,
    )
    points = [row for number in numbers for row in _points(folder, number, unreadable)]
    metrics = [MetricRow(job=folder.name, key=p.key, step=p.step, value=p.value, kind=p.kind) for p in (final.metrics if final else ())]
    rows = (*_identity(folder.name, asked), *map(_attempt, ended), *metrics, *points)
    return _Found(job=job, rows=rows, unreadable=tuple(unreadable))


def _attempt(outcome: Outcome) -> AttemptRow:
    return AttemptRow(
        job=outcome.job,
        number=outcome.attempt,
        state=outcome.state,
        cause=outcome.cause,
        reason=outcome.reason,
        started=outcome.started,
        seconds=outcome.seconds,
        host=outcome.host,
        pid=outcome.pid,
        details=dict(outcome.details) or None,
    )


def _identity(job: str, asked: _Asked | None) -> Iterator[IdentityRow]:
    """The identity, where the folder says it: the seed is part of it only where it enters, which the job's id tells."""
    if asked is not None:
        fields = {"trainer": asked.trainer, "stage": asked.stage, "version": asked.version, "config": asked.config, "needs": asked.needs}
        for seed in (asked.seed, None):
            if job == f"{asked.stage}-{fingerprint(fields | {'seed': seed})}":
                yield IdentityRow(job=job, identity=fields | {"seed": seed})
                return


def _asked(folder: Path, unreadable: list[str]) -> _Asked | None:
    path = folder / "job.json"
    try:
        return _Asked.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        unreadable.append(f"{path}: {error.errors()[0]['msg']}")
        return None


def _outcome(folder: Path, unreadable: list[str]) -> Outcome | None:
    outcome = read_outcome(folder)
    if outcome is None and (folder / "done.json").exists():
        unreadable.append(f"{folder / 'done.json'}: it is no outcome")
    return outcome


def _points(folder: Path, number: int, unreadable: list[str]) -> Iterable[PointRow]:
    path = folder / f"attempt-{number}" / "metrics.jsonl"
    try:
        found, _ = read_points(path)
        return [PointRow(job=folder.name, attempt=number, key=p.key, step=p.step, value=p.value, kind=p.kind) for p in found]
    except (TypeError, ValueError) as error:
        unreadable.append(f"{path}: {str(error).splitlines()[0]}")
        return []
