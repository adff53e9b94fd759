"""The lessons of MM1 over all studies, and one study's lesson plots."""

from pathlib import Path
from typing import Any

import pytest

from ablate.errors import InputError
from ablate.mm1_reference import LESSONS
from ablate.stores.sql import SqlStore
from ablate.workspace import Workspace
from dashboards.pages import find_page, lessons
from dashboards.reader import Reader
from tests.dashboards.conftest import parts, text
from tests.dashboards.filled import LIVE, MIX, Writer

CLAIMS = [
    {"lesson": "connector_type", "axis": "connector", "expect": "equivalent", "within": 1.0},
    {"lesson": "connector_type", "axis": "connector", "metric": "score/0", "expect": "increases"},
    {"lesson": "our own", "axis": "mix", "level": "90:0:10", "expect": "decreases"},
]


@pytest.fixture(scope="module")
def claimed(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Two studies that claim lessons; the second has nothing finished and a claim that cannot be judged."""
    folder: Path = tmp_path_factory.mktemp("lessons") / "work"
    Writer(MIX | {"claims": CLAIMS}, workspace=Workspace(folder)).finish().store.close()
    odd = {"lesson": "connector_res", "axis": "image_size", "level": 999, "expect": "increases"}
    Writer(LIVE | {"claims": [odd]}, workspace=Workspace(folder)).finish().store.close()
    return Reader(Workspace(folder).store_url)


def layout(reader: Reader, path: str) -> Any:
    page, names = find_page(path)
    return page.layout(reader, names=names, query={})


def links(component: object) -> set[str]:
    return {part.href for part in parts(component) if getattr(part, "href", None)}


def test_every_lesson_is_there_with_its_figure(reader: Reader) -> None:
    shown = text(layout(reader, "/lessons"))
    assert len(LESSONS) == 17
    for lesson in LESSONS.values():
        assert lesson.id in shown
        assert f"{lesson.axis}: {lesson.expect}" in shown
    assert shown.count("no study yet") == 17
    assert "lesson: connector_tokens" in shown


def test_claims_that_name_a_lesson_stand_beside_it(claimed: Reader) -> None:
    found = lessons.all_tested(claimed)
    assert sorted(found) == ["connector_res", "connector_type"]
    assert [tested.verdict and tested.verdict.claim.expect for tested in found["connector_type"]] == ["equivalent", "increases"]
    table = lessons.lessons_table(claimed)
    shown = text(table)
    assert shown.count("no study yet") == 16  # the law's too
    assert "n = 3 seeds" in shown
    assert "simulated" in shown
    assert "our own" not in shown
    assert {"/study/mix", "/lessons/mix", "/study/live"} <= links(table)


def test_study_that_cannot_be_judged_hides_no_other(claimed: Reader) -> None:
    shown = text(lessons.lessons_table(claimed))
    assert "No verdict: claim on image_size: no level 999" in shown
    assert "supported" in shown


def test_verdicts_are_read_once_a_version(claimed: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    record = claimed.snapshot("mix").record
    claimed.verdicts_of(record)
    monkeypatch.setattr(SqlStore, "trials", lambda *_args, **_named: pytest.fail("trials were read again"))
    assert len(claimed.verdicts_of(record)) == 3


def test_study_has_the_plots_that_its_axes_match(reader: Reader) -> None:
    snapshot = reader.snapshot("mix")
    matches = lessons.study_plots(reader, snapshot)
    assert [match.plot for match in matches] == ["connector_bars", "data_panel"]
    plots, left = lessons.chosen_plots(reader, snapshot, matches=matches)
    assert left == 0
    assert [lessons.title_of(plot) for plot in plots] == [
        "Connector, resolution and image tokens: score by connector (MM1, Figure 4)",
        "Data mix: score by mix",
    ]
    bars = lessons.drawn(reader, snapshot, plots[0], dark=False)
    assert {trace.name for trace in bars.data} == {"avg_pool", "c_abstractor"}
    assert bars.layout.title.text.startswith("simulated: ")
    assert "no<br>conclusive difference" in bars.layout.title.subtitle.text
    assert lessons.plotted(matches) == ["score/0", "score/4", "score/8"]
    assert text(lessons.study_table(reader, snapshot, matches=matches)).count("no claim of this study") == 1


def test_encoders_stand_beside_table_1(reader: Reader) -> None:
    snapshot = reader.snapshot("live")
    (plot,), _ = lessons.chosen_plots(reader, snapshot, matches=lessons.study_plots(reader, snapshot))
    assert lessons.title_of(plot).endswith("(MM1, Table 1)")
    figure = lessons.drawn(reader, snapshot, plot, dark=True)
    published = [trace for trace in figure.data if str(trace.name).startswith("MM1")]
    assert len(published) == 3
    assert max(published[2].x) == 66.4


def test_law_is_drawn_with_published_rates_beside_it(reader: Reader) -> None:
    snapshot = reader.snapshot("rates")
    matches = lessons.study_plots(reader, snapshot)
    assert matches == []
    plots, _ = lessons.chosen_plots(reader, snapshot, matches=matches)
    assert [lessons.title_of(plot) for plot in plots] == ["Learning-rate law (MM1, Figure 6)"]
    assert lessons.drawn(reader, snapshot, plots[0], dark=False).data
    shown = text(layout(reader, "/lessons/rates"))
    assert "2.2e−5" in shown
    assert "secondary" in shown
    assert "secondary" not in text(layout(reader, "/lessons/mix"))


def test_more_plots_than_fit_are_counted(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "MAX_PLOTS", 1)
    snapshot = reader.snapshot("mix")
    plots, left = lessons.chosen_plots(reader, snapshot, matches=lessons.study_plots(reader, snapshot))
    assert (len(plots), left) == (1, 1)
    assert "1 more" in text(lessons.said_of_plots(plots, left=left))
    assert "No lesson plot" in text(lessons.said_of_plots([], left=0))


def test_study_without_a_finished_trial_has_its_page(tmp_path: Path) -> None:
    Writer(MIX | {"claims": CLAIMS}, workspace=Workspace(tmp_path))
    fresh = Reader(Workspace(tmp_path).store_url)
    snapshot = fresh.snapshot("mix")
    matches = lessons.study_plots(fresh, snapshot)
    assert lessons.chosen_plots(fresh, snapshot, matches=matches) == ([], 0)
    assert "inconclusive" in text(lessons.study_table(fresh, snapshot, matches=matches))


def test_unknown_study_is_refused(reader: Reader) -> None:
    with pytest.raises(InputError, match="did you mean 'live'"):
        layout(reader, "/lessons/liv")


def test_store_without_such_studies_says_what_to_type(tmp_path: Path) -> None:
    Writer(LIVE | {"axes": {"steps": [5]}, "claims": []}, workspace=Workspace(tmp_path))
    assert "ablate run quickstart" in text(lessons.studies_with_plots(Reader(Workspace(tmp_path).store_url)))


def test_law_of_a_study_stands_below_the_lessons_with_its_slope_against_mm1s(reader: Reader) -> None:
    table = lessons.lessons_table(reader)
    (group,) = (body for body in parts(table) if type(body).__name__ == "Tbody" and "learning_rate_law" in text(body))
    assert {"/study/rates", "/law/rates"} <= links(group)
    fit = reader.law(reader.snapshot("rates")).fit
    assert fit is not None
    assert fit.formula in text(group)
    assert "eta = exp(-0.4214 ln N - 0.5535)" in text(group)
