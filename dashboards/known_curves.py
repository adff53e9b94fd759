"""Curves that were read before: of a trial that has ended nothing is read again, of one that runs only what came since."""

import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.stores import Store, TrialRecord

KEPT = 2_000

Point = tuple[str, int, str, float | None]
Ask = Callable[[Callable[[Store], list[Point]]], list[Point]]
Key = tuple[str, int, float | None, str]
"""Job, its attempts so far, what the last one took once it has ended, metric."""


class _Curve(NamedTuple):
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


class Curves:
    """Any number of threads may ask; one reads at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Key, _Curve] = {}

    def frame(self, trials: Sequence[TrialRecord], metric: str, *, ask: Ask) -> pd.DataFrame:
        """`trial, arm, seed, metric, step, value` of the trials' last stages. `ask` puts a question to the store."""
        keys = [(trial.chain[-1], trial.attempts, trial.seconds, metric) for trial in trials]
        running = {key for key, trial in zip(keys, trials, strict=True) if trial.state == "running"}
        with self._lock:
            found = {key: self._known.pop(key) for key in keys if key in self._known}
            # an attempt that resumes takes the place of points that are here: all of its curve is read
            growing = [key for key in found if key in running and key[1] <= 1 and len(found[key].steps)]
            others = [key for key in keys if key not in growing and (key in running or key not in found)]
            found |= _read(ask, others, after=None, before={})
            found |= _read(ask, growing, after=min((int(found[key].steps[-1]) for key in growing), default=None), before=found)
            self._known |= found
            while len(self._known) > KEPT:
                self._known.pop(next(iter(self._known)))
        return _frame(trials, [found[key] for key in keys], metric=metric)

    def forget(self, jobs: Collection[str]) -> None:
        """What is known of these: their rows may be others now."""
        with self._lock:
            for key in [key for key in self._known if key[0] in jobs]:
                del self._known[key]


def _read(ask: Ask, keys: Sequence[Key], *, after: int | None, before: Mapping[Key, _Curve]) -> dict[Key, _Curve]:
    """What the store has of these curves, put behind what is known of them; `after`: a step up to which all of them are known."""
    if not keys:
        return {}
    of_job: dict[str, tuple[list[int], list[float]]] = {job: ([], []) for job, *_ in keys}
    for job, step, _, value in ask(lambda store: store.curve(of_job, keys=[keys[0][-1]], after=after)):
        of_job[job][0].append(step)
        of_job[job][1].append(math.nan if value is None else value)
    return {key: _joined(before.get(key), *of_job[key[0]]) for key in keys}


def _joined(known: _Curve | None, steps: list[int], values: list[float]) -> _Curve:
    more, new = np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)
    if known is None:
        return _Curve(more, new)
    fresh = more > known.steps[-1]
    return _Curve(np.concatenate([known.steps, more[fresh]]), np.concatenate([known.values, new[fresh]]))


def _frame(trials: Sequence[TrialRecord], curves: Sequence[_Curve], *, metric: str) -> pd.DataFrame:
    counts = [len(curve.steps) for curve in curves]

    def of_each(values: Sequence[str]) -> pd.Categorical:  # a hundred thousand texts are slow to group
        codes, names = pd.factorize(np.array(values, dtype=object))
        return pd.Categorical.from_codes(np.repeat(codes, counts), categories=pd.Index(names))

    return pd.DataFrame(
        {
            "trial": of_each([trial.id for trial in trials]),
            "arm": of_each([trial.arm for trial in trials]),
            "seed": np.repeat(np.array([trial.seed for trial in trials], dtype=np.int64), counts),
            "metric": metric,
            "step": np.concatenate([np.empty(0, dtype=np.int64), *(curve.steps for curve in curves)]),
            "value": np.concatenate([np.empty(0), *(curve.values for curve in curves)]),
        }
    )
