"""A worker that remembers, and a world small enough for milliseconds."""

from pathlib import Path

import pytest
import torch

from model_zoo.config import Config


class Worker:
    """A `Context` that keeps what it is told; stops after `stop_after` reports of a training loss."""

    def __init__(self, folder: Path, *, seed: int = 0, stop_after: int | None = None) -> None:
        self.seed = seed
        self.dir = folder
        self.dir.mkdir()
        self.device = "cpu"
        self.cpus = 1
        self.points: list[tuple[int, str, float]] = []
        self.kept: bytes | None = None
        self._stop_after = stop_after

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
        return self._stop_after is not None and len(losses) >= self._stop_after


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
