"""One attempt's journal: what it leaves whatever happens, and what a reader may believe."""

import dataclasses
import json
import math
import platform
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pydantic
import pytest

from ablate.attempt import NOT_FINITE_IN_A_ROW, AttemptContext, Diverged, Origin, Outcome, execute, read_outcome
from ablate.durable import write_whole
from ablate.journal import Journal, Point, make_point, read_points
from ablate.planned import Job
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


WHOLE = {"job": "j", "attempt": 1, "state": "done", "metrics": [{"step": 1, "key": "loss", "value": 0.5, "kind": "finite"}]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "EOF"),
        (b"{", "EOF"),
        (b'{"job": "x"', "EOF"),
        (b"\x00\xff", "expected value"),
        (b"[" * 100_000, "recursion limit"),
        (b"{}", "job: Field required"),
        (b"[]", "an object"),
        (b"null", "an object"),
        (json.dumps({key: value for key, value in WHOLE.items() if key != "attempt"}), "attempt: Field required"),
        (json.dumps(WHOLE | {"state": "resting"}), "state: Input should be 'done'"),
        (json.dumps(WHOLE | {"cause": "weather"}), "cause: Input should be"),
        (json.dumps(WHOLE | {"metrics": [[1, "loss"]]}), "metrics.0: "),
        (json.dumps(WHOLE | {"metrics": {"loss": 0.5}}), "metrics: "),
        (json.dumps(WHOLE | {"details": [1]}), "details: "),
        (json.dumps(WHOLE | {"seconds": None}), "seconds: "),
    ],
)
def test_done_file_that_is_no_outcome_is_none_and_said(
    tmp_path: Path, content: bytes | str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "done.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_outcome(tmp_path) is None
    (record,) = caplog.records
    assert f"{tmp_path / 'done.json'} is no outcome, so the attempt counts as unfinished: " in record.getMessage()
    assert said in record.getMessage()


def test_done_file_of_a_newer_version_that_says_more_is_an_outcome(tmp_path: Path) -> None:
    (tmp_path / "done.json").write_text(json.dumps(WHOLE | {"weather": "fine"}))
    assert read_outcome(tmp_path) == Outcome(job="j", attempt=1, state="done", metrics=(make_point(1, "loss", 0.5),))


def test_outcome_survives_its_file(tmp_path: Path) -> None:
    outcome = Outcome(job="j", attempt=2, state="failed", cause="nan", reason="é\n", metrics=(make_point(1, "loss", math.nan),))
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


@pytest.mark.fault("F27")
def test_metric_that_stays_nan_ends_the_attempt_early(workspace: Workspace) -> None:
    job = job_with(fail="nan", steps=100)
    outcome = execute(job, workspace=workspace, number=1)
    assert (outcome.state, outcome.cause, outcome.reason) == ("failed", "nan", "'loss' ended as nan")
    points, _ = read_points(workspace.attempt(job.id, 1) / "metrics.jsonl")
    assert points[-1].step == 49 + NOT_FINITE_IN_A_ROW
    assert "3 times in a row" in (workspace.attempt(job.id, 1) / "log.txt").read_text()


@pytest.mark.fault("F27")
def test_metric_that_recovers_from_nan_is_as_good_as_any(workspace: Workspace, context: AttemptContext) -> None:
    for step, value in enumerate([math.nan, math.inf, 1.0, math.nan, math.nan, 2.0]):
        context.report(step, loss=value)
    assert context.journal.last["loss"] == Point(5, "loss", 2.0, "finite")


def test_metric_of_no_importance_may_be_nan_for_ever(context: AttemptContext) -> None:
    for step in range(10):
        context.report(step, accuracy=math.nan)
    for step in range(NOT_FINITE_IN_A_ROW - 1):
        context.report(step, **{"train/my_loss": math.nan})
    with pytest.raises(Diverged, match="'train/my_loss' was nan 3 times in a row, the last at step 2"):
        context.report(2, **{"train/my_loss": math.nan})


def test_phases_count_their_own_time(context: AttemptContext) -> None:
    pause = threading.Event()
    with context.phase("train"):
        for _ in range(2):
            with context.phase("eval"):
                pause.wait(0.05)
    assert context.seconds["eval"] >= 0.1
    assert context.seconds["train"] < 0.05


def test_outcome_tells_where_its_numbers_come_from(workspace: Workspace) -> None:
    job = job_with()
    outcome = execute(job, workspace=workspace, number=1, origin=Origin(submitted=time.time() - 5, argv=("ablate", "run")))
    details = outcome.details
    assert details["seconds"].keys() == {"queue", "start", "train"}
    assert details["seconds"]["queue"] >= 5
    assert sum(details["seconds"][phase] for phase in ("start", "train")) <= outcome.seconds
    assert details["argv"] == ["ablate", "run"]
    assert details["packages"]["pydantic"] == pydantic.VERSION
    assert details["python"] == platform.python_version()
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert details["git"].get("commit", "") == found.stdout.strip()


def test_attempt_that_was_told_why_to_stop_has_failed_for_that(workspace: Workspace) -> None:
    job = job_with()
    folder = workspace.attempt(job.id, 1)
    folder.mkdir(parents=True)
    (folder / "stop").write_text("longer than it may")
    outcome = execute(job, workspace=workspace, number=1)
    assert (outcome.state, outcome.cause, outcome.reason) == ("failed", "timeout", "longer than it may")


def test_attempt_clears_what_a_dead_one_left_half_written(workspace: Workspace) -> None:
    job = job_with()
    folder = workspace.runs / job.id
    folder.mkdir()
    (folder / "checkpoint-1.tmp-99").write_bytes(b"half")
    execute(job, workspace=workspace, number=1)
    assert [path.name for path in folder.iterdir()] == ["attempt-1"]


@pytest.fixture
def context(workspace: Workspace) -> Iterator[AttemptContext]:
    job = job_with()
    with Journal(workspace.folder / "metrics.jsonl", log=print) as journal:
        yield AttemptContext(job, artefact=workspace.artifacts, journal=journal, folder=workspace.runs, log=print)


def test_attempt_that_ended_leaves_four_small_files(workspace: Workspace) -> None:
    """Ten thousand trials are forty thousand files, no more: no process id of what runs no more, no empty log."""
    job = next(iter(make_small_plan().jobs.values()))
    execute(job, workspace=workspace, number=1)
    left = [path for place in (workspace.runs, workspace.artifacts) for path in place.rglob("*") if path.is_file()]
    assert {path.name for path in left} == {"job.json", "metrics.jsonl", "done.json", "SHA256SUMS"}
