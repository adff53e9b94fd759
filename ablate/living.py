"""Whether a process that left its sign is gone: known at once where the process and who asks share a boot and a process table.

A sign is "BOOT NAMESPACE START": the kernel's id of this boot, the process table that process ids count in (a container has its own), and
when the process began, in the kernel's ticks since the boot. A process id alone may be another program's by now, or another machine's.
"""

import os
from pathlib import Path

PROC = Path("/proc")


def sign_of_life() -> str | None:
    """This process's sign; None where the system tells none, as systems other than Linux do not."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat(PROC / 'self/ns/pid').st_ino} {_started(os.getpid())}"
    except OSError:
        return None


def is_gone(pid: int, sign: str | None) -> bool:
    """Whether the process that had this number and left this sign has certainly ended. One that cannot be seen from here has not."""
    own = sign_of_life()
    if own is None or sign is None or own.split()[:2] != sign.split()[:2]:
        return False
    try:
        os.kill(pid, 0)  # sees processes of other users too, which a /proc that hides them does not show
        return _started(pid) != sign.split()[2]
    except ProcessLookupError:
        return True
    except OSError:
        return False


def _started(pid: int) -> str:
    """The start of a process that runs; raises ProcessLookupError for one that ended and is only waited for by its parent."""
    # after the name in brackets, which may hold anything: state, parent, ..., start time as the 22nd field of all
    fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return fields[19]
