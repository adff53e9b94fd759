import json
from collections.abc import Callable
from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.law_comparison import compare_forms, compare_slopes
from ablate.analysis.law_fit import fit_power_law
from ablate.analysis.laws import Definitions, rate_label, size_label
from ablate.analysis.lr_law import fit_points, fit_runs
from ablate.analysis.optima import Optimum
from ablate.analysis.published import MM1
from ablate.errors import InputError

SIZES = [9e6, 85e6, 302e6, 1.2e9]
DEFINITIONS = Definitions("non-embedding", "512 x 4096", "200k steps", "cosine", "torch AdamW", "loss", counts="non_embedding")
JSON_KEYS = {"law", "form", "definitions", "optima", "excluded", "prediction", "leave_largest_out", "forms", "slopes_compared", "warnings"}


def points(scatter: list[float] | None = None, *, sizes: list[float] = SIZES) -> pd.DataFrame:
    rates = [MM1.lr(size) * exp(shift) for size, shift in zip(sizes, scatter or [0.0] * len(sizes), strict=True)]
    return pd.DataFrame({"n_params": sizes, "eta": rates})


def runs(*, seeds: int = 2, noise: float = 0.0, scatter: float = 0.0, seed: int = 0, steps: int = 3) -> pd.DataFrame:
    """Seven rates a size, a factor 2 apart, centred near but not on the optimum."""
    rng = np.random.default_rng(seed)
    rows = []
    for size in SIZES:
        best = MM1.lr(size) * exp(scatter * rng.normal())
        for rate in (MM1.lr(size) * 1.3 * 2.0**step for step in range(-steps, steps + 1)):
            for repeat in range(seeds):
                rows.append((size, rate, repeat, 2 + 0.01 * log(rate / best) ** 2 + noise * rng.normal(), "done"))
    return pd.DataFrame(rows, columns=["n_params", "lr", "seed", "loss", "status"])


def test_fit_points_values_of_a_law_recover_it_to_eight_digits() -> None:
    fit = fit_points(points()).fit
    assert fit is not None
    assert fit.slope == pytest.approx(-0.4214, abs=1e-8)
    assert fit.intercept == pytest.approx(-0.5535, abs=1e-8)


def test_fit_points_exact_line_has_no_interval_and_warns() -> None:
    report = fit_points(points())
    assert report.prediction is not None
    assert report.prediction.lr == pytest.approx(2.2108e-5, rel=1e-4)
    assert report.prediction.interval is None
    assert any("exactly on a line" in warning for warning in report.warnings)


def test_fit_runs_noise_free_curves_recover_the_law_to_eight_digits() -> None:
    fit = fit_runs(runs(), metric="loss", goal="min").fit
    assert fit is not None
    assert fit.slope == pytest.approx(-0.4214, abs=1e-8)
    assert fit.intercept == pytest.approx(-0.5535, abs=1e-7)


def test_fit_points_scattered_values_match_scipy_and_statsmodels() -> None:
    from statsmodels.regression.linear_model import OLS
    from statsmodels.tools import add_constant

    frame = points([0.1, -0.2, 0.15, -0.05])
    report = fit_points(frame, target=3e10)
    fit, prediction = report.fit, report.prediction
    assert fit is not None
    assert prediction is not None
    x, y = np.log(frame["n_params"]), np.log(frame["eta"])
    line = stats.linregress(x, y)
    assert (fit.slope, fit.intercept) == pytest.approx((line.slope, line.intercept), rel=1e-10)
    assert (fit.se_slope, fit.se_intercept) == pytest.approx((line.stderr, line.intercept_stderr), rel=1e-8)
    oracle = OLS(y, add_constant(x)).fit()
    assert np.array(fit.cov)[::-1, ::-1] == pytest.approx(oracle.cov_params().to_numpy(), rel=1e-6)
    frame_30b = oracle.get_prediction([[1.0, log(3e10)]]).summary_frame(alpha=0.05)
    expected = (exp(frame_30b["obs_ci_lower"].iloc[0]), exp(frame_30b["obs_ci_upper"].iloc[0]))
    assert prediction.interval == pytest.approx(expected, rel=1e-8)
    assert (prediction.kind, prediction.level, fit.df) == ("prediction", 0.95, 2)


def test_fit_power_law_prediction_interval_covers_a_new_optimum_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        fit = fit_points(points(list(rng.normal(0, 0.12, size=4)))).fit
        assert fit is not None
        low, high = fit.interval(3e10) or (0.0, 0.0)
        hits += low < MM1.lr(3e10) * exp(rng.normal(0, 0.12)) < high
    assert 366 < hits < 394  # nominal 380, binomial SE 4.4


@pytest.mark.slow
def test_fit_runs_simulated_sweeps_cover_the_30b_optimum() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for seed in range(60):
        prediction = fit_runs(runs(seeds=3, noise=0.003, scatter=0.12, seed=seed), metric="loss", goal="min").prediction
        assert prediction is not None
        assert prediction.interval is not None
        hits += prediction.interval[0] < MM1.lr(3e10) * exp(rng.normal(0, 0.12)) < prediction.interval[1]
    assert hits >= 52  # nominal 57, binomial SE 1.7


def test_fit_points_three_optima_have_one_degree_of_freedom() -> None:
    report = fit_points(points([0.1, -0.1, 0.05], sizes=SIZES[:3]))
    assert report.fit is not None
    assert report.fit.df == 1
    assert report.prediction is not None
    assert report.prediction.interval is not None
    assert any("df = 1" in warning for warning in report.warnings)


def test_fit_points_two_optima_have_a_line_and_a_reason_for_no_interval() -> None:
    report = fit_points(points(sizes=[9e6, 1.2e9]))
    answer = report.to_json()
    assert answer["law"]["slopes"]["n_params"] == pytest.approx(-0.4214)
    assert answer["law"]["se"] == {"n_params": None, "intercept": None}
    assert answer["prediction"]["interval"] is None
    assert "a third is needed" in answer["prediction"]["notes"][0]


def test_fit_points_inside_the_sizes_is_no_extrapolation() -> None:
    report = fit_points(points([0.1, -0.1, 0.1, 0.0]), target=1e8)
    assert report.prediction is not None
    assert report.prediction.extrapolation_decades == 0
    assert not any("extrapolated" in warning for warning in report.warnings)


def test_fit_points_known_errors_leave_the_scatter_between_sizes() -> None:
    frame = points([0.1, -0.2, 0.15, -0.05])
    fit = fit_points(frame.assign(se_ln=0.05)).fit
    assert fit is not None
    assert fit.residual_sd is not None
    assert fit.tau == pytest.approx(np.sqrt(fit.residual_sd**2 - 0.05**2))
    assert fit_points(frame).to_json()["law"]["tau"] is None


def test_fit_runs_edge_optimum_is_left_out_bounded_and_a_next_rate_proposed() -> None:
    frame = runs(steps=3)
    highest = frame["n_params"] == SIZES[0]
    frame.loc[highest, "loss"] = 2 + 0.01 * np.log(frame.loc[highest, "lr"] / 1.0) ** 2
    report = fit_runs(frame, metric="loss", goal="min")
    answer = report.to_json()
    assert answer["excluded"] == [{"n_params": SIZES[0], "reason": "edge_high"}]
    assert answer["optima"][0]["lr"] is None
    assert answer["optima"][0]["bound"][1] is None
    proposed = MM1.lr(SIZES[0]) * 1.3 * 2**4
    assert any(f"try {proposed:.2e}".replace("e-0", "e-") in warning for warning in report.warnings)
    assert report.fit is not None
    assert report.fit.slope == pytest.approx(-0.4214, abs=1e-8)


def test_fit_runs_diverged_runs_are_counted_and_do_not_move_the_law() -> None:
    frame = runs()
    diverged = frame["lr"] > frame["n_params"].map(MM1.lr) * 10
    frame.loc[diverged, "loss"] = np.nan
    frame.loc[diverged, "status"] = "diverged"
    report = fit_runs(frame, metric="loss", goal="min")
    assert report.fit is not None
    assert report.fit.slope == pytest.approx(-0.4214, abs=1e-8)
    assert sum(optimum.n_diverged for optimum in report.optima) == 8
    assert any("8 diverged runs" in warning for warning in report.warnings)


def test_fit_runs_end_of_the_grid_that_is_as_good_as_the_best_is_a_warning() -> None:
    """Two seeds whose noise is as large as what the ends of a grid of three rates cost."""
    noisy = runs(seeds=2, noise=0.02, steps=1, seed=3)
    inside = [optimum for optimum in fit_runs(noisy, metric="loss", goal="min").optima if optimum.status == "interior"]
    assert any(optimum.near_optimal[0] == noisy["lr"][noisy["n_params"] == optimum.n_params].min() for optimum in inside)
    assert any("cannot be told from the best" in warning for warning in fit_runs(noisy, metric="loss", goal="min").warnings)
    assert not any("cannot be told" in warning for warning in fit_runs(runs(seeds=3, noise=1e-4), metric="loss", goal="min").warnings)


def test_fit_runs_failure_for_another_cause_is_no_divergence() -> None:
    frame = runs(seeds=3)
    crashed = frame.index[(frame["n_params"] == 9e6) & (frame["seed"] == 1)]
    frame.loc[crashed, ["loss", "status"]] = [np.nan, "failed"]
    report = fit_runs(frame, metric="loss", goal="min")
    assert sum(optimum.n_diverged for optimum in report.optima) == 0
    assert report.optima[0].status == "interior"
    assert any("left out (7 failed)" in warning for warning in report.warnings)


def test_fit_runs_every_size_at_its_edge_answers_null_and_says_why() -> None:
    frame = runs().assign(loss=lambda rows: -rows["lr"])
    report = fit_runs(frame, metric="loss", goal="min")
    answer = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert set(answer) == JSON_KEYS
    assert answer["law"]["slopes"] == {"n_params": None}
    assert answer["prediction"] is None
    assert "no law: 0 of 4 sizes" in answer["warnings"][0]


def test_fit_runs_answer_has_exactly_the_documented_keys() -> None:
    answer = fit_runs(runs(seeds=3, noise=0.001, scatter=0.1), metric="loss", goal="min").to_json()
    answer = json.loads(json.dumps(answer, allow_nan=False))
    assert set(answer) == JSON_KEYS
    assert set(answer["law"]) == {"slopes", "intercept", "se", "tau", "df", "method", "prior"}
    optimum_keys = {"n_params", "lr", "se_ln", "status", "bound", "near_optimal", "grid_best", "n_runs", "n_diverged", "open"}
    assert all(set(optimum) == optimum_keys for optimum in answer["optima"])
    prediction = {"n_params", "lr", "interval", "level", "kind", "regret", "regret_note", "weight_decay"}
    assert prediction <= set(answer["prediction"])
    assert len(answer["prediction"]["regret"]) == len(answer["prediction"]["interval"]) == 2


def test_fit_runs_regret_is_the_parabola_at_the_ends_of_the_interval() -> None:
    prediction = fit_runs(runs(scatter=0.1), metric="loss", goal="min", target=1e9).prediction
    assert prediction is not None
    assert prediction.interval is not None
    expected = 0.01 * log(prediction.interval[1] / prediction.lr) ** 2
    assert prediction.regret == pytest.approx((expected, expected))
    assert (prediction.regret_note, prediction.regret_words) == ("", f"{expected:.2g} and {expected:.2g}")


def test_fit_runs_regret_is_none_where_no_such_rate_was_tried_at_the_nearest_size() -> None:
    noisy = runs(seeds=3, noise=0.001, scatter=0.1)
    for target, expected in ((30e9, [True, False]), (3e12, [True, True])):
        answer = fit_runs(noisy, metric="loss", goal="min", target=target)
        assert answer.prediction is not None
        assert answer.prediction.interval is not None
        assert [end < 1.39e-5 or answer.prediction.lr < 1.39e-5 for end in answer.prediction.interval] == expected
        assert [end is None for end in answer.prediction.regret or (None, None)] == expected
        said = json.loads(json.dumps(answer.to_json()))["prediction"]
        assert said["regret_note"] == "outside the rates tried at 1.2B, 1.39e-5 to 8.93e-4"
        assert (said["regret"] is None) == all(expected)
        assert "outside the rates tried" in answer.prediction.regret_words


def test_optimum_beside_an_open_end_of_its_grid_has_one_word_everywhere() -> None:
    flat = runs(seeds=1, noise=0.002, steps=2, scatter=0.6, seed=3)
    report = fit_runs(flat, metric="loss", goal="min")
    found = [optimum for optimum in report.optima if optimum.open_side]
    assert found
    for optimum in found:
        sides = {"lower": "lower side", "upper": "upper side", "both": "both sides"}[optimum.open_side]
        assert optimum.standing == f"interior, {sides} open"
        assert optimum.to_json()["open"] == optimum.open_side
        assert any(warning.startswith(f"{size_label(optimum.n_params)}: {optimum.standing}: the ") for warning in report.warnings)
    assert all(optimum.standing == optimum.status for optimum in report.optima if optimum not in found)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "log-linearity is assumed: 4 sizes"),
        ({"seed": 0}, "one seed a rate"),
        ({"tokens": lambda rows: 20 * rows["n_params"]}, "tokens changes with the size"),
    ],
)
def test_fit_runs_weak_point_is_a_warning(change: dict[str, object], expected: str) -> None:
    frame = runs(seeds=1 if "seed" in change else 2).assign(**change)  # type: ignore[arg-type]
    assert any(expected in warning for warning in fit_runs(frame, metric="loss", goal="min").warnings)


def test_fit_runs_unequal_seeds_are_a_warning() -> None:
    frame = runs(seeds=2).iloc[:-1]
    assert any("unequal seeds" in warning for warning in fit_runs(frame, metric="loss", goal="min").warnings)


def test_fit_runs_recorded_definitions_silence_the_warning_about_them() -> None:
    report = fit_runs(runs(), metric="loss", goal="min", definitions=DEFINITIONS)
    assert not any("not recorded" in warning for warning in report.warnings)


def test_compare_slopes_own_law_differs_by_nothing() -> None:
    fit = fit_points(points([0.1, -0.2, 0.15, -0.05]), definitions=DEFINITIONS).fit
    assert fit is not None
    none, comparison = compare_slopes(fit, published=[MM1])
    assert fit.se_slope is not None
    assert none.t == pytest.approx(fit.slope / fit.se_slope)
    assert comparison.t == pytest.approx((fit.slope + 0.4214) / fit.se_slope)
    assert comparison.p == pytest.approx(2 * stats.t.sf(abs(comparison.t or 0), 2))


def test_compare_slopes_without_scatter_has_no_p() -> None:
    fit = fit_points(points(), definitions=DEFINITIONS).fit
    assert fit is not None
    _, comparison = compare_slopes(fit, published=[MM1])
    assert comparison.p is None
    assert "exactly on a line" in comparison.note


def test_compare_slopes_needs_definitions_that_count_alike() -> None:
    scattered = points([0.1, -0.2, 0.15, -0.05])
    for definitions, said in ((None, "not recorded"), (replace(DEFINITIONS, counts="with_embeddings"), "N counts")):
        fit = fit_points(scattered, definitions=definitions).fit
        assert fit is not None
        none, comparison = compare_slopes(fit, published=[MM1])
        assert none.p is not None  # a slope of none means the same whatever N counts
        assert (comparison.difference, comparison.p) == (None, None)
        assert said in comparison.note


def cells(law: Callable[[float, float], float], *, scatter: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Optima at four sizes, each trained on three counts of tokens."""
    rng = np.random.default_rng(seed)
    counts = [(size, size * ratio) for size in SIZES for ratio in (5, 20, 80)]
    rows = [(size, tokens, exp(law(log(size), log(tokens)) + scatter * rng.normal())) for size, tokens in counts]
    return pd.DataFrame(rows, columns=["n_params", "tokens", "eta"]).assign(batch_tokens=1e6, se_ln=0.03)


def test_form_of_tokens_recovers_a_planted_law_and_predicts_by_it() -> None:
    fit = fit_points(cells(lambda n, d: -0.7 * n + 0.3 * d + 0.6), form="N+D").fit
    assert fit is not None
    assert fit.slopes == pytest.approx({"n_params": -0.7, "tokens": 0.3}, abs=1e-8)
    assert fit.intercept == pytest.approx(0.6, abs=1e-7)
    assert fit.lr(30e9, tokens=6e11) == pytest.approx(exp(-0.7 * log(30e9) + 0.3 * log(6e11) + 0.6), rel=1e-7)
    assert fit.predict(30e9, tokens=6e11).interval is not None  # the errors of the optima stay
    with pytest.raises(InputError, match=r"form N\+D needs --tokens"):
        fit.predict(30e9)


def test_form_of_compute_reads_six_n_d() -> None:
    fit = fit_points(cells(lambda n, d: -0.125 * (log(6) + n + d) - 1.0), form="C").fit
    assert fit is not None
    assert fit.slopes == pytest.approx({"compute": -0.125}, abs=1e-8)
    assert fit.lr(30e9, tokens=6e11) == pytest.approx(fit.lr(compute=6 * 30e9 * 6e11))


def test_forms_are_told_apart_by_aicc() -> None:
    found = {form.form: form for form in compare_forms(fit_points(cells(lambda n, d: -0.7 * n + 0.3 * d, scatter=0.1)).optima)}
    criteria = {name: form.aicc for name, form in found.items()}
    assert criteria["N+B"] is None
    assert "B is the same in all runs" in found["N+B"].note
    assert criteria["N+D"] < criteria["N"] - 4  # type: ignore[operator]
    assert criteria["N+D"] < criteria["C"] - 4  # type: ignore[operator]
    report = fit_points(cells(lambda n, d: -0.7 * n + 0.3 * d, scatter=0.1))
    assert any("the form N+D describes these optima better than N" in warning for warning in report.warnings)


def test_forms_of_optima_without_errors_have_the_criterion_of_least_squares() -> None:
    from statsmodels.regression.linear_model import OLS
    from statsmodels.tools import add_constant

    frame = cells(lambda n, d: -0.7 * n + 0.3 * d, scatter=0.1).drop(columns="se_ln")
    (n, nd, _, _) = compare_forms(fit_points(frame).optima)
    for form, columns, constants in ((n, ["n_params"], 3), (nd, ["n_params", "tokens"], 4)):
        oracle = OLS(np.log(frame["eta"]), add_constant(np.log(frame[columns]))).fit()
        assert form.log_likelihood == pytest.approx(oracle.llf, rel=1e-8)
        assert form.aicc == pytest.approx(-2 * oracle.llf + 2 * constants + 2 * constants * (constants + 1) / (12 - constants - 1))


def test_forms_of_optima_with_errors_have_the_largest_likelihood_over_the_scatter() -> None:
    frame = cells(lambda n, d: -0.5 * n, scatter=0.2).assign(se_ln=np.linspace(0.02, 0.3, 12))
    form = compare_forms(fit_points(frame).optima)[0]
    x, y = np.column_stack([np.log(frame["n_params"]), np.ones(12)]), np.log(frame["eta"].to_numpy())

    def at(tau: float) -> float:
        total = frame["se_ln"].to_numpy() ** 2 + tau**2
        beta = np.linalg.solve((x.T / total) @ x, (x.T / total) @ y)
        return float(stats.norm.logpdf(y, x @ beta, np.sqrt(total)).sum())

    assert form.log_likelihood == pytest.approx(max(at(tau) for tau in np.linspace(0, 1, 5001)), abs=1e-5)


@pytest.mark.parametrize(
    ("frame", "form", "message"),
    [
        (points([0.1, 0.0, 0.1, 0.0]).assign(tokens=[1e9, 3e9, 2e9, 8e9]), "N+D", "4 optima cannot judge 3 constants; it needs 5"),
        (points([0.1, 0.0, 0.1, 0.0]), "N+D", "needs the column tokens"),
        (points([0.1, 0.0, 0.1, 0.0]), "N+X", r"unknown 'N\+X' \(N, N\+D, N\+B, C\)"),
    ],
)
def test_form_that_the_optima_cannot_tell_is_refused(frame: pd.DataFrame, form: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_points(frame, form=form)


def test_tokens_that_go_with_the_size_are_told_apart_by_no_form() -> None:
    sizes = list(np.geomspace(9e6, 1.2e9, 6))
    frame = points([0.1, 0.0, 0.1, 0.0, 0.05, 0.0], sizes=sizes).assign(tokens=[20 * size for size in sizes])
    with pytest.raises(InputError, match="D goes with N in these runs"):
        fit_points(frame, form="N+D")


def test_runs_of_one_size_at_two_horizons_have_an_optimum_each() -> None:
    """The same rates and seeds, trained four times as long, best at half the rate."""
    short, long = runs().assign(tokens=1e9), runs().assign(tokens=4e9)
    report = fit_runs(pd.concat([short, long.assign(lr=long["lr"] / 2)]), metric="loss", goal="min", form="N+D", at={"tokens": 4e9})
    assert len(report.optima) == 8
    assert report.fit is not None
    assert report.fit.slopes == pytest.approx({"n_params": -0.4214, "tokens": -0.5}, abs=1e-7)
    assert report.prediction is not None
    assert report.prediction.lr == pytest.approx(MM1.lr(30e9) / 2, rel=1e-6)


def test_runs_that_end_a_batch_apart_are_one_cell() -> None:
    frame = runs(seeds=1)
    frame["tokens"] = 1e9 * (1 + 1e-4 * np.arange(len(frame)))
    assert len(fit_runs(frame, metric="loss", goal="min").optima) == len(SIZES)


def test_diverged_run_that_did_not_report_its_tokens_has_those_of_its_size() -> None:
    frame = runs().assign(tokens=1e9)
    highest = frame["lr"] == frame.groupby("n_params")["lr"].transform("max")
    frame.loc[highest, ["loss", "tokens"]] = np.nan
    report = fit_runs(frame, metric="loss", goal="min")
    assert [(optimum.tokens, optimum.n_diverged) for optimum in report.optima] == [(1e9, 2)] * len(SIZES)
    several = pd.concat([frame, runs().assign(tokens=4e9)])  # which of the two is not known
    with pytest.raises(InputError, match="column tokens: nan is not a positive, finite number"):
        fit_runs(several, metric="loss", goal="min")
    with pytest.raises(InputError, match="column tokens: nan is not a positive, finite number"):
        fit_runs(runs().assign(tokens=lambda rows: np.where(rows["seed"] == 0, np.nan, 1e9)), metric="loss", goal="min")


def test_sizes_counted_in_several_ways_are_refused() -> None:
    frame = runs()
    frame["n_counts"] = np.where(frame["n_params"] < 1e8, "non_embedding", "with_embeddings")
    with pytest.raises(InputError, match="sizes counted in several ways"):
        fit_runs(frame, metric="loss", goal="min")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (points(sizes=[9e6]), "1 sizes; a law needs at least two"),
        (points().rename(columns={"eta": "etas"}), "no column 'eta'"),
        (points().assign(eta=-1.0), "eta: -1.0 is not a positive"),
        (points().assign(n_params=np.inf), "n_params: inf is not a positive"),
        (points(sizes=[9e6, 9e6, 85e6]), "9M occurs twice"),
        (points().assign(se_ln=-0.1), "not a standard error"),
    ],
)
def test_fit_points_bad_frame_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_points(frame)


def test_fit_runs_one_size_is_refused() -> None:
    with pytest.raises(InputError, match="a law needs at least two"):
        fit_runs(runs().query("n_params == 9e6"), metric="loss", goal="min")


def test_fit_power_law_one_usable_optimum_is_refused() -> None:
    lone = Optimum(1e8, 1e-4, None, None, (None, None), (), None, "interior", 0, 0, 0)
    with pytest.raises(InputError, match="one optimum at each of two sizes"):
        fit_power_law([lone])


def test_fit_power_law_impossible_target_is_refused() -> None:
    fit = fit_points(points()).fit
    assert fit is not None
    with pytest.raises(InputError, match="n_params: 0 is not a positive"):
        fit.predict(0)


def test_fit_points_prior_is_printed_and_narrows_the_interval() -> None:
    frame = points([0.1, -0.1, 0.12, -0.05]).assign(se_ln=0.05)
    plain, believed = fit_points(frame), fit_points(frame, tau_prior=0.15)
    assert believed.to_json()["law"]["prior"] == "half-normal on tau, scale 0.15"
    assert plain.prediction is not None
    assert believed.prediction is not None
    assert plain.prediction.interval is not None
    assert believed.prediction.interval is not None
    assert plain.prediction.interval[0] < believed.prediction.interval[0] < believed.prediction.interval[1] < plain.prediction.interval[1]
    assert any("prior" in warning for warning in believed.warnings)


def test_fit_points_prior_without_errors_is_refused() -> None:
    with pytest.raises(InputError, match="tau_prior: a prior on the scatter between sizes needs the error of each optimum"):
        fit_points(points([0.1, -0.1, 0.1, 0.0]), tau_prior=0.15)


def test_fit_runs_largest_size_left_out_is_predicted_from_the_rest() -> None:
    frame = runs(seeds=3, noise=0.001, scatter=0.1)
    report = fit_runs(frame, metric="loss", goal="min")
    smaller = fit_runs(frame[frame["n_params"] < 1e9], metric="loss", goal="min", target=1.2e9)
    left = report.leave_largest_out
    assert left is not None
    assert smaller.fit is not None
    assert left.n_params == 1.2e9
    assert left.predicted == pytest.approx(smaller.fit.lr(1.2e9), rel=0.02)  # the shape of the curve is then shared by three
    assert left.found == report.optima[-1].lr
    assert left.ln_error == pytest.approx(log(left.found / left.predicted))
    assert left.interval is not None
    assert report.to_json()["leave_largest_out"]["ln_error"] == left.ln_error


def test_fit_points_two_sizes_leave_nothing_to_predict_the_larger_from() -> None:
    assert fit_points(points(sizes=[9e6, 1.2e9])).leave_largest_out is None
    assert fit_points(points([0.1, -0.1, 0.1], sizes=SIZES[:3])).leave_largest_out is not None


def noisy() -> pd.DataFrame:
    """Four sizes of five rates and two seeds; the rate at place 1 of the smallest is the row to spoil."""
    frame = runs(steps=2, noise=0.001)
    return frame.reset_index(drop=True)


def test_fit_runs_far_out_value_is_named_and_its_size_is_not_said_to_end_at_its_best_rate() -> None:
    frame = noisy()
    assert not any(
        "far from" in warning or "left out of the fit" in warning for warning in fit_runs(frame, metric="loss", goal="min").warnings
    )
    frame.loc[3, "loss"] = 2.5
    report = fit_runs(frame, metric="loss", goal="min")
    assert report.optima[0].status == "nonconvex"
    assert None not in report.optima[0].bound
    said = " ".join(report.warnings)
    assert "the highest rate" not in said
    assert f"does not fit the rates around its best, {rate_label(report.optima[0].grid_best or 0)}, left out" in said
    assert "seed 1: 2.5 (the others of its size: " in said
    assert f"far from all other runs: 9M at rate {rate_label(float(frame['lr'][3]))}, seed 1" in said


@pytest.mark.parametrize("value", [1e3, 5.2e21, 1e50, 1e100, 1e149, 1e155, 1e300])
@pytest.mark.parametrize("row", [3, 14])
def test_fit_runs_one_huge_value_crashes_nothing(value: float, row: int) -> None:
    frame = noisy()
    frame.loc[row, "loss"] = value
    report = fit_runs(frame, metric="loss", goal="min")
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["optima"]
    assert sum(optimum.n_diverged for optimum in report.optima) == (value > 1e150)
    if report.prediction is None or report.prediction.interval is None:
        assert any(warning.startswith(("no interval: ", "no law: ")) for warning in report.warnings)
    assert any("far from" in warning for warning in report.warnings) == (value < 1e150)


def test_law_whose_rate_is_no_number_is_no_law() -> None:
    points = pd.DataFrame({"n_params": [1.0e7, 1.01e7, 1.02e7], "eta": [1e-300, 1e-3, 1e300]})
    report = fit_points(points)
    assert (report.fit, report.prediction) == (None, None)
    assert "which is no number" in report.warnings[0]
