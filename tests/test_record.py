"""The recorder: what a killed run left behind is taken over, and nothing is run twice."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from ablate import record
from ablate.attempt import Outcome, execute, write_outcome
from ablate.errors import EnvironmentMissing
from ablate.planned import Plan
from ablate.preview import plan_so_far
from ablate.record import Recorder, Summary
from ablate.results import curves_frame, results_frame
from ablate.run import run_study
from ablate.schedule import Finished, Started
from ablate.schedule.course import Course
from ablate.schedule.local import LocalScheduler
from ablate.stores import Store
from ablate.study import Resources, Study
from ablate.terminal import RunScreen
from ablate.workspace import Workspace
from tests.conftest import make_small_plan, make_study


def recorder_of(plan: Plan, store: Store, workspace: Workspace) -> Recorder:
    return Recorder(plan, store=store, workspace=workspace, axes={"num_tokens": [16, 64]}, simulated=True)


def searching() -> Study:
    axes = {"peak_lr": {"log": [1e-4, 1e-2]}, "num_tokens": [16, 64]}
    return make_study(axes=axes, seeds=1, design={"kind": "search", "trials": 8, "sampler": "random"})


def run(study: Study, store: Store, workspace: Workspace) -> Summary:
    return run_study(study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event())


def test_attempt_that_finished_unseen_is_absorbed(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan()
    first = next(iter(plan.jobs.values()))
    outcome = execute(first, workspace=workspace, number=1)
    recorder = recorder_of(plan, store, workspace)
    recorder.absorb()
    assert first not in recorder.missing()
    assert store.trials("small")[0].metrics == {point.key: point.value for point in outcome.metrics}
    assert store.curve([first.id], keys=["loss"])


def test_attempt_whose_worker_outlives_its_run_is_waited_for(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan()
    first = next(iter(plan.jobs.values()))
    outcome = execute(first, workspace=workspace, number=1)
    folder = workspace.attempt(first.id, 1)
    (folder / "done.json").unlink()
    (folder / "pid").touch()
    worker = threading.Timer(0.3, write_outcome, (folder, outcome))
    worker.start()
    recorder = recorder_of(plan, store, workspace)
    recorder.absorb()
    worker.join()
    assert store.job_states([first.id]) == {first.id: ("done", 1)}


def test_attempt_that_died_before_the_last_one_is_not_waited_for(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_small_plan()
    first = next(iter(plan.jobs.values()))
    for number in (1, 2):
        workspace.attempt(first.id, number).mkdir(parents=True)
        (workspace.attempt(first.id, number) / "pid").touch()
    recorder = recorder_of(plan, store, workspace)
    outcome = Outcome(first.id, 2, "lost", cause="interrupted", reason="stopped")
    write_outcome(workspace.attempt(first.id, 2), outcome)
    recorder.apply(Finished(outcome))
    waited: list[object] = []
    monkeypatch.setattr(record, "await_last_words", lambda folders: waited.extend(folders))
    recorder.absorb()
    assert waited == []


def test_refused_rows_of_a_run_are_in_its_summary(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan()
    recorder = recorder_of(plan, store, workspace)
    for number, job in enumerate(plan.jobs.values()):
        recorder.apply(Finished(Outcome(job.id, 1, "done", started=1.0, seconds=1.0, details={"refused_rows": number + 1})))
    assert recorder.summary(slots=1).refused_rows == sum(range(1, len(plan.jobs) + 1))


def test_of_two_attempts_that_ended_unseen_the_one_that_is_done_counts(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan()
    first = next(iter(plan.jobs.values()))
    execute(replace(first, metric="no such metric"), workspace=workspace, number=1)
    execute(first, workspace=workspace, number=2)
    recorder = recorder_of(plan, store, workspace)
    recorder.absorb()
    assert store.job_states([first.id]) == {first.id: ("done", 2)}
    assert [(attempt.number, attempt.state) for attempt in store.attempts([first.id])] == [(1, "failed"), (2, "done")]


def test_attempt_that_was_lost_with_its_run_is_part_of_its_job_s_history(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan()
    first = next(iter(plan.jobs.values()))
    workspace.attempt(first.id, 1).mkdir(parents=True)
    write_outcome(workspace.attempt(first.id, 1), Outcome(first.id, 1, "lost", cause="lost", reason="its worker was ended"))
    recorder = recorder_of(plan, store, workspace)
    recorder.absorb()
    assert first in recorder.missing()
    assert recorder.attempts()[first.id] == 1
    assert [(attempt.number, attempt.cause) for attempt in store.attempts([first.id])] == [(1, "lost")]


def test_job_that_a_search_ended_early_is_trained_to_its_end_by_another_study(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan()
    first = next(iter(plan.jobs.values()))
    recorder = recorder_of(plan, store, workspace)
    recorder.apply(Finished(Outcome(first.id, 1, "pruned", cause="pruned", reason="ended by ASHA at step 2 of 18")))
    assert store.trials("small")[0].state == "pruned"
    assert run(plan.study, store, workspace).executed == len(plan.jobs)
    assert store.trials("small")[0].state == "done"


def test_search_counts_trials_that_it_has_still_to_choose(store: Store, workspace: Workspace) -> None:
    recorder = Recorder(plan_so_far(searching(), store), store=store, workspace=workspace, axes={}, simulated=True)
    progress = recorder.progress()
    assert (progress.counts, progress.seconds_left) == ({"queued": 8}, None)


def test_trial_that_a_search_plays_back_is_no_work_of_its_run(store: Store, workspace: Workspace) -> None:
    plan = replace(make_small_plan(), study=searching())
    outcome = execute(next(iter(plan.jobs.values())), workspace=workspace, number=1)
    first, second = (Recorder(plan, store=store, workspace=workspace, axes={}, simulated=True) for _ in range(2))
    first.apply(Finished(outcome))
    second.apply(Finished(outcome))
    assert [recorder.summary(slots=1).executed for recorder in (first, second)] == [1, 0]
    assert second.summary(slots=1).work is None


@pytest.mark.fault("F11")
def test_attempt_out_of_memory_that_ended_unseen_leaves_its_job_the_other_try(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan(fail="memory")
    first = next(job for job in plan.jobs.values() if job.spec.config["fail"] == "memory")
    assert execute(first, workspace=workspace, number=1).cause == "oom"
    recorder = recorder_of(plan, store, workspace)
    recorder.absorb()
    assert first in recorder.missing()
    following = Course([first], attempts=recorder.attempts(), known={}, workspace=workspace).take()
    assert following
    assert following.number == 2


def test_run_that_is_refused_for_want_of_room_declares_nothing(store: Store, workspace: Workspace) -> None:
    class Full(LocalScheduler):
        def preflight(self, resources: Resources) -> None:
            raise EnvironmentMissing(f"no node can hold a job of {resources.cpus:g} CPUs")

    with pytest.raises(EnvironmentMissing, match="no node can hold a job of 64 CPUs"):
        run_study(
            make_study(resources={"cpus": 64}),
            store=store,
            workspace=workspace,
            open_scheduler=lambda _: Full(workspace),
            stop=threading.Event(),
        )
    assert (store.studies(), store.declarations("small")) == ([], [])
    assert run(make_study(), store, workspace).deviations == 0


def test_job_that_was_running_when_its_run_died_is_queued_again(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan()
    job = next(iter(plan.jobs))
    recorder_of(plan, store, workspace).apply(Started(job, 1))
    after = recorder_of(plan, store, workspace)
    after.absorb()
    assert store.job_states([job]) == {job: ("queued", 1)}
    assert job in {missing.id for missing in after.missing()}
    assert after.attempts()[job] == 1


def test_interrupted_job_is_queued_not_failed(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan()
    job = next(iter(plan.jobs))
    recorder = recorder_of(plan, store, workspace)
    recorder.apply(Started(job, 1))
    recorder.apply(Finished(Outcome(job=job, attempt=1, state="lost", cause="interrupted", reason="stopped")))
    assert store.trials("small")[0].state == "queued"
    assert recorder.summary(slots=1, ended_by="signal").failures == ()


def test_running_a_study_again_executes_nothing(store: Store, workspace: Workspace) -> None:
    study = make_study(seeds=2)
    first, second = run(study, store, workspace), run(study, store, workspace)
    assert (first.executed, second.executed) == (4, 0)
    assert first.counts == second.counts == {"done": 4}


@pytest.mark.parametrize(
    ("grown", "new"),
    [
        ({"seeds": 3}, 2),
        ({"axes": {"num_tokens": [16, 64, 144]}}, 2),
        ({"axes": {"num_tokens": [16, 144, 64]}}, 2),
        ({"axes": {"num_tokens": [16, 64], "connector": ["avg_pool", "c_abstractor"]}}, 4),
        ({"axes": {"connector": ["c_abstractor", "avg_pool"], "num_tokens": [16, 64]}, "base": {"connector": "avg_pool"}}, 4),
        ({"axes": {"num_tokens": [16, 64], "image_size": [224, 336]}, "seeds": 3}, 8),
    ],
)
def test_study_that_grows_keeps_every_finished_trial(store: Store, workspace: Workspace, grown: dict[str, Any], new: int) -> None:
    run(make_study(seeds=2), store, workspace)
    before = {trial.id for trial in store.trials("small")}
    summary = run(make_study(**{"seeds": 2, **grown}), store, workspace)
    assert (summary.executed, summary.stale, summary.counts) == (new, 0, {"done": 4 + new})
    assert before < {trial.id for trial in store.trials("small")}


@pytest.mark.fault("F32")
def test_changed_base_makes_the_old_arms_stale_and_mixes_nothing(store: Store, workspace: Workspace) -> None:
    run(make_study(seeds=2), store, workspace)
    old = results_frame(store, "small")
    summary = run(make_study(seeds=2, base={"peak_lr": 3e-4}), store, workspace)
    assert (summary.executed, summary.stale, summary.counts) == (4, 4, {"done": 4})
    new = results_frame(store, "small")
    assert list(new["arm"]) == list(old["arm"])
    assert set(new["trial"]).isdisjoint(old["trial"])
    assert {one.trial.id for one in store.stale_trials("small")} == set(old["trial"])
    curves = curves_frame(store, "small")
    assert set(curves["trial"]) == set(new["trial"])


def test_base_that_is_changed_back_finds_its_trials_again(store: Store, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    for base in ({}, {"peak_lr": 3e-4}):
        run(make_study(seeds=2, base=base), store, workspace)
    summary = run(make_study(seeds=2), store, workspace)
    assert (summary.executed, summary.stale, summary.deviations) == (0, 4, 2)
    with RunScreen() as screen:
        screen.summary(summary, command="ablate run small.yaml", options=" --workspace here")
    said = capsys.readouterr().out
    assert "4 trials are stale" in said
    assert "ablate explain TRIAL --workspace here" in said
    assert "2 deviations from what was first declared: ablate effects small --workspace here" in said
    assert {one.trial.config["peak_lr"] for one in store.stale_trials("small")} == {3e-4}


def test_another_study_with_the_same_trials_reuses_them(store: Store, workspace: Workspace) -> None:
    run(make_study(), store, workspace)
    summary = run(make_study(name="other"), store, workspace)
    assert (summary.executed, summary.counts) == (0, {"done": 2})


def test_failed_trial_stays_failed_until_it_is_asked_for(store: Store, workspace: Workspace) -> None:
    study = make_study(axes={"fail": ["none", "raise"]})
    first = run(study, store, workspace)
    assert (first.counts, len(first.failures)) == ({"done": 1, "failed": 1}, 1)
    assert run(study, store, workspace).executed == 0
    store.requeue("small", [job.id for job in store.jobs("small") if job.state == "failed"], why="test")
    assert run(study, store, workspace).executed == 1


def test_budget_of_no_time_leaves_a_resumable_study(store: Store, workspace: Workspace) -> None:
    study = make_study(seeds=3, budget={"wall_minutes": 1e-9})
    summary = run(study, store, workspace)
    assert summary.ended_by == "budget"
    assert summary.executed < 6
    assert run(study.model_copy(update={"budget": make_study().budget}), store, workspace).counts == {"done": 6}


def test_second_run_on_a_study_is_refused(store: Store, workspace: Workspace) -> None:
    study = make_study()

    def nested(_: Study) -> LocalScheduler:
        run(study, store, workspace)
        return LocalScheduler(workspace)

    with pytest.raises(EnvironmentMissing, match="another run works on 'small'"):
        run_study(study, store=store, workspace=workspace, open_scheduler=nested, stop=threading.Event())


def test_progress_counts_states_and_estimates_the_rest(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan()
    first, second, *_ = plan.jobs
    recorder = recorder_of(plan, store, workspace)
    assert recorder.progress().seconds_left is None
    recorder.apply(Finished(Outcome(job=first, attempt=1, state="done", started=1.0, seconds=10.0)))
    recorder.apply(Started(second, 1))
    progress = recorder.progress()
    assert progress.counts == {"done": 1, "running": 1, "queued": 2}
    assert progress.seconds_left == pytest.approx(30.0, abs=1.0)
    assert [job.label for job in progress.running] == [plan.trials[1].id]


def test_busy_is_the_share_of_slot_seconds_inside_jobs(store: Store, workspace: Workspace) -> None:
    plan = make_small_plan()
    recorder = recorder_of(plan, store, workspace)
    done = Outcome(job="", attempt=1, state="done")
    for job, started, seconds in zip(plan.jobs, (0.0, 0.0, 10.0, 10.0), (10.0, 8.0, 10.0, 10.0), strict=True):
        recorder.apply(Finished(replace(done, job=job, started=100.0 + started, seconds=seconds)))
    work = recorder.summary(slots=2, ended_by="end").work
    assert work is not None
    assert work.busy == pytest.approx(38 / 40)
    later = replace(work, began=work.ended, ended=work.ended + 20, used=40.0)
    assert (work + later).busy == pytest.approx(78 / 80)
