"""What the trainer objects to in a cell becomes faults on what the author wrote: the level that earned it, or the line of the base."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from ablate.axes import Axis
from ablate.base import Base
from ablate.explain import explain
from ablate.levels import Choice
from ablate.marked_yaml import Fault, Path


@dataclass(frozen=True)
class Blame:
    """Looks for the level that earned an objection; `base_cell` has none but those that the base itself earns."""

    axes: Sequence[Axis]
    base: Base
    base_cell: Sequence[Choice]
    conditions_missing: bool
    """Whether some condition of the study cannot be read: it may be the one that removes the cell."""

    def refusals(self, cell: Sequence[Choice]) -> list[Fault]:
        """The trainer's objections to a cell, each at the level or the line of the base that earned it."""
        usual = {fault.message for fault in self._objections(self.base_cell)}
        return [self._placed(fault, cell, usual=fault.message in usual) for fault in self._objections(cell)]

    def _objections(self, cell: Sequence[Choice]) -> list[Fault]:
        raw = self.base.with_values({path: value for choice in cell for path, value in choice.changes.items()})
        try:
            self.base.config.model_validate(raw)
        except ValidationError as error:
            faults = explain(error, self.base.config, raw)
            return [fault for fault in faults if not (self.conditions_missing and self._paths_under(fault.path))]
        return []

    def _paths_under(self, path: Path) -> set[str]:
        """The fields inside the group at `path` that axes vary."""
        group = "".join(f"{part}." for part in path)
        return {inner for axis in self.axes for inner in axis.paths if inner.startswith(group)}

    def _placed(self, fault: Fault, cell: Sequence[Choice], *, usual: bool) -> Fault:
        """The fault at the level of its own field, else at a change its message names. A `usual` one the base has too."""
        path = "".join(f"{part}." for part in fault.path)
        for choice in cell:
            for field_path, place in choice.places.items():
                if path.startswith(f"{field_path}."):
                    return fault._replace(path=place, at_key=False)
        under = self._paths_under(fault.path)
        suspects = [
            (field_path, place)
            for axis, choice in zip(self.axes, cell, strict=True)
            for field_path, place in choice.places.items()
            if choice != axis.base or usual
        ]
        named = [pair for pair in suspects if re.search(rf"\b{re.escape(pair[0].rpartition('.')[2])}\b", fault.message)]
        inside = [pair for pair in suspects if pair[0] in under]
        blamed = named if usual else named or inside or suspects
        if fault.at_key or not blamed:
            return fault._replace(path=("base", *fault.path))
        return fault._replace(path=blamed[-1][1])
