"""A study becomes its arms: each arm is one diff against the base, resolved and checked by the trainer's config.

The order is the author's: axes as written, levels as written, the last axis fastest. Everything a level, a condition or the base
gets wrong is collected and placed; an arm that comes out of here is one the trainer accepts.
"""

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Protocol, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ablate.conditions import Condition, ConditionError, Unknown, config_names, lookup_in, lookup_in_parts, parse_condition
from ablate.errors import InputError, Problem, did_you_mean
from ablate.reader import Fault, Marks, Path, explain, fields_in, fitting, models_in_fields, resolve, shown, visible
from ablate.trainers import load_trainer

MAX_TRIALS = 1_000_000
MAX_POINTS = 10_000
MAX_REFUSED = 5_000
"""Refused cells after which the rest of a grid is not looked at: it has been said what is wrong."""

Level = bool | int | float | str | None
"""One value of an axis as results show it; a data mix is shown as its ratio, such as `45:45:10`."""


class Declared(Protocol):
    """What a design reads of a study. Structural, because `study.py` reports the problems of a design and so imports this file."""

    @property
    def trainer(self) -> str: ...
    @property
    def base(self) -> Mapping[str, Any]: ...
    @property
    def axes(self) -> Mapping[str, Any]: ...
    @property
    def design(self) -> str: ...
    @property
    def where(self) -> Sequence[str]: ...
    @property
    def seeds(self) -> Sequence[int]: ...
    @property
    def marks(self) -> Marks: ...


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
            if _same(written, choice.label) or _same(written, choice.value):
                return choice
        return None


@dataclass(frozen=True)
class Arm:
    """One cell of the design. `name` is unique in the study."""

    name: str
    """Readable diff such as `mix=90:0:10,kind=c_abstractor`; `base` for the base itself."""
    levels: Mapping[str, Level]
    """Axis -> its level here, for every axis of the study: the axis columns of the results."""
    changes: Mapping[str, Any]
    """Axis -> value, only where this arm differs from the base."""
    config: Mapping[str, Any]
    """The whole trainer config, defaults filled in, as JSON values: what identity is made of."""


@dataclass(frozen=True)
class Draft:
    """All that can be said of a study's design, problems included."""

    axes: tuple[Axis, ...]
    """Those that could be read."""
    arms: tuple[Arm, ...] = ()
    removed: Mapping[str, int] = field(default_factory=dict)
    """Condition -> cells it is false in, each counted on its own."""
    problems: tuple[Problem, ...] = ()


def make_arms(study: Declared) -> tuple[Arm, ...]:
    """The arms of a planned design; none for a search. Raises InputError with every problem."""
    return _checked(draft_design(study)).arms


def count_removed(study: Declared) -> dict[str, int]:
    """Condition -> cells of the design it is false in, each counted on its own."""
    return dict(_checked(draft_design(study, arms=False)).removed) if study.where else {}


def search_space(study: Declared) -> tuple[Axis, ...]:
    """The axes a search suggests values for: labels of the levels, or numbers between the bounds."""
    return _checked(_read(study).draft()).axes


def baselines(study: Declared) -> dict[str, Level]:
    """Axis -> the level every other is measured against: the base's own, or the first."""
    return {axis.path: axis.baseline for axis in search_space(study)}


def axis_labels(study: Declared) -> dict[str, tuple[Level, ...]]:
    """Axis -> its levels as results show them, the baseline first; empty where a search draws from bounds."""
    return {axis.path: () if axis.bounds else tuple(dict.fromkeys((axis.baseline, *axis.labels))) for axis in search_space(study)}


def arm_for(study: Declared, levels: Mapping[str, Any]) -> Arm:
    """The arm at these levels (labels, or numbers between bounds); axes left out stay at the base."""
    design = _read(study)
    axes = _checked(design.draft()).axes
    if unknown := [path for path in levels if path not in study.axes]:
        raise InputError(f"unknown axis '{unknown[0]}' ({', '.join(study.axes)}){did_you_mean(unknown[0], study.axes)}")
    cell = tuple(_suggested(axis, levels[axis.path]) if axis.path in levels else axis.base for axis in axes)
    try:
        config = design.config.model_validate(design.raw(cell))
    except ValidationError as error:
        faults = explain(error, design.config, design.raw(cell))
        raise InputError("\n".join(f"{design.name(cell)}: {'.'.join(map(str, fault.path))}: {fault.message}" for fault in faults)) from None
    return design.arm(cell, config)


def draft_design(study: Declared, *, cells: bool = True, arms: bool = True) -> Draft:
    """Reads the axes and conditions and asks the trainer about every cell (`cells=False` where the base is not known), all faults noted."""
    design = _read(study)
    if cells:
        design.build(arms=arms)
    return design.draft()


def _checked(draft: Draft) -> Draft:
    if draft.problems:
        raise InputError(draft.problems)
    return draft


def _read(study: Declared) -> "_Design":
    design = _Design(study, load_trainer(study.trainer).Config)
    design.read_axes()
    for index, text in enumerate(study.where):
        design.read_condition(index, text)
    return design


Cell = tuple[Choice, ...]
"""One choice an axis, in the order of the axes."""


@dataclass
class _Design:
    """A design while it is read and built; faults gather on the way."""

    study: Declared
    config: type[BaseModel]
    axes: list[Axis] = field(default_factory=list)
    partial: set[str] = field(default_factory=set)
    """Axes of which only some levels could be read: good for finding further faults, and for nothing else."""
    conditions: list[Condition] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    arms: list[Arm] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)

    def draft(self) -> Draft:
        problems = tuple(dict.fromkeys(self.study.marks.problem(fault) for fault in self.faults))
        return Draft(tuple(axis for axis in self.axes if axis.path not in self.partial), tuple(self.arms), self.removed, problems)

    def read_axes(self) -> None:
        """Fills `axes`, after counting what they come to: a grid too large is not looked at any further."""
        read = {
            path: _read_levels(written, at=("axes", path), search=self.study.design == "search")
            for path, written in self.study.axes.items()
        }
        numbers = [len(levels.levels) for levels in read.values()]
        if self.study.design == "search":
            cells = 0
        else:
            cells = math.prod(numbers) if self.study.design == "grid" else 1 + sum(numbers)
        if cells * len(self.study.seeds) > MAX_TRIALS:
            counted = f"{(' x ' if self.study.design == 'grid' else ' + ').join(map(str, numbers))} levels x {len(self.study.seeds)} seeds"
            message = f"{counted} are {cells * len(self.study.seeds):,} trials, the limit is {MAX_TRIALS:,}"
            self.faults.append(Fault(("axes",), f"{message}: fewer levels, or design: one_at_a_time or search"))
            return
        for path, levels in read.items():
            self._read_axis(path, levels)

    def _read_axis(self, path: str, read: "_Levels") -> None:
        fields = _fields_at(self.config, path)
        if isinstance(fields, str):
            self.faults.append(Fault(("axes", path), fields, at_key=True))
        self.faults += read.faults
        if isinstance(fields, str) or not (read.levels or read.bounds):
            return
        if taken := _not_a_group(self.study.base, path):
            self.faults.append(
                Fault(("base", *taken), f"found {shown(_written(self.study.base, taken))}; the axis {path} needs a mapping here")
            )
            return
        base = self._base_choice(path, read)
        if base is None:
            return
        whole = read.bounds is not None and _is_whole(fields)
        first = self._leaves_out_base(path, base)
        self.axes.append(Axis(path, read.levels, base, base_is_first=first, bounds=read.bounds, log=read.log, whole=whole))
        if read.faults:
            self.partial.add(path)

    def read_condition(self, index: int, text: str) -> None:
        known = config_names(self.config)
        try:
            self.conditions.append(parse_condition(text, names=known.names, open_names=known.open_names))
        except ConditionError as error:
            self.faults += [Fault(("where", index), message, column=column) for column, message in error.faults]

    def _base_choice(self, path: str, read: "_Levels") -> Choice | None:
        """The base's own value as a choice (one of the levels where it is among them), after asking the trainer what the values mean."""
        meanings = [self._meaning(path, level.value) for level in read.levels]
        wrong = [_misread(level, meaning) for level, meaning in zip(read.levels, meanings, strict=True)]
        self.faults += [fault for fault in wrong if fault]
        if any(wrong):
            return None
        if fault := _repeated(read.levels, meanings):
            self.faults.append(fault)
            return None
        own = _written(self.study.base, tuple(path.split(".")))
        if own is _MISSING:
            return read.levels[0] if read.levels else self._default(path, read)
        meaning = self._meaning(path, own)
        for level, means in zip(read.levels, meanings, strict=True):
            if _same(own, level.value) or _same(own, level.label) or (means is not _MISSING and _same(means, meaning)):
                return level
        if self.study.design == "grid" and read.levels:
            return read.levels[0]
        return Choice(_label(own), own, ("base", *path.split(".")))

    def _leaves_out_base(self, path: str, base: Choice) -> bool:
        own = _written(self.study.base, tuple(path.split(".")))
        if own is _MISSING or _same(own, base.value) or _same(own, base.label):
            return False
        meaning = self._meaning(path, own)
        return meaning is _MISSING or not _same(meaning, self._meaning(path, base.value))

    def _default(self, path: str, read: "_Levels") -> Choice:
        """What the trainer takes where neither the base nor a level says anything: the middle of a search's axis may be anywhere."""
        assert read.bounds
        try:
            config = self.config.model_validate(dict(self.study.base)).model_dump(mode="json")
        except ValidationError:
            return Choice(read.bounds[0], read.bounds[0])
        found = _written(config, tuple(path.split(".")))
        return Choice(_label(found), found) if found is not _MISSING else Choice(read.bounds[0], read.bounds[0])

    def _meaning(self, path: str, value: Any) -> Any:
        """The value after the trainer has read it, where the base takes it at all."""
        try:
            config = self.config.model_validate(self._set({path: value})).model_dump(mode="json")
        except ValidationError:
            return _MISSING
        return _written(config, tuple(path.split(".")))

    def build(self, *, arms: bool) -> None:
        """Fills `arms`, or `faults`. Where something is wrong already the levels are tried one at a time, to say what else is."""
        search = self.study.design == "search"
        if search and self.study.where:
            self.faults.append(Fault(("where",), "conditions do not go with design: search; narrow the bounds of its axes"))
        if search or self.faults:
            known, self.faults = self.faults, []
            self._try(self._singles(ends=True), arms=False, whole=False)
            paths = {fault.path for fault in known}
            self.faults = known + [fault for fault in self.faults if fault.path not in paths]
            return
        grid = self.study.design == "grid"
        self._try(itertools.product(*(axis.levels for axis in self.axes)) if grid else self._singles(ends=False), arms=arms, whole=True)

    def _reference(self) -> Cell:
        return tuple(axis.base for axis in self.axes)

    def _singles(self, *, ends: bool) -> Iterator[Cell]:
        """The base, then one change at a time; with `ends` the bounds of a search count as levels."""
        base = self._reference()
        yield base
        for place, axis in enumerate(self.axes):
            bounds = [_suggested(axis, bound)._replace(at=("axes", axis.path)) for bound in axis.bounds or ()] if ends else []
            for level in (*axis.levels, *bounds):
                if level != base[place]:
                    yield (*base[:place], level, *base[place + 1 :])

    def _try(self, cells: Iterable[Cell], *, arms: bool, whole: bool) -> None:
        """Removes cells by the conditions, then lets the trainer refuse; what is left becomes arms."""
        seen = refused = 0
        base_stays = self.study.design == "grid"
        self.removed = dict.fromkeys((condition.text for condition in self.conditions), 0)
        messages: set[str] = set()
        left: list[set[Level]] = [set() for _ in self.axes]
        usual = self._refusals(self._reference(), usual=None)
        for cell in cells:
            seen += 1
            raw = self.raw(cell)
            try:
                config, error = self.config.model_validate(raw), None
            except ValidationError as caught:
                config, error = None, caught
            if not self._stays(lookup_in(config) if config else lookup_in_parts(self.config, raw)):
                continue
            for levels, choice in zip(left, cell, strict=True):
                levels.add(choice.label)
            base_stays = base_stays or seen == 1
            if error:
                refused += 1
                for fault in self._refusals(cell, usual=usual):
                    if fault.message not in messages:
                        messages.add(fault.message)
                        self.faults.append(fault)
                if refused >= MAX_REFUSED:
                    return
            elif config and arms:
                self.arms.append(self.arm(cell, config))
        if whole:
            self._check_left(left, seen, base_stays=base_stays)

    def _stays(self, lookup: Any) -> bool:
        stays = True
        for index, condition in enumerate(self.conditions):
            try:
                holds = condition.holds(lookup)
            except Unknown:
                continue  # the cell is one the trainer refuses, and says why
            except ConditionError as error:
                faults = [Fault(("where", index), message, column=column) for column, message in error.faults]
                known = {(fault.path, fault.column) for fault in self.faults}
                self.faults += [fault for fault in faults if (fault.path, fault.column) not in known]
                continue
            if not holds:
                self.removed[condition.text] += 1
                stays = False
        return stays

    def _check_left(self, left: Sequence[set[Level]], seen: int, *, base_stays: bool) -> None:
        counts = ", ".join(f"`{text}` removes {count}" for text, count in self.removed.items())
        if self.axes and not any(left):
            if seen:
                self.faults.append(Fault(("where",), f"the conditions leave nothing of {seen} cells: {counts}"))
            return
        if not base_stays:
            self.faults.append(Fault(("where",), f"the base itself is removed, which every level is measured against: {counts}"))
            return
        for axis, labels in zip(self.axes, left, strict=True):
            if axis.baseline not in labels:
                level = f"{axis.path} = {axis.baseline}"
                self.faults.append(
                    Fault(("where",), f"no cell with {level} is left, which the other levels are measured against: {counts}")
                )

    def _refusals(self, cell: Cell, *, usual: Sequence[Fault] | None) -> list[Fault]:
        """The trainer's objections to a cell, each at the level or the line of the base that earned it."""
        raw = self.raw(cell)
        try:
            self.config.model_validate(raw)
        except ValidationError as error:
            faults = explain(error, self.config, raw)
            if len(self.conditions) < len(self.study.where):  # the condition that cannot be read may be the one that removes the cell
                faults = [fault for fault in faults if not self._axes_under(fault.path)]
            messages = None if usual is None else {fault.message for fault in usual}
            return [self._blame(fault, cell, usual=messages is None or fault.message in messages) for fault in faults]
        return []

    def _axes_under(self, path: Path) -> set[str]:
        """The axes of fields inside the group at `path`."""
        group = "".join(f"{part}." for part in path)
        return {axis.path for axis in self.axes if axis.path.startswith(group)}

    def _blame(self, fault: Fault, cell: Cell, *, usual: bool) -> Fault:
        """The fault at the level that earned it: that of its own field, else a change its message names. A `usual` one the base has too."""
        path = "".join(f"{part}." for part in fault.path)
        chosen = [(axis, choice) for axis, choice in zip(self.axes, cell, strict=True) if choice.at]
        for axis, choice in chosen:
            if path.startswith(f"{axis.path}."):
                return fault._replace(path=choice.at, at_key=False)
        under = self._axes_under(fault.path)
        suspects = [(axis, choice) for axis, choice in chosen if choice != axis.base or (usual and axis.path in under)]
        named = [pair for pair in suspects if re.search(rf"\b{re.escape(pair[0].path.rpartition('.')[2])}\b", fault.message)]
        inside = [pair for pair in suspects if pair[0].path in under]
        blamed = named if usual else named or inside or suspects
        if fault.at_key or not blamed:
            return fault._replace(path=("base", *fault.path))
        return fault._replace(path=blamed[-1][1].at)

    def raw(self, cell: Cell) -> dict[str, Any]:
        """The base as written with this cell's values in place."""
        return self._set({axis.path: choice.value for axis, choice in zip(self.axes, cell, strict=True)})

    def _set(self, values: Mapping[str, Any]) -> dict[str, Any]:
        raw = dict(self.study.base)
        for path in sorted(values, key=lambda path: not _members(self.config, path)):  # a new kind first, then what belongs to it
            *groups, last = path.split(".")
            here = raw
            for group in groups:
                here[group] = dict(here.get(group) or {})
                here = here[group]
            here[last] = values[path]
            if models := _members(self.config, path):
                keys, known = fields_in(fitting(models, here)), fields_in(models)
                for name in [name for name in here if name in known and name not in keys]:
                    del here[name]  # the base's settings of the kind that was replaced
        return raw

    def arm(self, cell: Cell, config: BaseModel) -> Arm:
        return Arm(
            name=self.name(cell),
            levels={axis.path: choice.label for axis, choice in zip(self.axes, cell, strict=True)},
            changes={axis.path: choice.value for axis, choice in zip(self.axes, cell, strict=True) if axis.changes_at(choice)},
            config=config.model_dump(mode="json"),
        )

    def name(self, cell: Cell) -> str:
        last = [axis.path.rpartition(".")[2] for axis in self.axes]
        parts = [
            f"{axis.path if last.count(short) > 1 else short}={_label_text(choice.label)}"
            for axis, choice, short in zip(self.axes, cell, last, strict=True)
            if axis.changes_at(choice)
        ]
        return ",".join(parts) or "base"


_MISSING = object()
_RATIO_PART = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")


@dataclass
class _Levels:
    """An axis as it is written, before anybody asks the trainer."""

    levels: tuple[Choice, ...] = ()
    bounds: tuple[float, float] | None = None
    log: bool = False
    faults: list[Fault] = field(default_factory=list)


def _read_levels(written: Any, *, at: Path, search: bool) -> _Levels:
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
            return _Levels(faults=[Fault(at, f"found {shown(written)}{close}; {forms}")])
        case None | [] | Mapping():
            return _Levels(faults=[Fault(at, f"an axis needs at least one level; {forms}")])
    return _Levels(faults=[Fault(at, f"found {shown(written)}, and an axis needs a list of levels; {forms}")])


def _listed(written: Sequence[Any], *, at: Path) -> _Levels:
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


def _without_repeats(levels: Sequence[Choice], meanings: Sequence[Any], faults: list[Fault]) -> "_Levels":
    if not faults and (fault := _repeated(levels, meanings)):
        return _Levels(tuple(level for level in levels if level.at != fault.path), faults=[fault])
    return _Levels(tuple(levels), faults=faults)


def _mixed(written: Sequence[Any], kinds: Sequence[str], *, at: Path) -> Fault:
    words = " and ".join(dict.fromkeys(sorted(kinds)))
    for index, value in enumerate(written):
        if isinstance(value, str) and not isinstance(resolve(value), str):
            return Fault((*at, index), f"levels mix {words}: write {visible(value)} without quotes")
    odd = next(index for index, kind in enumerate(kinds) if kind != kinds[0])
    return Fault((*at, odd), f"levels mix {words}: {shown(written[odd])} beside {shown(written[0])}; write all of one kind")


def _spaced(written: Mapping[str, Any], *, at: Path, search: bool) -> _Levels:
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
        return _Levels(faults=faults)
    if points is None:
        return _Levels(bounds=(float(bounds[0]), float(bounds[1])), log=form == "log")
    values = _points(bounds[0], bounds[1], points, log=form == "log")
    levels = tuple(Choice(value, value, at) for value in values)
    fault = _repeated(levels, values)
    return _Levels(levels, faults=[fault] if fault else [])


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


def _mixes(written: Mapping[str, Any], *, at: Path) -> _Levels:
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
        return _Levels(faults=faults)
    levels = []
    for index, mix in enumerate(mixes):
        try:
            levels.append(Choice(_label(mix, sources), _shares(mix, sources), (*at, "list", index)))
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


def _label(value: Any, sources: Sequence[str] = ()) -> Level:
    """What results show: shares by source as percentages in their order, the rest as it is."""
    if isinstance(value, Mapping) and value and all(_kind(share) == "numbers" for share in value.values()):
        return ":".join(f"{100 * value[source]:.6g}" for source in (sources if set(sources) <= set(value) and sources else value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value, sort_keys=True)


def _label_text(label: Level) -> str:
    match label:
        case bool():
            return str(label).lower()
        case float():
            return f"{label:g}" if float(f"{label:g}") == label else repr(label)
        case str() if re.search(r"[,=\"]|[^\x20-\x7e]", label):
            return json.dumps(label)  # an arm's name stays readable, and two never read alike
    return str(label)


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "numbers"
        case str():
            return "text"
    return ""


def _same(left: Any, right: Any) -> bool:
    """Whether two values mean one level: 1 and 1.0 do, 1 and true do not."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if _kind(left) != _kind(right):
        return False
    return math.isclose(left, right, rel_tol=1e-12) if _kind(left) == "numbers" else bool(left == right)


def _repeated(levels: Sequence[Choice], meanings: Sequence[Any]) -> Fault | None:
    """The first two levels that mean the same; what has no meaning is like nothing."""
    seen: dict[str, int] = {}
    for index, meaning in enumerate(meanings):
        if meaning is _MISSING:
            continue
        key = json.dumps(meaning, sort_keys=True) if _kind(meaning) != "numbers" else repr(float(meaning))
        if key in seen:
            first = levels[seen[key]].label
            alike = "" if _same(first, levels[index].label) else f" and {levels[index].label}"
            return Fault(levels[index].at, f"levels {seen[key] + 1} and {index + 1} are the same: {first}{alike}")
        seen[key] = index
    return None


def _misread(level: Choice, meaning: Any) -> Fault | None:
    """A text or boolean that the trainer would quietly take for a number."""
    if _kind(meaning) != "numbers" or _kind(level.value) in ("numbers", ""):
        return None
    bare = isinstance(level.value, str) and _kind(resolve(level.value)) == "numbers"
    hint = f"; write {visible(level.value)} without quotes" if bare else ""
    return Fault(level.at, f"expected a number, found {shown(level.value)}{hint}")


def _suggested(axis: Axis, value: Any) -> Choice:
    if axis.bounds is None or _kind(value) != "numbers":
        found = axis.find(value)
        if found is None:
            raise InputError(f"axis {axis.path}: no level {shown(value)} ({', '.join(map(str, axis.labels)) or axis.bounds})")
        return found
    low, high = axis.bounds
    drawn: int | float = min(max(_six_digits(value), low), high)
    if axis.whole:
        drawn = min(max(round(drawn), math.ceil(low)), math.floor(high))
    return Choice(drawn, drawn)


def _unknown_key(key: str, known: Sequence[str], *, at: Path) -> Fault:
    return Fault((*at, key), f"unknown key '{visible(key)}' (allowed: {', '.join(known)}){did_you_mean(key, known)}", at_key=True)


def _fields_at(config: type[BaseModel], path: str) -> tuple[FieldInfo, ...] | str:
    """The fields a dotted path may mean in the trainer's config, or the sentence that says why there is none."""
    models: tuple[type[BaseModel], ...] = (config,)
    found: tuple[FieldInfo, ...] = ()
    parts = path.split(".")
    for place, part in enumerate(parts):
        so_far = ".".join(parts[:place])
        if place and not models:
            if any(get_origin(info.annotation) is dict for info in found):
                return found
            return f"{so_far} is one value, and nothing lies under it; write {so_far}"
        fields = fields_in(models)
        if part not in fields:
            hint = did_you_mean(part, fields) or did_you_mean(path, config_names(config).names)
            return f"no field '{visible(part)}'{f' in {so_far}' if so_far else ''} ({', '.join(fields)}){hint}"
        found = tuple(fields[part])
        models = models_in_fields(found)
    return found


@lru_cache(maxsize=1024)
def _members(config: type[BaseModel], path: str) -> tuple[type[BaseModel], ...]:
    """The union's members where the path is the literal that picks one, such as `connector.kind`; else nothing."""
    group, _, last = path.rpartition(".")
    fields = _fields_at(config, group) if group else "none"
    models = () if isinstance(fields, str) else models_in_fields(fields)
    literal = all(get_origin(info.annotation) is Literal for info in fields_in(models).get(last, []))
    return models if len(models) > 1 and literal else ()


def _is_whole(fields: Iterable[FieldInfo]) -> bool:
    return all(
        info.annotation is int or (get_origin(info.annotation) is Annotated and get_args(info.annotation)[0] is int) for info in fields
    )


def _written(values: Any, path: Path) -> Any:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return _MISSING
        values = values[part]
    return values


def _not_a_group(base: Mapping[str, Any], path: str) -> Path:
    """The part of the path where the base has a single value and the axis would need a mapping."""
    parts = path.split(".")
    for end in range(1, len(parts)):
        found = _written(base, tuple(parts[:end]))
        if found is not _MISSING and found is not None and not isinstance(found, Mapping):
            return tuple(parts[:end])
    return ()
