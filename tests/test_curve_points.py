from math import nan, sqrt

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.curve_points import MAX_POINTS, StageCost, flops_per_step, group_lines, placed, seconds_per_step, thin
from ablate.errors import InputError

COLUMNS = ["trial", "metric", "step", "value"]


def frame(*rows: tuple[str, str, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def test_placed_by_another_metric_takes_its_value_at_the_same_step() -> None:
    points = frame(("t", "loss", 1, 3.0), ("t", "loss", 2, 2.0), ("t", "loss", 3, 1.0), ("t", "tokens", 1, 70.0), ("t", "tokens", 3, 210.0))
    found = placed(points, metric="loss", x="tokens")
    assert (found["x"].tolist(), found["value"].tolist()) == ([70.0, 210.0], [3.0, 1.0])


def test_placed_by_a_column_or_per_step_leaves_out_what_has_none() -> None:
    points = frame(("t", "loss", 1, 3.0), ("u", "loss", 2, 2.0), ("u", "loss", 3, nan)).assign(seconds=[5.0, nan, 7.0])
    assert placed(points, metric="loss", x="seconds")["x"].tolist() == [5.0]
    assert placed(points, metric="loss", x="FLOPs", per_step={"u": 100.0})["x"].tolist() == [200.0]


def test_placed_by_what_is_not_there_is_refused() -> None:
    points = frame(("t", "loss", 1, 3.0), ("t", "tokens", 1, 70.0))
    with pytest.raises(InputError, match="did you mean 'tokens'"):
        placed(points, metric="loss", x="token")
    assert placed(points[:0], metric="loss", x="token").empty


def test_group_lines_interval_is_that_of_the_mean() -> None:
    points = placed(frame(("t", "loss", 0, 1.0), ("u", "loss", 0, 3.0)), metric="loss")
    found = group_lines(points, band="interval")
    half = stats.t.ppf(0.975, 1) * sqrt(2) / sqrt(2)
    assert (found.mean.y, found.low.y, found.high.y) == ([2.0], pytest.approx([2 - half]), pytest.approx([2 + half]))
    assert group_lines(points, band="none").low.x == []


def test_thin_keeps_ends_least_and_most_of_every_stretch() -> None:
    values = np.zeros(100_000)
    values[[777, 54_321]] = [-5.0, 9.0]
    kept = thin(values)
    assert len(kept) <= MAX_POINTS
    assert {0, 777, 54_321, 99_999} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize("count", [0, 1, 2, 499, 500, 501, 1003])
def test_thin_is_whole_up_to_the_limit(count: int) -> None:
    kept = thin(np.sin(np.arange(count)))
    assert len(kept) == count if count <= MAX_POINTS else len(kept) <= MAX_POINTS


def test_group_lines_thin_each_line() -> None:
    points = placed(pd.concat([frame(*[(trial, "loss", step, float(step % 7)) for step in range(3000)]) for trial in "tu"]), metric="loss")
    found = group_lines(points, band="range")
    assert found.thinned
    assert max(len(line.x) for line in (found.mean, found.low, found.high, *found.trials.values())) <= MAX_POINTS


def test_cost_of_a_step_is_of_trials_that_ended() -> None:
    points = pd.DataFrame({"trial": ["a", "a", "b", "c", "d"], "arm": ["x", "x", "x", "y", "z"], "step": [5, 10, 3, 4, 8]})
    costs = {"a": StageCost("x", 1000.0, 20.0, 1), "d": StageCost("z", 0.0, 8.0, 2)}
    assert flops_per_step(points, costs=costs) == {"a": 100.0, "b": 100.0}
    assert seconds_per_step(points, costs=costs) == {"a": 2.0}
