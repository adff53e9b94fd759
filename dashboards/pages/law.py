"""`/law/NAME`: the best learning rate against model size, the study's law beside MM1's, and what both say of a size."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html
from dash.development.base_component import Component

from ablate import law_figures
from ablate.analysis.laws import Prediction, size_label
from ablate.analysis.lr_law import LawReport
from ablate.analysis.published import MM1, predict
from ablate.errors import InputError
from ablate.results import law_runs
from ablate.stores import StudyRecord
from dashboards.address import Query, href
from dashboards.changes import Sent
from dashboards.reader import Reader, Snapshot, Version
from dashboards.widgets import DASH, blank, fit_card, graph, heading, message, number, register_graph, study_links, table

NAMES = (1,)

SIZES = (4.0, 11.0)
"""Ends of the slider, powers of ten."""
HEIGHT = 520


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    snapshot = reader.snapshot(names[0])
    record = snapshot.record
    links = study_links(record, here=href("law", record.name))
    parts = [dcc.Store(id="law-study", data=record.name), heading(record, page="law", links=links)]
    declared = snapshot.study.law
    if declared is None:
        how = message("This study declares no law. Add one to its file and run it again:", command=law_example(record))
        return html.Div([*parts, how])
    slider = _slider(query, target=declared.target)
    return html.Div(
        [
            *parts,
            html.Div(id="law-warnings"),
            html.Div(
                [
                    html.Section(graph("law-runs", label="Metric against learning rate, a line a size"), className="card"),
                    html.Section(graph("law-figure", label="Best learning rate against model size"), className="card"),
                ],
                className="columns even",
            ),
            html.Section([html.H2("What the laws say of a size"), slider, html.Div(id="law-numbers")], className="card"),
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
        Input("seen", "data"),
        Input("law-size", "value"),
        Input("dark", "data"),
        State("law-study", "data"),
        State("law-runs-have", "data"),
        State("law-figure-have", "data"),
    )
    def _figures(
        _seen: object, power: object, dark: object, name: object, runs_have: object, law_have: object
    ) -> tuple[Component, Any, Any]:
        snapshot = reader.snapshot(name)
        report, why_not = find_law(reader, snapshot)
        runs = runs_figure(reader, snapshot, report=report, dark=bool(dark))
        drawn = law_figure(report, record=snapshot.record, size=size_of(power), dark=bool(dark))
        return warnings(report, why_not=why_not), sent.figure(runs, have=runs_have), sent.figure(drawn, have=law_have)

    @app.callback(
        Output("law-numbers", "children"),
        Input("seen", "data"),
        Input("law-size", "drag_value"),
        Input("law-size", "value"),
        State("law-study", "data"),
    )
    def _numbers(_seen: object, dragged: object, value: object, name: object) -> Component:
        power = dragged if "law-size.drag_value" in ctx.triggered_prop_ids and dragged is not None else value
        return numbers(find_law(reader, reader.snapshot(name))[0], size=size_of(power))

    register_graph(app, name="law-runs")
    register_graph(app, name="law-figure")
    app.clientside_callback(ClientsideFunction("ablate", "remember"), Input("law-size", "value"))


def size_of(power: object) -> float:
    """N at a place of the slider."""
    if not isinstance(power, int | float) or isinstance(power, bool) or not SIZES[0] <= power <= SIZES[1]:
        raise InputError(f"N lies between 1e{SIZES[0]:g} and 1e{SIZES[1]:g}")
    return float(10.0**power)


def find_law(reader: Reader, snapshot: Snapshot) -> tuple[LawReport | None, str]:
    """The study's law, or why there is none yet."""
    try:
        return reader.law(snapshot), ""
    except InputError as error:
        return None, str(error)


def numbers(report: LawReport | None, *, size: float) -> Component:
    """One row a law: rate, interval, weight decay."""
    fit = report.fit if report else None
    said = [("This study", fit.formula, fit.predict(size))] if fit else []
    said.append(("MM1", MM1.formula.replace("-", "−"), predict("mm1", size)))
    head = ["Law", "Formula", "Peak learning rate η", "95 % prediction interval", "Weight decay λ = 0.1 η", "the same for torch AdamW"]
    return html.Div(
        [
            html.P(["N = ", html.Strong(size_label(size)), f" ({size:,.0f} parameters)"], className="size"),
            table(head, [_prediction_row(*law) for law in said], label="Predictions", numeric=[2, 3, 4, 5]),
            *(html.P(f"{name}: {'; '.join(prediction.notes)}.", className="note") for name, _, prediction in said if prediction.notes),
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
    runs = law_runs(snapshot.trials, law=declared, metric=study.metric.name, axes=record.axes).frame
    figure = law_figures.loss_against_rate(runs, optima=report.optima, metric=study.metric.name, simulated=record.simulated, dark=dark)
    return fit_card(figure, view=record.name).update_layout(height=HEIGHT)


def law_figure(report: LawReport | None, *, record: StudyRecord, size: float, dark: bool) -> go.Figure:
    if report is None or report.fit is None:
        return blank("two sizes with an optimum inside their grid make a law")
    figure = law_figures.law(report.fit, target=size, excluded=report.excluded, simulated=record.simulated, dark=dark)
    return fit_card(figure, view=record.name).update_layout(height=HEIGHT)


def law_example(record: StudyRecord) -> str:
    axes = list(record.axes)
    rate = next((axis for axis in axes if "lr" in axis or "learning_rate" in axis), "train.learning_rate")
    return f"law:\n  hyperparameter: {rate}   # axis of the learning rate, three levels or more\n  size: num_params\n  target: 30.0e9"


def _prediction_row(name: str, formula: str, prediction: Prediction) -> list[object]:
    decay, interval = prediction.weight_decay, prediction.interval
    return [
        html.Span([html.Strong(name), html.Span(f" ({MM1.source})", className="note")]) if name == "MM1" else html.Strong(name),
        formula,
        number(prediction.lr, 3),
        f"{number(interval[0], 3)} to {number(interval[1], 3)}" if interval else DASH,
        number(decay.per_step, 3) if decay else DASH,
        number(decay.torch_adamw, 3) if decay else DASH,
    ]


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
