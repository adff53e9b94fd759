"""Trials become parallel coordinates, and ranges brushed there become trials again.

Drawn as lines, not as plotly's own parallel coordinates: those compile their drawing from text, which the pages' content policy forbids.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor, isfinite, log10, nan
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ablate.analysis.columns import numbers, plain, require_columns
from ablate.analysis.effects import USABLE
from ablate.errors import InputError
from ablate.level_means import ordered
from ablate.plot_style import add_notes, escape, ink_colour, is_numeric, layout, level_axis, level_label, value_scale, with_unit

MAX_TICKS = 12
"""Labels of an axis that are written; more would lie on one another."""
MAX_LINES = 2_000
"""Trials that are drawn: more are a carpet."""

Ranges = Mapping[str, Sequence[tuple[float, float]]]
"""Column -> brushed ranges of places on its dimension, the ends included: labels stand at 0, 1, ..., numbers over a factor of 20 at their
base-10 logarithms, other numbers at themselves."""


class Dimension(NamedTuple):
    column: str
    places: "pd.Series[float]"
    """Of all trials, finished or not: where a level stands is the same however many have finished."""
    low: float
    high: float
    ticks: list[tuple[float, str]]
    names: tuple[str, ...] = ()
    """The labels, from place 0 up; none of a dimension of numbers."""
    logarithmic: bool = False

    def place(self, text: str) -> float:
        """Where a label or a number that a person typed stands."""
        if self.names:
            if text not in self.names:
                raise InputError(f"no level '{text[:100]}' of {self.column} (there: {', '.join(self.names[:MAX_TICKS])})")
            return float(self.names.index(text))
        try:
            value = float(text)
        except ValueError:
            value = nan
        if not isfinite(value) or (self.logarithmic and value <= 0):
            raise InputError(f"{self.column}: '{text[:100]}' is no {'number above 0' if self.logarithmic else 'number'}")
        return log10(value) if self.logarithmic else value

    def texts(self, low: float, high: float) -> tuple[str, str]:
        """What a person would type for a range; of labels the first and the last whose places are in it."""
        if self.names:
            last = len(self.names) - 1
            return self.names[min(max(ceil(low), 0), last)], self.names[min(max(floor(high), 0), last)]
        low, high = (10**end if self.logarithmic else end for end in (low, high))
        return f"{low:.6g}", f"{high:.6g}"

    def heights(self, places: Any) -> Any:
        """From 0, the foot, to 1."""
        return (places - self.low) / (self.high - self.low) if self.high > self.low else places * 0 + 0.5


def parallel_coordinates(
    results: pd.DataFrame,
    *,
    axes: Sequence[str],
    metric: str,
    goal: str = "max",
    unit: str = "",
    ranges: Ranges | None = None,
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """A line a finished trial through its levels, the last dimension and the colour being the metric; grey is what the ranges leave out.

    Dimension i stands at x = i, from y = 0 to 1: `box_ranges` reads a box that a person drew. At most `MAX_LINES` are drawn, evenly.
    """
    done = _done(results, axes=axes, metric=metric)
    count = min(len(done), MAX_LINES)
    table = done.iloc[np.arange(count) * len(done) // max(1, count)]
    dimensions = _dimensions(results, axes=axes, metric=metric)
    title = f"{metric} across {', '.join(axes)}" if len(axes) < 4 else f"{metric} across {len(axes)} axes"
    figure = go.Figure(layout=layout(title, simulated=simulated, dark=dark, height=500))
    kept = _kept(table, dimensions, ranges=ranges or {})
    heights = np.column_stack([dimension.heights(dimension.places.loc[table.index].to_numpy(dtype=float)) for dimension in dimensions])
    figure.add_trace(_lines(heights[~kept], name="left out", colour=ink_colour(dark), opacity=0.12))
    scale = value_scale(dark)[::-1] if goal == "min" else value_scale(dark)
    shades = np.minimum((heights[:, -1] * len(scale)).astype(int), len(scale) - 1)
    for shade, colour in enumerate(scale):
        figure.add_trace(_lines(heights[kept & (shades == shade)], name="kept", colour=colour, opacity=0.8))
    for trace in (
        *_rails(dimensions, dark=dark),
        _brush(dimensions, ranges=ranges or {}),
        _ends(table[kept], dimensions[-1], at=len(axes), scale=scale),
    ):
        figure.add_trace(trace)
    labels = [escape(dimension.column) for dimension in dimensions[:-1]] + [escape(with_unit(metric, unit))]
    places = list(range(len(dimensions)))
    figure.update_xaxes(
        tickvals=places,
        ticktext=labels,
        side="top",
        showgrid=False,
        showline=False,
        ticks="",
        fixedrange=True,
        range=[-0.45, len(axes) + 0.2],
    )
    figure.update_yaxes(visible=False, fixedrange=True, range=[-0.06, 1.06])
    figure.update_layout(dragmode="select", showlegend=False, hovermode="closest", margin={"b": 20}, selectionrevision=str(ranges))
    return add_notes(figure, [f"{count:,} of {len(done):,} finished trials are drawn, taken evenly."] if count < len(done) else [])


def box_ranges(results: pd.DataFrame, *, axes: Sequence[str], metric: str, box: Mapping[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """The ranges of the dimensions that a box lies across. `box`: its ends, `x` and `y`, as plotly reports a selection."""
    (left, right), (foot, head) = (_ends_of(box.get(side)) for side in "xy")
    found = {}
    for place, dimension in enumerate(_dimensions(results, axes=axes, metric=metric)):
        if left <= place <= right:
            span = dimension.high - dimension.low
            low, high = (dimension.low + height * span for height in (foot, head)) if span > 0 else (dimension.low - 1, dimension.low + 1)
            found[dimension.column] = [(low, high)]
    return found


def dimension(results: pd.DataFrame, *, axes: Sequence[str], metric: str, column: str) -> Dimension:
    """One of those that are drawn."""
    return next(each for each in _dimensions(results, axes=axes, metric=metric) if each.column == column)


def typed_range(dimension: Dimension, *, low: str, high: str) -> tuple[float, float]:
    """The range between two typed ends, both included, in either order; an empty one is the dimension's own end.

    Raises InputError for what is no level or no number.
    """
    ends = [dimension.place(text.strip()) if text.strip() else end for text, end in ((low, dimension.low), (high, dimension.high))]
    margin = 0.25 if dimension.names else 1e-9 * max(*map(abs, ends), dimension.high - dimension.low)
    return min(ends) - margin, max(ends) + margin


def drawn(results: pd.DataFrame, *, axes: Sequence[str], metric: str) -> list[str]:
    """The finished trials that have the metric, in the order of the results: the others are on no line, and so in no brush."""
    return [str(trial) for trial in plain(_done(results, axes=axes, metric=metric)["trial"])]


def brushed(results: pd.DataFrame, *, axes: Sequence[str], metric: str, ranges: Ranges) -> list[str]:
    """Those of `drawn` that are in a range of every brushed column. Ranges of other columns say nothing."""
    table = _done(results, axes=axes, metric=metric)
    kept = _kept(table, _dimensions(results, axes=axes, metric=metric), ranges=ranges)
    return [str(trial) for trial in plain(table["trial"][kept])]


def _done(results: pd.DataFrame, *, axes: Sequence[str], metric: str) -> pd.DataFrame:
    require_columns(results, ["trial", *axes, metric])
    done = results[results["state"].isin(USABLE)] if "state" in results else results
    return done[np.isfinite(numbers(done, metric))]


def _dimensions(results: pd.DataFrame, *, axes: Sequence[str], metric: str) -> list[Dimension]:
    values = numbers(_done(results, axes=axes, metric=metric), metric)
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    ticks = [(value, f"{value:.4g}") for value in (np.linspace(low, high, 6).tolist() if high > low else [low])]
    return [*(_dimension(results[axis], axis=axis) for axis in axes), Dimension(metric, numbers(results, metric), low, high, ticks)]


def _dimension(labels: "pd.Series[Any]", *, axis: str) -> Dimension:
    """An axis that does not apply to a trial has a place of its own, as a label has."""
    if not is_numeric(labels):
        names = list(dict.fromkeys(level_label(level) for level in ordered(labels)))
        places = labels.map(level_label).map({name: float(place) for place, name in enumerate(names)}).astype(float)
        every = max(1, -(-len(names) // MAX_TICKS))
        ticks = [(float(at), names[at]) for at in range(0, len(names), every)]
        return Dimension(axis, places, 0.0, max(0.0, len(names) - 1.0), ticks, tuple(names))
    values = labels.astype(float)
    levels, logarithmic = sorted(set(values)), level_axis(labels, title="", numeric=True)["type"] == "log"
    if len(levels) > MAX_TICKS:
        levels = (np.geomspace if logarithmic else np.linspace)(levels[0], levels[-1], 5).tolist()
    ticks = [(log10(level) if logarithmic else level, f"{level:.4g}") for level in levels]
    return Dimension(axis, values.map(log10) if logarithmic else values, ticks[0][0], ticks[-1][0], ticks, (), logarithmic)


def _kept(table: pd.DataFrame, dimensions: Sequence[Dimension], *, ranges: Ranges) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    kept = np.ones(len(table), dtype=bool)
    for dimension in dimensions:
        if pairs := ranges.get(dimension.column):
            at = dimension.places.loc[table.index].to_numpy(dtype=float)
            kept &= np.any([(at >= low) & (at <= high) for low, high in pairs], axis=0)
    return kept


def _ends_of(value: Any) -> tuple[float, float]:
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(one, int | float) and isfinite(one) for one in value):
        return min(value), max(value)
    raise InputError(f"a box has two ends in x and in y, found {str(value)[:100]}")


def _lines(heights: "np.ndarray[Any, Any]", *, name: str, colour: str, opacity: float) -> go.Scatter:
    """Lines of several trials in one trace, with a gap behind each."""
    count, width = heights.shape
    x = np.tile([*range(width), np.nan], count)  # arrays, because plotly looks at each value of a list
    y = np.column_stack([heights, np.full(count, np.nan)]).ravel()
    return go.Scatter(x=x, y=y, mode="lines", name=name, line={"color": colour, "width": 1.5}, opacity=opacity, hoverinfo="skip")


def _rails(dimensions: Sequence[Dimension], *, dark: bool) -> list[go.Scatter]:
    """The dimensions with their ticks."""
    ink = ink_colour(dark)
    x = [at for place in range(len(dimensions)) for at in (place, place, None)]
    rails = go.Scatter(
        x=x, y=[0, 1, None] * len(dimensions), mode="lines", line={"color": ink, "width": 1}, hoverinfo="skip", name="dimensions"
    )
    ticks = [(place, dimension.heights(at), text) for place, dimension in enumerate(dimensions) for at, text in dimension.ticks]
    last = len(dimensions) - 1  # whose right side no line crosses
    marks = go.Scatter(
        x=[place for place, _, _ in ticks],
        y=[height for _, height, _ in ticks],
        text=[f"  {text}" if place == last else f"{text}  " for place, _, text in ticks],
        mode="markers+text",
        textposition=["middle right" if place == last else "middle left" for place, _, _ in ticks],
        textfont={"color": ink, "size": 12, "shadow": "auto"},  # lines run behind the labels of inner dimensions
        marker={"symbol": "line-ew-open", "size": 8, "color": ink, "line": {"width": 1.5}},
        unselected={"marker": {"opacity": 1}, "textfont": {"color": ink}},
        hoverinfo="skip",
        name="ticks",
    )
    return [rails, marks]


def _brush(dimensions: Sequence[Dimension], *, ranges: Ranges) -> go.Scatter:
    """The brushed ranges as bars on their dimensions."""
    x: list[float | None] = []
    y: list[float | None] = []
    for place, dimension in enumerate(dimensions):
        for pair in ranges.get(dimension.column, ()):
            ends = [min(max(float(dimension.heights(end)), -0.04), 1.04) for end in pair]
            x, y = [*x, place, place, None], [*y, *ends, None]
    return go.Scatter(x=x, y=y, mode="lines", line={"color": "#d55e00", "width": 9}, opacity=0.45, hoverinfo="skip", name="brush")


def _ends(table: pd.DataFrame, last: Dimension, *, at: int, scale: Sequence[str]) -> go.Scatter:
    """A point a kept trial on the metric's dimension, which says what it is."""
    values = last.places.loc[table.index]
    return go.Scatter(
        x=np.full(len(table), at),
        y=last.heights(values.to_numpy(dtype=float)),
        mode="markers",
        marker={"color": values.to_numpy(dtype=float), "colorscale": list(scale), "cmin": last.low, "cmax": last.high, "size": 7},
        unselected={"marker": {"opacity": 1}},
        customdata=np.array([escape(trial) for trial in plain(table["trial"])], dtype=object),
        hovertemplate="%{customdata}<br>%{marker.color:.5g}<extra></extra>",
        name="trials",
    )
