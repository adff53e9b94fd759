"""A training that is killed and goes on ends with the same bits as one that was left alone (F05, I3)."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ablate.artefacts import damage
from ablate.attempt import read_outcome
from ablate.workspace import Workspace
from tests.faults.conftest import until

STUDY = """
schema: 1
name: recovery
trainer: model_zoo
base:
  encoder: {width: 16, depth: 1, pretrain: {steps: 60, batch_size: 8}}
  connector: {kind: c_abstractor}
  decoder: {width: 16, depth: 1, keys: smeared}
  data: {num_scenes: 50}
  train: {steps: 60, warmup_steps: 2, rows_per_step: 3}
  eval: {num_documents: 8, num_validations: 2, validation_documents: 4}
axes: {encoder.training: [slow]}
metric: {name: val_loss, goal: min}
"""
PROGRAM = """
import sys
from pathlib import Path
import model_zoo.train
from ablate.attempt import execute
from ablate.design import make_arms
from ablate.load import load_study
from ablate.planner import make_plan
from ablate.workspace import Workspace
model_zoo.train.CHECKPOINT_SECONDS = 0.0  # after every step
workspace, study, number = Workspace(Path(sys.argv[1])), load_study(sys.argv[2]), int(sys.argv[3])
jobs = {job.spec.name: job for job in make_plan(study, make_arms(study)).jobs.values()}
for stage in sys.argv[4:]:
    assert execute(jobs[stage], workspace=workspace, number=number).state == "done"
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.fault("F05")
def test_training_killed_at_random_steps_ends_with_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    kills = random.Random(seed)
    calm, harried = (Workspace(tmp_path / name) for name in ("calm", "harried"))
    for workspace in (calm, harried):
        workspace.create()
    files = {"encoder": "encoder.safetensors", "pretrain": "model.safetensors"}
    with start(calm, tmp_path, *files, number=1) as left_alone:  # beside the one that is killed: most of either's time goes into starting
        for stage in files:
            for number in (1, 2):
                worker = start(harried, tmp_path, stage, number=number)
                wanted = newest(harried, stage) + kills.randrange(1, 12)
                until(lambda wanted=wanted, stage=stage: newest(harried, stage) >= wanted, seconds=60)  # type: ignore[misc]
                os.kill(worker.pid, signal.SIGKILL)
                assert worker.wait() == -signal.SIGKILL
            assert start(harried, tmp_path, stage, number=3).wait() == 0
    assert left_alone.returncode == 0
    for stage, file in files.items():
        one, two = (next(workspace.runs.glob(f"{stage}-*")) for workspace in (calm, harried))
        undisturbed, recovered = read_outcome(one / "attempt-1"), read_outcome(two / "attempt-3")
        assert undisturbed
        assert recovered
        assert recovered.metrics == undisturbed.metrics
        assert damage(harried.artifacts / two.name) is None
        weights, again = (load_file(workspace.artifacts / one.name / file) for workspace in (calm, harried))
        assert weights.keys() == again.keys()
        assert all(tensor.equal(again[name]) for name, tensor in weights.items())


def start(workspace: Workspace, folder: Path, *stages: str, number: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, workspace.folder, folder / "study.yaml", str(number), *stages])


def newest(workspace: Workspace, stage: str) -> int:
    paths = workspace.runs.glob(f"{stage}-*/checkpoint-*")
    return max((int(path.name.partition("-")[2]) for path in paths if path.suffix == ""), default=0)
