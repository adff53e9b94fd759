"""What a person sees in a terminal of scale: loss laws beside published ones, the best data mix, and whether the small winner stays."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ablate.analysis.laws import quantity_label, size_label
from ablate.quantities import interval_text
from ablate.terminal import console, number, show_rows

if TYPE_CHECKING:
    from ablate.analysis.compute_units import ComputeReport, ComputeUnits
    from ablate.analysis.loss_laws import Budget
    from ablate.analysis.scales import SizeTrend
    from ablate.analysis.size_report import Transfer
    from ablate.scaling import LossReport, MixtureReport, ScalesReport, Source

PATIENCE = 2.0
"""Seconds after which a wait shows how far it is."""


@contextmanager
def watched(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, on a terminal only and only for what lasts: called with how many are done, and of how many."""
    out, began = console(stderr=True), time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
    task = bar.add_task(what, total=None)

    def heard(done: int, total: int) -> None:
        if out.is_terminal and time.monotonic() - began > PATIENCE:
            bar.start()  # again and again does no harm
            bar.update(task, completed=done, total=total)

    try:
        yield heard
    finally:
        bar.stop()


def show_loss_law(report: "LossReport") -> None:
    """The constants with their spread beside the published ones, what the rows of the lowest D / N do to them, and what a budget buys."""
    from ablate.analysis.published_losses import PUBLISHED_LOSSES

    law, out = report.law, console()
    _print_source(report.source, f"{law.rows} runs, N {size_label(law.n_range[0])} to {size_label(law.n_range[1])}", law.token_range)
    published = list(PUBLISHED_LOSSES.values())
    rows = []
    for name in (*"EAB", "alpha", "beta", "a"):
        spread = (law.spread or {}).get(name)
        row = {"": name, "fitted": getattr(law, name), "95 % interval": _interval(spread.interval if spread else None)}
        if law.robustness:
            row["without lowest D/N"] = getattr(law.robustness, name, None)
        rows.append(row | {one.name: getattr(one, name) for one in published})
    show_rows(rows)
    out.print(f"\nfitted  {law.formula}", soft_wrap=True)
    out.print(f"a: exponent of the best N in compute; residual SD {law.residual_sd:.2%} of the loss", soft_wrap=True, style="dim")
    if law.robustness:
        left = law.robustness
        out.print(f"without lowest D/N: {left.rows_left_out} rows with D/N up to {left.ratio:.3g} left out", soft_wrap=True, style="dim")
    if report.budgets:
        out.print()
        show_rows([_budget_row(budget) for budget in report.budgets])
    if at := report.at:
        interval = f" {_interval(at.interval)}" if at.interval else ", no interval"
        where = f"{size_label(at.n_params)} parameters and {size_label(at.tokens)} tokens"
        out.print(f"\nat {where}: {law.metric} {at.loss:.4f}{interval}; one run ± {at.run_sd:.2g}", soft_wrap=True)
    notes = [f"{quantity_label(budget.compute, quantity='compute')} FLOPs: {note}" for budget in report.budgets for note in budget.notes]
    _print_warnings((*report.warnings, *notes, *(report.at.notes if report.at else ())))


def show_mixture_law(report: "MixtureReport") -> None:
    """The best mix with its interval, how well left-out mixtures are predicted, and the constants."""
    law, best, out = report.law, report.best, console()
    _print_source(report.source, f"{law.rows} runs on {law.mixtures} mixtures, form {report.form}, {law.metric}, {law.goal} is best")
    if report.undetermined:
        out.print(f"\n{report.undetermined}", soft_wrap=True)
        _print_warnings(line for line in report.warnings if line not in law.outside)
        return
    rows = []
    for name, share in best.proportions.items():
        row = {"source": name, "best share": round(share, 4), "95 % interval": _interval((best.intervals or {}).get(name))}
        rows.append(row | ({"limit": _interval(report.limits.get(name))} if report.limits else {}))
    show_rows(rows)
    said = "no value: the law has a term for a size" if best.value is None else f"{law.metric} there {number(best.value)}"
    at = "".join(f", at {kind} {size_label(value)}" for kind, value in report.at.items())
    out.print(f"\n{said}{f' {_interval(best.value_interval)}' if best.value_interval else ''}{at}", soft_wrap=True)
    if left := law.left_out:
        rank = "" if left.rank is None else f", rank correlation {left.rank:.2f}"
        out.print(f"mixtures left out of the fit: off by {number(left.rmse)} (R2 {left.r2:.2f}{rank})", soft_wrap=True)
    out.print("constants: " + ", ".join(f"{name} {number(value)}" for name, value in law.constants.items()), soft_wrap=True, style="dim")
    _print_warnings((*(line for line in report.warnings if line not in law.outside), *best.notes))  # the notes of the best mix say the same


def show_scales(report: "ScalesReport") -> None:
    """Each smaller size against the largest, each arm's effect against ln N, and what the arms are worth in compute."""
    sizes, out = report.sizes, console()
    listed = ", ".join(map(size_label, sizes.sizes))
    _print_source(report.source, f"{len(sizes.arms)} arms at {listed}; {sizes.metric}, {sizes.goal} is best; against {sizes.baseline}")
    show_rows([_transfer_row(transfer) for transfer in sizes.transfers])
    out.print("accuracy: pairs of arms ordered as at the largest size, 0.5 is a coin; intervals over arms", soft_wrap=True, style="dim")
    out.print()
    show_rows([_trend_row(trend, sizes.sizes) for trend in sizes.trends])
    out.print()
    if sizes.compute:
        _print_compute(sizes.compute)
    else:
        out.print(f"no effect in compute units: {sizes.compute_missing}", soft_wrap=True)
    notes = [(f"{size_label(one.small)} against {size_label(one.large)}", one.rank.note) for one in sizes.transfers if one.rank]
    notes += [(str(trend.arm), trend.note) for trend in sizes.trends]
    notes += [(str(unit.arm), unit.note) for unit in (sizes.compute.arms if sizes.compute else ())]
    _print_warnings((*sizes.warnings, *_grouped(notes)))


def _print_source(source: "Source", what: str, token_range: tuple[float, float] | None = None) -> None:
    tokens = f", D {size_label(token_range[0])} to {size_label(token_range[1])}" if token_range else ""
    simulated = " (simulated)" if source.simulated else ""
    console().print(Text.assemble((f"{source.name}{simulated}", "bold"), f"  {what}{tokens}"), soft_wrap=True)


def _budget_row(budget: "Budget") -> dict[str, object]:
    return {
        "FLOPs": quantity_label(budget.compute, quantity="compute"),
        "best N": None if budget.n_params is None else size_label(budget.n_params),
        "N, 95 %": _sizes(budget.n_interval),
        "best D": None if budget.tokens is None else size_label(budget.tokens),
        "D, 95 %": _sizes(budget.token_interval),
        "loss": budget.loss,
        "loss, 95 %": _interval(budget.loss_interval),
    }


def _transfer_row(transfer: "Transfer") -> dict[str, object]:
    rank = transfer.rank
    row: dict[str, object] = {"size": f"{size_label(transfer.small)} -> {size_label(transfer.large)}"}
    if rank is None:
        return (
            row
            | dict.fromkeys(("tau", "tau, 95 %", "accuracy", "accuracy, 95 %", "ceiling", "winner", "stays", "regret"))
            | {"winner": transfer.missing}
        )
    return row | {
        "tau": rank.tau,
        "tau, 95 %": _interval(rank.tau_interval),
        "accuracy": rank.accuracy,
        "accuracy, 95 %": _interval(rank.accuracy_interval),
        "ceiling": rank.ceiling,
        "winner": f"{_arm(rank.small_winner)} -> {_arm(rank.large_winner)}",
        "stays": {True: "yes", False: "no", None: None}[rank.winner_stays],
        "regret": rank.regret,
    }


def _trend_row(trend: "SizeTrend", sizes: Sequence[float]) -> dict[str, object]:
    effects = dict(trend.effects)
    at: dict[str, object] = {f"effect at {size_label(size)}": effects[size].mean_diff if size in effects else None for size in sizes}
    first = next(iter(trend.clear_flips or trend.flips), None)
    where = f", as {size_label(first.smaller)} to {size_label(first.larger)}" if first else ""
    flips = f"{len(trend.flips)} ({len(trend.clear_flips)} clear{where})" if trend.flips else "none"
    return (
        {"arm": str(trend.arm)}
        | at
        | {
            "per e-fold of N": trend.slope,
            "95 % interval": _interval(trend.ci),
            "p": trend.p,
            "sign flips": flips,
        }
    )


def _print_compute(report: "ComputeReport") -> None:
    show_rows([_unit_row(unit) for unit in report.arms])
    curve = report.curve
    kind = "E + A C^-a" if curve.kind == "power_law" else "straight in ln C"
    low, high = (quantity_label(end, quantity="compute") for end in curve.compute_range)
    console().print(
        f"factor: compute that the base needs to match, by its curve ({kind}, {low} to {high} FLOPs)", soft_wrap=True, style="dim"
    )


def _unit_row(unit: "ComputeUnits") -> dict[str, object]:
    interval = None if unit.interval is None else f"[{_open(unit.interval[0])}, {_open(unit.interval[1])}]"
    return {
        "arm": str(unit.arm),
        "FLOPs": quantity_label(unit.compute, quantity="compute"),
        "mean": unit.mean,
        "factor": unit.factor,
        "95 % interval": interval,
        "n": unit.n,
    }


def _open(end: float | None) -> str:
    return "open" if end is None else number(end)


def _arm(level: object) -> str:
    return "a tie" if level is None else str(level)


def _grouped(notes: Iterable[tuple[str, str]]) -> Iterable[str]:
    """What is said of several arms or sizes is said once, with all of them."""
    about: dict[str, dict[str, None]] = {}
    for where, note in notes:
        for said in filter(None, note.split("; ")):
            about.setdefault(said, {})[where] = None
    return (f"{', '.join(where)}: {said}" for said, where in about.items())


def _interval(pair: tuple[float, float] | None) -> str | None:
    return None if pair is None else interval_text(pair)


def _sizes(pair: tuple[float, float] | None) -> str | None:
    return None if pair is None else f"[{size_label(pair[0])}, {size_label(pair[1])}]"


def _print_warnings(lines: Iterable[str]) -> None:
    for line in lines:
        console().print(Text.assemble(("! ", "yellow"), line), soft_wrap=True)
