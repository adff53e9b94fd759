"""Every study under examples/ runs to its end on this machine, as its README says: the programs are real and so are their numbers."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from ablate.attempt import execute
from ablate.checkpoints import FILES
from ablate.design import make_arms
from ablate.journal import read_points
from ablate.load import load_study
from ablate.planned import Job
from ablate.planner import make_plan
from ablate.workspace import Workspace

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {"plain": (), "huggingface": ("accelerate",), "torchrun": (), "hydra": ("hydra",)}
"""Example -> packages that are not installed with ablate."""
STANDS_IN = {"lmms_eval"}
"""Examples that need more than a package, and have a test of their own with a stand-in for it."""
RESUMES = {"plain": ("state.json", "steps: 200", "steps: 6000"), "huggingface": ("newest", "steps: 30", "steps: 50")}
RESUMES |= {"torchrun": ("state.pt", "steps: 40", "steps: 600")}
"""Example -> the checkpoint it puts in place, and how its study is made longer, so that it is killed in the middle."""
WORKER = """
import sys
from pathlib import Path
from ablate.workspace import Workspace
from tests.test_examples import execute, first_job
execute(first_job(Path(sys.argv[1])), workspace=Workspace(Path(sys.argv[2])), number=1)
"""
TRIALS = {"plain": 4, "huggingface": 2, "torchrun": 2, "hydra": 3}
"""Of one seed: a second one is more of the same."""


def test_every_example_with_a_study_is_run_here() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/study.yaml")} - STANDS_IN == set(NEEDS) == set(TRIALS)
    lengths = {name: len((EXAMPLES / name / "README.md").read_text(encoding="utf-8").splitlines()) for name in (*NEEDS, *STANDS_IN)}
    assert {name: length for name, length in lengths.items() if not 5 <= length <= 15} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_example_runs_from_start_to_results(name: str, tmp_path: Path) -> None:
    if absent := [package for package in NEEDS[name] if not find_spec(package)]:
        pytest.skip(f"needs {', '.join(absent)}")
    folder = tmp_path / name
    shutil.copytree(EXAMPLES / name, folder)
    before = {path.relative_to(folder) for path in folder.rglob("*")}

    def ablate(*arguments: str) -> str:
        command = [sys.executable, "-m", "ablate", *arguments, "--workspace", str(tmp_path / "work")]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    ablate("run", f"{name}/study.yaml", "--seeds", "1")
    results = tmp_path / "results.csv"
    results.write_text(ablate("results", f"{name}/study.yaml", "--format", "csv"), encoding="utf-8")
    frame = pd.read_csv(results)
    assert list(frame["state"]) == ["done"] * TRIALS[name]
    metric = next(column for column in ("val_loss", "eval_loss") if column in frame)
    assert frame[metric].between(0, 3).all()
    assert frame[metric].nunique() > 1
    if name == "torchrun":
        assert set(frame["num_processes"]) == {2}
    if name == "plain":
        assert "4 done" in ablate("run", f"{name}/study.yaml", "--seeds", "1")
    after = {path.relative_to(folder) for path in folder.rglob("*") if "__pycache__" not in path.parts}
    assert after == before


def first_job(folder: Path) -> Job:
    study = load_study(folder / "study.yaml")
    job, *_ = make_plan(study, make_arms(study)).jobs.values()
    return job


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.005)


def running_in(folder: Path) -> list[str]:
    """Processes whose working directory this is."""
    found = []
    for process in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if process.isdecimal() and os.readlink(f"/proc/{process}/cwd") == str(folder):
                found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", RESUMES)
def test_example_killed_in_the_middle_ends_with_the_numbers_of_one_left_alone(name: str, tmp_path: Path) -> None:
    if absent := [package for package in NEEDS[name] if not find_spec(package)]:
        pytest.skip(f"needs {', '.join(absent)}")
    checkpoint, short, long = RESUMES[name]
    folder, work, alone = tmp_path / name, Workspace(tmp_path / "work"), Workspace(tmp_path / "alone")
    shutil.copytree(EXAMPLES / name, folder)
    (folder / "study.yaml").write_text((folder / "study.yaml").read_text(encoding="utf-8").replace(short, long), encoding="utf-8")
    job = first_job(folder)
    kept = work.runs / job.id / FILES
    for workspace in (work, alone):
        workspace.create()
    with subprocess.Popen([sys.executable, "-c", WORKER, folder, work.folder], cwd=EXAMPLES.parent) as worker:
        reported = lambda: {point.step for point in read_points(work.attempt(job.id, 1) / "metrics.jsonl")[0]}  # noqa: E731
        until(lambda: (kept / checkpoint).exists() and len(reported()) > 2)  # the row of the checkpoint's step comes again
        worker.kill()
    until(lambda: not running_in(folder))
    assert not (work.attempt(job.id, 1) / "done.json").exists()

    resumed, undisturbed = execute(job, workspace=work, number=2), execute(job, workspace=alone, number=1)
    assert (resumed.state, undisturbed.state) == ("done", "done"), resumed.reason + undisturbed.reason
    first, whole = (read_points(space.attempt(job.id, number) / "metrics.jsonl")[0] for space, number in ((work, 2), (alone, 1)))
    assert 0 < len({point.step for point in first}) < len({point.step for point in whole})
    declared = load_study(folder / "study.yaml").command
    assert declared
    ends = [{point.key: point for point in outcome.metrics if point.key in declared.metrics} for outcome in (resumed, undisturbed)]
    assert ends[0] == ends[1] != {}
    assert not kept.exists()
