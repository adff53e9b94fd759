"""What the attempts of one job keep for each other: the last two states, each whole and checked when it is read.

    runs/<job>/checkpoint-<n>       one line of JSON (job, SHA-256), then the state
    runs/<job>/checkpoint-files/    what a program of somebody else's leaves for itself, in whatever form

A state that is cut, flipped, empty or another job's is never loaded: the one before it is, or the job starts anew. What a program keeps is
its own affair: nothing here knows what is whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ablate.durable import write_whole

KEPT = 2
FILES = "checkpoint-files"


def newest_checkpoint(folder: Path) -> int:
    """A number that has grown where a job has kept something since, good or not; 0 where it has kept nothing."""
    files = folder / FILES
    # a file that is put in place changes the folder's time, as one that is made or removed does
    return files.stat().st_mtime_ns if files.is_dir() and any(files.iterdir()) else max(_numbers(folder), default=0)


def kept_files(folder: Path) -> Path:
    """The folder in which a program finds what an attempt before it left there."""
    files = folder / FILES
    files.mkdir(exist_ok=True)
    return files


def forget_files(folder: Path) -> None:
    """Removes what a program has kept, once nobody goes on from it."""
    shutil.rmtree(folder / FILES, ignore_errors=True)


def keep_checkpoint(folder: Path, state: bytes, *, job: str) -> None:
    """Adds a checkpoint to a job's folder and drops all but the last two."""
    numbers = _numbers(folder)
    header = {"job": job, "sha256": hashlib.sha256(state).hexdigest()}
    write_whole(_path(folder, max(numbers, default=0) + 1), json.dumps(header).encode() + b"\n" + state)
    for number in sorted(numbers)[: max(0, len(numbers) + 1 - KEPT)]:
        _path(folder, number).unlink(missing_ok=True)


def read_checkpoint(folder: Path, *, job: str, refused: Callable[[str], None]) -> bytes | None:
    """The newest state that is what was kept; `refused` hears about each one passed over."""
    for number in sorted(_numbers(folder), reverse=True):
        path = _path(folder, number)
        try:
            content = _read(path)
        except OSError as error:
            refused(f"{path.name} cannot be read: {error.strerror}")
            continue
        header, _, state = content.partition(b"\n")
        if (trouble := _trouble(header, state, job=job)) is None:
            return state
        refused(f"{path.name} is not used: {trouble}")
        # out of the way: the next one is kept under a newer number, and this one must not count as one of the last two
        path.unlink(missing_ok=True)
    return None


def _read(path: Path) -> bytes:
    # a link could lead to any file of the machine
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
        return stream.read()


def _trouble(header: bytes, state: bytes, *, job: str) -> str | None:
    try:
        said = json.loads(header)
        owner, digest = said["job"], said["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "its first line is damaged"
    if owner != job:
        return f"it is of {owner}"
    return None if hashlib.sha256(state).hexdigest() == digest else "its digest differs"


def _numbers(folder: Path) -> list[int]:
    return [int(number) for path in folder.glob("checkpoint-*") if (number := path.name.partition("-")[2]).isdecimal()]


def _path(folder: Path, number: int) -> Path:
    return folder / f"checkpoint-{number}"
