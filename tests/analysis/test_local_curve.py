from math import exp, log

import numpy as np
import pytest
from scipy.optimize import check_grad

from ablate.analysis.local_curve import Window, _Data, fit_shared_curve
from ablate.analysis.random_effects import fit_line

RATES = np.log(1e-3) + log(2) * np.arange(-2, 3)


def bowl(d: np.ndarray, *, skew: float) -> np.ndarray:
    return 2 / skew**2 * (np.exp(skew * d) - 1 - skew * d) if skew else d**2


def window(size: float, *, best: float, curvature: float, skew: float, seeds: int = 2, noise: float = 0.0, seed: int = 0) -> Window:
    rng = np.random.default_rng(seed)
    ln_lr = np.tile(RATES, seeds)
    of = np.repeat(np.arange(seeds), len(RATES)).astype(float)
    loss = 3 + 0.2 * of + curvature * bowl(ln_lr - best, skew=skew) + noise * rng.normal(size=len(ln_lr))
    return Window(size, ln_lr, of, loss)


def planted(*, skew: float, seeds: int = 2, noise: float = 0.0, seed: int = 0) -> list[Window]:
    return [
        window(size, best=best, curvature=0.01 * (size / 1e7) ** 0.15, skew=skew, seeds=seeds, noise=noise, seed=seed + index)
        for index, (size, best) in enumerate(zip((1e7, 1e8, 3e8, 1e9), (-6.5, -6.9, -7.1, -7.4), strict=True))
    ]


@pytest.mark.parametrize("skew", [0.0, 0.3, 0.9, -0.5])
def test_shared_curve_recovers_planted_optima_curvatures_and_heights(skew: float) -> None:
    found = fit_shared_curve(planted(skew=skew), starts=[-6.7, -6.7, -7.0, -7.2], curvature=0.02)
    assert found
    assert [vertex.ln_lr for vertex in found.vertices] == pytest.approx([-6.5, -6.9, -7.1, -7.4], abs=1e-8)
    assert [vertex.curvature for vertex in found.vertices] == pytest.approx(
        [0.01 * (size / 1e7) ** 0.15 for size in (1e7, 1e8, 3e8, 1e9)], rel=1e-7
    )
    assert [vertex.loss for vertex in found.vertices] == pytest.approx([3.1] * 4, abs=1e-9)  # seeds 0 and 1 lie 0.2 apart
    assert [vertex.se_ln for vertex in found.vertices] == pytest.approx([0.0] * 4, abs=1e-7)


def test_shared_curve_tells_its_errors_as_they_are() -> None:
    errors, claimed = [], []
    for repeat in range(60):
        found = fit_shared_curve(planted(skew=0.9, noise=0.003, seed=10 * repeat), starts=[-6.5, -6.9, -7.1, -7.4], curvature=0.01)
        assert found
        errors += [vertex.ln_lr - best for vertex, best in zip(found.vertices, (-6.5, -6.9, -7.1, -7.4), strict=True)]
        claimed += [vertex.se_ln for vertex in found.vertices]
    assert np.std(errors) == pytest.approx(float(np.sqrt(np.mean(np.square(claimed)))), rel=0.2)  # 240 draws, correlated in fours


def test_shared_curve_of_one_seed_has_errors_too() -> None:
    found = fit_shared_curve(planted(skew=0.5, seeds=1, noise=0.001), starts=[-6.5, -6.9, -7.1, -7.4], curvature=0.01)
    assert found
    assert all(vertex.se_ln and vertex.se_ln > 0 for vertex in found.vertices)


def test_shared_curve_with_three_rates_a_size_is_none() -> None:
    few = [Window(one.n_params, one.ln_lr[1:4], one.seed[1:4], one.loss[1:4]) for one in planted(skew=0.0, seeds=1)]
    assert fit_shared_curve(few, starts=[-6.5, -6.9, -7.1, -7.4], curvature=0.01) is None
    assert fit_shared_curve(planted(skew=0.0)[:1], starts=[-6.5], curvature=0.01) is None


@pytest.mark.parametrize("k", [1e-6, 0.3, -2.0])
def test_shared_curve_slopes_are_the_derivatives_of_its_residuals(k: float) -> None:
    data = _Data.of(planted(skew=0.9, noise=0.01))
    theta = np.array([-6.4, -6.8, -7.2, -7.5, -0.3, k, 0.2])
    weights = np.random.default_rng(0).normal(size=len(data.loss))
    wrong = check_grad(lambda at: float(weights @ data.residuals(at, 0.01)), lambda at: weights @ data.jacobian(at), theta)
    assert wrong < 1e-4 * float(np.abs(weights @ data.jacobian(theta)).max())


X = np.log([9e6, 85e6, 302e6, 1.2e9])


def test_line_with_equal_errors_and_wide_scatter_is_least_squares() -> None:
    y = -0.42 * X + [0.3, -0.4, 0.35, -0.2]
    plain, random = fit_line(X, y, errors=None), fit_line(X, y, errors=[0.05] * 4)
    assert (random.slopes[0], random.intercept) == pytest.approx((plain.slopes[0], plain.intercept), rel=1e-9)
    assert random.scatter == pytest.approx(np.sqrt(plain.scatter**2 - 0.05**2), rel=1e-9)
    assert np.array(random.cov) == pytest.approx(np.array(plain.cov), rel=1e-8)
    low, high = random.interval(24.0, level=0.95, kind="prediction")
    wide = plain.interval(24.0, level=0.95, kind="prediction")
    assert wide[0] < low < high < wide[1]  # a new size's own optimum has no error of measurement


def test_line_with_large_errors_leaves_no_scatter_and_is_as_wide_as_the_errors_have_it() -> None:
    from statsmodels.regression.linear_model import WLS
    from statsmodels.tools import add_constant

    errors = np.array([0.5, 0.3, 0.6, 0.4])
    y = -0.42 * X + [0.03, -0.04, 0.035, -0.02]
    found = fit_line(X, y, errors=errors)
    oracle = WLS(y, add_constant(X), weights=1 / errors**2).fit(cov_type="fixed scale")
    assert found.scatter == 0
    assert (found.intercept, found.slopes[0]) == pytest.approx(tuple(oracle.params), rel=1e-9)
    assert np.array(found.cov)[::-1, ::-1] == pytest.approx(oracle.cov_params(), rel=1e-8)


def test_paule_mandel_scatter_makes_the_weighted_residuals_their_degrees_of_freedom() -> None:
    errors = np.array([0.05, 0.1, 0.2, 0.02])
    y = -0.42 * X + [0.3, -0.4, 0.35, -0.2]
    found = fit_line(X, y, errors=errors)
    weights = 1 / (errors**2 + found.scatter**2)
    assert float(weights @ (y - found.slopes[0] * X - found.intercept) ** 2) == pytest.approx(2.0, rel=1e-9)


def test_prior_of_a_larger_scale_gives_a_wider_interval_around_the_same_line() -> None:
    y = -0.42 * X + [0.05, -0.06, 0.04, -0.02]
    free = fit_line(X, y, errors=[0.05] * 4)
    widths = [
        np.subtract(*fit_line(X, y, errors=[0.05] * 4, tau_prior=scale).interval(24.0, level=0.95, kind="prediction"))
        for scale in (0.05, 0.15, 0.3)
    ]
    assert fit_line(X, y, errors=[0.05] * 4, tau_prior=0.15).slopes[0] == pytest.approx(free.slopes[0], rel=1e-6)
    assert 0 > widths[0] > widths[1] > widths[2]


def test_prior_agrees_with_the_mixture_summed_by_hand() -> None:
    """One observation each of a fine grid of scatters, drawn from instead of integrated."""
    rng = np.random.default_rng(0)
    y, errors = -0.42 * X + [0.1, -0.1, 0.12, -0.05], np.array([0.05, 0.08, 0.05, 0.06])
    taus = np.abs(rng.normal(0, 0.2, size=20_000))
    design = np.column_stack([X, np.ones(4)])
    variances = errors**2 + taus[:, None] ** 2
    precision = np.einsum("ki,ij,il->kjl", 1 / variances, design, design)
    cov = np.linalg.inv(precision)
    beta = np.einsum("kjl,kl->kj", cov, np.einsum("ki,ij,i->kj", 1 / variances, design, y))
    squares = np.sum((y - beta @ design.T) ** 2 / variances, axis=1)
    likelihood = np.exp(-squares / 2) * np.prod(variances, axis=1) ** -0.5 * np.linalg.det(cov) ** 0.5
    drawn = rng.choice(len(taus), size=20_000, p=likelihood / likelihood.sum())
    at = np.array([24.0, 1.0])
    sd = np.sqrt(np.einsum("i,kij,j->k", at, cov[drawn], at) + taus[drawn] ** 2)
    expected = np.quantile(beta[drawn] @ at + sd * rng.normal(size=len(drawn)), [0.025, 0.975])
    found = fit_line(X, y, errors=errors, tau_prior=0.2).interval(24.0, level=0.95, kind="prediction")
    assert found == pytest.approx(tuple(expected), abs=0.03)
    assert exp(found[1] - found[0]) > 1
