"""What a study's page says first, on studies whose law is known."""

from pathlib import Path
from typing import Any

import pytest

from ablate.conclude import study_report
from ablate.next_study import study_next
from ablate.standing import study_row, study_rows
from ablate.stores import open_store
from ablate.study_law import Asked
from ablate.workspace import Workspace
from dashboards.pages import study
from dashboards.parts import answer
from dashboards.parts.curve_view import drawing, known_view, with_names
from dashboards.reader import Reader
from tests.dashboards.conftest import by_id, parts, text
from tests.dashboards.filled import LAW, LIVE, MIX, Writer


def said(reader: Reader, name: str) -> str:
    return text(answer.answer(reader, reader.snapshot(name)))


def test_answer_is_the_first_card_and_comes_before_progress(reader: Reader) -> None:
    page = study.layout(reader, names=["mix"], query={})
    ids = [part.id for part in parts(page) if isinstance(getattr(part, "id", None), str)]
    assert ids.index("study-answer") < ids.index("study-progress")
    assert text(by_id(page, "study-answer")) == ""


def test_each_claim_is_a_row_with_verdict_effect_and_seeds(reader: Reader) -> None:
    snapshot = reader.snapshot("mix")
    shown = answer.claims(reader, snapshot)
    rows = [[text(cell) for cell in part.children] for part in parts(shown) if type(part).__name__ == "Tr"][1:]
    verdicts = reader.verdicts(snapshot)
    assert [row[0] for row in rows] == [verdict.statement for verdict in verdicts]
    assert [row[1].split()[1] for row in rows] == ["supported", "supported", "contradicted"]
    for row, verdict in zip(rows, verdicts, strict=True):
        assert verdict.effect is not None
        assert row[3] == str(verdict.effect.n)
        assert row[2].endswith("]")
        assert verdict.reason.startswith(row[2]) or verdict.beside == verdict.reason  # said once


def test_claim_that_cannot_be_judged_leaves_the_page_whole(tmp_path: Path) -> None:
    spec = LIVE | {"claims": [{"axis": "image_size", "level": 999, "expect": "increases"}]}
    writer = Writer(spec, workspace=Workspace(tmp_path)).finish()
    fresh = Reader(Workspace(tmp_path).store_url)
    shown = said(fresh, writer.name)
    assert "No verdict: claim on image_size: no level 999" in shown
    assert "Best by score/8" in shown
    assert len(fresh.results(fresh.snapshot(writer.name))) == 6


def test_best_arm_is_named_with_its_lead_and_the_seeds_behind_it(reader: Reader) -> None:
    snapshot = reader.snapshot("mix")
    results = reader.results(snapshot)
    means = results[results["state"] == "done"].groupby("arm")["score/4"].mean()
    shown = said(reader, "mix")
    assert means.idxmax() in shown.split("Best by score/4:")[1].split("mean")[0]
    assert "Over all arms: some arms differ (F test" in shown


def test_compute_is_one_number_everywhere(reader: Reader, store_url: str) -> None:
    store = open_store(store_url)
    for row in study_rows(store):
        name = row["study"]
        snapshot = reader.snapshot(name)
        report = study_report(store, name).spent
        assert report is not None
        assert row["seconds"] == report.seconds == reader.spent(snapshot).seconds == reader.seconds_spent(snapshot)
        assert row == study_row(store, snapshot.record)
    assert "of compute in all attempts" in said(reader, "mix")
    store.close()


def test_open_claim_says_the_seeds_that_next_buys(tmp_path: Path) -> None:
    spec = MIX | {
        "claims": [{"axis": "mix", "level": "90:0:10", "expect": "equivalent", "within": 0.01}, *MIX["claims"][:1]],
        "seeds": [0, 1],
    }
    writer = Writer(spec, workspace=Workspace(tmp_path), base={"noise_sd": 5.0}).finish()
    fresh = Reader(Workspace(tmp_path).store_url)
    found = study_next(writer.store, "mix", Asked(), count=4, per="flop").claims
    assert found
    assert fresh.open_claims(fresh.snapshot("mix")) == found
    shown = said(fresh, "mix")
    assert all(claim.settling.what in shown for claim in found)
    assert ("ablate next mix -o mix-next.yaml" in shown) == any(claim.seeds for claim in found)


def test_while_trials_are_left_the_run_comes_next(reader: Reader, tmp_path: Path) -> None:
    Writer(LIVE, workspace=Workspace(tmp_path)).finish(4).store.close()
    fresh = Reader(Workspace(tmp_path).store_url)
    assert "2 trials are still to be run: `ablate run`" in said(fresh, "live")
    assert "ablate next" not in said(fresh, "live")


def test_before_a_trial_is_done_claims_are_folded(tmp_path: Path) -> None:
    Writer(LIVE, workspace=Workspace(tmp_path)).store.close()
    fresh = Reader(Workspace(tmp_path).store_url)
    (shown,) = answer.answer(fresh, fresh.snapshot("live"))
    assert type(shown).__name__ == "Details"
    assert "No trial is done yet; 1 claim waits for a verdict." in text(shown)


def test_law_leads_and_sizes_at_an_edge_get_the_command(tmp_path: Path) -> None:
    spec: dict[str, Any] = LAW | {"axes": LAW["axes"] | {"peak_lr": [1.2e-4, 2.4e-4, 4.8e-4]}, "seeds": [0]}
    writer = Writer(spec, workspace=Workspace(tmp_path), base={"noise_sd": 0.004}).finish()
    fresh = Reader(Workspace(tmp_path).store_url)
    snapshot = fresh.snapshot(writer.name)
    edges = fresh.law(snapshot).edges
    assert edges
    assert set(edges) < set(fresh.law(snapshot).warnings)
    shown = said(fresh, writer.name)
    assert shown.startswith("Law:")
    assert all(edge in shown for edge in edges)
    assert "ablate next rates -o rates-next.yaml" in shown


def test_warnings_of_effects_are_on_the_page_and_computed_once_a_version(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    guards = reader.guards(reader.snapshot("mix"))
    assert guards is reader.guards(reader.snapshot("mix"))
    assert any("left out" in warning for warning in guards.warnings)  # a tenth of its trials failed
    shown = said(reader, "mix")
    assert all(warning in shown for warning in guards.warnings)
    assert "winner's curse: the best of 8 equal arms" in shown
    monkeypatch.setattr(answer, "MOST_COMPARED", 5)
    assert "ablate effects mix" in said(reader, "mix")


def test_base_of_one_axis_says_its_level_in_matrix_table_and_curves(reader: Reader) -> None:
    snapshot = reader.snapshot("live")
    results = with_names(reader.results(snapshot), snapshot=snapshot)
    assert results["arm"].iloc[0] == "base (224)"
    assert study.matrix(results, record=snapshot.record, dark=False).data[0].y[0] == "base (224)"
    figure, _ = drawing(reader, snapshot, view=known_view(reader, snapshot, chosen={"metric": "loss", "group": "arm"}), dark=False)
    assert "base (224)" in {trace.name for trace in figure.data}
    assert "base:" not in text(study.layout(reader, names=["live"], query={}))
    assert "base: mix = 45:45:10, connector = avg_pool" in text(study.layout(reader, names=["mix"], query={}))
