"""An effect in compute units: the factor of compute that the base would need to match an arm, from the base's own scaling curve.

**The curve.** With four computes or more: L = E + A C^-a by least squares over the base's trials, if the best exponent lies inside
0.02 .. 2. Otherwise, and with three computes, L = b0 + b1 ln C, the same curve's limit for a -> 0. Which one it was is in `kind`.

**The interval** holds every compute C at which the base's curve and the arm's mean m cannot be told apart:
|L(C) - m| <= t sqrt(var L(C) + s²/n_arm), var L(C) by the delta method in (E, A, a). s² is one noise for all, pooled over the scatter of
the base's trials around the curve and of the arm's trials around their mean. Where the base's means scatter about the curve more than its
seeds explain (F test, 5 %), s² and its degrees of freedom are those of that scatter. No bootstrap: of three seeds it is too narrow by
sqrt(2/3). An end can be open (None): a curve that flattens matches a mean near its asymptote at any large compute.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import exp, isfinite, log, log10, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats

from ablate.analysis.laws import positive
from ablate.analysis.trial_values import trial_values
from ablate.errors import InputError, did_you_mean
from ablate.model import Level
from ablate.quantities import joined

EXPONENTS = (0.02, 2.0)
"""Published exponents of loss in compute lie between 0.03 and 0.2; an optimum at an end means that the data do not give one."""
POWER_LAW_COMPUTES = 4
REACH = log(1e8)
"""How far beyond the base's computes the interval is searched, in ln; an end farther out counts as open."""
EXACT = 1e-7
"""Noise as a share of the base's range of means below which the points count as lying exactly on the curve: ten times what the search
for the exponent leaves."""

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class BaseCurve:
    """The metric of the base against compute C in FLOPs: E + A (C / C0)^-a, or E - A ln(C / C0)."""

    kind: Literal["power_law", "log_linear"]
    asymptote: float | None
    """E of the power law; a logarithm has none."""
    level: float
    """E: of the power law its asymptote, else the metric at C0."""
    amplitude: float
    """A, in the metric's unit; positive where the metric falls with compute."""
    exponent: float | None
    reference: float
    """C0, the geometric mean of the base's computes."""
    compute_range: tuple[float, float]
    residual_sd: float
    """SD of one trial around the curve, with `df` degrees of freedom."""
    df: int
    lack_of_fit_p: float | None
    """F test that the means lie on the curve; None with one seed a compute."""
    note: str = ""

    def at(self, compute: float) -> float:
        x = log(compute / self.reference)
        return self.level + self.amplitude * (exp(-self.exponent * x) if self.exponent is not None else -x)

    def reaches(self, value: float) -> bool:
        """Whether `value` is on this side of the asymptote."""
        return self.exponent is None or (value - self.level) / self.amplitude > 0

    def compute_for(self, value: float) -> float | None:
        """Where the curve reaches `value`; None beyond the asymptote, and where the number is too large to mean anything."""
        if not self.reaches(value):
            return None
        share = (value - self.level) / self.amplitude
        x = -share if self.exponent is None else -log(share) / self.exponent
        return exp(x) * self.reference if abs(x) < 300 else None


@dataclass(frozen=True)
class ComputeUnits:
    """One arm at one compute. A number that does not exist is None and `note` says why."""

    arm: Level
    compute: float
    """FLOPs of the arm's trials."""
    mean: float
    n: int
    """The arm's finished seeds."""
    matched: float | None
    """FLOPs at which the base's curve has the arm's mean."""
    factor: float | None
    """`matched / compute`: 2 means that the base needs twice the compute."""
    interval: tuple[float | None, float | None] | None
    """Of the factor; None for an open end."""
    level: float
    extrapolation_decades: float | None
    """Decades that `matched` lies outside the base's computes; 0 inside."""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"interval": self.interval and list(self.interval)}


@dataclass(frozen=True)
class ComputeReport:
    curve: BaseCurve
    arms: tuple[ComputeUnits, ...]

    def to_json(self) -> dict[str, Any]:
        curve = asdict(self.curve) | {"compute_range": list(self.curve.compute_range)}
        return {"curve": curve, "arms": [arm.to_json() for arm in self.arms]}


def compute_units(frame: pd.DataFrame, *, baseline: Level, metric: str, goal: Literal["min", "max"], level: float = 0.95) -> ComputeReport:
    """Every arm at each of its computes, from `arm, compute, seed, <metric>` (optionally `state`) with the base at 3 computes or more.

    Simulated coverage of the 95 % interval (250 studies a cell, SE 0.014; losses of 2.2 to 3 over 3 decades, noise 0.005 or 0.03; arms
    worth x1.3 and x3): 0.93 to 0.96 with 4 to 6 computes of 3 or 5 seeds, 0.92 to 0.94 with 5 computes of one seed, 0.97 with 8; 0.94 to
    0.96 where the truth is straight in ln C. Three computes on a curve that bends: the lack of fit shows and the interval is open; under
    noise of 0.1, which hides the bend, 0.93 to 0.96. Seeds that shift all arms and computes alike make it wide: 0.99.
    """
    if goal not in ("min", "max"):
        raise InputError(f"goal: unknown '{goal}' (min, max)")
    if not 0 < level < 1:
        raise InputError(f"confidence level {level}: must lie between 0 and 1")
    table, left_out = trial_values(frame, keys=["arm", "compute"], metric=metric)
    for compute in table["compute"]:
        positive(compute, what="column compute")
    base = table[table["arm"] == baseline]
    if not (frame["arm"] == baseline).any():
        found = [str(arm) for arm in dict.fromkeys(frame["arm"])]
        raise InputError(f"no arm '{baseline}' to compare with (there: {', '.join(found)}){did_you_mean(str(baseline), found)}")
    if base["compute"].nunique() < 3:
        raise InputError(f"arm {baseline}: finished at {base['compute'].nunique()} computes; its scaling curve needs 3, better 5")
    fit = _fit(base["compute"].to_numpy(dtype=float), base["value"].to_numpy(dtype=float))
    others = table[table["arm"] != baseline]
    trials: dict[tuple[Any, float], list[float]] = {}
    for arm, compute, value in zip(others["arm"], others["compute"], others["value"], strict=True):
        trials.setdefault((arm, float(compute)), []).append(float(value))
    units = (
        _units(arm, compute, np.array(values), fit=fit, goal=goal, level=level, note=left_out) for (arm, compute), values in trials.items()
    )
    return ComputeReport(fit.curve, tuple(units))


class _Fit(NamedTuple):
    curve: BaseCurve
    unscaled: Array
    """Covariance of the parameters for noise of SD 1."""
    squares: float
    exact: bool
    lacking: bool
    """Whether the means scatter about the curve more than the seeds explain."""

    def gradient(self, x: Array) -> Array:
        """[points, parameters] of the curve at x = ln(C / C0)."""
        return _gradient(x, exponent=self.curve.exponent, amplitude=self.curve.amplitude)


def _gradient(x: Array, *, exponent: float | None, amplitude: float) -> Array:
    if exponent is None:
        return np.stack([np.ones_like(x), -x], axis=1)
    decay = np.exp(-exponent * x)
    return np.stack([np.ones_like(x), decay, -amplitude * x * decay], axis=1)


def _fit(compute: Array, values: Array) -> _Fit:
    reference = exp(float(np.log(np.unique(compute)).mean()))
    x = np.log(compute / reference)
    distinct = len(np.unique(compute))
    exponent = _best_exponent(x, values) if distinct >= POWER_LAW_COMPUTES else None
    basis = _gradient(x, exponent=exponent, amplitude=0.0)[:, :2]
    (level, amplitude), *_ = np.linalg.lstsq(basis, values)
    level, amplitude = float(level), float(amplitude)
    jacobian = _gradient(x, exponent=exponent, amplitude=amplitude)
    parameters = jacobian.shape[1]
    squares = float(np.sum((values - basis @ [level, amplitude]) ** 2))
    groups = [values[compute == each] for each in np.unique(compute)]
    means = [float(group.mean()) for group in groups]
    within = sum(float(np.sum((group - group.mean()) ** 2)) for group in groups)
    df, df_within, df_between = len(x) - parameters, len(x) - distinct, distinct - parameters
    exact = sqrt(squares / df) <= EXACT * max(means[0] - means[-1], means[-1] - means[0], 1e-300)
    p = None
    if df_within and not exact:
        p = 0.0 if within == 0 else float(stats.f.sf(max(0.0, squares - within) / df_between / (within / df_within), df_between, df_within))
    lacking = p is not None and p < 0.05
    variance, df = ((squares - within) / df_between, df_between) if lacking else (squares / df, df)
    straight = "taken as straight in ln C"
    notes = joined(
        f"{distinct} computes cannot show a bend: the curve is {straight}" if distinct < POWER_LAW_COMPUTES else "",
        f"the base's points give no exponent: the curve is {straight}" if distinct >= POWER_LAW_COMPUTES and exponent is None else "",
        f"the base's means scatter about the curve more than its seeds explain (p = {p:.2g}): the interval is as wide" if lacking else "",
    )
    computes = float(compute.min()), float(compute.max())
    curve = BaseCurve(
        kind="log_linear" if exponent is None else "power_law",
        asymptote=None if exponent is None else level,
        level=level,
        amplitude=amplitude,
        exponent=exponent,
        reference=reference,
        compute_range=computes,
        residual_sd=sqrt(variance),
        df=df,
        lack_of_fit_p=p,
        note=notes,
    )
    unscaled = np.asarray(np.linalg.pinv(jacobian.T @ jacobian), dtype=np.float64)
    return _Fit(curve, unscaled, variance * df, exact, lacking)


def _best_exponent(x: Array, values: Array) -> float | None:
    """Least squares in E and A for each exponent, then the best exponent; None at an end of the range."""

    def squares(log_exponent: float) -> float:
        decay = np.exp(-exp(log_exponent) * x)
        decay -= decay.mean()
        return -(float(decay @ values) ** 2) / float(decay @ decay)

    grid = np.linspace(log(EXPONENTS[0]), log(EXPONENTS[1]), 40)
    heights = [squares(float(point)) for point in grid]
    at = int(np.argmin(heights))
    if at in (0, len(grid) - 1):
        return None
    best = optimize.minimize_scalar(squares, bounds=(float(grid[at - 1]), float(grid[at + 1])), method="bounded", options={"xatol": 1e-9})
    return exp(float(best.x))


def _units(arm: Level, compute: float, values: Array, *, fit: _Fit, goal: Literal["min", "max"], level: float, note: str) -> ComputeUnits:
    curve, mean = fit.curve, float(values.mean())
    bare = (arm.item() if isinstance(arm, np.generic) else arm, compute, mean, len(values))
    if (curve.amplitude > 0) != (goal == "min") or curve.amplitude == 0:
        worse = "the base does not get better with compute: no amount of it matches an arm"
        return ComputeUnits(*bare, None, None, None, level, None, joined(worse, curve.note, note))
    matched = curve.compute_for(mean)
    interval, open_ends = _interval(values, fit=fit, compute=compute, matched=matched, level=level)
    decades = None if matched is None else max(0.0, log10(matched / curve.compute_range[1]), log10(curve.compute_range[0] / matched))
    low, high = curve.compute_range
    said = joined(
        "" if matched is not None else _unmatched(curve, mean),
        f"extrapolated by {decades:.1f} decades outside the base's {low:.2g} to {high:.2g} FLOPs" if decades else "",
        open_ends,
        curve.note,
        note,
    )
    return ComputeUnits(*bare, matched, None if matched is None else matched / compute, interval, level, decades, said)


def _unmatched(curve: BaseCurve, mean: float) -> str:
    if curve.reaches(mean):
        return f"the curve reaches the arm's {mean:.4g} only more than 100 decades away: too flat, or the arm too different, for a number"
    return f"the arm's {mean:.4g} is beyond the curve's asymptote {curve.level:.4g}: no compute of the base matches it"


def _interval(
    values: Array, *, fit: _Fit, compute: float, matched: float | None, level: float
) -> tuple[tuple[float | None, float | None] | None, str]:
    """The computes around `matched` (or up to the largest, where there is none) at which the curve passes for the arm's mean."""
    curve, mean = fit.curve, float(values.mean())
    if matched is None and curve.reaches(mean):
        return None, ""
    if fit.exact:
        return None, "no interval: the base's points lie exactly on the curve, so there is no noise to build one from"
    df, variance = curve.df, curve.residual_sd**2
    if not fit.lacking:
        df = curve.df + len(values) - 1
        variance = (fit.squares + float(np.sum((values - mean) ** 2))) / df
    critical = float(stats.t.ppf((1 + level) / 2, df))

    def apart(x: float) -> float:
        """Below 0 where the two cannot be told apart."""
        row = fit.gradient(np.array([x]))[0]
        error = sqrt(variance * (float(row @ fit.unscaled @ row) + 1 / len(values)))
        return abs(curve.at(exp(x) * curve.reference) - mean) - critical * error

    low, high = (log(end / curve.reference) for end in curve.compute_range)
    ends = (low - REACH, high + REACH)
    start = ends[1] if matched is None else log(matched / curve.reference)
    if not ends[0] <= start <= ends[1]:
        return None, "no interval: the match lies more than eight decades outside the base's computes"
    if apart(start) > 0:
        return None, "no interval: the arm is beyond the asymptote by more than the noise"
    found = [None if end is None else exp(end) * curve.reference / compute for end in (_edge(apart, start, end) for end in ends)]
    words = [f"open {way}" for way, end in zip(("downward", "upward"), found, strict=True) if end is None]
    return (found[0], found[1]), f"the interval is {' and '.join(words)}: the curve is too flat there for its noise" if words else ""


def _edge(apart: Callable[[float], float], start: float, end: float) -> float | None:
    """First place from `start` towards `end` where the two can be told apart; None where there is none."""
    inside = start
    for x in np.linspace(start, end, 400)[1:]:
        if not isfinite(height := apart(float(x))):
            return None
        if height > 0:
            return float(optimize.brentq(apart, inside, float(x)))
        inside = float(x)
    return None
