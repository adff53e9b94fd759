"""A search and a planned study that are run at once: refused where the search may come upon a job of the other, and only there."""

from collections.abc import Callable
from typing import Any

import pytest

from ablate.attempt import Outcome
from ablate.design import make_arms
from ablate.errors import EnvironmentMissing
from ablate.planned import Plan, job_identity
from ablate.planner import make_plan
from ablate.record import Recorder
from ablate.shared_work import refuse_shared_work, within_reach
from ablate.stores import Store
from ablate.study import Study
from ablate.workspace import Workspace
from tests.conftest import make_study

SEARCH: dict[str, Any] = {"design": {"kind": "search", "trials": 4, "sampler": "random"}, "name": "search"}
ZOO: dict[str, Any] = {"trainer": "model_zoo", "metric": {"name": "val_loss", "goal": "min"}}


@pytest.fixture
def running(store: Store, workspace: Workspace) -> Callable[[Study], Plan]:
    """A study whose run has just begun."""

    def begin(study: Study) -> Plan:
        plan = plan_of(study)
        store.claim(study.name, owner="another run")
        Recorder(plan, store=store, workspace=workspace, axes={}, simulated=True)
        return plan

    return begin


def plan_of(study: Study) -> Plan:
    return make_plan(study, [] if study.search else make_arms(study))


def reached(search: Study, planned: Study) -> set[str]:
    """Stages of the planned study's jobs that the search may come to."""
    plan = plan_of(planned)
    identities = {name: job_identity(job.spec, trainer=job.trainer, seed=job.seed, needs=job.needs) for name, job in plan.jobs.items()}
    return {plan.jobs[name].spec.name for name in within_reach(search, identities)}


RATES = {"peak_lr": {"log": [1e-5, 1e-2]}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"axes": {"peak_lr": [1e-4, 1e-3]}}, True),
        ({"axes": {"num_tokens": [16, 64]}}, True),  # 64 is the base's own
        ({"axes": {"num_tokens": [16, 36]}, "base": {"image_size": 224}}, False),
        ({"axes": {"peak_lr": [1e-4, 1e-3]}, "seeds": [5]}, False),
        ({"axes": {"peak_lr": [1e-4, 1e-3]}, "base": {"steps": 7}}, False),
    ],
)
def test_search_between_bounds_reaches_what_differs_in_its_axes_alone(changes: dict[str, Any], expected: bool) -> None:
    search = make_study(axes=RATES, base={"num_tokens": 64}, **SEARCH)
    planned = make_study(name="planned", **{"base": {"num_tokens": 64}} | changes)
    assert bool(reached(search, planned)) is expected


def test_search_that_may_come_to_every_job_of_a_grid_is_found_to() -> None:
    """Whatever the search could draw: each arm of the whole space, planned, is within reach."""
    axes = {"connector": ["avg_pool", "c_abstractor"], "image_size": [224, 336], "num_tokens": [16, 64]}
    search, grid = make_study(axes=axes, **SEARCH), make_study(name="planned", axes=axes, design={"kind": "grid"})
    plan = plan_of(grid)
    identities = {name: job_identity(job.spec, trainer=job.trainer, seed=job.seed, needs=job.needs) for name, job in plan.jobs.items()}
    assert set(within_reach(search, identities)) == set(plan.jobs)


def test_shared_stage_of_the_zoo_is_within_reach_though_the_last_one_is_not() -> None:
    rates = {"train.learning_rate": {"log": [1e-4, 1e-2]}}
    search = make_study(axes=rates, **ZOO, **SEARCH)
    other_decoder = make_study(name="planned", axes={"connector.num_tokens": [1, 4]}, base={"decoder": {"depth": 3}}, **ZOO)
    assert reached(search, other_decoder) == {"encoder"}
    other_encoder = make_study(name="planned", axes={"connector.num_tokens": [1, 4]}, base={"encoder": {"width": 32}}, **ZOO)
    assert reached(search, other_encoder) == set()
    of_encoders = make_study(axes={"encoder.width": [32, 64]}, **ZOO, **SEARCH)
    assert reached(of_encoders, other_encoder) == {"encoder", "pretrain"}


def test_stage_that_only_some_levels_have_is_within_reach() -> None:
    search = make_study(axes={"encoder.pretrain.objective": ["none", "contrastive"]}, **ZOO, **SEARCH)
    planned = make_study(name="planned", axes={"encoder.pretrain.objective": ["contrastive"]}, base={"decoder": {"depth": 3}}, **ZOO)
    assert reached(search, planned) == {"encoder"}


@pytest.mark.parametrize("search_first", [True, False])
@pytest.mark.fault("F21")
def test_second_of_the_two_is_refused_and_told_what_to_do(search_first: bool, running: Callable[[Study], Plan], store: Store) -> None:
    search = make_study(axes=RATES, **SEARCH)
    planned = make_study(name="planned", axes={"peak_lr": [1e-4, 1e-3]})
    first, second = (search, planned) if search_first else (planned, search)
    running(first)
    with pytest.raises(EnvironmentMissing, match=f"'{second.name}' and '{first.name}', which is being run, have 2 such jobs.*--workspace"):
        refuse_shared_work(plan_of(second), store)


def test_studies_that_cannot_meet_are_run_at_once(running: Callable[[Study], Plan], store: Store) -> None:
    search = make_study(axes=RATES, **SEARCH)
    running(make_study(name="planned", axes={"num_tokens": [16, 36]}, base={"steps": 7}))
    refuse_shared_work(plan_of(search), store)
    running(make_study(axes=RATES, **SEARCH | {"name": "another"}, base={"steps": 7}))
    running(make_study(axes=RATES, **SEARCH | {"name": "of-other-seeds"}, seeds=[5]))
    refuse_shared_work(plan_of(search), store)


@pytest.mark.parametrize("axes", [RATES, {"num_tokens": [16, 64]}, {"peak_lr": [1e-3], "num_tokens": [16, 36]}])
@pytest.mark.fault("F21")
def test_second_of_two_searches_over_the_same_trials_is_refused(
    axes: dict[str, Any], running: Callable[[Study], Plan], store: Store
) -> None:
    running(make_study(axes=RATES, **SEARCH | {"name": "another"}))
    with pytest.raises(EnvironmentMissing, match=r"'search' and 'another', which is being run, have trials in common.*--workspace"):
        refuse_shared_work(plan_of(make_study(axes=axes, **SEARCH)), store)


def test_two_searches_that_share_only_an_earlier_stage_are_run_at_once(running: Callable[[Study], Plan], store: Store) -> None:
    rates = {"train.learning_rate": {"log": [1e-4, 1e-2]}}
    running(make_study(axes=rates, base={"decoder": {"depth": 3}}, **ZOO, **SEARCH | {"name": "another"}))
    refuse_shared_work(plan_of(make_study(axes=rates, **ZOO, **SEARCH)), store)


def test_search_whose_trials_end_where_another_ones_go_on_is_refused(running: Callable[[Study], Plan], store: Store) -> None:
    rates = {"train.learning_rate": {"log": [1e-4, 1e-2]}}
    running(make_study(axes=rates, base={"sft": {"train": {"steps": 20}}}, **ZOO, **SEARCH | {"name": "another"}))
    with pytest.raises(EnvironmentMissing, match="trials in common"):
        refuse_shared_work(plan_of(make_study(axes=rates, **ZOO, **SEARCH)), store)


def test_what_is_done_is_no_longer_to_be_met(running: Callable[[Study], Plan], store: Store, workspace: Workspace) -> None:
    plan = running(make_study(name="planned", axes={"peak_lr": [1e-4, 1e-3]}))
    for job in plan.jobs:
        store.start("planned", job, attempt=1)
        store.finish("planned", Outcome(job, 1, "done"))
    refuse_shared_work(plan_of(make_study(axes=RATES, **SEARCH)), store)


def test_job_that_a_search_ended_early_is_to_be_done_by_a_planned_run(running: Callable[[Study], Plan], store: Store) -> None:
    plan = running(make_study(name="planned", axes={"peak_lr": [1e-4]}))
    for job in plan.jobs:
        store.start("planned", job, attempt=1)
        store.finish("planned", Outcome(job, 1, "pruned", cause="pruned"))
    with pytest.raises(EnvironmentMissing, match="may come upon"):
        refuse_shared_work(plan_of(make_study(axes=RATES, **SEARCH)), store)


def test_level_that_stands_only_with_another_one_may_change_anything() -> None:
    """25 tokens need a grid of 5 x 5, so the level alone is refused and nobody knows what it changes."""
    search = make_study(axes={"connector.num_tokens": [4, 25], "encoder.image_size": [16, 20]}, **ZOO, **SEARCH)
    planned = make_study(name="planned", axes={"connector.num_tokens": [1]}, base={"decoder": {"depth": 3}}, **ZOO)
    assert reached(search, planned) == {"encoder", "pretrain"}
    plain = make_study(axes={"connector.num_tokens": [4, 1], "encoder.image_size": [16, 20]}, **ZOO, **SEARCH)
    assert reached(plain, planned) == {"encoder"}
