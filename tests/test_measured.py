"""What the store knows replaces what a plan assumes: throughput and noise from recorded jobs, none from others."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablate.attempt import Outcome, execute
from ablate.detect import SeedNoise
from ablate.journal import make_point
from ablate.measured import measured_noise, measured_throughput
from ablate.planned import Plan
from ablate.planner import make_plan
from ablate.preview import preview_with
from ablate.stores import Store, open_store
from ablate.study import Study
from ablate.workspace import Workspace
from tests.conftest import make_arm, make_study

JOB_FLOPS = 6 * 1e9 * 4096 * 10


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path / 'ablate.db'}", write=True)


def plan_of(name: str = "small", **study: Any) -> Plan:
    """Two arms, three seeds; another name has other arms, so that no job is shared."""
    tokens = 16 if name == "small" else 17
    arms = [make_arm("base", num_tokens=tokens), make_arm("num_tokens=64", num_tokens=tokens + 48)]
    return make_plan(make_study(name=name, seeds=3, **study), arms)


def finish(store: Store, plan: Plan, *, losses: list[float], seconds: float = 100.0, device: str = "", after: int = 0) -> None:
    """The first trials of a study, `after` so many, end with these losses, all after the same time."""
    store.record_plan(plan, axes={"num_tokens": [16, 64]}, simulated=True)
    for number, (trial, loss) in enumerate(zip(plan.trials[after:], losses, strict=False)):
        ended = Outcome(trial.chain[-1], 1, "done", metrics=(make_point(10, "loss", loss),), started=1.0 + after + number, seconds=seconds)
        store.finish(plan.study.name, replace(ended, host="here", pid=1, details={"devices": [device]} if device else {}))


def test_throughput_is_all_flops_over_all_device_seconds(store: Store) -> None:
    plan = plan_of(resources={"gpus": 2})
    finish(store, plan, losses=[1.0, 2.0])
    found = measured_throughput(store, plan.study)["pretrain"]
    assert (found.flops_per_second, found.num_jobs) == (pytest.approx(JOB_FLOPS / 200), 2)


def test_jobs_of_unknown_flops_give_their_mean_time(store: Store) -> None:
    plan = plan_of(resources={"gpus": 2})
    jobs = {name: replace(job, spec=job.spec._replace(train_flops=0.0)) for name, job in plan.jobs.items()}  # type: ignore[attr-defined]
    finish(store, replace(plan, jobs=jobs), losses=[1.0, 2.0])
    found = measured_throughput(store, plan.study)["pretrain"]
    assert (found.flops_per_second, found.num_jobs, found.device_seconds) == (None, 2, 200)


@pytest.mark.parametrize(("device", "counts"), [("A100", False), ("H100", True), ("", False)])
def test_throughput_counts_on_the_device_the_study_ran_on(store: Store, device: str, counts: bool) -> None:
    hardware = {"peak_flops": 1e15, "utilisation": 0.4}
    finish(store, plan_of(hardware=hardware | {"device": "H100"}), losses=[1.0])
    study = make_study(hardware=hardware | {"device": device})
    assert bool(measured_throughput(store, study)) is counts


@pytest.mark.parametrize(
    ("found", "declared", "gpus", "counts"),
    [
        ("NVIDIA H100 80GB HBM3", "H100", 1, True),
        ("NVIDIA A100-SXM4-80GB", "H100", 1, False),
        ("NVIDIA GeForce RTX 4090", "RTX4090", 1, True),
        ("NVIDIA A100-SXM4-80GB", "a GPU", 1, True),
        ("CPU: AMD EPYC 7B13", "H100", 0, False),
        ("CPU: AMD EPYC 7B13", "a CPU core", 0, True),
        ("CPU: AMD EPYC 7B13", "a GPU", 1, False),
        ("NVIDIA A100-SXM4-80GB", "", 0, False),
        ("CPU: AMD EPYC 7B13", "", 0, True),
        ("2 CPU cores", "", 0, True),
    ],
)
def test_throughput_counts_where_the_device_that_was_found_can_be_the_one_declared(
    store: Store, found: str, declared: str, gpus: int, counts: bool
) -> None:
    """Found on the machine, whatever the study said of it then."""
    hardware = {"hardware": {"device": declared, "peak_flops": 1e15, "utilisation": 0.4}} if declared else {}
    study = make_study(seeds=3, resources={"gpus": gpus}, **hardware)
    finish(store, plan_of(**hardware), losses=[1.0], device=found)
    assert bool(measured_throughput(store, study)) is counts


def test_throughput_is_of_the_device_the_study_ran_on_last(store: Store) -> None:
    plan = plan_of()
    finish(store, plan, losses=[1.0, 2.0], seconds=1000.0, device="CPU: slow")
    finish(store, plan, losses=[3.0], seconds=10.0, device="CPU: fast", after=2)
    found = measured_throughput(store, plan.study)["pretrain"]
    assert (found.flops_per_second, found.num_jobs) == (pytest.approx(JOB_FLOPS / 10), 1)


def test_device_that_an_attempt_records_prices_the_next_plan(store: Store, workspace: Workspace) -> None:
    plan = plan_of()
    store.record_plan(plan, axes={"num_tokens": [16, 64]}, simulated=True)
    store.finish(plan.study.name, execute(plan.jobs[plan.trials[0].chain[-1]], workspace=workspace, number=1))
    assert measured_throughput(store, plan.study)["pretrain"].num_jobs == 1
    assert measured_throughput(store, plan_of(resources={"gpus": 1}).study) == {}


def test_nothing_is_borrowed_from_another_study(store: Store) -> None:
    finish(store, plan_of("other"), losses=[1.0, 2.0, 3.0])
    assert (measured_throughput(store, make_study()), measured_noise(store, "small", metric="loss")) == ({}, None)
    assert preview_with(make_study(seeds=3), store=store).detection.noise.origin == "unknown"


def test_noise_is_pooled_within_arms(store: Store) -> None:
    plan = plan_of()
    finish(store, plan, losses=[1.0, 2.0, 3.0, 10.0, 14.0])  # base: 1, 2, 3; the other arm: 10, 14 and one to come
    found = measured_noise(store, "small", metric="loss")
    assert found == SeedNoise(pytest.approx(math.sqrt((1 + 0 + 1 + 4 + 4) / 3)), "measured", 2, 3)


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, math.nan], [2.0, 2.0, 2.0]])
def test_noise_without_two_values_that_differ_is_unknown(store: Store, losses: list[float]) -> None:
    plan = plan_of()
    finish(store, plan, losses=losses)
    assert measured_noise(store, "small", metric="loss") is None


def test_preview_of_a_study_half_done_counts_and_measures(store: Store) -> None:
    study = make_study(seeds=3, base={"num_tokens": 16}, metric={"name": "loss", "goal": "min", "noise_sd": 9.0})
    before = preview_with(study, store=store)
    assert (before.cost.begun, before.detection.noise.origin, set(before.states.values())) == (False, "assumed", {"queued"})
    finish(store, before.plan, losses=[1.0, 2.0, 3.0, 4.0])
    after = preview_with(study, store=store)
    assert (after.cost.begun, after.cost.trials_done, sorted(after.jobs.values())) == (True, 4, ["done"] * 4 + ["queued"] * 2)
    assert (after.cost.stages[0].origin, after.cost.stages[0].measured_over) == ("measured", 4)
    assert after.cost.device_hours_left == pytest.approx(2 * 100 / 3600)
    assert after.detection.noise == SeedNoise(1.0, "measured", 1, 2)


def test_preview_of_a_search_counts_trials_decided_and_to_come(store: Store) -> None:
    study = Study.model_validate(make_study().model_dump(mode="json", by_alias=True) | {"design": [{"kind": "search", "trials": 2}]})
    found = preview_with(study, store=store)
    assert (found.plan.trials, found.cost.trials, found.cost.estimated) == ((), 2, True)
    decided = make_plan(study, [make_arm("num_tokens=64", num_tokens=64)])
    finish(store, decided, losses=[1.0])
    found = preview_with(study, store=store)
    assert (found.cost.trials, found.cost.trials_done, found.cost.stages[0].to_run) == (2, 1, 1)
