from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate.analysis.verdicts import Verdict, judge, verdicts
from ablate.errors import InputError
from ablate.study import Claim, Metric

SCORE = Metric(name="score", goal="max")
STEADY = (0.0, 0.1, -0.1)
"""Differences of three seeds with SD 0.1: the 95 % half width is 0.25, the 90 % one 0.17."""


def results(**means: float | tuple[float, ...]) -> pd.DataFrame:
    """Arm `a` has the same score at every seed, so that the others' offsets are the differences."""
    rows: list[dict[str, Any]] = []
    for kind, value in {"a": (50.0,) * 3, **means}.items():
        values = value if isinstance(value, tuple) else tuple(50.0 + value + noise for noise in STEADY)
        rows += [
            {"trial": f"{kind}{seed}", "arm": kind, "seed": seed, "state": "done", "kind": kind, "score": score}
            for seed, score in enumerate(values)
        ]
    return pd.DataFrame(rows)


def verdict(claim: Mapping[str, Any], frame: pd.DataFrame, *, metric: Metric = SCORE) -> Verdict:
    levels = list(dict.fromkeys(frame["kind"]))
    return judge(Claim(axis="kind", **claim), results=frame, metric=metric, levels={"kind": levels}, unit="points")


@pytest.mark.parametrize(
    ("claim", "difference", "expected"),
    [
        ({"expect": "increases"}, 1.0, "supported"),
        ({"expect": "increases"}, -1.0, "contradicted"),
        ({"expect": "increases"}, 0.2, "inconclusive"),
        ({"expect": "decreases"}, -1.0, "supported"),
        ({"expect": "decreases"}, 1.0, "contradicted"),
        ({"expect": "decreases"}, 0.2, "inconclusive"),
        ({"expect": "increases", "within": 1.5}, 1.0, "equivalent"),
        ({"expect": "decreases", "within": 0.5}, 0.1, "equivalent"),
        ({"expect": "increases", "within": 0.5}, 1.0, "supported"),
        ({"expect": "increases", "within": 0.3}, 0.2, "inconclusive"),
        ({"expect": "equivalent", "within": 0.5}, 0.2, "supported"),
        ({"expect": "equivalent", "within": 0.18}, 0.0, "supported"),  # the 90 % interval decides: 95 % reaches 0.25
        ({"expect": "equivalent", "within": 0.5}, 1.0, "contradicted"),
        ({"expect": "equivalent", "within": 0.5}, -1.0, "contradicted"),
        ({"expect": "equivalent", "within": 0.5}, 0.6, "inconclusive"),
        ({"expect": "equivalent"}, 0.0, "inconclusive"),
    ],
)
def test_judge_pair_of_levels_follows_the_table(claim: dict[str, Any], difference: float, expected: str) -> None:
    assert verdict(claim, results(b=difference)).verdict == expected


@pytest.mark.parametrize(
    ("claim", "means", "goal", "expected"),
    [
        ({"level": "b"}, {"b": 2.0, "c": (50.1, 50.0, 50.3)}, "max", "supported"),
        ({"level": "b"}, {"b": -2.0, "c": (50.1, 50.0, 50.3)}, "min", "supported"),
        ({"level": "b"}, {"b": -2.0, "c": (50.1, 50.0, 50.3)}, "max", "contradicted"),
        ({"level": "b"}, {"b": 2.0, "c": (52.1, 51.8, 52.2)}, "max", "inconclusive"),
        ({"level": "b", "within": 0.7}, {"b": 2.0, "c": (52.1, 51.8, 52.2)}, "max", "supported"),
    ],
)
def test_judge_best_level_follows_the_table(claim: dict[str, Any], means: dict[str, Any], goal: Any, expected: str) -> None:
    found = verdict({"expect": "best_level", **claim}, results(**means), metric=Metric(name="score", goal=goal))
    assert found.verdict == expected
    assert "closest is" in found.reason


def test_judge_best_level_is_corrected_for_the_number_of_rivals() -> None:
    b = (50.4, 50.2, 50.3)  # better than `a` with p = 0.035
    assert verdict({"expect": "best_level", "level": "b"}, results(b=b)).verdict == "supported"
    crowd = {name: tuple(value - 0.3 + step for value, step in zip(b, (0.0, 0.1, -0.1), strict=True)) for name in "cde"}
    found = verdict({"expect": "best_level", "level": "b"}, results(b=b, **crowd))
    assert found.verdict == "inconclusive"


def test_judge_supported_claim_gives_the_numbers_in_one_sentence() -> None:
    found = verdict({"expect": "increases"}, results(b=39.1))
    assert found.reason == "+39.10 points [38.85, 39.35], n = 3 seeds"
    assert found.statement == "score increases from kind = a to b"


def test_judge_negative_difference_is_printed_with_a_minus_sign() -> None:
    assert verdict({"expect": "decreases"}, results(b=-1.0)).reason == "−1.00 points [−1.25, −0.75], n = 3 seeds"


@pytest.mark.parametrize("expect", ["increases", "equivalent"])
def test_judge_inconclusive_claim_says_how_many_seeds_settle_it(expect: str) -> None:
    assert "seeds would settle it" in verdict({"expect": expect, "within": 0.3}, results(b=0.2)).reason


def test_judge_one_seed_is_inconclusive_and_asks_for_a_second() -> None:
    found = verdict({"expect": "increases"}, results(b=5.0).query("seed == 0"))
    assert found.verdict == "inconclusive"
    assert "a second seed" in found.reason


def test_judge_identical_differences_are_inconclusive() -> None:
    found = verdict({"expect": "increases"}, results(b=(51.0, 51.0, 51.0)))
    assert found.verdict == "inconclusive"
    assert "identical" in found.reason


def test_judge_level_without_trials_is_inconclusive() -> None:
    claim = Claim(axis="kind", expect="increases", level="z")
    found = judge(claim, results=results(b=1.0), metric=SCORE, levels={"kind": ["a", "b", "z"]})
    assert (found.verdict, found.effect) == ("inconclusive", None)


def test_judge_metric_nobody_reported_is_inconclusive_with_a_hint() -> None:
    found = verdict({"expect": "increases", "metric": "scores"}, results(b=1.0))
    assert found.verdict == "inconclusive"
    assert "did you mean 'score'" in found.reason


def test_judge_study_with_nothing_finished_is_inconclusive() -> None:
    frame = results(b=1.0).assign(state="running", score=np.nan)
    for expect in ("increases", "equivalent", "best_level"):
        assert verdict({"expect": expect, "within": 1.0}, frame).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"axis": "knd", "expect": "increases"}, "did you mean 'kind'"),
        ({"axis": "kind", "expect": "increases", "level": "bb"}, "no level 'bb'"),
        ({"axis": "kind", "expect": "increases", "level": "a"}, "level and against are both"),
    ],
)
def test_judge_claim_about_nothing_is_refused(claim: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        judge(Claim(**claim), results=results(b=1.0), metric=SCORE, levels={"kind": ["a", "b"]})


@pytest.mark.parametrize(("levels", "expected"), [([24, 16, 32], "from kind = 16 to 32"), (["b", "c", "a"], "from kind = b to a")])
def test_judge_claim_without_levels_compares_the_ends_of_the_axis(levels: list[Any], expected: str) -> None:
    found = judge(Claim(axis="kind", expect="increases"), results=results(b=1.0), metric=SCORE, levels={"kind": levels})
    assert found.statement == f"score increases {expected}"


def test_verdicts_two_claims_come_in_their_order() -> None:
    claims = [Claim(axis="kind", expect="decreases"), Claim(axis="kind", expect="increases")]
    found = verdicts(results(b=1.0), claims=claims, metric=SCORE, levels={"kind": ["a", "b"]})
    assert [each.verdict for each in found] == ["contradicted", "supported"]
