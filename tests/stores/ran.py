"""Studies that were really run, in this process, and what a store says of them."""

import threading
from pathlib import Path
from typing import Any

from ablate.record import Summary
from ablate.run import run_study
from ablate.schedule.local import LocalScheduler
from ablate.stores import Store, open_store
from ablate.study import Study
from ablate.workspace import Workspace
from tests.conftest import make_study


def small_study(**changes: Any) -> Study:
    """Four trials, one of which fails."""
    return make_study(**{"axes": {"num_tokens": [16, 64], "fail": ["none", "raise"]}, "design": "one_at_a_time", "seeds": [0, 1]} | changes)


def run(study: Study, workspace: Workspace) -> Summary:
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    try:
        return run_study(
            study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event()
        )
    finally:
        store.close()


def workspace_at(folder: Path) -> Workspace:
    made = Workspace(folder)
    made.create()
    return made


def said_of(workspace: Workspace, study: str = "small") -> dict[str, Any]:
    """All that outlives a database: trials with their results, attempts, curves."""
    store: Store = open_store(workspace.store_url)
    try:
        trials = store.trials(study)
        jobs = [job.id for job in store.jobs(study)]
        return {
            "trials": trials,
            "jobs": store.jobs(study),
            "attempts": store.attempts(jobs),
            "identities": store.identities(jobs),
            "curve": store.curve(jobs),
        }
    finally:
        store.close()
