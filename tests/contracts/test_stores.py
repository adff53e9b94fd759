"""What every store promises. A new implementation adds a line to `store_urls`."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ablate.attempt import Outcome, Point, make_point
from ablate.errors import EnvironmentMissing, InputError
from ablate.fingerprint import fingerprint
from ablate.planner import Plan
from ablate.stores import Store, open_store
from tests.conftest import make_small_plan

AXES = {"num_tokens": [16, 64]}


@pytest.fixture(params=["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    assert request.param == "sqlite"
    return f"sqlite:///{tmp_path / 'ablate.db'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url, write=True)
    yield opened
    opened.close()


@pytest.fixture
def plan(store: Store) -> Plan:
    made = make_small_plan()
    store.record_plan(made, axes=AXES, simulated=True)
    return made


def done(job: str, *, attempt: int = 1, loss: float = 1.5) -> Outcome:
    points = (make_point(10, "loss", loss),)
    return Outcome(job=job, attempt=attempt, state="done", metrics=points, started=100.0, seconds=2.0, host="here", pid=7)


def test_plan_recorded_is_read_back_whole(store: Store, plan: Plan) -> None:
    trials = store.trials("small")
    assert [(trial.id, trial.arm, trial.seed) for trial in trials] == [(trial.id, trial.arm, trial.seed) for trial in plan.trials]
    assert {trial.state for trial in trials} == {"queued"}
    assert trials[0].levels == {"num_tokens": 16}
    record = store.study("small")
    assert record is not None
    assert (record.axes, record.simulated, record.active) == (AXES, True, False)
    assert record.spec["metric"] == {"name": "loss", "goal": "min", "noise_sd": None}


def test_plan_recorded_twice_keeps_what_is_done(store: Store, plan: Plan) -> None:
    store.finish("small", done(plan.trials[0].chain[-1]))
    store.record_plan(plan, axes=AXES, simulated=True)
    assert [trial.state for trial in store.trials("small")] == ["done", "queued", "queued", "queued"]


def test_first_plan_declares_the_study(store: Store, plan: Plan) -> None:
    (declared,) = store.declarations("small")
    record = store.study("small")
    assert record is not None
    assert (declared.spec, declared.time) == (record.spec, record.created)
    assert store.declarations("another") == []


def test_only_another_spec_is_declared_again(store: Store, plan: Plan) -> None:
    store.record_plan(plan, axes=AXES, simulated=True)
    assert len(store.declarations("small")) == 1
    edited = plan.study.model_copy(update={"question": "Why?"})
    store.record_plan(dataclasses.replace(plan, study=edited), axes=AXES, simulated=True)
    first, second = store.declarations("small")
    assert (first.spec["question"], second.spec["question"]) == ("", "Why?")
    assert first.time < second.time


def test_proposed_trials_are_added_one_by_one_and_declare_nothing(store: Store) -> None:
    whole = make_small_plan(name="search")
    for count in range(len(whole.trials) + 1):
        store.record_plan(dataclasses.replace(whole, trials=whole.trials[:count]), axes=AXES, simulated=True)
        assert [trial.id for trial in store.trials("search")] == [trial.id for trial in whole.trials[:count]]
    assert len(store.declarations("search")) == 1


def test_trial_that_ended_is_stale_without_its_plan(store: Store, plan: Plan) -> None:
    base, *_, last = plan.trials
    store.finish("small", done(last.chain[-1], loss=1.25))
    store.finish("small", done(base.chain[-1]))
    store.record_plan(dataclasses.replace(plan, trials=plan.trials[:2]), axes=AXES, simulated=True)
    assert [trial.id for trial in store.trials("small")] == [trial.id for trial in plan.trials[:2]]
    (stale,) = store.stale_trials("small")
    assert (stale.trial.id, stale.trial.state, stale.trial.metrics) == (last.id, "done", {"loss": 1.25})
    assert stale.since == store.study("small").updated  # type: ignore[union-attr]
    assert set(store.job_states(plan.jobs)) == set(plan.jobs)


@pytest.mark.parametrize("state", ["failed", "pruned"])
def test_trial_that_failed_or_was_pruned_is_kept_as_stale_too(store: Store, plan: Plan, state: str) -> None:
    store.finish("small", dataclasses.replace(done(plan.trials[3].chain[-1]), state=state))  # type: ignore[arg-type]
    store.record_plan(dataclasses.replace(plan, trials=plan.trials[:2]), axes=AXES, simulated=True)
    assert [stale.trial.state for stale in store.stale_trials("small")] == [state]


def test_stale_trial_comes_back_with_its_plan(store: Store, plan: Plan) -> None:
    store.finish("small", done(plan.trials[3].chain[-1]))
    for trials in (plan.trials[:2], plan.trials):
        store.record_plan(dataclasses.replace(plan, trials=trials), axes=AXES, simulated=True)
    assert [trial.state for trial in store.trials("small")] == ["queued", "queued", "queued", "done"]
    assert store.stale_trials("small") == []


def test_result_under_another_arms_name_is_not_stale(store: Store, plan: Plan) -> None:
    store.finish("small", done(plan.trials[3].chain[-1]))
    renamed = [dataclasses.replace(trial, id=f"new-{trial.id}", arm=f"new {trial.arm}") for trial in plan.trials]
    store.record_plan(dataclasses.replace(plan, trials=tuple(renamed)), axes=AXES, simulated=True)
    assert [trial.state for trial in store.trials("small")] == ["queued", "queued", "queued", "done"]
    assert store.stale_trials("small") == []


def test_identity_of_a_job_is_what_its_id_is_made_of(store: Store, plan: Plan) -> None:
    found = store.identities([*plan.jobs, "unknown"])
    assert {job: f"pretrain-{fingerprint(identity)}" for job, identity in found.items()} == {job: job for job in plan.jobs}


def test_store_from_before_declarations_is_read_and_goes_on(store: Store, plan: Plan, url: str) -> None:
    before = store.study("small")
    assert before is not None
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table in ("declarations", "identities", "stale_trials"):
            connection.execute(sa.text(f"DROP TABLE {table}"))
    engine.dispose()
    reader = open_store(url)
    assert (reader.declarations("small"), reader.stale_trials("small"), reader.identities(plan.jobs)) == ([], [], {})
    assert len(reader.trials("small")) == 4
    writer = open_store(url, write=True)
    # the spec it had last, at the last time it is known to have had it
    assert [(one.spec, one.time) for one in reader.declarations("small")] == [(before.spec, before.updated)]
    writer.record_plan(plan, axes=AXES, simulated=True)
    assert set(reader.identities(plan.jobs)) == set(plan.jobs)
    for opened in (reader, writer):
        opened.close()


def test_job_goes_through_its_states(store: Store, plan: Plan) -> None:
    job = plan.trials[0].chain[-1]
    store.start("small", job, attempt=1)
    assert store.trials("small")[0].state == "running"
    store.finish("small", done(job, loss=1.25))
    trial = store.trials("small")[0]
    assert (trial.state, trial.metrics, trial.seconds, trial.attempts) == ("done", {"loss": 1.25}, 2.0, 1)


def test_done_job_is_never_undone(store: Store, plan: Plan) -> None:
    job = plan.trials[0].chain[-1]
    store.finish("small", done(job))
    store.requeue("small", [job], why="test")
    store.start("small", job, attempt=2)
    store.skip("small", job, because="another")
    assert store.job_states([job]) == {job: ("done", 1)}


def test_lost_attempt_that_will_be_tried_again_is_queued(store: Store, plan: Plan) -> None:
    job = plan.trials[0].chain[-1]
    store.start("small", job, attempt=1)
    store.finish("small", Outcome(job=job, attempt=1, state="lost", cause="lost", reason="died"), final=False)
    assert store.job_states([job]) == {job: ("queued", 1)}


def test_failed_job_says_why(store: Store, plan: Plan) -> None:
    job = plan.trials[1].chain[-1]
    store.finish("small", Outcome(job=job, attempt=1, state="failed", cause="user", reason="RuntimeError: no"))
    trial = store.trials("small")[1]
    assert (trial.state, trial.cause, trial.reason, trial.metrics) == ("failed", "user", "RuntimeError: no", {})


@pytest.mark.parametrize(("value", "kind"), [(math.nan, "nan"), (math.inf, "+inf"), (-math.inf, "-inf")])
def test_value_that_is_not_finite_is_missing_with_its_kind(store: Store, plan: Plan, value: float, kind: str) -> None:
    job = plan.trials[0].chain[-1]
    point = make_point(3, "loss", value)
    assert point == Point(3, "loss", None, kind)  # type: ignore[arg-type]
    store.finish("small", Outcome(job=job, attempt=1, state="failed", cause="nan", metrics=(point,)))
    assert store.trials("small")[0].metrics == {"loss": None}


def test_points_come_back_in_order_and_once(store: Store, plan: Plan) -> None:
    job = plan.trials[0].chain[-1]
    store.start("small", job, attempt=1)
    points = [make_point(step, "loss", 1 / step) for step in (1, 2, 3)]
    store.add_points({(job, 1): points[:2]})
    store.add_points({(job, 1): points})
    assert store.curve([job]) == [(job, 1, "loss", 1.0), (job, 2, "loss", 0.5), (job, 3, "loss", 1 / 3)]
    assert store.curve([job], keys=["other"]) == []


def test_curve_of_a_resumed_job_is_whole(store: Store, plan: Plan) -> None:
    job = plan.trials[0].chain[-1]
    first = [make_point(step, "loss", 10.0 + step) for step in (1, 2, 3, 4)]
    resumed = [make_point(step, "loss", 20.0 + step) for step in (3, 4, 5)]
    store.add_points({(job, 1): first, (job, 2): resumed})
    assert [(step, value) for _, step, _, value in store.curve([job])] == [(1, 11.0), (2, 12.0), (3, 23.0), (4, 24.0), (5, 25.0)]


def test_curve_is_that_of_the_last_attempt(store: Store, plan: Plan) -> None:
    job = plan.trials[0].chain[-1]
    store.add_points({(job, 1): [make_point(1, "loss", 9.0)], (job, 2): [make_point(1, "loss", 2.0)]})
    store.start("small", job, attempt=2)
    assert store.curve([job]) == [(job, 1, "loss", 2.0)]


def test_events_are_told_in_order_from_any_point_on(store: Store, plan: Plan) -> None:
    store.start("small", plan.trials[0].chain[-1], attempt=1)
    store.finish("small", done(plan.trials[0].chain[-1]))
    kinds = [event.kind for event in store.events("small")]
    assert kinds == ["started", "done"]
    first = store.events("small")[0]
    assert [event.kind for event in store.events("small", after=first.seq)] == ["done"]
    assert store.events("another") == []


def test_change_moves_the_studys_clock(store: Store, plan: Plan) -> None:
    before = store.study("small")
    store.start("small", plan.trials[0].chain[-1], attempt=1)
    after = store.study("small")
    assert before is not None
    assert after is not None
    assert after.updated > before.updated


def test_reader_sees_the_writer_at_once_and_changes_nothing(store: Store, plan: Plan, url: str) -> None:
    reader = open_store(url)
    store.start("small", plan.trials[0].chain[-1], attempt=1)
    assert reader.trials("small")[0].state == "running"
    with pytest.raises(EnvironmentMissing, match=r"readonly|read-only"):
        reader.start("small", plan.trials[0].chain[-1], attempt=2)
    reader.close()


def test_name_is_data_not_sql(store: Store) -> None:
    assert store.study("x'; DROP TABLE trials; --") is None
    assert store.trials("x'; DROP TABLE trials; --") == []


def test_missing_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="ablate run"):
        open_store(f"sqlite:///{tmp_path / 'none.db'}")
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ablate.db"
    path.write_bytes(b"\x89PNG" + bytes(4096))
    with pytest.raises(EnvironmentMissing, match="not a database"):
        open_store(f"sqlite:///{path}", write=True)
    assert path.read_bytes() == b"\x89PNG" + bytes(4096)


@pytest.mark.parametrize("url", ["nonsense", "sqlte:///x.db"])
def test_url_that_is_none_is_explained(url: str) -> None:
    with pytest.raises((InputError, EnvironmentMissing), match=r"URL|driver"):
        open_store(url, write=True)


def test_newer_schema_is_refused(url: str, store: Store, small_plan: Callable[..., Plan]) -> None:
    import sqlite3

    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE meta SET value = '99'")
    connection.close()
    with pytest.raises(EnvironmentMissing, match="schema 99"):
        open_store(url)
