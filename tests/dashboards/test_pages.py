"""Layouts and callbacks as functions, on a store whose numbers the synthetic trainer makes known."""

import math
from pathlib import Path
from typing import Any

import pytest

from ablate import synthetic
from ablate.analysis.effects import FEW_FOR_G
from ablate.analysis.laws import rate_label
from ablate.errors import InputError
from ablate.journal import make_point
from ablate.stores.sql import SqlStore
from ablate.workspace import Workspace
from dashboards.app import show
from dashboards.live import versions
from dashboards.pages import axis, find_page, law, studies, study
from dashboards.reader import Reader
from tests.dashboards.conftest import by_id, parts, text
from tests.dashboards.filled import EVIL, LAW, LIVE, MIX, Writer


def layout(reader: Reader, path: str, **query: str) -> Any:
    page, names = find_page(path)
    return page.layout(reader, names=names, query={key: [value] for key, value in query.items()})


def names_in(component: Any) -> list[str]:
    """Of the studies that are listed."""
    return [text(part) for part in parts(component) if getattr(part, "className", "") == "name"]


def test_studies_shows_question_progress_and_state(reader: Reader) -> None:
    shown = text(layout(reader, "/"))
    assert MIX["question"] in shown
    assert "3 of 6 done, 1 running" in shown
    assert "live" in shown
    assert "simulated" in shown


def test_studies_without_any_says_what_to_type() -> None:
    assert "ablate run quickstart" in text(studies.studies_table([]))


def test_many_studies_are_shown_in_parts_and_found_by_name_or_question(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "PART", 2)
    page = layout(reader, "/", part="from 3")
    all_of = reader.studies()
    assert names_in(page) == [all_of[2].name]
    assert by_id(page, "studies-part").options == {"from 1": "studies 1 to 2 of 3", "from 3": "studies 3 to 3 of 3"}
    assert names_in(studies.studies_table(all_of, part="from 99")) == [study.name for study in all_of[:2]]
    found = studies.studies_table(all_of, find=MIX["question"][4:12].upper())
    assert MIX["question"] in text(found)
    assert names_in(found) == ["mix"]
    assert "None of 3 studies has '<b>'" in text(studies.studies_table(all_of, find="<b>"))


@pytest.mark.parametrize("path", ["/study/mix", "/axis/mix/mix", "/axis/mix", "/law/rates", "/law/mix", "/study/live"])
def test_page_of_simulated_study_says_so(reader: Reader, path: str) -> None:
    assert any("simulated" in str(getattr(part, "className", "")) for part in parts(layout(reader, path)))


@pytest.mark.parametrize("path", ["/nothing", "/study", "/study/a/b", "/law/", "/axis/mix/mix/more"])
def test_path_that_is_no_page_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="no page at"):
        find_page(path)


def test_unknown_study_lists_known_ones(reader: Reader) -> None:
    with pytest.raises(InputError, match="did you mean 'live'"):
        layout(reader, "/study/liv")


def test_unknown_axis_lists_known_ones(reader: Reader) -> None:
    with pytest.raises(InputError, match="did you mean 'connector'"):
        layout(reader, "/axis/mix/conector")


def test_trial_table_has_columns_of_results_and_reason(reader: Reader) -> None:
    columns, rows = study.trial_table(reader.results(reader.snapshot("mix")), snapshot=reader.snapshot("mix"))
    names = [column["headerName"] for column in columns]
    assert names == ["trial", "state", "mix", "connector", "seed", "score/4", "score/0", "score/8", "loss", "arm", "reason"]
    widths = {column["headerName"]: column["minWidth"] for column in columns}
    assert widths["trial"] > 7 * max(len(row["trial"]) for row in rows), "ids are whole"
    assert not any("wrapHeaderText" in column for column in columns)
    failed = [row for row in rows if row["state"] == "failed"]
    assert failed
    assert all("RuntimeError" in row["reason"] for row in failed)
    scores = next(column["field"] for column in columns if column["headerName"] == "score/4")
    assert all(row[scores] is None for row in failed)


def test_study_page_keeps_view_of_address(reader: Reader) -> None:
    page = layout(reader, "/study/mix", metric="score/8", group="connector")
    assert by_id(page, "study-metric").value == "score/8"
    assert by_id(page, "study-group").value == "connector"
    assert by_id(layout(reader, "/study/mix", metric="<b>"), "study-metric").value == "loss"


def test_declaration_shows_edits_and_stale_trials(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Writer(LIVE, workspace=workspace).finish()
    fresh = Reader(workspace.store_url)
    before = fresh.snapshot("live")
    assert "no deviations since" in text(study.declaration(fresh.registration(before), stale=fresh.stale(before)))
    Writer(LIVE | {"claims": []}, workspace=workspace, base={"steps": 5})
    after = fresh.snapshot("live")
    shown = text(study.declaration(fresh.registration(after), stale=fresh.stale(after)))
    for expected in ("claim removed: image_size increases", "after 6 finished trials", "6 stale trials", "steps: 10 became 5"):
        assert expected in shown
    assert {trial.state for trial in after.trials} == {"queued"}


def test_events_show_trials_newest_first(reader: Reader) -> None:
    snapshot = reader.snapshot("live")
    items = study.event_list(reader.read(lambda store: store.events("live")), snapshot=snapshot)
    assert "run started" in text(items[0])
    assert snapshot.trials[3].id in text(items[1])


def test_axis_draws_shot_counts_as_series(reader: Reader) -> None:
    measured = axis.measure(reader, "mix")
    assert sorted(axis.first_metrics(measured)) == ["score/0", "score/4", "score/8"]
    effects = axis.effects_by_metric(measured, axis="mix", metrics=axis.first_metrics(measured))
    ((scores, _),) = axis.axis_figures(measured, axis="mix", effects=effects, dark=False)
    assert [trace.name for trace in scores.data if trace.showlegend] == ["score/0", "score/4", "score/8"]


def test_axis_effect_is_the_stated_one(reader: Reader) -> None:
    measured = axis.measure(reader, "mix")
    effects = axis.effects_by_metric(measured, axis="mix", metrics=["score/4"])
    found = next(effect.mean_diff for effect in effects["score/4"][0] if effect.level == "90:0:10")
    truth = {mix: synthetic.true_metrics(synthetic.Config(mix=mix))["score/4"] for mix in ("90:0:10", "45:45:10")}  # type: ignore[arg-type]
    assert found == pytest.approx(truth["90:0:10"] - truth["45:45:10"], abs=0.05)
    assert "90:0:10" in text(axis.effects_table("mix", effects=effects))
    titles = {str(part.title) for part in parts(axis.effects_table("mix", effects=effects)) if part._type == "Span"}
    assert titles == {FEW_FOR_G}, "three seeds have no Hedges g, and its dash says why"


def test_axis_without_pairs_says_what_it_takes(tmp_path: Path) -> None:
    writer = Writer(LIVE, workspace=Workspace(tmp_path))
    measured = axis.measure(Reader(Workspace(tmp_path).store_url), writer.name)
    effects = axis.effects_by_metric(measured, axis="image_size", metrics=["score/8"])
    assert "No effect yet" in text(axis.effects_table("image_size", effects=effects))
    ((scores, _),) = axis.axis_figures(measured, axis="image_size", effects=effects, dark=False)
    assert "no trial has reported score/8" in scores.layout.annotations[0].text


@pytest.mark.parametrize("path", ["/axis/live", "/axis/live/image_size"])
def test_axis_page_of_a_study_without_axes_says_so(tmp_path: Path, path: str) -> None:
    Writer({**LIVE, "axes": {}, "claims": []}, workspace=Workspace(tmp_path))
    assert "This study has no axis" in text(layout(Reader(Workspace(tmp_path).store_url), path))


@pytest.mark.parametrize("metrics", ["score/4", None, [["a"]], [{"x": 1}], ["nothing"], [3]])
def test_axis_metrics_that_are_none_are_refused(reader: Reader, metrics: object) -> None:
    with pytest.raises(InputError):
        axis.known_metrics(axis.measure(reader, "mix"), metrics)


def test_law_numbers_are_mm1s_and_the_studys(reader: Reader) -> None:
    report, _ = law.find_law(reader, reader.snapshot("rates"))
    shown = text(law.numbers(report, size=30e9))
    assert "2.21e-5" in shown
    assert "2.21e−6" in shown
    assert "arXiv 2403.09611" in shown
    assert report is not None
    assert report.fit is not None
    assert rate_label(report.fit.lr(30e9)) in shown


def test_law_warns_of_edge(reader: Reader) -> None:
    assert "300M: the lowest rate" in text(law.warnings(reader.law(reader.snapshot("rates")), why_not=""))


def test_law_figure_names_published_law_and_band(reader: Reader) -> None:
    snapshot = reader.snapshot("rates")
    names = " ".join(str(trace.name) for trace in law.law_figure(reader.law(snapshot), record=snapshot.record, size=1e9, dark=True).data)
    assert "MM1" in names
    assert "prediction interval" in names


def test_law_without_section_says_how_to_add_one(reader: Reader) -> None:
    assert "hyperparameter:" in text(layout(reader, "/law/mix"))


def test_law_before_first_run_says_so(tmp_path: Path) -> None:
    Writer(LAW, workspace=Workspace(tmp_path))
    fresh = Reader(Workspace(tmp_path).store_url)
    report, why_not = law.find_law(fresh, fresh.snapshot("rates"))
    assert "No law yet: " in text(law.warnings(report, why_not=why_not))
    assert "MM1" in text(law.numbers(report, size=1e9))
    assert law.law_figure(report, record=fresh.snapshot("rates").record, size=1e9, dark=False).layout.annotations


@pytest.mark.parametrize("power", [None, "9", math.nan, math.inf, 3.9, 11.1, True, [9]])
def test_law_size_outside_slider_is_refused(power: object) -> None:
    with pytest.raises(InputError):
        law.size_of(power)


@pytest.mark.parametrize("size", ["nan", "inf", "x", "-5", "99"])
def test_law_page_with_foolish_address_opens_on_slider(reader: Reader, size: str) -> None:
    assert 4 <= by_id(layout(reader, "/law/rates", size=size), "law-size").value <= 11


def test_question_is_text_on_every_page(reader: Reader) -> None:
    for path in ("/", "/study/live", "/axis/live/image_size", "/law/live"):
        page = layout(reader, path)
        assert EVIL in text(page)
        assert {part._type for part in parts(page)}.isdisjoint({"Markdown", "DangerouslySetInnerHTML", "Iframe", "Img"})


def test_version_changes_with_a_trial_and_not_without(tmp_path: Path) -> None:
    writer = Writer(LIVE, workspace=Workspace(tmp_path)).finish(1)
    fresh = Reader(Workspace(tmp_path).store_url)
    before = versions(find_page, fresh, "/study/live")
    assert show(fresh, path="/study/live", search="")[1:] == ({"path": "/study/live", "version": before["version"], "shown": True}, 0)
    assert versions(find_page, fresh, "/study/live") == before
    writer.finish(1)
    assert versions(find_page, fresh, "/study/live")["version"] != before["version"]


def test_points_of_running_trial_are_news_that_no_trial_ended(tmp_path: Path) -> None:
    writer = Writer(LIVE, workspace=Workspace(tmp_path))
    job = writer.start()
    fresh = Reader(Workspace(tmp_path).store_url)
    before = versions(find_page, fresh, "/study/live")
    writer.store.add_points({(job.id, 1): [make_point(1, "loss", 3.0)]})
    assert versions(find_page, fresh, "/study/live") == {"version": before["version"], "points": before["points"] + 1}


@pytest.mark.fault("F36")
def test_page_without_store_is_shown_once_it_is_there(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "later")
    reader = Reader(workspace.store_url)
    content, seen, _ = show(reader, path="/study/live", search="")
    assert "there is no store" in text(content)
    assert not seen["shown"]
    assert "there is no store" in versions(find_page, reader, "/study/live")["away"]
    Writer(LIVE, workspace=workspace)
    assert versions(find_page, reader, "/study/live")["version"] != seen["version"]
    content, seen, _ = show(reader, path="/study/live", search="")
    assert by_id(content, "study-name").data == "live"
    database = workspace.folder / "ablate.db"
    database.rename(workspace.folder / "away.db")
    assert "away" in versions(find_page, reader, "/study/live")
    (workspace.folder / "away.db").rename(database)
    assert versions(find_page, reader, "/study/live")["version"] == seen["version"]


def test_study_that_is_read_again_is_what_a_fresh_reader_reads(tmp_path: Path) -> None:
    """Trials that end, some that failed and are queued again, a plan that grows."""
    workspace = Workspace(tmp_path)
    writer = Writer(LIVE, workspace=workspace, base={"fail": "raise:0.5"})
    followed = Reader(workspace.store_url)
    for _ in range(6):
        followed.snapshot("live")
        writer.finish(1)
        assert followed.snapshot("live") == Reader(workspace.store_url).snapshot("live")
    failed = [trial.chain[-1] for trial in followed.snapshot("live").trials if trial.state == "failed"]
    assert failed
    writer.store.requeue("live", failed, why="asked")
    assert followed.snapshot("live") == Reader(workspace.store_url).snapshot("live")
    Writer(LIVE | {"seeds": [0, 1, 2]}, workspace=workspace, base={"fail": "raise:0.5"}).finish(1)
    assert followed.snapshot("live") == Reader(workspace.store_url).snapshot("live")
    assert len(followed.snapshot("live").trials) == 9


def test_only_the_trial_of_an_event_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path)
    writer = Writer(LIVE, workspace=workspace).finish(2)
    followed = Reader(workspace.store_url)
    followed.snapshot("live")
    asked: list[Any] = []
    trials = SqlStore.trials
    monkeypatch.setattr(SqlStore, "trials", lambda self, study, **which: asked.append(which) or trials(self, study, **which))
    writer.finish(1)
    after = followed.snapshot("live")
    assert [len(which["ids"]) for which in asked] == [1]
    assert [trial.state for trial in after.trials].count("done") == 3


def test_job_that_another_study_s_run_ends_is_seen(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    one, twin = (Writer({**LIVE, "name": name}, workspace=workspace) for name in ("live", "twin"))
    reader = Reader(workspace.store_url)

    def states() -> list[str]:
        return [trial.state for trial in reader.snapshot("twin").trials]

    before = reader.snapshot("twin").version
    assert states().count("done") == 0
    one.finish(2)
    assert reader.snapshot("twin").version != before
    assert states().count("done") == 2
    one.finish(1)
    twin.store.add_event("twin", "run started")  # its own news do not hide that of the other
    assert states().count("done") == 3
    one.finish(1)
    twin.start()
    assert (states().count("done"), states().count("running")) == (4, 0)  # what the twin started was done by then


def test_another_database_in_the_place_of_the_first_is_read_anew(tmp_path: Path) -> None:
    here, other = Workspace(tmp_path / "here"), Workspace(tmp_path / "other")
    Writer(LIVE, workspace=here).finish(1).store.close()
    Writer(LIVE, workspace=other).finish(4).store.close()
    reader = Reader(here.store_url)
    assert [trial.state for trial in reader.snapshot("live").trials].count("done") == 1
    (other.folder / "ablate.db").replace(here.folder / "ablate.db")
    assert [trial.state for trial in reader.snapshot("live").trials].count("done") == 4


def test_verdicts_come_to_the_list_once_they_are_computed(store_url: str) -> None:
    fresh = Reader(store_url)
    before = fresh.studies_version()
    assert {row.name: row.verdicts for row in fresh.studies()} == {"mix": None, "live": None, "rates": ()}
    fresh.judge().join(30)
    assert {row.name: row.verdicts for row in fresh.studies()}["mix"] == ("supported", "supported", "contradicted")
    assert fresh.studies_version() != before
    shown = text(studies.studies_table(fresh.studies()))
    assert "2 × ✓ supported" in " ".join(shown.split())
