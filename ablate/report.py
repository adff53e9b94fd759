"""Finished studies become one HTML page that opens offline: what was asked, what was run, what it showed, how surely.

Everything is inside the file. Its content security policy allows only the two scripts written here, by their hash, so
that no name or note in a study can run code even if an escape were missed.
"""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from math import exp, isfinite
from pathlib import Path
from typing import Literal

import jinja2
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ablate import figures, law_figures
from ablate.analysis.effects import USABLE, Effect, adjust
from ablate.analysis.law_comparison import SlopeComparison
from ablate.analysis.laws import Prediction, PublishedLaw, rate_label, size_label
from ablate.analysis.lr_law import LawReport
from ablate.analysis.published import MM1, predict
from ablate.analysis.verdicts import Verdict, decimals, minus
from ablate.deviations import Registration, moment
from ablate.plot_style import CONFIG

TEMPLATES = Path(__file__).parent / "templates"
MISSING = "–"
MAX_CURVE_ARMS = 12
"""With more arms the curves are left to the dashboard."""


@dataclass(frozen=True)
class StudyReport:
    """All that the page says about one study."""

    study: str
    question: str
    simulated: bool
    metric: str
    goal: Literal["min", "max"]
    results: pd.DataFrame
    """`trial, arm, seed, state, <axis columns>, <metric columns>`."""
    curves: pd.DataFrame
    """`trial, arm, seed, metric, step, value`."""
    effects: tuple[Effect, ...]
    verdicts: tuple[Verdict, ...]
    law: LawReport | None
    states: Mapping[str, int]
    """State -> number of trials."""
    seconds_total: float | None
    """Compute time of all jobs."""
    provenance: Mapping[str, str]
    """What the footer says: fingerprints, versions, the date."""
    axes: tuple[str, ...] = ()
    """Axis columns to draw `metrics` against."""
    metrics: tuple[str, ...] = ()
    """Default: the metric."""
    law_runs: pd.DataFrame | None = None
    """`n_params, lr, seed, <metric>, status`: what the law was fitted to."""
    target: float | None = None
    """Size the law is extrapolated to; default: that of its prediction."""
    unit: str = ""
    registration: Registration | None = None
    """None for results that no study file declared, such as a CSV's."""
    stale: int = 0
    """Trials that ended and are not in the study's plan any more."""
    warnings: tuple[str, ...] = ()
    """What keeps its effects from being overread: noise, unequal compute, learning rates that moved."""


@dataclass(frozen=True)
class _Plot:
    id: str
    caption: str
    light: Markup
    dark: Markup
    height: int


@dataclass(frozen=True)
class _ArmRow:
    """One arm: `3/3` trials, and a metric's mean with SD where it has both."""

    arm: str
    trials: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class _LawView:
    report: LawReport
    published: PublishedLaw
    published_prediction: Prediction | None
    comparison: SlopeComparison | None


@dataclass(frozen=True)
class _StudyView:
    report: StudyReport
    anchor: str
    arms: tuple[_ArmRow, ...]
    seeds: tuple[str, ...]
    effects: tuple[Effect, ...]
    """With Holm's p over this table."""
    plots: tuple[_Plot, ...]
    law: _LawView | None
    metrics: tuple[str, ...]


def write_report(studies: Sequence[StudyReport], *, path: Path, title: str = "Ablation report") -> None:
    """Writes the page to a temporary name beside `path` and renames it when it is whole."""
    page = render_report(studies, title=title)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def render_report(studies: Sequence[StudyReport], *, title: str = "Ablation report") -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        rate=rate,
        interval=interval,
        pair=pair,
        p_value=p_value,
        duration=duration,
        size=size_label,
        difference=difference,
        factor=factor,
        moment=moment,
    )
    plotly_js, script = _plotly_js(), _inline((TEMPLATES / "report.js").read_text(encoding="utf-8"))
    return environment.get_template("report.html.j2").render(
        title=title,
        studies=[_view(report, index=index) for index, report in enumerate(studies)],
        style=_inline((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        plotly_js=plotly_js,
        script=script,
        config=_embedded(json.dumps(CONFIG)),
        hashes=[_csp_hash(plotly_js), _csp_hash(script)],
        missing=MISSING,
    )


def number(value: float | None, digits: int = 4) -> str:
    """To significant digits, a missing one as an en dash."""
    if value is None or not isfinite(value):
        return MISSING
    return minus(f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}")


def rate(value: float | None) -> str:
    return MISSING if value is None or not isfinite(value) else rate_label(value)


def factor(se_ln: float | None) -> str:
    """A standard error in ln units as the factor it is."""
    return MISSING if se_ln is None else f"{exp(se_ln):.2f}"


def difference(effect: Effect) -> str:
    if effect.mean_diff is None:
        return MISSING
    return minus(f"{effect.mean_diff:+.{decimals(effect.ci)}f}" if effect.ci else f"{effect.mean_diff:+.3g}")


def interval(effect: Effect) -> str:
    if effect.ci is None:
        return MISSING
    places = decimals(effect.ci)
    return minus(f"[{effect.ci[0]:.{places}f}, {effect.ci[1]:.{places}f}]")


def pair(bounds: Sequence[float | None] | None, show: Callable[[float | None], str] = rate) -> str:
    return MISSING if bounds is None or all(bound is None for bound in bounds) else f"[{', '.join(show(bound) for bound in bounds)}]"


def p_value(value: float | None) -> str:
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """12.3 s, 4 min 05 s, 3 h 20 min."""
    if seconds is None or not isfinite(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def _view(report: StudyReport, *, index: int) -> _StudyView:
    metrics = tuple(metric for metric in report.metrics or (report.metric,) if metric in report.results)
    drawn = _drawn(report, metrics=metrics)
    return _StudyView(
        report=report,
        anchor=f"study-{index}",
        arms=_arm_rows(report.results, metrics=metrics),
        seeds=tuple(str(seed) for seed in sorted(report.results["seed"].unique())),
        effects=adjust(report.effects),
        plots=tuple(_plot(f"plot-{index}-{at}", caption, draw) for at, (caption, draw) in enumerate(drawn)),
        law=_law_view(report),
        metrics=metrics,
    )


Draw = Callable[..., go.Figure]
"""A figure but for its `dark`."""


def _drawn(report: StudyReport, *, metrics: tuple[str, ...]) -> list[tuple[str, Draw]]:
    """Caption and figure."""
    simulated, unit = report.simulated, report.unit
    drawn: list[tuple[str, Draw]] = []
    if report.effects:
        caption = "Difference to the baseline, with 95 % Student-t intervals over seeds, each taken alone."
        drawn.append((caption, partial(figures.effects_forest, report.effects, unit=unit, simulated=simulated)))
    for axis in report.axes if metrics else ():
        caption = f"Mean and 95 % interval over seeds at each level of {axis}; small points are seeds."
        drawn.append(
            (
                caption,
                partial(figures.score_by_level, report.results, axis=axis, metrics=metrics, unit=unit, simulated=simulated),
            )
        )
    if (metric := _curve_metric(report)) is not None:
        drawn.append((figures.curves_caption(), partial(figures.curves, report.curves, group_by="arm", metric=metric, simulated=simulated)))
    drawn.extend(_law_drawn(report))
    drawn.append(("One cell a trial.", partial(figures.completeness, report.results, simulated=simulated)))
    return drawn


def _law_drawn(report: StudyReport) -> list[tuple[str, Draw]]:
    law, runs, simulated = report.law, report.law_runs, report.simulated
    drawn: list[tuple[str, Draw]] = []
    if law is not None and runs is not None:
        caption = "Stars: optimum of a size. Open triangles: the best rate is the end of the grid and is left out of the fit."
        draw = partial(
            law_figures.loss_against_rate,
            runs,
            optima=law.optima,
            metric=report.metric,
            unit=report.unit,
            simulated=simulated,
        )
        drawn.append((caption, draw))
    if law is not None and law.fit is not None:
        caption = f"The band is where the optimum of one new model is expected. The published line: {MM1.source}."
        drawn.append((caption, partial(law_figures.law, law.fit, target=_target(report), excluded=law.excluded, simulated=simulated)))
    return drawn


def _curve_metric(report: StudyReport) -> str | None:
    """The study's metric where it has a curve, else the one with the most points; None without a curve or with too many arms."""
    if report.curves["arm"].nunique() > MAX_CURVE_ARMS:
        return None
    points = report.curves.groupby("metric")["step"].nunique()
    curves = points[points > 1]
    if curves.empty:
        return None
    return report.metric if report.metric in curves.index else str(curves.idxmax())


def _target(report: StudyReport) -> float | None:
    return report.target or (report.law.prediction.n_params if report.law and report.law.prediction else None)


def _law_view(report: StudyReport) -> _LawView | None:
    if report.law is None:
        return None
    target = _target(report)
    return _LawView(
        report=report.law,
        published=MM1,
        published_prediction=None if target is None else predict(MM1.name, target),
        comparison=next((slope for slope in report.law.slopes if slope.law == MM1.name), None),
    )


def _arm_rows(results: pd.DataFrame, *, metrics: Sequence[str]) -> tuple[_ArmRow, ...]:
    rows = []
    for arm, group in results.groupby("arm", sort=False):
        done = group[group["state"].isin(USABLE)]
        cells = tuple(_mean_and_sd(done[metric].astype(float)) for metric in metrics)
        rows.append(_ArmRow(str(arm), f"{len(done)}/{len(group)}", cells))
    return tuple(rows)


def _mean_and_sd(values: "pd.Series[float]") -> str:
    finite = values[values.map(isfinite)]
    if finite.empty:
        return MISSING
    mean, sd = float(finite.mean()), float(finite.std())
    if len(finite) < 2 or sd == 0:
        return f"{number(mean)} (n = {len(finite)})"
    places = decimals((-sd, sd))
    return f"{minus(f'{mean:.{places}f}')} ± {sd:.{places}f} (n = {len(finite)})"


def _plot(name: str, caption: str, draw: Draw) -> _Plot:
    light = draw(dark=False)
    return _Plot(name, caption, _json(light), _json(draw(dark=True)), int(light.layout.height))


def _json(figure: go.Figure) -> Markup:
    text: str = figure.to_json()
    return _embedded(text)


def _embedded(text: str) -> Markup:
    """JSON in which nothing can end the script element that holds it."""
    return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))  # noqa: S704


def _inline(text: str) -> Markup:
    """Our own files and plotly's, as they are; a parser turns CRLF into LF, which would change the hash."""
    text = text.replace("\r\n", "\n")
    assert "</script" not in text.lower()
    assert "</style" not in text.lower()
    return Markup(text)  # noqa: S704


@cache
def _plotly_js() -> Markup:
    return _inline(get_plotlyjs())


@cache
def _csp_hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
