"""What two factors do together, and how much each of all does, become plotly figures: from results and from analyses of designs."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ablate.analysis.factors import FactorEffects, Term
from ablate.analysis.importance import Importance
from ablate.level_means import level_means, ordered
from ablate.plot_style import (
    DASHES,
    PATTERNS,
    SYMBOLS,
    add_notes,
    error_bars,
    escape,
    half_bars,
    ink_colour,
    is_numeric,
    layout,
    level_axis,
    level_label,
    reach,
    series_colour,
    turn,
    value_scale,
    with_seeds,
    with_unit,
)

SHARES = "Share of the sum of squares between the trials of a seed"


def interaction(
    results: pd.DataFrame,
    *,
    axis_a: str,
    axis_b: str,
    metric: str,
    others: Sequence[str] = (),
    level: float = 0.95,
    unit: str = "",
    simulated: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Means with t intervals over seeds: a series a level of `axis_b` over the levels of `axis_a`. Numbers are joined by lines; parallel
    ones are no interaction; other levels have no order, and nothing joins them.

    `others`: the study's other axes; where they vary, the cells are compared at those of their levels that all have.
    """
    found = level_means(results, by=[axis_a, axis_b], metric=metric, others=others, level=level)
    table = found.table
    numeric = is_numeric(table[0])
    figure = go.Figure(layout=layout(f"{metric} by {axis_a} and {axis_b}", simulated=simulated, dark=dark))
    levels = ordered(table[0])
    places = {level_label(name): place for place, name in enumerate(levels)}
    table = table.assign(place=[places[level_label(name)] for name in table[0]]).sort_values("place", kind="stable")
    names = table[1].map(level_label)
    for index, name in enumerate(dict.fromkeys(level_label(one) for one in ordered(table[1]))):
        figure.add_trace(_line(table[names == name], name=f"{escape(axis_b)} {name}", numeric=numeric, index=index, dark=dark))
    figure.update_xaxes(**level_axis(pd.Series(levels, dtype=table[0].dtype), title=axis_a, numeric=numeric))
    figure.update_yaxes(title_text=escape(with_unit(metric, unit)))
    if not numeric and figure.data:  # beside one another, or their intervals would hide one another
        figure.update_layout(scattermode="group", scattergap=0.4, yaxis_range=reach(figure.data))
    return add_notes(figure, [f"{found.note[:1].upper()}{found.note[1:]}."] if found.note else [])


def interaction_matrix(found: FactorEffects, *, simulated: bool = False, dark: bool = False) -> go.Figure:
    """The share of each two-way interaction below the diagonal, that of each main effect on it; a cell without a number says why."""
    factors = list(dict.fromkeys(name for term in found.main for name in term.factors))
    cells = _cells(found)
    shares: list[list[float | None]] = []
    texts, said = [], []
    for row, first in enumerate(factors):
        pairs = [frozenset((first, second)) if column <= row else None for column, second in enumerate(factors)]
        terms = [None if pair is None else cells.get(pair) for pair in pairs]
        shares.append([None if term is None else term.share for term in terms])
        texts.append([_percent(term) if pair is not None else "" for pair, term in zip(pairs, terms, strict=True)])
        said.append([_cell_said(pair, term) if pair is not None else "" for pair, term in zip(pairs, terms, strict=True)])
    names = [escape(name) for name in factors]
    figure = go.Figure(
        layout=layout(f"Main effects and interactions on {found.metric}", simulated=simulated, dark=dark, height=200 + 44 * len(factors))
    )
    figure.add_trace(
        go.Heatmap(
            x=names,
            y=names,
            z=shares,
            zmin=0,
            zmax=max((share for row in shares for share in row if share is not None), default=1.0) or 1.0,
            colorscale=value_scale(dark),
            reversescale=not dark,
            colorbar={"title": {"text": "share"}, "tickformat": ".0%", "thickness": 14},
            xgap=2,
            ygap=2,
            text=texts,
            texttemplate="%{text}",
            customdata=said,
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
        )
    )
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return add_notes(figure, [f"{SHARES}: main effects on the diagonal, two-way interactions below it.", *_aliases(found)])


def importance_bars(
    found: FactorEffects | None, *, forest: Importance | None = None, metric: str = "", simulated: bool = False, dark: bool = False
) -> go.Figure:
    """The designed sums of squares of each term with their intervals, and beside them fANOVA's importance with its spread over forests."""
    terms = [] if found is None else sorted((*found.main, *found.interactions), key=lambda term: -(term.share or 0.0))
    forests = () if forest is None else forest.factors
    rows = list(dict.fromkeys([*(term.name for term in terms), *(one.factor for one in forests)]))
    of = metric or (found.metric if found else forest.metric if forest else "")
    height = 190 + (24 if forest is None else 36) * max(len(rows), 2)
    figure = go.Figure(layout=layout(f"What moves {of}", simulated=simulated, dark=dark, height=height), layout_barmode="group")
    if terms:
        figure.add_trace(_designed(terms, dark=dark))
    chances = [(term.name, term.chance) for term in terms if term.chance is not None]
    if chances:
        figure.add_trace(_chance(chances, dark=dark))
    if forest is not None:
        figure.add_trace(_forest_bars(forest, dark=dark))
    figure.update_xaxes(title_text="share", tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=[escape(name) for name in rows[::-1]], showgrid=False)
    notes = [f"{SHARES}; the lines are 95 % intervals."] if terms else []
    notes += [f"fANOVA: mean over {forest.forests} forests, the lines its least and most; not the noise of trials."] if forest else []
    return add_notes(figure, [*notes, *(_aliases(found) if found else [])])


def _line(line: pd.DataFrame, *, name: str, numeric: bool, index: int, dark: bool) -> go.Scatter:
    colour = series_colour(index, dark=dark)
    lines = {"mode": "lines+markers", "line": {"color": colour, "width": 2, "dash": turn(DASHES, index)}}
    return go.Scatter(
        x=[float(value) for value in line[0]] if numeric else [level_label(value) for value in line[0]],
        y=line["mean"].tolist(),
        name=name,
        **(lines if numeric else {"mode": "markers", "offsetgroup": str(index)}),
        marker={"color": colour, "size": 9, "symbol": turn(SYMBOLS, index)},
        error_y=half_bars(line["half"], width=5),
        customdata=with_seeds(line),
        hovertemplate="%{x}<br>mean %{y:.5g}<br>%{customdata}<extra></extra>",
        showlegend=True,
    )


def _cells(found: FactorEffects) -> dict[frozenset[str], Term]:
    """By the factors of a term: one main effect, or two factors; terms that cannot be told apart stand in each of their cells."""
    cells: dict[frozenset[str], Term] = {frozenset((factor,)): term for term in found.main for factor in term.factors}
    for term in found.interactions:
        joined = {frozenset(one.strip() for one in part.split(" × ")) for part in term.name.split(" = ")}
        pairs = {frozenset(pair) for pair in combinations(term.factors, 2)}
        cells |= dict.fromkeys((joined & pairs) or (pairs if len(term.factors) == 2 else set()), term)
    return cells


def _cell_said(pair: frozenset[str], term: Term | None) -> str:
    name = escape(" × ".join(sorted(pair)))
    if term is None:
        return f"{name}<br>not tested"
    parts = [escape(term.name), "no share" if term.share is None else f"share {term.share:.1%}"]
    parts += [f"95 % interval {term.share_ci[0]:.1%} to {term.share_ci[1]:.1%}"] if term.share_ci else []
    parts += [f"by chance {term.chance:.1%}"] if term.chance is not None else []
    parts += [f"p (Holm) {term.p_holm:.2g}"] if term.p_holm is not None else []
    return "<br>".join([*parts, *([escape(term.note)] if term.note else [])])


def _percent(term: Term | None) -> str:
    return "–" if term is None or term.share is None else f"{term.share:.0%}".replace("%", " %")


def _aliases(found: FactorEffects) -> list[str]:
    return [f"Cannot be told apart here: {' = '.join(names)}." for names in found.aliased]


def _designed(terms: Sequence[Term], *, dark: bool) -> go.Bar:
    above = [term.share_ci[1] - term.share if term.share_ci and term.share is not None else None for term in terms]
    below = [term.share - term.share_ci[0] if term.share_ci and term.share is not None else None for term in terms]
    return go.Bar(
        x=[term.share for term in terms],
        y=[escape(term.name) for term in terms],
        orientation="h",
        name="sum of squares (designed)",
        marker={"color": series_colour(0, dark=dark)},
        error_x=_whiskers(above, below, dark=dark),
        customdata=[_cell_said(frozenset(term.factors), term) for term in terms],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=True,
    )


def _chance(chances: Iterable[tuple[str, float]], *, dark: bool) -> go.Scatter:
    names, shares = zip(*chances, strict=True)
    return go.Scatter(
        x=list(shares),
        y=[escape(name) for name in names],
        mode="markers",
        name="a term that does nothing, on average",
        marker={"symbol": "line-ns-open", "size": 14, "color": ink_colour(dark), "line": {"width": 2}},
        hovertemplate="%{y}<br>by chance %{x:.1%}<extra></extra>",
        showlegend=True,
    )


def _forest_bars(forest: Importance, *, dark: bool) -> go.Bar:
    colour = series_colour(1, dark=dark)
    return go.Bar(
        x=[one.importance for one in forest.factors],
        y=[escape(one.factor) for one in forest.factors],
        orientation="h",
        name="fANOVA",
        marker={"color": colour, "pattern": {"shape": PATTERNS[1], "fillmode": "overlay", "fgcolor": ink_colour(dark), "fgopacity": 0.6}},
        error_x=_whiskers(
            [one.high - one.importance for one in forest.factors], [one.importance - one.low for one in forest.factors], dark=dark
        ),
        customdata=[f"{one.low:.1%} to {one.high:.1%} over forests" for one in forest.factors],
        hovertemplate="%{y}<br>importance %{x:.1%}<br>%{customdata}<extra></extra>",
        showlegend=True,
    )


def _whiskers(above: Sequence[float | None], below: Sequence[float | None], *, dark: bool) -> dict[str, Any]:
    return (error_bars(above, minus=below) or {}) | {"color": ink_colour(dark)}
