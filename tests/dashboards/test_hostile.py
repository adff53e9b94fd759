"""Names, labels, reasons and log lines that are markup: in everything that is served they are text, and in figures they are escaped."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from dash import Dash
from flask.testing import FlaskClient

from ablate import synthetic
from ablate.attempt import Outcome
from ablate.draft import Arm
from ablate.journal import make_point
from ablate.planner import make_plan
from ablate.record import Recorder
from ablate.schedule import Finished, Notice, Started
from ablate.stores import open_store
from ablate.study import Study
from ablate.workspace import Workspace
from dashboards.app import make_app
from dashboards.pages import PAGES
from tests.dashboards.filled import EVIL
from tests.dashboards.test_security import call

LINK = "<a href='javascript:alert(1)'>x</a>"
MARKS = ("<img", "<a ")
TEXT = {"children", "value", "label", "title", "aria-label", "headerName", "headerTooltip", "message", "options", "data", "name", "search"}
"""Properties that a browser is given as text."""
UNSHOWN = {"uirevision", "legendgroup", "customdata", "ids", "meta"}
"""Parts of a figure that plotly draws nowhere."""
MARKUP = ("Markdown", "DangerouslySetInnerHTML", "Iframe", "Script")
CODE = ("dangerously_allow_html", "dangerously_allow_code", "srcDoc", "innerHTML", "cellRenderer")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A study whose question, arm, level, metric, failure, notice and log are markup."""
    folder: Path = tmp_path_factory.mktemp("hostile") / "work"
    workspace = Workspace(folder)
    workspace.create()
    study = Study.model_validate(
        {
            "schema": 1,
            "name": "hostile",
            "question": f"Is {EVIL} or {LINK} harmless?",
            "trainer": "synthetic",
            "axes": {"connector": ["avg_pool", "c_abstractor"]},
            "metric": {"name": EVIL, "goal": "min"},
            "claims": [{"lesson": "connector_type", "axis": "connector", "expect": "increases"}],
            "seeds": [0, 1, 2],
        }
    )
    levels: tuple[Any, ...] = (LINK, EVIL)
    arms = []
    for level, kind in zip(levels, study.axes["connector"], strict=True):
        settings = synthetic.Config(connector=kind)
        arms.append(Arm(name=f"arm {level}", levels={"connector": level}, changes={}, config=settings.model_dump(), settings=settings))
    plan = make_plan(study, arms)
    store = open_store(workspace.store_url, write=True)
    recorder = Recorder(plan, store=store, workspace=workspace, axes={"connector": levels}, simulated=True)
    for number, job in enumerate(recorder.missing()):
        recorder.apply(Started(job.id, 1))
        points = tuple(make_point(step, key, number + step) for step in (1, 2) for key in (EVIL, LINK))
        store.add_points({(job.id, 1): points})
        workspace.attempt(job.id, 1).mkdir(parents=True)
        (workspace.attempt(job.id, 1) / "log.txt").write_text(f"\x1b[31m{EVIL}\x1b[0m {LINK}\n", encoding="utf-8")
        line = {
            "task": EVIL,
            "shots": 4,
            "prompt": LINK,
            "expected": [EVIL, LINK],
            "answer": EVIL,
            "images": ["../../x.png", f"data:{EVIL}"],
        }
        (workspace.artifacts / job.id).mkdir()
        (workspace.artifacts / job.id / "samples.jsonl").write_text(json.dumps(line), encoding="utf-8")
        end = (
            Outcome(job.id, 1, "failed", "code", reason=f"RuntimeError: {EVIL} {LINK}")
            if number == 0
            else Outcome(job.id, 1, "done", metrics=points[-2:])
        )
        recorder.apply(Finished(end))
    recorder.apply(Notice(f"{EVIL} {LINK}"))
    store.close()
    return workspace


@pytest.fixture(scope="module")
def hostile(workspace: Workspace) -> Dash:
    return make_app(workspace.store_url, workspace=workspace.folder, allow_control=True)


def strings(value: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of a JSON value and the keys that lead to it; positions in lists are left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield ((*where, "a key"), key)
            yield from strings(inner, (*where, key))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, where)
    elif isinstance(value, str):
        yield where, value


def properties(value: Any) -> Iterator[tuple[str, Any]]:
    """`component.property` -> value of everything in a served layout."""
    if isinstance(value, dict):
        props = value.get("props", {})
        yield from ((f"{props['id']}.{key}", inner) for key, inner in props.items() if "id" in props)
        for inner in value.values():
            yield from properties(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from properties(inner)


def served(client: FlaskClient, app: Dash, path: str) -> Iterator[tuple[str, Any]]:
    """What the callbacks of a page answer, the page's own layout first."""
    first = json.loads(call(client, app, "content.children", {"url.pathname": path}).get_data())["response"]
    yield "content", first["content"]
    known = dict(properties(first)) | {"seen.data": first["seen"]["data"], "points.data": first["points"]["data"], "dark.data": False}
    for output, callback in app.callback_map.items():  # those of the browser itself have no "callback"
        asked = [f"{item['id']}.{item['property']}" for item in [*callback["inputs"], *callback["state"]]]
        here = {name.partition(".")[0] for name in known}
        if "content.children" in output or "callback" not in callback or not {name.partition(".")[0] for name in asked} <= here:
            continue
        answer = call(client, app, output, {name: known[name] for name in asked if name in known})
        assert answer.status_code in (200, 204), output
        if answer.status_code == 200:
            said = json.loads(answer.get_data())
            assert "failure" not in said.get("sideUpdate", {}), said["sideUpdate"]
            known |= dict(properties(said["response"]))
            yield from said["response"].items()


PATHS = [
    "/",
    "/study/hostile",
    "/axis/hostile/connector",
    "/law/hostile",
    "/mix/hostile",
    "/factors/hostile",
    "/parallel/hostile",
    "/curves/hostile",
    "/compare",
    "/lessons",
    "/lessons/hostile",
    "/trial/hostile/{trial}",
]


def test_every_kind_of_page_is_looked_at() -> None:
    assert {path.split("/")[1] for path in PATHS} == set(PAGES)


@pytest.mark.parametrize("path", PATHS)
def test_markup_is_text_in_all_that_a_page_is_served(hostile: Dash, workspace: Workspace, path: str) -> None:
    found, drawn = 0, ""
    trial = open_store(workspace.store_url).standings("hostile")[0].id
    path = path.format(trial=quote(trial, safe=""))
    for component, answer in served(hostile.server.test_client(), hostile, path):
        for where, text in strings(answer):
            assert where[-1] != "a key" or text not in CODE, (component, where)
            assert where[-1] != "type" or text not in MARKUP, (component, where)
            assert where[-1] not in ("href", "src") or not text.startswith("javascript:"), (component, where)
            grid = component.endswith("-trials-made")
            figure = "figure" in where or (component.endswith("-made") and not grid)
            drawn += text if figure else ""
            if not any(mark in text for mark in MARKS):
                continue
            found += 1
            if figure:  # of which plotly reads some HTML
                assert where[-1] in UNSHOWN, (component, where, text)
            else:
                assert where[-1] in TEXT or grid, (component, where, text)
    assert found
    assert not path.startswith(("/study", "/axis", "/trial")) or "&lt;img" in drawn


def test_answer_to_a_foolish_request_is_no_page(hostile: Dash) -> None:
    """What an error quotes of a request is served as text or as JSON, with no guessing of the browser's."""
    client = hostile.server.test_client()
    for answer in (
        client.get(f"/study/{EVIL}"),
        client.get(f"/assets/{EVIL}"),
        client.get(f"/_dash-component-suites/{EVIL}/x.js"),
        client.get("/", headers={"Host": "evil.test"}),
        client.post("/_dash-update-component", json={"output": EVIL}),
    ):
        assert EVIL not in answer.get_data(as_text=True)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
