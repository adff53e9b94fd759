"""One trial of a study as a page shows it: how its config differs from the base, its stages with the jobs it shares, its curves."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from ablate.difference import Moved, differences
from ablate.errors import InputError, did_you_mean
from ablate.stores import Store, TrialRecord

NEAR = 2_000
"""Ids among which a mistyped one is looked for."""
CURVE = ["trial", "stage", "metric", "step", "value"]


class StageUse(NamedTuple):
    """A stage of a trial and the job that executes it."""

    stage: str
    job: str
    state: str
    seconds: float | None
    """Of its last attempt; None where it is not done."""
    attempts: int
    trials: int
    """Of the same study that use the job, this one included."""


def find_trial(name: str, *, trials: Sequence[TrialRecord], stale: Sequence[TrialRecord] = ()) -> TrialRecord:
    """The trial of this id, of the present plan or stale. Raises InputError."""
    found = next((trial for trial in (*trials, *stale) if trial.id == name), None)
    if found is None:
        near = [trial.id for trial in trials if trial.id[:2] == name[:2]][:NEAR]
        raise InputError(f"no trial '{name[:200]}' in this study{did_you_mean(name[:200], near)}; its page lists them")
    return found


def moved_from_base(trial: TrialRecord, *, trials: Sequence[TrialRecord]) -> tuple[Moved, ...] | None:
    """The resolved config against that of the arm without changes; None where the study has no such arm."""
    base = next((other for other in trials if not other.changes), None)
    return None if base is None else differences(base.config, trial.config)


def stages_of(store: Store, trial: TrialRecord, *, trials: Sequence[TrialRecord]) -> tuple[StageUse, ...]:
    """In the order of the chain. `trials`: those of the study."""
    states, seconds = store.job_states(trial.chain), store.durations(trial.chain)
    return tuple(
        StageUse(
            stage=job.rpartition("-")[0],
            job=job,
            state=states.get(job, ("queued", 0))[0],
            seconds=seconds.get(job),
            attempts=states.get(job, ("queued", 0))[1],
            trials=sum(job in other.chain for other in trials),
        )
        for job in trial.chain
    )


def trial_curves(store: Store, trial: TrialRecord) -> pd.DataFrame:
    """Every point of all its stages: `trial, stage, metric, step, value`."""
    rows = [(trial.id, job.rpartition("-")[0], key, step, value) for job, step, key, value in store.curve(trial.chain)]
    return pd.DataFrame(rows, columns=CURVE).astype({"value": float})


def drawable(curves: pd.DataFrame) -> list[tuple[str, str]]:
    """(stage, metric) of all curves of two points or more, in the order of the chain and by name."""
    steps = curves.groupby(["stage", "metric"], sort=False)["step"].nunique()
    stages = list(dict.fromkeys(curves["stage"]))
    found: list[tuple[str, str]] = [(str(stage), str(metric)) for stage, metric in steps[steps > 1].index]
    return sorted(found, key=lambda each: (stages.index(each[0]), each[1]))
