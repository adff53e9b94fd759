"""A line (or plane) through a few optima, each with its own error, that scatter around it by more than those errors: random effects.

The scatter between sizes is Paule and Mandel's (1982): what makes the weighted residuals as large as they should be. The interval is
Hartung and Knapp's with Student's t, never narrower than the errors alone would have it. A prior on the scatter is used only if it is
asked for: then the answer is a mixture over it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, pi, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import brentq, minimize_scalar

Array = np.ndarray[Any, np.dtype[np.float64]]
Pair = tuple[float, float]
Covariance = tuple[tuple[float, ...], ...]
Point = float | Sequence[float]
"""The regressors of one point; a number where there is one alone."""
Kind = Literal["mean", "prediction"]

GRID = 400
"""Values of the scatter in the mixture, up to six times the prior's scale."""


class Line(NamedTuple):
    """y = slopes . x + intercept under one scatter."""

    slopes: tuple[float, ...]
    intercept: float
    cov: Covariance
    """Of the slopes, then the intercept."""
    scatter: float
    """SD of a new point's truth around the line."""
    weight: float = 1.0
    """Of this line among several."""

    def inflated(self, factor: float) -> "Line":
        """With its covariance so many times as large."""
        return self._replace(cov=tuple(tuple(factor * entry for entry in row) for row in self.cov))

    def at(self, x: Point) -> float:
        return float(np.append(x, 1.0) @ np.append(self.slopes, self.intercept))

    def sd(self, x: Point, *, kind: Kind) -> float:
        place = np.append(x, 1.0)
        return sqrt(float(place @ np.array(self.cov) @ place) + (self.scatter**2 if kind == "prediction" else 0.0))


@dataclass(frozen=True)
class LineFit:
    """One line, or with a prior many, each as likely as its scatter."""

    lines: tuple[Line, ...]
    df: int
    residual_sd: float
    """Of the points around the line, weighted as they were."""

    @property
    def slopes(self) -> tuple[float, ...]:
        return tuple(sum(line.weight * line.slopes[place] for line in self.lines) for place in range(len(self.lines[0].slopes)))

    @property
    def intercept(self) -> float:
        return sum(line.weight * line.intercept for line in self.lines)

    @property
    def scatter(self) -> float:
        return sum(line.weight * line.scatter for line in self.lines)

    @property
    def cov(self) -> Covariance:
        """Of the slopes, then the intercept: within the lines, and between them."""
        centres = np.array([(*line.slopes, line.intercept) for line in self.lines])
        weights = np.array([line.weight for line in self.lines])
        around = centres - weights @ centres
        total = np.einsum("k,kij->ij", weights, np.array([line.cov for line in self.lines])) + (around.T * weights) @ around
        return _listed(total)

    def interval(self, x: Point, *, level: float, kind: Kind) -> Pair:
        if len(self.lines) == 1:
            (line,) = self.lines
            half = float(stats.t.ppf((1 + level) / 2, self.df)) * line.sd(x, kind=kind)
            return line.at(x) - half, line.at(x) + half
        weights = np.array([line.weight for line in self.lines])
        means = np.array([line.at(x) for line in self.lines])
        sds = np.array([line.sd(x, kind=kind) for line in self.lines])
        low, high = float(np.min(means - 40 * sds)), float(np.max(means + 40 * sds))
        lower, upper = (
            float(brentq(lambda y, tail=tail: float(weights @ stats.norm.cdf((y - means) / sds)) - tail, low, high, xtol=1e-12))
            for tail in ((1 - level) / 2, (1 + level) / 2)
        )
        return lower, upper


def fit_line(x: Sequence[Point], y: Sequence[float], *, errors: Sequence[float] | None, tau_prior: float | None = None) -> LineFit:
    """`errors`: standard errors of `y`; without them all scatter is taken to be that of new points (ordinary least squares).

    `tau_prior`: scale of a half-normal prior on the scatter, in the unit of `y`. More points than slopes and an intercept.
    """
    xs, ys = _table(x), np.asarray(y, dtype=float)
    df = len(xs) - xs.shape[1] - 1
    assert df > 0
    if errors is None:
        assert tau_prior is None
        return _least_squares(xs, ys, df=df)
    variances = np.asarray(errors, dtype=float) ** 2
    if tau_prior is not None:
        return _mixture(xs, ys, variances, scale=tau_prior, df=df)
    scatter = _paule_mandel(xs, ys, variances, df=df)
    line, spread = _weighted(xs, ys, variances + scatter**2, scatter=scatter)
    return LineFit((line.inflated(max(1.0, spread / df)),), df, _around(xs, ys, line, 1 / (variances + scatter**2)))


def log_likelihood(x: Sequence[Point], y: Sequence[float], *, errors: Sequence[float] | None) -> float:
    """The largest that a line and a scatter can reach, for comparing lines in other regressors; points as in `fit_line`."""
    xs, ys = _table(x), np.asarray(y, dtype=float)
    if errors is None:
        squares = _weighted(xs, ys, np.ones_like(ys), scatter=0.0)[1]
        variance = max(squares / len(ys), np.finfo(float).tiny)
        return -0.5 * len(ys) * (log(2 * pi * variance) + 1)
    variances = np.asarray(errors, dtype=float) ** 2

    def unlikely(ln_scatter: float) -> float:
        total = variances + exp(2 * ln_scatter)
        return 0.5 * float(np.log(2 * pi * total).sum() + _weighted(xs, ys, total, scatter=0.0)[1])

    widest = log(float(np.ptp(ys)) + float(np.sqrt(variances.max())) + 1e-12)
    tried = [unlikely(widest - step) for step in np.linspace(0, 20, 81)]
    near = widest - 20 * int(np.argmin(tried)) / 80
    return -min(float(minimize_scalar(unlikely, bounds=(near - 0.5, near + 0.5), method="bounded").fun), *tried)


def _table(x: Sequence[Point]) -> Array:
    """One row a point."""
    return np.asarray(x, dtype=float).reshape(len(x), -1)


def _listed(matrix: Array) -> Covariance:
    return tuple(tuple(map(float, row)) for row in matrix)


def _least_squares(x: Array, y: Array, *, df: int) -> LineFit:
    line, squares = _weighted(x, y, np.ones_like(y), scatter=0.0)
    variance = squares / df
    return LineFit((line.inflated(variance)._replace(scatter=sqrt(variance)),), df, sqrt(variance))


def _weighted(x: Array, y: Array, variances: Array, *, scatter: float) -> tuple[Line, float]:
    """The line of least weighted squares, and those squares."""
    weights = 1 / variances
    middle = weights @ x / weights.sum()
    around = x - middle
    spread = np.linalg.inv((around.T * weights) @ around)
    slopes = spread @ (around.T @ (weights * y))
    height = float(weights @ y / weights.sum())
    shared = -spread @ middle
    cov = np.block([[spread, shared[:, None]], [shared[None, :], np.array([[1 / weights.sum() + middle @ spread @ middle]])]])
    line = Line(tuple(map(float, slopes)), height - float(slopes @ middle), _listed(cov), scatter)
    return line, float(weights @ (y - height - around @ slopes) ** 2)


def _paule_mandel(x: Array, y: Array, variances: Array, *, df: int) -> float:
    """SD between points beyond their errors; 0 where the errors alone explain the residuals."""

    def excess(scatter: float) -> float:
        return _weighted(x, y, variances + scatter**2, scatter=scatter)[1] - df

    tiny = 1e-12 + 1e-9 * float(np.ptp(y))
    if np.all(variances + tiny**2 <= 0) or excess(tiny) <= 0:
        return 0.0
    high = float(np.ptp(y)) + 1.0
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, tiny, high, xtol=1e-14))


def _mixture(x: Array, y: Array, variances: Array, *, scale: float, df: int) -> LineFit:
    """Flat prior on the line, half-normal on the scatter: the lines of a grid of scatters, weighted by their likelihood."""
    scatters = scale * 6 * (np.arange(GRID) + 0.5) / GRID
    lines, logs = [], []
    for scatter in scatters:
        line, squares = _weighted(x, y, variances + scatter**2, scatter=float(scatter))
        flat = 0.5 * float(np.linalg.slogdet(np.array(line.cov))[1])
        likelihood = -0.5 * float(np.log(variances + scatter**2).sum()) + flat - squares / 2
        lines.append(line)
        logs.append(likelihood - (scatter / scale) ** 2 / 2)
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    kept = tuple(line._replace(weight=float(weight)) for line, weight in zip(lines, weights, strict=True))
    best = max(kept, key=lambda line: line.weight)
    return LineFit(kept, df, _around(x, y, best, 1 / (variances + best.scatter**2)))


def _around(x: Array, y: Array, line: Line, weights: Array) -> float:
    squares = (y - x @ np.array(line.slopes) - line.intercept) ** 2
    return sqrt(float(weights @ squares / weights.sum()) * len(x) / (len(x) - x.shape[1] - 1))
