"""An MLflow server that is away, dies, refuses or never answers (F19), and what a person finds there in the end.

A real one, started once, behind a door of a few lines that is shut where it is to be away: its processes need seconds to start. It is
asked as its own pages ask it, over HTTP.
"""

import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

from ablate.cli import app
from ablate.mirroring import PATIENCE, SERVER_VARIABLE, Mirroring, mirror_order
from ablate.stores import open_store
from ablate.stores.mlflow_mirror import SILENT_SECONDS
from ablate.study import Study
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.faults.conftest import until
from tests.faults.invariants import check_complete, family, go_on, stated
from tests.faults.test_mirror import in_store

pytestmark = [pytest.mark.slow, pytest.mark.fault("F19"), pytest.mark.timeout(240)]

REFUSAL = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Of a server that is not there yet, which the environment names, with a password."""
    found = free_port()
    monkeypatch.setenv(SERVER_VARIABLE, f"http://somebody:hunter2@127.0.0.1:{found}")
    return found


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of MLflow's own, over a file; with the workers that it started it is killed in the end."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--artifacts-destination", str(folder / "artefacts")]
    command = [sys.executable, "-m", "mlflow", "server", *options, "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: answers(port), seconds=200)
        yield port
    finally:
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
def door(port: int, *, to: int) -> Iterator[None]:
    """Leads to the server as long as it is open; then every connection through it breaks."""
    ends: list[socket.socket] = []

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while some := source.recv(1 << 16):
                target.sendall(some)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    with closing(socket.create_server(("127.0.0.1", port))) as listening:

        def serve() -> None:
            with suppress(OSError):  # it was shut
                while True:
                    ends.append(listening.accept()[0])
                    ends.append(socket.create_connection(("127.0.0.1", to)))
                    for pair in (ends[-2:], ends[:-3:-1]):
                        threading.Thread(target=carry, args=pair, daemon=True).start()

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            serving.join()
            for end in ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


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


def run_beside_mirror(study: Study, workspace: Workspace, *, meanwhile: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """How many trials a run executed, and what its mirror said at the end."""
    said: list[str] = []
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    try:
        with Mirroring(mirror_order(workspace, (study.name,)), store, say=said.append) as mirror:
            mirror.start()
            executed = go_on(study, workspace)
            meanwhile()
    finally:
        store.close()
    return executed, said[-1]


class Asked:
    """A study as the server has it."""

    def __init__(self, server: int, study: str) -> None:
        self._server = server
        known = self._json("experiments/search", {"filter": f"name = '{study}'", "max_results": 1}).get("experiments", [])
        self.runs: list[dict[str, Any]] = []
        if not known:
            return
        experiment = known[0]["experiment_id"]
        found = self._json("runs/search", {"experiment_ids": [experiment], "max_results": 100}).get("runs", [])
        self.runs = [run["info"] | {key: pairs(run["data"].get(key, [])) for key in ("tags", "params", "metrics")} for run in found]

    @property
    def children(self) -> list[dict[str, Any]]:
        return [run for run in self.runs if "ablate.trial" in run["tags"]]

    @property
    def parent(self) -> dict[str, Any]:
        (found,) = [run for run in self.runs if "ablate.trial" not in run["tags"]]
        return found

    def curve(self, run: dict[str, Any], key: str) -> list[tuple[int, float]]:
        points = self._json(f"metrics/get-history?run_id={run['run_id']}&metric_key={key}")["metrics"]
        return [(int(point["step"]), point["value"]) for point in points]

    def points(self) -> list[list[object]]:
        """Study, trial and points per metric."""
        return sorted(
            (
                [run["tags"]["ablate.study"], run["run_name"], {key: len(self.curve(run, key)) for key in sorted(run["metrics"])}]
                for run in self.children
            ),
            key=str,
        )

    def files(self, run: dict[str, Any], folder: str = "") -> dict[str, str]:
        found: dict[str, str] = {}
        for file in self._json(f"artifacts/list?run_id={run['run_id']}&path={folder}").get("files", []):
            place = f"get-artifact?run_uuid={run['run_id']}&path={file['path']}"
            found |= self.files(run, file["path"]) if file["is_dir"] else {file["path"]: self._get(place).decode()}
        return found

    def _json(self, place: str, body: object = None) -> Any:
        return json.loads(self._get(f"api/2.0/mlflow/{place}", body))

    def _get(self, place: str, body: object = None) -> bytes:
        with closing(HTTPConnection("127.0.0.1", self._server, timeout=60)) as connection:
            text = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", f"/{place}", body=text, headers={"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        assert answer.status == 200, content
        return content


def pairs(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {item["key"]: item["value"] for item in items}


def test_server_that_is_away_at_first_gets_everything_once_it_is_there(
    tmp_path: Path, port: int, server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(
        name="away",
        question="Do more tokens lower the loss?",
        base={"noise_sd": 0, "steps": 3},
        seeds=2,
        claims=[{"axis": "num_tokens", "expect": "decreases"}],
    )
    workspace = Workspace(tmp_path / "work")
    with monkeypatch.context() as hasty:
        hasty.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        executed, said = run_beside_mirror(study, workspace)
    assert executed == 4
    assert said.startswith("MLflow could not be written (")
    assert said.endswith("nothing is lost, the next run mirrors what is missing")
    assert "hunter2" not in said
    check_complete(study, workspace, before={}, expected=stated(study))
    with closing(sqlite3.connect(workspace.folder / "ablate.db")) as connection:
        connection.execute("UPDATE jobs SET seconds = 30")  # a study of a moment is given no report
        connection.commit()
    with door(port, to=server):
        executed, said = run_beside_mirror(study, workspace)
    assert executed == 0
    assert said.startswith("mirrored to MLflow in ")
    assert said.endswith(f"http://[redacted]@127.0.0.1:{port}")
    assert not (workspace.folder / "mlflow.db").exists()
    check_found(Asked(server, "away"), workspace)


def check_found(asked: Asked, workspace: Workspace) -> None:
    """What a person who lives in MLflow finds of a study: all that the store and `ablate report` say of it."""
    parent, store = asked.parent, open_store(workspace.store_url)
    trials, (study,) = store.trials("away"), store.studies()
    curves = {trial.id: [(step, value) for _, step, key, value in store.curve([trial.chain[-1]]) if key == "loss"] for trial in trials}
    store.close()
    assert (parent["run_name"], parent["status"]) == ("away", "FINISHED")
    assert parent["tags"].items() >= {
        ("ablate.study", "away"),
        ("ablate.simulated", "true"),
        ("mlflow.note.content", "Do more tokens lower the loss?"),
        ("ablate.verdict.1", "inconclusive: loss decreases from num_tokens = 16 to 64"),
    }
    children = {run["run_name"]: run for run in asked.children}
    assert len(children) == len(asked.children) == 4
    for trial in trials:
        run = children[trial.id]
        assert trial.id.startswith(f"{trial.arm}.s{trial.seed}-")
        assert run["tags"].items() >= {
            ("mlflow.parentRunId", parent["run_id"]),
            ("ablate.study", "away"),
            ("ablate.arm", trial.arm),
            ("ablate.seed", str(trial.seed)),
            ("axis.num_tokens", str(trial.levels["num_tokens"])),
        }
        assert run["status"] == "FINISHED"
        assert run["params"]["num_tokens"] == str(trial.config["num_tokens"])
        assert asked.curve(run, "loss") == curves[trial.id]
        assert len(curves[trial.id]) == 3
        assert json.loads(asked.files(run)["config.json"]) == trial.config
    files = asked.files(parent)
    assert json.loads(files.pop("study.json")) == study.spec
    page = workspace.folder / "page.html"
    app(["report", "away", "--workspace", str(workspace.folder), "-o", str(page)], standalone_mode=False)
    assert files.pop("report.html") == page.read_bytes().decode()
    check_plots(files, workspace)


def check_plots(files: dict[str, str], workspace: Workspace) -> None:
    import plotly.io

    from ablate.conclude import study_report
    from ablate.report_figures import drawings

    store = open_store(workspace.store_url)
    drawn = {f"plots/{drawing.name}.json": drawing.draw(dark=False) for drawing in drawings(study_report(store, "away"))}
    store.close()
    assert set(drawn) == {f"plots/{name}.json" for name in ("effects", "by-num_tokens", "curves", "trials")}
    assert {name: plotly.io.from_json(text) for name, text in files.items()} == drawn


def test_server_that_dies_beside_a_run_and_comes_back_has_all_of_it_in_the_end(tmp_path: Path, port: int, server: int) -> None:
    study, workspace = make_study(name="dies"), Workspace(tmp_path / "work")
    with ExitStack() as doors:
        doors.enter_context(door(port, to=server))

        def die_and_come_back() -> None:
            until(lambda: len(Asked(server, "dies").children) == 2, seconds=100)
            doors.close()
            assert go_on(study.model_copy(update={"seeds": (0, 1)}), workspace) == 2  # while nobody takes it
            doors.enter_context(door(port, to=server))

        executed, said = run_beside_mirror(study, workspace, meanwhile=die_and_come_back)
    assert executed == 2
    assert said.startswith("mirrored to MLflow in ")
    assert len(Asked(server, "dies").children) == 4
    assert Asked(server, "dies").points() == in_store(workspace, "dies")


@pytest.mark.parametrize("answer", [REFUSAL, None], ids=["refuses", "never answers"])
def test_server_that_refuses_or_never_answers_holds_up_no_trial_and_is_named(
    answer: bytes | None, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(PATIENCE, ("1", "0"), strict=True):
        monkeypatch.setenv(name, value)
    study, workspace, done = make_study(base={"noise_sd": 0}), Workspace(tmp_path / "work"), list[float]()
    with listener(port, answer=answer) as asked:

        def wait_for_a_try() -> None:
            check_complete(study, workspace, before={}, expected=stated(study))
            until(lambda: bool(asked), seconds=60)
            done.append(time.monotonic())

        executed, said = run_beside_mirror(study, workspace, meanwhile=wait_for_a_try)
    assert executed == 2
    assert said.startswith("MLflow could not be written (")
    assert time.monotonic() < done[0] + SILENT_SECONDS
    check_complete(study, workspace, before={}, expected=stated(study))
