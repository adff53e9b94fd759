"""A trial that goes on from another one's weights is a trial of its own, which never starts from scratch unnoticed."""

from pathlib import Path
from typing import Any

import pytest

from ablate.attempt import execute
from ablate.continued import FROM, Donor, continued, trials_to_choose
from ablate.design import arm_for
from ablate.planned import Plan
from ablate.planner import make_plan
from ablate.preview import plan_so_far
from ablate.search import past_points
from ablate.stores import open_store
from ablate.study import Study
from ablate.weights import WEIGHTS, keep_weights
from ablate.workspace import Workspace
from tests.conftest import make_study


@pytest.fixture
def study() -> Study:
    return make_study(
        axes={"peak_lr": {"log": [1e-7, 1e-2]}},
        base={"steps": 6, "step_seconds": 0.001},
        design={"kind": "search", "trials": 4, "stop_early": "pbt", "max_steps": 6},
    )


def trial_at(study: Study, rate: float) -> Plan:
    return make_plan(study, [arm_for(study, {"peak_lr": rate})])


def donor_in(plan: Plan, *, step: int = 2) -> Donor:
    return Donor(plan.trials[-1].id, plan.trials[-1].chain[-1], step)


def joined(*plans: Plan) -> Plan:
    jobs: dict[str, Any] = {}
    for plan in plans:
        jobs |= plan.jobs
    return Plan(plans[0].study, (), tuple(trial for plan in plans for trial in plan.trials), jobs)


def test_identity_says_whose_weights_and_from_which_step(study: Study) -> None:
    scratch, other = trial_at(study, 1e-4), trial_at(study, 1e-3)
    ids = {
        scratch.trials[0].chain[-1],
        *(continued(scratch, donor_in(plan, step=step)).trials[0].chain[-1] for plan in (other, trial_at(study, 1e-5)) for step in (2, 3)),
    }
    assert len(ids) == 5
    assert continued(scratch, donor_in(other)) == continued(scratch, donor_in(other))


def test_name_and_changes_say_where_it_went_on_from(study: Study) -> None:
    donor = donor_in(trial_at(study, 1e-3))
    (trial,) = continued(trial_at(study, 2e-4), donor).trials
    assert trial.arm == f"peak_lr=0.0002,from {donor.trial[-8:]}@2"
    assert trial.changes[FROM] == f"{donor.trial}@2"
    assert [job.partition("-")[0] for job in trial.chain] == [WEIGHTS, "pretrain"]
    assert trial.levels == {"peak_lr": 2e-4}


def test_plan_of_a_search_that_goes_on_has_its_copies_and_copies_of_copies(study: Study, workspace: Workspace) -> None:
    first, second = trial_at(study, 1e-4), trial_at(study, 1e-3)
    child = continued(trial_at(study, 2e-4), donor_in(first))
    plan = joined(first, second, child, continued(trial_at(study, 3e-4), donor_in(child, step=4)))
    store = open_store(workspace.store_url, write=True)
    store.record_plan(plan, axes={"peak_lr": []}, simulated=True)
    found = plan_so_far(study, store)
    assert found.trials == plan.trials
    assert found.jobs.keys() == plan.jobs.keys()
    assert {name: job.needs for name, job in found.jobs.items()} == {name: job.needs for name, job in plan.jobs.items()}
    assert trials_to_choose(found) == 2
    assert past_points(study, store.trials("small")) == []
    store.close()


def test_only_trials_from_scratch_are_told_to_a_sampler(study: Study, workspace: Workspace) -> None:
    first = trial_at(study, 1e-4)
    child = continued(trial_at(study, 2e-4), donor_in(first))
    store = open_store(workspace.store_url, write=True)
    store.record_plan(joined(first, child), axes={"peak_lr": []}, simulated=True)
    for plan in (first, child):
        job = plan.jobs[plan.trials[0].chain[-1]]
        if WEIGHTS in job.needs:
            keep_weights(plan.jobs[job.needs[WEIGHTS]], b"2", workspace=workspace)
        store.finish("small", execute(job, workspace=workspace, number=1))
    assert [trial.state for trial in store.trials("small")] == ["done", "done"]
    assert [told.levels["peak_lr"] for told in past_points(study, store.trials("small"))] == [1e-4]
    store.close()


def test_attempt_goes_on_from_the_weights_and_then_from_its_own_checkpoint(study: Study, workspace: Workspace) -> None:
    child = continued(trial_at(study, 2e-4), donor_in(trial_at(study, 1e-4), step=4))
    weights, job = (child.jobs[name] for name in child.trials[0].chain)
    keep_weights(weights, b"4", workspace=workspace)
    assert execute(job, workspace=workspace, number=1).state == "done"
    assert steps_of(workspace.attempt(job.id, 1)) == [5, 6]
    execute(job, workspace=workspace, number=2)
    assert steps_of(workspace.attempt(job.id, 2)) == [6]  # its own checkpoint is of step 5


def test_attempt_whose_weights_are_gone_or_damaged_does_not_start_from_scratch(study: Study, workspace: Workspace) -> None:
    child = continued(trial_at(study, 2e-4), donor_in(trial_at(study, 1e-4), step=4))
    weights, job = (child.jobs[name] for name in child.trials[0].chain)
    assert execute(job, workspace=workspace, number=1).cause == "artefact"
    keep_weights(weights, b"4", workspace=workspace)
    (workspace.artifacts / weights.id / "state").write_bytes(b"0")
    outcome = execute(job, workspace=workspace, number=2)
    assert (outcome.state, outcome.cause) == ("lost", "artefact")
    assert "state is not what was written" in outcome.reason
    assert outcome.metrics == ()


def steps_of(attempt: Path) -> list[int]:
    from ablate.journal import read_points

    return sorted({point.step for point in read_points(attempt / "metrics.jsonl")[0]})
