"""Several studies side by side: the metrics, axes and levels that they share, the effects of each, and where their declarations differ.

Nothing is pooled: every number is of one study.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from ablate.analysis.effects import USABLE, Effect, level_effects
from ablate.difference import ABSENT, differences, value_text
from ablate.errors import InputError
from ablate.model import Level
from ablate.results import KEYS, at_baselines

DECLARED = ("trainer", "base", "axes", "design", "where", "seeds", "metric")
"""Parts of a study's declaration that its numbers hang on."""


@dataclass(frozen=True)
class Measured:
    """What one study has to compare."""

    name: str
    simulated: bool
    axes: Mapping[str, Sequence[Level]]
    """Axis -> its levels, the baseline first."""
    results: pd.DataFrame
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Axis of data mixes -> its sources: 1:2 of others is another mix."""

    @property
    def metrics(self) -> list[str]:
        return [str(column) for column in self.results.columns if column not in (*KEYS, *self.axes)]


class Shared(NamedTuple):
    """Levels of one axis that all studies have."""

    axis: str
    baseline: Level
    levels: tuple[Level, ...]
    """Without the baseline."""
    note: str
    """Where a study has another baseline."""


class StudyEffects(NamedTuple):
    study: str
    simulated: bool
    effects: tuple[Effect, ...]
    notes: tuple[str, ...]
    """Why effects are missing."""


class Differing(NamedTuple):
    """One declared field, and what each study says of it."""

    path: str
    values: tuple[str, ...]


def shared_metrics(studies: Sequence[Measured]) -> list[str]:
    """Those that every study has reported, in the first one's order."""
    return [metric for metric in studies[0].metrics if all(metric in study.metrics for study in studies)] if studies else []


def shared_axes(studies: Sequence[Measured]) -> list[Shared]:
    """Axes of which all studies have two levels or more in common; against the first study's baseline where all have it."""
    found = []
    for axis, levels in studies[0].axes.items() if studies else ():
        common = [level for level in levels if all(level in study.axes.get(axis, ()) for study in studies)]
        if len(common) < 2 or any(study.sources.get(axis) != studies[0].sources.get(axis) for study in studies):
            continue
        other = [study.name for study in studies if study.axes[axis][0] != common[0]]
        note = f"{axis}: against {common[0]}, which is not the baseline of {', '.join(other)}" if other else ""
        found.append(Shared(axis, common[0], tuple(common[1:]), note))
    return found


def apart(studies: Sequence[Measured]) -> list[str]:
    """Why each axis of any of the studies is not shared, a sentence each; those of `shared_axes` are left out."""
    shared = {one.axis for one in shared_axes(studies)}
    axes = dict.fromkeys(axis for study in studies for axis in study.axes)
    return [f"{axis}: {_why_apart(axis, studies)}" for axis in axes if axis not in shared]


def _why_apart(axis: str, studies: Sequence[Measured]) -> str:
    having = [study for study in studies if axis in study.axes]
    if len(having) < len(studies):
        return f"only in {', '.join(study.name for study in having)}"
    if any(study.sources.get(axis) != studies[0].sources.get(axis) for study in studies):
        return "in all, of other sources: equal shares are not the same mix"
    common = [value_text(level) for level in studies[0].axes[axis] if all(level in study.axes[axis] for study in studies)]
    return f"in all, with {f'one level in common, {common[0]}' if common else 'no level in common'}; it takes two"


def effects_of(study: Measured, shared: Sequence[Shared], *, metric: str) -> StudyEffects:
    """The study's own effects at the levels that all have; those of one axis are Holm's family."""
    frame = at_baselines(study.results, axes=study.axes)
    effects: list[Effect] = []
    notes: list[str] = []
    if metric not in frame or not frame["state"].isin(USABLE).any():
        return StudyEffects(study.name, study.simulated, (), (f"{study.name}: no finished trial with {metric} yet",))
    for axis, baseline, levels, _ in shared:
        rows = frame[frame[axis].isin([baseline, *levels])]
        try:
            effects += level_effects(rows, axis=axis, baseline=baseline, metric=metric, axes=list(study.axes))
        except InputError as error:
            notes.append(f"{study.name}: {error}")
    return StudyEffects(study.name, study.simulated, tuple(effects), tuple(notes))


def declared_differences(specs: Sequence[Mapping[str, Any]]) -> list[Differing]:
    """Fields of the declarations that are not the same in all studies; what a study does not say is an en dash."""
    parts = [{key: spec[key] for key in DECLARED if key in spec and spec[key] is not None} for spec in specs]
    paths = dict.fromkeys(moved.path for part in parts[1:] for moved in differences(parts[0], part))
    found = [Differing(path, tuple(_said(_at(part, path)) for part in parts)) for path in _outermost(paths)]
    return [one for one in found if len(set(one.values)) > 1]


def _outermost(paths: Mapping[str, None]) -> list[str]:
    """A field inside another that differs as a whole is left out."""
    return [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]


def _at(part: Mapping[str, Any], path: str) -> Any:
    """By the keys of the declaration, of which some hold dots themselves."""
    if path in part:
        return part[path]
    for key, value in part.items():
        if path.startswith(f"{key}.") and isinstance(value, Mapping):
            return _at(value, path.removeprefix(f"{key}."))
    return ABSENT


def _said(value: Any) -> str:
    return "–" if value is ABSENT or value is None else value_text(value)
