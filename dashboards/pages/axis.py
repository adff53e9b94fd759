"""`/axis/NAME/AXIS`: each level of one axis, its seeds, and its effect against the baseline."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from ablate import figures
from ablate.analysis.effects import USABLE, Effect, level_effects
from ablate.analysis.verdicts import numbers_of
from ablate.errors import InputError, did_you_mean
from ablate.level_means import averaged_over
from ablate.metric_scales import scales_of, stem_of
from ablate.results import at_baselines, by_shots
from ablate.stores import StudyRecord
from dashboards.address import Query, choices, href
from dashboards.changes import Sent
from dashboards.parts.measured import Measured, measure, metrics_of
from dashboards.reader import Reader
from dashboards.snapshot import Version
from dashboards.widgets import (
    DASH,
    aria,
    blank,
    fit_card,
    graph,
    heading,
    level_text,
    meanings,
    message,
    number,
    register_graph,
    study_links,
    table,
)

NAMES = (1, 2)

MAX_METRICS = 12
MAX_FAMILIES = 6
"""Rows of figures that the page has room for; what else is chosen is in the table alone."""


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    measured = measure(reader, names[0])
    record, metrics = measured.record, metrics_of(measured)
    if not record.axes:
        top = heading(record, page="axis", links=study_links(record, here=href("axis", record.name)))
        return html.Div([top, message("This study has no axis. Axes stand in its file:", command="axes:\n  data.mix: [...]")])
    axis = known_axis(measured, axis=names[1] if len(names) > 1 else next(iter(record.axes)))
    chosen = choices(query, "metrics", allowed=metrics, default=first_metrics(measured))
    chooser = dcc.Dropdown(id="axis-metrics", options=metrics, value=chosen, multi=True)
    return html.Div(
        [
            dcc.Store(id="axis-study", data=[record.name, axis]),
            heading(record, page=axis, links=study_links(record, here=href("axis", record.name, axis))),
            _axes(record, here=axis),
            html.Div(html.Div([html.Label("Metrics", htmlFor="axis-metrics"), chooser], className="control wide"), className="controls"),
            html.Div(id="axis-meanings"),
            html.Div([_row(slot) for slot in range(MAX_FAMILIES)], id="axis-figures"),
            html.Section([html.H2(f"Effects of {axis}"), html.Div(id="axis-effects")], className="card"),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.snapshot(names[0]).version


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return 0


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    slots = [f"axis-{kind}-{slot}" for slot in range(MAX_FAMILIES) for kind in ("scores", "effects")]

    @app.callback(
        Output("axis-meanings", "children"),
        Output("axis-effects", "children"),
        *(Output(f"axis-row-{slot}", "hidden") for slot in range(MAX_FAMILIES)),
        *(Output(f"{name}-made", "data") for name in slots),
        Input("seen", "data"),
        Input("axis-metrics", "value"),
        Input("dark", "data"),
        State("axis-study", "data"),
        *(State(f"{name}-have", "data") for name in slots),
    )
    def _update(_seen: object, metrics: object, dark: object, place: object, *have: object) -> tuple[Any, ...]:
        if not isinstance(place, list) or len(place) != 2:
            raise InputError("an axis page has a study and an axis")
        measured = measure(reader, place[0])
        axis, chosen = known_axis(measured, axis=place[1]), known_metrics(measured, metrics)
        found = effects_by_metric(measured, axis=axis, metrics=chosen)
        drawn = axis_figures(measured, axis=axis, effects=found, dark=bool(dark))
        made = [sent.figure(figure, have=had) for figure, had in zip(itertools.chain(*drawn), have, strict=False)]
        unused = MAX_FAMILIES - len(drawn)
        hidden = [False] * len(drawn) + [True] * unused
        return (meanings(measured.record, chosen), effects_table(axis, effects=found), *hidden, *made, *[no_update] * (2 * unused))

    for name in slots:
        register_graph(app, name=name)
    app.clientside_callback(ClientsideFunction("ablate", "remember"), Input("axis-metrics", "value"))


def known_axis(measured: Measured, *, axis: object) -> str:
    axes = list(measured.record.axes)
    if axis not in axes:
        found = str(axis)[:100]
        raise InputError(f"no axis '{found}' in {measured.record.name} (there: {', '.join(axes)}){did_you_mean(found, axes)}")
    return str(axis)


def known_metrics(measured: Measured, metrics: object) -> list[str]:
    if not isinstance(metrics, list):
        raise InputError("metrics are a list of names")
    allowed = metrics_of(measured)
    unknown = [str(metric)[:100] for metric in metrics if metric not in allowed]
    if unknown:
        raise InputError(f"no metric '{unknown[0]}' in {measured.record.name} (there: {', '.join(allowed)})")
    return [str(metric) for metric in metrics][:MAX_METRICS]


def first_metrics(measured: Measured) -> list[str]:
    """The study's metric with its other shot counts."""
    main = measured.metric
    return [metric for metric in metrics_of(measured) if stem_of(metric) == stem_of(main)] if stem_of(main) != main else [main]


Effects = Mapping[str, tuple[tuple[Effect, ...], str]]
"""Metric -> its effects, or why there are none."""


def axis_figures(measured: Measured, *, axis: str, effects: Effects, dark: bool) -> list[tuple[go.Figure, go.Figure]]:
    """Of each family the scores by level, a series a shot count, and the effects beside them."""
    families: dict[str, list[str]] = {}
    for metric in effects:
        families.setdefault(stem_of(metric), []).append(metric)
    return [_family(measured, axis=axis, metrics=metrics, effects=effects, dark=dark) for metrics in list(families.values())[:MAX_FAMILIES]]


def effects_by_metric(measured: Measured, *, axis: str, metrics: Sequence[str]) -> Effects:
    frame = at_baselines(measured.results, axes=measured.record.axes)
    return {metric: _effects_of(frame, measured, axis=axis, metric=metric) for metric in sorted(metrics, key=by_shots)}


def effects_table(axis: str, *, effects: Effects) -> Component:
    rows = [_effect_row(effect) for found, _ in effects.values() for effect in found]
    notes = [html.P(f"{metric}: {note}", className="note") for metric, (_, note) in effects.items() if note]
    if not rows:
        return html.Div([message("No effect yet: it takes finished trials of a level and of the baseline with the same seed."), *notes])
    head = ["Metric", "Level", "Baseline", "Mean", "Baseline mean", "Difference, 95 % interval", "p (Holm)", "Hedges g", "n", "Note"]
    reasons = dict.fromkeys(effect.hedges_g_note for found, _ in effects.values() for effect in found if effect.hedges_g_note)
    why = [html.P(f"{reason[:1].upper()}{reason[1:]}.", className="note") for reason in reasons]
    return html.Div([table(head, rows, label=f"Effects of {axis}", numeric=[3, 4, 5, 6, 7, 8]), *notes, *why])


def _effects_of(frame: pd.DataFrame, measured: Measured, *, axis: str, metric: str) -> tuple[tuple[Effect, ...], str]:
    levels = measured.record.axes[axis]
    if not levels:
        return (), "a search draws this axis from a range, so it has no baseline"
    if metric not in frame or not frame["state"].isin(USABLE).any():
        return (), ""
    try:
        return level_effects(frame, axis=axis, baseline=levels[0], metric=metric, axes=list(measured.record.axes)), ""
    except InputError as error:
        return (), str(error)


def _family(measured: Measured, *, axis: str, metrics: Sequence[str], effects: Effects, dark: bool) -> tuple[go.Figure, go.Figure]:
    simulated, view = measured.record.simulated, f"{measured.record.name} {axis} {' '.join(metrics)}"
    found = [effect for metric in metrics for effect in effects[metric][0]]
    shown = [metric for metric in metrics if metric in measured.results]
    if not shown:
        return blank(f"no trial has reported {', '.join(metrics)} yet"), blank()
    notes = averaged_over(measured.results, axis=axis, axes=measured.record.axes)
    scales = scales_of(measured.record.spec)
    scores = figures.score_by_level(measured.results, axis=axis, metrics=shown, scales=scales, notes=notes, simulated=simulated, dark=dark)
    forest = figures.effects_forest(found, simulated=simulated, dark=dark) if found else blank("no effect yet")
    return fit_card(scores, view=view), fit_card(forest, view=view)


def _row(slot: int) -> Component:
    parts = [("scores", "Metric by level"), ("effects", "Effects against the baseline")]
    cards = [html.Section(graph(f"axis-{kind}-{slot}", label=label), className="card") for kind, label in parts]
    return html.Div(html.Div(cards, className="columns even"), id=f"axis-row-{slot}", hidden=slot > 0)


def _axes(record: StudyRecord, *, here: str) -> Component:
    links = [
        dcc.Link(axis, href=href("axis", record.name, axis), className="place here" if axis == here else "place") for axis in record.axes
    ]
    return html.Nav(links, className="places axes", **aria(label="Axes of this study"))


def _effect_row(effect: Effect) -> list[Any]:
    said = numbers_of(effect).rpartition(", n = ")[0] if effect.mean_diff is not None else DASH
    return [
        effect.metric,
        level_text(effect.level),
        level_text(effect.baseline),
        number(effect.level_mean),
        number(effect.baseline_mean),
        said,
        number(effect.p_holm, 2),
        html.Span(number(effect.hedges_g, 3), title=effect.hedges_g_note or None),
        str(effect.n),
        effect.note,
    ]
