"""The figures of reports become SVG or PDF files through kaleido, which draws them in a Chrome or Chromium on this machine."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go

from ablate.errors import EnvironmentMissing
from ablate.fingerprint import slug
from ablate.report import StudyReport
from ablate.report_figures import drawings

WIDTH = 760
"""Pixels; the height is the figure's own."""
INSTALL = "install it with `pip install 'ablate[figures]'`"
BROWSER = "install Chrome or Chromium, or name one in BROWSER_PATH"
Form = Literal["svg", "pdf"]


def write_figures(reports: Sequence[StudyReport], *, folder: Path, form: Form) -> tuple[Path, ...]:
    """Writes `STUDY-FIGURE.svg` of every figure, in light colours on nothing.

    Nothing changes in the folder before all are drawn; then each whole file takes the place of the one of its name, one after another.
    What else is in the folder stays, figures of an earlier report too.

    Raises EnvironmentMissing where kaleido or a browser is missing.
    """
    kaleido = _kaleido()
    drawn = {f"{slug(report.study)}-{one.name}.{form}": one.draw(dark=False) for report in reports for one in drawings(report)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".figures-") as made:
        _draw(kaleido, drawn, Path(made))
        folder.mkdir(exist_ok=True)
        for name in drawn:
            os.replace(Path(made) / name, folder / name)
    return tuple(folder / name for name in drawn)


def _draw(kaleido: Any, drawn: dict[str, go.Figure], folder: Path) -> None:
    specs = [
        {"fig": figure, "path": folder / name, "opts": {"format": Path(name).suffix[1:], "width": WIDTH, "height": figure.layout.height}}
        for name, figure in drawn.items()
    ]
    from kaleido import errors

    try:
        # by itself kaleido would load MathJax from the network, which no figure needs
        kaleido.write_fig_from_object_sync(specs, cancel_on_error=True, kopts={"mathjax": False})
    except (errors.ChromeNotFoundError, errors.BrowserFailedError) as error:
        raise EnvironmentMissing(f"figures are drawn in a browser, and none starts here ({type(error).__name__}); {BROWSER}") from error


def _kaleido() -> Any:
    try:
        import kaleido
    except ImportError as error:
        also = "" if shutil.which("chromium") or shutil.which("google-chrome") else f", and {BROWSER}"
        raise EnvironmentMissing(f"figures are written through kaleido, which is not installed; {INSTALL}{also}") from error
    return kaleido
