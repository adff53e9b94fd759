"""The tally of a running study, against the store that the same events were recorded in."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from ablate.attempt import Outcome
from ablate.design import make_arms
from ablate.planned import Plan
from ablate.planner import make_plan
from ablate.progress import Tally
from ablate.record import Recorder
from ablate.schedule import Event, Finished, Skipped, Started
from ablate.stores import Store
from ablate.workspace import Workspace
from tests.conftest import make_study


def shared_plan() -> Plan:
    """Eight trials of two decoders and two connectors, two seeds; all share their seed's encoder."""
    study = make_study(
        trainer="model_zoo",
        axes={"decoder.width": [32, 64], "connector.kind": ["avg_pool", "attention_pool"]},
        seeds=2,
        metric={"name": "val_loss", "goal": "min"},
    )
    return make_plan(study, make_arms(study))


def events_of(plan: Plan, dice: random.Random) -> Iterator[Event]:
    """Every job begins and ends in some way, its needs first; what needs a failed one is skipped."""
    broken = set[str]()
    for job in plan.jobs.values():
        if broken & set(job.needs.values()):
            broken.add(job.id)
            yield Skipped(job.id, because=next(iter(broken & set(job.needs.values()))))
            continue
        yield Started(job.id, 1)
        if dice.random() < 0.3:
            yield Finished(Outcome(job.id, 1, "lost", cause="lost", started=1.0, seconds=1.0), final=False)
            yield Started(job.id, 2)
        state, cause = dice.choice([("done", None), ("done", None), ("failed", "user"), ("lost", "interrupted")])
        if state != "done":
            broken.add(job.id)
        yield Finished(Outcome(job.id, 2, state, cause=cause, started=1.0, seconds=2.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_the_store_after_every_event(seed: int, store: Store, workspace: Workspace) -> None:
    plan = shared_plan()
    recorder = Recorder(plan, store=store, workspace=workspace, axes={}, simulated=False)
    for event in events_of(plan, random.Random(seed)):
        recorder.apply(event)
        assert recorder.progress().counts == Counter(trial.state for trial in store.trials("small"))
        left = [job for job in store.jobs("small") if job.state in ("queued", "running")]
        assert recorder.progress().jobs_left == len(left)


def test_rest_takes_the_mean_of_its_kind_or_else_of_its_stage() -> None:
    plan, tally = shared_plan(), Tally()
    tally.add(plan.trials, jobs=plan.jobs, states=dict.fromkeys(plan.jobs, "queued"))
    encoders = [job for job in plan.jobs.values() if job.spec.name == "encoder"]
    others = [job for job in plan.jobs.values() if job.spec.name != "encoder"]
    assert tally.seconds_left({}, at_a_time=1) is None
    tally.learn("encoder", encoders[0].spec.train_flops, 4.0)
    for job in encoders:
        tally.put(job.id, "done")
    first, *_ = others
    tally.learn("pretrain", first.spec.train_flops, 10.0)
    tally.learn("pretrain", first.spec.train_flops, 30.0)
    tally.learn("pretrain", 1.0, 80.0)
    tally.put(first.id, "running")
    alike = sum(job.spec.train_flops == first.spec.train_flops for job in others)
    expected = 20.0 * alike + 40.0 * (len(others) - alike)
    assert 0 < alike < len(others)
    assert tally.seconds_left({}, at_a_time=1) == expected
    assert tally.seconds_left({first.id: 5.0}, at_a_time=2) == (expected - 5) / 2
    assert tally.seconds_left({first.id: 500.0}, at_a_time=2) == (expected - 20) / 2  # overdue is not less than nothing
    assert tally.seconds_left({}, at_a_time=1, more=2, last_stage="pretrain") == expected + 80
    assert tally.seconds_left({}, at_a_time=1, more=2, last_stage="sft") is None
