"""What must be true after every fault of the matrix, whatever it was.

I1  what was done is done and unchanged            I5  the database is whole and of this schema
I2  one accepted attempt a job, no point twice     I6  nothing is still `running`
I3  numbers as if nothing had happened             I7  exit code and reason are right (each test's own)
I4  no process, lease or half-written file left    I8  once complete, a second run executes nothing
"""

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Mapping

import psutil

from ablate.attempt import read_outcome
from ablate.design import make_arms
from ablate.planner import make_plan
from ablate.run import run_study
from ablate.schedule import Scheduler
from ablate.schedule.local import LocalScheduler
from ablate.stores import open_store
from ablate.stores.sql_engine import sqlite_file
from ablate.stores.sql_schema import VERSION_TABLE
from ablate.stores.tables import REVISION
from ablate.study import Study
from ablate.synthetic import Config, true_metrics
from ablate.workspace import Workspace

Finished = dict[str, Mapping[str, float | None]]
"""Job -> its last metrics."""


def in_folders(workspace: Workspace) -> Finished:
    """Every job whose attempt's folder says that it is done; looks at no database."""
    outcomes = [outcome for folder in workspace.runs.glob("*/attempt-*") if (outcome := read_outcome(folder)) is not None]
    return {done.job: {point.key: point.value for point in done.metrics} for done in outcomes if done.state == "done"}


def finished(workspace: Workspace) -> Finished:
    """Every job that is done: recorded in the store, or whole in its attempt's folder."""
    found = in_folders(workspace)
    if workspace.has_store:
        store = open_store(workspace.store_url)
        for record in store.studies():
            found |= {trial.chain[-1]: dict(trial.metrics) for trial in store.trials(record.name) if trial.state == "done"}
        store.close()
    return found


def stated(study: Study) -> Finished:
    """What the study ends with when it is left alone: its trainer's law, without noise."""
    jobs = make_plan(study, make_arms(study)).jobs.values()
    return {job.id: true_metrics(Config.model_validate(dict(job.spec.config))) for job in jobs}


def go_on(study: Study, workspace: Workspace) -> int:
    """Runs what is missing, in this process; answers how many jobs that were."""
    store = open_store(workspace.store_url, write=True)
    try:
        summary = run_study(
            study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event()
        )
    finally:
        store.close()
    return summary.executed


def check_complete(study: Study, workspace: Workspace, *, before: Mapping[str, object], expected: Finished) -> None:
    """After a study has got to its end: nothing that was done before changed, and all of it is as if nothing had happened."""
    after = finished(workspace)
    assert {job: after.get(job) for job in before} == dict(before)  # I1
    assert after == expected  # I3
    store = open_store(workspace.store_url, write=True)
    try:
        jobs = [job.id for job in store.jobs(study.name)]
        accepted = Counter(attempt.job for attempt in store.attempts(jobs) if attempt.state == "done")
        assert accepted == dict.fromkeys(jobs, 1)  # I2
        curve = [(job, step, key) for job, step, key, _ in store.curve(jobs)]
        assert len(curve) == len(set(curve))
        assert {trial.state for trial in store.trials(study.name)} == {"done"}  # I6
        assert store.holder(study.name) is None  # I4
        assert run_study(study, store=store, workspace=workspace, open_scheduler=_no_work, stop=threading.Event()).counts == {
            "done": len(store.trials(study.name))
        }  # I8
    finally:
        store.close()
    assert [path.name for path in workspace.folder.rglob("*.tmp-*")] == []  # I4
    check_file(workspace)


def check_file(workspace: Workspace) -> None:
    """I5, where the store is a file."""
    if (file := sqlite_file(workspace.store_url)) is not None:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == (REVISION,)  # noqa: S608


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started so far."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def survivors(processes: Iterable[psutil.Process], *, but: tuple[str, ...] = (), seconds: float = 10.0) -> list[str]:
    """Command lines of those that live on, without those that hold one of `but`; one that nobody has asked for since its end is none."""
    awaited = [process for process in processes if not any(part in command_line(process) for part in but)]
    return [line for process in psutil.wait_procs(awaited, timeout=seconds)[1] if (line := command_line(process))]


def command_line(process: psutil.Process) -> str:
    """Empty for a process that has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _no_work(study: Study) -> Scheduler:
    raise AssertionError(f"'{study.name}' is complete, and something of it was to run again")
