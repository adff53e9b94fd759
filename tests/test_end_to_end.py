"""The command line as a person uses it: real processes, a real Ray, a real database, simulated training."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ABLATE = [sys.executable, "-m", "ablate"]
STUDY = """\
schema: 1
name: small
question: Do more tokens lower the loss?
trainer: synthetic
base: {num_params: 1.0e9, noise_sd: 0.001, FIELDS}
axes:
  num_tokens: [4, 64]
  AXIS
seeds: 3
metric: {name: loss, goal: min}
claims:
  - {axis: num_tokens, expect: decreases}
"""

Ablate = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ablate(tmp_path: Path) -> Ablate:
    """Runs `ablate` in an empty folder."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        found = subprocess.run([*ABLATE, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=110)
        assert found.returncode == code, f"exit {found.returncode}\n{found.stdout}\n{found.stderr}"
        return found

    return run


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., str]:
    def write(*, fields: str = "steps: 5", axis: str = "connector: [avg_pool]") -> str:
        (tmp_path / "small.yaml").write_text(STUDY.replace("FIELDS", fields).replace("AXIS", axis))
        return "small.yaml"

    return write


def states(ablate: Ablate) -> list[str]:
    return [row["state"] for row in json.loads(ablate("status", "small", "--json").stdout)]


def wait_until(condition: Callable[[], bool], *, process: "subprocess.Popen[Any]", seconds: float = 60) -> None:
    """Waits on a condition, not on time; a process that ended cannot make it true any more."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert process.poll() is None, "the run ended first"
        assert time.monotonic() < deadline, "it did not come true in time"
        pause.wait(0.05)


@pytest.mark.slow
def test_main_job_end_to_end(ablate: Ablate, write_study: Callable[..., str], tmp_path: Path) -> None:
    study = write_study()
    planned = json.loads(ablate("plan", study, "--json").stdout)
    assert set(planned) >= {"study", "arms", "trials", "jobs", "totals", "parameters", "cost", "detectable", "budget"}
    assert [trial["state"] for trial in planned["trials"]] == ["queued"] * 6
    assert not (tmp_path / ".ablate").exists()

    first = ablate("run", study)
    assert "small: 6 done of 6 trials; 6 jobs" in first.stdout
    assert "slots busy" in first.stdout
    again = ablate("run", study)
    assert "nothing to run" in again.stdout
    assert "starting Ray" not in again.stdout

    planned = json.loads(ablate("plan", study, "--json").stdout)
    assert {trial["state"] for trial in planned["trials"]} == {"done"}
    assert {job["state"] for job in planned["jobs"]} == {"cached"}

    rows = ablate("results", "small", "--format", "csv").stdout.splitlines()
    assert rows[0] == "trial,arm,seed,state,num_tokens,connector,loss,score/0,score/4,score/8"
    assert len(rows) == 7

    assert len(ablate("results", "small", "--claim", "1", "--format", "csv").stdout.splitlines()) == 7
    assert "ask for one of them" in ablate("results", "small", "--claim", "1", "--curves", code=2).stderr

    concluded = json.loads(ablate("effects", "small", "--json").stdout)
    assert (concluded["simulated"], concluded["metric"]) == (True, "loss")
    effect = concluded["effects"][0]
    # the stated law; noise that differs between arms has a standard deviation of 1e-4
    assert effect["mean_diff"] == pytest.approx(0.02 / 64 - 0.02 / 4, abs=3e-4)
    assert [verdict["verdict"] for verdict in concluded["verdicts"]] == ["supported"]

    ablate("report", "small", "-o", "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Do more tokens lower the loss?" in page
    assert "simulated" in page
    _check_mlflow(tmp_path)


def _check_mlflow(folder: Path) -> None:
    """What a person who lives in MLflow finds, asked in a process of its own: importing MLflow is heavy and leaves threads."""
    code = """
import json, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
runs = mlflow.MlflowClient().search_runs([mlflow.get_experiment_by_name("small").experiment_id])
children = [run for run in runs if "ablate.trial" in run.data.tags]
parent, = [run for run in runs if "ablate.trial" not in run.data.tags]
one = children[0]
print(json.dumps({
    "children": len(children),
    "parents": sorted({run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children}),
    "status": sorted({run.info.status for run in runs}),
    "tags": {key: one.data.tags[key] for key in ("ablate.study", "ablate.simulated", "axis.connector")},
    "param": one.data.params["connector"],
    "points": len(mlflow.MlflowClient().get_metric_history(one.info.run_id, "loss")),
    "config": mlflow.artifacts.load_dict(one.info.artifact_uri + "/config.json")["num_params"],
}))
"""
    quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    command = [sys.executable, "-c", code, f"sqlite:///{folder / '.ablate' / 'mlflow.db'}"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=quiet).stdout.splitlines()[-1])
    assert found == {
        "children": 6,
        "parents": [True],
        "status": ["FINISHED"],
        "tags": {"ablate.study": "small", "ablate.simulated": "true", "axis.connector": "avg_pool"},
        "param": "avg_pool",
        "points": 5,
        "config": 1e9,
    }


@pytest.mark.slow
def test_trainer_that_raises_diverges_or_dies_fails_alone(ablate: Ablate, write_study: Callable[..., str]) -> None:
    study = write_study(axis="fail: [none, raise, nan, exit]")
    ended = ablate("run", study, "seeds=1", code=1)
    assert "2 done, 6 failed of 8 trials" in ended.stdout
    rows = {(row["arm"], row["seed"]): row for row in json.loads(ablate("status", "small", "--json").stdout)}
    assert rows["fail=raise", 0]["reason"] == "RuntimeError: this synthetic trial was told to raise"
    assert rows["fail=nan", 0]["reason"] == "'loss' ended as nan"
    assert rows["fail=exit", 0]["reason"] == "3 times: its worker process died (WorkerCrashedError)"
    assert "told to raise" in ablate("logs", rows["fail=raise", 0]["trial"]).stdout
    assert "NaN" not in ablate("results", "small", "--format", "json").stdout
    assert "6 jobs queued again" in ablate("retry", "small").stdout
    assert states(ablate).count("queued") == 6


@pytest.mark.slow
def test_search_whose_driver_was_killed_goes_on_with_what_is_done_and_grows(ablate: Ablate, tmp_path: Path) -> None:
    text = """\
schema: 1
name: small
trainer: synthetic
base: {steps: 20, step_seconds: 0.05}
axes:
  peak_lr: {log: [1.0e-6, 1.0e-2]}
design: {kind: search, trials: TRIALS}
metric: {name: loss, goal: min}
"""
    (tmp_path / "small.yaml").write_text(text.replace("TRIALS", "4"))
    process = subprocess.Popen([*ABLATE, "run", "small.yaml"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.glob(".ablate/runs/*/attempt-1/done.json"))) >= 2, process=process)
    process.kill()
    process.wait()
    finished = {path: path.read_bytes() for path in tmp_path.glob(".ablate/runs/*/attempt-*/done.json")}
    begun = {path.name for path in tmp_path.glob(".ablate/runs/*")}
    ablate("run", "small.yaml")
    rows = json.loads(ablate("results", "small", "--format", "json").stdout)
    assert [row["state"] for row in rows] == ["done"] * 4
    assert len({row["peak_lr"] for row in rows}) == 4
    assert {path: path.read_bytes() for path in finished} == finished
    assert all(len(list(path.parent.parent.glob("attempt-*"))) == 1 for path in finished)
    assert begun <= {path.name for path in tmp_path.glob(".ablate/runs/*")}
    assert len(list(tmp_path.glob(".ablate/runs/*"))) <= 6  # a trial that began in the moment of the kill may be in no plan
    assert "nothing to run" in ablate("run", "small.yaml").stdout
    (tmp_path / "small.yaml").write_text(text.replace("TRIALS", "5"))
    assert "1 job in" in ablate("run", "small.yaml").stdout
    assert states(ablate) == ["done"] * 5


@pytest.mark.slow
def test_search_whose_workers_die_says_so_and_does_not_claim_to_be_interrupted(ablate: Ablate, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("""\
schema: 1
name: small
trainer: synthetic
base: {steps: 4}
axes:
  fail: [none, exit]
design: {kind: search, trials: 2}
metric: {name: loss, goal: min}
""")
    ended = ablate("run", "small.yaml", code=1)
    assert "go on with" not in ended.stdout
    assert sorted(states(ablate)) == ["done", "failed"]
    assert "3 times: its worker process died" in ended.stdout


@pytest.mark.slow
def test_search_over_a_shared_stage_builds_it_once(ablate: Ablate, tmp_path: Path) -> None:
    """Two trials start at the same moment and need the same encoder."""
    (tmp_path / "small.yaml").write_text("""\
schema: 1
name: small
trainer: model_zoo
base:
  encoder: {pretrain: {steps: 30, batch_size: 8}}
  data: {num_scenes: 64}
  train: {steps: 8, warmup_steps: 2}
  eval: {tasks: [], num_validations: 2, validation_documents: 4}
axes:
  train.learning_rate: {log: [1.0e-3, 1.0e-2]}
design: {kind: search, trials: 2}
metric: {name: val_loss, goal: min}
""")
    ablate("run", "small.yaml")
    assert states(ablate) == ["done"] * 2
    assert len(list(tmp_path.glob(".ablate/runs/encoder-*/attempt-*"))) == 1


def test_law_predict_answers_with_the_published_law(ablate: Ablate) -> None:
    answer = json.loads(ablate("law", "predict", "--params", "30e9", "--json").stdout)
    assert answer["lr"] == pytest.approx(2.21e-5, rel=1e-3)
    assert answer["weight_decay"]["per_step"] == pytest.approx(2.21e-6, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "nothing.yaml"], 2, "nothing.yaml"),
        (["effects", "small"], 3, "no store"),
        (["law", "predict", "--params", "-1"], 2, "positive"),
        (["law", "predict", "--params", "1e9", "--law", "mm2"], 2, "did you mean 'mm1'?"),
        (["law", "fit", "none.csv"], 2, "no file none.csv"),
        (["run", "quickstart", "--slots", "0"], 2, "--slots"),
        (["run", "quickstart", "--seeds", "0"], 2, "--seeds"),
        (["dashboard", "--host", "0.0.0.0"], 2, "loopback"),  # noqa: S104
    ],
)
def test_bad_request_is_explained_and_changes_nothing(
    ablate: Ablate, arguments: Sequence[str], code: int, said: str, tmp_path: Path
) -> None:
    assert said in ablate(*arguments, code=code).stderr
    assert list(tmp_path.iterdir()) == []
