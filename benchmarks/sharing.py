"""What shared stages save: connector x resolution x tokens with one encoder a resolution, beside the same trials as a plain Tune grid.

The plain side runs every stage in every trial, as a sweep without stages does, with the same `train` functions and seeds; final metrics
must be identical. The encoder's stage is several times a trial's own, as where small models are ablated over one trained encoder. Both
sides run on one Ray with the same slots, one after the other. A study by name takes the place of that one. Run it with

    python benchmarks/sharing.py [mm1/sft_resolution] [--seeds 2] [--slots 2]
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.attempt import execute
from ablate.design import make_arms
from ablate.load import load_study
from ablate.planned import Plan
from ablate.planner import make_plan
from ablate.schedule import Finished
from ablate.schedule.ray_tasks import RayTasks, start_ray, stop_ray
from ablate.workspace import Workspace

STUDY: dict[str, Any] = {
    "schema": 1,
    "name": "sharing",
    "trainer": "model_zoo",
    "base": {
        "extends": "bases/tiny.yaml",
        "encoder": {"pretrain": {"steps": 600}, "features": "cached"},
        "train": {"steps": 60},
        "eval": {"tasks": []},
    },
    "axes": {
        "encoder.image_size": [16, 24],
        "connector.kind": ["avg_pool", "attention_pool", "c_abstractor"],
        "connector.num_tokens": [1, 4],
    },
    "seeds": 2,
    "metric": {"name": "val_loss", "goal": "min"},
}
Metrics = Mapping[str, Mapping[str, float | None]]
"""Trial -> its final metrics."""


def time_shared(plan: Plan, *, slots: int, folder: Path) -> tuple[float, Metrics]:
    workspace = Workspace(folder)
    workspace.create()
    began = time.perf_counter()
    events = RayTasks(workspace, slots=slots).run(list(plan.jobs.values()), attempts={}, stop=threading.Event())
    found = {
        event.outcome.job: {point.key: point.value for point in event.outcome.metrics} for event in events if isinstance(event, Finished)
    }
    return time.perf_counter() - began, {trial.id: found[trial.chain[-1]] for trial in plan.trials}


def time_plain(plan: Plan, *, slots: int, folder: Path) -> tuple[float, Metrics]:
    from ray import tune

    def whole_trial(config: dict[str, str]) -> None:
        (trial,) = [trial for trial in plan.trials if trial.id == config["trial"]]
        workspace = Workspace(folder / trial.id)
        workspace.create()
        outcomes = [execute(plan.jobs[job], workspace=workspace, number=1) for job in trial.chain]
        tune.report({point.key: point.value for point in outcomes[-1].metrics} | {"trial": trial.id})

    tuner = tune.Tuner(
        tune.with_resources(whole_trial, {"cpu": 1}),
        param_space={"trial": tune.grid_search([trial.id for trial in plan.trials])},
        tune_config=tune.TuneConfig(max_concurrent_trials=slots),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    )
    began = time.perf_counter()
    grid = tuner.fit()
    seconds = time.perf_counter() - began
    assert not grid.errors, grid.errors[0]
    names = set(next(iter(grid)).metrics or {})
    return seconds, {
        result.metrics["trial"]: {name: result.metrics[name] for name in names} for result in grid if result.metrics is not None
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default=STUDY)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    study = load_study(options.study).model_copy(update={"seeds": tuple(range(options.seeds))})
    plan = make_plan(study, make_arms(study))
    slots = start_ray(address="local", slots=options.slots)
    with tempfile.TemporaryDirectory() as folder:
        shared, ours = time_shared(plan, slots=slots, folder=Path(folder) / "ablate")
        plain, theirs = time_plain(plan, slots=slots, folder=Path(folder) / "plain")
    stop_ray()
    for trial, metrics in ours.items():
        assert metrics == {name: theirs[trial][name] for name in metrics}, f"{trial} ended otherwise"
    print(
        f"{study.name}: {len(plan.trials)} trials, {len(plan.jobs)} jobs instead of {plan.unshared_jobs}, on {slots} slots; "
        "all final metrics identical"
    )
    print(f"ablate          {shared:7.1f} s")
    print(f"plain Tune grid {plain:7.1f} s")
    print(f"ratio           {plain / shared:7.2f}")


if __name__ == "__main__":
    main()
