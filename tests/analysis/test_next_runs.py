from math import exp, log

import numpy as np
import pandas as pd
import pytest

from ablate.analysis.next_runs import STOP_RUNS, next_runs
from ablate.analysis.published import MM1
from ablate.errors import InputError

SIZES = [9e6, 85e6, 302e6, 1.2e9]


def runs(steps: list[float], *, seeds: int = 1, noise: float = 0.001, scatter: float = 0.1) -> pd.DataFrame:
    """At each size these steps of a factor of two around MM1's rate."""
    rng = np.random.default_rng(2)
    rows = []
    for size in SIZES:
        best = log(MM1.lr(size)) + scatter * rng.normal()
        for step in steps:
            ln_lr = log(MM1.lr(size)) + log(2) * step
            rows += [(size, exp(ln_lr), seed, 3 + 0.02 * (ln_lr - best) ** 2 + noise * rng.normal()) for seed in range(seeds)]
    return pd.DataFrame(rows, columns=["n_params", "lr", "seed", "loss"])


def test_best_rate_at_the_end_of_its_grid_gets_the_rate_beyond_before_anything_else() -> None:
    frame = runs([-2, -1, 0, 1, 2])
    low = frame["n_params"] == SIZES[0]
    frame.loc[low, "loss"] = 3 + 0.02 * np.log(frame.loc[low, "lr"] / 1.0) ** 2
    found = next_runs(frame, metric="loss", goal="min")
    assert [(run.n_params, run.why, run.seed) for run in found.runs] == [(SIZES[0], "edge", 0)]
    assert found.runs[0].lr == pytest.approx(MM1.lr(SIZES[0]) * 2**3)
    assert not found.stop


def test_edge_beside_a_diverged_rate_is_halved() -> None:
    frame = runs([-2, -1, 0, 1, 2])
    small = frame["n_params"] == SIZES[0]
    frame.loc[small, "loss"] = 3 + 0.02 * np.log(frame.loc[small, "lr"] / 1.0) ** 2
    frame.loc[small & (frame["lr"] > 3 * MM1.lr(SIZES[0])), "loss"] = np.nan
    (run,) = next_runs(frame, metric="loss", goal="min").runs
    assert run.lr == pytest.approx(MM1.lr(SIZES[0]) * 2**1.5)


def test_three_rates_a_size_get_one_more_each_on_the_side_of_the_optimum() -> None:
    found = next_runs(runs([-1.5, 0, 1.5]), metric="loss", goal="min", count=10)
    assert [(run.n_params, run.why) for run in found.runs] == [(size, "spread") for size in SIZES]
    assert all(run.sd is None for run in found.runs)
    steps = [abs(log(run.lr / MM1.lr(run.n_params))) / log(2) for run in found.runs]
    assert steps == pytest.approx([3.0] * 4)


def test_gain_falls_as_the_width_does_and_seeds_are_new() -> None:
    found = next_runs(runs([-2, -1, 0, 1, 2], noise=0.01), metric="loss", goal="min", count=8, per="run")
    assert found.sd is not None
    widths = [found.sd, *(run.sd or 0.0 for run in found.runs)]
    assert widths == sorted(widths, reverse=True)
    assert all(run.why == "gain" and (run.gain or 0) > 0 for run in found.runs)
    assert len({(run.n_params, run.lr, run.seed) for run in found.runs}) == 8
    on_the_grid = [run for run in found.runs if abs(log(run.lr / MM1.lr(run.n_params))) < log(2) * 2.5]
    assert all(run.seed >= 1 for run in on_the_grid)  # seed 0 was made


def test_gain_for_a_flop_prefers_smaller_sizes() -> None:
    frame = runs([-2, -1, 0, 1, 2], noise=0.01)
    by = {per: next_runs(frame, metric="loss", goal="min", count=8, per=per).runs for per in ("run", "flop")}  # type: ignore[arg-type]
    assert sum(run.cost for run in by["flop"]) < sum(run.cost for run in by["run"])
    assert by["flop"][0].cost == 1.0


def test_cost_counts_tokens_where_they_are_given() -> None:
    frame = runs([-1.5, 0, 1.5]).assign(tokens=lambda rows: 20 * rows["n_params"].astype(np.int64))
    costs = [run.cost for run in next_runs(frame, metric="loss", goal="min", count=4).runs]
    assert costs == pytest.approx([(size / SIZES[0]) ** 2 for size in SIZES])


def test_well_measured_sizes_say_stop_and_that_sizes_are_lacking() -> None:
    found = next_runs(runs([-2, -1, 0, 1, 2], seeds=4, noise=0.0005), metric="loss", goal="min", count=1)
    assert found.stop
    assert len(found.runs) == 1
    assert found.reason.startswith(f"{STOP_RUNS} more runs would narrow the interval by 0.")
    assert "add sizes" in found.reason


def test_diverged_rates_are_proposed_no_more() -> None:
    frame = runs([-2, -1, 0, 1, 2], noise=0.01)
    frame.loc[frame["lr"] > frame["n_params"].map(MM1.lr) * 3, "loss"] = np.nan
    found = next_runs(frame, metric="loss", goal="min", count=20, per="run")
    assert all(run.lr < 3 * MM1.lr(run.n_params) for run in found.runs)


@pytest.mark.parametrize(
    ("frame", "how", "message"),
    [
        (runs([0, 1, 2]).query("n_params == 9e6"), {}, "1 size with a finished run; a law needs at least two"),
        (runs([0, 1, 2]), {"count": 0}, "count: 0 is not between 1 and 1000"),
        (runs([0, 1, 2]), {"target": -1.0}, "target: -1.0 is not a positive"),
        (runs([0]), {}, "one rate a size"),
    ],
)
def test_what_no_run_can_be_chosen_for_is_refused(frame: pd.DataFrame, how: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        next_runs(frame, metric="loss", goal="min", **how)  # type: ignore[arg-type]


def test_size_of_two_rates_gets_a_third_that_it_has_not_had() -> None:
    frame = runs([-2, -1, 0, 1, 2])
    frame = frame[(frame["n_params"] > 1e7) | frame["lr"].between(0.9 * MM1.lr(9e6), 2.1 * MM1.lr(9e6))]
    (run,) = next_runs(frame, metric="loss", goal="min").runs
    assert (run.n_params, run.why, run.seed) == (9e6, "spread", 0)
    assert run.lr == pytest.approx(MM1.lr(9e6) / 2)  # 0 steps is best of 0 and 1


def test_size_that_diverged_at_every_rate_gets_a_lower_one() -> None:
    frame = runs([-2, -1, 0, 1, 2])
    frame.loc[frame["n_params"] == SIZES[-1], "loss"] = np.nan
    (run,) = next_runs(frame, metric="loss", goal="min").runs
    assert (run.n_params, run.lr) == (SIZES[-1], pytest.approx(MM1.lr(SIZES[-1]) / 8))


def test_size_without_a_dip_gets_a_rate_outside_its_grid() -> None:
    frame = runs([-2, -1, 0, 1, 2])
    frame.loc[frame["n_params"] == SIZES[0], "loss"] = 3.0
    (run,) = next_runs(frame, metric="loss", goal="min").runs
    rates = frame.loc[frame["n_params"] == SIZES[0], "lr"]
    assert run.n_params == SIZES[0]
    assert run.lr == pytest.approx(rates.min() / 2)


def test_size_that_the_shared_curve_contradicts_is_repeated_at_rates_it_has() -> None:
    frame = runs([-2, -1, 0, 1, 2], seeds=2)
    frame.loc[3, "loss"] = 3.5
    found = next_runs(frame, metric="loss", goal="min")
    assert [(run.n_params, run.why, run.seed) for run in found.runs] == [(SIZES[0], "repeat", 2)]
    assert any("far from all other runs: 9M" in warning for warning in found.warnings)


def test_edge_by_the_shared_curve_gets_the_rate_beyond_the_grid() -> None:
    frame = runs([-2, -1, 0, 1, 2], seeds=2)
    frame.loc[5, "loss"] = 3.5
    (run,) = next_runs(frame, metric="loss", goal="min").runs
    tried = frame["lr"][frame["n_params"] == run.n_params]
    assert (run.why, run.seed) == ("edge", 0)
    assert run.lr < tried.min() / 1.9 or run.lr > tried.max() * 1.9


def test_criterion_says_by_what_runs_are_chosen_and_why_all_are_of_one_size() -> None:
    """The smallest size is the least certain of its best rate, stands at an end, and costs least."""
    rng = np.random.default_rng(0)
    sizes, steps = (1e6, 1e7, 1e8), range(-3, 4)
    rows = [
        (size, MM1.lr(size) * 2.0**step, 0, 3 + bend * step**2 + 0.01 * rng.normal())
        for size, bend in zip(sizes, (0.01, 0.1, 1.0), strict=True)
        for step in steps
    ]
    found = next_runs(pd.DataFrame(rows, columns=["n_params", "lr", "seed", "loss"]), metric="loss", goal="min", count=3)
    assert {run.n_params for run in found.runs} == {1e6}
    assert found.criterion == (
        "each run is the one that lowers the SD of the target's ln rate most for its FLOPs, 6 N D; here all are at 1M: its best rate is "
        "the least certain; it stands at an end of the sizes, where it moves the slope most; its runs cost least"
    )
    assert found.to_json()["criterion"] == found.criterion
