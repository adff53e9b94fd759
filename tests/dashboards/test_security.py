"""What arrives over HTTP: foreign hosts and origins, oversized and malformed bodies, names that are markup."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from dash import Dash
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ablate.errors import InputError
from dashboards.app import main, serve
from dashboards.widgets import graph
from tests.dashboards.filled import EVIL

ROUTES = ["/", "/study/mix", "/_dash-layout", "/_dash-dependencies", "/assets/style.css", "/_favicon.ico"]


def call(client: FlaskClient, app: Dash, part: str, values: Mapping[str, Any]) -> TestResponse:
    """The callback that fills `part`, asked as the browser asks; `values` holds `component.property` -> value."""
    output = next(output for output in app.callback_map if part in output)
    known = app.callback_map[output]
    assert values.keys() <= {f"{item['id']}.{item['property']}" for item in [*known["inputs"], *known["state"]]}
    outputs = [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True)) for name in output.strip(".").split("...")]
    body = {
        "output": output,
        "outputs": outputs if output.startswith("..") else outputs[0],
        "inputs": [{**item, "value": values.get(f"{item['id']}.{item['property']}")} for item in known["inputs"]],
        "state": [{**item, "value": values.get(f"{item['id']}.{item['property']}")} for item in known["state"]],
        "changedPropIds": [],
    }
    return client.post("/_dash-update-component", json=body)


@pytest.mark.parametrize("route", ROUTES)
def test_foreign_host_is_refused(client: FlaskClient, route: str) -> None:
    assert client.get(route, headers={"Host": "evil.test"}).status_code == 400
    assert client.get(route, headers={"Host": "evil.test:8050"}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:8050", "localhost:8050"])
def test_loopback_host_is_answered(client: FlaskClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("route", [*ROUTES, "/nothing"])
def test_every_answer_has_the_headers(client: FlaskClient, route: str) -> None:
    with client.get(route) as answer:
        headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    script = next(rule for rule in policy.split("; ") if rule.startswith("script-src"))
    assert "unsafe" not in script
    assert "sha256-" in script
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_page_loads_nothing_from_elsewhere(client: FlaskClient) -> None:
    text = client.get("/").get_data(as_text=True)
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/study/mix", 200), ("/nothing", 404), ("/study/a/b", 404)])
def test_status_says_whether_a_page_is_there(client: FlaskClient, path: str, status: int) -> None:
    assert client.get(path).status_code == status


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://localhost:1"])
def test_other_sites_request_is_refused(client: FlaskClient, origin: str) -> None:
    assert client.post("/_dash-update-component", json={}, headers={"Origin": origin}).status_code == 403


BODIES = ["", "[]", "{}", "null", '{"output": "x.y"}', '{"output": ["a"], "inputs": {}}', '{"inputs": [1], "output": "x.y"}', "[" * 50_000]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:20])
def test_malformed_callback_is_refused_without_traceback(client: FlaskClient, body: str) -> None:
    answer = client.post("/_dash-update-component", data=body, content_type="application/json")
    assert answer.status_code in (400, 415)
    assert "Traceback" not in answer.get_data(as_text=True)


def test_oversized_body_is_refused(client: FlaskClient) -> None:
    assert client.post("/_dash-update-component", data=b"[" + b"1," * 1_000_000 + b"1]", content_type="application/json").status_code == 413


@pytest.mark.parametrize("name", ["nothing", None, 3, ["mix"], {"a": 1}, EVIL, "'; DROP TABLE studies; --"])
def test_callback_with_unknown_study_answers_a_message(client: FlaskClient, app: Dash, name: object) -> None:
    answer = call(
        client, app, "study-curves-made.data", {"study-name.data": name, "study-metric.value": "loss", "study-group.value": "arm"}
    )
    assert answer.status_code == 200
    said = json.loads(answer.get_data())
    assert "stud" in said["sideUpdate"]["failure"]["children"]
    assert "Traceback" not in answer.get_data(as_text=True)


@pytest.mark.parametrize("value", [None, 3, ["loss"], {"a": 1}, EVIL])
def test_callback_with_foolish_choice_never_fails(client: FlaskClient, app: Dash, value: object) -> None:
    for part, values in (
        ("study-curves-made.data", {"study-name.data": "mix", "study-metric.value": value, "study-group.value": value}),
        ("axis-effects.children", {"axis-study.data": ["mix", value], "axis-metrics.value": value}),
        ("factors-lines-made.data", {"factors-name.data": "mix", "factors-a.value": value, "factors-b.value": value}),
        ("factors-bars-made.data", {"factors-name.data": "mix", "factors-forest.data": value}),
        ("factors-a.value", {"factors-name.data": "mix", "factors-matrix.clickData": value}),
        ("parallel-count.children", {"parallel-name.data": "mix", "parallel-metric.value": value, "parallel-brush.data": value}),
        ("parallel-brush.data", {"parallel-name.data": "mix", "parallel-lines.selectedData": {"range": value}, "parallel-brush.data": []}),
        ("parallel-brush.data", {"parallel-name.data": "mix", "parallel-lines.selectedData": {"range": {"x": value, "y": value}}}),
        ("curves-lines-made.data", {"curves-name.data": "mix", "curves-metric.value": value, "curves-only.value": value}),
        ("law-numbers.children", {"law-study.data": "rates", "law-size.value": value, "law-size.drag_value": value}),
    ):
        assert call(client, app, part, values).status_code in (200, 204)


def test_address_of_any_kind_never_fails(client: FlaskClient, app: Dash) -> None:
    for path in (None, 3, "", "//", "/study/%00", "/study/" + "a" * 5000, "/axis/mix/" + EVIL):
        answer = call(client, app, "content.children", {"url.pathname": path, "url.search": ["x"], "again.data": "x"})
        assert answer.status_code == 200
        assert "page failed" not in answer.get_data(as_text=True)


def test_host_that_is_not_loopback_is_refused(store_url: str) -> None:
    with pytest.raises(InputError, match="ssh -L"):
        serve(store_url, host="0.0.0.0", port=0)  # noqa: S104


def test_url_that_is_none_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", "nonsense", "--port", "0"]) == 2
    assert "is no database URL" in capsys.readouterr().err


def test_port_in_use_says_what_to_do(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--store", store_url, "--port", str(port)]) == 3
    assert f"choose another with --port {port + 1}" in capsys.readouterr().err


@pytest.mark.slow
def test_environment_cannot_widen_host_or_switch_debugger_on(store_url: str) -> None:
    environment = os.environ | {"HOST": "0.0.0.0", "PORT": "1", "DASH_DEBUG": "1", "FLASK_DEBUG": "1"}  # noqa: S104
    command = [sys.executable, "-m", "dashboards.app", "--store", store_url, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        rest = process.stdout.read()
    assert line.startswith("ablate dashboard: http://127.0.0.1:")
    assert line.endswith("(Ctrl-C ends it)\n")
    assert rest == ""


def test_chart_offers_no_upload() -> None:
    config = graph("some", label="a figure").children[-1].config
    assert config["showSendToCloud"] is False
    assert config["plotlyServerURL"] == ""
