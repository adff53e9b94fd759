"""MLflow as a mirror of the store, for people who live there: an experiment a study, a parent run, a child run a trial.

It runs as a process of its own beside a run (`Mirroring`), follows the store read-only and writes what is missing in MLflow, so MLflow's
20 to 40 ms a trial are nobody's wait and its outages cost no trial. What is mirrored is asked of MLflow itself, by tag, hence a mirror
that was killed, or a file that was lost, is made whole by the next run. It writes into a file of the workspace, or where MLflow's own
variable MLFLOW_TRACKING_URI says, such as to a server.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from ablate.errors import AblateError
from ablate.fingerprint import fingerprint
from ablate.repository import redacted
from ablate.stores import Store, StudyRecord, TrialRecord, open_store
from ablate.workspace import Workspace

FOLLOW_SECONDS = 2.0
LOOKING = 0.1
"""Share of its time that the mirror may spend on looking for what is new: a large study is looked at less often."""
PATIENT_SECONDS = 5
"""After so long at the end of a run a person is told what is waited for."""
SILENT_SECONDS = 60
"""How long MLflow may take over one trial before the mirror gives it up."""
ENDED = ("done", "failed", "lost", "pruned")
STATUS = {"done": "FINISHED", "pruned": "KILLED"}
MOST = 19
"""As nice as a process can be."""
AS_A_SESSION = 10
"""How nice its session is to others: of a processor that is wanted elsewhere it gets a tenth, and half where it is not nice."""
WAITED_FOR = b"somebody waits\n"
"""The last word of a run to its mirror; one that was killed has none."""
MAX_PARAMS, MAX_LENGTH = 100, 500
SERVER_VARIABLE = "MLFLOW_TRACKING_URI"
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""With a server, unless the environment says otherwise; MLflow's own would go on asking for longer than we wait for an answer."""


@dataclass(frozen=True)
class Order:
    """What a mirror process is asked to do; it comes on standard input, because a URL may hold a password."""

    store_url: str
    mlflow_uri: str
    artefacts: str | None
    """Folder for MLflow's own artefacts; None where a server has them."""
    studies: tuple[str, ...]
    note: str
    """File that remembers up to which change each study is mirrored."""


def mirror_order(workspace: Workspace, studies: tuple[str, ...]) -> Order:
    folder, uri = workspace.folder, os.environ.get(SERVER_VARIABLE)
    if uri:
        return Order(workspace.store_url, uri, None, studies, str(folder / f"mlflow-mirror-{fingerprint(uri)}.json"))
    return Order(workspace.store_url, workspace.mlflow_uri, str(folder / "mlflow"), studies, str(folder / "mlflow-mirror.json"))


def is_behind(order: Order, store: Store) -> bool:
    """Whether any of the studies changed since it was last mirrored whole; costs no MLflow import."""
    mirrored = _read_note(Path(order.note))
    return any(record.updated > mirrored.get(record.name, 0.0) for record in store.studies() if record.name in order.studies)


class Mirroring:
    """A mirror process beside a run: started when there is something to mirror, and waited for at the end."""

    def __init__(self, order: Order, store: Store, *, say: Callable[[str], None]) -> None:
        self._order, self._store, self._say = order, store, say
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Mirroring":
        return self

    def start(self) -> None:
        """Starts the process, once."""
        if self._process is None:
            self._process = _start_process(self._order)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._process is None and error is None and is_behind(self._order, self._store):
            self.start()
        if self._process is None:
            return
        began = time.monotonic()
        complaint = self._wait()
        if self._process.returncode:
            silent = self._process.returncode == -signal.SIGALRM
            last = f"no answer for {SILENT_SECONDS} s" if silent else complaint.strip().rpartition("\n")[2]
            self._say(f"MLflow could not be written ({redacted(last)}); nothing is lost, the next run mirrors what is missing")
        else:
            uri = self._order.mlflow_uri
            pages = f"mlflow ui --backend-store-uri {uri}" if self._order.artefacts else redacted(uri)
            self._say(f"mirrored to MLflow in {time.monotonic() - began:.1f} s more: {pages}")

    def _wait(self) -> str:
        """Until the mirror has written the rest; answers its complaint."""
        assert self._process
        try:
            complaint = self._process.communicate(WAITED_FOR, timeout=PATIENT_SECONDS)[1]  # closing its input tells it to finish
        except subprocess.TimeoutExpired:
            self._say("MLflow gets the rest; Ctrl-C twice leaves that to the next run")
            complaint = self._process.communicate()[1]
        return complaint.decode(errors="replace")


def _start_process(order: Order) -> "subprocess.Popen[bytes]":
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ablate.stores.mlflow_mirror"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=PATIENCE | os.environ | quiet,
        start_new_session=True,  # Ctrl-C is for the run; the mirror ends when its input does
    )
    assert process.stdin
    process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
    process.stdin.flush()
    return process


class Mirror:
    """Writes one study's trials to MLflow, each once."""

    def __init__(self, store: Store, study: StudyRecord, *, client: Any, artefacts: str | None) -> None:
        self._store, self._study, self._client = store, study, client
        self._has_files = artefacts is not None
        found = client.get_experiment_by_name(study.name)
        folder = f"{Path(artefacts).as_uri()}/{study.name}" if artefacts else None
        self._experiment = found.experiment_id if found else client.create_experiment(study.name, artifact_location=folder)
        ours = [run for run in self._all_runs() if run.data.tags.get("ablate.study") == study.name]
        self._runs = {run.data.tags.get("ablate.trial", ""): (run.info.run_id, _mirrored_version(run)) for run in ours}
        self._parent = self._runs[""][0] if "" in self._runs else self._make_parent()
        self.looking_seconds = 0.0
        """What the last look took."""

    def catch_up(self) -> int:
        """Mirrors every trial that ended and is not there as it ended, and takes out the stale ones; answers how many it wrote."""
        began = time.monotonic()
        stale_trials, trials = self._store.stale_trials(self._study.name), self._store.trials(self._study.name)
        self.looking_seconds = time.monotonic() - began
        for stale in stale_trials:
            if run := self._runs.pop(stale.trial.id, None):
                self._client.delete_run(run[0])  # MLflow keeps it among its deleted runs; back in the plan it is written anew
        written = 0
        signal.alarm(SILENT_SECONDS)
        for trial in trials:
            if trial.state in ENDED and self._runs.get(trial.id, ("", ""))[1] != _version(trial):
                self._write(trial)
                signal.alarm(SILENT_SECONDS)
                written += 1
        return written

    def close(self) -> None:
        """Ends the parent run."""
        self._client.set_terminated(self._parent, status="FINISHED")

    def _write(self, trial: TrialRecord) -> None:
        from mlflow.entities import Metric, Param

        if trial.id in self._runs:
            self._client.delete_run(self._runs[trial.id][0])
        started = int((trial.started or 0) * 1000)
        ended = started + int((trial.seconds or 0) * 1000)
        axes = {f"axis.{axis}": str(level) for axis, level in trial.levels.items()}
        tags = (
            self._tags()
            | axes
            | {
                "mlflow.parentRunId": self._parent,
                "ablate.trial": trial.id,
                "ablate.arm": trial.arm,
                "ablate.seed": str(trial.seed),
                "ablate.state": trial.state,
                "ablate.reason": trial.reason[:MAX_LENGTH],
                "ablate.version": _version(trial),
            }
        )
        run = self._client.create_run(self._experiment, start_time=started, tags=tags, run_name=trial.id)
        params = [Param(key, str(value)[:MAX_LENGTH]) for key, value in _flat({**trial.config, "seed": trial.seed})]
        metrics = [Metric(key, float("nan") if value is None else value, ended, step) for _, step, key, value in self._points(trial)]
        for start in range(0, max(len(metrics), len(params), 1), MAX_PARAMS):
            window = slice(start, start + MAX_PARAMS)
            self._client.log_batch(run.info.run_id, metrics=metrics[window], params=params[window])
        self._keep(run, "config.json", trial.config)
        # last: a run that was cut off half-way is still RUNNING, and is written again
        self._client.set_terminated(run.info.run_id, status=STATUS.get(trial.state, "FAILED"), end_time=ended)
        self._runs[trial.id] = run.info.run_id, _version(trial)

    def _points(self, trial: TrialRecord) -> list[tuple[str, int, str, float | None]]:
        return self._store.curve([trial.chain[-1]])

    def _make_parent(self) -> str:
        question = {"mlflow.note.content": self._study.spec.get("question", "")}
        run = self._client.create_run(self._experiment, tags=self._tags() | question, run_name=self._study.name)
        self._keep(run, "study.json", self._study.spec)
        run_id: str = run.info.run_id
        return run_id

    def _keep(self, run: Any, name: str, content: Mapping[str, Any]) -> None:
        """An artefact of a run. In our own folder it is written where MLflow looks for it, which need not be asked for the run again."""
        text = json.dumps(content, indent=1)
        if not self._has_files:
            self._client.log_text(run.info.run_id, text, name)
            return
        folder = Path(unquote(urlparse(run.info.artifact_uri).path))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")

    def _tags(self) -> dict[str, str]:
        return {"ablate.study": self._study.name, "ablate.simulated": str(self._study.simulated).lower()}

    def _all_runs(self) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def _be_nice_to_others(niceness: int) -> None:
    """As a session: Linux shares the processor out between sessions, and only within one by the niceness of processes."""
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")


def main() -> int:
    """The mirror process: catches up every two seconds, or less often, until its standard input ends, then once more.

    MLflow may be away in between: what it did not take is tried again. A try that does not end is ended with the process.
    """
    os.nice(MOST)  # behind Ray's workers, which stand behind the rest
    _be_nice_to_others(AS_A_SESSION)
    order = Order(**json.loads(sys.stdin.readline()))
    following = _Following(order)
    ending = False
    while True:
        signal.alarm(SILENT_SECONDS)
        try:
            following.catch_up(ending=ending)
            if ending:
                return 0
        except Exception:
            if ending:
                raise
        signal.alarm(0)
        ending = bool(select.select([sys.stdin], [], [], following.pause_seconds)[0])
        if ending and sys.stdin.read().encode() == WAITED_FOR:
            _be_nice_to_others(0)


class _Following:
    """The mirrors of an order's studies. The mirror of a run that was killed may still be at work: a study has one at a time."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._store = open_store(order.store_url)
        self._client: Any = None
        self._mirrors: dict[str, Mirror] = {}
        self._mine: set[str] = set()

    def catch_up(self, *, ending: bool) -> None:
        try:
            self._client = self._client or self._connect()
            for record in self._store.studies():
                if record.name in self._order.studies and self._take(record.name, wait=ending):
                    self._mirror(record).catch_up()
                    _note(Path(self._order.note), record)
            if ending:
                for mirror in self._mirrors.values():
                    mirror.close()
        except Exception:
            self._mirrors.clear()  # next time MLflow is asked again what it has
            raise

    @property
    def pause_seconds(self) -> float:
        return max(FOLLOW_SECONDS, sum(mirror.looking_seconds for mirror in self._mirrors.values()) / LOOKING)

    def _connect(self) -> Any:
        """MLflow makes its tables at the first contact; two that do so at once spoil the file."""
        import mlflow

        signal.alarm(SILENT_SECONDS)  # what its import takes is no silence
        mlflow.set_tracking_uri(self._order.mlflow_uri)
        first = self._lock("first")
        fcntl.flock(first, fcntl.LOCK_EX)
        try:
            if self._order.artefacts:
                _make_wal(self._order.mlflow_uri)
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
        finally:
            os.close(first)
        return client

    def _mirror(self, record: StudyRecord) -> Mirror:
        if record.name not in self._mirrors:
            self._mirrors[record.name] = Mirror(self._store, record, client=self._client, artefacts=self._order.artefacts)
        return self._mirrors[record.name]

    def _take(self, study: str, *, wait: bool) -> bool:
        """Whether the study is this process's to mirror, until it ends."""
        if study not in self._mine:
            lock = self._lock(f"of-{study}")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            self._mine.add(study)
        return True

    def _lock(self, name: str) -> int:
        return os.open(Path(self._order.note).with_suffix(f".{name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _make_wal(uri: str) -> None:
    """A write-ahead log takes a quarter off MLflow's many small commits, and lets `mlflow ui` read meanwhile; the file remembers it."""
    with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _mirrored_version(run: Any) -> str:
    return "" if run.info.status == "RUNNING" else run.data.tags.get("ablate.version", "")


def _version(trial: TrialRecord) -> str:
    return f"{trial.state}/{trial.attempts}/{trial.chain[-1]}"


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_note(path: Path) -> dict[str, float]:
    try:
        note: dict[str, float] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return note


def _note(path: Path, record: StudyRecord) -> None:
    path.write_text(json.dumps(_read_note(path) | {record.name: record.updated}))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AblateError as error:
        sys.exit(str(error))
