"""What one attempt keeps for the next: never loaded unless it is what was kept (F06, F29)."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.checkpoints import forget_files, keep_checkpoint, kept_files, newest_checkpoint, read_checkpoint

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-1],
    "empty": lambda content: b"",
    "flipped": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "no header": lambda content: content.partition(b"\n")[2],
    "longer": lambda content: content + b"\0",
    "huge header": lambda content: b"[" * 1_000_000 + content,
    "header of another form": lambda content: b'["job"]\n' + content.partition(b"\n")[2],
}


def keep(folder: Path, *states: bytes, job: str = "job") -> None:
    for state in states:
        keep_checkpoint(folder, state, job=job)


def read(folder: Path, *, job: str = "job") -> tuple[bytes | None, list[str]]:
    refused: list[str] = []
    return read_checkpoint(folder, job=job, refused=refused.append), refused


def test_checkpoint_comes_back_and_the_last_two_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path) == (None, [])
    keep(tmp_path, b"one", b"two", b"three\nlines\n")
    assert read(tmp_path) == (b"three\nlines\n", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "checkpoint-3"]
    assert newest_checkpoint(tmp_path) == 3


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.fault("F29")
def test_checkpoint_that_is_damaged_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    keep(tmp_path, b"first state", b"second state")
    path = tmp_path / "checkpoint-2"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    state, refused = read(tmp_path)
    assert state == b"first state"
    assert len(refused) == 1
    assert "checkpoint-2" in refused[0]


@pytest.mark.fault("F29")
def test_checkpoints_that_are_all_damaged_start_the_job_anew(tmp_path: Path) -> None:
    keep(tmp_path, b"first", b"second")
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    state, refused = read(tmp_path)
    assert (state, len(refused)) == (None, 2)
    keep(tmp_path, b"third")
    assert read(tmp_path) == (b"third", [])


@pytest.mark.fault("F29")
def test_checkpoint_of_another_job_is_not_loaded(tmp_path: Path) -> None:
    keep(tmp_path, b"state", job="another")
    assert read(tmp_path) == (None, ["checkpoint-1 is not used: it is of another"])


def test_checkpoint_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "job", tmp_path / "elsewhere"
    for made in (folder, elsewhere):
        made.mkdir()
    keep(elsewhere, b"state")
    (folder / "checkpoint-1").symlink_to(elsewhere / "checkpoint-1")
    state, (refused,) = read(folder)
    assert state is None
    assert refused.startswith("checkpoint-1 cannot be read: ")


def test_files_of_a_program_count_as_progress_until_they_are_forgotten(tmp_path: Path) -> None:
    files = kept_files(tmp_path)
    assert newest_checkpoint(tmp_path) == 0
    times = []
    for text in ("one", "two"):
        os.utime(files, (0, 0))
        (files / "state.tmp").write_text(text)
        os.replace(files / "state.tmp", files / "state")
        times.append(newest_checkpoint(tmp_path))
    assert 0 < times[0] <= times[1]
    assert (kept_files(tmp_path) / "state").read_text() == "two"
    forget_files(tmp_path)
    assert list(tmp_path.iterdir()) == []
    forget_files(tmp_path)


@pytest.mark.fault("F06")
def test_process_killed_while_it_writes_a_checkpoint_leaves_the_one_before(tmp_path: Path) -> None:
    keep(tmp_path, b"before")
    program = (
        "import os, signal, sys; from pathlib import Path; from ablate.checkpoints import keep_checkpoint\n"
        "os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)\n"
        "keep_checkpoint(Path(sys.argv[1]), b'after', job='job')"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert any(".tmp-" in path.name for path in tmp_path.iterdir())
    assert read(tmp_path) == (b"before", [])


@pytest.mark.fault("F06")
def test_process_killed_at_random_moments_never_leaves_a_bad_checkpoint(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ablate.checkpoints import keep_checkpoint\n"
        "print('on', flush=True)\n"
        "for n in range(10**6): keep_checkpoint(Path(sys.argv[1]), (b'%d ' % n) * 5000, job='job')"
    )
    for seconds in (0.0, 0.02, 0.05):
        writer = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE)
        assert writer.stdout
        writer.stdout.readline()
        try:
            writer.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        state, refused = read(tmp_path)
        assert refused == []
        assert state is None or len(set(state.split())) == 1
