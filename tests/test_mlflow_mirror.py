"""The mirror against a real MLflow: what a person who lives there finds. Asked in processes of their own, as importing MLflow is heavy."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from ablate.design import make_arms
from ablate.mirroring import Mirroring, mirror_order
from ablate.planner import make_plan
from ablate.stores import open_store
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.faults.invariants import go_on

COUNT = """
import json, sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
found = {}
for view in (mlflow.entities.ViewType.ACTIVE_ONLY, mlflow.entities.ViewType.DELETED_ONLY):
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id], run_view_type=view)
    found[view] = sorted(run.data.params["steps"] for run in runs if "ablate.trial" in run.data.tags)
print(json.dumps(list(found.values())))
"""
PAPERS = """
import json, os, sys, mlflow
from pathlib import Path
from ablate.stores import open_store
from ablate.stores import mlflow_mirror
from ablate.stores.mlflow_mirror import Following, Order, Papers
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.faults.invariants import go_on

order = Order(**json.loads(sys.argv[1]))
mlflow_mirror.WORTH_SECONDS = 0.0

def mirror(files, tags):
    asked = []

    def papers_of(store, study):
        asked.append(study)
        if files is None:
            raise RuntimeError("no\\nreport")
        return Papers(files, tags)

    following = Following(order, papers_of)
    following.catch_up(ending=True)
    complaints = following.end()
    return len(asked), complaints, found() if asked and files else None

def found():
    client = mlflow.MlflowClient(order.mlflow_uri)
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    (parent,) = [run for run in runs if "ablate.trial" not in run.data.tags]
    files = [*client.list_artifacts(parent.info.run_id), *client.list_artifacts(parent.info.run_id, "plots")]
    read = {file.path: mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/{file.path}") for file in files if not file.is_dir}
    read.pop("study.json")
    return len(runs), read, {key: value for key, value in parent.data.tags.items() if key.startswith("ablate.verdict")}

for seeds, files, tags in json.loads(sys.argv[2]):
    # a mirror holds its studies until its process ends
    if os.fork() == 0:
        if seeds:
            go_on(make_study(seeds=seeds), Workspace(Path(order.note).parent))
        print(json.dumps(mirror(files, tags)), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.mark.slow
def test_stale_trials_leave_mlflow_and_come_back_and_a_report_in_trouble_stops_neither(workspace: Workspace) -> None:
    store = open_store(workspace.store_url, write=True)
    counted, pages, said = [], list[list[Path]](), list[str]()
    for base, seconds in (({}, 0), ({"steps": 6}, 30), ({}, 30)):
        with Mirroring(mirror_order(workspace, ("small",)), store, say=said.append):
            go_on(make_study(base=base), workspace)
            with closing(sqlite3.connect(workspace.folder / "ablate.db")) as connection:
                connection.execute("UPDATE jobs SET seconds = ?", [seconds])  # a study of a moment is given no report
                connection.commit()
        assert "mirrored to MLflow" in said[-1]
        asked = subprocess.run([sys.executable, "-c", COUNT, workspace.mlflow_uri], capture_output=True, text=True, check=True)
        counted.append(json.loads(asked.stdout))
        pages.append(list((workspace.folder / "mlflow").rglob("report.html")))
        if base:
            (page,) = pages[-1]
            assert "small" in page.read_text()
            page.unlink()
            page.mkdir()  # in the way of the next
    store.close()
    assert counted == [[["10"] * 2, []], [["6"] * 2, ["10"] * 2], [["10"] * 2, ["10"] * 2 + ["6"] * 2]]
    (trouble,) = [line for line in said if "not the report" in line]
    assert trouble.startswith("MLflow has all trials, but not the report (small: IsADirectoryError: ")
    assert pages[0] == []


@pytest.mark.slow
def test_papers_come_once_all_trials_ended_and_in_place_of_those_from_before_a_change(workspace: Workspace) -> None:
    study, order = make_study(), mirror_order(workspace, ("small",))
    store = open_store(workspace.store_url, write=True)
    store.record_plan(make_plan(study, make_arms(study)), axes={}, simulated=True)
    store.close()
    first = {"report.html": "1", "plots/a.json": "1", "plots/b.json": "1"}
    second = {"report.html": "2", "plots/b.json": "2"}
    old, new = {"ablate.verdict.1": "old", "ablate.verdict.2": "old"}, {"ablate.verdict.1": "new"}
    steps = [(0, first, old), (1, None, {}), (0, first, old), (0, second, new), (2, second, new)]
    command = [sys.executable, "-c", PAPERS, json.dumps(asdict(order)), json.dumps(steps)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in found.stdout.splitlines() if line.startswith("[")] == [
        [0, [], None],  # its trials are still to come
        [1, ["small: RuntimeError: no report"], None],
        [1, [], [3, first, old]],
        [0, [], None],  # nothing has changed
        [1, [], [5, second, new]],
    ]
