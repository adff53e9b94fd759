"""The best arm of frames whose means and differences can be counted by hand."""

from math import inf, nan

import pandas as pd
import pytest

from ablate.best_arm import best_arm


def frame(*rows: tuple[str, int, float], state: str = "done") -> pd.DataFrame:
    return pd.DataFrame([(*row, state) for row in rows], columns=["arm", "seed", "score", "state"])


def test_best_arm_is_ahead_of_the_next_by_the_seeds_that_both_have() -> None:
    rows = [("base", 0, 1.0), ("base", 1, 2.0), ("a", 0, 3.0), ("a", 1, 5.0), ("a", 2, 4.0), ("b", 0, 0.0)]
    found = best_arm(frame(*rows), metric="score", goal="max")
    assert found is not None
    assert (found.arm, found.mean, found.n, found.next_arm, found.next_mean, found.arms) == ("a", 4.0, 3, "base", 1.5, 3)
    assert (found.effect.mean_diff, found.effect.n) == (2.5, 2)
    least = best_arm(frame(*rows), metric="score", goal="min")
    assert least is not None
    assert (least.arm, least.next_arm, least.n) == ("b", "base", 1)
    assert least.clear is None  # one seed: no interval


@pytest.mark.parametrize(("other", "clear"), [((0.0, 0.1, -0.1), True), ((4.9, 5.4, 4.6), False)])
def test_best_arm_is_clear_where_the_interval_leaves_out_zero(other: tuple[float, ...], clear: bool) -> None:
    rows = [("a", seed, 5.0 + seed / 10) for seed in range(3)] + [("b", seed, value) for seed, value in enumerate(other)]
    found = best_arm(frame(*rows), metric="score", goal="max")
    assert found is not None
    assert found.clear is clear


def test_trials_that_did_not_finish_or_have_no_finite_value_are_no_arm() -> None:
    diverged = frame(("a", 0, 1.0), ("b", 0, nan), ("c", 0, inf))
    assert best_arm(diverged, metric="score", goal="max") is None
    failed = pd.concat([frame(("a", 0, 1.0)), frame(("b", 0, 2.0), state="failed")])
    assert best_arm(failed, metric="score", goal="max") is None
    assert best_arm(failed, metric="loss", goal="max") is None


def test_arms_without_a_common_seed_have_no_difference() -> None:
    found = best_arm(frame(("a", 0, 2.0), ("b", 1, 1.0)), metric="score", goal="max")
    assert found is not None
    assert (found.effect.mean_diff, found.clear) == (None, None)
