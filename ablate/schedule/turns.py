"""An attempt is executed once, whichever run asks for it: two live runs may come upon one job.

Planned runs that share jobs are refused (`ablate.holding`), but what a search will suggest is not known when it begins. Whoever executes
an attempt holds one byte of one file in the workspace for it, so that the end of the process ends the hold, and no trial leaves a lock
file. An attempt that comes back late keeps nobody waiting: its successor has another number.
"""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from hashlib import blake2b

from ablate.attempt import Outcome, lost, read_outcome
from ablate.workspace import Workspace


def executed_once(job: str, number: int, *, execute: Callable[[], Outcome], workspace: Workspace) -> Outcome:
    """The attempt's outcome. One that another live run has begun, such as a search that suggested this trial, is taken as it ended."""
    with turn(job, number, workspace=workspace) as first:
        if first:
            return execute()
        taken = read_outcome(workspace.attempt(job, number))
        return taken or lost(job, attempt=number, cause="lost", reason="the run that had begun it died")


@contextlib.contextmanager
def turn(job: str, number: int, *, workspace: Workspace) -> Iterator[bool]:
    """Waits for whoever executes this attempt; then answers whether nobody has begun it, and nobody begins it meanwhile."""
    byte = int.from_bytes(blake2b(f"{job}/{number}".encode(), digest_size=7).digest())
    with open(workspace.folder / "turns.lock", "ab") as lock:
        with contextlib.suppress(OSError):  # a file system without locks: then only what has been begun already is seen
            fcntl.lockf(lock, fcntl.LOCK_EX, 1, byte)
        yield not workspace.attempt(job, number).exists()
