"""The end of what an attempt wrote, for a page: plain text, whatever bytes are in the file, and nothing from outside the workspace."""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from ablate.errors import InputError
from ablate.inside import open_inside
from ablate.workspace import Workspace

MOST_LINES = 400
MOST_BYTES = 128 * 1024
LOG = "log.txt"


class LogTail(NamedTuple):
    text: str
    """Whole lines; what cannot be printed is written as its code, such as \\x1b."""
    whole: bool
    """Whether this is all the attempt wrote."""


def read_log_tail(workspace: Workspace, job: str, number: int, *, lines: int = MOST_LINES) -> LogTail | None:
    """The last `lines` lines, of the last `MOST_BYTES` at most; None where this attempt left nothing at all here.

    Raises InputError where the file lies elsewhere, such as behind a link that a trainer made, and where it cannot be read.
    """
    path = workspace.attempt(job, number) / LOG
    try:
        with open_inside(path, folder=workspace.runs) as file:
            start = max(0, file.seek(0, os.SEEK_END) - MOST_BYTES)
            file.seek(start)
            data = file.read(MOST_BYTES)
    except FileNotFoundError:
        return LogTail("", whole=True) if path.parent.is_dir() else None
    except InputError as error:
        raise InputError(f"{job}, attempt {number}: {error}") from error
    return _tail(data, lines=lines, whole=start == 0)


def log_size(workspace: Workspace, job: str, number: int) -> int:
    """Bytes that the attempt has written; 0 where there is no log."""
    try:
        return os.lstat(workspace.attempt(job, number) / LOG).st_size
    except OSError:
        return 0


def newest_log(workspace: Workspace, chain: Sequence[str]) -> tuple[str, int] | None:
    """(job, attempt) of the last job of the chain whose newest attempt has written something here."""
    newest = [(job, workspace.newest_attempt(job)) for job in reversed(chain)]
    return next(((job, number) for job, number in newest if number and log_size(workspace, job, number)), None)


def plain(text: str) -> str:
    """The text with everything that is no printable character, tab or line end written as its code."""
    return "".join(char if char.isprintable() or char in "\t\n" else f"\\x{ord(char):02x}" for char in text)


def _tail(data: bytes, *, lines: int, whole: bool) -> LogTail:
    found = re.split(r"\r\n|\r|\n", data.decode("utf-8", errors="replace"))  # a progress bar writes \r
    if not whole and len(found) > 1:
        found = found[1:]  # its beginning is not here
    if not found[-1]:
        found = found[:-1]
    return LogTail(plain("\n".join(found[-lines:])), whole and len(found) <= lines)
