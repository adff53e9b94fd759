"""Executing jobs: a scheduler takes jobs with their dependencies and yields what happens to them.

    local      in this process, one after the other: for debugging and tests
    ray_tasks  each ready job is a Ray task with its own resources (planned designs)
    ray_tune   Ray Tune decides which trials come next (`design: search`)

A scheduler writes nothing but attempts' folders. It yields a `Tick` at least every half second, so that whoever listens can look
around, and ends soon after `stop` is set, with `lost` outcomes for what it had to end.
"""

import heapq
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ablate.attempt import Outcome
from ablate.planner import Job, Trial

MAX_LOST = 2
"""A job whose worker died is tried again this often; after that the job itself is suspected."""
TICK_SECONDS = 0.5


@dataclass(frozen=True)
class Proposed:
    """An adaptive scheduler decided on a trial; its jobs follow."""

    trial: Trial
    jobs: Mapping[str, Job]


@dataclass(frozen=True)
class Started:
    job: str
    attempt: int


@dataclass(frozen=True)
class Finished:
    outcome: Outcome
    final: bool = True
    """False where the job will be tried again."""


@dataclass(frozen=True)
class Skipped:
    """A job that will never run because one it needs failed."""

    job: str
    because: str


@dataclass(frozen=True)
class Tick:
    """Half a second has passed: time to look around."""


Event = Proposed | Started | Finished | Skipped | Tick


class Scheduler(Protocol):
    slots: int
    """Jobs of one CPU that run at a time."""

    def run(self, jobs: Sequence[Job], *, attempts: Mapping[str, int], stop: threading.Event) -> Iterator[Event]:
        """Executes every job once its `needs` among `jobs` are done. `attempts` counts the attempts each job had before."""


class Readiness:
    """Which jobs can start now: the bookkeeping every scheduler of planned jobs needs. Longest job first, so that the end is short."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = {job.id: job for job in jobs}
        self._order = {job.id: (-job.spec.train_flops, place) for place, job in enumerate(jobs)}
        self._waiting = {job.id: {up for up in job.needs.values() if up in self._jobs} for job in jobs}
        self._dependents: dict[str, list[str]] = {}
        for job_id, upstream in self._waiting.items():
            for up in upstream:
                self._dependents.setdefault(up, []).append(job_id)
        self._ready = [(*self._order[job.id], job.id) for job in jobs if not self._waiting[job.id]]
        heapq.heapify(self._ready)

    def __bool__(self) -> bool:
        return bool(self._ready)

    def pop(self) -> Job:
        return self._jobs[heapq.heappop(self._ready)[-1]]

    def again(self, job: Job) -> None:
        """A job that was lost is ready once more."""
        heapq.heappush(self._ready, (*self._order[job.id], job.id))

    def done(self, job_id: str) -> None:
        """Frees the jobs that waited for this one only."""
        for waiting_id in self._dependents.get(job_id, ()):
            self._waiting[waiting_id].discard(job_id)
            if not self._waiting[waiting_id]:
                self.again(self._jobs[waiting_id])

    def failed(self, job_id: str) -> list[str]:
        """The jobs that can never run now, each once."""
        lost: dict[str, None] = {}
        for waiting_id in self._dependents.get(job_id, ()):
            lost |= {waiting_id: None} | dict.fromkeys(self.failed(waiting_id))
        return list(lost)
