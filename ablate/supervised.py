"""A program of somebody else's, run under `warden.py`: its lines become rows and log, and it ends when the trial does, whatever it wants.

Memory stays bounded whatever it prints: long lines are cut, and of the log so much is kept.
"""

import contextlib
import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from ablate import warden
from ablate.marked_yaml import visible
from ablate.rows import Rows

MAX_LINE_BYTES = 65_536
MAX_LOG_BYTES = 10_000_000
KEPT_LINES = 200
LOOK_SECONDS = 0.2
CHUNK_BYTES = 65_536


class Ended(NamedTuple):
    code: int
    """Exit code; the signal's negative number where one ended it."""
    tail: list[str]
    """Its last lines, of both streams."""


@dataclass
class Lines:
    """Cuts what arrives into lines."""

    rest: bytearray = field(default_factory=bytearray)
    too_long: bool = False
    """Whether the line that is arriving is cut already."""

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """(line, whether it is whole), for each line that ended."""
        found = []
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._add(piece)
            found.append((bytes(self.rest), not self.too_long))
            self.rest.clear()
            self.too_long = False
        self._add(rest)
        return found

    def end(self) -> list[tuple[bytes, bool]]:
        """What came after the last line's end."""
        return [(bytes(self.rest), not self.too_long)] if self.rest else []

    def _add(self, piece: bytes) -> None:
        room = MAX_LINE_BYTES - len(self.rest)
        self.rest += piece[:room]
        self.too_long = self.too_long or len(piece) > room


class Supervised:
    """A program that runs from here on, and is dead when `follow` returns or this process ends."""

    def __init__(self, argv: Sequence[str], *, folder: Path, env: Mapping[str, str], grace_seconds: float) -> None:
        self._tail: deque[str] = deque(maxlen=KEPT_LINES)
        self._logged = 0
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(Path(warden.__file__)), str(grace_seconds), *argv],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def follow(self, rows: Rows, *, report: Path | None, should_stop: Callable[[], bool]) -> Ended:
        """Reads until the program has ended, asking it to where `should_stop` says so. `report`: the file it writes its rows to."""
        process, file = self._process, _Tailed(report) if report else None
        assert process.stdin
        assert process.stdout
        assert process.stderr
        lines = {process.stdout: Lines(), process.stderr: Lines()}
        asked = False
        with selectors.DefaultSelector() as streams, process:
            for stream in lines:
                streams.register(stream, selectors.EVENT_READ)
            # an exception closes the warden's standard input on its way out of here, which it takes for our death
            while streams.get_map():
                for key, _ in streams.select(LOOK_SECONDS):
                    source: Any = key.fileobj
                    if data := os.read(source.fileno(), CHUNK_BYTES):
                        found = lines[source].feed(data)
                    else:
                        streams.unregister(source)
                        found = lines[source].end()
                    self._note(found, rows if source is process.stdout and file is None else None)
                if file:
                    file.read_into(rows)
                if not asked and should_stop():
                    asked = True
                    _write(process.stdin, b"T")
            code = process.wait()
        if file:
            file.read_into(rows, last=True)
        return Ended(code, list(self._tail))

    def _note(self, found: Sequence[tuple[bytes, bool]], rows: Rows | None) -> None:
        for line, whole in found:
            text = line.decode("utf-8", errors="replace")
            if rows and text.lstrip().startswith("{"):
                if whole:
                    rows.take(text)
                else:
                    rows.refuse_line(f"line longer than {MAX_LINE_BYTES:,} bytes", text)
                continue
            if text.strip():
                self._tail.append(visible(text.rstrip().rpartition("\r")[2], limit=200))
            self._log(text)

    def _log(self, text: str) -> None:
        if self._logged <= MAX_LOG_BYTES:
            self._logged += len(text) + 1
            print(text if self._logged <= MAX_LOG_BYTES else f"ablate: more than {MAX_LOG_BYTES:,} bytes of output; the rest is left out")


class _Tailed:
    """A file of rows that grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._lines = path, 0, Lines()

    def read_into(self, rows: Rows, *, last: bool = False) -> None:
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as stream:
            stream.seek(self._offset)
            while data := stream.read(CHUNK_BYTES):
                self._offset += len(data)
                _take(self._lines.feed(data), rows)
        if last:
            _take(self._lines.end(), rows)


def _take(found: Sequence[tuple[bytes, bool]], rows: Rows) -> None:
    for line, whole in found:
        text = line.decode("utf-8", errors="replace")
        if not whole:
            rows.refuse_line(f"line longer than {MAX_LINE_BYTES:,} bytes", text)
        elif text.strip():
            rows.take(text)


def _write(line: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        line.write(data)
        line.flush()
