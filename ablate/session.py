"""One `ablate run`: the store, Ray (only if there is work), the MLflow mirror, the pages and the signals around `run_study`."""

import contextlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from ablate.dashboard import pages_of_run
from ablate.errors import InputError
from ablate.lacking import refuse_lacks
from ablate.mirroring import Mirroring, mirror_order
from ablate.progress import Progress
from ablate.record import Summary
from ablate.run import own_handlers, run_study, stop_on_signals
from ablate.schedule import Scheduler
from ablate.stores import Store, open_store
from ablate.study import Study
from ablate.terminal import RunScreen
from ablate.workspace import Workspace

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # the raylet's own words about a dead worker would land in the middle of the live table; the outcome says it in one line
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
}
"""Read by Ray when it is imported."""


def run_all(
    studies: Sequence[Study], workspace: Workspace, *, slots: int | None, address: str, dashboard: bool, command: str, options: str
) -> int:
    """Runs the studies one after the other on one Ray; answers the exit code. `command` and `options` are what a person types to go on."""
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    order = mirror_order(workspace, tuple(study.name for study in studies))
    with (
        pages_of_run(workspace, studies=[study.name for study in studies]) if dashboard else contextlib.nullcontext(),
        stop_on_signals() as stop,
        RunScreen() as screen,
        Mirroring(order, store, say=screen.say) as mirror,
        contextlib.closing(_Ray(workspace, store, slots=slots, address=address, wait=screen.wait)) as engine,
    ):

        def watch(progress: Progress) -> None:
            mirror.start()  # not before: it would take processor time from Ray's start
            screen.watch(progress)

        summaries: list[Summary] = []
        refused = False
        for study in studies:
            if summaries and address == "local":
                try:
                    refuse_lacks(study, workspace)
                except InputError as error:  # those before it have run, and those after it are to
                    screen.say(f"{error}\n{study.name} is not run")
                    refused = True
                    continue
            summary = run_study(
                study,
                store=store,
                workspace=workspace,
                open_scheduler=engine.open,
                stop=stop,
                expect_work=engine.begin,
                owner=command,
                watch=watch,
                say=screen.say,
            )
            screen.summary(summary, command=command, options=options)
            summaries.append(summary)
            if summary.ended_by == "signal":
                break
        screen.total(summaries)
    if any(summary.resumable for summary in summaries):
        return 130
    return 1 if refused or any(summary.failures for summary in summaries) else 0


class _Ray:
    """Ray, started for the first study that has work and shared by the rest."""

    def __init__(
        self,
        workspace: Workspace,
        store: Store,
        *,
        slots: int | None,
        address: str,
        wait: Callable[[str], None],
    ) -> None:
        self._workspace, self._store = workspace, store
        self._asked, self._address = slots, address
        self._wait = wait
        # Ray's processes end with the thread that started them, so it is kept as long as they
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ray")
        self._slots: Future[int] | None = None

    def begin(self) -> "Future[int]":
        """Starts it beside the caller: most of its seconds are spent waiting for Ray's processes, enough to plan a large study in."""
        if self._slots is None:
            self._wait("starting Ray on this machine" if self._address == "local" else f"joining Ray at {self._address}")
            self._slots = self._thread.submit(self._start)
        return self._slots

    def open(self, study: Study) -> Scheduler:
        with own_handlers():  # Ray's core puts its own in the place of ours
            slots = self.begin().result()
        from ablate.schedule.ray_tasks import RayTasks

        if study.search is None:
            return RayTasks(self._workspace, slots=slots)
        from ablate.schedule.ray_tune import RayTune

        return RayTune(self._workspace, study=study, past=self._store.trials(study.name), slots=slots)

    def close(self) -> None:
        if self._slots is not None and self._slots.exception() is None:
            from ablate.schedule.ray_tasks import stop_ray

            stop_ray()
        self._thread.shutdown()

    def _start(self) -> int:
        # planning imports no Ray, and neither does a run that finds everything done
        os.environ.update(RAY_ENVIRONMENT)
        from ablate.schedule.ray_tasks import start_ray

        return start_ray(address=self._address, slots=self._asked)
