"""A Ray that a module's faults share, and what a fault test looks at: events, folders, processes."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ablate.attempt import Outcome
from ablate.planned import Job
from ablate.schedule import Event, Finished, Scheduler
from ablate.schedule.guardian import MARKER
from ablate.workspace import Workspace


@pytest.fixture(scope="module")
def ray_slots() -> Iterator[int]:
    from ablate.schedule.ray_tasks import start_ray, stop_ray

    yield start_ray(address="local", slots=2)
    stop_ray()


@pytest.fixture
def scheduler(workspace: Workspace, ray_slots: int) -> Scheduler:
    from ablate.schedule.ray_tasks import RayTasks

    return RayTasks(workspace, slots=ray_slots)


def run(
    scheduler: Scheduler, jobs: list[Job], *, watch: Callable[[Event], None] = lambda event: None, known: Mapping[str, Job] | None = None
) -> list[Event]:
    """All events of a run; `watch` sees each one as it comes."""
    events = []
    for event in scheduler.run(jobs, attempts={}, stop=threading.Event(), known=known):
        watch(event)
        events.append(event)
    return events


def ends(events: list[Event], job: Job) -> list[Outcome]:
    return [event.outcome for event in events if isinstance(event, Finished) and event.outcome.job == job.id]


def until(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Waits for a condition, and fails where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.02)


def processes_of(pid: int) -> list[int]:
    """Living processes that a worker started, by what they inherited from it."""
    marker = environment(pid).get(MARKER)
    assert marker, f"process {pid} is no worker with a guardian"
    return marked(marker)


def marked(marker: str) -> list[int]:
    return [pid for pid in _pids() if environment(pid).get(MARKER) == marker]


def environment(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(item.split("=", 1) for item in text.split("\0") if "=" in item)


def command_lines(part: str) -> list[int]:
    """Processes with these words in their command."""
    found = []
    for pid in _pids():
        try:
            if part in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(pid)
        except OSError:
            continue
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
