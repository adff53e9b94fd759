"""Learning rates become plotly figures: the loss against the rate, and the best rate against the model's size."""

from collections.abc import Iterable, Mapping
from math import exp
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.law_fit import LawFit
from ablate.analysis.laws import ONE_SE, PublishedLaw, Range, rate_label, size_label
from ablate.analysis.optima import Goal, Optimum
from ablate.analysis.published import MM1, sizes_in_range, usable_rate
from ablate.plot_style import (
    DASHES,
    SYMBOLS,
    add_notes,
    error_bars,
    escape,
    ink_colour,
    layout,
    log_ticks,
    series_colour,
    size_ticks,
    tint,
    turn,
    with_unit,
)

RATE = "peak learning rate η"
CURVES = "Thick: the curve fitted around the best rate. Ring: a rate that cannot be told from the best. Star: optimum."
CURVE_POINTS = 60
BEFORE_END = 5
"""Points of a published line, of 80, between its name and its end."""
OTHERS = (1, 3, 4, 5, 6)
"""Colours of published laws: those that neither the fit nor its target has."""


def loss_against_rate(
    runs: pd.DataFrame,
    *,
    optima: Iterable[Optimum],
    metric: str,
    goal: Goal = "min",
    unit: str = "",
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Runs, means and fitted curve of each size over the learning rate, the rates that cannot be told from the best in a ring; a star is an
    optimum, an open triangle a best rate at the grid's end."""
    require_columns(runs, ["n_params", "lr", metric])
    values = runs.assign(value=numbers(runs, metric), n_params=numbers(runs, "n_params"), lr=numbers(runs, "lr"))
    finite = values[np.isfinite(values["value"])]
    figure = go.Figure(layout=layout(f"{metric} against the {RATE}", simulated=simulated, dark=dark))
    shown = sorted(optima, key=lambda optimum: optimum.n_params)
    for index, optimum in enumerate(shown):
        style = _Style(size_label(optimum.n_params), series_colour(index, dark=dark), turn(DASHES, index), turn(SYMBOLS, index))
        group = finite[finite["n_params"] == optimum.n_params]
        for trace in _rate_traces(group, optimum, style=style, goal=goal):
            figure.add_trace(trace)
    figure.update_xaxes(type="log", title_text=RATE, **log_ticks(finite["lr"]))
    figure.update_yaxes(title_text=escape(with_unit(metric, unit)))
    return add_notes(figure, [CURVES] if any(optimum.fitted for optimum in shown) else [])


def law(
    fit: LawFit,
    *,
    published: Iterable[PublishedLaw] = (MM1,),
    at: Mapping[str, float] | None = None,
    target: float | None = None,
    excluded: Iterable[Optimum] = (),
    level: float = 0.95,
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Optima, fitted line and prediction band; a published law is solid where it was fitted, dashed beyond.

    `at`: tokens and batch_tokens of the laws that read them beside N; C is 6 N D. Raises InputError where such a law lacks one.
    """
    sizes = [optimum.n_params for optimum in fit.used] + ([target] if target else [])
    grid = np.geomspace(min(sizes) / 1.6, max(sizes) * 1.6, 80)
    figure = go.Figure(layout=layout(f"Best {RATE} against model size N", simulated=simulated, dark=dark))
    blue, green = (series_colour(index, dark=dark) for index in (0, 2))
    others = dict(at or {})
    for trace in _band_traces(fit, grid, at=others, level=level, colour=blue):
        figure.add_trace(trace)
    for index, law in enumerate(published):
        for trace in _published_traces(law, grid, at=others, colour=series_colour(OTHERS[index % len(OTHERS)], dark=dark)):
            figure.add_trace(trace)
    for trace in _law_points(fit, excluded, colour=blue, ink=ink_colour(dark)):
        figure.add_trace(trace)
    if target:
        figure.add_trace(_target_trace(fit, target, at=others, level=level, colour=green))
    figure.update_xaxes(type="log", title_text="parameters N", **size_ticks(grid))
    figure.update_yaxes(type="log", title_text=f"best {RATE}", exponentformat="power", dtick=1)
    return figure


class _Style(NamedTuple):
    """Of one size."""

    size: str
    colour: str
    dash: str
    symbol: str


def _rate_traces(group: pd.DataFrame, optimum: Optimum, *, style: _Style, goal: Goal) -> Iterable[go.Scatter]:
    size, colour, dash, symbol = style
    curve = _curve_trace(optimum, style=style, goal=goal)
    diverged = f" ({optimum.n_diverged} diverged)" if optimum.n_diverged else ""
    mean = group.groupby("lr")["value"].mean()
    yield go.Scatter(
        x=group["lr"].tolist(),
        y=group["value"].tolist(),
        mode="markers",
        marker={"color": colour, "size": 5, "opacity": 0.45, "symbol": symbol},
        legendgroup=size,
        showlegend=False,
        hovertemplate=f"{size}<br>rate %{{x:.3g}}<br>%{{y:.5g}}<extra></extra>",
    )
    yield go.Scatter(
        x=mean.index.tolist(),
        y=mean.tolist(),
        name=size + diverged,
        mode="lines+markers",
        line={"color": colour, "width": 1 if curve else 2, "dash": "dot" if curve else dash},
        marker={"color": colour, "size": 7, "symbol": symbol},
        legendgroup=size,
        showlegend=curve is None,
        hovertemplate=f"{size}<br>rate %{{x:.3g}}<br>mean %{{y:.5g}}<extra></extra>",
    )
    if curve:
        yield curve.update(name=size + diverged)
    if alike := [rate for rate in optimum.near_optimal if rate in mean.index]:
        yield go.Scatter(
            x=alike,
            y=mean.loc[alike].tolist(),
            mode="markers",
            marker={"color": colour, "size": 15, "symbol": "circle-open", "line": {"width": 2}},
            name=f"{size}: cannot be told from the best",
            legendgroup=size,
            showlegend=False,
            hovertemplate=f"{size}<br>rate %{{x:.3g}} cannot be told from the best<extra></extra>",
        )
    if optimum.lr is not None:
        said = f"{size}: optimum {rate_label(optimum.lr)}" + (
            f", ×/÷ {exp(optimum.se_ln):.2f} ({ONE_SE})" if optimum.se_ln is not None else ""
        )
        marker = {"color": colour, "size": 15, "symbol": "star", "line": {"width": 1, "color": "#ffffff"}}
        yield _mark(optimum.lr, optimum.value, said=said, marker=marker, group=size)
    elif optimum.grid_best is not None and optimum.status.startswith("edge"):
        symbol = "triangle-left-open" if optimum.status == "edge_low" else "triangle-right-open"
        said = f"{size}: the best rate is the {'lowest' if optimum.status == 'edge_low' else 'highest'} that can be used"
        marker = {"color": colour, "size": 15, "symbol": symbol, "line": {"width": 2.5}}
        yield _mark(optimum.grid_best, float(mean[optimum.grid_best]), said=said, marker=marker, group=size)


def _curve_trace(optimum: Optimum, *, style: _Style, goal: Goal) -> go.Scatter | None:
    """What placed the optimum, over the rates that it was fitted to."""
    if optimum.fitted is None or optimum.lr is None:
        return None
    rates = np.geomspace(*optimum.fitted, CURVE_POINTS).tolist()
    return go.Scatter(
        x=rates,
        y=optimum.curve(rates, goal=goal),
        mode="lines",
        line={"color": style.colour, "width": 2.5, "dash": style.dash},
        legendgroup=style.size,
        showlegend=True,
        hovertemplate=f"{style.size}<br>rate %{{x:.3g}}<br>fitted curve %{{y:.5g}}<extra></extra>",
    )


def _mark(x: float, y: float | None, *, said: str, marker: dict[str, Any], group: str) -> go.Scatter:
    return go.Scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker=marker,
        legendgroup=group,
        showlegend=False,
        hovertemplate=f"{said}<extra></extra>",
        name=said,
    )


def _band_traces(fit: LawFit, grid: "np.ndarray[Any, Any]", *, at: Mapping[str, float], level: float, colour: str) -> Iterable[go.Scatter]:
    bounds = [fit.interval(size, level=level, **at) for size in grid]
    band = [bound for bound in bounds if bound is not None]
    if len(band) == len(grid):
        yield go.Scatter(
            x=[*grid, *grid[::-1]],
            y=[*(high for _, high in band), *(low for low, _ in reversed(band))],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=tint(colour, 0.18),
            name=f"{level:.0%} prediction interval".replace("%", " %"),
            hoverinfo="skip",
            showlegend=True,
        )
    yield go.Scatter(
        x=grid.tolist(),
        y=[fit.lr(size, **at) for size in grid],
        mode="lines",
        line={"color": colour, "width": 2.5},
        name=f"fit, {len(fit.used)} sizes: slope {fit.slope:.3f}".replace("-", "−"),
        hovertemplate="N %{x:.3s}<br>fit %{y:.3g}<extra></extra>",
    )


def _published_traces(law: PublishedLaw, grid: "np.ndarray[Any, Any]", *, at: Mapping[str, float], colour: str) -> Iterable[go.Scatter]:
    """In one piece a kind: where it was fitted, and beyond; where the law has no rate there is no line. Its name stands by its end, and it
    has no markers: those are measured points."""
    held = f" at D = {size_label(at['tokens'])}" if "tokens" in at and set(law.reads) - {"n_params"} else ""
    slope = f": slope {law.slope:.3f}".replace("-", "−") if law.has_slopes and "n_params" in law.reads else ""
    pieces = list(_pieces(sizes_in_range(law, tokens=at.get("tokens")), grid))
    rightmost = max(sizes[-1] for sizes, _, _ in pieces)
    for index, (sizes, dash, label) in enumerate(pieces):
        name = f"{law.name.upper()}{held}{slope}, {label}"
        rates = [usable_rate(law, size, tokens=at.get("tokens")) for size in sizes]
        last = max((place for place, rate in enumerate(rates) if rate is not None and sizes[-1] == rightmost), default=None)
        named = None if last is None else max(0, last - BEFORE_END)  # clear of the target's interval
        yield go.Scatter(
            x=sizes,
            y=rates,
            mode="lines+text",
            text=[escape(law.name.upper()) if place == named else "" for place in range(len(sizes))],
            textposition="bottom left",
            textfont={"color": colour},
            line={"color": colour, "width": 2, "dash": dash},
            name=escape(name),
            legendgroup=law.name + dash,
            showlegend=label not in [other[2] for other in pieces[:index]],
            hovertemplate=f"N %{{x:.3s}}<br>%{{y:.3g}}<br>{escape(law.source)}<extra></extra>",
        )


def _pieces(fitted: Range | None, grid: "np.ndarray[Any, Any]") -> Iterable[tuple[list[float], str, str]]:
    """Sizes, dash and what it says. `fitted` None: nowhere, for another quantity than N is out of its range."""
    if fitted is None:
        yield grid.tolist(), "dash", "extrapolated"
        return
    low, high = fitted
    if low is None or high is None:
        yield grid.tolist(), "dash", "range of the fit not known"
        return
    inside = sorted(size for size in (low, *grid, high) if low <= size <= high)
    pieces = [
        (inside, "solid", f"fitted {size_label(low)} to {size_label(high)}"),
        ([size for size in grid if size < low] + [low], "dash", "extrapolated"),
        ([high] + [size for size in grid if size > high], "dash", "extrapolated"),
    ]
    yield from (piece for piece in pieces if len(piece[0]) > 1)


def _law_points(fit: LawFit, excluded: Iterable[Optimum], *, colour: str, ink: str) -> Iterable[go.Scatter]:
    rates = [optimum.lr or float("nan") for optimum in fit.used]
    errors = [optimum.se_ln for optimum in fit.used]
    yield go.Scatter(
        x=[optimum.n_params for optimum in fit.used],
        y=rates,
        mode="markers",
        marker={"color": colour, "size": 11, "symbol": "circle", "line": {"width": 1, "color": ink}},
        error_y=error_bars(
            [None if se is None else rate * (exp(se) - 1) for rate, se in zip(rates, errors, strict=True)],
            minus=[None if se is None else rate * (1 - exp(-se)) for rate, se in zip(rates, errors, strict=True)],
        ),
        name="optimum of a size" + (f" (bar: {ONE_SE})" if any(se is not None for se in errors) else ""),
        customdata=[size_label(optimum.n_params) for optimum in fit.used],
        hovertemplate="%{customdata}<br>%{y:.3g}<extra></extra>",
        showlegend=True,
    )
    edges = [optimum for optimum in excluded if optimum.grid_best is not None]
    if edges:
        yield go.Scatter(
            x=[optimum.n_params for optimum in edges],
            y=[optimum.grid_best for optimum in edges],
            mode="markers",
            marker={
                "color": ink,
                "size": 12,
                "symbol": ["triangle-up-open" if optimum.status == "edge_high" else "triangle-down-open" for optimum in edges],
            },
            name="left out: no optimum inside the grid",
            customdata=[f"{size_label(optimum.n_params)}, {optimum.status}" for optimum in edges],
            hovertemplate="%{customdata}<br>best of the grid %{y:.3g}<extra></extra>",
            showlegend=True,
        )


def _target_trace(fit: LawFit, target: float, *, at: Mapping[str, float], level: float, colour: str) -> go.Scatter:
    predicted, interval = fit.lr(target, **at), fit.interval(target, level=level, **at)
    said = f"{size_label(target)}: {rate_label(predicted)}" + (
        f" [{', '.join(map(rate_label, interval))}]" if interval else ", no interval"
    )
    above, below = (interval[1] - predicted, predicted - interval[0]) if interval else (None, None)
    return go.Scatter(
        x=[target],
        y=[predicted],
        mode="markers",
        marker={"color": colour, "size": 14, "symbol": "diamond"},
        error_y=error_bars([above], minus=[below], width=7),
        name=said,
        hovertemplate=f"{said}<extra></extra>",
        showlegend=True,
    )
