"""Several machines: a cluster of two nodes that are processes on this one, the driver a process beside it."""

import json
import os
import signal
import subprocess
import sys

import pytest
import ray
import torch
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from safetensors.torch import load_file

from ablate.schedule.ray_tasks import start_ray, stop_ray
from ablate.workspace import Workspace
from model_zoo.launcher import ProcessLost
from model_zoo.machines import launched_on
from model_zoo.train import REPORT_EVERY
from tests.faults.conftest import until
from tests.model_zoo.conftest import Worker, change, weights
from tests.model_zoo.test_parallel import BASE, Deaths, processes_of, train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CONFIG = change(BASE, train={"steps": 2 * REPORT_EVERY})


@pytest.fixture
def address():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


@pytest.fixture
def start(address, tmp_path):
    """Starts a run of one trial on both nodes."""
    study = {
        "schema": 1,
        "name": "two",
        "trainer": "model_zoo",
        "base": CONFIG.model_dump(mode="json"),
        "axes": {"train.clip_norm": [CONFIG.train.clip_norm]},
        "metric": {"name": "val_loss", "goal": "min"},
        "seeds": 1,
        "resources": {"nodes": 2},
    }
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    arguments = ["study.yaml", "--workspace", tmp_path / "work", "--address", address]
    driver = subprocess.Popen(
        [sys.executable, "-m", "ablate", "run", *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield driver
    driver.kill()
    driver.communicate()


def test_two_machines_come_to_what_one_comes_to_whatever_is_killed(start, tmp_path):
    workspace = Workspace(tmp_path / "work")

    def attempt(number):
        (folder,) = workspace.runs.glob(f"*/attempt-{number}")
        return folder

    def trains(number):
        assert start.poll() is None, start.communicate()
        found = list(workspace.runs.glob(f"*/attempt-{number}/metrics.jsonl"))
        return bool(found and found[0].stat().st_size)

    def processes_once_it_trains(number):
        until(lambda: trains(number), seconds=90)
        found = processes_of(int((attempt(number) / "pid").read_text()))
        assert found.keys() == {"launcher", 0, 1}
        return found, Deaths(found.values())

    found, deaths = processes_once_it_trains(1)
    os.kill(found[1], signal.SIGKILL)
    assert deaths.have_all_come(seconds=20)

    found, deaths = processes_once_it_trains(2)
    for rank in (0, 1):  # so that none of them can see for itself that its worker is gone
        os.kill(found[rank], signal.SIGSTOP)
    os.kill(int((attempt(2) / "pid").read_text()), signal.SIGKILL)
    assert deaths.have_all_come(seconds=20)

    output, _ = start.communicate(timeout=120)
    assert start.returncode == 0, output
    ends = [json.loads((attempt(number) / "done.json").read_text()) for number in (1, 2, 3)]
    assert [(end["state"], end["cause"]) for end in ends] == [("lost", "lost"), ("lost", "lost"), ("done", None)]
    assert "process 2 of 2 (cpu of " in ends[0]["reason"]
    assert "ended by signal SIGKILL" in ends[0]["reason"]

    alone = train(CONFIG, Worker(tmp_path / "alone", num_devices=2))
    (artefact,) = workspace.artifacts.glob("*/model.safetensors")
    found = load_file(artefact)
    assert all(torch.equal(tensor, found[name]) for name, tensor in weights(alone).items())


@pytest.fixture
def reserved():
    """A Ray on this machine, and a group of two bundles in it."""
    start_ray(address="local", slots=2)
    try:
        yield ray.util.placement_group([{"CPU": 1}, {"CPU": 1}])
    finally:
        stop_ray()


def _start_on_the_second(environment):
    with launched_on(1, environment) as has_ended:
        until(has_ended, seconds=30)


def test_a_machine_whose_launcher_cannot_be_started_is_lost_with_the_reason(reserved):
    within = PlacementGroupSchedulingStrategy(reserved, placement_group_bundle_index=0)
    attempt = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy=within)(_start_on_the_second).remote({"BROKEN": "\0"})
    with pytest.raises(ProcessLost, match=r"machine 2 started nothing: (?s:.*)embedded null byte"):
        ray.get(attempt, timeout=60)
