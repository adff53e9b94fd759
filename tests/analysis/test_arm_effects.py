"""Effects of a plain frame, their verdicts, and what they could see."""

from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.arm_effects import ArmEffects, arm_effects
from ablate.analysis.power import seeds_needed
from ablate.errors import InputError


def trials(**arms: list[float]) -> pd.DataFrame:
    rows = [{"arm": arm, "seed": seed, "score": value} for arm, values in arms.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows)


def effects_of(frame: pd.DataFrame, **changes: Any) -> ArmEffects:
    return arm_effects(frame, **({"baseline": "base", "metric": "score", "goal": "max"} | changes))


def test_arm_effects_plain_frame_gives_the_documented_json() -> None:
    frame = trials(base=[1.0, 1.2, 0.9], better=[2.0, 2.3, 1.9], worse=[0.2, 0.4, 0.0])
    answer = arm_effects(frame, baseline="base", metric="score", goal="max").to_json()
    assert [(row["arm"], row["verdict"]) for row in answer["effects"]] == [("better", "supported"), ("worse", "contradicted")]
    keys = {"arm", "mean_diff", "ci", "p", "p_holm", "p_bh", "hedges_g", "n", "verdict"}
    assert keys <= set(answer["effects"][0])
    assert answer["noise"]["df"] == 6
    assert answer["mde"] > 0


def test_arm_effects_goal_min_turns_the_verdict() -> None:
    frame = trials(base=[1.0, 1.2, 0.9], other=[2.0, 2.3, 1.9])
    assert arm_effects(frame, baseline="base", metric="score", goal="min").to_json()["effects"][0]["verdict"] == "contradicted"


def test_arm_effects_mde_is_found_with_power_0_8() -> None:
    frame = trials(base=[0.0] * 5, other=[1.0, 2.0, 3.0, 4.0, 5.0])
    mde = arm_effects(frame, baseline="base", metric="score", goal="max").mde
    assert mde is not None
    power = stats.nct.sf(stats.t.ppf(0.975, 4), 4, mde / stats.tstd([1, 2, 3, 4, 5]) * sqrt(5))
    assert power == pytest.approx(0.8, abs=1e-9)


def test_arm_effects_one_seed_answers_null() -> None:
    answer = arm_effects(trials(base=[1.0], other=[2.0]), baseline="base", metric="score", goal="max").to_json()
    assert (answer["noise"]["sd"], answer["noise"]["df"], answer["noise"]["ci"]) == (None, 0, None)
    assert answer["mde"] is None
    assert answer["effects"][0]["ci"] is None
    assert "one seed" in answer["effects"][0]["note"]


def test_arm_effects_compares_two_thousand_arms() -> None:
    rng = np.random.default_rng(0)
    arms = np.repeat([f"arm-{index}" for index in range(2000)], 5)
    frame = pd.DataFrame({"arm": arms, "seed": np.tile(range(5), 2000), "score": rng.normal(size=10_000)})
    assert len(arm_effects(frame, baseline="arm-0", metric="score", goal="max").effects) == 1999


def shifted(rng: np.random.Generator, *, arms: int, seeds: int, effect: float = 0.0, shift: float = 3.0) -> pd.DataFrame:
    """Noise of SD 1 on top of what each seed shifts all arms by."""
    values = rng.normal(size=(arms, seeds)) + shift * rng.normal(size=seeds)
    values[1] += effect
    return trials(**{"base" if arm == 0 else f"arm{arm}": list(row) for arm, row in enumerate(values)})


def test_arm_effects_within_a_margin_is_equivalent_by_two_one_sided_tests() -> None:
    frame = shifted(np.random.default_rng(0), arms=2, seeds=8)
    difference = frame[frame["arm"] == "arm1"]["score"].to_numpy() - frame[frame["arm"] == "base"]["score"].to_numpy()
    p = [stats.ttest_1samp(sign * difference, -1.2, alternative="greater").pvalue for sign in (1, -1)]
    margin_passes = max(p) < 0.05
    found = effects_of(frame, within=1.2).arms[0]
    assert (found.verdict == "equivalent") == margin_passes
    wide = effects_of(frame, within=4.0).arms[0]
    assert (wide.verdict, "(90 %), inside ±4" in wide.reason) == ("equivalent", True)
    assert effects_of(frame, within=1e-6).arms[0].verdict != "equivalent"


def test_arm_effects_margin_outweighs_the_order_as_in_claims() -> None:
    frame = trials(base=[1.0, 1.1, 1.2, 1.3], other=[1.11, 1.2, 1.31, 1.4])
    assert effects_of(frame).arms[0].verdict == "supported"
    assert effects_of(frame, within=0.5).arms[0].verdict == "equivalent"


@pytest.mark.parametrize("within", [0.0, -1.0, float("nan"), float("inf")])
def test_arm_effects_margin_that_is_none_is_refused(within: float) -> None:
    with pytest.raises(InputError, match="is no margin"):
        effects_of(trials(base=[1.0, 2.0], other=[1.0, 3.0]), within=within)


def test_arm_effects_open_arm_says_how_many_seeds_and_how_sure_that_is() -> None:
    found = effects_of(trials(base=[0.0, 0.0, 0.0], other=[0.5, -0.4, 0.8])).arms[0]
    sd = float(np.std([0.5, -0.4, 0.8], ddof=1))
    assert found.verdict == "inconclusive"
    assert found.seeds == seeds_needed(0.3, sd=sd)
    low, high = (sd * sqrt(2 / stats.chi2.ppf(tail, 2)) for tail in (0.975, 0.025))
    assert found.seeds_range == (seeds_needed(0.3, sd=low), seeds_needed(0.3, sd=high))
    assert f"about {found.seeds} seeds would settle it" in found.reason
    assert "by the error of an SD of 3 seeds" in found.reason


def test_arm_effects_supported_alone_but_not_in_its_family_says_so() -> None:
    frame = shifted(np.random.default_rng(0), arms=40, seeds=4)
    alone = [each for each in effects_of(frame).arms if each.verdict != "inconclusive" and (each.effect.p_holm or 0) > 0.05]
    assert alone
    assert all("over the 39 arms of this table Holm's p is" in each.reason for each in alone)


def test_arm_effects_smallest_difference_credits_the_pairing() -> None:
    frame = shifted(np.random.default_rng(1), arms=30, seeds=5)
    found = effects_of(frame).detectability
    assert found.pooled is not None
    assert found.unpaired is not None
    assert found.pooled.df == 29 * 4
    assert found.pooled.sd == pytest.approx(sqrt(2), rel=0.1)  # noise of SD 1: its error with 116 degrees of freedom is 7 %
    assert found.unpaired.sd > 2 * found.pooled.sd  # seeds shift by 3 SD
    assert found.rho is not None
    assert found.pooled.sd == pytest.approx(found.unpaired.sd * sqrt(1 - found.rho))
    # the published table: noise pooled over 10 ablations (df 20), n = 1, 2, 3, 5
    assert found.pooled.by_seeds[3] == pytest.approx(found.pooled.sd * 2.8 / sqrt(3), rel=0.03)


def test_arm_effects_pooled_interval_is_that_of_the_randomised_block_analysis_and_covers() -> None:
    rng, covered = np.random.default_rng(2), 0
    for _ in range(300):
        (first, *_) = effects_of(shifted(rng, arms=4, seeds=3, effect=2.0)).arms
        assert first.ci_pooled is not None
        covered += first.ci_pooled[0] < 2.0 < first.ci_pooled[1]
    assert 0.92 < covered / 300 < 0.98  # nominal 0.95, binomial SE 0.013


def test_arm_effects_do_not_depend_on_the_order_of_rows() -> None:
    frame = shifted(np.random.default_rng(4), arms=6, seeds=5)
    answer, shuffled = (effects_of(each).to_json() for each in (frame, frame.sample(frac=1, random_state=0)))
    for part in (answer, shuffled):
        part["effects"] = sorted(part["effects"], key=lambda row: row["arm"])
    assert answer == shuffled


def test_arm_effects_of_the_negated_metric_are_their_mirror() -> None:
    frame = shifted(np.random.default_rng(5), arms=6, seeds=4, effect=9.0)
    one, other = effects_of(frame), effects_of(frame.assign(score=-frame["score"]), goal="min")
    assert [each.verdict for each in one.arms] == [each.verdict for each in other.arms]
    assert [each.p for each in one.effects] == pytest.approx([each.p for each in other.effects])
    assert [each.mean_diff for each in one.effects] == pytest.approx([-(each.mean_diff or 0) for each in other.effects])
    assert one.noise.sd == pytest.approx(other.noise.sd)


def test_arm_effects_failed_trials_are_counted_as_failed() -> None:
    frame = trials(base=[1.0, 2.0, 3.0, 4.0], other=[2.0, np.inf, 5.0, 7.0]).assign(state="done")
    frame.loc[(frame["arm"] == "other") & (frame["seed"] == 3), ["state", "score"]] = ["failed", np.nan]
    frame.loc[(frame["arm"] == "base") & (frame["seed"] == 2), "state"] = "running"
    found = effects_of(frame)
    assert found.effects[0].note == (
        "3 of 4 pairs dropped (1 failed, 1 unfinished, 1 without a finite value); "[:-2]
        if found.effects[0].n > 1
        else "one seed: no interval; a second seed gives one; 3 of 4 pairs dropped (1 failed, 1 unfinished, 1 without a finite value)"
    )
    assert "without an interval" in found.warnings[-1]


def test_arm_effects_rows_without_an_arm_are_refused() -> None:
    frame = trials(base=[1.0, 2.0], other=[1.0, 3.0])
    frame.loc[3, "arm"] = None
    with pytest.raises(InputError, match="1 row without an arm"):
        effects_of(frame)


def test_arm_effects_smallest_difference_has_the_degrees_of_freedom_of_so_many_seeds() -> None:
    found = effects_of(shifted(np.random.default_rng(3), arms=4, seeds=6)).detectability
    for smallest, a_seed in ((found.pooled, 3), (found.unpaired, 4), (found.paired, 1)):
        assert smallest is not None
        assert smallest.df == 5 * a_seed
        for seeds in (2, 5, 20):
            df = a_seed * (seeds - 1)
            shift = smallest.by_seeds[seeds] / smallest.sd * sqrt(seeds)
            assert stats.nct.sf(stats.t.ppf(0.975, df), df, shift) == pytest.approx(0.8, abs=1e-6)


def test_arm_effects_of_seeds_that_move_all_arms_alike_have_no_false_alarm() -> None:
    rng = np.random.default_rng(0)
    values = 0.05 * rng.normal(size=6) + 0.002 * rng.normal(size=(4, 6)) + np.array([[0.0], [0.0], [0.02], [0.03]])
    found = effects_of(trials(**{name: list(row) for name, row in zip(("base", "b", "c", "d"), values, strict=True)}))
    assert [each.verdict for each in found.arms[1:]] == ["supported", "supported"]
    assert found.warnings == ()
    assert found.curse is not None
    assert found.curse.overrating == pytest.approx(0.00084, rel=0.5)


@pytest.mark.parametrize(("baseline", "named"), [("3e-4", "0.0003"), ("0.00030", "0.0003"), ("0.001", "0.001")])
def test_arm_effects_baseline_is_the_arm_that_is_the_same_number(baseline: str, named: str) -> None:
    frame = trials(**{"0.0003": [1.0, 2.0, 2.5], "0.001": [2.0, 3.5, 3.0]})
    found = effects_of(frame, baseline=baseline)
    assert (found.baseline, found.to_json()["baseline"]) == (named, named)


def test_arm_effects_baseline_that_is_not_there_names_the_column_and_ten_arms() -> None:
    with pytest.raises(InputError, match=r"column arm: no row 'x' \(there: a0, .*, a9 and 2 more\)"):
        effects_of(trials(**{f"a{arm}": [1.0, 2.0] for arm in range(12)}), baseline="x")


def test_arm_effects_warnings_name_up_to_five_arms() -> None:
    lost = {f"a{arm}": [1.0, 2.5, np.nan, 3.0] for arm in range(7)}
    (warning,) = effects_of(trials(base=[1.0, 2.0, 3.5, 4.0], **lost)).warnings[1:]
    assert warning.startswith("7 of 7 arms on fewer pairs than planned: a0: 1 of 4 pairs dropped")
    assert "a4: " in warning
    assert "a5: " not in warning
    assert warning.endswith(" and 2 more")


def test_arm_effects_of_values_that_overflow_leave_them_out() -> None:
    found = effects_of(trials(base=[1.0, 2.0, 3.5], other=[2.0, 1e300, 4.0]))
    assert (found.effects[0].n, "1 beyond 1e+150" in found.effects[0].note) == (2, True)


def test_arm_effects_show_each_mean_beside_the_baselines_over_the_same_pairs() -> None:
    answer = effects_of(trials(base=[1.0, 2.0, 6.0], other=[2.0, 2.5, np.nan], third=[1.0, 2.0, 5.0])).to_json()
    assert [(row["mean"], row["baseline_mean"]) for row in answer["effects"]] == [(2.25, 1.5), (pytest.approx(8 / 3), 3.0)]
    assert (answer["goal"], answer["metric"], answer["baseline"]) == ("max", "score", "base")
