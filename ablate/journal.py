"""What a trainer reports, as lines of metrics.jsonl and the last point of each metric; what is no number is refused row by row.

A report is in the file when it returns, so that a process killed the moment after has lost nothing. A disk that is full is waited for: a
report is neither dropped nor written in half.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from ablate.durable import patiently

PointKind = Literal["finite", "nan", "+inf", "-inf"]

MAX_KEY = 200
MAX_KEYS = 1_000
MAX_ROWS = 1_000_000
"""Points of one attempt's curves; later ones only count as the metric's last value."""
MAX_STEP = 2**62


@dataclass(frozen=True)
class Point:
    """One value of one metric; `value` is None unless `kind` is finite."""

    step: int
    key: str
    value: float | None
    kind: PointKind


def make_point(step: int, key: str, value: float) -> Point:
    number = float(value)
    if math.isfinite(number):
        return Point(step, key, number, "finite")
    return Point(step, key, None, "nan" if math.isnan(number) else "+inf" if number > 0 else "-inf")


class Journal:
    """One attempt's metrics.jsonl while it is written. `log` gets a line for people where rows are refused."""

    def __init__(self, path: Path, *, log: Callable[[str], None]) -> None:
        self.last: dict[str, Point] = {}
        """The newest point of each metric."""
        self.refused: Counter[str] = Counter()
        """Why rows were refused -> how many."""
        self.rows = 0
        self._path, self._log = path, log
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._waiting = bytearray()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.flush()
            for why, number in self.refused.items():
                self._log(f"{number} row{'' if number == 1 else 's'} refused: {why}")
        finally:
            os.close(self._file)

    def add(self, step: Any, key: Any, value: Any) -> Point | None:
        """Takes one row in, or says in the log why not; `flush` brings rows to the file."""
        try:
            point = self._point(step, key, value)
        except ValueError as error:
            why, _, example = str(error).partition("; ")
            self.refuse(why, example)
            return None
        self.last[point.key] = point
        self.rows += 1
        if self.rows <= MAX_ROWS:
            self._waiting += json.dumps((point.step, point.key, point.value, point.kind), allow_nan=False).encode() + b"\n"
        elif self.rows == MAX_ROWS + 1:
            self._log(f"more than {MAX_ROWS:,} points: later ones count as last values and are on no curve")
        return point

    def refuse(self, why: str, example: str) -> None:
        """Counts what was to be a row; the first of its kind is shown."""
        if why not in self.refused:
            self._log(f"row refused: {why}{example and f' ({example})'}; more of the kind are counted")
        self.refused[why] += 1

    def flush(self) -> None:
        while self._waiting:
            # what a full disk took of a line is remembered: the rest of it follows once there is room
            del self._waiting[: patiently(lambda: os.write(self._file, self._waiting), path=self._path)]

    def _point(self, step: Any, key: Any, value: Any) -> Point:
        if not isinstance(key, str) or not key or len(key) > MAX_KEY:
            raise ValueError(f"a metric's name is text of 1 to {MAX_KEY} characters; found {str(key)[:40]!r}")
        if not key.isprintable() or any(letter in key for letter in "<>\\") or ".." in key.split("/"):
            raise ValueError(f"a metric's name has no control characters, <, >, backslash or '..'; found {key[:40]!r}")
        if key not in self.last and len(self.last) >= MAX_KEYS:
            raise ValueError(f"an attempt has at most {MAX_KEYS:,} metrics; found one more, {key[:40]!r}")
        if isinstance(value, bool | str | bytes) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
            raise ValueError(f"a metric's value is a number; found {str(value)[:40]!r} for {key!r}")
        count = _whole(step)
        newest = self.last.get(key)
        if newest is not None and count < newest.step:
            raise ValueError(f"a metric's steps do not go back; found {count} after {newest.step} for {key!r}")
        try:
            return make_point(count, key, value)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise ValueError(f"a metric's value is one number; found {type(value).__name__} for {key!r}: {error}") from error


def _whole(step: Any) -> int:
    try:
        count = int(step)
        if isinstance(step, bool | str | bytes) or count != step or not 0 <= count <= MAX_STEP:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"a step is a whole number from 0; found {str(step)[:40]!r}") from None
    return count


def read_points(path: Path, *, offset: int = 0) -> tuple[list[Point], int]:
    """The whole lines of a metrics.jsonl from a byte offset on, and the offset after them; a line still being written waits."""
    try:
        with open(path, "rb") as stream:
            stream.seek(offset)
            text = stream.read()
    except FileNotFoundError:
        return [], offset
    whole = text.rfind(b"\n") + 1
    return [Point(*json.loads(line)) for line in text[:whole].splitlines()], offset + whole
