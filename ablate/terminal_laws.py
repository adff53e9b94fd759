"""What a person sees of laws in a terminal: fitted ones beside published ones, what they say of a model, and what to run next."""

from dataclasses import replace
from math import exp, inf
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ablate.analysis.law_fit import BEYOND
from ablate.analysis.laws import NO_CHANGE, ONE_SD, ONE_SE, SCATTER, SYMBOLS, rates_text
from ablate.terminal import console, duration, show_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ablate.analysis.law_comparison import FormFit, SlopeComparison
    from ablate.analysis.laws import Prediction
    from ablate.analysis.lr_law import LawReport
    from ablate.analysis.next_runs import NextRun
    from ablate.analysis.optima import Optimum
    from ablate.next_study import Next


def show_law(report: "LawReport", *, simulated: bool) -> None:
    """The optimum of each size, the fitted law beside MM1's, and what it says of the target."""
    from ablate.analysis.published import MM1

    show_rows([_optimum_row(optimum) for optimum in report.optima])
    out = console()
    out.print()
    if report.fit:
        fitted = report.fit.formula + (" (simulated)" if simulated else "")
        out.print(Text.assemble(("fitted", "bold"), f"    {fitted}"), soft_wrap=True)
        out.print(Text.assemble(("published", "bold"), f" {MM1.formula}   {MM1.source}"), soft_wrap=True)
    for slope in report.slopes:
        if slope.difference is not None and slope.p is not None:
            said = f"slope in {SYMBOLS[slope.quantity]} minus {_whose(slope)}"
            out.print(f"  {said}: {slope.difference:+.3f} (p = {slope.p:.2g}, df = {slope.df})")
            out.print(f"    {slope.note}", soft_wrap=True) if slope.note else None
    if any(optimum.tokens or optimum.batch_tokens for optimum in report.optima) and report.fit:
        out.print()
        show_rows([_form_row(form) for form in report.forms])
        out.print()
    if left := report.leave_largest_out:
        interval = rates_text(left.interval) if left.interval else "no interval"
        said = f"without the largest size, the law puts its best rate at {left.predicted:.3g} {interval}"
        out.print(f"{said}; it lies at {left.found:.3g}, ×{_factor(left.ln_error):.2f}", soft_wrap=True)
    if report.prediction:
        notes = tuple(note for note in report.prediction.notes if not any(note in warning for warning in report.warnings))
        show_prediction(replace(report.prediction, notes=notes), law="fitted", source="from the sizes above")
        out.print(f"  {_cost_of_wrong(report.prediction, metric=report.metric)}", soft_wrap=True) if report.metric else None
    for warning in report.warnings:
        out.print(Text.assemble(("! ", "yellow"), warning), soft_wrap=True)


def _cost_of_wrong(prediction: "Prediction", *, metric: str) -> str:
    where = "where the best rate lies at an end of the interval,"
    if prediction.regret is None:
        return f"{where} what this one costs is not known: {prediction.regret_note or 'no interval, or no curve around the best rates'}"
    note = f" ({prediction.regret_note})" if prediction.regret_note else ""
    return f"{where} this one is worse by {prediction.regret_words} in {metric}{note}"


def show_next(found: "Next") -> None:
    """The proposed runs in their order, each with what the interval would be after it, and what would settle each open claim."""
    out, law = console(), found.law
    if law is None:
        out.print(f"no runs for a law: {found.law_note}", soft_wrap=True)
    else:
        now = f"now ×/÷ {_factor(law.sd):.2f} ({ONE_SD}) at the target; " if law.sd is not None else ""
        if law.stop:
            out.print(Text.assemble(("stop", "bold"), f": {now}{law.reason}"), soft_wrap=True)
            out.print("\nwhat would narrow it most all the same, and is written to no file:", style="dim")
        show_rows([_next_row(run) for run in law.runs])
        if law.criterion:
            out.print(f"\n{law.criterion}", soft_wrap=True)
        if not law.stop:
            out.print(f"\n{now}{law.reason}", soft_wrap=True)
        for warning in law.warnings:
            out.print(Text.assemble(("! ", "yellow"), warning), soft_wrap=True)
    for claim in found.claims:
        need = claim.settling
        out.print()
        out.print(Text.assemble(("inconclusive", "yellow"), f": {need.what}"), soft_wrap=True)
        if not claim.seeds:
            out.print(f"  {need.seeds_now} seeds; {need.note}", soft_wrap=True)
            continue
        few, many = need.seeds_range or (None, None)
        by_error = f", {few or 'over 1,000'} to {many or 'over 1,000'} by the error of the noise" if need.seeds_range else ""
        cost = f"{claim.trials} trials" + (f", {claim.train_flops:.2g} FLOPs" if claim.train_flops else "")
        cost += f", {duration(claim.seconds)} of one slot for their last stages" if claim.seconds else ""
        said = f"{need.seeds_now} seeds; {need.seeds} would settle it {need.note}{by_error}"
        out.print(f"  {said}\n  seeds {_span(claim.seeds)}: {cost}", soft_wrap=True)


def _next_row(run: "NextRun") -> dict[str, Any]:
    return {
        "parameters": run.n_params,
        "rate": run.lr,
        "seed": run.seed,
        "why": {"edge": "best rate at the end", "spread": "too few rates", "repeat": "its rates disagree", "gain": "narrows the interval"}[
            run.why
        ],
        "cost (smallest run = 1)": run.cost,
        f"×/÷ ({ONE_SD}) after it": None if run.sd is None else _factor(run.sd),
    }


def _factor(ln: float) -> float:
    """Infinite where there is no number."""
    return exp(ln) if ln <= BEYOND else inf


def _span(seeds: "Sequence[int]") -> str:
    whole = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]}-{seeds[-1]}" if whole else ", ".join(map(str, seeds))


def show_prediction(prediction: "Prediction", *, law: str, source: str) -> None:
    out = console()
    interval = "no interval"
    if prediction.interval and prediction.level:
        interval = f"{prediction.level:.0%} prediction interval {rates_text(prediction.interval)}"
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


def _whose(slope: "SlopeComparison") -> str:
    return "0, the same rate at all sizes" if slope.law == NO_CHANGE else f"that of {slope.law} ({slope.published_slope:+.3f})"


def _optimum_row(optimum: "Optimum") -> dict[str, Any]:
    counts = {"tokens": optimum.tokens, "tokens a step": optimum.batch_tokens}
    given = optimum.status == "given"
    return (
        {"parameters": optimum.n_params}
        | {what: value for what, value in counts.items() if value is not None}
        | {
            "best rate": optimum.lr,
            f"×/÷ ({ONE_SE})": None if optimum.se_ln is None else _factor(optimum.se_ln),
            "best on the grid": optimum.grid_best,
            "near-optimal set": optimum.near_optimal_words or None,
            "runs": None if given else optimum.n_runs,
            "diverged": None if given else optimum.n_diverged,
            "optimum": optimum.standing,
        }
    )


def _form_row(form: "FormFit") -> dict[str, Any]:
    slopes = (form.slopes or {}).items()
    return {
        "form": form.form,
        "slopes": ", ".join(f"{SYMBOLS[quantity]} {slope:+.3f}" for quantity, slope in slopes) or None,
        "AICc": form.aicc,
        SCATTER: form.tau,
        "note": form.note or None,
    }
