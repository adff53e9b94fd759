"""Bytes to disk so that a reader finds all of them or none, waiting where the disk has trouble that may pass."""

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ablate.causes import STORAGE_ERRNOS
from ablate.errors import InputError

PATIENCE_VARIABLE = "ABLATE_STORAGE_PATIENCE_SECONDS"
PATIENCE_SECONDS = 600.0
"""How long a full or broken disk is waited for, unless the environment says otherwise."""
PAUSE_SECONDS = 0.5

logger = logging.getLogger(__name__)
T = TypeVar("T")


def storage_patience() -> float:
    return seconds_in(PATIENCE_VARIABLE, PATIENCE_SECONDS)


def seconds_in(variable: str, default: float) -> float:
    """What the environment says. Raises InputError where that is no time."""
    text = os.environ.get(variable, "")
    try:
        seconds = float(text or default)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise InputError(f"{variable}={text}: a number of seconds is needed, such as {default:g}")
    return seconds


def write_whole(path: Path, content: bytes) -> None:
    """The file is there with all of its content or not at all, whatever dies when."""
    patiently(lambda: write_now(path, content), path=path)


def write_now(path: Path, content: bytes) -> None:
    """The same for somebody who waits for the answer: raises OSError at once where the disk has trouble."""
    partial = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with open(partial, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


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
