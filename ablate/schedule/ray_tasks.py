"""Planned jobs on Ray: every ready job is one task with its own resources, on warm worker processes.

Tasks are handed to Ray a little ahead of the free slots, so that no slot waits for the driver; the first ones in that line, as
many as fit the slots, count as running.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, TaskCancelledError

from ablate.attempt import Outcome, execute, lost
from ablate.errors import EnvironmentMissing
from ablate.planner import Job
from ablate.schedule import MAX_LOST, TICK_SECONDS, Event, Finished, Readiness, Skipped, Started, Tick
from ablate.workspace import Workspace

GRACE_SECONDS = 5.0


def start_ray(*, address: str, slots: int | None) -> int:
    """Starts Ray on this machine (`local`) or joins a cluster at an explicit address; answers the number of one-CPU slots."""
    local = address == "local"
    cpus = slots or len(os.sched_getaffinity(0))
    started: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": 100_000_000} if local else {}
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **started)
    except (ConnectionError, RayError, ValueError) as error:
        raise EnvironmentMissing(f"Ray at '{address}' does not answer: {error}; leave --address out to run on this machine") from error
    return cpus if local else slots or int(ray.cluster_resources().get("CPU", 1))


def stop_ray() -> None:
    """Leaves the cluster, or ends the Ray that `start_ray` started."""
    ray.shutdown()


class RayTasks:
    """Scheduler over a Ray that `start_ray` started."""

    def __init__(self, workspace: Workspace, *, slots: int) -> None:
        self.slots = slots
        self._workspace = workspace
        # max_calls=0: Ray would otherwise end a GPU task's process after one call, and with it torch's two seconds of start-up
        remote: Any = ray.remote(max_retries=0, max_calls=0)
        self._execute = remote(execute_logged)

    def run(self, jobs: Sequence[Job], *, attempts: Mapping[str, int], stop: threading.Event) -> Iterator[Event]:
        self._refuse_unplaceable(jobs)
        ready, numbers, losses = Readiness(jobs), dict(attempts), dict.fromkeys((job.id for job in jobs), 0)
        flying: dict[Any, Job] = {}
        running: set[str] = set()
        ticked = 0.0
        while (ready or flying) and not stop.is_set():
            while ready and len(flying) < 2 * self.slots:
                job = ready.pop()
                numbers[job.id] = numbers.get(job.id, 0) + 1
                flying[self._submit(job, numbers[job.id])] = job
            for job in self._at_the_front(flying):
                if job.id not in running:
                    running.add(job.id)
                    yield Started(job.id, numbers[job.id])
            for ref in self._finished(flying):
                job = flying.pop(ref)
                outcome = _outcome(ref, job, numbers[job.id])
                if job.id not in running:
                    yield Started(job.id, numbers[job.id])
                running.discard(job.id)
                losses[job.id] += outcome.state == "lost"
                again = outcome.state == "lost" and losses[job.id] <= MAX_LOST
                if outcome.state == "lost" and not again:
                    outcome = replace(outcome, state="failed", reason=f"{losses[job.id]} times: {outcome.reason}")
                yield Finished(outcome, final=not again)
                if again:
                    ready.again(job)
                elif outcome.state == "done":
                    ready.done(job.id)
                else:
                    yield from (Skipped(skipped, because=job.id) for skipped in ready.failed(job.id))
            if time.monotonic() - ticked >= TICK_SECONDS:
                ticked = time.monotonic()
                yield Tick()
        yield from self._wind_down(flying, numbers, running)

    def _submit(self, job: Job, number: int) -> Any:
        task = self._execute.options(num_cpus=job.resources.cpus, num_gpus=job.resources.gpus, name=job.id)
        return task.remote(job, workspace=self._workspace, number=number)

    def _at_the_front(self, flying: Mapping[Any, Job]) -> Iterator[Job]:
        free = float(self.slots)
        for job in flying.values():
            free -= job.resources.cpus
            if free < 0:
                return
            yield job

    def _finished(self, flying: Mapping[Any, Job]) -> list[Any]:
        first, rest = ray.wait(list(flying), num_returns=1, timeout=TICK_SECONDS)
        more = ray.wait(rest, num_returns=len(rest), timeout=0)[0] if first and rest else []
        return [*first, *more]

    def _wind_down(self, flying: dict[Any, Job], numbers: Mapping[str, int], running: set[str]) -> Iterator[Event]:
        """Asks what still runs to stop, waits a little, and ends the rest."""
        for ref, job in flying.items():
            if job.id in running:
                folder = self._workspace.attempt(job.id, numbers[job.id])
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "stop").touch()
            else:
                ray.cancel(ref)
        pending = [ref for ref, job in flying.items() if job.id in running]
        deadline = time.monotonic() + GRACE_SECONDS
        while pending and time.monotonic() < deadline:
            pending = ray.wait(pending, num_returns=len(pending), timeout=TICK_SECONDS)[1]
        for ref in pending:
            ray.cancel(ref, force=True)
        for ref, job in flying.items():
            if job.id in running:
                yield Finished(_outcome(ref, job, numbers[job.id], interrupted=ref in pending))

    def _refuse_unplaceable(self, jobs: Sequence[Job]) -> None:
        """Ray would leave a job that fits no node pending for ever."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for resources in {job.resources for job in jobs}:
            if not any(node.get("CPU", 0) >= resources.cpus and node.get("GPU", 0) >= resources.gpus for node in nodes):
                largest = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
                raise EnvironmentMissing(
                    f"no node can hold a job of {resources.cpus:g} CPUs and {resources.gpus:g} GPUs (there is: {largest}); "
                    "lower `resources` in the study or join a larger cluster with --address"
                )


def execute_logged(job: Job, *, workspace: Workspace, number: int) -> Outcome:
    """`execute` with everything the process prints, C libraries included, in the attempt's log.txt."""
    folder = workspace.attempt(job.id, number)
    folder.mkdir(parents=True, exist_ok=True)
    with _output_to(folder / "log.txt"):
        return execute(job, workspace=workspace, number=number)


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    saved = os.dup(1), os.dup(2)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(target)


def _outcome(ref: Any, job: Job, number: int, *, interrupted: bool = False) -> Outcome:
    try:
        outcome: Outcome = ray.get(ref)
    except OutOfMemoryError as error:
        return lost(job.id, attempt=number, cause="oom", reason=f"out of memory: {error}")
    except TaskCancelledError:
        return lost(job.id, attempt=number, cause="interrupted", reason="stopped before it was finished")
    except RayError as error:
        if interrupted:
            return lost(job.id, attempt=number, cause="interrupted", reason="stopped before it was finished")
        return lost(job.id, attempt=number, cause="lost", reason=f"its worker process died ({type(error).__name__})")
    return outcome
