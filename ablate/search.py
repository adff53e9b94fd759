"""An adaptive study's space for Optuna: which sampler suggests the next arm, from where, and what it learns from the past.

The study's own store is the memory: finished trials are told to a fresh sampler, so a search that died goes on.
"""

from collections.abc import Sequence
from typing import Any

import optuna

from ablate.axes import Axis
from ablate.design import search_space
from ablate.stores import TrialRecord
from ablate.study import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)


def distributions(study: Study) -> dict[str, optuna.distributions.BaseDistribution]:
    """Axis path -> where Optuna draws it from; levels are drawn by their labels."""
    return {axis.path: _distribution(axis) for axis in search_space(study)}


def make_sampler(study: Study, *, past: int) -> optuna.samplers.BaseSampler:
    """The study's sampler; its seed moves on with the trials there are, or a search that goes on would suggest the first ones again."""
    seed = study.seeds[0] + past
    assert study.search
    return optuna.samplers.TPESampler(seed=seed) if study.search.sampler == "tpe" else optuna.samplers.RandomSampler(seed=seed)


def past_points(study: Study, trials: Sequence[TrialRecord]) -> tuple[list[dict[str, Any]], list[float]]:
    """Levels and metric of the trials that are done: what a fresh sampler is told."""
    known = [(dict(trial.levels), trial.metrics.get(study.metric.name)) for trial in trials if trial.state == "done"]
    finite = [(levels, value) for levels, value in known if value is not None]
    return [levels for levels, _ in finite], [value for _, value in finite]


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    if axis.bounds is None:
        return optuna.distributions.CategoricalDistribution([level.label for level in axis.levels])
    low, high = axis.bounds
    return optuna.distributions.FloatDistribution(low, high, log=axis.log)
