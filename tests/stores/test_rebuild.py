"""A database that was cut, overwritten or lost: named, left alone, and restored from the attempts' folders."""

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import EnvironmentMissing
from ablate.stores import open_store
from ablate.stores.rebuild import rebuild
from ablate.workspace import Workspace
from tests.postgresql import Server
from tests.stores.ran import run, said_of, small_study, workspace_at

DAMAGES = {
    "half of it": lambda content: content[: len(content) // 2],
    "all but a hundredth": lambda content: content[: len(content) * 99 // 100],
    "its header overwritten": lambda content: bytes(100) + content[100:],
    "zeros in the middle": lambda content: content[:8192] + bytes(8192) + content[16384:],
}


def damage(workspace: Workspace, how: str) -> Path:
    file = workspace.folder / "ablate.db"
    file.write_bytes(DAMAGES[how](file.read_bytes()))
    return file


def folder_content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def timeless(said: dict[str, Any]) -> dict[str, Any]:
    """Without the times of rows that only a database has."""
    return said | {"trials": [dataclasses.replace(trial, started=None) for trial in said["trials"]]}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.fault("F16")
def test_damaged_database_is_named_and_nothing_in_it_is_changed(how: str, workspace: Workspace) -> None:
    run(small_study(), workspace)
    file = damage(workspace, how)
    before = folder_content(workspace.folder)
    with pytest.raises(EnvironmentMissing, match=rf"{file} is damaged: .*ablate store rebuild") as error:
        open_store(workspace.store_url, write=True)
    assert error.value.exit_code == 3
    after = folder_content(workspace.folder)
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.fault("F16")
def test_rebuilt_store_knows_every_finished_job_and_a_run_executes_none_of_them(how: str, workspace: Workspace) -> None:
    study = small_study()
    run(study, workspace)
    before = said_of(workspace)
    file = damage(workspace, how)
    broken = file.read_bytes()
    rebuilt = rebuild(workspace)
    assert rebuilt.set_aside == workspace.folder / "ablate.db.damaged-1"
    assert rebuilt.set_aside.read_bytes() == broken
    done = sum(job.state == "done" for job in before["jobs"])
    assert (rebuilt.jobs, rebuilt.added, rebuilt.done, rebuilt.unreadable) == (len(before["jobs"]), len(before["jobs"]), done, ())
    assert run(study, workspace).executed == 0
    assert timeless(said_of(workspace)) == timeless(before)
    assert {trial.state for trial in before["trials"]} == {"done", "failed"}


def test_lost_database_comes_back(workspace: Workspace) -> None:
    study = small_study()
    run(study, workspace)
    before = said_of(workspace)
    for path in workspace.folder.glob("ablate.db*"):
        path.unlink()
    assert rebuild(workspace).set_aside is None
    assert run(study, workspace).executed == 0
    assert timeless(said_of(workspace)) == timeless(before)


def test_write_ahead_log_of_a_damaged_database_is_not_played_into_the_new_one(workspace: Workspace) -> None:
    study = small_study()
    run(study, workspace)
    file = workspace.folder / "ablate.db"
    writer = sqlite3.connect(file)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE jobs SET state = 'queued'")
    writer.commit()
    log = (workspace.folder / "ablate.db-wal").read_bytes()
    writer.close()
    damage(workspace, "half of it")
    (workspace.folder / "ablate.db-wal").write_bytes(log)  # as a killed writer leaves it
    rebuild(workspace)
    assert run(study, workspace).executed == 0
    assert (workspace.folder / "ablate.db.damaged-1-wal").read_bytes() == log


def test_rebuilding_a_sound_store_adds_only_what_it_lacks(workspace: Workspace) -> None:
    study = small_study()
    run(study, workspace)
    before = said_of(workspace)
    assert (rebuild(workspace).added, said_of(workspace)) == (0, before)
    connection = sqlite3.connect(workspace.folder / "ablate.db")
    (job,) = next(iter(connection.execute("SELECT id FROM jobs WHERE state = 'done'")))
    connection.execute("UPDATE jobs SET state = 'running' WHERE id = ?", (job,))
    for table in ("attempts", "metrics", "points"):
        connection.execute(f"DELETE FROM {table} WHERE job = ?", (job,))  # noqa: S608
    connection.commit()
    connection.close()
    assert rebuild(workspace).added == 1
    assert [job.state for job in said_of(workspace)["jobs"]] == [job.state for job in before["jobs"]]
    assert said_of(workspace)["curve"] == before["curve"]


def test_files_that_cannot_be_read_are_named_and_passed_over(workspace: Workspace) -> None:
    run(small_study(), workspace)
    folders = sorted(workspace.runs.iterdir())
    (folders[0] / "attempt-1" / "done.json").write_text("{")
    (folders[1] / "attempt-1" / "done.json").write_text("{}")
    (folders[2] / "attempt-1" / "job.json").write_text("[]")
    (folders[3] / "attempt-1" / "metrics.jsonl").write_text("nonsense\n")
    (workspace.folder / "ablate.db").unlink()
    rebuilt = rebuild(workspace)
    assert len(rebuilt.unreadable) == 4
    for folder, name in ((folders[0], "done.json"), (folders[1], "done.json"), (folders[2], "job.json"), (folders[3], "metrics.jsonl")):
        assert sum(str(folder / "attempt-1" / name) in text for text in rebuilt.unreadable) == 1
    store = open_store(workspace.store_url)
    states = store.job_states(folder.name for folder in folders)
    store.close()
    # the two whose end is unknown have to run again
    assert [folder.name for folder in folders if states[folder.name][0] == "queued"] == [folder.name for folder in folders[:2]]


def test_store_on_a_server_is_rebuilt_too(postgresql: Server, tmp_path: Path) -> None:
    place = workspace_at(tmp_path / "work")
    study = small_study()
    run(study, place)
    before = said_of(place)
    moved = Workspace(place.folder, postgresql.new_database())
    assert rebuild(moved).added == len(before["jobs"])
    assert run(study, moved).executed == 0
    assert timeless(said_of(moved)) == timeless(before)
