"""Two drivers on one study, as processes: one that is killed, one that is stopped and goes on, clocks that jump."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from ablate.errors import EnvironmentMissing
from ablate.stores import Lease, Store, open_store
from tests.postgresql import Server

TTL = 1.0
DRIVER = """
import sys, threading
from ablate.errors import AblateError
from ablate.stores import open_store

store = open_store(sys.argv[1], write=True)
lease = store.claim("small", owner="first driver", ttl=float(sys.argv[2]))

between = threading.Lock()

def beat():
    try:
        while True:
            with between:
                store.beat(lease)
            threading.Event().wait(0.05)
    except AblateError:
        return

threading.Thread(target=beat, daemon=True).start()
fenced = store.fenced(lease)
print(lease.epoch, flush=True)
try:
    for line in sys.stdin:
        if line == "rest\\n":  # so that it is not stopped inside a transaction, with the whole database locked
            between.acquire()
        else:
            fenced.start("small", line.strip(), attempt=lease.epoch)
        print("done", flush=True)
except AblateError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


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


@contextmanager
def driver(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease, beats, and writes an event for every line it is told."""
    command = [sys.executable, "-c", DRIVER, url, str(TTL)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, bufsize=1, **pipes)  # type: ignore[call-overload]
    try:
        assert process.stdout.readline() == "1\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def tell(process: subprocess.Popen[str], job: str) -> str:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{job}\n")
    process.stdin.flush()
    return process.stdout.readline()


@pytest.mark.slow
@pytest.mark.fault("F21")
def test_second_driver_is_refused_while_the_first_lives(store: Store, url: str) -> None:
    with driver(url) as first:
        began = time.monotonic()
        with pytest.raises(
            EnvironmentMissing, match=rf"first driver \(process {first.pid} on .*\), for \d+ s, last heard of \d+\.\d s ago"
        ):
            store.claim("small", owner="second")
        assert time.monotonic() - began < 3
        assert tell(first, "job") == "done\n"


@pytest.mark.slow
@pytest.mark.fault("F22")
def test_lease_of_a_driver_killed_on_another_machine_is_taken_over_once_it_is_silent(store: Store, url: str) -> None:
    with driver(url) as first:
        kill_elsewhere(first, url)
        began = time.monotonic()
        lease = store.claim("small", owner="second", ttl=TTL)
        assert TTL <= time.monotonic() - began < TTL + 2
        assert lease.epoch == 2


@pytest.mark.slow
@pytest.mark.fault("F22")
@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "not yet waited for by its parent"])
def test_lease_of_a_driver_killed_on_this_machine_is_taken_over_at_once(store: Store, url: str, reaped: bool) -> None:
    with driver(url) as first:
        first.kill()
        os.waitid(os.P_PID, first.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
        assert store.claim("small", owner="second", ttl=math.inf).epoch == 2


@pytest.mark.slow
@pytest.mark.fault("F23")
def test_driver_that_was_stopped_beyond_its_time_writes_nothing_when_it_goes_on(store: Store, url: str) -> None:
    with driver(url) as first:
        assert tell(first, "before") == "done\n"
        assert tell(first, "rest") == "done\n"
        first.send_signal(signal.SIGSTOP)
        second = store.fenced(store.claim("small", owner="second driver", ttl=TTL))
        second.start("small", "taken over", attempt=2)
        first.send_signal(signal.SIGCONT)
        assert tell(first, "after") == ""
        assert first.wait(30) == 3
        assert first.stderr
        assert f"lost the lease on 'small' to second driver (process {os.getpid()}" in first.stderr.read()
        assert [event.subject for event in store.events("small")] == ["before", "taken over"]


@pytest.mark.slow
@pytest.mark.fault("F21")
def test_two_challengers_at_the_same_moment_do_not_both_get_the_lease(postgresql: Server) -> None:
    """The second is caught after it has looked and before it has taken: the first's transaction holds the row."""
    url = postgresql.new_database()
    store = open_store(url, write=True)
    store.claim("small", owner="dead")
    refused: list[EnvironmentMissing] = []

    def challenge() -> None:
        try:
            store.claim("small", owner="second", ttl=0.0)
        except EnvironmentMissing as error:
            refused.append(error)

    second = threading.Thread(target=challenge, daemon=True)
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+pg8000://"))
    with engine.begin() as first:
        first.execute(sa.text("UPDATE leases SET epoch = 2, beats = 0, owner = 'first'"))
        second.start()
        ends = time.monotonic() + 30
        while not first.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            assert time.monotonic() < ends, "the second challenger never came"
    second.join(30)
    assert [str(error).partition(" (")[0] for error in refused] == ["another run works on 'small': first"]
    holder = store.holder("small")
    assert holder is not None
    assert (holder.lease.owner, holder.lease.epoch) == ("first", 2)
    engine.dispose()
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("jump", [3600, -3600], ids=["ahead", "behind"])
@pytest.mark.fault("F25")
def test_clock_that_jumps_ends_no_lease_and_keeps_none_alive(store: Store, url: str, jump: int) -> None:
    """Rows as a database would have written them whose clock was an hour off then."""
    with driver(url) as first:
        shift_times(url, jump)
        with pytest.raises(EnvironmentMissing, match="first driver"):
            store.claim("small", owner="second")
        kill_elsewhere(first, url)
        shift_times(url, jump)
        holder = store.holder("small")
        assert holder is not None
        assert min(holder.held_seconds, holder.silent_seconds) >= 0
        taken: Lease = store.claim("small", owner="second", ttl=TTL)
        assert taken.epoch == 2


def kill_elsewhere(process: subprocess.Popen[str], url: str) -> None:
    """What the store knows of a driver that dies on another machine: the sign of a process of another boot."""
    process.kill()
    process.wait()
    change_leases(url, "process = 'another-boot 1 2'")


def shift_times(url: str, seconds: int) -> None:
    change_leases(url, f"taken = taken + {seconds}, beaten = beaten + {seconds}")


def change_leases(url: str, what: str) -> None:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+pg8000://"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE leases SET {what}"))  # noqa: S608
    engine.dispose()
