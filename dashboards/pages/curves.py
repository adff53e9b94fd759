"""`/curves/NAME`: a metric while training, by arm or axis, against steps or what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import pandas as pd
import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from ablate import figures
from ablate.curve_points import Band, flops_per_step, placed, seconds_per_step
from ablate.errors import InputError
from ablate.stores import TrialRecord
from dashboards.address import Query, choice, choices, href
from dashboards.changes import Sent
from dashboards.pages.study import curve_groups, curve_metrics, drawn_trials
from dashboards.reader import Reader, Snapshot, Version
from dashboards.widgets import blank, chooser, fit_card, graph, heading, level_text, register_graph, study_links

NAMES = (1,)

TOKENS = "tokens"
PLACES = ("step", TOKENS, "FLOPs", "time")
UNITS = {"time": "s", "FLOPs": "of this stage"}
SCALES = ("linear", "log")
BANDS: tuple[Band, ...] = get_args(Band)
CONTROLS = ("metric", "group", "x", "band", "xscale", "yscale", "only")


class View(NamedTuple):
    """What the controls say, checked."""

    metric: str
    group: str
    x: str
    band: Band
    xscale: str
    yscale: str
    only: tuple[str, ...]
    """`axis=level`, as `level_choices` has them."""


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    snapshot = reader.snapshot(names[0])
    record, counts, groups = snapshot.record, curve_metrics(reader, snapshot), curve_groups(snapshot)
    metrics = list(counts)
    first = metrics[0] if counts[metrics[0]] > 1 else max(metrics, key=lambda metric: counts[metric])
    one_of = [
        ("metric", "Metric", metrics, first),
        ("group", "Group by", groups, groups[min(1, len(groups) - 1)]),
        ("x", "Against", PLACES, "step"),
        ("band", "Band", BANDS, "range"),
        ("xscale", "Scale of x", SCALES, "linear"),
        ("yscale", "Scale of y", SCALES, "linear"),
    ]
    choosers = [
        chooser(f"curves-{key}", label=label, options=options, value=choice(query, key, allowed=options, default=default))
        for key, label, options, default in one_of
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
        Output("curves-caption", "children"),
        Input("seen", "data"),
        Input("points", "data"),
        Input("dark", "data"),
        *controls,
        State("curves-name", "data"),
        State("curves-lines-have", "data"),
    )
    def _curves(_seen: object, _points: object, dark: object, *rest: object) -> tuple[Any, Any]:
        *chosen, name, have = rest
        snapshot = reader.snapshot(name)
        figure, said = drawing(
            reader, snapshot, view=known_view(reader, snapshot, chosen=dict(zip(CONTROLS, chosen, strict=True))), dark=bool(dark)
        )
        return sent.figure(figure, have=have), [html.P(line, className="note") for line in said]

    register_graph(app, name="curves-lines")
    app.clientside_callback(ClientsideFunction("ablate", "remember"), *controls)


def level_choices(snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    """`axis=level` -> both, of the axes that vary over levels with names."""
    axes = {axis: levels for axis, levels in snapshot.record.axes.items() if len(levels) > 1}
    return {f"{axis}={level_text(level)}": (axis, level_text(level)) for axis, levels in axes.items() for level in levels}


def known_view(reader: Reader, snapshot: Snapshot, *, chosen: Mapping[str, object]) -> View:
    """Raises InputError for what no control offers."""
    allowed: dict[str, Sequence[str]] = {
        "metric": list(curve_metrics(reader, snapshot)),
        "group": curve_groups(snapshot),
        "x": PLACES,
        "band": BANDS,
        "xscale": SCALES,
        "yscale": SCALES,
    }
    for key, names in allowed.items():
        if chosen[key] not in names:
            raise InputError(f"curves: {key}: unknown '{str(chosen[key])[:100]}' ({', '.join(names)})")
    levels, only = level_choices(snapshot), chosen["only"] or []
    if not isinstance(only, list) or not all(isinstance(one, str) and one in levels for one in only):
        raise InputError(f"curves: only: levels are a list of axis=level ({', '.join(levels)})")
    one_of: dict[str, Any] = {key: chosen[key] for key in allowed}
    return View(**one_of, only=tuple(only))


def chosen_trials(snapshot: Snapshot, *, only: Sequence[str]) -> list[TrialRecord]:
    """Those at a chosen level of every axis of which levels are chosen."""
    wanted: dict[str, set[str]] = {}
    for axis, level in (level_choices(snapshot)[one] for one in only):
        wanted.setdefault(axis, set()).add(level)
    return [trial for trial in snapshot.trials if all(level_text(trial.levels.get(axis)) in levels for axis, levels in wanted.items())]


def drawing(reader: Reader, snapshot: Snapshot, *, view: View, dark: bool) -> tuple[go.Figure, list[str]]:
    """The figure, and what is said below it."""
    started = [trial for trial in chosen_trials(snapshot, only=view.only) if trial.state not in ("queued", "cached")]
    drawn = drawn_trials(replace(snapshot, trials=tuple(started)))
    frame = reader.curves(snapshot, view.metric, trials=drawn)
    if frame.empty:
        return blank(f"no {view.metric} recorded yet"), []
    frame, per_step, missing = _against(reader, snapshot, frame=frame, trials=drawn, x=view.x)
    if missing:
        return blank(missing), []
    left = placed(frame, metric=view.metric, x=view.x, per_step=per_step)
    if left.empty or left.groupby("trial")["step"].nunique().max() < 2:
        return blank(f"fewer than two points of {view.metric} against {view.x}: a curve needs two"), []
    if view.group != "arm":
        levels = {trial.id: level_text(trial.levels.get(view.group)) for trial in drawn}
        frame = frame.assign(**{view.group: frame["trial"].map(levels)})
    figure = figures.curves(
        frame,
        group_by=view.group,
        metric=view.metric,
        x=view.x,
        per_step=per_step,
        band=view.band,
        x_unit=UNITS.get(view.x, ""),
        simulated=snapshot.record.simulated,
        dark=dark,
    )
    figure.update_xaxes(type=view.xscale).update_yaxes(type=view.yscale)
    mixed = bool((frame.groupby(view.group)["arm"].nunique() > 1).any())
    said = _said(view, started=len(started), drawn=len(drawn), shown=left["trial"].nunique(), mixed=mixed)
    return fit_card(figure, view=" ".join([snapshot.record.name, *map(str, view)])), said


def _against(
    reader: Reader, snapshot: Snapshot, *, frame: pd.DataFrame, trials: Sequence[TrialRecord], x: str
) -> tuple[pd.DataFrame, dict[str, float] | None, str]:
    """The frame with what x needs, what a step is worth, and why x is not there."""
    if x == "step":
        return frame, None, ""
    if x == TOKENS:
        tokens = reader.curves(snapshot, TOKENS, trials=trials)
        return pd.concat([frame, tokens]), None, "" if len(tokens) else "the trainer reported no tokens; choose another x"
    costs = reader.stage_costs(snapshot)
    per_step = flops_per_step(frame, costs=costs) if x == "FLOPs" else seconds_per_step(frame, costs=costs)
    return frame, per_step, "" if per_step else f"no trial has ended, so none has its {x} a step yet; choose another x"


def _said(view: View, *, started: int, drawn: int, shown: int, mixed: bool) -> list[str]:
    said = [figures.curves_caption(band=view.band)]
    if mixed:
        said.append("Trials of a group differ in other axes too: its mean and its band are over those trials, not over seeds alone.")
    if view.x in ("FLOPs", "time"):
        said.append(
            f"A trial's last point stands at the {view.x} that its last stage took in all, the others in proportion to their steps."
        )
    if drawn < started:
        said.append(f"{drawn:,} of {started:,} trials are taken: those that run, and others evenly from the rest.")
    if shown < drawn:
        said.append(f"{drawn - shown:,} trials have no point against {view.x}, or none yet, and are left out.")
    if "log" in (view.xscale, view.yscale):
        said.append("On a log scale what is 0 or less is not drawn.")
    return said
