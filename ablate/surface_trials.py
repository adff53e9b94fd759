"""What a response surface is fitted to: the finished trials of one or several studies, each training once, with their curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.analysis.effects import USABLE
from ablate.errors import InputError
from ablate.fingerprint import canonical
from ablate.forms import read_axes
from ablate.stores import Store, StudyRecord, TrialRecord, find_study
from ablate.study import Study
from ablate.surface_inputs import Flat, flatten
from ablate.trainers import IMPORTED, SURROGATE

Curve = Sequence[tuple[int, float]]
"""(step, value) of its finite points, in order of step."""


@dataclass(frozen=True)
class Recorded:
    """Trials in the order of the studies' plans."""

    studies: tuple[str, ...]
    spec: Mapping[str, Any]
    """Of the first study, as the store keeps it; they have the trainer in common."""
    simulated: bool
    axes: tuple[tuple[str, ...], ...]
    """The fields that each axis of the studies sets."""
    trials: tuple[TrialRecord, ...]
    flats: tuple[Flat, ...]
    """Config of each trial."""
    curves: Mapping[tuple[str, str], Curve]
    """(last job, metric) -> its curve."""
    last_steps: tuple[int, ...]
    """Of each trial, the last step that anything was reported at."""
    left_out: int
    """Trials that failed, are unfinished, or have no finite value of their study's metric."""

    @property
    def arms(self) -> list[str]:
        """Of each trial what is the same for trials that differ in nothing but the seed."""
        return [canonical(trial.config) for trial in self.trials]

    @property
    def seeds(self) -> list[str]:
        return [str(trial.seed) for trial in self.trials]

    def curves_of(self, metric: str) -> list[Curve]:
        """Of each trial; empty where it has none."""
        return [self.curves.get((trial.chain[-1], metric), ()) for trial in self.trials]


def recorded_trials(store: Store, names: Sequence[str]) -> Recorded:
    """Raises InputError where a study is not known, cannot be learned from, or has another trainer than the others."""
    records = [find_study(store, name) for name in dict.fromkeys(names)]
    _refuse(records)
    seen, trials = set[str](), dict[str, TrialRecord]()
    for record in records:
        metric = record.spec["metric"]["name"]
        for row in store.trials(record.name):
            seen.add(row.chain[-1])
            if row.state in USABLE and row.metrics.get(metric) is not None:
                trials.setdefault(row.chain[-1], row)
    if not trials:
        told = " or ".join(f"`ablate status {record.name}`" for record in records)
        raise InputError(f"{', '.join(names)}: no finished trial with a finite metric yet; {told} says how it stands")
    last = dict.fromkeys(trials, 1)
    for job, step, _, _ in store.newest_points(trials):
        last[job] = max(step, last[job])
    return Recorded(
        studies=tuple(record.name for record in records),
        spec=records[0].spec,
        simulated=any(record.simulated for record in records),
        axes=_axes(records),
        trials=tuple(trials.values()),
        flats=tuple(flatten(trial.config) for trial in trials.values()),
        curves=_curves(store, list(trials)),
        last_steps=tuple(last.values()),
        left_out=len(seen) - len(trials),
    )


def _refuse(records: Sequence[StudyRecord]) -> None:
    for record in records:
        if record.spec["trainer"] == IMPORTED:
            raise InputError(f"{record.name} was run elsewhere, so no study here could take its config; name studies that were run here")
        if record.spec["trainer"] == SURROGATE:
            raise InputError(f"{record.name} is itself what a surface answered; name studies whose trials were trained")
    trainers = {str(record.spec["trainer"]): record.name for record in records}
    if len(trainers) > 1:
        listed = ", ".join(f"{name}: {trainer}" for trainer, name in trainers.items())
        raise InputError(
            f"one surface takes one trainer's config, and these studies have several ({listed}); fit each trainer's on its own"
        )


def _axes(records: Sequence[StudyRecord]) -> tuple[tuple[str, ...], ...]:
    found: dict[tuple[str, ...], None] = {}
    for record in records:
        found |= dict.fromkeys(axis.paths for axis in read_axes(Study.model_validate(record.spec).axes, drawn=True))
    return tuple(found)


def _curves(store: Store, jobs: Sequence[str]) -> dict[tuple[str, str], Curve]:
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for job, step, key, value in store.curve(jobs):
        if value is not None and math.isfinite(value):
            found.setdefault((job, key), []).append((step, value))
    return dict(found)
