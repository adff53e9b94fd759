"""`design: search` on Ray Tune: Optuna suggests arms, ASHA ends those that are behind, `attempt.execute` runs them as everywhere.

A Tune run is disposable. Its state is never read back: what it did is in the attempts' journals and the store, and when it ends, for
whatever reason, a new one is started over the trials that are missing, a bounded number of times.
"""

import fcntl
import math
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from ablate.artefacts import damage, set_aside
from ablate.attempt import AttemptContext, Outcome, lost, read_outcome, read_points
from ablate.design import arm_for
from ablate.errors import EnvironmentMissing
from ablate.planner import Job, Plan, make_plan, wanted_trials
from ablate.schedule import TICK_SECONDS, Event, Finished, Proposed, Started, Tick
from ablate.schedule.course import refuse_full_disk
from ablate.schedule.placement import bundle, refuse_unplaceable
from ablate.schedule.ray_tasks import RayTasks
from ablate.schedule.worker import execute_watched
from ablate.search import distributions, goals, make_memory, past_points, told
from ablate.stores import TrialRecord
from ablate.study import Study
from ablate.workspace import Workspace

MAX_IDLE = 3
"""Tune runs in a row that may end without a new trial before the search gives up."""
REDUCTION = 3
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
}

# Tune pickles its callbacks, and a queue does not pickle: they hold a name and find the rest here, in the driver's process
_driving: dict[str, "RayTune"] = {}


class RayTune:
    """Scheduler of one adaptive study over a Ray that `start_ray` started."""

    def __init__(self, workspace: Workspace, *, study: Study, past: Sequence[TrialRecord], slots: int) -> None:
        assert study.search
        self.slots = slots
        self._workspace, self._study = workspace, study
        self._known = {trial.chain[-1] for trial in past}
        self._told = past_points(study, past)
        self._total = wanted_trials(study)
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._plans: dict[str, Plan] = {}
        self._recorded: set[str] = set()
        self._since: dict[str, float] = {}
        self._trouble = "no error"
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
        while len(self._known) < self._total and not stop.is_set():
            before = len(self._known)
            yield from self._engine()
            idle = 0 if len(self._known) > before else idle + 1
            if idle == MAX_IDLE:
                missing = self._total - len(self._known)
                raise EnvironmentMissing(f"Ray Tune ended {idle} times without a new trial, {missing} are missing ({self._trouble})")

    def _engine(self) -> Iterator[Event]:
        """One Tune run in a thread of its own, because `fit()` blocks and swallows Ctrl-C."""
        _driving[self._study.name] = self
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
        del _driving[self._study.name]

    def _fit(self) -> None:
        os.environ.update(QUIET)
        folder = tempfile.mkdtemp(prefix="tune-", dir=self._workspace.folder)
        try:
            self._tuner(folder).fit()
        except Exception as error:
            # finding 1 of the design's reliability notes: any exception out of fit() means the engine died, not the study
            self._trouble = f"{type(error).__name__}: {error}"
            self._end_all(f"Ray Tune ended: {self._trouble}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._end_all("stopped before it was finished")
            self._events.put(None)

    def _tuner(self, folder: str) -> tune.Tuner:
        study, memory, wanted = self._study, make_memory(self._study, self._told), goals(self._study)
        one = len(wanted) == 1
        algorithm = _Search(
            space=distributions(study),
            metric=study.metric.name if one else list(wanted),
            mode=study.metric.goal if one else list(wanted.values()),
            sampler=memory.study.sampler,
            storage=memory.storage,
            study_name=memory.study.study_name,
        )
        trainable = tune.with_parameters(_run_trial, study=study.model_dump(mode="json", by_alias=True), workspace=self._workspace)
        resources = tune.PlacementGroupFactory([bundle(study.resources)] * study.resources.nodes, strategy="STRICT_SPREAD")
        return tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=tune.TuneConfig(
                search_alg=algorithm,
                scheduler=_early_stopping(study),
                num_samples=self._total - len(self._known),
                max_concurrent_trials=self.slots,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=study.name,
                storage_path=folder,
                verbose=0,
                callbacks=[_Reporter(study.name)],
                stop=_StopWithRun(study.name),
            ),
        )

    def started(self, name: str, config: Mapping[str, Any]) -> None:
        """A suggestion becomes a trial, unless it is one the study has: its result is then known, and Tune is told that."""
        plan = make_plan(self._study, [arm_for(self._study, config)])
        final = plan.trials[0].chain[-1]
        if final not in self._known:
            self._known.add(final)
            self._plans[name] = plan
            self._since[final] = time.time()
            self._events.put(Proposed(plan.trials[0], plan.jobs))
            self._events.put(Started(final, 1))

    def ended(self, name: str, *, failure: str | None = None) -> None:
        """Records the trial as its journal tells it; without a whole journal it was ended early: by ASHA, or by a dying worker."""
        plan = self._plans.pop(name, None)
        if plan is None:
            return
        *upstream, final = plan.trials[0].chain
        for job in upstream:
            outcome = read_outcome(self._workspace.attempt(job, 1))
            if outcome and job not in self._recorded:
                self._recorded.add(job)
                self._events.put(Finished(outcome))
        outcome = read_outcome(self._workspace.attempt(final, 1)) or self._unfinished(final, failure)
        metrics = {point.key: point.value for point in outcome.metrics}
        if outcome.state == "done" and (known := told(self._study, levels=plan.trials[0].levels, metrics=metrics)):
            self._told.append(known)  # for the next Tune run, should this one end early
        self._events.put(Finished(outcome))

    def _unfinished(self, job: str, failure: str | None) -> Outcome:
        shutil.rmtree(self._workspace.artifacts / f"{job}.tmp-1", ignore_errors=True)
        if failure is not None:
            return lost(job, attempt=1, cause="interrupted" if self.stop.is_set() else "lost", reason=failure)
        points, _ = read_points(self._workspace.attempt(job, 1) / "metrics.jsonl")
        last = {point.key: point for point in points}
        step = max((point.step for point in points), default=0)
        if self.stop.is_set():
            return lost(job, attempt=1, cause="interrupted", reason="stopped before it was finished")
        return Outcome(
            job=job,
            attempt=1,
            state="pruned",
            cause="pruned",
            reason=f"ended by ASHA at step {step}",
            metrics=tuple(last.values()),
            started=self._since[job],
            seconds=time.time() - self._since[job],
        )

    def _end_all(self, why: str) -> None:
        for name in list(self._plans):
            self.ended(name, failure=why)


class _Search(OptunaSearch):
    """Tells Optuna of a trial only if it has every metric; Ray's own would tell half of them, and Optuna would complain."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        names = self.metric if isinstance(self.metric, list) else [self.metric]
        values = [(result or {}).get(name) for name in names]
        if any(value is None or math.isnan(value) for value in values):
            result, error = None, True
        super().on_trial_complete(trial_id, result=result, error=error)


class _EndedByTune(BaseException):
    """No failure of the trainer, which must not catch it, and no exit of its own."""


class _TuneContext(AttemptContext):
    """Reports what the search looks at to Tune as well, which may end the trial there."""

    wanted: tuple[str, ...]

    def report(self, step: int, **metrics: float) -> None:
        super().report(step, **metrics)
        if any(name in metrics for name in self.wanted):
            last = self.journal.last
            # all of them each time: Tune keeps the last report only, and they may come at different steps
            values = {name: last[name].value for name in self.wanted if name in last}
            try:
                tune.report({name: math.nan if value is None else value for name, value in values.items()} | {"step": step})
            except SystemExit as end:
                raise _EndedByTune from end


class _Reporter(Callback):
    def __init__(self, study: str) -> None:
        self._study = study

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        _driving[self._study].started(trial.trial_id, trial.config)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        _driving[self._study].ended(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        _driving[self._study].ended(trial.trial_id, failure="its worker process died")


class _StopWithRun(Stopper):
    def __init__(self, study: str) -> None:
        self._study = study

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self.stop_all()

    def stop_all(self) -> bool:
        return self._study in _driving and _driving[self._study].stop.is_set()


def _run_trial(config: dict[str, Any], *, study: dict[str, Any], workspace: Workspace) -> None:
    """On a Tune actor: the stages this trial needs that nobody has run yet, then its own."""
    declared = Study.model_validate(study)
    plan = make_plan(declared, [arm_for(declared, config)])
    *upstream, final = (plan.jobs[job] for job in plan.trials[0].chain)
    for job in upstream:
        with _one_at_a_time(workspace, job):
            if damage(workspace.artifacts / job.id) is not None:
                set_aside(workspace.artifacts / job.id)
                _or_raise(execute_watched(job, workspace=workspace, number=1))
    known = read_outcome(workspace.attempt(final.id, 1))
    if known:
        _or_raise(known)
        tune.report({point.key: point.value for point in known.metrics if point.value is not None} | {"step": 0})
        return
    context: type[AttemptContext] = type("TuneContext", (_TuneContext,), {"wanted": tuple(goals(declared))})
    _or_raise(execute_watched(final, workspace=workspace, number=1, context_type=context))


@contextmanager
def _one_at_a_time(workspace: Workspace, job: Job) -> Iterator[None]:
    """Trials that share a stage start together: the first builds it, the others wait for it."""
    (workspace.runs / job.id).mkdir(exist_ok=True)
    with open(workspace.runs / job.id / "building.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _or_raise(outcome: Outcome) -> None:
    if outcome.state != "done":
        raise RuntimeError(outcome.reason)


def _early_stopping(study: Study) -> TrialScheduler:
    assert study.search
    if study.search.stop_early == "none" or study.search.max_steps is None:
        return FIFOScheduler()
    most = study.search.max_steps
    return ASHAScheduler(
        time_attr="step",
        metric=study.metric.name,
        mode=study.metric.goal,
        max_t=most + 1,  # a trial that reports its last step has ended by itself
        grace_period=max(1, most // REDUCTION),
        reduction_factor=REDUCTION,
    )
