"""Samplers without Ray: what they are told, what follows from it, on the synthetic law without noise."""

import math
from collections.abc import Sequence
from statistics import mean
from typing import Any

import optuna
import pytest

from ablate import synthetic
from ablate.search import Told, distributions, goals, make_memory, past_points
from ablate.stores import TrialRecord
from ablate.study import Study
from tests.conftest import make_study

SAMPLERS = ("tpe", "cmaes", "nsgaii")
SCORE = {"name": "score/4", "goal": "max"}
OPTIMUM = math.log10(synthetic.optimal_lr(1e9))
"""10^-4.04, at 81 % of the way between the bounds: nobody starts there."""


def searching(sampler: str, *, seed: int = 0, trials: int = 60, **design: Any) -> Study:
    return make_study(
        axes={"peak_lr": {"log": [1e-8, 1e-3]}, "image_size": {"linspace": [64, 448]}},
        design={"kind": "search", "trials": trials, "sampler": sampler, **design},
        seeds=[seed],
    )


def run(study: Study, *, trials: int, past: Sequence[Told] = ()) -> list[Told]:
    """What the sampler suggests next, and what the law says of it."""
    made, space, found = make_memory(study, past).study, distributions(study), []
    for _ in range(trials):
        trial = made.ask(space)
        config = synthetic.Config(peak_lr=trial.params["peak_lr"], image_size=round(trial.params.get("image_size", 224)))
        values = tuple(synthetic.true_metrics(config)[name] for name in goals(study))
        made.tell(trial, list(values))
        found.append(Told(dict(trial.params), values))
    return found


def losses(found: Sequence[Told]) -> float:
    return mean(told.values[0] for told in found)


def distance(found: Sequence[Told]) -> float:
    """Of the learning rates from the best one, in factors of ten."""
    return mean(abs(math.log10(float(told.levels["peak_lr"] or 0)) - OPTIMUM) for told in found)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler_on_the_stated_law_suggests_better_arms_than_chance(sampler: str) -> None:
    late = [losses(run(searching(sampler, seed=seed), trials=60)[40:]) for seed in range(3)]
    chance = [losses(run(searching("random", seed=seed), trials=60)[40:]) for seed in range(3)]
    assert mean(late) < mean(chance) - 0.1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_search_that_goes_on_suggests_where_the_past_was_good(sampler: str) -> None:
    """Ten suggestions after 40 told trials against ten of a sampler that knows nothing, over three seeds."""
    resumed, fresh = [], []
    for seed in range(3):
        past = run(searching(sampler, seed=seed), trials=40)
        resumed += run(searching(sampler, seed=seed), trials=10, past=past)
        fresh += run(searching(sampler, seed=100 + seed), trials=10)
    assert distance(resumed) < 0.6 * distance(fresh)


def test_cmaes_that_goes_on_has_the_distribution_it_would_have_had() -> None:
    """Played back in their order, the trials fall into the same generations, and move the distribution at the same places."""
    study = searching("cmaes")
    without_break = make_memory(study, ()).study
    space, found = distributions(study), []
    for _ in range(20):
        trial = without_break.ask(space)
        loss = synthetic.true_metrics(synthetic.Config(peak_lr=trial.params["peak_lr"]))["loss"]
        without_break.tell(trial, loss)
        found.append(Told(dict(trial.params), (loss,)))
    played_back = make_memory(study, found).study
    assert generations(played_back) == generations(without_break)
    assert moves(played_back) == moves(without_break)
    assert sum(moves(played_back)) == 3  # after each six trials but the first, which is drawn at random


def generations(study: optuna.Study) -> list[int | None]:
    return [trial.system_attrs.get("cma:generation") for trial in study.trials]


def moves(study: optuna.Study) -> list[bool]:
    return [any(key.startswith("cma:optimizer") for key in trial.system_attrs) for trial in study.trials]


def test_cmaes_on_one_axis_suggests() -> None:
    study = make_study(axes={"peak_lr": {"log": [1e-8, 1e-3]}}, design={"kind": "search", "trials": 20, "sampler": "cmaes"})
    assert losses(run(study, trials=20)[10:]) < losses(run(study, trials=10))


def test_nsgaii_that_goes_on_breeds_from_the_past() -> None:
    """A generation of six is over, so every child without a mutation carries values of the told trials."""
    past = [Told({"peak_lr": 10.0**-place, "image_size": 100.0 + place}, (float(place),)) for place in (3, 4, 5, 6, 7, 8)]
    children = run(searching("nsgaii"), trials=5, past=past)
    inherited = [told.levels[name] in {parent.levels[name] for parent in past} for told in children for name in ("peak_lr", "image_size")]
    strangers = run(searching("nsgaii"), trials=5)
    assert sum(inherited) >= 3
    assert not any(told.levels["peak_lr"] in {parent.levels["peak_lr"] for parent in past} for told in strangers)


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "random"])
def test_search_with_two_objectives_is_told_both(sampler: str) -> None:
    study = searching(sampler, objectives=[SCORE])
    past = run(study, trials=12)
    made = make_memory(study, past).study
    assert [direction.name for direction in made.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert [tuple(trial.values) for trial in made.trials] == [told.values for told in past]


def test_axis_that_did_not_apply_keeps_what_is_suggested() -> None:
    study = searching("cmaes")
    past = [told._replace(levels=told.levels | {"image_size": None}) for told in run(study, trials=12)]
    made = make_memory(study, past).study
    assert [set(trial.params) for trial in made.trials] == [{"peak_lr", "image_size"}] * 12
    assert [trial.params["peak_lr"] for trial in made.trials] == [told.levels["peak_lr"] for told in past]


def test_trial_outside_bounds_that_were_narrowed_is_not_told() -> None:
    past = [Told({"peak_lr": rate, "image_size": 224.0}, (1.0,)) for rate in (1e-9, 1e-5)]
    assert [trial.params["peak_lr"] for trial in make_memory(searching("tpe"), past).study.trials] == [1e-5]


def record(state: str, **metrics: float | None) -> TrialRecord:
    levels = {"peak_lr": 1e-4, "image_size": 224}
    return TrialRecord("small", state, state, 0, state, None, "", ("job",), 1.0, None, 1, levels, {}, {}, metrics, 1, 1.0)


def test_past_points_are_finished_trials_with_every_metric() -> None:
    trials = [
        record("done", **{"loss": 2.0, "score/4": 50.0}),
        record("cached", **{"loss": 2.1, "score/4": 51.0}),
        record("pruned", **{"loss": 9.0, "score/4": 1.0}),
        record("done", loss=2.2),
        record("done", **{"loss": None, "score/4": 50.0}),
    ]
    assert [told.values for told in past_points(searching("tpe"), trials)] == [(2.0,), (2.1,), (2.2,)]
    assert [told.values for told in past_points(searching("tpe", objectives=[SCORE]), trials)] == [(2.0, 50.0), (2.1, 51.0)]


def test_sampler_that_goes_on_does_not_repeat_itself() -> None:
    first = run(searching("random"), trials=3)
    later = run(searching("random"), trials=3, past=first)
    assert {told.levels["peak_lr"] for told in first}.isdisjoint(told.levels["peak_lr"] for told in later)
