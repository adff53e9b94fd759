import gc
from collections.abc import Sequence
from dataclasses import replace
from math import gamma, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ablate.analysis.effects import FEW_FOR_G, SEEDS_FOR_G, Effect, adjust, level_effects, paired_effect, paired_trials, seed_differences
from ablate.errors import InputError
from ablate.results import at_baselines


def trials(**arms: list[float]) -> pd.DataFrame:
    """One row an arm and seed; the arm's name is its level."""
    rows = [
        {"trial": f"{arm}-{seed}", "arm": arm, "seed": seed, "state": "done", "kind": arm, "score": value}
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def grid(rng: np.random.Generator, *, seeds: int, effect: float = 0.0) -> pd.DataFrame:
    """Two axes; each seed shifts level b by an amount of its own, the same in all three cells."""
    rows = []
    for seed in range(seeds):
        shift = effect + rng.normal()
        for kind in ("a", "b"):
            for size in (16, 24, 32):
                score = size + (shift if kind == "b" else 0.0) + 0.1 * rng.normal()
                arm = f"{kind}-{size}"
                rows.append({"arm": arm, "seed": seed, "state": "done", "kind": kind, "size": size, "score": score})
    return pd.DataFrame(rows)


def test_level_effects_three_pairs_match_the_hand_computed_t_test() -> None:
    frame = trials(a=[10.0, 11.0, 12.0], b=[12.0, 14.0, 16.0])
    (effect,) = level_effects(frame, axis="kind", baseline="a", metric="score")
    # differences 2, 3, 4: mean 3, SD 1, standard error 1/sqrt(3), t(0.975, 2) = 4.302653
    assert effect.mean_diff == 3.0
    assert effect.ci == pytest.approx((3 - 4.302653 / sqrt(3), 3 + 4.302653 / sqrt(3)), abs=1e-6)
    assert (effect.n, effect.df, effect.cells) == (3, 2, 1)
    assert (effect.level_mean, effect.baseline_mean) == (14.0, 11.0)
    assert effect.note == ""


def test_hedges_g_is_given_where_its_sd_is_known_within_a_factor_of_two() -> None:
    def of(seeds: int) -> Effect:
        base = [float(seed % 3) for seed in range(seeds)]
        (effect,) = level_effects(trials(a=base, b=[3 + 2 * value for value in base]), axis="kind", baseline="a", metric="score")
        return effect

    # SDs of 0, 1, 2 three times over: sqrt(6 / 8) and twice that; mean difference 4; J(16) = gamma(8) / (sqrt(8) gamma(7.5))
    nine, eight = of(9), of(8)
    assert nine.hedges_g == pytest.approx(4 / sqrt(5 / 2 * 6 / 8) * gamma(8) / (sqrt(8) * gamma(7.5)))
    assert nine.hedges_g_note == ""
    assert (eight.hedges_g, eight.hedges_g_note) == (None, FEW_FOR_G)
    assert eight.ci is not None
    assert (of(1).hedges_g, of(1).hedges_g_note) == (None, "")  # `note` says that there is one seed
    factor = {seeds: sqrt((seeds - 1) / stats.chi2.ppf(0.025, seeds - 1)) for seeds in (SEEDS_FOR_G - 1, SEEDS_FOR_G)}
    assert factor[SEEDS_FOR_G] < 2 < factor[SEEDS_FOR_G - 1]


def test_level_effects_random_pairs_match_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=8), rng.normal(size=8)
    (effect,) = level_effects(trials(a=list(first), b=list(second)), axis="kind", baseline="a", metric="score", level=0.9)
    oracle = stats.ttest_rel(second, first)
    assert effect.p == pytest.approx(oracle.pvalue, rel=1e-12)
    assert effect.ci == pytest.approx(tuple(oracle.confidence_interval(0.9)), rel=1e-12)
    assert effect.interval(0.95) == pytest.approx(tuple(oracle.confidence_interval(0.95)), rel=1e-12)


def test_level_effects_other_axis_varies_counts_seeds_not_cells() -> None:
    frame = grid(np.random.default_rng(1), seeds=4, effect=1.0)
    (effect,) = level_effects(frame, axis="kind", baseline="a", metric="score", axes=["kind", "size"])
    means = frame.groupby(["seed", "kind"])["score"].mean().unstack()
    oracle = stats.ttest_rel(means["b"], means["a"])
    assert (effect.n, effect.cells) == (4, 3)
    assert effect.ci == pytest.approx(tuple(oracle.confidence_interval()), rel=1e-12)


def test_level_effects_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    kinds, seeds, cells = 1000, 3, 3
    shift = 1.0 + rng.normal(size=(kinds, seeds, 1)) + 0.3 * rng.normal(size=(kinds, seeds, cells))
    shift = np.concatenate([np.zeros((1, seeds, cells)), shift])  # a baseline without noise keeps the levels independent
    kind, seed, size = (index.ravel() for index in np.indices(shift.shape))
    frame = pd.DataFrame({"kind": kind, "seed": seed, "size": size, "score": shift.ravel()})
    effects = level_effects(frame, axis="kind", baseline=0, metric="score", axes=["kind", "size"])
    covered = np.mean([effect.ci is not None and effect.ci[0] < 1.0 < effect.ci[1] for effect in effects])
    # binomial SE 0.007; cells counted as replicates would cover about 0.75
    assert 0.93 < covered < 0.97


def test_level_effects_one_seed_has_no_interval_and_says_so() -> None:
    (effect,) = level_effects(trials(a=[1.0], b=[3.0]), axis="kind", baseline="a", metric="score")
    assert (effect.mean_diff, effect.ci, effect.p, effect.hedges_g, effect.n) == (2.0, None, None, None, 1)
    assert "one seed" in effect.note


def test_level_effects_identical_differences_have_no_interval_and_say_so() -> None:
    (effect,) = level_effects(trials(a=[0.1, 0.2, 0.7], b=[0.3, 0.4, 0.9]), axis="kind", baseline="a", metric="score")
    assert effect.mean_diff == pytest.approx(0.2)
    assert (effect.ci, effect.p) == (None, None)
    assert "identical" in effect.note


@pytest.mark.parametrize(
    ("column", "value"), [("score", np.nan), ("score", np.inf), ("state", "failed"), ("state", "running"), ("state", "pruned")]
)
def test_level_effects_unusable_trial_drops_its_pair_and_is_counted(column: str, value: Any) -> None:
    frame = trials(a=[1.0, 2.0, 3.0], b=[2.0, 4.0, 9.0])
    frame.loc[(frame["arm"] == "b") & (frame["seed"] == 2), column] = value
    (effect,) = level_effects(frame, axis="kind", baseline="a", metric="score")
    assert (effect.n, effect.mean_diff) == (2, 1.5)
    assert "1 of 3 pairs dropped" in effect.note


def test_level_effects_cached_trial_counts() -> None:
    frame = trials(a=[1.0, 2.0], b=[2.0, 4.0]).assign(state="cached")
    assert level_effects(frame, axis="kind", baseline="a", metric="score")[0].n == 2


def test_level_effects_failed_cell_keeps_every_seed_on_the_same_cells() -> None:
    frame = grid(np.random.default_rng(3), seeds=3)
    frame.loc[(frame["kind"] == "b") & (frame["size"] == 32) & (frame["seed"] == 1), "score"] = np.nan
    (effect,) = level_effects(frame, axis="kind", baseline="a", metric="score", axes=["kind", "size"])
    assert (effect.n, effect.cells) == (3, 2)
    assert "1 of 9 pairs dropped" in effect.note
    assert "2 pairs left out" in effect.note


def test_level_effects_one_at_a_time_design_pairs_only_matching_cells() -> None:
    frame = trials(base=[1.0, 2.0], other_kind=[2.0, 4.0], other_size=[50.0, 60.0])
    frame["kind"] = frame["arm"].map({"base": "a", "other_kind": "b", "other_size": "a"})
    frame["size"] = frame["arm"].map({"base": 16, "other_kind": 16, "other_size": 32})
    (effect,) = level_effects(frame, axis="kind", baseline="a", metric="score", axes=["kind", "size"])
    assert (effect.n, effect.mean_diff, effect.note) == (2, 1.5, "")


def test_level_effects_axes_left_out_where_they_matter_is_refused() -> None:
    with pytest.raises(InputError, match="name all axes"):
        level_effects(grid(np.random.default_rng(0), seeds=2), axis="kind", baseline="a", metric="score")


def test_level_effects_numeric_levels_come_in_ascending_order() -> None:
    frame = trials(c=[1.0], a=[1.0], b=[1.0]).assign(tokens=lambda rows: rows["arm"].map({"a": 4, "b": 16, "c": 144}))
    effects = level_effects(frame, axis="tokens", baseline=4, metric="score")
    assert [effect.level for effect in effects] == [16, 144]


def test_level_effects_study_without_a_finished_trial_has_no_numbers() -> None:
    frame = trials(a=[1.0], b=[1.0]).drop(columns="score").assign(state="queued")
    (effect,) = level_effects(frame, axis="kind", baseline="a", metric="score")
    assert (effect.mean_diff, effect.n) == (None, 0)
    assert "no pair" in effect.note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": "knd"}, "did you mean 'kind'"),
        ({"metric": "scor"}, "did you mean 'score'"),
        ({"baseline": "aa"}, "no trial at the baseline"),
        ({"level": 1.5}, "between 0 and 1"),
    ],
)
def test_level_effects_bad_argument_is_refused(change: dict[str, str], message: str) -> None:
    arguments = {"axis": "kind", "baseline": "a", "metric": "score"} | change
    with pytest.raises(InputError, match=message):
        level_effects(trials(a=[1.0, 2.0], b=[1.0, 3.0]), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (trials(a=[1.0], b=[1.0]).iloc[:0], "no rows"),
        (trials(a=[1.0], b=[1.0]).assign(score="high"), "'high' is not a number"),
        (trials(a=[1.0], b=[1.0]).assign(seed=np.nan), "without a seed"),
        (pd.concat([trials(a=[1.0], b=[1.0])] * 2), "several values of score"),
    ],
)
def test_level_effects_bad_frame_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        level_effects(frame, axis="kind", baseline="a", metric="score")


def test_adjust_three_effects_gives_holm_and_benjamini_hochberg() -> None:
    frame = trials(a=[0.0, 0.1, 0.2, 0.0], b=[1.0, 1.2, 1.1, 1.05], c=[0.5, 0.2, 0.9, 0.1], d=[0.1, 0.0, 0.4, 0.1])
    effects = level_effects(frame, axis="kind", baseline="a", metric="score")
    p = sorted(effect.p or 0.0 for effect in effects)
    holm = [3 * p[0], max(3 * p[0], 2 * p[1]), max(3 * p[0], 2 * p[1], p[2])]
    assert sorted(effect.p_holm or 0.0 for effect in effects) == pytest.approx([min(1.0, value) for value in holm])
    assert sorted(effect.p_bh or 0.0 for effect in effects) == pytest.approx(stats.false_discovery_control(p))


def test_adjust_gives_the_bits_of_statsmodels_and_collects_no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    (effect,) = level_effects(trials(a=[1.0, 2.0], b=[2.0, 4.0]), axis="kind", baseline="a", metric="score")
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 40):
        p = [*rng.uniform(0, 0.2, size=size), *rng.choice([0.0, 0.01, 0.5, 1.0], size=size)]  # some of them equal
        expected = multipletests(p, method="holm")[1].tolist()
        with monkeypatch.context() as patched:
            patched.setattr(gc, "collect", lambda: pytest.fail("a quarter of a second in a large process"))
            assert [each.p_holm for each in adjust(replace(effect, p=value) for value in p)] == expected


def test_adjust_effect_without_p_stays_without() -> None:
    effects = level_effects(trials(a=[1.0, 2.0], b=[2.0, 4.0], c=[1.0]), axis="kind", baseline="a", metric="score")
    assert [effect.p_holm is None for effect in adjust(effects)] == [False, True]


def test_reversed_swaps_the_sides() -> None:
    values = {"a": [1.0, 2.0, 3.0] * 3, "b": [2.0, 4.0, 4.0] * 3}
    (effect,) = level_effects(trials(**values), axis="kind", baseline="a", metric="score")
    (swapped,) = level_effects(trials(**values), axis="kind", baseline="b", metric="score")
    assert effect.hedges_g is not None
    assert effect.reversed().ci == pytest.approx(swapped.ci)
    assert effect.reversed().hedges_g == pytest.approx(swapped.hedges_g)
    assert effect.reversed().level == "a"


def nested(*, depths: Sequence[int | None] = (1, 2), seeds: int = 3) -> pd.DataFrame:
    """Only kind `b` has a depth: a level of it is worth 2, the kind 10 beside that; noise by seed and kind."""
    noise = {("a", 0): 0.0, ("a", 1): 0.0, ("a", 2): 0.0, ("b", 0): 0.0, ("b", 1): 0.3, ("b", 2): -0.3}
    cells: list[tuple[str, int | None]] = [("a", None), *(("b", depth) for depth in depths)]
    rows = [
        {
            "arm": f"{kind}{depth}",
            "seed": seed,
            "state": "done",
            "kind": kind,
            "depth": depth,
            "score": (10.0 if kind == "b" else 0.0) + 2.0 * (depth or 0) + noise[kind, seed],
        }
        for kind, depth in cells
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


AXES = {"kind": ["a", "b"], "depth": [1, 2]}


def test_level_effects_axis_of_one_kind_is_measured_where_it_applies() -> None:
    effects = level_effects(at_baselines(nested(), axes=AXES), axis="depth", baseline=1, metric="score", axes=["kind", "depth"])
    assert [(effect.level, effect.mean_diff, effect.cells) for effect in effects] == [(2, 2.0, 1)]


def test_level_effects_kinds_are_compared_at_the_baseline_of_what_only_one_has() -> None:
    (effect,) = level_effects(at_baselines(nested(), axes=AXES), axis="kind", baseline="a", metric="score", axes=["kind", "depth"])
    assert effect.mean_diff == pytest.approx(12.0)
    assert (effect.n, effect.cells, effect.sd, effect.note) == (3, 1, pytest.approx(0.3), "")


def test_seed_differences_have_the_mean_of_the_effect() -> None:
    frame = at_baselines(nested(), axes=AXES)
    by_seed = seed_differences(frame, axis="kind", level="b", baseline="a", metric="score", axes=["kind", "depth"])
    assert by_seed == pytest.approx({0: 12.0, 1: 12.3, 2: 11.7})
    assert seed_differences(frame, axis="kind", level="z", baseline="a", metric="score", axes=["kind", "depth"]) == {}


def test_paired_trials_are_those_that_the_effect_is_the_mean_of() -> None:
    frame = grid(np.random.default_rng(3), seeds=3)
    frame.loc[(frame["kind"] == "b") & (frame["size"] == 32) & (frame["seed"] == 1), "score"] = np.nan
    sides: dict[str, Any] = {"axis": "kind", "level": "b", "baseline": "a", "metric": "score", "axes": ["kind", "size"]}
    found = paired_trials(frame, **sides)
    assert found["kind"].tolist() == ["b", "a"] * (3 * 2)
    assert found["seed"].is_monotonic_increasing
    assert 32 not in set(found["size"])  # whose pairs were left out with the one that lacks a side
    (effect,) = level_effects(frame, axis="kind", baseline="a", metric="score", axes=["kind", "size"])
    means = found.groupby("kind")["score"].mean()
    assert means["b"] - means["a"] == pytest.approx(effect.mean_diff)
    assert paired_trials(frame, **sides | {"level": "z"}).empty


def test_paired_effect_of_two_sides_uses_the_seeds_both_have() -> None:
    effect = paired_effect({0: 3.0, 1: 4.0, 2: 6.0}, {1: 1.0, 2: 2.0, 3: 9.0}, axis="", metric="score")
    assert (effect.n, effect.mean_diff) == (2, 3.5)


def test_differences_too_small_to_be_squared_are_not_called_identical() -> None:
    rows = [("base", 0, 1e-300), ("base", 1, 2e-300), ("a", 0, 5e-300), ("a", 1, 7e-300)]
    (effect,) = level_effects(pd.DataFrame(rows, columns=["arm", "seed", "acc"]), axis="arm", baseline="base", metric="acc")
    assert "identical" not in effect.note
    assert effect.note.startswith("no interval: differences are so small")
