"""The map of the system: a study becomes arms, a plan, jobs, events and rows, and nothing here does any of it.

Study -> plan_so_far (make_arms, make_plan) -> Scheduler.preflight -> Recorder.missing -> Scheduler.run -> Recorder.apply -> store
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ablate.continued import trials_to_choose
from ablate.design import axis_labels
from ablate.holding import held
from ablate.planner import is_simulated
from ablate.preview import plan_so_far
from ablate.progress import Progress
from ablate.record import Recorder, Summary, missing_jobs
from ablate.schedule import Notice, Scheduler, Tick
from ablate.shared_work import refuse_shared_work
from ablate.stores import Store
from ablate.study import Study
from ablate.workspace import Workspace

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OpenScheduler = Callable[[Study], Scheduler]


def run_study(
    study: Study,
    *,
    store: Store,
    workspace: Workspace,
    open_scheduler: OpenScheduler,
    stop: threading.Event,
    owner: str = "a run",
    expect_work: Callable[[], object] = lambda: None,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
) -> Summary:
    """Executes what is missing of one study; running it again goes on where it ended. The scheduler is opened only if there is work.

    `owner` names this run to others that want the study; `expect_work` is called as soon as the store shows that the scheduler will be
    needed, before the study is planned; `say` is told what a person should know meanwhile.
    """
    with held(store, study=study.name, owner=owner) as (store, lost):
        if store.jobs(study.name, state="queued"):
            expect_work()
        plan, scheduler, slots = plan_so_far(study, store), None, 1
        refuse_shared_work(plan, store)
        if missing_jobs(plan, store=store, workspace=workspace) or trials_to_choose(plan):
            scheduler = open_scheduler(study)
            scheduler.preflight(study.resources)
            slots = scheduler.slots
        recorder = Recorder(plan, store=store, workspace=workspace, axes=axis_labels(study), simulated=is_simulated(study))
        refuse_shared_work(plan, store)  # again, now that the other can see this plan: of two that start at once, one sees the other
        recorder.absorb()
        jobs, halt, ends = recorder.missing(), threading.Event(), _deadline(study)
        if scheduler and (jobs or trials_to_choose(plan)):
            store.add_event(study.name, "run started")
            try:
                for event in scheduler.run(jobs, attempts=recorder.attempts(), stop=halt, known=plan.jobs):
                    recorder.apply(event)
                    if isinstance(event, Notice):
                        say(event.text)
                    if isinstance(event, Tick):
                        watch(recorder.progress())
                        if not halt.is_set() and (stop.is_set() or lost.is_set() or time.monotonic() > ends):
                            halt.set()
                            say("ending: what runs keeps its last checkpoint")
            finally:
                store.add_event(study.name, "run ended")  # raises where the lease was lost, and says to whom
        if not (halt.is_set() and (recorder.missing() or trials_to_choose(recorder.plan))):
            return recorder.summary(slots=slots)
        return recorder.summary(slots=slots, ended_by="signal" if stop.is_set() else "budget")


def _deadline(study: Study) -> float:
    minutes = study.budget.wall_minutes
    return math.inf if minutes is None else time.monotonic() + 60 * minutes


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event set by SIGINT, SIGTERM or SIGHUP; the second signal ends the process at once. Under `nohup` a SIGHUP is none."""
    stop = threading.Event()

    def _handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    with own_handlers():
        for number in STOPPING:
            if not (number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN):
                signal.signal(number, _handle)
        yield stop


@contextmanager
def own_handlers() -> Iterator[None]:
    """Whatever the body does to the handlers of the signals that end a run, afterwards they are as before."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
