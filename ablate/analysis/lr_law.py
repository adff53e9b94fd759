"""One optimum a size becomes a law ln eta = slope ln N + intercept: what it says of a larger model, and how surely.

The interval is a Student-t **prediction** interval: where the optimum of one new model lies, not the mean line. It
holds if the law is log-linear and the scatter between sizes stays as it was; a handful of sizes cannot show a bend.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from math import exp, log, sqrt
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.laws import (
    WEIGHT_DECAY_RATIO,
    Definitions,
    Prediction,
    PublishedLaw,
    decades_outside,
    decay_for,
    extrapolation_notes,
    positive,
    rate_label,
    size_label,
)
from ablate.analysis.optima import Goal, Optimum, find_optima, finished_runs, rate_step
from ablate.analysis.random_effects import LineFit, fit_line
from ablate.errors import InputError

LEVEL = 0.95
TARGET = 30e9
ON_A_LINE = 1e-9
"""Residual SD in ln units below which points count as lying exactly on a line."""


@dataclass(frozen=True)
class LawFit:
    """ln lr = slope ln n_params + intercept over `used`: random effects where their errors are known, else least squares."""

    slope: float
    intercept: float
    line: LineFit | None
    """Errors and scatter of the line; None with two optima."""
    used: tuple[Optimum, ...]
    definitions: Definitions | None = None
    tau_prior: float | None = None
    """Scale of the half-normal prior on the scatter between sizes, ln units; None: no prior."""

    @property
    def n_range(self) -> tuple[float, float]:
        sizes = [optimum.n_params for optimum in self.used]
        return min(sizes), max(sizes)

    @property
    def df(self) -> int:
        return len(self.used) - 2

    @property
    def method(self) -> str:
        return "ols_log_log" if _errors(self.used) is None else "random_effects"

    @property
    def prior(self) -> str | None:
        return None if self.tau_prior is None else f"half-normal on tau, scale {self.tau_prior:g}"

    @property
    def cov(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Covariance of (slope, intercept); None without scatter to take it from."""
        return None if self.no_interval or self.line is None else self.line.cov

    @property
    def se_slope(self) -> float | None:
        return None if self.cov is None else sqrt(self.cov[0][0])

    @property
    def se_intercept(self) -> float | None:
        return None if self.cov is None else sqrt(self.cov[1][1])

    @property
    def residual_sd(self) -> float | None:
        """SD of the optima around the line, ln units; None with two optima."""
        return None if self.line is None else self.line.residual_sd

    @property
    def tau(self) -> float | None:
        """SD between sizes: the scatter that the optima's own errors leave; None where those are unknown."""
        return None if self.line is None or _errors(self.used) is None else self.line.scatter

    @property
    def formula(self) -> str:
        sign = "−" if self.intercept < 0 else "+"
        return f"η = exp({self.slope:.4f} ln N {sign} {abs(self.intercept):.4f})".replace("(-", "(−")

    def lr(self, n_params: float) -> float:
        return exp(self.slope * log(n_params) + self.intercept)

    def interval(self, n_params: float, *, level: float = LEVEL) -> tuple[float, float] | None:
        """Prediction interval of the optimum of one model of this size; None without scatter to build it from."""
        if self.no_interval or self.line is None:
            return None
        low, high = self.line.interval(log(n_params), level=level, kind="prediction")
        return exp(low), exp(high)

    def predict(self, n_params: float, *, level: float = LEVEL) -> Prediction:
        size = positive(n_params, what="n_params")
        interval = self.interval(size, level=level)
        decades = decades_outside(size, self.n_range)
        decay = f"weight decay is MM1's {WEIGHT_DECAY_RATIO:g} of the rate, not fitted"
        return Prediction(
            n_params=size,
            lr=self.lr(size),
            interval=interval,
            level=level if interval else None,
            kind="prediction" if interval else None,
            extrapolation_decades=decades,
            regret=self._regret(size, interval),
            weight_decay=decay_for(self.lr(size)),
            notes=tuple(note for note in (self.no_interval, *extrapolation_notes(decades, self.n_range), decay) if note),
        )

    @property
    def no_interval(self) -> str:
        """Why there is no interval; empty where there is one."""
        if self.line is None:
            return "no interval: two optima always lie on a line, a third is needed"
        if self.line.residual_sd < ON_A_LINE and _errors(self.used) is None:
            return "no interval: the optima lie exactly on a line, so there is no scatter to build one from"
        return ""

    def _regret(self, n_params: float, interval: tuple[float, float] | None) -> tuple[float, float] | None:
        """With the curvature of the largest size, as if it held at `n_params` and out to the interval's ends."""
        curvature = max(self.used, key=lambda optimum: optimum.n_params).curvature
        if interval is None or curvature is None:
            return None
        low, high = (curvature * log(bound / self.lr(n_params)) ** 2 for bound in interval)
        return low, high


@dataclass(frozen=True)
class SlopeComparison:
    """A fitted slope against a published one, which is taken as exact: its own error is not published."""

    law: str
    published_slope: float
    difference: float
    t: float | None
    p: float | None
    """Two-sided; None where the fit has no standard error."""
    df: int


@dataclass(frozen=True)
class LeftOut:
    """The largest size's optimum beside what the smaller ones say of it: a weak check, since both scatter."""

    n_params: float
    predicted: float
    interval: tuple[float, float] | None
    """None where two sizes are left."""
    found: float
    ln_error: float
    """ln(found / predicted)."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"interval": None if self.interval is None else list(self.interval)}


@dataclass(frozen=True)
class LawReport:
    """All that one set of runs says about the best rate. Without two usable optima `fit` is None."""

    fit: LawFit | None
    optima: tuple[Optimum, ...]
    prediction: Prediction | None
    warnings: tuple[str, ...]
    metric: str | None = None
    """None where the optima were given, not found."""
    goal: Goal | None = None

    @property
    def leave_largest_out(self) -> LeftOut | None:
        """None with fewer than three sizes."""
        return None if self.fit is None or len(self.fit.used) < 3 else leave_largest_out(self.fit)

    @property
    def excluded(self) -> tuple[Optimum, ...]:
        return tuple(optimum for optimum in self.optima if optimum.lr is None)

    def to_json(self) -> dict[str, Any]:
        fit = self.fit
        law: dict[str, Any] = {
            "slopes": {"n_params": fit and fit.slope},
            "intercept": fit and fit.intercept,
            "se": {"n_params": fit and fit.se_slope, "intercept": fit and fit.se_intercept},
            "tau": fit and fit.tau,
            "df": fit and fit.df,
            "method": fit and fit.method,
            "prior": fit and fit.prior,
        }
        return {
            "law": law,
            "optima": [optimum.to_json() for optimum in self.optima],
            "excluded": [{"n_params": optimum.n_params, "reason": optimum.status} for optimum in self.excluded],
            "prediction": self.prediction and self.prediction.to_json(),
            "leave_largest_out": self.leave_largest_out and self.leave_largest_out.to_json(),
            "warnings": list(self.warnings),
        }


def fit_runs(
    runs: pd.DataFrame,
    *,
    metric: str,
    goal: Goal,
    target: float | None = TARGET,
    definitions: Definitions | None = None,
    tau_prior: float | None = None,
) -> LawReport:
    """From runs `n_params, lr, seed, <metric>` and optionally `status, tokens, batch_tokens` to the law."""
    optima = find_optima(runs, metric=metric, goal=goal)
    if len(optima) < 2:
        raise InputError(f"column n_params: {len(optima)} sizes with a finished run; a law needs at least two, better four")
    table = finished_runs(runs, metric=metric, goal=goal)
    return _report(
        optima,
        target=target,
        definitions=definitions,
        tau_prior=tau_prior,
        metric=metric,
        goal=goal,
        warnings=_run_warnings(runs, table, optima),
    )


def fit_points(
    points: pd.DataFrame,
    *,
    target: float | None = TARGET,
    definitions: Definitions | None = None,
    tau_prior: float | None = None,
) -> LawReport:
    """From known optima `n_params, eta` and optionally `se_ln`, one a size."""
    require_columns(points, ["n_params", "eta"])
    sizes, rates = numbers(points, "n_params"), numbers(points, "eta")
    errors = numbers(points, "se_ln") if "se_ln" in points else pd.Series(np.nan, index=points.index)
    if len(sizes) < 2:
        raise InputError(f"column n_params: {len(sizes)} sizes; a law needs at least two, better four")
    if sizes.duplicated().any():
        raise InputError(f"column n_params: {size_label(sizes[sizes.duplicated()].iloc[0])} occurs twice; give one optimum a size")
    optima = tuple(_point(size, rate, error) for size, rate, error in sorted(zip(sizes, rates, errors, strict=True)))
    return _report(optima, target=target, definitions=definitions, tau_prior=tau_prior)


def fit_power_law(optima: Iterable[Optimum], *, definitions: Definitions | None = None, tau_prior: float | None = None) -> LawFit:
    """ln lr on ln n_params over the optima that have a rate; the others are left out.

    `tau_prior` narrows the interval by what is believed of the scatter between sizes (0.15 from Step Law's public runs, 0.3 to be
    careful); it needs the optima's own errors.
    """
    used = tuple(optimum for optimum in optima if optimum.lr is not None)
    sizes = {optimum.n_params for optimum in used}
    if len(sizes) < 2 or len(sizes) < len(used):
        raise InputError(f"{len(used)} optima at {len(sizes)} sizes: a law needs one optimum at each of two sizes or more")
    errors = _errors(used)
    if tau_prior is not None:
        positive(tau_prior, what="tau_prior")
        if errors is None:
            raise InputError("tau_prior: a prior on the scatter between sizes needs the error of each optimum (se_ln), and one has none")
    x, y = [log(optimum.n_params) for optimum in used], [log(optimum.lr or 1.0) for optimum in used]
    if len(used) == 2:
        slope = (y[1] - y[0]) / (x[1] - x[0])
        return LawFit(slope, y[0] - slope * x[0], None, used, definitions)
    line = fit_line(x, y, errors=errors, tau_prior=tau_prior)
    return LawFit(line.slope, line.intercept, line, used, definitions, tau_prior)


def _errors(optima: Iterable[Optimum]) -> list[float] | None:
    """None where one is not known, or all are nothing."""
    errors = [optimum.se_ln for optimum in optima]
    known = [error or 0.0 for error in errors]
    return None if None in errors or max(known) < ON_A_LINE else known


def leave_largest_out(fit: LawFit) -> LeftOut:
    """The law of all sizes but the largest, asked of that one."""
    *rest, largest = sorted(fit.used, key=lambda optimum: optimum.n_params)
    smaller, found = fit_power_law(rest, tau_prior=fit.tau_prior if len(rest) > 2 else None), largest.lr or 0.0
    predicted = smaller.lr(largest.n_params)
    return LeftOut(largest.n_params, predicted, smaller.interval(largest.n_params), found, log(found / predicted))


def compare_slope(fit: LawFit, *, published: PublishedLaw) -> SlopeComparison:
    difference = fit.slope - published.slope
    if fit.se_slope is None:
        return SlopeComparison(published.name, published.slope, difference, None, None, fit.df)
    t = difference / fit.se_slope
    return SlopeComparison(published.name, published.slope, difference, t, 2 * float(stats.t.sf(abs(t), fit.df)), fit.df)


def _point(size: float, rate: float, error: float) -> Optimum:
    positive(size, what="n_params")
    positive(rate, what="eta")
    if error < 0 or np.isinf(error):
        raise InputError(f"column se_ln: {error} is not a standard error")
    return Optimum(size, rate, None if np.isnan(error) else error, None, (None, None), (), None, "given", 0, 0, 0)


def _report(
    optima: tuple[Optimum, ...],
    *,
    target: float | None,
    definitions: Definitions | None,
    tau_prior: float | None,
    metric: str | None = None,
    goal: Goal | None = None,
    warnings: Sequence[str] = (),
) -> LawReport:
    usable = sum(optimum.lr is not None for optimum in optima)
    if usable < 2:
        said = f"no law: {usable} of {len(optima)} sizes have an optimum inside their grid of rates, and a law needs two"
        return LawReport(None, optima, None, (said, *warnings), metric, goal)
    fit = fit_power_law(optima, definitions=definitions, tau_prior=tau_prior)
    prediction = None if target is None else fit.predict(target)
    return LawReport(fit, optima, prediction, (*_fit_warnings(fit, prediction), *warnings), metric, goal)


def _fit_warnings(fit: LawFit, prediction: Prediction | None) -> list[str]:
    sizes = len(fit.used)
    low, high = fit.n_range
    found = [fit.no_interval] if fit.no_interval else []
    if sizes < 8:
        found.append(f"log-linearity is assumed: {sizes} sizes cannot show a bend of the law")
    if fit.prior:
        found.append(f"the interval rests on a prior: {fit.prior}; if the sizes scatter more, it is too narrow")
    elif fit.df in (1, 2) and not fit.no_interval:
        found.append(f"df = {fit.df}: the interval is wide because {sizes} sizes say little of their scatter")
    if log(high / low) < log(10):
        found.append(f"the sizes span a factor of {high / low:.2g}; the slope rests on less than one decade")
    if prediction is not None and prediction.n_params and prediction.extrapolation_decades:
        (note,) = extrapolation_notes(prediction.extrapolation_decades, fit.n_range)
        found.append(f"{size_label(prediction.n_params)} is {note}")
    if fit.definitions is None:
        found.append("what N counts, batch, horizon and schedule are not recorded: compare constants with other laws with care")
    return found


def _run_warnings(runs: pd.DataFrame, table: pd.DataFrame, optima: Sequence[Optimum]) -> list[str]:
    found = list(chain.from_iterable(_optimum_warnings(optimum, table) for optimum in optima))
    seeds = table.dropna(subset="value").groupby(["n_params", "lr"])["seed"].nunique()
    if seeds.max() == 1 and any(optimum.lr and optimum.se_ln is None for optimum in optima):
        found.append("one seed a rate and too few rates for a shared curve: the optima have no standard errors")
    elif seeds.max() == 1:
        found.append("one seed a rate: the optima's errors are told from how the rates lie around one curve")
    elif seeds.nunique() > 1:
        found.append(f"unequal seeds: {seeds.min()} to {seeds.max()} a rate; means over different seeds are compared")
    if diverged := int(table["value"].isna().sum()):
        found.append(f"{diverged} diverged runs count as worse than all others and are left out of the curves")
    for column in ("tokens", "batch_tokens"):
        if column in runs and runs.groupby("n_params")[column].first().nunique() > 1:
            found.append(f"{column} changes with the size: the slope mixes its effect with that of N")
    return found


def _optimum_warnings(optimum: Optimum, table: pd.DataFrame) -> Iterable[str]:
    size = size_label(optimum.n_params)
    rates = sorted(table.loc[table["n_params"] == optimum.n_params, "lr"].unique())
    low, high = optimum.bound
    best = optimum.grid_best or 0.0
    left_out = "is the best, left out of the fit"
    match optimum.status:
        case "edge_low" if low is None:
            yield f"{size}: the lowest rate {rate_label(best)} {left_out}; try {rate_label(best / rate_step(rates))}"
        case "edge_high" if high is None:
            yield f"{size}: the highest rate {rate_label(best)} {left_out}; try {rate_label(best * rate_step(rates))}"
        case "edge_low" | "edge_high":
            diverged = (low if optimum.status == "edge_low" else high) or best
            said = f"{size}: {rate_label(best)} {left_out}, because {rate_label(diverged)} beside it diverged"
            yield f"{said}; try {rate_label(sqrt(best * diverged))}"
        case "flat" | "nonconvex":
            yield f"{size}: the metric does not change around the best rate, left out of the fit; try a wider grid"
        case "too_few":
            yield f"{size}: fewer than three rates with a finite metric, left out of the fit"
