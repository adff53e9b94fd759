"""What every store promises. A new implementation adds a line to `url`."""

import dataclasses
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ablate.attempt import Outcome, lost
from ablate.errors import EnvironmentMissing, InputError
from ablate.fingerprint import fingerprint
from ablate.journal import Point, make_point
from ablate.planned import Plan
from ablate.stores import LEASE_TTL, Lease, LeaseLost, Store, TrialStanding, open_store
from ablate.stores.tables import REVISION
from tests.conftest import make_small_plan
from tests.postgresql import Server

AXES = {"num_tokens": [16, 64]}


TTL = 0.3
"""Of leases here, seconds."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ablate.db'}"
    server: Server = request.getfixturevalue("postgresql")
    return server.new_database()


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


def test_standings_are_the_trials_without_what_they_are_made_of(store: Store, plan: Plan) -> None:
    first, second, third, _ = (trial.chain[-1] for trial in plan.trials)
    store.finish("small", done(first))
    store.finish("small", lost(second, attempt=1, cause="oom", reason="out of memory"))
    store.start("small", third, attempt=1)
    names = [field.name for field in dataclasses.fields(TrialStanding)]
    said = [[getattr(trial, name) for name in names] for trial in store.trials("small")]
    assert said == [[getattr(standing, name) for name in names] for standing in store.standings("small")]
    assert [standing.state for standing in store.standings("small")] == ["done", "failed", "running", "queued"]
    assert store.standings("another") == []


def test_jobs_in_one_state_are_found(store: Store, plan: Plan) -> None:
    assert store.jobs("small", state="running") == []
    third = plan.trials[2].chain[-1]
    store.start("small", third, attempt=1)
    assert [job.id for job in store.jobs("small", state="running")] == [third]
    assert store.jobs("small", state="running") == [job for job in store.jobs("small") if job.id == third]
    assert store.jobs("another", state="running") == []


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


def test_job_goes_through_its_states(store: Store, plan: Plan) -> None:
    job = plan.trials[0].chain[-1]
    store.start("small", job, attempt=1)
    assert store.trials("small")[0].state == "running"
    store.finish("small", done(job, loss=1.25))
    trial = store.trials("small")[0]
    assert (trial.state, trial.metrics, trial.seconds, trial.attempts) == ("done", {"loss": 1.25}, 2.0, 1)


def test_durations_are_those_of_jobs_that_are_done(store: Store, plan: Plan) -> None:
    first, second, *_ = plan.jobs
    store.finish("small", done(first))
    store.finish("small", replace(done(second), state="failed", cause="user"))
    assert store.durations([*plan.jobs, "unknown"]) == {first: 2.0}


def test_seconds_used_are_of_all_attempts_and_of_a_shared_job_once(store: Store, plan: Plan) -> None:
    first, second, *_ = plan.jobs
    assert store.seconds_used(plan.jobs) is None
    store.finish("small", replace(done(first), state="lost", cause="lost", seconds=5.0), final=False)
    store.finish("small", replace(done(first), attempt=2))
    store.finish("small", replace(done(second), state="failed", cause="user"))
    assert store.seconds_used([*plan.jobs, *plan.jobs, "unknown"]) == 9.0
    store.finish("small", replace(done(first), attempt=3))  # an artefact is built again
    assert store.seconds_used(plan.jobs) == 11.0
    assert store.seconds_used([]) is None


def test_result_stays_what_it_was_when_its_job_runs_again(store: Store, plan: Plan) -> None:
    """An artefact was damaged, and is built again."""
    job = plan.trials[0].chain[-1]
    store.finish("small", done(job, loss=1.5))
    store.finish("small", done(job, attempt=2, loss=9.0))
    store.finish("small", replace(done(job, attempt=3, loss=8.0), state="failed", cause="user"))
    (trial, *_) = store.trials("small")
    assert (trial.state, trial.metrics, trial.attempts) == ("done", {"loss": 1.5}, 1)
    assert [attempt.state for attempt in store.attempts([job])] == ["done", "done", "failed"]


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
@pytest.mark.fault("F27")
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
    assert store.curve([job], after=2) == [(job, 3, "loss", 1 / 3)]


def test_newest_points_are_those_of_the_last_step_of_the_last_attempt(store: Store, plan: Plan) -> None:
    one, other, silent = (trial.chain[-1] for trial in plan.trials[:3])
    store.add_points({(one, 1): [make_point(9, "loss", 1.0)], (one, 2): [make_point(5, "loss", 4.0), make_point(6, "loss", 3.0)]})
    store.add_points({(one, 2): [make_point(6, "acc", 0.5)], (other, 1): [make_point(2, "acc", math.nan)]})
    assert sorted(store.newest_points([one, other, silent])) == sorted(
        [(one, 6, "acc", 0.5), (one, 6, "loss", 3.0), (other, 2, "acc", None)]
    )
    assert store.num_points([one, other, silent]) == {"loss": 3, "acc": 2}
    assert store.num_points([]) == {}


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
    assert reader.job_states([plan.trials[0].chain[-1]]) == {plan.trials[0].chain[-1]: ("running", 1)}
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


def test_newer_schema_is_refused(url: str, store: Store) -> None:
    store.close()
    change(url, "UPDATE ablate_revision SET version_num = '99'")
    for write in (False, True):
        with pytest.raises(EnvironmentMissing, match=f"schema 99, this program reads up to {REVISION}"):
            open_store(url, write=write)
    change(url, "UPDATE ablate_revision SET version_num = '2'")
    open_store(url).close()


def test_text_that_a_database_refuses_is_stored_all_the_same(store: Store, plan: Plan) -> None:
    job = plan.trials[0].chain[-1]
    store.finish("small", Outcome(job=job, attempt=1, state="failed", cause="user", reason="a\0b \ud800 c"))
    assert store.trials("small")[0].reason == "a\N{REPLACEMENT CHARACTER}b ? c"


@pytest.mark.parametrize("value", [0.1, 1e-320, 5e-324, 1.7976931348623157e308, -1 / 3])
def test_number_comes_back_bit_for_bit(store: Store, plan: Plan, value: float) -> None:
    job = plan.trials[0].chain[-1]
    store.finish("small", done(job, loss=value))
    store.add_points({(job, 1): [make_point(1, "loss", value)]})
    found = store.trials("small")[0].metrics["loss"]
    (point,) = store.curve([job])
    assert (found, point[3]) == (value, value)


def test_attempts_come_back_in_order_with_their_details(store: Store, plan: Plan) -> None:
    job = plan.trials[0].chain[-1]
    details = {"commit": "abc", "seconds": {"start": 0.5}}
    store.finish("small", dataclasses.replace(done(job, attempt=2), details=details))
    store.finish("small", Outcome(job=job, attempt=1, state="lost", cause="lost", reason="died"), final=False)
    first, second = store.attempts([job, "unknown"])
    assert (first.number, first.state, first.details) == (1, "lost", None)
    assert (second.number, second.state, second.details, second.host) == (2, "done", details, "here")


def test_lease_is_held_by_one_until_it_is_given_back(store: Store) -> None:
    assert store.holder("small") is None
    lease = store.claim("small", owner="first", ttl=TTL)
    holder = store.holder("small")
    assert holder is not None
    assert (holder.lease, lease.epoch) == (lease, 1)
    assert store.claim("another", owner="first", ttl=TTL).epoch == 1
    store.release(lease)
    assert store.holder("small") is None
    assert store.claim("small", owner="second", ttl=TTL).epoch == 2


def test_study_is_live_as_long_as_its_lease_is_beaten(store: Store, plan: Plan, url: str) -> None:
    lease = store.claim("small", owner="one", ttl=TTL)
    assert [record.active for record in store.studies()] == [True]
    silence(url, by=LEASE_TTL + 1)
    assert [record.active for record in store.studies()] == [False]
    store.beat(lease)
    assert store.study("small").active  # type: ignore[union-attr]
    store.release(lease)
    assert not store.study("small").active  # type: ignore[union-attr]


def silence(url: str, *, by: float) -> None:
    """As if the last beats were this much longer ago."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+pg8000://"))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE leases SET beaten = beaten - :by"), {"by": by})
    engine.dispose()


def test_lease_of_a_holder_that_lives_is_refused_by_name(store: Store, url: str) -> None:
    lease = store.claim("small", owner="ablate run small.yaml")
    challenger = open_store(url, write=True)
    with (
        beating(store, lease, every=0.35),
        pytest.raises(EnvironmentMissing, match=rf"ablate run small.yaml \(process {lease.pid} on {lease.host}\)"),
    ):
        challenger.claim("small", owner="second", ttl=60)
    challenger.close()


def test_lease_of_a_silent_holder_is_taken_over_after_the_time_to_live(store: Store, url: str) -> None:
    lost = store.claim("small", owner="first", ttl=TTL)
    challenger = open_store(url, write=True)
    taken = challenger.claim("small", owner="second", ttl=TTL)
    assert (taken.owner, taken.epoch) == ("second", 2)
    with pytest.raises(LeaseLost, match="to second"):
        store.beat(lost)
    store.release(lost)
    holder = challenger.holder("small")
    assert holder is not None
    assert holder.lease == taken
    challenger.close()


def test_lease_is_taken_as_soon_as_it_is_free_while_waiting(store: Store, url: str) -> None:
    lease = store.claim("small", owner="first")
    challenger = open_store(url, write=True)
    with beating(store, lease):
        timer = threading.Timer(0.2, store.release, [lease])
        timer.start()
        assert challenger.claim("small", owner="second", ttl=60, wait=60).epoch == 2
    timer.join()
    challenger.close()


def test_of_many_challengers_one_gets_the_lease(store: Store, url: str) -> None:
    store.claim("small", owner="dead", ttl=TTL)
    won: list[Lease] = []

    def challenge(number: int) -> None:
        opened = open_store(url, write=True)
        try:
            won.append(opened.claim("small", owner=f"challenger {number}", ttl=TTL))
            with beating(opened, won[-1]):
                ended.wait(30)
        except EnvironmentMissing:
            refused.release()
        opened.close()

    refused, ended = threading.Semaphore(0), threading.Event()
    threads = [threading.Thread(target=challenge, args=[number], daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        assert refused.acquire(timeout=30)
    ended.set()
    for thread in threads:
        thread.join()
    assert [lease.epoch for lease in won] == [2]


@pytest.mark.fault("F23")
def test_writer_whose_lease_was_taken_writes_nothing(store: Store, plan: Plan, url: str) -> None:
    job = plan.trials[0].chain[-1]
    old = store.fenced(store.claim("small", owner="old", ttl=TTL))
    old.start("small", job, attempt=1)
    new = store.fenced(store.claim("small", owner="new", ttl=TTL))
    before = content(url)
    for write in (
        lambda: old.record_plan(dataclasses.replace(plan, trials=plan.trials[:1]), axes=AXES, simulated=True),
        lambda: old.add_event("small", "run started"),
        lambda: old.start("small", job, attempt=2),
        lambda: old.finish("small", done(job)),
        lambda: old.skip("small", job, because="x"),
        lambda: old.requeue("small", [job], why="x"),
        lambda: old.add_points({(job, 1): [make_point(1, "loss", 1.0)]}),
    ):
        with pytest.raises(LeaseLost, match="lost the lease on 'small' to new"):
            write()
    assert content(url) == before
    new.finish("small", done(job))
    assert store.job_states([job]) == {job: ("done", 1)}


def test_lease_that_was_given_back_lets_nothing_be_written(store: Store, plan: Plan) -> None:
    lease = store.claim("small", owner="old", ttl=TTL)
    store.release(lease)
    with pytest.raises(LeaseLost, match="nobody holds it"):
        store.fenced(lease).add_event("small", "run started")


@contextmanager
def beating(store: Store, lease: Lease, *, every: float = 0.02) -> Iterator[None]:
    """A holder that lives, until it is told that it lost."""
    ended = threading.Event()

    def beat() -> None:
        try:
            while not ended.wait(every):
                store.beat(lease)
        except LeaseLost:
            return

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def engine_of(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+pg8000://"))


def change(url: str, statement: str) -> None:
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def content(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    engine, found = engine_of(url), {}
    with engine.connect() as connection:
        for name in sorted(sa.inspect(connection).get_table_names()):
            rows = connection.execute(sa.select(sa.text("*")).select_from(sa.table(name)))
            found[name] = sorted((tuple(row) for row in rows), key=repr)
    engine.dispose()
    return found
