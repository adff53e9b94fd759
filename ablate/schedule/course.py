"""The course of one run, whoever executes it: which job is next, and what follows from how an attempt ended."""

import heapq
import itertools
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ablate.artefacts import set_aside
from ablate.attempt import Outcome
from ablate.causes import STORAGE_ERRNOS
from ablate.checkpoints import newest_checkpoint
from ablate.durable import PAUSE_SECONDS, storage_patience
from ablate.errors import EnvironmentMissing
from ablate.planned import Job
from ablate.schedule import MAX_REBUILT, Decision, Event, Finished, Notice, Readiness, Retries, Skipped
from ablate.workspace import Workspace

PROBE_BYTES = 1_000_000
DISK_SECONDS = 5.0
DISK_NEARLY_FULL, DISK_FULL = 0.90, 0.97
SMALL_DISK_BYTES = 2 * 2**30
"""Room that will do on any disk, whatever share of it that is."""


class Next(NamedTuple):
    job: Job
    number: int
    """Of the attempt."""
    alone: bool
    """Wants a machine of its own."""


class Course:
    """What is left to do of one run's jobs."""

    def __init__(self, jobs: Sequence[Job], *, attempts: Mapping[str, int], known: Mapping[str, Job], workspace: Workspace) -> None:
        self.retries = Retries()
        self._workspace = workspace
        self._ready, self._recorded = Readiness(jobs), attempts
        self._numbers: dict[str, int] = {}
        self._known = {**known, **{job.id: job for job in jobs}}
        self._later: list[tuple[float, int, Job]] = []
        self._alone: list[Job] = []
        self._order = itertools.count()
        self._building: set[str] = set()
        self._rebuilt: Counter[str] = Counter()
        self._disk = _Disk(workspace)

    def __bool__(self) -> bool:
        """Whether there is anything that could be started, now or later."""
        return bool(self._ready or self._later or self._alone)

    def take(self) -> Next | None:
        """The next job to start; None where all that is left must wait. Jobs that need a machine of their own come last."""
        if not self._disk.works():
            return None
        while self._later and self._later[0][0] <= time.monotonic():
            self._ready.again(heapq.heappop(self._later)[2])
        if self._ready:
            return self._numbered(self._ready.pop(), alone=False)
        return self._numbered(self._alone.pop(0), alone=True) if self._alone else None

    def number(self, job: Job) -> int:
        return self._numbers[job.id]

    def ended(self, job: Job, outcome: Outcome) -> Iterator[Event]:
        """Records the end of an attempt and puts the job, or those after it, where they belong."""
        kept = newest_checkpoint(self._workspace.runs / job.id)
        decision = self.retries.decide(outcome, kept=kept)
        if outcome.cause == "artefact":
            decision = self._rebuild_first(job, outcome) or replace(decision, again=False, outcome=replace(outcome, state="failed"))
        yield Finished(decision.outcome, final=not decision.again)
        if outcome.cause == "storage":
            self._disk.trouble(outcome.reason)
            yield Notice(f"{outcome.reason}; nothing is started until the disk takes data again")
        if decision.again and outcome.cause != "artefact":
            self._again(job, pause=decision.pause_seconds, alone=decision.alone)
        elif decision.outcome.state == "done":
            self._building.discard(job.id)
            self._ready.done(job.id)
        elif not decision.again and decision.outcome.cause != "interrupted":  # which is queued for the next run, and they with it
            yield from (Skipped(skipped, because=job.id) for skipped in self._ready.failed(job.id))

    def notices(self) -> Iterator[Notice]:
        yield from self._disk.notices()

    def check(self) -> None:
        """Ends a run that would only do harm by going on."""
        if why := self._disk.why_stop():
            raise EnvironmentMissing(f"{why}; make room there and run again: what has finished is kept")
        if why := self.retries.why_pause:
            raise EnvironmentMissing(f"paused: {why}; mend what they have in common and run again (`ablate retry` for those that failed)")

    def _numbered(self, job: Job, *, alone: bool) -> Next:
        before = self._numbers.get(job.id)
        if before is None:  # an attempt whose run died may be on the disk only
            before = max(self._recorded.get(job.id, 0), self._workspace.newest_attempt(job.id))
        self._numbers[job.id] = before + 1
        return Next(job, self._numbers[job.id], alone)

    def _again(self, job: Job, *, pause: float, alone: bool) -> None:
        if alone:
            self._alone.append(job)
        else:
            heapq.heappush(self._later, (time.monotonic() + pause, next(self._order), job))

    def _rebuild_first(self, job: Job, outcome: Outcome) -> Decision | None:
        """Puts what the job reads in front of it; None where that cannot be, or did not help."""
        for name in outcome.details["damaged"]:
            upstream = self._known.get(name)
            if upstream is None:
                set_aside(self._workspace.artifacts / name)  # so that the next run builds it again
            if upstream is None or self._rebuilt[name] >= MAX_REBUILT:
                return None
            self._ready.wait_for(upstream, waiting=job)
            if name not in self._building:  # the others of its readers find it being built
                self._building.add(name)
                self._rebuilt[name] += 1
                set_aside(self._workspace.artifacts / name)
                self._ready.again(upstream)
        return Decision(outcome, again=True)


class _Disk:
    """The workspace's disk: whether it takes data, and how full it is."""

    def __init__(self, workspace: Workspace) -> None:
        self._folder = workspace.folder
        self._reason = ""
        self._since = self._probed = self._looked = 0.0
        self._warned = False

    def trouble(self, reason: str) -> None:
        if not self._reason:
            self._reason, self._since = reason, time.monotonic()

    def works(self) -> bool:
        if self._reason and time.monotonic() > self._probed + PAUSE_SECONDS:
            self._probed = time.monotonic()
            if self._takes_data():
                self._reason = ""
        return not self._reason

    def why_stop(self) -> str | None:
        over = self._reason and time.monotonic() > self._since + storage_patience()
        return f"{self._reason}; waited {storage_patience():g} s more" if over else None

    def notices(self) -> Iterator[Notice]:
        if time.monotonic() < self._looked + DISK_SECONDS:
            return
        self._looked = time.monotonic()
        share, free = fullness(self._folder)
        if share < DISK_NEARLY_FULL or free > SMALL_DISK_BYTES:
            self._warned = False
        elif not self._warned:
            self._warned = True
            yield Notice(f"the disk of {self._folder} is {100 * share:.0f} % full: {free / 2**20:.0f} MiB are left")

    def _takes_data(self) -> bool:
        probe = self._folder / f"probe.tmp-{os.getpid()}"
        try:
            with open(probe, "wb") as stream:
                stream.write(bytes(PROBE_BYTES))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            if error.errno not in STORAGE_ERRNOS:
                raise
            return False
        finally:
            probe.unlink(missing_ok=True)
        return True


def fullness(folder: os.PathLike[str]) -> tuple[float, int]:
    """Share of a disk that is in use, and the bytes that are left."""
    disk = shutil.disk_usage(folder)
    return 1 - disk.free / disk.total, disk.free


def refuse_full_disk(workspace: Workspace) -> None:
    share, free = fullness(workspace.folder)
    if share > DISK_FULL and free < SMALL_DISK_BYTES:
        raise EnvironmentMissing(
            f"the disk of {workspace.folder} is {100 * share:.0f} % full ({free / 2**20:.0f} MiB left): "
            "make room there, or name another place with --workspace"
        )
