"""Ridge: a plane comes back, its penalty is that of refitting without each row, and interactions take nothing from main effects."""

import numpy as np
import pytest

from ablate.analysis.ridge import PENALTIES, Array, fit_ridge, tells_apart

RNG = np.random.default_rng(5)
CROSS = np.array([[0, 0], [1, 0], [0, 1], [0.5, 0], [0, 0.5]], dtype=float)
"""Two features, one changed at a time."""
GRID = np.array([[a, b] for a in (-1, 0, 1) for b in (-1, 0, 1)], dtype=float)


def product(rows: Array) -> Array:
    return rows[:, :1] * rows[:, 1:]


def brute_force(x: Array, y: Array, penalty: float) -> float:
    """Mean square error of each row, from a fit to all the others; the penalty is none of the intercept's."""
    errors = []
    for row in range(len(x)):
        keep = np.arange(len(x)) != row
        augmented = np.vstack(
            [np.hstack([np.ones((keep.sum(), 1)), x[keep]]), np.hstack([np.zeros((x.shape[1], 1)), np.sqrt(penalty) * np.eye(x.shape[1])])]
        )
        found = np.linalg.lstsq(augmented, np.concatenate([y[keep], np.zeros(x.shape[1])]), rcond=None)[0]
        errors.append(y[row] - found[0] - x[row] @ found[1:])
    return float(np.mean(np.square(errors)))


def test_plane_without_noise_comes_back() -> None:
    y = np.stack([3 + 2 * GRID[:, 0] - GRID[:, 1] + 0.5 * GRID[:, 0] * GRID[:, 1], GRID[:, 1]], axis=1)
    found = fit_ridge(GRID, product(GRID), y, groups=["a", "b"])
    assert found.intercept == pytest.approx([3, 0], abs=1e-6)
    assert found.coefficients[:, 0] == pytest.approx([2, -1, 0.5], abs=1e-6)
    assert found.coefficients[:, 1] == pytest.approx([0, 1, 0], abs=1e-6)


def test_penalty_is_the_one_whose_rows_left_out_are_predicted_best() -> None:
    x = RNG.normal(size=(14, 6))
    y = x[:, 0] + RNG.normal(size=14)
    largest = np.linalg.svd(x - x.mean(axis=0))[1][0] ** 2
    errors = [brute_force(x, y, penalty) for penalty in largest * PENALTIES]
    best = largest * PENALTIES[int(np.argmin(errors))]
    centred, mean = x - x.mean(axis=0), y.mean()
    expected = np.linalg.solve(centred.T @ centred + best * np.eye(6), centred.T @ (y - mean))
    assert 0 < int(np.argmin(errors)) < len(PENALTIES) - 1
    found = fit_ridge(x, np.zeros((14, 0)), y[:, None], groups=["y"])
    assert found.coefficients[:, 0] == pytest.approx(expected, rel=1e-6)


def test_interaction_that_rows_do_not_tell_leaves_the_main_effects_whole() -> None:
    assert not tells_apart(CROSS[:, :1], CROSS[:, 1:], product(CROSS))
    assert tells_apart(GRID[:, :1], GRID[:, 1:], product(GRID))
    y = (CROSS[:, 0] + 2 * CROSS[:, 1])[:, None]
    found = fit_ridge(CROSS, product(CROSS), y, groups=["y"])
    assert found.predict(np.array([[1.0, 1.0]]), np.array([[1.0]]))[0, 0] == pytest.approx(3, abs=1e-6)


def test_outputs_of_one_group_share_a_penalty_and_a_constant_one_stays_constant() -> None:
    y = np.stack([GRID[:, 0], np.full(9, 7.0)], axis=1)
    found = fit_ridge(GRID, product(GRID), y, groups=["a", "a"])
    assert found.freedom[0] == found.freedom[1]
    assert found.predict(GRID, product(GRID))[:, 1] == pytest.approx(7.0)


def test_one_row_and_no_features_are_a_constant() -> None:
    found = fit_ridge(np.zeros((1, 0)), np.zeros((1, 0)), np.array([[4.0]]), groups=["y"])
    assert found.predict(np.zeros((2, 0)), np.zeros((2, 0)))[:, 0] == pytest.approx([4, 4])
