"""How much main memory jobs ask Ray for, so that no more run at once than fit: what the study says, else the planner's estimate.

An estimate is asked for only where it decides something, that is where a job of the run expects more than the share of a machine's memory
that goes with its cores; otherwise the cores limit before the memory does, and Ray starts jobs that ask for less kinds of things sooner.
It is an estimate: a job is never refused for it, but runs with a whole machine's memory to itself. The interpreter and its libraries
(about half a GiB with torch) are not in it; Ray gives out only about 70 % of a machine's memory, which leaves room for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ablate.attempt import Outcome
from ablate.planned import Job
from ablate.quantities import bytes_text
from ablate.trainers import load_trainer

Node = Mapping[str, float]
PEAK_DETAIL = "peak_bytes"
"""Among an outcome's details: main memory of the attempt's processes at their peak."""


class Claims:
    """What the jobs of one run ask for beside cores and GPUs."""

    def __init__(self, jobs: Sequence[Job], nodes: Sequence[Node]) -> None:
        holding = [node for node in nodes if node.get("CPU", 0) > 0 and node.get("memory", 0) > 0]
        self._largest = max((node["memory"] for node in holding), default=0.0)
        share = min((node["memory"] / node["CPU"] for node in holding), default=0.0)
        over = [job for job in jobs if share and estimated_bytes(job) > share * job.resources.cpus]
        self._scarce = bool(over)
        self._too_large = [job for job in over if estimated_bytes(job) > self._largest]

    def of(self, job: Job) -> float:
        """Bytes; 0 where nothing is asked for."""
        return min(estimated_bytes(job), self._largest) if self._scarce else 0.0

    def notice(self) -> str | None:
        if not self._too_large:
            return None
        most = max(self._too_large, key=estimated_bytes)
        return (
            f"{most.id} is expected to need {bytes_text(estimated_bytes(most))} of main memory, "
            f"and the largest machine gives {bytes_text(self._largest)}: "
            f"such jobs ({len(self._too_large)}) run one at a time on a machine; say resources.memory_gib where they need less"
        )


def estimated_bytes(job: Job) -> float:
    """Peak of main memory as planned; 0 where the study says it, where nobody knows it, and where it is a GPU's or simulated."""
    return 0.0 if job.resources.memory_gib is not None or job.resources.gpus else _planned_bytes(job)


def with_figures(outcome: Outcome, job: Job) -> Outcome:
    """An out-of-memory says beside its reason what was used, what was asked for and what was expected."""
    if outcome.cause != "oom":
        return outcome
    peak: Any = outcome.details.get(PEAK_DETAIL)
    where = "a GPU's" if job.resources.gpus else "main"
    figures = [f"it used {bytes_text(peak)}"] if peak else []
    figures += [f"it asked for {job.resources.memory_gib:g} GiB"] if job.resources.memory_gib is not None else []
    figures += [f"the plan expects {bytes_text(planned)} of {where} memory"] if (planned := _planned_bytes(job)) else []
    return replace(outcome, reason="; ".join([outcome.reason, *figures]))


def _planned_bytes(job: Job) -> float:
    simulated = getattr(load_trainer(job.trainer), "SIMULATED", False)
    return 0.0 if simulated else job.spec.memory_bytes
