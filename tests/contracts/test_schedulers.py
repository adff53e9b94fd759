"""What every scheduler of planned jobs promises (a new one adds a parameter to `scheduler`), and what a search does with each sampler."""

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from ablate.attempt import Outcome, read_outcome
from ablate.planned import Job, Plan
from ablate.schedule import Event, Finished, Proposed, Scheduler, Skipped, Started
from ablate.study import Resources, Study
from ablate.workspace import Workspace
from tests.conftest import make_small_plan, make_study


@pytest.fixture(scope="module")
def ray_slots() -> Iterator[int]:
    from ablate.schedule.ray_tasks import start_ray, stop_ray

    yield start_ray(address="local", slots=2)
    stop_ray()


@pytest.fixture(params=["local", "ray_tasks"])
def scheduler(request: pytest.FixtureRequest, workspace: Workspace) -> Scheduler:
    if request.param == "local":
        from ablate.schedule.local import LocalScheduler

        return LocalScheduler(workspace)
    from ablate.schedule.ray_tasks import RayTasks

    return RayTasks(workspace, slots=request.getfixturevalue("ray_slots"))


class ChainedStage(NamedTuple):
    """A synthetic stage that reads another one's artefact."""

    name: str
    config: dict[str, Any]
    needs: tuple[str, ...]
    version: str = "test"
    seeded: bool = True
    num_params: int = 1
    train_flops: float = 1.0
    memory_bytes: float = 1.0


def chain_of(plan: Plan, **first: Any) -> list[Job]:
    """Three jobs, each needing the one before; `first` changes the config of the first."""
    from ablate.synthetic import Config

    jobs: list[Job] = []
    for position in range(3):
        config = Config(**(first if position == 0 else {})).model_dump(mode="json")
        needs = {jobs[-1].spec.name: jobs[-1].id} if jobs else {}
        spec = ChainedStage(f"stage{position}", config, tuple(needs), train_flops=float(position))
        jobs.append(Job(f"stage{position}-0", "synthetic", spec, 0, needs, Resources(), "loss"))
    return jobs


def run(scheduler: Scheduler, jobs: list[Job], **attempts: int) -> list[Event]:
    return list(scheduler.run(jobs, attempts=attempts, stop=threading.Event()))


def outcomes(events: list[Event]) -> dict[str, Outcome]:
    return {event.outcome.job: event.outcome for event in events if isinstance(event, Finished) and event.final}


def test_every_job_is_started_and_finished_once(scheduler: Scheduler) -> None:
    jobs = list(make_small_plan(seeds=4).jobs.values())
    events = run(scheduler, jobs)
    assert sorted(event.job for event in events if isinstance(event, Started)) == sorted(job.id for job in jobs)
    assert {job: outcome.state for job, outcome in outcomes(events).items()} == {job.id: "done" for job in jobs}


def test_metrics_come_back_and_lie_in_the_journal(scheduler: Scheduler, workspace: Workspace) -> None:
    job = next(iter(make_small_plan().jobs.values()))
    outcome = outcomes(run(scheduler, [job]))[job.id]
    assert {point.key for point in outcome.metrics} == {"loss", "score/0", "score/4", "score/8"}
    assert read_outcome(workspace.attempt(job.id, 1)) == outcome
    assert (workspace.artifacts / job.id).is_dir()
    assert {path.name for path in workspace.attempt(job.id, 1).iterdir()} == {"job.json", "metrics.jsonl", "done.json"}


def test_job_waits_for_what_it_needs(scheduler: Scheduler) -> None:
    jobs = chain_of(make_small_plan())
    events = run(scheduler, jobs[::-1])
    assert [event.outcome.job for event in events if isinstance(event, Finished)] == [job.id for job in jobs]


@pytest.mark.fault("F26")
def test_failure_skips_what_needs_it_and_nothing_else(scheduler: Scheduler) -> None:
    chain = chain_of(make_small_plan(), fail="raise")
    free = list(make_small_plan().jobs.values())
    events = run(scheduler, chain + free)
    ended = outcomes(events)
    assert ended[chain[0].id].state == "failed"
    assert ended[chain[0].id].reason == "RuntimeError: this synthetic trial was told to raise"
    assert [event.job for event in events if isinstance(event, Skipped)] == [chain[1].id, chain[2].id]
    assert all(ended[job.id].state == "done" for job in free)


@pytest.mark.fault("F27")
def test_nan_in_the_metric_is_a_failure_with_its_cause(scheduler: Scheduler) -> None:
    jobs = list(make_small_plan(seeds=1, fail="nan").jobs.values())
    ended = outcomes(run(scheduler, jobs))
    assert [(outcome.state, outcome.cause) for outcome in (ended[job.id] for job in jobs)] == [
        ("done", None),
        ("failed", "nan"),
    ]


def test_attempt_numbers_go_on_from_before(scheduler: Scheduler) -> None:
    job = next(iter(make_small_plan().jobs.values()))
    events = list(scheduler.run([job], attempts={job.id: 4}, stop=threading.Event()))
    assert outcomes(events)[job.id].attempt == 5


def test_stop_ends_the_run_and_starts_nothing_more(scheduler: Scheduler) -> None:
    stop = threading.Event()
    jobs = list(make_small_plan(seeds=10).jobs.values())
    events = []
    for event in scheduler.run(jobs, attempts={}, stop=stop):
        events.append(event)
        stop.set()
    assert len([event for event in events if isinstance(event, Started)]) < len(jobs)


@pytest.mark.fault("F11")
def test_job_out_of_memory_while_its_run_ends_keeps_its_other_try(workspace: Workspace, ray_slots: int) -> None:
    from ablate.schedule.ray_tasks import RayTasks

    *_, job = make_small_plan(seeds=1, fail="memory", steps=1, step_seconds=1.0).jobs.values()
    stop, ended = threading.Event(), []
    for event in RayTasks(workspace, slots=ray_slots).run([job], attempts={}, stop=stop):
        if isinstance(event, Started):
            stop.set()
        if isinstance(event, Finished):
            ended.append((event.outcome.cause, event.final))
    assert ended == [("oom", False)]


@pytest.mark.fault("F26")
def test_worker_that_dies_is_tried_again_then_failed_and_the_rest_go_on(workspace: Workspace, ray_slots: int) -> None:
    from ablate.schedule.ray_tasks import RayTasks

    jobs = list(make_small_plan(seeds=1, fail="exit").jobs.values())
    events = run(RayTasks(workspace, slots=ray_slots), jobs)
    ends = [event for event in events if isinstance(event, Finished) and event.outcome.job == jobs[1].id]
    assert [(end.outcome.state, end.outcome.cause, end.final) for end in ends] == [
        ("lost", "lost", False),
        ("lost", "lost", False),
        ("failed", "lost", True),
    ]
    assert outcomes(events)[jobs[0].id].state == "done"


def test_job_that_fits_no_node_is_refused_at_once(workspace: Workspace, ray_slots: int) -> None:
    from ablate.errors import EnvironmentMissing
    from ablate.schedule.ray_tasks import RayTasks

    with pytest.raises(EnvironmentMissing, match="64 CPUs and 8 GPUs"):
        RayTasks(workspace, slots=ray_slots).preflight(Resources(cpus=64, gpus=8))


def test_job_that_asks_for_more_memory_than_there_is_is_refused_at_once(workspace: Workspace, ray_slots: int) -> None:
    from ablate.errors import EnvironmentMissing
    from ablate.schedule.ray_tasks import RayTasks

    with pytest.raises(EnvironmentMissing, match=r"1 CPUs and 0\.5 GPUs and 6e\+04 GiB of memory \(there is: 2 CPUs and 0 GPUs and .* GiB"):
        RayTasks(workspace, slots=ray_slots).preflight(Resources(memory_gib=60000, gpus=0.5))


def test_damaged_artefact_without_its_job_is_a_failure_that_says_so(scheduler: Scheduler, workspace: Workspace) -> None:
    first, second, _ = chain_of(make_small_plan())
    run(scheduler, [first])
    (workspace.artifacts / first.id / "SHA256SUMS").unlink()
    outcome = outcomes(run(scheduler, [second]))[second.id]
    assert (outcome.state, outcome.cause) == ("failed", "artefact")
    assert outcome.reason == f"the artefact {first.id} is damaged: SHA256SUMS is missing"


@pytest.mark.fault("F30")
def test_damaged_artefact_is_built_again_before_its_reader_runs(scheduler: Scheduler, workspace: Workspace) -> None:
    first, second, _ = chain_of(make_small_plan())
    run(scheduler, [first])
    (workspace.artifacts / first.id / "SHA256SUMS").unlink()
    events = list(scheduler.run([second], attempts={first.id: 1}, stop=threading.Event(), known={first.id: first}))
    ended = [event.outcome for event in events if isinstance(event, Finished)]
    expected = [(second.id, 1, "lost"), (first.id, 2, "done"), (second.id, 2, "done")]
    assert [(outcome.job, outcome.attempt, outcome.state) for outcome in ended] == expected


def searching(*, trials: int, sampler: str, **design: Any) -> Study:
    return make_study(
        axes={"peak_lr": {"log": [1e-7, 1e-2]}, "image_size": {"linspace": [64, 448]}},
        base={"steps": 3},
        design={"kind": "search", "trials": trials, "sampler": sampler, **design},
        metric={"name": "loss", "goal": "min"},
    )


def search(study: Study, *, workspace: Workspace, slots: int) -> list[Event]:
    from ablate.schedule.ray_tune import RayTune

    return list(RayTune(workspace, study=study, past=[], slots=slots).run([], attempts={}, stop=threading.Event()))


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "nsgaii"])
def test_search_runs_as_many_different_trials_as_it_is_asked_for(sampler: str, workspace: Workspace, ray_slots: int) -> None:
    events = search(searching(trials=8, sampler=sampler), workspace=workspace, slots=ray_slots)
    proposed = [event.trial for event in events if isinstance(event, Proposed)]
    assert len({trial.id for trial in proposed}) == 8
    assert {outcome.state for outcome in outcomes(events).values()} == {"done"}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_search_over_listed_levels_takes_each_combination_once(sampler: str, workspace: Workspace, ray_slots: int) -> None:
    levels = {"connector": ["avg_pool", "attention_pool", "c_abstractor"], "image_size": [224, 336]}
    study = make_study(axes=levels, base={"steps": 3}, design={"kind": "search", "trials": 6, "sampler": sampler})
    events = search(study, workspace=workspace, slots=ray_slots)
    proposed = [tuple(event.trial.levels.items()) for event in events if isinstance(event, Proposed)]
    assert (len(proposed), len(set(proposed))) == (6, 6)
    assert [outcome.state for outcome in outcomes(events).values()] == ["done"] * 6


@pytest.mark.slow
def test_search_whose_trials_are_short_can_be_stopped(workspace: Workspace, ray_slots: int) -> None:
    from ablate.schedule import Tick
    from ablate.schedule.ray_tune import RayTune

    stop, events = threading.Event(), list[Event]()
    for event in RayTune(workspace, study=searching(trials=200, sampler="random"), past=[], slots=ray_slots).run(
        [], attempts={}, stop=stop
    ):
        events.append(event)
        if isinstance(event, Tick) and any(isinstance(before, Finished) for before in events):
            stop.set()
    assert 0 < len([event for event in events if isinstance(event, Proposed)]) < 100


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_search_with_two_objectives_tells_both(
    sampler: str, workspace: Workspace, ray_slots: int, caplog: pytest.LogCaptureFixture
) -> None:
    study = searching(trials=6, sampler=sampler, objectives=[{"name": "score/4", "goal": "max"}])
    events = search(study, workspace=workspace, slots=ray_slots)
    assert [outcome.state for outcome in outcomes(events).values()] == ["done"] * 6
    assert "optuna" not in caplog.text.lower()


def test_search_trial_that_lacks_an_objective_is_not_told(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.trial import TrialState

    from ablate.schedule.tune_hooks import Suggestions, driving
    from ablate.schedule.tune_trials import TuneTrials
    from ablate.search import distributions, make_memory

    study = searching(trials=6, sampler="tpe", objectives=[{"name": "score/4", "goal": "max"}])
    memory = make_memory(study, [])
    monkeypatch.setitem(driving, study.name, TuneTrials(workspace, study=study, past=[]))
    algorithm = Suggestions(
        distributions(study),
        study=study.name,
        listed={},
        metric=["loss", "score/4"],
        mode=["min", "max"],
        sampler=memory.study.sampler,
        storage=memory.storage,
        study_name=memory.study.study_name,
    )
    results: list[dict[str, float] | None] = [
        {"loss": 2.0},
        {"loss": 2.0, "score/4": float("nan")},
        None,
        {"loss": 2.0, "score/4": 50.0, "whole": True},
    ]
    for number, result in enumerate(results):
        algorithm.suggest(str(number))
        algorithm.on_trial_complete(str(number), result=result)
    failed, done = TrialState.FAIL, TrialState.COMPLETE
    assert [trial.state for trial in memory.study.trials] == [failed, failed, failed, done]
    assert caplog.text == ""
