"""How close a DAG of short jobs comes to the time it must take: 22 jobs of 0.3 s, some of two CPUs, on two slots.

The ideal is what a list scheduler needs that knows every duration and loses no time between jobs. Run it with

    python benchmarks/dag.py [--slots 2] [--seconds 0.3]
"""

import argparse
import heapq
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ablate import synthetic
from ablate.planned import Job
from ablate.schedule import Finished, Readiness
from ablate.schedule.ray_tasks import RayTasks, start_ray, stop_ray
from ablate.study import Resources
from ablate.workspace import Workspace


def make_jobs(seconds: float) -> list[Job]:
    """Six jobs upstream, three of them of two CPUs; sixteen that read one of them each, four of two CPUs."""
    upstream = [_job("encoder", place, seconds, cpus=1 + place % 2) for place in range(6)]
    return [*upstream, *(_job("pretrain", place, seconds, cpus=1 + (place % 4 == 3), needs=upstream[place % 6]) for place in range(16))]


def _job(stage: str, seed: int, seconds: float, *, cpus: int, needs: Job | None = None) -> Job:
    (spec,) = synthetic.stages(synthetic.Config(steps=1, step_seconds=seconds))
    return Job(
        id=f"{stage}-{seed:012d}",
        trainer="synthetic",
        spec=spec._replace(name=stage),
        seed=seed,
        needs={needs.spec.name: needs.id} if needs else {},
        resources=Resources(cpus=cpus),
        metric="loss",
    )


def ideal_seconds(jobs: Sequence[Job], *, slots: int, seconds: float) -> float:
    """A list schedule in the order the scheduler uses, without a moment lost."""
    ready, running, now, free = Readiness(jobs), list[tuple[float, str, float]](), 0.0, float(slots)
    waiting: list[Job] = []
    while ready or running or waiting:
        while ready:
            waiting.append(ready.pop())
        for job in [*waiting]:
            if job.resources.cpus <= free:
                waiting.remove(job)
                free -= job.resources.cpus
                heapq.heappush(running, (now + seconds, job.id, job.resources.cpus))
        now, job_id, cpus = heapq.heappop(running)
        free += cpus
        ready.done(job_id)
    return now


def measured_seconds(jobs: Sequence[Job], *, slots: int, folder: Path) -> float:
    """From handing the jobs over until the last one is known to have ended; worker processes are started on the way."""
    workspace = Workspace(folder)
    workspace.create()
    began = time.perf_counter()
    events = RayTasks(workspace, slots=slots).run(jobs, attempts={}, stop=threading.Event())
    outcomes = [event.outcome for event in events if isinstance(event, Finished)]
    seconds = time.perf_counter() - began
    assert [outcome.state for outcome in outcomes] == ["done"] * len(jobs)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.3)
    options = parser.parse_args()
    jobs = make_jobs(options.seconds)
    slots = start_ray(address="local", slots=options.slots)
    ideal = ideal_seconds(jobs, slots=slots, seconds=options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        cold = measured_seconds(jobs, slots=slots, folder=Path(folder) / "cold")
        warm = measured_seconds(jobs, slots=slots, folder=Path(folder) / "warm")
    stop_ray()
    print(f"ideal             {ideal:6.2f} s   {len(jobs)} jobs of {options.seconds:g} s on {slots} slots")
    for name, seconds in (("first time", cold), ("warm workers", warm)):
        print(f"{name:14}    {seconds:6.2f} s   {ideal / seconds:.0%} of the ideal")


if __name__ == "__main__":
    main()
