"""Databases under load, cut, read-only, away or copied while they are written to (F15 to F18, F36, F37)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ablate.errors import EnvironmentMissing
from ablate.standing import study_rows
from ablate.stores import open_store
from ablate.workspace import Workspace
from dashboards.live import versions
from dashboards.pages import find_page
from dashboards.reader import Reader
from tests.browser.screenshots import served
from tests.faults.conftest import until
from tests.faults.invariants import check_complete, check_file, command_line, finished, go_on, in_folders, stated
from tests.faults.test_driver import drive, write_study
from tests.postgresql import Server, postgresql

__all__ = ["postgresql"]

SECONDS = 5.0
"""How long a database is under load."""
LOAD = """
import sys, time
from pathlib import Path
from ablate.attempt import Outcome
from ablate.journal import make_point
from ablate.standing import study_rows
from ablate.stores import open_store
from ablate.workspace import Workspace
from dashboards.app import show
from dashboards.live import versions
from dashboards.pages import find_page
from dashboards.reader import Reader
from tests.conftest import make_small_plan

url, what, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
reader, turns, ends = Reader(url), 0, time.monotonic() + seconds
if what.startswith("write"):
    plan = make_small_plan(seeds=50, name=what)
    store = open_store(url, write=True)
    store.record_plan(plan, axes={}, simulated=True)
    jobs = list(plan.jobs)
while time.monotonic() < ends:
    turns += 1
    if what.startswith("write"):
        job = jobs[turns % len(jobs)]
        store.start(what, job, attempt=turns)
        store.add_points({(job, turns): [make_point(step, "loss", 1.0) for step in range(50)]})
        store.finish(what, Outcome(job=job, attempt=turns, state="lost", cause="lost", started=1.0), final=False)
    elif what == "status":
        study_rows(opened := open_store(url))
        opened.close()
    else:
        reader.studies_version()
        found = versions(find_page, reader, "/")
        assert "away" not in found, found
        _, seen, _ = show(reader, path="/", search="")
        assert seen["shown"], seen
print(turns)
"""


@pytest.mark.slow
@pytest.mark.fault("F15")
def test_writers_pages_and_status_at_once_never_find_the_file_locked(tmp_path: Path) -> None:
    file = tmp_path / "ablate.db"
    url = f"sqlite:///{file}"
    open_store(url, write=True).close()
    command = [sys.executable, "-c", LOAD, url]
    started = [
        subprocess.Popen([*command, what, str(SECONDS)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for what in ("write-1", "write-2", "status", "pages")
    ]
    said = [(*process.communicate(timeout=100), process.returncode) for process in started]
    assert [(errors, code) for _, errors, code in said] == [("", 0)] * len(started)
    turns = [int(output) for output, _, _ in said]
    assert min(turns) > 0
    store = open_store(url)
    for what, count in zip(("write-1", "write-2"), turns, strict=False):
        kinds = [event.kind for event in store.events(what, limit=1_000_000)]
        assert (kinds.count("started"), kinds.count("lost")) == (count, count)
    store.close()


@pytest.mark.slow
@pytest.mark.fault("F16")
@pytest.mark.fault("F37")
def test_killed_drivers_file_without_its_log_is_older_and_never_wrong(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=4, steps=4, seconds=0.05), Workspace(tmp_path / "work")
    process = drive(tmp_path)
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()
    until(lambda: len(in_folders(workspace)) >= 2, seconds=60)
    process.kill()
    process.communicate()
    done = in_folders(workspace)
    log = workspace.folder / "ablate.db-wal"
    assert log.stat().st_size > 0
    for path in (log, log.with_name("ablate.db-shm")):
        path.unlink()
    check_file_or_empty(workspace)
    assert go_on(study, workspace) == 4 - len(done)
    check_complete(study, workspace, before=done, expected=stated(study))


def check_file_or_empty(workspace: Workspace) -> None:
    """The tables themselves may have been in the log."""
    if (workspace.folder / "ablate.db").stat().st_size > 4096:
        check_file(workspace)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder with a finished study that takes no more data."""
    folder = tmp_path / "work"
    workspace = Workspace(folder)
    workspace.create()
    go_on(write_study(tmp_path, trials=2), workspace)
    mounted = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False)
    if mounted.returncode or os.geteuid() != 0:
        pytest.skip("a folder that root cannot write to is a mount, and mounting takes root")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.fault("F16")
@pytest.mark.fault("F37")
def test_read_only_folder_is_read_and_a_run_in_it_is_refused(read_only: Path) -> None:
    workspace = Workspace(read_only)
    store = open_store(workspace.store_url)
    assert {trial.state for trial in store.trials("small")} == {"done"}
    store.close()
    with pytest.raises(EnvironmentMissing, match=r"ablate\.db cannot be used: .*check the path and its rights"):
        open_store(workspace.store_url, write=True)


@pytest.mark.slow
@pytest.mark.fault("F37")
def test_workspace_copied_while_it_runs_and_moved_afterwards_goes_on(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=6, steps=4, seconds=0.1), Workspace(tmp_path / "work")
    process = drive(tmp_path)
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()
    until(lambda: len(finished(workspace)) >= 2, seconds=60)
    export = [sys.executable, "-m", "ablate", "export", "small", "-o", "small.zip", "--workspace", "work"]
    plain = Workspace(tmp_path / "plain")
    with suppress(shutil.Error):  # of files that were gone when their turn came
        shutil.copytree(workspace.folder, plain.folder, ignore=shutil.ignore_patterns("*-wal", "*-shm", "*.tmp-*"))
    subprocess.run(export, cwd=tmp_path, check=True, capture_output=True)
    process.communicate(timeout=60)
    assert process.returncode == 0
    expected = finished(workspace)
    copied = in_folders(plain)
    assert {job: expected[job] for job in copied} == copied
    assert go_on(study, plain) == 6 - len(copied)
    check_complete(study, plain, before=copied, expected=expected)
    arrival = [sys.executable, "-m", "ablate", "import", "small.zip", "--json", "--workspace", "imported"]
    said = json.loads(subprocess.run(arrival, cwd=tmp_path, check=True, capture_output=True).stdout)
    assert 0 < said["done"] <= 6  # on a busy machine the run may have ended before the export began
    assert go_on(study, Workspace(tmp_path / "imported")) == 6 - said["done"]
    workspace.folder.rename(tmp_path / "moved")
    check_complete(study, Workspace(tmp_path / "moved"), before=expected, expected=expected)


@pytest.mark.slow
@pytest.mark.fault("F17")
@pytest.mark.fault("F18")
@pytest.mark.fault("F36")
def test_server_that_stops_under_a_run_is_waited_for_by_run_and_pages(postgresql: Server, tmp_path: Path) -> None:
    url = postgresql.new_database()
    study, workspace = write_study(tmp_path, trials=6, steps=4, seconds=0.05), Workspace(tmp_path / "work", url)
    process = drive(tmp_path, store=url)
    reader = Reader(url)
    assert process.stdin
    assert process.stderr
    process.stdin.write("go\n")
    process.stdin.flush()
    until(lambda: bool(finished(workspace)), seconds=60)
    before = versions(find_page, reader, "/")
    postgresql.stop()
    try:
        assert "waiting for it, nothing is lost" in process.stderr.readline()
        assert "cannot be used" in versions(find_page, reader, "/")["away"]
    finally:
        postgresql.start()
    process.communicate(timeout=90)
    assert process.returncode == 0
    assert versions(find_page, reader, "/")["version"] != before["version"]
    store = open_store(url)
    assert "store back" in [event.kind for event in store.events("small")]
    store.close()
    check_complete(study, workspace, before={}, expected=stated(study))


@pytest.mark.slow
@pytest.mark.fault("F36")
def test_pages_that_are_killed_while_many_look_are_nothing_to_a_run(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=6, steps=4, seconds=0.05), Workspace(tmp_path / "work")
    process = drive(tmp_path)
    assert process.stdin
    stopping = threading.Event()
    readers = [threading.Thread(target=_look, args=(workspace, stopping)) for _ in range(20)]
    with served(workspace.store_url) as address:
        (pages,) = [child for child in _children() if f"--store {workspace.store_url} " in child[1]]
        assert address
        process.stdin.write("go\n")
        process.stdin.flush()
        for thread in readers:
            thread.start()
        until(lambda: len(finished(workspace)) >= 2, seconds=60)
        os.kill(pages[0], signal.SIGKILL)
    process.communicate(timeout=90)
    stopping.set()
    for thread in readers:
        thread.join()
    assert process.returncode == 0
    check_complete(study, workspace, before={}, expected=stated(study))


def _look(workspace: Workspace, stopping: threading.Event) -> None:
    reader = Reader(workspace.store_url)
    while not stopping.wait(0.5):
        reader.read(study_rows)


def _children() -> Iterator[tuple[int, str]]:
    import psutil

    for child in psutil.Process().children():
        yield child.pid, command_line(child) + " "
