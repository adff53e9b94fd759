"""`/lessons`: MM1's lessons and which study tests them. `/lessons/NAME`: one study's lesson plots beside what MM1 published."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import plotly.graph_objects as go
from dash import Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from ablate import law_figures
from ablate.analysis.lr_law import LawReport
from ablate.analysis.published import MM1, predict
from ablate.analysis.verdicts import numbers_of
from ablate.errors import InputError
from ablate.lesson_figures import lesson_figure
from ablate.lesson_match import LessonPlot, Plot, bears_on_lessons, study_lessons
from ablate.lessons import Tested, tested_by
from ablate.metric_scales import scales_of
from ablate.mm1_reference import LEARNING_RATES, LESSONS, Lesson
from ablate.results import KEYS, at_baselines
from ablate.stores import StudyRecord
from dashboards.address import Query, href
from dashboards.changes import Sent
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot, Version
from dashboards.widgets import (
    DASH,
    aria,
    card_in_sight,
    fit_card,
    graph,
    heading,
    meanings,
    message,
    number,
    register_graph,
    simulated_badge,
    study_links,
    table,
    verdict_badge,
)

NAMES = (0, 1)

MAX_PLOTS = 8
"""Plots that a study's page has room for."""
TITLES: dict[Plot, str] = {
    "encoder_table": "Image encoders",
    "connector_bars": "Connector, resolution and image tokens",
    "data_panel": "Data mix",
    "sft_curve": "After fine-tuning",
    "sft_connectors": "Connectors after fine-tuning",
}
CLAIM = "claims:\n  - {lesson: connector_tokens, axis: connector.num_tokens, expect: increases}   # written before the runs"
NO_PLOT = (
    "No lesson plot: MM1 varied image encoder, resolution, image tokens, connector, data mix and pre-training steps. A study has its plots "
    "where an axis of one of these names has two levels or more; encoders and connectors are compared by scores after several numbers of "
    "shots, such as few_shot/0, few_shot/4 and few_shot/8."
)


StudyPlot = LessonPlot | LawReport
"""Of a study's page: what one figure of MM1's shows, or the study's law."""


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    return _study_page(reader, names[0]) if names else _all_studies(reader)


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.snapshot(names[0]).version if names else reader.studies_version()


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return 0


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    @app.callback(
        Output("lessons-table", "children"), Output("lessons-studies", "children"), Input("seen", "data"), prevent_initial_call=True
    )
    def _all(_seen: object) -> tuple[Component, Component]:
        return lessons_table(reader), studies_with_plots(reader)

    @app.callback(
        Output("lessons-verdicts", "children"),
        Output("lessons-said", "children"),
        *(Output(f"lessons-card-{slot}", "hidden") for slot in range(MAX_PLOTS)),
        *(Output(f"lessons-title-{slot}", "children") for slot in range(MAX_PLOTS)),
        Input("seen", "data"),
        State("lessons-study", "data"),
    )
    def _one(_seen: object, name: object) -> tuple[Any, ...]:
        snapshot = reader.snapshot(name)
        matches = study_plots(reader, snapshot)
        plots, left = chosen_plots(reader, snapshot, matches=matches)
        unused = MAX_PLOTS - len(plots)
        hidden, titles = [False] * len(plots) + [True] * unused, [*map(title_of, plots), *[""] * unused]
        verdicts = study_table(reader, snapshot, matches=matches)
        told = meanings(snapshot.record, plotted(matches))
        said = [said_of_plots(plots, left=left), html.Section([html.H2("Metrics"), *told], className="card") if told else None]
        return (verdicts, said, *hidden, *titles)

    for slot in range(MAX_PLOTS):
        _register_plot(app, slot, reader=reader, sent=sent)


def _register_plot(app: Dash, slot: int, *, reader: Reader, sent: Sent) -> None:
    name = f"lessons-plot-{slot}"

    @app.callback(
        Output(f"{name}-made", "data"),
        Input(f"{name}-seen", "data"),
        Input("dark", "data"),
        State("lessons-study", "data"),
        State(f"{name}-have", "data"),
        prevent_initial_call=True,
    )
    def _drawn(_seen: object, dark: object, study: object, have: object) -> Any:
        snapshot = reader.snapshot(study)
        plots, _ = chosen_plots(reader, snapshot, matches=study_plots(reader, snapshot))
        return sent.figure(drawn(reader, snapshot, plots[slot], dark=bool(dark)), have=have) if slot < len(plots) else no_update

    register_graph(app, name=name)


def lessons_table(reader: Reader) -> Component:
    """Every lesson of MM1 with each claim of a study that names it."""
    records = [record for record in reader.read(lambda store: store.studies()) if record.spec.get("law")]
    law = law_group([(record, *_report(reader, reader.snapshot(record.name))) for record in records])
    label = "MM1's lessons and the studies' verdicts"
    return _lesson_rows(LESSONS.values(), tested=all_tested(reader), label=label, none="no study yet", more=[law])


def studies_with_plots(reader: Reader) -> Component:
    records = [record for record in reader.read(lambda store: store.studies()) if bears_on_lessons(record.spec, record.axes)]
    if not records:
        return message("No study has an axis that MM1 varied.", command="ablate run quickstart")
    links = [html.Li([dcc.Link(record.name, href=href("lessons", record.name)), *simulated_badge(record.simulated)]) for record in records]
    return html.Ul(links, className="names")


def all_tested(reader: Reader) -> dict[str, list[Tested]]:
    """Lesson -> its claims over all studies. One study whose claims cannot be judged hides no other's."""
    found: dict[str, list[Tested]] = {}
    for record in reader.read(lambda store: store.studies()):
        for lesson, tested in tested_by(record, partial(reader.verdicts_of, record)).items():
            found.setdefault(lesson, []).extend(tested)
    return found


def study_plots(reader: Reader, snapshot: Snapshot) -> list[LessonPlot]:
    record, results = snapshot.record, reader.results(snapshot)
    metrics = [str(column) for column in results.columns if column not in (*KEYS, *record.axes)]
    return study_lessons(record.spec, record.axes, metrics)


def chosen_plots(reader: Reader, snapshot: Snapshot, *, matches: Sequence[LessonPlot]) -> tuple[list[StudyPlot], int]:
    """The study's law first where it has one, then its lesson plots, as many as the page has room for; and how many are left out."""
    law = _law(reader, snapshot)
    found: list[StudyPlot] = [*([law] if law else []), *matches]
    return found[:MAX_PLOTS], len(found[MAX_PLOTS:])


def drawn(reader: Reader, snapshot: Snapshot, plot: StudyPlot, *, dark: bool) -> go.Figure:
    record = snapshot.record
    if isinstance(plot, LawReport):
        law = snapshot.study.law
        assert plot.fit  # or `chosen_plots` had left it out
        figure = law_figures.law(
            plot.fit, target=law.target if law else None, excluded=plot.excluded, simulated=record.simulated, dark=dark
        )
        return fit_card(figure, view=f"{record.name} law")
    frame = at_baselines(reader.results(snapshot), axes=record.axes)
    others = [axis for axis in record.axes if axis not in plot.axes]
    figure = lesson_figure(plot, frame, others=others, scales=scales_of(record.spec), simulated=record.simulated, dark=dark)
    return fit_card(figure, view=f"{record.name} {plot.plot} {' '.join(plot.columns)}")


def plotted(matches: Sequence[LessonPlot]) -> list[str]:
    """Their metrics, those of the plots that the page has no room for too."""
    return list(dict.fromkeys(metric for match in matches for metric in match.metrics))


def said_of_plots(plots: Sequence[StudyPlot], *, left: int) -> Component | None:
    if not plots:
        return message(NO_PLOT)
    return html.P(f"{left} more plots, of further metrics, are not drawn.", className="note") if left else None


def study_table(reader: Reader, snapshot: Snapshot, *, matches: Sequence[LessonPlot]) -> Component:
    """The lessons that the study claims, and those that its plots bear on."""
    tested = tested_by(snapshot.record, lambda: reader.verdicts_of(snapshot.record))
    shown = [lesson for name, lesson in LESSONS.items() if name in tested or any(name in match.lessons for match in matches)]
    if not shown:
        return message("No claim of this study names a lesson. One written before the runs gets a verdict:", command=CLAIM)
    return _lesson_rows(shown, tested=tested, label="Lessons of this study", none="no claim of this study")


def law_group(found: Sequence[tuple[StudyRecord, LawReport | None, str]]) -> list[Component]:
    """Rows of the learning-rate law: no claim, so no verdict, but each study's slope against MM1's. `found`: studies, laws, or why none."""
    rows = [_law_cells(record, report, why) for record, report, why in found] or [[html.Td("no study yet", colSpan=4, className="note")]]
    published = [html.Div([html.Strong("Figure 6"), f": best peak learning rate against model size: {MM1.formula}"])]
    published.append(html.Div(f"{MM1.source}; evidence: {MM1.evidence}", className="note"))
    first = [html.Th(html.Code("learning_rate_law"), scope="rowgroup", rowSpan=len(rows)), html.Td(published, rowSpan=len(rows))]
    return [html.Tr([*(first if place == 0 else []), *cells]) for place, cells in enumerate(rows)]


def published_rates() -> Component:
    """What MM1 published of its peak learning rates, and its law at the same sizes."""
    rows = [
        [
            each.size,
            number(each.learning_rate, 3),
            number(predict("mm1", each.n_params).lr, 3),
            each.role,
            f"{each.source} ({each.evidence})",
        ]
        for each in LEARNING_RATES
    ]
    head = ["Model", "Published peak rate", "MM1's law at this size", "What it is", "Source (read in)"]
    return table(head, rows, label="MM1's published peak learning rates", numeric=[1, 2])


def _all_studies(reader: Reader) -> Component:
    words = "What MM1's ablations found (arXiv 2403.09611), and what the studies of this store say of it."
    how = [message("A lesson is tested by a claim that names it, in a study's file:", command=CLAIM)]
    return html.Div(
        [
            html.Div([html.H1("Lessons"), html.P(words, className="question")], className="heading"),
            html.Section(lessons_table(reader), id="lessons-table", className="card"),
            html.Section([html.H2("Plots"), html.Div(studies_with_plots(reader), id="lessons-studies")], className="card"),
            html.Section([html.H2("How to test one"), *how], className="card"),
        ]
    )


def _study_page(reader: Reader, name: str) -> Component:
    snapshot = reader.snapshot(name)
    record = snapshot.record
    rates = [html.Section([html.H2("MM1's published peak learning rates"), published_rates()], className="card")]
    return html.Div(
        [
            dcc.Store(id="lessons-study", data=record.name),
            heading(record, page="lessons", links=study_links(record, here=href("lessons", record.name))),
            html.Section([html.H2("Verdicts"), html.Div(id="lessons-verdicts")], className="card"),
            html.Div(id="lessons-said"),
            html.Div([_card(slot) for slot in range(MAX_PLOTS)], className="columns even plots"),
            *(rates if snapshot.study.law else []),
        ]
    )


def _lesson_rows(
    lessons: Iterable[Lesson], *, tested: Mapping[str, Sequence[Tested]], label: str, none: str, more: Sequence[list[Component]] = ()
) -> Component:
    """A group of rows a lesson, one for each claim on it, and `more` groups."""
    head = ["Lesson", "What MM1 found (arXiv 2403.09611)", "Study", "Claim", "Verdict", "Difference, 95 % interval"]
    top = html.Thead(html.Tr([html.Th(name, scope="col") for name in head]))
    bodies = [html.Tbody(_group(lesson, tested.get(lesson.id, ()), none=none)) for lesson in lessons] + [html.Tbody(rows) for rows in more]
    return html.Div(html.Table([top, *bodies], className="lessons"), className="scroll", role="region", tabIndex=0, **aria(label=label))


def _group(lesson: Lesson, tested: Sequence[Tested], *, none: str) -> list[Component]:
    rows = [_claim_cells(each) for each in tested] or [[html.Td(none, colSpan=4, className="note")]]
    found = [html.Div([html.Strong(lesson.figure), f": {lesson.axis}: {lesson.expect}"])]
    found.append(html.Div(f"on {lesson.metric}; read in {lesson.evidence}", className="note"))
    first = [html.Th(html.Code(lesson.id), scope="rowgroup", rowSpan=len(rows)), html.Td(found, rowSpan=len(rows))]
    return [html.Tr([*(first if place == 0 else []), *cells]) for place, cells in enumerate(rows)]


def _claim_cells(tested: Tested) -> list[Component]:
    record, verdict = tested.record, tested.verdict
    links = [dcc.Link(record.name, href=href("study", record.name), className="name"), *simulated_badge(record.simulated)]
    plots = [dcc.Link("lesson plots", href=href("lessons", record.name), title=f"Lesson plots of {record.name}")]
    study = html.Td([html.Div(links), html.Div(plots)])
    if verdict is None:
        return [study, html.Td(f"No verdict: {tested.why}", colSpan=3)]
    said = numbers_of(verdict.effect) if verdict.effect else DASH
    return [study, html.Td(verdict.statement), html.Td(verdict_badge(verdict.verdict), title=verdict.reason), html.Td(said)]


def _law_cells(record: StudyRecord, report: LawReport | None, why: str) -> list[Component]:
    links = [dcc.Link(record.name, href=href("study", record.name), className="name"), *simulated_badge(record.simulated)]
    page = dcc.Link("law", href=href("law", record.name), title=f"The law of {record.name}")
    study = html.Td([html.Div(links), html.Div(page)])
    if report is None or report.fit is None:
        return [study, html.Td(f"No law: {why}", colSpan=3)]
    slope = next((slope for slope in report.slopes if slope.law == MM1.name), None)
    if slope is None or slope.difference is None:
        said = slope.note if slope and slope.note else DASH
    else:
        said = f"slope minus MM1's: {number(slope.difference, 3)}" + (f" (p = {number(slope.p, 2)}, df = {slope.df})" if slope.p else "")
    return [study, html.Td(report.fit.formula), html.Td("fitted, no claim", className="note"), html.Td(said)]


def _report(reader: Reader, snapshot: Snapshot) -> tuple[LawReport | None, str]:
    """The study's law, or why there is none yet."""
    try:
        report = reader.law(snapshot)
    except InputError as error:
        return None, str(error)
    return report, "; ".join(report.warnings[:1])


def _law(reader: Reader, snapshot: Snapshot) -> LawReport | None:
    if snapshot.study.law is None:
        return None
    report, _ = _report(reader, snapshot)
    return report if report and report.fit else None  # nothing to fit yet: the law's page says why


def title_of(plot: StudyPlot) -> str:
    if isinstance(plot, LawReport):
        return "Learning-rate law (MM1, Figure 6)"
    figures = ", ".join(dict.fromkeys(LESSONS[name].figure for name in plot.lessons))
    title = f"{TITLES[plot.plot]}: {plot.metrics[0].rpartition('/')[0] or plot.metrics[0]} by {', '.join(plot.axes)}"
    return f"{title} (MM1, {figures})" if figures else title


def _card(slot: int) -> Component:
    name = f"lessons-plot-{slot}"
    children = [html.H2(id=f"lessons-title-{slot}"), graph(name, label="Lesson plot")]
    return card_in_sight(name, children, id=f"lessons-card-{slot}", hidden=True)
