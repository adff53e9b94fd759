"""A process that left a sign is gone, or not, or cannot be told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablate import living
from ablate.living import is_gone, sign_of_life

SLEEPER = "import sys; from ablate.living import sign_of_life; print(sign_of_life(), flush=True); sys.stdin.read()"


def test_process_that_runs_is_not_gone() -> None:
    assert not is_gone(os.getpid(), sign_of_life())


def test_process_is_gone_from_its_end_on_whether_or_not_its_parent_has_waited() -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        sign = process.stdout.readline().strip()
        assert not is_gone(process.pid, sign)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(process.pid, sign)
        process.wait()
        assert is_gone(process.pid, sign)


def test_number_that_another_process_has_now_is_no_life() -> None:
    boot, namespace, started = sign_of_life().split()  # type: ignore[union-attr]
    assert is_gone(os.getpid(), f"{boot} {namespace} {int(started) - 1}")


@pytest.mark.parametrize("field", [0, 1], ids=["boot", "process table"])
def test_process_of_another_boot_or_container_cannot_be_told(field: int) -> None:
    fields = sign_of_life().split()  # type: ignore[union-attr]
    fields[field] = "1"
    no_such_process = 2**22 + 1
    assert not is_gone(no_such_process, " ".join(fields))


def test_where_there_is_no_proc_nothing_can_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sign = sign_of_life()
    monkeypatch.setattr(living, "PROC", tmp_path)
    assert sign_of_life() is None
    assert not is_gone(2**22 + 1, sign)
