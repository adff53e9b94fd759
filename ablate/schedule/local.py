"""Jobs in this process, one after the other: a breakpoint in a trainer works, and tests need no Ray."""

import threading
from collections.abc import Iterator, Mapping, Sequence

from ablate.attempt import execute
from ablate.planner import Job
from ablate.schedule import Event, Finished, Readiness, Skipped, Started, Tick
from ablate.workspace import Workspace


class LocalScheduler:
    slots = 1

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def run(self, jobs: Sequence[Job], *, attempts: Mapping[str, int], stop: threading.Event) -> Iterator[Event]:
        ready = Readiness(jobs)
        while ready and not stop.is_set():
            job = ready.pop()
            number = attempts.get(job.id, 0) + 1
            yield Started(job.id, number)
            outcome = execute(job, workspace=self._workspace, number=number)
            yield Finished(outcome)
            yield Tick()
            if outcome.state == "done":
                ready.done(job.id)
            else:
                yield from (Skipped(skipped, because=job.id) for skipped in ready.failed(job.id))
