"""What the attempts of one job keep for each other: the last two states, each whole and checked when it is read.

    runs/<job>/checkpoint-<n>    one line of JSON (job, SHA-256), then the state

A state that is cut, flipped, empty or another job's is never loaded: the one before it is, or the job starts anew.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from ablate.durable import write_whole

KEPT = 2


def newest_checkpoint(folder: Path) -> int:
    """Number of the newest checkpoint of a job, good or not; 0 where there is none."""
    return max(_numbers(folder), default=0)


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
            content = path.read_bytes()
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


def _trouble(header: bytes, state: bytes, *, job: str) -> str | None:
    try:
        said = json.loads(header)
        owner, digest = said["job"], said["sha256"]
    except (ValueError, KeyError, TypeError):
        return "its first line is damaged"
    if owner != job:
        return f"it is of {owner}"
    return None if hashlib.sha256(state).hexdigest() == digest else "its digest differs"


def _numbers(folder: Path) -> list[int]:
    return [int(number) for path in folder.glob("checkpoint-*") if (number := path.name.partition("-")[2]).isdecimal()]


def _path(folder: Path, number: int) -> Path:
    return folder / f"checkpoint-{number}"
