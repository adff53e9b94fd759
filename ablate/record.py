"""What a scheduler says becomes rows in the store: the only writer of a running study.

Curves are read from the attempts' journals while they grow, in whole lines, so that pages are live and nothing is asked of the
workers. A journal that finished unseen (the last run was killed) is absorbed at the start.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from ablate.attempt import Outcome, await_last_words, read_outcome
from ablate.continued import trials_to_choose
from ablate.deviations import register
from ablate.journal import Point, read_points
from ablate.model import Level
from ablate.planned import Job, Plan, settled_badly, unfinished
from ablate.progress import Progress, RunningJob, Tally
from ablate.schedule import TRIED_AGAIN, Event, Finished, Proposed, Skipped, Started, Tick
from ablate.stores import Store
from ablate.workspace import Workspace


@dataclass(frozen=True)
class Summary:
    """How a run of one study ended."""

    study: str
    counts: Mapping[str, int]
    executed: int
    """Jobs that ran to an end in this run."""
    seconds: float
    """Wall time of this run."""
    work: "Work | None"
    """None where nothing ran."""
    failures: tuple[tuple[str, str], ...]
    """(trial, reason)."""
    ended_by: Literal["end", "signal", "budget"]
    stale: int = 0
    """Trials that ended and are not in the study's plan any more."""
    deviations: int = 0
    """Edits since the study was first declared."""
    refused_rows: int = 0
    """Of metrics, in this run: what trainers reported and what was none."""

    @property
    def resumable(self) -> bool:
        return self.ended_by != "end"


@dataclass(frozen=True)
class Work:
    """What the slots did between the first start and the last end of some jobs."""

    slots: int
    began: float
    ended: float
    """Unix times, seconds."""
    used: float
    """Slot-seconds inside jobs."""

    @property
    def busy(self) -> float:
        """Share of the slot-seconds that lay inside jobs."""
        return self.used / (self.slots * (self.ended - self.began))

    def __add__(self, other: "Work") -> "Work":
        return Work(self.slots, min(self.began, other.began), max(self.ended, other.ended), self.used + other.used)


def missing_jobs(plan: Plan, *, store: Store, workspace: Workspace) -> tuple[Job, ...]:
    """The jobs of a plan, recorded or not, that a run has to execute."""
    states = {job: state for job, (state, _) in store.job_states(plan.jobs).items()}
    artefacts = frozenset(entry.name for entry in os.scandir(workspace.artifacts))
    return unfinished(plan, states=states, artefacts=artefacts)


class Recorder:
    """Keeps the store in step with one study's run."""

    def __init__(self, plan: Plan, *, store: Store, workspace: Workspace, axes: Mapping[str, Sequence[Level]], simulated: bool) -> None:
        self.plan = plan
        self._store, self._workspace = store, workspace
        self._axes, self._simulated = axes, simulated
        self._outcomes: list[Outcome] = []
        self._ended: set[str] = set()
        self._running: dict[str, tuple[int, float]] = {}
        self._offsets: dict[str, int] = {}
        self._newest: dict[str, Point] = {}
        self._clock = time.monotonic()
        self._record_plan()

    def absorb(self) -> None:
        """Takes over what finished unseen, and puts what was running when the last run died back in the queue."""
        known = self._store.job_states(self.plan.jobs)
        orphans = [job for job, (state, _) in known.items() if state in ("running", "lost")]
        if orphans:
            self._store.requeue(self.plan.study.name, orphans, why="its run ended before it did")
        final, folders = ("done", *settled_badly(self.plan.study)), set(os.listdir(self._workspace.runs))
        begun = [job for job, (state, _) in known.items() if state != "done" and job in folders]
        unseen = self._unseen([job for job in begun if known[job][0] not in final])
        newest = {job: self._workspace.attempt(job, self._workspace.newest_attempt(job)) for job in unseen}
        await_last_words(folder for job, folder in newest.items() if folder in unseen[job])
        for job, attempts in unseen.items():
            outcomes = [outcome for attempt in attempts if (outcome := read_outcome(attempt))]
            ended = [outcome for outcome in outcomes if outcome.state in final and outcome.cause not in TRIED_AGAIN]
            best = next((outcome for outcome in ended if outcome.state == "done"), ended[-1] if ended else None)
            for outcome in outcomes:
                if outcome != best:  # part of the job's history, and no end of it
                    self._store.finish(self.plan.study.name, outcome, final=False)
            if best:
                self._tail({job: best.attempt})
                self._store.finish(self.plan.study.name, best)
        self._clear(begun)

    def _unseen(self, jobs: Sequence[str]) -> dict[str, list[Path]]:
        """Job -> folders of its attempts whose end is not recorded, the newest last."""
        recorded = self._store.recorded_attempts(jobs)
        numbers = {job: range(1, self._workspace.newest_attempt(job) + 1) for job in jobs}
        return {job: [self._workspace.attempt(job, n) for n in some if (job, n) not in recorded] for job, some in numbers.items()}

    def _clear(self, jobs: Iterable[str]) -> None:
        """Removes what dead attempts of these jobs left half-written; not while another study's run may be writing it."""
        if any(record.active for record in self._store.studies() if record.name != self.plan.study.name):
            return
        for job in jobs:
            for left in (self._workspace.runs / job).glob("attempt-*/*.tmp-*"):
                left.unlink(missing_ok=True)
        for left in self._workspace.artifacts.glob("*.tmp-*"):
            if left.name.partition(".tmp-")[0] in self.plan.jobs:
                shutil.rmtree(left, ignore_errors=True)

    def missing(self) -> tuple[Job, ...]:
        """The jobs this run has to execute."""
        return missing_jobs(self.plan, store=self._store, workspace=self._workspace)

    def attempts(self) -> dict[str, int]:
        """Attempts each job had before, as far as the store knows."""
        return {job: number for job, (_, number) in self._store.job_states(self.plan.jobs).items()}

    def apply(self, event: Event) -> None:
        study = self.plan.study.name
        match event:
            case Proposed(trial=trial, jobs=jobs):
                self.plan = replace(self.plan, trials=(*self.plan.trials, trial), jobs={**self.plan.jobs, **jobs})
                self._record_plan()
                self._tally.add([trial], jobs=jobs, states=self._states(jobs))
            case Started(job=job, attempt=attempt):
                self._running[job] = attempt, time.monotonic()
                self._tally.put(job, "running")
                self._store.start(study, job, attempt=attempt)
            case Finished(outcome=outcome, final=final):
                self._tail({outcome.job: outcome.attempt})
                self._running.pop(outcome.job, None)
                if not (played_back := self._is_played_back(outcome)):
                    self._outcomes.append(outcome)
                if outcome.state == "done":
                    spec = self.plan.jobs[outcome.job].spec
                    self._tally.learn(spec.name, spec.train_flops, outcome.seconds)
                # an interrupted job is no failure: it is queued, and the next run goes on with it
                final = final and outcome.cause != "interrupted"
                self._tally.put(outcome.job, outcome.state if final else "queued")
                if final and outcome.started and not played_back:
                    self._ended.add(outcome.job)
                self._store.finish(study, outcome, final=final)
            case Skipped(job=job, because=because):
                self._tally.put(job, "failed")
                self._store.skip(study, job, because=because)
            case Tick():
                self._tail({job: attempt for job, (attempt, _) in self._running.items()})

    def progress(self) -> Progress:
        now, counts = time.monotonic(), self._tally.counts
        if to_choose := trials_to_choose(self.plan):
            counts["queued"] = counts.get("queued", 0) + to_choose
        running = {job: now - since for job, (_, since) in self._running.items()}
        last_stage = self.plan.jobs[self.plan.trials[-1].chain[-1]].spec.name if self.plan.trials else ""
        return Progress(
            study=self.plan.study.name,
            counts=counts,
            running=tuple(self._running_job(job, seconds) for job, seconds in running.items()),
            jobs_left=self._tally.jobs_left,
            seconds_left=self._tally.seconds_left(running, at_a_time=len(running), more=to_choose, last_stage=last_stage),
        )

    def summary(self, *, slots: int, ended_by: Literal["end", "signal", "budget"] = "end") -> Summary:
        ran = [outcome for outcome in self._outcomes if outcome.started]
        trials = self._store.trials(self.plan.study.name)
        counts = Counter(trial.state for trial in trials)
        if to_choose := trials_to_choose(self.plan):
            counts["queued"] += to_choose
        return Summary(
            study=self.plan.study.name,
            counts=counts,
            executed=len(self._ended),
            seconds=time.monotonic() - self._clock,
            work=self._work(ran, slots),
            failures=tuple((trial.id, trial.reason) for trial in trials if trial.state in ("failed", "lost")),
            ended_by=ended_by,
            stale=len(self._store.stale_trials(self.plan.study.name)),
            deviations=len(register(self._store.declarations(self.plan.study.name), ended=()).deviations),
            refused_rows=sum(outcome.details.get("refused_rows", 0) for outcome in ran),
        )

    def _record_plan(self) -> None:
        self._store.record_plan(self.plan, axes=self._axes, simulated=self._simulated)

    @cached_property
    def _tally(self) -> Tally:
        """Made after `absorb`, at the first event or look."""
        tally = Tally()
        tally.add(self.plan.trials, jobs=self.plan.jobs, states=self._states(self.plan.jobs))
        for job, seconds in self._store.durations(self.plan.jobs).items():
            spec = self.plan.jobs[job].spec
            tally.learn(spec.name, spec.train_flops, seconds)
        return tally

    def _states(self, jobs: Iterable[str]) -> dict[str, str]:
        return {job: state for job, (state, _) in self._store.job_states(jobs).items()}

    def _tail(self, attempts: Mapping[str, int]) -> None:
        """Moves the new whole lines of these attempts' journals into the store."""
        fresh: dict[tuple[str, int], list[Point]] = {}
        for job, number in attempts.items():
            path = self._workspace.attempt(job, number) / "metrics.jsonl"
            points, self._offsets[str(path)] = read_points(path, offset=self._offsets.get(str(path), 0))
            if points:
                fresh[job, number] = points
                self._newest[job] = points[-1]
        self._store.add_points(fresh)

    def _is_played_back(self, outcome: Outcome) -> bool:
        """Whether a search came upon a trial that had ended before: no work of this run."""
        return bool(self.plan.study.search) and (outcome.job, outcome.attempt) in self._store.recorded_attempts([outcome.job])

    def _running_job(self, job: str, seconds: float) -> RunningJob:
        sharing, newest = self._tally.trials_of(job), self._newest.get(job)
        return RunningJob(
            job=job,
            label=sharing[0].id if len(sharing) == 1 else f"{job} (for {len(sharing)} trials)",
            seconds=seconds,
            step=newest.step if newest else None,
            last=(newest.key, newest.value) if newest else None,
        )

    def _work(self, ran: list[Outcome], slots: int) -> Work | None:
        if not ran:
            return None
        return Work(
            slots=slots,
            began=min(outcome.started for outcome in ran),
            ended=max(outcome.started + outcome.seconds for outcome in ran),
            used=sum(outcome.seconds * self.plan.jobs[outcome.job].resources.cpus for outcome in ran),
        )
