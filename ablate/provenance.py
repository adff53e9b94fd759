"""Where an attempt's numbers come from: machine, interpreter, package versions and the trainer's code, as JSON values."""

import os
import platform
import socket
import sys
import time
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ablate.planned import Job
from ablate.repository import Repository, repository_of
from ablate.sources import source_file

LOOK_SECONDS = 60
"""For how long what was seen of a repository is taken to be so: a look takes 25 ms, and a trial may take one."""


def provenance(job: Job, code: Repository | None) -> dict[str, Any]:
    """`code`: what `code_of` said at the beginning. Packages are those in memory now, so ask when the training has ended."""
    return {
        "python": platform.python_version(),
        "packages": dict(_packages(len(sys.modules))),
        "git": _git(code) if code else {},
        "host": socket.gethostname(),
        "platform": platform.platform(terse=True),
        "devices": _gpus() if job.resources.gpus else [f"CPU: {_cpu_model()}"],
        "cores": len(os.sched_getaffinity(0)),
    }


def code_of(job: Job, module: str) -> Repository | None:
    """The repository of what trains: of the program or function of somebody else's, or of the trainer's module, of this name."""
    settings = getattr(job.spec, "settings", None)
    if settings:
        return _seen(Path(settings["folder"]), tuple(settings["sources"]), int(time.monotonic() // LOOK_SECONDS))
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return None
    # in memory since it was imported, so one look does; installed in a folder of somebody's repository it is no part of that
    found = _seen(Path(file).resolve().parent, (str(Path(file).resolve()),), 0)
    return None if found and found.untracked else found


@lru_cache(maxsize=16)
def _seen(folder: Path, sources: tuple[str, ...], look: int) -> Repository | None:
    return repository_of(folder, files=[source_file(name, folder) for name in sources])


def _git(code: Repository) -> dict[str, Any]:
    found: dict[str, Any] = {"commit": code.commit, "untracked": list(code.untracked)}
    if code.diff is not None:
        found["dirty"] = bool(code.diff or code.untracked)
    if code.diff:
        found["diff_sha256"] = code.diff_sha256
    return found


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


def _gpus() -> list[str]:
    """Names of the GPUs this process may use: torch's where it is in memory, else those that the driver shows of the machine."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return list(_driver_gpus())


@lru_cache(maxsize=1)
def _driver_gpus() -> tuple[str, ...]:
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return tuple(name for file in files if (name := _field(file, "Model")))


@lru_cache(maxsize=1)
def _cpu_model() -> str:
    return _field(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine()


def _field(file: Path, name: str) -> str:
    """The first value under this name in a file of lines `name: value`; empty where there is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == name), "")
