"""The pages in Chromium. No sleeps: every step waits for what a person would wait for."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, TimeoutError, expect

from ablate.journal import make_point
from ablate.workspace import Workspace
from dashboards.address import href
from dashboards.reader import Reader
from dashboards.sharing import UPDATE
from tests.browser.screenshots import served, wait_until_drawn
from tests.dashboards.filled import EVIL, LIVE, MIX, Writer
from tests.dashboards.parts.test_samples import LINES, write_samples

pytestmark = pytest.mark.browser

PATHS = [
    "/",
    "/study/mix",
    "/study/live",
    "/axis/mix/mix",
    "/axis/live/image_size",
    "/law/rates",
    "/law/mix",
    "/mix/mix",
    "/compare?study=mix&study=live",
    "/factors/mix",
    "/factors/live",
    "/parallel/mix",
    "/parallel/live",
    "/curves/mix",
    "/curves/live",
    "/lessons",
    "/lessons/mix",
    "/lessons/live",
    "/lessons/rates",
]


SPILLED = """
[...document.querySelectorAll(".card .main-svg")].filter((drawn) => drawn.checkVisibility()).filter(
  (drawn) => drawn.getBoundingClientRect().bottom > drawn.closest(".card").getBoundingClientRect().bottom + 1
).map((drawn) => drawn.closest(".card").textContent.slice(0, 80))
"""
"""What stands in cards from which a figure hangs out."""


class Complaints:
    """What a page says that it should not: console errors, exceptions, dialogs, requests to other places."""

    def __init__(self, page: Page, *, home: str) -> None:
        self.found: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"exception: {error}"))
        page.on("dialog", lambda dialog: self.found.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self._place(request.url, home))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.found.append(f"{message.type}: {message.text}")

    def _place(self, url: str, home: str) -> None:
        if not url.startswith((home, "data:", "blob:")):
            self.found.append(f"request to {url}")


def zoom(page: Page, graph: str) -> list[float]:
    """Drags over the middle of the figure; the range of x that it then shows."""
    page.locator(f"{graph} .nsewdrag").scroll_into_view_if_needed()
    box = page.locator(f"{graph} .nsewdrag").bounding_box()
    assert box is not None
    shown = f"document.querySelector('{graph} .js-plotly-plot')._fullLayout.xaxis.range"
    before = page.evaluate(shown)
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_function(f"before => JSON.stringify({shown}) !== JSON.stringify(before)", arg=before)
    found: list[float] = page.evaluate(shown)
    return found


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1920)])
def test_every_page_opens_without_a_complaint_and_fits_the_window(page: Page, address: str, scheme: Any, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 1000})
    complaints = Complaints(page, home=address)
    for path in PATHS:
        page.goto(address + path)
        wait_until_drawn(page)
        expect(page.locator("#outage")).to_be_empty()
        expect(page.locator("#failure")).to_be_empty()
        assert complaints.found == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate(SPILLED) == [], path


def test_markup_in_a_question_does_nothing(page: Page, address: str) -> None:
    complaints = Complaints(page, home=address)
    for path in ("/", "/study/live", "/axis/live/image_size", "/law/live"):
        page.goto(address + path)
        expect(page.get_by_text(EVIL)).to_be_visible()
        wait_until_drawn(page)
        assert page.locator("img[src=x]").count() == 0
    assert complaints.found == []


def test_links_lead_from_the_studies_to_a_law_and_back(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="rates", exact=True).click()
    page.get_by_role("link", name="Law", exact=True).click()
    expect(page.get_by_text("What the laws say of a size")).to_be_visible()
    assert page.title() == "ablate · rates"
    page.go_back()
    expect(page.locator("#study-matrix")).to_be_visible()


def test_page_is_reached_by_keyboard_alone(page: Page, address: str) -> None:
    page.goto(address)
    link = page.get_by_role("link", name="mix", exact=True)
    expect(link).to_be_visible()
    for _ in range(20):
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/study/mix"))


def test_trial_appears_live_and_view_is_kept(context: BrowserContext, page: Page, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    writer = Writer(LIVE, workspace=workspace).finish(2)
    with served(workspace.store_url) as address:
        page.goto(f"{address}/study/live")
        wait_until_drawn(page)
        expect(page.locator(".strip .said")).to_have_text("2 of 6 done")
        page.locator(".ag-row").nth(1).click()
        figure = "document.querySelector('#study-curves .js-plotly-plot')"
        chosen = zoom(page, "#study-curves")
        rows = page.locator(".ag-center-cols-container .ag-row")
        writer.finish(1)
        expect(page.locator(".strip .said")).to_have_text("3 of 6 done")
        expect(rows.nth(2)).to_contain_text("done")
        page.wait_for_function(f"() => {figure}.data.some(trace => trace.name === '336')")
        assert page.evaluate(f"{figure}._fullLayout.xaxis.range") == chosen
        expect(rows.nth(1)).to_have_class(re.compile("ag-row-selected"))


def test_update_carries_only_what_is_new(page: Page, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    writer = Writer(LIVE, workspace=workspace)
    job = writer.start()
    writer.store.add_points({(job.id, 1): [make_point(step, "loss", 1 / step) for step in range(1, 5)]})
    curve = "document.querySelector('#study-curves .js-plotly-plot')?.data?.at(-1)"
    with served(workspace.store_url) as address:
        page.goto(f"{address}/study/live")
        page.wait_for_function(f"() => {curve}?.y?.length === 4")
        with page.expect_response(lambda answer: UPDATE in answer.url and "study-curves-made" in answer.text()) as caught:
            writer.store.add_points({(job.id, 1): [make_point(5, "loss", 0.125)]})
        made = caught.value.json()["response"]["study-curves-made"]["data"]
        assert ["append", ["data", 0, "y"], [0.125]] in made["changes"]
        page.wait_for_function(f"() => {curve}.y.length === 5")
        assert page.evaluate(f"{curve}.y") == [1.0, 1 / 2, 1 / 3, 1 / 4, 0.125]


def test_page_that_nobody_sees_does_not_look(page: Page, address: str) -> None:
    page.goto(address)
    with page.expect_request("**/_live*"):
        pass
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})")
    with pytest.raises(TimeoutError), page.expect_request("**/_live*", timeout=3_000):
        pass
    page.evaluate("delete document.hidden")
    with page.expect_request("**/_live*"):
        pass


def test_failure_of_a_part_is_said_until_there_is_news(page: Page, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    writer = Writer(LIVE, workspace=workspace).finish(1)
    with served(workspace.store_url) as address:
        page.goto(f"{address}/study/live")
        wait_until_drawn(page)
        failure = page.get_by_role("alert")
        page.evaluate("dash_clientside.set_props('study-metric', {value: 'nothing'})")
        expect(failure).to_contain_text("unknown 'nothing'")
        page.evaluate("dash_clientside.set_props('study-metric', {value: 'score/8'})")
        wait_until_drawn(page)
        for _ in range(2):
            with page.expect_response("**/_live*"):
                pass
        expect(failure).to_contain_text("unknown 'nothing'")
        writer.finish(1)
        expect(page.locator(".strip .said")).to_have_text("2 of 6 done")
        expect(failure).to_be_empty()


def test_study_appears_and_missing_store_is_waited_for(page: Page, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    with served(workspace.store_url) as address:
        page.goto(address)
        expect(page.get_by_text("there is no store")).to_be_visible()
        writer = Writer(LIVE, workspace=workspace)
        expect(page.get_by_role("link", name="live")).to_be_visible()
        database, away = workspace.folder / "ablate.db", workspace.folder / "away.db"
        database.rename(away)
        expect(page.locator("#outage")).to_contain_text("goes on looking")
        expect(page.get_by_role("link", name="live")).to_be_visible()
        away.rename(database)
        expect(page.locator("#outage")).to_be_empty()
        writer.finish(1)
        expect(page.locator(".progress .said")).to_have_text("1 of 6 done")


@pytest.mark.fault("F36")
def test_page_goes_on_after_the_dashboard_was_away(page: Page, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    writer = Writer(LIVE, workspace=workspace).finish(1)
    with served(workspace.store_url) as address:
        page.goto(f"{address}/study/live")
        wait_until_drawn(page)
    with page.expect_event("requestfailed"):
        writer.finish(1)
    with served(workspace.store_url, port=int(address.rpartition(":")[2])):
        expect(page.locator(".strip .said")).to_have_text("2 of 6 done")


def test_slider_changes_numbers_and_address(page: Page, address: str) -> None:
    page.goto(f"{address}/law/rates")
    wait_until_drawn(page)
    size = page.locator("#law-numbers .size strong")
    expect(size).to_have_text("30B")
    before = page.locator("#law-numbers td.number").first.text_content()
    page.get_by_role("slider").focus()
    page.keyboard.press("Home")
    expect(size).to_have_text("10k")
    expect(page.locator("#law-numbers td.number").first).not_to_have_text(before or "")
    expect(page).to_have_url(re.compile(r"[?&]size=4(&|$)"))
    page.reload()
    expect(size).to_have_text("10k")


def test_axis_metrics_stay_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}/axis/mix/connector?metrics=loss&metrics=score%2F0")
    wait_until_drawn(page)
    expect(page.locator("#axis-figures .dash-graph:visible")).to_have_count(4)
    expect(page).to_have_url(re.compile("metrics=loss&metrics=score%2F0$"))


def draw_box(page: Page, graph: str, *, across: tuple[float, float], along: tuple[float, float]) -> None:
    """Drags from corner to corner; places are shares of the figure's width from the left and of its height from the top."""
    box = page.locator(f"{graph} .nsewdrag").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + across[0] * box["width"], box["y"] + along[0] * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + across[1] * box["width"], box["y"] + along[1] * box["height"], steps=5)
    page.mouse.up()


def test_brush_filters_the_table_and_stays(page: Page, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    writer = Writer(MIX, workspace=workspace).finish(12)
    count, rows = page.locator("#parallel-count"), page.locator("#parallel-trials .ag-center-cols-container .ag-row")
    with served(workspace.store_url) as address:
        page.goto(f"{address}/parallel/mix")
        wait_until_drawn(page)
        expect(count).to_have_text("12 of 12 trials")
        draw_box(page, "#parallel-lines", across=(0.1, 0.25), along=(0.5, 0.98))  # two levels of mix, all that is there
        expect(page).to_have_url(re.compile("brush=mix%3A"))
        drawn = "document.querySelector('#parallel-lines .js-plotly-plot').data.find(trace => trace.name === 'brush').y.length"
        page.wait_for_function(f"() => {drawn} > 0")
        draw_box(page, "#parallel-lines", across=(0.1, 0.25), along=(0.8, 0.98))  # the lowest level alone
        expect(count).to_have_text("6 of 12 trials")
        expect(rows).to_have_count(6)
        writer.finish(3)
        expect(count).to_have_text("6 of 15 trials")
        page.reload()
        expect(count).to_have_text("6 of 15 trials")
        expect(rows).to_have_count(6)
        page.get_by_role("button", name="Clear the brush").click()
        expect(count).to_have_text("15 of 15 trials")
        expect(page).not_to_have_url(re.compile("brush"))


def test_pair_of_the_matrix_and_forests_are_a_click_away(page: Page, address: str) -> None:
    page.goto(f"{address}/factors/mix?a=connector&b=mix")
    wait_until_drawn(page)
    title = "() => document.querySelector('#factors-lines .js-plotly-plot').layout.title.text"
    assert page.evaluate(title) == "simulated: score/4 by connector and mix"
    box = page.locator("#factors-matrix .nsewdrag").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"])
    page.wait_for_function(f"() => ({title})() === 'simulated: score/4 by mix and connector'")
    expect(page).to_have_url(re.compile(r"a=mix&b=connector$"))
    page.get_by_role("button", name="Compute importance by fANOVA").click()
    page.wait_for_function(
        "() => document.querySelector('#factors-bars .js-plotly-plot').data.some(trace => trace.name === 'fANOVA')", timeout=60_000
    )


def test_dark_follows_the_system_and_the_switch(page: Page, address: str) -> None:
    page.goto(f"{address}/study/mix")
    wait_until_drawn(page)
    root, ink = page.locator("html"), "document.querySelector('#study-curves .js-plotly-plot')._fullLayout.font.color"
    expect(root).to_have_attribute("data-theme", "light")
    page.wait_for_function("() => document.querySelector('#study-curves .js-plotly-plot')?.data?.length > 0")  # not the frame before it
    light = page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    expect(root).to_have_attribute("data-theme", "dark")
    page.wait_for_function(f"before => {ink} !== before", arg=light)
    page.get_by_label("Light").check()
    expect(root).to_have_attribute("data-theme", "light")
    page.wait_for_function(f"before => {ink} === before", arg=light)
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")


def test_token_opens_the_pages_and_leaves_the_address(page: Page, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Writer(LIVE, workspace=workspace).finish(1)
    with served(workspace.store_url, token="sixteen letters!") as address:  # noqa: S106
        page.goto(f"{address}/study/live?metric=loss")
        expect(page.get_by_text("ask for a token")).to_be_visible()
        page.get_by_label("Token").fill("another")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_text("That is not the token")).to_be_visible()
        page.get_by_label("Token").fill("sixteen letters!")
        page.get_by_role("button", name="Open").click()
        wait_until_drawn(page)
        expect(page.locator(".strip .said")).to_have_text("1 of 6 done")
        expect(page).to_have_url(re.compile(r"/study/live\?metric=loss"))
        assert page.evaluate("document.cookie") == ""
        page.context.clear_cookies()
        page.goto(f"{address}/study/live?token=sixteen+letters!")
        expect(page.locator(".strip .said")).to_have_text("1 of 6 done")
        assert "token" not in page.url


def test_retry_and_stop_are_pressed(page: Page, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Writer(LIVE, workspace=workspace, base={"fail": "raise"}).finish()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    with served(workspace.store_url, more=["--allow-control"]) as address:
        page.goto(f"{address}/study/live")
        wait_until_drawn(page)
        said = page.locator("#control-said")
        expect(said).to_be_empty()
        page.get_by_role("button", name="Retry lost").click()
        expect(said).to_have_text("nothing lost")
        page.get_by_role("button", name="Retry failed").click()
        expect(said).to_contain_text("6 jobs queued again")
        expect(page.locator("#study-events")).to_contain_text("asked for by the dashboard")
        expect(said).to_contain_text("6 jobs queued again")
        page.get_by_role("button", name="Stop the run").click()
        expect(said).to_have_text("no run works on 'live'")
        assert len(asked) == 1


def test_selected_row_opens_its_trial_with_its_log(page: Page, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Writer(LIVE, workspace=workspace, base={"fail": "raise"}).finish(1)
    complaints = Complaints(page, home="http://127.0.0.1")
    with served(workspace.store_url, more=["--workspace", str(tmp_path)]) as address:
        page.goto(f"{address}/study/live")
        wait_until_drawn(page)
        page.locator(".ag-row").first.click()
        page.locator("#study-opened").get_by_role("link").click()
        expect(page).to_have_url(re.compile("/trial/live/base.s0-"))
        expect(page.locator("#trial-standing")).to_contain_text("RuntimeError")
        expect(page.locator("#trial-log")).to_contain_text("Traceback")
        wait_until_drawn(page)
        assert page.locator("#trial-card-0").is_visible()
        for width in (1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints.found == []


def test_published_laws_and_next_runs_of_the_law_page(page: Page, address: str) -> None:
    page.goto(f"{address}/law/rates?published=mm1&published=step_law&tokens=100")
    wait_until_drawn(page)
    expect(page.locator("#law-numbers")).to_contain_text("STEP_LAW")
    expect(page.locator("#law-figure .legend")).to_contain_text("STEP_LAW at D = 100B")
    assert page.locator("#law-next").inner_text() == ""
    page.click("#law-propose")
    expect(page.locator("#law-next")).to_contain_text("ablate next rates")
    page.click("#law-propose")
    expect(page.locator("#law-next")).to_be_empty()
    assert "published=step_law" in page.url


def test_studies_chosen_to_compare_are_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}/compare")
    expect(page.locator("#compare-notes")).to_contain_text("Choose two studies")
    page.goto(f"{address}/compare?study=mix&study=live&metric=score/8")
    expect(page.locator("#compare-declared")).to_contain_text("image_size")
    wait_until_drawn(page)
    page.wait_for_url(re.compile("study=mix&study=live&metric=score%2F8"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_samples_have_their_pictures_and_a_study_its_log(page: Page, tmp_path: Path, scheme: Any) -> None:
    workspace = Workspace(tmp_path)
    job = Writer(LIVE, workspace=workspace).finish(1).start()
    workspace.attempt(job.id, 1).mkdir(parents=True)
    (workspace.attempt(job.id, 1) / "log.txt").write_text(f"step 7 {EVIL}\n")
    trial = Reader(workspace.store_url).snapshot("live").trials[0]
    write_samples(workspace, trial.chain[-1], LINES)
    page.emulate_media(color_scheme=scheme)
    with served(workspace.store_url, more=["--workspace", str(tmp_path)]) as address:
        complaints = Complaints(page, home=address)
        page.goto(address + href("trial", "live", trial.id))
        expect(page.locator(".sample")).to_have_count(len(LINES))
        wait_until_drawn(page)
        assert page.evaluate("[...document.querySelectorAll('.sample img')].map((image) => image.naturalWidth)") == [8, 80, 8]
        expect(page.locator(".sample").first).to_contain_text(EVIL)
        page.goto(f"{address}/study/live")
        expect(page.locator("#study-log-tail")).to_contain_text(f"step 7 {EVIL}")
        wait_until_drawn(page)
        assert page.locator("img[src=x]").count() == 0
        assert complaints.found == []
