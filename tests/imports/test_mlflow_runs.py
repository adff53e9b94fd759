"""Runs of a real MLflow database, written by MLflow itself."""

import os
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import EnvironmentMissing, InputError
from ablate.workspace import Workspace
from tests.imports.typed import answered, results_of, typed

pytestmark = pytest.mark.slow
LOSS = ("--metric", "loss", "--goal", "min")


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two experiments: `sweep` with a parent, its children, and runs that failed, were killed and run still; `other` with one run."""
    folder = tmp_path_factory.mktemp("mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow's libraries say of each other
        return write_runs(folder)


def write_runs(folder: Path) -> str:
    before = dict(os.environ)
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = folder.as_uri()
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    client.create_run(client.create_experiment("other", artifact_location=folder.as_uri()))
    sweep = client.create_experiment("sweep", artifact_location=folder.as_uri())
    parent = client.create_run(sweep, run_name="parent", start_time=1)

    def add(name: str, params: dict[str, Any], losses: list[float], *, status: str | None = "FINISHED", at: int = 0) -> None:
        tags = {"mlflow.parentRunId": parent.info.run_id, "mlflow.source.git.commit": "c0ffee" * 6}
        made = client.create_run(sweep, run_name=name, start_time=1_700_000_000_000 + at * 1000, tags=tags)
        metrics = [Metric("loss", value, 10 + step, step) for step, value in enumerate(losses)]
        client.log_batch(
            made.info.run_id, metrics=metrics, params=[Param(key, str(value)) for key, value in ({"model_name": "tiny"} | params).items()]
        )
        if status:
            client.set_terminated(made.info.run_id, status=status, end_time=1_700_000_000_000 + at * 1000 + 60_000)

    for at, (rate, kind, seed) in enumerate((rate, kind, seed) for rate in (1e-3, 1e-4) for kind in ("mlp", None) for seed in (0, 1)):
        params = {"optim/lr": rate, "seed": seed} | ({"kind": kind} if kind else {})
        add(f"run-{at}", params, [5.0, 4.0, 3 + at / 10], at=at)
    add("failed", {"optim/lr": 1e-3, "kind": "mlp", "seed": 2}, [5.0], status="FAILED", at=8)
    add("killed", {"optim/lr": 1e-4, "kind": "mlp", "seed": 2}, [], status="KILLED", at=9)
    add("running", {"optim/lr": 1e-3, "kind": "mlp", "seed": 3}, [9.0], status=None, at=10)
    add("diverged", {"optim/lr": 1e-4, "kind": "mlp", "seed": 3}, [5.0, float("nan")], at=11)
    client.log_metric(client.search_runs([sweep], "attributes.run_name = 'diverged'")[0].info.run_id, "accuracy", 0.5, step=0)
    os.environ.clear()
    os.environ.update(before)
    return uri


def test_runs_become_trials_with_curves(tracking: str, workspace: Workspace) -> None:
    before = dict(os.environ)
    said = answered("import", "mlflow", tracking, "--experiment", "sweep", "--as", "sweep", *LOSS, place=workspace)
    assert dict(os.environ) == before
    assert said["axes"] == {"optim_lr": [1e-3, 1e-4], "kind": ["mlp", "null"]}
    assert said["trials"]["states"] == {"done": 9, "failed": 2, "queued": 1}
    assert "left out, since they only hold others together: parent" in said["notes"]
    rows = {(row["optim_lr"], row["kind"], row["seed"]): row for row in results_of("sweep", place=workspace)}
    assert [rows[1e-3, "mlp", seed]["loss"] for seed in range(4)] == [3.0, 3.1, None, None]
    assert rows[1e-4, "null", 1]["loss"] == 3.7
    assert rows[1e-4, "mlp", 3]["state"] == "done"
    assert rows[1e-4, "mlp", 3]["accuracy"] == 0.5
    curve = typed("results", "sweep", "--curves", "--format", "csv", place=workspace)
    assert curve.count(",loss,") == 9 * 3 - 1
    assert "c0ffeec0ffee" in typed("explain", rows[1e-3, "mlp", 0]["trial"], place=workspace)
    effects = {(effect["axis"], effect["level"]): effect for effect in answered("effects", "sweep", place=workspace)["effects"]}
    assert effects["optim_lr", 1e-4]["mean_diff"] == pytest.approx(0.4)
    assert answered("import", "mlflow", tracking, "--experiment", "sweep", "--as", "sweep", place=workspace)["changed"] is False
    assert not Path("mlruns").exists()


def test_what_is_missing_or_misspelt_is_named(tracking: str, tmp_path: Path) -> None:
    place = Workspace(tmp_path / "work")
    for words, message in (
        ((), r"--experiment is missing: which one\? \(sweep, other\)"),
        (("--experiment", "swep"), "no experiment 'swep' .*did you mean 'sweep'"),
        (("--experiment", "sweep", "--metric", "los"), "no run has the metric 'los' .*did you mean 'loss'"),
    ):
        with pytest.raises(InputError, match=message):
            typed("import", "mlflow", tracking, "--as", "sweep", "--goal", "min", *words, place=place)
    assert not place.folder.exists()


def test_no_database_is_made_or_filled(tmp_path: Path) -> None:
    place = Workspace(tmp_path / "work")
    empty = tmp_path / "empty.db"
    sqlite3.connect(empty).close()
    (tmp_path / "text.db").write_text("no database", encoding="utf-8")
    for name, message in (
        ("none.db", "there is no such file"),
        ("empty.db", "not a database of MLflow"),
        ("text.db", "not a database of MLflow"),
    ):
        for source in (f"sqlite:///{tmp_path / name}", str(tmp_path / name)):
            with pytest.raises(InputError, match=message):
                typed("import", "mlflow", source, "--as", "x", *LOSS, place=place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db", "text.db"]
    assert empty.stat().st_size == 0


def test_server_that_is_away_is_named_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(EnvironmentMissing) as error:
        typed("import", "mlflow", "http://me:hunter2@127.0.0.1:9", "--as", "x", *LOSS, place=Workspace(tmp_path / "work"))
    assert "http://127.0.0.1:9: MLflow could not be read" in str(error.value)
    assert "hunter2" not in str(error.value)
