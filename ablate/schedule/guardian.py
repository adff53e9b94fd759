"""The guardian of one worker process: a program of its own that ends attempts which hang and whatever a dead worker leaves behind.

Nothing inside a process can be trusted to end it: a trainer may hold the interpreter's lock, ignore signals or be stopped. So each
worker starts this program once (standard library only, 20 ms) and tells it over a socket when an attempt begins and ends:

    {"begin": {...}} with the reading end of the attempt's output    an attempt is watched from here on; see `Attempt`
    {"end": true}                                                    it is over; answered with one byte once its log is complete

It copies the attempt's output to log.txt, keeping head and tail; ends the worker where a limit is over; and when the worker has died,
however it did, kills every process it had started and writes the outcome of the attempt it died in.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

MARKER = "ABLATE_WORKER"
"""Environment variable that a worker's children inherit, in whatever session or process group they are."""
TICK_SECONDS = 0.25
SCAN_SECONDS = 1.0
"""How often children without the marker (forked, never executed) are looked for."""
HEAD_BYTES = TAIL_BYTES = 1_000_000
"""What is kept of a long log."""
CLEAN_UP_SECONDS = 10.0
MEMORY_AT_ITS_END = 0.05
"""Share of the machine's memory that is free when a process killed without a word was killed for want of it."""
MEMORY_AT_PEAK = 0.9
"""The same by the memory the job asked for: the share of it in use."""


class Log:
    """log.txt of one attempt: the first and the last megabyte of what comes out of a pipe, and a line between that says so."""

    def __init__(self, path: Path, pipe: int) -> None:
        self.pipe = pipe
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._head = os.lseek(self._file, 0, os.SEEK_END)
        self._tail = bytearray()
        self._dropped = 0
        self._changed = False
        os.set_blocking(pipe, False)

    def pump(self) -> bool:
        """Takes what is in the pipe now; False where that was nothing."""
        try:
            chunk = os.read(self.pipe, 1 << 20)
        except BlockingIOError:
            return False
        room = max(0, HEAD_BYTES - self._head)
        if room and chunk:
            # a disk that is full must not hold up the worker, which may be waiting in the pipe
            with contextlib.suppress(OSError):
                self._head += os.pwrite(self._file, chunk[:room], self._head)
        self._tail += chunk[room:]
        self._changed = self._changed or len(chunk) > room
        if len(self._tail) > 2 * TAIL_BYTES:
            self._trim()
        return bool(chunk)

    def show_tail(self) -> None:
        """Brings the file up to date where there is more than its head."""
        if not self._changed:
            return
        self._changed = False
        self._trim()
        notice = f"\n... {self._dropped} bytes left out ...\n".encode() if self._dropped else b""
        with contextlib.suppress(OSError):
            os.pwrite(self._file, notice + self._tail, self._head)
            os.ftruncate(self._file, self._head + len(notice) + len(self._tail))

    def close(self) -> None:
        while self.pump():
            pass
        self.show_tail()
        os.close(self.pipe)
        os.close(self._file)
        if not (self._head or self._tail):
            self._path.unlink(missing_ok=True)

    def _trim(self) -> None:
        excess = max(0, len(self._tail) - TAIL_BYTES)
        self._dropped += excess
        del self._tail[:excess]


class Attempt:
    """What the guardian was told of the attempt that runs, and how it stands against its limits."""

    def __init__(self, said: dict[str, Any], log: Log) -> None:
        self.log = log
        self.folder = Path(said["folder"])
        self._outcome: dict[str, Any] = said["outcome"]
        """An `ablate.attempt.Outcome` as JSON, to be completed."""
        self._seconds: float | None = said["seconds"]
        self._stall_seconds: float | None = said["stall_seconds"]
        self._grace_seconds: float = said["grace_seconds"]
        self._began = self._moved = time.monotonic()
        self._signs: object = None
        self._asked: float | None = None
        self.reason = ""
        self.peak_bytes = 0
        """Main memory of its processes, the largest seen."""

    def is_overdue(self) -> bool:
        """Looks at the limits: the first time one is over the attempt is asked to stop, and after the grace it is overdue."""
        now = time.monotonic()
        if self._asked is not None:
            return now > self._asked + self._grace_seconds
        if (signs := self._signs_of_life()) != self._signs:
            self._signs, self._moved = signs, now
        if self._seconds is not None and now > self._began + self._seconds:
            self.reason = f"longer than resources.minutes: {self._seconds / 60:g} allows"
        elif self._stall_seconds is not None and now > self._moved + self._stall_seconds:
            self.reason = f"no report for longer than resources.stall_minutes: {self._stall_seconds / 60:g} allows"
        if self.reason:
            self._asked = now
            with contextlib.suppress(OSError):
                _write_whole(self.folder / "stop", self.reason.encode())
        return False

    def has_ended(self) -> bool:
        return (self.folder / "done.json").exists()

    def end(self, *, state: str, cause: str, reason: str) -> None:
        """Writes the outcome that the worker could not."""
        ended = {
            "state": state,
            "cause": cause,
            "reason": reason,
            "seconds": time.monotonic() - self._began,
            "metrics": self._last_points(),
            "details": {"peak_bytes": self.peak_bytes},
        }
        with contextlib.suppress(OSError):
            _write_whole(self.folder / "done.json", json.dumps(self._outcome | ended, allow_nan=False).encode())

    def _signs_of_life(self) -> object:
        """Whatever a report or a checkpoint changes."""
        journal = self.folder / "metrics.jsonl"
        checkpoints = sorted(path.name for path in self.folder.parent.glob("checkpoint-*"))
        return journal.stat().st_size if journal.exists() else None, checkpoints

    def _last_points(self) -> list[dict[str, Any]]:
        last: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError), open(self.folder / "metrics.jsonl", "rb") as stream:
            for line in stream:
                step, key, value, kind = json.loads(line)  # the last line may be half a one: it ends the loop
                last[key] = {"step": step, "key": key, "value": value, "kind": kind}
        return [point for _, point in sorted(last.items())]


class Guardian:
    """The loop over the worker's words, its output, its limits and its death."""

    def __init__(self, control: socket.socket, worker: int, *, marker: str) -> None:
        self._control, self._worker, self._marker = control, worker, marker
        self._death: int | None = None
        """Readable once the worker is dead; None where it was dead before this program began."""
        with contextlib.suppress(ProcessLookupError):
            self._death = os.pidfd_open(worker)
        self._attempt: Attempt | None = None
        self._children: set[tuple[int, str]] = set()
        """Seen so far, as (pid, start time): a number alone may come again."""
        self._scanned = self._measured = 0.0
        self._used = 0
        self._kills, self._short_of_memory = 0, ""
        self._memory_bytes: float | None = None

    def run(self) -> None:
        control = self._control.fileno()
        while self._death is not None:
            attempt = self._attempt
            sources = [self._death, control, *([attempt.log.pipe] if attempt else [])]
            ready = select.select(sources, [], [], TICK_SECONDS if attempt else None)[0]
            if attempt and attempt.log.pipe in ready:
                attempt.log.pump()
            # the worker's last words before its death: it may have begun an attempt or ended one
            if control in ready and not self._listen():
                break
            if self._death in ready and control not in ready:
                break
            if self._attempt:
                self._look(self._attempt)
        while self._death is None and self._listen():
            pass
        self._bury()

    def _listen(self) -> bool:
        """Takes one message of the worker; False where it has closed its end."""
        try:
            text, pipes, _, _ = socket.recv_fds(self._control, 1 << 16, 1)
        except OSError:
            return False
        if not text:
            return False
        said = json.loads(text)
        if "begin" in said:
            self._memory_bytes = said["begin"]["memory_bytes"]
            self._kills, self._short_of_memory = _kernel_kills(), ""
            self._attempt = Attempt(said["begin"], Log(Path(said["begin"]["folder"]) / "log.txt", pipes[0]))
        elif self._attempt:
            self._attempt.log.close()
            self._attempt = None
            with contextlib.suppress(OSError):  # it may be dead by now
                self._control.send(b".")
        return True

    def _look(self, attempt: Attempt) -> None:
        now = time.monotonic()
        if now > self._measured + TICK_SECONDS:
            self._measured = now
            self._used = _resident_bytes([self._worker, *(pid for pid, _ in self._children)])
            attempt.peak_bytes = max(attempt.peak_bytes, self._used)
        if now > self._scanned + SCAN_SECONDS:
            self._scanned = now
            self._children |= _descendants(self._worker)
            attempt.log.show_tail()
            self._short_of_memory = self._memory_trouble()
        if attempt.is_overdue():
            # stopped first, so that it cannot end by itself between the look and the kill
            self._signal_worker(signal.SIGSTOP)
            if attempt.has_ended():
                self._signal_worker(signal.SIGCONT)
            else:
                attempt.end(state="failed", cause="timeout", reason=attempt.reason)
                self._signal_worker(signal.SIGKILL)

    def _signal_worker(self, number: int) -> None:
        if self._death is not None:  # by its descriptor, which no later process of the same number can take over
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._death, number)

    def _bury(self) -> None:
        """Ends what the dead worker left, then says how its attempt ended: who reads that finds the machine clean."""
        self._signal_worker(signal.SIGKILL)  # it may only have closed its end
        if self._death is not None:
            select.select([self._death], [], [], CLEAN_UP_SECONDS)
        deadline = time.monotonic() + CLEAN_UP_SECONDS
        while (left := self._left()) and time.monotonic() < deadline:
            for pid, _ in left:
                _send(pid, signal.SIGKILL)
            time.sleep(0.01)
        if self._attempt is None:
            return
        self._attempt.log.close()
        if self._attempt.has_ended():
            return
        if why := self._short_of_memory or ("the kernel ended it for want of memory" if _kernel_kills() > self._kills else ""):
            self._attempt.end(state="failed", cause="oom", reason=f"out of memory: {why}")
        else:
            self._attempt.end(state="lost", cause="lost", reason="its worker process died")

    def _left(self) -> set[tuple[int, str]]:
        """Processes of the dead worker that are still there, and theirs."""
        marked = {(pid, started) for pid, _, started in _processes() if _has_marker(pid, self._marker)}
        remembered = {(pid, started) for pid, _, started in _processes() if (pid, started) in self._children}
        found = marked | remembered
        for pid, _ in list(found):
            found |= _descendants(pid)
        self._children |= found
        return {(pid, started) for pid, started in found if pid != os.getpid()}

    def _memory_trouble(self) -> str:
        if self._memory_bytes and self._used > MEMORY_AT_PEAK * self._memory_bytes:
            return f"it died using {self._used / 2**30:.3g} GiB of the {self._memory_bytes / 2**30:.3g} it asked for"
        free, total = _memory()
        if total and free < MEMORY_AT_ITS_END * total:
            return f"it died when the machine had {free / 2**30:.3g} GiB of {total / 2**30:.3g} left"
        return ""


def _processes() -> list[tuple[int, int, str]]:
    """(pid, parent, start time) of every living process."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and (text := _read(f"/proc/{name}/stat")):
            # after the name in brackets, which may hold anything: state, parent, ..., start time as the 22nd field of all
            fields = text.rpartition(")")[2].split()
            if fields[0] not in "ZX":
                found.append((int(name), int(fields[1]), fields[19]))
    return found


def _descendants(ancestor: int) -> set[tuple[int, str]]:
    """Children of a process and theirs, without guardians: (pid, start time)."""
    processes = _processes()
    found: set[tuple[int, str]] = set()
    parents = {ancestor}
    while parents:
        children = {(pid, started) for pid, parent, started in processes if parent in parents} - found
        children = {(pid, started) for pid, started in children if pid != os.getpid()}
        found |= children
        parents = {pid for pid, _ in children}
    return found


def _has_marker(pid: int, marker: str) -> bool:
    return f"\0{MARKER}={marker}\0" in f"\0{_read(f'/proc/{pid}/environ')}\0"


def _resident_bytes(pids: list[int]) -> int:
    sizes = [_read(f"/proc/{pid}/statm").split() for pid in pids]
    return sum(int(fields[1]) * os.sysconf("SC_PAGE_SIZE") for fields in sizes if fields)


def _memory() -> tuple[int, int]:
    """Bytes of the machine's memory that are available, and all of them."""
    lines = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines() if ":" in line)
    available, total = (1024 * int(lines[name].split()[0]) if name in lines else 0 for name in ("MemAvailable", "MemTotal"))
    return available, total


def _kernel_kills() -> int:
    """Processes that the kernel has ended for want of memory since the machine started."""
    counts = [line.split()[1] for line in _read("/proc/vmstat").splitlines() if line.startswith("oom_kill ")]
    return int(counts[0]) if counts else 0


def _read(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return stream.read().decode(errors="replace")
    except OSError:  # it ended meanwhile, or is somebody else's
        return ""


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with open(partial, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def main() -> None:
    """Arguments: the inherited socket, the worker's pid, the marker."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    descriptor, worker, marker = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as control:
        Guardian(control, int(worker), marker=marker).run()


if __name__ == "__main__":
    main()
