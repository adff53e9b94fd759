"""MLflow away, locked, spoilt or crowded (F19, F20): trials do not notice, and once it is back it holds what the store does."""

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from ablate.mirroring import Mirroring, mirror_order
from ablate.stores import open_store
from ablate.workspace import Workspace
from tests.faults.conftest import until
from tests.faults.invariants import check_complete, command_line, go_on, stated, survivors
from tests.faults.test_driver import write_study

COUNT = """
import json, sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
found = {}
for study in sys.argv[2:]:
    for run in client.search_runs([client.get_experiment_by_name(study).experiment_id]):
        if name := run.data.tags.get("ablate.trial"):
            assert (study, name) not in found, name
            found[study, name] = {key: len(client.get_metric_history(run.info.run_id, key)) for key in run.data.metrics}
print(json.dumps(sorted([*key, counts] for key, counts in found.items())))
"""
MIRROR_OF_A_RUN = """
import sys
from pathlib import Path
from ablate.load import load_study
from ablate.stores import open_store
from ablate.mirroring import Mirroring, mirror_order
from ablate.workspace import Workspace
from tests.faults.invariants import go_on

folder, name = Path(sys.argv[1]), sys.argv[2]
workspace = Workspace(folder / "work")
sys.stdin.readline()
workspace.create()
store = open_store(workspace.store_url, write=True)
with Mirroring(mirror_order(workspace, (name,)), store, say=print) as mirror:
    mirror.start()
    seeds = (int(sys.argv[3]),)  # no trial of one is another's
    assert go_on(load_study(folder / "small.yaml").model_copy(update={"name": name, "seeds": seeds}), workspace) == EXECUTED
"""


def in_mlflow(uri: str, *studies: str) -> list[list[object]]:
    """Study, trial and points per metric, of every run that MLflow has."""
    command = [sys.executable, "-c", COUNT, uri, *studies]
    found: list[list[object]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def in_store(workspace: Workspace, *studies: str) -> list[list[object]]:
    store = open_store(workspace.store_url)
    found: list[list[object]] = []
    for study in studies:
        for trial in store.trials(study):
            keys = [key for _, _, key, _ in store.curve([trial.chain[-1]])]
            found.append([study, trial.id, {key: keys.count(key) for key in sorted(set(keys))}])
    store.close()
    return sorted(found, key=str)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """MLflow's file, in the hands of somebody who does not let go."""
    file = tmp_path / "work" / "mlflow.db"
    file.parent.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE somebody (here TEXT)")
        connection.execute("BEGIN EXCLUSIVE")
        yield connection


@pytest.mark.slow
@pytest.mark.fault("F19")
def test_mlflow_that_hangs_holds_up_no_trial_and_gets_everything_once_it_answers(tmp_path: Path, locked: sqlite3.Connection) -> None:
    study, workspace = write_study(tmp_path, trials=3), Workspace(tmp_path / "work")
    workspace.create()
    said: list[str] = []
    store = open_store(workspace.store_url, write=True)
    with Mirroring(mirror_order(workspace, ("small",)), store, say=said.append) as mirror:
        mirror.start()
        assert go_on(study, workspace) == 3  # while nobody gets into MLflow's file
        process = next(child for child in psutil.Process().children() if "ablate.mirroring" in command_line(child))
        until(lambda: holds(process, workspace, "first"), seconds=60)
        until(lambda: not holds(process, workspace, "first"), seconds=60)  # it has tried, in vain
        assert process.nice() == 19
        assert niceness_among_sessions(process) in (None, 10)
        locked.execute("ROLLBACK")
    store.close()
    assert "mirrored to MLflow" in said[-1]
    assert in_mlflow(workspace.mlflow_uri, "small") == in_store(workspace, "small")
    check_complete(study, workspace, before={}, expected=stated(study))


@pytest.mark.slow
@pytest.mark.fault("F19")
def test_mirror_that_is_killed_or_finds_a_spoilt_file_is_made_good_by_the_next(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=3), Workspace(tmp_path / "work")
    workspace.create()
    go_on(study, workspace)
    (workspace.folder / "mlflow.db").write_bytes(b"no database at all" * 1000)
    said: list[str] = []
    store = open_store(workspace.store_url, write=True)
    with Mirroring(mirror_order(workspace, ("small",)), store, say=said.append):
        pass  # nothing ran, but MLflow is behind
    assert "MLflow could not be written (" in said[-1]
    assert "nothing is lost, the next run mirrors what is missing" in said[-1]
    (workspace.folder / "mlflow.db").unlink()
    with Mirroring(mirror_order(workspace, ("small",)), store, say=said.append):
        pass
    assert "mirrored to MLflow" in said[-1]
    assert in_mlflow(workspace.mlflow_uri, "small") == in_store(workspace, "small")
    store.close()


@pytest.mark.slow
@pytest.mark.fault("F20")
def test_four_first_runs_at_once_make_store_and_mlflow_once(tmp_path: Path) -> None:
    write_study(tmp_path, trials=2, steps=2)
    workspace, names = Workspace(tmp_path / "work"), [f"study-{number}" for number in range(4)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", MIRROR_OF_A_RUN.replace("EXECUTED", "2"), str(tmp_path), name, name[-1]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    ended = []
    barrier = threading.Barrier(len(started))

    def let_go(process: "subprocess.Popen[str]") -> None:
        barrier.wait()
        ended.append((*process.communicate("go\n", timeout=100), process.returncode))

    threads = [threading.Thread(target=let_go, args=[process]) for process in started]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(errors, code) for _, errors, code in ended] == [("", 0)] * 4
    assert all("mirrored to MLflow" in output for output, _, _ in ended), ended
    assert in_mlflow(workspace.mlflow_uri, *names) == in_store(workspace, *names)


def niceness_among_sessions(process: psutil.Process) -> int | None:
    """Of its session, where the kernel shares the processor out between sessions."""
    file = Path(f"/proc/{process.pid}/autogroup")
    return int(file.read_text(encoding="ascii").rpartition(" ")[2]) if file.exists() else None


def waits_for_a_lock(process: psutil.Process) -> bool:
    waiting = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines() if "->" in line]
    return any(str(process.pid) in words for words in waiting)


def holds(process: psutil.Process, workspace: Workspace, lock: str) -> bool:
    """Whether a mirror's process has a lock file open."""
    with suppress(psutil.NoSuchProcess):
        return str(workspace.folder / f"mlflow-mirror.{lock}.lock") in [file.path for file in process.open_files()]
    return False


def mirrored_runs(workspace: Workspace) -> int:
    try:
        with closing(sqlite3.connect(workspace.folder / "mlflow.db")) as connection:
            return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # not made yet


@pytest.mark.slow
@pytest.mark.fault("F19")
def test_mirror_of_a_killed_run_ends_with_it_and_the_next_writes_no_trial_twice(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=30, steps=2), Workspace(tmp_path / "work")
    workspace.create()
    go_on(study, workspace)
    command = [sys.executable, "-c", MIRROR_OF_A_RUN.replace("EXECUTED", "0"), str(tmp_path), "small", "0"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    first, second = (subprocess.Popen(command, text=True, **pipes) for _ in range(2))  # type: ignore[call-overload]
    first.stdin.write("go\n")
    first.stdin.flush()
    until(lambda: mirrored_runs(workspace) > 2, seconds=60)
    (mirror,) = psutil.Process(first.pid).children()
    mirror.suspend()  # in the middle of its work
    first.kill()
    first.communicate()
    try:
        second.stdin.write("go\n")
        second.stdin.flush()
        until(lambda: psutil.Process(second.pid).children(), seconds=60)
        (waiting,) = psutil.Process(second.pid).children()
        until(lambda: waits_for_a_lock(waiting), seconds=60)
        assert niceness_among_sessions(waiting) in (None, 0)
    finally:
        mirror.resume()
    assert survivors([mirror]) == []
    said, errors = second.communicate(timeout=100)
    assert (second.returncode, errors) == (0, "")
    assert "mirrored to MLflow" in said
    assert in_mlflow(workspace.mlflow_uri, "small") == in_store(workspace, "small")
