from collections.abc import Callable
from math import exp, inf, log, nan

import numpy as np
import pandas as pd
import pytest

from ablate.analysis.optima import Optimum, find_optima
from ablate.errors import InputError


def sweep(loss: Callable[[float], float], *, rates: list[float], seeds: int = 1, size: float = 1e8) -> pd.DataFrame:
    rows = [(size, rate, seed, loss(rate), "done") for rate in rates for seed in range(seeds)]
    return pd.DataFrame(rows, columns=["n_params", "lr", "seed", "loss", "status"])


def bowl(best: float, *, curvature: float = 0.02) -> Callable[[float], float]:
    return lambda rate: 2.0 + curvature * log(rate / best) ** 2


RATES = [1e-4 * 2.0**step for step in range(7)]


def only(runs: pd.DataFrame, *, metric: str = "loss", goal: str = "min") -> Optimum:
    (optimum,) = find_optima(runs, metric=metric, goal=goal)  # type: ignore[arg-type]
    return optimum


def test_find_optima_parabola_recovers_vertex_curvature_and_value() -> None:
    optimum = only(sweep(bowl(7e-4), rates=RATES))
    assert optimum.lr == pytest.approx(7e-4, rel=1e-9)
    assert optimum.curvature == pytest.approx(0.02, rel=1e-9)
    assert optimum.value == pytest.approx(2.0, rel=1e-12)
    assert (optimum.status, optimum.grid_best, optimum.bound) == ("interior", 8e-4, (4e-4, 1.6e-3))
    assert optimum.se_ln is None  # one seed


def test_find_optima_uneven_grid_recovers_the_vertex() -> None:
    assert only(sweep(bowl(7e-4), rates=[1e-4, 3e-4, 5e-4, 1e-3, 4e-3])).lr == pytest.approx(7e-4, rel=1e-9)


def test_find_optima_goal_max_looks_for_the_highest() -> None:
    runs = sweep(lambda rate: 60 - 3 * log(rate / 7e-4) ** 2, rates=RATES)
    optimum = only(runs, goal="max")
    assert optimum.lr == pytest.approx(7e-4, rel=1e-9)
    assert optimum.curvature == pytest.approx(3.0)
    assert optimum.value == pytest.approx(60.0)


def test_find_optima_steep_high_side_is_not_pulled_down_by_far_rates() -> None:
    skewed = lambda rate: 2 + 0.02 * (2 / 0.81) * (exp(0.9 * log(rate / 7e-4)) - 1 - 0.9 * log(rate / 7e-4))  # noqa: E731
    lr = only(sweep(skewed, rates=RATES)).lr
    assert lr is not None
    assert abs(log(lr / 7e-4)) < 0.15  # a parabola through all seven rates is off by 0.4 and more


@pytest.mark.parametrize(("best", "status", "bound"), [(2e-5, "edge_low", (None, 2e-4)), (5e-2, "edge_high", (3.2e-3, None))])
def test_find_optima_best_at_the_end_of_the_grid_is_flagged_with_a_bound(
    best: float, status: str, bound: tuple[float | None, float | None]
) -> None:
    optimum = only(sweep(bowl(best), rates=RATES))
    assert (optimum.status, optimum.lr, optimum.curvature) == (status, None, None)
    assert optimum.bound == pytest.approx(bound)


@pytest.mark.parametrize("broken", [nan, inf])
def test_find_optima_diverged_neighbour_makes_an_edge_bounded_on_both_sides(broken: float) -> None:
    optimum = only(sweep(lambda rate: broken if rate > 1e-3 else bowl(5e-3)(rate), rates=RATES, seeds=2))
    assert (optimum.status, optimum.grid_best) == ("edge_high", 8e-4)
    assert optimum.bound == pytest.approx((4e-4, 1.6e-3))
    assert (optimum.n_runs, optimum.n_diverged) == (14, 6)


def test_find_optima_far_diverged_rates_are_only_counted() -> None:
    optimum = only(sweep(lambda rate: nan if rate > 3e-3 else bowl(7e-4)(rate), rates=RATES))
    assert optimum.lr == pytest.approx(7e-4, rel=1e-9)
    assert (optimum.n_runs, optimum.n_diverged) == (7, 2)


def test_find_optima_rate_that_diverges_at_one_seed_of_three_keeps_the_others() -> None:
    runs = sweep(bowl(7e-4), rates=RATES, seeds=3)
    runs.loc[(runs["lr"] == 8e-4) & (runs["seed"] == 0), "loss"] = nan
    assert only(runs).lr == pytest.approx(7e-4, rel=1e-9)


@pytest.mark.parametrize("status", ["queued", "running", "lost", "pruned"])
def test_find_optima_unfinished_run_is_no_divergence(status: str) -> None:
    runs = sweep(bowl(7e-4), rates=RATES)
    runs.loc[6, "loss"] = nan
    runs.loc[6, "status"] = status
    optimum = only(runs)
    assert (optimum.n_runs, optimum.n_diverged) == (6, 0)


def test_find_optima_equal_losses_are_flat() -> None:
    optimum = only(sweep(lambda rate: 2.0, rates=RATES))
    assert (optimum.status, optimum.lr) == ("flat", None)
    assert optimum.bound == (None, None)


def test_find_optima_two_rates_are_too_few() -> None:
    assert only(sweep(bowl(7e-4), rates=[4e-4, 8e-4])).status == "too_few"


def test_find_optima_all_diverged_has_no_best_rate() -> None:
    optimum = only(sweep(lambda rate: nan, rates=RATES))
    assert (optimum.status, optimum.grid_best, optimum.n_diverged) == ("too_few", None, 7)


def test_find_optima_standard_error_matches_the_scatter_of_repeated_sweeps() -> None:
    rng = np.random.default_rng(0)
    rates = [2e-4 * 3.0**step for step in range(4)]
    found = [only(sweep(lambda rate: bowl(7e-4)(rate) + 0.002 * rng.normal(), rates=rates, seeds=3)) for _ in range(80)]
    errors = [log(optimum.lr / 7e-4) for optimum in found if optimum.lr]
    claimed = np.sqrt(np.mean([optimum.se_ln**2 for optimum in found if optimum.se_ln]))
    assert np.std(errors) == pytest.approx(claimed, rel=0.25)  # SD of 80 draws: 8 %, noise estimates with df 6: 3 %


def test_find_optima_shift_shared_by_a_seed_adds_no_error() -> None:
    runs = sweep(bowl(7e-4), rates=RATES, seeds=3)
    runs["loss"] += runs["seed"] * 0.3
    assert only(runs).se_ln == pytest.approx(0.0, abs=1e-9)


def test_find_optima_near_optimal_holds_the_rates_within_a_quarter_percent() -> None:
    optimum = only(sweep(bowl(8e-4), rates=RATES))
    assert optimum.near_optimal == pytest.approx([8e-4])  # one step costs 0.48 %
    assert optimum.near_optimal_words == "8.00e-4"
    assert len(only(sweep(bowl(8e-4, curvature=0.005), rates=RATES)).near_optimal) == 3


def test_find_optima_integer_columns_do_not_overflow() -> None:
    runs = sweep(bowl(7e-4), rates=RATES, size=1).assign(n_params=np.int64(9_000_000_000_000_000_000))
    assert only(runs).n_params == 9e18


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 1e-4}, "one rate a size"),
        ({"lr": -1e-4}, "column lr: -0.0001 is not a positive"),
        ({"lr": 0.0}, "not a positive"),
        ({"n_params": inf}, "column n_params: inf is not a positive"),
        ({"n_params": "big"}, "'big' is not a number"),
        ({"loss": "low"}, "'low' is not a number"),
    ],
)
def test_find_optima_bad_values_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_optima(sweep(bowl(7e-4), rates=RATES).assign(**change), metric="loss", goal="min")  # type: ignore[arg-type]


def test_find_optima_missing_column_is_refused_with_a_hint() -> None:
    with pytest.raises(InputError, match=r"no column 'loss'.*did you mean 'losses'"):
        find_optima(sweep(bowl(7e-4), rates=RATES).rename(columns={"loss": "losses"}), metric="loss", goal="min")


def test_find_optima_repeated_run_is_refused() -> None:
    with pytest.raises(InputError, match="7 runs repeat"):
        find_optima(pd.concat([sweep(bowl(7e-4), rates=RATES)] * 2), metric="loss", goal="min")


@pytest.mark.parametrize("goal", ["min", "max"])
def test_curve_that_sizes_share_goes_through_each_optimum_and_the_runs(goal: str) -> None:
    """Steeper above than below, as planted: `asymmetry` is shared, and the curve of a size is the metric itself."""
    sign, skew = (1 if goal == "min" else -1), 0.5
    planted = {size: best for size, best in ((1e7, 4e-4), (1e8, 3e-4), (1e9, 2.2e-4))}

    def metric(rate: float, best: float) -> float:
        d = log(rate / best)
        return sign * (2 + 0.02 * 2 * (exp(skew * d) - 1 - skew * d) / skew**2)

    runs = pd.concat([sweep(lambda rate, best=best: metric(rate, best), rates=RATES, size=size) for size, best in planted.items()])
    for optimum in find_optima(runs, metric="loss", goal=goal):  # type: ignore[arg-type]
        assert optimum.fitted is not None
        inside = [rate for rate in RATES if optimum.fitted[0] <= rate * 1.001 and rate <= optimum.fitted[1] * 1.001]
        best = planted[optimum.n_params]
        assert optimum.curve(inside, goal=goal) == pytest.approx([metric(rate, best) for rate in inside], abs=1e-6)  # type: ignore[arg-type]
        assert optimum.asymmetry == pytest.approx(skew, abs=1e-3)
