"""What a plan costs, against sums done by hand: 6 N FLOPs a token, 4,096 tokens a step, N = 1e9 and 10 steps unless said otherwise."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ablate.cost import Cost, Throughput, ToChoose, make_cost, over_budget
from ablate.planned import Plan
from ablate.planner import make_plan
from ablate.quantities import GIB
from ablate.study import Budget
from tests.conftest import make_arm, make_study
from tests.test_planner import zoo_plan

JOB_FLOPS = 6 * 1e9 * 4096 * 10
HOUR_RATE = JOB_FLOPS / 3600
"""FLOP/s at which one job takes an hour."""


def hardware(**changes: Any) -> dict[str, Any]:
    """A device on which a job takes an hour at its assumed throughput."""
    return {"peak_flops": 2 * HOUR_RATE, "utilisation": 0.5, "price_per_hour": 3.0, "memory_gib": 16.0, "devices": 2} | changes


def plan_of(*, seeds: int = 2, **study: Any) -> Plan:
    """Two arms of the synthetic trainer."""
    return make_plan(
        make_study(seeds=list(range(seeds)), **study), [make_arm("base", num_tokens=16), make_arm("num_tokens=64", num_tokens=64)]
    )


def test_cost_assumed_throughput_gives_hours_and_money() -> None:
    cost = make_cost(plan_of(hardware=hardware()))
    (stage,) = cost.stages
    assert (cost.arms, cost.trials, cost.jobs, stage.to_run, stage.origin) == (2, 4, 4, 4, "assumed")
    assert cost.train_flops == pytest.approx(4 * JOB_FLOPS)
    assert stage.seconds_per_job == pytest.approx(3600)
    assert (cost.device_hours, cost.wall_hours_left, cost.money) == (pytest.approx(4), pytest.approx(2), pytest.approx(12))
    assert (stage.num_params.low, stage.total_params.high, stage.embedding_params.high) == (10**9, 10**9, 0)


def test_cost_measured_throughput_replaces_the_assumption() -> None:
    cost = make_cost(plan_of(hardware=hardware()), measured={"pretrain": Throughput(HOUR_RATE / 2, num_jobs=7)})
    (stage,) = cost.stages
    assert (stage.origin, stage.measured_over, cost.device_hours) == ("measured", 7, pytest.approx(8))


def test_cost_without_hardware_is_missing_not_zero() -> None:
    cost = make_cost(plan_of())
    (stage,) = cost.stages
    assert (stage.origin, stage.seconds_per_job, stage.device_hours) == ("unknown", None, None)
    assert (cost.device_hours, cost.device_hours_left, cost.wall_hours_left, cost.money, cost.places) == (None, None, None, None, None)
    assert cost.train_flops > 0


def test_cost_without_a_price_has_hours_and_no_money() -> None:
    cost = make_cost(plan_of(hardware=hardware(price_per_hour=None)))
    assert (cost.device_hours, cost.money) == (pytest.approx(4), None)


def test_cost_of_what_is_done_is_not_left() -> None:
    plan = plan_of(hardware=hardware())
    done = {plan.trials[0].chain[-1]: "done", plan.trials[1].chain[-1]: "failed"}
    cost = make_cost(plan, states=done)
    # what failed runs again only when somebody asks for it
    assert (cost.trials_done, cost.stages[0].to_run) == (1, 2)
    assert (cost.device_hours, cost.device_hours_left) == (pytest.approx(4), pytest.approx(2))
    assert (cost.money, cost.money_left) == (pytest.approx(12), pytest.approx(6))


@pytest.mark.parametrize(
    ("gpus", "devices", "seconds", "hours", "places", "wall"),
    [
        (2.0, 8, 1800, 4, 4, 0.5),  # two devices halve the time and cost the same
        (3.0, 8, 1200, 4, 2, 2 / 3),  # two of the eight stand idle
        (0.5, 1, 7200, 4, 2, 4),  # two share one
        (4.0, 2, 900, 4, 0, None),  # does not fit
    ],
)
def test_cost_job_of_several_devices_or_a_part_of_one(
    gpus: float, devices: int, seconds: float, hours: float, places: int, wall: float | None
) -> None:
    cost = make_cost(plan_of(hardware=hardware(devices=devices), resources={"gpus": gpus}))
    assert cost.stages[0].seconds_per_job == pytest.approx(seconds)
    assert (cost.device_hours, cost.places) == (pytest.approx(hours), places)
    assert cost.wall_hours_left == (None if wall is None else pytest.approx(wall))


def test_cost_wall_time_is_no_shorter_than_the_longest_chain() -> None:
    plan = zoo_plan(32, seeds=1)
    plan = Plan(make_study(hardware=hardware(peak_flops=1e9, utilisation=1.0, devices=100)), plan.arms, plan.trials, plan.jobs)
    encoder, pretrain = plan.jobs.values()
    cost = make_cost(plan)
    assert cost.wall_hours_left == pytest.approx((encoder.spec.train_flops + pretrain.spec.train_flops) / 1e9 / 3600)
    assert make_cost(plan, states={encoder.id: "done"}).wall_hours_left == pytest.approx(pretrain.spec.train_flops / 1e9 / 3600)


def test_cost_counts_a_shared_stage_once() -> None:
    cost = make_cost(zoo_plan(32, 64, seeds=2))
    assert {stage.stage: stage.jobs for stage in cost.stages} == {"encoder": 1, "pretrain": 4}
    assert (cost.jobs, cost.unshared_jobs) == (5, 8)
    assert cost.train_flops == pytest.approx(sum(stage.train_flops for stage in cost.stages))


def test_cost_one_unknown_stage_leaves_the_whole_unknown() -> None:
    plan = zoo_plan(32, seeds=1)
    known = {"pretrain": Throughput(1e9, num_jobs=1)}
    assert make_cost(plan, measured=known).device_hours is None
    encoder = next(iter(plan.jobs))
    left = make_cost(plan, measured=known, states={encoder: "done"}).device_hours_left
    assert left == pytest.approx(list(plan.jobs.values())[1].spec.train_flops / 1e9 / 3600)


def test_cost_of_a_search_takes_trials_to_be_like_the_base() -> None:
    search = {"design": [{"kind": "search", "trials": 5}]}
    study = make_study(hardware=hardware(), **search)
    base = make_plan(study, [make_arm("base", num_tokens=16)])
    cost = make_cost(make_plan(study, []), to_choose=ToChoose(base, 5))
    assert (cost.estimated, cost.trials, cost.jobs, cost.device_hours) == (True, 5, 5, pytest.approx(5))
    chosen = make_plan(study, [make_arm("num_tokens=64", num_tokens=64)])
    some = make_cost(chosen, states=dict.fromkeys(chosen.jobs, "done"), to_choose=ToChoose(base, 4))
    assert (some.trials, some.trials_done, some.device_hours, some.device_hours_left) == (5, 1, pytest.approx(5), pytest.approx(4))


def test_cost_job_of_several_machines() -> None:
    cost = make_cost(plan_of(hardware=hardware(devices=8, memory_gib=16), resources={"gpus": 2, "nodes": 2}))
    assert cost.stages[0].seconds_per_job == pytest.approx(900)  # four devices
    assert (cost.device_hours, cost.places, cost.wall_hours_left) == (pytest.approx(4), 2, pytest.approx(0.5))
    half = make_cost(plan_of(hardware=hardware(memory_gib=16), resources={"gpus": 0.5, "nodes": 2}))
    assert half.memory_limit_bytes == 8 * GIB


@pytest.mark.parametrize(("memory", "gpus", "fits"), [(16.0, 1.0, True), (14.0, 1.0, False), (16.0, 0.5, False), (None, 1.0, None)])
def test_cost_peak_memory_against_what_a_job_has(memory: float | None, gpus: float, fits: bool | None) -> None:
    cost = make_cost(plan_of(hardware=hardware(memory_gib=memory), resources={"gpus": gpus}))
    assert cost.stages[0].memory_bytes == 16e9  # 14.9 GiB
    assert cost.memory_limit_bytes == (None if memory is None else memory * min(gpus, 1) * GIB)
    assert cost.to_json()["exceeds_memory"] == (None if fits is None else not fits)


@pytest.mark.parametrize(("resources", "peak"), [({}, 16e9), ({"gpus": 0.5}, 16e9), ({"gpus": 4}, 7e9), ({"gpus": 4, "nodes": 2}, 5.5e9)])
def test_cost_peak_memory_of_several_devices_is_what_each_holds(resources: dict[str, Any], peak: float) -> None:
    plan = plan_of(resources=resources)
    shared = [SimpleNamespace(**job.spec._asdict(), shared_bytes=12e9) for job in plan.jobs.values()]  # type: ignore[attr-defined]
    jobs = {name: replace(job, spec=spec) for (name, job), spec in zip(plan.jobs.items(), shared, strict=True)}
    assert make_cost(replace(plan, jobs=jobs)).stages[0].memory_bytes == peak


def cost_of(**study: Any) -> Cost:
    return make_cost(plan_of(**study))


@pytest.mark.parametrize(
    ("limit", "both"),
    [
        ({"trials": 3}, ("4 trials", "3")),
        ({"train_flops": 9e14}, (f"{4 * JOB_FLOPS:.3g} FLOPs", "9e+14")),
        ({"device_hours": 3.5}, ("4 device-hours", "3.5")),
        ({"money": 11.5}, ("12 EUR", "11.5 EUR")),
        ({"wall_minutes": 119.0}, ("120 minutes", "119")),
    ],
)
def test_over_budget_names_cost_and_limit(limit: dict[str, Any], both: tuple[str, str]) -> None:
    (sentence,) = over_budget(cost_of(hardware=hardware(currency="EUR")), Budget.model_validate(limit))
    assert all(text in sentence for text in (*both, f"budget.{next(iter(limit))}")), sentence


def test_over_budget_just_kept_is_nothing() -> None:
    limits = {"trials": 4, "train_flops": 4 * JOB_FLOPS * 1.001, "device_hours": 4.001, "money": 12.001, "wall_minutes": 120.1}
    assert over_budget(cost_of(hardware=hardware()), Budget.model_validate(limits)) == []


def test_over_budget_says_everything_at_once() -> None:
    limits = {"trials": 1, "train_flops": 1.0, "device_hours": 1.0, "money": 1.0, "wall_minutes": 1.0}
    assert len(over_budget(cost_of(hardware=hardware()), Budget.model_validate(limits))) == 5


def test_over_budget_wall_time_only_stops_a_first_run() -> None:
    plan, limit = plan_of(hardware=hardware()), Budget(wall_minutes=1.0)
    assert len(over_budget(make_cost(plan), limit)) == 1
    assert over_budget(make_cost(plan, begun=True), limit) == []
    assert over_budget(cost_of(), limit) == []  # nobody knows how long it takes


def unknown(plan: Plan) -> Plan:
    """The same where the trainer knows nothing of its FLOPs and memory."""
    jobs = {name: replace(job, spec=job.spec._replace(train_flops=0.0, memory_bytes=0.0)) for name, job in plan.jobs.items()}  # type: ignore[attr-defined]
    return replace(plan, jobs=jobs)


def test_cost_of_unknown_flops_is_unknown_whatever_the_hardware() -> None:
    cost = make_cost(unknown(plan_of(hardware=hardware())))
    (stage,) = cost.stages
    assert (stage.origin, stage.train_flops, stage.memory_bytes, stage.throughput) == ("unknown", None, None, None)
    assert (cost.train_flops, cost.flops_left, cost.device_hours, cost.money, cost.wall_hours_left) == (None,) * 5
    document = cost.to_json()
    assert (document["peak_memory_bytes"], document["exceeds_memory"], document["device_hours"]) == (None, None, None)


def test_cost_of_unknown_flops_is_what_finished_jobs_took() -> None:
    plan = unknown(plan_of(hardware=hardware()))
    first, *_ = plan.jobs
    cost = make_cost(plan, measured={"pretrain": Throughput(None, num_jobs=1, device_seconds=1800)}, states={first: "done"})
    (stage,) = cost.stages
    assert (stage.origin, stage.measured_over, stage.throughput) == ("measured", 1, None)
    assert (stage.seconds_per_job, cost.device_hours, cost.device_hours_left) == (pytest.approx(1800), pytest.approx(2), pytest.approx(1.5))
    assert (cost.money, cost.wall_hours_left) == (pytest.approx(6), pytest.approx(0.75))
