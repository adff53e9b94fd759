"""What is at work now, against numbers that can be counted by hand."""

import pytest

from ablate.stores import TrialStanding
from ablate.under_way import slots_in_use, under_way


def trial(name: str, state: str, *, started: float | None = None, seconds: float | None = None, arm: str = "base") -> TrialStanding:
    return TrialStanding("s", name, arm, 0, state, None, "", (f"job-{name}",), seconds, started, 1)


def test_time_left_is_the_mean_of_the_arm_less_what_has_passed() -> None:
    trials = [
        trial("a", "done", started=0, seconds=10),
        trial("b", "done", started=0, seconds=30, arm="large"),
        trial("c", "running", started=100, arm="large"),
        trial("d", "running", started=95),
        trial("e", "queued", arm="new"),
        trial("f", "lost"),
    ]
    found = under_way(trials, now=110.0)
    assert [(one.trial.id, one.elapsed, one.left) for one in found.running] == [("c", 10.0, 20.0), ("d", 15.0, 0.0)]
    assert found.queued == 2
    assert found.seconds_left == pytest.approx((20 + 0 + 20 + 10) / 2)


def test_nothing_is_foretold_before_a_trial_has_ended() -> None:
    found = under_way([trial("a", "running", started=5), trial("b", "queued")], now=6.0)
    assert (found.running[0].left, found.seconds_left) == (None, None)


def test_slots_in_use_are_those_that_overlap() -> None:
    trials = [trial("a", "done", started=0, seconds=10), trial("b", "failed", started=4, seconds=6), trial("c", "running", started=10)]
    frame = slots_in_use([*trials, trial("d", "queued"), trial("e", "cached", seconds=3)], now=12.0)
    assert list(frame.itertuples(index=False, name=None)) == [(0.0, 1), (4.0, 2), (10.0, 1), (12.0, 0)]


def test_no_slot_is_in_use_where_nothing_ran() -> None:
    assert slots_in_use([trial("a", "queued")], now=1.0).empty
