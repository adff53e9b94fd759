"""What a person sees of laws in a terminal: fitted ones beside published ones, what they say of a model, and what to run next."""

from dataclasses import replace
from math import exp
from typing import TYPE_CHECKING

from rich.text import Text

from ablate.terminal import console, show_rows

if TYPE_CHECKING:
    from ablate.analysis.laws import Prediction
    from ablate.analysis.lr_law import LawReport
    from ablate.analysis.next_runs import NextRuns


def show_law(report: "LawReport", *, simulated: bool) -> None:
    """The optimum of each size, the fitted law beside MM1's, and what it says of the target."""
    from ablate.analysis.lr_law import compare_slope
    from ablate.analysis.published import MM1

    show_rows(
        [
            {
                "parameters": optimum.n_params,
                "best rate": optimum.lr,
                "×/÷ (1 SE)": None if optimum.se_ln is None else exp(optimum.se_ln),
                "best on the grid": optimum.grid_best,
                "runs": optimum.n_runs if optimum.status != "given" else None,
                "diverged": optimum.n_diverged if optimum.status != "given" else None,
                "optimum": optimum.status,
            }
            for optimum in report.optima
        ]
    )
    out = console()
    out.print()
    if report.fit:
        comparison = compare_slope(report.fit, published=MM1)
        out.print(
            Text.assemble(("fitted", "bold"), f"    {report.fit.formula}" + (" (simulated)" if simulated else "")),
            soft_wrap=True,
        )
        out.print(Text.assemble(("published", "bold"), f" {MM1.formula}   {MM1.source}"), soft_wrap=True)
        if comparison.p is not None:
            out.print(f"slope minus MM1's: {comparison.difference:+.3f} (p = {comparison.p:.2g})")
    if left := report.leave_largest_out:
        interval = f"[{left.interval[0]:.3g}, {left.interval[1]:.3g}]" if left.interval else "no interval"
        said = f"without the largest size, the law puts its best rate at {left.predicted:.3g} {interval}"
        out.print(f"{said}; it lies at {left.found:.3g}, ×{exp(left.ln_error):.2f}", soft_wrap=True)
    if report.prediction:
        # its notes stand among the warnings below
        show_prediction(replace(report.prediction, notes=()), law="fitted", source="from the sizes above")
        if (regret := report.prediction.regret) and report.metric:
            out.print(f"  where the best rate lies at an end of the interval, this one is worse by {max(regret):.2g} in {report.metric}")
    for warning in report.warnings:
        out.print(Text.assemble(("! ", "yellow"), warning), soft_wrap=True)


def show_next(found: "NextRuns") -> None:
    """The proposed runs in their order, each with what the interval would be after it."""
    rows = [
        {
            "parameters": run.n_params,
            "rate": run.lr,
            "seed": run.seed,
            "why": {"edge": "best rate at the end", "spread": "too few rates", "gain": "narrows the interval"}[run.why],
            "cost (smallest run = 1)": run.cost,
            "×/÷ (1 SD) after it": None if run.sd is None else exp(run.sd),
        }
        for run in found.runs
    ]
    show_rows(rows)
    now = f"now ×/÷ {exp(found.sd):.2f} (1 SD) at the target; " if found.sd is not None else ""
    console().print(f"\n{'stop: ' if found.stop else ''}{now}{found.reason}", soft_wrap=True)


def show_prediction(prediction: "Prediction", *, law: str, source: str) -> None:
    out = console()
    interval = "no interval"
    if prediction.interval and prediction.level:
        interval = f"{prediction.level:.0%} prediction interval [{prediction.interval[0]:.3g}, {prediction.interval[1]:.3g}]"
    asked = {"parameters": prediction.n_params, "tokens": prediction.tokens, "FLOPs": prediction.compute}
    size = ", ".join(f"{value:.4g} {what}" for what, value in asked.items() if value is not None)
    out.print(f"{law} at {size}: peak learning rate {prediction.lr:.3g}, {interval}", soft_wrap=True)
    if prediction.batch_tokens is not None:
        out.print(f"  batch {prediction.batch_tokens:.3g} tokens a step", soft_wrap=True)
    if prediction.weight_decay:
        decay = prediction.weight_decay
        out.print(
            f"  weight decay 0.1 eta = {decay.per_step:.3g} a step; the same in torch's AdamW: weight_decay={decay.torch_adamw:g}",
            soft_wrap=True,
        )
    for note in (source, *prediction.notes):
        out.print(f"  {note}", soft_wrap=True)
