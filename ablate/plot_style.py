"""What every figure shares: the template, the palette, how text from data is escaped, the scales of the axes.

Text from data is escaped, because plotly renders some HTML. Every series differs in colour and in marker or dash, so
that a figure reads without colour. A figure of simulated results says so in its title.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape as html_escape
from math import inf, isfinite, log10
from textwrap import wrap
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from ablate.analysis.laws import size_label

# Okabe and Ito's palette: without its yellow on white, and without its blue on black, where they vanish
LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DARK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#FFFFFF")
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "triangle-down", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
PATTERNS = ("", "/", "x", ".", "\\", "+", "-")
"""Of bars, in the place of a marker."""
TOP: dict[str, Any] = {"yref": "container", "y": 1, "yanchor": "top", "pad": {"l": 10, "t": 14}}
"""Where a title stands that has more than itself in its margin."""
Bounds = tuple[float | None, float | None]
"""Least and most that a metric can be, as far as that is known."""
NO_BOUNDS: Bounds = (None, None)
WRAPPED = 84
"""Characters of a line of notes: 560 px of 12 px type."""
STATES = {
    "done": "#009E73",
    "cached": "#56B4E9",
    "running": "#E69F00",
    "queued": "#999999",
    "pruned": "#CC79A7",
    "failed": "#D55E00",
    "lost": "#7A3B00",
}
CONFIG: dict[str, Any] = {
    "responsive": True,
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}
"""For whoever shows a figure. Plotly 7 has a button that uploads the chart unless it is told not to."""


def layout(title: str, *, simulated: bool, dark: bool, height: int = 440) -> go.Layout:
    text = ("simulated: " if simulated else "") + title
    return go.Layout(template=_template(dark), title={"text": escape(text)}, height=height, showlegend=True)


def _template(dark: bool) -> go.layout.Template:
    """The one template; backgrounds are the page's own."""
    grid = "#3d444d" if dark else "#dfe3e8"
    axis = {
        "gridcolor": grid,
        "linecolor": ink_colour(dark),
        "zeroline": False,
        "ticks": "outside",
        "automargin": True,
        "title": {"standoff": 12},
    }
    return go.layout.Template(
        layout={
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": ink_colour(dark)},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(DARK if dark else LIGHT),
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 60, "r": 20, "t": 60, "b": 50},
            "legend": {"orientation": "v", "font": {"size": 12}},
            "hoverlabel": {"bgcolor": "#161b22" if dark else "#ffffff", "font": {"color": ink_colour(dark)}},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#8b949e", "activecolor": ink_colour(dark)},
            "title": {"x": 0, "xref": "container", "xanchor": "left", "pad": {"l": 10}, "font": {"size": 16}},
        }
    )


def ink_colour(dark: bool) -> str:
    return "#e6edf3" if dark else "#1f2328"


def series_colour(index: int, *, dark: bool) -> str:
    return turn(DARK if dark else LIGHT, index)


def turn(choices: Sequence[str], index: int) -> str:
    return choices[index % len(choices)]


def value_scale(dark: bool) -> list[str]:
    """Colours of a number, for any eye (Cividis), without the end that vanishes on the page."""
    low, high = (0.25, 1.0) if dark else (0.0, 0.88)
    return list(sample_colorscale("Cividis", np.linspace(low, high, 9).tolist()))


def escape(text: object) -> str:
    """Quotes stay: plotly knows no entity for them, and nothing here is an attribute."""
    return html_escape(str(text), quote=False)


def wrapped(text: object, width: int = 40) -> str:
    """Escaped, in lines of at most `width` characters: a long name may not squeeze the figure out of its own frame."""
    return _wrapped(str(text), width)


@lru_cache(maxsize=10_000)  # the names of a study, which its figures write again and again
def _wrapped(text: str, width: int) -> str:
    return "<br>".join(map(escape, wrap(text, width, drop_whitespace=False))) or escape(text)


def cut_middle(text: object, width: int) -> str:
    """At most `width` characters, what is left out of the middle being `…`: names differ at their ends. Not escaped."""
    said = str(text)
    head = width // 2
    return said if len(said) <= width else f"{said[:head]}…{said[len(said) - (width - head - 1) :]}"


def with_unit(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def level_label(value: object) -> str:
    return wrapped("–" if value is None or value != value else value, 24)


def is_numeric(labels: "pd.Series[Any]") -> bool:
    if labels.dtype == "str":
        return False
    if labels.dtype.kind in "iuf":
        return bool(len(labels)) and not labels.hasnans
    return bool(len(labels)) and all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool) and value == value for value in labels
    )


def level_axis(labels: "pd.Series[Any]", *, title: str, numeric: bool) -> dict[str, Any]:
    """Numbers on a numeric scale, logarithmic over more than a factor of 20; labels in their order."""
    if not numeric:
        return {
            "title_text": escape(title),
            "type": "category",
            "categoryorder": "array",
            "categoryarray": list(dict.fromkeys(labels.map(level_label))),
        }
    found = sorted({float(value) for value in labels})
    scale: Literal["log", "linear"] = "log" if found and found[0] > 0 and found[-1] > 20 * found[0] else "linear"
    ticks = {"tickvals": found, "ticktext": [f"{value:g}".replace("e-0", "e-") for value in found]} if len(found) <= 8 else {}
    return {"title_text": escape(title), "type": scale, **ticks}


def log_ticks(values: "pd.Series[float]") -> dict[str, Any]:
    """Powers of ten alone leave a narrow grid of rates with a single tick."""
    if values.empty:
        return {}
    low, high = log10(float(values.min())), log10(float(values.max()))
    return {"exponentformat": "power", "dtick": 1 if high - low > 3 else "D2"}


def size_ticks(grid: "np.ndarray[Any, Any]") -> dict[str, Any]:
    low, high = int(np.floor(np.log10(grid[0]))), int(np.ceil(np.log10(grid[-1])))
    values = [scale * 10.0**power for power in range(low, high + 1) for scale in ((1, 3) if high - low <= 5 else (1,))]
    return {"tickvals": values, "ticktext": [size_label(value) for value in values]}


def error_bars(plus: Sequence[float | None], *, minus: Sequence[float | None] | None = None, width: int = 4) -> dict[str, Any] | None:
    """Error bars, or none at all: plotly draws the caps of a missing one."""
    if all(length is None for length in plus):
        return None
    sides = {} if minus is None else {"symmetric": False, "arrayminus": list(minus)}
    return {"type": "data", "array": list(plus), "thickness": 1.5, "width": width, **sides}


def half_bars(halves: Iterable[float], *, width: int = 4) -> dict[str, Any] | None:
    """Error bars of intervals given by their half widths; NaN is none."""
    return error_bars([float(half) if isfinite(half) else None for half in halves], width=width)


def interval_bars(means: pd.DataFrame, *, bounds: Bounds = NO_BOUNDS, width: int = 4) -> dict[str, Any] | None:
    """Error bars of `mean` ± `half`, drawn no further than the metric's bounds; what they leave out stands in the hover text."""
    if not passes(means, bounds=bounds):
        return half_bars(means["half"], width=width)
    low, high = (-inf if bounds[0] is None else bounds[0], inf if bounds[1] is None else bounds[1])
    pairs = [(float(mean), float(half)) for mean, half in zip(means["mean"], means["half"], strict=True)]
    plus = [min(half, max(0.0, high - mean)) if isfinite(half) else None for mean, half in pairs]
    minus = [min(half, max(0.0, mean - low)) if isfinite(half) else None for mean, half in pairs]
    return error_bars(plus, minus=minus, width=width)


def reach(traces: Iterable[go.Scatter]) -> list[float]:
    """What the points and their bars span, and a little more: of grouped points plotly would draw everything from 0 on."""
    ends = [
        value + sign * (bar or 0.0)
        for trace in traces
        for sign, bars in (
            (1, trace.error_y.array),
            (-1, trace.error_y.array if trace.error_y.arrayminus is None else trace.error_y.arrayminus),
        )
        for value, bar in zip(trace.y, [0.0] * len(trace.y) if bars is None else bars, strict=True)
        if value is not None
    ]
    room = 0.06 * (max(ends) - min(ends)) or 1.0
    return [min(ends) - room, max(ends) + room]


def passes(means: pd.DataFrame, *, bounds: Bounds) -> bool:
    """Whether an interval reaches beyond what the metric can be."""
    low, high = bounds
    below = low is not None and bool((means["mean"] - means["half"] < low).any())
    return below or (high is not None and bool((means["mean"] + means["half"] > high).any()))


def cut_notes(drawn: Iterable[tuple[str, pd.DataFrame, Bounds]]) -> list[str]:
    """What is to be said of intervals that are not drawn whole, by the bounds of their own metrics. `drawn`: metric, means, bounds."""
    cut: dict[Bounds, list[str]] = {}
    for metric, means, bounds in drawn:
        if passes(means, bounds=bounds):
            cut.setdefault(bounds, []).append(metric)
    ends = {bounds: " and ".join(f"{end:g}" for end in bounds if end is not None) for bounds in cut}
    shown = "pointing at one shows all of it"
    return [
        f"Cut: intervals of {', '.join(metrics)} are drawn up to {ends[bounds]}, their bounds; {shown}." for bounds, metrics in cut.items()
    ]


def with_seeds(means: pd.DataFrame) -> list[str]:
    """What a mean's hover says beside it: its seeds and its interval. `means` has the columns `half` and `n`."""
    pairs = zip(means["n"], means["half"], strict=True)
    return [f"n = {n}" + (f", ±{half:.3g}" if isfinite(half) else ", no interval") for n, half in pairs]


def add_notes(figure: go.Figure, lines: Iterable[str]) -> go.Figure:
    """Small text under the title, wrapped for a narrow card; the lines are escaped here."""
    parts = [part for line in lines for part in wrap(line, WRAPPED)]
    if not parts:
        return figure
    top, height = 50 + 16 * len(parts), figure.layout.height
    subtitle = {"text": "<br>".join(escape(part) for part in parts), "font": {"size": 12}}
    return figure.update_layout(title=TOP | {"subtitle": subtitle}, margin={"t": top}, height=height and height + top - 60)


def tint(colour: str, opacity: float) -> str:
    """`#rrggbb` as rgba."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
