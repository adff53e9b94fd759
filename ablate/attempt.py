"""One job on one worker: runs a stage in its own folder and leaves a journal that outlives every process.

    runs/<job>/attempt-<n>/job.json         what was asked
    runs/<job>/attempt-<n>/pid              the process that runs it; gone once it has ended in order
    runs/<job>/attempt-<n>/metrics.jsonl    one line a point, appended while it runs
    runs/<job>/attempt-<n>/log.txt          what it printed, and why it ended badly; absent where that is nothing
    runs/<job>/attempt-<n>/stop             there once it is asked to stop; says why where that is no interruption
    runs/<job>/attempt-<n>/done.json        the outcome; fsynced and renamed, so whole or absent
    runs/<job>/checkpoint-<n>               what one attempt keeps for the next
    runs/<job>/checkpoint-files/            what a program keeps for itself, until the job is done
    artifacts/<job>/                        the artefact; written under a temporary name and renamed when whole
    diffs/<sha256>.diff                     uncommitted changes of a trainer's repository, for all attempts that had the same

The order matters: artefact, then `done.json`. Whoever finds a `done.json` may believe all of it.
"""

import dataclasses
import json
import logging
import os
import shutil
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from ablate.artefacts import damage, publish
from ablate.causes import Cause, cause_of
from ablate.checkpoints import forget_files, keep_checkpoint, kept_files, read_checkpoint
from ablate.durable import patiently, write_whole
from ablate.journal import Journal, Point
from ablate.planned import Job
from ablate.provenance import code_of, provenance
from ablate.repository import Repository, redacted
from ablate.trainers import load_trainer
from ablate.weights import kept_weights
from ablate.workspace import Workspace

OutcomeState = Literal["done", "failed", "lost", "pruned"]

RETRIED_CAUSES = frozenset(("lost", "storage", "artefact", "interrupted"))
"""Not the trial's fault: an attempt that ended so is `lost`, any other is `failed`."""
NOT_FINITE_IN_A_ROW = 3
LAST_WORD_SECONDS = 5.0
"""How long the guardian of a dead worker is waited for: it cleans up, then says how the attempt ended."""

logger = logging.getLogger(__name__)


class Diverged(FloatingPointError):
    """The study's metric, or a loss, was not finite several times in a row; what follows would be a waste."""

    def __init__(self, point: Point, *, in_a_row: int) -> None:
        super().__init__(f"'{point.key}' was {point.kind} {in_a_row} times in a row, the last at step {point.step}")
        self.reason = f"'{point.key}' ended as {point.kind}"


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
    """The last point of each metric, by name: an attempt that went on from a checkpoint met them in another order."""
    started: float = 0.0
    """Unix time, seconds; `seconds` is measured by a monotonic clock."""
    seconds: float = 0.0
    host: str = ""
    pid: int = 0
    node: str = ""
    """The cluster's name of the machine; empty outside a cluster."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: `seconds` per phase, provenance, and what is known of a failure."""


_OUTCOME = TypeAdapter(Outcome)


@dataclass(frozen=True)
class Origin:
    """What an attempt cannot find out by itself."""

    submitted: float | None = None
    """Unix time at which it was put in the queue."""
    argv: tuple[str, ...] = ()
    """The command that asked for it."""
    node: str = ""
    """The cluster's name of this machine."""


class AttemptContext:
    """The `context` of `train`: see `ablate.trainers.Context`."""

    def __init__(self, job: Job, *, artefact: Path, journal: Journal, folder: Path, log: Callable[[str], None]) -> None:
        self.seed = job.seed
        self.dir = artefact
        self.device = "cuda:0" if job.resources.gpus else "cpu"
        self.cpus = max(1, int(job.resources.cpus))
        self.num_devices = max(1, int(job.resources.gpus))
        self.seconds: dict[str, float] = {}
        """Phase -> time spent in it, without the phases inside it."""
        self.journal = journal
        self._job, self._folder, self._log = job, folder, log
        self._bad_in_a_row: dict[str, int] = {}
        self._inside = 0.0

    def report(self, step: int, **metrics: float) -> None:
        points = [self.journal.add(step, key, value) for key, value in metrics.items()]
        self.journal.flush()
        for point in points:
            if point is not None and self._must_be_finite(point.key):
                self._watch(point)

    def checkpoint(self, state: bytes) -> None:
        with self.phase("checkpoint"):
            keep_checkpoint(self._folder.parent, state, job=self._job.id)

    def restore(self) -> bytes | None:
        with self.phase("checkpoint"):
            own = read_checkpoint(self._folder.parent, job=self._job.id, refused=self._log)
            return own if own is not None else kept_weights(self._job.needs, artifacts=self.dir.parent)

    @property
    def checkpoint_dir(self) -> Path:
        return kept_files(self._folder.parent)

    def refuse(self, why: str, example: str) -> None:
        self.journal.refuse(why, example)

    def should_stop(self) -> bool:
        return (self._folder / "stop").exists()

    def stop_reason(self) -> str:
        """Why it was asked to stop; empty for an interruption."""
        return (self._folder / "stop").read_text(encoding="utf-8")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the time inside as the phase's own; `data`, `step` and `eval` are what a trainer may report."""
        began, outer = time.monotonic(), self._inside
        self._inside = 0.0
        try:
            yield
        finally:
            spent = time.monotonic() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + spent - self._inside
            self._inside = outer + spent

    def _must_be_finite(self, key: str) -> bool:
        return key == self._job.metric or key.rpartition("/")[2].rpartition("_")[2] == "loss"

    def _watch(self, point: Point) -> None:
        in_a_row = 0 if point.kind == "finite" else self._bad_in_a_row.get(point.key, 0) + 1
        self._bad_in_a_row[point.key] = in_a_row
        if in_a_row >= NOT_FINITE_IN_A_ROW:
            raise Diverged(point, in_a_row=in_a_row)


def lost(job_id: str, *, attempt: int, cause: Cause, reason: str) -> Outcome:
    """The outcome of an attempt that could not write one itself."""
    state: OutcomeState = "lost" if cause in RETRIED_CAUSES else "failed"
    return Outcome(job=job_id, attempt=attempt, state=state, cause=cause, reason=_one_line(reason))


def execute(
    job: Job,
    *,
    workspace: Workspace,
    number: int,
    context_type: type[AttemptContext] = AttemptContext,
    origin: Origin | None = None,
    log: Callable[[str], None] | None = None,
) -> Outcome:
    """Runs one attempt from start to `done.json` and says how it went; only a dying process keeps it from returning.

    `log` takes lines for people; without it they go to the attempt's log.txt.
    """
    folder, origin, started, clock = workspace.attempt(job.id, number), origin or Origin(), time.time(), time.monotonic()
    beginning = Outcome(job.id, number, "lost", started=started, host=socket.gethostname(), pid=os.getpid(), node=origin.node)
    log = log or _log_to(folder / "log.txt")
    try:
        outcome = _attempt(job, beginning, workspace=workspace, origin=origin, log=log, context_type=context_type, clock=clock)
        write_outcome(folder, outcome)
        (folder / "pid").unlink(missing_ok=True)
    except OSError as error:
        if cause_of(error) != "storage":
            raise
        # the disk would not take it, so the driver must: nothing here says that the attempt has ended
        return dataclasses.replace(beginning, cause="storage", reason=_one_line(str(error)), seconds=time.monotonic() - clock)
    if outcome.state == "done" and not workspace.attempt(job.id, number + 1).exists():  # one that came back late has a successor
        forget_files(folder.parent)
    return outcome


def _attempt(
    job: Job,
    beginning: Outcome,
    *,
    workspace: Workspace,
    origin: Origin,
    log: Callable[[str], None],
    context_type: type[AttemptContext],
    clock: float,
) -> Outcome:
    folder = workspace.attempt(job.id, beginning.attempt)
    partial = workspace.artifacts / f"{job.id}.tmp-{beginning.attempt}"
    patiently(lambda: _open_folders(job, folder=folder, partial=partial), path=folder)
    with Journal(folder / "metrics.jsonl", log=log) as journal:
        context = context_type(job, artefact=partial, journal=journal, folder=folder, log=log)
        end, details = _train(job, context, workspace=workspace, folder=folder, log=log, clock=clock)
    if end.state == "done":
        publish(partial, workspace.artifacts / job.id)
    else:
        shutil.rmtree(partial, ignore_errors=True)
    queue = {} if origin.submitted is None else {"queue": max(0.0, beginning.started - origin.submitted)}
    asked_by = [redacted(word) for word in origin.argv]
    details |= {"seconds": queue | context.seconds, "argv": asked_by, "refused_rows": journal.refused.total()}
    return dataclasses.replace(
        beginning,
        **end._asdict(),
        metrics=tuple(point for _, point in sorted(journal.last.items())),
        seconds=time.monotonic() - clock,
        details=details,
    )


def _open_folders(job: Job, *, folder: Path, partial: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob("*.tmp-*"):  # by an attempt that died while it wrote
        left.unlink()
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(_describe(job), indent=1), encoding="utf-8")
    partial_pid = folder / f"pid.tmp-{os.getpid()}"
    partial_pid.write_text(str(os.getpid()), encoding="utf-8")
    partial_pid.replace(folder / "pid")  # that it is there says that the attempt has begun, so it is never there empty


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


class _End(NamedTuple):
    """How the trainer left its attempt."""

    state: OutcomeState
    cause: Cause | None = None
    reason: str = ""


class _Trained(NamedTuple):
    end: _End
    details: dict[str, Any]


def _train(job: Job, context: AttemptContext, *, workspace: Workspace, folder: Path, log: Callable[[str], None], clock: float) -> _Trained:
    inputs = {stage: workspace.artifacts / upstream for stage, upstream in job.needs.items()}
    damaged = {path.name: trouble for path in inputs.values() if (trouble := damage(path)) is not None}
    if damaged:
        reason = "; ".join(f"the artefact {name} is damaged: {trouble}" for name, trouble in damaged.items())
        return _Trained(_End("lost", "artefact", reason), {"damaged": list(damaged)})
    code: Repository | None = None
    try:
        trainer = load_trainer(job.trainer)
        code = code_of(job, getattr(trainer, "__name__", ""))
        if code and code.diff and not (kept := workspace.diff(code.diff_sha256)).exists():
            write_whole(kept, code.diff.encode())
        context.seconds["start"] = time.monotonic() - clock
        with context.phase("train"):
            trainer.train(job.spec, inputs, context)
    except (Exception, SystemExit) as error:  # the trainer is the user's code: whatever it raises is its trial's failure and no other's
        log(traceback.format_exc())
        cause = cause_of(error)
        reason = error.reason if isinstance(error, Diverged) else f"{type(error).__name__}: {error}"
        end = _End("lost" if cause in RETRIED_CAUSES else "failed", cause, _one_line(reason))
    else:
        end = _judge(job, context)
    return _Trained(end, provenance(job, code))


def _judge(job: Job, context: AttemptContext) -> _End:
    """How an attempt ended whose trainer returned."""
    if context.should_stop():
        return _why_stopped(context)
    if job.metric is None:
        return _End("done")
    point = context.journal.last.get(job.metric)
    if point is None:
        reported = ", ".join(sorted(context.journal.last)) or "nothing"
        return _End("failed", "user", f"the metric '{job.metric}' was never reported; what was: {reported}")
    if point.kind != "finite":
        return _End("failed", "nan", f"'{job.metric}' ended as {point.kind}")
    return _End("done")


def _why_stopped(context: AttemptContext) -> _End:
    reason = context.stop_reason()
    return _End("failed", "timeout", reason) if reason else _End("lost", "interrupted", "stopped before it was finished")


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """From now on the attempt has ended."""
    write_whole(folder / "done.json", json.dumps(vars(outcome), default=vars, allow_nan=False).encode())


def read_outcome(folder: Path) -> Outcome | None:
    """The outcome an attempt's folder holds, or None where `done.json` is absent, not whole, or nothing that this version understands."""
    try:
        return _OUTCOME.validate_json((folder / "done.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        logger.warning(
            "%s is no outcome, so the attempt counts as unfinished: %s%s", folder / "done.json", where and f"{where}: ", first["msg"]
        )
        return None


def await_last_words(folders: Iterable[Path]) -> None:
    """Waits for the ends of attempts that began, whose worker is dead or, since its run is, about to die."""
    deadline, pause = time.monotonic() + LAST_WORD_SECONDS, threading.Event()
    for folder in folders:
        while (folder / "pid").exists() and not (folder / "done.json").exists() and time.monotonic() < deadline:
            pause.wait(0.05)


def _log_to(path: Path) -> Callable[[str], None]:
    def write(text: str) -> None:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as stream:
            print(text, file=stream)

    return write


def log_to_output(text: str) -> None:
    """For a worker whose output is the attempt's log."""
    print(text, file=sys.stderr, flush=True)


def _one_line(text: str, *, limit: int = 500) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
