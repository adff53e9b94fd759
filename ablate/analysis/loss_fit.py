"""The numbers behind a loss law, ln L = log-sum-exp of (ln E, ln A - alpha ln N, ln B - beta ln D): what `loss_laws` builds on.

theta is e, a, b, alpha, beta, with a and b at the centre of the data. Legend: the Huber loss is summed in units of delta^2.
"""

from math import ceil, exp
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

from ablate.analysis.columns import all_numbers, row_name
from ablate.analysis.effects import LARGEST
from ablate.analysis.laws import size_label
from ablate.analysis.trial_values import MADS, several
from ablate.errors import InputError

Floats = NDArray[np.float64]

CONSTANTS = ("E", "A", "B", "alpha", "beta")
LEFT_OUT = 0.05
"""Share of the rows, those with the fewest tokens per parameter, that the robustness check leaves out."""
MAX_EXPONENT = 4.0
"""Bound of alpha and beta; published ones lie between 0.2 and 0.8."""
NO_EXPONENT = 1e-6
"""An exponent up to here makes its term a constant, which E is already."""
VANISHED = 30.0
"""A term this far below the data in ln units, 1e-13 of them, is not there."""
SMALL = 1e-3
"""Typical residual of ln L that runs are taken to have at least when one is looked for that is far out."""
STARTS = 4
_minimize: Any = minimize  # the overloads of its stubs do not take these lambdas


class Runs(NamedTuple):
    """One entry a run. x and z are centred, or alpha and ln A would be all but the same direction to the optimiser."""

    n: Floats
    d: Floats
    y: Floats
    """ln L."""
    x: Floats
    """ln N minus its mean."""
    z: Floats
    """ln D minus its mean."""
    centre: tuple[float, float]
    """The two means."""


def read_runs(frame: pd.DataFrame, *, metric: str, n_params: str, tokens: str) -> Runs:
    """Refuses what no law of the loss can be fitted to, with every fault."""
    columns = all_numbers(frame, [n_params, tokens, metric])
    problems = []
    for name, values in columns.items():
        bad = values[~(values > 0) | ~(values <= LARGEST)]
        if len(bad):
            what = "; the law is fitted to its logarithm, so drop diverged runs first" if name == metric else ""
            problems.append(
                f"column {name}: {bad.iloc[0]} ({row_name(frame, bad.index[0])}) is not a positive, finite number, "
                f"{len(bad)} such rows{what}"
            )
    if len(frame) <= len(CONSTANTS):
        problems.append(f"{len(frame)} rows: a law of 5 constants needs at least 6 runs, better 20")
    for name in (n_params, tokens):
        if (distinct := columns[name].nunique()) < 2:
            problems.append(f"column {name}: {distinct} distinct value; the law's exponent needs at least 2, better 4")
    if problems:
        raise InputError("\n".join(problems))
    table = np.array([values.to_numpy(dtype=float) for values in columns.values()])
    return arranged(table[:, np.lexsort(table[::-1])])  # sorted: sums in another order would differ in their last digits


def arranged(table: Floats) -> Runs:
    """From [3, rows] of N, D, L."""
    n, d, loss = table
    x, z = np.log(n), np.log(d)
    return Runs(n, d, np.log(loss), x - x.mean(), z - z.mean(), (float(x.mean()), float(z.mean())))


def take(runs: Runs, rows: NDArray[np.intp]) -> Runs:
    """Some of the runs, centred as all are: one start serves every resample."""
    return Runs(runs.n[rows], runs.d[rows], runs.y[rows], runs.x[rows], runs.z[rows], runs.centre)


def fewest_tokens(runs: Runs) -> NDArray[np.intp]:
    """The rows with the lowest D / N, ties in the order of the sorted rows."""
    return np.argsort(runs.d / runs.n, kind="stable")[: ceil(LEFT_OUT * len(runs.y))]


def enough(runs: Runs, rows: NDArray[np.intp]) -> bool:
    """Whether these rows determine a law."""
    return len(np.unique(rows)) > len(CONSTANTS) and len(np.unique(runs.n[rows])) > 1 and len(np.unique(runs.d[rows])) > 1


def best_fit(runs: Runs, *, delta: float) -> Floats:
    """The best of a few descents: e, a, b, alpha, beta with a and b at the centre of the data."""
    found = [descend(start, runs, delta=delta) for start in _starts(runs, delta=delta)]
    return min(found, key=lambda theta: objective(theta, runs, delta)[0])


def _starts(runs: Runs, *, delta: float) -> list[Floats]:
    """The best of 24 x 24 pairs of exponents, for each of which E, A and B are a weighted linear regression."""
    exponents = np.geomspace(0.05, 2, 24)
    alpha, beta = (grid.ravel() for grid in np.meshgrid(exponents, exponents))
    loss = np.exp(runs.y)
    terms = [np.ones((len(alpha), len(loss))), np.exp(-np.outer(alpha, runs.x)), np.exp(-np.outer(beta, runs.z))]
    design = np.stack(terms, axis=2) / loss[:, None]  # relative residuals are those of ln L where they are small
    normal = design.transpose(0, 2, 1) @ design
    ridge = 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    solved = np.linalg.solve(normal + ridge, design.sum(axis=1)[..., None])[..., 0]
    floor = 1e-3 * float(loss.min())  # a term that came out negative starts small
    grid = np.column_stack([np.log(np.maximum(solved, floor)), alpha, beta])
    values = [objective(theta, runs, delta)[0] for theta in grid]
    return [grid[at] for at in np.argsort(values, kind="stable")[:STARTS]]


def descend(start: Floats, runs: Runs, *, delta: float) -> Floats:
    """L-BFGS-B to the valley, Newton's method in a trust region to its floor: the first alone leaves exact laws at 1e-6."""
    low, high = float(runs.y.min()) - VANISHED, float(runs.y.max()) + VANISHED
    bounds = [(low, high)] * 3 + [(0.0, MAX_EXPONENT)] * 2
    options = {"maxiter": 2000, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-8}
    theta = _minimize(objective, start, (runs, delta), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    options = {"gtol": 1e-9, "maxiter": 100}
    polished = _minimize(
        lambda at: objective(at, runs, delta)[0],
        theta,
        jac=lambda at: objective(at, runs, delta)[1],
        hess=lambda at: _hessian(at, runs, delta),
        method="trust-exact",
        options=options,
    ).x
    inside = all(bottom < value < top for value, (bottom, top) in zip(polished, bounds, strict=True))
    better = objective(polished, runs, delta)[0] <= objective(theta, runs, delta)[0]
    return np.asarray(polished if inside and better else theta, dtype=np.float64)


def misfit(theta: Floats, runs: Runs) -> tuple[Floats, Floats]:
    """Predicted minus observed ln L, and each term's share of the predicted loss, [3, rows]."""
    e, a, b, alpha, beta = theta
    terms = np.stack([np.full_like(runs.x, e), a - alpha * runs.x, b - beta * runs.z])
    top = terms.max(axis=0)
    shares = np.exp(terms - top)
    total = shares.sum(axis=0)
    return top + np.log(total) - runs.y, shares / total


def objective(theta: Floats, runs: Runs, delta: float) -> tuple[float, Floats]:
    """Sum of Huber losses in units of delta^2, and its gradient."""
    residuals, shares = misfit(theta, runs)
    clipped = np.clip(residuals / delta, -1, 1)
    return float(np.sum(clipped * (residuals / delta - clipped / 2))), _slopes(shares, runs) @ clipped / delta


def _slopes(shares: Floats, runs: Runs) -> Floats:
    """d ln L / d theta, [5, rows]."""
    return np.stack([shares[0], shares[1], shares[2], -runs.x * shares[1], -runs.z * shares[2]])


def _hessian(theta: Floats, runs: Runs, delta: float) -> Floats:
    """[5, 5]: of the Huber loss where it is square, and everywhere of the log-sum-exp, whose own is E[mm'] - E[m] E[m]'."""
    residuals, shares = misfit(theta, runs)
    slopes = _slopes(shares, runs)
    pull = np.clip(residuals / delta, -1, 1) / delta
    found = (slopes * ((np.abs(residuals) <= delta) / delta**2 - pull)) @ slopes.T
    found[0, 0] += shares[0] @ pull
    for term, exponent, at in ((1, 3, runs.x), (2, 4, runs.z)):
        weights = shares[term] * pull
        found[term, term] += weights.sum()
        found[exponent, exponent] += weights @ at**2
        found[term, exponent] -= weights @ at
        found[exponent, term] -= weights @ at
    return np.asarray(found, dtype=np.float64)


def constants(theta: Floats, runs: Runs) -> dict[str, float]:
    """A term at its lower bound is none: 0."""
    e, a, b, alpha, beta = map(float, theta)
    gone = float(runs.y.min()) - VANISHED + 1
    scales = {"E": (e, 0.0), "A": (a, alpha * runs.centre[0]), "B": (b, beta * runs.centre[1])}
    found = {name: exp(value + shift) if value > gone else 0.0 for name, (value, shift) in scales.items()}
    return found | {"alpha": alpha, "beta": beta}


def far_from(runs: Runs, residuals: Floats, *, metric: str) -> list[str]:
    """Runs that neither the law nor any other run is like: one that diverged and was not marked so moves its constants."""
    away = np.abs(residuals)
    far = away > MADS * max(float(np.median(away)), SMALL)
    told = [
        f"{size_label(float(n))} parameters at {size_label(float(d))} tokens: {metric} {exp(y):.4g} (the law: {exp(y + off):.4g})"
        for n, d, y, off in zip(runs.n[far], runs.d[far], runs.y[far], residuals[far], strict=True)
    ]
    said = "it moves the law's constants, and nothing was left out; if it diverged, give it the state diverged"
    return [f"far from the law and all other runs: {several(told, apart='; ')}; {said}"] if told else []
