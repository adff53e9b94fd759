"""`design: search` on Ray Tune: arms are suggested while running, Tune's schedulers end those that are behind.

A Tune run is disposable. Its state is never read back: what it did is in the attempts' journals and the store, and when it ends, for
whatever reason, what it lost runs again and a new one is started over the trials that are missing, a bounded number of times.
"""

import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import BasicVariantGenerator

from ablate.artefacts import damage
from ablate.attempt import Outcome, lost, read_outcome, write_outcome
from ablate.continued import FROM, Donor
from ablate.design import search_space
from ablate.errors import EnvironmentMissing
from ablate.journal import read_points
from ablate.planner import Job, Plan, Trial, wanted_trials
from ablate.schedule import TICK_SECONDS, Event, Finished, Notice, Proposed, Started, Tick
from ablate.schedule.course import refuse_full_disk
from ablate.schedule.early_stopping import FIRST_BRACKET, NAMES, Seen, domains, make_scheduler, why_ended
from ablate.schedule.placement import bundle, refuse_unplaceable
from ablate.schedule.ray_tasks import LAST_WORD_SECONDS, RayTasks
from ablate.schedule.tune_actor import run_trial, trial_plan
from ablate.schedule.tune_hooks import Reporter, StopWithRun, Suggestions, driving
from ablate.search import distributions, goals, make_memory, past_points, population, told
from ablate.stores import TrialRecord
from ablate.study import Study
from ablate.workspace import Workspace

MAX_IDLE = 3
"""Tune runs in a row that may end without a new trial before the search gives up."""
PAUSING = ("hyperband", "pbt")
"""They take trials out of their slots and put them back, so Tune must not count those that wait among the running."""
STALL_SECONDS = 5.0
"""PBT's trials wait for each other, and go on waiting for one that has failed: after so long its Tune run is ended."""
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
}


@dataclass
class _Flight:
    """A trial that Tune has."""

    plan: Plan
    attempt: int
    since: float = field(default_factory=time.time)
    waits: bool = False
    """Tune has paused it."""

    @property
    def trial(self) -> Trial:
        return self.plan.trials[0]

    @property
    def job(self) -> str:
        return self.trial.chain[-1]


class RayTune:
    """Scheduler of one adaptive study over a Ray that `start_ray` started."""

    def __init__(self, workspace: Workspace, *, study: Study, past: Sequence[TrialRecord], slots: int) -> None:
        assert study.search
        self.slots = slots
        self._workspace, self._study, self._rule = workspace, study, study.search.stop_early
        self._known = {trial.chain[-1] for trial in past}
        self._told = past_points(study, past)
        self._missing = wanted_trials(study) - sum(FROM not in trial.changes for trial in past)
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._flights: dict[str, _Flight] = {}
        self._seen: dict[str, list[Seen]] = {}
        self._recorded: set[str] = set()
        self._lost: list[Plan] = []
        self._trouble = "no error"
        self._stalled_since: float | None = None
        self.stop = threading.Event()

    def run(
        self, jobs: Sequence[Job], *, attempts: Mapping[str, int], stop: threading.Event, known: Mapping[str, Job] | None = None
    ) -> Iterator[Event]:
        """First what an earlier run left unfinished, as tasks; then as many new trials as the study still wants."""
        self.stop = stop
        refuse_unplaceable([self._study.resources])
        refuse_full_disk(self._workspace)
        if jobs:
            yield from RayTasks(self._workspace, slots=self.slots).run(jobs, attempts=attempts, stop=stop, known=known)
        idle = 0
        while self._missing > 0 and not stop.is_set():
            before = self._missing
            yield from self._engine()
            yield from self._repeat_lost()
            idle = 0 if self._missing < before else idle + 1
            if idle == MAX_IDLE:
                raise EnvironmentMissing(f"Ray Tune ended {idle} times without a new trial, {self._missing} are missing ({self._trouble})")

    def _engine(self) -> Iterator[Event]:
        """One Tune run in a thread of its own, because `fit()` blocks and swallows Ctrl-C."""
        driving[self._study.name] = self
        thread = threading.Thread(target=self._fit, name="ray-tune", daemon=True)
        thread.start()
        while True:
            try:
                event = self._events.get(timeout=TICK_SECONDS)
            except queue.Empty:
                yield Tick()
                continue
            if event is None:
                break
            yield event
        thread.join()
        del driving[self._study.name]

    def _fit(self) -> None:
        pending = str(max(self.slots, FIRST_BRACKET)) if self._rule == "hyperband" else "auto"
        os.environ.update(QUIET | {"TUNE_MAX_PENDING_TRIALS_PG": pending})
        folder = tempfile.mkdtemp(prefix="tune-", dir=self._workspace.folder)
        try:
            self._tuner(folder).fit()
        except Exception as error:
            # whatever comes out of fit(), such as an OutOfMemoryError that Tune does not know, means that Tune has ended, not the study
            self._trouble = f"{type(error).__name__}: {error}"
            self._events.put(Notice(f"Ray Tune ended ({self._trouble}); going on with what is missing"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            for name in list(self._flights):
                self.ended(name, failure="Ray Tune ended before it did")
            self._seen.clear()
            self._events.put(None)

    def _repeat_lost(self) -> Iterator[Event]:
        """What died with its worker, or with Tune, runs again as tasks, whose causes decide how often."""
        plans, self._lost = {plan.trials[0].chain[-1]: plan for plan in self._lost}, []
        jobs = {name: job for plan in plans.values() for name, job in plan.jobs.items() if name in plans or self._lacks(name)}
        if not jobs or self.stop.is_set():
            return
        attempts = {name: self._workspace.newest_attempt(name) for name in jobs}
        known = {name: job for plan in plans.values() for name, job in plan.jobs.items()}
        tasks = RayTasks(self._workspace, slots=self.slots)
        for event in tasks.run(list(jobs.values()), attempts=attempts, stop=self.stop, known=known):
            yield event
            if isinstance(event, Finished) and event.outcome.job in plans:
                self._learn(plans[event.outcome.job].trials[0], event.outcome)

    def _tuner(self, folder: str) -> tune.Tuner:
        study = self._study
        trainable = tune.with_parameters(run_trial, study=study.model_dump(mode="json", by_alias=True), workspace=self._workspace)
        resources = tune.PlacementGroupFactory([bundle(study.resources)] * study.resources.nodes, strategy="STRICT_SPREAD")
        breeding = self._rule == "pbt"
        return tune.Tuner(
            tune.with_resources(trainable, resources),
            param_space=domains(search_space(study)) if breeding else {},
            tune_config=tune.TuneConfig(
                search_alg=self._first_ones() if breeding else self._suggestions(),
                scheduler=make_scheduler(study),
                num_samples=self._missing,
                max_concurrent_trials=None if self._rule in PAUSING else self.slots,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=study.name,
                storage_path=folder,
                verbose=0,
                callbacks=[Reporter(study.name)],
                stop=StopWithRun(study.name),
            ),
        )

    def _suggestions(self) -> Suggestions:
        study, memory, wanted = self._study, make_memory(self._study, self._told), goals(self._study)
        one = len(wanted) == 1
        return Suggestions(
            distributions(study),
            metric=study.metric.name if one else list(wanted),
            mode=study.metric.goal if one else list(wanted.values()),
            sampler=memory.study.sampler,
            storage=memory.storage,
            study_name=memory.study.study_name,
        )

    def _first_ones(self) -> BasicVariantGenerator:
        """PBT takes no searcher: the sampler draws the population it begins with."""
        return BasicVariantGenerator(points_to_evaluate=population(self._study, self._told, size=self._missing))

    def started(self, name: str, config: Mapping[str, Any], donor: Donor | None) -> None:
        """A suggestion becomes a trial, unless it is one the study has; one that Tune had paused goes on, or gives way to a copy."""
        plan, flight = trial_plan(self._study, config, donor=donor), self._flights.get(name)
        job = plan.trials[0].chain[-1]
        if flight and flight.job != job:
            self._exploited(name, plan.trials[0], donor)
        elif job in self._known and not flight:
            return
        newest = self._workspace.newest_attempt(job)
        seen = read_outcome(self._workspace.attempt(job, newest))
        self._flights[name] = _Flight(plan, newest if seen and seen.state == "done" else newest + 1)
        if job not in self._known:
            self._known.add(job)
            self._missing -= donor is None
            self._events.put(Proposed(plan.trials[0], plan.jobs))
        self._events.put(Started(job, self._flights[name].attempt))

    def reported(self, name: str, result: Mapping[str, Any]) -> None:
        metric = self._study.metric.name
        if metric in result and "step" in result:
            self._seen.setdefault(name, []).append(Seen(result["step"], result[metric]))

    def looked(self, trials: Sequence[Any]) -> None:
        """After each of Tune's steps: notes what has been paused, and sees whether it waits for nobody."""
        waiting = [trial for trial in trials if trial.status == trial.PAUSED]
        for trial in waiting:
            flight = self._flights.get(trial.trial_id)
            if flight and not flight.waits:
                flight.waits = True
                reason = f"paused by {NAMES[self._rule]} at step {self._last_step(flight)}"
                paused = lost(flight.job, attempt=flight.attempt, cause="interrupted", reason=reason)
                self._events.put(Finished(paused, final=False))
        stalled = bool(waiting) and all(trial.is_finished() or trial in waiting for trial in trials)
        self._stalled_since = (self._stalled_since or time.monotonic()) if stalled else None
        if self._stalled_since and time.monotonic() > self._stalled_since + STALL_SECONDS:
            raise RuntimeError("every trial that is left waits for one that has failed")

    def ended(self, name: str, *, failure: str | None = None) -> None:
        """Records the trial as its journal tells it; without a whole journal it was ended early: by Tune, or by a dying worker."""
        flight = self._flights.pop(name, None)
        if flight is None:
            return
        upstream = [self._upstream(job) for job in flight.trial.chain[:-1]]
        if failed := [outcome for outcome in upstream if outcome and outcome.state == "failed"]:
            reason = f"not run: {failed[0].job}, which it needs, failed"
            self._events.put(Finished(lost(flight.job, attempt=flight.attempt, cause="user", reason=reason)))
            return
        outcome = self._outcome(name, flight, failure=failure)
        again = outcome.state == "lost" and outcome.cause != "interrupted"
        if again:
            self._lost.append(flight.plan)
        self._learn(flight.trial, outcome)
        self._events.put(Finished(outcome, final=not again))

    def _outcome(self, name: str, flight: _Flight, *, failure: str | None) -> Outcome:
        folder = self._workspace.attempt(flight.job, flight.attempt)
        if failure is not None and not flight.waits and not self.stop.is_set():
            _await_last_word(folder)
        outcome = read_outcome(folder)
        if outcome:
            return outcome
        shutil.rmtree(self._workspace.artifacts / f"{flight.job}.tmp-{flight.attempt}", ignore_errors=True)
        if self.stop.is_set():
            return lost(flight.job, attempt=flight.attempt, cause="interrupted", reason="stopped before it was finished")
        if failure is not None:
            return lost(flight.job, attempt=flight.attempt, cause="lost", reason=failure)
        return self._pruned(flight, why_ended(self._study, self._seen, trial=name, step=self._last_step(flight)))

    def _exploited(self, name: str, heir: Trial, donor: Donor | None) -> None:
        """The trial ends here; what goes on in its place, from another one's weights, is a new one."""
        flight = self._flights.pop(name)
        assert donor
        for job in flight.trial.chain[:-1]:
            self._upstream(job)
        why = why_ended(self._study, self._seen, trial=name, step=self._last_step(flight))
        source = f"goes on as {heir.id} from the weights of {donor.trial} at step {donor.step}"
        self._events.put(Finished(self._pruned(flight, f"{why}; {source}")))
        self._seen.pop(name, None)

    def _pruned(self, flight: _Flight, reason: str) -> Outcome:
        last = {point.key: point for point in read_points(self._journal(flight))[0]}
        outcome = Outcome(
            job=flight.job,
            attempt=flight.attempt,
            state="pruned",
            cause="pruned",
            reason=reason,
            metrics=tuple(last.values()),
            started=flight.since,
            seconds=time.time() - flight.since,
        )
        write_outcome(self._journal(flight).parent, outcome)  # its worker could not: Tune has ended it
        return outcome

    def _upstream(self, job: str) -> Outcome | None:
        """How a stage before the last one ended, which is recorded once."""
        outcome = read_outcome(self._workspace.attempt(job, self._workspace.newest_attempt(job)))
        if outcome and job not in self._recorded:
            self._recorded.add(job)
            self._events.put(Finished(outcome))
        return outcome

    def _learn(self, trial: Trial, outcome: Outcome) -> None:
        """For the next Tune run, should this one end early."""
        metrics = {point.key: point.value for point in outcome.metrics}
        known = told(self._study, levels=trial.levels, metrics=metrics) if outcome.state == "done" and FROM not in trial.changes else None
        if known:
            self._told.append(known)

    def _last_step(self, flight: _Flight) -> int:
        return max((point.step for point in read_points(self._journal(flight))[0]), default=0)

    def _journal(self, flight: _Flight) -> Path:
        return self._workspace.attempt(flight.job, flight.attempt) / "metrics.jsonl"

    def _lacks(self, job: str) -> bool:
        return damage(self._workspace.artifacts / job) is not None


def _await_last_word(folder: Path) -> None:
    """The guardian of a dead worker cleans up and then says how the attempt ended."""
    deadline, pause = time.monotonic() + LAST_WORD_SECONDS, threading.Event()
    while (folder / "pid").exists() and not (folder / "done.json").exists() and time.monotonic() < deadline:
        pause.wait(0.05)
