"""Two JSON values become the dotted paths at which they differ, with both values."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

ABSENT = object()
"""In the place of a value: there is none on this side."""


class Moved(NamedTuple):
    """One field that differs."""

    path: str
    """Dotted; empty where the values themselves differ and are no mappings."""
    first: Any
    """Its value, or ABSENT."""
    second: Any

    def to_json(self) -> dict[str, Any]:
        """A side on which the field is absent has no key."""
        sides = {"first": self.first, "second": self.second}
        return {"path": self.path} | {side: value for side, value in sides.items() if value is not ABSENT}

    def __str__(self) -> str:
        if self.second is ABSENT:
            return f"{self.path}: {value_text(self.first)} removed"
        if self.first is ABSENT:
            return f"{self.path}: {value_text(self.second)} added"
        return f"{self.path}: {value_text(self.first)} became {value_text(self.second)}"


def differences(first: Any, second: Any, *, path: str = "") -> tuple[Moved, ...]:
    """In the order of `first`, then what only `second` has. Lists are compared whole, numbers by value: 1 is 1.0."""
    return tuple(_differences(first, second, path))


def value_text(value: Any) -> str:
    """A value as it would be written in a study file."""
    if value is ABSENT:
        return "nothing"
    if isinstance(value, float) and value.is_integer() and abs(value) >= 1e6:
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _differences(first: Any, second: Any, path: str) -> Iterator[Moved]:
    one, two = _fields(first, second), _fields(second, first)
    if one is None or two is None:
        if not _same(first, second):
            yield Moved(path, first, second)
        return
    for key in dict.fromkeys((*one, *two)):
        yield from _differences(one.get(key, ABSENT), two.get(key, ABSENT), f"{path}.{key}" if path else str(key))


def _fields(value: Any, other: Any) -> Mapping[str, Any] | None:
    """The value's fields where it is a mapping; one that is absent beside a mapping with fields has none."""
    if isinstance(value, Mapping):
        return value if value or other is not ABSENT else None
    return {} if value is ABSENT and isinstance(other, Mapping) and other else None


def _same(first: Any, second: Any) -> bool:
    if first is ABSENT or second is ABSENT:
        return first is second
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)
