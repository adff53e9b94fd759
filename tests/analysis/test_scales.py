from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from ablate.analysis import scales
from ablate.analysis.scales import RankTransfer, SizeTrend, effect_against_size, rank_transfer
from ablate.errors import InputError


def scale(**arms: list[float]) -> pd.DataFrame:
    rows = [{"arm": arm, "seed": seed, "loss": value} for arm, values in arms.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows)


def drawn(arms: int, *, seeds: int, rng_seed: int, ties: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two scales whose arms' true values are correlated; with `ties` in whole numbers."""
    rng = np.random.default_rng(rng_seed)
    truth = rng.normal(size=arms)
    sides = [np.add.outer(truth, 0.7 * rng.normal(size=seeds)) + 0.7 * rng.normal(size=(arms, seeds)) for _ in range(2)]
    frames = [scale(**{f"a{index:02}": (np.round(row) if ties else row).tolist() for index, row in enumerate(side)}) for side in sides]
    return frames[0], frames[1]


def transfer(small: pd.DataFrame, large: pd.DataFrame, **options: Any) -> RankTransfer:
    return rank_transfer(small, large, **({"metric": "loss", "goal": "min", "resamples": 200} | options))


def counted(small: pd.DataFrame, large: pd.DataFrame) -> tuple[float, int]:
    """Decision accuracy pair by pair."""
    means = [frame.groupby("arm")["loss"].mean() for frame in (small, large)]
    scores = []
    for first, second in combinations(means[0].index, 2):
        low, high = (side[first] - side[second] for side in means)
        if abs(high) > 1e-9:
            scores.append(0.5 if abs(low) < 1e-9 else float((low > 0) == (high > 0)))
    return float(np.mean(scores)), len(scores)


@pytest.mark.parametrize("rng_seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_rank_transfer_matches_pair_counting_and_scipy(rng_seed: int, ties: bool) -> None:
    small, large = drawn(9, seeds=3, rng_seed=rng_seed, ties=ties)
    found = transfer(small, large)
    accuracy, pairs = counted(small, large)
    assert found.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert found.pairs == pairs
    means = [frame.groupby("arm")["loss"].mean().round(9) for frame in (small, large)]
    assert found.tau == pytest.approx(stats.kendalltau(*means).statistic, abs=1e-12)


def test_rank_transfer_known_answer() -> None:
    found = transfer(scale(a=[1.0], b=[2.0], c=[3.0], d=[4.0]), scale(a=[2.0], b=[1.0], c=[3.0], d=[5.0]))
    # one of six pairs is turned
    assert found.accuracy == pytest.approx(5 / 6)
    assert found.tau == pytest.approx(4 / 6)
    assert (found.small_winner, found.large_winner, found.winner_stays, found.regret) == ("a", "b", False, 1.0)
    assert "no ceiling" in found.note


def test_rank_transfer_goal_max_turns_the_winner_and_nothing_else() -> None:
    small, large = drawn(6, seeds=2, rng_seed=1)
    low, high = transfer(small, large), transfer(small, large, goal="max")
    assert (low.tau, low.accuracy, low.ceiling, low.accuracy_interval) == (high.tau, high.accuracy, high.ceiling, high.accuracy_interval)
    means = small.groupby("arm")["loss"].mean()
    assert (low.small_winner, high.small_winner) == (means.idxmin(), means.idxmax())


def test_rank_transfer_swapped_scales_keep_tau_and_without_ties_accuracy() -> None:
    small, large = drawn(7, seeds=2, rng_seed=2)
    there, back = transfer(small, large), transfer(large, small)
    assert (there.tau, there.tau_interval) == (back.tau, back.tau_interval)
    assert there.accuracy == back.accuracy
    tied = drawn(7, seeds=2, rng_seed=3, ties=True)
    assert transfer(*tied).tau == pytest.approx(transfer(*tied[::-1]).tau)


def test_rank_transfer_permuted_rows_change_nothing() -> None:
    small, large = drawn(8, seeds=3, rng_seed=3)
    shuffled = [frame.sample(frac=1, random_state=5) for frame in (small, large)]
    assert transfer(*shuffled) == transfer(small, large)


def test_rank_transfer_resampled_tau_is_scipys() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, size=9).astype(float), rng.integers(0, 5, size=9).astype(float)
    counts = rng.multinomial(9, np.full(9, 1 / 9), size=20).astype(float)
    found = scales._resampled_tau(scales._signs(first), scales._signs(second), counts=counts)
    for row, tau in zip(counts.astype(int), found, strict=True):
        assert tau == pytest.approx(stats.kendalltau(np.repeat(first, row), np.repeat(second, row)).statistic, abs=1e-12)


def test_rank_transfer_ceiling_is_the_mean_over_the_splits() -> None:
    large = scale(a=[1.0, 2.0, 1.5], b=[1.8, 1.0, 1.9], c=[3.0, 3.0, 1.2])
    table = large.pivot(index="arm", columns="seed", values="loss")
    splits = []
    for alone, others in ((0, [1, 2]), (1, [0, 2]), (2, [0, 1])):
        sides = table[alone], table[others].mean(axis=1)
        splits.append(np.mean([(sides[0][x] > sides[0][y]) == (sides[1][x] > sides[1][y]) for x, y in combinations("abc", 2)]))
    assert transfer(large, large).ceiling == pytest.approx(np.mean(splits))


def test_rank_transfer_ceiling_of_pure_noise_is_a_coin() -> None:
    rng = np.random.default_rng(0)
    frames = [scale(**{f"a{arm:02}": list(rng.normal(size=10)) for arm in range(30)}) for _ in range(4)]
    ceilings = [transfer(frame, frame, resamples=100).ceiling or 0.0 for frame in frames]
    assert np.mean(ceilings) == pytest.approx(0.5, abs=0.06)
    assert transfer(scale(a=[1.0, 1.01], b=[5.0, 5.02]), scale(a=[1.0, 1.01], b=[5.0, 5.02])).ceiling == 1.0


@pytest.mark.slow
def test_rank_transfer_interval_covers_the_true_accuracy() -> None:
    """Means of correlation 0.5: a pair is ordered alike with 1/2 + asin(0.5) / pi."""
    rng, covered = np.random.default_rng(1), []
    for _ in range(80):
        first = rng.normal(size=12)
        second = 0.5 * first + np.sqrt(0.75) * rng.normal(size=12)
        frames = [scale(**{f"a{arm:02}": [value] for arm, value in enumerate(side)}) for side in (first, second)]
        interval = transfer(*frames).accuracy_interval
        covered.append(interval is not None and interval[0] <= 2 / 3 <= interval[1])
    assert np.mean(covered) > 0.9  # 0.97 of 300: wide with few arms; binomial SE 0.02


@pytest.mark.parametrize(
    ("arms", "reason"),
    [(3, "3 arms: no interval"), (5, "every resample of arms gives the same")],
)
def test_rank_transfer_without_an_interval_says_why(arms: int, reason: str) -> None:
    frame = scale(**{f"a{arm}": [float(arm)] for arm in range(arms)})
    found = transfer(frame, frame)
    assert (found.accuracy, found.accuracy_interval, found.tau_interval) == (1.0, None, None)
    assert reason in found.note


def test_rank_transfer_one_arm_has_no_order() -> None:
    found = transfer(scale(a=[1.0, 2.0]), scale(a=[1.0, 2.0]))
    assert (found.tau, found.accuracy, found.ceiling, found.winner_stays, found.regret) == (None, None, None, None, None)
    assert "nothing to order" in found.note


def test_rank_transfer_all_tied_at_the_large_scale_has_no_accuracy() -> None:
    found = transfer(scale(a=[0.1, 0.3], b=[5.0, 6.0]), scale(a=[0.1, 0.3], b=[0.2, 0.2]))
    assert (found.tau, found.accuracy, found.large_winner, found.winner_stays, found.pairs) == (None, None, None, None, 0)
    assert "1 pairs tied at the large scale left out" in found.note


def test_rank_transfer_names_arms_of_one_side_and_the_better_one_that_was_dropped() -> None:
    found = transfer(scale(a=[1.0], b=[2.0], gone=[0.5]), scale(a=[1.0], b=[2.0], fresh=[0.0]))
    assert (found.only_small, found.only_large, found.arms) == (("gone",), ("fresh",), ("a", "b"))
    assert "gone only at the small scale; fresh only at the large scale" in found.note
    assert "better at the small scale than all that were run at the large one: gone" in found.note


def test_rank_transfer_drops_what_is_not_finite_and_counts_it() -> None:
    found = transfer(scale(a=[1.0, np.nan], b=[2.0, 3.0]), scale(a=[1.0, 2.0], b=[np.inf, 3.0]).assign(state="done"))
    assert found.note.count("1 of 4 trials left out") == 2
    assert "1 to 2 seeds an arm" in found.note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"goal": "low"}, "unknown 'low'"),
        ({"metric": "los"}, "small scale: no column 'los'.*did you mean 'loss'"),
        ({"resamples": 10}, "at least 100"),
        ({"large": scale(z=[1.0])}, "no arm with a finite loss at both scales .a, b only at the small scale and z only"),
    ],
)
def test_rank_transfer_bad_argument_is_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"small": scale(a=[1.0], b=[2.0]), "large": scale(a=[1.0], b=[2.0])} | change
    with pytest.raises(InputError, match=message):
        transfer(**arguments)


def grown(effects: dict[float, list[float]]) -> pd.DataFrame:
    """Per size the difference of each seed; the base varies too, so that pairing matters."""
    rows = []
    for size, differences in effects.items():
        for seed, difference in enumerate(differences):
            rows.append({"arm": "base", "n_params": size, "seed": seed, "loss": 3.0 + seed})
            rows.append({"arm": "new", "n_params": size, "seed": seed, "loss": 3.0 + seed + difference})
    return pd.DataFrame(rows)


def trend(frame: pd.DataFrame, **options: Any) -> SizeTrend:
    (found,) = effect_against_size(frame, **({"baseline": "base", "metric": "loss"} | options))
    return found


@pytest.mark.parametrize("seeds", [3, 6])
def test_effect_against_size_line_is_statsmodels_wls(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    frame = grown({size: list(rng.normal(0.1 * np.log(size), 0.2 + index, size=seeds)) for index, size in enumerate((1e6, 1e7, 1e8, 3e8))})
    found = trend(frame)
    assert found.weights == ("own_se" if seeds == 6 else "pooled_se")
    means = [effect.mean_diff for _, effect in found.effects]
    weights = [1 / (effect.se or 1.0) ** 2 for _, effect in found.effects] if seeds == 6 else [1.0] * 4
    oracle = sm.WLS(means, sm.add_constant(np.log([size for size, _ in found.effects])), weights=weights).fit()
    assert (found.intercept, found.slope) == pytest.approx(tuple(oracle.params), rel=1e-8)
    assert found.ci == pytest.approx(tuple(oracle.conf_int()[1]), rel=1e-8)
    assert found.p == pytest.approx(oracle.pvalues[1], rel=1e-8)
    assert found.se == pytest.approx(oracle.bse[1], rel=1e-8)


def test_effect_against_size_effects_are_paired_by_seed() -> None:
    found = trend(grown({1e6: [0.1, 0.3], 1e7: [0.5, 0.7]}))
    assert [(size, effect.mean_diff) for size, effect in found.effects] == [(1e6, pytest.approx(0.2)), (1e7, pytest.approx(0.6))]
    assert found.slope == pytest.approx(0.4 / np.log(10))
    assert (found.ci, found.p) == (None, None)
    assert "two sizes always lie on a line" in found.note


def test_effect_against_size_flips_are_clear_only_where_both_intervals_exclude_zero() -> None:
    found = trend(grown({1e6: [1.0, 1.1, 0.9], 1e7: [-2.0, 3.0, -2.5], 1e8: [-1.0, -1.1, -0.9]}))
    assert [(flip.smaller, flip.larger, flip.clear) for flip in found.flips] == [(1e6, 1e7, False), (1e6, 1e8, True)]
    assert [flip.larger for flip in found.clear_flips] == [1e8]


def test_effect_against_size_one_seed_has_a_line_and_no_clear_flip() -> None:
    found = trend(grown({1e6: [1.0], 1e7: [0.2], 1e8: [-1.0]}))
    assert found.weights == "pooled_se"
    assert found.ci is not None
    assert len(found.flips) == 2
    assert found.clear_flips == ()


@pytest.mark.parametrize(
    ("effects", "reason"),
    [({1e6: [1.0, 1.2]}, "1 size with an effect"), ({1e6: [1.0], 1e7: [2.0], 1e8: [3.0]}, "exactly on a line")],
)
def test_effect_against_size_without_an_interval_says_why(effects: dict[float, list[float]], reason: str) -> None:
    found = trend(grown(effects))
    assert found.ci is None
    assert reason in found.note


def test_effect_against_size_names_sizes_without_a_baseline_or_a_pair() -> None:
    frame = grown({1e6: [1.0, 1.1], 1e7: [0.5, 0.7], 1e8: [0.1, 0.4], 1e9: [0.0, 0.2]})
    frame = frame[~((frame["arm"] == "base") & (frame["n_params"] == 1e7))]
    frame.loc[(frame["arm"] == "new") & (frame["n_params"] == 1e8), "loss"] = np.nan
    found = trend(frame)
    assert "no pair of seeds at 100M" in found.note
    assert "the baseline was not run at 10M" in found.note
    assert found.slope == pytest.approx((0.1 - 1.05) / np.log(1e3))


@pytest.mark.slow
def test_effect_against_size_interval_covers_the_slope() -> None:
    rng, covered = np.random.default_rng(0), []
    for _ in range(40):
        found = trend(grown({size: list(rng.normal(0.5 * np.log(size), 1.0, size=3)) for size in (1e6, 1e7, 1e8, 1e9, 1e10, 1e11)}))
        covered.append(found.ci is not None and found.ci[0] < 0.5 < found.ci[1])
    assert np.mean(covered) > 0.84  # nominal 0.95, binomial SE 0.034


def test_effect_against_size_permuted_rows_change_nothing() -> None:
    frame = grown({1e6: [1.0, 1.1], 1e7: [0.5, 0.7], 1e8: [0.1, 0.4]})
    shuffled, plain = trend(frame.sample(frac=1, random_state=0)), trend(frame)
    assert (shuffled.slope, shuffled.ci, shuffled.effects) == (plain.slope, plain.ci, plain.effects)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "bas"}, "no arm 'bas'.*did you mean 'base'"),
        ({"metric": "los"}, "did you mean 'loss'"),
        ({"frame": grown({-1.0: [1.0]})}, "column n_params: -1.0 is not a positive"),
        ({"frame": grown({1e6: [1.0]}).iloc[:0]}, "no rows"),
        ({"level": 2.0}, "between 0 and 1"),
    ],
)
def test_effect_against_size_bad_argument_is_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"frame": grown({1e6: [1.0, 2.0]})} | change
    with pytest.raises(InputError, match=message):
        trend(**arguments)
