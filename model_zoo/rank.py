"""The program of one of the processes that share a stage; torchrun starts it, and the worker is asked for what only the worker can do.

    python -P -m model_zoo.rank PARENT

PARENT is the id of torchrun's process (`model_zoo.launcher`). Which process this is stands in RANK, as torchrun has it. What takes seconds
to import is imported once this process is bound to die with torchrun, and has called the worker.
"""

import contextlib
import fcntl
import os
import pickle
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from model_zoo.launcher import LINUX, die_with
from model_zoo.lines import ADDRESS_VARIABLE, KEY_VARIABLE, LOOPBACK, call

if TYPE_CHECKING:
    from model_zoo.processes import Task

NEVER = timedelta(days=365)
"""Processes wait for one another however long one evaluates: a dead one is noticed by the worker, a hanging one by its guardian."""
SIOCGIFADDR = 0x8915
TORCHRUN_VARIABLES = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE"),
    *("TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_SIGNALS_TO_HANDLE"),
)


class RankContext:
    """A `model_zoo.context.Context` at the other end of a line; what the first process says counts for all."""

    num_devices = 1

    def __init__(self, task: "Task", line: Connection, *, number: int) -> None:
        self.seed, self.dir, self.device, self.cpus = task.seed, task.dir, task.device, task.cpus
        self._is_first, self._line = number == 0, line

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


def main(parent: int) -> None:
    """One stage to its end, or its error to the worker, which ends this process then."""
    die_with(parent)
    number = int(os.environ["RANK"])
    try:
        line = call()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGKILL)  # no fault of the stage's, and so it is lost rather than failed
    line.send(("process", number))
    try:
        from torch import distributed

        from model_zoo.trainable import train_here

        task: Task = line.recv()
        _meet(task)
        _forget_torchrun()
        train_here(task.stage, task.inputs, RankContext(task, line, number=number))
        distributed.barrier()  # the first one measures the model while the others are here
        distributed.destroy_process_group()
    except Exception as error:
        line.send(("failed", _sendable(error), traceback.format_exc()))
        # to end before the worker has read this would break connections, and others would say so first
        with contextlib.suppress(EOFError, OSError):
            line.recv()
        os._exit(1)


def _meet(task: "Task") -> None:
    """Joins the other processes where torchrun says: nccl between GPUs, gloo between CPUs."""
    import torch
    from torch import distributed

    if task.device.startswith("cuda"):
        torch.cuda.set_device(task.device)
        distributed.init_process_group("nccl", timeout=NEVER, device_id=torch.device(task.device))
        return
    if (interface := _interface_of(task.host)) is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    distributed.init_process_group("gloo", timeout=NEVER)


def _forget_torchrun() -> None:
    """What the stage starts, such as an evaluation, is none of these processes: it would wait for the others, and needs no key."""
    for name in (*TORCHRUN_VARIABLES, ADDRESS_VARIABLE, KEY_VARIABLE):
        os.environ.pop(name, None)


def _interface_of(host: str) -> str | None:
    """That an address belongs to; None where that cannot be said, and gloo asks what this machine's name stands for."""
    if not LINUX:
        return "lo0" if host == LOOPBACK else None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # one without an address
                found = fcntl.ioctl(asked, SIOCGIFADDR, struct.pack("256s", name.encode()))
                if socket.inet_ntoa(found[20:24]) == host:
                    return name
    return None


def _sendable(error: Exception) -> Exception:
    """Itself, unless it is made so that it does not survive the way."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main(int(sys.argv[1]))
