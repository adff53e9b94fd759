"""Buttons that change a study: retry what failed or was lost, stop its run. There only with `--allow-control`, and no callback otherwise.

They do what the verbs `retry` and `stop` do, through a connection of their own for the time of the action; the pages' own only reads.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from ablate.errors import AblateError
from ablate.holding import ask_to_stop, retry
from ablate.quantities import counted
from ablate.standing import RETRIED
from ablate.stores import Store, open_store
from ablate.trainers import IMPORTED
from dashboards.reader import Reader
from dashboards.widgets import aria

BY = "the dashboard"

Action = Callable[[Store, str], str]
"""Does it to the study, and says what it did."""


def place() -> Component:
    """Where the study page has its controls; empty for as long as no callback of ours fills it."""
    return html.Div(id="study-control")


def register(app: Dash, *, reader: Reader, store_url: str) -> None:
    @app.callback(Output("study-control", "children"), Input("study-name", "data"))
    def _show(name: object) -> Sequence[Component]:
        record = reader.snapshot(name).record
        return [] if record.spec["trainer"] == IMPORTED else controls(record.name)

    @app.callback(Output("control-stop-asked", "displayed"), Input("control-stop", "n_clicks"), prevent_initial_call=True)
    def _confirm(clicks: object) -> bool:
        return bool(clicks)

    @app.callback(
        Output("control-said", "children"),
        *(Input(button, prop) for button, prop in BUTTONS),
        State("study-name", "data"),
        prevent_initial_call=True,
        running=[(Output(f"control-{kind}", "disabled"), True, False) for kind in (*RETRIED, "stop")],
    )
    def _act(*values: object) -> Any:
        *clicks, name = values
        pressed = [action for (button, _), action in BUTTONS.items() if button == ctx.triggered_id]
        if not pressed or not any(clicks):
            return no_update  # the buttons have just appeared
        return act(store_url, reader.snapshot(name).record.name, action=pressed[0])


def controls(study: str) -> list[Component]:
    retries = [html.Button(f"Retry {kind}", id=f"control-{kind}", className="button") for kind in RETRIED]
    stop = html.Button("Stop the run", id="control-stop", className="button")
    question = f"Stop the run of {study}? Its jobs keep their last checkpoint, and the same `ablate run` goes on later."
    return [
        html.Div([*retries, stop], className="buttons", role="group", **aria(label="Control")),
        html.Div("A retry puts jobs back in the queue; `ablate run` with the study's file then executes them.", className="note"),
        html.Div(id="control-said", className="answer", role="status"),
        dcc.ConfirmDialog(id="control-stop-asked", message=question),
    ]


def act(store_url: str, study: str, *, action: Action) -> str:
    """What the action did, or why it did not."""
    try:
        with closing(open_store(store_url, write=True)) as store:
            return action(store, study)
    except AblateError as error:
        return str(error)


def _retry(kind: str) -> Action:
    def action(store: Store, study: str) -> str:
        found = retry(store, study, kinds=[kind], by=BY)
        if not found.jobs:
            return f"nothing {kind}"
        return f"{counted(len(found.jobs), 'job')} queued again; nothing runs yet: `ablate run` with the study's file executes them"

    return action


def _stop(store: Store, study: str) -> str:
    asked = ask_to_stop(store, study)
    if asked.run:
        store.add_event(study, "stop asked for")
    return asked.said


BUTTONS: dict[tuple[str, str], Action] = {(f"control-{kind}", "n_clicks"): _retry(kind) for kind in RETRIED}
BUTTONS |= {("control-stop-asked", "submit_n_clicks"): _stop}
"""(component, property) that counts the clicks -> what they do."""
