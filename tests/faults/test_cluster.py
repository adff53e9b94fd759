"""A cluster of somebody else's: joined as a client, with nodes that come when they are needed, and with a token."""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from ablate.schedule.ray_tasks import PENDING_VARIABLE
from tests.faults.conftest import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

EMPTY = ("file_mounts", "head_node")
NOTHING = (
    "cluster_synced_files rsync_exclude rsync_filter initialization_commands setup_commands head_setup_commands worker_setup_commands "
    "head_start_ray_commands worker_start_ray_commands"
)
SCALING = {
    "cluster_name": "fake",
    "max_workers": 2,
    "provider": {"type": "fake_multinode"},
    "auth": {"ssh_user": "nobody"},
    "head_node_type": "ray.head.default",
    "idle_timeout_minutes": 5,
    "upscaling_speed": 1,
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
        "large": {"resources": {"CPU": 4}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    },
    "file_mounts_sync_continuously": False,
    **{key: {} for key in EMPTY},
    **{key: [] for key in NOTHING.split()},
}
"""What `ray up` would make of a cluster whose nodes are processes on this machine: Ray's own provider for its tests."""


PATIENT = {"RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120"}
"""A client has a server process of its own, which a busy machine starts in more than the 30 s that Ray gives it."""


class Head(NamedTuple):
    address: str
    client: str
    token: str


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """One core, and an autoscaler that can add a node of four."""
    port, client_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        config = Path(folder) / "scaling.json"
        config.write_text(json.dumps(SCALING))
        made = Head(f"127.0.0.1:{port}", f"ray://127.0.0.1:{client_port}", secrets.token_hex(16))
        arguments = ["--port", str(port), "--ray-client-server-port", str(client_port), "--num-cpus", "1", "--temp-dir", folder]
        with open(Path(folder) / "output", "w") as output:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("ray"), "start", "--head", "--block", *arguments, f"--autoscaling-config={config}"],
                env=token_in(made.token) | {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"} | PATIENT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            until(lambda: listens(client_port), seconds=60)
            yield made
        finally:
            end_with_all_below(process)


def end_with_all_below(process: subprocess.Popen[bytes]) -> None:
    """`ray start --block` ends what it started; what that had started is ended here, by its ids."""
    below = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    process.wait(30)
    for left in psutil.wait_procs(below, timeout=5)[1]:
        left.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def token_in(token: str) -> dict[str, str]:
    return os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


def ablate_run(here: Path, *, address: str, environment: dict[str, str], cpus: int = 1) -> subprocess.CompletedProcess[str]:
    study = {"schema": 1, "name": "small", "trainer": "synthetic", "axes": {"num_tokens": [16, 64]}, "seeds": 1}
    (here / "study.yaml").write_text(json.dumps(study | {"metric": {"name": "loss", "goal": "min"}, "resources": {"cpus": cpus}}))
    arguments = ["study.yaml", "--workspace", str(here / "work"), "--address", address]
    command = [sys.executable, "-m", "ablate", "run", *arguments]
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=200)


def test_study_runs_through_a_client_of_the_cluster(head: Head, tmp_path: Path) -> None:
    ran = ablate_run(tmp_path, address=head.client, environment=token_in(head.token))
    if "Starting Ray client server failed" in ran.stderr:  # the port Ray chose for it was another Ray's by then: its own race
        ran = ablate_run(tmp_path, address=head.client, environment=token_in(head.token))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    ends = [json.loads(path.read_text()) for path in (tmp_path / "work" / "runs").glob("*/attempt-1/done.json")]
    assert [end["state"] for end in ends] == ["done"] * 2


def test_job_that_the_autoscaler_can_make_no_node_for_is_waited_for_and_then_named(head: Head, tmp_path: Path) -> None:
    environment = token_in(head.token) | {PENDING_VARIABLE: "3"}
    ran = ablate_run(tmp_path, address=head.address, environment=environment, cpus=64)
    assert ran.returncode == 3, ran.stdout + ran.stderr
    said = " ".join((ran.stdout + ran.stderr).split())
    assert "waited 3 s: no node can hold a job of 64 CPUs and 0 GPUs" in said
    assert "the cluster's autoscaler has not made a node for it yet" in said


def test_client_without_the_token_is_told_which_variables_to_set(head: Head, tmp_path: Path) -> None:
    ran = ablate_run(tmp_path, address=head.address, environment=token_in(secrets.token_hex(16)))
    assert ran.returncode == 3, ran.stdout + ran.stderr
    said = " ".join((ran.stdout + ran.stderr).split())
    assert "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what the cluster was started with" in said
