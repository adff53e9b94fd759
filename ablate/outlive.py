"""A small process that outlives a run: when Ray's head dies it ends the driver without an exception or a word, and somebody must say so.

`outlived` forks before anything heavy is imported. The child goes on and does the work; the parent passes signals on, waits, and leaves
with the child's exit code. A child that did not end in order is reported with its cause and the command that goes on.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ablate.errors import EnvironmentMissing

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1


@contextmanager
def outlived(*, resume: str) -> Iterator[None]:
    """The body runs in a child of this process, which does not come back from here. `resume` is what a person types to go on."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent, (ended, ending) = os.getpid(), os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until the parent passes them on
    child = os.fork()
    if child:
        os.close(ending)
        sys.exit(_wait(child, ended=ended, resume=resume))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    os.close(ended)
    os.setpgid(0, 0)  # a Ctrl-C reaches the parent alone, which passes it on: once, not twice
    _die_with(parent)
    try:
        yield
    finally:
        os.write(ending, b".")  # whatever Python raises is an orderly end


def _wait(child: int, *, ended: int, resume: str) -> int:
    """The child's exit code. Raises EnvironmentMissing where it died."""
    for number in PASSED_ON:
        signal.signal(number, lambda number, _: os.kill(child, number))  # a child of `nohup` takes no notice of SIGHUP
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    _, status = os.waitpid(child, 0)
    in_order = os.read(ended, 1) == b"."
    if not in_order:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # Ray's agents notice a dead raylet by themselves only after a minute
    if in_order and os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 130:  # a second signal ends a run at once
        return 130
    cause = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "no word; most likely Ray's head is gone"
    raise EnvironmentMissing(f"the run's process died ({cause}); what had finished is safe. Go on with: {resume}")


def _die_with(parent: int) -> None:
    """Whoever kills the parent means the run. Linux only: elsewhere the run goes on alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(137)
