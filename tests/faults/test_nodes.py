"""Nodes that are lost, and come back or do not (F08, F09): a cluster of processes on this machine, the driver a process beside it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ablate.schedule import FAST_LOSSES
from ablate.schedule.ray_tasks import PENDING_VARIABLE
from ablate.workspace import Workspace
from tests.faults.conftest import until
from tests.own import write_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

DRIVER = """
import json, sys, threading
from pathlib import Path
from ablate.errors import AblateError
from ablate.planner import make_plan
from ablate.schedule import Finished, Notice
from ablate.schedule import FAST_LOSSES
from ablate.schedule.ray_tasks import RayTasks, start_ray
from ablate.workspace import Workspace
from tests.conftest import make_arm, make_study
address, folder, resources, fields = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
slots = start_ray(address=address, slots=2)
plan = make_plan(make_study(seeds=4, resources=resources), [make_arm("base", **fields)])
try:
    scheduler = RayTasks(Workspace(Path(folder)), slots=slots)
    scheduler.preflight(plan.study.resources)
    for event in scheduler.run(list(plan.jobs.values()), attempts={}, stop=threading.Event()):
        if isinstance(event, Finished):
            print(json.dumps([event.outcome.job, event.outcome.state, event.outcome.cause, event.outcome.node]), flush=True)
        if isinstance(event, Notice):
            print(event.text, file=sys.stderr, flush=True)
except AblateError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""

Driver = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield made
    finally:
        made.shutdown()


@pytest.fixture
def drive(cluster: Any, workspace: Workspace) -> Iterator[Driver]:
    started: list[subprocess.Popen[str]] = []

    def start(*, resources: dict[str, Any], pending_seconds: float = 120, **fields: Any) -> subprocess.Popen[str]:
        arguments = [cluster.address, str(workspace.folder), json.dumps(resources), json.dumps(fields)]
        environment = os.environ | {PENDING_VARIABLE: str(pending_seconds)}
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(driver)
        return driver

    yield start
    for driver in started:
        driver.kill()
        driver.communicate()


def running(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.runs.glob("*/attempt-*") if (path / "pid").exists() and not (path / "done.json").exists()]


def ended(driver: subprocess.Popen[str]) -> tuple[int, list[list[str]], str]:
    output, errors = driver.communicate(timeout=180)
    return driver.returncode, [json.loads(line) for line in output.splitlines() if line.startswith("[")], errors


@pytest.mark.fault("F08")
def test_lost_node_is_survived_when_another_one_comes(cluster: Any, drive: Driver, workspace: Workspace) -> None:
    node = cluster.add_node(num_cpus=2)
    driver = drive(resources={}, steps=40, step_seconds=0.1)
    until(lambda: len(running(workspace)) == 2 and any(workspace.runs.glob("*/checkpoint-5")), seconds=60)
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=2)
    code, outcomes, errors = ended(driver)
    assert code == 0, errors
    states = [state for _, state, _, _ in outcomes]
    assert states.count("done") == 4
    assert {cause for _, state, cause, _ in outcomes if state != "done"} == {"lost"}
    assert "failed" not in states


@pytest.mark.fault("F09")
def test_node_that_does_not_come_back_ends_the_run_with_the_reason(cluster: Any, drive: Driver, workspace: Workspace) -> None:
    node = cluster.add_node(num_cpus=2)
    driver = drive(resources={}, pending_seconds=5, steps=400, step_seconds=0.1)
    until(lambda: len(running(workspace)) == 2, seconds=60)
    cluster.remove_node(node, allow_graceful=False)
    code, outcomes, errors = ended(driver)
    assert code == 3
    assert "jobs stay queued: no node can hold a job of 1 CPUs" in errors
    assert "waited 5 s: no node can hold a job of 1 CPUs and 0 GPUs (there is: 0 CPUs and 0 GPUs)" in errors
    assert {(state, cause) for _, state, cause, _ in outcomes} == {("lost", "lost")}


def test_job_of_two_nodes_waits_for_both_and_more_than_there_are_is_refused(cluster: Any, drive: Driver) -> None:
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    code, outcomes, errors = ended(drive(resources={"nodes": 2}, steps=3))
    assert (code, [state for _, state, _, _ in outcomes]) == (0, ["done"] * 4), errors
    code, _, errors = ended(drive(resources={"nodes": 3}, steps=3))
    assert code == 3
    assert "2 of 3 nodes can hold a job of 1 CPUs and 0 GPUs" in errors


@pytest.mark.fault("F31")
def test_program_of_two_nodes_finds_their_addresses(cluster: Any, tmp_path: Path) -> None:
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    script = "import os; print('hosts', os.environ['ABLATE_HOSTS']); print('{\"step\": 1, \"loss\": 0.5}')"
    (tmp_path / "train.py").write_text(script)
    address = cluster.address.partition(":")[0]
    for kind, extra in (("planned", {}), ("search", {"design": {"kind": "search", "trials": 1, "sampler": "random"}})):
        extra |= {"seeds": 1, "resources": {"nodes": 2}}
        study = write_study(tmp_path, argv=["{python}", "train.py"], axes={"lr": [0.1, 0.2][: len(extra) - 1]}, extra=extra)
        arguments = [study, "--workspace", tmp_path / kind, "--address", cluster.address]
        ran = subprocess.run([sys.executable, "-m", "ablate", "run", *arguments], capture_output=True, text=True, timeout=100)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        (log,) = (tmp_path / kind / "runs").glob("*/attempt-1/log.txt")
        assert f"hosts {address},{address}" in log.read_text()


def test_node_that_loses_everything_fast_is_left_alone(cluster: Any, drive: Driver, workspace: Workspace) -> None:
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    driver = drive(resources={}, steps=60, step_seconds=0.1)
    bad: list[int] = []

    def kill_on_one_node() -> bool:
        for path in running(workspace):
            with suppress(FileNotFoundError):  # it ended just now
                pid = int((path / "pid").read_text())
                raylet = parent(pid)  # one a node
                if raylet and (not bad or raylet == bad[0]):
                    bad[:] = [raylet]
                    os.kill(pid, signal.SIGKILL)
        return driver.poll() is not None

    until(kill_on_one_node, seconds=120)
    code, outcomes, errors = ended(driver)
    assert code == 0, errors
    losses = [node for _, state, _, node in outcomes if state == "lost"]
    assert FAST_LOSSES <= len(losses) <= FAST_LOSSES + 2  # with those that Ray had already
    assert len(set(losses)) == 1
    assert [state for _, state, _, _ in outcomes].count("done") == 4


def parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None
