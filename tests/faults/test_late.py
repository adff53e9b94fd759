"""Workers that are stopped beyond their time and would go on later (F24): what they say then is not taken."""

import threading

import psutil
import pytest

from ablate.attempt import execute, lost, read_outcome
from ablate.planner import make_plan
from ablate.record import Recorder
from ablate.schedule import Event, Finished, Scheduler, Started
from ablate.schedule.local import LocalScheduler
from ablate.stores import open_store
from ablate.workspace import Workspace
from tests.conftest import make_arm, make_small_plan, make_study
from tests.faults.conftest import ends, run, until
from tests.faults.invariants import survivors


@pytest.mark.slow
@pytest.mark.fault("F24")
def test_worker_that_is_stopped_beyond_its_time_is_ended_and_says_nothing_later(scheduler: Scheduler, workspace: Workspace) -> None:
    study = make_study(seeds=1, resources={"stall_minutes": 2 / 60})
    (job,) = make_plan(study, [make_arm("base", steps=100, step_seconds=0.05)]).jobs.values()
    folder = workspace.attempt(job.id, 1)
    stopped: list[psutil.Process] = []

    def stop(event: Event) -> None:
        if isinstance(event, Started):
            until(lambda: (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").stat().st_size > 0)
            stopped.append(psutil.Process(int((folder / "pid").read_text())))
            stopped[0].suspend()

    (outcome,) = ends(run(scheduler, [job], watch=stop), job)
    assert (outcome.state, outcome.cause) == ("failed", "timeout")
    assert survivors(stopped) == []
    assert read_outcome(folder) == outcome


@pytest.mark.fault("F24")
def test_outcome_that_comes_after_its_attempt_was_given_up_is_kept_and_not_taken(workspace: Workspace) -> None:
    plan = make_small_plan(seeds=1)
    job = next(iter(plan.jobs.values()))
    store = open_store(workspace.store_url, write=True)

    def recorder() -> Recorder:
        return Recorder(plan, store=store, workspace=workspace, axes={"num_tokens": [16, 64]}, simulated=True)

    first = recorder()
    first.apply(Started(job.id, 1))
    given_up = lost(job.id, attempt=1, cause="lost", reason="its node died")
    first.apply(Finished(given_up, final=False))
    late = execute(job, workspace=workspace, number=1)
    assert late.state == "done"
    second = recorder()
    second.absorb()
    assert job.id in {missing.id for missing in second.missing()}
    assert second.attempts()[job.id] == 1
    for event in LocalScheduler(workspace).run([job], attempts=second.attempts(), stop=threading.Event()):
        second.apply(event)
    attempts = [(attempt.number, attempt.state) for attempt in store.attempts([job.id])]
    assert attempts == [(1, "lost"), (2, "done")]
    assert store.job_states([job.id]) == {job.id: ("done", 2)}
    store.close()
