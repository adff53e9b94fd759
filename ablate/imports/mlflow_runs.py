"""Runs of an MLflow experiment: parameters are what was set, metrics what was measured, their histories curves.

A file, a folder or a server is only read: a file that is not there is not made, and an empty one gets no tables. In an empty database of
another kind MLflow makes its tables by itself.
"""

import contextlib
import os
import sqlite3
import sys
import tempfile
import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from ablate.errors import EnvironmentMissing, InputError, did_you_mean
from ablate.imports.runs import Asked, Found, Run, clean, listed, said, state_of, without_credentials
from ablate.marked_yaml import visible

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet", "MLFLOW_ALLOW_FILE_STORE": "true"}
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""With a server, unless the environment says otherwise; MLflow's own would go on asking for minutes."""
ROOT = "_MLFLOW_SERVER_ARTIFACT_ROOT"
"""MLflow makes a folder for artefacts where its process stands, even to read a database, unless this names another."""
PAGE = 1_000
MOST_POINTS = 10_000
"""Of one curve; a longer one is thinned evenly, its last point kept."""
SAY_EVERY = 2.0
"""Seconds between words about how far it is."""


def read_mlflow(asked: Asked) -> Found:
    """Raises InputError with what is wrong, or EnvironmentMissing where MLflow cannot be asked."""
    uri, shown = _uri(asked.source), without_credentials(asked.source)
    with _quietly(), tempfile.TemporaryDirectory() as folder:
        os.environ[ROOT] = Path(folder).as_uri()
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            client = MlflowClient(tracking_uri=uri)
            experiment = _experiment(client, asked, shown=shown)
            runs = sorted(_pages(client, experiment.experiment_id), key=lambda run: (run.info.start_time or 0, run.info.run_id))
            found = _found(runs, asked, source=f"{shown}, experiment {clean(experiment.name)}")
            return _with_curves(found, client, asked) if asked.curves else found
        except InputError:
            raise
        except (MlflowException, OSError, ValueError) as error:
            raise EnvironmentMissing(f"{shown}: MLflow could not be read: {_message(error, asked.source)}") from None
        except Exception as error:  # a driver that is missing, a database that refuses: each library has its own
            raise EnvironmentMissing(
                f"{shown}: MLflow could not be read: {type(error).__name__}: {_message(error, asked.source)}"
            ) from None


def _uri(source: str) -> str:
    """A tracking URI; a path is a SQLite file, or the folder of a file store."""
    if source.startswith("sqlite:///"):
        _refuse_no_store(Path(source.removeprefix("sqlite:///").partition("?")[0]))
        return source
    if "://" in source and not source.startswith("file:"):
        return source
    path = Path(unquote(urlparse(source).path)) if source.startswith("file:") else Path(source)
    if path.is_dir():
        # MLflow makes an experiment of its own in any other
        if not any(path.glob("*/meta.yaml")):
            raise InputError(f"{path}: not a folder of MLflow's: no experiment in it has a meta.yaml")
        return path.resolve().as_uri()
    _refuse_no_store(path)
    return f"sqlite:///{path.resolve()}"


def _refuse_no_store(path: Path) -> None:
    """MLflow makes a file that is not there, and fills an empty one with tables."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; SOURCE is MLflow's tracking URI: sqlite:///FILE, a folder, or http://HOST:PORT")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT 1 FROM experiments LIMIT 1").fetchone()
            connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise InputError(f"{path}: not a database of MLflow: {error}") from None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The environment MLflow reads, put back afterwards; what its libraries say of each other's age is nothing to our reader."""
    before = dict(os.environ)
    for name, value in {**PATIENCE, **QUIET}.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in (*PATIENCE, *QUIET, ROOT):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


def _experiment(client: Any, asked: Asked, *, shown: str) -> Any:
    found: list[Any] = []
    token = None
    while True:
        page = client.search_experiments(max_results=PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    names = [experiment.name for experiment in found]
    if asked.experiment:
        for experiment in found:
            if experiment.name == asked.experiment:
                return experiment
        hint = did_you_mean(asked.experiment, names)
        raise InputError(f"{shown}: no experiment '{visible(asked.experiment)}' (there: {listed(names) or 'none'}){hint}")
    used = [experiment for experiment in found if client.search_runs([experiment.experiment_id], max_results=1)]
    if len(used) == 1:
        return used[0]
    if not used:
        raise InputError(f"{shown}: it holds no runs")
    raise InputError(f"{shown}: --experiment is missing: which one? ({listed(experiment.name for experiment in used)})")


def _pages(client: Any, experiment: str) -> Iterator[Any]:
    token, count, progress = None, 0, _Progress("runs read")
    while True:
        page = client.search_runs([experiment], max_results=PAGE, page_token=token)
        yield from page
        count += len(page)
        progress.say(count)
        token = page.token
        if not token:
            return


def _found(read: Sequence[Any], asked: Asked, *, source: str) -> Found:
    if not read:
        raise InputError(f"{source}: it holds no runs")
    parents = {run.data.tags.get("mlflow.parentRunId") for run in read} - {None}
    runs, problems = [_run(run, parents=parents) for run in read], list[str]()
    known = sorted({metric for run in runs for metric in run.metrics})
    if not asked.metric:
        problems.append(f"--metric is missing: which one counts? ({listed(known) or 'no run has one'})")
    for metric in (asked.metric, *asked.also):
        if metric and metric not in known:
            problems.append(f"no run has the metric '{visible(metric)}' ({listed(known) or 'none has any'}){did_you_mean(metric, known)}")
    if problems:
        raise said(problems, about=source)
    columns = tuple(dict.fromkeys(key for run in runs for key in run.config))
    return Found("mlflow", source, tuple(runs), columns, frozenset(columns))


def _run(run: Any, *, parents: Collection[str | None]) -> Run:
    info, tags = run.info, run.data.tags
    state, reason = state_of(info.status) or ("failed", f"it ended there as {info.status}")
    started = info.start_time / 1000 if info.start_time else None
    ended = info.end_time / 1000 if info.end_time else None
    return Run(
        id=info.run_id,
        name=clean(info.run_name or tags.get("mlflow.runName") or info.run_id),
        state=state,
        reason=reason,
        started=started,
        seconds=max(ended - started, 0.0) if started is not None and ended is not None else None,
        commit=clean(tags.get("mlflow.source.git.commit", "")),
        config={clean(key): value for key, value in run.data.params.items()},
        metrics={clean(key): float(value) for key, value in run.data.metrics.items()},
        is_parent=info.run_id in parents,
    )


def _with_curves(found: Found, client: Any, asked: Asked) -> Found:
    """The histories of the study's metrics: MLflow is asked for each run's one by one."""
    wanted, progress, runs = dict.fromkeys((asked.metric, *asked.also)), _Progress("curves read", of=len(found.runs)), list[Run]()
    for number, run in enumerate(found.runs, start=1):
        curves = {key: points for key in wanted if key in run.metrics and len(points := _curve(client, run.id, key)) > 1}
        runs.append(replace(run, curves=curves) if curves else run)
        progress.say(number)
    return replace(found, runs=tuple(runs))


def _curve(client: Any, run: str, metric: str) -> list[tuple[int, float]]:
    """Of several values at one step the last one logged."""
    points: dict[int, tuple[int, float]] = {}
    for point in client.get_metric_history(run, metric):
        if point.step not in points or point.timestamp >= points[point.step][0]:
            points[point.step] = point.timestamp, float(point.value)
    ordered = [(step, value) for step, (_, value) in sorted(points.items())]
    if len(ordered) <= MOST_POINTS:
        return ordered
    return [ordered[round(place * (len(ordered) - 1) / (MOST_POINTS - 1))] for place in range(MOST_POINTS)]


def _message(error: BaseException, source: str) -> str:
    said_of_it = str(error).strip().partition("\n")[0] or type(error).__name__
    return without_credentials(said_of_it.replace(source, without_credentials(source)))


class _Progress:
    """Words on standard error about what takes longer than two seconds."""

    def __init__(self, what: str, *, of: int = 0) -> None:
        self._what, self._of, self._began = what, of, time.monotonic()
        self._last = self._began

    def say(self, count: int) -> None:
        now = time.monotonic()
        if now - self._last < SAY_EVERY:
            return
        self._last = now
        left = f" of {self._of:,}, about {(now - self._began) / count * (self._of - count):.0f} s left" if self._of else ""
        print(f"{count:,} {self._what}{left}", file=sys.stderr)
