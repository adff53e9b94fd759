"""`/`: every study of the store with what it asks and how far it is."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from dash import Dash, Input, Output, dcc, html
from dash.development.base_component import Component

from ablate.standing import study_rows
from dashboards.address import Query, href
from dashboards.changes import Sent
from dashboards.reader import Reader, Version
from dashboards.widgets import DASH, duration, message, progress, simulated_badge, state_badge, table

NAMES = (0,)


def layout(reader: Reader, *, names: Sequence[str], query: Query) -> Component:
    words = html.P("What was asked, how far it is, and where to look.", className="question")
    return html.Div(
        [
            html.Div([html.H1("Studies"), words], className="heading"),
            html.Section(studies_table(reader.read(study_rows)), id="studies-table", className="card"),
        ]
    )


def version(reader: Reader, *, names: Sequence[str]) -> Version:
    return reader.studies_version()


def points(reader: Reader, *, names: Sequence[str]) -> int:
    return 0


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    @app.callback(Output("studies-table", "children"), Input("seen", "data"), prevent_initial_call=True)
    def _update(_seen: object) -> Component:
        return studies_table(reader.read(study_rows))


def studies_table(studies: Sequence[Mapping[str, Any]]) -> Component:
    if not studies:
        return message("No study yet. Run the first one:", command="ablate run quickstart")
    rows = [_row(row) for row in sorted(studies, key=itemgetter("updated"), reverse=True)]
    return table(["Study", "Question", "Trials", "State", "Compute", "Last change"], rows, label="Studies", numeric=[4])


def _row(row: Mapping[str, Any]) -> list[Any]:
    name = row["study"]
    known = {state: row[state] for state in ("done", "running", "failed")}
    counts = known | {"queued": row["trials"] - sum(known.values())}
    return [
        html.Div([dcc.Link(name, href=href("study", name), className="name"), *simulated_badge(row["simulated"])]),
        row["question"] or DASH,
        progress(counts),
        state_badge(row["active"]),
        duration(row["seconds"]),
        row["updated"],
    ]
