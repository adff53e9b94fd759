"""`/`: every study in the store, the last changed one first: what it asks, how far it is, what it concluded and cost."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from dash import Dash, Input, Output, dcc, html
from dash.development.base_component import Component

from dashboards.address import Query, href
from dashboards.changes import Sent
from dashboards.reader import Reader, StudyRow, Version
from dashboards.widgets import DASH, duration, message, progress, simulated_badge, state_badge, table, verdict_badge

NAMES = (0,)


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    words = html.P("Every study in this store: what it asks, how far it is, what it says so far and what it cost.", className="question")
    return html.Div(
        [
            html.Div([html.H1("Studies"), words], className="heading"),
            html.Section(studies_table(reader.studies()), id="studies-table", className="card"),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.studies_version()


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return 0


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    @app.callback(Output("studies-table", "children"), Input("seen", "data"))
    def _update(_seen: object) -> Component:
        studies = reader.studies()
        if any(study.verdicts is None for study in studies):
            reader.judge()  # what it finds is news for the next look
        return studies_table(studies)


def studies_table(studies: Sequence[StudyRow]) -> Component:
    if not studies:
        return message("No study yet. Run the first one:", command="ablate run quickstart")
    head = ["Study", "Question", "Trials", "State", "Verdicts", "Compute", "Last event"]
    return table(head, map(_row, studies), label="Studies", numeric=[5])


def _row(study: StudyRow) -> list[Any]:
    row, event = study.standing, study.event
    known = {state: row[state] for state in ("done", "running", "failed")}
    counts = known | {"queued": row["trials"] - sum(known.values())}
    said = f"{event.kind} {event.subject if event.subject != study.name else ''}".strip() if event else ""
    return [
        html.Div([dcc.Link(study.name, href=href("study", study.name), className="name"), *simulated_badge(row["simulated"])]),
        row["question"] or DASH,
        progress(counts),
        state_badge(row["active"]),
        _verdicts(study.verdicts),
        duration(row["seconds"]),
        html.Div([html.Div(row["updated"]), html.Div(said, className="note")]),
    ]


def _verdicts(verdicts: Sequence[str] | None) -> Any:
    if verdicts is None:
        return "…"
    if not verdicts:
        return DASH
    return html.Div(
        [html.Div([f"{count} × ", verdict_badge(verdict)], className="counted") for verdict, count in Counter(verdicts).most_common()]
    )
