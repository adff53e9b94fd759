"""Finished studies become one HTML page that opens offline: what was asked, what was run, what it showed, how surely, what it cost.

Everything is inside the file. Its content security policy allows only the two scripts written here, by their hash, so
that no name or note in a study can run code even if an escape were missed.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from math import exp, isfinite
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ablate.analysis.effects import USABLE, Effect
from ablate.analysis.factors import FactorEffects, Term
from ablate.analysis.law_comparison import SlopeComparison
from ablate.analysis.laws import SCATTER, Prediction, PublishedLaw, rate_label, size_label
from ablate.analysis.lr_law import LawReport
from ablate.analysis.published import MM1, predict
from ablate.deviations import moment
from ablate.plot_style import CONFIG
from ablate.quantities import counted, decimals, duration_text, interval_text, minus, money_text, scientific
from ablate.report import StudyReport
from ablate.report_figures import Drawing, drawings

TEMPLATES = Path(__file__).parent / "templates"
MISSING = "–"


@dataclass(frozen=True)
class _Plot:
    id: str
    caption: str
    figure: Markup
    """`{"figure": in light colours, "dark": [[path, value], ...]}`."""
    height: int


@dataclass(frozen=True)
class _ArmRow:
    """One arm: `3/3` trials, and a metric's mean with SD where it has both."""

    arm: str
    trials: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class _ShareRow:
    """A main effect or an interaction."""

    name: str
    cells: tuple[str, ...]
    """Share, its interval, the share by chance, degrees of freedom, F, Holm's p."""


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
    effect_notes: tuple[str, ...]
    shares: tuple[_ShareRow, ...]
    share_notes: tuple[str, ...]
    plots: tuple[_Plot, ...]
    law: _LawView | None
    metrics: tuple[str, ...]


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
        duration=duration_text,
        size=size_label,
        difference=difference,
        factor=factor,
        moment=moment,
        scientific=scientific,
        money=money_text,
        counted=counted,
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
        scatter=SCATTER,
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
    return MISSING if effect.ci is None else interval_text(effect.ci)


def pair(bounds: Sequence[float | None] | None, show: Callable[[float | None], str] = rate) -> str:
    return MISSING if bounds is None or all(bound is None for bound in bounds) else f"[{', '.join(show(bound) for bound in bounds)}]"


def p_value(value: float | None) -> str:
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _view(report: StudyReport, *, index: int) -> _StudyView:
    metrics = report.shown_metrics
    noted = [(f"{effect.axis} {effect.level}", effect.note) for effect in report.effects]
    return _StudyView(
        report=report,
        anchor=f"study-{index}",
        arms=_arm_rows(report.results, metrics=metrics),
        effect_notes=said_once(noted),
        shares=tuple(map(_share_row, _terms(report.factors))),
        share_notes=said_once([(term.name, term.note) for term, _ in _terms(report.factors)]),
        plots=tuple(_plot(f"plot-{index}-{at}", drawing) for at, drawing in enumerate(drawings(report))),
        law=_law_view(report),
        metrics=metrics,
    )


def _law_view(report: StudyReport) -> _LawView | None:
    if report.law is None:
        return None
    target = report.law_target
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


def _terms(found: FactorEffects | None) -> tuple[tuple[Term, float | None], ...]:
    """Each with the p that is shown of it."""
    if found is None:
        return ()
    higher = ((found.higher, found.higher.p),) if found.higher else ()
    return (*((term, term.p_holm) for term in (*found.main, *found.interactions)), *higher)


def _share_row(shown: tuple[Term, float | None]) -> _ShareRow:
    term, p = shown
    cells = (
        number(term.share, 3),
        MISSING if term.share_ci is None else interval_text(term.share_ci),
        number(term.chance, 2),
        str(term.df),
        number(term.f, 3),
        p_value(p),
    )
    return _ShareRow(term.name, cells)


def said_once(notes: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Each note with the rows it is about, `All rows` where it is about all. `notes`: row, note or nothing."""
    about: dict[str, list[str]] = {}
    for row, note in notes:
        if note:
            about.setdefault(note, []).append(row)
    return tuple(f"{'All rows' if len(rows) == len(notes) > 1 else ', '.join(rows)}: {note}" for note, rows in about.items())


def _plot(name: str, drawing: Drawing) -> _Plot:
    light, dark = drawing.draw(dark=False), drawing.draw(dark=True)
    figure = json.loads(light.to_json())
    both = {"figure": figure, "dark": list(_differences(figure, json.loads(dark.to_json())))}
    return _Plot(name, drawing.caption, _embedded(json.dumps(both, separators=(",", ":"), ensure_ascii=False)), int(light.layout.height))


def _differences(light: Any, dark: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[list[str | int], Any]]:
    """(path, dark value) wherever the dark figure is another, so that the page holds each figure's data once."""
    if light == dark:
        return
    if isinstance(light, dict) and isinstance(dark, dict) and light.keys() == dark.keys():
        for key in light:
            yield from _differences(light[key], dark[key], (*path, key))
    elif isinstance(light, list) and isinstance(dark, list) and len(light) == len(dark):
        for place, (one, other) in enumerate(zip(light, dark, strict=True)):
            yield from _differences(one, other, (*path, place))
    else:
        yield list(path), dark


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
