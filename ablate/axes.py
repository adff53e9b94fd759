"""A written axis becomes its levels: a list, numbers spaced evenly or in the logarithm, or mixes on a simplex; or bounds to search between.

The trainer is not asked here. Every level has a label, which results show, and two levels that mean the same are one too many.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ablate.base import MISSING
from ablate.errors import InputError, did_you_mean
from ablate.reader import Fault, Path, resolve, shown, visible
from ablate.study import Level

MAX_POINTS = 10_000
_RATIO_PART = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")


class Choice(NamedTuple):
    """One level of an axis."""

    label: Level
    value: Any
    """What the config gets: shares by source where the label is a ratio."""
    at: Path = ()
    """Where it is written."""


@dataclass(frozen=True)
class Axis:
    """One axis of a study, read once: levels, or (in a search) the bounds between which values are drawn."""

    path: str
    levels: tuple[Choice, ...]
    base: Choice
    """What every other level is measured against: the base's own value, or the first level."""
    base_is_first: bool = False
    """Whether a grid leaves out the base's own value and measures against the first level instead, which is a change like any other."""
    bounds: tuple[float, float] | None = None
    log: bool = False
    whole: bool = False
    """Whether values between the bounds are rounded to whole numbers."""

    @property
    def baseline(self) -> Level:
        return self.base.label

    @property
    def labels(self) -> tuple[Level, ...]:
        return tuple(level.label for level in self.levels)

    @property
    def numeric(self) -> bool:
        """Whether the levels have an order."""
        return self.bounds is not None or all(_kind(level.value) == "numbers" for level in self.levels)

    def changes_at(self, choice: Choice) -> bool:
        """Whether an arm with this choice differs from the base."""
        return self.base_is_first or choice.label != self.base.label

    def find(self, written: Any) -> Choice | None:
        """The level of this label or value."""
        for choice in (*self.levels, self.base):
            if same(written, choice.label) or same(written, choice.value):
                return choice
        return None

    def suggested(self, value: Any) -> Choice:
        """A level by label or value, or a number drawn between the bounds. Raises InputError."""
        if self.bounds is None or _kind(value) != "numbers":
            found = self.find(value)
            if found is None:
                raise InputError(f"axis {self.path}: no level {shown(value)} ({', '.join(map(str, self.labels)) or self.bounds})")
            return found
        low, high = self.bounds
        drawn: int | float = min(max(_six_digits(value), low), high)
        if self.whole:
            drawn = min(max(round(drawn), math.ceil(low)), math.floor(high))
        return Choice(drawn, drawn)


@dataclass
class Levels:
    """An axis as it is written, before anybody asks the trainer."""

    levels: tuple[Choice, ...] = ()
    bounds: tuple[float, float] | None = None
    log: bool = False
    faults: list[Fault] = field(default_factory=list)


def read_levels(written: Any, *, at: Path, search: bool) -> Levels:
    """What is written under an axis; only a search may leave out how many points lie between bounds."""
    forms = (
        "write a list such as [16, 24], {log: [low, high], points: n}, {linspace: [low, high], points: n} or {simplex: [...], list: [...]}"
    )
    match written:
        case [_, *_]:
            return _listed(written, at=at)
        case {"log": _} | {"linspace": _}:
            return _spaced(written, at=at, search=search)
        case {"simplex": _}:
            return _mixes(written, at=at)
        case Mapping() if written:
            known = ("log", "linspace", "simplex")
            close = next((hint for key in written if (hint := did_you_mean(str(key), known))), "")
            return Levels(faults=[Fault(at, f"found {shown(written)}{close}; {forms}")])
        case None | [] | Mapping():
            return Levels(faults=[Fault(at, f"an axis needs at least one level; {forms}")])
    return Levels(faults=[Fault(at, f"found {shown(written)}, and an axis needs a list of levels; {forms}")])


def label_of(value: Any, sources: Sequence[str] = ()) -> Level:
    """What results show: shares by source as percentages in their order, the rest as it is."""
    if isinstance(value, Mapping) and value and all(_kind(share) == "numbers" for share in value.values()):
        return ":".join(f"{100 * value[source]:.6g}" for source in (sources if set(sources) <= set(value) and sources else value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value, sort_keys=True)


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


def same(left: Any, right: Any) -> bool:
    """Whether two values mean one level: 1 and 1.0 do, 1 and true do not."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if _kind(left) != _kind(right):
        return False
    return math.isclose(left, right, rel_tol=1e-12) if _kind(left) == "numbers" else bool(left == right)


def repeated(levels: Sequence[Choice], meanings: Sequence[Any]) -> Fault | None:
    """The first two levels that mean the same; what has no meaning is like nothing."""
    seen: dict[str, int] = {}
    for index, meaning in enumerate(meanings):
        if meaning is MISSING:
            continue
        key = json.dumps(meaning, sort_keys=True) if _kind(meaning) != "numbers" else repr(float(meaning))
        if key in seen:
            first = levels[seen[key]].label
            alike = "" if same(first, levels[index].label) else f" and {levels[index].label}"
            return Fault(levels[index].at, f"levels {seen[key] + 1} and {index + 1} are the same: {first}{alike}")
        seen[key] = index
    return None


def misread(level: Choice, meaning: Any) -> Fault | None:
    """A text or boolean that the trainer would quietly take for a number."""
    if _kind(meaning) != "numbers" or _kind(level.value) in ("numbers", ""):
        return None
    bare = isinstance(level.value, str) and _kind(resolve(level.value)) == "numbers"
    hint = f"; write {visible(level.value)} without quotes" if bare else ""
    return Fault(level.at, f"expected a number, found {shown(level.value)}{hint}")


def _listed(written: Sequence[Any], *, at: Path) -> Levels:
    kinds = [_kind(value) for value in written]
    faults = [
        Fault((*at, index), f"a level is a number, text, true or false; found {shown(value)}")
        for index, (value, kind) in enumerate(zip(written, kinds, strict=True))
        if not kind
    ]
    if not faults and len(set(kinds)) > 1:
        faults = [_mixed(written, kinds, at=at)]
    kind = "numbers" if "numbers" in kinds else kinds[0]
    levels = tuple(Choice(value, value, (*at, index)) for index, value in enumerate(written) if kind and kinds[index] == kind)
    return _without_repeats(levels, [level.value for level in levels], faults)


def _without_repeats(levels: Sequence[Choice], meanings: Sequence[Any], faults: list[Fault]) -> Levels:
    if not faults and (fault := repeated(levels, meanings)):
        return Levels(tuple(level for level in levels if level.at != fault.path), faults=[fault])
    return Levels(tuple(levels), faults=faults)


def _mixed(written: Sequence[Any], kinds: Sequence[str], *, at: Path) -> Fault:
    words = " and ".join(dict.fromkeys(sorted(kinds)))
    for index, value in enumerate(written):
        if isinstance(value, str) and not isinstance(resolve(value), str):
            return Fault((*at, index), f"levels mix {words}: write {visible(value)} without quotes")
    odd = next(index for index, kind in enumerate(kinds) if kind != kinds[0])
    return Fault((*at, odd), f"levels mix {words}: {shown(written[odd])} beside {shown(written[0])}; write all of one kind")


def _spaced(written: Mapping[str, Any], *, at: Path, search: bool) -> Levels:
    form = "log" if "log" in written else "linspace"
    faults = [_unknown_key(key, (form, "points"), at=at) for key in written if key not in (form, "points")]
    bounds, points = written[form], written.get("points")
    if not (isinstance(bounds, list) and [_kind(bound) for bound in bounds] == ["numbers", "numbers"]):
        faults.append(Fault((*at, form), f"expected two numbers, [low, high]; found {shown(bounds)}"))
    elif form == "log" and bounds[0] <= 0:
        faults.append(Fault((*at, form, 0), f"log needs bounds above 0, found {shown(bounds[0])}; use linspace"))
    elif bounds[0] >= bounds[1]:
        faults.append(Fault((*at, form), f"the low bound {shown(bounds[0])} is not below the high bound {shown(bounds[1])}"))
    if "points" not in written:
        if not search:
            faults.append(Fault(at, "points is missing: how many levels between the bounds (only design: search draws values by itself)"))
    elif isinstance(points, bool) or not isinstance(points, int) or not 2 <= points <= MAX_POINTS:
        faults.append(Fault((*at, "points"), f"expected a whole number from 2 to {MAX_POINTS:,}, found {shown(points)}"))
    if faults:
        return Levels(faults=faults)
    if points is None:
        return Levels(bounds=(float(bounds[0]), float(bounds[1])), log=form == "log")
    values = _points(bounds[0], bounds[1], points, log=form == "log")
    levels = tuple(Choice(value, value, at) for value in values)
    fault = repeated(levels, values)
    return Levels(levels, faults=[fault] if fault else [])


def _points(low: float, high: float, count: int, *, log: bool) -> list[int | float]:
    """Evenly spaced, in the logarithm where asked. Six digits inside, so that every machine gives the same levels."""
    inner = range(1, count - 1)
    if log:
        spaced = [low * (high / low) ** (step / (count - 1)) for step in inner]
    else:
        spaced = [low + (high - low) * step / (count - 1) for step in inner]
    values = [low, *map(_six_digits, spaced), high]
    return [int(value) for value in values] if isinstance(low, int) and all(float(value).is_integer() for value in values) else values


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")


def _mixes(written: Mapping[str, Any], *, at: Path) -> Levels:
    faults = [_unknown_key(key, ("simplex", "list"), at=at) for key in written if key not in ("simplex", "list")]
    sources: Any = written["simplex"]
    mixes: Any = written.get("list")
    if (
        not isinstance(sources, list)
        or len(sources) < 2
        or not all(isinstance(source, str) for source in sources)
        or len(set(sources)) < len(sources)
    ):
        faults.append(Fault((*at, "simplex"), f"expected the names of two or more sources, each once; found {shown(sources)}"))
    if not isinstance(mixes, list) or not mixes:
        faults.append(Fault((*at, "list") if "list" in written else at, 'an axis needs at least one level; write list: ["5:5:1", ...]'))
    if faults:
        return Levels(faults=faults)
    levels = []
    for index, mix in enumerate(mixes):
        try:
            levels.append(Choice(label_of(mix, sources), _shares(mix, sources), (*at, "list", index)))
        except ValueError as error:
            faults.append(Fault((*at, "list", index), str(error)))
    return _without_repeats(levels, [[round(share, 9) for share in level.value.values()] for level in levels], faults)


def _shares(mix: Any, sources: Sequence[str]) -> dict[str, float]:
    """A ratio or shares by source as shares in the order of `sources`. Raises ValueError."""
    order = ":".join(sources)
    if isinstance(mix, str):
        parts = [part.strip() for part in mix.split(":")]
        if len(parts) != len(sources):
            raise ValueError(f"{shown(mix)} has {len(parts)} parts, expected {len(sources)}: {order}")
        if odd := [part for part in parts if not _RATIO_PART.fullmatch(part)]:
            raise ValueError(f"the part '{visible(odd[0])}' of {shown(mix)} is not a number of 0 or more; write {order} as in 5:5:1")
        total = math.fsum(map(float, parts))
        if not total:
            raise ValueError(f"the parts of {shown(mix)} are all 0")
        return {source: float(part) / total for source, part in zip(sources, parts, strict=True)}
    if not isinstance(mix, Mapping):
        raise ValueError(f"expected a ratio such as 5:5:1 ({order}) or shares by source, found {shown(mix)}")
    if unknown := [source for source in mix if source not in sources]:
        raise ValueError(f"unknown source '{visible(unknown[0])}' ({', '.join(sources)}){did_you_mean(unknown[0], sources)}")
    if missing := [source for source in sources if source not in mix]:
        raise ValueError(f"no share for {', '.join(missing)}; write all of {', '.join(sources)}")
    if odd := [source for source in sources if _kind(mix[source]) != "numbers" or mix[source] < 0]:
        raise ValueError(f"the share of {odd[0]} is {shown(mix[odd[0]])}; shares are numbers from 0 to 1")
    total = math.fsum(mix.values())
    if abs(total - 1) > 1e-6:
        raise ValueError(f"sum is {total:.6g}; use 45:45:10 or shares that sum to 1")
    return {source: float(mix[source]) for source in sources}


def _unknown_key(key: str, known: Sequence[str], *, at: Path) -> Fault:
    return Fault((*at, key), f"unknown key '{visible(key)}' (allowed: {', '.join(known)}){did_you_mean(key, known)}", at_key=True)


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "numbers"
        case str():
            return "text"
    return ""
