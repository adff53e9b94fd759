"""The law page: published laws beside the study's, the optimum of each size, the forms compared, next runs."""

import math
from typing import Any

import pytest

from ablate.analysis.laws import rate_label
from ablate.analysis.published import PUBLISHED, predict
from ablate.errors import InputError
from ablate.next_study import study_next
from ablate.study_law import Asked
from dashboards.pages import find_page, law
from dashboards.parts.law_parts import forms_table, optima_table
from dashboards.reader import NEXT_RUNS, Reader
from tests.dashboards.conftest import by_id, text

EVERY = list(PUBLISHED.values())


def layout(reader: Reader, path: str, **query: Any) -> Any:
    page, names = find_page(path)
    return page.layout(reader, names=names, query={key: value if isinstance(value, list) else [value] for key, value in query.items()})


def test_published_laws_to_choose_have_name_range_and_source(reader: Reader) -> None:
    chooser = by_id(layout(reader, "/law/rates"), "law-published")
    assert chooser.value == ["mm1"]
    assert [option["value"] for option in chooser.options] == list(PUBLISHED)
    labels = {option["value"]: option["label"] for option in chooser.options}
    assert labels["step_law"] == "STEP_LAW (Step Law, arXiv 2503.04715; N 215M to 1.07B, D 4B to 100B)"
    assert by_id(layout(reader, "/law/rates", published=["kaplan", "<b>"]), "law-published").value == ["kaplan"]


@pytest.mark.parametrize(("tokens", "shown"), [("100", 100.0), ("nan", None), ("-3", None), ("x", None), ("1e9", None)])
def test_tokens_of_the_address_are_billions(reader: Reader, tokens: str, shown: float | None) -> None:
    assert by_id(layout(reader, "/law/rates", tokens=tokens), "law-tokens").value == shown


def test_every_published_law_says_its_rate_or_what_it_lacks(reader: Reader) -> None:
    report = reader.law(reader.snapshot("rates"))
    without = text(law.numbers(report, size=1e9, published=EVERY))
    assert "STEP_LAW: it reads the training tokens D: say them above." in without
    assert "DEEPSEEK: it reads the training tokens D through C = 6 N D: say them above." in without
    said = text(law.numbers(report, size=1e9, published=EVERY, at={"tokens": 1e11}))
    assert "say them above" not in said
    assert rate_label(predict("step_law", 1e9, tokens=1e11).lr) in said
    assert "KAPLAN: kaplan has no rate at N = 3e+10" in text(law.numbers(report, size=3e10, published=EVERY))


def test_regret_of_the_intervals_ends_is_the_fits_own(reader: Reader) -> None:
    report = reader.law(reader.snapshot("rates"))
    assert report.fit is not None
    regret = report.fit.predict(1e8).regret
    assert regret is not None
    shown = text(law.numbers(report, size=1e8))
    assert "Regret at its ends, loss" in shown
    assert f"{regret[0]:.2g} and {regret[1]:.2g}" in shown
    assert "outside the rates tried at 100M, 1.20e-4 to 1.92e-3" in text(law.numbers(report, size=3e10))


def test_figure_draws_the_chosen_laws_that_have_a_rate(reader: Reader) -> None:
    snapshot = reader.snapshot("rates")
    report = reader.law(snapshot)
    for at, expected in (({}, {"MM1", "KAPLAN", "PORIAN"}), ({"tokens": 1e11}, {name.upper() for name in PUBLISHED})):
        figure = law.law_figure(report, record=snapshot.record, size=1e9, published=EVERY, at=at, dark=False)
        assert {name for name in map(str.upper, PUBLISHED) for trace in figure.data if str(trace.name).startswith(name)} == expected


@pytest.mark.parametrize("names", [None, "mm1", ["nothing"], [["mm1"]], [3]])
def test_published_laws_that_are_none_are_refused(names: object) -> None:
    with pytest.raises(InputError, match="published law"):
        law.known_laws(names)


@pytest.mark.parametrize("tokens", ["1", 0, -1, math.nan, math.inf, True, [1]])
def test_tokens_that_are_none_are_refused(reader: Reader, tokens: object) -> None:
    with pytest.raises(InputError, match="training tokens D"):
        law.at_of(reader.snapshot("rates"), tokens)


def test_runs_are_drawn_with_a_fitted_curve_a_size(reader: Reader) -> None:
    snapshot = reader.snapshot("rates")
    report = reader.law(snapshot)
    figure = law.runs_figure(reader, snapshot, report=report, dark=False)
    placed = [optimum for optimum in report.optima if optimum.fitted]
    assert len([trace for trace in figure.data if "fitted curve" in str(trace.hovertemplate)]) == len(placed) == 3
    assert figure.layout.xaxis.title.text == "peak learning rate η"


def test_tables_have_each_size_and_each_form(reader: Reader) -> None:
    report = reader.law(reader.snapshot("rates"))
    shown = text(optima_table(report))
    assert "300M" in shown
    assert "edge_low" in shown
    forms = text(forms_table(report))
    assert "fitted here" in forms
    assert all(form.note in forms for form in report.forms)


def test_next_runs_are_those_of_the_command(reader: Reader) -> None:
    shown = text(law.next_runs(reader, reader.snapshot("rates")))
    found = reader.read(lambda store: study_next(store, "rates", Asked(), count=NEXT_RUNS, per="flop"))
    assert found.law is not None
    assert found.law.reason[1:] in shown
    assert found.law.criterion[1:] in shown
    assert "ablate next rates -o rates-next.yaml" in shown
    assert reader.next_runs(reader.snapshot("rates")) is reader.next_runs(reader.snapshot("rates"))


def test_next_runs_of_open_claims_stand_beside_the_law(reader: Reader) -> None:
    shown = text(law.next_runs(reader, reader.snapshot("live")))
    assert "No runs for the law: the study declares no law." in shown
    assert "Open claims" in shown
