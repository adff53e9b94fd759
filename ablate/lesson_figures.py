"""MM1's lesson plots from the results of any study whose axes match (`lesson_match`), with what MM1 published beside them.

Of Table 1 the numbers are known and drawn; of its figures only the direction, which stands as a note with its source.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ablate import figures
from ablate.analysis.effects import USABLE
from ablate.lesson_match import LessonPlot
from ablate.level_means import LevelMeans, comparable, level_means, ordered
from ablate.metric_scales import NO_SCALES, UNKNOWN, MetricScale, scale_groups, unit_of
from ablate.mm1_reference import LESSONS, SOURCE, TABLE1
from ablate.plot_style import (
    PATTERNS,
    SYMBOLS,
    Bounds,
    add_notes,
    cut_notes,
    escape,
    ink_colour,
    interval_bars,
    layout,
    level_label,
    series_colour,
    turn,
    with_seeds,
    with_unit,
)


def lesson_figure(
    match: LessonPlot,
    results: pd.DataFrame,
    *,
    others: Sequence[str] = (),
    scales: Mapping[str, MetricScale] = NO_SCALES,
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """The plot that `matching_lessons` found. `others`: the study's other axes; where they vary, levels that all have are compared."""
    shared: dict[str, Any] = {"lessons": match.lessons, "others": others, "scales": scales, "simulated": simulated, "dark": dark}
    match match.plot:
        case "encoder_table":
            return encoder_table(results, axes=match.axes, metrics=match.metrics, published=True, **shared)
        case "connector_bars":
            return connector_bars(results, axes=match.axes, metrics=match.metrics, **shared)
        case "data_panel":
            return data_panel(results, axis=match.axes[0], metrics=match.metrics, sources=match.sources, **shared)
        case "sft_curve":
            return sft_curve(results, axis=match.axes[0], metrics=match.metrics, **shared)
        case "sft_connectors":
            return sft_connectors(results, axis=match.axes[0], metric=match.metrics[0], **shared)


def encoder_table(
    results: pd.DataFrame,
    *,
    axes: Sequence[str],
    metrics: Sequence[str],
    published: bool = False,
    lessons: Sequence[str] = (),
    others: Sequence[str] = (),
    scales: Mapping[str, MetricScale] = NO_SCALES,
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """A row an encoder, a series a shot count, with t intervals over seeds; below them, if asked for, MM1's Table 1 on its own axis."""
    found = [level_means(results, by=axes, metric=metric, others=others) for metric in metrics]
    named = [each.table.assign(label=_combined(each.table, axes)) for each in found]
    rows = list(dict.fromkeys(label for table in named for label in table["label"]))
    count = len(TABLE1.rows)
    shares = [(len(rows) + 1) / (len(rows) + count + 2), (count + 1) / (len(rows) + count + 2)]
    height = 190 + 26 * len(rows) + ((130 + 26 * count) if published else 0)
    figure = go.Figure(layout=layout(f"{_family(metrics)} by encoder", simulated=simulated, dark=dark, height=height))
    figure.set_subplots(rows=2 if published else 1, cols=1, row_heights=shares if published else None, vertical_spacing=0.22)
    for index, (metric, table) in enumerate(zip(metrics, named, strict=True)):
        trace = _dots(metric, x=table["mean"], y=table["label"], said=with_seeds(table), index=index, dark=dark)
        figure.add_trace(trace.update(error_x=interval_bars(table, bounds=_bounds(metric, scales), width=5)), row=1, col=1)
    figure.update_xaxes(title_text=escape(with_unit(_family(metrics), unit_of(metrics, scales))), row=1, col=1)
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=rows[::-1], showgrid=True)
    if published:
        _add_table1(figure, dark=dark)
    return add_notes(figure, [*_said(lessons), *_notes(found, metrics, scales)])


def connector_bars(
    results: pd.DataFrame,
    *,
    axes: Sequence[str],
    metrics: Sequence[str],
    lessons: Sequence[str] = (),
    others: Sequence[str] = (),
    scales: Mapping[str, MetricScale] = NO_SCALES,
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """MM1's Figure 4: a panel a shot count; a bar a level of the first axis, such as the kind of connector, at each of the other axes."""
    found = [level_means(results, by=axes, metric=metric, others=others) for metric in metrics]
    title = f"{_family(metrics)} by {', '.join(axis.split('.')[-1] for axis in axes)}"
    drawn = layout(title, simulated=simulated, dark=dark, height=160 + 170 * len(metrics))
    figure = go.Figure(layout=drawn, layout_barmode="group")
    figure.set_subplots(rows=len(metrics), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for row, (metric, each) in enumerate(zip(metrics, found, strict=True), start=1):
        for trace in _grouped_bars(each, axes=axes, bounds=_bounds(metric, scales), dark=dark, first=row == 1):
            figure.add_trace(trace, row=row, col=1)
        figure.update_yaxes(title_text=escape(with_unit(metric, unit_of([metric], scales))), row=row, col=1)
    groups = dict.fromkeys(x for each in found for x in _combined(each.table, axes[1:], first=1, between="<br>")) if len(axes) > 1 else {}
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=list(groups) or None)
    return add_notes(figure, [*_said(lessons), *_notes(found, metrics, scales)])


def data_panel(
    results: pd.DataFrame,
    *,
    axis: str,
    metrics: Sequence[str],
    sources: Sequence[str] = (),
    lessons: Sequence[str] = (),
    others: Sequence[str] = (),
    scales: Mapping[str, MetricScale] = NO_SCALES,
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """MM1's Figure 5: a group a mix; a bar a metric, such as 0-, 4- and 8-shot scores and that on texts; a panel a unit."""
    found = [level_means(results, by=[axis], metric=metric, others=others) for metric in metrics]
    panels = scale_groups(metrics, scales)
    drawn = layout(f"Scores by {axis}", simulated=simulated, dark=dark, height=280 + 160 * len(panels))
    figure = go.Figure(layout=drawn, layout_barmode="group")
    figure.set_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for index, (metric, each) in enumerate(zip(metrics, found, strict=True)):
        labels = [level_label(level) for level in each.table[0]]
        bar = _bar(escape(metric), x=labels, table=each.table, bounds=_bounds(metric, scales), index=index, dark=dark)
        figure.add_trace(bar, row=1 + next(place for place, panel in enumerate(panels) if metric in panel), col=1)
    levels = [level_label(level) for level in ordered(results[axis])]
    title = f"{axis} ({':'.join(sources)})" if sources else axis
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=levels)
    figure.update_xaxes(title_text=escape(title), row=len(panels), col=1)
    for row, panel in enumerate(panels, start=1):
        figure.update_yaxes(title_text=escape(with_unit("score" if len(panel) > 1 else panel[0], unit_of(panel, scales))), row=row, col=1)
    return add_notes(figure, [*_said(lessons), *_notes(found, metrics, scales)])


def sft_curve(
    results: pd.DataFrame,
    *,
    axis: str,
    metrics: Sequence[str],
    lessons: Sequence[str] = (),
    others: Sequence[str] = (),
    scales: Mapping[str, MetricScale] = NO_SCALES,
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """MM1's Figure 7 b and c: scores after fine-tuning against resolution or pre-training steps, with t intervals over seeds."""
    done = results[results["state"].isin(USABLE)] if "state" in results else results
    kept, note = comparable(done, by=[axis], others=others)
    notes = [*_said(lessons), *([_sentence(note)] if note else [])]
    return figures.score_by_level(kept, axis=axis, metrics=metrics, scales=scales, notes=notes, simulated=simulated, dark=dark)


def sft_connectors(
    results: pd.DataFrame,
    *,
    axis: str,
    metric: str,
    lessons: Sequence[str] = (),
    others: Sequence[str] = (),
    scales: Mapping[str, MetricScale] = NO_SCALES,
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """MM1's Figure 10: the score after fine-tuning by kind of connector, a bar each."""
    return data_panel(
        results, axis=axis, metrics=[metric], lessons=lessons, others=others, scales=scales, simulated=simulated, dark=dark
    ).update_layout(showlegend=False, title_text=escape(("simulated: " if simulated else "") + f"{metric} after fine-tuning by {axis}"))


def _add_table1(figure: go.Figure, *, dark: bool) -> None:
    labels = [escape(row.label) for row in TABLE1.rows]
    for index, shots in enumerate(TABLE1.rows[0].shots):
        said = [f"encoder trained on {escape(row.encoder_data)}, {escape(row.objective)}" for row in TABLE1.rows]
        values = pd.Series([row.shots[shots] for row in TABLE1.rows])
        trace = _dots(f"MM1, {shots}-shot", x=values, y=labels, said=said, index=index, dark=dark)
        open_symbol = f"{turn(SYMBOLS, index)}-open"
        figure.add_trace(trace.update(marker={"symbol": open_symbol, "line": {"width": 2}}), row=2, col=1)
    figure.update_yaxes(categoryarray=labels[::-1], row=2, col=1)
    figure.update_xaxes(title_text=escape(TABLE1.unit), row=2, col=1)
    figure.add_annotation(
        text=escape(f"Published: {TABLE1.source}"),
        showarrow=False,
        font={"size": 13, "color": ink_colour(dark)},
        **{"xref": "paper", "x": 1, "xanchor": "right", "yref": "y2 domain", "y": 1, "yanchor": "bottom", "yshift": 4},
    )


def _dots(name: str, *, x: "pd.Series[Any]", y: Iterable[str], said: Sequence[str], index: int, dark: bool) -> go.Scatter:
    return go.Scatter(
        x=x.tolist(),
        y=list(y),
        name=escape(name),
        mode="markers",
        marker={"color": series_colour(index, dark=dark), "size": 10, "symbol": turn(SYMBOLS, index)},
        customdata=list(said),
        hovertemplate="%{y}<br>%{x:.5g}<br>%{customdata}<extra></extra>",
        showlegend=True,
    )


def _grouped_bars(each: LevelMeans, *, axes: Sequence[str], bounds: Bounds, dark: bool, first: bool) -> Iterable[go.Bar]:
    """A series a level of the first axis. The legend names it once for all panels."""
    for index, level in enumerate(ordered(each.table[0])):
        table = each.table[each.table[0].isna()] if level != level or level is None else each.table[each.table[0] == level]
        at = _combined(table, axes[1:], first=1, between="<br>") if len(axes) > 1 else [level_label(level)] * len(table)
        name = level_label(level) if isinstance(level, str) else f"{escape(axes[0])} {level_label(level)}"
        bar = _bar(name, x=at, table=table, bounds=bounds, index=index, dark=dark)
        yield bar.update(showlegend=first, legendgroup=bar.name)


def _bar(name: str, *, x: Sequence[str], table: pd.DataFrame, bounds: Bounds, index: int, dark: bool) -> go.Bar:
    """`name` and `x` are escaped already."""
    return go.Bar(
        x=list(x),
        y=table["mean"].tolist(),
        name=name,
        marker={"color": series_colour(index, dark=dark), "pattern": _pattern(index, dark=dark)},
        error_y=(interval_bars(table, bounds=bounds) or {}) | {"color": ink_colour(dark)},
        customdata=with_seeds(table),
        hovertemplate="%{x}<br>mean %{y:.5g}<br>%{customdata}<extra></extra>",
        showlegend=True,
    )


def _pattern(index: int, *, dark: bool) -> dict[str, Any]:
    return {
        "shape": turn(PATTERNS, index),
        "fillmode": "overlay",
        "fgcolor": ink_colour(dark),
        "fgopacity": 0.6,
        "size": 7,
        "solidity": 0.2,
    }


def _combined(table: pd.DataFrame, axes: Sequence[str], *, first: int = 0, between: str = ", ") -> list[str]:
    """The levels of a row as one label, numbers with the name of their field: `contrastive, image_size 16`."""
    names = [axis.split(".")[-1] for axis in axes]
    columns = [table[first + place] for place in range(len(axes))]
    return [
        between.join(level_label(level) if isinstance(level, str) else f"{escape(name)} {level_label(level)}" for name, level in pairs)
        for pairs in (list(zip(names, levels, strict=True)) for levels in zip(*columns, strict=True))
    ]


def _family(metrics: Sequence[str]) -> str:
    """`few_shot/0, 4, 8`."""
    stem = metrics[0].rpartition("/")[0]
    same = stem and all(metric.rpartition("/")[0] == stem for metric in metrics)
    return f"{stem}/{', '.join(metric.rpartition('/')[2] for metric in metrics)}" if same else ", ".join(metrics)


def _said(lessons: Sequence[str]) -> list[str]:
    """Which lessons, and where MM1 has them; of several their ids alone, since each plot of a study would repeat their words."""
    if not lessons:
        return []
    shown = list(dict.fromkeys(LESSONS[name].figure for name in lessons))
    where = shown[0] + "".join(f", {figure.removeprefix('Figure ')}" for figure in shown[1:])
    only = LESSONS[lessons[0]]
    return [f"MM1, {where} ({SOURCE}): {f'{only.axis}: {only.expect}' if len(lessons) == 1 else ', '.join(lessons)}"]


def _notes(found: Sequence[LevelMeans], metrics: Sequence[str], scales: Mapping[str, MetricScale]) -> list[str]:
    drawn = [(metric, each.table, _bounds(metric, scales)) for each, metric in zip(found, metrics, strict=True)]
    return [*(_sentence(note) for note in dict.fromkeys(each.note for each in found) if note), *cut_notes(drawn)]


def _bounds(metric: str, scales: Mapping[str, MetricScale]) -> Bounds:
    return scales.get(metric, UNKNOWN).bounds


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."
