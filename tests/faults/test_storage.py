"""A disk that is full: waited for, said, and nothing lost (F12 to F14). A small tmpfs where root may mount one."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablate.artefacts import damage
from ablate.attempt import execute, read_outcome
from ablate.durable import PATIENCE_VARIABLE, write_whole
from ablate.errors import EnvironmentMissing
from ablate.schedule import Event, Notice, Started, Tick
from ablate.schedule.local import LocalScheduler
from ablate.study import Resources
from ablate.workspace import Workspace
from tests.conftest import make_small_plan
from tests.faults.conftest import ends, run, until

needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Takes all the room there is; deleting the file gives it back."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as stream:
        for size in (100_000, 1_000, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue
    return ballast


@needs_mount
def test_write_waits_for_room_and_is_whole(small_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "20")
    (small_disk / "state").write_bytes(b"old")
    ballast = fill(small_disk)
    writer = threading.Thread(target=write_whole, args=(small_disk / "state", b"new" * 10_000))
    writer.start()
    until(lambda: "waiting for the disk" in caplog.text)
    assert (small_disk / "state").read_bytes() == b"old"
    ballast.unlink()
    writer.join(timeout=10)
    assert (small_disk / "state").read_bytes() == b"new" * 10_000


@needs_mount
@pytest.mark.fault("F13")
def test_write_to_a_disk_that_stays_full_says_where_and_keeps_what_was_there(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "0")
    (small_disk / "state").write_bytes(b"old")
    fill(small_disk)
    with pytest.raises(OSError, match=r"No space left on device; waited 0 s: '.*state'"):
        write_whole(small_disk / "state", b"new" * 10_000)
    assert (small_disk / "state").read_bytes() == b"old"
    assert sorted(path.name for path in small_disk.iterdir()) == ["ballast", "state"]


@needs_mount
@pytest.mark.slow
@pytest.mark.fault("F12")
@pytest.mark.fault("F13")
def test_run_on_a_full_disk_says_so_waits_and_completes(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "5")
    workspace = Workspace(small_disk / "work")
    workspace.create()
    jobs = list(make_small_plan().jobs.values())
    ballast = small_disk / "ballast"
    since: list[Event] = []

    def fill_then_make_room(event: Event) -> None:
        if isinstance(event, Started) and not since:
            fill(small_disk)
        if since or (isinstance(event, Notice) and "nothing is started" in event.text):
            since.append(event)
        if sum(isinstance(later, Tick) for later in since) == 3:
            ballast.unlink(missing_ok=True)

    events = run(LocalScheduler(workspace), jobs, watch=fill_then_make_room)
    assert [type(event) for event in since if not isinstance(event, Notice)][:3] == [Tick] * 3
    assert [ends(events, job)[-1].state for job in jobs] == ["done"] * len(jobs)
    assert {outcome.cause for job in jobs for outcome in ends(events, job)[:-1]} == {"storage"}
    assert all(damage(workspace.artifacts / job.id) is None for job in jobs)


@needs_mount
@pytest.mark.slow
@pytest.mark.fault("F12")
@pytest.mark.fault("F13")
def test_run_on_a_disk_that_stays_full_stops_and_loses_nothing(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "1")
    workspace = Workspace(small_disk / "work")
    workspace.create()
    jobs = list(make_small_plan().jobs.values())
    first = execute(jobs[0], workspace=workspace, number=1)

    def fill_up(event: Event) -> None:
        if isinstance(event, Started):
            fill(small_disk)

    with pytest.raises(EnvironmentMissing, match=r"No space left on device.*make room there and run again"):
        run(LocalScheduler(workspace), jobs[1:], watch=fill_up)
    assert read_outcome(workspace.attempt(jobs[0].id, 1)) == first
    assert not any((workspace.artifacts / job.id).exists() for job in jobs[1:])
    (small_disk / "ballast").unlink()
    events = list(LocalScheduler(workspace).run(jobs[1:], attempts={job.id: 1 for job in jobs}, stop=threading.Event()))
    assert [ends(events, job)[-1].state for job in jobs[1:]] == ["done"] * (len(jobs) - 1)


@needs_mount
@pytest.mark.fault("F13")
def test_run_is_refused_on_a_disk_that_is_full_already(small_disk: Path) -> None:
    workspace = Workspace(small_disk / "work")
    workspace.create()
    fill(small_disk)
    with pytest.raises(EnvironmentMissing, match=r"is 100 % full \(0 MiB left\): make room there"):
        LocalScheduler(workspace).preflight(Resources())


def test_file_over_the_limit_of_the_process_is_storage_trouble_and_leaves_no_half(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from ablate.causes import cause_of; from ablate.durable import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_whole(Path(sys.argv[1]) / 'state', bytes(5000))\n"
        "except OSError as error: print(cause_of(error))"
    )
    environment = os.environ | {PATIENCE_VARIABLE: "0"}
    found = subprocess.run([sys.executable, "-c", program, tmp_path], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "storage"
    assert list(tmp_path.iterdir()) == []
