"""The browser's look for news, by itself: a page of nothing but `browser.js`, at whose server each look waits until the test answers it."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

SCRIPT = Path("dashboards/assets/browser.js")
QUIET = [None, None, None, None]
LOOK = "([path, version, outage]) => ablate.look(1, path, {path: path, version: version, shown: true}, 0, outage || '')"
BEGUN = f"asked => {{ window.begun = window.begun || []; window.begun.push(({LOOK})(asked)); }}"

pytestmark = pytest.mark.browser


@pytest.fixture
def look(page: Page) -> Page:
    """`window.asked` has the looks at the server; `window.answer(found)` answers the last."""
    page.route("**/*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto("http://pages.test/study/a")
    page.evaluate(
        """() => {
            window.dash_clientside = {no_update: null};
            window.asked = [];
            window.fetch = (address) => new Promise((resolve, reject) => {
                window.asked.push(address);
                window.answer = (found) => resolve(new Response(JSON.stringify(found)));
                window.hang_up = () => reject(new TypeError("gone"));
            });
        }"""
    )
    page.add_script_tag(content=SCRIPT.read_text(encoding="utf-8"))
    page.evaluate("window.ablate = window.dash_clientside.ablate")
    return page


def said(page: Page, number: int) -> Any:
    return page.evaluate("number => window.begun[number]", number)


def begin(page: Page, path: str, version: str, outage: str = "") -> None:
    page.evaluate(BEGUN, [path, version, outage])


def answer(page: Page, found: dict[str, Any]) -> None:
    page.evaluate(f"window.answer({json.dumps(found)})")


def test_look_with_news_changes_what_was_seen(look: Page) -> None:
    begin(look, "/study/a", "1")
    answer(look, {"version": "2", "points": 0})
    assert said(look, 0) == [{"path": "/study/a", "version": "2", "shown": True}, None, None, None]


def test_look_that_returns_after_navigation_changes_nothing(look: Page) -> None:
    begin(look, "/study/a", "1")
    look.evaluate("history.pushState(null, '', '/study/b')")
    answer(look, {"version": "2", "points": 3})
    assert said(look, 0) == QUIET
    begin(look, "/study/b", "1")
    answer(look, {"version": "2", "points": 0})
    assert said(look, 1)[0] == {"path": "/study/b", "version": "2", "shown": True}


def test_one_look_at_a_time(look: Page) -> None:
    begin(look, "/study/a", "1")
    begin(look, "/study/a", "1")
    assert said(look, 1) == QUIET
    assert look.evaluate("window.asked") == ["/_live?path=%2Fstudy%2Fa"]
    look.evaluate("window.hang_up()")
    assert "does not answer" in said(look, 0)[3]
    begin(look, "/study/a", "1", outage="The dashboard does not answer.")
    answer(look, {"version": "1", "points": 0})
    assert said(look, 2) == [None, None, None, ""]
