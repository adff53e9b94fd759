"""The program of one machine of a stage: torchrun, which starts a process a device (`model_zoo.rank`) and says how each of them ended.

    python -P -m model_zoo.launcher PARENT NUMBER

PARENT is the id of the process that starts it, NUMBER the machine's, from 0; the rest the worker says over a line. torchrun's own command
would say in words for people alone which process died of what, and would live on where the worker is gone.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from model_zoo.lines import call

PR_SET_PDEATHSIG = 1
LINUX = sys.platform == "linux"
END = signal.SIGKILL if LINUX else signal.SIGTERM
"""Ends a launcher: on Linux its processes are killed with it, elsewhere torchrun ends them."""
END_SECONDS = 10.0


class ProcessLost(RuntimeError):
    """A process was killed, or its machine is gone: no fault of the stage's, so it is tried again. `ablate.causes` knows it by its name."""


class Launch(NamedTuple):
    """What a launcher is told first."""

    num_machines: int
    num_devices: int
    """Of each machine."""
    hosts: tuple[str, ...]
    """Addresses of the machines."""
    meeting_seconds: int
    """How long it waits for the others."""


@contextlib.contextmanager
def launched(number: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The launcher of a machine, which is this one; dead at the end."""
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # DDP advises against looking for unused parameters wherever the first step has none: a text share will
    environment = {"TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ, "PYTHONPATH": path, **environment}
    argv = [sys.executable, "-P", "-m", "model_zoo.launcher", str(os.getpid()), str(number)]
    # a session of its own, so that the terminal's Ctrl-C reaches it by way of the worker alone
    process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    try:
        yield process
    finally:
        process.send_signal(END)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        process.kill()
        process.wait()


def die_with(parent: int) -> None:
    """From here on this process is killed when its parent dies (Linux)."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before that
        os._exit(1)


def main(parent: int, number: int) -> None:
    """Until its processes have ended, or the worker has."""
    die_with(parent)
    line = call()
    line.send(("launcher", number))
    try:
        plan: Launch = line.recv()
    except (EOFError, OSError):  # the worker is gone
        os._exit(1)
    kills = kernel_kills()
    failures = _run(plan, number, line)
    with contextlib.suppress(OSError):
        line.send(("ended", failures, kernel_kills() > kills))


def _run(plan: Launch, number: int, line: Connection) -> dict[int, int]:
    """Number of a process -> its exit code, or minus its signal; of those that ended badly, the first one first."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # lazily: the worker hears sooner whether a machine is there
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    first = plan.hosts[0]
    if number == 0:
        # kept for as long as this runs: torchrun's own store is then another name of it, and the port was free for certain
        store = TCPStore(first, 0, is_master=True, wait_for_workers=False, multi_tenant=True)
        line.send(("meeting", store.port))
    port = line.recv()
    if number > 0:
        _print_to_worker(number)
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    options = {
        "nnodes": plan.num_machines,
        "nproc-per-node": plan.num_devices,
        "node-rank": number,
        "rdzv-backend": "static",  # which gives machines the ranks of their numbers
        "rdzv-endpoint": f"[{first}]:{port}" if ":" in first else f"{first}:{port}",
        "rdzv-conf": f"timeout={plan.meeting_seconds}",
        "local-addr": plan.hosts[number],
        "max-restarts": 0,
        "monitor-interval": 0.1,
        "log-dir": os.devnull,
    }
    argv = [f"--{name}={value}" for name, value in options.items()]
    try:
        run(parse_args([*argv, "--no-python", sys.executable, "-P", "-m", "model_zoo.rank", str(os.getpid())]))
    except ChildFailedError as error:
        failures = sorted(error.failures.items(), key=lambda item: item[1].timestamp)
        return {process: failure.exitcode for process, failure in failures}
    return {}


def kernel_kills(vmstat: Path = Path("/proc/vmstat")) -> int:
    """Processes of this machine that the kernel has ended for want of memory since it was started (Linux)."""
    with contextlib.suppress(OSError):
        return sum(int(line.split()[1]) for line in vmstat.read_text().splitlines() if line.startswith("oom_kill "))
    return 0


def _print_to_worker(number: int) -> None:
    """What this process and those it starts print goes to the worker's machine, where the attempt's log is."""
    line = call()
    line.send(("output", number))
    for stream in (1, 2):
        os.dup2(line.fileno(), stream)


def _end_with(line: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        line.recv()
    os.kill(os.getpid(), END)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
