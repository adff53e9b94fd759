"""Trials become parallel coordinates, and ranges brushed there become trials again."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, log10
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.effects import USABLE
from ablate.errors import InputError
from ablate.level_means import ordered
from ablate.plot_style import TOP, escape, ink_colour, is_numeric, layout, level_axis, level_label, value_scale, with_unit

MAX_TICKS = 12
"""Labels of an axis that are written; more would lie on one another."""


def parallel_coordinates(
    results: pd.DataFrame,
    *,
    axes: Sequence[str],
    metric: str,
    goal: str = "max",
    unit: str = "",
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """A line a finished trial through its levels, the last dimension and the colour being the metric; brush a dimension to keep some.

    `brushed` says which trials a brush keeps. Labels stand at whole numbers, numbers over a factor of 20 at their logarithms.
    """
    table = _table(results, axes=axes, metric=metric)
    title = f"{metric} across {', '.join(axes)}" if len(axes) < 4 else f"{metric} across {len(axes)} axes"
    figure = go.Figure(layout=layout(title, simulated=simulated, dark=dark, height=480))
    values = numbers(table, metric)
    figure.add_trace(
        go.Parcoords(
            dimensions=[
                *(_dimension(table[axis], axis=axis) for axis in axes),
                {"label": escape(with_unit(metric, unit)), "values": values.tolist()},
            ],
            customdata=table["trial"].map(escape).tolist(),
            line={
                "color": values.tolist(),
                "colorscale": value_scale(dark),
                "reversescale": goal == "min",
                "showscale": True,
                "colorbar": {"title": {"text": escape(with_unit(metric, unit))}, "thickness": 14},
            },
            labelangle=-20 if len(axes) > 3 else 0,
            domain={"x": [0.12, 0.95]},
            tickfont={"color": ink_colour(dark), "size": 11},
            labelfont={"color": ink_colour(dark), "size": 13},
            rangefont={"color": ink_colour(dark), "size": 11},
            unselected={"line": {"opacity": 0.06}},
        )
    )
    return figure.update_layout(title=TOP, margin={"t": 140 if len(axes) > 3 else 110, "b": 40})


def brushed(results: pd.DataFrame, *, axes: Sequence[str], metric: str, ranges: Mapping[str, Any] | None) -> list[str]:
    """The finished trials that a brush keeps, in the order of the results.

    `ranges`: what plotly reports of brushes, all so far in one mapping: `dimensions[0].constraintrange` -> [low, high], several such pairs,
    or None where it was taken away; a pair may stand in a list of one. Raises InputError for a dimension that is not drawn.
    """
    table = _table(results, axes=axes, metric=metric)
    columns = [*axes, metric]
    kept = np.ones(len(table), dtype=bool)
    for place, pairs in _constraints(ranges or {}, count=len(columns)):
        column = _positions(table[columns[place]]) if place < len(axes) else numbers(table, metric)
        at = column.to_numpy(dtype=float)
        kept &= np.any([(at >= min(pair)) & (at <= max(pair)) for pair in pairs], axis=0)
    return [str(trial) for trial in table["trial"][kept]]


def _table(results: pd.DataFrame, *, axes: Sequence[str], metric: str) -> pd.DataFrame:
    require_columns(results, ["trial", *axes, metric])
    done = results[results["state"].isin(USABLE)] if "state" in results else results
    return done[np.isfinite(numbers(done, metric))]


def _dimension(labels: "pd.Series[Any]", *, axis: str) -> dict[str, Any]:
    """An axis that does not apply to a trial has a place of its own, as a label has."""
    found = {"label": escape(axis), "values": _positions(labels).tolist()}
    if is_numeric(labels):
        levels = sorted({float(level) for level in labels})
        shown = levels if len(levels) <= MAX_TICKS else None
        if _logarithmic(labels):
            shown = shown or np.geomspace(levels[0], levels[-1], 5).tolist()
            return found | {"tickvals": [log10(level) for level in shown], "ticktext": [f"{level:.3g}" for level in shown]}
        return found | ({"tickvals": shown, "ticktext": [f"{level:g}" for level in shown]} if shown else {})
    names = list(dict.fromkeys(level_label(level) for level in ordered(labels)))
    every = -(-len(names) // MAX_TICKS)
    places = list(range(0, len(names), every or 1))
    return found | {"tickvals": places, "ticktext": [names[place] for place in places], "range": [-0.25, max(len(names) - 0.75, 0.25)]}


def _positions(labels: "pd.Series[Any]") -> "pd.Series[float]":
    if is_numeric(labels):
        values = labels.astype(float)
        return values.map(log10) if _logarithmic(labels) else values
    names = labels.map(level_label)
    places = {name: float(place) for place, name in enumerate(dict.fromkeys(names))}
    return names.map(places).astype(float)


def _logarithmic(labels: "pd.Series[Any]") -> bool:
    return bool(level_axis(labels, title="", numeric=True)["type"] == "log")


def _constraints(ranges: Mapping[str, Any], *, count: int) -> Iterable[tuple[int, list[tuple[float, float]]]]:
    for key, value in ranges.items():
        if not key.endswith("constraintrange"):
            continue  # a restyle of something else, such as the order of the dimensions
        number = key.removeprefix("dimensions[").partition("]")[0]
        if not number.isdecimal() or int(number) >= count:
            raise InputError(f"'{key}' is no dimension of this plot (dimensions[0] to dimensions[{count - 1}])")
        if pairs := _pairs(value):
            yield int(number), pairs


def _pairs(value: Any) -> list[tuple[float, float]]:
    """[low, high], [[low, high], ...], or either in a list of one, as plotly wraps what it reports."""
    if value is None or value == [None]:
        return []
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f"a brushed range is [low, high], found {value!r}")
    if all(isinstance(one, list | tuple) for one in value):
        return [pair for one in value for pair in _pairs(list(one))]
    if len(value) == 2 and all(isinstance(one, int | float) and isfinite(one) for one in value):
        return [(float(value[0]), float(value[1]))]
    raise InputError(f"a brushed range is [low, high], found {value!r}")
