"""A worker that remembers, and a world small enough for milliseconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model_zoo import trainable
from model_zoo.config import Config


class Worker:
    """A `Context` that keeps what it is told; stops when told to, or after `stop_after` reports of a training loss."""

    def __init__(self, folder: Path, *, seed: int = 0, stop: bool = False, stop_after: int | None = None, num_devices: int = 1) -> None:
        self.seed = seed
        self.dir = folder
        self.dir.mkdir()
        self.device = "cpu"
        self.cpus = 1
        self.num_devices = num_devices
        self.points: list[tuple[int, str, float]] = []
        self.phases: list[str] = []
        self.kept: bytes | None = None
        self._stop, self._stop_after = stop, stop_after

    @property
    def last(self) -> dict[str, float]:
        return {name: value for _, name, value in self.points}

    def report(self, step: int, **metrics: float) -> None:
        self.points += [(step, name, value) for name, value in metrics.items()]

    def checkpoint(self, state: bytes) -> None:
        self.kept = state

    def restore(self) -> bytes | None:
        return self.kept

    def should_stop(self) -> bool:
        losses = [name for _, name, _ in self.points if name == "train_loss"]
        return self._stop or (self._stop_after is not None and len(losses) >= self._stop_after)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.phases.append(name)
        yield


def run(config: Config, make_worker, *, name: str = "trial", **settings) -> Worker:
    """All stages of one trial, each in a folder `<name>-<stage>`; the worker of the last one."""
    inputs = {}
    for stage in trainable.stages(config):
        worker = make_worker(f"{name}-{stage.name}", **(settings if stage.seeded else {}))
        trainable.train(stage, inputs, worker)
        inputs[stage.name] = worker.dir
    return worker


def weights(worker: Worker) -> dict[str, Tensor]:
    return load_file(worker.dir / "model.safetensors")


def change(config: Config, **parts) -> Config:
    """The config with fields of its parts replaced."""
    written = config.model_dump(mode="json")
    for part, fields in parts.items():
        written[part] |= fields
    return Config.model_validate(written)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def make_worker(tmp_path):
    """Workers in folders of their own."""

    def make(name: str = "worker", **settings) -> Worker:
        return Worker(tmp_path / name, **settings)

    return make


@pytest.fixture
def tiny() -> Config:
    """Seconds become milliseconds: width 16, 50 scenes, 6 steps."""
    return Config.model_validate(
        {
            "encoder": {"width": 16, "depth": 1, "pretrain": {"steps": 3, "batch_size": 8}},
            "connector": {"kind": "avg_pool"},
            "decoder": {"width": 16, "depth": 1, "keys": "smeared"},
            "data": {"num_scenes": 50},
            "train": {"steps": 6, "warmup_steps": 2, "rows_per_step": 3},
            "eval": {"num_documents": 8, "num_validations": 2, "validation_documents": 4},
        }
    )
