"""The page of data mixes, on a study whose law of the mix is stated by the synthetic trainer."""

import threading
from pathlib import Path
from typing import Any

import pytest

from ablate.analysis.mixture_optimum import LEAST_RESAMPLES
from ablate.errors import InputError
from ablate.run import run_study
from ablate.schedule.local import LocalScheduler
from ablate.stores import open_store
from ablate.workspace import Workspace
from dashboards import reader as dashboards_reader
from dashboards.pages import find_page, mix
from dashboards.reader import Mixture, Reader
from dashboards.widgets import study_links
from tests.conftest import make_study
from tests.dashboards.conftest import by_id, text

SOURCES = ["caption", "interleaved", "text"]


def made(folder: Path, *, lattice: int) -> Reader:
    study = make_study(
        axes={"mix": {"simplex": SOURCES, "lattice": lattice}}, base={"steps": 1}, metric={"name": "loss", "goal": "min"}, seeds=1
    )
    workspace = Workspace(folder / "work")
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    run_study(study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event())
    store.close()
    return Reader(workspace.store_url)


@pytest.fixture(scope="module")
def mixes(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return made(tmp_path_factory.mktemp("mixes"), lattice=2)


@pytest.fixture(scope="module")
def fitted(mixes: Reader) -> Mixture:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dashboards_reader, "MIX_RESAMPLES", LEAST_RESAMPLES)
        found, why_not = mix.find_mixture(mixes, mixes.snapshot("small"), view=view_of(mixes, form="regmix"))
    assert found is not None, why_not
    return found


def view_of(reader: Reader, *, metric: str = "loss", goal: str = "min", form: str = "additive") -> mix.View:
    return mix.known_view(reader, reader.snapshot("small"), ["mix", metric, goal, form])


def layout(reader: Reader, path: str, **query: str) -> Any:
    page, names = find_page(path)
    return page.layout(reader, names=names, query={key: [value] for key, value in query.items()})


def test_page_keeps_the_view_of_its_address(mixes: Reader) -> None:
    page = layout(mixes, "/mix/small", metric="score/4", goal="max", form="exponential")
    assert [by_id(page, f"mix-{key}").value for key in ("axis", "metric", "goal", "form")] == ["mix", "score/4", "max", "exponential"]
    assert by_id(layout(mixes, "/mix/small", metric="<b>"), "mix-metric").value == "loss"


def test_study_without_mixes_has_no_tab_and_says_how_to_write_one(reader: Reader, mixes: Reader) -> None:
    assert "simplex" in text(layout(reader, "/mix/rates"))
    assert "Data mix" not in text(study_links(reader.snapshot("rates").record, here=""))
    assert "Data mix" in text(study_links(mixes.snapshot("small").record, here=""))


def test_triangle_has_each_mix_measured(mixes: Reader) -> None:
    figure = mix.measured_figure(mixes, mixes.snapshot("small"), view=view_of(mixes), dark=False)
    assert len(figure.data[0].a) == 6
    assert figure.layout.title.text.startswith("simulated: loss by mix")


def test_metric_that_nothing_reported_says_so(mixes: Reader) -> None:
    assert (
        "no trial"
        in mix.measured_figure(mixes, mixes.snapshot("small"), view=view_of(mixes)._replace(metric="none"), dark=False)
        .layout.annotations[0]
        .text
    )


def test_law_says_best_mix_errors_and_warnings(fitted: Mixture) -> None:
    shown = text(mix.law_said(fitted))
    assert "loss, regmix form, fitted to 6 runs on 6 mixes" in shown
    assert all(source in shown for source in SOURCES)
    assert all(warning in shown for warning in fitted.report.warnings)
    assert "Mixes left out of the fit: RMSE" in shown


def test_law_is_drawn_as_surface_and_along_sources(mixes: Reader, fitted: Mixture) -> None:
    surface, profiles = mix.law_figures_of(fitted, snapshot=mixes.snapshot("small"), dark=True)
    assert surface.data[0].name == "fitted law"
    assert [trace.name for trace in profiles.data if trace.showlegend] == SOURCES


def test_law_is_fitted_once_a_version(mixes: Reader, fitted: Mixture) -> None:
    assert mix.find_mixture(mixes, mixes.snapshot("small"), view=view_of(mixes, form="regmix"))[0] is fitted


def test_too_few_mixes_say_what_is_missing(mixes: Reader) -> None:
    found, why_not = mix.find_mixture(mixes, mixes.snapshot("small"), view=view_of(mixes, form="additive"))
    assert found is None
    assert "6 distinct mixtures: the additive form of 3 sources has 7 constants" in why_not


@pytest.mark.parametrize(
    "asked", [None, [], ["mix", "loss", "min", "joint"], ["mix", "loss", ["min"], "additive"], ["x", "loss", "min", "additive"]]
)
def test_view_that_is_none_is_refused(mixes: Reader, asked: object) -> None:
    with pytest.raises(InputError):
        mix.known_view(mixes, mixes.snapshot("small"), asked)
