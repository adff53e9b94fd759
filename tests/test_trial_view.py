"""One trial of a filled store: what it changes, what it shares, its curves."""

from pathlib import Path

import pytest

from ablate.errors import InputError
from ablate.stores import Store
from ablate.trial_view import drawable, find_trial, moved_from_base, stages_of, trial_curves
from tests.dashboards.filled import fill


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder: Path = tmp_path_factory.mktemp("trial") / "work"
    return fill(folder)


def test_unknown_trial_names_a_near_one(store: Store) -> None:
    trials = store.trials("live")
    assert find_trial(trials[1].id, trials=trials) is trials[1]
    assert find_trial(trials[1].id, trials=[], stale=trials) is trials[1]
    with pytest.raises(InputError, match=f"did you mean '{trials[0].id}'"):
        find_trial(trials[0].id[:-1], trials=trials)


def test_config_is_set_against_the_arm_without_changes(store: Store) -> None:
    trials = store.trials("mix")
    base, other = trials[0], next(trial for trial in trials if trial.changes == {"mix": "90:0:10", "connector": "c_abstractor"})
    assert moved_from_base(base, trials=trials) == ()
    moved = {each.path: (each.first, each.second) for each in moved_from_base(other, trials=trials) or ()}
    assert moved == {"mix.caption": (0.45, 0.9), "mix.interleaved": (0.45, 0.0), "connector": ("avg_pool", "c_abstractor")}
    assert moved_from_base(other, trials=[other]) is None


def test_stages_say_state_attempts_and_who_uses_them(store: Store) -> None:
    trials = store.trials("live")
    (first,), (queued,) = (stages_of(store, trials[place], trials=trials) for place in (0, 5))
    assert (first.state, first.attempts, first.trials) == ("done", 1, 1)
    assert first.seconds is not None
    assert (queued.state, queued.attempts, queued.seconds) == ("queued", 0, None)


def test_curves_are_those_of_two_points_or_more(store: Store) -> None:
    trial = store.trials("live")[0]
    curves = trial_curves(store, trial)
    assert set(curves["trial"]) == {trial.id}
    stage = trial.chain[-1].rpartition("-")[0]
    assert drawable(curves) == [(stage, "loss")]
    assert len(curves[curves["metric"] == "loss"]) == 10
    assert drawable(trial_curves(store, store.trials("live")[5])) == []
