"""Trials of a real Optuna storage, written by Optuna itself."""

import sqlite3
from pathlib import Path

import optuna
import pytest

from ablate.errors import EnvironmentMissing, InputError
from ablate.stores import open_store
from ablate.workspace import Workspace
from tests.imports.typed import answered, results_of, typed

pytestmark = pytest.mark.slow


def make_storage(path: Path, *, names: tuple[str, ...] = ("tune",), directions: tuple[str, ...] = ("minimize",), trials: int = 24) -> str:
    url = f"sqlite:///{path}"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in names:
        study = optuna.create_study(
            storage=url, study_name=name, directions=list(directions), sampler=optuna.samplers.RandomSampler(seed=1)
        )
        for number in range(trials):
            trial = study.ask()
            rate = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
            kind = trial.suggest_categorical("kind", ["mlp", "resampler"])
            if kind == "resampler":
                trial.suggest_int("depth", 1, 2)
            trial.set_user_attr("n_params", 1_000_000)
            for step in range(3) if len(directions) == 1 else ():
                trial.report(10.0 - step, step)
            if number == 5:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            elif number == 6 and len(directions) == 1:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            elif number != 7:
                study.tell(trial, [rate * (at + 1) for at in range(len(directions))])
        study._storage.remove_session()
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    return url


def test_trials_keep_their_state_their_curve_and_the_studys_goal(workspace: Workspace, tmp_path: Path) -> None:
    url = make_storage(tmp_path / "optuna.db")
    said = answered("import", "optuna", url, "--as", "tune", "--metric", "loss", place=workspace)
    assert said["metric"] == {"name": "loss", "goal": "min"}
    assert list(said["axes"]) == ["lr", "kind", "depth"]
    assert said["axes"]["lr"] == []  # drawn between bounds
    assert said["trials"]["states"] == {"done": 21, "failed": 1, "pruned": 1, "queued": 1}
    assert any(note.startswith("depth does not apply") and note.endswith("follows from kind") for note in said["notes"])
    rows = results_of("tune", place=workspace)
    assert all(row["loss"] == row["lr"] for row in rows if row["state"] == "done")
    assert [row["loss"] for row in rows if row["state"] == "pruned"] == [8.0]
    assert typed("results", "tune", "--curves", "--format", "csv", place=workspace).count(",loss,") == 24 * 3
    assert "kind" in typed("effects", "tune", place=workspace)
    typed("report", "tune", "-o", str(tmp_path / "report.html"), place=workspace)
    store = open_store(workspace.store_url)
    record = store.study("tune")
    assert record
    assert list(record.spec["axes"]["lr"]) == ["log"]
    assert {trial.num_params for trial in store.trials("tune")} == {1_000_000}
    store.close()
    assert answered("import", "optuna", url, "--as", "tune", place=workspace)["changed"] is False


def test_what_was_drawn_is_as_the_distributions_say(workspace: Workspace, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_int("width", 16, 512)
        trial.suggest_int("batch", 1, 16, log=True)
        trial.suggest_int("depth", 1, 4)
        trial.suggest_float("dropout", 0, 0.5, step=0.25)
        trial.suggest_categorical("tokens", list(range(1, 41)))
        return trial.suggest_float("lr", 1e-5, 1e-1, log=True)

    optuna.create_study(storage=url, study_name="drawn", sampler=optuna.samplers.RandomSampler(seed=1)).optimize(objective, n_trials=20)
    said = answered("import", "optuna", url, "--as", "drawn", "--experiment", "drawn", place=workspace)
    assert {axis for axis, levels in said["axes"].items() if not levels} == {"width", "batch", "lr"}
    assert any("since values were drawn; --importance says" in note for note in said["notes"])
    grid = optuna.create_study(
        storage=url, study_name="grid", sampler=optuna.samplers.GridSampler({"lr": [1e-4 * 2**at for at in range(9)]})
    )
    grid.optimize(lambda trial: trial.suggest_float("lr", 1e-5, 1e-1), n_trials=9)
    assert len(answered("import", "optuna", url, "--as", "grid", "--experiment", "grid", place=workspace)["axes"]["lr"]) == 9


def test_goal_that_contradicts_the_study_is_refused(tmp_path: Path) -> None:
    url = make_storage(tmp_path / "optuna.db", directions=("maximize",), trials=3)
    with pytest.raises(InputError, match="--goal min: the study's own direction is max; leave --goal out"):
        typed("import", "optuna", url, "--as", "tune", "--goal", "min", place=Workspace(tmp_path / "work"))


def test_one_of_several_studies_or_objectives_has_to_be_named(workspace: Workspace, tmp_path: Path) -> None:
    url = make_storage(tmp_path / "optuna.db", names=("one", "two"), directions=("minimize", "maximize"), trials=12)
    with pytest.raises(InputError, match=r"--experiment is missing: which study\? \(one, two\)"):
        typed("import", "optuna", url, "--as", "tune", place=workspace)
    with pytest.raises(InputError, match=r"no study 'tow'.*did you mean 'two'"):
        typed("import", "optuna", url, "--as", "tune", "--experiment", "tow", place=workspace)
    with pytest.raises(InputError, match=r"--metric is missing: which objective counts\? \(value_0, value_1\)"):
        typed("import", "optuna", url, "--as", "tune", "--experiment", "two", place=workspace)
    words = ("--experiment", "two", "--metric", "value_1", "--axis", "lr", "--axis", "kind", "--axis", "depth")
    said = answered("import", "optuna", url, "--as", "tune", *words, place=workspace)
    assert said["metric"] == {"name": "value_1", "goal": "max"}
    assert all(
        row["value_1"] == pytest.approx(2 * row["value_0"], rel=1e-12)
        for row in results_of("tune", place=workspace)
        if row["state"] == "done"
    )


def test_no_storage_is_made_or_filled(tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    sqlite3.connect(empty).close()
    place = Workspace(tmp_path / "work")
    with pytest.raises(InputError, match="there is no such file"):
        typed("import", "optuna", f"sqlite:///{tmp_path / 'none.db'}", "--as", "x", place=place)
    with pytest.raises(InputError, match="not a storage of Optuna"):
        typed("import", "optuna", str(empty), "--as", "x", place=place)
    with pytest.raises(EnvironmentMissing) as error:
        typed("import", "optuna", "nosuch://me:hunter2@127.0.0.1/x", "--as", "x", place=place)
    assert "hunter2" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db"]
