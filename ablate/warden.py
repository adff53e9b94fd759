"""Stands between a worker and a program of somebody else's, so that nothing of it outlives the trial. A script of its own: no package here.

    python -I -S warden.py GRACE_SECONDS PROGRAM ARGUMENTS...

The program runs in a session of its own. Standard input is the line to the worker: a byte on it asks for an end (SIGTERM to the program's
group, SIGKILL after the grace time), its closing says that the worker is dead (SIGKILL at once). Whatever the program started, in
sessions of their own too, is killed before this process ends as the program did.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CANNOT_START = 127
LINUX = sys.platform == "linux"


def main(grace_seconds: float, argv: list[str]) -> None:
    wake, notify = os.pipe()
    for end in (wake, notify):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    program = start(argv)
    status = watch(program, wake, grace_seconds=grace_seconds)
    end_all(program)
    _end_like(status)


def start(argv: list[str]) -> int:
    """The process id of the program, which leads a session and dies with this process."""
    program = os.fork()
    if program:
        return program
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as error:
        os.write(2, f"cannot start '{argv[0]}': {error.strerror}\n".encode())
    finally:
        os._exit(CANNOT_START)


def watch(program: int, wake: int, *, grace_seconds: float) -> int:
    """The program's wait status, once it has ended by itself or was ended."""
    kill_at: float | None = None
    worker = [0]
    while True:
        left = None if kill_at is None else max(kill_at - time.monotonic(), 0.0)
        ready, _, _ = select.select([wake, *worker], [], [], left)
        numbers = os.read(wake, 512) if wake in ready else b""
        found, status = os.waitpid(program, os.WNOHANG)
        if found:
            return status
        asked = any(number != signal.SIGCHLD for number in numbers)
        if 0 in ready:
            asked = os.read(0, 1) != b""
            if not asked:
                kill_at, worker = time.monotonic(), []
        if asked and kill_at is None:
            _signal(program, signal.SIGTERM, group=True)
            kill_at = time.monotonic() + grace_seconds
        if kill_at is not None and time.monotonic() >= kill_at:
            _signal(program, signal.SIGKILL, group=True)
            return os.waitpid(program, 0)[1]


def end_all(program: int) -> None:
    """Kills and reaps whatever is left below this process, until nothing is."""
    _signal(program, signal.SIGKILL, group=True)
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        alive = below(os.getpid())
        if not alive:
            return
        for process in alive:
            _signal(process, signal.SIGKILL)
        time.sleep(0.005)


def below(process: int) -> list[int]:
    """Descendants that run; orphans among them belong to this process, which adopted them."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if LINUX else ():
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    children.setdefault(int(parent), []).append(int(name))
    found, look = list[int](), [process]
    while look:
        inner = children.get(look.pop(), [])
        found += inner
        look += inner
    return found


def _signal(process: int, number: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(process, number)


def _end_like(status: int) -> None:
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.set_wakeup_fd(-1)
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def _prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
