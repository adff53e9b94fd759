"""What is asked of Ray in main memory, and when the planner's estimate is."""

from dataclasses import replace
from pathlib import Path

import pytest

from ablate.attempt import Outcome, lost
from ablate.design import make_arms
from ablate.planned import Job
from ablate.planner import make_plan
from ablate.schedule.memory import PEAK_DETAIL, Claims, estimated_bytes, with_figures
from ablate.study import Resources
from tests.conftest import make_small_plan
from tests.own import load_own

MACHINE = {"CPU": 4.0, "memory": 8.0e9}
HEAD = {"memory": 90.0e9}
"""Without cores nothing runs on it."""


def job_of(here: Path, *, memory_bytes: float, **resources: float) -> Job:
    study = load_own(here, memory_bytes=memory_bytes)
    job = next(iter(make_plan(study, make_arms(study)).jobs.values()))
    return replace(job, id=f"train-{memory_bytes:g}", resources=Resources(**resources))


def test_jobs_that_fit_beside_each_other_ask_for_no_memory(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, memory_bytes=size) for size in (1e9, 2e9)]
    claims = Claims(jobs, [MACHINE, HEAD])
    assert [claims.of(job) for job in jobs] == [0.0, 0.0]
    assert claims.notice() is None


def test_one_job_that_needs_more_than_its_share_makes_all_of_them_ask(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, memory_bytes=size) for size in (1e9, 5e9)]
    claims = Claims(jobs, [MACHINE, HEAD])
    assert [claims.of(job) for job in jobs] == [1e9, 5e9]
    assert claims.notice() is None


def test_job_of_several_cores_has_the_share_of_them(tmp_path: Path) -> None:
    job = job_of(tmp_path, memory_bytes=5e9, cpus=3)
    assert Claims([job], [MACHINE]).of(job) == 0.0


def test_job_that_no_machine_is_expected_to_hold_asks_for_a_whole_one_and_it_is_said(tmp_path: Path) -> None:
    job = job_of(tmp_path, memory_bytes=20e9)
    claims = Claims([job], [MACHINE, {"CPU": 2.0, "memory": 4e9}, HEAD])
    assert claims.of(job) == 8e9
    assert claims.notice() == (
        "train-2e+10 is expected to need 18.6 GiB of main memory, and the largest machine gives 7.45 GiB: "
        "such jobs (1) run one at a time on a machine; say resources.memory_gib where they need less"
    )


@pytest.mark.parametrize("resources", [{"memory_gib": 1}, {"gpus": 0.5}])
def test_estimate_is_not_asked_for_where_the_study_says_it_or_a_gpu_holds_it(resources: dict[str, float], tmp_path: Path) -> None:
    assert estimated_bytes(job_of(tmp_path, memory_bytes=20e9, **resources)) == 0.0


def test_simulated_job_needs_no_memory() -> None:
    job = next(iter(make_small_plan().jobs.values()))
    assert job.spec.memory_bytes > 1e8
    assert estimated_bytes(job) == 0.0


def test_out_of_memory_says_what_was_used_asked_for_and_expected(tmp_path: Path) -> None:
    job = job_of(tmp_path, memory_bytes=2**30, memory_gib=2)
    ended = replace(lost(job.id, attempt=1, cause="oom", reason="out of memory"), details={PEAK_DETAIL: 3 * 2**30})
    reason = with_figures(ended, job).reason
    assert reason == "out of memory; it used 3 GiB; it asked for 2 GiB; the plan expects 1 GiB of main memory"
    on_gpu = replace(job, resources=Resources(gpus=1))
    assert with_figures(replace(ended, details={}), on_gpu).reason == "out of memory; the plan expects 1 GiB of a GPU's memory"
    done = Outcome(job.id, 1, "done")
    assert with_figures(done, job) is done
