"""Large tables, the keyboard, addresses that lead nowhere and access that ended, in Chromium."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from ablate.attempt import Outcome
from ablate.journal import make_point
from ablate.planner import make_plan
from ablate.stores import Store, open_store
from ablate.study import Study
from ablate.workspace import Workspace
from dashboards.access import COOKIE_SECONDS, Access
from tests.browser.screenshots import served, wait_until_drawn
from tests.browser.test_pages import PATHS, Complaints
from tests.dashboards.filled import LIVE, Writer, arms_of
from tests.dashboards.test_mix import made

pytestmark = pytest.mark.browser

MANY = {"image_size": [224, 336], "num_tokens": [16, 36, 64, 144, 256]}
UPDATE = "/_dash-update-component"
TOKEN = "sixteen letters!"  # noqa: S105
FOCUSED = """
() => {
  const here = document.activeElement;
  if (here === document.body) return null;
  const byId = (here.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id));
  const labels = [...(here.labels ?? []), ...byId].map((label) => label?.textContent);
  const said = [here.getAttribute("aria-label"), here.title, here.textContent, ...labels];
  const shown = (one) => {
    const style = getComputedStyle(one);
    return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
  };
  window.tabbed ??= [];
  const place = window.tabbed.indexOf(here);
  if (place < 0) window.tabbed.push(here);
  return {
    again: place >= 0,
    named: said.some((text) => (text ?? "").trim() !== "") || here.getAttribute("role") === "gridcell",
    shown: shown(here) || shown(here.parentElement) || !!here.closest(".ag-root"),
    seen: here.getBoundingClientRect().width > 0,
    what: here.outerHTML.slice(0, 160),
  };
}
"""
"""Of what has the focus: whether Tab was there before, whether it has a name and whether a person sees that it has the focus."""


@pytest.fixture
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Study, str]]:
    """A thousand trials, of which thirty have ended."""
    workspace = Workspace(tmp_path_factory.mktemp("many") / "work")
    workspace.create()
    spec = {"schema": 1, "name": "many", "trainer": "synthetic", "axes": MANY, "metric": {"name": "loss", "goal": "min"}}
    study = Study.model_validate(spec | {"seeds": list(range(100))})
    plan = make_plan(study, arms_of(study, base={}))
    store = open_store(workspace.store_url, write=True)
    store.record_plan(plan, axes=study.axes, simulated=True)
    for place, job in enumerate(store.jobs("many")[:30]):
        finish(store, job.id, loss=1 + place / 100)
    with served(workspace.store_url) as address:
        yield store, study, address
    store.close()


def finish(store: Store, job: str, *, loss: float) -> None:
    points = (make_point(10, "loss", loss),)
    store.finish("many", Outcome(job=job, attempt=1, state="done", metrics=points, started=100.0, seconds=2.0, host="here", pid=7))


def test_table_of_a_thousand_trials_scrolls_filters_sorts_and_keeps_the_selection(page: Page, many: tuple[Store, Study, str]) -> None:
    store, _, address = many
    page.goto(f"{address}/study/many")
    rows = page.locator("#study-trials .ag-center-cols-container .ag-row")
    expect(rows.first).to_be_visible()
    assert page.locator("#study-trials [role=treegrid], #study-trials [role=grid]").first.get_attribute("aria-rowcount") == "1001"
    assert rows.count() < 60
    page.locator("#study-trials .ag-body-viewport").evaluate("body => { body.scrollTop = body.scrollHeight }")
    expect(page.locator("#study-trials .ag-row[row-index='999']")).to_be_visible()
    assert rows.count() < 60
    page.locator("#study-trials .ag-body-viewport").evaluate("body => { body.scrollTop = 0 }")
    page.locator("#study-trials .ag-header-cell[col-id=seed]").click()
    expect(page.locator("#study-trials .ag-row[row-index='0'] [col-id=seed]")).to_have_text("0")
    page.locator("#study-trials .ag-header-cell[col-id=seed]").click()
    expect(page.locator("#study-trials .ag-row[row-index='0'] [col-id=seed]")).to_have_text("99")
    page.locator("#study-trials .ag-header-cell[col-id=state]").hover()
    page.locator("#study-trials .ag-header-cell[col-id=state] .ag-header-cell-filter-button").click()
    page.locator(".ag-popup .ag-filter input[type=text]").first.fill("done")
    grid = page.locator("#study-trials [role=treegrid], #study-trials [role=grid]").first
    expect(grid).to_have_attribute("aria-rowcount", "31")
    page.keyboard.press("Escape")
    first = page.locator("#study-trials .ag-row[row-index='0']")
    first.click()
    expect(first).to_have_class(re.compile("ag-row-selected"))
    chosen = first.get_attribute("row-id")
    finish(store, store.jobs("many", state="queued")[0].id, loss=0.5)
    expect(grid).to_have_attribute("aria-rowcount", "32")
    expect(page.locator(f"#study-trials .ag-row[row-id='{chosen}']").first).to_have_class(re.compile("ag-row-selected"))


def test_cards_below_the_window_follow_the_news_when_they_come_near(page: Page, many: tuple[Store, Study, str]) -> None:
    store, _, address = many
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data_json["output"]) if UPDATE in request.url else None)
    page.set_viewport_size({"width": 1280, "height": 600})
    page.goto(f"{address}/study/many")
    expect(page.locator("#study-progress")).to_contain_text("30 of 1000 done")
    wait_until_drawn(page)
    asked.clear()  # the page was short at first, and all of it in sight
    finish(store, store.jobs("many", state="queued")[0].id, loss=0.5)
    expect(page.locator("#study-progress")).to_contain_text("31 of 1000 done")
    below = {"study-matrix-made.data", "study-trials-made.data", "study-events.children"}
    assert below.isdisjoint(asked)
    page.get_by_role("heading", name="Events").scroll_into_view_if_needed()
    expect(page.locator("#study-events li", has_text="done")).to_have_count(31)
    assert "study-events.children" in asked


def test_law_of_the_mix_is_drawn_and_the_page_fits_the_window(page: Page, tmp_path: Path) -> None:
    made(tmp_path, lattice=2)
    complaints = Complaints(page, home="http://127.0.0.1")
    with served(Workspace(tmp_path / "work").store_url) as address:
        page.goto(f"{address}/mix/small?form=regmix")
        wait_until_drawn(page)
        page.evaluate(
            "() => { window.widest = 0; const look = () => {"
            " window.widest = Math.max(window.widest, document.documentElement.scrollWidth); requestAnimationFrame(look) }; look() }"
        )
        page.get_by_role("button", name="Fit the law of the mix").click()
        expect(page.get_by_role("table")).to_contain_text("Best share")
        for figure in ("surface", "profiles"):
            page.wait_for_function(f"() => document.querySelector('#mix-{figure} .js-plotly-plot')?.data?.length > 0")
        wait_until_drawn(page)
        assert page.evaluate("window.widest") <= 1280
    assert complaints.found == []


@pytest.mark.parametrize("path", ["/study/nothing", "/trial/mix/nothing", "/nothing"])
def test_address_of_nothing_says_so_and_leads_back(page: Page, address: str, path: str) -> None:
    complaints = Complaints(page, home=address)
    answer = page.goto(address + path)
    assert answer is not None
    assert answer.status == 404
    expect(page.locator("main .message")).to_contain_text("nothing")
    page.locator("main .nothing").get_by_role("link", name="All studies").click()
    expect(page.get_by_role("link", name="mix", exact=True)).to_be_visible()
    assert [said for said in complaints.found if "404" not in said] == []
    assert len(complaints.found) <= 1


def test_access_that_ended_is_asked_for_again_once(page: Page, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Writer(LIVE, workspace=workspace).finish(1).store.close()
    access, loaded = Access(TOKEN), []
    page.on("request", lambda request: loaded.append(request.method) if request.is_navigation_request() else None)
    with served(workspace.store_url, token=TOKEN) as address:
        page.goto(f"{address}/study/live?metric=loss&token={TOKEN}")
        wait_until_drawn(page)
        loaded.clear()
        ended = access.make_cookie(now=time.time() - COOKIE_SECONDS - 1)
        page.context.add_cookies([{"name": access.cookie_name, "value": ended, "url": address, "httpOnly": True, "sameSite": "Strict"}])
        expect(page.get_by_text("Your access ended after 5 days. Give the token again")).to_be_visible()
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        expect(page.locator(".strip .said")).to_have_text("1 of 6 done")
        assert loaded == ["GET", "POST", "GET"]
        place = urlsplit(page.url)
        assert (place.path, parse_qs(place.query)["metric"]) == ("/study/live", ["loss"])


def test_brush_by_keyboard_alone(page: Page, address: str) -> None:
    page.goto(f"{address}/parallel/mix")
    wait_until_drawn(page)
    count = page.locator("#parallel-count")
    expect(count).to_have_text("23 of 23 trials")
    tab_to(page, "parallel-from")
    page.keyboard.type("45:45:10")
    page.keyboard.press("Tab")
    page.keyboard.type("45:45:10")
    page.keyboard.press("Enter")
    expect(count).to_have_text("6 of 23 trials")
    expect(page).to_have_url(re.compile("brush=mix%3A"))
    page.reload()
    expect(count).to_have_text("6 of 23 trials")
    expect(page.get_by_label("From")).to_have_value("45:45:10")
    tab_to(page, "parallel-to")
    page.keyboard.press("Control+a")
    page.keyboard.type("none of them")
    tab_to(page, "parallel-keep")
    page.keyboard.press("Enter")
    expect(page.locator("#parallel-typed-said")).to_contain_text("no level 'none of them' of mix (there: ")
    expect(count).to_have_text("6 of 23 trials")
    tab_to(page, "parallel-clear")
    page.keyboard.press("Enter")
    expect(count).to_have_text("23 of 23 trials")
    expect(page.get_by_label("From")).to_have_value("")


def tab_to(page: Page, name: str) -> None:
    """With Tab alone, from wherever the focus is."""
    for _ in range(80):
        if page.evaluate("document.activeElement.id") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name}")


def test_tab_shows_where_it_is_on_every_page(page: Page, address: str) -> None:
    found: dict[str, list[Any]] = {}
    kinds = {path.split("/")[1].partition("?")[0]: path for path in reversed(PATHS) if path != "/mix/mix"}  # the first path of each
    for path in [*kinds.values(), "/study/nothing"]:
        page.goto(address + path)
        wait_until_drawn(page)
        for _ in range(60):
            page.keyboard.press("Tab")
            here = page.evaluate(FOCUSED)
            if here is None or here["again"]:
                break
            if here["seen"] and not (here["named"] and here["shown"]):
                found.setdefault(path, []).append(here)
    assert not found, [(path, one["named"], one["shown"], one["what"]) for path, all_of in found.items() for one in all_of]
