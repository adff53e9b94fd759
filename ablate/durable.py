"""Bytes to disk so that a reader finds all of them or none, waiting where the disk has trouble that may pass."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ablate.causes import STORAGE_ERRNOS

PATIENCE_VARIABLE = "ABLATE_STORAGE_PATIENCE_SECONDS"
PATIENCE_SECONDS = 600.0
"""How long a full or broken disk is waited for, unless the environment says otherwise."""
PAUSE_SECONDS = 0.5

logger = logging.getLogger(__name__)
T = TypeVar("T")


def storage_patience() -> float:
    return float(os.environ.get(PATIENCE_VARIABLE, PATIENCE_SECONDS))


def write_whole(path: Path, content: bytes) -> None:
    """The file is there with all of its content or not at all, whatever dies when."""
    partial = path.with_name(f"{path.name}.tmp-{os.getpid()}")

    def write() -> None:
        try:
            with open(partial, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    patiently(write, path=path)


def patiently(action: Callable[[], T], *, path: Path) -> T:
    """The action's answer; it is repeated while the disk is full or broken, until the patience is at an end."""
    deadline = None
    while True:
        try:
            return action()
        except OSError as error:
            if error.errno not in STORAGE_ERRNOS:
                raise
            if deadline is None:
                deadline = time.monotonic() + storage_patience()
                logger.warning("cannot write %s: %s; waiting for the disk", path, error.strerror)
            if time.monotonic() >= deadline:
                raise OSError(error.errno, f"{error.strerror}; waited {storage_patience():g} s", str(path)) from error
        time.sleep(PAUSE_SECONDS)
