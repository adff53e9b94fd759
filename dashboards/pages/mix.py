"""`/mix/NAME`: the metric over data mixes, the law of the mix, and the best mix that it holds."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from ablate import figures, mix_figures
from ablate.errors import InputError
from ablate.metric_scales import scales_of
from ablate.quantities import ends_text
from ablate.results import KEYS
from ablate.scaling import AUTO, BY_RICHNESS, mix_axes
from dashboards.address import Query, choice, href
from dashboards.changes import Sent
from dashboards.reader import Mixture, Reader
from dashboards.snapshot import Snapshot, Version
from dashboards.widgets import DASH, blank, fit_card, graph, heading, message, number, register_graph, study_links, table

NAMES = (1,)

SHOWN_FORMS = [AUTO, *BY_RICHNESS]
"""The joint form needs runs at several sizes; `ablate law mixture` fits it."""
GOALS = {"max": "more", "min": "less"}
HEIGHT = 560
"""Of the law's figures, pixels: they are side by side."""
ASK = "Fit the law of the mix"


class View(NamedTuple):
    """What is looked at, checked."""

    axis: str
    sources: tuple[str, ...]
    metric: str
    goal: str
    form: str


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    snapshot = reader.snapshot(names[0])
    record = snapshot.record
    parts = [
        dcc.Store(id="mix-study", data=record.name),
        heading(record, page="mix", links=study_links(record, here=href("mix", record.name))),
    ]
    axes = mix_axes(snapshot.study.axes)
    if not axes:
        how = "This study has no axis of data mixes. Write one as shares of its sources:"
        return html.Div([*parts, message(how, command="axes:\n  data.mix: {simplex: [caption, interleaved, text], lattice: 4}")])
    own, metrics = snapshot.study.metric, mix_metrics(reader, snapshot)
    first = next(iter(axes))
    controls = [
        _dropdown("axis", "Mix", {axis: f"{axis}: {', '.join(sources)}" for axis, sources in axes.items()}, query, default=first),
        _dropdown("metric", "Metric", {metric: metric for metric in metrics}, query, default=own.name),
        _dropdown("goal", "Better is", GOALS, query, default=own.goal),
        _dropdown("form", "Form of the law", {form: form for form in SHOWN_FORMS}, query, default=SHOWN_FORMS[0]),
    ]
    figure = [("surface", "The law of the mix over all mixes"), ("profiles", "The law of the mix along each source")]
    cards = [html.Section(graph(f"mix-{name}", label=label, min_height=HEIGHT), className="card") for name, label in figure]
    return html.Div(
        [
            *parts,
            dcc.Store(id="mix-asked"),
            html.Div(controls, className="controls"),
            html.Div(
                [
                    html.Section(graph("mix-measured", label="The metric of each mix"), className="card"),
                    html.Section(
                        [
                            html.H2("Law of the mix"),
                            html.P(
                                "An interpolation between the mixes tried, with its best mix. Fit and intervals take some seconds.",
                                className="note",
                            ),
                            html.Button(ASK, id="mix-fit", className="button"),
                            html.Div(id="mix-law", role="status"),
                        ],
                        className="card",
                    ),
                ],
                className="columns even",
            ),
            html.Div(html.Div(cards, className="columns even"), id="mix-figures", hidden=True),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.snapshot(names[0]).version


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return 0


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    keys = ("axis", "metric", "goal", "form")

    @app.callback(
        Output("mix-measured-made", "data"),
        Input("seen", "data"),
        *(Input(f"mix-{key}", "value") for key in keys),
        Input("dark", "data"),
        State("mix-study", "data"),
        State("mix-measured-have", "data"),
    )
    def _measured(_seen: object, axis: object, metric: object, goal: object, form: object, dark: object, name: object, have: object) -> Any:
        snapshot = reader.snapshot(name)
        view = known_view(reader, snapshot, [axis, metric, goal, form])
        return sent.figure(measured_figure(reader, snapshot, view=view, dark=bool(dark)), have=have)

    @app.callback(
        Output("mix-asked", "data"),
        Input("mix-fit", "n_clicks"),
        *(State(f"mix-{key}", "value") for key in keys),
        prevent_initial_call=True,
    )
    def _ask(_clicks: object, *asked: object) -> list[object]:
        return list(asked)

    @app.callback(
        Output("mix-law", "children"),
        Output("mix-figures", "hidden"),
        Output("mix-surface-made", "data"),
        Output("mix-profiles-made", "data"),
        Input("mix-asked", "data"),
        Input("dark", "data"),
        State("mix-study", "data"),
        State("mix-surface-have", "data"),
        State("mix-profiles-have", "data"),
        running=[(Output("mix-fit", "disabled"), True, False), (Output("mix-fit", "children"), "Fitting…", ASK)],
    )
    def _law(asked: object, dark: object, name: object, surface_have: object, profiles_have: object) -> tuple[Any, ...]:
        if asked is None:
            return None, True, no_update, no_update
        snapshot = reader.snapshot(name)
        view = known_view(reader, snapshot, asked)
        found, why_not = find_mixture(reader, snapshot, view=view)
        if found is None:
            return message(f"No law of the mix: {why_not}"), True, no_update, no_update
        if why_not := found.report.undetermined:
            return message(f"{why_not[:1].upper()}{why_not[1:]}."), True, no_update, no_update
        surface, profiles = law_figures_of(found, snapshot=snapshot, dark=bool(dark))
        return law_said(found), False, sent.figure(surface, have=surface_have), sent.figure(profiles, have=profiles_have)

    for figure in ("measured", "surface", "profiles"):
        register_graph(app, name=f"mix-{figure}")
    app.clientside_callback(ClientsideFunction("ablate", "remember"), *(Input(f"mix-{key}", "value") for key in keys))


def mix_metrics(reader: Reader, snapshot: Snapshot) -> list[str]:
    """The study's metric first; it is there before any trial reported it."""
    found = [str(column) for column in reader.results(snapshot).columns if column not in (*KEYS, *snapshot.record.axes)]
    return list(dict.fromkeys([snapshot.study.metric.name, *found]))


def known_view(reader: Reader, snapshot: Snapshot, asked: object) -> View:
    """Axis, metric, goal and form as the browser sent them."""
    if not isinstance(asked, list) or len(asked) != 4:
        raise InputError("a view of data mixes is an axis, a metric, a goal and a form")
    axes = mix_axes(snapshot.study.axes)
    known: dict[str, Collection[str]] = {
        "axis of data mixes": axes,
        "metric": mix_metrics(reader, snapshot),
        "goal": GOALS,
        "form": SHOWN_FORMS,
    }
    for (what, allowed), value in zip(known.items(), asked, strict=True):
        if not isinstance(value, str) or value not in allowed:
            raise InputError(f"no {what} '{str(value)[:100]}' in {snapshot.record.name} (there: {', '.join(allowed) or 'none'})")
    axis, metric, goal, form = asked
    return View(axis, axes[axis], metric, goal, form)


def measured_figure(reader: Reader, snapshot: Snapshot, *, view: View, dark: bool) -> go.Figure:
    """A triangle of three sources; of any other number the mixes side by side."""
    record, results = snapshot.record, reader.results(snapshot)
    if view.metric not in results:
        return blank(f"no trial has reported {view.metric} yet")
    others = [axis for axis in record.axes if axis != view.axis]
    if len(view.sources) == 3:
        figure = mix_figures.ternary(
            results,
            axis=view.axis,
            sources=view.sources,
            metric=view.metric,
            goal=view.goal,
            others=others,
            simulated=record.simulated,
            dark=dark,
        )
    else:
        figure = figures.score_by_level(
            results, axis=view.axis, metrics=[view.metric], scales=scales_of(record.spec), simulated=record.simulated, dark=dark
        )
    return fit_card(figure, view=f"{record.name} {view.axis} {view.metric}")


def find_mixture(reader: Reader, snapshot: Snapshot, *, view: View) -> tuple[Mixture | None, str]:
    """The law, or what it lacks."""
    try:
        return reader.mixture(snapshot, sources=view.sources, metric=view.metric, goal=view.goal, form=view.form), ""
    except InputError as error:
        return None, str(error)


def law_figures_of(found: Mixture, *, snapshot: Snapshot, dark: bool) -> tuple[go.Figure, go.Figure]:
    """The surface, of three sources alone, and the law along each source."""
    report, record = found.report, snapshot.record
    view = f"{record.name} {report.law.metric} {report.form}"
    profiles = mix_figures.mixture_profiles(report.law, report.best, at=report.at, simulated=record.simulated, dark=dark)
    fit_card(profiles, view=view).update_layout(height=HEIGHT)
    if len(report.law.sources) != 3:
        return blank("a triangle shows mixes of three sources"), profiles
    surface = mix_figures.mixture_surface(report.law, report.best, at=report.at, runs=found.runs, simulated=record.simulated, dark=dark)
    return fit_card(surface, view=view).update_layout(height=HEIGHT, margin={"l": 40}), profiles


def law_said(found: Mixture) -> Component:
    """The best mix with its intervals, how well left-out mixes are predicted, and what to beware of."""
    report = found.report
    law, best, intervals = report.law, report.best, report.best.intervals or {}
    rows = [
        [
            source,
            number(share, 3),
            _span(intervals.get(source)),
            f"{number(found.runs[source].min(), 3)} to {number(found.runs[source].max(), 3)}",
        ]
        for source, share in best.proportions.items()
    ]
    value = f"At the best mix it says {number(best.value)}" + (f" ({_span(best.value_interval)})" if best.value_interval else "")
    left_out = "Mixes cannot be left out: without one there are too few for a fit."
    if errors := law.left_out:
        told = [
            f"RMSE {number(errors.rmse, 3)} in {law.metric}",
            f"R² {number(errors.r2, 3)}",
            f"rank correlation {number(errors.rank, 3)}",
        ]
        left_out = f"Mixes left out of the fit: {', '.join(told)}."
    said = f"{law.metric}, {report.form} form, fitted to {law.rows} runs on {law.mixtures} mixes. {value}."
    notes = list(dict.fromkeys([*best.notes, *report.warnings]))
    return html.Div(
        [
            html.P(said),
            table(["Source", "Best share", "95 % interval", "Shares tried"], rows, label="Best mix", numeric=[1, 2, 3]),
            html.P(left_out),
            html.Ul([html.Li(note) for note in notes]) if notes else None,
        ]
    )


def _span(pair: tuple[float, float] | None) -> str:
    return " to ".join(ends_text(pair)) if pair else DASH


def _dropdown(key: str, label: str, options: dict[str, str], query: Query, *, default: str) -> Component:
    chosen = choice(query, key, allowed=list(options), default=default)
    listed = [{"label": said, "value": value} for value, said in options.items()]
    chooser = dcc.Dropdown(id=f"mix-{key}", options=listed, value=chosen, clearable=False)
    return html.Div([html.Label(label, htmlFor=f"mix-{key}"), chooser], className="control")
