"""The log on a study's page: which trial's it is, and when there is none."""

from pathlib import Path

import pytest

from ablate.errors import InputError
from ablate.workspace import Workspace
from dashboards.pages import find_page
from dashboards.parts import logs
from dashboards.reader import Reader
from tests.dashboards.conftest import by_id, text
from tests.dashboards.filled import LIVE, Writer


def test_log_of_a_study_is_of_what_runs_then_of_what_failed(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    writer = Writer(LIVE, workspace=workspace, base={"fail": "raise:0.5"}).finish(4)
    reader = Reader(workspace.store_url, workspace=workspace)
    for trial in reader.snapshot("live").trials[:4]:  # a trial that went well writes nothing of its own
        with open(workspace.attempt(trial.chain[-1], 1) / "log.txt", "a") as log:
            log.write("began\n")
    states = [trial.state for trial in logs.logged_trials(reader, reader.snapshot("live"))]
    assert set(states) == {"done", "failed"}
    assert states == sorted(states, reverse=True)
    job = writer.start()
    workspace.attempt(job.id, 1).mkdir(parents=True)
    (workspace.attempt(job.id, 1) / "log.txt").write_text("step 7\n")
    snapshot = reader.snapshot("live")
    trials = logs.logged_trials(reader, snapshot)
    latest = logs.known_log(reader, snapshot, wanted="latest", trials=trials)
    assert latest is not None
    assert latest.state == "running"
    assert "step 7" in text(logs.study_log(reader, latest))
    failed = logs.known_log(reader, snapshot, wanted=trials[1].id, trials=[])
    assert failed is not None
    assert "Traceback" in text(logs.study_log(reader, failed))
    for wanted in ("../..", None, 3, ["latest"]):
        with pytest.raises(InputError):
            logs.known_log(reader, snapshot, wanted=wanted, trials=trials)


def test_study_without_a_log_here_has_no_card(tmp_path: Path, reader: Reader) -> None:
    workspace = Workspace(tmp_path)
    Writer(LIVE, workspace=workspace).finish(1)
    waiting = Reader(workspace.store_url, workspace=workspace)
    for each in (reader, waiting):  # the first has no workspace, the second a trial that wrote nothing
        assert logs.logged_trials(each, each.snapshot("live")) == []
        assert logs.known_log(each, each.snapshot("live"), wanted="latest", trials=[]) is None
    page, names = find_page("/study/live")
    assert by_id(page.layout(waiting, names=names, query={"log": ["x"]}), "study-log-card").hidden


def test_trial_whose_log_is_wanted_is_in_the_address(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Writer(LIVE, workspace=workspace, base={"fail": "raise"}).finish(2)
    reader = Reader(workspace.store_url, workspace=workspace)
    page, names = find_page("/study/live")
    trial = reader.snapshot("live").trials[0].id
    for asked, chosen in ((trial, trial), ("../..", "latest")):
        assert by_id(page.layout(reader, names=names, query={"log": [asked]}), "study-log").value == chosen
