from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.effects import paired_effect
from ablate.analysis.verdicts import Verdict, judge, numbers_of, verdicts
from ablate.errors import InputError
from ablate.study import Claim, Contrast, Metric

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


def crossed(*, sizes: dict[int, float], kinds: dict[str, float]) -> pd.DataFrame:
    """A grid of two axes whose effects add up. Each size but the first has STEADY as its noise, turned by its place; kinds have none."""
    rows: list[dict[str, Any]] = []
    for kind, shift in kinds.items():
        for place, (size, score) in enumerate(sizes.items()):
            for seed in range(3):
                value = 50.0 + shift + score + (STEADY[(seed + place) % 3] if place else 0.0)
                trial = f"{kind}{size}-{seed}"
                rows.append({"trial": trial, "arm": trial[:-2], "seed": seed, "state": "done", "kind": kind, "size": size, "score": value})
    return pd.DataFrame(rows)


def of_two(claim: Claim, frame: pd.DataFrame, *, metric: Metric = SCORE) -> Verdict:
    levels: dict[str, list[Any]] = {axis: list(dict.fromkeys(frame[axis])) for axis in ("kind", "size")}
    return judge(claim, results=frame, metric=metric, levels=levels, unit="points")


MATTERS_MORE = Claim(axis="size", expect="larger_effect_than", than=Contrast(axis="kind"))


@pytest.mark.parametrize(
    ("size", "kind", "within", "expected"),
    [
        (3.0, 1.0, None, "supported"),
        (-3.0, 1.0, None, "supported"),
        (1.0, -3.0, None, "contradicted"),
        (1.0, 0.9, None, "inconclusive"),
        (1.0, 0.9, 0.5, "equivalent"),
    ],
)
def test_judge_larger_effect_than_follows_the_table(size: float, kind: float, within: float | None, expected: str) -> None:
    found = of_two(MATTERS_MORE.model_copy(update={"within": within}), crossed(sizes={16: 0.0, 32: size}, kinds={"a": 0.0, "b": kind}))
    assert found.verdict == expected
    assert found.effect is not None
    assert (found.effect.axis, found.effect.mean_diff) == ("size", pytest.approx(size))


def test_judge_larger_effect_than_gives_both_numbers_in_one_sentence() -> None:
    frame = crossed(sizes={16: 0.0, 32: 3.0}, kinds={"a": 0.0, "b": 1.0})
    frame["score"] += [0.02 * seed if kind == "b" else 0.0 for seed, kind in zip(frame["seed"], frame["kind"], strict=True)]
    found = of_two(MATTERS_MORE, frame)
    assert found.statement == "score: size 16 -> 32 matters more than kind a -> b"
    assert found.reason == (
        "+3.00 points [2.75, 3.25], n = 3 seeds, against +1.020 points [0.970, 1.070], n = 3 seeds; "
        "larger by +1.98 points [1.70, 2.26], n = 3 seeds"
    )


def test_judge_larger_effect_than_may_compare_levels_of_one_axis() -> None:
    claim = Claim(axis="size", level=32, against=16, expect="larger_effect_than", than=Contrast(axis="size", level=64, against=32))
    found = of_two(claim, crossed(sizes={16: 0.0, 32: 3.0, 64: 3.5}, kinds={"a": 0.0}))
    assert found.verdict == "supported"
    assert found.statement == "score: size 16 -> 32 matters more than size 32 -> 64"


def test_judge_larger_effect_than_without_trials_of_the_other_is_inconclusive() -> None:
    frame = crossed(sizes={16: 0.0, 32: 3.0}, kinds={"a": 0.0})
    found = judge(MATTERS_MORE, results=frame, metric=SCORE, levels={"kind": ["a", "b"], "size": [16, 32]})
    assert (found.verdict, found.reason) == ("inconclusive", "no trial at kind a -> b")


INTERIOR = {"expect": "interior_optimum"}


@pytest.mark.parametrize(
    ("claim", "scores", "goal", "expected"),
    [
        (INTERIOR, {16: 0.0, 32: 3.0, 64: 1.0}, "max", "supported"),
        (INTERIOR, {16: 0.0, 32: -3.0, 64: 1.0}, "min", "supported"),
        (INTERIOR, {16: 0.0, 32: 3.0, 64: 1.0}, "min", "contradicted"),
        (INTERIOR, {16: 0.0, 32: 3.0, 64: 6.0}, "max", "contradicted"),
        (INTERIOR, {16: 0.0, 32: 0.1, 64: -1.0}, "max", "inconclusive"),
        (INTERIOR | {"level": 32}, {16: 0.0, 32: 3.0, 48: -9.0, 64: -1.0}, "max", "supported"),
        (INTERIOR | {"level": 48}, {16: 0.0, 32: 3.0, 48: -9.0, 64: -1.0}, "max", "contradicted"),
    ],
)
def test_judge_interior_optimum_follows_the_table(claim: dict[str, Any], scores: dict[int, float], goal: Any, expected: str) -> None:
    found = of_two(Claim(axis="size", **claim), crossed(sizes=scores, kinds={"a": 0.0}), metric=Metric(name="score", goal=goal))
    assert found.verdict == expected


def test_judge_interior_optimum_says_which_level_and_by_how_much() -> None:
    frame = crossed(sizes={16: 0.0, 32: 3.0, 64: 0.0}, kinds={"a": 0.0})
    found = of_two(Claim(axis="size", expect="interior_optimum"), frame)
    assert found.statement == "score is best at some size between 16 and 64"
    assert found.reason == (
        "32: +3.00 points [2.75, 3.25], n = 3 seeds against 16 and +3.00 points [2.57, 3.43], n = 3 seeds against 64, "
        "one-sided Holm p = 0.00055 over 1 level"
    )
    assert found.effect is not None
    assert found.effect.level == 32


def test_judge_interior_optimum_on_a_slope_says_how_many_seeds_settle_it() -> None:
    frame = crossed(sizes={16: 0.0, 32: 0.1, 64: -1.0}, kinds={"a": 0.0})
    assert "seeds would settle it" in of_two(Claim(axis="size", expect="interior_optimum"), frame).reason


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"axis": "kind", "expect": "interior_optimum"}, "three numbers or more, found a, b"),
        ({"axis": "size", "expect": "interior_optimum", "level": 64}, "64 is an end"),
        ({"axis": "size", "expect": "larger_effect_than"}, "needs .than: "),
        ({"axis": "size", "expect": "larger_effect_than", "than": {"axis": "kin"}}, "did you mean 'kind'"),
        ({"axis": "size", "expect": "larger_effect_than", "than": {"axis": "size", "level": 16}}, "level and against are both 16"),
    ],
)
def test_judge_compound_claim_about_nothing_is_refused(claim: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        of_two(Claim(**claim), crossed(sizes={16: 0.0, 32: 1.0, 64: 2.0}, kinds={"a": 0.0, "b": 1.0}))


def test_verdicts_condition_leaves_only_the_trials_in_which_it_is_true() -> None:
    frame = crossed(sizes={16: 0.0, 32: 1.0}, kinds={"a": 0.0, "b": 0.0})
    frame.loc[(frame["kind"] == "b") & (frame["size"] == 32), "score"] -= 2.0
    claims = [Claim(axis="size", expect="increases", when=f"kind == '{kind}'") for kind in "abz"]
    kept = {f"kind == '{kind}'": set(frame.loc[frame["kind"] == kind, "trial"]) for kind in "abz"}
    found = verdicts(frame, claims=claims, metric=SCORE, levels={"kind": ["a", "b"], "size": [16, 32]}, kept=kept)
    assert [each.verdict for each in found] == ["supported", "contradicted", "inconclusive"]
    assert found[0].statement == "score increases from size = 16 to 32, where kind == 'a'"
    assert found[2].reason == "no trial where kind == 'z'"


def test_p_within_is_that_of_two_one_sided_tests() -> None:
    from statsmodels.stats.weightstats import DescrStatsW

    values = np.array([0.1, -0.2, 0.3, 0.05])
    effect = paired_effect(dict(enumerate(values)), dict.fromkeys(range(4), 0.0), axis="a", metric="m")
    assert effect.p_within(0.5) == pytest.approx(DescrStatsW(values).ttost_mean(-0.5, 0.5)[0])
    assert effect.p_within(0.01) == pytest.approx(DescrStatsW(values).ttost_mean(-0.01, 0.01)[0])


def test_claims_declared_together_have_holm_p_and_say_where_a_verdict_would_not_stand() -> None:
    """One clear claim, one that holds alone with p = 0.03, two that are open."""
    frame = pd.DataFrame({"arm": list("ab") * 6, "seed": np.repeat(range(6), 2), "state": "done"})
    differences = {"clear": [5.0, 5.1, 4.9, 5.2, 5.0, 4.8], "weak": [1.0, 0.3, 1.4, 0.2, 1.8, 0.3], "open": [1, -1, 2, -2, 0.5, 0.1]}
    for name, values in differences.items():
        frame[name] = np.where(frame["arm"] == "b", np.repeat(values, 2), 0.0)
    claims = [Claim(axis="arm", expect="increases", level="b", against="a", metric=name) for name in ("clear", "weak", "open", "open")]
    found = verdicts(frame, claims=claims, metric=Metric(name="clear", goal="max"), levels={"arm": ["a", "b"]})
    alone = [stats.ttest_1samp(differences[name], 0.0).pvalue for name in ("clear", "weak")]
    assert [verdict.verdict for verdict in found] == ["supported", "supported", "inconclusive", "inconclusive"]
    assert [verdict.p for verdict in found[:2]] == pytest.approx(alone)
    assert [verdict.p_holm for verdict in found[:2]] == pytest.approx([4 * alone[0], 3 * alone[1]])
    assert found[2].p_holm is None
    assert 0.01 < alone[1] < 0.05 < 3 * alone[1]
    assert f"taken alone: over the 4 claims of the study Holm's p is {3 * alone[1]:.2g}" in found[1].reason
    assert "taken alone" not in found[0].reason


def test_best_level_that_is_open_needs_more_seeds_than_it_has() -> None:
    """Seeds as Holm has it over the rivals: of 60 studies of 8 like levels, none says that fewer would do than were run."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        frame = pd.DataFrame([(level, seed, rng.normal()) for level in range(8) for seed in range(5)], columns=["a", "seed", "m"])
        claim = Claim(axis="a", expect="best_level", level=3)
        (found,) = verdicts(frame.assign(state="done"), claims=[claim], metric=Metric(name="m", goal="max"), levels={"a": list(range(8))})
        assert found.verdict != "inconclusive" or found.seeds is None or found.seeds > 5


def test_numbers_of_huge_differences_are_short() -> None:
    effect = paired_effect({0: 1e12, 1: 2.0, 2: 1.0}, dict.fromkeys(range(3), 0.0), axis="a", metric="m")
    assert numbers_of(effect) == "+3.33e+11 [−1.1e+12, 1.77e+12], n = 3 seeds"
