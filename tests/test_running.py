"""The guides of docs/running.md: each file they name does what they say, Slurm's own commands aside, which are stood in for."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.test_outlive import wait_until

ROOT = Path(__file__).parent.parent
CLUSTER = ROOT / "examples" / "cluster"
STUDY = """\
schema: 1
name: small
trainer: synthetic
base: {{steps: 20, step_seconds: {seconds}}}
axes: {{num_tokens: [16, 64]}}
seeds: 2
metric: {{name: loss, goal: min}}
"""
SRUN = """#!/bin/bash
# runs the command here instead of on a node
while [[ $1 == -* ]]; do [[ $1 == -w ]] && shift; shift; done
if [[ $1 == hostname ]]; then echo 127.0.0.1; else exec "$@"; fi
"""
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then printf 'first\\nsecond\\n'; else echo "$@" >> scontrol.log; fi
"""


def test_every_file_the_guide_names_is_there() -> None:
    named = re.findall(r"\(\.\./(examples/[^)]+)\)", (ROOT / "docs" / "running.md").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(f"examples/cluster/{path.name}" for path in CLUSTER.iterdir())


def slurm(folder: Path, *, seconds: float) -> "subprocess.Popen[str]":
    """The script in an allocation of two nodes, both of them this machine."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (bin_folder / name).write_text(text, encoding="utf-8")
        (bin_folder / name).chmod(0o700)
    (folder / "study.yaml").write_text(STUDY.format(seconds=seconds), encoding="utf-8")
    path = f"{bin_folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_PER_TASK": "1", "PATH": path}
    command = ["bash", str(CLUSTER / "slurm.sh"), "study.yaml"]
    return subprocess.Popen(
        command, cwd=folder, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def of_session(process: "subprocess.Popen[str]") -> list[str]:
    """Command lines of what the script started and that still runs."""
    found = []
    for other in psutil.process_iter(["cmdline", "status"]):
        try:
            mine = os.getsid(other.pid) == process.pid
        except ProcessLookupError:
            continue
        if mine and other.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(shlex.join(other.info["cmdline"] or [])[:200])
    return found


@pytest.mark.slow
def test_slurm_script_runs_a_study_on_two_nodes_and_takes_the_cluster_down(tmp_path: Path) -> None:
    process = slurm(tmp_path, seconds=0)
    said, _ = process.communicate(timeout=150)
    assert process.returncode == 0, said
    assert "small: 4 done of 4 trials" in said
    wait_until(lambda: not of_session(process), seconds=40)


@pytest.mark.slow
def test_slurm_script_ends_in_order_at_the_time_limit_and_asks_to_go_on(tmp_path: Path) -> None:
    process = slurm(tmp_path, seconds=2)
    runs = tmp_path / ".ablate" / "runs"
    wait_until(lambda: any(path.stat().st_size for path in runs.glob("*/attempt-1/metrics.jsonl")), seconds=90)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 130, said
    assert (tmp_path / "scontrol.log").read_text(encoding="utf-8") == f"requeue {os.getpid()}\n"
    status = [sys.executable, "-m", "ablate", "status", "small", "--json"]
    rows = json.loads(subprocess.run(status, cwd=tmp_path, capture_output=True, check=True).stdout)
    assert "running" not in {row["state"] for row in rows}
    wait_until(lambda: not of_session(process), seconds=40)


def rayjob() -> dict[str, Any]:
    _, job = yaml.safe_load_all((CLUSTER / "rayjob.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = job
    return found


def test_rayjob_mounts_one_workspace_and_study_in_every_pod() -> None:
    spec = rayjob()["spec"]["rayClusterSpec"]
    templates = [spec["headGroupSpec"]["template"], *(group["template"] for group in spec["workerGroupSpecs"])]
    mounts = [{mount["mountPath"]: mount["name"] for mount in template["spec"]["containers"][0]["volumeMounts"]} for template in templates]
    assert mounts == [{"/workspace": "workspace", "/study": "study"}] * len(templates)
    for template in templates:
        assert {volume["name"] for volume in template["spec"]["volumes"]} == {"workspace", "study"}
    (pinned,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert spec["rayVersion"] == pinned


def test_rayjob_entrypoint_is_a_command_that_ablate_takes(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.format(seconds=0), encoding="utf-8")
    words = shlex.split(rayjob()["spec"]["entrypoint"].replace("$RAY_ADDRESS", "10.0.0.1:6379"))
    assert words[0] == "ablate"
    words = [word.replace("/study/", f"{tmp_path}/").replace("/workspace", f"{tmp_path}/workspace") for word in words[1:]]
    found = subprocess.run([sys.executable, "-m", "ablate", *words, "--dry-run"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "4 trials = 2 arms (grid) × 2 seeds" in found.stdout
