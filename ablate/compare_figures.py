"""The effects of several studies become one forest: a row a level, a marker a study."""

from collections.abc import Sequence

import plotly.graph_objects as go

from ablate.analysis.verdicts import numbers_of
from ablate.compare_studies import StudyEffects
from ablate.plot_style import SYMBOLS, error_bars, escape, ink_colour, layout, series_colour, turn, with_unit, wrapped

SPREAD = 0.6
"""Of a row's height, over which its studies lie."""


def studies_forest(found: Sequence[StudyEffects], *, metric: str, unit: str = "", dark: bool = False) -> go.Figure:
    """The first row on top, the first study first in it; a study without an effect there has no marker."""
    rows = list(
        dict.fromkeys(
            (effect.axis, effect.level, effect.baseline) for one in found for effect in one.effects if effect.mean_diff is not None
        )
    )
    simulated = bool(found) and all(one.simulated for one in found)
    height = 170 + (20 + 22 * len(found)) * max(2, len(rows))
    figure = go.Figure(layout=layout(f"Effects on {metric}, each study by itself", simulated=simulated, dark=dark, height=height))
    for index, one in enumerate(found):
        figure.add_trace(_study_trace(one, rows, index=index, of=len(found), unit=unit, dark=dark))
    figure.add_vline(x=0, line={"dash": "dash", "width": 1, "color": ink_colour(dark)})
    names = [wrapped(f"{axis}: {level} against {baseline}", 60) for axis, level, baseline in rows]
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=names, range=[len(rows) - 0.5, -0.5], automargin=True, showgrid=False)
    figure.update_xaxes(title_text=escape(with_unit(f"difference in {metric}, 95 % interval", unit)))
    return figure


def _study_trace(one: StudyEffects, rows: Sequence[object], *, index: int, of: int, unit: str, dark: bool) -> go.Scatter:
    shown = [effect for effect in one.effects if effect.mean_diff is not None]
    offset = SPREAD * ((index + 0.5) / of - 0.5)
    said = [escape("; ".join(part for part in (numbers_of(effect, unit=unit), effect.note) if part)) for effect in shown]
    colour = series_colour(index, dark=dark)
    return go.Scatter(
        x=[effect.mean_diff for effect in shown],
        y=[rows.index((effect.axis, effect.level, effect.baseline)) + offset for effect in shown],
        mode="markers",
        name=escape(one.study + (" (simulated)" if one.simulated else "")),
        marker={"color": colour, "size": 10, "symbol": turn(SYMBOLS, index)},
        error_x=error_bars(
            [effect.ci[1] - effect.mean_diff if effect.ci and effect.mean_diff is not None else None for effect in shown], width=6
        ),
        customdata=[
            f"{escape(effect.axis)}: {escape(effect.level)} against {escape(effect.baseline)}<br>{words}"
            for effect, words in zip(shown, said, strict=True)
        ],
        hovertemplate=f"{escape(one.study)}<br>%{{customdata}}<extra></extra>",
        showlegend=True,
    )
