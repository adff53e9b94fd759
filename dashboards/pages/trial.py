"""`/trial/NAME/TRIAL`: one trial: what it changes, its stages and the jobs it shares, its attempts, curves and log."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from ablate import figures
from ablate.deviations import moment
from ablate.difference import value_text
from ablate.errors import InputError
from ablate.history import PastAttempt, past_attempts
from ablate.plot_style import STATES
from ablate.quantities import counted, duration_text, large, scientific
from ablate.results import FINAL, ordered_metrics
from ablate.stores import TrialRecord
from ablate.trial_view import StageUse, drawable, moved_from_base, stages_of, trial_curves
from dashboards.address import Query, choices, href
from dashboards.changes import Sent
from dashboards.parts import logs, samples
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot, Version
from dashboards.widgets import (
    DASH,
    fit_card,
    graph,
    heading,
    level_text,
    message,
    number,
    register_graph,
    study_links,
    table,
)

NAMES = (2,)

MAX_CURVES = 6
"""Figures that the page has room for."""
LOG_FIRST = ("running", "failed", "lost")
"""States in which the log says most: it stands above all else. Of others it stands before the samples, which are long."""
SEPARATOR = " / "
"""Between stage and metric."""


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    snapshot = reader.snapshot(names[0])
    record, trial = snapshot.record, reader.trial(snapshot, names[1])
    curves = reader.read(lambda store: trial_curves(store, trial))
    attempts = logs.attempt_options(reader.read(lambda store: stages_of(store, trial, trials=snapshot.trials)))
    log = logs.trial_place(attempts, query=query)
    log_first = trial.state in LOG_FIRST
    return html.Div(
        [
            dcc.Store(id="trial-place", data=[record.name, trial.id]),
            heading(record, page=trial.id, links=study_links(record, here=href("trial", record.name, trial.id))),
            html.Section([html.H2(trial.id, className="wrap"), html.Div(id="trial-standing")], className="card"),
            *([log] if log_first else []),
            html.Div(
                [
                    html.Section([html.H2("Config against the base"), *config_parts(trial, snapshot=snapshot)], className="card"),
                    html.Section([html.H2("Metrics"), html.Div(id="trial-final")], className="card"),
                ],
                className="columns even",
            ),
            html.Section([html.H2("Stages"), html.Div(id="trial-stages")], className="card"),
            html.Section([html.H2("Attempts"), html.Div(id="trial-attempts")], className="card"),
            _curves_card(curves, snapshot=snapshot, query=query),
            *([] if log_first else [log]),
            samples.place(reader, trial, query=query),
            html.Section([html.H2("On the command line"), *_commands(trial)], className="card"),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    snapshot = reader.snapshot(names[0])
    reader.trial(snapshot, names[1])
    return snapshot.version


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return reader.num_written(names[0], names[1])


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    _register_overview(app, reader=reader)
    _register_curves(app, reader=reader, sent=sent)
    samples.register(app, reader=reader, known_trial=known_trial)
    logs.register_trial(app, reader=reader, known_trial=known_trial)
    remembered = [Input(f"trial-{key}", "value") for key in ("metrics", "samples", "attempt")]
    app.clientside_callback(ClientsideFunction("ablate", "remember"), *remembered)


def _register_overview(app: Dash, *, reader: Reader) -> None:
    @app.callback(
        Output("trial-standing", "children"),
        Output("trial-final", "children"),
        Output("trial-stages", "children"),
        Output("trial-attempts", "children"),
        Output("trial-attempt", "options"),
        Input("seen", "data"),
        State("trial-place", "data"),
    )
    def _overview(_seen: object, place: object) -> tuple[Any, ...]:
        snapshot, trial = known_trial(reader, place)
        stages = reader.read(lambda store: stages_of(store, trial, trials=snapshot.trials))
        past = reader.read(lambda store: past_attempts(store, trial.chain, workspace=reader.workspace))
        stale = reader.stale(snapshot).get(trial.id, "")
        return (
            standing(trial, stale=stale),
            metrics_table(trial, metric=snapshot.study.metric.name),
            stages_table(stages),
            attempts_part(past),
            logs.attempt_options(stages),
        )


def _register_curves(app: Dash, *, reader: Reader, sent: Sent) -> None:
    slots = [f"trial-curve-{slot}" for slot in range(MAX_CURVES)]

    @app.callback(
        Output("trial-metrics", "options"),
        Output("trial-curves-said", "children"),
        *(Output(f"trial-card-{slot}", "hidden") for slot in range(MAX_CURVES)),
        *(Output(f"{name}-made", "data") for name in slots),
        Input("seen", "data"),
        Input("points", "data"),
        Input("trial-metrics", "value"),
        Input("dark", "data"),
        State("trial-place", "data"),
        *(State(f"{name}-have", "data") for name in slots),
    )
    def _curves(_seen: object, _points: object, chosen: object, dark: object, place: object, *have: object) -> tuple[Any, ...]:
        snapshot, trial = known_trial(reader, place)
        curves = reader.read(lambda store: trial_curves(store, trial))
        options = curve_options(curves)
        wanted = known_curves(chosen, allowed=options) or first_curves(options, metric=snapshot.study.metric.name)
        drawn = [curve_figure(curves, shown=shown, snapshot=snapshot, dark=bool(dark)) for shown in wanted[:MAX_CURVES]]
        unused = MAX_CURVES - len(drawn)
        made = [sent.figure(figure, have=had) for figure, had in zip(drawn, have, strict=False)]
        return (options, curves_said(options, wanted), *[False] * len(drawn), *[True] * unused, *made, *[no_update] * unused)

    for name in slots:
        register_graph(app, name=name)


def known_trial(reader: Reader, place: object) -> tuple[Snapshot, TrialRecord]:
    if not isinstance(place, list) or len(place) != 2 or not isinstance(place[1], str):
        raise InputError("a trial page has a study and a trial")
    snapshot = reader.snapshot(place[0])
    return snapshot, reader.trial(snapshot, place[1])


def known_curves(chosen: object, *, allowed: Sequence[str]) -> list[str]:
    if not isinstance(chosen, list):
        raise InputError("curves are a list of names")
    unknown = [str(name)[:100] for name in chosen if name not in allowed]
    if unknown:
        raise InputError(f"no curve '{unknown[0]}' of this trial (there: {', '.join(allowed) or 'none yet'})")
    return [str(name) for name in chosen]


def curve_options(curves: pd.DataFrame) -> list[str]:
    return [f"{stage}{SEPARATOR}{metric}" for stage, metric in drawable(curves)]


def first_curves(options: Sequence[str], *, metric: str) -> list[str]:
    """The study's metric where it has a curve, and the losses of the last stage."""
    last = options[-1].partition(SEPARATOR)[0] if options else ""
    mine = [option for option in options if option.partition(SEPARATOR)[0] == last]
    wanted = [option for option in mine if option.partition(SEPARATOR)[2] == metric or "loss" in option.partition(SEPARATOR)[2]]
    return (wanted or mine)[:2]


def standing(trial: TrialRecord, *, stale: str) -> list[Component]:
    """State with its reason, and what the trial is in the words of its study."""
    state = "stale" if stale else trial.state
    said = [html.Span(state, className=f"kind state-text-{state}" if state in STATES else "kind")]
    why = stale or (f"{trial.cause}: {trial.reason}" if trial.cause and trial.reason else trial.reason)
    rows = [("Arm", trial.arm), ("Seed", str(trial.seed)), *((axis, level_text(level)) for axis, level in trial.levels.items())]
    rows += [("Parameters", large(trial.num_params)), ("Training FLOPs, all stages", scientific(trial.train_flops or None))]
    rows += [("Started", moment(trial.started) if trial.started else DASH), ("Last stage took", duration_text(trial.seconds))]
    return [html.P([*said, f" {why}" if why else ""], className="state"), _facts(rows)]


def config_parts(trial: TrialRecord, *, snapshot: Snapshot) -> list[Component]:
    """Field by field against the base, and the whole config folded."""
    moved = moved_from_base(trial, trials=snapshot.trials)
    if moved is None:
        head, rows = ["Field", "This trial"], [[html.Code(path), value_text(value)] for path, value in trial.changes.items()]
        same = "No arm of this study is the base, and this trial says of no field that it changes it."
    else:
        head = ["Field", "Base", "This trial"]
        rows = [[html.Code(each.path), value_text(each.first), value_text(each.second)] for each in moved]
        same = "This is the base itself."
    shown = table(head, rows, label="Fields that differ from the base") if rows else html.P(same, className="note")
    whole = html.Pre(html.Code(json.dumps(trial.config, indent=1, ensure_ascii=False)), className="log", tabIndex=0)
    return [shown, html.Details([html.Summary("The whole resolved config"), whole])]


def metrics_table(trial: TrialRecord, *, metric: str) -> Component:
    if not trial.metrics:
        return message("No final metric: they are there once the last stage has ended.")
    names = ordered_metrics(trial.metrics, first=metric)
    rows = [[name, "not finite" if trial.metrics[name] is None else number(trial.metrics[name], 5)] for name in names]
    found = html.Div(table(["Metric", "Value"], rows, label="Metrics", numeric=[1]), className="tall")
    unfinished = html.P("Not finished: the last values that it reported, which enter no result.", className="note")
    return found if trial.state in FINAL else html.Div([unfinished, found])


def stages_table(stages: Sequence[StageUse]) -> Component:
    rows = [
        [
            stage.stage,
            html.Code(stage.job),
            html.Span(stage.state, className=f"state-text-{stage.state}" if stage.state in STATES else ""),
            duration_text(stage.seconds),
            str(stage.attempts),
            "this trial alone" if stage.trials == 1 else counted(stage.trials, "trial") + " of this study" if stage.trials else DASH,
        ]
        for stage in stages
    ]
    return table(["Stage", "Job", "State", "Took", "Attempts", "Used by"], rows, label="Stages", numeric=[3, 4])


def attempts_part(past: Sequence[PastAttempt]) -> list[Component]:
    """How each attempt ended, and folded what it ran with."""
    if not past:
        return [message("No attempt has ended yet.")]
    head = ["Job", "Attempt", "Ended", "Why", "Started", "Took", "Host", "Phases"]
    rows = [_attempt_row(each) for each in past]
    return [table(head, rows, label="Attempts", numeric=[1, 5]), *(_provenance(each) for each in past if each.record.details)]


def curve_figure(curves: pd.DataFrame, *, shown: str, snapshot: Snapshot, dark: bool) -> go.Figure:
    stage, _, metric = shown.partition(SEPARATOR)
    frame = curves[(curves["stage"] == stage) & (curves["metric"] == metric)]
    figure = figures.curves(frame, group_by="stage", metric=metric, simulated=snapshot.record.simulated, dark=dark)
    trial = str(frame["trial"].iloc[0]) if len(frame) else ""
    return fit_card(figure, view=f"{snapshot.record.name} {trial} {shown}")


def curves_said(options: Sequence[str], wanted: Sequence[str]) -> Component | None:
    if not options:
        return message("No curve yet: a curve needs two points of a metric.")
    left = len(wanted) - MAX_CURVES
    return html.P(f"The first {MAX_CURVES} of {len(wanted)} chosen curves are drawn.", className="note") if left > 0 else None


def _curves_card(curves: pd.DataFrame, *, snapshot: Snapshot, query: Query) -> Component:
    options = curve_options(curves)
    chosen = choices(query, "metrics", allowed=options, default=first_curves(options, metric=snapshot.study.metric.name))
    chooser = dcc.Dropdown(id="trial-metrics", options=options, value=chosen, multi=True)
    control = html.Div([html.Label("Curves", htmlFor="trial-metrics"), chooser], className="control wide")
    cards = [
        html.Div(graph(f"trial-curve-{slot}", label="Metric against step", min_height=340), id=f"trial-card-{slot}", hidden=True)
        for slot in range(MAX_CURVES)
    ]
    parts = [html.H2("Curves"), html.Div(control, className="controls"), html.Div(id="trial-curves-said")]
    return html.Section([*parts, html.Div(cards, className="columns even")], className="card")


def _attempt_row(each: PastAttempt) -> list[Any]:
    record = each.record
    seconds: Mapping[str, float] = (record.details or {}).get("seconds", {})
    return [
        html.Code(record.job),
        str(record.number),
        html.Span(f"{record.state}{f' ({record.cause})' if record.cause else ''}", className=f"state-text-{record.state}"),
        record.reason or DASH,
        html.Span(moment(record.started) if record.started else DASH, className="moment"),
        duration_text(record.seconds),
        record.host or DASH,
        ", ".join(f"{phase} {duration_text(value)}" for phase, value in seconds.items()) or DASH,
    ]


def _provenance(each: PastAttempt) -> Component:
    record, details = each.record, each.record.details or {}
    rows = [("Command", " ".join(details.get("argv", ()))), ("Code", each.commit or ""), ("Devices", ", ".join(each.devices))]
    rows += [("Platform", details.get("platform", "")), ("Cores", str(details.get("cores", ""))), ("Python", details.get("python", ""))]
    rows += [("Packages", ", ".join(f"{name} {found}" for name, found in details.get("packages", {}).items()))]
    rows += [("Uncommitted changes", str(each.diff) if each.diff else ""), ("Refused rows", str(details.get("refused_rows") or ""))]
    rows += [("Files that git does not know", ", ".join(each.git.get("untracked", ())))]
    summary = f"{record.job}, attempt {record.number}: what it ran with"
    return html.Details([html.Summary(summary), _facts([(name, value) for name, value in rows if value])])


def _facts(rows: Sequence[tuple[str, str]]) -> Component:
    return html.Dl([part for name, value in rows for part in (html.Dt(name), html.Dd(value))], className="facts")


def _commands(trial: TrialRecord) -> list[Component]:
    lines = f"ablate explain {trial.id}   # what its jobs' ids are made of\nablate logs {trial.id}"
    return [html.Pre(html.Code(lines), className="log")]
