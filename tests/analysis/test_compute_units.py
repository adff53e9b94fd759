from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from ablate.analysis.compute_units import ComputeUnits, compute_units
from ablate.errors import InputError


def bent(compute: float) -> float:
    """A loss of 1.7 + 0.9 (C / 1e18)^-0.15."""
    return float(1.7 + 0.9 * (compute / 1e18) ** -0.15)


def straight(compute: float) -> float:
    return float(3.0 - 0.2 * np.log(compute / 1e18))


def study(
    curve: Callable[[float], float] = bent,
    *,
    computes: int = 5,
    seeds: int = 3,
    sd: float = 0.0,
    factor: float = 2.0,
    at: float = 1e19,
    rng_seed: int = 0,
) -> pd.DataFrame:
    """The arm at `at` has the loss of the base at `factor` times that compute."""
    rng = np.random.default_rng(rng_seed)
    truth = [("base", compute, curve(compute)) for compute in np.geomspace(1e17, 1e20, computes)] + [("new", at, curve(factor * at))]
    rows = [(arm, compute, seed, mean + sd * rng.normal()) for arm, compute, mean in truth for seed in range(seeds)]
    return pd.DataFrame(rows, columns=["arm", "compute", "seed", "loss"])


def units(frame: pd.DataFrame, **options: Any) -> ComputeUnits:
    (found,) = compute_units(frame, **({"baseline": "base", "metric": "loss", "goal": "min"} | options)).arms
    return found


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(("curve", "kind"), [(bent, "power_law"), (straight, "log_linear")])
def test_compute_units_without_noise_find_the_planted_factor(curve: Callable[[float], float], kind: str, factor: float) -> None:
    report = compute_units(study(curve, factor=factor), baseline="base", metric="loss", goal="min")
    assert report.curve.kind == kind
    assert report.arms[0].factor == pytest.approx(factor, rel=1e-5)
    assert report.arms[0].interval is None
    assert "exactly on the curve" in report.arms[0].note


def test_compute_units_curve_is_the_least_squares_of_scipy() -> None:
    frame = study(sd=0.01)
    base = frame[frame["arm"] == "base"]
    curve = compute_units(frame, baseline="base", metric="loss", goal="min").curve
    oracle, covariance = optimize.curve_fit(
        lambda x, level, amplitude, exponent: level + amplitude * np.exp(-exponent * x),
        np.log(base["compute"] / curve.reference),
        base["loss"],
        p0=(1.7, 0.8, 0.15),
    )
    assert (curve.level, curve.amplitude, curve.exponent) == pytest.approx(tuple(oracle), rel=1e-4)
    assert curve.asymptote == curve.level
    x = np.log(1e19 / curve.reference)
    assert curve.at(1e19) == pytest.approx(oracle[0] + oracle[1] * np.exp(-oracle[2] * x), rel=1e-6)
    # the noise too: curve_fit scales its covariance by the residual variance of the same degrees of freedom
    assert curve.residual_sd == pytest.approx(np.sqrt(np.sum((base["loss"] - [curve.at(c) for c in base["compute"]]) ** 2) / 12), rel=1e-6)
    assert curve.df == 12
    assert covariance.shape == (3, 3)


def test_compute_units_straight_interval_is_fiellers() -> None:
    """Where the curve is straight in ln C the ends solve a quadratic: (b0 + b1 x - m)² = t² s² (v(x) + 1/n)."""
    from scipy import stats

    frame = study(straight, computes=3, sd=0.03, rng_seed=4)
    base, arm = frame[frame["arm"] == "base"], frame[frame["arm"] == "new"]["loss"]
    x = np.log(base["compute"].to_numpy() / 1e19)
    slope, intercept = np.polyfit(x, base["loss"], 1)
    squares = np.sum((base["loss"] - intercept - slope * x) ** 2) + np.sum((arm - arm.mean()) ** 2)
    scale = stats.t.ppf(0.975, 7 + 2) ** 2 * squares / 9
    spread = np.sum((x - x.mean()) ** 2)
    shift = intercept - arm.mean()
    quadratic = [
        slope**2 - scale / spread,
        2 * slope * shift + 2 * scale * x.mean() / spread,
        shift**2 - scale * (1 / 9 + 1 / 3 + x.mean() ** 2 / spread),
    ]
    found = units(frame)
    assert found.interval is not None
    assert found.interval == pytest.approx(tuple(sorted(np.exp(np.roots(quadratic)))), rel=1e-6)


@pytest.mark.parametrize(
    ("curve", "computes", "seeds"),
    [(bent, 5, 3), (straight, 3, 3)],  # 0.95 and 0.94 of 250 studies when this was written; binomial SE 0.014
)
def test_compute_units_interval_covers_the_true_factor(curve: Callable[[float], float], computes: int, seeds: int) -> None:
    covered = []
    for rng_seed in range(80):
        found = units(study(curve, computes=computes, seeds=seeds, sd=0.03, rng_seed=rng_seed))
        assert found.interval is not None
        low, high = found.interval
        covered.append((low or 0.0) < 2.0 < (high or np.inf))
    assert np.mean(covered) > 0.88  # binomial SE 0.024


def test_compute_units_three_computes_on_a_bent_curve_are_not_sure_of_themselves() -> None:
    found = units(study(computes=3, sd=0.005))
    assert found.interval is not None
    assert None in found.interval
    assert "3 computes cannot show a bend" in found.note
    assert "more than its seeds explain" in found.note
    assert "the interval is open" in found.note


def test_compute_units_identical_seeds_count_as_one() -> None:
    frame = study(sd=0.01, seeds=1)
    copies = pd.concat([frame.assign(seed=seed) for seed in range(3)])
    once, thrice = (compute_units(each, baseline="base", metric="loss", goal="min") for each in (frame, copies))
    assert thrice.curve.df == once.curve.df == 2
    assert thrice.arms[0].interval == pytest.approx(once.arms[0].interval, rel=1e-3)


def test_compute_units_better_than_the_asymptote_is_no_factor() -> None:
    frame = study(sd=0.005)
    frame.loc[frame["arm"] == "new", "loss"] -= 1.0
    found = units(frame)
    assert (found.matched, found.factor, found.interval, found.extrapolation_decades) == (None, None, None, None)
    assert "beyond the curve's asymptote" in found.note
    assert "beyond the asymptote by more than the noise" in found.note


def test_compute_units_just_past_the_asymptote_is_bounded_from_below() -> None:
    frame = study(sd=0.03, rng_seed=1)
    level = compute_units(frame, baseline="base", metric="loss", goal="min").curve.level
    arm = frame.loc[frame["arm"] == "new", "loss"]
    frame.loc[frame["arm"] == "new", "loss"] = arm - arm.mean() + level - 0.001
    found = units(frame)
    assert found.factor is None
    assert found.interval is not None
    low, high = found.interval
    assert high is None
    assert low is not None
    assert low > 1


def test_compute_units_out_of_all_range_is_no_number() -> None:
    frame = study(straight, sd=0.01)
    frame.loc[frame["arm"] == "new", "loss"] = -1000.0
    found = units(frame)
    assert (found.factor, found.interval) == (None, None)
    assert "more than 100 decades away" in found.note


def test_compute_units_far_away_says_how_many_decades() -> None:
    found = units(study(straight, sd=0.01, at=1e20, factor=100.0))
    assert found.extrapolation_decades == pytest.approx(2.0, abs=0.1)
    assert "extrapolated by 2" in found.note
    assert units(study(straight, sd=0.01)).extrapolation_decades == 0


def test_compute_units_goal_max_of_the_mirrored_metric_is_the_same() -> None:
    frame = study(sd=0.02)
    mirrored = units(frame.assign(loss=5 - frame["loss"]), goal="max")
    assert mirrored.factor == pytest.approx(units(frame).factor, rel=1e-6)
    assert mirrored.interval == pytest.approx(units(frame).interval, rel=1e-6)


def test_compute_units_base_that_gets_worse_matches_nothing() -> None:
    found = units(study(sd=0.01), goal="max")
    assert (found.factor, found.interval) == (None, None)
    assert "does not get better with compute" in found.note


def test_compute_units_in_other_units_of_loss_and_compute_are_the_same() -> None:
    frame = study(sd=0.02)
    scaled = units(frame.assign(loss=1000 * frame["loss"], compute=frame["compute"] / 1e15))
    assert scaled.factor == pytest.approx(units(frame).factor, rel=1e-6)


def test_compute_units_permuted_rows_change_nothing() -> None:
    frame = study(sd=0.02)
    assert units(frame.sample(frac=1, random_state=3)) == units(frame)


def test_compute_units_one_seed_takes_its_noise_from_the_curve() -> None:
    found = units(study(computes=6, seeds=1, sd=0.01))
    assert found.n == 1
    assert found.interval is not None
    assert found.interval[0] is not None


def test_compute_units_each_compute_of_an_arm_is_its_own_answer() -> None:
    frame = study(sd=0.01)
    again = frame[frame["arm"] == "new"].assign(compute=1e18, loss=frame["loss"] + 0.2)
    report = compute_units(pd.concat([frame, again]), baseline="base", metric="loss", goal="min")
    assert sorted((found.arm, found.compute) for found in report.arms) == [("new", 1e18), ("new", 1e19)]


def test_compute_units_failed_trials_are_left_out_and_counted() -> None:
    frame = study(sd=0.01).assign(state="done")
    frame.loc[0, "state"] = "failed"
    frame.loc[5, "loss"] = np.inf
    assert "2 of 18 trials left out" in units(frame).note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "bas"}, "no arm 'bas'.*did you mean 'base'"),
        ({"metric": "los"}, "did you mean 'loss'"),
        ({"goal": "low"}, "unknown 'low'"),
        ({"level": 0.0}, "between 0 and 1"),
        ({"frame": study(computes=2)}, "finished at 2 computes; its scaling curve needs 3"),
        ({"frame": study().assign(compute=-1.0, seed=range(18))}, "column compute: -1.0 is not a positive"),
        ({"frame": study().drop(columns="compute")}, "no column 'compute'"),
    ],
)
def test_compute_units_bad_argument_is_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"frame": study()} | change
    with pytest.raises(InputError, match=message):
        units(**arguments)
