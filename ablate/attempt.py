"""One job on one worker: runs a stage in its own folder and leaves a journal that outlives every process.

    runs/<job>/attempt-<n>/job.json         what was asked
    runs/<job>/attempt-<n>/metrics.jsonl    one line a point, appended while it runs
    runs/<job>/attempt-<n>/done.json        the outcome; fsynced and renamed, so whole or absent
    artifacts/<job>/                        the artefact; written under a temporary name and renamed when whole

The order matters: artefact, then `done.json`. Whoever finds a `done.json` may believe all of it.
"""

import dataclasses
import json
import math
import os
import shutil
import socket
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from ablate.planner import Job
from ablate.trainers import load_trainer
from ablate.workspace import Workspace

OutcomeState = Literal["done", "failed", "lost", "pruned"]
Cause = Literal["user", "nan", "oom", "lost", "interrupted", "pruned"]
PointKind = Literal["finite", "nan", "+inf", "-inf"]

FLUSH_SECONDS = 0.25


@dataclass(frozen=True)
class Point:
    """One value of one metric; `value` is None unless `kind` is finite."""

    step: int
    key: str
    value: float | None
    kind: PointKind


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended."""

    job: str
    attempt: int
    state: OutcomeState
    cause: Cause | None = None
    reason: str = ""
    """One line for people; the whole story is in the attempt's log.txt."""
    metrics: tuple[Point, ...] = ()
    """The last point of each metric."""
    started: float = 0.0
    """Unix time, seconds; `seconds` is measured by a monotonic clock."""
    seconds: float = 0.0
    host: str = ""
    pid: int = 0


def make_point(step: int, key: str, value: float) -> Point:
    number = float(value)
    if math.isfinite(number):
        return Point(step, key, number, "finite")
    return Point(step, key, None, "nan" if math.isnan(number) else "+inf" if number > 0 else "-inf")


class AttemptContext:
    """The `context` of `train`: see `ablate.trainers.Context`."""

    def __init__(self, *, seed: int, artefact: Path, journal: IO[str], folder: Path, device: str, cpus: int) -> None:
        self.seed = seed
        self.dir = artefact
        self.device = device
        self.cpus = cpus
        self.last: dict[str, Point] = {}
        self._journal = journal
        self._folder = folder
        self._flushed = time.monotonic()

    def report(self, step: int, **metrics: float) -> None:
        for key, value in metrics.items():
            point = make_point(int(step), key, value)
            self.last[key] = point
            self._journal.write(json.dumps(dataclasses.astuple(point), allow_nan=False) + "\n")
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._journal.flush()
            self._flushed = time.monotonic()

    def checkpoint(self, state: bytes) -> None:
        write_whole(self._folder.parent / "checkpoint", state)

    def restore(self) -> bytes | None:
        path = self._folder.parent / "checkpoint"
        return path.read_bytes() if path.exists() else None

    def should_stop(self) -> bool:
        return (self._folder / "stop").exists()


def lost(job_id: str, *, attempt: int, cause: Cause, reason: str) -> Outcome:
    """The outcome of an attempt that could not write one itself; out of memory is the job's own failure."""
    return Outcome(job=job_id, attempt=attempt, state="failed" if cause == "oom" else "lost", cause=cause, reason=_one_line(reason))


def execute(job: Job, *, workspace: Workspace, number: int, context_type: type[AttemptContext] = AttemptContext) -> Outcome:
    """Runs one attempt from start to `done.json` and says how it went; only a dying process keeps it from returning."""
    folder = workspace.attempt(job.id, number)
    folder.mkdir(parents=True, exist_ok=True)
    partial = workspace.artifacts / f"{job.id}.tmp-{number}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(_describe(job), indent=1), encoding="utf-8")
    started, clock = time.time(), time.monotonic()
    with open(folder / "metrics.jsonl", "w", encoding="utf-8") as journal:
        context = context_type(
            seed=job.seed,
            artefact=partial,
            journal=journal,
            folder=folder,
            device="cuda:0" if job.resources.gpus else "cpu",
            cpus=max(1, int(job.resources.cpus)),
        )
        state, cause, reason = _train(job, context, workspace=workspace, log=folder / "log.txt")
    if state == "done":
        _publish(partial, workspace.artifacts / job.id)
    else:
        shutil.rmtree(partial, ignore_errors=True)
    outcome = Outcome(
        job=job.id,
        attempt=number,
        state=state,
        cause=cause,
        reason=reason,
        metrics=tuple(context.last.values()),
        started=started,
        seconds=time.monotonic() - clock,
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    write_whole(folder / "done.json", json.dumps(dataclasses.asdict(outcome), allow_nan=False).encode())
    return outcome


def _describe(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "trainer": job.trainer,
        "stage": job.spec.name,
        "version": job.spec.version,
        "seed": job.seed,
        "needs": dict(job.needs),
        "config": dict(job.spec.config),
    }


def _train(job: Job, context: AttemptContext, *, workspace: Workspace, log: Path) -> tuple[OutcomeState, Cause | None, str]:
    inputs = {stage: workspace.artifacts / upstream for stage, upstream in job.needs.items()}
    try:
        load_trainer(job.trainer).train(job.spec, inputs, context)
    except Exception as error:  # the trainer is the user's code: whatever it raises is this trial's failure and no other's
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(traceback.format_exc())
        return "failed", "user", f"{type(error).__name__}: {_one_line(str(error))}"
    if context.should_stop():
        return "lost", "interrupted", "stopped before it was finished"
    if job.metric is None:
        return "done", None, ""
    point = context.last.get(job.metric)
    if point is None:
        return "failed", "user", f"the metric '{job.metric}' was never reported"
    if point.kind != "finite":
        return "failed", "nan", f"'{job.metric}' ended as {point.kind}"
    return "done", None, ""


def read_outcome(folder: Path) -> Outcome | None:
    """The outcome an attempt's folder holds, or None where `done.json` is absent or not whole."""
    try:
        record: dict[str, Any] = json.loads((folder / "done.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return Outcome(**record | {"metrics": tuple(Point(**point) for point in record["metrics"])})


def read_points(path: Path, *, offset: int = 0) -> tuple[list[Point], int]:
    """The whole lines of a metrics.jsonl from a byte offset on, and the offset after them; a line still being written waits."""
    try:
        with open(path, "rb") as stream:
            stream.seek(offset)
            text = stream.read()
    except FileNotFoundError:
        return [], offset
    whole = text.rfind(b"\n") + 1
    return [Point(*json.loads(line)) for line in text[:whole].splitlines()], offset + whole


def write_whole(path: Path, content: bytes) -> None:
    """The file is there with all of its content or not at all, whatever dies when."""
    partial = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with open(partial, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def _publish(partial: Path, final: Path) -> None:
    """Renames the artefact into place; one that is there already came from the same identity and stays."""
    try:
        os.rename(partial, final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(partial, ignore_errors=True)


def _one_line(text: str, *, limit: int = 300) -> str:
    return " ".join(text.split())[:limit]
