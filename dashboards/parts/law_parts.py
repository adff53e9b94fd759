"""Tables of the law page: the optimum of each size, the forms compared, and what to run next."""

from math import exp

from dash import html
from dash.development.base_component import Component

from ablate.analysis.laws import ONE_SD, ONE_SE, SCATTER, SYMBOLS, rate_label, size_label
from ablate.analysis.lr_law import LawReport, cell_label
from ablate.analysis.next_runs import NextRuns
from ablate.next_study import Next, OpenClaim
from ablate.quantities import counted, duration_text, scientific
from dashboards.widgets import DASH, message, number, table

WHY = {
    "edge": "best rate at the end of the grid",
    "spread": "too few rates",
    "repeat": "its rates disagree",
    "gain": "narrows the interval",
}
RATE = "Peak learning rate η"


def optima_table(report: LawReport) -> Component:
    head = ["Size N", RATE, f"×/÷ ({ONE_SE})", "Best of the grid", "Near-optimal set", "Runs", "Diverged", "Optimum"]
    rows = [
        [
            cell_label(optimum),
            rate_label(optimum.lr) if optimum.lr else DASH,
            f"{exp(optimum.se_ln):.2f}" if optimum.se_ln is not None else DASH,
            rate_label(optimum.grid_best) if optimum.grid_best else DASH,
            optimum.near_optimal_words or DASH,
            optimum.n_runs,
            optimum.n_diverged,
            optimum.standing,
        ]
        for optimum in report.optima
    ]
    return table(head, rows, label="Optimum of each size", numeric=[1, 2, 3, 5, 6])


def forms_table(report: LawReport) -> Component:
    """The forms over the same optima; a smaller AICc is better."""
    rows = [
        [
            f"{form.form} (fitted here)" if report.fit and report.fit.form == form.form else form.form,
            ", ".join(f"{SYMBOLS[quantity]} {slope:+.3f}".replace("-", "−") for quantity, slope in (form.slopes or {}).items()) or DASH,
            number(form.aicc),
            number(form.tau, 3),
            form.note,
        ]
        for form in report.forms
    ]
    return table(["Form", "Slopes", "AICc", SCATTER.capitalize(), "Note"], rows, label="Forms compared", numeric=[2, 3])


def next_section(found: Next, *, study: str) -> Component:
    """What `ablate next` prints, and the command that writes it to a file."""
    law = [html.P(f"No runs for the law: {found.law_note}.")] if found.law is None else _law_runs(found.law)
    open_ = [html.H3("Open claims"), *map(open_claim, found.claims)] if found.claims else []
    writes = bool(found.claims) or (found.law is not None and not found.law.stop)
    file = [message("To write the study with these runs in it:", command=f"ablate next {study} -o {study}-next.yaml")] if writes else []
    return html.Div([*law, *open_, *file])


def _law_runs(law: NextRuns) -> list[Component]:
    now = f"Now ×/÷ {exp(law.sd):.2f} ({ONE_SD}) at the target; " if law.sd is not None else ""
    said = f"{now}{law.reason}." if now or law.stop else f"{law.reason[:1].upper()}{law.reason[1:]}."
    rows = [
        [
            number_,
            size_label(run.n_params),
            rate_label(run.lr),
            run.seed,
            WHY[run.why],
            number(run.cost, 3),
            f"{exp(run.sd):.2f}" if run.sd is not None else DASH,
        ]
        for number_, run in enumerate(law.runs, start=1)
    ]
    head = ["", "Size N", RATE, "Seed", "Why", "Cost (smallest run = 1)", f"×/÷ ({ONE_SD}) after it"]
    lead: list[Component | str] = [html.Strong("Stop: "), said] if law.stop else [said]
    after = [html.P("What would narrow it most all the same, and is written to no file:", className="note")] if law.stop and rows else []
    why = [html.P(f"{law.criterion[:1].upper()}{law.criterion[1:]}.", className="note")] if law.criterion and rows else []
    return [html.P(lead), *after, *([table(head, rows, label="Next runs", numeric=[1, 2, 3, 5, 6])] if rows else []), *why]


def open_claim(claim: OpenClaim) -> Component:
    """How many seeds would settle it, and what those cost."""
    need = claim.settling
    if not claim.seeds:
        return html.P([html.Strong(need.what), f": {counted(need.seeds_now, 'seed')}; {need.note}."])
    few, many = need.seeds_range or (None, None)
    by_error = f", {few or 'over 1,000'} to {many or 'over 1,000'} by the error of the noise" if need.seeds_range else ""
    cost = [counted(claim.trials, "trial")]
    cost += [f"{scientific(claim.train_flops)} FLOPs"] if claim.train_flops else []
    cost += [f"{duration_text(claim.seconds)} of one slot for their last stages"] if claim.seconds else []
    said = f": {counted(need.seeds_now, 'seed')}; {need.seeds} would settle it {need.note}{by_error}. {', '.join(cost)}."
    return html.P([html.Strong(need.what), said])
