"""The mirror against a real MLflow: what a person who lives there counts. Asked in processes of their own, as importing MLflow is heavy."""

import json
import subprocess
import sys
import threading

import pytest

from ablate.run import run_study
from ablate.schedule.local import LocalScheduler
from ablate.stores import open_store
from ablate.stores.mlflow_mirror import Mirroring, mirror_order
from ablate.workspace import Workspace
from tests.conftest import make_study

COUNT = """
import json, sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
found = {}
for view in (mlflow.entities.ViewType.ACTIVE_ONLY, mlflow.entities.ViewType.DELETED_ONLY):
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id], run_view_type=view)
    found[view] = sorted(run.data.params["steps"] for run in runs if "ablate.trial" in run.data.tags)
print(json.dumps(list(found.values())))
"""


@pytest.mark.slow
def test_stale_trials_leave_mlflow_and_come_back(workspace: Workspace) -> None:
    store = open_store(workspace.store_url, write=True)
    counted = []
    for base in ({}, {"steps": 6}, {}):
        study, said = make_study(base=base), list[str]()
        with Mirroring(mirror_order(workspace, ("small",)), store, say=said.append):
            run_study(study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event())
        assert "mirrored to MLflow" in said[-1]
        asked = subprocess.run([sys.executable, "-c", COUNT, workspace.mlflow_uri], capture_output=True, text=True, check=True)
        counted.append(json.loads(asked.stdout))
    store.close()
    assert counted == [[["10"] * 2, []], [["6"] * 2, ["10"] * 2], [["10"] * 2, ["10"] * 2 + ["6"] * 2]]
