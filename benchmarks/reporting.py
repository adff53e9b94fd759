"""What reporting often costs: trials that report 100 points a second each, beside the same trials that report only at their end.

Every trial does the same fixed work, 10 ms a step when nothing else runs. Both sides run on one Ray, in turns, all slots in use, so that
whatever workers, driver and database take beside that work shows. Wall times of a shared machine say little about two parts in a hundred;
processor time of this process and all it started does, and on busy slots it is what a study is slowed by. Run it with

    python benchmarks/reporting.py [--seconds 10] [--rounds 5] [--slots 2]
"""

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil

from ablate.design import make_arms
from ablate.load import load_study
from ablate.planner import make_plan
from ablate.record import Recorder
from ablate.schedule.ray_tasks import RayTasks, start_ray, stop_ray
from ablate.stores import open_store
from ablate.workspace import Workspace

STEP_SECONDS = 0.01
TRAINER = """\
import hashlib

def work(blocks):
    for _ in range(blocks):
        hashlib.sha256(bytes(100_000)).digest()

def train(config, context):
    for step in range(1, config["steps"] + 1):
        work(config["blocks"])
        if config["each"] or step == config["steps"]:
            context.report(step, loss=1.0 / step)
"""
STUDY = """\
schema: 1
name: reporting
trainer: python
python: {{function: "reporting_trainer:train", metrics: {{loss: falls with the step}}}}
base: {{steps: {steps}, blocks: {blocks}, each: {each}}}
axes: {{each: [{each}]}}
seeds: {slots}
metric: {{name: loss, goal: min}}
"""


def calibrate() -> int:
    """Blocks of work that take one step's time."""
    names: dict[str, object] = {}
    exec(compile(TRAINER, "trainer.py", "exec"), names)  # noqa: S102 - the text above
    work = names["work"]
    assert callable(work)
    began = time.perf_counter()
    work(2_000)
    return max(1, round(2_000 * STEP_SECONDS / (time.perf_counter() - began)))


def processor_seconds() -> float:
    """Of this process and of all that it started and that still lives, Ray's included."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(spent.user + spent.system for spent in times)


def time_study(*, each: bool, steps: int, blocks: int, slots: int, folder: Path) -> tuple[float, float]:
    """Wall and processor seconds until every trial and its curve is in SQL; one trial a slot."""
    workspace = Workspace(folder / "work")
    workspace.create()
    (folder / "reporting_trainer.py").write_text(TRAINER, encoding="utf-8")
    (folder / "study.yaml").write_text(STUDY.format(steps=steps, blocks=blocks, each=str(each).lower(), slots=slots), encoding="utf-8")
    study = load_study(folder / "study.yaml")
    store = open_store(workspace.store_url, write=True)
    recorder = Recorder(make_plan(study, make_arms(study)), store=store, workspace=workspace, axes={}, simulated=False)
    began, spent = time.perf_counter(), processor_seconds()
    for event in RayTasks(workspace, slots=slots).run(recorder.missing(), attempts={}, stop=threading.Event()):
        recorder.apply(event)
    took = time.perf_counter() - began, processor_seconds() - spent
    kept = len(store.curve(list(recorder.plan.jobs)))
    assert kept == slots * (steps if each else 1), f"{kept} points kept"
    store.close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    steps = round(options.seconds / STEP_SECONDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blocks = calibrate()
        slots = start_ray(address="local", slots=options.slots)
        time_study(each=True, steps=10, blocks=blocks, slots=slots, folder=folder / "warm")
        ratios = []
        for number in range(options.rounds):
            # the order changes, so that a machine that slows down favours neither
            order = (True, False) if number % 2 else (False, True)
            took = {
                each: time_study(each=each, steps=steps, blocks=blocks, slots=slots, folder=folder / f"{number}-{each}") for each in order
            }
            ratios.append([often / once for often, once in zip(took[True], took[False], strict=True)])
            print(
                f"round {number + 1}: reporting each step {took[True][0]:.2f} s, {took[True][1]:.2f} of processors; "
                f"at the end {took[False][0]:.2f} s, {took[False][1]:.2f}"
            )
        stop_ray()
    for name, found in zip(("wall time", "processor time"), zip(*ratios, strict=True), strict=True):
        print(f"{name:15} {100 * (statistics.median(found) - 1):+.1f} % (median) for {1 / STEP_SECONDS:.0f} points a second and trial")


if __name__ == "__main__":
    main()
