"""YAML text becomes plain values, and every key and value keeps the file, line and column where it stands.

YAML 1.2 core rules: `1e-4` is a number, `no`, `012`, `1:30`, `2024-01-01` and `1_000` are text, only true and false are booleans.
Values are built from parser events, one at a time and counted, so a text of a few hundred bytes cannot grow into gigabytes; tags are
refused, so a text can make nothing but mappings, lists, texts, numbers, booleans and null.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

import yaml

from ablate.errors import Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_VALUES = 50_000
MAX_DIGITS = 300
MOST_SAID = 1_000
"""Characters of a message."""
ARGUMENT = "argument "
"""Beginning of the name of what stands on the command line, in place of a file's."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")
_TAB = re.compile(r"^[ ]*\t[ \t]*(?=[^\s#])", re.MULTILINE)
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = ("", "~", "null", "Null", "NULL")

Path = tuple[str | int, ...]
"""Keys and list indices from the top of the study down to a value."""


class Place(NamedTuple):
    """Lines and columns count from 1."""

    file: str
    line: int
    column: int


@dataclass(eq=False)
class Marks:
    """Where the keys and values of a study stand. All marks are equal: where a thing is written is no part of what it says."""

    file: str = "study"
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    offsets: dict[Path, int] = field(default_factory=dict)
    """Columns from a text's place to its first character: 1 in quotes; absent where it starts right there."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Marks)

    __hash__ = None  # type: ignore[assignment]

    def value(self, path: Path) -> Place:
        """Where the value stands, or the nearest thing around it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.values:
                return self.values[path[:end]]
        return Place(self.file, 1, 1)

    def key(self, path: Path) -> Place:
        return self.keys.get(path) or self.value(path)

    def problem(self, fault: "Fault") -> Problem:
        """The fault at its place, with its dotted path before it; where fields disagree, at the one that stands nearest to the author."""
        if not fault.at_key:
            named = [path for path in self._beside(fault.path) if re.search(rf"\b{re.escape(str(path[-1]))}\b", fault.message)]
            fault = fault._replace(path=min((fault.path, *named), key=self._distance))
        file, line, column = self.key(fault.path) if fault.at_key else self.value(fault.path)
        if fault.column:
            column += self.offsets.get(fault.path, 0) + fault.column - 1
        about = self.name(fault.path[:-1] if fault.at_key else fault.path)
        # trainers repeat what they are given, whatever that is
        return Problem(file, line, column, visible(f"{about}: {fault.message}" if about else fault.message, limit=MOST_SAID))

    def _beside(self, path: Path) -> list[Path]:
        """The fields of its group, and where it is a group itself, those in it; none of a list's items."""
        is_field = bool(path) and isinstance(path[-1], str)
        return [other for other in self.values if is_field and other and other[:-1] in (path[:-1], path)]

    def _distance(self, path: Path) -> int:
        """From the author: an argument, the study, what the study builds on."""
        file = self.value(path).file
        return 0 if file.startswith(ARGUMENT) else 1 if file == self.file else 2

    def name(self, path: Path) -> str:
        """The dotted path as it reads in the file where the value stands."""
        return dotted(path[1:] if path[:1] == ("base",) and self.value(path).file != self.file else path)

    def graft(self, path: Path, other: "Marks") -> None:
        """Makes `other` the marks of what lies under `path`: a base that stands in a file of its own."""
        self.keys |= {path + inner: place for inner, place in other.keys.items()}
        self.values |= {path + inner: place for inner, place in other.values.items()}
        self.offsets |= {path + inner: offset for inner, offset in other.offsets.items()}

    def under(self, path: Path) -> "Marks":
        """The marks of what lies under `path`, as if it stood alone."""
        size = len(path)
        found = Marks(self.file)
        found.keys = {inner[size:]: place for inner, place in self.keys.items() if inner[:size] == path}
        found.values = {inner[size:]: place for inner, place in self.values.items() if inner[:size] == path}
        found.offsets = {inner[size:]: offset for inner, offset in self.offsets.items() if inner[:size] == path}
        return found

    def forget(self, path: Path) -> None:
        """Drops the marks of what lies under `path`: it is replaced."""
        size = len(path)
        self.keys = {inner: place for inner, place in self.keys.items() if inner[:size] != path}
        self.values = {inner: place for inner, place in self.values.items() if inner[:size] != path}
        self.offsets = {inner: offset for inner, offset in self.offsets.items() if inner[:size] != path}


class Document(NamedTuple):
    """What a text says. With problems, `values` is what could be understood, and None where that is nothing."""

    values: dict[str, Any] | None
    marks: Marks
    problems: tuple[Problem, ...]


def read(data: bytes, *, file: str) -> Document:
    """Reads the bytes of one YAML file whose top is a mapping; `file` is its name in messages."""
    marks, problems = Marks(file), list[Problem]()
    try:
        text = _decode(data, file=file)
        problems += _tabs(text, file=file)
        values = None if problems else _Builder(text, marks, problems).document()
    except _Refused as refused:
        problems += refused.problems
        values = None
    return Document(values, marks, tuple(problems))


def dotted(path: Path) -> str:
    """`claims[0].axis` for ("claims", 0, "axis")."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{visible(part, limit=200)}" for part in path).removeprefix(".")


def shown(value: Any) -> str:
    """A value as messages quote it: what kind it is, and the value, shortened and with nothing invisible in it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value}" if len(str(value)) <= 40 else f"{str(value)[:37]}..."
        case str():
            return f"text '{visible(value)}'"
        case Mapping():
            return f"a mapping ({visible(', '.join(map(str, value)))})" if value else "an empty mapping"
        case Sequence():
            return f"a list of {len(value)}" if value else "an empty list"
    return visible(str(value))


def visible(text: str, *, limit: int = 60) -> str:
    """Text on one line with invisible characters named, as in U+202E."""
    short = text if len(text) <= limit else f"{text[: limit - 3]}..."
    return "".join(char if char.isprintable() else f"U+{ord(char):04X}" for char in short)


class Fault(NamedTuple):
    """What is wrong with one value, in a plain sentence, before it has a place."""

    path: Path
    message: str
    at_key: bool = False
    """The key is at fault, not its value; `message` names it."""
    column: int = 0
    """Where in a text, from 1; 0 is the text as a whole."""


class _Refused(Exception):
    def __init__(self, *problems: Problem) -> None:
        self.problems = problems


@dataclass
class _Anchor:
    """What an alias repeats, and what that costs."""

    value: Any = None
    size: int = 0
    height: int = 0
    open: bool = True


@dataclass
class _Builder:
    """Events in, values out, marks and problems on the side."""

    text: str
    marks: Marks
    problems: list[Problem]
    count: int = 0
    anchors: dict[str, _Anchor] = field(default_factory=dict)
    height: int = 0
    """Nesting of the value built last."""

    def document(self) -> dict[str, Any] | None:
        events = self._events()
        first = next(event for event in events if not isinstance(event, yaml.StreamStartEvent))
        if isinstance(first, yaml.StreamEndEvent):
            raise _Refused(Problem(self.marks.file, 1, 1, "the file is empty; a mapping such as `schema: 1` is expected"))
        top = next(events)
        value = self._value(top, events, path=(), depth=1)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                raise _Refused(self._problem(event, "a second document starts here; one file holds one"))
        if not isinstance(value, dict):
            self.problems.append(self._problem(top, f"expected a mapping at the top, found {shown(value)}"))
            return None
        return value

    def _events(self) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(self.text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise _Refused(Problem(self.marks.file, line, column, _syntax(error))) from None
        except yaml.YAMLError as error:
            raise _Refused(Problem(self.marks.file, 1, 1, f"not YAML: {visible(str(error))}")) from None

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], *, path: Path, depth: int) -> Any:
        self.marks.values.setdefault(path, self._place(event))
        self._count(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth=depth)
        if depth > MAX_DEPTH and not isinstance(event, yaml.ScalarEvent):
            raise _Refused(self._problem(event, f"nested deeper than {MAX_DEPTH}"))
        if (tag := getattr(event, "tag", None)) is not None:
            self.problems.append(self._problem(event, f"tags are not allowed: {visible(tag)}; write the value alone"))
        anchor = _Anchor()
        if name := getattr(event, "anchor", None):
            self.anchors[name] = anchor
        before = self.count
        match event:
            case yaml.MappingStartEvent():
                anchor.value = self._mapping(events, path=path, depth=depth)
            case yaml.SequenceStartEvent():
                anchor.value = self._sequence(events, path=path, depth=depth)
            case yaml.ScalarEvent():
                anchor.value = self._scalar(event, path=path)
                self.height = 0
        anchor.size, anchor.height, anchor.open = self.count - before + 1, self.height, False
        return anchor.value

    def _mapping(self, events: Iterator[yaml.Event], *, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        height = 0
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._key(event, events, path=path, depth=depth)
            if key is None or key in found:
                spare = (*path, f"{key} (again)")  # read on for the other problems, marked apart and thrown away
                self.marks.values[spare] = self._place(event)
                self._value(next(events), events, path=spare, depth=depth + 1)
                continue
            self.marks.keys[(*path, key)] = self._place(event)
            found[key] = self._value(next(events), events, path=(*path, key), depth=depth + 1)
            height = max(height, self.height)
        self.height = height + 1
        return found

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], *, path: Path, depth: int) -> str | None:
        known = len(self.problems)
        value = self._value(event, events, path=(*path, "(key)"), depth=depth + 1)
        self.marks.values.pop((*path, "(key)"), None)
        if len(self.problems) > known:
            return None
        problem = None
        if not isinstance(value, str):
            problem = (
                f"keys are text, found {shown(value)}; put it in quotes" if _is_scalar(event) else f"keys are text, found {shown(value)}"
            )
        elif not value:
            problem = "the key is empty; keys are text"
        elif value == "<<" and not getattr(event, "style", None):
            problem = "merge keys (<<) are not read; write the keys out"
        elif (*path, value) in self.marks.keys:
            first = self.marks.keys[(*path, value)]
            problem = f"'{visible(value)}' is given twice, first at line {first.line}; keep one"
        if problem:
            self.problems.append(self._problem(event, problem))
            return None
        return value if isinstance(value, str) else None

    def _sequence(self, events: Iterator[yaml.Event], *, path: Path, depth: int) -> list[Any]:
        found: list[Any] = []
        height = 0
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            found.append(self._value(event, events, path=(*path, len(found)), depth=depth + 1))
            height = max(height, self.height)
        self.height = height + 1
        return found

    def _alias(self, event: yaml.AliasEvent, *, depth: int) -> Any:
        name = event.anchor or ""
        anchor = self.anchors.get(name)
        if anchor is None or anchor.open:
            fault = "refers to itself" if anchor else "names no anchor before it"
            raise _Refused(self._problem(event, f"alias *{visible(name)} {fault}"))
        self.count += anchor.size
        self._count(event)
        if depth + anchor.height > MAX_DEPTH:
            raise _Refused(self._problem(event, f"nested deeper than {MAX_DEPTH}"))
        self.height = anchor.height
        return anchor.value

    def _scalar(self, event: yaml.ScalarEvent, *, path: Path) -> Any:
        if event.style:
            self.marks.offsets[path] = 1
            return event.value
        try:
            return resolve(event.value)
        except ValueError as error:
            self.problems.append(self._problem(event, str(error)))
            return None

    def _count(self, event: yaml.Event) -> None:
        self.count += 1
        if self.count > MAX_VALUES:
            what = "aliases expand to" if isinstance(event, yaml.AliasEvent) else "the file holds"
            raise _Refused(self._problem(event, f"{what} more than {MAX_VALUES:,} values"))

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark
        return Place(self.marks.file, mark.line + 1, mark.column + 1)

    def _problem(self, event: yaml.Event, message: str) -> Problem:
        return Problem(*self._place(event), message)


def _is_scalar(event: yaml.Event) -> bool:
    return isinstance(event, yaml.ScalarEvent)


def resolve(text: str) -> bool | int | float | str | None:
    """A plain scalar by the core rules of YAML 1.2. Raises ValueError for a number no computer holds."""
    if text in _WORDS:
        return _WORDS[text]
    if text in _NULLS:
        return None
    if _BASED.fullmatch(text) and len(text) <= MAX_DIGITS:
        return int(text, 0)
    if _INTEGER.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a number of {len(text):,} digits is too large")
        return int(text)
    if _NOT_FINITE.fullmatch(text) or (_FLOAT.fullmatch(text) and not isfinite(float(text))):
        raise ValueError(f"{visible(text)} is not a finite number")
    return float(text) if _FLOAT.fullmatch(text) else text


def _decode(data: bytes, *, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise _Refused(Problem(file, 1, 1, "the file is larger than 1 MB; a study is a page of text, longer lists belong in ranges"))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Refused(Problem(file, 1, 1, "not UTF-8 but UTF-16; save the file as UTF-8"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        found = f"byte 0x{data[error.start]:02X} is not UTF-8; save the file as UTF-8"
        raise _Refused(Problem(*_position(before, file=file), found)) from None
    refused = [_CONTROL.search(text)]
    if refused[0]:
        found = f"character U+{ord(refused[0].group()):04X} is not allowed"
        raise _Refused(Problem(*_position(text[: refused[0].start()], file=file), found))
    return text


def _tabs(text: str, *, file: str) -> list[Problem]:
    found = (match.start() + match.group().index("\t") for match in _TAB.finditer(text))
    return [Problem(*_position(text[:start], file=file), "a tab; indent with spaces") for _, start in zip(range(20), found, strict=False)]


def _position(before: str, *, file: str) -> Place:
    return Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "cannot be read"
    if "mapping values are not allowed" in problem:
        return "not YAML: a second `: ` in one value, or a wrong indent; put text with a colon in quotes"
    if "cannot start any token" in problem:
        return "not YAML: a value cannot start with this character; put the text in quotes"
    return f"not YAML: {problem}{f' {error.context}' if error.context else ''}"
