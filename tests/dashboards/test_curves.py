"""The page of curves, on the synthetic trainer's: ten steps of loss a trial."""

from pathlib import Path
from typing import Any

import pytest

from ablate.errors import InputError
from ablate.journal import make_point
from ablate.workspace import Workspace
from dashboards.pages import curves
from dashboards.reader import Reader
from tests.dashboards.conftest import by_id
from tests.dashboards.filled import LIVE, Writer

VIEW = curves.View("loss", "mix", "step", "range", "linear", "linear", ())


def drawn(reader: Reader, study: str = "mix", **changes: Any) -> tuple[Any, str]:
    figure, said = curves.drawing(reader, reader.snapshot(study), view=VIEW._replace(**changes), dark=False)
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
    trials = curves.chosen_trials(reader.snapshot("mix"), only=("mix=90:0:10", "connector=avg_pool"))
    assert {(trial.levels["mix"], trial.levels["connector"]) for trial in trials} == {("90:0:10", "avg_pool")}


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
        curves.known_view(reader, reader.snapshot("mix"), chosen=chosen)
