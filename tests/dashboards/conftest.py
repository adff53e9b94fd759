"""One filled store for all page tests: they only read it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dash import Dash
from dash.development.base_component import Component
from flask.testing import FlaskClient

from ablate.workspace import Workspace
from dashboards.app import make_app
from dashboards.reader import Reader
from tests.dashboards.filled import fill


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("pages") / "work"
    fill(folder).close()
    return Workspace(folder).store_url


@pytest.fixture(scope="session")
def reader(store_url: str) -> Reader:
    return Reader(store_url)


@pytest.fixture(scope="session")
def app(store_url: str) -> Dash:
    return make_app(store_url)


@pytest.fixture
def client(app: Dash) -> FlaskClient:
    return app.server.test_client()


def parts(component: object) -> Iterator[Component]:
    """The component and everything in it."""
    if isinstance(component, list | tuple):
        for child in component:
            yield from parts(child)
    elif isinstance(component, Component):
        yield component
        yield from parts(getattr(component, "children", None))


def text(component: object) -> str:
    """What a person reads."""
    if isinstance(component, list | tuple):
        return " ".join(map(text, component))
    return text(getattr(component, "children", None)) if isinstance(component, Component) else "" if component is None else str(component)


def by_id(component: object, wanted: str) -> Any:
    return next(part for part in parts(component) if getattr(part, "id", None) == wanted)
