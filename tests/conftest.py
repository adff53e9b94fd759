"""Shared pieces of the tests: small plans of the synthetic trainer, built by hand so that every answer is known."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from ablate import synthetic
from ablate.draft import Arm
from ablate.planned import Plan
from ablate.planner import make_plan
from ablate.stores import Store, open_store
from ablate.study import Study
from ablate.workspace import Workspace

# the same examples on every machine, however slow: what fails here fails there
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
HERE = Path(__file__).parent
MINUTES = {
    **{"test_examples.py": 3.5, "test_end_to_end.py": 2.7, "faults/test_driver.py": 2.5, "faults/test_mirror.py": 2.2},
    **{"faults/test_mlflow_server.py": 2.1, "faults/test_nodes.py": 2.1, "browser/test_pages.py": 2.0, "model_zoo/test_parallel.py": 1.3},
    **{"faults/test_recovery.py": 0.9, "model_zoo/test_machines.py": 0.9, "schedule/test_early_stopping.py": 0.9, "test_running.py": 0.8},
    **{"contracts/test_schedulers.py": 0.7, "test_cli_scaling.py": 0.7, "faults/test_cluster.py": 0.6, "faults/test_databases.py": 0.6},
    **{"model_zoo/test_training.py": 0.6, "faults/test_workers.py": 0.6, "faults/test_memory.py": 0.5},
}
"""Roughly what the slow tests of a file take in all; about half a minute and more."""
# nothing of a test belongs on the server of whoever runs them
os.environ.pop("MLFLOW_TRACKING_URI", None)


def make_study(**changes: Any) -> Study:
    """A valid study of the synthetic trainer; `changes` replace keys of its file."""
    text: dict[str, Any] = {
        "schema": 1,
        "name": "small",
        "trainer": "synthetic",
        "axes": {"num_tokens": [16, 64]},
        "metric": {"name": "loss", "goal": "min"},
    }
    return Study.model_validate(text | changes)


def make_arm(name: str, **fields: Any) -> Arm:
    settings = synthetic.Config(**fields)
    config = settings.model_dump(mode="json")
    return Arm(name=name, levels={"num_tokens": config["num_tokens"]}, changes=fields, config=config, settings=settings)


def make_small_plan(*, seeds: int = 2, name: str = "small", **second_arm: Any) -> Plan:
    """Two arms, 16 and 64 tokens; `second_arm` changes the second one further, for instance `fail="raise"`."""
    study = make_study(seeds=list(range(seeds)), name=name)
    return make_plan(study, [make_arm("base", num_tokens=16), make_arm("num_tokens=64", num_tokens=64, **second_arm)])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that none of them is begun when another process has nothing left to do."""
    # each is run by one process, `--dist loadfile`, in this order where told not to go by the number of tests
    items.sort(key=lambda item: -MINUTES.get(item.path.relative_to(HERE).as_posix(), 0.0))


def pytest_collection_finish() -> None:
    """What is loaded by now stays until the end: the collector need not search it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "work")
    made.create()
    return made


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    opened = open_store(workspace.store_url, write=True)
    yield opened
    opened.close()


@pytest.fixture
def small_plan() -> Callable[..., Plan]:
    return make_small_plan
