"""A study becomes its arms: each arm is one diff against the base, resolved and checked by the trainer's config.

The order is the author's: blocks as written, in each the cells of `cells.py`. Everything a level, a condition or the base gets wrong is
collected and placed; an arm that comes out of here is one the trainer accepts.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError

from ablate.axes import Axis, labels_of
from ablate.base import Base
from ablate.cells import block_faults, draws, settle, single_changes, whole_space
from ablate.collector import paused_collector
from ablate.conditions import ConditionError, parse_condition
from ablate.draft import MAX_SPACE, Arm, Draft, Drafting, Until, block_at, too_many
from ablate.errors import InputError, did_you_mean
from ablate.explain import explain
from ablate.forms import read_axes
from ablate.marked_yaml import Fault
from ablate.model import Level
from ablate.study import Study
from ablate.trainers import trainer_of


def make_arms(study: Study) -> tuple[Arm, ...]:
    """The arms of a planned design; none for a search. Raises InputError with every problem."""
    return _checked(study, draft_design(study)).arms


def example_arms(study: Study) -> tuple[tuple[Arm, ...], bool]:
    """The arms of a planned design; of a search every combination of levels and bounds that the trainer takes, or where those are too many
    the base and one change at a time: then the second value is False. Raises InputError where the design has faults."""
    if not study.search:
        return make_arms(study), True
    search_space(study)
    design, found = _read(trainer_of(study).Config, _Declared(study)), list[Arm]()
    cells = list(islice(whole_space(design.axes, applies=design.applies), MAX_SPACE + 1))
    is_whole = len(cells) <= MAX_SPACE
    for cell in cells if is_whole else single_changes(design.axes, applies=design.applies):
        with suppress(ValidationError):
            found.append(design.arm(cell, design.reader.read([choice.changes for choice in cell])))
    return tuple(found), is_whole


def count_removed(study: Study) -> dict[str, int]:
    """Condition -> cells of the design it is false in, each counted on its own."""
    return dict(_checked(study, draft_design(study)).removed)


def search_space(study: Study) -> tuple[Axis, ...]:
    """The axes with what the trainer makes of them: labels of the levels, or numbers between bounds."""
    return _checked(study, draft_design(study, until="axes")).axes


def axis_labels(study: Study) -> dict[str, tuple[Level, ...]]:
    """Axis -> its levels as results show them, the baseline first; empty where the design draws between bounds."""
    return dict(labels_of(search_space(study)))


def arm_for(study: Study, levels: Mapping[str, Any]) -> Arm:
    """The arm at these levels (labels, or numbers between bounds); axes left out stay at the base, and so do those that do not apply."""
    search_space(study)
    design = _read(trainer_of(study).Config, _Declared(study))
    if unknown := [name for name in levels if name not in design.names]:
        raise InputError(f"unknown axis '{unknown[0]}' ({', '.join(design.names)}){did_you_mean(unknown[0], design.names)}")
    chosen = [axis.suggested(levels[axis.name]) if levels.get(axis.name) is not None else axis.base for axis in design.axes]
    cell = settle(chosen, design.axes, design.applies)
    try:
        config = design.reader.read([choice.changes for choice in cell])
    except ValidationError as error:
        faults = explain(error, design.base.config, design.raw(cell))
        here = ", ".join(f"{axis.name}={choice.label}" for axis, choice in zip(design.axes, cell, strict=True))
        raise InputError("\n".join(f"{here}: {'.'.join(map(str, fault.path))}: {fault.message}" for fault in faults)) from None
    return design.arm(cell, config)


def draft_design(study: Study, *, until: Until = "arms") -> Draft:
    """Reads axes, conditions and blocks and asks the trainer about every cell, all faults noted.

    The last drafts are kept: checking a study and planning it ask for the same one.
    """
    return _drafted(trainer_of(study).Config, _Declared(study), until)


def draft_unread(study: Study) -> Draft:
    """What can be said where the trainer is not known: forms, names of axes, syntax of conditions, how many arms."""
    written = read_axes(study.axes, drawn=any(map(draws, study.design)))
    names = tuple(axis.name for axis in written)
    faults = [fault for axis in written for fault in axis.faults] + too_many(study, written)
    for index, block in enumerate(study.design):
        faults += block_faults(block, {}, names=names, at=block_at(study, index))
    texts = [(text, ("where", index)) for index, text in enumerate(study.where)]
    for text, at in (*texts, *(pair for axis in written for pair in axis.when)):
        try:
            parse_condition(text, names=None)
        except ConditionError as error:
            faults += [Fault(at, message, column=column) for column, message in error.faults]
    return Draft(names=names, faults=tuple(dict.fromkeys(faults)))


def _checked(study: Study, draft: Draft) -> Draft:
    if draft.faults:
        raise InputError(draft.problems(study.marks))
    return draft


class _Declared:
    """A study, equal to every other with the same design."""

    def __init__(self, study: Study) -> None:
        self.study = study
        blocks = [(block_at(study, index), block.model_dump(mode="json")) for index, block in enumerate(study.design)]
        self._text = json.dumps([study.trainer, study.base, study.axes, blocks, study.where, len(study.seeds)], default=repr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Declared) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@lru_cache(maxsize=4)
@paused_collector()
def _drafted(config: type[BaseModel], declared: _Declared, until: Until) -> Draft:
    read = _read(config, declared)
    design = replace(read, faults=list(read.faults), arms={}, removed={})
    if until != "axes" and not design.too_large:
        design.build(arms=until == "arms")
    return design.draft()


@lru_cache(maxsize=4)
def _read(config: type[BaseModel], declared: _Declared) -> Drafting:
    """A design that is read and not built; it stays as it is."""
    design = Drafting(declared.study, Base(config, declared.study.base))
    design.read()
    return design
