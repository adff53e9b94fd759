"""`design: search` on Ray Tune: arms are suggested while running, Tune's schedulers end those that are behind.

A Tune run is disposable. Its state is never read back: what it did is in the attempts' journals and the store, and when it ends, for
whatever reason, what it lost runs again and a new one is started over the trials that are missing, a bounded number of times.
"""

import os
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from ray import tune
from ray.tune.search import BasicVariantGenerator

from ablate.artefacts import damage
from ablate.attempt import Origin
from ablate.design import search_space
from ablate.errors import EnvironmentMissing
from ablate.planned import Job
from ablate.schedule import TICK_SECONDS, Event, Finished, Notice, Tick
from ablate.schedule.early_stopping import FIRST_BRACKET, domains, make_scheduler
from ablate.schedule.placement import bundle
from ablate.schedule.ray_tasks import RayTasks
from ablate.schedule.tune_actor import run_trial
from ablate.schedule.tune_hooks import Reporter, StopWithRun, Suggestions, driving
from ablate.schedule.tune_trials import TuneTrials
from ablate.search import distributions, goals, listed_levels, make_memory, population
from ablate.stores import TrialRecord
from ablate.study import Resources, Study
from ablate.workspace import Workspace

MAX_IDLE = 3
"""Tune runs in a row that may end without a new trial before the search gives up."""
PAUSING = ("hyperband", "pbt")
"""They take trials out of their slots and put them back, so Tune must not count those that wait among the running."""
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
}


class RayTune:
    """Scheduler of one adaptive study over a Ray that `start_ray` started."""

    def __init__(self, workspace: Workspace, *, study: Study, past: Sequence[TrialRecord], slots: int) -> None:
        assert study.search
        self.slots = slots
        self._workspace, self._study, self._rule = workspace, study, study.search.stop_early
        self._past = {trial.chain[-1]: trial for trial in past}
        self._trials = TuneTrials(workspace, study=study, past=past)
        self._trouble = "no error"

    def preflight(self, resources: Resources) -> None:
        RayTasks(self._workspace, slots=self.slots).preflight(resources)

    def run(
        self, jobs: Sequence[Job], *, attempts: Mapping[str, int], stop: threading.Event, known: Mapping[str, Job] | None = None
    ) -> Iterator[Event]:
        """First what an earlier run left unfinished, as tasks; then as many new trials as the study still wants."""
        self._trials.stop = stop
        if jobs:
            for event in RayTasks(self._workspace, slots=self.slots).run(jobs, attempts=attempts, stop=stop, known=known):
                yield event
                if isinstance(event, Finished) and event.outcome.job in self._past:
                    self._trials.learn(self._past[event.outcome.job], event.outcome)
        idle = 0
        while self._trials.missing > 0 and not stop.is_set():
            before = self._trials.missing
            yield from self._engine()
            yield from self._repeat_lost()
            idle = 0 if self._trials.missing < before else idle + 1
            if idle == MAX_IDLE:
                raise EnvironmentMissing(
                    f"Ray Tune ended {idle} times without a new trial, {self._trials.missing} are missing ({self._trouble})"
                )

    def _engine(self) -> Iterator[Event]:
        """One Tune run in a thread of its own, because `fit()` blocks and swallows Ctrl-C."""
        driving[self._study.name] = self._trials
        thread = threading.Thread(target=self._fit, name="ray-tune", daemon=True)
        thread.start()
        ticked = time.monotonic()
        try:
            while True:
                try:
                    event: Event | None = self._trials.events.get(timeout=TICK_SECONDS)
                except queue.Empty:
                    event = Tick()
                if event is None:
                    break
                yield event
                if time.monotonic() - ticked >= TICK_SECONDS:  # by the clock: a fast search leaves no pause between its events
                    ticked = time.monotonic()
                    yield Tick()
        except BaseException:  # the run is over, whatever ended it: nothing is to be suggested any more
            self._trials.stop.set()
            raise
        thread.join()

    def _fit(self) -> None:
        pending = str(max(self.slots, FIRST_BRACKET)) if self._rule == "hyperband" else "auto"
        os.environ.update(QUIET | {"TUNE_MAX_PENDING_TRIALS_PG": pending})
        folder = tempfile.mkdtemp(prefix="tune-", dir=self._workspace.folder)
        try:
            self._tuner(folder).fit()
        except Exception as error:
            # whatever comes out of fit(), such as an OutOfMemoryError that Tune does not know, means that Tune has ended, not the study
            self._trouble = f"{type(error).__name__}: {error}"
            self._trials.events.put(Notice(f"Ray Tune ended ({self._trouble}); going on with what is missing"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if driving.get(self._study.name) is self._trials:  # and not of a run that came after one that was given up
                del driving[self._study.name]
            self._trials.end_all(failure="Ray Tune ended before it did")

    def _repeat_lost(self) -> Iterator[Event]:
        """What died with its worker, or with Tune, runs again as tasks, whose causes decide how often."""
        lost, self._trials.lost = {plan.trials[0].chain[-1]: (plan, number) for plan, number in self._trials.lost}, []
        plans, attempts = {job: plan for job, (plan, _) in lost.items()}, {job: number for job, (_, number) in lost.items()}
        jobs = {name: job for plan in plans.values() for name, job in plan.jobs.items() if name in plans or self._lacks(name)}
        if not jobs or self._trials.stop.is_set():
            return
        known = {name: job for plan in plans.values() for name, job in plan.jobs.items()}
        tasks = RayTasks(self._workspace, slots=self.slots)
        for event in tasks.run(list(jobs.values()), attempts=attempts, stop=self._trials.stop, known=known):
            yield event
            if isinstance(event, Finished) and event.outcome.job in plans:
                self._trials.learn(plans[event.outcome.job].trials[0], event.outcome)

    def _tuner(self, folder: str) -> tune.Tuner:
        study = self._study
        declared = study.model_dump(mode="json", by_alias=True)
        trainable = tune.with_parameters(run_trial, study=declared, workspace=self._workspace, origin=Origin(argv=tuple(sys.argv)))
        resources = tune.PlacementGroupFactory([bundle(study.resources)] * study.resources.nodes, strategy="STRICT_SPREAD")
        breeding = self._rule == "pbt"
        return tune.Tuner(
            tune.with_resources(trainable, resources),
            param_space=domains(search_space(study)) if breeding else {},
            tune_config=tune.TuneConfig(
                search_alg=self._first_ones() if breeding else self._suggestions(),
                scheduler=make_scheduler(study),
                num_samples=self._trials.missing,
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
        study, memory, wanted = self._study, make_memory(self._study, self._trials.told), goals(self._study)
        one = len(wanted) == 1
        return Suggestions(
            distributions(study),
            study=study.name,
            listed=listed_levels(study),
            metric=study.metric.name if one else list(wanted),
            mode=study.metric.goal if one else list(wanted.values()),
            sampler=memory.study.sampler,
            storage=memory.storage,
            study_name=memory.study.study_name,
        )

    def _first_ones(self) -> BasicVariantGenerator:
        """PBT takes no searcher: the sampler draws the population it begins with."""
        return BasicVariantGenerator(points_to_evaluate=population(self._study, self._trials.told, size=self._trials.missing))

    def _lacks(self, job: str) -> bool:
        return damage(self._workspace.artifacts / job) is not None
