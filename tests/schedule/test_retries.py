"""Causes decide: who is tried again, when, and when nobody is."""

import pytest

from ablate.attempt import Outcome, lost
from ablate.causes import Cause
from ablate.schedule import ALIKE_FAILURES, FAST_LOSSES, MAX_LOST, MAX_LOST_IN_ALL, MAX_PAUSE_SECONDS, Retries


def failed(cause: Cause, *, job: str = "job", node: str = "", seconds: float = 1.0) -> Outcome:
    made = lost(job, attempt=1, cause=cause, reason="why")
    return Outcome(**vars(made) | {"node": node, "seconds": seconds})


@pytest.mark.parametrize("cause", ["user", "nan", "timeout", "interrupted", "pruned"])
def test_what_would_fail_again_is_not_tried_again(cause: Cause) -> None:
    assert not Retries().decide(failed(cause)).again


def test_lost_worker_is_tried_again_later_and_later_then_the_job_has_failed() -> None:
    retries = Retries()
    decisions = [retries.decide(failed("lost")) for _ in range(MAX_LOST + 1)]
    pauses = [decision.pause_seconds for decision in decisions[:-1]]
    assert all(decision.again for decision in decisions[:-1])
    assert pauses == sorted(set(pauses))
    assert not decisions[-1].again
    assert (decisions[-1].outcome.state, decisions[-1].outcome.cause) == ("failed", "lost")


def test_lost_worker_that_got_further_each_time_is_tried_up_to_the_cap() -> None:
    retries = Retries()
    decisions = [retries.decide(failed("lost"), kept=number) for number in range(1, MAX_LOST_IN_ALL + 2)]
    assert [decision.again for decision in decisions] == [True] * MAX_LOST_IN_ALL + [False]
    assert all(decision.pause_seconds <= MAX_PAUSE_SECONDS for decision in decisions)


def test_out_of_memory_is_tried_once_more_alone() -> None:
    retries = Retries()
    first, second = (retries.decide(failed("oom")) for _ in range(2))
    assert (first.again, first.alone, first.outcome.state) == (True, True, "lost")
    assert (second.again, second.outcome.state) == (False, "failed")


def test_node_that_loses_everything_fast_is_left_alone_until_it_does_better() -> None:
    retries = Retries()
    for number in range(FAST_LOSSES):
        assert retries.bad_nodes == ()
        retries.decide(failed("lost", job=f"job{number}", node="bad"))
        retries.decide(failed("lost", job=f"job{number}", node="slow", seconds=1000.0))
    assert retries.bad_nodes == ("bad",)
    retries.decide(Outcome("job", 1, "done", node="bad"))
    assert retries.bad_nodes == ()


def test_jobs_that_fail_alike_pause_the_run_unless_one_is_done_between() -> None:
    retries = Retries()
    for _ in range(ALIKE_FAILURES - 1):
        retries.decide(failed("user"))
    assert retries.why_pause is None
    retries.decide(Outcome("job", 1, "done"))
    for _ in range(ALIKE_FAILURES):
        assert retries.why_pause is None
        retries.decide(failed("user"))
    assert f"{ALIKE_FAILURES} jobs in a row failed with the cause 'user'" in (retries.why_pause or "")


def test_arms_that_diverge_or_do_not_fit_never_pause_a_run() -> None:
    retries = Retries()
    for number in range(3 * ALIKE_FAILURES):
        retries.decide(failed("nan" if number % 2 else "oom"))
    assert retries.why_pause is None
