"""Main effects and interactions against hand computations, statsmodels, and simulations with a known truth."""

from itertools import product
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

from ablate.analysis.factors import FactorEffects, Term, factor_effects, vary_together
from ablate.errors import InputError
from ablate.fractional import fractional_factorial


def grid(*sizes: int, seeds: int = 3, rng_seed: int = 0, noise: float = 1.0, **truth: float) -> pd.DataFrame:
    """Factors a, b, ... with levels 0, 1, ...; `truth`: `a=2` adds 2 at a's last level, `ab=2` where both are at theirs."""
    rng, names = np.random.default_rng(rng_seed), "abcdefgh"[: len(sizes)]
    rows = []
    for seed in range(seeds):
        shift = 5 * rng.normal()
        for levels in product(*(range(size) for size in sizes)):
            at = dict(zip(names, levels, strict=True))
            last = {name for name, size in zip(names, sizes, strict=True) if at[name] == size - 1}
            score = shift + noise * rng.normal() + sum(size for names_of, size in truth.items() if set(names_of) <= last)
            rows.append({**at, "seed": seed, "score": score})
    return pd.DataFrame(rows)


def found(frame: pd.DataFrame, **changes: Any) -> FactorEffects:
    factors = [name for name in frame.columns if name not in ("seed", "score", "state")]
    return factor_effects(frame, **({"factors": factors, "metric": "score"} | changes))


def by_name(effects: FactorEffects) -> dict[str, Term]:
    return {term.name: term for term in (*effects.main, *effects.interactions)}


def test_factor_effects_two_by_two_is_the_hand_computed_analysis() -> None:
    # cells (a, b) x seeds 0, 1: means 2, 4, 6, 12 around a grand mean of 6; seeds differ by 2 everywhere but once
    cells = {(0, 0): [1.0, 3.0], (0, 1): [3.0, 5.0], (1, 0): [5.0, 7.0], (1, 1): [10.0, 14.0]}
    rows = [{"a": a, "b": b, "seed": seed, "score": value} for (a, b), values in cells.items() for seed, value in enumerate(values)]
    effects = found(pd.DataFrame(rows))
    terms = by_name(effects)
    # a: level means 3 and 9, so 8 x 3²; b: 4 and 8, so 8 x 2²; a x b: (2 - 4 - 6 + 12) / 4 = 1, so 8 x 1²
    assert [terms[name].sum_squares for name in ("a", "b", "a × b")] == pytest.approx([72.0, 32.0, 8.0])
    # noise: cells' differences 2, 2, 2, 4 around 2.5, each squared and halved: (3 x 0.25 + 2.25) / 2 = 1.5 with 3 degrees of freedom
    assert (effects.noise_sd, effects.noise_df, effects.noise_from) == (pytest.approx(sqrt(0.5)), 3, "seeds")
    assert terms["a"].f == pytest.approx(144.0)
    assert terms["a"].p == pytest.approx(float(stats.f.sf(144, 1, 3)))
    assert terms["a × b"].share == pytest.approx(8 / (72 + 32 + 8 + 1.5))
    assert effects.noise_share == pytest.approx(1.5 / 113.5)
    half = 3.182446 * sqrt(0.5) * sqrt(1 / 8)
    level = next(each for each in effects.levels if (each.factor, each.level) == ("a", 1))
    assert (level.effect, level.ci) == (pytest.approx(3.0), pytest.approx((3 - half, 3 + half), rel=1e-6))


def test_factor_effects_shares_of_a_balanced_design_add_up() -> None:
    effects = found(grid(2, 3, 2, a=2, bc=3))
    assert effects.balanced
    assert effects.higher is not None
    assert effects.noise_share is not None
    parts = [term.share or 0.0 for term in (*effects.main, *effects.interactions, effects.higher)]
    assert sum(parts) + effects.noise_share == pytest.approx(1.0)


@pytest.mark.parametrize("drop", [0, 5])
def test_factor_effects_are_type_two_of_statsmodels_with_trials_missing_or_not(drop: int) -> None:
    frame = grid(2, 3, 2, a=1, ab=2)
    frame = frame.drop(index=np.random.default_rng(7).choice(len(frame), size=drop, replace=False))
    oracle = anova_lm(ols("score ~ C(seed) + (C(a, Sum) + C(b, Sum) + C(c, Sum)) ** 2", frame).fit(), typ=2)
    pure = ols("score ~ C(seed) + C(a) * C(b) * C(c)", frame).fit()
    effects = found(frame)
    assert effects.balanced == (drop == 0)
    assert effects.noise_sd == pytest.approx(sqrt(pure.mse_resid))
    assert effects.noise_df == pure.df_resid
    for name, term in by_name(effects).items():
        key = ":".join(f"C({factor}, Sum)" for factor in name.split(" × "))
        assert term.sum_squares == pytest.approx(oracle.loc[key, "sum_sq"]), name
        assert term.df == oracle.loc[key, "df"]
        assert term.p == pytest.approx(stats.f.sf(term.sum_squares / term.df / pure.mse_resid, term.df, pure.df_resid))


def test_factor_effects_levels_are_those_of_sum_coding_in_statsmodels() -> None:
    frame = grid(2, 3, seeds=2, a=1, b=2)
    oracle = ols("score ~ C(seed) + C(a, Sum) + C(b, Sum)", frame).fit()
    levels = {(each.factor, each.level): each.effect for each in found(frame).levels}
    assert levels["a", 0] == pytest.approx(oracle.params["C(a, Sum)[S.0]"])
    assert levels["b", 1] == pytest.approx(oracle.params["C(b, Sum)[S.1]"])
    assert levels["b", 0] + levels["b", 1] + levels["b", 2] == pytest.approx(0.0)  # type: ignore[operator]


def test_factor_effects_finds_a_planted_interaction() -> None:
    effects = found(grid(2, 2, 2, rng_seed=1, ab=4))
    assert [term.name for term in effects.interactions if (term.p_holm or 1) < 0.05] == ["a × b"]
    assert effects.interactions[0].name == "a × b"


@pytest.mark.slow
def test_factor_effects_reject_null_terms_at_their_rate_and_hold_the_truth_in_their_intervals() -> None:
    runs, rejected, covered, share_covered = 200, 0, 0, 0
    truth = 24 * 0.25 / (24 * 0.25 + 22)  # squares of a's effect of ±0.5 over those and the noise of 24 - 2 directions
    for rng_seed in range(runs):
        effects = found(grid(2, 2, 2, seeds=3, rng_seed=rng_seed, a=1.0))
        terms = by_name(effects)
        rejected += sum((terms[name].p or 1) < 0.05 for name in ("b", "c", "a × b", "a × c", "b × c"))
        high = next(each for each in effects.levels if (each.factor, each.level) == ("a", 1))
        assert high.ci is not None
        covered += high.ci[0] < 0.5 < high.ci[1]
        low, top = terms["a"].share_ci or (1.0, 0.0)
        share_covered += low < truth < top
    # binomial SE of the tests 0.007, of the intervals 0.015
    assert rejected / (5 * runs) == pytest.approx(0.05, abs=0.02)
    assert covered / runs == pytest.approx(0.95, abs=0.038)
    assert share_covered / runs > 0.91


def test_factor_effects_correct_interactions_among_themselves() -> None:
    effects = found(grid(2, 2, 2, 2))
    p = [term.p or 1.0 for term in effects.interactions]
    assert [term.p_holm for term in effects.interactions] == pytest.approx(list(multipletests(p, method="holm")[1]))


def test_factor_effects_chance_is_the_share_of_a_term_that_does_nothing() -> None:
    shares, chances = [], []
    for rng_seed in range(60):
        term = by_name(found(grid(3, 2, rng_seed=rng_seed)))["a"]
        shares.append(term.share or 0.0)
        chances.append(term.chance or 0.0)
    assert np.mean(shares) == pytest.approx(np.mean(chances), rel=0.25)
    assert np.mean(shares) > 0.1


def fraction(resolution: int, *, factors: str, seeds: int = 2, **truth: float) -> pd.DataFrame:
    design, rng = fractional_factorial(list(factors), resolution=resolution), np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for run in design.runs:
            at = dict(zip(factors, run, strict=True))
            score = sum(size for names, size in truth.items() if all(at[name] for name in names)) + 0.1 * rng.normal()
            rows.append({**at, "seed": seed, "score": score})
    return pd.DataFrame(rows)


def test_factor_effects_of_resolution_four_name_interactions_that_cannot_be_told_apart() -> None:
    design = fractional_factorial(list("abcd"), resolution=4)
    effects = found(fraction(4, factors="abcd", a=1.0, ab=2.0))
    named = {frozenset(group) for group in effects.aliased}
    assert named == {frozenset(name.replace(" x ", " × ") for name in group) for group in design.aliases}
    assert effects.interactions[0].name == "a × b = c × d"
    assert effects.balanced
    assert effects.interactions[0].p is not None
    assert any("cannot be told apart" in warning for warning in effects.warnings)


def test_factor_effects_of_resolution_three_name_what_moves_with_a_main_effect() -> None:
    design = fractional_factorial(list("abc"), resolution=3)
    effects = found(fraction(3, factors="abc", c=1.0))
    assert {frozenset(group) for group in effects.aliased} == {
        frozenset(name.replace(" x ", " × ") for name in group) for group in design.aliases
    }
    assert effects.interactions == ()
    assert "cannot be told from a × b" in by_name(effects)["c"].note


def test_factor_effects_of_factors_that_move_together_have_none_to_show() -> None:
    frame = grid(2, 2).assign(c=lambda rows: rows["a"] + 10)
    effects = found(frame)
    assert ("a", "c") in [group[:2] for group in effects.aliased]
    assert (by_name(effects)["a"].p, by_name(effects)["a"].share) == (None, None)
    assert [each.effect for each in effects.levels if each.factor == "a"] == [None, None]
    assert [each.effect is None for each in effects.levels if each.factor == "b"] == [False, False]


def test_factor_effects_with_an_empty_cell_say_what_can_be_tested() -> None:
    frame = grid(3, 3)
    effects = found(frame[(frame["a"] < 2) | (frame["b"] < 2)])
    (term,) = effects.interactions
    assert (term.df, term.note) == (3, "3 of 4 degrees of freedom: not all combinations were run")


def test_factor_effects_one_seed_takes_noise_from_what_no_term_explains() -> None:
    frame = grid(2, 2, 2, seeds=1, a=5)
    effects = found(frame)
    oracle = ols("score ~ (C(a) + C(b) + C(c)) ** 2", frame).fit()
    assert (effects.noise_from, effects.noise_df) == ("higher-order terms", 1)
    assert effects.noise_sd == pytest.approx(sqrt(oracle.mse_resid))
    assert effects.higher is None
    assert "taken for noise" in effects.warnings[0]


def test_factor_effects_one_seed_and_no_term_left_have_no_test() -> None:
    effects = found(grid(2, 2, seeds=1, a=5))
    assert (effects.noise_from, effects.noise_sd) == ("none", None)
    assert {(term.p, term.share) for term in by_name(effects).values()} == {(None, None)}
    assert {term.note for term in by_name(effects).values()} == {"no noise to tell it from"}
    assert {each.ci for each in effects.levels} == {None}
    assert "no noise" in effects.warnings[0]


def test_factor_effects_without_any_spread_between_seeds_have_no_interval() -> None:
    effects = found(grid(2, 2, noise=0.0, a=1.0))
    assert {term.share_ci for term in by_name(effects).values()} == {None}
    assert "no noise" in effects.warnings[0]


def test_factor_effects_warn_of_seeds_that_move_levels_unlike() -> None:
    frame, rng = grid(2, 4, 4, seeds=4, noise=0.1), np.random.default_rng(0)
    shift = dict(enumerate(rng.normal(size=4)))
    frame["score"] += frame["seed"].map(shift) * frame["a"]
    assert [warning.split(":")[0] for warning in found(frame).warnings] == ["a"]
    assert found(grid(2, 4, 4, seeds=4)).warnings == ()


def test_factor_effects_do_not_depend_on_the_order_of_rows_and_mirror_the_metric() -> None:
    frame = grid(2, 3, 2, a=1, ab=2)
    one = by_name(found(frame))
    for other in (by_name(found(frame.sample(frac=1, random_state=0))), by_name(found(frame.assign(score=-frame["score"])))):
        assert {name: term.p for name, term in other.items()} == {name: pytest.approx(term.p) for name, term in one.items()}


def test_factor_effects_answer_is_json_with_the_caution() -> None:
    answer = found(grid(2, 2)).to_json()
    assert "does nothing still gets a share" in answer["caution"]
    assert {"main", "interactions", "higher_order", "levels", "noise", "aliased", "warnings"} <= set(answer)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factors": ["a"]}, "it takes two"),
        ({"factors": ["a", "a"]}, "given twice"),
        ({"factors": ["a", "z"]}, "no column 'z'"),
        ({"metric": "scor"}, "did you mean 'score'"),
        ({"interactions": 3}, "1 \\(main effects alone\\) or 2"),
    ],
)
def test_factor_effects_bad_argument_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        found(grid(2, 2), **changes)


def test_vary_together_is_true_of_grids_and_fractions_alone() -> None:
    assert vary_together(grid(2, 2), factors=["a", "b"])
    assert vary_together(fraction(3, factors="abc"), factors=["a", "b", "c"])
    one_at_a_time = pd.DataFrame({"a": [0, 1, 2, 0], "b": [0, 0, 0, 1]})
    assert not vary_together(one_at_a_time, factors=["a", "b"])
    assert not vary_together(pd.DataFrame({"a": [0.1, 0.2, 0.3], "b": [1.5, 2.5, 3.5]}), factors=["a", "b"])


def test_factor_effects_of_random_draws_have_no_share_that_cannot_be_told() -> None:
    """Twenty trials, each with a rate of its own: the rate takes all degrees of freedom, and nothing is left for the others."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"lr": rng.uniform(size=20), "opt": rng.integers(2, size=20), "depth": rng.integers(2, 5, size=20)})
    frame = frame.assign(seed=0, score=rng.normal(size=20))
    for term in found(frame).main:
        assert (term.share, term.p) == (None, None), term.name
        assert term.note
