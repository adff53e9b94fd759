"""A small process that outlives a run: when Ray's head dies it ends the driver without an exception or a word, and somebody must say so.

`outlived` forks before anything heavy is imported. The child goes on and does the work; the parent passes signals on, waits, and leaves
with the child's exit code. A child that did not end in order is reported with its cause and the command that goes on; one that does not end
at the second signal is ended.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ablate.errors import EnvironmentMissing, Interrupted

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WAITED_FOR = (*PASSED_ON, signal.SIGCHLD, signal.SIGALRM)
PATIENCE_SECONDS = 2
"""How long a run may take to end after the second signal: one that hangs in C code never gets to its Python handler."""
SHOW_CURSOR = "\x1b[?25h"
_PR_SET_PDEATHSIG = 1


@contextmanager
def outlived(*, resume: str) -> Iterator[None]:
    """The body runs in a child of this process, which does not come back from here. `resume` is what a person types to go on."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent, (ended, ending) = os.getpid(), os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    child = os.fork()
    if child:
        os.close(ending)
        sys.exit(_wait(child, ended=ended, resume=resume))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITED_FOR)
    os.close(ended)
    os.setpgid(0, 0)  # a Ctrl-C reaches the parent alone, which passes it on: once, not twice
    _die_with(parent)
    try:
        yield
    finally:
        os.write(ending, b".")  # whatever Python raises is an orderly end


def _wait(child: int, *, ended: int, resume: str) -> int:
    """The child's exit code. Raises EnvironmentMissing where it died, Interrupted where it took no notice of two signals."""
    status, passed = _pass_on(child)
    in_order = os.read(ended, 1) == b"."
    if not in_order:
        if sys.stdout.isatty():
            sys.stdout.write(SHOW_CURSOR)  # the live table had hidden it
            sys.stdout.flush()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # Ray's agents notice a dead raylet by themselves only after a minute
    if in_order and os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 130:  # a second signal ends a run at once
        return 130
    if passed > 1 and os.WIFSIGNALED(status):
        raise Interrupted(f"the run took no notice of two signals and was ended; what had finished is safe. Go on with: {resume}")
    cause = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "no word; most likely Ray's head is gone"
    raise EnvironmentMissing(f"the run's process died ({cause}); what had finished is safe. Go on with: {resume}")


def _pass_on(child: int) -> tuple[int, int]:
    """The child's wait status, and how many signals it was sent; some time after the second it is ended, whatever it does.

    Signals are blocked and waited for: a handler would not run where one comes just before this process waits for the child.
    """
    passed, awaited = 0, set(WAITED_FOR)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # of `nohup`: the run takes no notice of it either
        awaited.discard(signal.SIGHUP)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # one that is ignored need not come, even where it is blocked
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            signal.alarm(0)
            return status, passed
        number = signal.sigwait(awaited)
        if number == signal.SIGALRM:
            os.killpg(child, signal.SIGKILL)
        elif number != signal.SIGCHLD:
            passed += 1
            if passed == 2:
                signal.alarm(PATIENCE_SECONDS)
            os.kill(child, number)


def _die_with(parent: int) -> None:
    """Whoever kills the parent means the run. Linux only: elsewhere the run goes on alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(137)
