"""An adaptive study's space for Optuna: which sampler suggests the next arm, from where, and what it learns from the past.

The study's own store is the memory. Finished trials are played back to a fresh sampler, one by one as if it had suggested them, so a
search that died goes on: TPE models them, CMA-ES moves its distribution along with them, NSGA-II breeds from the best of them.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import optuna

from ablate.axes import Axis
from ablate.continued import FROM
from ablate.design import search_space
from ablate.model import Level
from ablate.stores import TrialRecord
from ablate.study import Study

KNOWN = ("done", "cached")
"""States of trials whose metrics are final."""
MUTATION = 5.0
"""How near a mutated value stays: on the synthetic law 5 came as close to the optimum as draws from anywhere, and stayed there; 20 came
less close."""


class Told(NamedTuple):
    """A finished trial, as a sampler is told it."""

    levels: Mapping[str, Level]
    """None where an axis does not apply."""
    values: tuple[float, ...]
    """In the order of `goals`."""


class Memory(NamedTuple):
    """An Optuna study that has been told the past, and the storage it is found in by its name."""

    study: optuna.Study
    storage: optuna.storages.BaseStorage


def distributions(study: Study) -> dict[str, optuna.distributions.BaseDistribution]:
    """Axis -> where Optuna draws it from; levels are drawn by their labels."""
    return {axis.name: _distribution(axis) for axis in search_space(study)}


def listed_levels(study: Study) -> dict[str, Sequence[Any]]:
    """Axis -> its levels by their labels; empty where an axis lies between bounds, and the levels are without number."""
    found, choices = distributions(study), dict[str, Sequence[Any]]()
    for name, each in found.items():
        if isinstance(each, optuna.distributions.CategoricalDistribution):
            choices[name] = each.choices
    return choices if len(choices) == len(found) else {}


def goals(study: Study) -> dict[str, Literal["min", "max"]]:
    """The metrics a search looks at and which way is better, the study's own first."""
    assert study.search
    return {study.metric.name: study.metric.goal} | {each.name: each.goal for each in study.search.objectives}


def make_sampler(study: Study, *, past: int) -> optuna.samplers.BaseSampler:
    """The study's sampler; its seed moves on with the trials there are, or a search that goes on would suggest the first ones again."""
    assert study.search
    seed = study.seeds[0] + past
    match study.search.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        case "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "nsgaii":
            with warnings.catch_warnings():
                # an operator new in Optuna 5. Without it a mutation is a draw from anywhere, and half of the children are lost
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                mutation = optuna.samplers.nsgaii.PolynomialMutation(MUTATION)
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=_population(study.search.trials), mutation=mutation)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)


def make_memory(study: Study, past: Sequence[Told]) -> Memory:
    """A new sampler, told what is known: what it suggests next follows from that."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes, space = search_space(study), distributions(study)
    storage = optuna.storages.InMemoryStorage()
    directions: list[Literal["minimize", "maximize"]] = ["minimize" if goal == "min" else "maximize" for goal in goals(study).values()]
    sampler = make_sampler(study, past=len(past))
    made = optuna.create_study(storage=storage, sampler=sampler, directions=directions, study_name=study.name)
    for told in past:
        point = {axis.name: told.levels[axis.name] for axis in axes if told.levels.get(axis.name) is not None}
        if all(_inside(axis, point[axis.name]) for axis in axes if axis.name in point):
            _play_back(made, point, told.values, space=space)
    return Memory(made, storage)


def past_points(study: Study, trials: Iterable[TrialRecord]) -> list[Told]:
    """The trials that are done, as far as they have all the metrics; one that went on from another's weights is no point of the space."""
    own = (trial for trial in trials if trial.state in KNOWN and FROM not in trial.changes)
    known = [told(study, levels=trial.levels, metrics=trial.metrics) for trial in own]
    return [each for each in known if each]


def population(study: Study, past: Sequence[Told], *, size: int) -> list[dict[str, Any]]:
    """What the sampler suggests before anything of it has run: axis -> value, so many times."""
    made, space = make_memory(study, past).study, distributions(study)
    return [dict(made.ask(space).params) for _ in range(size)]


def told(study: Study, *, levels: Mapping[str, Level], metrics: Mapping[str, float | None]) -> Told | None:
    """None where one of the metrics is missing or not finite."""
    values = [metrics.get(name) for name in goals(study)]
    finite = tuple(value for value in values if value is not None)
    return Told(levels, finite) if len(finite) == len(values) else None


def _play_back(made: optuna.Study, point: dict[str, Any], values: Sequence[float], *, space: Mapping[str, Any]) -> None:
    """Asks for a suggestion, takes this point instead, and tells what came out. An axis that did not apply keeps what is suggested."""
    made.enqueue_trial(point)
    trial = made.ask(dict(space))
    _ = trial.relative_params  # this is when CMA-ES and NSGA-II count a trial into their current generation
    made.tell(trial, list(values))


def _inside(axis: Axis, value: Any) -> bool:
    """Whether the search still draws this value: the study file may have changed since."""
    return value in axis.labels if axis.bounds is None else axis.bounds[0] <= value <= axis.bounds[1]


def _population(trials: int) -> int:
    """A generation of NSGA-II: Optuna's 50 in a long search, and in a short one few enough that there are some ten generations."""
    return min(50, max(4, trials // 10))


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    if axis.bounds is None:
        return optuna.distributions.CategoricalDistribution([level.label for level in axis.levels])
    low, high = axis.bounds
    return optuna.distributions.FloatDistribution(low, high, log=axis.log)
