"""One Chromium and one dashboard for all browser tests; each test has a context of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from ablate.workspace import Workspace
from tests.browser.screenshots import ARGUMENTS, CHROMIUM, served
from tests.dashboards.filled import fill

expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on the path")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1280, "height": 3000}, color_scheme="light")  # all cards of a page are in sight
    made.set_default_timeout(15_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard over a filled store that stays as it is."""
    folder: Path = tmp_path_factory.mktemp("browser") / "work"
    fill(folder).close()
    with served(Workspace(folder).store_url) as found:
        yield found
