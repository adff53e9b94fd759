"""The report's page in Chromium, opened as a file: it draws in both colours, keeps long names inside, and asks nobody for anything."""

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from ablate.report import StudyReport
from ablate.report_page import render_report
from tests.browser.test_pages import Complaints
from tests.reported import HOSTILE, report

pytestmark = pytest.mark.browser

LONG = "a.field_of_a_config_whose_path_goes_on_and_on_without_a_space_until_nobody_reads_it_any_more" + HOSTILE
WIDTHS = """() => [...document.querySelectorAll('.plot')].map(plot => plot._fullLayout._size.w)"""


def long_names() -> StudyReport:
    given = report()
    results = given.results.assign(arm=LONG + "=" + given.results["arm"], level=LONG + given.results["size"].astype(str)).rename(
        columns={"level": LONG}
    )
    effects = tuple(replace(effect, axis=LONG, level=f"{LONG}{effect.level}", baseline=LONG) for effect in given.effects)
    return replace(given, study="x" * 64, results=results, effects=effects, axes=(LONG,), question=LONG)


def drawn(page: Page) -> None:
    page.wait_for_function("() => [...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_page_opens_from_a_file_and_holds_long_names(browser: Browser, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_report([report(), long_names()]), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light" if scheme == "light" else "dark")
    complaints = Complaints(page, home=file.as_uri())
    page.goto(file.as_uri())
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    widths = page.evaluate(WIDTHS)
    assert len(widths) == 6
    assert min(widths) > 300
    ink = page.evaluate("document.querySelector('.plot').layout.template.layout.font.color")
    assert ink == ("#1f2328" if scheme == "light" else "#e6edf3")
    page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
    page.wait_for_function("ink => document.querySelector('.plot').layout.template.layout.font.color !== ink", arg=ink)
    assert complaints.found == []
    page.close()


def test_report_page_on_paper_is_no_wider_than_the_sheet(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_report([long_names()]), encoding="utf-8")
    page = browser.new_page(viewport={"width": 720, "height": 1000})
    page.emulate_media(media="print")
    page.goto(file.as_uri())
    drawn(page)
    page.evaluate("draw(false, 680)")  # what `beforeprint` does
    right = page.evaluate("[...document.querySelectorAll('table, .plot, dl')].map(part => part.getBoundingClientRect().right)")
    assert max(right) <= 720
    page.close()
