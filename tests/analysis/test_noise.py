from itertools import combinations
from math import sqrt

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.formula.api import ols

from ablate.analysis.noise import noise_floor, paired_noise, signal_to_noise, spread_bounds, winners_curse
from ablate.errors import InputError


def trials(**arms: list[float]) -> pd.DataFrame:
    rows = [{"arm": arm, "seed": seed, "loss": value} for arm, values in arms.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows)


def noisy(*, arms: int, seeds: int, sd: float = 1.0, rng_seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(rng_seed)
    return trials(**{f"a{index:02}": list(rng.normal(0.0, sd, size=seeds)) for index in range(arms)})


def test_noise_floor_pools_squares_and_gives_the_chi2_interval() -> None:
    floor = noise_floor(trials(a=[1.0, 3.0], b=[0.0, 0.0, 3.0], c=[7.0]), metric="loss")
    assert (floor.df, floor.arms) == (3, 2)
    assert floor.sd == pytest.approx(sqrt(8 / 3))
    # chi²(0.025, 3) = 0.215795, chi²(0.975, 3) = 9.348404
    assert floor.ci == pytest.approx((sqrt(8 / 9.348404), sqrt(8 / 0.215795)), rel=1e-5)


def test_noise_floor_interval_of_three_seeds_is_that_of_the_published_table() -> None:
    floor = noise_floor(noisy(arms=1, seeds=3), metric="loss")
    assert floor.ci is not None
    assert floor.sd is not None
    assert (floor.ci[0] / floor.sd, floor.ci[1] / floor.sd) == pytest.approx((0.52, 6.3), abs=0.02)
    assert "cannot be tested" in floor.note


def test_noise_floor_interval_covers_the_true_sd() -> None:
    floors = [noise_floor(noisy(arms=3, seeds=3, sd=2.0, rng_seed=index), metric="loss") for index in range(100)]
    covered = np.mean([floor.ci is not None and floor.ci[0] < 2.0 < floor.ci[1] for floor in floors])
    assert covered > 0.88  # nominal 0.95, binomial SE 0.022


def test_noise_floor_bartlett_is_scipys_and_warns_of_unequal_arms() -> None:
    frame = trials(a=[0.0, 0.1, -0.1, 0.05], b=[0.0, 10.0, -8.0, 3.0])
    floor = noise_floor(frame, metric="loss")
    assert floor.bartlett_p == pytest.approx(stats.bartlett([0.0, 0.1, -0.1, 0.05], [0.0, 10.0, -8.0, 3.0]).pvalue)
    assert "variances differ" in floor.note


def test_noise_floor_one_seed_each_says_why_there_is_none() -> None:
    floor = noise_floor(trials(a=[1.0], b=[2.0]), metric="loss")
    assert (floor.sd, floor.ci, floor.bartlett_p, floor.df) == (None, None, None, 0)
    assert "second seed" in floor.note


def test_noise_floor_identical_seeds_have_no_zero_width_interval() -> None:
    floor = noise_floor(trials(a=[0.1, 0.1, 0.1], b=[0.7, 0.7]), metric="loss")
    assert floor.ci is None
    assert "identical" in floor.note


def test_noise_floor_counts_what_is_not_finite() -> None:
    floor = noise_floor(trials(a=[1.0, np.nan, 2.0], b=[np.inf, 3.0]), metric="loss")
    assert floor.df == 1
    assert "2 of 5 trials left out" in floor.note


@pytest.mark.parametrize("size", [1e151, 1e300, -1.7e308])
def test_values_whose_squares_overflow_count_as_not_finite(size: float) -> None:
    frame = trials(a=[1.0, size, 2.0], b=[1.5, 3.0, 2.5])
    found = signal_to_noise(frame, metric="loss")
    assert found.noise.sd == noise_floor(trials(a=[1.0, np.nan, 2.0], b=[1.5, 3.0, 2.5]), metric="loss").sd
    assert "1 of 6 trials left out (1 beyond 1e+150)" in found.note


def test_values_just_below_what_overflows_have_finite_numbers() -> None:
    found = signal_to_noise(noisy(arms=4, seeds=5).assign(loss=lambda rows: rows["loss"] * 1e149), metric="loss")
    plain = signal_to_noise(noisy(arms=4, seeds=5), metric="loss")
    assert (found.p, found.ratio) == (pytest.approx(plain.p), pytest.approx(plain.ratio))


def test_one_diverged_value_is_named_and_nothing_is_left_out() -> None:
    frame = noisy(arms=5, seeds=4)
    frame.loc[6, "loss"] = 1e12
    found = signal_to_noise(frame, metric="loss")
    (said,) = found.far_out
    assert said.startswith("arm a01, seed 2: 1e+12 (the others: ")
    assert said in found.far_warning
    assert found.noise.df == 5 * 3


@pytest.mark.parametrize(
    "frame",
    [
        noisy(arms=5, seeds=4),
        trials(a=[1.0, 1.1, 0.9], b=[1e12, 1.1e12, 0.9e12], c=[1.05, 1.0, 0.95]),  # what the arm does
        trials(a=[0.5, 0.5, 0.5], b=[0.5, 0.51, 0.5]),  # rounded
        trials(a=[0.0, 0.0, 0.0], b=[0.0, 0.1, 0.0]),
        trials(a=[1.0, 1e12], b=[2.0]),
    ],
)
def test_values_that_are_not_far_from_everything_are_not_named(frame: pd.DataFrame) -> None:
    assert signal_to_noise(frame, metric="loss").far_out == ()


def test_normal_and_heavy_tailed_values_are_never_far_out() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        frame = trials(**{f"a{arm}": list(rng.standard_t(3, size=5)) for arm in range(10)})
        assert signal_to_noise(frame, metric="loss").far_out == ()


def test_noise_floor_permuted_rows_change_nothing() -> None:
    frame = noisy(arms=4, seeds=3)
    assert noise_floor(frame.sample(frac=1, random_state=1), metric="loss") == noise_floor(frame, metric="loss")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (trials(a=[1.0]).iloc[:0], "no rows"),
        (trials(a=[1.0]).rename(columns={"loss": "los"}), "did you mean 'los'"),
        (trials(a=[1.0]).assign(seed=np.nan), "column seed: 1 row without"),
        (pd.concat([trials(a=[1.0])] * 2), "several values of loss at arm a, seed 0"),
        (trials(a=[1.0]).assign(loss="low"), "'low' is not a number"),
    ],
)
def test_noise_floor_bad_frame_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        noise_floor(frame, metric="loss")


def unpaired(frame: pd.DataFrame) -> pd.DataFrame:
    """The same trials, each with a seed of its own."""
    return frame.assign(seed=range(len(frame)))


def test_signal_to_noise_is_the_range_of_means_over_the_pooled_sd() -> None:
    found = signal_to_noise(unpaired(trials(a=[0.0, 2.0], b=[4.0, 6.0], c=[1.0, 3.0])), metric="loss")
    assert found.ratio == pytest.approx(4 / sqrt(2))
    assert (found.spread, found.blocked) == (4.0, False)


@pytest.mark.parametrize("shift", [0.0, 0.4, 3.0])
def test_signal_to_noise_test_of_arms_with_seeds_of_their_own_is_statsmodels_anova(shift: float) -> None:
    frame = noisy(arms=5, seeds=4, rng_seed=3)
    frame.loc[frame["arm"] == "a01", "loss"] += shift
    frame = unpaired(frame.drop(index=[1, 2, 9]))  # unequal seeds
    found = signal_to_noise(frame, metric="loss")
    table = sm.stats.anova_lm(ols("loss ~ C(arm)", data=frame).fit())
    assert found.p == pytest.approx(float(table.loc["C(arm)", "PR(>F)"]), rel=1e-9)
    assert found.separates == (float(table.loc["C(arm)", "PR(>F)"]) < 0.05)
    assert ("this metric cannot separate these arms" in found.note) == (not found.separates)


@pytest.mark.parametrize(("arms", "seeds", "drop"), [(4, 6, 0), (3, 7, 0), (6, 5, 4), (3, 9, 6), (7, 3, 5)])
def test_signal_to_noise_of_arms_that_share_seeds_is_type_two_of_statsmodels(arms: int, seeds: int, drop: int) -> None:
    frame = two_way(np.random.default_rng(arms), arms=arms, seeds=seeds, drop=drop)
    fit = ols("loss ~ C(arm) + C(seed)", frame).fit()
    table = sm.stats.anova_lm(fit, typ=2)
    found = signal_to_noise(frame, metric="loss")
    names = sorted(frame["arm"].unique())
    adjusted = {name: fit.predict(pd.DataFrame({"arm": name, "seed": sorted(frame["seed"].unique())})).mean() for name in names}
    assert found.blocked
    assert found.p == pytest.approx(float(table.loc["C(arm)", "PR(>F)"]), rel=1e-6)
    assert found.spread == pytest.approx(max(adjusted.values()) - min(adjusted.values()))
    assert (found.sd, found.df) == (pytest.approx(sqrt(fit.mse_resid)), fit.df_resid)
    assert found.ratio == pytest.approx(found.spread / sqrt(fit.mse_resid))
    variances = [
        float(fit.t_test(" - ".join(f"C(arm)[T.{name}]" for name in pair if name != names[0]).join(("", " = 0"))).sd[0, 0]) ** 2
        if names[0] not in pair
        else float(fit.bse[f"C(arm)[T.{pair[1]}]"]) ** 2
        for pair in combinations(names, 2)
    ]
    assert found.seeds == pytest.approx(2 * fit.mse_resid / np.mean(variances))
    assert drop or found.seeds == pytest.approx(seeds)


def test_signal_to_noise_of_seeds_that_move_all_arms_alike_finds_what_pairs_find() -> None:
    """Seeds shift by 25 times the noise: the one-way test sees nothing, as it should not be asked."""
    rng, shift = np.random.default_rng(0), 0.05 * np.random.default_rng(1).normal(size=6)
    frame = trials(**{f"a{arm}": list(0.01 * arm + shift + 0.002 * rng.normal(size=6)) for arm in range(4)})
    found = signal_to_noise(frame, metric="loss")
    assert found.separates
    assert found.note == ""
    assert sm.stats.anova_lm(ols("loss ~ C(arm)", frame).fit()).loc["C(arm)", "PR(>F)"] > 0.05
    alike = signal_to_noise(trials(a=[0.1, 0.25, 0.2], b=[0.3, 0.45, 0.4]), metric="loss")
    assert (alike.blocked, alike.ratio, alike.p) == (True, None, None)
    assert "every seed moves all arms alike" in alike.note


def test_winners_curse_of_arms_that_share_seeds_is_what_simulation_gives() -> None:
    rng, best, said = np.random.default_rng(2), [], []
    for _ in range(250):
        values = 0.05 * rng.normal(size=6) + 0.002 * rng.normal(size=(4, 6))
        means = values.mean(axis=1)
        best.append(means.max() - means.mean())
        curse = signal_to_noise(trials(**{f"a{arm}": list(row) for arm, row in enumerate(values)}), metric="loss").curse
        assert curse is not None
        said.append(curse.overrating)
    assert np.mean(best) == pytest.approx(0.00084, abs=0.00008)  # SE 0.00003
    assert np.mean(said) == pytest.approx(np.mean(best), rel=0.1)
    assert "(1.03 standard errors of an arm's mean)" in winners_curse(4, 0.1).advice


def test_signal_to_noise_of_equal_arms_is_what_chance_gives() -> None:
    """25 equal arms of one metric: the ratio is far above 1 and says nothing."""
    found = [signal_to_noise(noisy(arms=25, seeds=2, rng_seed=index), metric="loss") for index in range(60)]
    chance = found[0].chance
    # E[SD / its estimate] with 24 degrees of freedom is 1.0327
    assert chance == pytest.approx(2 * 1.96531 / sqrt(2) * 1.0327, rel=1e-4)
    assert np.mean([each.ratio or 0.0 for each in found]) == pytest.approx(chance, rel=0.09)  # SE 0.03


@pytest.mark.parametrize(("arms", "reason"), [({"a": [1.0, 2.0]}, "nothing to tell apart"), ({"a": [1.0], "b": [2.0]}, "second seed")])
def test_signal_to_noise_without_a_test_separates_nothing(arms: dict[str, list[float]], reason: str) -> None:
    found = signal_to_noise(trials(**arms), metric="loss")
    assert (found.ratio, found.p, found.separates) == (None, None, None)
    assert reason in found.note


# laws.md prints 1.17 for five arms; the integral and the tables of order statistics say 1.163
@pytest.mark.parametrize(("count", "expected"), [(1, 0.0), (2, 0.5641896), (5, 1.1629645), (10, 1.5387527), (20, 1.8674751)])
def test_winners_curse_is_the_tabled_expected_maximum(count: int, expected: float) -> None:
    assert winners_curse(count, 1.0).in_sds == pytest.approx(expected, abs=1e-6)


def test_winners_curse_matches_monte_carlo() -> None:
    draws = np.random.default_rng(0).normal(0.0, 0.3, size=(40_000, 7)).max(axis=1)
    assert winners_curse(7, 0.3).overrating == pytest.approx(draws.mean(), abs=0.004)  # SE 0.001


def test_winners_curse_grows_and_stays_finite() -> None:
    found = [winners_curse(count, 1.0).in_sds for count in (2, 3, 10, 1000, 10**6)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(4.8636, abs=1e-3)


def test_winners_curse_advises_new_seeds() -> None:
    assert "re-run the winner and the baseline with new seeds" in winners_curse(5, 0.1).advice
    assert "nothing was chosen" in winners_curse(1, 0.1).advice


@pytest.mark.parametrize(("count", "sd", "message"), [(0, 1.0, "n_arms: 0"), (5, -1.0, "sd: -1"), (5, np.nan, "sd: nan")])
def test_winners_curse_bad_argument_is_refused(count: int, sd: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        winners_curse(count, sd)


def two_way(rng: np.random.Generator, *, arms: int, seeds: int, drop: int = 0) -> pd.DataFrame:
    values = rng.normal(size=(arms, 1)) + 2 * rng.normal(size=(1, seeds)) + 0.5 * rng.normal(size=(arms, seeds))
    frame = trials(**{f"a{arm}": list(row) for arm, row in enumerate(values)})
    return frame.drop(index=rng.choice(len(frame), size=drop, replace=False))


@pytest.mark.parametrize(("arms", "seeds", "drop"), [(4, 3, 0), (3, 7, 0), (6, 5, 4), (3, 9, 6)])
def test_paired_noise_is_the_residual_of_the_two_way_analysis_of_variance(arms: int, seeds: int, drop: int) -> None:
    frame = two_way(np.random.default_rng(arms), arms=arms, seeds=seeds, drop=drop)
    oracle = ols("loss ~ C(arm) + C(seed)", frame).fit()
    found = paired_noise(frame, metric="loss")
    assert found.sd == pytest.approx(sqrt(oracle.mse_resid), rel=1e-9)
    assert found.df == oracle.df_resid


def test_paired_noise_of_complete_arms_is_the_mean_of_all_pairs_variances() -> None:
    frame = two_way(np.random.default_rng(0), arms=5, seeds=4)
    table = frame.pivot(index="seed", columns="arm", values="loss").to_numpy()
    pairs = [np.var(table[:, one] - table[:, other], ddof=1) for one in range(5) for other in range(one)]
    assert paired_noise(frame, metric="loss").sd == pytest.approx(sqrt(np.mean(pairs) / 2))


@pytest.mark.parametrize("frame", [trials(a=[1.0, 2.0]), trials(a=[1.0], b=[2.0]), trials(a=[0.1, 0.2, 0.7], b=[0.3, 0.4, 0.9])])
def test_paired_noise_that_does_not_exist_is_none(frame: pd.DataFrame) -> None:
    found = paired_noise(frame, metric="loss")
    assert (found.sd, found.interval(1.0, n=2)) == (None, None)


def test_spread_bounds_are_those_of_chi2() -> None:
    assert spread_bounds(2) == pytest.approx(tuple(sqrt(2 / stats.chi2.ppf(tail, 2)) for tail in (0.975, 0.025)))


def test_equal_variances_of_arms_that_are_shifts_of_one_another_are_not_refuted() -> None:
    """The statistic is 0 up to rounding, on either side of it."""
    for shift in np.linspace(0.1, 1.0, 20):
        frame = pd.DataFrame({"arm": list("aabb"), "seed": [0, 1, 0, 1], "m": [3.0, 3.1, 3.0 + shift, 3.1 + shift]})
        assert noise_floor(frame, metric="m").bartlett_p == pytest.approx(1.0, abs=1e-6)
