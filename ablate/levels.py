"""One level of an axis: the label that results show and the fields of the config it sets; and when two levels mean the same."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ablate.marked_yaml import Fault, Path, resolve, shown, visible
from ablate.model import Level

MISSING = object()
"""In the place of a value: nobody wrote one, or the trainer takes none."""


class Choice(NamedTuple):
    """One level of an axis."""

    label: Level
    changes: Mapping[str, Any]
    """Dotted path into the config -> the value it gets there."""
    places: Mapping[str, Path]
    """The same path -> where that value is written."""

    @property
    def value(self) -> Any:
        """What a level of a single field sets; of several, all of them by path."""
        return next(iter(self.changes.values())) if len(self.changes) == 1 else dict(self.changes)

    @property
    def at(self) -> Path:
        return next(iter(self.places.values()), ())


ABSENT = Choice(None, {}, {})
"""The choice on an axis that does not apply in a cell."""


def one_field(path: str, value: Any, *, at: Path, label: Level = None) -> Choice:
    """A level that sets one field."""
    return Choice(label_of(value) if label is None else label, {path: value}, {path: at})


def label_of(value: Any, sources: Sequence[str] = ()) -> Level:
    """What results show: shares by source as percentages in their order, the rest as it is."""
    if isinstance(value, Mapping) and value and all(kind_of(share) == "numbers" for share in value.values()):
        return ":".join(f"{100 * value[source]:.6g}" for source in (sources if set(sources) <= set(value) and sources else value))
    if value is None:
        return "null"  # None says that the axis does not apply
    if isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value, sort_keys=True)


@lru_cache(maxsize=4096, typed=True)
def label_text(label: Level) -> str:
    """The label in the name of an arm."""
    match label:
        case bool():
            return str(label).lower()
        case float():
            return f"{label:g}" if float(f"{label:g}") == label else repr(label)
        case str() if re.search(r"[,=\"]|[^\x20-\x7e]", label):
            return json.dumps(label)  # an arm's name stays readable, and two never read alike
    return str(label)


def kind_of(value: Any) -> str:
    """`numbers`, `text`, `true or false`; empty for what is no level."""
    match value:
        case bool():
            return "true or false"
        case int():
            return "numbers"
        case float():
            return "numbers" if math.isfinite(value) else ""
        case str():
            return "text"
    return ""


def same(left: Any, right: Any) -> bool:
    """Whether two values mean one level: 1 and 1.0 do, 1 and true do not."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if kind_of(left) != kind_of(right):
        return False
    return math.isclose(left, right, rel_tol=1e-12) if kind_of(left) == "numbers" else bool(left == right)


def repeated(levels: Sequence[Choice], meanings: Sequence[Any]) -> Fault | None:
    """The first two levels that mean the same; what has no meaning is like nothing."""
    seen: dict[str, int] = {}
    for index, meaning in enumerate(meanings):
        if meaning is MISSING:
            continue
        key = _key(meaning)
        if key in seen:
            first = levels[seen[key]].label
            alike = "" if same(first, levels[index].label) else f" and {visible(str(levels[index].label))}"
            return Fault(levels[index].at, f"levels {seen[key] + 1} and {index + 1} are the same: {visible(str(first))}{alike}")
        seen[key] = index
    return None


def misread(value: Any, meaning: Any, *, at: Path) -> Fault | None:
    """A text or boolean that the trainer would quietly take for a number, or a text or number that it would take for a boolean."""
    wanted = {"numbers": "a number", "true or false": "true or false"}.get(kind_of(meaning))
    if wanted is None or kind_of(value) in (kind_of(meaning), ""):
        return None
    bare = isinstance(value, str) and kind_of(unquoted(value)) == kind_of(meaning)
    hint = f"; write {visible(value)} without quotes" if bare else ""
    return Fault(at, f"expected {wanted}, found {shown(value)}{hint}")


def unquoted(text: str) -> Any:
    """What a text would be if it were written without its quotes."""
    try:
        return resolve(text)
    except ValueError:
        return text


def _key(meaning: Any) -> str:
    """Equal for 1 and 1.0 at any depth, different for 1 and true."""
    match meaning:
        case Mapping():
            return f"{{{', '.join(f'{key}: {_key(meaning[key])}' for key in sorted(meaning))}}}"
        case list() | tuple():
            return f"[{', '.join(map(_key, meaning))}]"
        case bool() | None | str():
            return json.dumps(meaning)
        case int() | float():
            return repr(float(meaning))
    return repr(meaning)
