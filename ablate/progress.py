"""Where a running study stands, in memory: kept up with each change of a job, since asking a store of ten thousand trials twice a second
would take all the time there is."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ablate.planned import Job, Trial, trial_state

LEFT = ("queued", "running")


@dataclass(frozen=True)
class RunningJob:
    job: str
    label: str
    """The trial it belongs to, or how many share it."""
    seconds: float
    step: int | None
    last: tuple[str, float | None] | None
    """Newest point: metric and value."""


@dataclass(frozen=True)
class Progress:
    """Where a study stands now; what a screen shows."""

    study: str
    counts: Mapping[str, int]
    """Trial state -> how many."""
    running: tuple[RunningJob, ...]
    jobs_left: int
    seconds_left: float | None
    """None until a job of each kind still to run has finished once."""


class Tally:
    """Counts trials by state and jobs that are left by kind, and remembers what jobs of each kind took."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._states: dict[str, str] = {}
        self._users: dict[str, list[Trial]] = {}
        self._of_trials: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._left: Counter[tuple[str, float]] = Counter()
        self._took: dict[tuple[str, float | None], tuple[int, float]] = {}

    @property
    def counts(self) -> dict[str, int]:
        """Trial state -> how many."""
        return dict(+self._counts)

    @property
    def jobs_left(self) -> int:
        return self._left.total()

    def add(self, trials: Iterable[Trial], *, jobs: Mapping[str, Job], states: Mapping[str, str]) -> None:
        """Trials with their jobs, and the states of these."""
        for name in jobs.keys() - self._jobs.keys():
            self._jobs[name] = jobs[name]
            self._states[name] = states[name]
            if states[name] in LEFT:
                self._left[_kind(jobs[name])] += 1
        for trial in trials:
            for job in trial.chain:
                self._users.setdefault(job, []).append(trial)
            self._count(trial)

    def put(self, job: str, state: str) -> None:
        """The job is in this state now."""
        kind = _kind(self._jobs[job])
        self._left[kind] += (state in LEFT) - (self._states[job] in LEFT)
        if not self._left[kind]:
            del self._left[kind]
        self._states[job] = state
        for trial in self.trials_of(job):
            self._count(trial)

    def learn(self, stage: str, flops: float, seconds: float) -> None:
        """A job of this stage and size took so long."""
        for kind in ((stage, flops), (stage, None)):
            number, total = self._took.get(kind, (0, 0.0))
            self._took[kind] = number + 1, total + seconds

    def trials_of(self, job: str) -> list[Trial]:
        return self._users.get(job, [])

    def seconds_left(self, running: Mapping[str, float], *, at_a_time: int, more: int = 0, last_stage: str = "") -> float | None:
        """Mean time of finished jobs of the same stage and size, or at least of the same stage, over what is left.

        `running`: job -> seconds since its start; `more`: trials that a search has still to choose, which end with `last_stage`.
        """
        total = 0.0
        for (stage, flops), number in self._left.items():
            if (mean := self._mean(stage, flops)) is None:
                return None
            total += number * mean
        if more:
            if (mean := self._mean(last_stage, None)) is None:
                return None
            total += more * mean
        for job, seconds in running.items():
            total -= min(seconds, self._mean(*_kind(self._jobs[job])) or 0.0)
        return total / max(1, at_a_time)

    def _mean(self, stage: str, flops: float | None) -> float | None:
        number, total = self._took.get((stage, flops)) or self._took.get((stage, None), (0, 0.0))
        return total / number if number else None

    def _count(self, trial: Trial) -> None:
        before, now = self._of_trials.get(trial.id), trial_state([self._states[job] for job in trial.chain])
        self._of_trials[trial.id] = now
        self._counts[now] += 1
        if before is not None:
            self._counts[before] -= 1


def _kind(job: Job) -> tuple[str, float]:
    return job.spec.name, job.spec.train_flops
