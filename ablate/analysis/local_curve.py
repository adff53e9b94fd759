"""The metric around the best rate, for several sizes at once: each has its own optimum, and all share the curve's shape.

    y = m[size, seed] + c(N) g(ln lr - v[size]),   g(d) = 2 (exp(k d) - 1 - k d) / k²,   ln c(N) linear in ln N

Real curves are steeper above the optimum than below (`k > 0`) and nearly quadratic beside it: g(d) = d² + k d³ / 3 + ... A parabola of
each size alone puts the optimum too low, and three runs a side cannot tell a steep side from noise; all sizes together can. What a seed
shifts at all rates of a size is its `m` and moves no optimum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial, sqrt
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares

Array = np.ndarray[Any, np.dtype[np.float64]]

SPARE = 2
"""Contrasts between rates that must be left when the shape is fitted; with fewer it would be made of noise."""
OPEN = 0.1
"""What is known beforehand, as 1 / variance: an optimum lies within some 3 ln units, a curvature and an asymmetry likewise."""
LOOSEST = 700.0
"""ln units of an error that says nothing is known; of a larger one the factor would be no number."""
STEEPEST = 6.0
"""Bound of |k|: at a factor of two such a curve is eight times as steep on one side as on the other."""


class Window(NamedTuple):
    """The finite runs of one size near its best rate, one entry a run; `loss` is the metric turned so that small is good."""

    n_params: float
    ln_lr: Array
    seed: Array
    loss: Array


@dataclass(frozen=True)
class Vertex:
    """The optimum of one size on the shared curve."""

    ln_lr: float
    se_ln: float | None
    """None where no run is left to tell the noise by."""
    curvature: float
    """What ln lr wrong by d costs, nearly: curvature d²."""
    loss: float
    """Mean over the seeds."""


@dataclass(frozen=True)
class SharedCurve:
    vertices: tuple[Vertex, ...]
    """In the order of the windows."""
    asymmetry: float
    """k."""
    noise_sd: float | None
    """Of one run around the curve, beyond what its seed shifts at all rates."""

    def vertex_covariance(self, sizes: Sequence[float], runs: Sequence[tuple[int, float]]) -> Array | None:
        """Covariance of the ln lr of the optima had these runs (index of the size, ln lr) been made, all with one seed.

        None without noise to go by. An optimum that they leave open has a variance of nearly 1 / `OPEN`.
        """
        if self.noise_sd is None:
            return None
        ln_n = np.log(np.asarray(sizes, dtype=float))
        size = np.array([index for index, _ in runs], dtype=np.intp)
        ln_lr = np.array([rate for _, rate in runs])
        data = _Data(size, ln_n - ln_n.mean(), ln_lr, np.zeros(len(runs)), size, len(sizes))
        slope, height = (
            np.polyfit(data.ln_n, np.log([vertex.curvature for vertex in self.vertices]), 1)
            if len(sizes) > 2
            else (
                0.0,
                float(np.mean(np.log([vertex.curvature for vertex in self.vertices]))),
            )
        )
        theta = np.array([*(vertex.ln_lr for vertex in self.vertices), height, self.asymmetry, *([slope] if len(sizes) > 2 else [])])
        jacobian = data.jacobian(theta)
        information = jacobian.T @ jacobian / self.noise_sd**2
        return _array(np.linalg.inv(information + OPEN * np.eye(len(theta)))[: len(sizes), : len(sizes)])


def fit_shared_curve(windows: Sequence[Window], *, starts: Sequence[float], curvature: float) -> SharedCurve | None:
    """The optima of the sizes and the curve they share; None where there are too few rates for a shape, or none is found.

    `starts`: where to look for each size's ln lr; `curvature`: in loss a squared ln unit, as a start.
    """
    sizes = len(windows)
    grows = sizes > 2  # the curvature with N: two sizes would each have their own
    free = sizes + 2 + grows
    contrasts = sum(len(np.unique(window.ln_lr)) - 1 for window in windows)
    if sizes < 2 or contrasts < free + SPARE:
        return None
    data = _Data.of(windows)
    scale = max(curvature, 1e-300)  # losses in units of the curvature, so that one tolerance fits all
    start = np.array([*starts, 0.0, 0.1, *([0.0] if grows else [])])
    bounds = np.full(len(start), np.inf)
    bounds[sizes + 1] = STEEPEST
    with np.errstate(all="ignore"):  # its steps go through cubes, which huge losses overflow; what comes out is looked at
        found = least_squares(
            data.residuals,
            start,
            args=(scale,),
            jac=data.jacobian,
            bounds=(-bounds, bounds),
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
            max_nfev=400,
            x_scale="jac",
        )
    if not np.isfinite(found.x).all() or abs(found.x[sizes + 1]) > 0.99 * STEEPEST:
        return None
    df = len(data.loss) - data.blocks - free
    errors: Sequence[float | None] = [None] * sizes
    if df > 0:
        jacobian = data.jacobian(found.x)
        cov = np.linalg.pinv(jacobian.T @ jacobian) * (2 * found.cost / df)
        errors = [min(sqrt(max(float(cov[index, index]), 0.0)), LOOSEST) for index in range(sizes)]
    curvatures, curve = data.curvatures(found.x), scale * data.curve(found.x)
    vertices = tuple(
        Vertex(
            ln_lr=float(found.x[index]),
            se_ln=errors[index],
            curvature=scale * float(curvatures[index]),
            loss=float(np.mean((data.loss - curve)[data.size == index])),
        )
        for index in range(sizes)
    )
    noise = scale * sqrt(2 * found.cost / df) if df > 0 else None
    return SharedCurve(vertices, asymmetry=float(found.x[sizes + 1]), noise_sd=noise or None)


def rise(d: Array, *, curvature: Array | float, asymmetry: float) -> Array:
    """What ln lr wrong by d costs: curvature times g(d), a parabola where the asymmetry k is 0."""
    return _array(curvature * 2 * d**2 * _phi(asymmetry * d))


@dataclass(frozen=True)
class _Data:
    """All runs in columns. `theta`: the ln lr of each size, ln curvature at the middle size, k, and the curvature's slope in ln N."""

    size: np.ndarray[Any, np.dtype[np.intp]]
    ln_n: Array
    """One a size, around their mean."""
    ln_lr: Array
    loss: Array
    block: np.ndarray[Any, np.dtype[np.intp]]
    """Size and seed of a run, numbered."""
    blocks: int

    @classmethod
    def of(cls, windows: Sequence[Window]) -> "_Data":
        size = np.repeat(np.arange(len(windows)), [len(window.loss) for window in windows])
        pairs = np.column_stack([size, np.concatenate([window.seed for window in windows])])
        _, block = np.unique(pairs, axis=0, return_inverse=True)
        ln_n = np.log([window.n_params for window in windows])
        return cls(
            size=size,
            ln_n=ln_n - ln_n.mean(),
            ln_lr=np.concatenate([window.ln_lr for window in windows]),
            loss=np.concatenate([window.loss for window in windows]),
            block=block.ravel(),
            blocks=int(block.max()) + 1,
        )

    def curvatures(self, theta: Array) -> Array:
        slope = theta[len(self.ln_n) + 2] if len(theta) > len(self.ln_n) + 2 else 0.0
        return _array(np.exp(theta[len(self.ln_n)] + slope * self.ln_n))

    def curve(self, theta: Array) -> Array:
        return rise(self.ln_lr - theta[self.size], curvature=self.curvatures(theta)[self.size], asymmetry=theta[len(self.ln_n) + 1])

    def residuals(self, theta: Array, scale: float) -> Array:
        return self._within_blocks(self.curve(theta) - self.loss / scale)

    def jacobian(self, theta: Array, _scale: float = 1.0) -> Array:
        sizes, k = len(self.ln_n), theta[len(self.ln_n) + 1]
        d, c = self.ln_lr - theta[self.size], self.curvatures(theta)[self.size]
        columns = np.zeros((len(d), len(theta)))
        slope = 2 * d * (2 * _phi(k * d) + k * d * _phi_slope(k * d))
        columns[np.arange(len(d)), self.size] = -c * slope
        columns[:, sizes] = self.curve(theta)
        columns[:, sizes + 1] = c * 2 * d**3 * _phi_slope(k * d)
        if len(theta) > sizes + 2:
            columns[:, sizes + 2] = self.curve(theta) * self.ln_n[self.size]
        return np.column_stack([self._within_blocks(column) for column in columns.T])

    def _within_blocks(self, values: Array) -> Array:
        """Around the mean of their size and seed."""
        counts = np.bincount(self.block, minlength=self.blocks)
        return _array(values - (np.bincount(self.block, weights=values, minlength=self.blocks) / counts)[self.block])


def _phi(z: Array) -> Array:
    """(exp(z) - 1 - z) / z², smooth at 0."""
    return _smooth(z, lambda far: (np.expm1(far) - far) / far**2, [1 / factorial(n + 2) for n in range(16)])


def _phi_slope(z: Array) -> Array:
    """Its derivative."""
    return _smooth(
        z,
        lambda far: (np.expm1(far) * far - 2 * (np.expm1(far) - far)) / far**3,
        [(n + 1) / factorial(n + 3) for n in range(16)],
    )


def _smooth(z: Array, far: Any, series: Sequence[float]) -> Array:
    """By a power series beside 0, where the formula loses its digits."""
    near = np.abs(z) < 0.7
    return np.where(near, np.polynomial.polynomial.polyval(np.where(near, z, 0.0), series), far(np.where(near, 1.0, z)))


def _array(values: Any) -> Array:
    return np.asarray(values, dtype=float)
