"""What every source of runs comes down to: runs with what was set, what was measured and how they ended, and the texts of cells read."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ablate.errors import InputError
from ablate.marked_yaml import visible
from ablate.model import Level
from ablate.repository import redacted

KINDS = ("csv", "mlflow", "optuna", "wandb")
State = Literal["done", "failed", "lost", "pruned", "queued"]
DIVERGED_THERE = "it diverged there"
STATES: Mapping[str, tuple[State, str]] = {
    **dict.fromkeys(("done", "finished", "complete", "completed", "success", "succeeded", "ok", "cached"), ("done", "")),
    **dict.fromkeys(("failed", "fail", "failure", "error"), ("failed", "it failed there")),
    **dict.fromkeys(("killed", "cancelled", "canceled", "stopped"), ("failed", "it was killed there")),
    "diverged": ("failed", DIVERGED_THERE),
    **dict.fromkeys(("crashed", "lost", "preempted"), ("lost", "it was lost there")),
    "pruned": ("pruned", "it was pruned there"),
    **dict.fromkeys(("running", "preempting"), ("queued", "it was still running there when it was imported")),
    **dict.fromkeys(("queued", "scheduled", "waiting", "pending"), ("queued", "it had not begun there when it was imported")),
}
"""What sources call a run's end -> ours, and why in words. Nothing of a run made elsewhere runs here: one that runs there is queued."""
NOT_NUMBERS = frozenset(("nan", "na", "n/a", "none", "null", "<na>", "#n/a", "-"))
"""Texts that stand for no value in a column of numbers, in lower case."""
INFINITE = {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf, "infinity": math.inf, "+infinity": math.inf, "-infinity": -math.inf}
NUMBER = re.compile(r"[-+]?(?:\d{1,300}\.?\d{0,300}|\.\d{1,300})(?:[eE][-+]?\d{1,5})?")
EXACT = 2**53
"""Whole numbers up to which a float is exact; larger ones are kept as floats."""
MAX_FILE = 2 << 30
"""Bytes."""
MAX_KEPT = 2_000
"""Characters of a text that is kept of a run."""
SHOWN_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its source tells it."""

    id: str
    """Unique within its source, and the same when it is read again."""
    name: str
    state: State
    reason: str = ""
    """Why it is not done; empty where it is."""
    started: float | None = None
    """Unix time; None where the source does not say."""
    seconds: float | None = None
    host: str = ""
    commit: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Column -> what was set; None, or left out, where it was not. Texts of tables are not yet read as numbers."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Last values; NaN and infinities as they are."""
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """Metric -> (step, value), steps rising."""
    is_parent: bool = False
    """Whether it only holds other runs together."""


@dataclass(frozen=True)
class Found:
    """What was read."""

    kind: str
    source: str
    """Where, without credentials."""
    runs: tuple[Run, ...]
    columns: tuple[str, ...]
    """Config columns in the source's order."""
    settings: frozenset[str] | None
    """Those that the source says were set; None where it does not tell what was set from what was measured."""
    bounded: Mapping[str, bool] = field(default_factory=dict)
    """Column -> whether its values were drawn between bounds, where the source says which were."""
    metric: str = ""
    """Where the source has one and says which."""
    goal: str = ""
    """`min` or `max` where the source says so."""
    digest: str = ""
    """SHA-256 of a file; empty for a database or a server."""
    notes: tuple[str, ...] = ()
    """What people should know of how it was read."""


@dataclass(frozen=True)
class Asked:
    """What somebody wants of a source."""

    kind: str
    source: str
    study: str
    metric: str = ""
    goal: str = ""
    also: tuple[str, ...] = ()
    """Further metrics."""
    axes: tuple[str, ...] = ()
    """Columns; none: those that vary."""
    base: Mapping[str, str] = field(default_factory=dict)
    """Column -> its baseline level, as typed."""
    seed: str = ""
    size: str = ""
    rate: str = ""
    experiment: str = ""
    repeats: str = "refuse"
    replace: bool = False
    """Whether it takes the place of what an earlier import left."""
    question: str = ""
    curves: bool = True


def number_of(value: Any) -> float | None:
    """The number a value stands for, NaN and infinities among them; None where it stands for none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    text = str(value).strip()
    if NUMBER.fullmatch(text):
        return float(text)
    return math.nan if text.lower() == "nan" else INFINITE.get(text.lower())


def levels_of(values: Sequence[Any]) -> list[Level]:
    """A column's values as levels: numbers where all are numbers, true or false where all are, else texts; None where nothing was set."""
    kept = [value.strip() if isinstance(value, str) else value for value in values]
    kept = [None if value == "" else value for value in kept]
    if all(value is None or type(value) is str for value in kept):
        written = {value for value in kept if value is not None}
        numeric = {text: number_of(text) for text in written if text.lower() not in NOT_NUMBERS}
        if numeric and all(number is not None and math.isfinite(number) for number in numeric.values()):
            plain = {text: _number(text) for text in numeric}
            return _alike([None if value is None else plain.get(value) for value in kept])
        if {text.lower() for text in written} <= {"true", "false"}:
            return [None if value is None else value.lower() == "true" for value in kept]
        return [None if value is None else clean(value) for value in kept]
    found = [value if isinstance(value, bool | int | float | None) else clean(str(value)) for value in kept]
    found = [None if isinstance(value, float) and not math.isfinite(value) else value for value in found]
    kinds = {"bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number" for value in found if value is not None}
    if kinds == {"number"}:
        return _alike([None if value is None else _number(value) for value in found])
    if len(kinds) > 1:  # such as `auto` beside 0.1
        return [None if value is None else str(value).lower() if isinstance(value, bool) else str(value) for value in found]
    return found


def _number(written: Any) -> int | float:
    if isinstance(written, str):
        return int(written) if re.fullmatch(r"[-+]?\d{1,15}", written) else float(written)
    if isinstance(written, int) and abs(written) > EXACT:
        return number_of(written) or 0.0
    return written if isinstance(written, int) else float(written)


def _alike(numbers: Sequence[int | float | None]) -> list[Level]:
    """All whole, or all floats: 1 and 0.5 stand in one column."""
    whole = all(number is None or (isinstance(number, int) or (number.is_integer() and abs(number) <= EXACT)) for number in numbers)
    written_whole = any(isinstance(number, int) for number in numbers)
    if whole and written_whole:
        return [None if number is None else int(number) for number in numbers]
    return [None if number is None else float(number) for number in numbers]


def clean(text: str) -> str:
    """Text with nothing invisible in it, cut where it is very long."""
    return visible(text, limit=MAX_KEPT)


def state_of(text: str) -> tuple[State, str] | None:
    """Our state for what a source calls it, and why; None for a word nobody uses."""
    return STATES.get(text.strip().lower())


def read_bytes(path: Path) -> bytes:
    """Raises InputError where there is no such file, or it is none."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise InputError(f"{path}: {path.stat().st_size:,} bytes, the limit is {MAX_FILE:,}; split it")
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def text_of(data: bytes, *, path: Path) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: not UTF-8 but UTF-16; save the file as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start:,} is not UTF-8; save the file as UTF-8, or export it again") from None


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def without_credentials(text: str) -> str:
    """A URL or a message with no password, user or token in it."""
    bare = re.sub(r"(?<!sqlite)(?<!file)://\S*@", "://", text)
    return visible(redacted(re.sub(r"([?&][^=&\s]*(?:pass|pwd|token|secret|key)[^=&\s]*=)[^&\s'\"]*", r"\1...", bare)), limit=500)


def unique_ids(names: Iterable[str]) -> list[str]:
    """The names, each that was there before with its count: `lr sweep`, `lr sweep #2`."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return found


def said(problems: Sequence[str], *, about: str) -> InputError:
    """All problems of a source, those beyond twenty counted."""
    more = f"\n... and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    return InputError("\n".join(f"{about}: {problem}" for problem in problems[:SHOWN_PROBLEMS]) + more)


def listed(names: Iterable[Any], *, most: int = 12) -> str:
    """Names for a message, cut after some."""
    known = [visible(str(name)) for name in names]
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")
