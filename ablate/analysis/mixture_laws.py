"""Runs on several data mixtures become one law of the metric in the shares of the sources, and the mixture it holds best.

A law is an interpolation between the mixtures tried. How far to trust it say the errors of mixtures left out of the fit; an optimum at the
edge of what was tried is a direction, not a place. Forms, their papers and how they are fitted: `mixture_forms`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, sqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from ablate.analysis.columns import all_numbers, row_name
from ablate.analysis.effects import LARGEST
from ablate.analysis.laws import positive
from ablate.analysis.mixture_forms import Floats, Form, Points, Shape, bounds, descend, fit, lowest, predict
from ablate.analysis.mixture_optimum import BestMixture, Evidence, always_a_corner, edges, limits_of, spread
from ablate.analysis.optima import Goal
from ablate.errors import InputError, did_you_mean

FORMS: tuple[Form, ...] = ("exponential", "linear", "additive", "joint")
SUM_SLACK = 1e-3
"""How far the shares of a mixture may add up to something else than 1; they are then scaled to 1."""


class LeftOut(NamedTuple):
    """Each mixture predicted by the law fitted to the others, all runs of a mixture being left out together."""

    rmse: float
    """In the metric's unit, over runs."""
    r2: float
    """1 - squared errors / squares around the mean; below 0 the mean of all runs predicts better than the law."""
    rank: float | None
    """Spearman's correlation of predictions and values; None where the predictions are all the same."""


@dataclass(frozen=True)
class MixtureLaw:
    """The metric as a function of the shares of the sources, and of N and D where the form has terms for them."""

    form: Form
    metric: str
    goal: Goal
    sources: tuple[str, ...]
    sizes: tuple[str, ...]
    """Columns of N and D that the law has a term for."""
    constants: Mapping[str, float]
    """By the names of `mixture_forms`, a source's in brackets. With goal max they are those of minus the metric. `k` is the exponential at
    the even mixture: c + k exp(sum t_j r_j) with the t adding up to 0, since shares add up to 1 and k alone is not determined."""
    rows: int
    mixtures: int
    """Distinct ones."""
    residual_sd: float | None
    """In the metric's unit, over rows - constants degrees of freedom; None without any."""
    left_out: LeftOut | None
    """None where the mixtures without one are too few for a fit."""
    warnings: tuple[str, ...]
    outside: tuple[str, ...]
    """Those of the warnings that say that the best mixture is an extrapolation."""
    seed: int
    _fitted: "_Fitted" = field(repr=False, compare=False)

    def value(self, proportions: Mapping[str, float], *, n_params: float | None = None, tokens: float | None = None) -> float:
        """The metric at a mixture; N and D must be said where the law has a term for them."""
        shares = np.array([_shares(self.sources, proportions)])
        logs = self._logs(n_params=n_params, tokens=tokens)
        if logs is None:
            raise InputError(f"the law has a term for {' and '.join(self.sizes)}: say the value of each")
        return self._fitted.value(Points(shares, logs[None]))

    def best(
        self,
        *,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        n_params: float | None = None,
        tokens: float | None = None,
        resamples: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> BestMixture:
        """The mixture with the best metric, each share inside its bounds (0 to 1); of the joint form at a size, which moves it.

        With `resamples` it has intervals; `progress` hears how many are done, 0.02 to 0.04 s each.
        """
        limits = limits_of(self.sources, bounds or {})
        logs = self._logs(n_params=n_params, tokens=tokens)
        if logs is None and self.form == "joint":
            raise InputError(f"the best mixture of the joint form depends on {' and '.join(self.sizes)}: say the value of each")
        held = np.zeros(len(self.sizes)) if logs is None else logs  # of the additive form any size has the same best mixture
        fitted = self._fitted
        shares = fitted.lowest(held, low=limits.low, high=limits.high, seed=self.seed)
        value = None if logs is None else fitted.value(Points(shares[None], held[None]))
        named = {name: max(0.0, float(share)) for name, share in zip(self.sources, shares, strict=True)}
        notes = (*edges(self.sources, shares, fitted.points.h), *always_a_corner(fitted.shape))
        if not resamples:
            return BestMixture(named, value, notes)
        found = spread(
            fitted.shape, fitted.theta, fitted.evidence, logs=held, limits=limits, resamples=resamples, seed=self.seed, progress=progress
        )
        ends = None if found.value is None or logs is None else sorted(fitted.sign * end for end in found.value)
        return BestMixture(
            named,
            value,
            (*notes, found.note) if found.note else notes,
            None if found.shares is None else dict(zip(self.sources, found.shares, strict=True)),
            None if ends is None else (ends[0], ends[1]),
            0 if found.shares is None else resamples,
        )

    def to_json(self) -> dict[str, Any]:
        names = ("form", "metric", "goal", "rows", "mixtures", "residual_sd", "seed")
        lists = {name: list(getattr(self, name)) for name in ("sources", "sizes", "warnings")}
        return (
            {name: getattr(self, name) for name in names}
            | lists
            | {
                "constants": dict(self.constants),
                "left_out": self.left_out and self.left_out._asdict(),
            }
        )

    def _logs(self, *, n_params: float | None, tokens: float | None) -> Floats | None:
        """Centred as in the fit; None where one that the law needs is missing."""
        given = {"n_params": n_params, "tokens": tokens}
        said = [positive(value, what=what) for what in self._fitted.kinds if (value := given[what]) is not None]
        return None if len(said) < len(self.sizes) else np.log(said) - self._fitted.centres


def fit_mixture_law(
    frame: pd.DataFrame,
    *,
    proportions: Sequence[str],
    metric: str,
    form: Form,
    called: str = "",
    goal: Goal = "min",
    n_params: str | None = None,
    tokens: str | None = None,
    seed: int = 0,
) -> MixtureLaw:
    """From one row a run (shares of the sources in the columns `proportions`, metric, and N and D if they vary) to the law.

    `linear` is RegMix's linear variant; the LightGBM that RegMix prefers is not among our packages. The coefficients of `joint` are ours:
    the paper's A and B depend on the shares too, but in a form not known here. `called`: the form by the name that the caller knows.
    """
    sizes = {"n_params": n_params, "tokens": tokens}
    runs = _runs(frame, proportions=proportions, metric=metric, form=form, called=called or form, goal=goal, sizes=sizes)
    shape = Shape(form, len(runs.sources), len(runs.kinds))
    _check_enough(runs, shape, called=called or form)
    theta = fit(shape, runs.points, runs.values, seed=seed)
    errors = _left_out_errors(shape, theta, runs)
    evidence = Evidence(runs.points, runs.values, runs.mixture, errors)
    fitted = _Fitted(shape, theta, evidence, runs.sign, runs.kinds, runs.centres)
    residuals = predict(shape, theta, runs.points)[0] - runs.values
    df = len(residuals) - shape.constants
    left_out = None if errors is None else _left_out(errors, runs)
    largest = runs.points.logs.max(axis=0)
    best = fitted.lowest(largest, low=np.zeros(shape.sources), high=np.ones(shape.sources), seed=seed)
    outside = _best_warnings(shape, best, runs)
    return MixtureLaw(
        form=form,
        metric=metric,
        goal=goal,
        sources=runs.sources,
        sizes=runs.sizes,
        constants=_constants(shape, theta, runs),
        rows=len(residuals),
        mixtures=int(runs.mixture.max()) + 1,
        residual_sd=sqrt(float(residuals @ residuals) / df) if df > 0 else None,
        left_out=left_out,
        warnings=(*runs.notes, *_warnings(shape, theta, runs, left_out), *outside),
        outside=tuple(outside),
        seed=seed,
        _fitted=fitted,
    )


class _Fitted(NamedTuple):
    shape: Shape
    theta: Floats
    evidence: Evidence
    sign: float
    kinds: tuple[str, ...]
    centres: Floats

    @property
    def points(self) -> Points:
        return self.evidence.points

    def value(self, point: Points) -> float:
        return self.sign * float(predict(self.shape, self.theta, point)[0][0])

    def lowest(self, logs: Floats, *, low: Floats, high: Floats, seed: int) -> Floats:
        return lowest(self.shape, self.theta, logs, tried=self.points.h, low=low, high=high, seed=seed)


class _Runs(NamedTuple):
    sources: tuple[str, ...]
    points: Points
    values: Floats
    """[P], turned so that small is good."""
    sign: float
    mixture: NDArray[np.intp]
    """[P]: which of the distinct mixtures."""
    kinds: tuple[str, ...]
    sizes: tuple[str, ...]
    centres: Floats
    notes: tuple[str, ...]


def _runs(
    frame: pd.DataFrame, *, proportions: Sequence[str], metric: str, form: Form, called: str, goal: Goal, sizes: Mapping[str, str | None]
) -> _Runs:
    """The frame's numbers, sorted, so that the order of its rows changes nothing; every fault of it at once."""
    if form not in FORMS:
        raise InputError(f"form: unknown '{form}' ({', '.join(FORMS)}){did_you_mean(str(form), FORMS)}")
    if goal not in ("min", "max"):
        raise InputError(f"goal: unknown '{goal}' (min, max)")
    if len(set(proportions)) < max(2, len(proportions)):
        raise InputError(f"proportions: {', '.join(proportions) or 'none'}; a mixture needs two columns or more, each named once")
    named = {kind: column for kind, column in sizes.items() if column is not None}
    found = all_numbers(frame, [*proportions, metric, *named.values()])
    read = {name: np.asarray(column, dtype=np.float64) for name, column in found.items()}
    shares, values = np.column_stack([read[name] for name in proportions]), read[metric]
    if frame.empty:
        raise InputError("the frame has no rows")
    problems = _share_problems(frame, shares, proportions)
    if (bad := ~(np.abs(values) <= LARGEST)).any():
        problems.append(f"column {metric}: no finite number in {_rows(frame, bad)}; drop diverged and unfinished runs first")
    elif len(values) and np.ptp(values) == 0:
        problems.append(f"column {metric}: all values are the same; there is nothing to fit")
    columns = {kind: read[column] for kind, column in named.items()}
    for kind, column in columns.items():
        if (bad := ~(column > 0) | ~np.isfinite(column)).any():
            problems.append(f"column {named[kind]}: not a positive, finite number in {_rows(frame, bad)}")
    varying = {kind: column for kind, column in columns.items() if len(np.unique(column)) > 1}
    if varying and form in ("linear", "exponential"):
        told = ", ".join(named[kind] for kind in varying)
        problems.append(f"form {called} has no term for a size, but {told} varies: take additive or joint, or fit one size at a time")
    if not varying and form == "joint":
        problems.append("form joint needs N or D (n_params, tokens) to vary between the runs; take additive")
    if problems:
        raise InputError("\n".join(problems))
    sign = 1.0 if goal == "min" else -1.0
    logs = np.column_stack([np.log(column) for column in varying.values()]) if varying else np.zeros((len(frame), 0))
    centres = np.array([column.mean() for column in np.sort(logs, axis=0).T])  # sorted: the sum of another order has other last digits
    order = np.lexsort((values, *logs.T, *shares.T))
    h = (shares / shares.sum(axis=1, keepdims=True))[order]
    dropped = [f"{named[kind]} does not vary: the law has no term for it" for kind in columns if kind not in varying]
    return _Runs(
        sources=tuple(proportions),
        points=Points(h, (logs - centres)[order]),
        values=sign * values[order],
        sign=sign,
        mixture=np.unique(h.round(9), axis=0, return_inverse=True)[1].ravel(),
        kinds=tuple(varying),
        sizes=tuple(named[kind] for kind in varying),
        centres=centres,
        notes=tuple(dropped),
    )


def _share_problems(frame: pd.DataFrame, shares: Floats, sources: Sequence[str]) -> list[str]:
    problems = []
    for name, column in zip(sources, shares.T, strict=True):
        if (bad := ~np.isfinite(column)).any():
            problems.append(f"column {name}: no share in {_rows(frame, bad)}; write 0 where a source is not used")
        if (bad := column < 0).any():
            problems.append(f"column {name}: negative share in {_rows(frame, bad)}")
    sums = shares.sum(axis=1)
    if (off := np.abs(sums - 1) > SUM_SLACK + 1e-12).any():
        first = f"the first to {sums[off][0]:.4g}"
        problems.append(f"proportions do not add up to 1 in {_rows(frame, off)}, {first}: divide by their sum, or name the missing source")
    return problems


def _rows(frame: pd.DataFrame, bad: NDArray[np.bool_]) -> str:
    """rows 3, 4, 7, ... (12): by the frame's own index, or lines of a file."""
    names = [str(name) for name in frame.index[bad]]
    first, *others = names[:5]
    return ", ".join([row_name(frame, first).replace(" ", "s " if others else " "), *others]) + (
        f", ... ({len(names)})" if len(names) > 5 else ""
    )


def _check_enough(runs: _Runs, shape: Shape, *, called: str) -> None:
    mixtures = int(runs.mixture.max()) + 1
    problems = []
    if mixtures < shape.of_mixture:
        problems.append(
            f"{mixtures} distinct mixtures: the {called} form of {shape.sources} sources has {shape.of_mixture} constants that only "
            "mixtures determine; add mixtures or take a simpler form"
        )
    elif np.linalg.matrix_rank(runs.points.h, tol=1e-6) < shape.sources:
        problems.append("the shares of some sources move together or stay at 0 in all mixtures: merge or leave out such a source")
    points = len(np.unique(np.column_stack([runs.mixture, runs.points.logs]), axis=0))
    if points < shape.constants:
        problems.append(f"{points} distinct runs: the {called} form has {shape.constants} constants here; add runs at other sizes")
    if problems:
        raise InputError("\n".join(problems))


def _constants(shape: Shape, theta: Floats, runs: _Runs) -> dict[str, float]:
    sources, k = runs.sources, shape.sources
    if shape.form == "linear":
        return {f"w[{name}]": float(runs.sign * value) for name, value in zip(sources, theta, strict=True)}
    if shape.form == "exponential":
        scale = float(theta[1:].mean())
        return {"c": float(theta[0]), "k": exp(scale)} | {
            f"t[{name}]": float(value - scale) for name, value in zip(sources, theta[1:], strict=True)
        }
    found = {"E": float(theta[0])}
    found |= {f"C[{name}]": exp(value) for name, value in zip(sources, theta[1 : 1 + k], strict=True)}
    found |= {f"g[{name}]": float(value) for name, value in zip(sources, theta[1 + k : 1 + 2 * k], strict=True)}
    for kind, centre, (coefficients, exponent) in zip(runs.kinds, runs.centres, shape.size_terms(theta), strict=True):
        letter, power = ("A", "alpha") if kind == "n_params" else ("B", "beta")
        logs = coefficients + exponent * centre  # from the centre of the data to N = 1 or D = 1
        if shape.form == "joint":
            found |= {f"ln{letter}[{name}]": float(value) for name, value in zip(sources, logs, strict=True)}
        else:
            found[letter] = exp(float(logs[0]))
        found[power] = exponent
    return found


def _left_out_errors(shape: Shape, theta: Floats, runs: _Runs) -> Floats | None:
    """Each fit starts from that to all mixtures; which valley that lies in, the one left out had its say in."""
    predicted = np.empty_like(runs.values)
    for mixture in range(int(runs.mixture.max()) + 1):
        out = runs.mixture == mixture
        kept = Points(runs.points.h[~out], runs.points.logs[~out])
        known = len(np.unique(runs.mixture[~out])) >= shape.of_mixture and (~out).sum() >= shape.constants
        if not known or np.ptp(runs.values[~out]) == 0 or np.linalg.matrix_rank(kept.h, tol=1e-6) < shape.sources:
            return None
        refitted = descend(shape, theta, kept, runs.values[~out])
        predicted[out] = predict(shape, refitted, Points(runs.points.h[out], runs.points.logs[out]))[0]
    return predicted - runs.values


def _left_out(errors: Floats, runs: _Runs) -> LeftOut:
    predicted = runs.values + errors
    around = runs.values - runs.values.mean()
    rank = float(stats.spearmanr(predicted, runs.values).statistic) if np.ptp(predicted) > 0 else None
    return LeftOut(sqrt(float(np.mean(errors**2))), 1 - float(errors @ errors) / float(around @ around), rank)


def _shares(sources: Sequence[str], proportions: Mapping[str, float]) -> Floats:
    problems = [f"no source '{name}' ({', '.join(sources)}){did_you_mean(name, sources)}" for name in proportions if name not in sources]
    problems += [f"no share of {name}: write 0 where it is not used" for name in sources if name not in proportions]
    shares = np.array([float(proportions.get(name, 0)) for name in sources])
    if not problems and not (shares >= 0).all():
        problems.append(f"negative share of {sources[int(np.argmin(shares >= 0))]}")
    if not problems and not abs(shares.sum() - 1) <= SUM_SLACK + 1e-12:
        problems.append(f"proportions add up to {shares.sum():.4g}, not to 1")
    if problems:
        raise InputError("\n".join(problems))
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def _best_warnings(shape: Shape, best: Floats, runs: _Runs) -> list[str]:
    at = " at the largest size tried" if shape.form == "joint" else ""
    return [f"the best mixture{at} is an extrapolation: {note}" for note in edges(runs.sources, best, runs.points.h)]


def _warnings(shape: Shape, theta: Floats, runs: _Runs, left_out: LeftOut | None) -> list[str]:
    found = []
    mixtures = int(runs.mixture.max()) + 1
    if mixtures < shape.of_mixture + 2:
        found.append(f"{mixtures} distinct mixtures for {shape.of_mixture} constants of the mixture: add at least two more to see an error")
    if left_out is None:
        found.append("no error of left-out mixtures: without one of them the law is not determined")
    elif left_out.r2 < 0.5:
        found.append(f"mixtures left out of the fit are predicted badly (R2 {left_out.r2:.2f}): do not choose a mixture by this law")
    if shape.form != "linear":
        low, high = bounds(shape, runs.values)
        stuck = (theta - low < 1e-6 * (high - low)) | (high - theta < 1e-6 * (high - low))
        if stuck.any():
            found.append(f"{int(stuck.sum())} of {shape.constants} constants lie at their bounds: the runs do not determine them")
    return found
