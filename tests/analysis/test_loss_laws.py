from collections.abc import Callable
from dataclasses import replace
from math import log

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from ablate.analysis.loss_fit import CONSTANTS
from ablate.analysis.loss_laws import LEAST_RESAMPLES, LossLaw, fit_loss_law, spread_of, without_a
from ablate.errors import InputError

EPOCH = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
"""The refit of arXiv 2404.10102."""


def runs(rows: int = 60, *, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Sizes 50M to 10B, 1 to 300 tokens a parameter; noise is relative."""
    rng = np.random.default_rng(seed)
    n = np.exp(rng.uniform(log(5e7), log(1e10), rows))
    d = n * np.exp(rng.uniform(log(1), log(300), rows))
    return pd.DataFrame({"n_params": n, "tokens": d, "loss": truth(n, d) * np.exp(noise * rng.normal(size=rows))})


def truth(n: "np.ndarray[tuple[int], np.dtype[np.float64]]", d: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> "pd.Series[float]":
    return EPOCH["E"] + EPOCH["A"] / n ** EPOCH["alpha"] + EPOCH["B"] / d ** EPOCH["beta"]  # type: ignore[return-value]


def huber_of(law: LossLaw, frame: pd.DataFrame) -> float:
    """Written from the definition, unlike the module's."""
    total = 0.0
    for row in frame.itertuples():
        off = abs(log(law.loss(row.n_params, row.tokens)) - log(row.loss))  # type: ignore[arg-type]
        total += off**2 / 2 if off <= 1e-3 else 1e-3 * (off - 1e-3 / 2)
    return total


@pytest.mark.parametrize("rows", [6, 12, 60, 245])
def test_fit_loss_law_values_of_a_law_recover_every_constant_to_eight_digits(rows: int) -> None:
    law = fit_loss_law(runs(rows))
    assert {name: getattr(law, name) for name in CONSTANTS} == pytest.approx(EPOCH, rel=1e-8)  # measured: 1e-13


@pytest.mark.slow
def test_fit_loss_law_other_laws_and_a_grid_recover_too() -> None:
    rng = np.random.default_rng(5)
    for _ in range(8):
        e, alpha, beta = rng.uniform(0.5, 3), rng.uniform(0.2, 0.7), rng.uniform(0.2, 0.7)
        a, b = 1e8**alpha * rng.uniform(0.1, 1), 1e10**beta * rng.uniform(0.1, 1)
        n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(3e7, 3e9, 5), np.geomspace(1e9, 1e11, 5)))
        law = fit_loss_law(pd.DataFrame({"n_params": n, "tokens": d, "loss": e + a / n**alpha + b / d**beta}))
        assert (law.E, law.A, law.B, law.alpha, law.beta) == pytest.approx((e, a, b, alpha, beta), rel=1e-8)


@pytest.mark.parametrize("noise", [0.0005, 0.003, 0.03])
def test_fit_loss_law_no_other_optimiser_gets_lower(noise: float) -> None:
    frame = runs(80, noise=noise, seed=1)
    law = fit_loss_law(frame)
    assert law.objective == pytest.approx(huber_of(law, frame), rel=1e-10)
    x, z, y = np.log(frame["n_params"].to_numpy()), np.log(frame["tokens"].to_numpy()), np.log(frame["loss"].to_numpy())

    def objective(theta: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
        e, a, b, alpha, beta = theta
        off = np.abs(np.log(np.exp(e) + np.exp(a - alpha * x) + np.exp(b - beta * z)) - y) / 1e-3
        return float(np.where(off <= 1, off**2 / 2, off - 0.5).sum())

    start = np.array([log(EPOCH["E"]), log(EPOCH["A"]), log(EPOCH["B"]), EPOCH["alpha"], EPOCH["beta"]])
    oracle = minimize(objective, start, method="Nelder-Mead", options={"maxiter": 4000, "maxfev": 4000, "xatol": 1e-8, "fatol": 1e-8})
    assert law.objective / 1e-6 <= oracle.fun * (1 + 1e-9)


@pytest.mark.slow
def test_fit_loss_law_order_of_rows_and_names_of_columns_change_nothing() -> None:
    frame = runs(30, noise=0.01)
    law = fit_loss_law(frame, bootstrap=20)
    shuffled = frame.sample(frac=1, random_state=3).rename(columns={"n_params": "N", "tokens": "D", "loss": "L"})
    other = fit_loss_law(shuffled, metric="L", n_params="N", tokens="D", bootstrap=20)
    assert other.to_json() | {"metric": "loss"} == law.to_json()


def test_fit_loss_law_counts_as_integers_do_not_overflow() -> None:
    frame = runs(20).astype({"n_params": "int64", "tokens": "int64"})
    law = fit_loss_law(frame.assign(loss=truth(frame["n_params"].to_numpy(float), frame["tokens"].to_numpy(float))))
    assert law.beta == pytest.approx(EPOCH["beta"], rel=1e-8)
    assert law.loss(int(1e9), int(1e12)) == pytest.approx(law.loss(1e9, 1e12))


def test_optimal_is_the_lowest_loss_of_the_budget() -> None:
    law = fit_loss_law(runs())
    best = law.optimal(1e21)
    assert 6 * best.n_params * best.tokens == pytest.approx(1e21)
    sizes = np.geomspace(best.n_params / 10, best.n_params * 10, 2001)
    losses = [law.loss(size, 1e21 / 6 / size) for size in sizes]
    assert sizes[int(np.argmin(losses))] == pytest.approx(best.n_params, rel=3e-3)  # a step of the grid is 0.23 %
    assert law.optimal(1e23).n_params / best.n_params == pytest.approx(100**law.a)
    assert law.a == pytest.approx(0.3658 / (0.3478 + 0.3658))
    assert law.a + law.b == pytest.approx(1)
    assert law.optimal(1e21, flops_per_param_token=2.0).n_params == pytest.approx(law.optimal(3e21).n_params)


def test_notes_name_what_lies_outside_the_runs() -> None:
    frame = runs()
    law = fit_loss_law(frame)
    assert law.notes(1e9, 1e11) == ()
    (note,) = law.notes(frame["n_params"].max() * 100, 1e11)
    assert note.startswith("n_params ")
    assert "extrapolated by 2.0 decades outside" in note
    assert len(law.notes(1e15, 1e15)) == 2


@pytest.mark.slow
def test_fit_loss_law_bootstrap_spread_is_the_scatter_over_new_studies() -> None:
    fits = [fit_loss_law(runs(60, noise=0.01, seed=seed)) for seed in range(20)]
    law = fit_loss_law(runs(60, noise=0.01, seed=99), bootstrap=60)
    assert law.spread is not None
    for name in ("alpha", "beta", "a"):
        scatter = float(np.std([getattr(fit, name) for fit in fits], ddof=1))
        assert 0.5 < law.spread[name].se / scatter < 2  # each SD is known to about 16 %, and resamples of one study vary
        low, high = law.spread[name].interval
        assert low < getattr(law, name) < high
    assert set(law.spread) == {*CONSTANTS, "a"}
    assert fit_loss_law(runs()).spread is None


def test_fit_loss_law_few_rows_of_the_lowest_ratio_that_move_it_are_told() -> None:
    frame = runs(100)
    lowest = (frame["tokens"] / frame["n_params"]).nsmallest(5).index
    frame.loc[lowest, "tokens"] /= 30  # runs far from the others decide
    frame["loss"] = truth(frame["n_params"].to_numpy(), frame["tokens"].to_numpy())
    assert not any("not robust" in warning for warning in fit_loss_law(frame).warnings)
    frame.loc[lowest, "loss"] *= 1.5
    law = fit_loss_law(frame)
    assert law.robustness is not None
    assert law.robustness.rows_left_out == 5
    assert law.robustness.beta == pytest.approx(EPOCH["beta"], abs=0.01)
    assert any("without the 5 of 100 rows" in warning and "beta" in warning for warning in law.warnings)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda frame: frame.head(8), "8 rows for 5 constants"),
        (lambda frame: frame.assign(tokens=20 * frame["n_params"]), "D / N spans only a factor of 1"),
        (lambda frame: frame[frame["n_params"].between(4e8, 2e9)], "N spans only a factor of"),
        (lambda frame: frame.head(6), "robustness not shown"),
        (lambda frame: frame.assign(loss=1 + 1e3 / frame["n_params"] ** 0.3), "lies at its bound (0 to 4)"),
    ],
)
def test_fit_loss_law_weak_point_is_a_warning(change: Callable[[pd.DataFrame], pd.DataFrame], expected: str) -> None:
    assert any(expected in warning for warning in fit_loss_law(change(runs(60, noise=0.001))).warnings)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (runs(5), "5 rows: a law of 5 constants needs at least 6"),
        (runs().assign(n_params=1e9), "column n_params: 1 distinct value"),
        (runs().assign(tokens=1e9), "column tokens: 1 distinct value"),
        (runs().assign(loss=-0.5), r"column loss: -0.5 \(row 0\) is not a positive.*60 such rows.*logarithm"),
        (runs().assign(loss=np.nan), "column loss: nan .*drop diverged runs"),
        (runs().assign(tokens=np.inf), "column tokens: inf"),
        (runs().assign(n_params=0), "column n_params: 0.0"),
        (runs().assign(loss="low"), "column loss: 'low' is not a number"),
        (runs().rename(columns={"tokens": "token"}), "no column 'tokens'.*did you mean 'token'"),
    ],
)
def test_fit_loss_law_bad_frame_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_loss_law(frame)


def test_fit_loss_law_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputError, match=r"(?s)column n_params: -1.*column loss: inf.*5 rows"):
        fit_loss_law(runs(5).assign(n_params=[-1, 1e7, 2e7, 3e7, 4e7], loss=np.inf))


def test_fit_loss_law_bootstraps_that_say_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="bootstrap: 5 resamples"):
        fit_loss_law(runs(), bootstrap=5)
    with pytest.raises(InputError, match="bring at least 10 runs"):
        fit_loss_law(runs(7), bootstrap=100)
    with pytest.raises(InputError, match="delta: 0 is not a positive"):
        fit_loss_law(runs(), delta=0)


def test_optimal_of_a_law_without_one_is_refused() -> None:
    law = fit_loss_law(runs(60).assign(loss=lambda frame: 1 + 1e3 / frame["n_params"] ** 0.3))
    with pytest.raises(InputError, match="no optimum: beta came out as 0"):
        law.optimal(1e21)
    with pytest.raises(InputError, match="compute: -1 is not a positive"):
        fit_loss_law(runs()).optimal(-1)


def test_law_of_a_loss_that_rises_with_size_has_no_exponent_a_and_says_why() -> None:
    frame = runs(12).assign(loss=lambda frame: 1 + 1e-3 * frame["n_params"] ** 0.1 + 1e-3 * frame["tokens"] ** 0.1)
    law = fit_loss_law(frame)
    assert (law.a, law.b) == (None, None)
    assert law.robustness is not None
    assert law.robustness.a is None
    assert (law.to_json()["a"], law.to_json()["robustness"]["a"]) == (None, None)
    assert "no exponents a and b: alpha and beta are both 0" in " ".join(law.warnings)
    assert "no exponent a without the rows of the lowest D / N" in " ".join(law.warnings)
    budget = law.budget(1e21)
    assert (budget.n_params, budget.tokens, budget.loss, budget.n_interval) == (None, None, None, None)
    assert "no optimum: " in budget.notes[0]
    with pytest.raises(InputError, match="compute: -1 is not a positive"):
        law.budget(-1)


def test_law_whose_exponents_are_all_but_zero_has_no_optimum() -> None:
    law = replace(fit_loss_law(runs(12)), alpha=1e-3, beta=1e-3, A=1.0, B=1e3)
    with pytest.raises(InputError, match="it lies beyond all sizes"):
        law.optimal(1e21)
    assert law.budget(1e21).notes == ("no optimum: with alpha 0.001 and beta 0.001 it lies beyond all sizes",)


def test_resamples_without_an_exponent_a_are_left_out_of_its_spread_and_counted() -> None:
    fits = [{"E": 1.0, "A": 1.0, "B": 1.0, "alpha": 0.3, "beta": 0.1 + 0.01 * at} for at in range(LEAST_RESAMPLES)]
    none = {"E": 1.0, "A": 1.0, "B": 1.0, "alpha": 0.0, "beta": 0.0}
    found = spread_of([*fits, none, none])
    assert found["a"] == spread_of(fits)["a"]
    assert found["alpha"].interval[0] == 0
    assert without_a(fits[0], None, [*fits, none, none]) == [
        "in 2 of 22 resamples alpha and beta are both 0: the interval of a is that of the others"
    ]
    assert "a" not in spread_of([*fits[1:], none])
    assert "is not shown" in without_a(fits[0], None, [*fits[1:], none])[0]


def test_run_far_from_the_law_is_named() -> None:
    rows = [(n, k * n, 1.7 + 400 / n**0.34 + 410 / (k * n) ** 0.28) for n in (1e7, 1e8, 1e9) for k in (5, 20, 80, 320)]
    frame = pd.DataFrame(rows, columns=["n_params", "tokens", "loss"])
    assert not any("far from" in warning for warning in fit_loss_law(frame).warnings)
    frame.loc[5, "loss"] = 1e20
    (said,) = [warning for warning in fit_loss_law(frame).warnings if "far from" in warning]
    assert "100M parameters at 2B tokens: loss 1e+20 (the law: " in said
    frame.loc[5, "loss"] = 1e155
    with pytest.raises(InputError, match=r"1e\+155 \(row 5\) is not a positive, finite number"):
        fit_loss_law(frame)
