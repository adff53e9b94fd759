"""Files that somebody else wrote, opened for a page: regular files of one folder alone, whatever links and pipes lie in it."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from ablate.errors import InputError


def open_inside(path: Path, *, folder: Path) -> BinaryIO:
    """For reading. Raises FileNotFoundError where nothing is there, and InputError where it lies elsewhere, such as behind a link that a
    trainer made, is no file, or cannot be read."""
    try:
        found = path.resolve()
        if not found.is_relative_to(folder.resolve()):
            raise InputError(f"its {path.name} lies outside the workspace, so no page shows it")
        # a pipe is not waited for, and a link that has just been put there is not followed
        place = os.open(found, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(place).st_mode):
            return open(place, "rb")
        os.close(place)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"its {path.name} cannot be read: {error.strerror}") from error
    except (RuntimeError, ValueError) as error:  # links in a circle; a name that no file can have
        raise InputError(f"its {path.name[:100]!r} cannot be read: {error}") from error
    raise InputError(f"its {path.name} is no file")
