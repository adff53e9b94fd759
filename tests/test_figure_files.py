"""Files need kaleido and a browser; where they are not, the tests of the files are skipped and the one of what is said then runs."""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ablate.errors import EnvironmentMissing
from ablate.figure_files import write_figures
from ablate.report_figures import drawings
from tests.reported import law, report


def test_write_figures_without_kaleido_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)  # as the interpreter notes a module that is not there
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        EnvironmentMissing, match=r"kaleido, which is not installed; .*'ablate\[figures\]'.*install Chrome or Chromium"
    ) as refused:
        write_figures([report()], folder=tmp_path / "figures", form="svg")
    assert refused.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_write_figures_that_are_not_all_drawn_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class BrowserFailedError(Exception):
        pass

    def write_first(specs: list[dict[str, Any]], **_options: object) -> None:
        specs[0]["path"].write_text("new")
        raise BrowserFailedError

    errors = SimpleNamespace(BrowserFailedError=BrowserFailedError, ChromeNotFoundError=BrowserFailedError)
    monkeypatch.setitem(sys.modules, "kaleido", SimpleNamespace(write_fig_from_object_sync=write_first, errors=errors))
    folder = tmp_path / "figures"
    folder.mkdir()
    old = [folder / f"resolution-{name}.svg" for name in ("effects", "of-an-earlier-report")]
    for file in old:
        file.write_text("old")
    with pytest.raises(EnvironmentMissing, match="none starts here"):
        write_figures([report()], folder=folder, form="svg")
    assert sorted(tmp_path.rglob("*")) == [folder, *old]
    assert [file.read_text() for file in old] == ["old", "old"]


def test_drawings_have_names_of_their_own() -> None:
    results = report().results.assign(**{"si/ze": 1, "si:ze": 2})
    names = [drawing.name for drawing in drawings(report(results=results, axes=("size", "si/ze", "si:ze"), law=law()))]
    assert names == ["effects", "by-size", "by-si-ze", "by-si-ze-2", "law", "trials"]


@pytest.mark.browser
@pytest.mark.skipif(find_spec("kaleido") is None, reason="kaleido is an extra: pip install 'ablate[figures]'")
@pytest.mark.parametrize(("form", "start"), [("svg", b"<svg"), ("pdf", b"%PDF")])
def test_write_figures_writes_each_figure_whole(tmp_path: Path, form: str, start: bytes) -> None:
    folder = tmp_path / "figures"
    paths = write_figures([report()], folder=folder, form="svg" if form == "svg" else "pdf")
    assert [path.name for path in paths] == [f"resolution-{drawing.name}.{form}" for drawing in drawings(report())]
    assert all(path.read_bytes().startswith(start) for path in paths)
    assert sorted(tmp_path.iterdir()) == [folder]
