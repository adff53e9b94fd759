"""Logs end as text, whatever is in them, and come from the workspace alone."""

import os
from pathlib import Path

import pytest

from ablate.errors import InputError
from ablate.log_tail import MOST_BYTES, log_size, newest_log, read_log_tail
from ablate.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path / "work")
    found.create()
    return found


def write(workspace: Workspace, data: bytes, *, job: str = "train-1") -> Path:
    folder = workspace.attempt(job, 1)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_bytes(data)
    return folder / "log.txt"


def test_last_lines_are_read(workspace: Workspace) -> None:
    write(workspace, b"one\ntwo\r\nthree\n")
    assert read_log_tail(workspace, "train-1", 1) == ("one\ntwo\nthree", True)
    assert read_log_tail(workspace, "train-1", 1, lines=2) == ("two\nthree", False)
    assert log_size(workspace, "train-1", 1) == 15


def test_long_log_begins_with_a_whole_line(workspace: Workspace) -> None:
    write(workspace, b"".join(b"line %06d\n" % number for number in range(20_000)))
    tail = read_log_tail(workspace, "train-1", 1, lines=1_000_000)
    assert tail is not None
    assert not tail.whole
    assert len(tail.text) < MOST_BYTES
    assert tail.text.startswith("line ")
    assert tail.text.endswith("line 019999")


def test_codes_and_junk_become_text(workspace: Workspace) -> None:
    write(workspace, b"\x1b[31mred\x1b[0m\x00\xff 10%\r20%\t\xe2\x80\xae<b>\n")
    tail = read_log_tail(workspace, "train-1", 1)
    assert tail is not None
    assert tail.text == "\\x1b[31mred\\x1b[0m\\x00\ufffd 10%\n20%\t\\x202e<b>"


def test_attempt_without_a_log_wrote_nothing_and_one_that_is_elsewhere_is_none(workspace: Workspace) -> None:
    workspace.attempt("train-1", 1).mkdir(parents=True)
    assert read_log_tail(workspace, "train-1", 1) == ("", True)
    assert read_log_tail(workspace, "train-1", 2) is None
    assert log_size(workspace, "train-1", 2) == 0


def test_newest_log_is_that_of_the_last_job_that_wrote(workspace: Workspace) -> None:
    write(workspace, b"one\n", job="encoder-1")
    assert newest_log(workspace, ["encoder-1", "train-1"]) == ("encoder-1", 1)
    path = write(workspace, b"", job="train-1")
    assert newest_log(workspace, ["encoder-1", "train-1"]) == ("encoder-1", 1)
    path.write_bytes(b"two\n")
    assert newest_log(workspace, ["encoder-1", "train-1"]) == ("train-1", 1)
    assert newest_log(workspace, []) is None


@pytest.mark.parametrize("job", ["../../outside", "/outside", "train-1"])
def test_nothing_outside_the_workspace_is_read(workspace: Workspace, tmp_path: Path, job: str) -> None:
    secret = tmp_path / "outside" / "attempt-1" / "log.txt"
    secret.parent.mkdir(parents=True)
    secret.write_text("secret")
    if job == "train-1":  # a link that a trainer made
        path = write(workspace, b"")
        path.unlink()
        path.symlink_to(secret)
    with pytest.raises(InputError, match="outside the workspace"):
        read_log_tail(workspace, job.replace("/outside", str(secret.parent.parent)) if job[0] == "/" else job, 1)


def test_pipe_in_the_place_of_a_log_is_not_waited_for(workspace: Workspace) -> None:
    path = write(workspace, b"")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="is no file"):
        read_log_tail(workspace, "train-1", 1)
