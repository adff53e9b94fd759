"""What an attempt says of where its numbers come from: the code that trained, with what was not committed, and the device."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablate import provenance
from ablate.attempt import Origin, Outcome, execute
from ablate.design import make_arms
from ablate.planned import Job
from ablate.planner import make_plan
from ablate.study import Resources
from ablate.workspace import Workspace
from tests.conftest import make_small_plan
from tests.own import REPORTS, load_own


@pytest.fixture(autouse=True)
def _first_look() -> Iterator[None]:
    """As in a process that has seen no repository yet."""
    provenance._seen.cache_clear()
    yield
    provenance._seen.cache_clear()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of somebody's with a committed `train.py`."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text(REPORTS)
    who = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message=one"]):
        subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True)
    return folder


def job_in(project: Path, **keys: Any) -> Job:
    study = load_own(project, **keys)
    job, *_ = make_plan(study, make_arms(study)).jobs.values()
    return job


def git_of(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = outcome.details["git"]
    return found


def head(folder: Path) -> str:
    return subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def test_program_as_committed_is_known_by_its_commit(project: Path, workspace: Workspace) -> None:
    job = job_in(project)
    outcome = execute(job, workspace=workspace, number=1)
    assert git_of(outcome) == {"commit": head(project), "untracked": [], "dirty": False}
    assert not list(workspace.diffs.iterdir())


def test_uncommitted_changes_lie_in_the_workspace_without_secrets(project: Path, workspace: Workspace) -> None:
    job = job_in(project, script=REPORTS + "API_TOKEN = 'canary'\nmargin = 3\n")
    outcome = execute(job, workspace=workspace, number=1)
    diff = workspace.diff(git_of(outcome)["diff_sha256"]).read_text()
    assert "+margin = 3" in diff
    assert git_of(outcome)["dirty"] is True
    assert git_of(outcome)["diff_sha256"] == hashlib.sha256(diff.encode()).hexdigest()
    assert not [path for path in workspace.folder.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]


def test_failed_attempt_has_its_code_too(project: Path, workspace: Workspace) -> None:
    job = job_in(project, script="raise SystemExit(3)")
    outcome = execute(job, workspace=workspace, number=1)
    assert (outcome.state, git_of(outcome)["dirty"]) == ("failed", True)
    assert "+raise SystemExit(3)" in workspace.diff(git_of(outcome)["diff_sha256"]).read_text()


def test_source_that_git_does_not_know_is_named(project: Path, workspace: Workspace) -> None:
    (project / "data.py").touch()
    outcome = execute(job_in(project, sources=["data.py"]), workspace=workspace, number=1)
    assert (git_of(outcome)["untracked"], git_of(outcome)["dirty"]) == (["data.py"], True)


def test_trainer_in_no_repository_has_none(tmp_path: Path, workspace: Workspace) -> None:
    assert git_of(execute(job_in(tmp_path), workspace=workspace, number=1)) == {}


def test_trainer_installed_in_a_folder_of_a_repository_is_no_part_of_it(
    project: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a virtual environment inside somebody's project."""
    from ablate import synthetic

    (project / "synthetic.py").touch()
    monkeypatch.setattr(synthetic, "__file__", str(project / "synthetic.py"))
    job, *_ = make_small_plan(seeds=1).jobs.values()
    assert git_of(execute(job, workspace=workspace, number=1)) == {}


def test_repository_is_looked_at_once_for_many_attempts(
    project: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted by a git that notes its calls and then is the real one."""
    programs, calls = tmp_path / "programs", tmp_path / "calls"
    programs.mkdir()
    (programs / "git").write_text(f'#!/bin/sh\necho "$*" >> {calls}\nPATH=/usr/bin:/bin:/usr/local/bin exec git "$@"\n')
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(provenance, "LOOK_SECONDS", 3600)
    job = job_in(project, script=REPORTS + "x = 1\n")
    outcomes = [execute(job, workspace=workspace, number=number) for number in (1, 2, 3)]
    assert len(calls.read_text().splitlines()) == 3  # commit, files and diff, and no more of them later
    assert len({git_of(outcome)["diff_sha256"] for outcome in outcomes}) == 1
    assert len(list(workspace.diffs.iterdir())) == 1


def test_device_is_the_processor_where_no_gpu_is_asked_for(workspace: Workspace) -> None:
    job, *_ = make_small_plan(seeds=1).jobs.values()
    (device,) = execute(job, workspace=workspace, number=1).details["devices"]
    name = device.removeprefix("CPU: ")
    assert name in (Path("/proc/cpuinfo").read_text() + subprocess.run(["uname", "-mp"], capture_output=True, text=True, check=True).stdout)
    assert len(name) > 2


def test_device_of_a_job_with_gpus_is_what_the_driver_shows(workspace: Workspace, tmp_path: Path) -> None:
    """On a machine without one there is no name to show, and the processor is not given for it."""
    job, *_ = make_small_plan(seeds=1).jobs.values()
    found = execute(replace(job, resources=Resources(gpus=1)), workspace=workspace, number=1).details["devices"]
    there = Path("/proc/driver/nvidia/gpus").is_dir()
    assert bool(found) is there
    assert not [name for name in found if name.startswith("CPU")]
    (tmp_path / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 16\n")
    assert provenance._field(tmp_path / "information", "Model") == "NVIDIA H100 80GB HBM3"


def test_password_in_the_command_that_asked_is_not_kept(workspace: Workspace) -> None:
    job, *_ = make_small_plan(seeds=1).jobs.values()
    origin = Origin(argv=("ablate", "run", "--store", "postgresql://me:canary@host/x"))
    outcome = execute(job, workspace=workspace, number=1, origin=origin)
    assert outcome.details["argv"] == ["ablate", "run", "--store", "postgresql://[redacted]@host/x"]
    assert "canary" not in json.dumps(outcome.details)


def test_an_attempt_can_be_told_in_full(project: Path, workspace: Workspace) -> None:
    """Everything that a person needs to run it again, in its folder."""
    job = job_in(project)
    outcome = execute(job, workspace=workspace, number=1, origin=Origin(submitted=0.0, argv=("ablate",)))
    kept = {"python", "packages", "git", "host", "platform", "devices", "cores", "argv", "seconds", "refused_rows"}
    assert outcome.details.keys() == kept
    assert outcome.details["seconds"].keys() == {"queue", "start", "train"}
    described = json.loads((workspace.attempt(job.id, 1) / "job.json").read_text())
    assert (described["config"]["config"], described["seed"]) == ({"lr": 0.1}, 0)
