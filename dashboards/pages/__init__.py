"""The pages, one module each: `layout` builds one, `register` adds its callbacks, `version` says when to ask them again.

A page reads the store through the Reader and holds no arithmetic. It raises InputError for what does not exist.
"""

from collections.abc import Sequence
from typing import Protocol

from dash import Dash
from dash.development.base_component import Component

from ablate.errors import InputError, did_you_mean
from dashboards.address import Query, read_path
from dashboards.changes import Sent
from dashboards.pages import axis, compare, curves, factors, law, lessons, mix, parallel, studies, study, trial
from dashboards.reader import Reader
from dashboards.snapshot import Version


class Page(Protocol):
    @property
    def NAMES(self) -> tuple[int, ...]:
        """How many names may follow the page's own in its address."""

    def layout(self, reader: Reader, *, names: Sequence[str], query: Query) -> Component: ...

    def version(self, reader: Reader, *, names: Sequence[str]) -> Version:
        """Changes when the page has something new to show: the input `seen`."""

    def points(self, reader: Reader, *, names: Sequence[str]) -> int:
        """Changes when curves on it have grown, which no event tells: the input `points`. 0 where it has none."""

    def register(self, app: Dash, *, reader: Reader, sent: Sent) -> None: ...


PAGES: dict[str, Page] = {
    "": studies,
    "study": study,
    "curves": curves,
    "axis": axis,
    "factors": factors,
    "parallel": parallel,
    "mix": mix,
    "law": law,
    "lessons": lessons,
    "compare": compare,
    "trial": trial,
}


def find_page(path: str) -> tuple[Page, list[str]]:
    """The page of `/` or `/PAGE/NAME...`, and the names in it."""
    first, *names = read_path(path)
    page = PAGES.get(first)
    if page is None or len(names) not in page.NAMES or not all(names):
        raise InputError(f"no page at {path[:200]}{did_you_mean(first, [name for name in PAGES if name])}; the studies are at /")
    return page, names
