"""What a response surface reads of a trial's config: the fields that varied between the recorded trials, as features of a linear model.

A number becomes its place between the lowest and the highest recorded value, -1 to 1, in its logarithm where it spans a factor of 4 or
more; with three recorded values or more also the square of that. Anything else becomes one feature a recorded level, 1 where it is met.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import Field

from ablate.fingerprint import canonical
from ablate.marked_yaml import shown
from ablate.model import Number, StudyModel

Flat = Mapping[str, Any]
"""Dotted path -> value; a list is one value."""
LOG_SPAN = 4.0
MAX_LISTED = 8


class NumberInput(StudyModel):
    kind: Literal["number"] = "number"
    field: str
    low: Number
    high: Number
    """Beyond them nothing was recorded."""
    log: bool
    curved: bool
    """Whether it has a square too."""

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.field,)

    @property
    def size(self) -> int:
        return 1 + self.curved

    def features(self, flat: Flat) -> list[float]:
        low, value, high = (math.log(number) if self.log else number for number in (self.low, flat[self.field], self.high))
        place = (2 * value - low - high) / (high - low)
        return [place, place * place] if self.curved else [place]

    def faults(self, flat: Flat) -> Iterator[str]:
        value, allowed = flat.get(self.field), f"recorded are numbers from {self.low:g} to {self.high:g}"
        if not is_number(value) or not self.low <= value <= self.high:
            yield about(self.field, f"is {shown(value)}, and {allowed}; beyond them the surface knows nothing")


class LevelInput(StudyModel):
    kind: Literal["levels"] = "levels"
    fields: Annotated[tuple[str, ...], Field(min_length=1)]
    """Those that change together."""
    levels: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]
    """Field -> value; without a field where the config has none."""

    @property
    def size(self) -> int:
        return len(self.levels)

    def features(self, flat: Flat) -> list[float]:
        mine = canonical(part_of(flat, self.fields))
        return [float(canonical(level) == mine) for level in self.levels]

    def faults(self, flat: Flat) -> Iterator[str]:
        if not any(self.features(flat)):
            listed = [_level_text(level) for level in self.levels]
            more = f" and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
            found = _level_text(part_of(flat, self.fields))
            yield about(self.fields[0], f"is {found}, which was not recorded ({', '.join(listed[:MAX_LISTED])}{more})")


Input = Annotated[NumberInput | LevelInput, Field(discriminator="kind")]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted path -> value of every field; an empty mapping is a value."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return found


def about(field: str, said: str) -> str:
    """A sentence on a field; what stands before the colon is its place (`ablate.explain`)."""
    group, _, name = field.rpartition(".")
    return f"{field}: {name} {said}" if group else f"{name} {said}"


def part_of(flat: Flat, fields: Sequence[str]) -> dict[str, Any]:
    return {field: flat[field] for field in fields if field in flat}


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def varied(flats: Sequence[Flat]) -> list[str]:
    """Fields that differ between these configs, or that some of them have and others have not."""
    paths = dict.fromkeys(path for flat in flats for path in flat)
    return [path for path in paths if len({canonical(part_of(flat, [path])) for flat in flats}) > 1]


def find_inputs(flats: Sequence[Flat], *, axes: Sequence[Sequence[str]]) -> tuple[NumberInput | LevelInput, ...]:
    """`axes`: the fields that each axis of the recorded studies sets. Fields of one axis are one input, shares that sum to 1 apart; so are
    fields that no axis sets and that change together, such as those of a stage that some trials have."""
    left, found = dict.fromkeys(varied(flats)), list[NumberInput | LevelInput]()
    for paths in axes:
        mine = [field for field in left if any(field == path or field.startswith(f"{path}.") for path in paths)]
        found += _inputs(mine, flats)
        for field in mine:
            del left[field]
    together: dict[tuple[str, ...], list[str]] = {}
    for field in left:
        values = [canonical(part_of(flat, [field])) for flat in flats]
        first = {value: str(place) for place, value in reversed(list(enumerate(values)))}
        together.setdefault(tuple(first[value] for value in values), []).append(field)
    for fields in together.values():
        found += _inputs(fields, flats)
    return tuple(found)


def _inputs(fields: Sequence[str], flats: Sequence[Flat]) -> list[NumberInput | LevelInput]:
    if len(fields) > 1 and _are_shares(fields, flats):
        return [one for field in fields for one in _inputs([field], flats)]
    if len(fields) == 1 and all(is_number(flat.get(fields[0])) for flat in flats):
        values = sorted({float(flat[fields[0]]) for flat in flats})
        low, high = values[0], values[-1]
        return [NumberInput(field=fields[0], low=low, high=high, log=0 < low * LOG_SPAN <= high, curved=len(values) > 2)]
    levels = {canonical(level): level for level in (part_of(flat, fields) for flat in flats)}
    return [LevelInput(fields=tuple(fields), levels=tuple(levels.values()))] if fields else []


def _are_shares(fields: Sequence[str], flats: Sequence[Flat]) -> bool:
    """Whether they vary as the parts of one whole do."""
    if len({field.rpartition(".")[0] for field in fields}) > 1:
        return False
    sums = [sum(flat[field] for field in fields) for flat in flats if all(is_number(flat.get(field)) for field in fields)]
    return len(sums) == len(flats) and max(sums) <= 1 + 1e-6 and max(sums) - min(sums) < 1e-6


def _level_text(level: Flat) -> str:
    return " with ".join(f"{field} {shown(value)}" if len(level) > 1 else shown(value) for field, value in level.items()) or "nothing"
