"""What a run is doing at this moment, from the store alone: trials at work, how long they and all that is left may take, slots in use."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pandas as pd

from ablate.stores import TrialStanding

ENDED = ("done", "failed", "pruned")


@dataclass(frozen=True)
class AtWork:
    """One running trial; seconds are of its last stage."""

    trial: TrialStanding
    elapsed: float | None
    """None where its start is not known."""
    left: float | None
    """By the mean of the finished trials: of its arm where there are any, else of all. None where none has finished."""


@dataclass(frozen=True)
class UnderWay:
    running: tuple[AtWork, ...]
    queued: int
    seconds_left: float | None
    """Until all is done at as many at a time as run now; None where nothing runs or nothing has finished."""


def under_way(trials: Sequence[TrialStanding], *, now: float) -> UnderWay:
    """`now`: Unix time."""
    of_arm: dict[str, list[float]] = {}
    for trial in trials:
        if trial.state == "done" and trial.seconds is not None:
            of_arm.setdefault(trial.arm, []).append(trial.seconds)
    means = {arm: fmean(seconds) for arm, seconds in of_arm.items()}
    overall = fmean(second for seconds in of_arm.values() for second in seconds) if of_arm else None
    running = [_at_work(trial, expected=means.get(trial.arm, overall), now=now) for trial in trials if trial.state == "running"]
    queued = [means.get(trial.arm, overall) for trial in trials if trial.state in ("queued", "lost")]
    ahead = [one.left for one in running] + queued
    known = [seconds for seconds in ahead if seconds is not None]
    return UnderWay(tuple(running), len(queued), sum(known) / len(running) if running and len(known) == len(ahead) else None)


def _at_work(trial: TrialStanding, *, expected: float | None, now: float) -> AtWork:
    elapsed = None if trial.started is None else max(0.0, now - trial.started)
    left = None if expected is None else max(0.0, expected - (elapsed or 0.0))
    return AtWork(trial, elapsed, left)


def slots_in_use(trials: Sequence[TrialStanding], *, now: float) -> pd.DataFrame:
    """`time, running`: last stages that ran at once from each moment at which one started or ended; Unix time, in order."""
    starts, ends = list[float](), list[float]()
    for trial in trials:
        if trial.started is not None and (trial.state == "running" or (trial.state in ENDED and trial.seconds is not None)):
            starts.append(trial.started)
            ends.append(now if trial.state == "running" else trial.started + (trial.seconds or 0.0))
    times, at = np.unique([*starts, *ends], return_inverse=True)
    changes = np.bincount(at, weights=[1.0] * len(starts) + [-1.0] * len(ends), minlength=len(times))
    return pd.DataFrame({"time": times.astype(float), "running": changes.cumsum().astype(int)})
