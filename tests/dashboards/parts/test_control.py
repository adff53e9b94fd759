"""The buttons: absent without `--allow-control`, and with it they do what the verbs do and say so."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dash import Dash
from flask.testing import FlaskClient

from ablate.holding import held
from ablate.stores import open_store
from ablate.workspace import Workspace
from dashboards.access import Access
from dashboards.app import make_app
from dashboards.parts import control
from dashboards.reader import Reader
from tests.dashboards.conftest import parts, text
from tests.dashboards.filled import LIVE, Writer
from tests.dashboards.test_security import call

WORDS = ("Retry failed", "Retry lost", "Stop the run")


@pytest.fixture
def failed(tmp_path: Path) -> str:
    """URL of a store with one study, all six trials of which failed."""
    writer = Writer(LIVE, workspace=Workspace(tmp_path), base={"fail": "raise"}).finish()
    writer.store.close()
    return Workspace(tmp_path).store_url


@pytest.fixture
def controlled(failed: str) -> Dash:
    return make_app(failed, allow_control=True)


def states(url: str) -> list[str]:
    store = open_store(url)
    found = [trial.state for trial in store.trials("live")]
    store.close()
    return found


def events(url: str) -> list[tuple[str, str]]:
    store = open_store(url)
    found = [(event.kind, event.message) for event in store.events("live")]
    store.close()
    return found


def press(client: FlaskClient, app: Dash, button: str, *, study: object = "live", clicks: object = 1) -> Any:
    """What the page says after a click as the browser reports it; None where nothing happened."""
    output = next(output for output in app.callback_map if "control-said" in output)
    known = app.callback_map[output]
    body = {
        "output": output,
        "outputs": {"id": "control-said", "property": "children"},
        "inputs": [{**item, "value": clicks if f"{item['id']}.{item['property']}" == button else None} for item in known["inputs"]],
        "state": [{**item, "value": study} for item in known["state"]],
        "changedPropIds": [button],
    }
    answer = client.post("/_dash-update-component", json=body)
    if answer.status_code != 200:
        return None
    found = json.loads(answer.get_data())
    return found["response"].get("control-said", {}).get("children") or found.get("sideUpdate", {}).get("failure", {}).get("children")


def test_without_the_option_there_is_neither_button_nor_route(app: Dash, client: FlaskClient, reader: Reader) -> None:
    assert not [output for output in app.callback_map if "control" in output]
    assert "control-" not in client.get("/_dash-dependencies").get_data(as_text=True)
    body = {
        "output": "control-said.children",
        "outputs": {"id": "control-said", "property": "children"},
        "inputs": [{"id": "control-failed", "property": "n_clicks", "value": 1}],
        "state": [{"id": "study-name", "property": "data", "value": "mix"}],
        "changedPropIds": ["control-failed.n_clicks"],
    }
    assert client.post("/_dash-update-component", json=body).status_code == 400
    assert text(control.place()) == ""


def test_with_it_the_study_page_has_the_buttons(controlled: Dash) -> None:
    answer = call(controlled.server.test_client(), controlled, "study-control.children", {"study-name.data": "live"})
    said = answer.get_data(as_text=True)
    assert [word for word in WORDS if word not in said] == []
    assert "then executes them" in said


def test_stop_asks_first() -> None:
    dialog = next(part for part in parts(control.controls("live")) if part._type == "ConfirmDialog")
    assert "Stop the run of live?" in dialog.message
    assert ("control-stop", "n_clicks") not in control.BUTTONS


def test_retry_queues_what_failed_and_says_that_nothing_runs_yet(failed: str, controlled: Dash) -> None:
    client = controlled.server.test_client()
    assert states(failed) == ["failed"] * 6
    assert press(client, controlled, "control-lost.n_clicks") == "nothing lost"
    assert states(failed) == ["failed"] * 6
    said = press(client, controlled, "control-failed.n_clicks")
    assert said.startswith("6 jobs queued again; nothing runs yet: `ablate run`")
    assert states(failed) == ["queued"] * 6
    assert events(failed)[-6:] == [("queued", "asked for by the dashboard")] * 6


@pytest.mark.parametrize("clicks", [None, 0])
def test_buttons_that_appear_do_nothing(failed: str, controlled: Dash, clicks: object) -> None:
    assert press(controlled.server.test_client(), controlled, "control-failed.n_clicks", clicks=clicks) is None
    assert states(failed) == ["failed"] * 6


@pytest.mark.parametrize("study", [None, 3, ["live"], "nothing"])
def test_action_on_no_study_changes_nothing(failed: str, controlled: Dash, study: object) -> None:
    assert "stud" in press(controlled.server.test_client(), controlled, "control-failed.n_clicks", study=study)
    assert states(failed) == ["failed"] * 6


@pytest.mark.slow
def test_retry_beside_a_run_is_refused(failed: str, controlled: Dash) -> None:
    with closing(open_store(failed, write=True)) as store, held(store, study="live", owner="ablate run live"):
        said = press(controlled.server.test_client(), controlled, "control-failed.n_clicks")
    assert "ablate run live" in said
    assert states(failed) == ["failed"] * 6


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Signals to end that this process gets, instead of its end."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def test_stop_signals_the_run_and_is_an_event(failed: str, controlled: Dash, heard: list[int]) -> None:
    store = open_store(failed, write=True)
    lease = store.claim("live", owner="ablate run live")
    said = press(controlled.server.test_client(), controlled, "control-stop-asked.submit_n_clicks")
    assert heard == [signal.SIGTERM]
    assert said.startswith("asked ")
    assert str(os.getpid()) in said
    assert socket.gethostname() in said
    assert events(failed)[-1][0] == "stop asked for"
    store.release(lease)
    store.close()


def test_stop_without_a_run_says_so_and_is_no_event(failed: str, controlled: Dash) -> None:
    before = events(failed)
    assert press(controlled.server.test_client(), controlled, "control-stop-asked.submit_n_clicks") == "no run works on 'live'"
    assert events(failed) == before


def test_missing_store_is_said_and_not_made(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "away")
    app = make_app(workspace.store_url, allow_control=True)
    assert "there is no store" in press(app.server.test_client(), app, "control-failed.n_clicks")
    assert list(tmp_path.iterdir()) == []


def test_control_needs_the_cookie_and_the_own_origin(failed: str) -> None:
    app = make_app(failed, access=Access("sixteen letters!"), allow_control=True)
    client = app.server.test_client()
    assert press(client, app, "control-failed.n_clicks") is None
    client.get("/?token=sixteen+letters!")
    client.environ_base["HTTP_ORIGIN"] = "http://evil.test"
    assert press(client, app, "control-failed.n_clicks") is None
    assert states(failed) == ["failed"] * 6
    client.environ_base["HTTP_ORIGIN"] = "http://localhost"
    assert "6 jobs" in press(client, app, "control-failed.n_clicks")
