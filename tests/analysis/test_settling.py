"""Seeds that would settle what is open: the same as power.py says, and what `settling` makes of verdicts."""

from math import sqrt

import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.effects import level_effects
from ablate.analysis.power import seeds_for_margin, seeds_needed
from ablate.analysis.settling import seeds_for_difference, seeds_for_distance, settles
from ablate.analysis.verdicts import Verdict, settling, verdicts
from ablate.study import Claim, Metric


def trials(*differences: float) -> pd.DataFrame:
    rows = [
        {"trial": f"{kind}-{seed}", "arm": kind, "seed": seed, "state": "done", "kind": kind, "score": seed + difference}
        for seed, change in enumerate(differences)
        for kind, difference in (("a", 0.0), ("b", change))
    ]
    return pd.DataFrame(rows)


def judged(*differences: float, **claim: object) -> Verdict:
    made = Claim.model_validate({"axis": "kind", "expect": "increases", "level": "b"} | claim)
    (found,) = verdicts(trials(*differences), claims=[made], metric=Metric(name="score", goal="max"), levels={"kind": ["a", "b"]})
    return found


@pytest.mark.parametrize("mean", [0.02, 0.1, 0.3, 0.9, 1.4, 2.5])
def test_seeds_for_a_difference_are_those_of_the_power_of_a_t_test(mean: float) -> None:
    (effect,) = level_effects(trials(mean - 1, mean, mean + 1), axis="kind", baseline="a", metric="score")
    found = seeds_for_difference(effect)
    assert found is not None
    bounds = [sqrt(2 / stats.chi2.ppf(tail, 2)) for tail in (0.975, 0.025)]
    assert (found.likely, found.low, found.high) == tuple(seeds_needed(mean, sd=sd) for sd in (1.0, *bounds))


def test_seeds_for_a_margin_are_those_of_two_one_sided_tests() -> None:
    (effect,) = level_effects(trials(-0.9, 0.1, 1.1), axis="kind", baseline="a", metric="score")
    found = seeds_for_distance(effect, within=1.0)
    assert found is not None
    assert found.likely == seeds_for_margin(0.1, within=1.0, sd=1.0)


def test_seeds_without_an_interval_are_none() -> None:
    (effect,) = level_effects(trials(1.0), axis="kind", baseline="a", metric="score")
    assert (seeds_for_difference(effect), settles(None)) == (None, "")


def test_settling_counts_what_is_still_to_be_run() -> None:
    open_claim = judged(-0.7, 0.3, 1.3)
    (found,) = settling([open_claim, judged(5.0, 5.1, 5.2)], metric="score")
    assert open_claim.seeds == seeds_needed(0.3, sd=1.0)
    assert (found.seeds_now, found.seeds, found.more) == (3, open_claim.seeds, (open_claim.seeds or 0) - 3)
    assert found.seeds_range == open_claim.seeds_range
    assert found.what == "score increases from kind = a to b"
    assert found.to_json()["more"] == found.more


def test_settling_of_one_seed_asks_for_a_second() -> None:
    (found,) = settling([judged(1.0)], metric="score")
    assert (found.seeds, found.more, found.note) == (None, 1, "a second seed gives a first estimate of the noise")


def test_settling_of_a_difference_too_small_says_so() -> None:
    (found,) = settling([judged(-1.0, 0.001, 1.0)], metric="score")
    assert (found.seeds, found.more) == (None, None)
    assert "over 1,000 seeds" in found.note


def test_settling_of_a_claim_of_equivalence_counts_by_its_margin() -> None:
    (found,) = settling([judged(-0.9, 0.1, 1.1, expect="equivalent", within=1.0)], metric="score")
    assert found.seeds == seeds_for_margin(0.1, within=1.0, sd=1.0)
