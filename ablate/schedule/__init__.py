"""Executing jobs: a scheduler takes jobs with their dependencies and yields what happens to them.

    local      in this process, one after the other: for debugging and tests
    ray_tasks  each ready job is a Ray task with its own resources (planned designs)
    ray_tune   Ray Tune decides which trials come next (`design: search`)

A scheduler writes nothing but attempts' folders. It yields a `Tick` at least every half second, so that whoever listens can look
around, and ends soon after `stop` is set, with `lost` outcomes for what it had to end.

What becomes of an attempt that failed is decided by its cause, in `Retries`.
"""

import heapq
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ablate.attempt import Outcome
from ablate.causes import Cause
from ablate.planned import Job, Trial
from ablate.study import Resources

TICK_SECONDS = 0.5
GRACE_SECONDS = 5.0
"""What an attempt gets between being asked to stop and being ended, where its trainer says nothing of it."""
GRACE_MARGIN_SECONDS = 2.0
"""For an attempt to notice that its program has ended, and to say so."""
MAX_LOST = 2
"""A job whose worker died is tried again this often; after that the job itself is suspected. Attempts that got further do not count."""
MAX_LOST_IN_ALL = 10
MAX_REBUILT = 2
"""A shared artefact found damaged is built again this often in one run; after that the disk is suspected."""
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 60.0
FAST_SECONDS = 10.0
FAST_LOSSES = 3
"""A node on which that many attempts in a row died within `FAST_SECONDS` is left alone where there is another."""
ALIKE_FAILURES = 20
"""Jobs that fail in a row for one cause, none done between them: the run pauses, since the next ones would fail too."""
MALFUNCTIONS: frozenset[Cause | None] = frozenset(("user", "timeout", "lost"))
"""What counts for that; an arm that diverges or does not fit is a result."""


TRIED_AGAIN: frozenset[Cause | None] = frozenset(("lost", "oom", "storage", "artefact", "interrupted"))
"""Where a run ended before it could decide, the next one tries a job again whose attempt ended with one of these."""


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
class Notice:
    """Something a person should know while the run goes on: why it waits, what was left out."""

    text: str


@dataclass(frozen=True)
class Tick:
    """Half a second has passed: time to look around."""


Event = Proposed | Started | Finished | Skipped | Notice | Tick


def grace_seconds(job: Job) -> float:
    """What an attempt gets between being asked to stop and being ended: never less than its own program has to end in order."""
    limits = (60 * minutes for minutes in (job.resources.minutes, job.resources.stall_minutes) if minutes is not None)
    own: float | None = getattr(job.spec, "settings", {}).get("grace_seconds")
    return max(min((GRACE_SECONDS, *limits)), 0.0 if own is None else own + GRACE_MARGIN_SECONDS)


class Scheduler(Protocol):
    slots: int
    """Jobs of one CPU that run at a time."""

    def preflight(self, resources: Resources) -> None:
        """Raises EnvironmentMissing where jobs of these resources can never run here, before anything of them is recorded."""

    def run(
        self, jobs: Sequence[Job], *, attempts: Mapping[str, int], stop: threading.Event, known: Mapping[str, Job] | None = None
    ) -> Iterator[Event]:
        """Executes every job once its `needs` among `jobs` are done. `attempts` counts those of each job that the store knows of; `known`
        has the jobs done before, from which an artefact that turns out damaged is built again."""


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

    def wait_for(self, upstream: Job, *, waiting: Job) -> None:
        """The artefact of `upstream` must be built again before `waiting` can run."""
        self._jobs[upstream.id] = upstream
        self._order.setdefault(upstream.id, (-upstream.spec.train_flops, -1))
        self._waiting.setdefault(upstream.id, set())
        self._waiting[waiting.id].add(upstream.id)
        dependents = self._dependents.setdefault(upstream.id, [])
        if waiting.id not in dependents:
            dependents.append(waiting.id)

    def done(self, job_id: str) -> None:
        """Frees the jobs that waited for this one only."""
        for waiting_id in self._dependents.get(job_id, ()):
            if job_id in self._waiting[waiting_id]:
                self._waiting[waiting_id].discard(job_id)
                if not self._waiting[waiting_id]:
                    self.again(self._jobs[waiting_id])

    def failed(self, job_id: str) -> list[str]:
        """The jobs that can never run now, each once."""
        lost: dict[str, None] = {}
        for waiting_id in self._dependents.get(job_id, ()):
            if job_id in self._waiting[waiting_id]:  # one that ran before what it reads was damaged is done
                lost |= {waiting_id: None} | dict.fromkeys(self.failed(waiting_id))
        return list(lost)


@dataclass(frozen=True)
class Decision:
    """What becomes of a job whose attempt has ended."""

    outcome: Outcome
    """As it is recorded: a job that is not tried again has failed."""
    again: bool = False
    pause_seconds: float = 0.0
    alone: bool = False
    """On a machine of its own."""


class Retries:
    """Whether an attempt that failed is tried again, by its cause, and when a node or a whole run is to be suspected.

    | cause | tried again |
    |---|---|
    | user, nan, timeout, pruned, interrupted | no |
    | lost | after 0.5, 1, 2, ... 60 seconds: twice, and up to ten times while each attempt gets further (keeps a new checkpoint) |
    | oom | once, alone on the machine with the most memory, and on its devices |
    | storage | as soon as the disk takes data again |
    | artefact | as soon as what it reads has been built again, twice at most |
    """

    def __init__(self) -> None:
        self._lost: Counter[str] = Counter()
        self._lost_in_vain: Counter[str] = Counter()
        self._kept: dict[str, int] = {}
        self._was_alone: set[str] = set()
        self._fast: Counter[str] = Counter()
        self._alike: tuple[Cause | None, int, str] = (None, 0, "")

    @property
    def bad_nodes(self) -> tuple[str, ...]:
        return tuple(node for node, losses in self._fast.items() if losses >= FAST_LOSSES)

    @property
    def why_pause(self) -> str | None:
        """What to tell a person once too many jobs in a row failed alike."""
        cause, number, reason = self._alike
        if number < ALIKE_FAILURES:
            return None
        return f"{number} jobs in a row failed with the cause '{cause}', the last one: {reason}"

    def decide(self, outcome: Outcome, *, kept: int = 0) -> Decision:
        """`kept`: number of the newest checkpoint of the job."""
        self._note_node(outcome)
        decision = self._decide(outcome, kept=kept)
        if decision.outcome.state == "done":
            self._alike = (None, 0, "")
        elif not decision.again and decision.outcome.cause in MALFUNCTIONS:
            cause, number, _ = self._alike
            self._alike = (outcome.cause, number + 1 if outcome.cause == cause else 1, outcome.reason)
        return decision

    def _decide(self, outcome: Outcome, *, kept: int) -> Decision:
        match outcome.cause:
            case "lost":
                return self._after_lost(outcome, kept=kept)
            case "oom" if outcome.job not in self._was_alone:
                self._was_alone.add(outcome.job)
                return Decision(replace(outcome, state="lost"), again=True, alone=True)
            case "storage" | "artefact":
                return Decision(outcome, again=True)
            case _:
                return Decision(outcome)

    def _after_lost(self, outcome: Outcome, *, kept: int) -> Decision:
        job = outcome.job
        if kept > self._kept.get(job, 0):
            self._lost_in_vain[job] = 0
        self._kept[job] = kept
        self._lost[job] += 1
        self._lost_in_vain[job] += 1
        if self._lost_in_vain[job] > MAX_LOST or self._lost[job] > MAX_LOST_IN_ALL:
            return Decision(replace(outcome, state="failed", reason=f"{self._lost[job]} times: {outcome.reason}"))
        pause = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (self._lost_in_vain[job] - 1))
        return Decision(outcome, again=True, pause_seconds=pause, alone=job in self._was_alone)

    def _note_node(self, outcome: Outcome) -> None:
        if not outcome.node:
            return
        if outcome.cause == "lost" and outcome.seconds < FAST_SECONDS:
            self._fast[outcome.node] += 1
        else:
            self._fast[outcome.node] = 0
