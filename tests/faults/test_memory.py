"""Memory that runs out, and how little of it is asked for (F11): Ray's own monitor ends a worker, in a Ray whose threshold is low."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

# a process of its own: Ray reads the threshold when it starts
DRIVER = """
import json, sys, threading
from pathlib import Path
from ablate.load import load_study
from ablate.design import make_arms
from ablate.planner import make_plan
from ablate.schedule import Finished, Notice
from ablate.schedule.ray_tasks import RayTasks, start_ray, stop_ray
from ablate.workspace import Workspace
study = load_study(Path(sys.argv[1]))
workspace = Workspace(Path(sys.argv[2]))
workspace.create()
slots = start_ray(address="local", slots=2)
jobs = list(make_plan(study, make_arms(study)).jobs.values())
for event in RayTasks(workspace, slots=slots).run(jobs, attempts={}, stop=threading.Event()):
    if isinstance(event, Finished):
        ended = event.outcome
        size = next(job for job in jobs if job.id == ended.job).spec.config["config"]["gib"]
        print(json.dumps([size, ended.state, ended.cause, ended.reason, ended.started, ended.seconds]))
    if isinstance(event, Notice):
        print(event.text, file=sys.stderr)
stop_ray()
"""
GREEDY = """
import json, os, time
gib = json.load(open(os.environ["ABLATE_CONFIG"]))["gib"]
held = []
for _ in range(int(gib * 32)):
    held.append(bytearray(os.urandom(1) * 2**25))
    time.sleep(0.02)
time.sleep(1.5 if gib > 1 else 0.3)
print(json.dumps({"step": 1, "loss": 0.5}))
"""


def run(here: Path, *, gib: list[float], memory_bytes: str, environment: dict[str, str] | None = None) -> tuple[list[list[object]], str]:
    from tests.own import write_study

    (here / "greedy.py").write_text(GREEDY)
    study = write_study(
        here, argv=["{python}", "greedy.py"], base={"gib": gib[0]}, axes={"gib": gib}, memory_bytes=memory_bytes, extra={"seeds": 1}
    )
    driver = subprocess.run(
        [sys.executable, "-c", DRIVER, str(study), str(here / "work")],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert driver.returncode == 0, driver.stderr
    return [json.loads(line) for line in driver.stdout.splitlines() if line.startswith("[")], driver.stderr


@pytest.mark.fault("F11")
def test_job_that_ray_ends_for_want_of_memory_fails_after_one_retry_and_the_others_finish(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + 2 * 2**30) / memory.total
    limits = {"RAY_memory_usage_threshold": f"{threshold:.3f}", "RAY_memory_monitor_refresh_ms": "250"}
    ends, _ = run(tmp_path, gib=[0.1, 0.2, 6.0], memory_bytes="0.5 * gib * 1e9", environment=limits)
    greedy = [end for end in ends if end[0] == 6.0]
    assert [(state, cause) for _, state, cause, *_ in greedy] == [("lost", "oom"), ("failed", "oom")]
    assert "the plan expects 2.79 GiB of main memory" in str(greedy[-1][3])
    assert "it used " in str(greedy[-1][3])
    assert sorted(size for size, state, *_ in ends if state == "done") == [0.1, 0.2]


def test_jobs_expected_to_need_more_than_there_is_run_one_at_a_time_and_it_is_said(tmp_path: Path) -> None:
    ends, said = run(tmp_path, gib=[0.1, 0.11, 0.12], memory_bytes="1e15 * gib")
    assert [state for _, state, *_ in ends] == ["done"] * 3
    spans = sorted((float(str(started)), float(str(started)) + float(str(seconds))) for *_, started, seconds in ends)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert "of main memory, and the largest machine gives" in said
    assert "such jobs (3) run one at a time on a machine; say resources.memory_gib where they need less" in said
