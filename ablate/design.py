"""A study becomes its arms: each arm is one diff against the base, resolved and checked by the trainer's config.

The order is the author's: axes as written, levels as written, the last axis fastest. Everything a level, a condition or the base
gets wrong is collected and placed; an arm that comes out of here is one the trainer accepts.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from ablate.axes import Axis, Choice, Levels, label_of, label_text, misread, read_levels, repeated, same
from ablate.base import MISSING, Base, fields_at, is_whole
from ablate.conditions import Condition, ConditionError, Unknown, config_names, lookup_in, lookup_in_parts, parse_condition
from ablate.errors import InputError, Problem, did_you_mean
from ablate.explain import explain
from ablate.reader import Fault, Path, shown
from ablate.study import MAX_TRIALS, Level, Study
from ablate.trainers import load_trainer

MAX_REFUSED = 5_000
"""Refused cells after which the rest of a grid is not looked at: it has been said what is wrong."""


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


def make_arms(study: Study) -> tuple[Arm, ...]:
    """The arms of a planned design; none for a search. Raises InputError with every problem."""
    return _checked(draft_design(study)).arms


def count_removed(study: Study) -> dict[str, int]:
    """Condition -> cells of the design it is false in, each counted on its own."""
    return dict(_checked(draft_design(study, arms=False)).removed) if study.where else {}


def search_space(study: Study) -> tuple[Axis, ...]:
    """The axes a search suggests values for: labels of the levels, or numbers between the bounds."""
    return _checked(_read(study).draft()).axes


def axis_labels(study: Study) -> dict[str, tuple[Level, ...]]:
    """Axis -> its levels as results show them, the baseline first; empty where a search draws from bounds."""
    return {axis.path: () if axis.bounds else tuple(dict.fromkeys((axis.baseline, *axis.labels))) for axis in search_space(study)}


def arm_for(study: Study, levels: Mapping[str, Any]) -> Arm:
    """The arm at these levels (labels, or numbers between bounds); axes left out stay at the base."""
    design = _read(study)
    axes = _checked(design.draft()).axes
    if unknown := [path for path in levels if path not in study.axes]:
        raise InputError(f"unknown axis '{unknown[0]}' ({', '.join(study.axes)}){did_you_mean(unknown[0], study.axes)}")
    cell = tuple(axis.suggested(levels[axis.path]) if axis.path in levels else axis.base for axis in axes)
    try:
        config = design.base.config.model_validate(design.raw(cell))
    except ValidationError as error:
        faults = explain(error, design.base.config, design.raw(cell))
        raise InputError("\n".join(f"{design.name(cell)}: {'.'.join(map(str, fault.path))}: {fault.message}" for fault in faults)) from None
    return design.arm(cell, config)


def draft_design(study: Study, *, cells: bool = True, arms: bool = True) -> Draft:
    """Reads the axes and conditions and asks the trainer about every cell (`cells=False` where the base is not known), all faults noted."""
    design = _read(study)
    if cells:
        design.build(arms=arms)
    return design.draft()


def _checked(draft: Draft) -> Draft:
    if draft.problems:
        raise InputError(draft.problems)
    return draft


def _read(study: Study) -> "_Design":
    design = _Design(study, Base(load_trainer(study.trainer).Config, study.base))
    design.read_axes()
    for index, text in enumerate(study.where):
        design.read_condition(index, text)
    return design


Cell = tuple[Choice, ...]
"""One choice an axis, in the order of the axes."""


@dataclass
class _Design:
    """A design while it is read and built; faults gather on the way."""

    study: Study
    base: Base
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
            path: read_levels(written, at=("axes", path), search=self.study.design == "search") for path, written in self.study.axes.items()
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

    def _read_axis(self, path: str, read: Levels) -> None:
        fields = fields_at(self.base.config, path)
        if isinstance(fields, str):
            self.faults.append(Fault(("axes", path), fields, at_key=True))
        self.faults += read.faults
        if isinstance(fields, str) or not (read.levels or read.bounds):
            return
        if above := self.base.value_above(path):
            message = f"found {shown(self.base.own(above))}; the axis {path} needs a mapping here"
            self.faults.append(Fault(("base", *above.split(".")), message))
            return
        base = self._base_choice(path, read)
        if base is None:
            return
        whole = read.bounds is not None and is_whole(fields)
        first = self._leaves_out_base(path, base)
        self.axes.append(Axis(path, read.levels, base, base_is_first=first, bounds=read.bounds, log=read.log, whole=whole))
        if read.faults:
            self.partial.add(path)

    def read_condition(self, index: int, text: str) -> None:
        known = config_names(self.base.config)
        try:
            self.conditions.append(parse_condition(text, names=known.names, open_names=known.open_names))
        except ConditionError as error:
            self.faults += [Fault(("where", index), message, column=column) for column, message in error.faults]

    def _base_choice(self, path: str, read: Levels) -> Choice | None:
        """The base's own value as a choice (one of the levels where it is among them), after asking the trainer what the values mean."""
        meanings = [self.base.meaning(path, level.value) for level in read.levels]
        wrong = [misread(level, meaning) for level, meaning in zip(read.levels, meanings, strict=True)]
        self.faults += [fault for fault in wrong if fault]
        if any(wrong):
            return None
        if fault := repeated(read.levels, meanings):
            self.faults.append(fault)
            return None
        own = self.base.own(path)
        if own is MISSING:
            return self._default(path, read.bounds[0]) if read.bounds else read.levels[0]
        meaning = self.base.meaning(path, own)
        for level, means in zip(read.levels, meanings, strict=True):
            if same(own, level.value) or same(own, level.label) or (means is not MISSING and same(means, meaning)):
                return level
        if self.study.design == "grid" and read.levels:
            return read.levels[0]
        return Choice(label_of(own), own, ("base", *path.split(".")))

    def _leaves_out_base(self, path: str, base: Choice) -> bool:
        own = self.base.own(path)
        if own is MISSING or same(own, base.value) or same(own, base.label):
            return False
        meaning = self.base.meaning(path, own)
        return meaning is MISSING or not same(meaning, self.base.meaning(path, base.value))

    def _default(self, path: str, low: float) -> Choice:
        """What the trainer takes where neither the base nor a level says anything: the middle of a search's axis may be anywhere."""
        found = self.base.default(path)
        return Choice(low, low) if found is MISSING else Choice(label_of(found), found)

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
            bounds = [axis.suggested(bound)._replace(at=("axes", axis.path)) for bound in axis.bounds or ()] if ends else []
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
                config, error = self.base.config.model_validate(raw), None
            except ValidationError as caught:
                config, error = None, caught
            if not self._stays(lookup_in(config) if config else lookup_in_parts(self.base.config, raw)):
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
            self.base.config.model_validate(raw)
        except ValidationError as error:
            faults = explain(error, self.base.config, raw)
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
        return self.base.with_values({axis.path: choice.value for axis, choice in zip(self.axes, cell, strict=True)})

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
            f"{axis.path if last.count(short) > 1 else short}={label_text(choice.label)}"
            for axis, choice, short in zip(self.axes, cell, last, strict=True)
            if axis.changes_at(choice)
        ]
        return ",".join(parts) or "base"
