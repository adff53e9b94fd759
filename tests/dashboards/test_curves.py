"""The page of curves, on the synthetic trainer's: ten steps of loss a trial."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import InputError
from ablate.journal import make_point
from ablate.stores.sql import SqlStore
from ablate.workspace import Workspace
from dashboards.pages import curves
from dashboards.parts import curve_view
from dashboards.reader import Reader
from tests.dashboards.conftest import by_id
from tests.dashboards.filled import LIVE, Writer

VIEW = curve_view.View("loss", "mix", "step", "range", "linear", "linear", ())


def drawn(reader: Reader, study: str = "mix", **changes: Any) -> tuple[Any, str]:
    figure, said = curve_view.drawing(reader, reader.snapshot(study), view=VIEW._replace(**changes), dark=False)
    return figure, " ".join(said)


def test_address_keeps_every_control(reader: Reader) -> None:
    query = {"metric": ["loss"], "group": ["connector"], "x": ["FLOPs"], "band": ["none"], "xscale": ["log"], "yscale": ["log"]}
    page = curves.layout(reader, names=["mix"], query=query | {"only": ["mix=90:0:10", "<b>"]})
    assert {key: [by_id(page, f"curves-{key}").value] for key in query} == query
    assert by_id(page, "curves-only").value == ["mix=90:0:10"]
    assert by_id(curves.layout(reader, names=["mix"], query={"x": ["miles"]}), "curves-x").value == "step"


def test_only_chosen_levels_are_drawn(reader: Reader) -> None:
    figure, _ = drawn(reader, only=("mix=90:0:10", "mix=0:90:10", "connector=avg_pool"))
    assert [trace.name for trace in figure.data if trace.showlegend] == ["90:0:10", "0:90:10"]
    trials = curve_view.chosen_trials(reader.snapshot("mix"), only=("mix=90:0:10", "connector=avg_pool"))
    assert {(trial.levels["mix"], trial.levels["connector"]) for trial in trials} == {("90:0:10", "avg_pool")}


def test_curves_of_both_pages_hold_every_trial_and_mean(reader: Reader) -> None:
    figure, _ = drawn(reader, study="live", group="image_size")
    assert {trace.name for trace in figure.data if trace.showlegend} == {"224", "336"}
    assert list(next(trace for trace in figure.data if trace.showlegend).x) == list(range(1, 11))


def test_view_of_a_figure_stays_until_a_choice_changes(reader: Reader) -> None:
    views = [("arm", False), ("arm", True), ("mix", False)]
    first, second, other = (
        curve_view.drawing(reader, reader.snapshot("mix"), view=VIEW._replace(group=group), dark=dark)[0].layout.uirevision
        for group, dark in views
    )
    assert first == second != other


def test_of_many_trials_those_that_run_are_drawn_and_others_by_a_lot_that_stays(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = reader.snapshot("live")
    monkeypatch.setattr(curve_view, "MOST_CURVES", 2)
    drawn_now = curve_view.drawn_trials(snapshot)
    assert sorted(trial.state for trial in drawn_now) == ["done", "running"]
    others = tuple(trial for trial in snapshot.trials if trial.state == "done")
    left = [trial for trial in others if trial not in drawn_now]
    without = replace(snapshot, trials=tuple(trial for trial in snapshot.trials if trial != left[0]))
    assert curve_view.drawn_trials(without) == drawn_now
    _, said = drawn(reader, study="live", group="arm")
    assert "2 of 4 trials are taken" in said


def test_curve_that_grows_is_read_from_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path)
    writer = Writer(LIVE, workspace=workspace).finish(1)
    job = writer.start()
    reader, asked = Reader(workspace.store_url), list[tuple[int, int | None]]()
    curve = SqlStore.curve

    def counted(store: SqlStore, jobs: Any, *, keys: Any = None, after: int | None = None) -> Any:
        asked.append((len(list(jobs)), after))
        return curve(store, jobs, keys=keys, after=after)

    monkeypatch.setattr(SqlStore, "curve", counted)

    def shown() -> list[float]:
        snapshot = reader.snapshot("live")
        frame = reader.curves(snapshot, "loss", trials=snapshot.trials)
        of_job = next(trial.id for trial in snapshot.trials if trial.chain[-1] == job.id)
        return list(frame[frame["trial"] == of_job]["value"])

    for step in (1, 2, 3):
        writer.store.add_points({(job.id, 1): [make_point(step, "loss", 1.0 / step)]})
        assert shown() == [1.0 / each for each in range(1, step + 1)]
    assert asked[1:] == [(1, 1), (1, 2)]
    writer.store.start("live", job.id, attempt=2)  # goes on from step 2: what the first one had after it is gone
    assert shown() == [1.0, 0.5, pytest.approx(1 / 3)]
    writer.store.add_points({(job.id, 2): [make_point(2, "loss", 9.0)]})
    assert shown() == [1.0, 9.0]


def test_flops_are_those_of_the_whole_trial_at_its_last_point(reader: Reader) -> None:
    figure, said = drawn(reader, x="FLOPs", group="arm")
    done = next(trial for trial in reader.snapshot("mix").trials if trial.state == "done")
    mean = next(trace for trace in figure.data if trace.showlegend)
    assert mean.x[-1] == pytest.approx(done.train_flops)
    assert mean.x[0] == pytest.approx(done.train_flops / 10)
    assert "in proportion to their steps" in said
    assert "1 trials have" not in said


def test_time_is_of_trials_that_ended(reader: Reader) -> None:
    figure, said = drawn(reader, x="time", group="connector")
    assert figure.layout.xaxis.title.text == "time (s)"
    assert "left out" in said
    assert "differ in other axes" in said
    assert "differ in other axes" not in drawn(reader, group="arm")[1]


def test_tokens_that_nobody_reported_say_so(reader: Reader) -> None:
    figure, _ = drawn(reader, x="tokens")
    assert "reported no tokens" in figure.layout.annotations[0].text


def test_tokens_of_the_trainer_are_the_x(tmp_path: Path) -> None:
    writer = Writer(LIVE, workspace=Workspace(tmp_path))
    job = writer.start()
    points = [make_point(step, key, value) for step in (1, 2) for key, value in (("loss", 3.0 - step), ("tokens", 100.0 * step))]
    writer.store.add_points({(job.id, 1): points})
    figure, _ = drawn(Reader(Workspace(tmp_path).store_url), "live", x="tokens", group="arm")
    assert list(figure.data[0].x) == [100.0, 200.0]
    figure, _ = drawn(Reader(Workspace(tmp_path).store_url), "live", x="FLOPs", group="arm")
    assert "no trial has ended" in figure.layout.annotations[0].text


def test_band_and_scales_are_those_chosen(reader: Reader) -> None:
    figure, said = drawn(reader, band="interval", xscale="log", yscale="log")
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")
    assert "Student-t" in said
    assert "0 or less" in said
    assert not any("band" in str(trace.name) for trace in drawn(reader, band="none")[0].data)
    views = {drawn(reader, **change)[0].layout.uirevision for change in ({}, {"xscale": "log"}, {"x": "FLOPs"})}
    assert len(views) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"metric": "nothing"}, {"group": []}, {"x": None}, {"band": "all"}, {"xscale": 3}, {"only": "mix=90:0:10"}, {"only": [["a"]]}],
)
def test_choice_that_no_control_offers_is_refused(reader: Reader, wrong: dict[str, Any]) -> None:
    chosen: dict[str, object] = {**VIEW._asdict(), "only": [], **wrong}
    with pytest.raises(InputError, match="curves: "):
        curve_view.known_view(reader, reader.snapshot("mix"), chosen=chosen)
