"""Every study under examples/ runs to its end on this machine, as its README says: the programs are real and so are their numbers."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {"plain": (), "huggingface": ("accelerate",), "torchrun": (), "hydra": ("hydra",)}
"""Example -> packages that are not installed with ablate."""
TRIALS = {"plain": 8, "huggingface": 4, "torchrun": 2, "hydra": 3}


def test_every_example_with_a_study_is_run_here() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/study.yaml")} == set(NEEDS) == set(TRIALS)
    assert [name for name in NEEDS if not 5 <= len((EXAMPLES / name / "README.md").read_text(encoding="utf-8").splitlines()) <= 15] == []


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

    ablate("run", f"{name}/study.yaml")
    results = tmp_path / "results.csv"
    results.write_text(ablate("results", f"{name}/study.yaml", "--format", "csv"), encoding="utf-8")
    frame = pd.read_csv(results)
    assert list(frame["state"]) == ["done"] * TRIALS[name]
    metric = next(column for column in ("val_loss", "eval_loss") if column in frame)
    assert frame[metric].between(0, 3).all()
    assert frame[metric].nunique() > 1
    if name == "torchrun":
        assert set(frame["num_processes"]) == {2}
    assert "8 done" in ablate("run", f"{name}/study.yaml") or name != "plain"
    after = {path.relative_to(folder) for path in folder.rglob("*") if "__pycache__" not in path.parts}
    assert after == before
