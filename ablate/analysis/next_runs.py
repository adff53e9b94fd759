"""Which runs to make next so that a law says more of the target: greedily those that narrow its interval most.

First what cannot be judged otherwise: a size whose best rate is the end of its grid gets the rate beyond, and a size with too few rates
the ones beside its best. From then on each run is the one that lowers the predicted SD of ln lr at the target most, for itself or for
its FLOPs: the shared curve says how well any set of runs would place the optima (all at once, their errors being tied by its shape),
and the line through them what that leaves at the target. The scatter between sizes is no run's to remove, so gains end: the stop rule.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, sqrt
from typing import Any, Literal

import numpy as np
import pandas as pd

from ablate.analysis.law_fit import Form, LawFit, fit_power_law, ln_table
from ablate.analysis.laws import SCATTER, positive, size_label
from ablate.analysis.local_curve import SharedCurve
from ablate.analysis.lr_law import TARGET, far_out, left_out, require_sizes
from ablate.analysis.optima import Cell, Goal, Optimum, cells_of, curve_of, finished_runs, rate_step
from ablate.errors import InputError

REACH = 1.75
"""ln units from the optimum within which a rate is worth a run: farther out the curve is not the same any more."""
FEWEST_RATES = 4
"""Rates a size needs beside its best before the shared curve takes over."""
STOP_GAIN, STOP_RUNS = 0.02, 4
"""Enough when so many more runs would narrow the interval by less than this share."""
MOST = 1000
USUAL_SCATTER = 0.15
"""Of best rates between sizes, ln units, as in Step Law's public runs. A few sizes often show less by chance, and planned for none, runs
would go to the smallest and the largest size alone."""
Per = Literal["run", "flop"]
Kind = Literal["edge", "spread", "repeat", "gain"]


@dataclass(frozen=True)
class NextRun:
    cell: Cell
    """Size, and tokens and batch where the runs say theirs."""
    lr: float
    seed: int
    """The lowest that this cell and rate have not had."""
    why: Kind
    cost: float
    """In runs of the cheapest cell."""
    sd: float | None
    """Predicted SD of ln lr at the target after this run and those before it; None before there is a curve."""
    gain: float | None
    """By what share of the SD this run lowers it."""

    @property
    def n_params(self) -> float:
        return self.cell.n_params

    def to_json(self) -> dict[str, Any]:
        cell = {name: value for name, value in self.cell._asdict().items() if value is not None}
        return cell | {name: getattr(self, name) for name in ("lr", "seed", "why", "cost", "sd", "gain")}


@dataclass(frozen=True)
class NextRuns:
    runs: tuple[NextRun, ...]
    """In the order in which to make them."""
    stop: bool
    """Whether to stop: further runs at these sizes say next to nothing new."""
    reason: str
    sd: float | None
    """SD of ln lr at the target by the runs there are."""
    warnings: tuple[str, ...] = ()
    """What is to be known of the runs that this rests on."""
    criterion: str = ""
    """By what the runs were chosen, and why they are all of one size where they are; empty where none was chosen by gain."""

    def to_json(self) -> dict[str, Any]:
        found = {"runs": [run.to_json() for run in self.runs], "stop": self.stop, "reason": self.reason, "sd": self.sd}
        return found | {"warnings": list(self.warnings), "criterion": self.criterion}


def next_runs(
    runs: pd.DataFrame,
    *,
    metric: str,
    goal: Goal,
    target: float = TARGET,
    at: Mapping[str, float] | None = None,
    form: Form = "N",
    count: int = 4,
    per: Per = "flop",
) -> NextRuns:
    """The next `count` runs for a law from `n_params, lr, seed, <metric>`, optionally `status`, `tokens` and `batch_tokens`.

    `at`: what the form reads at the target beside its size. `per`: gain for a run, or for its FLOPs, 6 N tokens (or 6 N, where tokens are
    not given).
    """
    if not 1 <= count <= MOST:
        raise InputError(f"count: {count} is not between 1 and {MOST}")
    table = finished_runs(runs, metric=metric, goal=goal)
    require_sizes(table)
    found = curve_of(table, goal=goal)
    if not pd.api.types.is_integer_dtype(table["seed"]):
        raise InputError("column seed: whole numbers are needed here, so that a new run can be given one that is free")
    positive(target, what="target")
    warnings = (*far_out(table), *left_out(runs))
    cells = cells_of(table)
    plan = _Plan(cells, costs=_costs(cells), per=per)
    repairs = [repair for optimum in found.optima for repair in plan.repairs(optimum, shared=found.curve is not None)]
    if repairs or found.curve is None:
        said = "a size without an optimum says nothing of the law: these come first" if repairs else "no rate is left to try"
        return NextRuns(tuple(repairs[:count]), stop=False, reason=said, sd=None, warnings=warnings)
    inside = [optimum for optimum in found.optima if optimum.lr is not None]
    fit = fit_power_law(inside, form=form)
    proposed = plan.greedy(inside, found.curve, fit, there=fit.place({"n_params": target, **(at or {})}), count=count)
    return replace(proposed, warnings=warnings)


def _costs(cells: Iterable[Cell]) -> dict[Cell, float]:
    """Cell -> FLOPs of a run, in those of the cheapest."""
    flops = {cell: cell.n_params * (cell.tokens or 1.0) for cell in cells}
    return {cell: value / min(flops.values()) for cell, value in flops.items()}


@dataclass(frozen=True)
class _Plan:
    cells: Mapping[Cell, pd.DataFrame]
    """The finished runs of each."""
    costs: Mapping[Cell, float]
    per: Per

    def repairs(self, optimum: Optimum, *, shared: bool) -> Sequence[NextRun]:
        """What a cell needs before its optimum can be placed."""
        rates = self._rates(optimum.cell)
        low, high = optimum.bound
        best = optimum.grid_best or rates[0]
        step = rate_step(rates) if len(rates) > 1 else 2.0
        match optimum.status:
            case "edge_low":
                return [self._run(optimum, rates[0] / step if low is None else sqrt(best * low), why="edge")]
            case "edge_high":
                return [self._run(optimum, rates[-1] * step if high is None else sqrt(best * high), why="edge")]
            case "nonconvex":  # its rates and the other sizes' curve cannot both be right
                runs = self.cells[optimum.cell]["lr"]
                again = min((rate for rate in (best, low, high) if rate), key=lambda rate: int((runs == rate).sum()))
                return [self._run(optimum, again, why="repeat")]
            case "interior" if shared or len(rates) >= FEWEST_RATES:
                return []
            case "interior":
                ahead = best * step if (optimum.lr or best) > best else best / step
            case _:  # too few rates, or no dip: where all diverged, lower
                ahead = best / step if optimum.grid_best is None else best * step
        return [self._run(optimum, rate, why="spread") for rate in _beyond(rates, ahead, best=best, step=step)[:1]]

    def greedy(self, optima: Sequence[Optimum], curve: SharedCurve, fit: LawFit, *, there: Sequence[float], count: int) -> NextRuns:
        """`there`: ln of what the law reads at the target."""
        made = [
            (index, log(rate))
            for index, optimum in enumerate(optima)
            for rate in self.cells[optimum.cell].dropna(subset="value")["lr"]
            if abs(log(rate / (optimum.lr or rate))) <= REACH
        ]
        around = np.array(ln_table(optima, fit.form)) - np.array(there)
        spread = _Spread(curve, [optimum.n_params for optimum in optima], around, scatter=max(fit.tau or 0.0, USUAL_SCATTER))
        before = spread.sd(made)
        if before is None:
            return NextRuns((), stop=False, reason="no run is left to tell the noise by: give a size a second seed", sd=None)
        candidates = [(index, rate) for index, optimum in enumerate(optima) for rate in self._rates(optimum.cell, around=optimum.lr or 1.0)]
        chosen: list[NextRun] = []
        now, taken = before, list(made)
        for _ in range(max(count, STOP_RUNS)):
            tried = {(index, rate): spread.sd([*taken, (index, log(rate))]) or now for index, rate in candidates}
            worth = {key: (now - sd) / (self.costs[optima[key[0]].cell] if self.per == "flop" else 1.0) for key, sd in tried.items()}
            best = max(worth, key=lambda key: worth[key])
            run = self._run(optima[best[0]], best[1], why="gain")
            repeats = sum(1 for other in chosen if (other.cell, other.lr) == (run.cell, run.lr))
            chosen.append(replace(run, seed=run.seed + repeats, sd=tried[best], gain=1 - tried[best] / now))
            now, taken = tried[best], [*taken, (best[0], log(best[1]))]
        enough = 1 - (chosen[STOP_RUNS - 1].sd or before) / before < STOP_GAIN
        share = f"{1 - (chosen[STOP_RUNS - 1].sd or before) / before:.1%}"
        reason = f"{STOP_RUNS} more runs would narrow the interval by {share}: " + (
            "what is left is the scatter between sizes, so add sizes instead" if enough else "go on"
        )
        if (fit.tau or 0.0) < USUAL_SCATTER:
            found = "is not known" if fit.tau is None else f"is {fit.tau:.2g}"
            reason += f"; planned with {USUAL_SCATTER:g} as {SCATTER}, which public runs have, since that of this fit {found}"
        proposed = tuple(chosen[:count])
        return NextRuns(proposed, stop=enough, reason=reason, sd=before, criterion=self._criterion(proposed, optima))

    def _criterion(self, chosen: Sequence[NextRun], optima: Sequence[Optimum]) -> str:
        said = "each run is the one that lowers the SD of the target's ln rate most" + (
            " for its FLOPs, 6 N D" if self.per == "flop" else ""
        )
        cells = {run.cell for run in chosen}
        if len(cells) > 1 or len(optima) < 2:
            return said
        (cell,) = cells
        sizes, errors = [optimum.n_params for optimum in optima], {optimum.cell: optimum.se_ln or 0.0 for optimum in optima}
        why = ["its best rate is the least certain"] if errors[cell] == max(errors.values()) else []
        why += ["it stands at an end of the sizes, where it moves the slope most"] if cell.n_params in (min(sizes), max(sizes)) else []
        cheapest = self.per == "flop" and self.costs[cell] == min(self.costs.values()) < max(self.costs.values())
        why += ["its runs cost least"] if cheapest else []
        return f"{said}; here all are at {size_label(cell.n_params)}" + (f": {'; '.join(why)}" if why else "")

    def _rates(self, cell: Cell, *, around: float | None = None) -> list[float]:
        """The rates of a cell; with `around` those within reach of it, and the next ones beyond the grid."""
        runs = self.cells[cell]
        rates = sorted(float(rate) for rate in runs["lr"].unique())
        if around is None:
            return rates
        step = rate_step(rates)
        diverged = runs[runs["value"].isna()]["lr"]
        ends = float(diverged.min()) if len(diverged) else float("inf")
        wider = [rates[0] / step, *rates, rates[-1] * step]
        return [rate for rate in wider if abs(log(rate / around)) <= REACH and rate < ends]

    def _run(self, optimum: Optimum, lr: float, *, why: Kind) -> NextRun:
        runs = self.cells[optimum.cell]
        had = {int(seed) for seed in runs.loc[np.isclose(np.log(runs["lr"]), log(lr), atol=1e-9), "seed"]}
        seed = next(number for number in range(len(had) + 1) if number not in had)
        return NextRun(optimum.cell, lr, seed, why, self.costs[optimum.cell], None, None)


@dataclass(frozen=True)
class _Spread:
    """What the line through the optima leaves open at the target."""

    curve: SharedCurve
    sizes: Sequence[float]
    """Parameters of each optimum."""
    around: "np.ndarray[Any, np.dtype[np.float64]]"
    """ln of what the law reads at each optimum, minus that at the target."""
    scatter: float

    def sd(self, made: Sequence[tuple[int, float]]) -> float | None:
        """Of ln lr at the target: the line's generalised least squares under the optima's covariance, and the scatter.

        `made`: index of the optimum and ln lr of each run. None without noise to go by.
        """
        covariance = self.curve.vertex_covariance(self.sizes, made)
        if covariance is None:
            return None
        weights = np.linalg.inv(covariance + self.scatter**2 * np.eye(len(self.sizes)))
        design = np.column_stack([np.ones(len(self.sizes)), self.around])
        return sqrt(float(np.linalg.inv(design.T @ weights @ design)[0, 0]) + self.scatter**2)


def _beyond(rates: Sequence[float], ahead: float, *, best: float, step: float) -> Sequence[float]:
    """Rates that a size has not had, nearest to its best first and on the given side before the other."""
    side = step if ahead > best else 1 / step
    tried = [best * side ** (sign * number) for number in range(1, FEWEST_RATES + 1) for sign in (1, -1)]
    return [rate for rate in tried if not any(abs(log(rate / other)) < log(step) / 2 for other in rates)]
