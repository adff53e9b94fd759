"""Jobs in this process, one after the other: a breakpoint in a trainer works, and tests need no Ray.

Limits of time are not enforced here: they end a process, and this one is the caller's.
"""

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from ablate.attempt import Origin, execute
from ablate.planned import Job
from ablate.schedule import TICK_SECONDS, Event, Started, Tick
from ablate.schedule.course import Course, refuse_full_disk
from ablate.study import Resources
from ablate.workspace import Workspace


class LocalScheduler:
    slots = 1

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def preflight(self, resources: Resources) -> None:
        refuse_full_disk(self._workspace)

    def run(
        self, jobs: Sequence[Job], *, attempts: Mapping[str, int], stop: threading.Event, known: Mapping[str, Job] | None = None
    ) -> Iterator[Event]:
        course = Course(jobs, attempts=attempts, known=known or {}, workspace=self._workspace)
        while course and not stop.is_set():
            if (following := course.take()) is None:
                stop.wait(TICK_SECONDS)
            else:
                job, number, _ = following
                yield Started(job.id, number)
                outcome = execute(job, workspace=self._workspace, number=number, origin=Origin(submitted=time.time(), argv=tuple(sys.argv)))
                yield from course.ended(job, outcome)
            yield from course.notices()
            yield Tick()
            course.check()
