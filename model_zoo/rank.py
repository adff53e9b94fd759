"""The program of one of the processes that share a stage; `model_zoo.parallel` starts it and is asked for what only the worker can do.

    python -m model_zoo.rank LINE PARENT

LINE is the inherited end of the line to the worker, PARENT the worker's process id.
"""

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch
from torch import distributed

from model_zoo.parallel import NEVER, Task
from model_zoo.trainable import train

PR_SET_PDEATHSIG = 1
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"


class RankContext:
    """A `model_zoo.context.Context` at the other end of a line; what the first process says counts for all."""

    num_devices = 1

    def __init__(self, task: Task, line: Connection) -> None:
        self.seed, self.dir, self.device, self.cpus = task.seed, task.dir, task.device, task.cpus
        self._is_first, self._line = task.number == 0, line

    def report(self, step: int, **metrics: float) -> None:
        if self._is_first:
            self._line.send(("report", step, metrics))

    def checkpoint(self, state: bytes) -> None:
        if self._is_first:
            self._line.send(("checkpoint",))
            self._line.send_bytes(state)

    def restore(self) -> bytes | None:
        self._line.send(("restore",))
        return self._line.recv_bytes() or None

    def should_stop(self) -> bool:
        if not self._is_first:
            return False
        self._line.send(("should_stop",))
        return bool(self._line.recv_bytes())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        if self._is_first:
            self._line.send(("begin", name))
        yield
        if self._is_first:
            self._line.send(("end",))


def main(line: Connection, parent: int) -> None:
    """One stage to its end, or its error to the worker, which ends this process then."""
    _die_with(parent)
    try:
        task: Task = line.recv()
        _meet(task)
        train(task.stage, task.inputs, RankContext(task, line))
        distributed.barrier()  # the first one measures the model while the others are here
        distributed.destroy_process_group()
    except Exception as error:
        line.send(("failed", _sendable(error), traceback.format_exc()))
        # to end before the worker has read this would break connections, and others would say so first
        with contextlib.suppress(EOFError, OSError):
            line.recv()
        os._exit(1)


def _meet(task: Task) -> None:
    """Joins the other processes: nccl between GPUs, gloo over loopback between CPUs."""
    store = distributed.FileStore(str(task.meeting), task.size)  # type: ignore[attr-defined]
    if task.device.startswith("cuda"):
        torch.cuda.set_device(task.device)
        here = torch.device(task.device)
        distributed.init_process_group("nccl", store=store, rank=task.number, world_size=task.size, timeout=NEVER, device_id=here)
    else:
        os.environ["GLOO_SOCKET_IFNAME"] = LOOPBACK
        distributed.init_process_group("gloo", store=store, rank=task.number, world_size=task.size, timeout=NEVER)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before that
        os._exit(1)


def _sendable(error: Exception) -> Exception:
    """Itself, unless it is made so that it does not survive the way."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])), int(sys.argv[2]))
