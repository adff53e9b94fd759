"""An exception's cause, also through the errors it was raised from."""

import errno

import pytest

from ablate.causes import cause_of


class OutOfMemoryError(RuntimeError):
    """As torch and Ray name theirs."""


class ProcessLost(RuntimeError):
    """As the zoo names its own."""


def chained(inner: Exception) -> Exception:
    try:
        try:
            raise inner
        except Exception as error:
            raise RuntimeError("something failed") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), "oom"),
        (OutOfMemoryError("no more"), "oom"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "oom"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "oom"),
        (chained(MemoryError()), "oom"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage"),
        (OSError(errno.EIO, "Input/output error"), "storage"),
        (chained(OSError(errno.ENOSPC, "full")), "storage"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "storage"),
        (FileNotFoundError(errno.ENOENT, "not there"), "user"),
        (FloatingPointError("loss is nan"), "nan"),
        (ProcessLost("process 2 of 2 ended by signal SIGKILL"), "lost"),
        (chained(ProcessLost("its launcher is gone")), "lost"),
        (ValueError("no"), "user"),
        (SystemExit(3), "user"),
    ],
)
def test_cause_of_an_exception(error: BaseException, cause: str) -> None:
    assert cause_of(error) == cause


@pytest.mark.slow
def test_cause_of_torch_running_out_of_memory() -> None:
    import torch

    assert cause_of(torch.OutOfMemoryError("x")) == "oom"
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert cause_of(caught.value) == "oom"
