"""Why an attempt ended: an exception becomes the cause that decides whether it is tried again."""

import errno
import traceback
from typing import Literal

Cause = Literal["user", "nan", "oom", "timeout", "lost", "storage", "artefact", "interrupted", "pruned"]
"""`user`: the trainer's own error. `lost`: its worker or node died, or one of its processes was killed. `storage`: the disk is full or
broken. `artefact`: what it reads is damaged. What each of them leads to stands in `ablate.schedule.Retries`."""

STORAGE_ERRNOS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE))
STORAGE_TEXTS = ("No space left on device", "Disk quota exceeded", "Input/output error", "File too large", "Read-only file system")
"""For libraries that put the system's words into errors of their own."""
MEMORY_TEXTS = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory",
    "HIP out of memory",
)

SIGTERM_HANDLER = "sigterm_handler"
"""Ray's, in every worker."""


def cause_of(error: BaseException) -> Cause:
    """What an exception out of a trainer says, looking at what it was raised from as well."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    if _is_asked_to_go(error) or any(_is_loss(link) for link in chain):
        return "lost"
    if any(_is_memory(link) for link in chain):
        return "oom"
    if any(_is_storage(link) for link in chain):
        return "storage"
    return "nan" if isinstance(error, FloatingPointError) else "user"


def _is_asked_to_go(error: BaseException) -> bool:
    """Whether the worker was told to end: Ray answers SIGTERM with a SystemExit inside the trainer, which could raise one itself."""
    return isinstance(error, SystemExit) and any(frame.name == SIGTERM_HANDLER for frame in traceback.extract_tb(error.__traceback__))


def _is_loss(error: BaseException) -> bool:
    # by name: the zoo is not imported where nothing else imports it
    return any(kind.__name__ == "ProcessLost" for kind in type(error).__mro__)


def _is_memory(error: BaseException) -> bool:
    # by name: torch is not imported where nothing else imports it
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return named or isinstance(error, MemoryError) or any(text in str(error) for text in MEMORY_TEXTS)


def _is_storage(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in STORAGE_ERRNOS
    return any(text in str(error) for text in STORAGE_TEXTS)
