from dataclasses import replace
from math import log, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate.analysis.confounds import BestRate, confounds, moved_optimum
from ablate.analysis.optima import Optimum, find_optima
from ablate.errors import InputError


def trials(**columns: dict[str, float]) -> pd.DataFrame:
    """Column -> arm -> its value, the same in two seeds."""
    arms = list(dict.fromkeys(arm for by_arm in columns.values() for arm in by_arm))
    rows = [{"arm": arm, "seed": seed} | {name: by_arm.get(arm) for name, by_arm in columns.items()} for arm in arms for seed in (0, 1)]
    return pd.DataFrame(rows)


def test_confounds_unequal_tokens_are_flagged_with_the_factor() -> None:
    (found,) = confounds(trials(tokens={"base": 1e9, "same": 1e9, "more": 1.5e9}), baseline="base")
    assert (found.arm, found.what, found.baseline_value, found.arm_value, found.factor) == ("more", "tokens", 1e9, 1.5e9, 1.5)
    assert "same tokens" in found.advice


def test_confounds_every_column_is_guarded_and_within_one_percent_passes() -> None:
    frame = trials(
        tokens={"base": 1000.0, "new": 1009.0, "cut": 500.0},
        train_flops={"base": 1e18, "new": 1.02e18, "cut": 0.5e18},
        schedule_fraction={"base": 1.0, "new": 1.0, "cut": 0.5},
    )
    found = [(each.arm, each.what) for each in confounds(frame, baseline="base")]
    assert found == [("new", "train_flops"), ("cut", "tokens"), ("cut", "train_flops"), ("cut", "schedule_fraction")]
    assert [each.arm for each in confounds(frame, baseline="base", tolerance=0.1)] == ["cut"] * 3


def test_confounds_learning_rate_is_guarded_only_where_it_is_named() -> None:
    frame = trials(tokens={"base": 1.0, "new": 1.0}, lr={"base": 1e-3, "new": 2e-3})
    assert confounds(frame, baseline="base") == ()
    (found,) = confounds(frame, baseline="base", what=["lr"])
    assert (found.what, found.factor) == ("lr", 2.0)


def test_confounds_one_seed_that_stopped_early_is_flagged() -> None:
    frame = trials(tokens={"base": 100.0, "new": 100.0})
    frame.loc[3, "tokens"] = 50.0
    assert confounds(frame, baseline="base")[0].arm_value == 75.0
    assert confounds(frame.assign(state=["done", "done", "cached", "failed"]), baseline="base") == ()


def test_confounds_baseline_of_zero_has_no_factor() -> None:
    (found,) = confounds(trials(tokens={"base": 0.0, "new": 5.0}), baseline="base")
    assert found.factor is None


def test_confounds_arm_without_a_finite_number_is_not_compared() -> None:
    frame = trials(tokens={"base": 5.0, "new": np.nan, "wild": np.inf})
    assert confounds(frame, baseline="base") == ()


def test_confounds_permuted_rows_flag_the_same() -> None:
    frame = trials(tokens={"base": 1.0, "b": 2.0, "c": 3.0})
    assert set(confounds(frame.sample(frac=1, random_state=0), baseline="base")) == set(confounds(frame, baseline="base"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "bas"}, "did you mean 'base'"),
        ({"what": ["token"]}, "unknown 'token'.*did you mean 'tokens'"),
        ({"what": ["lr"]}, "no column to guard"),
        ({"tolerance": -1.0}, "tolerance: -1"),
        ({"frame": trials(schedule_fraction={"base": 1.2})}, "schedule_fraction: 1.2; it must be between 0 and 1"),
        ({"frame": trials(tokens={"base": -5.0})}, "tokens: -5; it must be 0 or more"),
        ({"frame": trials(tokens={"base": 1.0}).drop(columns="arm")}, "no column 'arm'"),
    ],
)
def test_confounds_bad_argument_is_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"frame": trials(tokens={"base": 1.0}), "baseline": "base"} | change
    with pytest.raises(InputError, match=message):
        confounds(**arguments)


def swept(best: float, *, noise: float, rng_seed: int, rates: tuple[float, ...] = (1e-4, 2e-4, 4e-4, 8e-4, 16e-4)) -> Optimum:
    """The optimum of a parabola in ln lr of curvature 0.01, from three seeds a rate."""
    rng = np.random.default_rng(rng_seed)
    rows = [(1e8, lr, seed, 3 + 0.01 * log(lr / best) ** 2 + noise * rng.normal()) for lr in rates for seed in range(3)]
    (found,) = find_optima(pd.DataFrame(rows, columns=["n_params", "lr", "seed", "loss"]), metric="loss", goal="min")
    return found


def test_moved_optimum_beyond_its_error_is_flagged_and_re_tuned() -> None:
    optima = {
        "base": swept(3e-4, noise=1e-4, rng_seed=0),
        "near": swept(3e-4, noise=1e-4, rng_seed=1),
        "far": swept(6e-4, noise=1e-4, rng_seed=2),
    }
    (found,) = moved_optimum(optima, baseline="base")
    assert found.arm == "far"
    assert found.factor == pytest.approx(2.0, rel=0.1)
    assert found.se_ln == pytest.approx(sqrt((optima["base"].se_ln or 0) ** 2 + (optima["far"].se_ln or 0) ** 2))
    assert found.retune == pytest.approx((found.arm_lr / 2, found.arm_lr, found.arm_lr * 2))
    assert "re-tune far at" in found.advice


def test_moved_optimum_noisy_optima_flag_as_seldom_as_they_say() -> None:
    rng = np.random.default_rng(0)
    draws = {f"a{index}": BestRate(float(np.exp(0.3 * rng.normal())), 0.3) for index in range(2000)}
    flagged = len(moved_optimum(draws | {"base": BestRate(1.0, 0.0)}, baseline="base"))
    assert flagged / 2000 == pytest.approx(0.05, abs=0.015)  # binomial SE 0.005


@pytest.mark.parametrize(("lr", "moved"), [(2e-3, False), (2.1e-3, True), (0.5e-3, False), (0.4e-3, True)])
def test_moved_optimum_without_an_error_takes_a_factor_of_two(lr: float, moved: bool) -> None:
    found = moved_optimum({"base": BestRate(1e-3, 0.01), "new": BestRate(lr, None)}, baseline="base")
    assert [each.se_ln for each in found] == [None] * moved


def test_moved_optimum_at_the_end_of_its_grid_uses_the_grids_best() -> None:
    edge = swept(1e-2, noise=1e-5, rng_seed=0)
    assert edge.status == "edge_high"
    (found,) = moved_optimum({"base": swept(3e-4, noise=1e-5, rng_seed=1), "new": edge}, baseline="base", step=3.0)
    assert found.arm_lr == 16e-4
    assert found.retune == pytest.approx((16e-4 / 3, 16e-4, 48e-4))
    assert "the end of its grid" in found.advice


def test_moved_optimum_diverged_arm_is_left_out_and_a_diverged_baseline_refused() -> None:
    diverged = replace(swept(3e-4, noise=1e-5, rng_seed=0), lr=None, grid_best=None, status="too_few")
    assert moved_optimum({"base": BestRate(1e-3, None), "new": diverged}, baseline="base") == ()
    with pytest.raises(InputError, match="no run has a finite metric"):
        moved_optimum({"base": diverged, "new": BestRate(1e-3, None)}, baseline="base")


@pytest.mark.parametrize(
    ("optima", "options", "message"),
    [
        ({"base": BestRate(1e-3, None)}, {"baseline": "bse"}, "did you mean 'base'"),
        ({"base": BestRate(-1.0, None)}, {}, "arm base: lr: -1.0 is not a positive"),
        ({"base": BestRate(1e-3, -0.1)}, {}, "se_ln -0.1 is not a standard error"),
        ({"base": BestRate(1e-3, None)}, {"step": 1.0}, "step: 1.0"),
    ],
)
def test_moved_optimum_bad_argument_is_refused(optima: dict[str, BestRate], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        moved_optimum(optima, **({"baseline": "base"} | options))
