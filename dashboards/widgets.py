"""Pieces that several pages show. All text is a text node: nothing here renders HTML or Markdown from data."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from ablate.lesson_match import bears_on_lessons
from ablate.metric_scales import metric_lines
from ablate.plot_style import CONFIG, STATES, escape
from ablate.scaling import mix_axes
from ablate.stores import StudyRecord
from dashboards.address import href

DASH = "–"
GRID_OPTIONS = {
    "animateRows": False,
    "rowHeight": 32,
    "headerHeight": 36,
    "enableCellTextSelection": True,
    "ensureDomOrder": True,
    "tooltipShowDelay": 300,
    "tabToNextCell": {"function": "leave()"},
    "rowSelection": {"mode": "multiRow", "checkboxes": False, "headerCheckbox": False, "enableClickSelection": True},
}


def aria(**values: object) -> dict[str, Any]:
    """Attributes for those who read a page without seeing it."""
    return {f"aria-{name}": value for name, value in values.items()}


def number(value: object, digits: int = 4) -> str:
    """`digits` significant digits; an en dash where there is no number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return DASH
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    return (f"{mantissa}e{int(exponent)}" if exponent else mantissa).replace("-", "−")


def clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def level_text(level: object) -> str:
    return DASH if level is None else f"{level:g}" if isinstance(level, float) else str(level)


def heading(record: StudyRecord, *, page: str, links: Sequence[Component] = ()) -> Component:
    """The study's name, its question, and where else to go; the same on every page of a study."""
    return html.Div(
        [
            html.Nav(
                [dcc.Link("Studies", href="/"), html.Span("/"), *_crumbs(record.name, page=page)],
                className="crumbs",
                **aria(label="Where you are"),
            ),
            html.Div([html.H1(record.name), *simulated_badge(record.simulated)], className="title"),
            html.P(record.spec.get("question") or "No question was written down.", className="question"),
            html.Nav(links, className="places", **aria(label="Pages of this study")) if links else None,
        ],
        className="heading",
    )


def study_links(record: StudyRecord, *, here: str) -> list[Component]:
    """The pages of one study that have something to show of it."""
    places = [("Overview", href("study", record.name), True)]
    places += [("Curves", href("curves", record.name), True)]
    places += [("Axes", href("axis", record.name), bool(record.axes))]
    places += [("Interactions", href("factors", record.name), sum(len(levels) != 1 for levels in record.axes.values()) > 1)]
    places += [("Parallel", href("parallel", record.name), bool(record.axes))]
    places += [("Data mix", href("mix", record.name), bool(mix_axes(record.spec.get("axes") or {})))]
    places += [("Law", href("law", record.name), bool(record.spec.get("law")))]
    places += [("Lessons", href("lessons", record.name), bears_on_lessons(record.spec, record.axes))]
    return [_tab(label, path, here=here) for label, path, there in places if there]


def simulated_badge(simulated: bool) -> list[Component]:
    if not simulated:
        return []
    why = "These results come from a stated law plus noise, not from a training."
    return [html.Span("simulated", className="badge simulated", title=why)]


def state_badge(active: bool) -> Component:
    return html.Span("live" if active else "idle", className=f"badge {'live' if active else 'idle'}")


def progress(counts: Mapping[str, int]) -> Component:
    """A bar of the trials' states; its text says the same for those who do not see the colours."""
    total = sum(counts.values())
    done = counts.get("done", 0) + counts.get("cached", 0)
    others = [state for state in STATES if counts.get(state) and state not in ("done", "cached", "queued")]
    said = [f"{done} of {total} done", *(f"{counts[state]} {state}" for state in others)]
    parts = [
        html.Span(className=f"part state-{state}", style={"flexGrow": counts[state]}, title=f"{counts[state]} {state}")
        for state in STATES
        if counts.get(state)
    ]
    text = ", ".join(said)
    bar = html.Div(parts, className="bar", role="progressbar", **aria(valuemin=0, valuemax=total, valuenow=done, label=text))
    return html.Div([bar, html.Span(text, className="said")], className="progress")


def legend() -> Component:
    """What the colours of the states mean, on every page."""
    items = [html.Li([html.Span(className=f"swatch state-{state}"), state]) for state in STATES]
    return html.Ul(items, className="legend", **aria(label="Trial states"))


def message(text: str, *, command: str = "", kind: str = "empty") -> Component:
    """One or more lines for a person, and what to type."""
    lines: list[Component] = [html.P(line) for line in text.splitlines()]
    return html.Div([*lines, html.Pre(html.Code(command))] if command else lines, className=f"message {kind}")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, label: str, numeric: Iterable[int] = ()) -> Component:
    right = set(numeric)
    cells = [html.Tr([html.Td(cell, className="number" if index in right else "") for index, cell in enumerate(row)]) for row in rows]
    top = html.Tr([html.Th(name, scope="col", className="number" if index in right else "") for index, name in enumerate(head)])
    return html.Div(html.Table([html.Thead(top), html.Tbody(cells)]), className="scroll", role="region", tabIndex=0, **aria(label=label))


def verdict_badge(verdict: str) -> Component:
    sign = {"supported": "✓", "contradicted": "✗", "equivalent": "≈"}.get(verdict, "?")
    return html.Span(f"{sign} {verdict}", className=f"badge verdict-{verdict}")


def meanings(record: StudyRecord, metrics: Sequence[str]) -> list[Component]:
    """Under a metric's chooser: what the chosen ones mean, their unit and bounds, and which way is better, as far as that is declared."""
    return [html.P(line, className="note") for line in metric_lines(record.spec, metrics)]


def chooser(component_id: str, *, label: str, options: Sequence[str] | Mapping[str, str], value: str) -> Component:
    """One of several, with its label. `options`: values, or value -> what is read for it."""
    shown = dict(options) if isinstance(options, Mapping) else list(options)
    listed = dcc.Dropdown(id=component_id, options=shown, value=value, clearable=False, searchable=len(options) > 8)
    return html.Div([html.Label(label, htmlFor=component_id), listed], className="control")


def graph(name: str, *, label: str, min_height: int = 440) -> Component:
    """A figure that callbacks fill: they answer `<name>-made` with what `Sent.figure` says to a viewer who has `<name>-have`."""
    room = {"minHeight": f"{min_height}px"}  # of both: the figure itself is not there before plotly is
    figure = dcc.Graph(id=name, figure=blank(), config=graph_config(), style=room)
    return html.Div([dcc.Store(id=f"{name}-made"), dcc.Store(id=f"{name}-have"), figure], role="img", style=room, **aria(label=label))


def graph_config() -> Any:
    """The figures' own settings; Dash annotates them with a record type of its own."""
    return CONFIG


def card_in_sight(name: str, children: Sequence[Component], *, grows: bool = False, **attributes: Any) -> Component:
    """A card whose callbacks are asked only while it is near the window: their input is `<name>-seen`, which the browser keeps as the
    page's `seen`, with its `points` where the card `grows` without an event. There is no initial call of them."""
    marks = {"data-seen": f"{name}-seen", **({"data-grows": "yes"} if grows else {})}
    return html.Section([dcc.Store(id=f"{name}-seen"), *children], **{"className": "card", **attributes, **marks})


def register_graph(app: Dash, *, name: str) -> None:
    """Dash 4.4 writes a zoom into the figure itself, which undoes plotly's uirevision: the browser carries it over instead."""
    filled = [Output(name, "figure"), Output(f"{name}-have", "data"), Output(name, "style")]
    app.clientside_callback(
        ClientsideFunction("ablate", "figure"), *filled, Input(f"{name}-made", "data"), State(name, "figure"), prevent_initial_call=True
    )


def register_grid(app: Dash, *, name: str) -> None:
    """A grid that callbacks fill as `graph` does, by `Sent.rows`."""
    filled = [Output(name, prop) for prop in ("columnDefs", "rowData", "rowTransaction")]
    filled.append(Output(f"{name}-have", "data"))
    app.clientside_callback(ClientsideFunction("ablate", "rows"), *filled, Input(f"{name}-made", "data"), prevent_initial_call=True)


def fit_card(figure: go.Figure, *, view: str) -> go.Figure:
    """The legend goes below, where a narrow card has room; zoom and hidden series stay over updates for as long as `view` does."""
    legend = {"orientation": "h", "xref": "container", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"}
    return figure.update_layout(uirevision=view, legend=legend, margin={"l": 10, "r": 24})  # half of a last tick's label


def blank(text: str = "") -> go.Figure:
    """A figure that says why there is none."""
    middle = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    note = {"text": escape(text), "showarrow": False, "font": {"size": 14, "color": "#808890"}, **middle}
    return go.Figure(
        layout={
            "xaxis": {"visible": False},
            "yaxis": {"visible": False},
            "annotations": [note] if text else [],
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
        }
    )


def _crumbs(name: str, *, page: str) -> list[Component]:
    if page == "study":
        return [html.Span(name, **aria(current="page"))]
    return [dcc.Link(name, href=href("study", name)), html.Span("/"), html.Span(page, **aria(current="page"))]


def _tab(label: str, path: str, *, here: str) -> Component:
    is_here = here == path or here.startswith(f"{path}/")
    return dcc.Link(label, href=path, className="place here" if is_here else "place")
