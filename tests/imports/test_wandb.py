"""Exports of Weights & Biases in the shapes that people have."""

import json
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import InputError
from ablate.stores import open_store
from ablate.workspace import Workspace
from tests.imports.typed import answered, results_of, typed, write_table

LOSS = ("--metric", "val/loss", "--goal", "min")


def records() -> list[dict[str, Any]]:
    """Two axes and two seeds, config values as the service stores them, a crash, a run that goes on, a value that is not finite."""
    found = []
    for at, (rate, kind, seed) in enumerate((rate, kind, seed) for rate in (0.1, 0.2) for kind in ("a", "b") for seed in (0, 1)):
        config = {
            "optim": {"value": {"lr": rate}, "desc": None},
            "kind": {"value": kind, "desc": None},
            "seed": {"value": seed},
            "sizes": {"value": [1, 2], "desc": None},
            "_wandb": {"value": {"cli_version": "0"}},
        }
        summary: dict[str, Any] = {
            "val/loss": 1 + at / 10,
            "acc": 0.5,
            "_runtime": 60,
            "_timestamp": 1_700_000_060,
            "hist": {"_type": "histogram"},
        }
        history = [{"_step": step, "val/loss": 3 - step} for step in range(2)] + [{"_step": 2, "val/loss": summary["val/loss"]}]
        found.append({"id": f"id{at}", "name": f"run {at}", "state": "finished", "config": config, "summary": summary, "history": history})
    found[1]["state"], found[3]["state"], found[5]["summary"]["val/loss"] = "crashed", "running", "NaN"
    return found


@pytest.mark.parametrize("form", ["list", "lines", "runs"])
def test_records_become_trials(form: str, workspace: Workspace, tmp_path: Path) -> None:
    path, runs = tmp_path / "runs.json", records()
    text = {"list": json.dumps(runs), "lines": "\n".join(map(json.dumps, runs)) + "\n", "runs": json.dumps({"runs": runs})}[form]
    path.write_text(text, encoding="utf-8")
    said = answered("import", "wandb", str(path), "--as", "runs", *LOSS, place=workspace)
    assert said["axes"] == {"optim.lr": [0.1, 0.2], "kind": ["a", "b"]}
    assert said["left_out"] == {"sizes": "the same in every run: [1, 2]"}
    assert said["trials"]["states"] == {"done": 6, "lost": 1, "queued": 1}
    rows = results_of("runs", place=workspace)
    assert [row["val/loss"] for row in rows] == [1.0, None, 1.2, None, 1.4, None, 1.6, 1.7]
    assert [row["acc"] for row in rows][:1] == [0.5]
    assert typed("results", "runs", "--curves", "--format", "csv", place=workspace).count(",val/loss,") == 8 * 3
    store = open_store(workspace.store_url)
    assert store.trials("runs")[0].started == 1_700_000_000
    assert store.trials("runs")[0].seconds == 60
    store.close()
    assert answered("import", "wandb", str(path), "--as", "runs", place=workspace)["changed"] is False


def test_runs_table_of_the_pages_becomes_trials(workspace: Workspace, tmp_path: Path) -> None:
    header = ("Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "kind", "optim.lr", "seed", "_step", "val/loss")
    rows = [
        (f"calm-{at}", "finished", "", "me", "", f"2025-01-0{at + 1}T00:00:00.000Z", 60 + at, "", kind, rate, seed, 100, 1 + at / 10)
        for at, (rate, kind, seed) in enumerate((rate, kind, seed) for rate in (0.1, 0.2) for kind in "ab" for seed in (0, 1))
    ]
    said = answered("import", "wandb", write_table(tmp_path / "runs.csv", header, rows), "--as", "runs", *LOSS, place=workspace)
    assert said["axes"] == {"kind": ["a", "b"], "optim.lr": [0.1, 0.2]}
    assert said["left_out"] == {}
    store = open_store(workspace.store_url)
    assert [(trial.started, trial.seconds) for trial in store.trials("runs")][1] == (1735776000.0, 61.0)
    store.close()


def test_table_of_the_export_script_is_read_as_literals(workspace: Workspace, tmp_path: Path) -> None:
    rows = [
        (at, str({"val/loss": 1.0 + at, "best": float("nan")}), str({"kind": "ab"[at % 2], "seed": at // 2}), f"run {at}")
        for at in range(4)
    ]
    table = write_table(tmp_path / "project.csv", ("", "summary", "config", "name"), rows)
    said = answered("import", "wandb", table, "--as", "runs", *LOSS, place=workspace)
    assert said["axes"] == {"kind": ["a", "b"]}
    assert [row["val/loss"] for row in results_of("runs", place=workspace)] == [1.0, 2.0, 3.0, 4.0]
    rows[0] = (0, "__import__('os').system('touch owned')", "{}", "run 0")
    write_table(tmp_path / "project.csv", ("", "summary", "config", "name"), rows)
    with pytest.raises(InputError, match="line 2: summary is no dictionary"):
        typed("import", "wandb", table, "--as", "other", *LOSS, place=workspace)
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"name": "a"', "line 1: not JSON"),
        ('{"name": "a"}\n{"name": \n', "line 2: not JSON"),
        ("[1, 2]", "run 1: expected a record with name, config and summary"),
        ("[]", "it holds no runs"),
        ('[{"name": "a", "state": "finishd", "summary": {"val/loss": 1}}]', "run 1: state 'finishd' is no state.*did you mean 'finished'"),
        ('[{"name": "a", "config": 3, "summary": {"val/loss": 1}}]', "run 1: config is no object"),
        ('[{"name": "a", "summary": {"val/lss": 1}}]', "no run has 'val/loss' in its summary .*did you mean 'val/lss'"),
        ("[" * 100_000, "nested too deeply|not JSON"),
        ('[{"summary": {"x": ' + "1" * 5000 + "}}]", "not JSON"),
    ],
)
def test_bad_records_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path, place = tmp_path / "runs.json", Workspace(tmp_path / "work")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        typed("import", "wandb", str(path), "--as", "runs", *LOSS, place=place)
    assert not place.folder.exists()
