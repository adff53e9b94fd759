"""Pictures of the pages of a store: `python -m tests.browser.screenshots --store URL --study NAME [--law NAME]`.

Starts the dashboard, opens each page in Chromium, waits until its figures are drawn and writes `docs/img/<page>.png`.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page, sync_playwright

from ablate.dashboard import pages_environment
from ablate.scaling import mix_axes
from ablate.stores import open_store
from dashboards.address import href

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FOLDER = Path("docs/img")


@contextmanager
def served(store_url: str, *, port: int = 0, token: str | None = None, more: Sequence[str] = ()) -> Iterator[str]:
    """The address of a dashboard over this store, on a free port unless told."""
    command = [sys.executable, "-m", "dashboards.app", "--store", store_url, "--port", str(port), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=pages_environment(token)) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ablate dashboard: http://"), line
            yield line.split()[2].rstrip("/")
        finally:
            process.terminate()


@contextmanager
def browser_page(**options: Any) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser.new_context(**options).new_page()
        browser.close()


def wait_until_drawn(page: Page) -> None:
    """The page has its content, no callback is on its way and every figure has its frame."""
    page.wait_for_selector("main h1, main .message")
    page.wait_for_function(
        "() => !document.querySelector('[data-dash-is-loading]')"
        " && [...document.querySelectorAll('.dash-graph')].every(graph => graph.querySelector('.main-svg'))"
    )
    page.wait_for_load_state("networkidle")


def addresses(store_url: str, *, study: str, law: str | None) -> Mapping[str, str]:
    store = open_store(store_url)
    records = {record.name: record for record in store.studies()}
    trial = store.standings(study)[0].id
    store.close()
    laws = [name for name, record in records.items() if record.spec.get("law")]
    axis = next(iter(records[study].axes))
    found = {"studies": "/", "study": href("study", study), "axis": href("axis", study, axis)}
    found |= {"lessons": "/lessons", "lessons-study": href("lessons", study), "trial": href("trial", study, trial)}
    mixes = [name for name, record in records.items() if mix_axes(record.spec.get("axes") or {})]
    found |= {"mix": href("mix", mixes[0])} if mixes else {}
    found |= {"compare": "/compare?" + urlencode([("study", name) for name in [study, *(name for name in records if name != study)][:2]])}
    found |= {name: href(name, study) for name in ("factors", "parallel", "curves")}
    return found | ({"law": href("law", law or laws[0])} if law or laws else {})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--study", required=True)
    parser.add_argument("--law")
    parser.add_argument("--workspace", default=".ablate")
    parser.add_argument("--to", type=Path, default=FOLDER)
    parser.add_argument("--size", default="1280x900")
    parser.add_argument("--dark", action="store_true")
    asked = parser.parse_args()
    width, height = map(int, asked.size.split("x"))
    asked.to.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"viewport": {"width": width, "height": height}, "color_scheme": "dark" if asked.dark else "light"}
    with served(asked.store, more=["--workspace", asked.workspace]) as address, browser_page(**options) as page:
        for name, path in addresses(asked.store, study=asked.study, law=asked.law).items():
            page.set_viewport_size({"width": width, "height": height})
            page.goto(address + path)
            wait_until_drawn(page)
            tall = height
            while (now := page.evaluate("document.documentElement.scrollHeight")) > tall:
                tall = now  # what stood below the window is drawn now
                page.set_viewport_size({"width": width, "height": tall})
                wait_until_drawn(page)
            page.screenshot(path=asked.to / f"{name}.png", full_page=True)
            print(asked.to / f"{name}.png")


if __name__ == "__main__":
    main()
