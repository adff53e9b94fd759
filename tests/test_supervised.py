"""Programs under the warden: what they say is read, what they want does not matter, and nothing of them is left."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ablate.rows import Rows
from ablate.supervised import MAX_LINE_BYTES, MAX_LOG_BYTES, Ended, Lines, Supervised

IGNORES_TERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
FAMILY = """
import os, subprocess, sys, time
from pathlib import Path
SLEEP = "import time; time.sleep(600)"
pids = [os.getpid(), subprocess.Popen([sys.executable, "-c", SLEEP]).pid]
pids.append(subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True).pid)
Path("pids.tmp").write_text(" ".join(map(str, pids)))
os.rename("pids.tmp", "pids")
"""
"""A program with a child in its own group and one in a session of its own; their process ids lie in `pids`."""


def until(holds: Callable[[], bool], *, seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.01)


def alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    return False


def pids_in(folder: Path) -> list[int]:
    return [int(word) for word in (folder / "pids").read_text().split()]


class Followed:
    """A program run to its end."""

    def __init__(self, code: str, folder: Path, *, grace: float = 5, stop: Callable[[], bool] = lambda: False, report: str = "") -> None:
        self.points: list[tuple[int, dict[str, float]]] = []
        self.refused: list[tuple[str, str]] = []
        rows = Rows(lambda step, **metrics: self.points.append((step, metrics)), lambda *refused: self.refused.append(refused))
        program = Supervised([sys.executable, "-c", code], folder=folder, env=dict(os.environ), grace_seconds=grace)
        self.ended: Ended = program.follow(rows, report=folder / report if report else None, should_stop=stop)


def test_rows_are_taken_and_other_lines_go_to_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('hello'); print('{\"step\": 1, \"loss\": 2}'); print('{broken'); print('bad', file=sys.stderr)"
    found = Followed(code, tmp_path)
    assert (found.ended.code, found.points) == (0, [(1, {"loss": 2.0})])
    assert sorted(capsys.readouterr().out.split()) == ["bad", "hello"]
    assert found.refused == [("not a line of JSON", "{broken")]


def test_row_on_standard_error_is_none(tmp_path: Path) -> None:
    assert Followed('import sys; print(\'{"step": 1, "loss": 2}\', file=sys.stderr)', tmp_path).points == []


def test_rows_in_a_file_are_taken_and_standard_output_is_log(tmp_path: Path) -> None:
    code = """
with open("rows", "w") as file:
    file.write('{"step": 1, "loss": 2}\\nno row\\n{"step": 2, "loss": 3}\\n{"step": 3, "lo')
print('{"step": 9, "loss": 9}')
"""
    found = Followed(code, tmp_path, report="rows")
    assert found.points == [(1, {"loss": 2.0}), (2, {"loss": 3.0})]
    assert found.refused == [("not a line of JSON", "no row"), ("not a line of JSON", '{"step": 3, "lo')]


def test_row_arrives_while_the_program_runs(tmp_path: Path) -> None:
    """It is read before its end: the program waits for the file that its row makes us write."""
    code = """
import pathlib, time
print('{"step": 1, "loss": 2}', flush=True)
while not pathlib.Path("seen").exists():
    time.sleep(0.01)
"""
    seen = Rows(lambda step, **metrics: (tmp_path / "seen").touch(), print)
    program = Supervised([sys.executable, "-c", code], folder=tmp_path, env=dict(os.environ), grace_seconds=0)
    assert program.follow(seen, report=None, should_stop=lambda: False).code == 0


def test_last_line_without_an_end_counts_where_it_is_whole(tmp_path: Path) -> None:
    assert Followed("print('{\"step\": 1, \"loss\": 2}', end='')", tmp_path).points == [(1, {"loss": 2.0})]


def test_line_of_ten_megabytes_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    found = Followed("print('{' + 'x' * 10_000_000); print('{\"step\": 1, \"loss\": 2}')", tmp_path)
    assert found.points == [(1, {"loss": 2.0})]
    assert [why for why, _ in found.refused] == [f"line longer than {MAX_LINE_BYTES:,} bytes"]


def test_line_without_an_end_takes_no_more_memory_than_a_line_may_have() -> None:
    lines = Lines()
    assert [line for _ in range(100) for line in lines.feed(b"x" * MAX_LINE_BYTES)] == []
    assert len(lines.rest) == MAX_LINE_BYTES
    assert lines.feed(b"\nshort\n") == [(b"x" * MAX_LINE_BYTES, False), (b"short", True)]


@pytest.mark.fault("F35")
def test_flood_of_output_is_cut_with_a_notice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Followed("for _ in range(30_000): print('x' * 999)\nprint('last words')", tmp_path)
    log = capsys.readouterr().out
    assert MAX_LOG_BYTES * 0.99 < len(log) < MAX_LOG_BYTES * 1.01
    assert log.endswith("the rest is left out\n")
    assert found.ended.tail[-1] == "last words"


@pytest.mark.parametrize(
    ("code", "ended"),
    [("import sys; sys.exit(3)", 3), ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV), ("pass", 0)],
)
def test_program_ends_as_itself(code: str, ended: int, tmp_path: Path) -> None:
    assert Followed(code, tmp_path).ended.code == ended


def test_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    program = Supervised(["./nothing", "x"], folder=tmp_path, env=dict(os.environ), grace_seconds=0)
    ended = program.follow(Rows(print, print), report=None, should_stop=lambda: False)
    assert ended == (127, ["cannot start './nothing': No such file or directory"])


def test_program_that_is_asked_to_stop_may_finish_its_work(tmp_path: Path) -> None:
    code = """
import signal, sys, time, pathlib
def end(*_):
    print('{"step": 2, "loss": 1}')
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path("ready").touch()
time.sleep(600)
"""
    found = Followed(code, tmp_path, stop=(tmp_path / "ready").exists)
    assert (found.ended.code, found.points) == (0, [(2, {"loss": 1.0})])


def test_program_that_ignores_the_request_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    started = time.monotonic()
    code = f"{IGNORES_TERM}; import pathlib; pathlib.Path('ready').touch(); time.sleep(600)"
    found = Followed(code, tmp_path, grace=0.3, stop=(tmp_path / "ready").exists)
    assert found.ended.code == -signal.SIGKILL
    assert 0.3 < time.monotonic() - started < 10


def test_nothing_that_the_program_started_outlives_it(tmp_path: Path) -> None:
    """A child in the group and one in a session of its own, both with our pipes open: reading ends, and they do."""
    found = Followed(FAMILY, tmp_path)
    assert found.ended.code == 0
    assert [process for process in pids_in(tmp_path) if alive(process)] == []


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that follows a program with a family, as a worker does."""
    code = f"""
import os
from pathlib import Path
from ablate.rows import Rows
from ablate.supervised import Supervised
import sys
argv = [sys.executable, "-c", {FAMILY + "time.sleep(600)"!r}]
program = Supervised(argv, folder=Path({str(tmp_path)!r}), env=dict(os.environ), grace_seconds=60)
program.follow(Rows(print, print), report=None, should_stop=lambda: False)
"""
    started = subprocess.Popen([sys.executable, "-c", code])
    yield started
    started.kill()
    started.wait()


@pytest.mark.fault("F07")
def test_nothing_outlives_a_worker_that_is_killed(worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    until((tmp_path / "pids").exists)
    worker.send_signal(signal.SIGKILL)
    until(lambda: not any(alive(process) for process in pids_in(tmp_path)), seconds=5)


def test_program_dies_with_its_warden(worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    until((tmp_path / "pids").exists)
    leader = pids_in(tmp_path)[0]
    warden = int(Path(f"/proc/{leader}/stat").read_bytes().rpartition(b")")[2].split()[1])
    os.kill(warden, signal.SIGKILL)
    until(lambda: not alive(leader), seconds=5)
    for process in pids_in(tmp_path)[1:]:  # nobody is left to end what it had started elsewhere
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def test_exception_while_following_leaves_nothing(tmp_path: Path) -> None:
    """For instance a signal's handler that raises in the worker."""

    def raise_once_ready() -> bool:
        if (tmp_path / "pids").exists():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        Followed(FAMILY + "time.sleep(600)", tmp_path, grace=60, stop=raise_once_ready)
    until(lambda: not any(alive(process) for process in pids_in(tmp_path)), seconds=5)
