"""A driver that is killed, stopped, hung up on or not alone: what was done stays done, and the same command goes on."""

import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ablate.checkpoints import newest_checkpoint
from ablate.errors import EnvironmentMissing
from ablate.load import load_study
from ablate.run import stop_on_signals
from ablate.stores import LEASE_TTL, open_store
from ablate.study import Study
from ablate.workspace import Workspace
from tests.faults.conftest import until
from tests.faults.invariants import check_complete, family, finished, go_on, stated, survivors

STUDY = """\
schema: 1
name: small
trainer: synthetic
base: {{noise_sd: 0, steps: {steps}, step_seconds: {seconds}, fail: {fail}}}
axes: {{num_tokens: {{range: [1, {trials}], step: 1}}}}
metric: {{name: loss, goal: min}}
"""
LINGERING = ("ray::DashboardAgent", "dashboard/agent.py", "ray::RuntimeEnv", "runtime_env/agent/main.py")
"""Ray's own, before and after they named themselves, which notice the death of the rest after a minute."""
IN_PROCESS = """
import os, signal, sys, threading
from pathlib import Path
import sqlalchemy as sa
from ablate.errors import AblateError
from ablate.load import load_study
from ablate.run import run_study
from ablate.schedule.local import LocalScheduler
from ablate.stores import open_store
from ablate.workspace import Workspace

where = sys.argv[2]

def die_where(text):
    if where and where in text:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(name):
    real = getattr(os, name)
    def call(source, target, **rest):
        die_where(f"{name} {target}")
        return real(source, target, **rest)
    setattr(os, name, call)

@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def look(connection, cursor, statement, *rest):
    die_where(statement)

for name in ("replace", "rename"):
    watched(name)
folder = Path(sys.argv[1])
workspace = Workspace(folder / "work", sys.argv[3] or None)
workspace.create()
store = open_store(workspace.store_url, write=True)
print("ready", flush=True)
sys.stdin.readline()
try:
    run_study(load_study(folder / "small.yaml"), store=store, workspace=workspace,
              open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event(), owner="a driver")
except AblateError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
"""A driver without Ray; dies at a system call or an SQL statement of which the second argument is a part."""


def write_study(folder: Path, *, trials: int, steps: int = 5, seconds: float = 0.0, fail: str = "none") -> Study:
    text = STUDY.format(trials=trials, steps=steps, seconds=seconds, fail=fail)
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    return load_study(folder / "small.yaml")


def drive(folder: Path, *, die_at: str = "", store: str = "") -> "subprocess.Popen[str]":
    """A driver in this folder that waits for a line before it begins."""
    command = [sys.executable, "-c", IN_PROCESS, str(folder), die_at, store]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def ablate_run(folder: Path, **options: object) -> "subprocess.Popen[str]":
    """`ablate run` with two slots; the workspace is `work`."""
    command = [sys.executable, "-m", "ablate", "run", "small.yaml", "--slots", "2", "--workspace", "work"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, **pipes | options)  # type: ignore[call-overload, no-any-return]


@contextmanager
def at_work(process: "subprocess.Popen[str]", workspace: Workspace, *, jobs: int = 2) -> Iterator[None]:
    """Once so many jobs have reported; whatever happens, nothing is left of the process afterwards."""
    try:
        journals = lambda: [path for path in workspace.runs.glob("*/attempt-*/metrics.jsonl") if path.stat().st_size]  # noqa: E731
        until(lambda: len(journals()) >= jobs or process.poll() is not None, seconds=60)
        assert process.poll() is None
        yield
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.fault("F01")
def test_driver_killed_at_random_moments_loses_nothing_and_repeats_little(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=8, steps=8, seconds=0.1), Workspace(tmp_path / "work")
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    moments = random.Random(seed)
    done, kills = finished(workspace), 0
    while kills < 3:  # benchmarks/recovery.py does it 20 times
        process = ablate_run(tmp_path)
        if _ended_before(process, workspace, moments):
            break
        children = family(process.pid)
        process.kill()
        process.communicate()
        kills += 1
        assert survivors(children, but=LINGERING) == []
        now = finished(workspace)
        assert {job: now.get(job) for job in done} == done
        done = now
    assert kills > 0
    assert len(list(workspace.runs.glob("*/attempt-*"))) - len(done) <= 2 * kills
    go_on(study, workspace)
    check_complete(study, workspace, before=done, expected=stated(study))


def _ended_before(process: "subprocess.Popen[str]", workspace: Workspace, moments: random.Random) -> bool:
    """Waits for a random moment while the run is at work, or for its end."""
    attempts = len(list(workspace.runs.glob("*/attempt-*"))) + moments.randrange(2)
    until(lambda: process.poll() is not None or len(list(workspace.runs.glob("*/attempt-*"))) > attempts, seconds=60)
    try:
        process.communicate(timeout=moments.uniform(0, 0.5))
    except subprocess.TimeoutExpired:
        return False
    return True


@pytest.mark.parametrize(
    ("moment", "executed"),
    [
        pytest.param("INSERT INTO attempts", 2, marks=pytest.mark.fault("F02"), id="between the outcome and its row"),
        pytest.param("INSERT INTO trials", 3, marks=pytest.mark.fault("F03"), id="plan rows"),
        pytest.param("checkpoint-2", 3, marks=pytest.mark.fault("F03"), id="checkpoint"),
        pytest.param("rename ", 3, marks=pytest.mark.fault("F03"), id="artefact"),
        pytest.param("done.json", 3, marks=pytest.mark.fault("F03"), id="outcome"),
    ],
)
@pytest.mark.slow
def test_driver_killed_while_it_writes_leaves_no_half_and_repeats_no_finished_job(moment: str, executed: int, tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=3, steps=4, seconds=0.01), Workspace(tmp_path / "work")
    process = drive(tmp_path, die_at=moment)
    process.communicate("go\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    done = finished(workspace)
    assert len(done) == 3 - executed
    left = [path for path in workspace.folder.rglob("*.tmp-*")]
    assert bool(left) == (moment in ("checkpoint-2", "rename ", "done.json"))
    assert [path for path in workspace.artifacts.iterdir() if not (path / "SHA256SUMS").exists() and path not in left] == []
    assert go_on(study, workspace) == executed
    check_complete(study, workspace, before=done, expected=stated(study))


@pytest.mark.slow
@pytest.mark.fault("F03")
def test_report_that_is_cut_short_leaves_the_one_before(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=2), Workspace(tmp_path / "work")
    workspace.create()
    go_on(study, workspace)
    page = tmp_path / "report.html"
    page.write_text("the one before")
    code = (
        "import os, signal, sys\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from ablate.cli import app\n"
        "app(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "report", "small", "-o", str(page), "--workspace", str(workspace.folder)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert page.read_text() == "the one before"


@pytest.mark.slow
@pytest.mark.fault("F04")
def test_second_interrupt_ends_a_run_at_once_whatever_its_trials_do(tmp_path: Path) -> None:
    write_study(tmp_path, trials=2, fail="hold", seconds=0.01)
    workspace = Workspace(tmp_path / "work")
    process = ablate_run(tmp_path)
    with at_work(process, workspace):
        children = family(process.pid)
        process.send_signal(signal.SIGINT)
        # the first one is being obeyed: the jobs were asked to stop, and will not
        until(lambda: len(list(workspace.runs.glob("*/attempt-1/stop"))) == 2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert time.monotonic() - began < 4
        assert survivors(children, but=LINGERING) == []


@pytest.mark.slow
@pytest.mark.fault("F04")
@pytest.mark.fault("F39")
def test_closed_terminal_ends_a_run_in_order_and_it_goes_on(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=3, steps=30, seconds=0.1), Workspace(tmp_path / "work")
    ours, theirs = pty.openpty()
    process = ablate_run(tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=_own_terminal)
    os.close(theirs)
    with at_work(process, workspace):
        children = family(process.pid)
        os.close(ours)  # the kernel sends SIGHUP to the group, and nobody can read what the run says
        assert process.wait(60) == 130
        assert survivors(children, but=LINGERING) == []
    store = open_store(workspace.store_url)
    assert store.holder("small") is None
    assert {trial.state for trial in store.trials("small")} <= {"queued", "done"}
    store.close()
    done = finished(workspace)
    assert max(newest_checkpoint(folder) for folder in workspace.runs.iterdir()) > 0
    assert go_on(study, workspace) == 3 - len(done)
    check_complete(study, workspace, before=done, expected=stated(study))


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup, and a hangup would be none


@pytest.mark.slow
@pytest.mark.fault("F39")
def test_output_that_nobody_takes_ends_no_run(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=2), Workspace(tmp_path / "work")
    with ablate_run(tmp_path, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        complaint = process.stderr.read()
        assert (process.wait(60), complaint) == (0, "")
    before = finished(workspace)
    # and one that was closed before the run began; it finds everything done
    with ablate_run(tmp_path, stdout=None, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1)) as process:
        assert process.stderr
        complaint = process.stderr.read()
        assert (process.wait(60), complaint) == (0, "")
    check_complete(study, workspace, before=before, expected=stated(study))


@pytest.mark.fault("F39")
@pytest.mark.parametrize("ignored", [True, False])
def test_hangup_is_none_under_nohup(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.wait(0 if ignored else 5) != ignored
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.fault("F10")
def test_death_of_rays_head_is_told_and_trials_that_finish_meanwhile_count(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=2, steps=40, seconds=0.05), Workspace(tmp_path / "work")
    process = ablate_run(tmp_path, env=os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"})
    with at_work(process, workspace):
        children = family(process.pid)
        (head,) = [child for child in children if child.name().startswith("gcs_server")]
        head.kill()
        said, _ = process.communicate(timeout=90)
    assert process.returncode == 3
    assert "the run's process died" in said
    assert "Go on with: ablate run small.yaml --slots 2 --workspace work" in said
    assert survivors(children) == []
    done = finished(workspace)
    assert len(done) == 2  # the workers went on for as long as the driver waited for the head
    until(lambda: not _is_live(workspace), seconds=LEASE_TTL + 20)
    assert go_on(study, workspace) == 0
    check_complete(study, workspace, before=done, expected=stated(study))


def _is_live(workspace: Workspace) -> bool:
    store = open_store(workspace.store_url)
    try:
        return any(record.active for record in store.studies())
    finally:
        store.close()


@pytest.mark.slow
@pytest.mark.fault("F21")
@pytest.mark.fault("F22")
def test_one_of_two_drivers_runs_and_the_other_takes_over_once_it_is_killed(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=3, steps=20, seconds=0.05), Workspace(tmp_path / "work")
    drivers = [drive(tmp_path) for _ in range(2)]
    for driver in drivers:
        assert driver.stdin
        driver.stdin.write("go\n")
        driver.stdin.flush()
    until(lambda: any(driver.poll() is not None for driver in drivers), seconds=30)
    (refused,) = [driver for driver in drivers if driver.poll() is not None]
    (running,) = [driver for driver in drivers if driver is not refused]
    _, why = refused.communicate()
    assert refused.returncode == 3
    assert f"another run works on 'small': a driver (process {running.pid} on " in why
    until(lambda: bool(finished(workspace)), seconds=30)
    assert _is_live(workspace)
    running.kill()
    running.communicate()
    done = finished(workspace)
    until(lambda: not _is_live(workspace), seconds=LEASE_TTL + 20)  # a dead driver's study is not shown as one at work
    assert go_on(study, workspace) == 3 - len(done)
    check_complete(study, workspace, before=done, expected=stated(study))


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.fault("F34")
def test_large_study_killed_in_its_middle_goes_on(tmp_path: Path) -> None:
    """The matrix asks for 10,000 trials on Ray, with times and sizes: `benchmarks/large.py`."""
    trials = 1000
    study, workspace = write_study(tmp_path, trials=trials, steps=2), Workspace(tmp_path / "work")
    process = drive(tmp_path)
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()
    until(lambda: len(list(workspace.artifacts.iterdir())) >= trials // 2, seconds=120)
    (driver,) = family(process.pid)
    assert driver.memory_info().rss < 600e6
    process.kill()
    process.communicate()
    done = finished(workspace)
    assert trials // 2 - 1 <= len(done) < trials
    assert go_on(study, workspace) == trials - len(done)
    check_complete(study, workspace, before=done, expected=stated(study))


@pytest.mark.slow
@pytest.mark.fault("F21")
def test_study_that_shares_unfinished_jobs_with_one_that_runs_is_refused_until_that_has_ended(tmp_path: Path) -> None:
    study, workspace = write_study(tmp_path, trials=2, steps=10, seconds=0.1), Workspace(tmp_path / "work")
    other = study.model_copy(update={"name": "other"})
    process = drive(tmp_path)
    with at_work(begun(process), workspace, jobs=1):
        with pytest.raises(EnvironmentMissing, match=r"'other' shares 2 unfinished jobs, such as .*, with 'small', which is being run"):
            go_on(other, workspace)
        apart = other.model_copy(update={"seeds": (7,)})
        assert go_on(apart, workspace) == 2
        assert process.wait(60) == 0
    assert go_on(other, workspace) == 0
    check_complete(study, workspace, before={}, expected=stated(study) | stated(apart))


def begun(process: "subprocess.Popen[str]") -> "subprocess.Popen[str]":
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
    return process
