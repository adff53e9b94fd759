"""What is next in a run, and when."""

import time
from dataclasses import replace

from ablate.attempt import Outcome, lost
from ablate.planned import Job
from ablate.schedule import FIRST_PAUSE_SECONDS, Finished
from ablate.schedule.course import Course
from ablate.workspace import Workspace
from tests.conftest import make_small_plan
from tests.faults.conftest import until


def course_of(jobs: list[Job], workspace: Workspace) -> Course:
    return Course(jobs, attempts={}, known={}, workspace=workspace)


def test_lost_job_waits_a_moment_while_others_go_on(workspace: Workspace) -> None:
    first, second, *_ = jobs = list(make_small_plan().jobs.values())[:2]
    course = course_of(jobs, workspace)
    assert [following.job for following in (course.take(), course.take()) if following] == [first, second]
    began = time.monotonic()
    (event,) = course.ended(first, lost(first.id, attempt=1, cause="lost", reason="died"))
    assert isinstance(event, Finished)
    assert not event.final
    assert course.take() is None
    assert course
    taken = []
    until(lambda: bool(taken.append(course.take()) or taken[-1]), seconds=5)  # type: ignore[func-returns-value]
    assert (taken[-1].job, taken[-1].number) == (first, 2)
    assert time.monotonic() - began >= FIRST_PAUSE_SECONDS


def test_job_that_ran_out_of_memory_comes_last_and_alone(workspace: Workspace) -> None:
    jobs = list(make_small_plan().jobs.values())
    course = course_of(jobs, workspace)
    first = course.take()
    assert first
    list(course.ended(first.job, lost(first.job.id, attempt=1, cause="oom", reason="out of memory")))
    rest = [course.take() for _ in jobs]
    assert [following.alone for following in rest if following] == [False] * (len(jobs) - 1) + [True]
    assert rest[-1]
    assert (rest[-1].job, rest[-1].number) == (first.job, 2)
    assert not course


def test_what_waits_for_an_interrupted_job_waits_for_the_next_run(workspace: Workspace) -> None:
    first, second, *_ = make_small_plan().jobs.values()
    course = course_of([first, replace(second, needs={"encoder": first.id})], workspace)
    assert course.take()
    (event,) = course.ended(first, lost(first.id, attempt=1, cause="interrupted", reason="cancelled"))
    assert isinstance(event, Finished)
    assert not course


def test_course_is_over_once_every_job_is_done(workspace: Workspace) -> None:
    jobs = list(make_small_plan().jobs.values())
    course = course_of(jobs, workspace)
    while following := course.take():
        list(course.ended(following.job, Outcome(following.job.id, following.number, "done")))
    assert not course
