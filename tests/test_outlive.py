"""What a person sees when a run's process dies under it: cause, what is safe, how to go on; and that nothing is left running."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ablate.workspace import Workspace

STUDY = """\
schema: 1
name: slow
trainer: synthetic
base: {steps: 400, step_seconds: 0.05}
axes: {num_tokens: [16, 64]}
metric: {name: loss, goal: min}
"""
CODE = """
import os, signal, sys, time
from ablate.errors import AblateError
from ablate.outlive import outlived
try:
    with outlived(resume="ablate run again"):
        exec(sys.argv[1])
    sys.exit(7)
except AblateError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def outlive(body: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", CODE, body], capture_output=True, text=True, check=False, timeout=30)


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        pause.wait(0.05)


def test_orderly_end_is_the_childs_exit_code() -> None:
    assert (outlive("pass").returncode, outlive("raise SystemExit(130)").returncode) == (7, 130)


@pytest.mark.parametrize(
    ("body", "cause"), [("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"), ("os._exit(1)", "no word; most likely Ray's head is gone")]
)
def test_death_is_told_with_its_cause_and_the_way_on(body: str, cause: str) -> None:
    found = outlive(body)
    assert (found.returncode, found.stdout) == (
        3,
        f"the run's process died ({cause}); what had finished is safe. Go on with: ablate run again\n",
    )


def test_signal_is_passed_on_once() -> None:
    body = """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.kill(os.getppid(), signal.SIGTERM)
signal.sigwait({signal.SIGTERM})
sys.exit(40 if signal.SIGTERM in signal.sigpending() else 41)
"""
    assert outlive(body).returncode == 41


@pytest.fixture
def running(tmp_path: Path) -> "subprocess.Popen[str]":
    """A run with both of its jobs at work."""
    (tmp_path / "s.yaml").write_text(STUDY, encoding="utf-8")
    command = [sys.executable, "-m", "ablate", "run", "s.yaml", "--slots", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    runs = Workspace(tmp_path / ".ablate").runs
    wait_until(lambda: len([path for path in runs.glob("*/attempt-1/metrics.jsonl") if path.stat().st_size]) == 2)
    return process


def descendants(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def left_of(family: list[psutil.Process], *, but: tuple[str, ...] = ()) -> list[str]:
    """Names of those that live on; an ended process that nobody has asked for yet does not."""
    found = []
    for process in psutil.wait_procs(family, timeout=10)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE and not process.name().startswith(but or ("\0",)):
                found.append(process.name())
    return found


@pytest.mark.slow
def test_run_whose_parent_is_killed_leaves_nothing_running(running: "subprocess.Popen[str]", tmp_path: Path) -> None:
    family = descendants(running)
    running.kill()
    running.communicate()
    assert left_of(family, but=("ray::DashboardAgent", "ray::RuntimeEnv")) == []  # Ray's own, which notice after a minute
    study = json.loads(
        subprocess.run([sys.executable, "-m", "ablate", "status", "slow", "--json"], cwd=tmp_path, capture_output=True, check=True).stdout
    )
    assert {row["state"] for row in study} <= {"running", "queued"}


@pytest.mark.slow
@pytest.mark.fault("F04")
def test_stop_ends_a_run_in_order(running: "subprocess.Popen[str]", tmp_path: Path) -> None:
    stop = [sys.executable, "-m", "ablate", "stop", "slow"]
    said = subprocess.run(stop, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "asked ablate run s.yaml --slots 2 (process" in said
    running.communicate(timeout=60)
    assert running.returncode == 130
    again = subprocess.run(stop, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert again == "no run works on 'slow'\n"


@pytest.mark.slow
@pytest.mark.fault("F04")
def test_interrupt_ends_in_order_and_says_how_to_go_on(running: "subprocess.Popen[str]") -> None:
    family = descendants(running)
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "ablate run s.yaml --slots 2" in said
    assert left_of(family) == []
