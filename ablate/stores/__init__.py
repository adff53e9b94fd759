"""The memory of all studies: one writer (the run), any number of readers (verbs, dashboards, the MLflow mirror).

`open_store(url)` picks the implementation; the contract tests in tests/contracts/ run over every one of them.
A reader opens with `write=False` and can change nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ablate.errors import EnvironmentMissing, InputError, did_you_mean
from ablate.journal import Point
from ablate.planned import Plan
from ablate.stores.rows import Row

if TYPE_CHECKING:
    from ablate.attempt import Outcome  # an attempt knows trainers, and a reader of a store needs none

LEASE_TTL = 4.0
"""Seconds without a beat after which a lease may be taken over."""
BEAT_SECONDS = 1.0
"""How often its holder has to give a sign."""
ROWS_ADDED = "rows added"
"""Kind of the event that says that a study's rows came from elsewhere, any of them."""
TRIAL_STATES = ("queued", "running", "done", "failed", "pruned", "lost", "cached", "stale")


@dataclass(frozen=True)
class StudyRecord:
    name: str
    spec: Mapping[str, Any]
    """The study file as it was when it last ran: `Study.model_validate(spec)` gives it back."""
    axes: Mapping[str, list[Any]]
    """Axis -> its levels as results show them, the baseline first; empty where a search draws from bounds."""
    simulated: bool
    created: float
    updated: float
    """Unix time of the last change."""
    active: bool
    """Whether a run works on it: it holds the study's lease and gave a sign within `LEASE_TTL`."""


@dataclass(frozen=True)
class TrialStanding:
    """How far a trial has come."""

    study: str
    id: str
    arm: str
    seed: int
    state: str
    cause: str | None
    reason: str
    chain: tuple[str, ...]
    seconds: float | None
    """Of its own last stage."""
    started: float | None
    attempts: int


@dataclass(frozen=True)
class TrialRecord(TrialStanding):
    levels: Mapping[str, Any]
    changes: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    """Final metrics; None where the value was not finite."""
    num_params: int
    train_flops: float
    """Of all stages, shared ones included."""


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
class AttemptRecord:
    """One execution of a job, and how it ended."""

    job: str
    number: int
    state: str
    cause: str | None
    reason: str
    started: float
    seconds: float | None
    host: str
    pid: int
    details: Mapping[str, Any] | None = None
    """What it ran with and where its time went; None where that was not kept."""


@dataclass(frozen=True)
class EventRecord:
    seq: int
    time: float
    study: str
    kind: str
    subject: str
    message: str


@dataclass(frozen=True)
class Lease:
    """The right to write for one study. A later one has a higher epoch, and then this one is worth nothing."""

    study: str
    owner: str
    """What a person would recognise it by, such as the command."""
    host: str
    pid: int
    epoch: int

    @property
    def who(self) -> str:
        return f"{self.owner} (process {self.pid} on {self.host})"


@dataclass(frozen=True)
class Holder:
    """Who has a study's lease now; times are by the database's clock."""

    lease: Lease
    held_seconds: float
    silent_seconds: float
    """Since its last beat."""


class LeaseLost(EnvironmentMissing):
    """Another run has taken the study over: nothing was written, and nothing may be."""


class Store(Protocol):
    """Every method is one transaction. Terminal job states are final: a done job is never undone, only artefacts are rebuilt.

    A writer waits for a database that went away and comes back, and then repeats what was not answered, exactly once; a reader does not.
    """

    def record_plan(self, plan: Plan, *, axes: Mapping[str, Sequence[Any]], simulated: bool) -> None:
        """Makes the store know a study's trials and jobs, and keeps what it declares where that is new.

        A trial the plan no longer holds leaves the study. One that ended becomes stale, until a plan holds it again; jobs stay.
        """

    def add_event(self, study: str, kind: str) -> None:
        """Something that happened to the study as a whole."""

    def start(self, study: str, job: str, *, attempt: int) -> None: ...

    def finish(self, study: str, outcome: "Outcome", *, final: bool = True) -> None:
        """Records an attempt's end with its last metrics; a job that is not final goes back to the queue."""

    def skip(self, study: str, job: str, *, because: str) -> None: ...

    def requeue(self, study: str, jobs: Iterable[str], *, why: str) -> None:
        """Failed, lost or orphaned running jobs go back to the queue."""

    def add_points(self, points: Mapping[tuple[str, int], Sequence[Point]]) -> None:
        """Appends to curves: (job, attempt) -> points. A point that is there already stays as it is."""

    def studies(self) -> list[StudyRecord]: ...

    def study(self, name: str) -> StudyRecord | None: ...

    def trials(self, study: str, *, ids: Iterable[str] | None = None) -> list[TrialRecord]:
        """All, or those of these ids, in the order of the plan."""

    def standings(self, study: str) -> list[TrialStanding]:
        """The same trials without what they are made of and what they gave, which of a large study takes several times as long to read."""

    def stale_trials(self, study: str) -> list[StaleTrial]:
        """The last to become stale first."""

    def declarations(self, study: str) -> list[Declaration]:
        """In order of time; empty where the store is from before they were kept."""

    def jobs(self, study: str, *, state: str | None = None) -> list[JobRecord]:
        """Those of its present trials, or those of them that are in this state."""

    def identities(self, jobs: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Job -> what its id is the fingerprint of (`ablate.planned.job_identity`), for the jobs whose identity is kept."""

    def job_states(self, jobs: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Job -> (state, attempts so far), for the jobs the store knows from any study."""

    def durations(self, jobs: Iterable[str]) -> dict[str, float]:
        """Job -> seconds it took, for those that are done."""

    def seconds_used(self, jobs: Iterable[str]) -> float | None:
        """Of all attempts of these jobs, whatever became of them; where none has a known time, as of imported jobs, of the jobs themselves.
        None where nothing is known."""

    def recorded_attempts(self, jobs: Iterable[str]) -> set[tuple[str, int]]:
        """(job, number) of every attempt whose end is recorded."""

    def attempts(self, jobs: Iterable[str]) -> list[AttemptRecord]:
        """Every attempt whose end is recorded, by job and number."""

    def curve(
        self, jobs: Iterable[str], *, keys: Iterable[str] | None = None, after: int | None = None
    ) -> list[tuple[str, int, str, float | None]]:
        """(job, step, key, value) in order of step: the last attempt's points, and before its first one those of the attempt it resumed.

        `after`: a step; only what comes after it.
        """

    def newest_points(self, jobs: Iterable[str]) -> list[tuple[str, int, str, float | None]]:
        """(job, step, key, value) at the last step that each job's last attempt has reported."""

    def num_points(self, jobs: Iterable[str]) -> dict[str, int]:
        """Key -> points of all attempts of these jobs."""

    def events(self, study: str | None = None, *, after: int = 0, limit: int = 1000) -> list[EventRecord]: ...

    def rows(self, study: str) -> Iterator[Row]:
        """A whole study as it is now, in an order in which its rows can be added; nothing where it is not known."""

    def add_rows(self, rows: Callable[[], Iterable[Row]], *, study: str | None, jobs: Iterable[str]) -> None:
        """Adds rows that are not there, those that others refer to first; `rows` is asked again if the transaction has to be repeated.

        What is here of these jobs, even of one that is done, and of this study's trials, gives way to them.
        """

    def claim(self, study: str, *, owner: str, ttl: float = LEASE_TTL, wait: float = 0.0) -> Lease:
        """The study's lease, held until it is released or taken over: whoever holds it must `beat` every `BEAT_SECONDS`.

        A holder that is silent for `ttl` seconds of this process's monotonic clock is taken to be dead. One that gives a sign is alive:
        EnvironmentMissing names it, after `wait` seconds of waiting for it to end.
        """

    def beat(self, lease: Lease) -> None:
        """Says that the holder lives. Raises LeaseLost where somebody else has taken over."""

    def release(self, lease: Lease) -> None:
        """Gives the lease back; one that was lost already is left alone."""

    def holder(self, study: str) -> Holder | None: ...

    def fenced(self, lease: Lease) -> "Store":
        """The same store for the holder of this lease: each writing transaction checks it first and raises LeaseLost where it is lost."""

    def close(self) -> None: ...


def open_store(url: str, *, write: bool = False) -> Store:
    """The store at a SQLAlchemy URL. Raises EnvironmentMissing where there is none, or InputError for a URL that is not one."""
    from ablate.stores.sql import SqlStore  # planning a study that never ran needs no SQLAlchemy

    return SqlStore(url, write=write)


def find_study(store: Store, name: str) -> StudyRecord:
    """The study's record; an unknown name is an error that lists the known ones."""
    record = store.study(name)
    if record is None:
        names = [known.name for known in store.studies()]
        listed = ", ".join(names) or "none yet"
        raise InputError(f"no study '{name}' in the store (there: {listed}){did_you_mean(name, names)}; `ablate run` records one")
    return record
