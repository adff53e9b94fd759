"""A database that goes away while it is written to: waited for, and every transaction in it exactly once afterwards."""

import logging
import os
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from ablate.attempt import Outcome
from ablate.errors import EnvironmentMissing
from ablate.journal import make_point
from ablate.planned import Plan
from ablate.stores import Store, open_store
from ablate.stores.sql_engine import Database
from ablate.stores.tables import meta
from tests.conftest import make_small_plan
from tests.postgresql import Server

DEADLINE = 60.0
OTHERS = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"


def planned(store: Store, *, seeds: int) -> Plan:
    plan = make_small_plan(seeds=seeds)
    store.record_plan(plan, axes={}, simulated=True)
    return plan


def finish(store: Store, job: str) -> None:
    point = make_point(1, "loss", 1.5)
    store.start("small", job, attempt=1)
    store.add_points({(job, 1): [point]})
    store.finish("small", Outcome(job=job, attempt=1, state="done", metrics=(point,), started=1.0))


def told(store: Store, kind: str) -> list[str]:
    return [event.subject for event in store.events("small", limit=100_000) if event.kind == kind]


def wait_for(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        threading.Event().wait(0.01)


@contextmanager
def writing(store: Store, plan: Plan) -> Iterator[list[str]]:
    """Finishes the plan's jobs one after the other in the background; the jobs it has finished so far."""
    finished: list[str] = []

    def work() -> None:
        for job in plan.jobs:
            finish(store, job)
            finished.append(job)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield finished
    thread.join(DEADLINE)
    assert finished == list(plan.jobs)


@pytest.mark.fault("F18")
def test_idle_connection_that_was_ended_costs_nothing(postgresql: Server) -> None:
    store = open_store(postgresql.new_database(), write=True)
    plan = planned(store, seeds=1)
    assert postgresql.execute(f"SELECT count(*) {OTHERS}") > 0
    postgresql.execute(f"SELECT count(pg_terminate_backend(pid)) {OTHERS}")
    wait_for(lambda: postgresql.execute(f"SELECT count(*) {OTHERS}") == 0)
    finish(store, next(iter(plan.jobs)))
    assert told(store, "store back") == []
    assert told(store, "done") == [next(iter(plan.jobs))]
    store.close()


@pytest.mark.fault("F17")
def test_transaction_that_a_crashed_server_knows_nothing_of_did_not_take_place(postgresql: Server) -> None:
    url = postgresql.new_database()
    open_store(url, write=True).close()
    database, other = Database(url, write=True), Database(url, write=True)
    with database.engine.begin() as connection:
        known = database._sign(connection)
    with database.engine.connect() as connection:
        rolled_back = database._sign(connection)
    assert database._committed(known)
    assert not database._committed(rolled_back)
    with other.engine.begin() as connection:  # whose number is the same
        assert other._sign(connection) == known
        other._sign(connection)
    assert database._committed(known)
    with database.engine.begin() as connection:  # the server has lost what the writer has left
        connection.execute(meta.delete().where(meta.c.key.like("writer %")))
    assert not database._committed(known)
    for opened in (database, other):
        opened.close()


@pytest.mark.fault("F18")
def test_transaction_that_still_runs_is_waited_for(postgresql: Server) -> None:
    url = postgresql.new_database()
    open_store(url, write=True).close()
    database, answers = Database(url, write=True), list[bool]()
    begun, ended = threading.Event(), threading.Event()

    def ask() -> None:
        with database.engine.connect() as lost:
            number = database._sign(lost)
            committing = threading.Thread(target=lambda: (ended.wait(DEADLINE), lost.commit()), daemon=True)
            committing.start()
            begun.set()
            answers.append(database._committed(number))
            committing.join(DEADLINE)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    assert begun.wait(DEADLINE)
    wait_for(lambda: postgresql.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0)
    assert answers == []
    ended.set()
    asking.join(DEADLINE)
    assert answers == [True]
    database.close()


def test_number_of_one_thread_is_not_covered_by_another_ones(postgresql: Server) -> None:
    url = postgresql.new_database()
    open_store(url, write=True).close()
    database = Database(url, write=True)
    with database.engine.begin() as connection:
        number = database._sign(connection)
    meanwhile = threading.Thread(target=lambda: database.write(lambda connection: None, after_outage=lambda *_: None))
    meanwhile.start()
    meanwhile.join(DEADLINE)
    assert database._committed(number)
    database.close()


def test_row_of_a_killed_writer_is_cleared_away_a_year_later(postgresql: Server) -> None:
    url = postgresql.new_database()
    open_store(url, write=True).close()
    database = Database(url, write=True)
    days = [date.today() - timedelta(days=days) for days in (400, 300)]
    with database.engine.begin() as connection:
        connection.execute(meta.insert(), [{"key": f"writer {day.isoformat()} abc 1", "value": "5"} for day in days])
    open_store(url, write=True).close()
    keys = database.read(lambda connection: connection.scalars(sa.select(meta.c.key).order_by(meta.c.key)).all())
    assert keys == ["schema", f"writer {days[1].isoformat()} abc 1"]
    database.close()


def test_writer_that_has_ended_leaves_nothing_in_the_database(postgresql: Server) -> None:
    url = postgresql.new_database()
    store = open_store(url, write=True)
    finish(store, next(iter(planned(store, seeds=1).jobs)))
    store.close()
    database = Database(url, write=False)
    assert database.read(lambda connection: connection.scalars(sa.select(meta.c.key)).all()) == ["schema"]
    database.close()


@pytest.mark.slow
@pytest.mark.fault("F17")
def test_server_stopped_and_started_loses_and_repeats_nothing(postgresql: Server, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(postgresql.new_database(), write=True)
    plan = planned(store, seeds=200)
    with caplog.at_level(logging.WARNING), writing(store, plan) as finished:
        for count in (50, 150):
            wait_for(lambda count=count: len(finished) >= count)
            said = caplog.text.count("waiting for it")
            postgresql.stop()
            wait_for(lambda said=said: caplog.text.count("waiting for it") > said)
            postgresql.start()
    assert told(store, "started") == told(store, "done") == list(plan.jobs)
    assert {trial.state for trial in store.trials("small")} == {"done"}
    assert len(store.curve(plan.jobs)) == len(plan.jobs)
    back = [event for event in store.events() if event.kind == "store back"]
    assert len(back) == 2
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("reached", [True, False], ids=["committed", "not committed"])
@pytest.mark.fault("F18")
def test_commit_whose_answer_is_lost_takes_place_once(postgresql: Server, reached: bool) -> None:
    with Proxy(postgresql.port) as proxy:
        store = open_store(postgresql.new_database().replace(f":{postgresql.port}/", f":{proxy.port}/"), write=True)
        plan = planned(store, seeds=5)
        for job in plan.jobs:
            proxy.cut_next_commit(reached=reached)
            store.add_event("small", "run started")
            assert proxy.cut.is_set()
            finish(store, job)
        kinds = [event.kind for event in store.events("small")]
        assert kinds.count("run started") == kinds.count("done") == len(plan.jobs)
        store.close()


@pytest.mark.slow
@pytest.mark.fault("F18")
def test_server_with_no_connection_left_is_waited_for(postgresql: Server, caplog: pytest.LogCaptureFixture) -> None:
    url = postgresql.new_database()
    store = open_store(url, write=True)
    plan = planned(store, seeds=5)
    with caplog.at_level(logging.WARNING), ExitStack() as clients:
        store.close()  # its connections are given up; the next write needs a new one
        engine = sa.create_engine(url.replace("://", "+pg8000://"), poolclass=sa.NullPool)
        with pytest.raises(sa.exc.DBAPIError, match=r"too many clients|reserved"):
            [clients.enter_context(engine.connect()) for _ in range(30)]
        with writing(store, plan):
            wait_for(lambda: "waiting for it" in caplog.text)
            clients.close()
    assert told(store, "done") == list(plan.jobs)
    store.close()


@pytest.mark.slow
def test_server_that_is_down_is_missing_at_once_for_those_who_open_or_read(postgresql: Server) -> None:
    url = postgresql.new_database()
    reader, store = open_store(url, write=True), open_store(url)
    postgresql.stop()
    try:
        began = time.monotonic()
        with pytest.raises(EnvironmentMissing, match=r"postgresql\+pg8000://tests:\*\*\*@127.0.0.1.*cannot be used") as error:
            open_store(url.replace("tests@", "tests:secret@"), write=True)
        assert "secret" not in str(error.value)
        with pytest.raises(EnvironmentMissing, match="cannot be used"):
            store.studies()
        assert time.monotonic() - began < 5
    finally:
        postgresql.start()
    assert store.studies() == []
    for opened in (reader, store):
        opened.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a disk to fill is a tmpfs, and mounting one takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as stream:
        for size in (4096, 1):
            try:
                while True:
                    stream.write(b"x" * size)
            except OSError:
                continue
    assert shutil.disk_usage(folder).free == 0
    return filler


@pytest.mark.slow
@pytest.mark.fault("F12")
def test_full_disk_is_waited_out(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(f"sqlite:///{small_disk / 'ablate.db'}", write=True)
    plan = planned(store, seeds=50)
    filler = fill(small_disk)
    with caplog.at_level(logging.WARNING), writing(store, plan):
        wait_for(lambda: "waiting for it" in caplog.text)
        filler.unlink()
    assert told(store, "started") == told(store, "done") == list(plan.jobs)
    store.close()


@pytest.mark.slow
@pytest.mark.fault("F12")
def test_disk_that_stays_full_ends_with_what_was_written_whole(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.stores.sql.PATIENCE_SECONDS", 0.5)
    url = f"sqlite:///{small_disk / 'ablate.db'}"
    store = open_store(url, write=True)
    plan = planned(store, seeds=50)
    filler, finished = fill(small_disk), []

    def finish_all() -> None:
        for job in plan.jobs:
            finish(store, job)
            finished.append(job)

    with pytest.raises(EnvironmentMissing, match="full"):
        finish_all()
    filler.unlink()
    store.close()
    reader = open_store(url)
    assert told(reader, "done") == finished
    assert sum(trial.state == "done" for trial in reader.trials("small")) == len(finished)
    reader.close()


class Proxy:
    """Stands between a client and the server, and cuts the line at a commit: before the server hears it, or before the client does."""

    def __init__(self, port: int) -> None:
        self._target, self._reached = port, True
        self._armed, self.cut = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> "Proxy":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(DEADLINE)

    def cut_next_commit(self, *, reached: bool) -> None:
        self._reached = reached
        self.cut.clear()
        self._armed.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=[client]))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    # a commit is asked for in several messages; the server has committed once it says so
                    cut = self._armed.is_set() and (b"COMMIT\0" in data if self._reached else b"commit" in data)
                    if cut:
                        self._armed.clear()
                        self.cut.set()
                        return
                    (server if source is client else client).sendall(data)
