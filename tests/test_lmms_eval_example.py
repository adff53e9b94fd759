"""examples/lmms_eval with a stand-in for lmms-eval, which takes the arguments that it documents and leaves the file that it leaves."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "lmms_eval"
STAND_IN = """
import argparse, json
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("model", "model_args", "tasks", "batch_size", "output_path"):
    parser.add_argument(f"--{name}", required=True)
options = parser.parse_args()
name, checkpoint = options.model_args.split("=")
assert (options.model, name, options.tasks) == ("llava_hf", "pretrained", "pope")
accuracy = {"checkpoints/frozen": 0.25, "checkpoints/full": 0.75}[checkpoint]
folder = Path(options.output_path) / checkpoint.replace("/", "__")
folder.mkdir()
scores = {"alias": "pope", "pope_accuracy,none": accuracy, "pope_accuracy_stderr,none": "N/A", "pope_f1_score,none": 0.5}
(folder / "20240101_000000_results.json").write_text(json.dumps({"results": {"pope": scores}}))
print("| Tasks | Value |")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = tmp_path / "example"
    shutil.copytree(EXAMPLE, copied)
    (copied / "lmms_eval").mkdir()
    (copied / "lmms_eval" / "__init__.py").touch()
    (copied / "lmms_eval" / "__main__.py").write_text(STAND_IN, encoding="utf-8")
    return copied


def test_program_prints_the_scores_of_its_checkpoint(folder: Path) -> None:
    argv = [sys.executable, "evaluate.py", "--model=llava_hf", "--pretrained=checkpoints/full", "--tasks=pope"]
    found = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout.splitlines()[-1]) == {"step": 1, "pope/pope_accuracy": 0.75, "pope/pope_f1_score": 0.5}


def test_program_fails_where_lmms_eval_does(folder: Path) -> None:
    argv = [sys.executable, "evaluate.py", "--model=llava_hf", "--pretrained=checkpoints/full", "--tasks=mme"]
    found = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert '"step"' not in found.stdout


@pytest.mark.slow
def test_study_compares_the_checkpoints(folder: Path) -> None:
    def ablate(*arguments: str) -> str:
        command = [sys.executable, "-m", "ablate", *arguments, "--workspace", str(folder.parent / "work")]
        found = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False, timeout=110)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    ablate("run", "example/study.yaml")
    results = folder.parent / "results.csv"
    results.write_text(ablate("results", "example/study.yaml", "--format", "csv"), encoding="utf-8")
    frame = pd.read_csv(results).set_index("pretrained")
    assert frame["pope/pope_accuracy"].to_dict() == {"checkpoints/frozen": 0.25, "checkpoints/full": 0.75}
    assert set(frame["state"]) == {"done"}
