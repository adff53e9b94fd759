"""An MLflow server that is away, dies, refuses or never answers (F19): a real one, and a few lines that listen in its place."""

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from ablate.load import load_study
from ablate.stores import open_store
from ablate.stores.mlflow_mirror import PATIENCE, SERVER_VARIABLE, SILENT_SECONDS, Mirroring, mirror_order
from ablate.study import Study
from ablate.workspace import Workspace
from tests.faults.conftest import until
from tests.faults.invariants import check_complete, family, go_on, stated
from tests.faults.test_driver import write_study
from tests.faults.test_mirror import in_mlflow, in_store

pytestmark = [pytest.mark.slow, pytest.mark.fault("F19"), pytest.mark.timeout(240)]

REFUSAL = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Of a server that is not there yet, which the environment names, with a password."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
    monkeypatch.setenv(SERVER_VARIABLE, f"http://somebody:hunter2@127.0.0.1:{found}")
    return found


@contextmanager
def server(folder: Path, *, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """MLflow's own, over a file in this folder; killed when the body ends."""
    folder.mkdir(exist_ok=True)
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--artifacts-destination", str(folder / "artefacts")]
    command = [sys.executable, "-m", "mlflow", "server", *options, "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: answers(port), seconds=100)
        yield process
    finally:
        kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """With the workers that it started."""
    if process.poll() is not None:
        return
    members = family(process.pid)
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(members, timeout=10)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def listener(port: int, *, answer: bytes | None) -> Iterator[list[float]]:
    """Takes every connection, and answers it so, or never; the times at which it was asked."""
    asked: list[float] = []
    kept: list[socket.socket] = []
    with closing(socket.create_server(("127.0.0.1", port))) as listening:

        def serve() -> None:
            with suppress(OSError):  # it was closed
                while True:
                    connection, _ = listening.accept()
                    asked.append(time.monotonic())
                    if answer is None:
                        kept.append(connection)
                        continue
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield asked
        listening.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


def run_beside_mirror(folder: Path, *, meanwhile: Callable[[Study, Workspace], None] = lambda study, workspace: None) -> tuple[int, str]:
    """How many trials a run executed, and what its mirror said at the end."""
    study, workspace, said = load_study(folder / "small.yaml"), Workspace(folder / "work"), list[str]()
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    try:
        with Mirroring(mirror_order(workspace, (study.name,)), store, say=said.append) as mirror:
            mirror.start()
            executed = go_on(study, workspace)
            meanwhile(study, workspace)
    finally:
        store.close()
    return executed, said[-1]


def mirrored(uri: str) -> int:
    """Trials of the study on a server; none where it does not know the study yet."""
    with suppress(subprocess.CalledProcessError):
        return len(in_mlflow(uri, "small"))
    return 0


def test_server_that_is_away_at_first_gets_everything_once_it_is_there(tmp_path: Path, port: int) -> None:
    study, workspace = write_study(tmp_path, trials=3), Workspace(tmp_path / "work")
    executed, said = run_beside_mirror(tmp_path)
    assert executed == 3
    assert said.startswith("MLflow could not be written (")
    assert said.endswith("nothing is lost, the next run mirrors what is missing")
    assert "hunter2" not in said
    check_complete(study, workspace, before={}, expected=stated(study))
    with server(tmp_path / "server", port=port):
        executed, said = run_beside_mirror(tmp_path)
        assert executed == 0
        assert said.startswith("mirrored to MLflow in ")
        assert said.endswith(f"http://[redacted]@127.0.0.1:{port}")
        assert in_mlflow(f"http://127.0.0.1:{port}", "small") == in_store(workspace, "small")
    kept = [path.name for path in (tmp_path / "server" / "artefacts").rglob("*.json")]
    assert sorted(kept) == ["config.json"] * 3 + ["study.json"]
    assert not (workspace.folder / "mlflow.db").exists()


def test_server_that_dies_beside_a_run_and_comes_back_has_all_of_it_in_the_end(tmp_path: Path, port: int) -> None:
    write_study(tmp_path, trials=3)
    workspace = Workspace(tmp_path / "work")
    place, uri = tmp_path / "server", f"http://127.0.0.1:{port}"
    with ExitStack() as servers:
        first = servers.enter_context(server(place, port=port))

        def die_and_come_back(study: Study, workspace: Workspace) -> None:
            until(lambda: mirrored(uri) == 3, seconds=60)
            kill(first)
            assert go_on(study.model_copy(update={"seeds": (0, 1)}), workspace) == 3  # while nobody takes it
            servers.enter_context(server(place, port=port))

        executed, said = run_beside_mirror(tmp_path, meanwhile=die_and_come_back)
        assert executed == 3
        assert said.startswith("mirrored to MLflow in ")
        assert len(in_mlflow(uri, "small")) == 6
        assert in_mlflow(uri, "small") == in_store(workspace, "small")


@pytest.mark.parametrize("answer", [REFUSAL, None], ids=["refuses", "never answers"])
def test_server_that_refuses_or_never_answers_holds_up_no_trial_and_is_named(
    answer: bytes | None, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(PATIENCE, ("1", "0"), strict=True):
        monkeypatch.setenv(name, value)
    study, workspace, done = write_study(tmp_path, trials=3), Workspace(tmp_path / "work"), list[float]()
    with listener(port, answer=answer) as asked:

        def wait_for_a_try(study: Study, workspace: Workspace) -> None:
            check_complete(study, workspace, before={}, expected=stated(study))
            until(lambda: bool(asked), seconds=60)
            done.append(time.monotonic())

        executed, said = run_beside_mirror(tmp_path, meanwhile=wait_for_a_try)
    assert executed == 3
    assert said.startswith("MLflow could not be written (")
    assert time.monotonic() < done[0] + SILENT_SECONDS
    check_complete(study, workspace, before={}, expected=stated(study))
