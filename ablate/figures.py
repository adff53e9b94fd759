"""Frames and records become plotly figures: pure functions, the same for the pages and the report.

Text from data is escaped, because plotly renders some HTML. Every series differs in colour and in marker or dash, so
that a figure reads without colour. A figure of simulated results says so in its title.
"""

from collections.abc import Iterable, Sequence
from html import escape as html_escape
from math import exp, isfinite, log10
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.effects import USABLE, Effect
from ablate.analysis.laws import MM1, PublishedLaw, rate_label, size_label
from ablate.analysis.lr_law import LawFit
from ablate.analysis.optima import Optimum
from ablate.analysis.verdicts import numbers_of

# Okabe and Ito's palette: without its yellow on white, and without its blue on black, where they vanish
LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DARK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#FFFFFF")
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "triangle-down", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
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
MAX_NAMED_ARMS = 60
"""Above this many arms the completeness matrix drops the letters in its cells."""


def score_by_level(
    results: pd.DataFrame,
    *,
    axis: str,
    metrics: Sequence[str],
    unit: str = "",
    level: float = 0.95,
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Each metric against the levels of an axis: mean and t interval over seeds, and the seeds as points.

    Where other axes vary, a seed's point is its mean over the level's arms, each arm counted at its own mean: a failed
    trial must not shift its seed towards the arms that are left.
    """
    require_columns(results, [axis, "arm", "seed"])
    done = results[results["state"].isin(USABLE)] if "state" in results else results
    require_columns(done, metrics if len(done) else ())
    numeric = _is_numeric(done[axis])
    figure = go.Figure(layout=_layout(f"{', '.join(metrics)} by {axis}", simulated=simulated, dark=dark))
    for index, metric in enumerate(metrics):
        if done.empty:
            break
        values = done.assign(value=numbers(done, metric), label=done[axis].map(float if numeric else _label))
        per_seed = _per_seed(values[np.isfinite(values["value"])], sort=numeric)
        for trace in _score_traces(per_seed, metric=metric, level=level, colour=_colour(index, dark=dark), symbol=_turn(SYMBOLS, index)):
            figure.add_trace(trace)
    figure.update_xaxes(**_level_axis(done[axis], title=axis, numeric=numeric))
    figure.update_yaxes(title_text=_escape(_with_unit(metrics[0] if len(metrics) == 1 else "score", unit)))
    return figure


def effects_forest(effects: Iterable[Effect], *, unit: str = "", simulated: bool = False, dark: bool = False) -> go.Figure:
    """One row an effect, the first on top; an open marker is a difference without an interval."""
    shown = [effect for effect in effects if effect.mean_diff is not None]
    several = len({effect.metric for effect in shown}) > 1
    names = _unique([_effect_name(effect, metric=several) for effect in shown])
    title = "Effects against the baseline" + ("" if several or not shown else f", {shown[0].metric}")
    figure = go.Figure(layout=_layout(title, simulated=simulated, dark=dark, height=150 + 30 * max(len(shown), 3)))
    for index, (label, kept, symbol) in enumerate((("95 % interval", True, "circle"), ("no interval", False, "circle-open"))):
        rows = [(name, effect) for name, effect in zip(names, shown, strict=True) if (effect.ci is not None) == kept]
        if rows:
            figure.add_trace(_forest_trace(rows, label=label, symbol=symbol, colour=_colour(index, dark=dark), unit=unit))
    figure.add_vline(x=0, line={"dash": "dash", "width": 1, "color": _ink(dark)})
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], automargin=True, showgrid=False)
    metric = "difference" if several or not shown else f"difference in {shown[0].metric}"
    figure.update_xaxes(title_text=_escape(_with_unit(metric, unit)))
    return figure


def curves(frame: pd.DataFrame, *, group_by: str, metric: str, unit: str = "", simulated: bool = False, dark: bool = False) -> go.Figure:
    """`metric` against step: a thin line a trial, a thick line the mean where all trials of the group have a value."""
    require_columns(frame, [group_by, "trial", "metric", "step", "value"])
    rows = frame[(frame["metric"] == metric) & np.isfinite(frame["value"].astype(float))]
    figure = go.Figure(layout=_layout(f"{metric} while training, by {group_by}", simulated=simulated, dark=dark))
    for index, (name, group) in enumerate(rows.groupby(group_by, sort=False)):
        table = group.pivot_table(index="step", columns="trial", values="value", aggfunc="last").sort_index()
        for trace in _curve_traces(table, name=_escape(name), colour=_colour(index, dark=dark), dash=_turn(DASHES, index)):
            figure.add_trace(trace)
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(title_text=_escape(_with_unit(metric, unit)))
    return figure


def completeness(results: pd.DataFrame, *, simulated: bool = False, dark: bool = False) -> go.Figure:
    """Arms down, seeds across, coloured and lettered by the trial's state; a gap is a trial that is not planned."""
    require_columns(results, ["arm", "seed", "state"])
    states = list(STATES)
    table = results.assign(code=results["state"].map(states.index)).pivot_table(
        index="arm", columns="seed", values="code", aggfunc="last", sort=False
    )
    table = table.reindex(columns=sorted(table.columns))
    arms, seeds = [_escape(arm) for arm in table.index], [f"seed {seed}" for seed in table.columns]
    codes = [[None if np.isnan(code) else int(code) for code in row] for row in table.to_numpy(dtype=float)]
    words = [["" if code is None else states[code] for code in row] for row in codes]
    few = len(arms) <= MAX_NAMED_ARMS
    figure = go.Figure(
        layout=_layout("Trials by state", simulated=simulated, dark=dark, height=min(2000, 170 + (24 if few else 8) * len(arms)))
    )
    figure.add_trace(
        go.Heatmap(
            x=seeds,
            y=arms,
            z=codes,
            zmin=-0.5,
            zmax=len(states) - 0.5,
            colorscale=_steps(list(STATES.values())),
            showscale=False,
            xgap=2,
            ygap=2 if few else 0,
            text=[[word[:1] for word in row] for row in words] if few else None,
            texttemplate="%{text}" if few else None,
            textfont={"color": "#000000"},
            customdata=words,
            hovertemplate="%{y}<br>%{x}<br>%{customdata}<extra></extra>",
        )
    )
    for state in (state for state in states if state in set(results["state"])):
        count = int((results["state"] == state).sum())
        marker = {"symbol": "square", "size": 12, "color": STATES[state]}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=f"{state} ({count})", marker=marker, hoverinfo="skip"))
    figure.update_layout(showlegend=True)
    figure.update_xaxes(side="top", showgrid=False, type="category")
    figure.update_yaxes(autorange="reversed", automargin=True, showgrid=False, type="category")
    return figure


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
    figure = go.Figure(layout=_layout(f"{metric} against the learning rate", simulated=simulated, dark=dark))
    for index, optimum in enumerate(sorted(optima, key=lambda optimum: optimum.n_params)):
        group = finite[finite["n_params"] == optimum.n_params]
        for trace in _rate_traces(group, optimum, colour=_colour(index, dark=dark), dash=_turn(DASHES, index)):
            figure.add_trace(trace)
    figure.update_xaxes(type="log", title_text="peak learning rate", **_log_ticks(finite["lr"]))
    figure.update_yaxes(title_text=_escape(_with_unit(metric, unit)))
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
    figure = go.Figure(layout=_layout("Best learning rate against model size", simulated=simulated, dark=dark))
    blue, orange, green = (_colour(index, dark=dark) for index in range(3))
    for trace in _band_traces(fit, grid, level=level, colour=blue):
        figure.add_trace(trace)
    for trace in _published_traces(published, grid, colour=orange) if published else ():
        figure.add_trace(trace)
    for trace in _law_points(fit, excluded, colour=blue, ink=_ink(dark)):
        figure.add_trace(trace)
    if target:
        figure.add_trace(_target_trace(fit, target, level=level, colour=green))
    figure.update_xaxes(type="log", title_text="parameters N", **_size_ticks(grid))
    figure.update_yaxes(type="log", title_text="best peak learning rate η", exponentformat="power", dtick="D2")
    return figure


def _per_seed(values: pd.DataFrame, *, sort: bool) -> pd.DataFrame:
    """Columns `label, seed, value`: the mean of the level's arm means plus what the seed adds to them."""
    arms = values.groupby(["label", "arm"], sort=False)["value"].mean()
    centred = values.assign(value=values["value"] - values.groupby(["label", "arm"])["value"].transform("mean"))
    seeds = centred.groupby(["label", "seed"], sort=sort)["value"].mean()
    return (seeds + arms.groupby("label").mean().reindex(seeds.index, level="label")).reset_index()


def _score_traces(per_seed: pd.DataFrame, *, metric: str, level: float, colour: str, symbol: str) -> list[go.Scatter]:
    if per_seed.empty:
        return []
    summary = per_seed.groupby("label", sort=False)["value"].agg(["mean", "sem", "size"])
    half = summary["sem"] * stats.t.ppf((1 + level) / 2, summary["size"].clip(lower=2) - 1)
    hover = [
        f"n = {size}" + (f", ±{width:.3g}" if isfinite(width) else ", no interval")
        for size, width in zip(summary["size"], half, strict=True)
    ]
    points = go.Scatter(
        x=per_seed["label"].tolist(),
        y=per_seed["value"].tolist(),
        mode="markers",
        marker={"color": colour, "size": 6, "opacity": 0.45, "symbol": symbol},
        customdata=[f"seed {_escape(seed)}" for seed in per_seed["seed"]],
        hovertemplate="%{x}<br>%{y:.5g}<br>%{customdata}<extra></extra>",
        legendgroup=_escape(metric),
        showlegend=False,
    )
    means = go.Scatter(
        x=summary.index.tolist(),
        y=summary["mean"].tolist(),
        name=_escape(metric),
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"color": colour, "size": 10, "symbol": symbol},
        error_y=_bars([width if isfinite(width) else None for width in half], width=5),
        customdata=hover,
        hovertemplate="%{x}<br>mean %{y:.5g}<br>%{customdata}<extra></extra>",
        legendgroup=_escape(metric),
        showlegend=True,
    )
    return [points, means]


def _forest_trace(rows: Sequence[tuple[str, Effect]], *, label: str, symbol: str, colour: str, unit: str) -> go.Scatter:
    above = [effect.ci[1] - effect.mean_diff if effect.ci and effect.mean_diff is not None else None for _, effect in rows]
    return go.Scatter(
        x=[effect.mean_diff for _, effect in rows],
        y=[name for name, _ in rows],
        name=label,
        mode="markers",
        marker={"color": colour, "size": 10, "symbol": symbol},
        error_x=_bars(above, width=6),
        customdata=[_escape("; ".join(part for part in (numbers_of(effect, unit=unit), effect.note) if part)) for _, effect in rows],
        hovertemplate="%{y}<br>%{customdata}<extra></extra>",
        showlegend=True,
    )


def _curve_traces(table: pd.DataFrame, *, name: str, colour: str, dash: str) -> Iterable[go.Scatter]:
    if table.shape[1] > 1:
        for trial in table.columns:
            line = table[trial].dropna()
            yield go.Scatter(
                x=line.index.tolist(),
                y=line.tolist(),
                mode="lines",
                line={"color": colour, "width": 1},
                opacity=0.35,
                name=_escape(trial),
                legendgroup=name,
                showlegend=False,
                hovertemplate="step %{x}<br>%{y:.5g}",
            )
    mean = table.dropna().mean(axis=1)
    yield go.Scatter(
        x=mean.index.tolist(),
        y=mean.tolist(),
        mode="lines",
        line={"color": colour, "width": 2.5, "dash": dash},
        name=name,
        legendgroup=name,
        showlegend=True,
        hovertemplate=f"step %{{x}}<br>%{{y:.5g}}, mean of {table.shape[1]}",
    )


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
            fillcolor=_transparent(colour, 0.18),
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
    inside = [size for size in (low, *grid, high) if low <= size <= high]
    pieces: list[tuple[list[float], str, str]] = [
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
            name=_escape(label),
            legendgroup=label,
            showlegend=label not in [other[2] for other in drawn[:index]],
            hovertemplate=f"N %{{x:.3s}}<br>%{{y:.3g}}<br>{_escape(published.source)}<extra></extra>",
        )


def _law_points(fit: LawFit, excluded: Iterable[Optimum], *, colour: str, ink: str) -> Iterable[go.Scatter]:
    rates = [optimum.lr or float("nan") for optimum in fit.used]
    errors = [optimum.se_ln for optimum in fit.used]
    yield go.Scatter(
        x=[optimum.n_params for optimum in fit.used],
        y=rates,
        mode="markers",
        marker={"color": colour, "size": 11, "symbol": "circle", "line": {"width": 1, "color": ink}},
        error_y=_bars(
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
        error_y=_bars([above], minus=[below], width=7),
        name=said,
        hovertemplate=f"{said}<extra></extra>",
        showlegend=True,
    )


def _bars(plus: Sequence[float | None], *, minus: Sequence[float | None] | None = None, width: int = 4) -> dict[str, Any] | None:
    """Error bars, or none at all: plotly draws the caps of a missing one."""
    if all(length is None for length in plus):
        return None
    sides = {} if minus is None else {"symmetric": False, "arrayminus": list(minus)}
    return {"type": "data", "array": list(plus), "thickness": 1.5, "width": width, **sides}


def _layout(title: str, *, simulated: bool, dark: bool, height: int = 440) -> go.Layout:
    text = ("simulated: " if simulated else "") + title
    return go.Layout(template=_template(dark), title={"text": _escape(text)}, height=height, showlegend=True)


def _template(dark: bool) -> go.layout.Template:
    """The one template; backgrounds are the page's own."""
    grid = "#3d444d" if dark else "#dfe3e8"
    axis = {
        "gridcolor": grid,
        "linecolor": _ink(dark),
        "zeroline": False,
        "ticks": "outside",
        "automargin": True,
        "title": {"standoff": 12},
    }
    return go.layout.Template(
        layout={
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": _ink(dark)},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(DARK if dark else LIGHT),
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 60, "r": 20, "t": 60, "b": 50},
            "legend": {"orientation": "v", "font": {"size": 12}},
            "hoverlabel": {"bgcolor": "#161b22" if dark else "#ffffff", "font": {"color": _ink(dark)}},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#8b949e", "activecolor": _ink(dark)},
            "title": {"x": 0, "xref": "container", "xanchor": "left", "pad": {"l": 10}, "font": {"size": 16}},
        }
    )


def _level_axis(labels: "pd.Series[Any]", *, title: str, numeric: bool) -> dict[str, Any]:
    """Numbers on a numeric scale, logarithmic over more than a factor of 20; labels in their order."""
    if not numeric:
        return {
            "title_text": _escape(title),
            "type": "category",
            "categoryorder": "array",
            "categoryarray": list(dict.fromkeys(labels.map(_label))),
        }
    found = sorted({float(value) for value in labels})
    scale: Literal["log", "linear"] = "log" if found and found[0] > 0 and found[-1] > 20 * found[0] else "linear"
    ticks = {"tickvals": found, "ticktext": [f"{value:g}".replace("e-0", "e-") for value in found]} if len(found) <= 8 else {}
    return {"title_text": _escape(title), "type": scale, **ticks}


def _log_ticks(values: "pd.Series[float]") -> dict[str, Any]:
    """Powers of ten alone leave a narrow grid of rates with a single tick."""
    if values.empty:
        return {}
    low, high = log10(float(values.min())), log10(float(values.max()))
    return {"exponentformat": "power", "dtick": 1 if high - low > 3 else "D2"}


def _size_ticks(grid: "np.ndarray[Any, Any]") -> dict[str, Any]:
    low, high = int(np.floor(np.log10(grid[0]))), int(np.ceil(np.log10(grid[-1])))
    values = [scale * 10.0**power for power in range(low, high + 1) for scale in ((1, 3) if high - low <= 5 else (1,))]
    return {"tickvals": values, "ticktext": [size_label(value) for value in values]}


def _is_numeric(labels: "pd.Series[Any]") -> bool:
    return bool(len(labels)) and all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool) and value == value for value in labels
    )


def _effect_name(effect: Effect, *, metric: bool) -> str:
    name = f"{effect.axis}: {effect.level} against {effect.baseline}" + (f", {effect.metric}" if metric else "")
    return _escape(f"{name} (n = {effect.n})")


def _unique(names: Sequence[str]) -> list[str]:
    """Two rows of one name would fall onto one another."""
    return [name + "\u200b" * names[:index].count(name) for index, name in enumerate(names)]


def _label(value: object) -> str:
    return _escape("–" if value is None or value != value else value)


def _escape(text: object) -> str:
    """Quotes stay: plotly knows no entity for them, and nothing here is an attribute."""
    return html_escape(str(text), quote=False)


def _with_unit(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _steps(colours: Sequence[str]) -> list[list[Any]]:
    share = 1 / len(colours)
    return [[edge, colour] for index, colour in enumerate(colours) for edge in (index * share, min(1.0, (index + 1) * share))]


def _transparent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _colour(index: int, *, dark: bool) -> str:
    return _turn(DARK if dark else LIGHT, index)


def _turn(choices: Sequence[str], index: int) -> str:
    return choices[index % len(choices)]


def _ink(dark: bool) -> str:
    return "#e6edf3" if dark else "#1f2328"
