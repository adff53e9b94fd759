"""Losses of runs at several sizes and token counts become one law, L = E + A / N^alpha + B / D^beta, and what it says compute buys.

Fitted as Hoffmann et al. 2022 (arXiv 2203.15556, approach 3) did and Besiroglu et al. 2024 (2404.10102) put right: the Huber loss of the
residuals of ln L, **summed** (a mean lets the optimiser stop early), minimised over ln E, ln A, ln B, alpha and beta, with which
ln L is a log-sum-exp. The order of the rows changes nothing. N and D count what the caller's columns count: say which beside the constants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, exp, log, sqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.laws import decades_outside, extrapolation_notes, positive, size_label
from ablate.errors import InputError

Floats = NDArray[np.float64]

CONSTANTS = ("E", "A", "B", "alpha", "beta")
LEFT_OUT = 0.05
"""Share of the rows, those with the fewest tokens per parameter, that the robustness check leaves out."""
MOVED = 0.1
"""Relative move of an exponent without those rows from which on it is warned of. Epoch's beta moves by 0.24 because of 5 rows of 245."""
LEVEL = 0.95
MAX_EXPONENT = 4.0
"""Bound of alpha and beta; published ones lie between 0.2 and 0.8."""
NO_EXPONENT = 1e-6
"""An exponent up to here makes its term a constant, which E is already."""
VANISHED = 30.0
"""A term this far below the data in ln units, 1e-13 of them, is not there."""
STARTS = 4
_minimize: Any = minimize  # the overloads of its stubs do not take these lambdas
RESAMPLED = 10
"""Rows from which on a bootstrap says something: of six rows the only resample that five constants fit is the six themselves."""


@dataclass(frozen=True)
class Spread:
    """How far a constant moves from one bootstrap resample of the rows to the next."""

    se: float
    """SD over the resamples; of A and B, whose spread is skewed, the interval says more."""
    interval: tuple[float, float]
    """2.5 % and 97.5 % points."""


@dataclass(frozen=True)
class Robustness:
    """The law without the rows that have the fewest tokens per parameter."""

    rows_left_out: int
    ratio: float
    """D / N up to which rows were left out."""
    alpha: float
    beta: float

    @property
    def a(self) -> float:
        return self.beta / (self.alpha + self.beta)


class Allocation(NamedTuple):
    n_params: float
    tokens: float


@dataclass(frozen=True)
class LossLaw:
    """L = E + A / N^alpha + B / D^beta: E, A, B in the metric's unit with N parameters and D tokens as counts."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    spread: Mapping[str, Spread] | None
    """By constant, and for the exponent `a`; None without a bootstrap."""
    bootstrap: int
    """Resamples behind `spread`."""
    robustness: Robustness | None
    """None where too few rows are left to fit without the lowest."""
    n_range: tuple[float, float]
    token_range: tuple[float, float]
    rows: int
    residual_sd: float
    """Root mean square of the residuals of ln L over rows - 5 degrees of freedom: about the relative error of a loss."""
    objective: float
    """Sum of the Huber losses of the residuals of ln L; comparable only at the same `delta`."""
    delta: float
    metric: str
    warnings: tuple[str, ...]

    @property
    def a(self) -> float:
        """Exponent of the best N: N_opt ~ C^a."""
        return self.beta / (self.alpha + self.beta)

    @property
    def b(self) -> float:
        """Exponent of the best D: D_opt ~ C^b."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def formula(self) -> str:
        return f"L = {self.E:.4g} + {self.A:.4g} / N^{self.alpha:.4f} + {self.B:.4g} / D^{self.beta:.4f}"

    def loss(self, n_params: float, tokens: float) -> float:
        """Inside the runs' ranges or not: `notes` says which."""
        size, horizon = positive(n_params, what="n_params"), positive(tokens, what="tokens")
        return float(self.E + self.A * size**-self.alpha + self.B * horizon**-self.beta)

    def optimal(self, compute: float, *, flops_per_param_token: float = 6.0) -> Allocation:
        """The N and D of the lowest loss among those with flops_per_param_token * N * D = compute (FLOPs); Hoffmann et al., equation 4."""
        budget = positive(compute, what="compute") / positive(flops_per_param_token, what="flops_per_param_token")
        gone = [name for name in ("A", "B", "alpha", "beta") if not getattr(self, name) > NO_EXPONENT]
        if gone:
            raise InputError(
                f"no optimum: {', '.join(gone)} came out as 0, so the loss does not depend on both N and D; fit runs that vary them more"
            )
        balance = log(self.alpha) + log(self.A) - log(self.beta) - log(self.B)
        size = exp((balance + self.beta * log(budget)) / (self.alpha + self.beta))
        return Allocation(size, budget / size)

    def notes(self, n_params: float, tokens: float) -> tuple[str, ...]:
        """How far a point lies outside the runs of the fit, one line for each of N and D; nothing inside."""
        points = (("n_params", n_params, self.n_range), ("tokens", tokens, self.token_range))
        return tuple(
            f"{name} {size_label(value)}: {note}"
            for name, value, known in points
            for note in extrapolation_notes(decades_outside(positive(value, what=name), known), known)
        )

    def to_json(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("n_range", "token_range", "warnings")}
        spread = {name: asdict(found) | {"interval": list(found.interval)} for name, found in (self.spread or {}).items()} or None
        robustness = self.robustness and asdict(self.robustness) | {"a": self.robustness.a}
        return asdict(self) | lists | {"spread": spread, "robustness": robustness, "a": self.a, "b": self.b}


def fit_loss_law(
    frame: pd.DataFrame,
    *,
    metric: str = "loss",
    n_params: str = "n_params",
    tokens: str = "tokens",
    delta: float = 1e-3,
    bootstrap: int = 0,
    seed: int = 0,
) -> LossLaw:
    """From one row a run (parameters, training tokens, final loss) to the law; `bootstrap` resamples of the rows say how sure it is."""
    if bootstrap < 0 or 0 < bootstrap < 20:
        raise InputError(f"bootstrap: {bootstrap} resamples give no interval; ask for none (0) or for at least 20, better 1000")
    positive(delta, what="delta")
    runs = _runs(frame, metric=metric, n_params=n_params, tokens=tokens)
    if bootstrap and len(runs.y) < RESAMPLED:
        raise InputError(
            f"bootstrap: {len(runs.y)} rows resample to hardly anything new; fit without one or bring at least {RESAMPLED} runs"
        )
    best = _fit(runs, delta=delta)
    law = _constants(best, runs)
    robustness = _robustness(runs, delta=delta)
    residuals = _residuals(best, runs)[0]
    spread = _spread(_resampled(runs, best, delta=delta, count=bootstrap, seed=seed)) if bootstrap else None
    return LossLaw(
        E=law["E"],
        A=law["A"],
        B=law["B"],
        alpha=law["alpha"],
        beta=law["beta"],
        spread=spread,
        bootstrap=bootstrap,
        robustness=robustness,
        n_range=(float(runs.n.min()), float(runs.n.max())),
        token_range=(float(runs.d.min()), float(runs.d.max())),
        rows=len(runs.y),
        residual_sd=sqrt(float(residuals @ residuals) / (len(runs.y) - len(CONSTANTS))),
        objective=_objective(best, runs, delta)[0] * delta**2,
        delta=delta,
        metric=metric,
        warnings=tuple(_warnings(runs, law, robustness, spread)),
    )


class _Runs(NamedTuple):
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


def _runs(frame: pd.DataFrame, *, metric: str, n_params: str, tokens: str) -> _Runs:
    require_columns(frame, [n_params, tokens, metric])
    columns = {name: numbers(frame, name) for name in (n_params, tokens, metric)}
    problems = []
    for name, values in columns.items():
        bad = values[~(values > 0) | ~np.isfinite(values)]
        if len(bad):
            what = "; the law is fitted to its logarithm, so drop diverged runs first" if name == metric else ""
            problems.append(
                f"column {name}: {bad.iloc[0]} (row {bad.index[0]}) is not a positive, finite number, {len(bad)} such rows{what}"
            )
    if len(frame) <= len(CONSTANTS):
        problems.append(f"{len(frame)} rows: a law of 5 constants needs at least 6 runs, better 20")
    for name in (n_params, tokens):
        if (distinct := columns[name].nunique()) < 2:
            problems.append(f"column {name}: {distinct} distinct value; the law's exponent needs at least 2, better 4")
    if problems:
        raise InputError("\n".join(problems))
    table = np.array([values.to_numpy(dtype=float) for values in columns.values()])
    return _arranged(table[:, np.lexsort(table[::-1])])  # sorted: sums in another order would differ in their last digits


def _arranged(table: Floats) -> _Runs:
    """From [3, rows] of N, D, L."""
    n, d, loss = table
    x, z = np.log(n), np.log(d)
    return _Runs(n, d, np.log(loss), x - x.mean(), z - z.mean(), (float(x.mean()), float(z.mean())))


def _take(runs: _Runs, rows: NDArray[np.intp]) -> _Runs:
    """Some of the runs, centred as all are: one start serves every resample."""
    return _Runs(runs.n[rows], runs.d[rows], runs.y[rows], runs.x[rows], runs.z[rows], runs.centre)


def _fit(runs: _Runs, *, delta: float) -> Floats:
    """The best of a few descents: e, a, b, alpha, beta with a and b at the centre of the data."""
    found = [_descend(start, runs, delta=delta) for start in _starts(runs, delta=delta)]
    return min(found, key=lambda theta: _objective(theta, runs, delta)[0])


def _starts(runs: _Runs, *, delta: float) -> list[Floats]:
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
    values = [_objective(theta, runs, delta)[0] for theta in grid]
    return [grid[at] for at in np.argsort(values, kind="stable")[:STARTS]]


def _descend(start: Floats, runs: _Runs, *, delta: float) -> Floats:
    """L-BFGS-B to the valley, Newton's method in a trust region to its floor: the first alone leaves exact laws at 1e-6."""
    low, high = float(runs.y.min()) - VANISHED, float(runs.y.max()) + VANISHED
    bounds = [(low, high)] * 3 + [(0.0, MAX_EXPONENT)] * 2
    options = {"maxiter": 2000, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-8}
    theta = _minimize(_objective, start, (runs, delta), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    options = {"gtol": 1e-9, "maxiter": 100}
    polished = _minimize(
        lambda at: _objective(at, runs, delta)[0],
        theta,
        jac=lambda at: _objective(at, runs, delta)[1],
        hess=lambda at: _hessian(at, runs, delta),
        method="trust-exact",
        options=options,
    ).x
    inside = all(bottom < value < top for value, (bottom, top) in zip(polished, bounds, strict=True))
    better = _objective(polished, runs, delta)[0] <= _objective(theta, runs, delta)[0]
    return np.asarray(polished if inside and better else theta, dtype=np.float64)


def _residuals(theta: Floats, runs: _Runs) -> tuple[Floats, Floats]:
    """Predicted minus observed ln L, and each term's share of the predicted loss, [3, rows]."""
    e, a, b, alpha, beta = theta
    terms = np.stack([np.full_like(runs.x, e), a - alpha * runs.x, b - beta * runs.z])
    top = terms.max(axis=0)
    shares = np.exp(terms - top)
    total = shares.sum(axis=0)
    return top + np.log(total) - runs.y, shares / total


def _objective(theta: Floats, runs: _Runs, delta: float) -> tuple[float, Floats]:
    """Sum of Huber losses in units of delta^2, and its gradient."""
    residuals, shares = _residuals(theta, runs)
    clipped = np.clip(residuals / delta, -1, 1)
    return float(np.sum(clipped * (residuals / delta - clipped / 2))), _slopes(shares, runs) @ clipped / delta


def _slopes(shares: Floats, runs: _Runs) -> Floats:
    """d ln L / d theta, [5, rows]."""
    return np.stack([shares[0], shares[1], shares[2], -runs.x * shares[1], -runs.z * shares[2]])


def _hessian(theta: Floats, runs: _Runs, delta: float) -> Floats:
    """[5, 5]: of the Huber loss where it is square, and everywhere of the log-sum-exp, whose own is E[mm'] - E[m] E[m]'."""
    residuals, shares = _residuals(theta, runs)
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


def _constants(theta: Floats, runs: _Runs) -> dict[str, float]:
    """A term at its lower bound is none: 0."""
    e, a, b, alpha, beta = map(float, theta)
    gone = float(runs.y.min()) - VANISHED + 1
    scales = {"E": (e, 0.0), "A": (a, alpha * runs.centre[0]), "B": (b, beta * runs.centre[1])}
    found = {name: exp(value + shift) if value > gone else 0.0 for name, (value, shift) in scales.items()}
    return found | {"alpha": alpha, "beta": beta}


def _lowest(runs: _Runs) -> NDArray[np.intp]:
    """The rows with the lowest D / N, ties in the order of the sorted rows."""
    return np.argsort(runs.d / runs.n, kind="stable")[: ceil(LEFT_OUT * len(runs.y))]


def _robustness(runs: _Runs, *, delta: float) -> Robustness | None:
    lowest = _lowest(runs)
    kept = np.setdiff1d(np.arange(len(runs.y)), lowest)
    if not _enough(runs, kept):
        return None
    theta = _fit(_arranged(np.stack([runs.n, runs.d, np.exp(runs.y)])[:, kept]), delta=delta)
    return Robustness(len(lowest), float((runs.d / runs.n)[lowest].max()), alpha=float(theta[3]), beta=float(theta[4]))


def _enough(runs: _Runs, rows: NDArray[np.intp]) -> bool:
    return len(np.unique(rows)) > len(CONSTANTS) and len(np.unique(runs.n[rows])) > 1 and len(np.unique(runs.d[rows])) > 1


def _resampled(runs: _Runs, best: Floats, *, delta: float, count: int, seed: int) -> list[dict[str, float]]:
    """The constants of each resample, descended to from the full fit and from a tenth of it away; what no law fits is redrawn."""
    rng = np.random.default_rng(seed)
    away = best + np.array([-0.1, 0.1, 0.1, 0.1 * best[3], 0.1 * best[4]])
    fits: list[dict[str, float]] = []
    for _ in range(10 * count):
        if len(fits) == count:
            return fits
        rows = np.sort(rng.integers(len(runs.y), size=len(runs.y)))
        if _enough(runs, rows):
            drawn = _take(runs, rows)
            found = [_descend(start, drawn, delta=delta) for start in (best, away)]
            fits.append(_constants(min(found, key=lambda theta: _objective(theta, drawn, delta)[0]), drawn))
    if len(fits) < count:
        raise InputError(
            "bootstrap: most resamples hold one N or one D only; fit without a bootstrap or add runs at other sizes and tokens"
        )
    return fits


def _spread(fits: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    table = pd.DataFrame(fits)
    table["a"] = table["beta"] / (table["alpha"] + table["beta"])
    low, high = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    return {
        str(name): Spread(float(values.std(ddof=1)), (float(values.quantile(low)), float(values.quantile(high))))
        for name, values in table.items()
    }


def _warnings(runs: _Runs, law: Mapping[str, float], robustness: Robustness | None, spread: Mapping[str, Spread] | None) -> list[str]:
    found = []
    if (rows := len(runs.y)) < 20:
        found.append(f"{rows} rows for 5 constants: exponents from so few runs move a lot with one more")
    spans = {name: float(values.max() / values.min()) for name, values in (("D / N", runs.d / runs.n), ("N", runs.n), ("D", runs.d))}
    weak = {"D / N": "what N and what D does is hardly told apart; add runs with fewer and with more tokens a parameter"}
    for name, span in spans.items():
        if span < 10:
            found.append(f"{name} spans only a factor of {span:.2g}: {weak.get(name, 'its exponent rests on less than one decade')}")
    found.extend(f"{name} came out as 0: the runs do not show this term" for name in ("E", "A", "B") if law[name] == 0)
    for name in ("alpha", "beta"):
        if not NO_EXPONENT < law[name] < MAX_EXPONENT - NO_EXPONENT:
            found.append(f"{name} = {law[name]:.3g} lies at its bound (0 to {MAX_EXPONENT:g}): the runs do not determine it")
    if robustness is None:
        found.append("robustness not shown: without the rows of the lowest D / N too few are left for a fit")
        return found
    moves = [(name, law[name], getattr(robustness, name)) for name in ("alpha", "beta")]
    if any(abs(after - before) > max(MOVED * before, 1e-3) for _, before, after in moves):
        said = ", ".join(f"{name} {before:.3f} to {after:.3f}" for name, before, after in moves)
        count = robustness.rows_left_out
        found.append(f"not robust: without the {count} of {rows} rows with D / N up to {robustness.ratio:.3g} the law moves: {said}")
    if spread is not None and spread["a"].interval[1] - spread["a"].interval[0] > 0.2:
        low, high = spread["a"].interval
        found.append(f"the exponent a of the best N lies anywhere from {low:.2f} to {high:.2f}: too wide to split a budget by")
    return found
