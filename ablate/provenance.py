"""Where an attempt's numbers come from: machine, interpreter, package versions and the commit of the trainer, as JSON values."""

import os
import platform
import socket
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

GIT_SECONDS = 10


def provenance(module: str) -> dict[str, Any]:
    """`module`: name of the trainer's module. Packages are those in memory now, so ask when the training has ended."""
    return {
        "python": platform.python_version(),
        "packages": dict(_packages(len(sys.modules))),
        "git": dict(_commit(module)),
        "host": socket.gethostname(),
        "platform": platform.platform(terse=True),
        "devices": _devices(),
    }


@lru_cache(maxsize=4)
def _packages(num_modules: int) -> tuple[tuple[str, str], ...]:
    """Versions as the loaded modules state them: looking through the installed packages takes a second, and most of them did nothing.

    `num_modules`: how many there are in memory, so that the answer is kept until there are more.
    """
    loaded = {name: vars(module) for name, module in list(sys.modules.items()) if "." not in name and name not in sys.stdlib_module_names}
    found = {name: fields["__version__"] for name, fields in loaded.items() if isinstance(fields.get("__version__"), str)}
    try:
        found["ablate"] = version("ablate")
    except PackageNotFoundError:
        pass
    return tuple(sorted(found.items()))


@lru_cache(maxsize=16)
def _commit(module: str) -> tuple[tuple[str, Any], ...]:
    """The commit of the trainer's folder and whether it has changes since; nothing where it is in no repository."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return ()
    folder = Path(file).resolve().parent
    commit = _git("rev-parse", "HEAD", folder=folder)
    changes = _git("status", "--porcelain", "--", ".", folder=folder)
    if commit is None or changes is None:
        return ()
    return ("commit", commit), ("dirty", bool(changes))


def _git(*arguments: str, folder: Path) -> str | None:
    try:
        found = subprocess.run(  # noqa: S603
            ["git", "--no-optional-locks", *arguments],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _devices() -> list[str]:
    """Names of the GPUs this process may use, or the number of cores it may."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return [f"{len(os.sched_getaffinity(0))} CPU cores"]
