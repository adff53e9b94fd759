"""Planned jobs on Ray: every ready job is one task with its own resources, on warm worker processes.

Tasks are handed to Ray a little ahead of the free slots, so that no slot waits for the driver. A job counts as running once its worker
says so in the attempt's folder, and what a dead worker could not return is read from there as well.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, TaskCancelledError
from ray.util.placement_group import PlacementGroup, remove_placement_group

from ablate.attempt import LAST_WORD_SECONDS, Origin, Outcome, lost, read_outcome
from ablate.durable import seconds_in, storage_patience
from ablate.errors import EnvironmentMissing
from ablate.planned import Job
from ablate.schedule import TICK_SECONDS, TRIED_AGAIN, Event, Finished, Notice, Started, Tick, grace_seconds
from ablate.schedule.course import Course, Next, refuse_full_disk
from ablate.schedule.joining import refuse_full_temp, refuse_unanswered, why_not
from ablate.schedule.memory import Claims, with_figures
from ablate.schedule.placement import asked_of_ray, autoscales, living_nodes, refuse_unplaceable, reserve, task_options, why_unplaceable
from ablate.schedule.worker import execute_and_recycle, get_ready
from ablate.study import Resources
from ablate.workspace import Workspace

PENDING_VARIABLE = "ABLATE_PENDING_SECONDS"
PENDING_SECONDS = 600.0
"""How long a run whose every job waits for a node that is not there goes on waiting, unless the environment says otherwise."""


def start_ray(*, address: str, slots: int | None) -> int:
    """Starts Ray on this machine (`local`) or joins a cluster at an explicit address; answers the number of one-CPU slots."""
    local = address == "local"
    cpus = slots or len(os.sched_getaffinity(0))
    started: dict[str, Any] = _own_ray(cpus) if local else {}
    if local:
        refuse_full_temp()
    else:
        refuse_unanswered(address)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **started)
    except (OSError, ImportError, RayError, RuntimeError, ValueError) as error:
        raise EnvironmentMissing(why_not(address, error)) from error
    slots = cpus if local else slots or int(ray.cluster_resources().get("CPU", 1))
    # the workers start and import while the run records its plan; where others work, no more than have room now
    for _ in range(slots if local else min(slots, int(ray.available_resources().get("CPU", 0)))):
        ray.remote(get_ready).remote()
    return slots


def _own_ray(cpus: int) -> dict[str, Any]:
    # Ray keeps as many idle workers as there are free CPUs: beside a job of several it would end warm ones after a second
    warm = {"num_workers_soft_limit": cpus}
    return {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": 100_000_000, "_system_config": warm}


def stop_ray() -> None:
    """Leaves the cluster, or ends the Ray that `start_ray` started."""
    ray.shutdown()


@dataclass
class _Flight:
    """One task that Ray has."""

    job: Job
    number: int
    asked: Mapping[str, float]
    group: PlacementGroup | None
    has_started: bool = False


class RayTasks:
    """Scheduler over a Ray that `start_ray` started."""

    def __init__(self, workspace: Workspace, *, slots: int) -> None:
        self.slots = slots
        self._workspace = workspace
        # max_calls=0: Ray would otherwise end a GPU task's process after one call, and with it torch's two seconds of start-up
        remote: Any = ray.remote(max_retries=0, max_calls=0)
        self._execute = remote(execute_and_recycle)
        self._flying: dict[Any, _Flight] = {}
        self._dead: dict[str, tuple[_Flight, Outcome, float]] = {}
        """Jobs whose worker died, what to say of them if nobody else does, and until when the guardian is waited for."""
        self._pending = _Pending()
        self._claims = Claims((), ())

    def preflight(self, resources: Resources) -> None:
        seconds_in(PENDING_VARIABLE, PENDING_SECONDS)
        storage_patience()
        refuse_unplaceable(resources)
        refuse_full_disk(self._workspace)

    def run(
        self, jobs: Sequence[Job], *, attempts: Mapping[str, int], stop: threading.Event, known: Mapping[str, Job] | None = None
    ) -> Iterator[Event]:
        course = Course(jobs, attempts=attempts, known=known or {}, workspace=self._workspace)
        nodes = living_nodes()
        self._claims = Claims(jobs, nodes)
        if said := self._claims.notice():
            yield Notice(said)
        ahead = 2 * self.slots if self.slots >= sum(node.get("CPU", 0) for node in nodes) and not autoscales() else self.slots
        trouble, ticked = None, 0.0
        while (course or self._flying or self._dead) and not stop.is_set():
            while course and len(self._flying) < ahead and (following := course.take()):
                self._submit(following, bad_nodes=course.retries.bad_nodes)
            yield from self._begun()
            for flight, outcome in self._ended(stop):
                if not flight.has_started:
                    yield Started(flight.job.id, flight.number)
                yield from course.ended(flight.job, with_figures(outcome, flight.job))
            if time.monotonic() - ticked >= TICK_SECONDS:
                ticked = time.monotonic()
                yield from course.notices()
                yield from self._pending.notices(self._flying.values())
                yield Tick()
                try:
                    course.check()
                    self._pending.check()
                except EnvironmentMissing as error:
                    trouble = error
                    break
        yield from self._wind_down()
        if trouble:
            raise trouble

    def _submit(self, following: Next, *, bad_nodes: Sequence[str]) -> None:
        job, number, alone = following
        nodes = living_nodes() if alone else ()
        asked = asked_of_ray(job.resources, claim=self._claims.of(job), alone=alone, nodes=nodes)
        group = reserve(asked, nodes=job.resources.nodes)
        task = self._execute.options(name=job.id, **task_options(asked, bad_nodes=bad_nodes, group=group))
        origin = Origin(submitted=time.time(), argv=tuple(sys.argv))
        self._flying[task.remote(job, workspace=self._workspace, number=number, origin=origin)] = _Flight(job, number, asked, group)

    def _begun(self) -> Iterator[Event]:
        for flight in self._flying.values():
            folder = self._workspace.attempt(flight.job.id, flight.number)
            if not flight.has_started and ((folder / "pid").exists() or (folder / "done.json").exists()):
                flight.has_started = True
                yield Started(flight.job.id, flight.number)

    def _ended(self, stop: threading.Event) -> Iterator[tuple[_Flight, Outcome]]:
        """The tasks that have ended since, waiting a little for the first."""
        if not self._flying:
            stop.wait(0.05)
        for ref in self._finished(timeout=0.05 if self._dead else TICK_SECONDS):
            flight = self._flying.pop(ref)
            _release(flight)
            outcome, has_guardian = _outcome(ref, flight)
            if has_guardian:
                self._dead[flight.job.id] = flight, outcome, time.monotonic() + LAST_WORD_SECONDS
            else:
                yield flight, outcome
        for flight, outcome, deadline in list(self._dead.values()):
            said = read_outcome(self._workspace.attempt(flight.job.id, flight.number))
            if said or time.monotonic() > deadline:
                del self._dead[flight.job.id]
                yield flight, _combined(said, outcome)

    def _finished(self, *, timeout: float) -> list[Any]:
        if not self._flying:
            return []
        first, rest = ray.wait(list(self._flying), num_returns=1, timeout=timeout)
        more = ray.wait(rest, num_returns=len(rest), timeout=0)[0] if first and rest else []
        return [*first, *more]

    def _wind_down(self) -> Iterator[Event]:
        """Asks what still runs to stop, waits a little, and ends the rest."""
        yield from self._begun()
        running = {ref: flight for ref, flight in self._flying.items() if flight.has_started}
        for flight in running.values():
            (self._workspace.attempt(flight.job.id, flight.number) / "stop").touch()
        for ref in self._flying.keys() - running.keys():
            ray.cancel(ref)
        pending = list(running)
        deadline = time.monotonic() + max((grace_seconds(flight.job) for flight in running.values()), default=0.0)
        while pending and time.monotonic() < deadline:
            pending = ray.wait(pending, num_returns=len(pending), timeout=TICK_SECONDS)[1]
        for ref in pending:
            ray.cancel(ref, force=True)
        for ref, flight in running.items():
            outcome, _ = _outcome(ref, flight)
            if outcome.cause == "lost":
                said = None if ref in pending else read_outcome(self._workspace.attempt(flight.job.id, flight.number))
                outcome = said or _interrupted(flight)
            yield Finished(outcome, final=outcome.cause not in TRIED_AGAIN)
        for flight, outcome, _ in self._dead.values():
            yield Finished(_combined(read_outcome(self._workspace.attempt(flight.job.id, flight.number)), outcome), final=False)
        for flight in self._flying.values():
            _release(flight)
        self._flying.clear()
        self._dead.clear()


class _Pending:
    """Jobs that Ray holds because no node can take them now, though one could when the run began."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._reason = ""
        self._told = 0.0

    def notices(self, flights: Any) -> Iterator[Notice]:
        waiting = [flight for flight in flights if not flight.has_started]
        reason = _why_waiting(waiting[0]) if waiting and len(waiting) == len(flights) else None
        if reason is None:
            self._since = None
            return
        now = time.monotonic()
        if self._since is None:
            self._since, self._told = now, 0.0
        self._reason = reason
        if now > self._told + 60:
            self._told = now
            yield Notice(f"{len(waiting)} jobs stay queued: {reason}")

    def check(self) -> None:
        patience = seconds_in(PENDING_VARIABLE, PENDING_SECONDS)
        if self._since is not None and time.monotonic() > self._since + patience:
            raise EnvironmentMissing(f"waited {patience:g} s: {self._reason}")


def _why_waiting(flight: _Flight) -> str | None:
    why = why_unplaceable(flight.asked, living_nodes(), wanted=flight.job.resources.nodes)
    return f"{why}; the cluster's autoscaler has not made a node for it yet" if why and autoscales() else why


def _outcome(ref: Any, flight: _Flight) -> tuple[Outcome, bool]:
    """How a task ended as far as Ray knows, and whether a guardian may know more."""
    job, number = flight.job.id, flight.number
    try:
        outcome: Outcome = ray.get(ref)
    except OutOfMemoryError:
        return lost(job, attempt=number, cause="oom", reason="out of memory: Ray ended it when its machine had hardly any left"), True
    except TaskCancelledError:
        return _interrupted(flight), False
    except NodeDiedError as error:
        return lost(job, attempt=number, cause="lost", reason=f"its node died ({type(error).__name__})"), False
    except RayError as error:
        return lost(job, attempt=number, cause="lost", reason=f"its worker process died ({type(error).__name__})"), True
    return outcome, False


def _combined(said: Outcome | None, outcome: Outcome) -> Outcome:
    """The attempt's own account where there is one; of a plain death Ray knows the kind."""
    if said is None:
        return outcome
    if outcome.cause == "oom":
        return replace(said, state=outcome.state, cause=outcome.cause, reason=outcome.reason)
    return replace(said, reason=outcome.reason) if said.cause == "lost" else said


def _interrupted(flight: _Flight) -> Outcome:
    return lost(flight.job.id, attempt=flight.number, cause="interrupted", reason="stopped before it was finished")


def _release(flight: _Flight) -> None:
    if flight.group is not None:
        remove_placement_group(flight.group)
