"""What the study page says of the run's moment."""

from pathlib import Path

import pytest

from ablate.design import make_arms
from ablate.journal import make_point
from ablate.planner import make_plan
from ablate.stores import open_store
from ablate.study import Study
from ablate.workspace import Workspace
from dashboards.pages import find_page
from dashboards.parts import now
from dashboards.reader import Reader
from tests.dashboards.conftest import parts, text
from tests.dashboards.filled import LIVE, Writer


def test_running_trial_is_shown_with_its_last_step_and_time_left(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    writer = Writer(LIVE, workspace=workspace).finish(2)
    job = writer.start()
    writer.store.add_points({(job.id, 1): [make_point(1, "loss", 3.5), make_point(7, "loss", 2.25)]})
    reader = Reader(workspace.store_url)
    snapshot = reader.snapshot("live")
    running = next(trial for trial in snapshot.trials if trial.state == "running")
    assert running.started is not None
    shown = text(now.at_work(reader, snapshot, now=running.started + 90))
    for expected in ("1 at work, 3 wait", running.id, "1 min 30 s", "7: loss 2.25", "No run gives a sign of life", "CPU"):
        assert expected in shown, expected
    figure = now.slots_figure(snapshot, now=running.started + 90, dark=False)
    assert figure.data[0].y[-2:] == (1, 0)


def test_study_that_has_not_begun_says_so(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Writer(LIVE, workspace=workspace)
    reader = Reader(workspace.store_url)
    snapshot = reader.snapshot("live")
    assert "Nothing is at work; 6 wait." in text(now.at_work(reader, snapshot, now=0.0))
    assert "nothing has run yet" in now.slots_figure(snapshot, now=0.0, dark=False).layout.annotations[0].text


def test_stage_that_trials_share_is_at_work_before_any_trial_is(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    study = Study.model_validate(
        {"schema": 1, "name": "zoo", "trainer": "model_zoo", "axes": {"connector.num_tokens": [1, 4]}, "seeds": 3}
        | {"metric": {"name": "val_loss", "goal": "min"}}
    )
    plan = make_plan(study, make_arms(study))
    store = open_store(workspace.store_url, write=True)
    store.record_plan(plan, axes=study.axes, simulated=False)
    encoder = next(job.id for job in plan.jobs.values() if job.spec.name == "encoder")
    store.start("zoo", encoder, attempt=1)
    reader = Reader(workspace.store_url)
    shown = text(now.at_work(reader, reader.snapshot("zoo"), now=0.0))
    assert f"at work: {encoder} (of 6 trials)" in shown
    assert "Nothing is at work" not in shown


@pytest.mark.parametrize(("name", "above"), [("live", True), ("rates", False)])
def test_what_is_at_work_stands_below_the_trials_of_a_finished_study(reader: Reader, name: str, above: bool) -> None:
    page, names = find_page(f"/study/{name}")
    ids = [getattr(part, "id", None) for part in parts(page.layout(reader, names=names, query={}))]
    assert (ids.index("study-now") < ids.index("study-trials")) == above
