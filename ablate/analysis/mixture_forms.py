"""The forms a mixture law can have, as functions of the shares h and of sizes, and how each is fitted: what `mixture_laws` builds on.

Legend: P points (runs), K sources, S sizes the law has a term for (0 to 2: ln N, ln D), T constants. A small value is good.

    linear       v = sum_i w_i h_i                                                     RegMix's linear variant (arXiv 2407.01492)
    exponential  v = c + exp(sum_i u_i h_i)                                            data mixing law (2403.16952), one domain
    additive     v = E + 1 / sum_i C_i h_i^g_i + A / N^alpha + B / D^beta              Apple (2507.09404)
    joint        the same with ln A = sum_i a_i h_i and ln B = sum_i b_i h_i           the optimum moves with size; our coefficients

theta is (w), (c, u) or (E, ln C, g, then for each size its coefficients, 1 or K, and its exponent).
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, least_squares, minimize

Floats = NDArray[np.float64]
Form = Literal["exponential", "linear", "additive", "joint"]

DELTA = 0.01
"""Residual, in the metric's unit, beyond which the Huber loss grows linearly: that of the data mixing law, fitted to losses in nats."""
STARTS = 8
DESCENTS = 3
RANDOM_STARTS = 16
DRAWS = 4000
MAX_POWER = 10.0
"""Bound of the g of a source; that of an exponent of N or D is 4."""

_minimize: Any = minimize  # the overloads of its stubs take neither these lambdas nor an array of bounds


class Points(NamedTuple):
    h: Floats
    """[P, K], rows sum to 1."""
    logs: Floats
    """[P, S]: ln N, ln D, each less its mean over the runs of the fit."""


@dataclass(frozen=True)
class Shape:
    form: Form
    sources: int
    sizes: int

    @property
    def per_size(self) -> int:
        """Coefficients of the numerator of a size's term."""
        return self.sources if self.form == "joint" else 1

    @property
    def of_mixture(self) -> int:
        """Constants that only different mixtures determine."""
        return {"linear": self.sources, "exponential": self.sources + 1}.get(self.form, 2 * self.sources + 1)

    @property
    def constants(self) -> int:
        return self.of_mixture + self.sizes * (self.per_size + 1)

    def size_terms(self, theta: Floats) -> list[tuple[Floats, float]]:
        """(Coefficients of the logarithm of the numerator, exponent) of each size."""
        rest = theta[self.of_mixture :].reshape(self.sizes, self.per_size + 1)
        return [(row[:-1], float(row[-1])) for row in rest]


def predict(shape: Shape, theta: Floats, points: Points) -> tuple[Floats, Floats]:
    """Values [P] and their derivatives by theta [P, T]."""
    h, k = points.h, shape.sources
    if shape.form == "linear":
        return h @ theta, h
    if shape.form == "exponential":
        grown = np.exp(h @ theta[1:])
        return theta[0] + grown, np.column_stack([np.ones(len(h)), grown[:, None] * h])
    parts = _powers(theta, h, k)
    mixed = 1 / parts.sum(axis=1)
    by_part = -(mixed**2)[:, None] * parts
    columns = [np.ones((len(h), 1)), by_part, by_part * np.log(np.where(h > 0, h, 1.0))]
    values = theta[0] + mixed
    for (coefficients, exponent), log_size in zip(shape.size_terms(theta), points.logs.T, strict=True):
        inputs = _inputs(shape, h)
        term = np.exp(inputs @ coefficients - exponent * log_size)
        values = values + term
        columns += [term[:, None] * inputs, -(term * log_size)[:, None]]
    return values, np.hstack(columns)


def gradient(shape: Shape, theta: Floats, points: Points) -> Floats:
    """Derivatives by the shares, [P, K]; at a share of 0, where those of the additive form may be infinite, those just beside it."""
    h, k = points.h, shape.sources
    if shape.form == "linear":
        return np.broadcast_to(theta, h.shape).copy()
    if shape.form == "exponential":
        return np.asarray(np.exp(h @ theta[1:])[:, None] * theta[1:], dtype=np.float64)
    beside = np.maximum(h, 1e-9)
    parts = _powers(theta, beside, k)
    slopes = -(parts.sum(axis=1) ** -2.0)[:, None] * parts * theta[1 + k : 1 + 2 * k] / beside
    if shape.form == "joint":
        for (coefficients, exponent), log_size in zip(shape.size_terms(theta), points.logs.T, strict=True):
            slopes = slopes + np.exp(h @ coefficients - exponent * log_size)[:, None] * coefficients
    return np.asarray(slopes, dtype=np.float64)


def fit(shape: Shape, points: Points, values: Floats, *, seed: int) -> Floats:
    """theta: least squares for the linear form, for others the best of several descents on the summed Huber loss."""
    if shape.form == "linear":
        return np.asarray(np.linalg.lstsq(points.h, values, rcond=None)[0], dtype=np.float64)
    starts = {"exponential": _exponential_starts, "additive": _additive_starts, "joint": _joint_starts}[shape.form]
    begun = starts(shape, points, values, seed)
    # plain least squares leaves local minima behind that the Huber loss ends in from one start in ten; outliers may lead it astray in turn
    eased = _best(shape, [_trust_region(shape, start, points, values, loss="linear") for start in begun], points, values)
    found = [descend(shape, start, points, values) for start in (*eased[:DESCENTS], *begun[:DESCENTS])]
    return min(found, key=lambda theta: huber(shape, theta, points, values)[0])


def descend(shape: Shape, start: Floats, points: Points, values: Floats) -> Floats:
    """L-BFGS-B, then a trust-region least squares with the same loss: the first stops short in the long valleys of these forms."""
    if shape.form == "linear":
        return fit(shape, points, values, seed=0)
    theta = _minimize(
        lambda at: huber(shape, at, points, values),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=np.column_stack(bounds(shape, values)),
        options={"maxiter": 500, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-9},
    ).x
    polished = _trust_region(shape, theta, points, values, loss="huber")
    return min((polished, theta), key=lambda at: huber(shape, at, points, values)[0])


def refit(shape: Shape, start: Floats, points: Points, values: Floats) -> Floats:
    """To values that differ little from those that `start` was fitted to: the second half of `descend`, a third of its time."""
    if shape.form == "linear":
        return fit(shape, points, values, seed=0)
    return _trust_region(shape, start, points, values, loss="huber")


def lowest(
    shape: Shape,
    theta: Floats,
    logs: Floats,
    *,
    tried: Floats,
    low: Floats,
    high: Floats,
    seed: int,
    random_starts: int = RANDOM_STARTS,
) -> Floats:
    """The shares [K] of the lowest value at the sizes `logs` [S], each inside its limits.

    SLSQP from the vertices, the centre, the best mixture tried and random ones; the starts themselves are candidates, too.
    """

    def at(shares: Floats) -> Points:
        return Points(np.clip(shares, 0, 1)[None], logs[None])

    def value(shares: Floats) -> float:
        return float(predict(shape, theta, at(shares))[0][0])

    k = shape.sources
    drawn = np.random.default_rng(seed).dirichlet(np.ones(k), random_starts)
    starts = [_into_limits(start, low, high) for start in (*np.eye(k), np.full(k, 1 / k), min(tried, key=value), *drawn)]
    found = [
        _minimize(
            value,
            start,
            jac=lambda shares: gradient(shape, theta, at(shares))[0],
            method="SLSQP",
            bounds=np.column_stack([low, high]),
            constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1, "jac": np.ones_like},
            options={"ftol": 1e-13, "maxiter": 200},
        ).x
        for start in starts
    ]
    ends = [_into_limits(end, low, high) for end in found if np.isfinite(end).all()]
    return min(starts + ends, key=value)


def huber(shape: Shape, theta: Floats, points: Points, values: Floats) -> tuple[float, Floats]:
    """Sum over the points in units of DELTA^2, and its gradient."""
    predicted, slopes = predict(shape, theta, points)
    residuals = (predicted - values) / DELTA
    clipped = np.clip(residuals, -1, 1)
    return float(np.sum(clipped * (residuals - clipped / 2))), clipped @ slopes / DELTA


def bounds(shape: Shape, values: Floats) -> tuple[Floats, Floats]:
    """Far enough to be met only by a constant that the data do not determine."""
    k, bottom, top = shape.sources, float(values.min()), float(values.max())
    span = top - bottom
    scale = np.log(span)
    offset = (bottom - 1e3 * span, top)
    if shape.form == "exponential":
        pairs = [offset] + [(scale - 40, scale + 40)] * k
    else:
        pairs = [offset] + [(-scale - 30, -scale + 30)] * k + [(0.01, MAX_POWER)] * k
        pairs += ([(scale - 40, scale + 40)] * shape.per_size + [(0.0, 4.0)]) * shape.sizes
    low, high = np.array(pairs, dtype=float).T
    return low, high


def _trust_region(shape: Shape, start: Floats, points: Points, values: Floats, *, loss: Literal["linear", "huber"]) -> Floats:
    def residuals(at: Floats) -> Floats:
        return predict(shape, at, points)[0] - values

    def slopes(at: Floats) -> Floats:
        return predict(shape, at, points)[1]

    low, high = bounds(shape, values)
    margin = 1e-9 * (high - low)  # it starts strictly inside
    found = least_squares(
        residuals,
        np.clip(start, low + margin, high - margin),
        jac=slopes,
        bounds=(low, high),
        x_scale="jac",
        loss=loss,
        f_scale=DELTA,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
        max_nfev=200,
    )
    return np.asarray(found.x, dtype=np.float64)


def _into_limits(shares: Floats, low: Floats, high: Floats) -> Floats:
    """The nearest mixture inside the limits: all shares shifted alike and clipped."""

    def excess(shift: float) -> float:
        return float(np.clip(shares + shift, low, high).sum() - 1)

    reach = 1 + float(np.abs(shares).max())
    if excess(-reach) >= 0 or excess(reach) <= 0:  # the limits leave one mixture only
        return low if excess(-reach) >= 0 else high
    return np.clip(shares + float(brentq(excess, -reach, reach, xtol=1e-15)), low, high)


def _powers(theta: Floats, h: Floats, k: int) -> Floats:
    """C_i h_i^g_i, [P, K]."""
    return np.asarray(np.exp(theta[1 : 1 + k]) * h ** theta[1 + k : 1 + 2 * k], dtype=np.float64)


def _inputs(shape: Shape, h: Floats) -> Floats:
    return h if shape.form == "joint" else np.ones((len(h), 1))


def _exponential_starts(shape: Shape, points: Points, values: Floats, seed: int) -> list[Floats]:
    """For offsets c at a row of distances below the best value: ln(v - c) is linear in the shares."""
    span = float(values.max() - values.min())
    starts = []
    for distance in np.geomspace(0.01, 100, 40):
        above = values - (values.min() - distance * span)
        weighted = above[:, None] * points.h  # a residual of the logarithm counts as one of the value
        slopes = np.linalg.lstsq(weighted, above * np.log(above), rcond=None)[0]
        starts.append(np.concatenate([[values.min() - distance * span], slopes]))
    return _best(shape, starts, points, values)


def _additive_starts(shape: Shape, points: Points, values: Floats, seed: int) -> list[Floats]:
    """Random powers, ratios of C and exponents, for each of which E, the scale of C, A and B are a linear regression."""
    rng = np.random.default_rng(seed)
    k = shape.sources
    ratios, powers = rng.normal(scale=1.5, size=(DRAWS, k)), np.exp(rng.uniform(np.log(0.1), np.log(3), size=(DRAWS, k)))
    exponents = rng.uniform(0.1, 1.0, size=(DRAWS, shape.sizes))
    with np.errstate(divide="ignore"):
        log_h = np.log(points.h)
    mixed = 1 / sum(np.exp(ratios[:, i, None] + powers[:, i, None] * log_h[:, i]) for i in range(k))
    terms = [np.ones_like(mixed), mixed] + [np.exp(-exponents[:, s, None] * points.logs[:, s]) for s in range(shape.sizes)]
    design = np.stack(terms, axis=2)
    normal = design.transpose(0, 2, 1) @ design
    ridge = 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(normal.shape[1])
    solved = np.linalg.solve(normal + ridge, (values @ design)[..., None])[..., 0]
    scales = np.log(np.maximum(solved[:, 1:], 1e-3 * float(values.max() - values.min())))
    sizes = np.stack([scales[:, 1:], exponents], axis=2).reshape(DRAWS, 2 * shape.sizes)
    starts = np.column_stack([solved[:, 0], ratios - scales[:, :1], powers, sizes])
    return _best(shape, list(starts), points, values)


def _joint_starts(shape: Shape, points: Points, values: Floats, seed: int) -> list[Floats]:
    """The additive law, of which this is the one with unequal coefficients, and coefficients drawn around equal ones."""
    rng = np.random.default_rng(seed)
    additive = Shape("additive", shape.sources, shape.sizes)
    starts = []
    for start in _additive_starts(additive, points, values, seed):
        theta = descend(additive, start, points, values)
        for spread in (0.0, 0.5):
            rows = [[*(term + spread * rng.normal(size=shape.sources)), exponent] for term, exponent in additive.size_terms(theta)]
            starts.append(np.concatenate([theta[: shape.of_mixture], *rows]))
    return _best(shape, starts, points, values)


def _best(shape: Shape, starts: list[Floats], points: Points, values: Floats) -> list[Floats]:
    low, high = bounds(shape, values)
    clipped = [np.clip(start, low, high) for start in starts]
    scores = [huber(shape, start, points, values)[0] for start in clipped]
    return [clipped[at] for at in np.argsort(scores, kind="stable")[:STARTS]]
