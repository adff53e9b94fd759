"""Workers that die, hang, leak and talk too much: each fault is caused, and the run goes on."""

import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from ablate import synthetic
from ablate.checkpoints import newest_checkpoint
from ablate.design import make_arms
from ablate.errors import EnvironmentMissing
from ablate.journal import read_points
from ablate.load import load_study
from ablate.planned import Job
from ablate.planner import make_plan
from ablate.schedule import Event, Scheduler, Started, guardian
from ablate.workspace import Workspace
from tests.conftest import make_arm, make_small_plan, make_study
from tests.faults.conftest import command_lines, ends, run, until
from tests.own import write_study

pytestmark = [pytest.mark.slow]


def one_job(*, resources: dict[str, float] | None = None, **fields: object) -> Job:
    plan = make_plan(make_study(seeds=1, resources=resources or {}), [make_arm("base", **fields)])
    return next(iter(plan.jobs.values()))


def pid_of(job: Job, workspace: Workspace, *, attempt: int) -> int:
    return int((workspace.attempt(job.id, attempt) / "pid").read_text())


def undisturbed(job: Job, tmp_path: Path) -> object:
    from ablate.attempt import execute

    calm = Workspace(tmp_path / "calm")
    calm.create()
    return execute(job, workspace=calm, number=1).metrics


@pytest.mark.fault("F05")
def test_worker_killed_three_times_goes_on_from_its_checkpoint(scheduler: Scheduler, workspace: Workspace, tmp_path: Path) -> None:
    job = one_job(steps=40, step_seconds=0.05)  # F05
    kept = workspace.runs / job.id

    def kill(event: Event) -> None:
        if isinstance(event, Started) and event.attempt <= 3:
            wanted = newest_checkpoint(kept) + 3
            until(lambda: newest_checkpoint(kept) >= wanted)
            os.kill(pid_of(job, workspace, attempt=event.attempt), signal.SIGKILL)

    outcomes = ends(run(scheduler, [job], watch=kill), job)
    assert [(outcome.state, outcome.cause) for outcome in outcomes] == [("lost", "lost")] * 3 + [("done", None)]
    assert outcomes[-1].metrics == undisturbed(job, tmp_path)
    first_steps = [read_points(workspace.attempt(job.id, number) / "metrics.jsonl")[0][0].step for number in (1, 2, 3, 4)]
    assert first_steps == sorted(set(first_steps))
    assert first_steps[0] == 1


def test_worker_that_is_told_to_end_is_lost_and_no_failure_of_its_trainer(
    scheduler: Scheduler, workspace: Workspace, tmp_path: Path
) -> None:
    job = one_job(steps=40, step_seconds=0.05)

    def tell(event: Event) -> None:
        if isinstance(event, Started) and event.attempt == 1:
            until(lambda: newest_checkpoint(workspace.runs / job.id) >= 3)
            os.kill(pid_of(job, workspace, attempt=1), signal.SIGTERM)

    outcomes = ends(run(scheduler, [job], watch=tell), job)
    assert [(outcome.state, outcome.cause) for outcome in outcomes] == [("lost", "lost"), ("done", None)]
    assert outcomes[-1].metrics == undisturbed(job, tmp_path)


@pytest.mark.parametrize("fail", ["hang", "hold"])
@pytest.mark.fault("F28")
def test_hung_attempt_is_ended_at_its_limit_and_the_slot_used_again(fail: str, scheduler: Scheduler, workspace: Workspace) -> None:
    hung = one_job(steps=2, fail=fail, resources={"minutes": 2 / 60})  # F28
    other = one_job(steps=2, num_tokens=16)
    began = time.monotonic()
    events = run(scheduler, [hung, other])
    (outcome,) = ends(events, hung)
    assert (outcome.state, outcome.cause) == ("failed", "timeout")
    assert "resources.minutes" in outcome.reason
    assert 2 <= outcome.seconds <= 6
    assert time.monotonic() - began < 15
    assert ends(events, other)[0].state == "done"
    assert ends(run(scheduler, [one_job(num_tokens=32), one_job(num_tokens=48)]), one_job(num_tokens=32))[0].state == "done"


@pytest.mark.fault("F28")
def test_attempt_that_reports_nothing_is_ended_and_one_that_reports_is_not(scheduler: Scheduler) -> None:
    resources = {"stall_minutes": 2 / 60}
    silent = one_job(steps=4, fail="hang", resources=resources)
    slow = one_job(steps=30, step_seconds=0.15, resources=resources)
    events = run(scheduler, [silent, slow])
    assert [(outcome.cause, outcome.state) for outcome in ends(events, silent)] == [("timeout", "failed")]
    assert "resources.stall_minutes" in ends(events, silent)[0].reason
    assert [point.step for point in ends(events, silent)[0].metrics] == [1]
    assert ends(events, slow)[0].state == "done"


def test_attempt_that_stops_when_asked_has_timed_out_all_the_same(scheduler: Scheduler) -> None:
    job = one_job(steps=1000, step_seconds=0.05, resources={"minutes": 1 / 60})
    (outcome,) = ends(run(scheduler, [job]), job)
    assert (outcome.state, outcome.cause) == ("failed", "timeout")
    assert outcome.pid


@pytest.mark.fault("F07")
def test_child_in_a_session_of_its_own_does_not_outlive_a_killed_worker(scheduler: Scheduler, workspace: Workspace) -> None:
    job = one_job(steps=2, fail="orphan")  # F07
    outcomes = ends(run(scheduler, [job]), job)
    assert [outcome.cause for outcome in outcomes] == ["lost"] * 3
    # nothing to wait for: the attempt counts as ended once what it started is gone
    workers = [pid_of(job, workspace, attempt=number) for number in (1, 2, 3)]
    assert [command_lines(f"time.sleep(600) {worker} ") for worker in workers] == [[], [], []]


@pytest.mark.fault("F11")
def test_memory_error_is_tried_once_more_alone_and_then_failed(scheduler: Scheduler) -> None:
    job, other = one_job(fail="memory"), one_job(num_tokens=16)  # F11
    events = run(scheduler, [job, other])
    outcomes = ends(events, job)
    assert [(outcome.state, outcome.cause) for outcome in outcomes] == [("lost", "oom"), ("failed", "oom")]
    assert "MemoryError" in outcomes[-1].reason
    assert ends(events, other)[0].state == "done"


@pytest.mark.fault("F11")
def test_worker_killed_at_the_memory_it_asked_for_is_out_of_memory(scheduler: Scheduler, workspace: Workspace) -> None:
    # a worker has 0.1 GiB in use before it does anything, so this one is at its peak from the start
    job = one_job(steps=100, step_seconds=0.1, resources={"memory_gib": 0.02})

    def kill(event: Event) -> None:
        if isinstance(event, Started):
            until(lambda: event_age(job, workspace, event.attempt) > 1.5)
            os.kill(pid_of(job, workspace, attempt=event.attempt), signal.SIGKILL)

    outcomes = ends(run(scheduler, [job], watch=kill), job)
    assert [(outcome.state, outcome.cause) for outcome in outcomes] == [("lost", "oom"), ("failed", "oom")]
    assert "asked for" in outcomes[-1].reason


def event_age(job: Job, workspace: Workspace, attempt: int) -> float:
    return time.time() - (workspace.attempt(job.id, attempt) / "pid").stat().st_mtime


@pytest.mark.fault("F35")
def test_log_of_a_gigabyte_is_capped_and_keeps_head_and_tail(scheduler: Scheduler, workspace: Workspace) -> None:
    job = one_job(steps=1, fail="flood")  # F35
    (outcome,) = ends(run(scheduler, [job]), job)
    assert outcome.state == "done"
    log = (workspace.attempt(job.id, 1) / "log.txt").read_bytes()
    assert len(log) < guardian.HEAD_BYTES + guardian.TAIL_BYTES + 1000
    assert log.startswith(b"a line of a trainer")
    assert log.endswith(b"the last line\n")
    left_out = int(log.partition(b"\n... ")[2].partition(b" bytes left out")[0])
    assert left_out + len(log) == pytest.approx(synthetic.FLOOD_BYTES, rel=0.001)


@pytest.mark.fault("F38")
def test_worker_of_a_failed_attempt_runs_nothing_more(scheduler: Scheduler, workspace: Workspace) -> None:
    failing = [one_job(fail="raise", num_tokens=tokens) for tokens in (1, 2, 3)]  # F38
    outcomes = [ends(run(scheduler, [job]), job)[0] for job in failing]
    assert {outcome.cause for outcome in outcomes} == {"user"}
    assert len({outcome.pid for outcome in outcomes}) == 3
    assert "told to raise" in (workspace.attempt(failing[0].id, 1) / "log.txt").read_text()


@pytest.mark.fault("F31")
def test_jobs_that_all_fail_alike_pause_the_run(scheduler: Scheduler) -> None:
    jobs = list(make_small_plan(seeds=40, fail="raise").jobs.values())[40:]  # F31
    failed = []
    with pytest.raises(EnvironmentMissing, match=r"paused: 2\d jobs in a row failed with the cause 'user'"):
        run(scheduler, jobs, watch=lambda event: failed.extend([event] if hasattr(event, "outcome") else []))
    assert len(jobs) == 40


@pytest.mark.fault("F30")
def test_damaged_artefact_is_built_again_once_and_its_readers_wait(scheduler: Scheduler, workspace: Workspace) -> None:
    from tests.contracts.test_schedulers import chain_of

    first, second, third = chain_of(make_small_plan())  # F30
    readers = [Job(f"reader-{number}", *(getattr(second, name) for name in Job.__slots__[1:])) for number in range(3)]
    run(scheduler, [first])
    sums = workspace.artifacts / first.id / "SHA256SUMS"
    (workspace.artifacts / first.id / "weights").write_bytes(b"flipped")
    events = run(scheduler, readers, known={first.id: first})
    assert [outcome.state for outcome in ends(events, first)] == ["done"]
    for reader in readers:
        assert ends(events, reader)[-1].state == "done"
        assert {outcome.cause for outcome in ends(events, reader)[:-1]} <= {"artefact"}
    assert sums.exists()
    shutil.rmtree(workspace.artifacts / first.id)
    events = run(scheduler, [third], known={first.id: first, second.id: second})
    assert [outcome.state for outcome in ends(events, third)] == ["lost", "done"]


def test_idle_worker_beside_a_job_of_all_cores_stays_warm(scheduler: Scheduler) -> None:
    workers: set[int] = set()
    for tokens in range(1, 41, 2):  # on a busy machine the second worker takes its time to start
        both = [one_job(num_tokens=number, steps=1, step_seconds=0.3) for number in (tokens, tokens + 1)]
        workers |= {ends(events, job)[0].pid for events in [run(scheduler, both)] for job in both}
        if len(workers) == 2:
            break
    (wide,) = make_plan(make_study(seeds=1, resources={"cpus": 2}), [make_arm("base", steps=10, step_seconds=0.4)]).jobs.values()
    assert ends(run(scheduler, [wide]), wide)[0].state == "done"
    assert len(workers) == 2
    assert all(psutil.pid_exists(worker) for worker in workers)


ENDS = {
    "segfault": ("import ctypes\n    ctypes.string_at(0)", ("lost", "lost", "failed"), "worker process died"),
    "no_pickle": ("raise type('Odd', (Exception,), {'__init__': lambda self: None, 'hook': lambda: 0})()", ("failed",), "Odd"),
    "ten_megabytes": ("raise RuntimeError('much ' * 2_000_000)", ("failed",), "RuntimeError: much much"),
    "exit_0": ("import os\n    os._exit(0)", ("lost", "lost", "failed"), "worker process died"),
}
"""How a trainer may end -> what it does, the states of its attempts, what the reason says."""


@pytest.mark.fault("F26")
@pytest.mark.parametrize("end", ENDS)
def test_trainer_that_ends_in_an_odd_way_fails_alone(end: str, scheduler: Scheduler, tmp_path: Path) -> None:
    does, states, reason = ENDS[end]
    (tmp_path / f"{end}.py").write_text(f"def train(config, context):\n    {does}\n", encoding="utf-8")
    study = load_study(write_study(tmp_path, trainer="python", function=f"{end}:train", axes={"lr": [0.1]}))
    (job,), other = make_plan(study, make_arms(study)).jobs.values(), one_job(num_tokens=80)
    events = run(scheduler, [job, other])
    outcomes = ends(events, job)
    assert tuple(outcome.state for outcome in outcomes) == states
    assert reason in outcomes[-1].reason
    assert len(outcomes[-1].reason) < 1000
    assert ends(events, other)[0].state == "done"
