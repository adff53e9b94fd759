"""A finished job's folder: published whole, with a digest of each file, and compared with it whenever a job reads it.

artifacts/<job>/SHA256SUMS   one line a file, as `sha256sum --check` reads them, and its size in a comment before it
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ablate.durable import patiently

SUMS = "SHA256SUMS"
SIZE = "# bytes:"
T = TypeVar("T")


def publish(partial: Path, final: Path) -> None:
    """Puts digests beside the files and renames the folder into place; one that is there already came from the same identity and stays."""
    sizes, digests = _of_files(partial, _size), _of_files(partial, _digest)
    lines = "".join(f"{SIZE} {sizes[name]}  {name}\n{digest}  {name}\n" for name, digest in digests.items())
    patiently(lambda: (partial / SUMS).write_text(lines, encoding="utf-8"), path=partial)
    patiently(lambda: _rename(partial, final), path=final)


def damage(artefact: Path) -> str | None:
    """What is wrong with a published folder; None where every file is as it was."""
    return _damage(artefact, mark="", answer=_digest)


def visible_damage(artefact: Path) -> str | None:
    """The same by names and sizes only: nothing is read of what may be large."""
    return _damage(artefact, mark=f"{SIZE} ", answer=_size)


def _damage(artefact: Path, *, mark: str, answer: Callable[[Path], str]) -> str | None:
    """`mark`: how the lines begin that hold what `answer` gives."""
    try:
        lines = (artefact / SUMS).read_text(encoding="utf-8").splitlines()
        found = _of_files(artefact, answer)
    except FileNotFoundError:
        return f"{SUMS} is missing" if artefact.is_dir() else "it is not there"
    except (OSError, UnicodeDecodeError) as error:
        return f"it cannot be read: {error}"
    split = [line.partition("  ") for line in lines]
    names = {name for start, _, name in split if not start.startswith(SIZE)}
    written = {name: start.removeprefix(mark) for start, _, name in split if start.startswith(SIZE) == bool(mark)}
    if missing := sorted(names - set(found)):
        return f"{missing[0]} is missing"
    # sizes were not always written down
    differing = sorted(name for name, now in found.items() if name not in names or written.get(name, now) != now)
    return f"{differing[0]} is not what was written" if differing else None


def set_aside(artefact: Path) -> None:
    """Takes a damaged folder out of the way, so that it can be built again."""
    doomed = artefact.with_name(f"{artefact.name}.damaged-{os.getpid()}")
    try:
        os.rename(artefact, doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed, ignore_errors=True)


def _rename(partial: Path, final: Path) -> None:
    try:
        os.rename(partial, final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(partial, ignore_errors=True)


def _of_files(folder: Path, answer: Callable[[Path], T]) -> dict[str, T]:
    """Path within the folder -> the answer for each file, in order of the paths. A link is none of them: it may lead anywhere."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path != folder / SUMS)
    return {path.relative_to(folder).as_posix(): answer(path) for path in files}


def _size(path: Path) -> str:
    return str(path.stat().st_size)


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
