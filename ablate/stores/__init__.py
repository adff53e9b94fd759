"""The memory of all studies: one writer (the run), any number of readers (verbs, dashboards, the MLflow mirror).

`open_store(url)` picks the implementation; the contract tests in tests/contracts/ run over every one of them.
A reader opens with `write=False` and can change nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ablate.attempt import Outcome, Point
from ablate.planner import Plan

TRIAL_STATES = ("queued", "running", "done", "failed", "pruned", "lost", "cached", "stale")


@dataclass(frozen=True)
class StudyRecord:
    name: str
    spec: Mapping[str, Any]
    """The study file as it was when it last ran: `Study.model_validate(spec)` gives it back."""
    axes: Mapping[str, list[Any]]
    """Axis -> its levels as results show them, the baseline first; empty where a search draws from bounds."""
    simulated: bool
    active: bool
    """Whether a run says it is working on it; False after any orderly end."""
    created: float
    updated: float
    """Unix time of the last change."""


@dataclass(frozen=True)
class TrialRecord:
    study: str
    id: str
    arm: str
    seed: int
    state: str
    cause: str | None
    reason: str
    levels: Mapping[str, Any]
    changes: Mapping[str, Any]
    config: Mapping[str, Any]
    chain: tuple[str, ...]
    metrics: Mapping[str, float | None]
    """Final metrics; None where the value was not finite."""
    num_params: int
    train_flops: float
    """Of all stages, shared ones included."""
    seconds: float | None
    """Of its own last stage."""
    started: float | None
    attempts: int


@dataclass(frozen=True)
class StaleTrial:
    """A trial that ended and that its study's plan does not hold any more. It enters no result."""

    trial: TrialRecord
    since: float
    """Unix time of the plan that left it out."""


@dataclass(frozen=True)
class Declaration:
    """What a study said when it was run; the first one is its pre-registration."""

    time: float
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class JobRecord:
    id: str
    stage: str
    state: str
    seconds: float | None
    train_flops: float
    attempts: int
    reason: str


@dataclass(frozen=True)
class EventRecord:
    seq: int
    time: float
    study: str
    kind: str
    subject: str
    message: str


class Store(Protocol):
    """Every method is one transaction. Terminal job states are final: a done job is never undone, only artefacts are rebuilt."""

    def record_plan(self, plan: Plan, *, axes: Mapping[str, Sequence[Any]], simulated: bool) -> None:
        """Makes the store know a study's trials and jobs, and keeps what it declares where that is new.

        A trial the plan no longer holds leaves the study. One that ended becomes stale, until a plan holds it again; jobs stay.
        """

    def set_active(self, study: str, active: bool) -> None: ...

    def start(self, study: str, job: str, *, attempt: int) -> None: ...

    def finish(self, study: str, outcome: Outcome, *, final: bool = True) -> None:
        """Records an attempt's end with its last metrics; a job that is not final goes back to the queue."""

    def skip(self, study: str, job: str, *, because: str) -> None: ...

    def requeue(self, study: str, jobs: Iterable[str], *, why: str) -> None:
        """Failed, lost or orphaned running jobs go back to the queue."""

    def add_points(self, points: Mapping[tuple[str, int], Sequence[Point]]) -> None:
        """Appends to curves: (job, attempt) -> points. A point that is there already stays as it is."""

    def studies(self) -> list[StudyRecord]: ...

    def study(self, name: str) -> StudyRecord | None: ...

    def trials(self, study: str) -> list[TrialRecord]: ...

    def stale_trials(self, study: str) -> list[StaleTrial]:
        """The last to become stale first."""

    def declarations(self, study: str) -> list[Declaration]:
        """In order of time; empty where the store is from before they were kept."""

    def jobs(self, study: str) -> list[JobRecord]: ...

    def identities(self, jobs: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Job -> what its id is the fingerprint of (`ablate.planner.job_identity`), for the jobs whose identity is kept."""

    def job_states(self, jobs: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Job -> (state, attempts so far), for the jobs the store knows from any study."""

    def recorded_attempts(self, jobs: Iterable[str]) -> set[tuple[str, int]]:
        """(job, number) of every attempt whose end is recorded."""

    def curve(self, jobs: Iterable[str], *, keys: Iterable[str] | None = None) -> list[tuple[str, int, str, float | None]]:
        """(job, step, key, value) in order of step: the last attempt's points, and before its first one those of the attempt it resumed."""

    def events(self, study: str | None = None, *, after: int = 0, limit: int = 1000) -> list[EventRecord]: ...

    def close(self) -> None: ...


def open_store(url: str, *, write: bool = False) -> Store:
    """The store at a SQLAlchemy URL. Raises EnvironmentMissing where there is none, or InputError for a URL that is not one."""
    from ablate.stores.sql import SqlStore  # planning a study that never ran needs no SQLAlchemy

    return SqlStore(url, write=write)
