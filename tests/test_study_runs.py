"""Which axes of a study are sizes, which stand at their baseline, and what becomes of trials of which a count is not known."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate.errors import InputError
from ablate.scaling import study_losses, study_scales
from ablate.study_runs import StudyRuns, moving_axes

NAN = float("nan")


def study(*, seeds: int = 2, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame) -> StudyRuns:
    """Width makes the size and steps the tokens; a connector adds 0.1 % of parameters, and tokens are those that each seed read."""
    axes: dict[str, list[Any]] = {"width": [64, 128, 256], "steps": [100, 300, 900], "connector": ["linear", "mlp"]}
    rows = []
    for width, steps, connector, seed in product(*axes.values(), range(seeds)):
        n, tokens = 1e5 * width * (1.001 if connector == "mlp" else 1.0), steps * 1000.0 + 70 * seed
        row = {"width": width, "steps": steps, "connector": connector, "seed": seed, "num_params": n, "tokens": tokens}
        noise = 0.01 * np.sin(len(rows))  # to be no law up to rounding
        rows.append(row | {"loss": 2 + 100 * n**-0.3 + 50 * tokens**-0.3 - 0.2 * (connector == "mlp") + noise, "state": "done"})
    frame = pd.DataFrame(rows).assign(train_flops=lambda runs: 6 * runs["num_params"] * runs["tokens"], arm="base")
    frame["trial"] = [f"t{number}" for number in range(len(frame))]
    return StudyRuns("mine", True, "loss", "min", axes, axes, change(frame), {trial: {} for trial in frame["trial"]})


def test_axes_that_hardly_change_the_size_stand_at_their_baseline_and_all_are_named() -> None:
    rows = study_losses(study(), metric="loss", n_params="", tokens="")
    assert set(rows.frame["connector"]) == {"linear"}
    assert rows.notes == (
        "18 of 36 trials used: the other axes stand at their baseline (connector = linear)",
        "axes taken as sizes: width, steps",
    )


def test_counts_that_differ_by_seed_make_no_axis_a_size() -> None:
    """Every seed reads another tenth of the tokens; seeds of which no two levels have one in common say less, and are told apart."""
    by_seed = study(change=lambda frame: frame.assign(tokens=1e5 * (1 + frame["seed"] / 10)))
    assert moving_axes(by_seed.frame, by_seed.axes, ["num_params", "tokens"]) == {"width"}
    alone = study(change=lambda frame: frame.assign(seed=range(len(frame))))
    assert moving_axes(alone.frame, alone.axes, ["num_params", "tokens"]) == {"width", "steps"}


def test_scales_takes_an_axis_that_hardly_changes_the_size_as_its_arms() -> None:
    runs = study(change=lambda frame: frame[frame["steps"] == 100])
    runs = replace(runs, axes={axis: levels for axis, levels in runs.axes.items() if axis != "steps"})
    found = study_scales(runs, size="", arm="", baseline="", metric="loss", goal="min", compute="")
    assert found.sizes.arms == ("linear", "mlp")
    assert "axes taken as sizes: width" in found.sizes.warnings


def test_trials_of_which_a_count_is_not_known_are_left_out_and_counted() -> None:
    some = study(change=lambda frame: frame.assign(num_params=frame["num_params"].where(frame["width"] != 256)))
    rows = study_losses(some, metric="loss", n_params="", tokens="tokens")
    assert set(rows.frame["width"]) == {64, 128}
    assert rows.notes[0] == "12 of 36 trials left out: num_params is not known of them"
    none = study(change=lambda frame: frame.assign(train_flops=NAN, num_params=NAN).drop(columns="tokens"))
    with pytest.raises(InputError, match="num_params is not known of any trial; --n-params names an axis"):
        study_losses(none, metric="loss", n_params="", tokens="")
    with pytest.raises(InputError, match="train_flops / 6 N is not known of any trial; --tokens names an axis"):
        study_losses(none, metric="loss", n_params="width", tokens="")


def test_scales_counts_the_trials_at_sizes_without_the_baseline() -> None:
    def without(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame["width"] != 64) | (frame["connector"] != "linear")]

    found = study_scales(study(change=without), size="", arm="connector", baseline="", metric="loss", goal="min", compute="")
    assert len(found.sizes.sizes) == 2
    left = "2 of 10 trials left out: the baseline linear was not run at their width, or its num_params is not known"
    assert left in found.sizes.warnings
