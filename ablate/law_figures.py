"""Learning rates become plotly figures: the loss against the rate, and the best rate against the model's size."""

from collections.abc import Iterable
from math import exp
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.law_fit import LawFit
from ablate.analysis.laws import PublishedLaw, rate_label, size_label
from ablate.analysis.optima import Optimum
from ablate.analysis.published import MM1
from ablate.plot_style import DASHES, error_bars, escape, ink_colour, layout, log_ticks, series_colour, size_ticks, tint, turn, with_unit


def loss_against_rate(
    runs: pd.DataFrame,
    *,
    optima: Iterable[Optimum],
    metric: str,
    unit: str = "",
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """A line a size over the learning rate; a star is an optimum, an open triangle a best rate at the grid's end."""
    require_columns(runs, ["n_params", "lr", metric])
    values = runs.assign(value=numbers(runs, metric), n_params=numbers(runs, "n_params"), lr=numbers(runs, "lr"))
    finite = values[np.isfinite(values["value"])]
    figure = go.Figure(layout=layout(f"{metric} against the learning rate", simulated=simulated, dark=dark))
    for index, optimum in enumerate(sorted(optima, key=lambda optimum: optimum.n_params)):
        group = finite[finite["n_params"] == optimum.n_params]
        for trace in _rate_traces(group, optimum, colour=series_colour(index, dark=dark), dash=turn(DASHES, index)):
            figure.add_trace(trace)
    figure.update_xaxes(type="log", title_text="peak learning rate", **log_ticks(finite["lr"]))
    figure.update_yaxes(title_text=escape(with_unit(metric, unit)))
    return figure


def law(
    fit: LawFit,
    *,
    published: PublishedLaw | None = MM1,
    target: float | None = None,
    excluded: Iterable[Optimum] = (),
    level: float = 0.95,
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Optima, fitted line and prediction band; a published law is solid where it was fitted, dashed beyond."""
    sizes = [optimum.n_params for optimum in fit.used] + ([target] if target else [])
    grid = np.geomspace(min(sizes) / 1.6, max(sizes) * 1.6, 80)
    figure = go.Figure(layout=layout("Best learning rate against model size", simulated=simulated, dark=dark))
    blue, orange, green = (series_colour(index, dark=dark) for index in range(3))
    for trace in _band_traces(fit, grid, level=level, colour=blue):
        figure.add_trace(trace)
    for trace in _published_traces(published, grid, colour=orange) if published else ():
        figure.add_trace(trace)
    for trace in _law_points(fit, excluded, colour=blue, ink=ink_colour(dark)):
        figure.add_trace(trace)
    if target:
        figure.add_trace(_target_trace(fit, target, level=level, colour=green))
    figure.update_xaxes(type="log", title_text="parameters N", **size_ticks(grid))
    figure.update_yaxes(type="log", title_text="best peak learning rate η", exponentformat="power", dtick=1)
    return figure


def _rate_traces(group: pd.DataFrame, optimum: Optimum, *, colour: str, dash: str) -> Iterable[go.Scatter]:
    size = size_label(optimum.n_params)
    diverged = f" ({optimum.n_diverged} diverged)" if optimum.n_diverged else ""
    mean = group.groupby("lr")["value"].mean()
    yield go.Scatter(
        x=group["lr"].tolist(),
        y=group["value"].tolist(),
        mode="markers",
        marker={"color": colour, "size": 5, "opacity": 0.45},
        legendgroup=size,
        showlegend=False,
        hovertemplate=f"{size}<br>rate %{{x:.3g}}<br>%{{y:.5g}}<extra></extra>",
    )
    yield go.Scatter(
        x=mean.index.tolist(),
        y=mean.tolist(),
        name=size + diverged,
        mode="lines",
        line={"color": colour, "width": 2, "dash": dash},
        legendgroup=size,
        showlegend=True,
        hovertemplate=f"{size}<br>rate %{{x:.3g}}<br>mean %{{y:.5g}}<extra></extra>",
    )
    if optimum.lr is not None:
        said = f"{size}: optimum {rate_label(optimum.lr)}" + (f", ×/÷ {exp(optimum.se_ln):.2f} (1 SE)" if optimum.se_ln is not None else "")
        marker = {"color": colour, "size": 15, "symbol": "star", "line": {"width": 1, "color": "#ffffff"}}
        yield _mark(optimum.lr, optimum.value, said=said, marker=marker, group=size)
    elif optimum.grid_best is not None and optimum.status.startswith("edge"):
        symbol = "triangle-left-open" if optimum.status == "edge_low" else "triangle-right-open"
        said = f"{size}: the best rate is the {'lowest' if optimum.status == 'edge_low' else 'highest'} that can be used"
        marker = {"color": colour, "size": 15, "symbol": symbol, "line": {"width": 2.5}}
        yield _mark(optimum.grid_best, float(mean[optimum.grid_best]), said=said, marker=marker, group=size)


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


def _band_traces(fit: LawFit, grid: "np.ndarray[Any, Any]", *, level: float, colour: str) -> Iterable[go.Scatter]:
    bounds = [fit.interval(size, level=level) for size in grid]
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
        y=[fit.lr(size) for size in grid],
        mode="lines",
        line={"color": colour, "width": 2.5},
        name=f"fit, {len(fit.used)} sizes: slope {fit.slope:.3f}".replace("-", "−"),
        hovertemplate="N %{x:.3s}<br>fit %{y:.3g}<extra></extra>",
    )


def _published_traces(published: PublishedLaw, grid: "np.ndarray[Any, Any]", *, colour: str) -> Iterable[go.Scatter]:
    low, high = published.n_range
    name = f"{published.name.upper()}: slope {published.slope:.3f}".replace("-", "−")
    pieces: list[tuple[list[float], str, str]] = []
    if low is None or high is None:
        pieces.append((grid.tolist(), "dash", f"{name}, range of the fit not known"))
    else:
        inside = [size for size in (low, *grid, high) if low <= size <= high]
        pieces += [
            (sorted(inside), "solid", f"{name}, fitted {size_label(low)} to {size_label(high)}"),
            ([size for size in grid if size < low] + [low], "dash", f"{name}, extrapolated"),
            ([high] + [size for size in grid if size > high], "dash", f"{name}, extrapolated"),
        ]
    drawn = [piece for piece in pieces if len(piece[0]) > 1]
    for index, (sizes, dash, label) in enumerate(drawn):
        yield go.Scatter(
            x=sizes,
            y=[published.lr(size) for size in sizes],
            mode="lines",
            line={"color": colour, "width": 2, "dash": dash},
            name=escape(label),
            legendgroup=label,
            showlegend=label not in [other[2] for other in drawn[:index]],
            hovertemplate=f"N %{{x:.3s}}<br>%{{y:.3g}}<br>{escape(published.source)}<extra></extra>",
        )


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
        name="optimum of a size" + (" (bar: 1 SE)" if any(se is not None for se in errors) else ""),
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


def _target_trace(fit: LawFit, target: float, *, level: float, colour: str) -> go.Scatter:
    predicted, interval = fit.lr(target), fit.interval(target, level=level)
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
