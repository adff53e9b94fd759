"""Runs at several rates and sizes become one optimum a cell: the lowest point of a curve around the best rate.

A cell is what differs in rate and seed alone: a size, and where the runs say so its training tokens and tokens a step. The curve's
shape is shared by all cells (`local_curve`), over two steps of the grid to each side of the best rate. Where there are too
few rates for that, it is a parabola through the best rate and its neighbours. More rates would harm: real curves are steeper above the
optimum than below, and a parabola through all of them puts it about 35 % too low. A size whose best rate is the end of its grid has no
optimum: it is flagged, gets a bound, and stays out of the fit. Diverged runs are worse than all others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, inf, isfinite, log, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ablate.analysis.columns import numbers, require_columns, row_name
from ablate.analysis.effects import LARGEST, USABLE
from ablate.analysis.laws import rate_label
from ablate.analysis.local_curve import SharedCurve, Vertex, Window, fit_shared_curve, rise
from ablate.errors import InputError
from ablate.quantities import counted

DIVERGED = "diverged"
MISSING = "missing"
"""Status of a run of which nothing was measured, and nothing said."""
FINISHED = (*USABLE, DIVERGED)
"""States whose missing metric means a diverged run; of the others (queued, running, failed for another cause, ...) nothing is known."""

OPTIONAL = ("tokens", "batch_tokens")
"""Columns that a law may read beside the size."""
ALIKE = 1.02
"""Factor between neighbouring counts of tokens up to which they are the same."""

STEPS = 2
"""Steps of the grid to each side of the best rate that a shared curve is fitted to."""

Status = Literal["given", "interior", "edge_low", "edge_high", "flat", "nonconvex", "too_few"]
Goal = Literal["min", "max"]


class Cell(NamedTuple):
    """What the runs of one optimum have in common."""

    n_params: float
    tokens: float | None
    batch_tokens: float | None


@dataclass(frozen=True)
class Optimum:
    """The best rate of one cell; everything but the grid's own best is None where the status is not `interior`."""

    n_params: float
    lr: float | None
    se_ln: float | None
    """Standard error of ln lr; None where neither a second seed nor a shared curve tells the noise."""
    curvature: float | None
    """What a rate wrong by a factor f costs: curvature * (ln f)^2, in the metric's unit."""
    bound: tuple[float | None, float | None]
    """Where the optimum lies if the curve has one dip: between the best rate's neighbours; an edge lacks one."""
    near_optimal: tuple[float, ...]
    """Rates whose metric cannot be told from the best: within 0.25 % of it, or 1.5 standard errors of a difference."""
    grid_best: float | None
    """None where every run diverged."""
    status: Status
    n_runs: int
    """Finished runs, diverged ones included."""
    n_diverged: int
    n_seeds: int
    """Finite runs at the best rate."""
    value: float | None = None
    """The metric at the optimum, read off the curve."""
    tokens: float | None = None
    """Training tokens; None where they were not given."""
    batch_tokens: float | None = None
    """Tokens a step; None where they were not given."""
    asymmetry: float = 0.0
    """k of the curve that all sizes share; 0 of a parabola."""
    fitted: tuple[float, float] | None = None
    """Lowest and highest rate that the curve was fitted to."""
    grid: tuple[float, float] | None = None
    """Lowest and highest rate that was run, diverged ones among them."""
    tried: tuple[float, float] | None = None
    """Lowest and highest rate with a finite metric."""

    @property
    def open_side(self) -> Literal["", "lower", "upper", "both"]:
        """Where the end of the grid cannot be told from the best rate, so that an interior optimum may lie beyond it all the same."""
        if self.status != "interior" or self.grid is None or not self.near_optimal:
            return ""
        low, high = self.near_optimal[0] == self.grid[0], self.near_optimal[-1] == self.grid[1]
        return "both" if low and high else "lower" if low else "upper" if high else ""

    @property
    def near_optimal_words(self) -> str:
        """The near-optimal set as every table shows it."""
        return ", ".join(map(rate_label, self.near_optimal))

    @property
    def standing(self) -> str:
        """How sure the optimum's place is, in the words of every table and warning: `interior`, `interior, upper side open`, `edge_low`."""
        side = {"": "", "lower": ", lower side open", "upper": ", upper side open", "both": ", both sides open"}[self.open_side]
        return f"{self.status}{side}"

    def curve(self, rates: Sequence[float], *, goal: Goal) -> list[float] | None:
        """The metric at these rates by the curve that placed the optimum, mean over seeds; None where there is none."""
        if self.lr is None or self.value is None or self.curvature is None:
            return None
        costs = rise(np.log(np.asarray(rates, dtype=float) / self.lr), curvature=self.curvature, asymmetry=self.asymmetry)
        found: list[float] = (self.value + (costs if goal == "min" else -costs)).tolist()
        return found

    @property
    def cell(self) -> Cell:
        return Cell(self.n_params, self.tokens, self.batch_tokens)

    def to_json(self) -> dict[str, Any]:
        keys = ("n_params", "lr", "se_ln", "status", "grid_best", "n_runs", "n_diverged")
        given = {column: getattr(self, column) for column in OPTIONAL if getattr(self, column) is not None}
        return (
            {key: getattr(self, key) for key in keys}
            | {"bound": list(self.bound), "near_optimal": list(self.near_optimal), "open": self.open_side or None}
            | given
        )


def find_optima(runs: pd.DataFrame, *, metric: str, goal: Goal) -> tuple[Optimum, ...]:
    """One optimum a cell, ascending; `runs` holds `n_params, lr, seed, <metric>` and optionally `status, tokens, batch_tokens`."""
    return find_curve(runs, metric=metric, goal=goal).optima


@dataclass(frozen=True)
class Found:
    optima: tuple[Optimum, ...]
    curve: SharedCurve | None
    """Of the optima that are `interior`, in their order; None where there are too few rates for one."""


def find_curve(runs: pd.DataFrame, *, metric: str, goal: Goal) -> Found:
    """The optima, and the curve they share."""
    return curve_of(finished_runs(runs, metric=metric, goal=goal), goal=goal)


def curve_of(table: pd.DataFrame, *, goal: Goal) -> Found:
    """The same of `finished_runs`."""
    sign = 1 if goal == "min" else -1
    cells = cells_of(table)
    alone = [_optimum(cell, runs, sign=sign) for cell, runs in cells.items()]
    return _on_a_shared_curve(alone, cells, sign=sign)


def cells_of(table: pd.DataFrame) -> dict[Cell, pd.DataFrame]:
    """The finished runs of each cell, ascending."""
    found = {}
    for key, runs in table.groupby(["n_params", *OPTIONAL], dropna=False, sort=True):
        size, tokens, batch = np.asarray(key, dtype=float).tolist()
        found[Cell(size, None if np.isnan(tokens) else tokens, None if np.isnan(batch) else batch)] = runs
    return found


def finished_runs(runs: pd.DataFrame, *, metric: str, goal: Goal) -> pd.DataFrame:
    """Columns `n_params, tokens, batch_tokens, lr, seed, value`; NaN is a diverged run, or tokens that were not given. Refuses what no law
    can be fitted to."""
    if goal not in ("min", "max"):
        raise InputError(f"goal: unknown '{goal}' (min, max)")
    require_columns(runs, ["n_params", "lr", "seed", metric])
    kept = runs[runs["status"].isin(FINISHED)] if "status" in runs else runs
    table = pd.DataFrame(
        {
            "n_params": numbers(kept, "n_params"),
            "lr": numbers(kept, "lr"),
            "seed": kept["seed"],
            "value": numbers(kept, metric),
        }
        | {column: numbers(kept, column) if column in kept else np.nan for column in OPTIONAL}
    )
    given = [column for column in OPTIONAL if column in kept]
    for column in given:
        table[column] = _as_the_size(table, column)
    wrong = []
    for column in ("n_params", "lr", *given):
        bad = table[column][~(table[column] > 0) | ~np.isfinite(table[column])]
        if len(bad):
            wrong.append(
                f"column {column}: {bad.iloc[0]} is not a positive, finite number ({row_name(table, bad.index[0])}; {len(bad)} such rows)"
            )
    if "n_counts" in kept and kept["n_counts"].nunique(dropna=False) > 1:
        counts = ", ".join(map(str, kept["n_counts"].unique()))
        wrong.append(f"column n_counts: sizes counted in several ways ({counts}); a law needs one: count all alike, or fit them apart")
    if wrong:
        raise InputError("\n".join(wrong))
    for column in given:
        table[column] = _alike(table[column])
    table["value"] = table["value"].where(table["value"].abs() <= LARGEST)
    if len(table) and table.groupby(["n_params", *OPTIONAL], dropna=False)["lr"].nunique().max() < 2:
        raise InputError("column lr: one rate a size; an optimum needs at least three rates to choose from")
    repeated = table.dropna(subset="value").duplicated(["n_params", *OPTIONAL, "lr", "seed"])
    if repeated.any():
        same = ", ".join(["n_params", *given, "lr"])
        first = row_name(table, repeated.index[repeated][0])
        raise InputError(f"{counted(int(repeated.sum()), 'run')} repeat another's {same} and seed (the first: {first}); keep one row a run")
    return table


def _as_the_size(table: pd.DataFrame, column: str) -> "pd.Series[float]":
    """A run that diverged did not come to report its tokens: they are those of its size, where that has one count alone."""
    sizes = table.groupby("n_params")[column]
    unsaid = table[column].isna() & ~np.isfinite(table["value"]) & (sizes.transform("max") <= ALIKE * sizes.transform("min"))
    return table[column].where(~unsaid, sizes.transform("median"))


def _alike(values: "pd.Series[float]") -> "pd.Series[float]":
    """Counts within `ALIKE` of one another are one: a run that was measured ends a batch earlier or later than the next."""
    known = np.sort(values.unique())
    parts = np.cumsum(np.diff(np.log(known), prepend=np.log(known[:1])) > log(ALIKE)) if len(known) else known
    middle = {value: float(np.median(known[parts == part])) for value, part in zip(known, parts, strict=True)}
    return values.map(middle)


def rate_step(rates: tuple[float, ...] | list[float]) -> float:
    """The factor between neighbouring rates (their median)."""
    return exp(float(np.median([log(high / low) for low, high in pairwise(sorted(rates))])))


def _on_a_shared_curve(alone: Sequence[Optimum], cells: Mapping[Cell, pd.DataFrame], *, sign: int) -> Found:
    """The same optima, found together where there are rates enough; one that lies beyond its rates then is an edge."""
    inside = [optimum for optimum in alone if optimum.lr is not None]
    windows = [_window(optimum, cells[optimum.cell], sign=sign) for optimum in inside]
    curvature = float(np.median([optimum.curvature or 0.0 for optimum in inside])) if inside else 0.0
    curve = fit_shared_curve(windows, starts=[log(optimum.lr or 1.0) for optimum in inside], curvature=curvature)
    if curve is None:
        return Found(tuple(alone), None)
    moved = {
        optimum.cell: _moved(optimum, vertex, window=window, ends=_ends(cells[optimum.cell]), sign=sign, asymmetry=curve.asymmetry)
        for optimum, vertex, window in zip(inside, curve.vertices, windows, strict=True)
    }
    if all(optimum.lr is not None for optimum in moved.values()):
        found = (moved.get(optimum.cell, optimum) for optimum in alone)
        return Found(tuple(_near(optimum, cells[optimum.cell], noise=curve.noise_sd, sign=sign) for optimum in found), curve)
    # what lies beyond its rates shapes no curve
    beyond = {cell: optimum for cell, optimum in moved.items() if optimum.lr is None}
    return _on_a_shared_curve([beyond.get(optimum.cell, optimum) for optimum in alone], cells, sign=sign)


def _window(optimum: Optimum, runs: pd.DataFrame, *, sign: int) -> Window:
    grid = np.unique(runs["lr"].to_numpy(dtype=float))
    at = int(np.searchsorted(grid, optimum.grid_best or 0.0))
    near = runs[runs["lr"].isin(grid[max(0, at - STEPS) : at + STEPS + 1])].dropna(subset="value")
    return Window(
        n_params=optimum.n_params,
        ln_lr=np.log(near["lr"].to_numpy(dtype=float)),
        seed=pd.factorize(near["seed"])[0].astype(float),
        loss=sign * near["value"].to_numpy(dtype=float),
    )


def _ends(runs: pd.DataFrame) -> tuple[float, float]:
    return float(runs["lr"].min()), float(runs["lr"].max())


def _moved(optimum: Optimum, vertex: Vertex, *, window: Window, ends: tuple[float, float], sign: int, asymmetry: float) -> Optimum:
    """On the shared curve. Beyond the last rate beside its best it is an edge; with rates farther out there is no telling what it is."""
    low, high = exp(float(window.ln_lr.min())), exp(float(window.ln_lr.max()))
    edge = replace(optimum, lr=None, se_ln=None, curvature=None, value=None, fitted=None)
    beyond_low, beyond_high = vertex.ln_lr < log(low), vertex.ln_lr > log(high)
    if beyond_low and optimum.bound[0] == ends[0]:
        return replace(edge, status="edge_low", bound=(None, optimum.bound[1]))
    if beyond_high and optimum.bound[1] == ends[1]:
        return replace(edge, status="edge_high", bound=(optimum.bound[0], None))
    if beyond_low or beyond_high:
        return replace(edge, status="nonconvex")
    return replace(
        optimum,
        lr=exp(vertex.ln_lr),
        se_ln=vertex.se_ln,
        curvature=vertex.curvature,
        value=sign * vertex.loss,
        asymmetry=asymmetry,
        fitted=(low, high),
    )


def _near(optimum: Optimum, runs: pd.DataFrame, *, noise: float | None, sign: int) -> Optimum:
    """With the rates that the curve's noise cannot tell from the best, where the size alone had none to go by."""
    rates = [rate for rate in _rates(runs, sign=sign) if isfinite(rate.loss)]
    if noise is None or not rates or _noise_sd(runs[runs["lr"].isin([rate.lr for rate in rates])]) is not None:
        return optimum
    best = min(rates, key=lambda rate: rate.loss)
    return replace(optimum, near_optimal=_near_optimal(rates, best=best, noise=noise))


class _Rate(NamedTuple):
    """The runs of one cell at one rate; `loss` is the mean metric turned so that small is good, inf if it diverged."""

    lr: float
    loss: float
    runs: int


def _optimum(cell: Cell, runs: pd.DataFrame, *, sign: int) -> Optimum:
    rates = _rates(runs, sign=sign)
    finite = [rate for rate in rates if isfinite(rate.loss)]
    counts: Mapping[str, Any] = cell._asdict() | {"n_runs": len(runs), "n_diverged": int(runs["value"].isna().sum()), "grid": _ends(runs)}
    if not finite:
        return Optimum(
            lr=None,
            se_ln=None,
            curvature=None,
            bound=(None, None),
            near_optimal=(),
            grid_best=None,
            status="too_few",
            n_seeds=0,
            **counts,
        )
    at = min(range(len(rates)), key=lambda index: rates[index].loss)
    best = rates[at]
    low, high = (rates[at - 1] if at else None), (rates[at + 1] if at + 1 < len(rates) else None)
    noise = _noise_sd(runs[runs["lr"].isin([rate.lr for rate in finite])])
    edge = Optimum(
        lr=None,
        se_ln=None,
        curvature=None,
        bound=(low and low.lr, high and high.lr),
        near_optimal=_near_optimal(finite, best=best, noise=noise),
        grid_best=best.lr,
        status="too_few",
        n_seeds=best.runs,
        tried=(finite[0].lr, finite[-1].lr),
        **counts,
    )
    if len(finite) < 3:
        return edge
    if max(rate.loss for rate in finite) - best.loss <= 1e-12 * abs(best.loss):
        return replace(edge, status="flat", bound=(None, None))
    if low is None or not isfinite(low.loss):
        return replace(edge, status="edge_low")
    if high is None or not isfinite(high.loss):
        return replace(edge, status="edge_high")
    return _vertex(edge, (low, best, high), noise=noise, sign=sign)


def _rates(runs: pd.DataFrame, *, sign: int) -> list[_Rate]:
    grid = np.unique(runs["lr"].to_numpy(dtype=float))
    return [_rate(float(lr), runs["value"][runs["lr"] == lr], sign=sign) for lr in grid]


def _rate(lr: float, values: "pd.Series[float]", *, sign: int) -> _Rate:
    """A rate at which half of the seeds or more diverged has diverged."""
    finite = values.dropna()
    return _Rate(lr, sign * float(finite.mean()) if 2 * len(finite) > len(values) else inf, len(finite))


def _vertex(edge: Optimum, rates: tuple[_Rate, _Rate, _Rate], *, noise: float | None, sign: int) -> Optimum:
    """Minimum of the parabola through three points, its error by the delta method."""
    x = np.log([rate.lr for rate in rates])
    y = np.array([rate.loss for rate in rates])
    others = x.sum() - x  # for each point the sum of the two other abscissae
    weights = 1 / np.array([(x[i] - x[j]) * (x[i] - x[k]) for i, j, k in ((0, 1, 2), (1, 0, 2), (2, 0, 1))])
    curvature = float(weights @ y)
    if curvature <= 1e-12 * float(np.abs(y).max()):
        return replace(edge, status="flat")
    vertex = float((weights * others) @ y) / (2 * curvature)
    slopes = weights * (others - 2 * vertex) / (2 * curvature)  # d vertex / d y
    return replace(
        edge,
        status="interior",
        lr=exp(vertex),
        se_ln=None if noise is None else noise * sqrt(float(np.sum(slopes**2 / [rate.runs for rate in rates]))),
        curvature=curvature,
        value=sign * float(y[1] - curvature * (x[1] - vertex) ** 2),
        fitted=(rates[0].lr, rates[-1].lr),
    )


def _near_optimal(rates: list[_Rate], *, best: _Rate, noise: float | None) -> tuple[float, ...]:
    """As in MM1's figure 6; 0.25 % is the rule of DeepSeek LLM."""
    slack = 0.0025 * abs(best.loss)
    errors = [0.0 if noise is None else 1.5 * noise * sqrt(1 / best.runs + 1 / rate.runs) for rate in rates]
    return tuple(rate.lr for rate, error in zip(rates, errors, strict=True) if rate.loss - best.loss <= max(slack, error))


def _noise_sd(runs: pd.DataFrame) -> float | None:
    """SD of a run around the sum of its rate's and its seed's mean: what a seed shifts at all rates moves no vertex."""
    table = runs.dropna(subset="value").pivot(index="lr", columns="seed", values="value").dropna(axis=1).to_numpy(dtype=float)
    df = (table.shape[0] - 1) * (table.shape[1] - 1)
    if df < 1:
        return None
    residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    return sqrt(float(np.sum(residuals**2)) / df)
