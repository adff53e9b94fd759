"""Who ends trials early, and what is left of them: each rule on a real Ray Tune, over the synthetic law."""

import math
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ablate.attempt import execute, read_outcome
from ablate.continued import FROM
from ablate.journal import Point, read_points
from ablate.planned import Job
from ablate.preview import plan_so_far
from ablate.record import Summary
from ablate.results import curves_frame
from ablate.run import run_study
from ablate.schedule import Event, Notice, Scheduler, Started
from ablate.stores import Store, TrialRecord
from ablate.study import Study
from ablate.weights import WEIGHTS
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.faults.conftest import until

STEPS = 18


def searching(rule: str, *, trials: int = 8, steps: int = STEPS, seconds: float = 0.02, **changes: Any) -> Study:
    text = {
        "axes": {"peak_lr": {"log": [1e-7, 1e-2]}},
        "base": {"steps": steps, "step_seconds": seconds},
        "design": {"kind": "search", "trials": trials, "stop_early": rule, "max_steps": steps},
    }
    return make_study(**text | changes)


def test_line_says_who_ended_a_trial_when_and_how_it_stood() -> None:
    from ablate.schedule.early_stopping import WORST, Seen, why_ended

    seen = {
        "this": [Seen(2, 5.0), Seen(6, 3.21)],
        "better": [Seen(2, 6.0), Seen(6, 3.0), Seen(8, 2.0)],
        "worse": [Seen(2, 4.0), Seen(7, 3.5)],
        "not as far": [Seen(2, 1.0)],
    }
    study = searching("asha")
    assert why_ended(study, seen, trial="this", step=7) == "ended by ASHA at step 7 of 18: loss 3.21 at step 6, place 2 of 3 there"
    assert why_ended(study, {"this": [Seen(2, WORST)]}, trial="this", step=2).endswith("loss not finite, place 1 of 1 there")
    assert why_ended(searching("median"), {}, trial="this", step=2) == "ended by the median rule at step 2 of 18"


def test_better_is_what_the_metric_says() -> None:
    from ablate.schedule.early_stopping import Seen, why_ended

    seen = {"this": [Seen(2, 5.0)], "other": [Seen(2, 6.0)]}
    up = searching("asha", metric={"name": "score/4", "goal": "max"})
    assert why_ended(up, seen, trial="this", step=2).endswith("place 2 of 2 there")
    assert why_ended(searching("asha"), seen, trial="this", step=2).endswith("place 1 of 2 there")


def test_value_that_is_not_finite_is_behind_all_others() -> None:
    from ablate.schedule.early_stopping import PROGRESS, reported

    told = reported({"loss": None}, step=6, study=searching("asha"))
    assert told["loss"] > 1e200
    assert math.isfinite(told["loss"])
    assert told[PROGRESS] == 3
    assert reported({"score/4": None}, step=6, study=searching("asha", metric={"name": "score/4", "goal": "max"}))["score/4"] < -1e200
    assert math.isnan(reported({"loss": None}, step=6, study=searching("none"))["loss"])


def test_copies_stay_between_the_bounds_and_differ() -> None:
    from ablate.design import search_space
    from ablate.schedule.early_stopping import _Explored, domains

    explored = _Explored(domains(search_space(searching("pbt"))))
    found = [explored({"peak_lr": rate, "other": 1}) for rate in (1.0, 1e-9, 1e-4, 1e-4, 1e-4)]
    rates = [config["peak_lr"] for config in found]
    assert rates[:3] == [1e-2, 1e-7, 1e-4]
    assert len(set(rates)) == 5
    assert all(1e-7 <= rate <= 1e-2 for rate in rates)
    assert {config["other"] for config in found} == {1}


@pytest.fixture(scope="module")
def ray_slots() -> Iterator[int]:
    from ablate.schedule.ray_tasks import start_ray, stop_ray

    yield start_ray(address="local", slots=2)
    stop_ray()


class Watched:
    """A scheduler whose events somebody sees before they are recorded."""

    def __init__(self, scheduler: Scheduler, see: Callable[[Event], None]) -> None:
        self.slots = scheduler.slots
        self._scheduler, self._see = scheduler, see
        self.preflight = scheduler.preflight

    def run(
        self, jobs: Sequence[Job], *, attempts: Mapping[str, int], stop: threading.Event, known: Mapping[str, Job] | None = None
    ) -> Iterator[Event]:
        for event in self._scheduler.run(jobs, attempts=attempts, stop=stop, known=known):
            self._see(event)
            yield event


@pytest.fixture
def run(workspace: Workspace, store: Store, ray_slots: int) -> Callable[..., Summary]:
    from ablate.schedule.ray_tune import RayTune

    def run(study: Study, see: Callable[[Event], None] = lambda event: None) -> Summary:
        def opened(study: Study) -> Scheduler:
            return Watched(RayTune(workspace, study=study, past=store.trials(study.name), slots=ray_slots), see)

        return run_study(study, store=store, workspace=workspace, open_scheduler=opened, stop=threading.Event())

    return run


def undisturbed(job: Job, tmp_path: Path) -> tuple[Point, ...]:
    calm = Workspace(tmp_path / "calm")
    calm.create()
    return execute(job, workspace=calm, number=1).metrics


def reported(workspace: Workspace, trial: TrialRecord, attempt: int) -> list[int]:
    points, _ = read_points(workspace.attempt(trial.chain[-1], attempt) / "metrics.jsonl")
    return [point.step for point in points if point.key == "loss"]


def steps(store: Store, trial: TrialRecord) -> list[int]:
    return [step for _, step, key, _ in store.curve([trial.chain[-1]], keys=["loss"]) if key == "loss"]


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "name"), [("asha", "ASHA"), ("median", "the median rule")])
def test_trial_that_is_ended_keeps_its_curve_and_says_who_ended_it(
    rule: str, name: str, run: Callable[..., Summary], store: Store, workspace: Workspace
) -> None:
    study = searching(rule, trials=10)
    summary = run(study)
    trials = store.trials("small")
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    assert summary.counts == {"done": 10 - len(pruned), "pruned": len(pruned)}
    curves = curves_frame(store, "small", metrics=["loss"])
    for trial in pruned:
        last = steps(store, trial)[-1]
        assert trial.reason.startswith(f"ended by {name} at step {last} of {STEPS}: loss ")
        assert steps(store, trial) == list(range(1, last + 1))
        assert last < STEPS
        assert list(curves[curves.trial == trial.id].step) == steps(store, trial)
        assert trial.metrics["loss"] is not None
        kept = read_outcome(workspace.attempt(trial.chain[-1], 1))  # from which `store rebuild` knows
        assert kept
        assert (kept.state, kept.reason) == ("pruned", trial.reason)
    assert all(steps(store, trial) == list(range(1, STEPS + 1)) for trial in trials if trial.state == "done")
    assert run(study).executed == 0


@pytest.mark.slow
def test_trial_that_hyperband_paused_goes_on_where_it_was_and_ends_with_the_same_numbers(
    run: Callable[..., Summary], store: Store, workspace: Workspace, tmp_path: Path
) -> None:
    study = searching("hyperband", trials=17)
    run(study)
    trials = store.trials("small")
    paused = {attempt.job for attempt in store.attempts(trial.chain[-1] for trial in trials) if attempt.reason.startswith("paused")}
    went_on = [trial for trial in trials if trial.chain[-1] in paused and trial.state == "done"]
    assert {trial.state for trial in trials} == {"done", "pruned"}
    assert went_on
    assert all(trial.reason.startswith("ended by HyperBand at step") for trial in trials if trial.state == "pruned")
    jobs = plan_so_far(study, store).jobs
    for trial in went_on:
        assert trial.attempts > 1
        parts = [reported(workspace, trial, number) for number in range(1, trial.attempts + 1)]
        assert [step for part in parts for step in part] == list(range(1, STEPS + 1))  # nothing was done twice
        assert steps(store, trial) == list(range(1, STEPS + 1))
        assert trial.metrics == {point.key: point.value for point in undisturbed(jobs[trial.chain[-1]], tmp_path)}
    rest = [trial for trial in trials if trial not in went_on]
    assert all(steps(store, trial) == list(range(1, len(steps(store, trial)) + 1)) for trial in rest)


@pytest.mark.slow
def test_population_goes_on_from_the_weights_of_the_better_as_other_trials(
    run: Callable[..., Summary], store: Store, workspace: Workspace
) -> None:
    study = searching("pbt", trials=4, steps=4)
    summary = run(study)
    trials = {trial.id: trial for trial in store.trials("small")}
    copies = [trial for trial in trials.values() if FROM in trial.changes]
    scratch = [trial for trial in trials.values() if FROM not in trial.changes]
    assert len(scratch) == 4
    assert copies
    assert summary.counts == {"done": 4, "pruned": len(copies)}  # each copy goes on for one that ends
    jobs = plan_so_far(study, store).jobs
    for trial in copies:
        donor, _, step = trial.changes[FROM].rpartition("@")
        assert trial.arm.endswith(f",from {donor[-8:]}@{step}")
        assert jobs[trial.chain[0]].spec.config == {"job": trials[donor].chain[-1], "step": int(step)}
        assert (workspace.artifacts / trial.chain[0] / "state").read_bytes() == step.encode()
        assert steps(store, trial)[0] == int(step) + 1
        heirs = [ended for ended in trials.values() if f"goes on as {trial.id} from the weights of {donor} at step {step}" in ended.reason]
        assert [ended.state for ended in heirs] == ["pruned"]
        assert heirs[0].reason.startswith(f"ended by PBT at step {step} of 4: loss ")
    assert {job.state for job in store.jobs("small") if job.stage == WEIGHTS} == {"done"}
    assert run(study).executed == 0


@pytest.mark.slow
def test_copy_in_the_zoo_ends_as_its_weights_and_config_say(
    run: Callable[..., Summary], store: Store, workspace: Workspace, tmp_path: Path
) -> None:
    """Whatever else ran beside it, and however often it was paused: bit for bit what one attempt makes of the same weights."""
    study = make_study(
        trainer="model_zoo",
        base={
            "encoder": {"width": 16, "depth": 1, "pretrain": {"steps": 10, "batch_size": 8}},
            "decoder": {"width": 16, "depth": 1},
            "data": {"num_scenes": 50},
            "train": {"steps": 30, "warmup_steps": 2, "rows_per_step": 3},
            "eval": {"tasks": [], "num_validations": 3, "validation_documents": 4},
        },
        axes={"train.learning_rate": {"log": [1e-4, 3e-2]}},
        design={"kind": "search", "trials": 4, "stop_early": "pbt", "max_steps": 30},
        metric={"name": "val_loss", "goal": "min"},
    )
    run(study)
    jobs, calm = plan_so_far(study, store).jobs, Workspace(tmp_path / "calm")
    calm.create()
    shutil.copytree(workspace.artifacts, calm.artifacts, dirs_exist_ok=True)
    copies = [trial for trial in store.trials("small") if FROM in trial.changes and trial.state == "done"]
    assert copies
    for trial in copies:
        outcome = execute(jobs[trial.chain[-1]], workspace=calm, number=1)
        assert {point.key: point.value for point in outcome.metrics} == trial.metrics


@pytest.mark.slow
def test_tune_run_that_dies_costs_no_trial(run: Callable[..., Summary], store: Store, workspace: Workspace) -> None:
    """A worker is killed. Ray's PBT would wait for it for ever; its run is ended, and what it had goes on without it."""
    study = searching("pbt", trials=4, steps=4, seconds=0.4)
    said, killed = list[str](), list[str]()

    def see(event: Event) -> None:
        if isinstance(event, Notice):
            said.append(event.text)
        if isinstance(event, Started) and event.attempt == 2 and not killed:
            pid = workspace.attempt(event.job, event.attempt) / "pid"
            until(pid.exists)
            killed.append(event.job)
            os.kill(int(pid.read_text()), signal.SIGKILL)

    run(study, see)
    assert killed
    assert any("waits for one that has failed" in text for text in said)
    trials = store.trials("small")
    assert {trial.state for trial in trials} <= {"done", "pruned"}
    assert sum(FROM not in trial.changes for trial in trials) == 4
    for trial in trials:
        first = int(trial.changes.get(FROM, "@0").rpartition("@")[2]) + 1
        assert sorted(set(steps(store, trial))) == list(range(first, steps(store, trial)[-1] + 1))
    assert run(study).executed == 0
