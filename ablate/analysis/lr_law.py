"""Runs at several sizes and rates become a report on the best rate: an optimum a size, the law through them, and what to beware of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from math import log, sqrt
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.far_runs import far_runs
from ablate.analysis.law_comparison import FormFit, SlopeComparison, compare_forms, compare_slopes
from ablate.analysis.law_fit import TOO_WIDE, Form, LawFit, LeftOut, NoNumber, fit_power_law, leave_largest_out
from ablate.analysis.laws import Definitions, Prediction, decades_outside, extrapolation_notes, positive, rate_label, size_label
from ablate.analysis.optima import DIVERGED, FINISHED, OPTIONAL, Cell, Goal, Optimum, cells_of, curve_of, finished_runs, rate_step
from ablate.analysis.published import PUBLISHED
from ablate.analysis.trial_values import counts_of, several
from ablate.errors import InputError
from ablate.quantities import counted

TARGET = 30e9
CLEARLY = 2.0
"""Difference of AICc from which a form is said to describe the optima better."""


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
    edges: tuple[str, ...] = ()
    """Those of the warnings that ask for a rate beyond a size's grid, because its optimum is at an end or may lie beyond it."""

    @cached_property
    def leave_largest_out(self) -> LeftOut | None:
        """None with fewer than three sizes."""
        return None if self.fit is None else leave_largest_out(self.fit)

    @cached_property
    def forms(self) -> tuple[FormFit, ...]:
        """N; N and D; N and batch; C over the same optima."""
        return compare_forms(self.optima)

    @cached_property
    def slopes(self) -> tuple[SlopeComparison, ...]:
        """The fit's slopes against none and against the published laws that read the same."""
        return () if self.fit is None else compare_slopes(self.fit, published=PUBLISHED.values())

    @property
    def excluded(self) -> tuple[Optimum, ...]:
        return tuple(optimum for optimum in self.optima if optimum.lr is None)

    def to_json(self) -> dict[str, Any]:
        fit = self.fit
        slopes, errors = (fit.slopes, fit.se_slopes) if fit else ({"n_params": None}, {"n_params": None})
        law: dict[str, Any] = {
            "slopes": dict(slopes),
            "intercept": fit and fit.intercept,
            "se": {**errors, "intercept": fit and fit.se_intercept},
            "tau": fit and fit.tau,
            "df": fit and fit.df,
            "method": fit and fit.method,
            "prior": fit and fit.prior,
        }
        return {
            "law": law,
            "form": fit and fit.form,
            "definitions": asdict(fit.definitions) if fit and fit.definitions else None,
            "optima": [optimum.to_json() for optimum in self.optima],
            "excluded": [{"n_params": optimum.n_params, "reason": optimum.status} for optimum in self.excluded],
            "prediction": self.prediction and self.prediction.to_json(),
            "leave_largest_out": self.leave_largest_out and self.leave_largest_out.to_json(),
            "forms": [form.to_json() for form in self.forms],
            "slopes_compared": [slope.to_json() for slope in self.slopes],
            "warnings": list(self.warnings),
        }


def fit_runs(
    runs: pd.DataFrame,
    *,
    metric: str,
    goal: Goal,
    target: float | None = TARGET,
    at: Mapping[str, float] | None = None,
    form: Form = "N",
    definitions: Definitions | None = None,
    tau_prior: float | None = None,
) -> LawReport:
    """From runs `n_params, lr, seed, <metric>` and optionally `status, tokens, batch_tokens, n_counts` to the law.

    `at`: what a form of more than N reads at the target (`tokens`, `batch_tokens`, `compute`).
    """
    table = finished_runs(runs, metric=metric, goal=goal)
    require_sizes(table)
    optima = curve_of(table, goal=goal).optima
    request = _Request(target, at or {}, form, definitions, tau_prior)
    cells = cells_of(table)
    edges = chain.from_iterable(_edge_warnings(optimum, cells[optimum.cell]) for optimum in optima)
    report = _report(optima, request, metric=metric, goal=goal, warnings=_run_warnings(runs, table, optima))
    return replace(report, edges=tuple(edges))


def fit_points(
    points: pd.DataFrame,
    *,
    target: float | None = TARGET,
    at: Mapping[str, float] | None = None,
    form: Form = "N",
    definitions: Definitions | None = None,
    tau_prior: float | None = None,
) -> LawReport:
    """From known optima `n_params, eta` and optionally `se_ln, tokens, batch_tokens`: one a size, or a size and its tokens."""
    require_columns(points, ["n_params", "eta"])
    sizes = numbers(points, "n_params")
    for size in sizes:
        positive(size, what="column n_params")
    if sizes.nunique() < 2:
        raise InputError(f"column n_params: {sizes.nunique()} sizes; a law needs at least two, better four")
    table = pd.DataFrame(
        {"n_params": sizes, "eta": numbers(points, "eta")}
        | {column: numbers(points, column) if column in points else np.nan for column in ("se_ln", *OPTIONAL)}
    )
    if (repeated := table.duplicated(["n_params", *OPTIONAL])).any():
        twice = size_label(float(sizes[repeated].iloc[0]))
        raise InputError(f"column n_params: {twice} occurs twice; give one optimum a size (or tell them apart by tokens or batch_tokens)")
    given = [column for column in OPTIONAL if column in points]
    rows = table.sort_values(["n_params", *OPTIONAL]).to_dict("records")
    return _report(tuple(_point(row, given=given) for row in rows), _Request(target, at or {}, form, definitions, tau_prior))


def require_sizes(table: pd.DataFrame) -> None:
    """Of finished runs: raises InputError where they are of one size."""
    if (sizes := table["n_params"].nunique()) < 2:
        raise InputError(f"column n_params: {counted(sizes, 'size')} with a finished run; a law needs at least two, better four")


def _point(row: Mapping[Any, float], *, given: Sequence[str]) -> Optimum:
    rate = positive(row["eta"], what="column eta")
    error = row["se_ln"]
    if error < 0 or np.isinf(error):
        raise InputError(f"column se_ln: {error} is not a standard error")
    counts: Mapping[str, Any] = {column: positive(row[column], what=f"column {column}") for column in given}
    return Optimum(
        n_params=row["n_params"],
        lr=rate,
        se_ln=None if np.isnan(error) else error,
        curvature=None,
        bound=(None, None),
        near_optimal=(),
        grid_best=None,
        status="given",
        n_runs=0,
        n_diverged=0,
        n_seeds=0,
        **counts,
    )


@dataclass(frozen=True)
class _Request:
    """What was asked of the fit."""

    target: float | None
    at: Mapping[str, float]
    form: Form
    definitions: Definitions | None
    tau_prior: float | None


def _report(
    optima: tuple[Optimum, ...],
    request: _Request,
    *,
    metric: str | None = None,
    goal: Goal | None = None,
    warnings: Sequence[str] = (),
) -> LawReport:
    usable = {optimum.n_params for optimum in optima if optimum.lr is not None}
    if len(usable) < 2:
        sizes = len({optimum.n_params for optimum in optima})
        said = f"no law: {len(usable)} of {sizes} sizes have an optimum inside their grid of rates, and a law needs two"
        return LawReport(None, optima, None, (said, *warnings), metric, goal)
    fit = fit_power_law(optima, form=request.form, definitions=request.definitions, tau_prior=request.tau_prior)
    prediction, lacking = None, []
    if request.target is not None:
        try:
            prediction = fit.predict(request.target, **request.at)
        except NoNumber as error:
            return LawReport(None, optima, None, (f"no law: {error}", *warnings), metric, goal)
        except InputError as error:
            if fit.form == "N":
                raise
            lacking = [f"no prediction: {error}"]
    report = LawReport(fit, optima, prediction, (), metric, goal)
    return replace(report, warnings=(*lacking, *_fit_warnings(fit, prediction), *_form_warnings(report), *warnings))


def _form_warnings(report: LawReport) -> Iterable[str]:
    """A form that describes the same optima clearly better than the one that was fitted."""
    fit = report.fit
    criteria = {form.form: form.aicc for form in report.forms if form.aicc is not None}
    if fit is None or fit.form not in criteria:
        return
    best = min(criteria, key=lambda form: criteria[form])
    if criteria[fit.form] - criteria[best] > CLEARLY:
        better = f"{criteria[fit.form] - criteria[best]:.1f}"
        yield f"the form {best} describes these optima better than {fit.form} (AICc lower by {better}); fit it with --form {best}"


def _fit_warnings(fit: LawFit, prediction: Prediction | None) -> list[str]:
    sizes = len({optimum.n_params for optimum in fit.used})
    low, high = fit.n_range
    found = [fit.no_interval] if fit.no_interval else [TOO_WIDE] if prediction and prediction.interval is None else []
    if sizes < 8:
        found.append(f"log-linearity is assumed: {sizes} sizes cannot show a bend of the law")
    if fit.prior:
        found.append(f"the interval rests on a prior: {fit.prior}; if the sizes scatter more, it is too narrow")
    elif fit.df in (1, 2) and not fit.no_interval:
        found.append(f"df = {fit.df}: the interval is wide because {sizes} sizes say little of their scatter")
    if log(high / low) < log(10):
        found.append(f"the sizes span a factor of {high / low:.2g}; the slope rests on less than one decade")
    if prediction is not None and prediction.n_params and "n_params" in fit.slopes:
        notes = extrapolation_notes(decades_outside(prediction.n_params, fit.n_range), fit.n_range)
        found += [f"{size_label(prediction.n_params)} is {note}" for note in notes]
    if fit.definitions is None:
        found.append(
            "what N counts, batch, horizon, schedule and decay are not recorded, so the law is compared with no published one "
            "(`law.definitions` of a study, --definitions of a CSV)"
        )
    return found


def far_out(table: pd.DataFrame) -> list[str]:
    """Finished runs that no neighbour explains, in words."""
    told = [
        f"{cell_label(run.cell)} at rate {rate_label(run.lr)}, seed {run.seed}: {run.value:.4g} "
        f"(the others of its size: {run.others[0]:.4g} to {run.others[1]:.4g})"
        for run in far_runs(table)
    ]
    said = f"it moves the optima, and nothing was left out; if it diverged, give it the status {DIVERGED}"
    return [f"far from all other runs: {several(told, apart='; ')}; {said}"] if told else []


def left_out(runs: pd.DataFrame) -> list[str]:
    """How many runs say nothing of any rate, and why."""
    others = runs["status"][~runs["status"].isin(FINISHED)] if "status" in runs else pd.Series(dtype=object)
    if others.empty:
        return []
    said = f"{len(others)} of {counted(len(runs), 'run')} left out ({counts_of(others)}): only what diverged is worse than all others"
    return [said + f" (status `{DIVERGED}`, or finished without a finite metric)"]


def _run_warnings(runs: pd.DataFrame, table: pd.DataFrame, optima: Sequence[Optimum]) -> list[str]:
    cells = cells_of(table)
    found = list(chain.from_iterable(_optimum_warnings(optimum, cells[optimum.cell]) for optimum in optima))
    seeds = table.dropna(subset="value").groupby(["n_params", *OPTIONAL, "lr"], dropna=False)["seed"].nunique()
    if seeds.max() == 1 and any(optimum.lr and optimum.se_ln is None for optimum in optima):
        found.append("one seed a rate and too few rates for a shared curve: the optima have no standard errors")
    elif seeds.max() == 1:
        found.append("one seed a rate: the optima's errors are told from how the rates lie around one curve")
    elif seeds.nunique() > 1:
        found.append(f"unequal seeds: {seeds.min()} to {seeds.max()} a rate; means over different seeds are compared")
    found += far_out(table) + left_out(runs)
    if diverged := int(table["value"].isna().sum()):
        found.append(f"{diverged} diverged runs count as worse than all others and are left out of the curves")
    for column in OPTIONAL:
        by_size = table.groupby("n_params")[column]
        if by_size.nunique().max() <= 1 and by_size.first().nunique() > 1:
            found.append(f"{column} changes with the size: the slope mixes its effect with that of N")
    return found


def _optimum_warnings(optimum: Optimum, runs: pd.DataFrame) -> Iterable[str]:
    yield from _edge_warnings(optimum, runs)
    size, best = cell_label(optimum), optimum.grid_best or 0.0
    match optimum.status:
        case "nonconvex":
            said = f"the curve of the other sizes does not fit the rates around its best, {rate_label(best)}, left out of the fit"
            yield f"{size}: {said}; run these again with another seed"
        case "flat":
            yield f"{size}: the metric does not change around the best rate, left out of the fit; try a wider grid"
        case "too_few":
            yield f"{size}: fewer than three rates with a finite metric, left out of the fit"


def _edge_warnings(optimum: Optimum, runs: pd.DataFrame) -> Iterable[str]:
    size = cell_label(optimum)
    rates = sorted(runs["lr"].unique())
    low, high = optimum.bound
    best = optimum.grid_best or 0.0
    left_out = "is the best, left out of the fit"
    match optimum.status:
        case "edge_low" if low is None and best > rates[0]:
            yield f"{size}: {_beyond('below the lowest', rates[0])}; try {rate_label(rates[0] / rate_step(rates))}"
        case "edge_high" if high is None and best < rates[-1]:
            yield f"{size}: {_beyond('above the highest', rates[-1])}; try {rate_label(rates[-1] * rate_step(rates))}"
        case "edge_low" if low is None:
            yield f"{size}: the lowest rate {rate_label(best)} {left_out}; try {rate_label(best / rate_step(rates))}"
        case "edge_high" if high is None:
            yield f"{size}: the highest rate {rate_label(best)} {left_out}; try {rate_label(best * rate_step(rates))}"
        case "edge_low" | "edge_high":
            diverged = (low if optimum.status == "edge_low" else high) or best
            said = f"{size}: {rate_label(best)} {left_out}, because {rate_label(diverged)} beside it diverged"
            yield f"{said}; try {rate_label(sqrt(best * diverged))}"
        case "interior" if optimum.open_side:
            ends = {
                "lower": ("lowest", rates[0], rates[0] / rate_step(rates)),
                "upper": ("highest", rates[-1], rates[-1] * rate_step(rates)),
            }
            shown = [end for side, end in ends.items() if optimum.open_side in (side, "both")]
            yield f"{size}: {optimum.standing}: {'; '.join(_open_end(*end) for end in shown)}"


def _beyond(where: str, rate: float) -> str:
    return f"the curve that all sizes share is best {where} rate {rate_label(rate)}, left out of the fit"


def _open_end(which: str, rate: float, beyond: float) -> str:
    told = f"the {which} rate {rate_label(rate)} cannot be told from the best"
    return f"{told}, so the optimum may lie beyond it, whatever its error; try {rate_label(beyond)}"


def cell_label(optimum: Optimum | Cell) -> str:
    """302M, or 302M at 6B tokens, where the tokens were given."""
    others = {"tokens": optimum.tokens, "tokens a step": optimum.batch_tokens}
    said = " and ".join(f"{size_label(value)} {what}" for what, value in others.items() if value is not None)
    return size_label(optimum.n_params) + (f" at {said}" if said else "")
