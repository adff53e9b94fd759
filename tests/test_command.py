"""The command trainer: mistakes are found where they are written, arguments arrive as they are, the program's end is the trial's."""

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from ablate.attempt import execute
from ablate.checkpoints import FILES
from ablate.command import CommandFailed
from ablate.design import make_arms
from ablate.errors import InputError
from ablate.journal import read_points
from ablate.load import load_study
from ablate.planned import Job
from ablate.planner import make_plan
from ablate.preview import preview_with
from ablate.study import Study
from ablate.trainers import TrainerFaults, trainer_of
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.own import REPORTS, Remembering, config_of, load_own, stage_of, train, write_study

ECHO = """
import json, os, sys
names = ("ABLATE_CONFIG", "ABLATE_TRIAL_DIR", "ABLATE_SEED", "ABLATE_METRICS")
seen = {"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(), "config": json.load(open(os.environ["ABLATE_CONFIG"]))}
json.dump(seen, open(os.path.join(os.environ["ABLATE_TRIAL_DIR"], "seen.json"), "w"))
print(json.dumps({"step": 1, "loss": 0.5}))
"""
NASTY = "a b; touch pwned | cat `id` $(id) '\"\\ %s {x} ünï"


def echoed(folder: Path, *arguments: str, arm: int = 0, **keys: Any) -> dict[str, Any]:
    """What the program sees."""
    study = load_own(folder, script=ECHO, argv=["{python}", "train.py", *arguments], **keys)
    train(study, folder, arm=arm)
    found: dict[str, Any] = json.loads((folder / "trial" / "seen.json").read_text(encoding="utf-8"))
    return found


def problems(here: Path, **keys: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_study(write_study(here, **{"argv": ["prog"]} | keys))
    return str(caught.value)


def job_of(study: Study) -> Job:
    """That of the first trial."""
    job, *_ = make_plan(study, make_arms(study)).jobs.values()
    return job


def test_one_argument_stays_one_argument_byte_for_byte(tmp_path: Path) -> None:
    base, axes = {"first": f"{NASTY} \n\t", "second": "x"}, {"second": ["x", NASTY]}
    seen = echoed(tmp_path, "{first}", "--second={second}", "; touch pwned", "$(id)", "", base=base, axes=axes, arm=1)
    assert seen["argv"] == [f"{NASTY} \n\t", f"--second={NASTY}", "; touch pwned", "$(id)", ""]
    assert not list(tmp_path.rglob("pwned"))


def test_program_gets_its_place_in_arguments_and_environment(tmp_path: Path) -> None:
    seen = echoed(tmp_path, "{seed}", "{dir}", "{checkpoint_dir}", "{config_file}", "{python}", arm=1)
    trial, kept = tmp_path / "trial", tmp_path / "checkpoint-files"
    assert seen["argv"] == ["3", str(trial), str(kept), str(trial / "ablate-config.json"), sys.executable]
    assert (seen["cwd"], seen["config"]) == (str(tmp_path), {"lr": 0.2})
    env = seen["env"]
    assert (env["ABLATE_SEED"], env["ABLATE_TRIAL_DIR"], env["OMP_NUM_THREADS"]) == ("3", str(trial), "1")
    assert env["ABLATE_CHECKPOINT_DIR"] == str(kept)
    assert "ABLATE_METRICS" not in env


def test_log_begins_with_the_arguments_as_the_program_got_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    echoed(tmp_path, "--name={name}", base={"name": "x", "lr": 0.1}, axes={"name": ["x", NASTY]}, arm=1)
    first, *_ = capsys.readouterr().out.splitlines()
    assert shlex.split(first.removeprefix("ablate: ")) == [sys.executable, "train.py", f"--name={NASTY}"]


RESUMES = """
import json, os, pathlib, signal, sys
kept = pathlib.Path(os.environ["ABLATE_CHECKPOINT_DIR"]) / "state"
step, weight = json.loads(kept.read_text()) if kept.exists() else (0, 1.0)
dies_at = int(sys.argv[1]) if step == 0 else 0
while step < 6:
    step, weight = step + 1, weight * 0.7 + 0.1
    pathlib.Path(f"{kept}.tmp").write_text(json.dumps([step, weight]))
    if step == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)
    os.replace(f"{kept}.tmp", kept)
    print(json.dumps({"step": step, "loss": weight}), flush=True)
"""


def test_program_killed_in_the_middle_goes_on_and_ends_with_the_same_numbers(workspace: Workspace, tmp_path: Path) -> None:
    """It dies while it writes its fourth checkpoint, so the third one counts."""
    keys = {"script": RESUMES, "base": {"dies_at": 0}, "axes": {"dies_at": [0, 4]}, "argv": ["{python}", "train.py", "{dies_at}"]}
    study = load_own(tmp_path, **keys)
    undisturbed, dies = make_plan(study, make_arms(study)).jobs.values()
    whole = execute(undisturbed, workspace=workspace, number=1)
    first = execute(dies, workspace=workspace, number=1)
    assert (whole.state, first.state, first.reason) == ("done", "failed", f"CommandFailed: ended by {signal.SIGKILL.name}: it said nothing")
    kept = workspace.runs / dies.id / FILES
    assert sorted(path.name for path in kept.iterdir()) == ["state", "state.tmp"]
    second = execute(dies, workspace=workspace, number=2)
    assert (second.state, second.metrics) == ("done", whole.metrics)
    points, _ = read_points(workspace.attempt(dies.id, 2) / "metrics.jsonl")
    assert [point.step for point in points] == [4, 5, 6]
    assert not kept.exists()


def test_files_of_a_program_stay_for_an_attempt_that_follows_a_late_one(workspace: Workspace, tmp_path: Path) -> None:
    """A worker that was taken for dead and comes back finds its successor at work."""
    job = job_of(load_own(tmp_path))
    workspace.attempt(job.id, 2).mkdir(parents=True)
    assert execute(job, workspace=workspace, number=1).state == "done"
    assert (workspace.runs / job.id / FILES).is_dir()


def test_environment_is_built_and_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "HF_TOKEN"):
        monkeypatch.setenv(name, "canary")
    env = echoed(tmp_path, env={"MODE": "fast-{lr}"}, pass_env=["HF_TOKEN", "NOT_SET"])["env"]
    assert [name for name, value in env.items() if value == "canary"] == ["HF_TOKEN"]
    assert (env["MODE"], env["PATH"]) == ("fast-0.1", os.environ["PATH"])
    assert "NOT_SET" not in env


def test_rows_of_a_file_are_points(tmp_path: Path) -> None:
    script = (
        "import os\nopen(os.environ['ABLATE_METRICS'], 'w').write('{\"step\": 4, \"loss\": 0.5}\\n')\nprint('{\"step\": 9, \"loss\": 9}')"
    )
    assert train(load_own(tmp_path, script=script, report="rows.jsonl"), tmp_path).points == [(4, {"loss": 0.5})]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; print('step one'); sys.exit('no such data: x.parquet')", "exit code 1: step one / no such data: x.parquet"),
        ("import os; os._exit(3)", "exit code 3: it said nothing"),
        ("import os; os.abort()", "ended by SIGABRT: it said nothing"),
        ("raise RuntimeError('CUDA out of memory')", "RuntimeError: CUDA out of memory"),
        ("print('rank 1: CUDA out of memory')\nfor _ in range(50): print('x')\nraise SystemExit(1)", "x / x / rank 1: CUDA out of memory"),
    ],
)
def test_program_that_fails_says_why_with_its_last_lines(script: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        train(load_own(tmp_path, script=script), tmp_path)
    words = sorted(said.split(" / "))
    assert all(word in str(caught.value) for word in words)


def test_program_ended_because_the_trial_stops_has_not_failed(tmp_path: Path) -> None:
    study = load_own(tmp_path, script="import time; time.sleep(600)", grace_seconds=0)
    train(study, tmp_path, context=Remembering(tmp_path / "trial", stop=True))


def test_refused_lines_are_counted_and_said_once_in_the_log(workspace: Workspace, tmp_path: Path) -> None:
    script = 'for _ in range(50):\n    print(\'{broken\')\nprint(\'{"step": 2, "loss": 1, "other": "low"}\')'
    job = job_of(load_own(tmp_path, script=script))
    outcome = execute(job, workspace=workspace, number=1)
    assert (outcome.state, outcome.details["refused_rows"]) == ("done", 51)
    log = (workspace.attempt(job.id, 1) / "log.txt").read_text(encoding="utf-8")
    assert log.count("row refused: not a line of JSON ({broken); more of the kind are counted") == 1
    assert "50 rows refused: not a line of JSON" in log
    assert "1 row refused: a metric's value is a number" in log


def test_metric_that_is_not_declared_is_named_once_with_the_one_that_is_nearly_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(load_own(tmp_path, script='for step in (1, 2):\n    print(\'{"step": 1, "los": 0.5, "loss": 1}\')'), tmp_path)
    said = capsys.readouterr().out
    assert said.count("'los' is not in command.metrics: it is kept, and no study can name it; did you mean 'loss'?") == 1
    assert "'loss' is not" not in said


def test_script_that_changed_since_the_plan_is_not_run(tmp_path: Path) -> None:
    study = load_own(tmp_path)
    (tmp_path / "train.py").write_text("print('other')", encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.py in .* changed since the trial was planned"):
        train(study, tmp_path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"argv": "python train.py; rm x"}, "command.argv: found text 'python train.py; rm x'; write a list with one argument each"),
        *[({"argv": f"train.py{word}x"}, "; write a list with one argument each") for word in (" | ", " `id`", " $(id) ", "\n", " && ")],
        ({"argv": []}, "command.argv: expected at least 1 of them"),
        ({"argv": ["prog", 3]}, "command.argv[1]: expected text, found 3"),
        ({"argv": ["{arm.__class__}"]}, "command.argv[0]: '{arm.__class__}' is not allowed"),
        ({"argv": ["{0}"]}, "'{0}' is not allowed"),
        ({"argv": ["{lr:>9}"]}, "'{lr:>9}' is not allowed"),
        ({"argv": ["{lr[0]}"]}, "'{lr[0]}' is not allowed"),
        ({"argv": ["{}"]}, "'{}' is not allowed"),
        ({"argv": ["lr}"]}, "unmatched '}'"),
        ({"base": {"seed": 1, "lr": 0.1}, "argv": ["{seed}"]}, "'seed' is given by ablate and a field of the base too"),
        ({"argv": ["{lr!r}"]}, "'{lr!r}' is not allowed"),
        ({"argv": ["p", "${HOME}"]}, "command.argv[1]: '${HOME}' is a shell's"),
        ({"argv": ["{lr"]}, "unmatched '{'"),
        ({"argv": ["{lrr}"]}, "did you mean 'lr'?"),
        ({"env": {"A": "{x}"}}, "command.env.A: unknown field 'x'"),
        ({"env": {"LD_PRELOAD": "x"}}, "LD_PRELOAD is not allowed"),
        ({"env": {"PATH": "x"}}, "PATH is not allowed"),
        ({"env": {"PYTHONPATH": "x"}}, "PYTHONPATH is not allowed"),
        ({"env": {"LD_LIBRARY_PATH": "x"}}, "LD_LIBRARY_PATH is not allowed"),
        ({"env": {"DYLD_INSERT_LIBRARIES": "x"}}, "DYLD_INSERT_LIBRARIES is not allowed"),
        ({"env": {"ABLATE_SEED": "1"}}, "ABLATE_SEED is set by the scheduler"),
        ({"env": {"": "0"}}, "the key is empty"),
        ({"env": {"1A": "0"}}, "'1A' is no name of a variable"),
        ({"env": {"A=B": "0"}}, "'A=B' is no name of a variable"),
        ({"pass_env": ["A B"]}, "'A B' is no name of a variable"),
        (
            {"extra": {"trainer": "comand"}},
            "unknown trainer 'comand' (model_zoo, synthetic, command, python, surrogate); did you mean 'command'?",
        ),
        ({"env": {"RAY_ADDRESS": "x"}}, "RAY_ADDRESS is set by the scheduler"),
        ({"env": {"CUDA_VISIBLE_DEVICES": "0"}}, "CUDA_VISIBLE_DEVICES is set by the scheduler"),
        ({"env": {"A B": "0"}}, "'A B' is no name of a variable"),
        ({"env": {"WANDB_API_KEY": "abc"}}, "WANDB_API_KEY looks like a secret, and this file is no place for one; write pass_env"),
        ({"env": {"DATABASE": "postgresql://me:secret@host/x"}}, "DATABASE looks like a secret"),
        ({"pass_env": ["LD_LIBRARY_PATH"]}, "LD_LIBRARY_PATH is not allowed"),
        ({"report": "../x"}, "command.report: '../x' lies outside the folder"),
        ({"report": "/tmp/x"}, "lies outside the folder"),  # noqa: S108
        ({"sources": ["gone.py"]}, "command.sources[0]: no file 'gone.py' in "),
        ({"folder": "gone"}, "command.folder: no folder '"),
        ({"metrics": {}}, "command.metrics: expected at least 1"),
        ({"metrics": {"a/../b": "x"}}, "'a/../b' is no name for a metric"),
        ({"metrics": {"val": "x"}}, "metric.name: the trainer command declares no 'loss' (val)"),
        ({"grace_seconds": -1}, "command.grace_seconds: must be at least 0"),
        ({"train_flops": "6 * lrr"}, "command.train_flops: unknown name 'lrr'; did you mean 'lr'?"),
        ({"train_flops": "open('x')"}, "command.train_flops: not allowed here: call"),
        ({"num_params": "lr - 0.1"}, "num_params: `lr - 0.1` comes to 0.0, expected a number above 0"),
        ({"arg": ["x"]}, "unknown key 'arg'"),
        ({"base": {"_target_": "x", "lr": 1.0}}, "'_target_' cannot be a field"),
        ({"extra": {"python": {"function": "a:b", "metrics": {"loss": "x"}}}}, "python: goes with trainer: python"),
        ({"extra": {"trainer": "synthetic", "axes": {"num_tokens": [16, 64]}, "base": {}}}, "command: goes with trainer: command"),
        ({"extra": {"command": None}}, "trainer: command needs the key command"),
        ({"extra": {"budget": {"train_flops": 1e9}}}, "a limit on train_flops needs to know what a training takes"),
        ({"axes": {"lrr": [1, 2]}}, "no field 'lrr' (lr); did you mean 'lr'?"),
        ({"axes": {"lr": ["high", "low"]}}, "axes.lr[0]: expected a number, found text 'high'"),
        ({"axes": {"lr.x": [1, 2]}}, "lr is one value, and nothing lies under it"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_mistake_in_a_command_is_named_at_its_place(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    found = problems(tmp_path, **keys)
    assert message in found
    assert f"{tmp_path / 'study.yaml'}:1:" in found


def test_value_that_would_read_as_an_option_is_refused_at_its_level(tmp_path: Path) -> None:
    axes = {"lr": [0.1, -0.2]}
    found = problems(tmp_path, argv=["prog", "--lr", "{lr}"], axes=axes)
    assert "axes.lr[1]: the value -0.2 starts with -, and argv[2] would read as an option; use --opt=value, as in --lr={lr}" in found
    assert len(load_study(write_study(tmp_path, argv=["prog", "--lr={lr}"], axes=axes)).axes) == 1


def test_several_mistakes_come_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, argv=["prog", "{a}", "{b}"], env={"A": "{c}"}, num_params="d", extra={"seeds": 0})
    assert [word for word in ("'a'", "'b'", "'c'", "'d'", "seeds") if word not in found] == []


def ids(folder: Path, **keys: Any) -> list[str]:
    study = load_own(folder, **keys)
    return list(make_plan(study, make_arms(study)).jobs)


@pytest.mark.parametrize(
    "keys",
    [
        {"argv": ["{python}", "train.py", "--lr={lr}"]},
        {"env": {"A": "1"}},
        {"version": "2"},
        {"script": "print(1)"},
        {"base": {"lr": 0.1, "width": 3}},
    ],
    ids=str,
)
def test_what_decides_the_result_is_identity(keys: dict[str, Any], tmp_path: Path) -> None:
    assert not set(ids(tmp_path)) & set(ids(tmp_path, **keys))


def test_where_and_how_it_runs_is_no_identity(tmp_path: Path) -> None:
    before = ids(tmp_path)
    settings = {"grace_seconds": 1, "report": "rows", "pass_env": ["X"], "num_params": 7, "train_flops": 1e9, "memory_bytes": 1e6}
    assert ids(tmp_path, **settings, extra={"resources": {"cpus": 2}}) == before
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert ids(elsewhere) == before


def test_listed_source_is_identity_too(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("a", encoding="utf-8")
    first = ids(tmp_path, sources=["data.py"])
    (tmp_path / "data.py").write_text("b", encoding="utf-8")
    assert not set(first) & set(ids(tmp_path, sources=["data.py"]))


def test_study_from_the_store_trains_the_same_jobs(tmp_path: Path) -> None:
    """A worker of Ray Tune has the study as JSON and nothing else."""
    study = load_own(tmp_path)
    again = Study.model_validate(study.model_dump(mode="json", by_alias=True))
    assert stage_of(again, arm=1) == stage_of(study, arm=1)
    assert train(again, tmp_path).points == [(1, {"loss": 0.5})]


def test_config_has_the_form_and_types_of_the_base(tmp_path: Path) -> None:
    base = {"lr": 1e-3, "model": {"kind": "a", "depth": 2, "json": True}, "tags": [1, "x"], "none": None}
    study = load_own(tmp_path, base=base, axes={"model.depth": [2, 4]})
    assert config_of(stage_of(study, arm=1)) == base | {"model": {"kind": "a", "depth": 4, "json": True}}
    assert trainer_of(study).METRICS == {"loss": "training loss, nats"}


def test_mix_of_the_base_can_be_an_axis(tmp_path: Path) -> None:
    mix = {"caption": 0.45, "interleaved": 0.45, "text": 0.1}
    axes = {"mix": {"simplex": list(mix), "list": ["45:45:10", "90:0:10"]}}
    study = load_own(tmp_path, base={"mix": mix}, axes=axes, argv=["prog", "--text={mix.text}"])
    assert config_of(stage_of(study, arm=1))["mix"] == {"caption": 0.9, "interleaved": 0.0, "text": 0.1}


def test_declared_costs_are_planned_with_and_others_are_unknown(tmp_path: Path) -> None:
    keys = {"base": {"lr": 0.1, "depth": 2}, "axes": {"depth": [2, 4]}, "num_params": "1000 * depth"}
    document = preview_with(load_own(tmp_path, **keys), store=None).to_json()
    assert [job["num_params"] for job in document["jobs"]] == [2000, 4000]
    assert {job["train_flops"] for job in document["jobs"]} == {job["memory_bytes"] for job in document["jobs"]} == {None}
    assert (document["totals"]["train_flops"], document["cost"]["device_hours"]) == (None, None)
    assert document["parameters"][0]["total_params"] is None
    keys |= {"train_flops": "6e9 * depth", "memory_bytes": 5e9, "extra": {"hardware": {"peak_flops": 1e10, "utilisation": 0.5}}}
    document = preview_with(load_own(tmp_path, **keys), store=None).to_json()
    assert document["cost"]["device_hours"] == pytest.approx(6 * 6e9 / 5e9 / 3600)
    assert document["cost"]["peak_memory_bytes"] == 5e9


@pytest.mark.parametrize(
    ("script", "ended"),
    [
        (REPORTS, ("done", None, "")),
        (REPORTS.replace("0.5", "float('nan')"), ("failed", "nan", "'loss' ended as nan")),
        (REPORTS.replace("'loss'", "'other'"), ("failed", "user", "the metric 'loss' was never reported; what was: other")),
        ("import os; os._exit(0)", ("failed", "user", "the metric 'loss' was never reported; what was: nothing")),
        (REPORTS + "raise SystemExit(3)", ("failed", "user", "CommandFailed: exit code 3: it said nothing")),
        ("raise SystemExit('CUDA out of memory')", ("failed", "oom", "CommandFailed: exit code 1: CUDA out of memory")),
    ],
)
def test_end_of_the_program_is_the_end_of_the_attempt(script: str, ended: tuple[str, ...], workspace: Workspace, tmp_path: Path) -> None:
    study = load_own(tmp_path, script=script)
    job = job_of(study)
    outcome = execute(job, workspace=workspace, number=1)
    assert (outcome.state, outcome.cause, outcome.reason) == ended
    kept = workspace.artifacts / job.id / "ablate-config.json"
    assert (json.loads(kept.read_text()) if kept.exists() else None) == ({"lr": 0.1} if outcome.state == "done" else None)


def test_command_without_its_key_is_no_trainer() -> None:
    with pytest.raises(TrainerFaults, match="needs the key command"):
        trainer_of(make_study(trainer="command"))
