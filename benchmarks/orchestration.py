"""What a trial costs beyond its training: 300 synthetic trials of zero work through `ablate`, beside plain `tune.Tuner`.

Both sides run in this process, on the same Ray, one after the other. `ablate` keeps every trial, curve and event in SQL and in MLflow;
the Tuner keeps what it keeps by itself. Then as many again and again, to see whether a trial of a large study costs more. Run it with

    python benchmarks/orchestration.py [--trials 300] [--many 5000] [--slots 2]
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

from ablate.design import make_arms
from ablate.mirroring import Mirroring, mirror_order
from ablate.planner import make_plan
from ablate.record import Recorder
from ablate.schedule import Started
from ablate.schedule.ray_tasks import RayTasks, start_ray, stop_ray
from ablate.stores import open_store
from ablate.study import Study
from ablate.workspace import Workspace


def zero_work_study(trials: int) -> Study:
    return Study.model_validate(
        {
            "schema": 1,
            "name": "orchestration",
            "trainer": "synthetic",
            "base": {"steps": 1},
            "axes": {"num_params": list(range(1000, 1000 + trials))},
            "metric": {"name": "loss", "goal": "min"},
        }
    )


def time_ablate(trials: int, *, slots: int, folder: Path) -> tuple[float, float]:
    """Seconds from the first start until everything is in SQL, and until everything is in MLflow too."""
    workspace = Workspace(folder)
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    study = zero_work_study(trials)
    recorder = Recorder(make_plan(study, make_arms(study)), store=store, workspace=workspace, axes={}, simulated=True)
    began = None
    with Mirroring(mirror_order(workspace, (study.name,)), store, say=print) as mirror:
        mirror.start()
        for event in RayTasks(workspace, slots=slots).run(recorder.missing(), attempts={}, stop=threading.Event()):
            if began is None and isinstance(event, Started):
                began = time.perf_counter()
            recorder.apply(event)
        in_sql = time.perf_counter()
    assert began is not None
    done = [trial for trial in store.trials(study.name) if trial.state == "done" and trial.metrics]
    assert len(done) == trials, f"{len(done)} of {trials} trials recorded"
    return in_sql - began, time.perf_counter() - began


def time_tuner(trials: int, *, slots: int, folder: Path) -> float:
    """Seconds of `fit()` over the same number of trials that report one number."""
    from ray import tune

    def report_one(config: dict[str, int]) -> None:
        tune.report({"loss": 1.0 / config["num_tokens"]})

    tuner = tune.Tuner(
        tune.with_resources(report_one, {"cpu": 1}),
        param_space={"num_tokens": tune.grid_search(list(range(1, trials + 1)))},
        tune_config=tune.TuneConfig(max_concurrent_trials=slots),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    began = time.perf_counter()
    grid = tuner.fit()
    assert len(grid) == trials
    assert not grid.errors, grid.errors[0]
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--many", type=int, default=5000)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    trials, slots = options.trials, start_ray(address="local", slots=options.slots)
    with tempfile.TemporaryDirectory() as folder:
        time_ablate(trials, slots=slots, folder=Path(folder) / "warm")
        in_sql, in_mlflow = time_ablate(trials, slots=slots, folder=Path(folder) / "ablate")
        plain = time_tuner(trials, slots=slots, folder=Path(folder) / "tune")
        many, _ = time_ablate(options.many, slots=slots, folder=Path(folder) / "many")
    stop_ray()
    for name, seconds in (("ablate, all in SQL", in_sql), ("ablate, all in MLflow too", in_mlflow), ("tune.Tuner as it comes", plain)):
        print(f"{name:28} {1000 * seconds / trials:8.1f} ms a trial")
    print(f"tune.Tuner / ablate          {plain / in_sql:8.1f} times")
    print(f"ablate, {options.many:,} trials         {1000 * many / options.many:8.1f} ms a trial until all is in SQL")
    print(f"{options.many:,} trials / {trials} trials     {many / options.many / (in_sql / trials):8.2f} times as much a trial")


if __name__ == "__main__":
    main()
