"""`/parallel/NAME`: a line a finished trial through its levels and a metric; what is brushed there is in the table below."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import dash_ag_grid as dag
import pandas as pd
import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from ablate import parallel_figures
from ablate.errors import InputError
from ablate.parallel_figures import Ranges
from dashboards.address import Query, choice, href
from dashboards.changes import Sent
from dashboards.parts.measured import Measured, measure, metrics_of
from dashboards.parts.trial_table import trial_table
from dashboards.reader import Reader
from dashboards.snapshot import Version
from dashboards.widgets import (
    GRID_OPTIONS,
    aria,
    blank,
    chooser,
    fit_card,
    graph,
    heading,
    message,
    register_graph,
    register_grid,
    study_links,
)

NAMES = (1,)

MOST_AXES = 24
"""Dimensions that have room beside one another."""
METRIC = "=metric"
"""Stands for whichever metric is drawn; no axis has this name."""


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    measured = measure(reader, names[0])
    record, metrics = measured.record, metrics_of(measured)
    top = [
        dcc.Store(id="parallel-name", data=record.name),
        heading(record, page="parallel", links=study_links(record, here=href("parallel", record.name))),
    ]
    if not record.axes:
        return html.Div([*top, message("This study has no axis to draw. Axes stand in its file:", command="axes:\n  data.mix: [...]")])
    metric = choice(query, "metric", allowed=metrics, default=measured.metric)
    clear = html.Button("Clear the brush", id="parallel-clear", className="button", type="button")
    count = html.Strong(id="parallel-count", role="status")
    hint = (
        "Draw a box across a dimension to keep the trials in its range, across others to keep those in all; a new box replaces an old one. "
        "The fields below do the same for one dimension: an empty end is the dimension's own."
    )
    drawn = [
        html.H2("Parallel coordinates"),
        dcc.Store(id="parallel-brush", data=written(measured, query=query)),
        html.Div([chooser("parallel-metric", label="Metric", options=metrics, value=metric), clear, count], className="controls"),
        html.P(hint, className="note"),
        _typed(drawn_axes(measured)),
        graph("parallel-lines", label="A line a trial through its levels and its metric"),
    ]
    stores = [dcc.Store(id="parallel-trials-made"), dcc.Store(id="parallel-trials-have")]
    return html.Div(
        [
            *top,
            html.Section(drawn, className="card"),
            html.Section([html.H2("Trials kept by the brush"), *stores, _grid()], className="card"),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.snapshot(names[0]).version


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return 0


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    @app.callback(
        Output("parallel-lines-made", "data"),
        Input("seen", "data"),
        Input("parallel-metric", "value"),
        Input("dark", "data"),
        Input("parallel-brush", "data"),
        State("parallel-name", "data"),
        State("parallel-lines-have", "data"),
    )
    def _lines(_seen: object, metric: object, dark: object, brush: object, name: object, have: object) -> Any:
        measured = measure(reader, name)
        chosen = known_metric(measured, metric=metric)
        goal = reader.snapshot(name).study.metric.goal if chosen == measured.metric else "max"
        figure = lines(measured, metric=chosen, ranges=ranges_of(measured, brush=brush), goal=goal, dark=bool(dark))
        return sent.figure(figure, have=have)

    @app.callback(
        Output("parallel-count", "children"),
        Output("parallel-trials-made", "data"),
        Input("seen", "data"),
        Input("parallel-metric", "value"),
        Input("parallel-brush", "data"),
        State("parallel-name", "data"),
        State("parallel-trials-have", "data"),
    )
    def _trials(_seen: object, metric: object, brush: object, name: object, have: object) -> tuple[str, Any]:
        measured = measure(reader, name)
        chosen = known_metric(measured, metric=metric)
        all_drawn, kept = kept_trials(measured, metric=chosen, ranges=ranges_of(measured, brush=brush))
        columns, rows = trial_table(rows_of(measured, trials=kept), snapshot=reader.snapshot(name))
        place = {"field": "place", "hide": True, "sort": "asc", "sortIndex": 0}  # rows that come back stand where they stood
        places = {trial: at for at, trial in enumerate(all_drawn)}
        rows = [row | {"place": places[row["trial"]]} for row in rows]
        return f"{len(kept):,} of {len(all_drawn):,} trials", sent.rows([place, *columns], rows, key="trial", have=have)

    _register_brush(app, reader)
    register_graph(app, name="parallel-lines")
    register_grid(app, name="parallel-trials")
    app.clientside_callback(ClientsideFunction("ablate", "remember"), Input("parallel-metric", "value"), Input("parallel-brush", "data"))


def _register_brush(app: Dash, reader: Reader) -> None:
    """Its two ways in, a box that is drawn and fields that are typed, and what the fields show of it."""

    @app.callback(
        Output("parallel-ends", "children"),
        Output("parallel-from", "value"),
        Output("parallel-to", "value"),
        Input("parallel-column", "value"),
        Input("parallel-brush", "data"),
        State("parallel-metric", "value"),
        State("parallel-name", "data"),
    )
    def _fields(column: object, brush: object, metric: object, name: object) -> tuple[Any, ...]:
        measured = measure(reader, name)
        return fields_of(measured, metric=known_metric(measured, metric=metric), column=column, brush=brush)

    @app.callback(
        Output("parallel-brush", "data"),
        Input("parallel-lines", "selectedData"),
        Input("parallel-clear", "n_clicks"),
        State("parallel-brush", "data"),
        State("parallel-metric", "value"),
        State("parallel-name", "data"),
        prevent_initial_call=True,
    )
    def _brush(selected: object, _clicks: object, brush: object, metric: object, name: object) -> Any:
        if ctx.triggered_id == "parallel-clear":
            return []
        measured = measure(reader, name)
        box = selected.get("range") if isinstance(selected, dict) else None
        if not isinstance(box, dict):
            return no_update
        return brush_with(measured, metric=known_metric(measured, metric=metric), brush=brush, box=box)

    @app.callback(
        Output("parallel-brush", "data", allow_duplicate=True),
        Output("parallel-typed-said", "children"),
        Input("parallel-keep", "n_clicks"),
        Input("parallel-from", "n_submit"),
        Input("parallel-to", "n_submit"),
        State("parallel-column", "value"),
        State("parallel-from", "value"),
        State("parallel-to", "value"),
        State("parallel-brush", "data"),
        State("parallel-metric", "value"),
        State("parallel-name", "data"),
        prevent_initial_call=True,
    )
    def _typed_brush(*asked: object) -> tuple[Any, str]:
        column, low, high, brush, metric, name = asked[3:]
        measured = measure(reader, name)
        try:
            return typed(measured, metric=known_metric(measured, metric=metric), brush=brush, column=column, ends=(low, high)), ""
        except InputError as error:
            return no_update, str(error)


def known_metric(measured: Measured, *, metric: object) -> str:
    allowed = metrics_of(measured)
    if metric not in allowed:
        raise InputError(f"no metric '{str(metric)[:100]}' in {measured.record.name} (there: {', '.join(allowed)})")
    return str(metric)


def drawn_axes(measured: Measured) -> list[str]:
    """Those that vary, as many as there is room for; all where none does."""
    axes = measured.record.axes
    return ([axis for axis, levels in axes.items() if len(levels) != 1] or list(axes))[:MOST_AXES]


def ranges_of(measured: Measured, *, brush: object) -> Ranges:
    """What the browser says is brushed, `column:low:high` each. Raises InputError for what is no range of a column of this study."""
    if not isinstance(brush, list) or not all(isinstance(one, str) for one in brush):
        raise InputError("a brush is a list of ranges, column:low:high")
    found: dict[str, list[tuple[float, float]]] = {}
    for text in brush:
        column, low, high = _range(text)
        if column not in (*measured.record.axes, *metrics_of(measured)):
            raise InputError(f"no axis or metric '{column[:100]}' in {measured.record.name}")
        found.setdefault(column, []).append((low, high))
    return found


def written(measured: Measured, *, query: Query) -> list[str]:
    """The ranges in the address that are some."""
    kept = []
    for text in query.get("brush", []):
        try:
            ranges_of(measured, brush=[text])
        except InputError:
            continue
        kept.append(text)
    return kept


def lines(measured: Measured, *, metric: str, ranges: Ranges, goal: str, dark: bool) -> go.Figure:
    axes, record = drawn_axes(measured), measured.record
    if not kept_trials(measured, metric=metric, ranges={})[0]:
        return blank(f"no finished trial has reported {metric} yet")
    figure = parallel_figures.parallel_coordinates(
        measured.results, axes=axes, metric=metric, goal=goal, ranges=ranges, simulated=record.simulated, dark=dark
    )
    return fit_card(figure, view=f"{record.name} {metric}")


def kept_trials(measured: Measured, *, metric: str, ranges: Ranges) -> tuple[list[str], list[str]]:
    """The finished trials that reported the metric, and those of them that the brush keeps."""
    if metric not in measured.results:
        return [], []
    axes = drawn_axes(measured)
    drawn = parallel_figures.drawn(measured.results, axes=axes, metric=metric)
    return drawn, parallel_figures.brushed(measured.results, axes=axes, metric=metric, ranges=ranges) if ranges else drawn


def brush_with(measured: Measured, *, metric: str, brush: object, box: Mapping[str, Any]) -> list[str]:
    """The brush with the box that was drawn last: on the dimensions that it lies across it stands for what was brushed there before."""
    before = ranges_of(measured, brush=brush)
    if metric not in measured.results:
        return []
    drawn = parallel_figures.box_ranges(measured.results, axes=drawn_axes(measured), metric=metric, box=box)
    return _texts({**before, **drawn})


def typed(measured: Measured, *, metric: str, brush: object, column: object, ends: Sequence[object]) -> list[str]:
    """The brush with a range whose ends were typed. Raises InputError for what is no dimension, level or number."""
    before = ranges_of(measured, brush=brush)
    dimension = _dimension(measured, metric=metric, column=column)
    low, high = ("" if end is None else str(end) for end in ends)
    return _texts({**before, dimension.column: [parallel_figures.typed_range(dimension, low=low, high=high)]})


def fields_of(measured: Measured, *, metric: str, column: object, brush: object) -> tuple[list[Component], str, str]:
    """What may be typed for a dimension, lowest first, and the ends of its brushed range, empty without one."""
    try:
        dimension = _dimension(measured, metric=metric, column=column)
    except InputError:
        return [], "", ""
    offered: list[Component] = [html.Option(value=text) for text in dimension.names or [text for _, text in dimension.ticks]]
    pairs = ranges_of(measured, brush=brush).get(dimension.column)
    if not pairs:
        return offered, "", ""
    return offered, *dimension.texts(pairs[0][0], pairs[-1][1])


def _dimension(measured: Measured, *, metric: str, column: object) -> parallel_figures.Dimension:
    axes = drawn_axes(measured)
    wanted = metric if column == METRIC else column
    if metric not in measured.results or wanted not in (*axes, metric):
        raise InputError(f"no dimension '{str(wanted)[:100]}' is drawn (there: {', '.join([*axes, metric])})")
    return parallel_figures.dimension(measured.results, axes=axes, metric=metric, column=str(wanted))


def _texts(ranges: Ranges) -> list[str]:
    return [f"{column}:{low:.12g}:{high:.12g}" for column, pairs in ranges.items() for low, high in pairs]


def rows_of(measured: Measured, *, trials: Sequence[str]) -> pd.DataFrame:
    kept = set(trials)
    return measured.results[[trial in kept for trial in measured.results["trial"]]]  # isin takes 40 ms for 10,000 of them


def _range(text: str) -> tuple[str, float, float]:
    column, *ends = text.rsplit(":", 2)
    try:
        low, high = map(float, ends)
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"'{text[:100]}' is no brushed range, column:low:high")
    return column, low, high


def _typed(axes: Sequence[str]) -> Component:
    """The brush by keyboard: a dimension and the two ends of its range."""
    options = [*({"label": axis, "value": axis} for axis in axes), {"label": "the metric", "value": METRIC}]
    column = dcc.Dropdown(id="parallel-column", options=options, value=options[0]["value"], clearable=False)
    controls = [html.Div([html.Label("Dimension", htmlFor="parallel-column"), column], className="control")]
    for key, label in (("from", "From"), ("to", "To")):
        field = dcc.Input(id=f"parallel-{key}", type="text", value="", list="parallel-ends", autoComplete="off", maxLength=200)
        controls.append(html.Div([html.Label(label, htmlFor=f"parallel-{key}"), field], className="control short"))
    keep = html.Button("Keep this range", id="parallel-keep", className="button", type="button")
    said = html.Span(id="parallel-typed-said", role="status", className="note")
    return html.Div(
        [*controls, keep, said, html.Datalist(id="parallel-ends")], className="controls", role="group", **aria(label="Brush by typing")
    )


def _grid() -> Component:
    grid: Component = dag.AgGrid(
        id="parallel-trials",
        columnDefs=[],
        rowData=[],
        getRowId="params.data.trial",
        defaultColDef={"sortable": True, "resizable": True},
        dashGridOptions=GRID_OPTIONS,
        style={"height": "420px"},
    )
    return grid
