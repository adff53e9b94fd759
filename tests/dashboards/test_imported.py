"""The pages of a study whose runs were made elsewhere."""

import random
from pathlib import Path

import pytest

from ablate.workspace import Workspace
from dashboards.pages import find_page
from dashboards.reader import Reader
from tests.dashboards.conftest import parts, text
from tests.imports.typed import typed, write_table


@pytest.fixture
def imported(workspace: Workspace, tmp_path: Path) -> Reader:
    """A study with a law, drawn rates, levels of every kind and an axis that does not apply everywhere."""
    noise = random.Random(1)
    rows = [
        (size, noise.uniform(1e-4, 1e-2), kind, 2 if kind == "<b>deep" else "", seed, 2 + noise.random())
        for size in (1_000_000, 4_000_000)
        for kind in ("flat", "<b>deep")
        for seed in range(8)
    ]
    table = write_table(tmp_path / "runs.csv", ("n_params", "lr", "kind", "depth", "seed", "loss"), rows)
    words = ("--metric", "loss", "--goal", "min", "--size", "n_params", "--rate", "lr")
    typed("import", "csv", table, "--as", "elsewhere", *words, place=workspace)
    return Reader(workspace.store_url)


@pytest.mark.parametrize(
    "path", ["/", "/study/elsewhere", "/axis/elsewhere", "/axis/elsewhere/kind", "/axis/elsewhere/lr", "/law/elsewhere"]
)
def test_page_of_imported_runs_is_shown_and_called_neither_simulated_nor_live(imported: Reader, path: str) -> None:
    page, names = find_page(path)
    shown = page.layout(imported, names=names, query={})
    assert "elsewhere" in text(shown)
    assert not any("simulated" in str(getattr(part, "className", "")) for part in parts(shown))
