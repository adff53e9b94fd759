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


HANGS = """
import atexit, ctypes, subprocess
subprocess.Popen(["sleep", "100"], stdout=subprocess.DEVNULL)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
lock, mutex = ctypes.PyDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(128)
lock(mutex)
print("ready", flush=True)
"""
"""`lock(mutex)` now waits for itself in C with the interpreter's lock in its hands, where no handler runs."""
TAKES_ITS_TIME = """
from ablate.outlive import PATIENCE_SECONDS
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("ready", flush=True)
signal.sigwait({signal.SIGTERM})
signal.sigtimedwait((), PATIENCE_SECONDS + 1)
sys.exit(41)
"""


def signalled(body: str, *numbers: signal.Signals, under: tuple[str, ...] = ()) -> tuple[int, str]:
    """Exit code and last words of a process that is sent these signals once its child is at work."""
    with subprocess.Popen([*under, sys.executable, "-c", CODE, body], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        family = descendants(process)
        for number in numbers:
            process.send_signal(number)
        try:
            process.wait(timeout=30)
            assert left_of(family) == []
        finally:
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
        return process.returncode, process.stdout.read()


@pytest.mark.slow
@pytest.mark.fault("F04")
@pytest.mark.parametrize("hanging", ["lock(mutex)", "atexit.register(lock, mutex)"])
def test_second_signal_ends_a_run_that_hangs_in_c(hanging: str) -> None:
    said = "the run took no notice of two signals and was ended; what had finished is safe. Go on with: ablate run again\n"
    assert signalled(HANGS + hanging, signal.SIGINT, signal.SIGTERM) == (130, said)


@pytest.mark.slow
@pytest.mark.fault("F04")
def test_one_signal_leaves_a_run_the_time_it_takes_and_a_hangup_under_nohup_is_none() -> None:
    assert signalled(TAKES_ITS_TIME, signal.SIGHUP, signal.SIGTERM, under=("nohup",)) == (41, "")


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
    """Command lines of those that live on; an ended process that nobody has asked for yet does not.

    A mirror that starts when its run dies imports all of MLflow before it notices, so the wait is long.
    """

    def alive(process: psutil.Process) -> str:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE and not process.name().startswith(but or ("\0",)):
                return " ".join(process.cmdline())
        return ""

    waited = psutil.wait_procs([process for process in family if alive(process)], timeout=60)[1]
    return [line for line in map(alive, waited) if line]


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
