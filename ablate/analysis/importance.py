"""Importance by fANOVA: a random forest of the metric over the axes, and how much of its variance each axis alone carries.

Hutter, Hoos & Leyton-Brown 2014, ICML, 32, 754, as Optuna computes it. For trials that nobody designed, such as those of a search, it is
what there is; where a design was run, its sums of squares (factors.py) come first: they have tests, and fANOVA gives factors that do
nothing a larger share. Forests are random, so each importance is a mean over forests with its spread, which holds nothing of the noise of
the trials.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.analysis.trial_values import trial_values
from ablate.errors import InputError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FORESTS = 5
FEWEST = 8
"""Trials below which a forest has nothing to split on; 16 already gave factors that do nothing 26 % of the importance."""
CAUTION = "factors that do nothing get some importance as well: measured with three such of six, 26 % in all from 16 runs, 10 % from 48"
LOG_SPAN = 30.0
"""Largest over smallest positive level from which an axis is taken by its logarithm, as learning rates are."""


@dataclass(frozen=True)
class FactorImportance:
    factor: str
    importance: float
    """Share of the forest's variance, the mean over forests; all factors together have 1."""
    low: float
    """Least over the forests."""
    high: float
    """Most over the forests."""


@dataclass(frozen=True)
class Importance:
    metric: str
    factors: tuple[FactorImportance, ...]
    """The largest first."""
    forests: int
    trials: int
    note: str
    caution: str = CAUTION

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "method": "fANOVA",
            "factors": [{"factor": each.factor, "importance": each.importance, "spread": [each.low, each.high]} for each in self.factors],
            "forests": self.forests,
            "trials": self.trials,
            "note": self.note,
            "caution": self.caution,
        }


def forest_importance(frame: pd.DataFrame, *, factors: Sequence[str], metric: str, forests: int = FORESTS) -> Importance:
    """From `<factors>, seed, <metric>` and optionally `state`, one row a trial. Takes about a second a forest for a thousand trials.

    Raises InputError for columns that are not there, fewer than two factors that vary, or fewer than eight finished trials.
    """
    if forests < 2:
        raise InputError(f"forests: {forests}; it takes two to have a spread")
    table, left_out = trial_values(frame, keys=list(factors), metric=metric)
    varying = [factor for factor in factors if table[factor].nunique() > 1]
    if len(varying) < 2:
        said = f"among the finished trials {', '.join(varying) or 'none'} of the axes {', '.join(factors)} varies"
        raise InputError(f"{said}; importance compares two or more")
    if len(table) < FEWEST:
        raise InputError(f"{len(table)} finished trials; importance takes {FEWEST} or more")
    if table["value"].max() <= table["value"].min():
        raise InputError(f"{metric} is the same in all {len(table)} finished trials; nothing moves it")
    found = [_forest(table, factors=varying, seed=seed) for seed in range(forests)]
    each = [FactorImportance(name, float(np.mean(of)), min(of), max(of)) for name in varying for of in [[one[name] for one in found]]]
    return Importance(metric, tuple(sorted(each, key=lambda one: -one.importance)), forests, len(table), left_out)


def _forest(table: pd.DataFrame, *, factors: Sequence[str], seed: int) -> dict[str, float]:
    import optuna  # takes most of a second, and only this verb's option needs it

    columns = {factor: _column(table[factor]) for factor in factors}
    with _quiet():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        distributions = {factor: distribution for factor, (_, distribution) in columns.items()}
        study.add_trials(
            optuna.trial.create_trial(
                params={factor: values[row] for factor, (values, _) in columns.items()}, distributions=distributions, value=value
            )
            for row, value in enumerate(table["value"].tolist())
        )
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(factors), normalize=True)
    return {factor: float(found[factor]) for factor in factors}


def _column(labels: "pd.Series[Any]") -> "tuple[list[Any], BaseDistribution]":
    """The levels as Optuna takes them, and what they are drawn from: numbers as numbers, anything else by its name."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if labels.dtype.kind not in "if":
        values = [str(label) for label in labels]
        return values, CategoricalDistribution(sorted(set(values)))
    numbers = [float(label) for label in labels]
    low, high = min(numbers), max(numbers)
    return numbers, FloatDistribution(low, high, log=low > 0 and high / low >= LOG_SPAN)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna says what it does at each step; its warnings stay."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
