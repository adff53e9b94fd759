"""`/curves/NAME`: a metric while training, by arm or axis, against steps or what they cost."""

from collections.abc import Sequence
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from dashboards.address import Query, choice, choices, href
from dashboards.changes import Sent
from dashboards.parts.curve_view import (
    AGAINST,
    BANDS,
    CONTROLS,
    SCALES,
    View,
    base_lines,
    curve_metrics,
    drawing,
    first_group,
    first_metric,
    groups_of,
    known_view,
    level_choices,
)
from dashboards.reader import Reader
from dashboards.snapshot import Version
from dashboards.widgets import chooser, graph, heading, meanings, register_graph, study_links

NAMES = (1,)


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    snapshot = reader.snapshot(names[0])
    record, metrics, groups = snapshot.record, curve_metrics(reader, snapshot), groups_of(snapshot)
    first = View(first_metric(metrics), first_group(snapshot, groups))
    one_of: list[tuple[str, str, Sequence[str]]] = [
        ("metric", "Metric", list(metrics)),
        ("group", "Group by", groups),
        ("x", "Against", AGAINST),
        ("band", "Band", BANDS),
        ("xscale", "Scale of x", SCALES),
        ("yscale", "Scale of y", SCALES),
    ]
    choosers = [
        chooser(f"curves-{key}", label=label, options=options, value=choice(query, key, allowed=options, default=getattr(first, key)))
        for key, label, options in one_of
    ]
    levels = list(level_choices(snapshot))
    only = dcc.Dropdown(
        id="curves-only",
        options=levels,
        value=choices(query, "only", allowed=levels, default=[]),
        multi=True,
        placeholder="all levels of all axes",
    )
    return html.Div(
        [
            dcc.Store(id="curves-name", data=record.name),
            heading(record, page="curves", links=study_links(record, here=href("curves", record.name))),
            html.Section(
                [
                    html.H2("Curves"),
                    html.Div(choosers, className="controls"),
                    html.Div(html.Div([html.Label("Only", htmlFor="curves-only"), only], className="control wide"), className="controls"),
                    html.Div(id="curves-meanings"),
                    *base_lines(snapshot),
                    graph("curves-lines", label="Metric while training"),
                    html.Div(id="curves-caption"),
                ],
                className="card",
            ),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.snapshot(names[0]).version


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return reader.num_points(names[0])


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    controls = [Input(f"curves-{key}", "value") for key in CONTROLS]

    @app.callback(
        Output("curves-lines-made", "data"),
        Output("curves-meanings", "children"),
        Output("curves-caption", "children"),
        Input("seen", "data"),
        Input("points", "data"),
        Input("dark", "data"),
        *controls,
        State("curves-name", "data"),
        State("curves-lines-have", "data"),
    )
    def _curves(_seen: object, _points: object, dark: object, *rest: object) -> tuple[Any, ...]:
        *chosen, name, have = rest
        snapshot = reader.snapshot(name)
        view = known_view(reader, snapshot, chosen=dict(zip(CONTROLS, chosen, strict=True)))
        figure, said = drawing(reader, snapshot, view=view, dark=bool(dark))
        return sent.figure(figure, have=have), meanings(snapshot.record, [view.metric]), [html.P(line, className="note") for line in said]

    register_graph(app, name="curves-lines")
    app.clientside_callback(ClientsideFunction("ablate", "remember"), *controls)
