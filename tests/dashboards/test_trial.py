"""One trial's page, on trials whose config, state and log are known."""

from pathlib import Path
from typing import Any

import pytest

from ablate.errors import InputError
from ablate.stores import open_store
from ablate.trial_view import stages_of, trial_curves
from ablate.workspace import Workspace
from dashboards.address import href
from dashboards.live import versions
from dashboards.pages import find_page, study, trial
from dashboards.parts import logs
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot
from tests.dashboards.conftest import by_id, parts, text
from tests.dashboards.filled import EVIL, LIVE, Writer


def page_of(reader: Reader, name: str, place: int, **query: str) -> Any:
    snapshot = reader.snapshot(name)
    page, names = find_page(href("trial", name, snapshot.trials[place].id))
    return page.layout(reader, names=names, query={key: [value] for key, value in query.items()})


def failed_trial(snapshot: Snapshot) -> Any:
    return next(each for each in snapshot.trials if each.state == "failed")


def test_trial_says_state_reason_and_levels(reader: Reader) -> None:
    found = failed_trial(reader.snapshot("mix"))
    shown = text(trial.standing(found, stale=""))
    assert "failed" in shown
    assert "RuntimeError" in shown
    assert str(found.levels["mix"]) in shown
    assert "stale moved" in " ".join(text(trial.standing(found, stale="moved")).split())
    assert "enter no result" in text(trial.metrics_table(found, metric="score/4"))


def test_log_stands_first_of_a_trial_that_failed_and_before_the_samples_of_others(reader: Reader) -> None:
    snapshot = reader.snapshot("mix")
    for state, before in (("failed", "trial-final"), ("done", "trial-samples")):
        place = next(place for place, each in enumerate(snapshot.trials) if each.state == state)
        ids = [getattr(part, "id", None) for part in parts(page_of(reader, "mix", place))]
        assert ids.index("trial-log") < ids.index(before)
        assert (ids.index("trial-log") < ids.index("trial-stages")) == (state == "failed")


def test_metrics_begin_with_the_studys_and_name_what_is_not_finite(reader: Reader) -> None:
    found = next(each for each in reader.snapshot("mix").trials if each.state == "done")
    rows = text(trial.metrics_table(found, metric="score/4")).split()
    assert rows[:4] == ["Metric", "Value", "score/4", f"{found.metrics['score/4']:.5g}"]
    broken = type(found)(**{**vars(found), "metrics": {"loss": None}})
    assert "not finite" in text(trial.metrics_table(broken, metric="score/4"))
    queued = reader.snapshot("live").trials[-1]
    assert "No final metric" in text(trial.metrics_table(queued, metric="score/8"))


def test_config_is_a_diff_and_the_whole(reader: Reader) -> None:
    snapshot = reader.snapshot("mix")
    assert "This is the base itself" in text(trial.config_parts(snapshot.trials[0], snapshot=snapshot))
    other = next(each for each in snapshot.trials if each.changes)
    shown = text(trial.config_parts(other, snapshot=snapshot))
    for path, value in other.changes.items():
        assert path in shown
        assert str(value) in shown
    assert '"noise_sd"' in shown


def test_stages_and_attempts_say_what_happened(reader: Reader, store_url: str) -> None:
    snapshot = reader.snapshot("mix")
    found = failed_trial(snapshot)
    store = open_store(store_url)
    shown = text(trial.stages_table(stages_of(store, found, trials=snapshot.trials)))
    assert "this trial alone" in shown
    attempts = text(trial.attempts_part(trial.past_attempts(store, found.chain, workspace=None)))
    store.close()
    assert "RuntimeError" in attempts
    assert "numpy" in attempts
    assert "No attempt has ended" in text(trial.attempts_part([]))


def test_curves_are_chosen_by_stage_and_metric(reader: Reader, store_url: str) -> None:
    snapshot = reader.snapshot("live")
    store = open_store(store_url)
    curves = trial_curves(store, snapshot.trials[0])
    store.close()
    (option,) = trial.curve_options(curves)
    assert option.endswith(" / loss")
    assert trial.first_curves([option], metric="score/8") == [option]
    figure = trial.curve_figure(curves, shown=option, snapshot=snapshot, dark=False)
    assert list(next(trace for trace in figure.data if trace.showlegend).x) == list(range(1, 11))
    assert figure.layout.title.text.startswith("simulated: ")
    assert "No curve yet" in text(trial.curves_said([], []))
    assert "6 of 9" in text(trial.curves_said([option], [option] * 9))


@pytest.mark.parametrize("chosen", ["train / loss", None, ["nothing"], [["a"]], [3]])
def test_curve_that_is_none_is_refused(chosen: object) -> None:
    with pytest.raises(InputError):
        trial.known_curves(chosen, allowed=["train / loss"])


def test_first_curves_are_the_studys_metric_and_losses_of_the_last_stage() -> None:
    options = ["encoder / encoder_loss", "pretrain / accuracy", "pretrain / few_shot/4", "pretrain / train_loss", "pretrain / val_loss"]
    assert trial.first_curves(options, metric="few_shot/4") == ["pretrain / few_shot/4", "pretrain / train_loss"]
    assert trial.first_curves(["a / accuracy"], metric="loss") == ["a / accuracy"]


@pytest.mark.parametrize("wanted", ["../../x / 1", "{job} / 2", "{job} / 0", None, ["latest"], "../log"])
def test_only_attempts_of_the_trial_are_looked_for(reader: Reader, store_url: str, wanted: object) -> None:
    snapshot = reader.snapshot("live")
    store = open_store(store_url)
    stages = stages_of(store, snapshot.trials[0], trials=snapshot.trials)
    store.close()
    job = stages[0].job
    assert logs.known_attempt("latest", stages=stages) == (job, 1)
    with pytest.raises(InputError, match="there: "):
        logs.known_attempt(wanted.format(job=job) if isinstance(wanted, str) else wanted, stages=stages)


def test_log_is_the_attempts_text(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Writer(LIVE, workspace=workspace, base={"fail": "raise"}).finish(1)
    reader = Reader(workspace.store_url, workspace=workspace)
    first, second = reader.snapshot("live").trials[:2]
    shown = text(logs.log_part(reader, first, attempt=(first.chain[-1], 1)))
    assert "Traceback" in shown
    assert "all it wrote" in shown
    assert "has begun" in text(logs.log_part(reader, second, attempt=None))
    assert f"ablate logs {first.id}" in text(logs.log_part(reader, first, attempt=(first.chain[-1], 2)))
    blind = Reader(workspace.store_url)
    assert "no --workspace" in text(logs.log_part(blind, first, attempt=(first.chain[-1], 1)))


def test_log_that_grows_is_news(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    writer = Writer(LIVE, workspace=workspace)
    job = writer.start()
    reader = Reader(workspace.store_url, workspace=workspace)
    path = href("trial", "live", reader.snapshot("live").trials[0].id)
    before = versions(find_page, reader, path)
    workspace.attempt(job.id, 1).mkdir(parents=True)
    (workspace.attempt(job.id, 1) / "log.txt").write_text("12345")
    assert versions(find_page, reader, path) == {"version": before["version"], "points": before["points"] + 5}


def test_stale_trial_has_its_page(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Writer(LIVE, workspace=workspace).finish()
    reader = Reader(workspace.store_url)
    old = reader.snapshot("live").trials[0].id
    Writer(LIVE, workspace=workspace, base={"steps": 5})
    snapshot = reader.snapshot("live")
    assert reader.trial(snapshot, old).id == old
    assert "steps: 10 became 5" in text(trial.standing(reader.trial(snapshot, old), stale=reader.stale(snapshot)[old]))


def test_unknown_trial_is_refused(reader: Reader) -> None:
    with pytest.raises(InputError, match="no trial 'nothing'"):
        find_page("/trial/live/nothing")[0].layout(reader, names=["live", "nothing"], query={})
    assert "no trial" in versions(find_page, reader, "/trial/live/nothing")["version"]


def test_page_keeps_view_of_address_and_shows_no_markup(reader: Reader) -> None:
    job = reader.snapshot("live").trials[0].chain[-1]
    page = page_of(reader, "live", 0, attempt=f"{job} / 1")
    assert by_id(page, "trial-attempt").value == f"{job} / 1"
    assert by_id(page_of(reader, "live", 0, attempt="../.."), "trial-attempt").value == "latest"
    assert EVIL in text(page)
    assert {part._type for part in parts(page)}.isdisjoint({"Markdown", "DangerouslySetInnerHTML", "Iframe", "Img"})
    assert f"ablate explain {reader.snapshot('live').trials[0].id}" in text(page)


def test_selected_rows_lead_to_their_trials(reader: Reader) -> None:
    snapshot = reader.snapshot("mix")
    first = snapshot.trials[0].id
    shown = study.trial_links(snapshot, rows=[{"trial": first}, {"trial": "../evil"}, {"trial": 3}, 7])
    assert [part.href for part in parts(shown) if hasattr(part, "href")] == [href("trial", "mix", first)]
    assert "Select a row" in text(study.trial_links(snapshot, rows=None))
    many = study.trial_links(snapshot, rows=[{"trial": each.id} for each in snapshot.trials])
    assert "and 16 more" in text(many)


def test_events_lead_to_their_trials(reader: Reader) -> None:
    snapshot = reader.snapshot("live")
    items = study.event_list(reader.read(lambda store: store.events("live")), snapshot=snapshot)
    found = [part.href for part in parts(items) if hasattr(part, "href")]
    assert href("trial", "live", snapshot.trials[3].id) in found
