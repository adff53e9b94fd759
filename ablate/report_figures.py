"""The figures of a study's report, each with its name and caption: the same on the page and as files for a paper."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import plotly.graph_objects as go

from ablate import figures, law_figures
from ablate.analysis.published import MM1
from ablate.fingerprint import slug
from ablate.level_means import averaged_over
from ablate.report import StudyReport


@dataclass(frozen=True)
class Drawing:
    """A figure that is still to be drawn."""

    name: str
    """Part of a file name, another for each drawing of a study."""
    caption: str
    draw: Callable[..., go.Figure]
    """Takes `dark`."""


def drawings(report: StudyReport) -> tuple[Drawing, ...]:
    """In the order of the page."""
    simulated, unit, metrics = report.simulated, report.unit, report.shown_metrics
    drawn: list[Drawing] = []
    if report.effects:
        caption = "Difference to the baseline, with 95 % Student-t intervals over seeds, each taken alone."
        drawn.append(Drawing("effects", caption, partial(figures.effects_forest, report.effects, unit=unit, simulated=simulated)))
    for axis in report.axes if metrics else ():
        caption = f"Mean and 95 % interval over seeds at each level of {axis}; small points are seeds."
        notes = averaged_over(report.results, axis=axis, axes=report.axes)
        shared: dict[str, Any] = {"scales": report.scales, "notes": notes, "simulated": simulated}
        draw = partial(figures.score_by_level, report.results, axis=axis, metrics=metrics, **shared)
        drawn.append(Drawing(f"by-{slug(axis)}", caption, draw))
    if (metric := _curve_metric(report)) is not None:
        drawn.append(
            Drawing(
                "curves",
                figures.curves_caption(),
                partial(figures.curves, report.curves, group_by="arm", metric=metric, simulated=simulated),
            )
        )
    drawn += _law_drawings(report)
    drawn.append(Drawing("trials", "One cell a trial.", partial(figures.completeness, report.results, simulated=simulated)))
    return _named_apart(drawn)


def _law_drawings(report: StudyReport) -> list[Drawing]:
    law, runs, simulated = report.law, report.law_runs, report.simulated
    drawn: list[Drawing] = []
    if law is not None and runs is not None:
        edges = any(optimum.grid_best is not None and optimum.status.startswith("edge") for optimum in law.optima)
        caption = "Stars: optimum of a size." + (
            " Open triangles: the best rate is the end of the grid and is left out of the fit." if edges else ""
        )
        goal = law.goal or "min"
        draw = partial(
            law_figures.loss_against_rate,
            runs,
            optima=law.optima,
            metric=report.metric,
            goal=goal,
            unit=report.unit,
            simulated=simulated,
        )
        drawn.append(Drawing("law-runs", caption, draw))
    if law is not None and law.fit is not None:
        caption = f"The band is where the optimum of one new model is expected. The published line: {MM1.source}."
        draw = partial(law_figures.law, law.fit, target=report.law_target, excluded=law.excluded, simulated=simulated)
        drawn.append(Drawing("law", caption, draw))
    return drawn


def _curve_metric(report: StudyReport) -> str | None:
    """The study's metric where it has a curve, else the one with the most points; None without a curve. Tokens read are no result."""
    points = report.curves.groupby("metric")["step"].nunique()
    curves = points[(points > 1) & (points.index != "tokens")]
    if curves.empty:
        return None
    return report.metric if report.metric in curves.index else str(curves.idxmax())


def _named_apart(drawn: list[Drawing]) -> tuple[Drawing, ...]:
    """Long axes may be one another's namesakes once they are part of a file name."""
    names = [drawing.name for drawing in drawn]
    counts = [names[:place].count(name) for place, name in enumerate(names)]
    return tuple(
        Drawing(f"{one.name}-{count + 1}", one.caption, one.draw) if count else one for one, count in zip(drawn, counts, strict=True)
    )
