"""`/law/NAME`: the best learning rate against model size, the study's law beside published ones, what they say of a size, next runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html
from dash.development.base_component import Component

from ablate import law_figures
from ablate.analysis.laws import Prediction, PublishedLaw, rate_label, size_label
from ablate.analysis.lr_law import LawReport
from ablate.analysis.published import MM1, PUBLISHED, predict, ranges_label
from ablate.errors import InputError
from ablate.results import law_runs
from ablate.stores import StudyRecord
from dashboards.address import Query, choices, href
from dashboards.changes import Sent
from dashboards.parts.law_parts import RATE, forms_table, next_section, optima_table
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot, Version
from dashboards.widgets import DASH, blank, fit_card, graph, heading, message, number, register_graph, study_links, table

NAMES = (1,)

SIZES = (4.0, 11.0)
"""Ends of the slider, powers of ten."""
TOKENS = 1e6
"""Most training tokens that can be asked for, billions."""
HEIGHT = 620


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    snapshot = reader.snapshot(names[0])
    record = snapshot.record
    links = study_links(record, here=href("law", record.name))
    parts = [dcc.Store(id="law-study", data=record.name), heading(record, page="law", links=links)]
    declared = snapshot.study.law
    if declared is None:
        how = message("This study declares no law. Add one to its file and run it again:", command=law_example(record))
        return html.Div([*parts, how])
    controls = html.Div([_published(query), _tokens(query, known=at_of(snapshot, None).get("tokens"))], className="controls")
    return html.Div(
        [
            *parts,
            html.Div(id="law-warnings"),
            html.Div(
                [
                    html.Section(graph("law-runs", label="Metric against peak learning rate, a curve a size"), className="card"),
                    html.Section(graph("law-figure", label="Best peak learning rate against model size"), className="card"),
                ],
                className="columns even",
            ),
            html.Section(
                [
                    html.H2("What the laws say of a size"),
                    _slider(query, target=declared.target),
                    controls,
                    html.Div(id="law-numbers"),
                ],
                className="card",
            ),
            html.Section([html.H2("Optimum of each size"), html.Div(id="law-optima")], className="card"),
            html.Section([html.H2("Forms compared"), html.Div(id="law-forms")], className="card"),
            html.Section(
                [
                    html.H2("Next runs"),
                    html.P("What to run next, so that the law says more of its target and open claims are settled.", className="note"),
                    html.Button("Propose next runs", id="law-propose", className="button"),
                    html.Div(id="law-next", role="status"),
                ],
                className="card",
            ),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.snapshot(names[0]).version


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return 0


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    @app.callback(
        Output("law-warnings", "children"),
        Output("law-runs-made", "data"),
        Output("law-figure-made", "data"),
        Output("law-optima", "children"),
        Output("law-forms", "children"),
        Input("seen", "data"),
        Input("law-size", "value"),
        Input("law-published", "value"),
        Input("law-tokens", "value"),
        Input("dark", "data"),
        State("law-study", "data"),
        State("law-runs-have", "data"),
        State("law-figure-have", "data"),
    )
    def _figures(
        _seen: object,
        power: object,
        published: object,
        tokens: object,
        dark: object,
        name: object,
        runs_have: object,
        law_have: object,
    ) -> tuple[Any, ...]:
        snapshot = reader.snapshot(name)
        chosen, at = known_laws(published), at_of(snapshot, tokens)
        report, why_not = find_law(reader, snapshot)
        runs = runs_figure(reader, snapshot, report=report, dark=bool(dark))
        drawn = law_figure(report, record=snapshot.record, size=size_of(power), published=chosen, at=at, dark=bool(dark))
        tables = (optima_table(report), forms_table(report)) if report else (message("No optimum yet."), message("Nothing to compare yet."))
        return warnings(report, why_not=why_not), sent.figure(runs, have=runs_have), sent.figure(drawn, have=law_have), *tables

    @app.callback(
        Output("law-numbers", "children"),
        Input("seen", "data"),
        Input("law-size", "drag_value"),
        Input("law-size", "value"),
        Input("law-published", "value"),
        Input("law-tokens", "value"),
        State("law-study", "data"),
    )
    def _numbers(_seen: object, dragged: object, value: object, published: object, tokens: object, name: object) -> Component:
        power = dragged if "law-size.drag_value" in ctx.triggered_prop_ids and dragged is not None else value
        snapshot = reader.snapshot(name)
        at = at_of(snapshot, tokens)
        return numbers(find_law(reader, snapshot)[0], size=size_of(power), published=known_laws(published), at=at)

    @app.callback(
        Output("law-next", "children"),
        Output("law-propose", "children"),
        Input("seen", "data"),
        Input("law-propose", "n_clicks"),
        State("law-study", "data"),
    )
    def _next(_seen: object, clicks: object, name: object) -> tuple[Component | None, str]:
        return (next_runs(reader, reader.snapshot(name)), "Hide") if isinstance(clicks, int) and clicks % 2 else (None, "Propose next runs")

    register_graph(app, name="law-runs")
    register_graph(app, name="law-figure")
    app.clientside_callback(
        ClientsideFunction("ablate", "remember"), *(Input(f"law-{key}", "value") for key in ("size", "published", "tokens"))
    )


def size_of(power: object) -> float:
    """N at a place of the slider."""
    if not isinstance(power, int | float) or isinstance(power, bool) or not SIZES[0] <= power <= SIZES[1]:
        raise InputError(f"N lies between 1e{SIZES[0]:g} and 1e{SIZES[1]:g}")
    return float(10.0**power)


def known_laws(names: object) -> list[PublishedLaw]:
    if not isinstance(names, list):
        raise InputError(f"published laws are a list of names ({', '.join(PUBLISHED)})")
    unknown = [str(name)[:100] for name in names if not isinstance(name, str) or name not in PUBLISHED]
    if unknown:
        raise InputError(f"no published law '{unknown[0]}' ({', '.join(PUBLISHED)})")
    return [PUBLISHED[name] for name in PUBLISHED if name in names]


def at_of(snapshot: Snapshot, tokens: object) -> dict[str, float]:
    """What laws read beside N: the training tokens as asked for, in billions, else the runs' own; the runs' tokens a step."""
    declared = snapshot.study.law
    meant = declared.definitions if declared else None
    own = {"tokens": meant and meant.tokens, "batch_tokens": meant and meant.batch_tokens}
    found: dict[str, float] = {}
    for quantity in ("tokens", "batch_tokens"):
        if value := own[quantity]:
            found[quantity] = float(value)
    if tokens is not None and tokens != "":
        if not isinstance(tokens, int | float) or isinstance(tokens, bool) or not 0 < tokens <= TOKENS:
            raise InputError(f"training tokens D are a number above 0 and at most {TOKENS:,.0f} billion")
        found["tokens"] = 1e9 * tokens
    return found


def next_runs(reader: Reader, snapshot: Snapshot) -> Component:
    try:
        return next_section(reader.next_runs(snapshot), study=snapshot.record.name)
    except InputError as error:
        return message(str(error))


def find_law(reader: Reader, snapshot: Snapshot) -> tuple[LawReport | None, str]:
    """The study's law, or why there is none yet."""
    try:
        return reader.law(snapshot), ""
    except InputError as error:
        return None, str(error)


def numbers(
    report: LawReport | None, *, size: float, published: Sequence[PublishedLaw] = (MM1,), at: Mapping[str, float] | None = None
) -> Component:
    """One row a law: rate, interval with the regret of its ends, weight decay."""
    others, fit, metric = dict(at or {}), report.fit if report else None, report.metric if report else None
    rows, notes = [], []
    if fit:
        try:
            prediction = fit.predict(size, **({} if fit.form == "N" else others))
            rows.append(_prediction_row(html.Strong("This study"), fit.formula, prediction))
            cost = [f"regret: {prediction.regret_note}"] if prediction.regret and prediction.regret_note else []
            notes.append(f"This study: {'; '.join([*prediction.notes, *cost])}.")
        except InputError as error:
            notes.append(f"This study: {error}.")
    for law in published:
        name = html.Span([html.Strong(law.name.upper()), html.Span(f" ({law.source}; {ranges_label(law)})", className="note")])
        formula = law.formula.replace("eta", "η").replace("lambda", "λ").replace("-", "−")
        try:
            prediction = predict(law.name, size, tokens=others.get("tokens") if set(law.reads) - {"n_params"} else None)
            rows.append(_prediction_row(name, formula, prediction))
            notes.append(f"{law.name.upper()}: {'; '.join(prediction.notes)}.")
        except InputError as error:
            rows.append([name, formula, *[DASH] * 5])
            notes.append(f"{law.name.upper()}: {_why_no_rate(law, others) or error}.")
    regret = f"Regret at its ends{f', {metric}' if metric else ''}"
    head = ["Law", "Formula", RATE, "95 % prediction interval", regret, "Decay λ = 0.1 η", "in torch's AdamW"]
    said = [f" ({size:,.0f} parameters)", *([f", D = {size_label(others['tokens'])} tokens"] if "tokens" in others else [])]
    return html.Div(
        [
            html.P(["N = ", html.Strong(size_label(size)), *said], className="size"),
            table(head, rows, label="Predictions", numeric=[2, 3, 5, 6]),
            *(html.P(note, className="note") for note in notes),
        ]
    )


def warnings(report: LawReport | None, *, why_not: str) -> Component:
    if report is None:
        return message(f"No law yet: {why_not}")
    if not report.warnings:
        return html.Div()
    return html.Section([html.H2("Read with care"), html.Ul([html.Li(warning) for warning in report.warnings])], className="card warnings")


def runs_figure(reader: Reader, snapshot: Snapshot, *, report: LawReport | None, dark: bool) -> go.Figure:
    study, record, declared = snapshot.study, snapshot.record, snapshot.study.law
    if declared is None or report is None:
        return blank("no finished runs to draw yet")
    metric = study.metric
    runs = law_runs(snapshot.trials, law=declared, metric=metric.name, axes=record.axes).frame
    figure = law_figures.loss_against_rate(
        runs, optima=report.optima, metric=metric.name, goal=metric.goal, simulated=record.simulated, dark=dark
    )
    return fit_card(figure, view=record.name).update_layout(height=HEIGHT)


def law_figure(
    report: LawReport | None,
    *,
    record: StudyRecord,
    size: float,
    published: Sequence[PublishedLaw] = (MM1,),
    at: Mapping[str, float] | None = None,
    dark: bool,
) -> go.Figure:
    """Published laws that read tokens are drawn where these are known; the table says which are not."""
    if report is None or report.fit is None:
        return blank("two sizes with an optimum inside their grid make a law")
    others = dict(at or {})
    shown = [law for law in published if not _why_no_rate(law, others)]
    try:
        figure = law_figures.law(
            report.fit, published=shown, at=others, target=size, excluded=report.excluded, simulated=record.simulated, dark=dark
        )
    except InputError as error:
        return blank(str(error))
    return fit_card(figure, view=f"{record.name} {' '.join(law.name for law in shown)}").update_layout(height=HEIGHT)


def law_example(record: StudyRecord) -> str:
    axes = list(record.axes)
    rate = next((axis for axis in axes if "lr" in axis or "learning_rate" in axis), "train.learning_rate")
    return f"law:\n  hyperparameter: {rate}   # axis of the learning rate, three levels or more\n  size: num_params\n  target: 30.0e9"


def _why_no_rate(law: PublishedLaw, at: Mapping[str, float]) -> str:
    if "tokens" in at or not set(law.reads) - {"n_params"}:
        return ""
    return f"it reads the training tokens D{' through C = 6 N D' if 'compute' in law.reads else ''}: say them above"


def _prediction_row(name: Component, formula: str, prediction: Prediction) -> list[object]:
    decay, interval = prediction.weight_decay, prediction.interval
    return [
        name,
        formula,
        rate_label(prediction.lr),
        " to ".join(map(rate_label, interval)) if interval else DASH,
        prediction.regret_words or DASH,
        number(decay.per_step, 3) if decay else DASH,
        number(decay.torch_adamw, 3) if decay else DASH,
    ]


def _published(query: Query) -> Component:
    options = [{"label": f"{law.name.upper()} ({law.source}; {ranges_label(law)})", "value": name} for name, law in PUBLISHED.items()]
    chosen = choices(query, "published", allowed=list(PUBLISHED), default=[MM1.name])
    chooser = dcc.Dropdown(id="law-published", options=options, value=chosen, multi=True)
    return html.Div([html.Label("Published laws", htmlFor="law-published"), chooser], className="control wide")


def _tokens(query: Query, *, known: float | None) -> Component:
    """In billions; laws of N alone do not read them."""
    try:
        wanted = float(query.get("tokens", [""])[0])
    except ValueError:
        wanted = math.nan
    value = wanted if 0 < wanted <= TOKENS else known and known / 1e9
    field = dcc.Input(id="law-tokens", type="number", min=0, max=TOKENS, step="any", value=value, debounce=True, placeholder="not known")
    return html.Div([html.Label("Training tokens D, billions", htmlFor="law-tokens"), field], className="control")


def _slider(query: Query, *, target: float) -> Component:
    try:
        wanted = float(query.get("size", [""])[0])
    except ValueError:
        wanted = math.log10(target)
    power = min(SIZES[1], max(SIZES[0], wanted)) if math.isfinite(wanted) else math.log10(target)
    marks = {exponent: size_label(10.0**exponent) for exponent in range(int(SIZES[0]), int(SIZES[1]) + 1)}
    slider = dcc.Slider(
        id="law-size", min=SIZES[0], max=SIZES[1], step=0.01, value=power, marks=marks, updatemode="mouseup", allow_direct_input=False
    )
    return html.Div([html.Label("Parameters N", htmlFor="law-size"), slider], className="control slider")
