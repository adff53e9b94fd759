"""The smallest difference a study can see, against the table, against simulated studies, and where it can see none."""

from itertools import product
from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ablate.analysis.power import detectable_shift
from ablate.design import axis_labels, make_arms
from ablate.detect import Detection, SeedNoise, cells_in_common, detect, known_noise
from ablate.draft import Arm
from ablate.planner import make_plan
from tests.conftest import make_arm, make_study

UNIT = SeedNoise(1.0, "assumed")


def detection(noise: SeedNoise = UNIT, **study: Any) -> Detection:
    made = make_study(**study)
    return detect(make_plan(made, make_arms(made)), axes=axis_labels(made), noise=noise)


def arms_at(*cells: tuple[Any, ...]) -> list[Arm]:
    template = make_arm("base")
    return [Arm(str(cell), dict(zip("abc", cell, strict=False)), {}, {}, template.settings) for cell in cells]


@pytest.mark.parametrize(("seeds", "in_sds"), [(2, 11.55), (3, 3.26), (4, 2.13), (5, 1.68), (6, 1.43), (8, 1.16), (10, 1.00), (20, 0.66)])
def test_detect_one_axis_is_the_table_of_paired_seeds(seeds: int, in_sds: float) -> None:
    (found,) = detection(SeedNoise(0.5, "assumed"), seeds=seeds).axes
    assert found.difference == pytest.approx(in_sds * sqrt(2) * 0.5, abs=0.006)
    assert (found.seeds, found.cells, found.df) == (seeds, 1, seeds - 1)


def test_detect_grid_averages_over_the_cells_of_the_other_axes() -> None:
    axes = {"num_tokens": [16, 64], "connector": ["avg_pool", "attention_pool", "c_abstractor"]}
    tokens, connector = detection(axes=axes, seeds=3).axes
    assert (tokens.cells, connector.cells) == (3, 2)
    assert tokens.difference is not None
    assert connector.difference is not None
    assert tokens.difference / connector.difference == pytest.approx(sqrt(2 / 3))


def test_detect_one_at_a_time_has_one_cell() -> None:
    axes = {"num_tokens": [16, 64], "image_size": [224, 336]}
    assert [found.cells for found in detection(axes=axes, seeds=3, design="one_at_a_time").axes] == [1, 1]


def test_detect_counts_the_seeds_that_listed_arms_have() -> None:
    """Two arms of a grid get ten seeds: their own difference is seen as ten seeds see it, that of the others as three do."""
    axes = {"num_tokens": [16, 64], "image_size": [224, 336]}
    more = {"kind": "list", "arms": [{}, {"num_tokens": 64}], "seeds": 10}
    tokens, size = detection(axes=axes, seeds=3, design=["grid", more]).axes
    (alone,) = detection(axes={"num_tokens": [16, 64]}, seeds=10).axes
    assert (tokens.seeds, tokens.cells, tokens.difference) == (10, 1, alone.difference)
    assert (size.seeds, size.cells) == (3, 2)
    (own,) = detection(axes={"num_tokens": [16, 64]}, design={"kind": "list", "arms": [{}, {"num_tokens": 64}], "seeds": [5, 6, 7]}).axes
    assert (own.seeds, own.cells) == (3, 1)


def test_detect_where_counts_only_cells_in_which_both_levels_stand() -> None:
    axes = {"num_tokens": [16, 64], "image_size": [224, 336, 448]}
    tokens, size = detection(axes=axes, seeds=3, where=["num_tokens < 64 or image_size < 448"]).axes
    assert (tokens.cells, size.cells) == (2, 1)


@pytest.mark.slow
def test_detect_promise_holds_in_simulated_studies() -> None:
    """Two levels, four cells of another axis, five seeds: at the promised difference four studies of five find it."""
    axes = {"num_tokens": [16, 64], "image_size": [224, 336, 448, 512]}
    found = next(axis for axis in detection(axes=axes, seeds=5).axes if axis.axis == "num_tokens")
    assert found.difference is not None
    noise = np.random.default_rng(0).normal(size=(20_000, 2, 4, 5))
    differences = found.difference + (noise[:, 1] - noise[:, 0]).mean(axis=1)
    p = stats.ttest_1samp(differences, 0.0, axis=1).pvalue
    assert np.mean((p < 0.05) & (differences.mean(axis=1) > 0)) == pytest.approx(0.8, abs=0.01)


def test_detect_one_seed_promises_nothing_and_says_what_three_would() -> None:
    (found,) = detection(seeds=1).axes
    assert (found.difference, found.df) == (None, 0)
    assert found.with_more_seeds == pytest.approx(3.264 * sqrt(2), abs=0.002)
    assert "one seed" in found.note


def test_detect_unknown_noise_is_in_units_of_it() -> None:
    known, unknown = detection(seeds=3), detection(known_noise(None, declared=None), seeds=3)
    assert unknown.axes[0].difference == known.axes[0].difference
    assert unknown.to_json()["unit"] == "standard deviations between seeds"
    assert unknown.to_json()["noise"] == {"sd": None, "origin": "unknown", "arms": 0, "df": 0}
    assert known.to_json()["unit"] == "metric"


def test_known_noise_measured_goes_before_declared() -> None:
    measured = SeedNoise(0.2, "measured", 4, 8)
    assert known_noise(measured, declared=0.1) is measured
    assert known_noise(None, declared=0.1) == SeedNoise(0.1, "assumed")


def test_detect_fractional_compares_halves_of_all_runs() -> None:
    axes = {"num_tokens": [16, 64], "image_size": [224, 336], "connector": ["avg_pool", "c_abstractor"], "noise_sd": [0.01, 0.02]}
    base = {"num_tokens": 16, "image_size": 224, "connector": "avg_pool", "noise_sd": 0.01}
    made = make_study(axes=axes, base=base, seeds=2, design={"kind": "fractional", "resolution": 4})
    runs = len(make_arms(made))
    for found in detection(axes=axes, base=base, seeds=2, design={"kind": "fractional", "resolution": 4}).axes:
        assert found.df == 2 * runs - 4 - 1
        assert found.difference == pytest.approx(detectable_shift(found.df) * 2 / sqrt(2 * runs))


def test_detect_points_that_do_not_pair_up_promise_nothing() -> None:
    axes = {"num_tokens": [16, 64, 144], "image_size": [224, 336, 448]}
    design = {"kind": "list", "arms": [{"num_tokens": 64, "image_size": 336}, {"num_tokens": 144, "image_size": 448}]}
    for found in detection(axes=axes, seeds=3, design=design).axes:
        assert (found.difference, found.cells) == (None, 0)
        assert "do not pair up" in found.note


def test_cells_in_common_of_part_of_a_grid_are_those_of_the_whole_count() -> None:
    """The shortcut for whole grids against counting, and a grid with a hole."""
    grid = list(product([1, 2], [1, 2, 3], [1, 2]))
    axes = {"a": [1, 2], "b": [1, 2, 3], "c": [1, 2]}
    assert cells_in_common(arms_at(*grid), axes=axes) == {"a": 6, "b": 4, "c": 6}
    hole = cells_in_common(arms_at(*[cell for cell in grid if cell != (2, 3, 2)]), axes=axes)
    assert hole == {"a": 5, "b": 3, "c": 5}
