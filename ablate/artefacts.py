"""A finished job's folder: published whole, with a digest of each file, and compared with it whenever a job reads it.

artifacts/<job>/SHA256SUMS   one line a file, as `sha256sum --check` reads them
"""

import hashlib
import os
import shutil
from pathlib import Path

from ablate.durable import patiently

SUMS = "SHA256SUMS"


def publish(partial: Path, final: Path) -> None:
    """Puts digests beside the files and renames the folder into place; one that is there already came from the same identity and stays."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in _digests(partial).items())
    patiently(lambda: (partial / SUMS).write_text(lines, encoding="utf-8"), path=partial)
    patiently(lambda: _rename(partial, final), path=final)


def damage(artefact: Path) -> str | None:
    """What is wrong with a published folder; None where every file is as it was."""
    try:
        lines = (artefact / SUMS).read_text(encoding="utf-8").splitlines()
        expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        found = _digests(artefact)
    except FileNotFoundError:
        return f"{SUMS} is missing" if artefact.is_dir() else "it is not there"
    except (OSError, UnicodeDecodeError) as error:
        return f"it cannot be read: {error}"
    if missing := sorted(set(expected) - set(found)):
        return f"{missing[0]} is missing"
    differing = sorted(name for name in found if expected.get(name) != found[name])
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


def _digests(folder: Path) -> dict[str, str]:
    """Path within the folder -> SHA-256 of each file, in order of the paths."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SUMS)
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
