"""`/factors/NAME`: what two axes do together, and how much each of all moves the study's metric."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from ablate import factor_figures
from ablate.analysis.factors import FactorEffects, Term
from ablate.analysis.importance import Importance
from ablate.errors import InputError
from ablate.no_factors import Gap, factor_gap
from ablate.plot_style import escape
from ablate.results import at_baselines
from dashboards.address import Query, choice, href
from dashboards.changes import Sent
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot, Version
from dashboards.widgets import DASH, blank, chooser, fit_card, graph, heading, message, number, register_graph, study_links, table

NAMES = (1,)

MOST_LEVELS = 24
"""Of an axis that is chosen: each level is a line, or a place on the axis below."""
ASK = "Compute importance by fANOVA"


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    snapshot = reader.snapshot(names[0])
    record = snapshot.record
    top = [
        dcc.Store(id="factors-name", data=record.name),
        heading(record, page="factors", links=study_links(record, here=href("factors", record.name))),
    ]
    if len(varied(snapshot)) < 2:
        return html.Div([*top, gap_part(gap_of(reader, snapshot))])
    return html.Div([*top, *_importance(), _interactions(snapshot, query=query)])


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.snapshot(names[0]).version


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return 0


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    @app.callback(
        Output("factors-bars-made", "data"),
        Output("factors-matrix-made", "data"),
        Output("factors-shares", "children"),
        Output("factors-gap", "children"),
        Output("factors-bars-place", "hidden"),
        Output("factors-matrix-card", "hidden"),
        Input("seen", "data"),
        Input("factors-forest", "data"),
        Input("dark", "data"),
        State("factors-name", "data"),
        State("factors-bars-have", "data"),
        State("factors-matrix-have", "data"),
    )
    def _update(_seen: object, asked: object, dark: object, name: object, bars_have: object, matrix_have: object) -> tuple[Any, ...]:
        snapshot = reader.snapshot(name)
        found, forest = reader.factors(snapshot), forest_of(reader, snapshot, asked=asked)
        gap = gap_of(reader, snapshot)
        drawn = None if gap and not forest else bars(snapshot, found=None if gap else found, forest=forest, dark=bool(dark))
        crossed = None if gap or not found else matrix(snapshot, found=found, dark=bool(dark))
        return (
            sent.figure(drawn, have=bars_have) if drawn else no_update,
            sent.figure(crossed, have=matrix_have) if crossed else no_update,
            shares(found, forest=forest, outdated=bool(asked) and forest is None),
            gap_part(gap),
            drawn is None,
            crossed is None,
        )

    @app.callback(
        Output("factors-lines-made", "data"),
        Input("seen", "data"),
        Input("factors-a", "value"),
        Input("factors-b", "value"),
        Input("dark", "data"),
        State("factors-name", "data"),
        State("factors-lines-have", "data"),
    )
    def _lines(_seen: object, first: object, second: object, dark: object, name: object, have: object) -> Any:
        return sent.figure(lines(reader, reader.snapshot(name), axes=(first, second), dark=bool(dark)), have=have)

    @app.callback(
        Output("factors-forest", "data"),
        Output("factors-said", "children"),
        Input("factors-ask", "n_clicks"),
        State("factors-name", "data"),
        prevent_initial_call=True,
        running=[(Output("factors-ask", "disabled"), True, False), (Output("factors-ask", "children"), "Growing forests…", ASK)],
    )
    def _grow(_clicks: object, name: object) -> tuple[Any, str]:
        snapshot = reader.snapshot(name)
        try:
            reader.importance(snapshot)
        except InputError as error:
            return None, f"No importance: {error}"
        return snapshot.version, ""

    @app.callback(
        Output("factors-a", "value"),
        Output("factors-b", "value"),
        Input("factors-matrix", "clickData"),
        State("factors-name", "data"),
        prevent_initial_call=True,
    )
    def _choose(click: object, name: object) -> tuple[Any, Any]:
        return pair_of(reader.snapshot(name), click=click) or (no_update, no_update)

    for figure in ("factors-bars", "factors-matrix", "factors-lines"):
        register_graph(app, name=figure)
    app.clientside_callback(ClientsideFunction("ablate", "remember"), Input("factors-a", "value"), Input("factors-b", "value"))


def varied(snapshot: Snapshot) -> list[str]:
    """Axes with more than one level; one that a search draws from bounds has none that are named."""
    return [axis for axis, levels in snapshot.record.axes.items() if len(levels) != 1]


def drawable(snapshot: Snapshot) -> list[str]:
    """Axes whose levels have room in a figure."""
    return [axis for axis, levels in snapshot.record.axes.items() if 1 < len(levels) <= MOST_LEVELS]


def gap_of(reader: Reader, snapshot: Snapshot) -> Gap | None:
    """Why there are no shares; None where there are some."""
    metric = snapshot.study.metric.name
    found = reader.factors(snapshot) if len(varied(snapshot)) > 1 else None
    return factor_gap(snapshot.record, results=reader.results(snapshot), metric=metric, found=found)


def gap_part(gap: Gap | None) -> Component | None:
    return message(gap.why, command=gap.lines.rstrip()) if gap else None


def forest_of(reader: Reader, snapshot: Snapshot, *, asked: object) -> Importance | None:
    """The importance that somebody asked for, where it is of what the study says now."""
    return reader.importance(snapshot) if asked == snapshot.version else None


def bars(snapshot: Snapshot, *, found: FactorEffects | None, forest: Importance | None, dark: bool) -> go.Figure:
    record, metric = snapshot.record, snapshot.study.metric.name
    figure = factor_figures.importance_bars(found, forest=forest, metric=metric, simulated=record.simulated, dark=dark)
    return fit_card(figure, view=record.name)


def matrix(snapshot: Snapshot, *, found: FactorEffects, dark: bool) -> go.Figure:
    return fit_card(factor_figures.interaction_matrix(found, simulated=snapshot.record.simulated, dark=dark), view=snapshot.record.name)


def lines(reader: Reader, snapshot: Snapshot, *, axes: tuple[object, object], dark: bool) -> go.Figure:
    record, metric = snapshot.record, snapshot.study.metric.name
    known = drawable(snapshot)
    unknown = [str(axis)[:100] for axis in axes if axis not in known]
    if unknown:
        raise InputError(f"no axis '{unknown[0]}' to draw in {record.name} (there: {', '.join(known)})")
    first, second = map(str, axes)
    if first == second:
        return blank("an interaction is between two axes; choose another for the lines").update_layout(height=220)
    results = at_baselines(reader.results(snapshot), axes=record.axes)
    if metric not in results or not results[metric].notna().any():
        return blank(f"no trial has reported {metric} yet").update_layout(height=220)
    others = [axis for axis in record.axes if axis not in (first, second)]
    figure = factor_figures.interaction(
        results, axis_a=first, axis_b=second, metric=metric, others=others, simulated=record.simulated, dark=dark
    )
    return fit_card(figure, view=f"{record.name} {first} {second}")


def pair_of(snapshot: Snapshot, *, click: object) -> tuple[str, str] | None:
    """The two axes of a cell of the matrix that was clicked; None for the diagonal and for what has no lines."""
    point = click["points"][0] if isinstance(click, Mapping) and isinstance(click.get("points"), list) and click["points"] else None
    if not isinstance(point, Mapping):
        return None
    names = {escape(axis): axis for axis in drawable(snapshot)}
    first, second = (names.get(place) if isinstance(place, str) else None for place in (point.get("x"), point.get("y")))
    return (first, second) if first and second and first != second else None


def shares(found: FactorEffects | None, *, forest: Importance | None, outdated: bool) -> Component:
    said = ["fANOVA was of an earlier state of the study; ask again for the present one."] if outdated else []
    said += [forest.caution, forest.note] if forest else []
    if found is None or not any(term.share is not None for term in (*found.main, *found.interactions)):
        said = ["None yet: why stands under Importance.", *said]
        return html.Div([html.P(line, className="note") for line in said if line])
    rows = [_share_row(term) for term in (*found.main, *found.interactions, *([found.higher] if found.higher else []))]
    if found.noise_sd is not None:
        noise = f"noise (sd {number(found.noise_sd, 3)})"
        rows.append([noise, str(found.noise_df), _percent(found.noise_share), *[DASH] * 4, f"from {found.noise_from}"])
    head = ["Term", "df", "Share", "95 % interval", "By chance", "p", "p (Holm)", "Note"]
    listed = table(head, rows, label="Shares of the sum of squares", numeric=range(1, 7))
    return html.Div([listed, *(html.P(line, className="note") for line in [*found.warnings, found.caution, *said] if line)])


def _share_row(term: Term) -> list[Any]:
    interval = f"{_percent(term.share_ci[0])} to {_percent(term.share_ci[1])}" if term.share_ci else DASH
    p = [number(term.p, 2), number(term.p_holm, 2)]
    return [term.name, str(term.df), _percent(term.share), interval, _percent(term.chance), *p, term.note]


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{share:.1%}".replace("%", " %")


def _importance() -> list[Component]:
    ask = html.Button(ASK, id="factors-ask", className="button", type="button")
    said = html.P(id="factors-said", className="answer", role="status")
    cards = [
        html.Section(
            [
                html.H2("Importance"),
                dcc.Store(id="factors-forest"),
                html.Div([ask, html.Span("takes some seconds", className="note")], className="buttons"),
                said,
                html.Div(id="factors-gap"),
                html.Div(
                    graph("factors-bars", label="Share of each axis and interaction", min_height=260), id="factors-bars-place", hidden=True
                ),
            ],
            className="card",
        ),
        html.Section(
            [
                html.H2("All pairs"),
                html.P("Click a pair to see its lines below.", className="note"),
                graph("factors-matrix", label="Share of each interaction", min_height=260),
            ],
            className="card",
            id="factors-matrix-card",
            hidden=True,
        ),
    ]
    return [
        html.Div(cards, className="columns even"),
        html.Section([html.H2("Shares of the sum of squares"), html.Div(id="factors-shares")], className="card"),
    ]


def _interactions(snapshot: Snapshot, *, query: Query) -> Component:
    axes = drawable(snapshot)
    if len(axes) < 2:
        return message(f"No lines: fewer than two axes have from 2 to {MOST_LEVELS} levels.")
    first = choice(query, "a", allowed=axes, default=axes[0])
    second = choice(query, "b", allowed=axes, default=next(axis for axis in axes if axis != first))
    controls = [
        chooser("factors-a", label="Along the axis", options=axes, value=first),
        chooser("factors-b", label="A line a level of", options=axes, value=second),
    ]
    caption = html.P("Means over seeds with 95 % t intervals, which one seed has not. Parallel lines: no interaction.", className="note")
    return html.Section(
        [
            html.H2("Interaction of two axes"),
            html.Div(controls, className="controls"),
            graph("factors-lines", label="Metric by two axes"),
            caption,
        ],
        className="card",
    )
