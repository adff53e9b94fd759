"""How long an attempt that is asked to stop has to end."""

from dataclasses import replace
from pathlib import Path

import pytest

from ablate.design import make_arms
from ablate.planner import make_plan
from ablate.schedule import GRACE_MARGIN_SECONDS, GRACE_SECONDS, grace_seconds
from ablate.study import Resources
from tests.conftest import make_small_plan
from tests.own import load_own


def test_trainer_that_says_nothing_has_the_usual_time_and_no_more_than_its_limit() -> None:
    job = next(iter(make_small_plan().jobs.values()))
    assert grace_seconds(job) == GRACE_SECONDS
    assert grace_seconds(replace(job, resources=Resources(minutes=2 / 60))) == pytest.approx(2)


@pytest.mark.parametrize("own", [0.5, 10, 60])
def test_program_is_never_ended_before_its_own_time_is_over(own: float, tmp_path: Path) -> None:
    study = load_own(tmp_path, grace_seconds=own)
    job = next(iter(make_plan(study, make_arms(study)).jobs.values()))
    assert grace_seconds(job) == max(GRACE_SECONDS, own + GRACE_MARGIN_SECONDS)
    assert grace_seconds(replace(job, resources=Resources(stall_minutes=1 / 60))) == max(1, own + GRACE_MARGIN_SECONDS)
