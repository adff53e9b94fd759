"""The verb `report` on a store that the synthetic trainer filled."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ablate.cli import app, main
from ablate.errors import AblateError
from ablate.run import run_study
from ablate.schedule.local import LocalScheduler
from ablate.stores import open_store
from ablate.workspace import Workspace
from tests.conftest import make_study


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = Workspace(tmp_path_factory.mktemp("report") / "work")
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    claim = {"axis": "image_size", "expect": "increases", "within": 0.01}
    axes = {"image_size": [112, 448], "connector": ["avg_pool", "c_abstractor"]}
    study = make_study(axes=axes, base={"steps": 2}, metric={"name": "score/4", "goal": "max"}, claims=[claim], seeds=3)
    run_study(study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event())
    store.close()
    return workspace.folder


def report(place: Path, *words: Any, code: int = 0) -> str:
    """What it says on standard output; of a refusal, why."""
    done = CliRunner().invoke(app, ["report", "small", *map(str, words), "--workspace", str(place)])
    if isinstance(done.exception, AblateError):
        assert done.exception.exit_code == code
        return str(done.exception)
    assert done.exit_code == code, done.output
    return done.stdout


def test_report_page_has_design_cost_shares_and_says_simulated(place: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    assert report(place, "-o", page) == f"wrote {page}\n"
    assert [file.name for file in page.parent.iterdir()] == ["page.html"]
    html = page.read_text(encoding="utf-8")
    for expected in (
        "small (simulated)",
        "<dt>Design</dt><dd>grid</dd>",
        "score/4 increases from image_size = 112 to 448; a difference within ±0.01 does not matter",
        "image_size × connector",
        "12 of 12 jobs done",
        "by the stated formula; nothing was trained",
        "Smallest true effect that is found with power 0.8",
    ):
        assert expected in html


def test_report_tables_go_to_standard_output_or_a_file(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "tables.tex"
    printed = report(place, "--format", "latex")
    assert report(place, "--format", "latex", "-o", file) == f"wrote {file}\n"
    assert file.read_text(encoding="utf-8") == printed
    assert "Simulated, not trained: small" in printed
    assert "| image\\_size | 448 | 112 |" in report(place, "--format", "markdown")


def test_report_check_ends_with_zero_until_a_number_moves(place: Path, tmp_path: Path) -> None:
    paper, table = tmp_path / "paper.tex", tmp_path / "table.tex"
    report(place, "--format", "latex", "-o", table)
    paper.write_text(r"\input{table} over \ablate{small/image_size=448/n/score/4}{3} seeds")
    assert report(place, "--check", paper).endswith("marked numbers match the store\n")
    paper.write_text(paper.read_text().replace("{3}", "{4}"))
    said = report(place, "--check", paper, code=1).splitlines()
    assert said[0] == f"{paper}:1: differs: small/image_size=448/n/score/4: printed 4, now 3"
    found = json.loads(report(place, "--check", paper, "--json", code=1))
    assert (found["match"], found["numbers"][0]["outcome"], found["not_read"]) == (False, "differs", [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "latx"], "unknown format 'latx' (html, latex, markdown, svg, pdf); did you mean 'latex'?"),
        (["--check", "paper.tex", "--format", "latex"], "--check reads a paper and writes nothing"),
        (["--check", "nowhere.tex"], "nowhere.tex: there is no such file"),
        (["--json"], "--json is for --check"),
    ],
)
def test_report_refuses_what_it_cannot_do(place: Path, words: list[str], said: str) -> None:
    assert said in report(place, *words, code=2)


def test_report_refuses_a_folder_for_a_page_and_a_file_for_figures(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    assert "name the file to write" in report(place, "-o", tmp_path, code=2)
    assert "figures go into a folder" in report(place, "--format", "svg", "-o", file, code=2)
    assert file.read_text() == "kept"


def test_report_that_fails_keeps_the_old_page(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    monkeypatch.setattr("sys.argv", ["ablate", "report", "small", "nothing", "-o", str(page), "--workspace", str(place)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "old")]
