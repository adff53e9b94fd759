"""Frames and records become plotly figures: pure functions, the same for the pages and the report.

Scores, effects, curves and completeness are here; `law_figures.py` has the learning rate's, `plot_style.py` what all share.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ablate.analysis.columns import numbers, plain, require_columns
from ablate.analysis.effects import USABLE, Effect
from ablate.analysis.verdicts import numbers_of
from ablate.curve_points import BANDS, THINNED, Band, Group, group_lines, placed
from ablate.level_means import over_seeds, per_seed
from ablate.metric_scales import NO_SCALES, UNKNOWN, MetricScale, unit_of
from ablate.plot_style import (
    DASHES,
    STATES,
    SYMBOLS,
    Bounds,
    add_notes,
    cut_middle,
    cut_notes,
    error_bars,
    escape,
    ink_colour,
    interval_bars,
    is_numeric,
    layout,
    level_axis,
    level_label,
    reach,
    series_colour,
    tint,
    turn,
    with_seeds,
    with_unit,
    wrapped,
)

MAX_NAMED_ARMS = 60
"""Above this many arms the completeness matrix drops the letters in its cells."""
MAX_WORDS = 4
"""Seeds up to which a cell of the completeness matrix has room for its state in full."""
ARM_WIDTH = 32
"""Characters of an arm's name beside the completeness matrix."""
MAX_THIN = 5
"""Trials of a group whose curves are drawn beside their band."""


def score_by_level(
    results: pd.DataFrame,
    *,
    axis: str,
    metrics: Sequence[str],
    scales: Mapping[str, MetricScale] = NO_SCALES,
    level: float = 0.95,
    notes: Sequence[str] = (),
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Each metric against the levels of an axis: mean and t interval over seeds, and the seeds as points. Numbers are joined by lines, thin
    ones a seed; other levels have no order, and nothing joins them.

    Where other axes vary, a seed's point is its mean over the level's arms, each arm counted at its own mean: a failed
    trial must not shift its seed towards the arms that are left.
    """
    require_columns(results, [axis, "arm", "seed"])
    done = results[results["state"].isin(USABLE)] if "state" in results else results
    require_columns(done, metrics if len(done) else ())
    numeric = is_numeric(done[axis])
    figure = go.Figure(layout=layout(f"{', '.join(metrics)} by {axis}", simulated=simulated, dark=dark))
    drawn: list[tuple[str, pd.DataFrame, Bounds]] = []
    for index, metric in enumerate(metrics):
        if done.empty:
            break
        values = done.assign(value=numbers(done, metric), label=done[axis].map(float if numeric else level_label))
        seeds = per_seed(values[np.isfinite(values["value"])], by=["label"], sort=numeric)
        if seeds.empty:
            continue
        means, bounds = over_seeds(seeds, by=["label"], level=level), scales.get(metric, UNKNOWN).bounds
        drawn.append((metric, means, bounds))
        style = _ScoreStyle(metric, series_colour(index, dark=dark), turn(SYMBOLS, index), numeric)
        figure.add_traces(_score_traces(seeds, means, bounds=bounds, style=style))
    if not numeric and len(drawn) > 1:  # beside one another, or their intervals would hide one another
        figure.update_layout(scattermode="group", scattergap=0.4, yaxis_range=reach(figure.data))
    figure.update_xaxes(**level_axis(done[axis], title=axis, numeric=numeric))
    figure.update_yaxes(title_text=escape(with_unit(metrics[0] if len(metrics) == 1 else "score", unit_of(metrics, scales))))
    return add_notes(figure, [*notes, *cut_notes(drawn)])


def effects_forest(effects: Iterable[Effect], *, unit: str = "", simulated: bool = False, dark: bool = False) -> go.Figure:
    """One row an effect, the first on top; an open marker is a difference without an interval."""
    shown = [effect for effect in effects if effect.mean_diff is not None]
    several = len({effect.metric for effect in shown}) > 1
    names = _unique([_effect_name(effect, metric=several) for effect in shown])
    title = "Effects against the baseline" + ("" if several or not shown else f", {shown[0].metric}")
    figure = go.Figure(
        layout=layout(
            title, simulated=simulated, dark=dark, height=150 + sum(14 + 16 * _lines(name) for name in names) + 30 * max(0, 3 - len(names))
        )
    )
    for index, (label, kept, symbol) in enumerate((("95 % interval", True, "circle"), ("no interval", False, "circle-open"))):
        rows = [(name, effect) for name, effect in zip(names, shown, strict=True) if (effect.ci is not None) == kept]
        if rows:
            figure.add_trace(_forest_trace(rows, label=label, symbol=symbol, colour=series_colour(index, dark=dark), unit=unit))
    figure.add_vline(x=0, line={"dash": "dash", "width": 1, "color": ink_colour(dark)})
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], automargin=True, showgrid=False)
    metric = "difference" if several or not shown else f"difference in {shown[0].metric}"
    figure.update_xaxes(title_text=escape(with_unit(metric, unit)))
    return figure


def curves(
    frame: pd.DataFrame,
    *,
    group_by: str,
    metric: str,
    x: str = "step",
    per_step: Mapping[str, float] | None = None,
    band: Band = "range",
    unit: str = "",
    x_unit: str = "",
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """`metric` against steps, or against `x` (`curve_points.placed`): a thick line and a band a group, a thin line a trial where few.

    The mean and its band go as far as all trials of the group have come. `curves_caption` says what is drawn.
    """
    require_columns(frame, [group_by, "trial", "metric", "step", "value"])
    points = placed(frame, metric=metric, x=x, per_step=per_step)
    figure = go.Figure(layout=layout(f"{metric} while training, by {group_by}", simulated=simulated, dark=dark))
    thinned = False
    for index, (name, rows) in enumerate(points.groupby(group_by, sort=False)):
        group = group_lines(rows, band=band)
        thinned |= group.thinned
        for trace in _curve_traces(
            group, name=wrapped(name), x=escape(x), colour=series_colour(index, dark=dark), dash=turn(DASHES, index)
        ):
            figure.add_trace(trace)
    figure.update_xaxes(title_text=escape(with_unit(x, x_unit)))
    figure.update_yaxes(title_text=escape(with_unit(metric, unit)))
    return add_notes(figure, [THINNED] if thinned else [])


def curves_caption(*, band: Band = "range") -> str:
    """What the lines of `curves` are."""
    drawn = f"Thick: mean over seeds, as far as all of a group's seeds have come. {BANDS[band]}".strip()
    return f"{drawn} Thin, in groups of up to {MAX_THIN}: seeds."


def completeness(results: pd.DataFrame, *, simulated: bool = False, dark: bool = False) -> go.Figure:
    """Arms down, seeds across, coloured by the trial's state, which stands in the cell: its letter where there are many seeds. A gap is a
    trial that is not planned. Long names are cut in their middle; pointing at a row says them whole."""
    require_columns(results, ["arm", "seed", "state"])
    states = list(STATES)
    known = {(arm, seed): state for arm, seed, state in zip(*(plain(results[key]) for key in ("arm", "seed", "state")), strict=True)}
    rows, columns = list(dict.fromkeys(arm for arm, _ in known)), sorted({seed for _, seed in known})
    words = [[known.get((arm, seed), "") for seed in columns] for arm in rows]
    codes = [[states.index(word) if word else None for word in row] for row in words]
    arms, seeds = [wrapped(arm) for arm in rows], [f"seed {seed}" for seed in columns]
    few, whole = len(arms) <= MAX_NAMED_ARMS, len(columns) <= MAX_WORDS
    height = min(2000, 170 + (24 if few else 8) * len(arms))
    figure = go.Figure(layout=layout("Trials by state", simulated=simulated, dark=dark, height=height))
    figure.add_trace(
        go.Heatmap(
            x=seeds,
            y=arms,
            z=np.array(codes, dtype=object),  # plotly copies nested lists value by value
            zmin=-0.5,
            zmax=len(states) - 0.5,
            colorscale=_steps(list(STATES.values())),
            showscale=False,
            xgap=2,
            ygap=2 if few else 0,
            text=[[_in_cell(word, whole=whole) for word in row] for row in words] if few else None,
            texttemplate="%{text}" if few else None,
            textfont={"color": "#000000"},
            customdata=np.array(words, dtype=object),
            hovertemplate="%{y}<br>%{x}<br>%{customdata}<extra></extra>",
        )
    )
    counts = Counter(plain(results["state"]))
    for state, count in ((state, counts[state]) for state in states if state in counts):
        marker = {"symbol": "square", "size": 12, "color": STATES[state]}
        name = f"{state} ({count})" if whole or not few else f"{state[:1]}: {state} ({count})"
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=name, marker=marker, hoverinfo="skip"))
    figure.update_layout(showlegend=True)
    every = -(-len(arms) // MAX_NAMED_ARMS) or 1
    figure.update_yaxes(tickvals=arms[::every], ticktext=[escape(cut_middle(arm, ARM_WIDTH)) for arm in rows[::every]])
    figure.update_xaxes(side="top", showgrid=False, type="category")
    figure.update_yaxes(autorange="reversed", automargin=True, showgrid=False, type="category")
    return figure


def _in_cell(state: str, *, whole: bool) -> str:
    said = state if whole else state[:1]
    return f"<span style='color:#ffffff'>{said}</span>" if state == "lost" else said  # black on its brown is not to be read


class _ScoreStyle(NamedTuple):
    """Of one metric."""

    metric: str
    colour: str
    symbol: str
    joined: bool
    """By lines."""


def _score_traces(seeds: pd.DataFrame, means: pd.DataFrame, *, bounds: Bounds, style: _ScoreStyle) -> list[go.Scatter]:
    metric, colour, symbol, joined = style
    mode = "lines+markers" if joined else "markers"
    group = {} if joined else {"offsetgroup": escape(metric)}
    paired: list[tuple[Any, float | None, str]] = []
    for seed, own in seeds.groupby("seed", sort=False):
        paired += [(label, value, f"seed {escape(seed)}") for label, value in zip(own["label"], own["value"], strict=True)]
        paired.append((own["label"].iloc[-1], None, ""))  # the pen is lifted between two seeds
    points = go.Scatter(
        x=[label for label, _, _ in paired],
        y=[value for _, value, _ in paired],
        mode=mode,
        line={"color": colour, "width": 1},
        opacity=0.4,
        marker={"color": colour, "size": 6, "symbol": symbol},
        customdata=[said for _, _, said in paired],
        hovertemplate="%{x}<br>%{y:.5g}<br>%{customdata}<extra></extra>",
        legendgroup=escape(metric),
        showlegend=False,
        **group,
    )
    summary = go.Scatter(
        x=means["label"].tolist(),
        y=means["mean"].tolist(),
        name=escape(metric),
        mode=mode,
        line={"color": colour, "width": 2},
        marker={"color": colour, "size": 10, "symbol": symbol},
        error_y=interval_bars(means, bounds=bounds, width=5),
        customdata=with_seeds(means),
        hovertemplate="%{x}<br>mean %{y:.5g}<br>%{customdata}<extra></extra>",
        legendgroup=escape(metric),
        showlegend=True,
        **group,
    )
    return [points, summary]


def _forest_trace(rows: Sequence[tuple[str, Effect]], *, label: str, symbol: str, colour: str, unit: str) -> go.Scatter:
    above = [effect.ci[1] - effect.mean_diff if effect.ci and effect.mean_diff is not None else None for _, effect in rows]
    return go.Scatter(
        x=[effect.mean_diff for _, effect in rows],
        y=[name for name, _ in rows],
        name=label,
        mode="markers",
        marker={"color": colour, "size": 10, "symbol": symbol},
        error_x=error_bars(above, width=6),
        customdata=[escape("; ".join(part for part in (numbers_of(effect, unit=unit), effect.note) if part)) for _, effect in rows],
        hovertemplate="%{y}<br>%{customdata}<extra></extra>",
        showlegend=True,
    )


def _effect_name(effect: Effect, *, metric: bool) -> str:
    name = f"{effect.axis}: {effect.level} against {effect.baseline}" + (f", {effect.metric}" if metric else "")
    return wrapped(f"{name} (n = {effect.n})", 60)


def _unique(names: Sequence[str]) -> list[str]:
    """Two rows of one name would fall onto one another."""
    return [name + "\u200b" * names[:index].count(name) for index, name in enumerate(names)]


def _curve_traces(group: Group, *, name: str, x: str, colour: str, dash: str) -> Iterable[go.Scatter]:
    shared: dict[str, Any] = {"mode": "lines", "legendgroup": name, "showlegend": False}
    if group.low.x:  # arrays, because plotly looks at each value of a list
        outline = {"x": np.array([*group.low.x, *group.high.x[::-1]]), "y": np.array([*group.low.y, *group.high.y[::-1]])}
        yield go.Scatter(
            **outline, **shared, fill="toself", fillcolor=tint(colour, 0.16), line={"width": 0}, hoverinfo="skip", name=f"{name}, band"
        )
    if 1 < len(group.trials) <= MAX_THIN:
        for trial, line in group.trials.items():
            yield go.Scatter(
                x=np.array(line.x),
                y=np.array(line.y),
                line={"color": colour, "width": 1},
                opacity=0.35,
                name=escape(trial),
                hovertemplate=f"{x} %{{x}}<br>%{{y:.5g}}",
                **shared,
            )
    yield go.Scatter(
        x=np.array(group.mean.x),
        y=np.array(group.mean.y),
        line={"color": colour, "width": 2.5, "dash": dash},
        name=name,
        hovertemplate=f"{x} %{{x}}<br>%{{y:.5g}}, mean of {len(group.trials)}",
        **(shared | {"showlegend": True}),
    )


def _lines(label: str) -> int:
    return label.count("<br>") + 1


def _steps(colours: Sequence[str]) -> list[list[Any]]:
    share = 1 / len(colours)
    return [[edge, colour] for index, colour in enumerate(colours) for edge in (index * share, min(1.0, (index + 1) * share))]
