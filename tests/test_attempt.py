"""One attempt's journal: what it leaves whatever happens, and what a reader may believe."""

import json
import math
from pathlib import Path

import pytest

from ablate.attempt import Outcome, Point, execute, make_point, read_outcome, read_points, write_whole
from ablate.planner import Job
from ablate.workspace import Workspace
from tests.conftest import make_small_plan


def job_with(**fields: object) -> Job:
    """The second arm's job of a one-seed plan."""
    return list(make_small_plan(seeds=1, **fields).jobs.values())[1]


def test_finished_attempt_leaves_journal_and_artefact(workspace: Workspace) -> None:
    job = job_with(steps=4)
    outcome = execute(job, workspace=workspace, number=1)
    assert outcome.state == "done"
    points, _ = read_points(workspace.attempt(job.id, 1) / "metrics.jsonl")
    assert [point.step for point in points if point.key == "loss"] == [1, 2, 3, 4]
    assert read_outcome(workspace.attempt(job.id, 1)) == outcome
    assert [path.name for path in workspace.artifacts.iterdir()] == [job.id]
    assert json.loads((workspace.attempt(job.id, 1) / "job.json").read_text())["job"] == job.id


def test_failed_attempt_leaves_its_log_and_no_artefact(workspace: Workspace) -> None:
    job = job_with(fail="raise")
    outcome = execute(job, workspace=workspace, number=1)
    assert (outcome.state, outcome.cause) == ("failed", "user")
    assert "told to raise" in (workspace.attempt(job.id, 1) / "log.txt").read_text()
    assert list(workspace.artifacts.iterdir()) == []


def test_stopped_attempt_is_lost_not_failed(workspace: Workspace) -> None:
    job = job_with()
    folder = workspace.attempt(job.id, 1)
    folder.mkdir(parents=True)
    (folder / "stop").touch()
    outcome = execute(job, workspace=workspace, number=1)
    assert (outcome.state, outcome.cause) == ("lost", "interrupted")


def test_same_job_twice_gives_the_same_numbers(workspace: Workspace) -> None:
    job = job_with()
    first, second = (execute(job, workspace=workspace, number=number) for number in (1, 2))
    assert first.metrics == second.metrics


@pytest.mark.parametrize("content", [b"", b"{", b'{"job": "x"', b"\x00\xff"])
def test_done_file_that_is_not_whole_is_no_outcome(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "done.json").write_bytes(content)
    assert read_outcome(tmp_path) is None


def test_outcome_survives_its_file(tmp_path: Path) -> None:
    outcome = Outcome(job="j", attempt=2, state="failed", cause="nan", reason="é\n", metrics=(make_point(1, "loss", math.nan),))
    import dataclasses

    write_whole(tmp_path / "done.json", json.dumps(dataclasses.asdict(outcome)).encode())
    assert read_outcome(tmp_path) == outcome
    assert [path.name for path in tmp_path.iterdir()] == ["done.json"]


def test_points_are_read_in_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'[1, "loss", 2.0, "finite"]\n[2, "lo')
    points, offset = read_points(path)
    assert points == [Point(1, "loss", 2.0, "finite")]
    with open(path, "ab") as stream:
        stream.write(b'ss", null, "nan"]\n')
    assert read_points(path, offset=offset) == ([Point(2, "loss", None, "nan")], path.stat().st_size)


def test_points_of_a_journal_that_is_not_there_are_none(tmp_path: Path) -> None:
    assert read_points(tmp_path / "metrics.jsonl", offset=3) == ([], 3)
