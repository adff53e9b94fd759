"""MLflow as a mirror of the store, for people who live there: an experiment a study, a parent run, a child run a trial.

It runs in a process of its own beside a run (`ablate/mirroring.py`), follows the store read-only and writes what is missing in MLflow, so
MLflow's 20 to 40 ms a trial are nobody's wait and its outages cost no trial. What is mirrored is asked of MLflow itself, by tag, hence a
mirror that was killed, or a file that was lost, is made whole by the next run. The parent run gets the study's report, once every trial
has ended: before that it would be out of date at once. It writes into a file of the workspace, or where MLflow's own variable
MLFLOW_TRACKING_URI says, such as to a server.
"""

import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from ablate.stores import Store, StudyRecord, TrialRecord, open_store

FOLLOW_SECONDS = 2.0
LOOKING = 0.1
"""Share of its time that the mirror may spend on looking for what is new: a large study is looked at less often."""
SILENT_SECONDS = 60
"""How long MLflow may take over one trial before the mirror gives it up."""
ENDED = ("done", "failed", "lost", "pruned")
STATUS = {"done": "FINISHED", "pruned": "KILLED"}
MAX_PARAMS, MAX_LENGTH = 100, 500
WORTH_SECONDS = 60.0
"""Of all its trials, from which on a study is given its report: to make one takes some three seconds of a processor."""
PLOTS = "plots"
"""Folder of a study's figures among the artefacts of its parent run."""
VERDICT = "ablate.verdict."
"""Begins the tags of the parent run that the report brings."""


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


@dataclass(frozen=True)
class Papers:
    """What is said of a study as a whole, for its parent run."""

    files: Mapping[str, str]
    """Artefact -> its text."""
    tags: Mapping[str, str]
    """Their names begin with `VERDICT`."""


PapersOf = Callable[[Store, str], Papers]
"""Of a study in a store."""


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
        self._parent = next((run for run in ours if "ablate.trial" not in run.data.tags), None) or self._make_parent()
        self.looking_seconds = 0.0
        """What the last look took."""
        self.is_worth_papers = False
        self._has_ended = False

    def catch_up(self) -> int:
        """Mirrors every trial that ended and is not there as it ended, and takes out the stale ones; answers how many it wrote."""
        began = time.monotonic()
        stale_trials, trials = self._store.stale_trials(self._study.name), self._store.trials(self._study.name)
        self.looking_seconds = time.monotonic() - began
        for stale in stale_trials:
            if run := self._runs.pop(stale.trial.id, None):
                self._client.delete_run(run[0])  # MLflow keeps it among its deleted runs; back in the plan it is written anew
        self._has_ended = all(trial.state in ENDED for trial in trials)
        self.is_worth_papers = sum(trial.seconds or 0.0 for trial in trials) >= WORTH_SECONDS
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
        self._client.set_terminated(self._parent.info.run_id, status="FINISHED")

    def write_papers(self, study: StudyRecord, papers_of: PapersOf) -> None:
        """In place of those from before the study's last change; nothing while trials are still to come, or for a study of a moment."""
        from mlflow.entities import RunTag

        run, version = self._parent.info.run_id, f"{study.updated:.6f}"
        if not (self._has_ended and self.is_worth_papers) or self._parent.data.tags.get("ablate.report") == version:
            return
        signal.alarm(0)  # a large study's takes its time, and MLflow no part in it
        papers = papers_of(self._store, study.name)
        signal.alarm(SILENT_SECONDS)
        files = {"study.json": _json(study.spec), **papers.files}
        for name, text in files.items():
            self._keep(self._parent, name, text)
            signal.alarm(SILENT_SECONDS)
        self._drop_plots(but=files)
        for tag in self._parent.data.tags.keys() - papers.tags.keys():
            if tag.startswith(VERDICT):
                self._client.delete_tag(run, tag)
        # last: what was cut off half-way is written again
        tags = [RunTag(key, value[:MAX_LENGTH]) for key, value in {**papers.tags, **_question(study), "ablate.report": version}.items()]
        for start in range(0, len(tags), MAX_PARAMS):
            self._client.log_batch(run, tags=tags[start : start + MAX_PARAMS])

    def _drop_plots(self, *, but: Collection[str]) -> None:
        """Those of axes that the study has no more."""
        run = self._parent.info
        for path in [file.path for file in self._client.list_artifacts(run.run_id, PLOTS) if file.path not in but]:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            repository: Any = get_artifact_repository(run.artifact_uri)
            repository.delete_artifacts(path)

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
                "mlflow.parentRunId": self._parent.info.run_id,
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
        self._keep(run, "config.json", _json(trial.config))
        # last: a run that was cut off half-way is still RUNNING, and is written again
        self._client.set_terminated(run.info.run_id, status=STATUS.get(trial.state, "FAILED"), end_time=ended)
        self._runs[trial.id] = run.info.run_id, _version(trial)

    def _points(self, trial: TrialRecord) -> list[tuple[str, int, str, float | None]]:
        return self._store.curve([trial.chain[-1]])

    def _make_parent(self) -> Any:
        run = self._client.create_run(self._experiment, tags=self._tags() | _question(self._study), run_name=self._study.name)
        self._keep(run, "study.json", _json(self._study.spec))
        return run

    def _keep(self, run: Any, name: str, text: str) -> None:
        """An artefact of a run. In our own folder it is written where MLflow looks for it, which need not be asked for the run again."""
        if not self._has_files:
            self._client.log_text(run.info.run_id, text, name)
            return
        path = Path(unquote(urlparse(run.info.artifact_uri).path)) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.tmp")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)

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


class Following:
    """The mirrors of an order's studies. That of an earlier run may still be ending: a study has one at a time."""

    def __init__(self, order: Order, papers_of: PapersOf) -> None:
        self._order, self._papers_of = order, papers_of
        self._store = open_store(order.store_url)
        self._client: Any = None
        self._mirrors: dict[str, Mirror] = {}
        self._mine: set[str] = set()
        self._seen: dict[str, StudyRecord] = {}
        """As they were just before their trials were last mirrored."""

    def catch_up(self, *, ending: bool) -> None:
        try:
            self._client = self._client or self._connect()
            for record in self._store.studies():
                if record.name in self._order.studies and self._take(record.name, wait=ending):
                    self._mirror(record).catch_up()
                    self._seen[record.name] = record
        except Exception:
            self._mirrors.clear()  # next time MLflow is asked again what it has
            raise

    def end(self) -> list[str]:
        """Writes the reports and ends the parent runs, once all trials are there; answers why a report could not be written."""
        complaints = []
        for name, record in self._seen.items():
            try:
                self._mirrors[name].write_papers(record, self._papers_of)
            except Exception as error:  # whatever is wrong with it, the trials are there
                complaints.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:MAX_LENGTH]}")
            else:
                _note(Path(self._order.note), record)
            signal.alarm(SILENT_SECONDS)
            self._mirrors[name].close()
        return complaints

    @property
    def expects_papers(self) -> bool:
        return any(mirror.is_worth_papers for mirror in self._mirrors.values())

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


def _question(study: StudyRecord) -> dict[str, str]:
    return {"mlflow.note.content": study.spec.get("question", "")}


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1)


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


def read_note(path: Path) -> dict[str, float]:
    try:
        note: dict[str, float] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return note


def _note(path: Path, record: StudyRecord) -> None:
    path.write_text(json.dumps(read_note(path) | {record.name: record.updated}))
