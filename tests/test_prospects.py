"""What a claim can hope for, against the same question answered by simulating studies."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ablate.analysis.power import seeds_for_margin
from ablate.detect import Detectable, SeedNoise
from ablate.prospects import Prospect, prospects
from tests.conftest import make_study

LEVELS = {"num_tokens": [16, 64, 144]}


def prospect(claim: dict[str, Any], *, seeds: int = 4, cells: int = 2, sd: float | None = 1.5) -> Prospect:
    study = make_study(axes=LEVELS, seeds=seeds, claims=[{"axis": "num_tokens", "level": 64, "against": 16} | claim])
    found = (Detectable("num_tokens", None, seeds, cells, seeds - 1),)
    (only,) = prospects(study, levels=LEVELS, found=found, noise_of=lambda _: SeedNoise(sd, "assumed" if sd else "unknown"))
    return only


def simulated(*, difference: float, seeds: int, cells: int, sd: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Studies' differences by seed, each the mean over the cells of one level against the other."""
    draws = np.random.default_rng(0).normal(0.0, sd, size=(2, 20_000, seeds, cells)).mean(axis=3)
    return np.asarray(draws[0] - draws[1] + difference)


def test_claim_of_order_is_found_in_four_of_five_studies_at_its_smallest_difference() -> None:
    found = prospect({"expect": "increases"})
    assert found.smallest_difference is not None
    differences = simulated(difference=found.smallest_difference, seeds=4, cells=2, sd=1.5)
    assert np.mean(stats.ttest_1samp(differences, 0.0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.01)


def test_claim_of_equivalence_has_the_power_of_simulated_studies() -> None:
    found = prospect({"expect": "equivalent", "within": 2.0})
    differences = simulated(difference=0.0, seeds=4, cells=2, sd=1.5)
    half = stats.t.ppf(0.95, 3) * differences.std(axis=1, ddof=1) / sqrt(4)
    assert found.power == pytest.approx(np.mean(np.abs(differences.mean(axis=1)) + half < 2.0), abs=0.01)
    assert found.seeds_needed == seeds_for_margin(0.0, within=2.0, sd=1.5 * sqrt(2 / 2))


@pytest.mark.parametrize(
    ("claim", "given", "note"),
    [
        ({"expect": "increases"}, {"seeds": 1}, "one seed: no difference can be told from noise"),
        ({"expect": "increases"}, {"cells": 0}, "no two arms differ in this axis alone: nothing can be compared yet"),
        ({"expect": "increases"}, {"sd": None}, ""),
        ({"expect": "increases", "when": "connector == 'avg_pool'"}, {}, ""),
        ({"expect": "interior_optimum", "against": None}, {}, ""),
    ],
)
def test_claim_that_nothing_can_be_said_of_has_no_number(claim: dict[str, Any], given: dict[str, Any], note: str) -> None:
    found = prospect(claim, **given)
    assert (found.smallest_difference, found.power, found.seeds_needed, found.note) == (None, None, None, note)
    assert "num_tokens" in found.statement
