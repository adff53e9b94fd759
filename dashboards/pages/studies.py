"""`/`: every study in the store, the last changed one first: what it asks, how far it is, what it concluded and cost."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, dcc, html
from dash.development.base_component import Component

from ablate.quantities import duration_text
from dashboards.address import Query, choice, href
from dashboards.changes import Sent
from dashboards.reader import Reader, StudyRow
from dashboards.snapshot import Version
from dashboards.widgets import DASH, chooser, message, progress, simulated_badge, state_badge, table, verdict_badge

NAMES = (0,)

PART = 25
"""Studies at a time: the browser's part of Dash looks at all components of a page again and again, and a row has two dozen."""
FIRST = "from 1"
QUESTION = "Every study in this store, the last changed first: what it asks, how far it is, what it says so far and what it cost."


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    words = html.P(QUESTION, className="question")
    studies, find = reader.studies(), query.get("find", [""])[0]
    found = matching(studies, find=find)
    part = choice(query, "part", allowed=list(parts_of(found)), default=FIRST)
    text = dcc.Input(id="studies-find", type="search", value=find, debounce=True, placeholder="part of a name or question")
    controls = [
        html.Div([html.Label("Find", htmlFor="studies-find"), text], className="control"),
        chooser("studies-part", label="Show", options=parts_of(found), value=part),
    ]
    return html.Div(
        [
            html.Div([html.H1("Studies"), words], className="heading"),
            html.Div(controls, className="controls", hidden=len(studies) <= PART),
            html.Section(studies_table(studies, find=find, part=part), id="studies-table", className="card"),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.studies_version()


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return 0


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    @app.callback(
        Output("studies-table", "children"),
        Output("studies-part", "options"),
        Input("seen", "data"),
        Input("studies-find", "value"),
        Input("studies-part", "value"),
    )
    def _update(_seen: object, find: object, part: object) -> tuple[Component, dict[str, str]]:
        studies, text = reader.studies(), find if isinstance(find, str) else ""
        if any(study.verdicts is None for study in studies):
            reader.judge()  # what it finds is news for the next look
        return studies_table(studies, find=text, part=part), parts_of(matching(studies, find=text))

    app.clientside_callback(ClientsideFunction("ablate", "remember"), Input("studies-find", "value"), Input("studies-part", "value"))


def matching(studies: Sequence[StudyRow], *, find: str) -> list[StudyRow]:
    wanted = find.strip().casefold()
    return [study for study in studies if wanted in f"{study.name} {study.standing['question']}".casefold()]


def parts_of(studies: Sequence[StudyRow]) -> dict[str, str]:
    """Part, as the address has it -> what is in it: the last changed first."""
    total = len(studies)
    starts = range(0, max(1, total), PART)
    return {f"from {start + 1}": f"studies {min(start + 1, total)} to {min(start + PART, total)} of {total}" for start in starts}


def studies_table(studies: Sequence[StudyRow], *, find: str = "", part: object = FIRST) -> Component:
    if not studies:
        return message("No study yet. Run the first one:", command="ablate run quickstart")
    found = matching(studies, find=find)
    if not found:
        return message(f"None of {len(studies)} studies has '{find[:100]}' in its name or question.")
    parts = list(parts_of(found))
    start = PART * parts.index(part) if part in parts else 0
    head = ["Study", "Question", "Trials", "State", "Verdicts", "Compute", "Last event"]
    return table(head, map(_row, found[start : start + PART]), label="Studies", numeric=[5])


def _row(study: StudyRow) -> list[Any]:
    row, event = study.standing, study.event
    said = f"{event.kind} {event.subject if event.subject != study.name else ''}".strip() if event else ""
    return [
        html.Div([dcc.Link(study.name, href=href("study", study.name), className="name"), *simulated_badge(row["simulated"])]),
        row["question"] or DASH,
        progress(study.states),
        state_badge(row["active"]),
        _verdicts(study.verdicts),
        duration_text(row["seconds"]),
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
