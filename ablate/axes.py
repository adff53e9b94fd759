"""A written axis meets the trainer and the base: what its levels mean, which of them is the base's own, when it applies."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from ablate.base import Base, fields_at, is_whole
from ablate.conditions import Condition, ConditionError, Unknown, chosen, parse_condition
from ablate.errors import InputError, did_you_mean
from ablate.fields import ConfigNames, lookup_in
from ablate.forms import Written, overlap, six_digits
from ablate.levels import MISSING, Choice, kind_of, label_of, misread, one_field, repeated, same
from ablate.marked_yaml import Fault, Path, shown, visible
from ablate.model import Level

RESERVED = ("trial", "arm", "seed", "state")
"""Columns of the results."""
REFUSED = object()
"""In the place of a value: the trainer takes no such config."""
MOST_TRIED = 50
"""Levels of an axis that are tried to see whether a condition turns on it."""
OWN_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
"""Names of axes stand in tables, in columns and in other programs' parameters, where `/` and `=` mean something."""
BASE_LABEL = "base"
"""Level of an axis of several fields where the base is none of its levels."""


class When(NamedTuple):
    """A condition on where an axis applies."""

    condition: Condition
    at: Path
    """Where it is written: a text, or the kind that the axis is nested under."""


@dataclass(frozen=True)
class Axis:
    """One axis of a study: levels, or the bounds between which a design draws values."""

    name: str
    paths: tuple[str, ...]
    """Fields of the config it sets."""
    levels: tuple[Choice, ...]
    base: Choice
    """What every other level is measured against: the base's own value, or the first level."""
    base_is_first: bool = False
    """Whether the base's own value is left out and the first level, a change like any other, is measured against instead."""
    bounds: tuple[float, float] | None = None
    log: bool = False
    whole: bool = False
    """Whether values between the bounds are rounded to whole numbers."""
    when: tuple[When, ...] = ()
    """Where it applies: all must hold; over fields that stand before it."""
    at: Path = ()
    """Where it is written."""
    left_out: int = 0
    """Mixes that the limits of a lattice leave out."""

    @property
    def baseline(self) -> Level:
        return self.base.label

    @property
    def labels(self) -> tuple[Level, ...]:
        return tuple(level.label for level in self.levels)

    @property
    def all_labels(self) -> tuple[Level, ...]:
        """The baseline first, whether or not it is among the levels; none where values are drawn between bounds."""
        return () if self.bounds else tuple(dict.fromkeys((self.baseline, *self.labels)))

    @property
    def numeric(self) -> bool:
        """Whether the levels have an order, the baseline among them."""
        return self.bounds is not None or all(kind_of(label) == "numbers" for label in self.all_labels)

    def changes_at(self, choice: Choice) -> bool:
        """Whether an arm with this choice differs from the base."""
        return bool(choice.changes) and (self.base_is_first or choice.label != self.base.label)

    def find(self, written: Any) -> Choice | None:
        """The level of this label or value."""
        for choice in (*self.levels, self.base):
            if same(written, choice.label) or (choice.changes and same(written, choice.value)):
                return choice
        return None

    def missing(self, written: Any) -> str:
        """Why there is no such level on this axis; empty where there is one."""
        if self.bounds and kind_of(written) == "numbers":
            low, high = self.bounds
            return "" if low <= written <= high else f"{shown(written)} is not between the bounds of {self.name}, {low:g} and {high:g}"
        if self.find(written):
            return ""
        labels = ["numbers from {:g} to {:g}".format(*self.bounds)] if self.bounds else [str(label) for label in self.all_labels]
        hint = did_you_mean(written, labels) if isinstance(written, str) else ""
        return f"no level {shown(written)} on {self.name} ({', '.join(labels)}){hint}"

    def suggested(self, value: Any) -> Choice:
        """A level by label or value, or a number drawn between the bounds. Raises InputError."""
        if self.bounds is None or kind_of(value) != "numbers":
            found = self.find(value)
            if found is None:
                raise InputError(f"axis {self.name}: {self.missing(value)}")
            return found
        low, high = self.bounds
        drawn: int | float = min(max(six_digits(value), low), high)
        if self.whole:
            drawn = min(max(round(drawn), ceil(low)), floor(high))
        return one_field(self.paths[0], drawn, at=self.at)

    def level_at(self, position: float) -> Choice:
        """The level at a position in [0, 1): of the levels in their order, or between the bounds."""
        if self.bounds is None:
            return self.levels[int(position * len(self.levels))]
        low, high = self.bounds
        return self.suggested(low * (high / low) ** position if self.log else low + (high - low) * position)


def resolve(
    written: Written, *, base: Base, names: ConfigNames, first_is_base: bool, later: Sequence[str]
) -> tuple[Axis | None, list[Fault]]:
    """The axis, or None where nothing of it can be used, and all that is wrong with it.

    `first_is_base`: whether the design measures against the first level where the base's own value is none of them.
    `later`: the fields that axes after this one set.
    """
    faults = [*_name_faults(written), *_field_name_faults(written, base), *_field_faults(written, base)]
    unusable = bool(faults) or not (written.levels or written.bounds)
    when, wrong = _conditions(written, names=names, later=later)
    faults += [*written.faults, *wrong]
    if unusable or wrong:
        return None, faults
    meanings = [_meanings(base, written, choice) for choice in written.levels]
    own = _own_choice(written, meanings, base=base)
    if found := _level_faults(written, meanings, own=own, first_is_base=first_is_base):
        return None, faults + found
    first = own is None and first_is_base and bool(written.levels)
    fields = fields_at(base.config, written.paths[0])
    axis = Axis(
        name=written.name,
        paths=written.paths,
        levels=written.levels,
        base=written.levels[0] if first else own or _base_itself(written, base),
        base_is_first=first,
        bounds=written.bounds,
        log=written.log,
        whole=written.bounds is not None and not isinstance(fields, str) and is_whole(fields),
        when=when,
        at=written.at,
        left_out=written.left_out,
    )
    return axis, faults


def resolve_unread(
    written: Written, *, values: Mapping[str, Any], first_is_base: bool, later: Sequence[str]
) -> tuple[Axis | None, list[Fault]]:
    """The same where the trainer is not known: what the base says of these fields is compared as it is written."""
    faults = [*_name_faults(written), *written.faults]
    when, wrong = _conditions(written, names=None, later=later)
    if faults or wrong or not (written.levels or written.bounds):
        return None, faults + wrong
    base = Base(BaseModel, values)
    stated = {path: own for path in written.paths if (own := base.own(path)) is not MISSING}
    own = next((level for level in written.levels if all(same(level.changes.get(path), stated[path]) for path in stated)), None)
    first = written.levels[0] if first_is_base and written.levels else None
    found = own or first or (_base_itself(written, base) if stated else _default(written, base))
    return Axis(written.name, written.paths, written.levels, found, bounds=written.bounds, when=when, at=written.at), faults


def _level_faults(written: Written, meanings: Sequence[Any], *, own: Choice | None, first_is_base: bool) -> list[Fault]:
    """Levels that the trainer would misread, that come twice, or that are called what the base is called."""
    faults = [
        fault
        for choice, meaning in zip(written.levels, meanings, strict=True)
        for path, value in choice.changes.items()
        if meaning is not MISSING and (fault := misread(value, meaning[path], at=choice.places[path]))
    ]
    if not faults and not written.faults and (fault := repeated(written.levels, meanings)):
        faults.append(fault)
    if own is None and not first_is_base and _has_own_name(written):
        named = next((choice for choice in written.levels if choice.label == BASE_LABEL), None)
        if named:
            faults.append(Fault(named.at, f"the level '{BASE_LABEL}' sets other values than the base; give it another name"))
    return faults


def _name_faults(written: Written) -> Iterator[Fault]:
    if written.name in RESERVED:
        yield Fault(
            written.at, f"'{written.name}' is a column of the results ({', '.join(RESERVED)}); name the axis otherwise", at_key=True
        )
    if _has_own_name(written) and not OWN_NAME.fullmatch(written.name):
        what = "the name of an axis has letters, digits, - _ . , up to 64, and starts with a letter or digit"
        yield Fault(written.at, f"found '{visible(written.name)}'; {what}", at_key=True)


def _field_name_faults(written: Written, base: Base) -> Iterator[Fault]:
    """An axis called like a field that it does not set."""
    elsewhere = _has_own_name(written) and not any(overlap(written.name, path) for path in written.paths)
    if elsewhere and written.paths and not isinstance(fields_at(base.config, written.name), str):
        yield Fault(written.at, f"'{written.name}' is a field, and this axis does not set it; name the axis otherwise", at_key=True)


def _field_faults(written: Written, base: Base) -> Iterator[Fault]:
    for path in written.paths:
        fields = fields_at(base.config, path)
        place = next((choice.places[path] for choice in written.levels if path in choice.places), written.at)
        at = written.at if written.paths == (written.name,) else place[: len(written.at) + 2] if "zip" in place else place
        if isinstance(fields, str):
            yield Fault(at, fields, at_key=True)
        elif above := base.value_above(path):
            message = f"found {shown(base.own(above))}; the axis {written.name} needs a mapping here"
            yield Fault(("base", *above.split(".")), message)


def _conditions(written: Written, *, names: ConfigNames | None, later: Sequence[str]) -> tuple[tuple[When, ...], list[Fault]]:
    faults = []
    found = [When(chosen(path, kind), written.at) for path, kind in written.context.items()]
    for text, at in written.when:
        try:
            condition = parse_condition(text, names=names.names if names else None, open_names=names.open_names if names else ())
        except ConditionError as error:
            faults += [Fault(at, message, column=column) for column, message in error.faults]
            continue
        found.append(When(condition, at))
        if at[: len(written.at)] != written.at:
            continue  # of an axis around this one, and checked there
        for name in condition.names:
            if name in written.paths:
                faults.append(Fault(at, f"'{name}' is what this axis varies; a condition speaks of what stands before it"))
            elif name in later:
                faults.append(Fault(at, f"'{name}' is varied by a later axis; write that axis before {written.name}"))
    return tuple(found), faults


def forward_faults(axes: Sequence[Axis], base: Base) -> Iterator[Fault]:
    """Conditions of axes that turn on what the axis itself or a later one varies: a property, or a field of another kind."""
    for place, axis in enumerate(axes):
        for condition, at in axis.when:
            for name in condition.names:
                if culprit := next((other for other in axes[place:] if _moves(name, other, base)), None):
                    what = "this axis varies" if culprit is axis else f"the later axis {culprit.name} varies"
                    yield Fault(at, f"'{name}' changes with what {what}; a condition speaks of what stands before its axis")


def _moves(name: str, axis: Axis, base: Base) -> bool:
    before = _looked_up(name, base, {})
    return any(not _agree(_looked_up(name, base, level.changes), before) for level in axis.levels[:MOST_TRIED])


def _agree(value: Any, before: Any) -> bool:
    return value == before or REFUSED in (value, before)


def _looked_up(name: str, base: Base, values: Mapping[str, Any]) -> Any:
    try:
        return lookup_in(base.config.model_validate(base.with_values(values)))(name)
    except ValidationError:
        return REFUSED
    except Unknown:
        return MISSING


def _meanings(base: Base, written: Written, choice: Choice) -> Any:
    return base.meanings({**written.context, **choice.changes}, paths=written.paths)


def _own_choice(written: Written, meanings: Sequence[Any], *, base: Base) -> Choice | None:
    """The level that is the base's own; the first where the base says nothing of these fields; None where it is no level."""
    own = {path: base.own(path) for path in written.paths}
    stated = {path: value for path, value in own.items() if value is not MISSING}
    if not stated:
        return _default(written, base) if written.bounds else written.levels[0]
    means = base.meanings(stated, paths=written.paths)
    for choice, meaning in zip(written.levels, meanings, strict=True):
        if means is not MISSING and meaning is not MISSING and same(meaning, means):
            return choice
        if len(own) == 1 and (same(stated[written.paths[0]], choice.value) or same(stated[written.paths[0]], choice.label)):
            return choice
    return None


def _default(written: Written, base: Base) -> Choice:
    """What the trainer takes where neither the base nor a level says anything: the middle of bounds may be anywhere."""
    assert written.bounds
    path = written.paths[0]
    found = base.default(path)
    value = written.bounds[0] if found is MISSING else found
    return one_field(path, value, at=written.at)


def _has_own_name(written: Written) -> bool:
    return written.paths != (written.name,)


def _base_itself(written: Written, base: Base) -> Choice:
    if _has_own_name(written):
        return Choice(BASE_LABEL, {}, {})
    path = written.paths[0]
    own = base.own(path)
    return Choice(label_of(own), {path: own}, {path: ("base", *path.split("."))})


def labels_of(axes: Sequence[Axis]) -> Mapping[str, tuple[Level, ...]]:
    """Axis -> its levels as results show them, the baseline first; empty where a design draws between bounds."""
    return {axis.name: axis.all_labels for axis in axes}
