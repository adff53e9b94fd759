"""Data mixes become figures: what was measured on a triangle, and the fitted law of the mix with the mix that it holds best."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ablate.analysis.columns import all_numbers
from ablate.analysis.mixture_laws import MixtureLaw
from ablate.analysis.mixture_optimum import BestMixture
from ablate.errors import InputError
from ablate.level_means import level_means
from ablate.plot_style import (
    DASHES,
    SYMBOLS,
    add_notes,
    escape,
    ink_colour,
    layout,
    level_label,
    series_colour,
    turn,
    value_scale,
    with_seeds,
    with_unit,
)
from ablate.quantities import interval_text
from ablate.shares import read_shares

STEPS = 40
"""Of a share, from 0 to 1, on the surface of a law."""
DOMAIN = {"x": [0.14, 0.9], "y": [0.12, 0.94]}
"""Of the triangle: its corners are named outside of it."""
TICKS = {"tickformat": ".0%", "tickvals": [0.2, 0.4, 0.6, 0.8]}
"""Of a side of the triangle: its ends would lie on one another and on the corners' names."""
EXTRAPOLATED = ("beyond the edge", "outside those tried")
"""In the notes of a best mix, `mixture_optimum.edges`."""
NO_SHARE = 5e-5
"""A share below it is shown as 0."""


def ternary(
    results: pd.DataFrame,
    *,
    axis: str,
    sources: Sequence[str],
    metric: str,
    goal: str = "max",
    others: Sequence[str] = (),
    unit: str = "",
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Mixes of three sources as points coloured by the mean over seeds; a star is the best mean measured.

    `sources`: in the order of the mixes' ratios. Raises InputError unless there are three.
    """
    _three(sources)
    found = level_means(results, by=[axis], metric=metric, others=others)
    colours = _colour_axis(with_unit(metric, unit), goal=goal, dark=dark)
    figure = _triangle(f"{metric} by {axis}", sources=sources, colours=colours, simulated=simulated, dark=dark)
    table = found.table
    if table.empty:
        return figure
    shares = pd.DataFrame([read_shares(mix, sources) for mix in table[0]])
    best = int(table["mean"].to_numpy(dtype=float).argmin() if goal == "min" else table["mean"].to_numpy(dtype=float).argmax())
    said = [f"{level_label(mix)}<br>{words}" for mix, words in zip(table[0], with_seeds(table), strict=True)]
    marker = {
        "color": table["mean"].tolist(),
        "symbol": ["star" if place == best else "circle" for place in range(len(table))],
        "size": [18 if place == best else 13 for place in range(len(table))],
        "line": {"width": 1, "color": ink_colour(dark)},
        "coloraxis": "coloraxis",
    }
    figure.add_trace(_points(shares, marker=marker, name="mean over seeds", said=said, values=table["mean"].tolist()))
    return add_notes(figure, [f"{found.note[:1].upper()}{found.note[1:]}."] if found.note else [])


def mixture_surface(
    law: MixtureLaw,
    best: BestMixture,
    *,
    at: Mapping[str, float] | None = None,
    runs: pd.DataFrame | None = None,
    unit: str = "",
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """The law over all mixes of three sources, the best mix as a star, and 95 % intervals of its shares as lines through it.

    `at`: n_params and tokens, where the law has a term for them. `runs`: what it was fitted to, a column a source and the metric.
    Raises InputError unless there are three sources; `mixture_profiles` draws any number.
    """
    _three(law.sources)
    sizes = dict(at or {})
    colours = _colour_axis(with_unit(law.metric, unit), goal=law.goal, dark=dark)
    title = f"{law.metric}: law of the mix, {law.form} form"
    figure = _triangle(title, sources=law.sources, colours=colours, simulated=simulated, dark=dark)
    mixes = list(_lattice(law.sources))
    grid = pd.DataFrame(mixes)
    values = [law.value(mix, **sizes) for mix in mixes]
    marker = {"color": values, "symbol": "hexagon", "size": 11, "opacity": 0.9, "coloraxis": "coloraxis"}
    figure.add_trace(_points(grid, marker=marker, name="fitted law", said=[""] * len(grid), values=values).update(cliponaxis=True))
    if runs is not None:
        figure.add_trace(_tried(runs, law=law, dark=dark))
    for trace in (*_shares_intervals(best, dark=dark), _star(best, dark=dark)):
        figure.add_trace(trace)
    return add_notes(figure, _best_said(best))


def mixture_profiles(
    law: MixtureLaw,
    best: BestMixture,
    *,
    at: Mapping[str, float] | None = None,
    unit: str = "",
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """The law along one source at a time, the others in the best mix's proportions; a marker at the best share with its interval."""
    sizes = dict(at or {})
    figure = go.Figure(layout=layout(f"{law.metric} along each source, {law.form} form", simulated=simulated, dark=dark))
    for index, source in enumerate(law.sources):
        colour = series_colour(index, dark=dark)
        grid = np.linspace(0, 1, STEPS + 1).tolist()
        line = {"color": colour, "width": 2, "dash": turn(DASHES, index)}
        values = [law.value(_along(best, source, share), **sizes) for share in grid]
        said = f"{escape(source)} %{{x:.1%}}<br>%{{y:.5g}}<extra></extra>"
        figure.add_trace(go.Scatter(x=grid, y=values, mode="lines", name=escape(source), line=line, hovertemplate=said, showlegend=True))
        for trace in _best_share(best, source, value=law.value(best.proportions, **sizes), index=index, dark=dark):
            figure.add_trace(trace)
    figure.update_xaxes(title_text="share of the source", tickformat=".0%", range=[-0.02, 1.02])
    figure.update_yaxes(title_text=escape(with_unit(law.metric, unit)))
    return add_notes(figure, _best_said(best))


def _three(sources: Sequence[str]) -> None:
    if len(sources) != 3:
        raise InputError(f"a triangle shows mixes of three sources, found {len(sources)}: {', '.join(sources) or 'none'}")


def _triangle(title: str, *, sources: Sequence[str], colours: Mapping[str, Any], simulated: bool, dark: bool) -> go.Figure:
    figure = go.Figure(layout=layout(title, simulated=simulated, dark=dark, height=500))
    grid = "#3d444d" if dark else "#dfe3e8"
    sides = {
        f"{letter}axis": {"title": {"text": escape(source)}, "gridcolor": grid, "linecolor": ink_colour(dark)} | TICKS
        for letter, source in zip("abc", sources, strict=True)
    }
    return figure.update_layout(coloraxis=dict(colours), ternary={"sum": 1, "bgcolor": "rgba(0,0,0,0)", "domain": DOMAIN, **sides})


def _points(
    shares: pd.DataFrame, *, marker: Mapping[str, Any], name: str, said: Sequence[str], values: Sequence[float]
) -> go.Scatterternary:
    first, second, third = shares.columns
    parts = "<br>".join(f"{escape(source)} %{{{letter}:.1%}}" for letter, source in zip("abc", shares.columns, strict=True))
    return go.Scatterternary(
        a=shares[first].tolist(),
        b=shares[second].tolist(),
        c=shares[third].tolist(),
        mode="markers",
        cliponaxis=False,
        marker=dict(marker),
        name=name,
        customdata=[[value, words] for value, words in zip(values, said, strict=True)],
        hovertemplate=f"{parts}<br>%{{customdata[0]:.5g}}<br>%{{customdata[1]}}<extra>{name}</extra>",
        showlegend=False,
    )


def _colour_axis(title: str, *, goal: str, dark: bool) -> dict[str, Any]:
    """Bright is good."""
    bar = {"title": {"text": escape(title)}, "thickness": 14}
    return {"colorscale": value_scale(dark), "reversescale": goal == "min", "colorbar": bar}


def _lattice(sources: Sequence[str]) -> Iterable[dict[str, float]]:
    for first in range(STEPS + 1):
        for second in range(STEPS + 1 - first):
            parts = (first, second, STEPS - first - second)
            yield {source: part / STEPS for source, part in zip(sources, parts, strict=True)}


def _tried(runs: pd.DataFrame, *, law: MixtureLaw, dark: bool) -> go.Scatterternary:
    """The mixes that the law was fitted to, each in the colour of its runs' mean."""
    columns = all_numbers(runs, [*law.sources, law.metric])
    means = pd.DataFrame(columns).groupby(list(law.sources), sort=False)[law.metric].agg(["mean", "size"]).reset_index()
    line = {"width": 2, "color": ink_colour(dark)}
    marker = {"color": means["mean"].tolist(), "coloraxis": "coloraxis", "size": 11, "symbol": "circle", "line": line}
    said = [f"measured, mean of {size}" for size in means["size"]]
    name = "mixes tried"
    return _points(means[list(law.sources)], marker=marker, name=name, said=said, values=means["mean"].tolist()).update(showlegend=True)


def _star(best: BestMixture, *, dark: bool) -> go.Scatterternary:
    symbol = "star-open" if any(phrase in note for phrase in EXTRAPOLATED for note in best.notes) else "star"
    marker = {
        "color": series_colour(1, dark=dark),
        "size": 18,
        "symbol": symbol,
        "line": {"width": 2, "color": series_colour(1, dark=dark)},
    }
    shares = pd.DataFrame([best.proportions])
    value = float("nan") if best.value is None else best.value
    return _points(shares, marker=marker, name="best mix of the law", said=[""], values=[value]).update(showlegend=True)


def _shares_intervals(best: BestMixture, *, dark: bool) -> Iterable[go.Scatterternary]:
    ends = {source: pair for source, pair in (best.intervals or {}).items() if pair is not None}
    for index, (source, pair) in enumerate(ends.items()):
        mixes = pd.DataFrame([_along(best, source, share) for share in pair])
        first, second, third = mixes.columns
        yield go.Scatterternary(
            a=mixes[first].tolist(),
            b=mixes[second].tolist(),
            c=mixes[third].tolist(),
            mode="lines",
            line={"color": series_colour(1, dark=dark), "width": 3, "dash": turn(DASHES, index)},
            name=f"95 % interval of {escape(source)}",
            hoverinfo="name",
            showlegend=True,
        )


def _along(best: BestMixture, source: str, share: float) -> dict[str, float]:
    """The best mix with another share of one source and the others in their proportions, equal ones where they have none."""
    others = {name: part for name, part in best.proportions.items() if name != source}
    total = sum(others.values())
    parts = {name: part / total if total > 0 else 1 / len(others) for name, part in others.items()}
    return {name: share if name == source else (1 - share) * parts[name] for name in best.proportions}


def _best_share(best: BestMixture, source: str, *, value: float, index: int, dark: bool) -> Iterable[go.Scatter]:
    share, pair = best.proportions[source], (best.intervals or {}).get(source)
    colour, said = series_colour(index, dark=dark), f"{escape(_share_said(source, share, pair))}<extra></extra>"
    if pair:  # no error bar: the percentiles of the resamples may lie to one side of the fit's own share
        line = {"color": colour, "width": 5}
        name = f"95 % interval of {escape(source)}"
        yield go.Scatter(x=list(pair), y=[value, value], mode="lines", line=line, name=name, hovertemplate=said, showlegend=False)
    marker = {"color": colour, "size": 12, "symbol": turn(SYMBOLS, index), "line": {"width": 1, "color": ink_colour(dark)}}
    name = f"best share of {escape(source)}"
    yield go.Scatter(x=[share], y=[value], mode="markers", marker=marker, name=name, hovertemplate=said, showlegend=False)


def _share_said(source: str, share: float, pair: tuple[float, float] | None) -> str:
    return f"{source} {_percent(share)} %" + (f" {interval_text([max(0.0, 100 * end) for end in pair])}" if pair else "")


def _percent(share: float) -> str:
    return f"{100 * share:.3g}" if abs(share) > NO_SHARE else "0"


def _best_said(best: BestMixture) -> list[str]:
    shares = "; ".join(_share_said(source, share, (best.intervals or {}).get(source)) for source, share in best.proportions.items())
    known = "95 % intervals of each share alone" if any((best.intervals or {}).values()) else "without intervals"
    return [f"Best mix: {shares} ({known}).", *(f"{note}." for note in best.notes)]
