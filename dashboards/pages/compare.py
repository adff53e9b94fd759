"""`/compare?study=A&study=B`: studies side by side, each with its own numbers; nothing is pooled over them."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from ablate import compare_figures
from ablate.compare_studies import Measured, StudyEffects, apart, declared_differences, effects_of, shared_axes, shared_metrics
from ablate.errors import InputError
from ablate.quantities import duration_text, scientific
from ablate.scaling import mix_axes
from ablate.yaml_text import yaml_text
from dashboards.address import Query, choices, href
from dashboards.changes import Sent
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot, Version
from dashboards.widgets import fit_card, graph, level_text, message, number, register_graph, simulated_badge, table, verdict_badge

NAMES = (0,)

MOST = 6
"""Studies that are compared at once."""


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    known = reader.study_names()
    chosen = choices(query, "study", allowed=known, default=[])[:MOST]
    wanted = query.get("metric", [""])[0][:200]
    chooser = dcc.Dropdown(id="compare-study", options=known, value=chosen, multi=True)
    metric = dcc.Dropdown(
        id="compare-metric", options=[wanted] if wanted else [], value=wanted or None, clearable=False, placeholder="one that all have"
    )
    sections = [("Claims", "claims"), ("Budgets", "budgets"), ("What differs between the declarations", "declared")]
    return html.Div(
        [
            html.Div(
                [
                    html.H1("Compare studies"),
                    html.P(
                        "Their effects side by side where they have axes and levels in common. No number is pooled.", className="question"
                    ),
                ],
                className="heading",
            ),
            html.Div(
                [
                    html.Div([html.Label("Studies", htmlFor="compare-study"), chooser], className="control wide"),
                    html.Div([html.Label("Metric", htmlFor="compare-metric"), metric], className="control"),
                ],
                className="controls",
            ),
            html.Div(id="compare-notes"),
            html.Div(
                [
                    html.Section([html.H2("What each has"), html.Div(id="compare-apart")], className="card", id="compare-apart-card"),
                    html.Section(
                        graph("compare-effects", label="Effects of each study", min_height=240), className="card", id="compare-effects-card"
                    ),
                    *(html.Section([html.H2(title), html.Div(id=f"compare-{key}")], className="card") for title, key in sections),
                ],
                id="compare-found",
                hidden=True,
            ),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.studies_version()


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return 0


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    @app.callback(
        Output("compare-metric", "options"),
        Output("compare-metric", "value"),
        Input("seen", "data"),
        Input("compare-study", "value"),
        State("compare-metric", "value"),
    )
    def _metrics(_seen: object, studies: object, metric: object) -> tuple[list[str], str | None]:
        snapshots = known_studies(reader, studies)
        return metric_choice(reader, snapshots, wanted=metric)

    @app.callback(
        Output("compare-notes", "children"),
        Output("compare-found", "hidden"),
        Output("compare-claims", "children"),
        Output("compare-budgets", "children"),
        Output("compare-declared", "children"),
        Output("compare-apart", "children"),
        Output("compare-apart-card", "hidden"),
        Output("compare-effects-card", "hidden"),
        Output("compare-effects-made", "data"),
        Input("seen", "data"),
        Input("compare-study", "value"),
        Input("compare-metric", "value"),
        Input("dark", "data"),
        State("compare-effects-have", "data"),
    )
    def _update(_seen: object, studies: object, metric: object, dark: object, have: object) -> tuple[Any, ...]:
        snapshots = known_studies(reader, studies)
        if len(snapshots) < 2:
            return message("Choose two studies or more. The address keeps the choice."), True, None, None, None, None, True, True, no_update
        found = [measure(reader, snapshot) for snapshot in snapshots]
        missing = nothing_common(found)
        figure, notes = (None, []) if missing else effects_figure(found, metric=metric, dark=bool(dark))
        told = [html.P(note, className="note") for note in notes]
        tables = claims_table(reader, snapshots), budgets_table(reader, snapshots), declared_table(snapshots)
        made = no_update if figure is None else sent.figure(figure, have=have)
        return told, False, *tables, missing, not missing, figure is None, made

    register_graph(app, name="compare-effects")
    app.clientside_callback(ClientsideFunction("ablate", "remember"), Input("compare-study", "value"), Input("compare-metric", "value"))


def known_studies(reader: Reader, names: object) -> list[Snapshot]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("studies to compare are a list of names")
    if len(names) > MOST:
        raise InputError(f"at most {MOST} studies are compared at once")
    return [reader.snapshot(name) for name in dict.fromkeys(names)]


def metric_choice(reader: Reader, snapshots: Sequence[Snapshot], *, wanted: object) -> tuple[list[str], str | None]:
    """The metrics that all have, and which is shown: the one that was wanted, a study's own, or the first."""
    shared = shared_metrics([measure(reader, snapshot) for snapshot in snapshots])
    own = [snapshot.study.metric.name for snapshot in snapshots]
    return shared, next((str(metric) for metric in (wanted, *own, *shared) if metric in shared), None)


def measure(reader: Reader, snapshot: Snapshot) -> Measured:
    record = snapshot.record
    return Measured(record.name, record.simulated, record.axes, reader.results(snapshot), mix_axes(snapshot.study.axes))


def nothing_common(studies: Sequence[Measured]) -> list[Component]:
    """What each study has, and what would make them comparable; empty where they share an axis and a metric."""
    metrics, shared = shared_metrics(studies), shared_axes(studies)
    if metrics and shared:
        return []
    head = ["Study", "Axes and their levels", "Metrics"]
    rows = [[study.name, _levels(study), ", ".join(study.metrics) or "none reported yet"] for study in studies]
    said = "Effects stand side by side on an axis of which all these studies have two levels, in a metric that all report. "
    if not metrics:
        said += "They have reported no metric in common."
    else:
        said += f"In common are the metrics {', '.join(metrics)}, and no axis."
    parts: list[Component] = [html.P(said), table(head, rows, label="What each study has")]
    if not shared:
        parts += [html.Ul([html.Li(one) for one in apart(studies)])]
        parts += _comparable(studies)
    return parts


def effects_figure(studies: Sequence[Measured], *, metric: object, dark: bool) -> tuple[go.Figure | None, list[str]]:
    """The forest of studies that share an axis and a metric, and what is to be known of it; no figure where there is no effect."""
    shared = shared_axes(studies)
    if metric not in shared_metrics(studies):
        return None, ["Choose a metric that all have."]
    found: list[StudyEffects] = [effects_of(study, shared, metric=str(metric)) for study in studies]
    notes = [*(one.note for one in shared if one.note), *(note for one in found for note in one.notes)]
    notes.append(
        "Each effect is its own study's, averaged over what else varies there, which may differ between them: see the declarations."
    )
    if not any(effect.mean_diff is not None for one in found for effect in one.effects):
        return None, ["No effect yet: it takes finished trials of a level and of the baseline with the same seed.", *notes]
    view = f"{' '.join(study.name for study in studies)} {metric}"
    return fit_card(compare_figures.studies_forest(found, metric=str(metric), dark=dark), view=view), notes


def claims_table(reader: Reader, snapshots: Sequence[Snapshot]) -> Component:
    rows: list[list[Any]] = []
    notes = []
    for snapshot in snapshots:
        try:
            rows += [[_link(snapshot), one.statement, verdict_badge(one.verdict), one.reason] for one in reader.verdicts(snapshot)]
        except InputError as error:
            notes.append(html.P(f"{snapshot.record.name}: no verdict: {error}", className="note"))
    if not rows:
        return html.Div([message("None of these studies has a claim that could be judged."), *notes])
    return html.Div([table(["Study", "Claim", "Verdict", "Reason"], rows, label="Claims of the studies"), *notes])


def budgets_table(reader: Reader, snapshots: Sequence[Snapshot]) -> Component:
    """What each has cost so far; jobs that studies share are in the numbers of each."""
    rows = []
    for snapshot in snapshots:
        spent = reader.spent(snapshot)
        done = sum(trial.state in ("done", "cached") for trial in snapshot.trials)
        rows.append(
            [
                _link(snapshot),
                f"{done} of {len(snapshot.trials)} done",
                duration_text(spent.seconds),
                scientific(spent.train_flops),
                number(spent.device_hours, 3),
                spent.retries,
            ]
        )
    head = ["Study", "Trials", "Compute time", "Training FLOPs", "GPU hours", "Retries"]
    shared = "A job that two studies share is in the numbers of both." if any(reader.spent(one).jobs_before for one in snapshots) else ""
    note = [html.P(shared, className="note")] if shared else []
    return html.Div([table(head, rows, label="Budgets", numeric=[2, 3, 4, 5]), *note])


def declared_table(snapshots: Sequence[Snapshot]) -> Component:
    differing = declared_differences([snapshot.record.spec for snapshot in snapshots])
    if not differing:
        return message("Trainer, base, axes, design, seeds and metric are declared alike.")
    head = ["Field", *(snapshot.record.name for snapshot in snapshots)]
    return table(head, [[one.path, *one.values] for one in differing], label="Declared differently")


def _levels(study: Measured) -> Component:
    said = [f"{axis}: {', '.join(map(level_text, levels)) or 'drawn by a search'}" for axis, levels in study.axes.items()]
    return html.Ul([html.Li(one) for one in said], className="names") if said else html.Span("no axis")


def _comparable(studies: Sequence[Measured]) -> list[Component]:
    """Lines of a study's file that would give it an axis of another; those of data mixes say shares of sources that are named elsewhere."""
    giving, axis = next(
        ((study, axis) for study in studies for axis, levels in study.axes.items() if len(levels) > 1 and axis not in study.sources),
        (None, ""),
    )
    if giving is None:
        return []
    others = ", ".join(study.name for study in studies if study is not giving)
    said = f"They become comparable when all vary one axis at two levels alike, for example with this axis of {giving.name} in {others}:"
    return [message(said, command=yaml_text({"axes": {axis: list(giving.axes[axis])}}).rstrip())]


def _link(snapshot: Snapshot) -> Component:
    record = snapshot.record
    return html.Div([dcc.Link(record.name, href=href("study", record.name), className="name"), *simulated_badge(record.simulated)])
