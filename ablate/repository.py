"""The git repository that a folder lies in, as it is now: its commit, and what has changed since as a diff without secrets.

Without git, outside a repository, before a first commit: nothing, which is no error.
"""

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ablate.trainer_settings import URL_PASSWORD

MAX_DIFF_BYTES = 1_000_000
MAX_ANSWER_BYTES = 10_000_000
GIT_SECONDS = 10
REDACTED = "[redacted]"
_THEN = r"""["']?[ \t]*(?::=|:|=(?!=))"""
SECRET = re.compile(rf"((?:secret|passw(?:or)?d|credential|(?:api|access|private)[_-]?key)[\w.-]{{0,60}}{_THEN}).*", re.IGNORECASE)
TOKEN = re.compile(rf"(token{_THEN})(?![\d\s.,_eE+*/()\[\]{{}}-]*$).*", re.IGNORECASE | re.MULTILINE)
"""A key that ends in `token` loses its value, unless that is numbers."""
TOKENS = re.compile(rf"""(token[\w.-]{{1,60}}{_THEN}[^\n"']{{0,200}})(["'])[^\n"']+\2""", re.IGNORECASE)
"""Language models have `num_tokens` and `tokenizer` too: there the first text in quotes is taken out, and the code stays."""


@dataclass(frozen=True)
class Repository:
    commit: str
    diff: str | None
    """What has changed in the whole repository since the commit; empty where nothing has, None where git did not say in time."""
    untracked: tuple[str, ...]
    """Those of the files that were asked about which git does not know."""

    @property
    def diff_sha256(self) -> str:
        return hashlib.sha256((self.diff or "").encode()).hexdigest()


def repository_of(folder: Path, *, files: Iterable[Path] = ()) -> Repository | None:
    commit = git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    inside = [str(file) for file in files if file.is_relative_to(folder)]
    others = git(folder, "--literal-pathspecs", "ls-files", "-z", "--others", "--", *inside) if inside else None
    # no program that the repository's configuration names is run for it
    diff = git(folder, "-c", "core.quotepath=off", "diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD", limit=MAX_DIFF_BYTES)
    untracked = tuple(name for name in (others or "").split("\0") if name)
    return Repository(commit.strip(), None if diff is None else redacted(diff), untracked)


def git(folder: Path, *arguments: str, limit: int = MAX_ANSWER_BYTES) -> str | None:
    """What git says, as far as the last whole line within `limit` bytes, then with a notice; None where there is no answer."""
    # a hook that runs us names its own repository in the environment
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        with tempfile.TemporaryFile() as answer:  # not a pipe: a diff may be larger than our memory
            subprocess.run(command, stdout=answer, stderr=subprocess.DEVNULL, timeout=GIT_SECONDS, check=True, env=environment)  # noqa: S603
            size = answer.seek(0, os.SEEK_END)
            answer.seek(0)
            text = answer.read(limit).decode("utf-8", errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    if size <= limit:
        return text
    return f"{text.rpartition(chr(10))[0]}\n... cut by ablate: {size:,} bytes in all ...\n"


def redacted(text: str) -> str:
    """The text without the values of keys that are named like secrets, each to the end of its line, and without passwords in URLs."""
    text = URL_PASSWORD.sub(f"://{REDACTED}@", text)
    text = SECRET.sub(rf"\1 {REDACTED}", text)
    text = TOKEN.sub(rf"\1 {REDACTED}", text)
    return TOKENS.sub(rf"\1\2{REDACTED}\2", text)
