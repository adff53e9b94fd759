"""What a stage asks of whoever runs it. Structural: nothing here is inherited from."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Context(Protocol):
    """One attempt at one stage."""

    seed: int
    """Of weights and data; a stage with a seed of its own ignores it."""
    dir: Path
    """Where the artefact goes."""
    device: str
    """`cpu` or `cuda:0`."""
    cpus: int
    """Threads."""
    num_devices: int
    """GPUs of each machine, from `cuda:0` on, that a stage with a decoder trains on together, or so many processes on the CPU; other stages
    use one."""

    def report(self, step: int, **metrics: float) -> None:
        """A point of each metric's curve."""

    def checkpoint(self, state: bytes) -> None:
        """Keeps `state` for an attempt after this one."""

    def restore(self) -> bytes | None:
        """What an attempt before this one kept."""

    def should_stop(self) -> bool:
        """True once the stage should keep its state and return."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Counts the time inside as spent on `data`, `eval` or whatever the name says."""
