"""Studies of trainers that are not shipped, for tests: a study file beside a script, and a context that only remembers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.design import make_arms
from ablate.load import load_study
from ablate.study import Study
from ablate.trainers import Stage, load_trainer, trainer_of

REPORTS = "import json, os\nprint(json.dumps({'step': 1, 'loss': 0.5}))\n"


def write_study(here: Path, *, trainer: str = "command", base: Any = None, axes: Any = None, extra: Any = None, **settings: Any) -> Path:
    """A study file in this folder; JSON is YAML. `settings` stand under the trainer's key, beside one metric."""
    text: dict[str, Any] = {"schema": 1, "name": "own", "trainer": trainer, "base": {"lr": 0.1} if base is None else base}
    text |= {"axes": axes or {"lr": [0.1, 0.2]}, "metric": {"name": "loss", "goal": "min"}}
    text[trainer] = {"metrics": {"loss": "training loss, nats"}} | settings
    file = here / "study.yaml"
    file.write_text(json.dumps(text | (extra or {})), encoding="utf-8")
    return file


def load_own(here: Path, *, script: str = REPORTS, **keys: Any) -> Study:
    """A study of the command trainer beside `train.py`."""
    (here / "train.py").write_text(script, encoding="utf-8")
    return load_study(write_study(here, **{"argv": ["{python}", "train.py"]} | keys))


class Remembering:
    """A `Context` that keeps what it is told."""

    def __init__(self, folder: Path, *, seed: int = 3, stop: bool = False) -> None:
        self.seed, self.dir, self.device, self.cpus = seed, folder, "cpu", 1
        self.points: list[tuple[int, dict[str, float]]] = []
        self.refused: list[tuple[str, str]] = []
        self.stop = stop
        self.checkpoint_dir = folder.with_name("checkpoint-files")
        for made in (folder, self.checkpoint_dir):
            made.mkdir(parents=True, exist_ok=True)

    def report(self, step: int, **metrics: float) -> None:
        self.points.append((step, metrics))

    def refuse(self, why: str, example: str) -> None:
        self.refused.append((why, example))

    def checkpoint(self, state: bytes) -> None:
        raise NotImplementedError

    def restore(self) -> bytes | None:
        return None

    def should_stop(self) -> bool:
        return self.stop


def stage_of(study: Study, *, arm: int = 0) -> Stage:
    (stage,) = trainer_of(study).stages(make_arms(study)[arm].settings)
    return stage


def train(study: Study, folder: Path, *, arm: int = 0, context: Remembering | None = None) -> Remembering:
    """Trains one arm in this process, as a worker does."""
    context = context or Remembering(folder / "trial")
    load_trainer(study.trainer).train(stage_of(study, arm=arm), {}, context)
    return context


def config_of(stage: Stage) -> Mapping[str, Any]:
    found: Mapping[str, Any] = stage.config["config"]
    return found
