"""The same pages over the same data elsewhere: in PostgreSQL, in a copied file, and after an export and import."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from dash import Dash

from ablate.archive import export_study
from ablate.stores import open_store
from ablate.stores.tables import metadata
from ablate.workspace import Workspace
from dashboards.app import make_app
from dashboards.pages import PAGES
from tests.dashboards.test_hostile import served
from tests.postgresql import Server, postgresql
from tests.test_archive import take_in

__all__ = ["postgresql"]
pytestmark = pytest.mark.slow

PATHS = [
    "/",
    "/axis/mix/mix",
    "/law/rates",
    "/mix/mix",
    "/factors/mix",
    "/parallel/mix",
    "/curves/mix",
    "/compare",
    "/lessons",
    "/lessons/mix",
]
PATHS += ["/study/mix", "/study/live", "/curves/live", "/trial/mix/{trial}"]

MOVING = ("study-now", "study-slots-made", "studies-table")
"""What says how long ago something was, and the list of studies, whose verdicts come in when they are ready."""


def answers(app: Dash, store_url: str) -> Mapping[tuple[str, str], Any]:
    """Path and output -> what is served."""
    trial = open_store(store_url).standings("mix")[0].id
    client = app.server.test_client()
    found = {}
    for path in PATHS:
        for output, answer in served(client, app, path.format(trial=quote(trial, safe=""))):
            if output not in MOVING:
                found[path, output] = answer
    return found


def differing(one: Mapping[tuple[str, str], Any], other: Mapping[tuple[str, str], Any]) -> list[tuple[str, str]]:
    assert one.keys() == other.keys()
    return [key for key in one if one[key] != other[key]]


@pytest.fixture(scope="module")
def expected(app: Dash, store_url: str) -> Mapping[tuple[str, str], Any]:
    return answers(app, store_url)


def test_every_kind_of_page_is_compared() -> None:
    assert {path.split("/")[1] for path in PATHS} == set(PAGES)


def test_pages_over_postgresql_say_what_they_say_over_sqlite(
    postgresql: Server, store_url: str, expected: Mapping[tuple[str, str], Any]
) -> None:
    url = postgresql.new_database()
    open_store(url, write=True).close()
    copy_tables(store_url, url.replace("postgresql:", "postgresql+pg8000:"))
    assert differing(answers(make_app(url), url), expected) == []


def test_pages_over_a_copied_file_say_the_same_and_leave_it_as_it_is(
    tmp_path: Path, store_url: str, expected: Mapping[tuple[str, str], Any]
) -> None:
    copy = tmp_path / "ablate.db"
    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as source:
        source.execute("VACUUM INTO ?", [str(copy)])
    before = copy.read_bytes()
    assert differing(answers(make_app(f"sqlite:///{copy}"), f"sqlite:///{copy}"), expected) == []
    assert copy.read_bytes() == before


def test_pages_over_an_imported_study_have_the_same_numbers(
    tmp_path: Path, store_url: str, expected: Mapping[tuple[str, str], Any]
) -> None:
    other = Workspace(tmp_path / "other")
    other.create()
    origin = Workspace(Path(store_url.removeprefix("sqlite:///")).parent)
    store = open_store(store_url)
    export_study(store, "mix", path=tmp_path / "mix.zip", workspace=origin, artefacts=False)
    store.close()
    take_in(tmp_path / "mix.zip", other)
    app, compared = make_app(other.store_url), 0
    for path in ("/axis/mix/mix", "/parallel/mix", "/curves/mix", "/factors/mix"):
        for output, answer in served(app.server.test_client(), app, path):
            if output.endswith("-made"):
                assert answer == expected[path, output], output
                compared += 1
    assert compared > 4


def copy_tables(source: str, target: str) -> None:
    """Every row of every table, events and clocks included."""
    here, there = sa.create_engine(source), sa.create_engine(target)
    with here.connect() as reading, there.begin() as writing:
        for table in reversed(metadata.sorted_tables):
            writing.execute(table.delete())
        for table in metadata.sorted_tables:
            if rows := [row._asdict() for row in reading.execute(sa.select(table))]:
                writing.execute(table.insert(), rows)
    here.dispose()
    there.dispose()
