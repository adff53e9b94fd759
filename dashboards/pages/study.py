"""`/study/NAME`: one study while it runs and after: what is done, how the curves go, what it concluded."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import dash_ag_grid as dag
import pandas as pd
import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from ablate import figures
from ablate.deviations import Registration, moment
from ablate.plot_style import STATES
from ablate.stores import EventRecord, StudyRecord
from dashboards.address import Query, choice, href
from dashboards.changes import Sent
from dashboards.parts import answer, control, logs, now
from dashboards.parts.curve_view import base_lines, curve_metrics, drawing, first_group, first_metric, groups_of, known_view, with_names
from dashboards.parts.trial_table import trial_table
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot, Version
from dashboards.widgets import (
    GRID_OPTIONS,
    card_in_sight,
    chooser,
    clock,
    fit_card,
    graph,
    heading,
    meanings,
    progress,
    register_graph,
    register_grid,
    state_badge,
    study_links,
    table,
)

NAMES = (1,)

EVENTS = 40
MOST_LINKS = 8
"""Selected trials that are linked."""
STALE = 50
"""Stale trials that are listed."""


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    snapshot = reader.snapshot(names[0])
    record = snapshot.record
    metrics, groups = curve_metrics(reader, snapshot), groups_of(snapshot)
    metric = choice(query, "metric", allowed=list(metrics), default=first_metric(metrics))
    group = choice(query, "group", allowed=groups, default=first_group(snapshot, groups))
    working = now.has_work(snapshot)
    return html.Div(
        [
            dcc.Store(id="study-name", data=record.name),
            heading(record, page="study", links=study_links(record, here=href("study", record.name))),
            answer.place(),
            html.Div(id="study-progress", className="strip"),
            control.place(),
            *([now.place()] if working else []),
            logs.study_place(reader, snapshot, query=query),
            html.Section([html.H2("Declaration"), html.Div(id="study-declaration")], className="card"),
            html.Div(
                [
                    card_in_sight(
                        "study-matrix", [*base_lines(snapshot), graph("study-matrix", label="Trials by state")], className="card matrix"
                    ),
                    card_in_sight(
                        "study-curves",
                        [
                            html.Div(
                                [
                                    chooser("study-metric", label="Metric", options=list(metrics), value=metric),
                                    chooser("study-group", label="Group by", options=groups, value=group),
                                ],
                                className="controls",
                            ),
                            html.Div(id="study-meanings"),
                            graph("study-curves", label="Metric against step"),
                            html.Div(id="study-curves-caption"),
                        ],
                        grows=True,
                    ),
                ],
                className="columns",
            ),
            card_in_sight(
                "study-trials",
                [
                    html.H2("Trials"),
                    html.Div(id="study-opened", className="opened"),
                    dcc.Store(id="study-trials-made"),
                    dcc.Store(id="study-trials-have"),
                    _grid(num_trials=len(snapshot.trials)),
                ],
            ),
            *([] if working else [now.place()]),
            card_in_sight("study-events", [html.H2("Events"), html.Ol(id="study-events", className="events")]),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.snapshot(names[0]).version


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return reader.num_points(names[0])


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    name = State("study-name", "data")

    @app.callback(
        Output("study-progress", "children"),
        Output("study-declaration", "children"),
        Output("study-now", "children"),
        Output("study-log-card", "hidden"),
        Output("study-log", "options"),
        Output("study-log-tail", "children"),
        Input("seen", "data"),
        Input("points", "data"),
        Input("study-log", "value"),
        name,
    )
    def _standing(_seen: object, _points: object, log: object, name: object) -> tuple[Any, ...]:
        # one request for all that stands at the top: what each costs the server is most of what a viewer costs
        snapshot = reader.snapshot(name)
        declared = declaration(reader.registration(snapshot), stale=reader.stale(snapshot))
        at_work = now.at_work(reader, snapshot, now=time.time())
        return progress_strip(snapshot), declared, at_work, *logs.study_part(reader, snapshot, wanted=log)

    @app.callback(
        Output("study-matrix-made", "data"),
        Input("study-matrix-seen", "data"),
        Input("dark", "data"),
        name,
        State("study-matrix-have", "data"),
        prevent_initial_call=True,
    )
    def _matrix(_seen: object, dark: object, name: object, have: object) -> Any:
        snapshot = reader.snapshot(name)
        results = with_names(reader.results(snapshot), snapshot=snapshot)
        return sent.figure(matrix(results, record=snapshot.record, dark=bool(dark)), have=have)

    @app.callback(
        Output("study-curves-made", "data"),
        Output("study-meanings", "children"),
        Output("study-curves-caption", "children"),
        Input("study-curves-seen", "data"),
        Input("study-metric", "value"),
        Input("study-group", "value"),
        Input("dark", "data"),
        name,
        State("study-curves-have", "data"),
        prevent_initial_call=True,
    )
    def _curves(_seen: object, metric: object, group: object, dark: object, name: object, have: object) -> Any:
        snapshot = reader.snapshot(name)
        view = known_view(reader, snapshot, chosen={"metric": metric, "group": group})
        figure, said = drawing(reader, snapshot, view=view, dark=bool(dark))
        lines = [html.P(line, className="note") for line in said]
        return sent.figure(figure, have=have), meanings(snapshot.record, [view.metric]), lines

    @app.callback(
        Output("study-trials-made", "data"),
        Input("study-trials-seen", "data"),
        name,
        State("study-trials-have", "data"),
        prevent_initial_call=True,
    )
    def _trials(_seen: object, name: object, have: object) -> Any:
        snapshot = reader.snapshot(name)
        columns, rows = trial_table(with_names(reader.results(snapshot), snapshot=snapshot), snapshot=snapshot)
        return sent.rows(columns, rows, key="trial", have=have)

    @app.callback(Output("study-events", "children"), Input("study-events-seen", "data"), name, prevent_initial_call=True)
    def _events(_seen: object, name: object) -> list[Component]:
        snapshot = reader.snapshot(name)
        return event_list(reader.read(lambda store: store.events(snapshot.record.name, limit=EVENTS)), snapshot=snapshot)

    @app.callback(Output("study-opened", "children"), Input("study-trials", "selectedRows"), State("study-name", "data"))
    def _opened(rows: object, name: object) -> list[Component]:
        return trial_links(reader.snapshot(name), rows=rows)

    answer.register(app, reader=reader)
    now.register(app, reader=reader, sent=sent)
    register_graph(app, name="study-matrix")
    register_graph(app, name="study-curves")
    register_grid(app, name="study-trials")
    remembered = [Input(f"study-{key}", "value") for key in ("metric", "group", "log")]
    app.clientside_callback(ClientsideFunction("ablate", "remember"), *remembered)


def matrix(results: pd.DataFrame, *, record: StudyRecord, dark: bool) -> go.Figure:
    return fit_card(figures.completeness(results, simulated=record.simulated, dark=dark), view=record.name)


def progress_strip(snapshot: Snapshot) -> list[Component]:
    counts: dict[str, int] = {}
    for trial in snapshot.trials:
        counts[trial.state] = counts.get(trial.state, 0) + 1
    return [state_badge(snapshot.record.active), progress(counts)]


def declaration(registration: Registration, *, stale: Mapping[str, str]) -> list[Component]:
    """When the study was declared, what was edited since, and what earlier forms of it left behind."""
    shown: list[Component] = [html.P(f"{registration.summary}.")]
    if registration.deviations:
        rows = [
            [html.Span(moment(one.time), className="moment"), one.what, html.Strong(one.when) if one.finished else one.when]
            for one in registration.deviations
        ]
        shown.append(table(["First run with it", "Edit", "When"], rows, label="Deviations from the declaration"))
    if stale:
        count = "1 stale trial" if len(stale) == 1 else f"{len(stale)} stale trials"
        listed = table(["Trial", "What moved"], [[trial, why] for trial, why in list(stale.items())[:STALE]], label="Stale trials")
        more = [html.P(f"and {len(stale) - STALE} more: ablate status shows them all")] if len(stale) > STALE else []
        said = f"{count}: ended for an earlier form of the study, and in no number on this page"
        shown.append(html.Details([html.Summary(said), listed, *more]))
    return shown


def event_list(events: Sequence[EventRecord], *, snapshot: Snapshot) -> list[Component]:
    """The newest first; a job that is one trial's last stage is shown by the trial's name."""
    trials = {trial.chain[-1]: trial.id for trial in snapshot.trials}
    return [
        html.Li(
            [
                html.Time(clock(event.time), className="when"),
                html.Span(event.kind, className=f"kind state-text-{event.kind}" if event.kind in STATES else "kind"),
                _subject(event, trial=trials.get(event.subject)),
                html.Span(event.message, className="said"),
            ]
        )
        for event in reversed(events)
    ]


def trial_links(snapshot: Snapshot, *, rows: object) -> list[Component]:
    """To the pages of the trials whose rows are selected."""
    chosen = [row.get("trial") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    known = {trial.id for trial in snapshot.trials}
    names = [name for name in chosen if isinstance(name, str) and name in known]
    if not names:
        return [html.Span("Select a row to open its trial.", className="note")]
    links: list[Component] = [_trial_link(snapshot.record.name, name) for name in names[:MOST_LINKS]]
    more = len(names) - MOST_LINKS
    return [html.Span("Open"), *links, *([html.Span(f"and {more} more selected", className="note")] if more > 0 else [])]


def _trial_link(study: str, trial: str) -> Component:
    return dcc.Link(trial, href=href("trial", study, trial))


def _subject(event: EventRecord, *, trial: str | None) -> Component:
    return html.Span(_trial_link(event.study, trial) if trial else event.subject, className="subject")


def _grid(*, num_trials: int) -> Component:
    grid: Component = dag.AgGrid(
        id="study-trials",
        columnDefs=[],
        rowData=[],
        getRowId="params.data.trial",
        defaultColDef={"sortable": True, "resizable": True},
        dashGridOptions=GRID_OPTIONS,
        style={"height": f"{min(420, 60 + 32 * max(3, num_trials))}px"},
    )
    return grid
