"""A study's design while it is drafted: its axes and conditions are read, its cells tried on the trainer, and all that is wrong is noted.

What comes of it is a `Draft`; `design.py` is where to ask for one.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from ablate.axes import Axis, forward_faults, resolve
from ablate.base import Base, Reader
from ablate.blame import Blame
from ablate.blocks import Block, Fractional, Grid, ListedArms
from ablate.cells import (
    Cell,
    block_faults,
    cells_of,
    count_sign,
    draws,
    grid_size,
    most_cells,
    pairs,
    reference,
    single_changes,
    varied,
    whole_space,
)
from ablate.conditions import Condition, ConditionError, Lookup, Unknown, parse_condition
from ablate.errors import InputError, Problem
from ablate.fields import config_names, lookup_in, lookup_in_parts
from ablate.forms import Written, read_axes
from ablate.levels import ABSENT, Choice, label_text
from ablate.marked_yaml import Fault, Marks, Path
from ablate.model import MAX_TRIALS, Level
from ablate.study import Study

MAX_REFUSED = 5_000
"""Refused cells after which the rest of a grid is not looked at: it has been said what is wrong."""
MAX_TRIED = 100_000
"""Cells that a random sample draws in vain before it gives up."""
MAX_SPACE = 2_000
"""Combinations of a search's levels up to which they are all asked whether a conditional axis ever applies."""
SMALLER = "fewer levels, or a sample ({kind: grid, sample: 200}), fractional, latin_hypercube, one_at_a_time or search"


_Key = tuple[Level, ...]
"""A cell by its labels, in the order of the axes."""


@dataclass(frozen=True)
class Arm:
    """One cell of the design. `name` is unique in the study."""

    name: str
    """Readable diff such as `mix=90:0:10,kind=c_abstractor`; `base` for the base itself."""
    levels: Mapping[str, Level]
    """Axis -> its level here, for every axis of the study: the axis columns of the results. None where the axis does not apply."""
    changes: Mapping[str, Any]
    """Dotted path into the config -> value, only where this arm differs from the base."""
    config: Mapping[str, Any]
    """The whole trainer config, defaults filled in, as JSON values: what identity is made of. Arms share its parts."""
    settings: BaseModel = field(repr=False, compare=False)
    """The same as the trainer's own model."""
    seeds: tuple[int, ...] | None = None
    """Those of the blocks that list it; None: the study's."""


@dataclass(frozen=True)
class Draft:
    """All that can be said of a study's design, faults included."""

    names: tuple[str, ...] = ()
    """Of every axis that is written."""
    axes: tuple[Axis, ...] = ()
    """Those that could be read whole."""
    arms: tuple[Arm, ...] = ()
    removed: Mapping[str, int] = field(default_factory=dict)
    """Condition -> cells it is false in, each counted on its own."""
    faults: tuple[Fault, ...] = ()

    def problems(self, marks: Marks) -> tuple[Problem, ...]:
        return tuple(dict.fromkeys(marks.problem(fault) for fault in self.faults))


Until = Literal["axes", "levels", "arms"]
"""How far a design is drafted: its axes and conditions are read; the levels are tried on the trainer one at a time; the arms are built."""


def block_at(study: Study, index: int) -> Path:
    """Where a block is written: under `design` itself where it stands there alone."""
    return ("design", index) if len(study.design) > 1 or ("design", 0) in study.marks.values else ("design",)


def own_seeds(block: Block) -> tuple[int, ...] | None:
    """Those of its arms; None: the study's."""
    return block.seeds if isinstance(block, ListedArms) else None


def too_many(study: Study, written: Sequence[Written]) -> list[Fault]:
    """The fault of a design with too many trials, by arithmetic alone."""
    counts, most, trials = [], [], 0
    for block in study.design:
        chosen = getattr(block, "axes", None)
        # an axis that does not apply everywhere multiplies nothing for certain
        known = [axis for axis in written if (chosen is None or axis.name in chosen) and not axis.when and not axis.context]
        numbers = [max(len(axis.levels), 1) for axis in known]
        most.append(most_cells(block, numbers))
        trials += most[-1] * len(own_seeds(block) or study.seeds)
        counts.append(
            f"{count_sign(block).join(map(str, numbers))} levels" if isinstance(block, Grid) and not block.sample else f"{most[-1]} arms"
        )
    if trials <= MAX_TRIALS:
        return []
    counted = counts[0] if len(counts) == 1 else f"({' + '.join(counts)})"
    seeds = "with their seeds" if any(map(own_seeds, study.design)) else f"x {len(study.seeds)} seeds"
    message = f"{counted} {seeds} are {trials:,} trials, the limit is {MAX_TRIALS:,}: {SMALLER}"
    return [Fault(("axes",) if "levels" in counted else ("design",), message)]


@dataclass
class Drafting:
    """A design while it is read and built; faults gather on the way."""

    study: Study
    base: Base
    names: tuple[str, ...] = ()
    """Of every axis that is written."""
    axes: list[Axis] = field(default_factory=list)
    partial: set[str] = field(default_factory=set)
    """Axes of which only some levels could be read: good for finding further faults, and for nothing else."""
    conditions: list[Condition] = field(default_factory=list)
    too_large: bool = False
    """A grid too large is not looked at any further."""
    faults: list[Fault] = field(default_factory=list)
    arms: dict[_Key, Arm] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)

    def draft(self) -> Draft:
        whole = tuple(axis for axis in self.axes if axis.name not in self.partial)
        return Draft(self.names, whole, tuple(self.arms.values()), self.removed, tuple(dict.fromkeys(self.faults)))

    def read(self) -> None:
        """Fills `axes` and `conditions`, after counting what they come to."""
        written = read_axes(self.study.axes, drawn=any(map(draws, self.study.design)))
        self.names = tuple(axis.name for axis in written)
        if found := too_many(self.study, written):
            self.too_large = True
            self.faults += [*found, *(fault for axis in written for fault in axis.faults)]
            return
        known = config_names(self.base.config)
        grids = [block for block in self.study.design if isinstance(block, Grid)]
        for place, axis in enumerate(written):
            in_grid = any(block.axes is None or axis.name in block.axes for block in grids)
            later = [path for other in written[place + 1 :] for path in other.paths]
            resolved, faults = resolve(axis, base=self.base, names=known, first_is_base=in_grid, later=later)
            self.faults += faults
            if resolved:
                self.axes.append(resolved)
                if axis.faults:
                    self.partial.add(axis.name)
        if not self.faults:
            self.faults += forward_faults(self.axes, self.base)
        for index, text in enumerate(self.study.where):
            try:
                self.conditions.append(parse_condition(text, names=known.names, open_names=known.open_names))
            except ConditionError as error:
                self.faults += [Fault(("where", index), message, column=column) for column, message in error.faults]

    def build(self, *, arms: bool) -> None:
        """Fills `arms`, or `faults`. Where something is wrong already the levels are tried one at a time, to say what else is."""
        if self.study.search and self.study.where:
            self.faults.append(Fault(("where",), "conditions do not go with design: search; narrow the bounds of its axes"))
        axes = {axis.name: axis for axis in self.axes}
        for index, block in enumerate(self.study.design if arms else ()):
            self.faults += block_faults(block, axes, names=self.names, at=block_at(self.study, index))
        if not arms or self.study.search or self.faults:
            known, self.faults = self.faults, []
            self._try(single_changes(self.axes, applies=self.applies), arms=False)
            paths = {fault.path for fault in known}
            self.faults = known + [fault for fault in self.faults if fault.path not in paths]
            if self.study.search and not self.faults:
                cells = list(islice(whole_space(self.axes, applies=self.applies), MAX_SPACE + 1))
                self.faults += self._never_applied(cells) if len(cells) <= MAX_SPACE else ()
            return
        self.removed = dict.fromkeys((condition.text for condition in self.conditions), 0)
        for index, block in enumerate(self.study.design):
            self._build_block(block, at=block_at(self.study, index))
        if not self.faults:
            self.faults += self._never_applied(self.arms)

    def _build_block(self, block: Block, *, at: Path) -> None:
        wanted = block.sample if isinstance(block, Grid) else None
        most = MAX_TRIALS // len(self.study.seeds)
        if isinstance(block, Grid) and not wanted and grid_size(self.axes, varied(block, self.axes), self.applies, limit=most) > most:
            self.faults.append(Fault(("axes",), f"more than {MAX_TRIALS:,} trials: {SMALLER}"))
            return
        try:
            cells = cells_of(block, self.axes, applies=self.applies)
            found = self._try(cells, wanted=wanted, seeds=own_seeds(block))
        except InputError as error:  # a design that cannot be made for so many axes
            self.faults.append(Fault(at, str(error)))
            return
        if not found.kept:
            self.faults.append(Fault(("where",), f"the conditions leave nothing of {found.seen:,} cells: {self._counts()}"))
        elif wanted and found.ended_early and len(found.kept) < wanted and not self.faults:
            message = f"only {len(found.kept):,} of {found.seen:,} cells drawn satisfy the conditions, {wanted:,} are wanted"
            self.faults.append(Fault((*at, "sample"), f"{message}: {self._counts()}"))
        elif isinstance(block, Fractional) and len(found.kept) < found.seen:
            message = f"a fraction with runs missing cannot tell its effects apart, and conditions remove some: {self._counts()}"
            self.faults.append(Fault(("where",), f"{message}; take one_at_a_time, latin_hypercube or sobol"))
        elif pairs(block):
            self._check_baselines(found, base_stays=block.kind in ("grid", "leave_one_out"))

    def _try(
        self, cells: Iterable[Cell], *, arms: bool = True, wanted: int | None = None, seeds: tuple[int, ...] | None = None
    ) -> "_Tried":
        """Removes cells by the conditions, then lets the trainer refuse; what is left becomes arms, or gives those there are its seeds."""
        found, messages = _Tried(), set[str]()
        accepted, refused = set[tuple[int, Level]](), list[tuple[Fault, _Key]]()
        blame = Blame(self.axes, self.base, reference(self.axes, self.applies), len(self.conditions) < len(self.study.where))
        most_seen = None if wanted is None else MAX_TRIED + 2 * wanted
        for cell in cells:
            if found.seen == most_seen or len(found.kept) == wanted or found.refused == MAX_REFUSED:
                found.ended_early = True
                break
            found.seen += 1
            if arms and wanted is None and max(found.seen, len(self.arms)) * len(self.study.seeds) > MAX_TRIALS:
                self.faults.append(Fault(("axes",), f"more than {MAX_TRIALS:,} trials: {SMALLER}"))
                break
            config = self._config(cell)
            if self.conditions and not self._stays(lookup_in(config) if config else lookup_in_parts(self.base.config, self.raw(cell))):
                continue
            key = tuple([choice.label for choice in cell])
            found.kept.add(key)
            if config is None:
                found.refused += 1
                new = [fault for fault in blame.refusals(cell) if fault.message not in messages]
                messages |= {fault.message for fault in new}
                refused += [(fault, key) for fault in new]
            else:
                accepted |= set(enumerate(key))
                if arms and key not in self.arms:
                    self.arms[key] = self.arm(cell, config, seeds)
                elif arms:
                    known = self.arms[key].seeds or self.study.seeds
                    new_seeds = tuple(seed for seed in seeds or self.study.seeds if seed not in known)
                    self.arms[key] = replace(self.arms[key], seeds=(*known, *new_seeds)) if new_seeds else self.arms[key]
        for fault, key in refused:
            # each of its levels is fine in some other cell
            way_out = "; or leave the combination out with where" if accepted.issuperset(enumerate(key)) else ""
            self.faults.append(fault._replace(message=fault.message + way_out))
        return found

    def _config(self, cell: Cell) -> BaseModel | None:
        """None where the trainer refuses it."""
        try:
            return self.reader.read([choice.changes for choice in cell])
        except ValidationError:
            return None

    def _stays(self, lookup: Lookup) -> bool:
        stays = True
        for index, condition in enumerate(self.conditions):
            try:
                holds = condition.holds(lookup)
            except Unknown:
                continue  # another kind's field; or the cell is one the trainer refuses, and says why
            except ConditionError as error:
                self._note(Fault(("where", index), message, column=column) for column, message in error.faults)
                continue
            if not holds:
                self.removed[condition.text] = self.removed.get(condition.text, 0) + 1
                stays = False
        return stays

    def applies(self, place: int, before: Sequence[Choice]) -> bool:
        """Whether the axis at a place applies after these choices; where its condition has no value it does not."""
        lookup = lookup_in_parts(self.base.config, self.raw(before))
        for condition, at in self.axes[place].when:
            try:
                if not condition.holds(lookup):
                    return False
            except Unknown:
                return False
            except ConditionError as error:
                self._note(Fault(at, message, column=column) for column, message in error.faults)
                return False
        return True

    def _note(self, faults: Iterable[Fault]) -> None:
        """Each place once, however many cells it goes wrong in."""
        known = {(fault.path, fault.column) for fault in self.faults}
        self.faults += [fault for fault in faults if (fault.path, fault.column) not in known]

    def _counts(self) -> str:
        return ", ".join(f"`{text}` removes {count:,}" for text, count in self.removed.items())

    def _check_baselines(self, found: "_Tried", *, base_stays: bool) -> None:
        if not self.conditions:
            return  # nothing was removed
        base = tuple(choice.label for choice in reference(self.axes, self.applies))
        if not base_stays and base not in found.kept:
            self.faults.append(Fault(("where",), f"the base itself is removed, which every level is measured against: {self._counts()}"))
            return
        for axis, column in zip(self.axes, zip(*found.kept, strict=True), strict=True):
            labels = set(column)
            if labels - {None} and axis.baseline not in labels:
                level = f"{axis.name} = {axis.baseline}"
                message = f"no cell with {level} is left, which the other levels are measured against: {self._counts()}"
                self.faults.append(Fault(("where",), message))

    def _never_applied(self, cells: Iterable[Sequence[Any]]) -> Iterator[Fault]:
        """An axis that has a level in none of these cells (or their labels)."""
        unseen = {place for place, axis in enumerate(self.axes) if axis.when}
        for cell in cells if unseen else ():
            unseen -= {place for place in unseen if cell[place] not in (None, ABSENT)}
            if not unseen:
                return
        for place, axis in enumerate(self.axes):
            if place in unseen:
                texts = " and ".join(when.condition.text for when in axis.when)
                yield Fault(axis.at, f"the axis {axis.name} applies in no arm: {texts} holds nowhere", at_key=True)

    def raw(self, cell: Sequence[Choice]) -> dict[str, Any]:
        """The base as written with the cell's values in place; a cell cut short leaves the axes after it at the base."""
        return self.base.with_values({path: value for choice in cell for path, value in choice.changes.items()})

    def arm(self, cell: Cell, config: BaseModel, seeds: tuple[int, ...] | None = None) -> Arm:
        """Each changed axis with its level is the arm's name."""
        levels: dict[str, Level] = {}
        changes: dict[str, Any] = {}
        parts = []
        short_names = self.short_names
        for axis, choice in zip(self.axes, cell, strict=True):
            levels[axis.name] = choice.label
            if axis.changes_at(choice):
                changes.update(choice.changes)
                parts.append(f"{short_names[axis.name]}={label_text(choice.label)}")
        return Arm(",".join(parts) or "base", levels, changes, self.reader.as_json(config), config, seeds)

    @cached_property
    def short_names(self) -> dict[str, str]:
        """Axis -> the end of its name that no other field of the config has: the same whatever else the study varies.

        The ends of `train.steps` are no ends of `sft.train.steps`, which could be told apart from it by none of them.
        """
        known = config_names(self.base.config)
        names = {*known.names, *known.open_names, *self.names}
        ends = Counter(end for name in names for end in _own_ends(name, names))
        return {name: next((end for end in _own_ends(name, names) if ends[end] == 1), name) for name in self.names}

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.base)


def _own_ends(name: str, names: Collection[str]) -> list[str]:
    """`a.b.c` -> c, b.c, a.b.c, but only those longer than an end that is another field's whole name."""
    parts, found = name.split("."), list[str]()
    for start in range(len(parts) - 1, -1, -1):
        end = ".".join(parts[start:])
        found = [] if end in names and start else [*found, end]
    return found


@dataclass
class _Tried:
    """What became of the cells of one block."""

    seen: int = 0
    kept: set[_Key] = field(default_factory=set)
    """Those that the conditions leave."""
    refused: int = 0
    ended_early: bool = False
    """Whether some were not looked at."""
