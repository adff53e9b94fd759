"""What one attempt keeps for the next: never loaded unless it is what was kept (F06, F29)."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.checkpoints import keep_checkpoint, newest_checkpoint, read_checkpoint

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-1],
    "empty": lambda content: b"",
    "flipped": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "no header": lambda content: content.partition(b"\n")[2],
    "longer": lambda content: content + b"\0",
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
def test_checkpoint_that_is_damaged_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    keep(tmp_path, b"first state", b"second state")
    path = tmp_path / "checkpoint-2"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    state, refused = read(tmp_path)
    assert state == b"first state"
    assert len(refused) == 1
    assert "checkpoint-2" in refused[0]


def test_checkpoints_that_are_all_damaged_start_the_job_anew(tmp_path: Path) -> None:
    keep(tmp_path, b"first", b"second")
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    state, refused = read(tmp_path)
    assert (state, len(refused)) == (None, 2)
    keep(tmp_path, b"third")
    assert read(tmp_path) == (b"third", [])


def test_checkpoint_of_another_job_is_not_loaded(tmp_path: Path) -> None:
    keep(tmp_path, b"state", job="another")
    assert read(tmp_path) == (None, ["checkpoint-1 is not used: it is of another"])


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
