"""What the verbs about a run say: on stores that runs wrote, or died over."""

import importlib
import json
import platform
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate import holding, provenance
from ablate.archive import export_study, read_archive
from ablate.arrival import import_study
from ablate.attempt import Outcome, lost
from ablate.cli import main
from ablate.conclude import study_report
from ablate.design import make_arms
from ablate.durable import PATIENCE_VARIABLE, storage_patience
from ablate.errors import EnvironmentMissing, InputError
from ablate.load import load_study
from ablate.planner import make_plan
from ablate.stores import Lease, Store, TrialRecord, open_store, sql_leases
from ablate.terminal import show_rows
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.faults.conftest import until
from tests.own import REPORTS, load_own, write_study
from tests.stores.ran import run, small_study, workspace_at

Ablate = Callable[..., str]
CLAIM_AND_DIE = """
import os, sys
from ablate.stores import open_store
open_store(sys.argv[1], write=True).claim("small", owner="ablate run small.yaml")
os._exit(9)
"""


@pytest.fixture
def ablate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ablate:
    """What a verb prints on a workspace; with a code, what it says of why it refused."""

    def said(*arguments: str, place: Workspace, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["ablate", *arguments, "--workspace", str(place.folder)])
        capsys.readouterr()  # what a run printed before
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert (end.value.code or 0) == code, printed.err
        return printed.err if code else printed.out

    return said


def jobs_in(store: Store, state: str) -> list[str]:
    return [job.id for job in store.jobs("small") if job.state == state]


def trial_in(store: Store, state: str) -> TrialRecord:
    return next(trial for trial in store.trials("small") if trial.state == state)


def lease_of(store: Store) -> Lease:
    holder = store.holder("small")
    assert holder
    return holder.lease


def commit(folder: Path) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message=one"]):
        subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True)


def lose(store: Store, job: str) -> None:
    store.finish("small", lost(job, attempt=2, cause="lost", reason="its worker process died"))


def test_retry_queues_failed_and_lost_jobs_and_says_what_it_left(store: Store, workspace: Workspace, ablate: Ablate) -> None:
    run(small_study(), workspace)
    failed = jobs_in(store, "failed")
    assert len(failed) == 2
    lose(store, failed[0])
    said = ablate("retry", "small", "--failed", place=workspace)
    assert said.startswith(f"1 job queued again; next: ablate run --workspace {workspace.folder} FILE")
    assert said.endswith("\n1 lost is left: asked for by --lost\n")
    assert (jobs_in(store, "queued"), jobs_in(store, "lost")) == ([failed[1]], [failed[0]])
    assert ablate("retry", "small", "--failed", place=workspace).startswith("nothing failed\n1 lost is left")
    assert ablate("retry", "small", "--lost", place=workspace).startswith("1 job queued again")
    assert jobs_in(store, "queued") == failed
    assert ablate("retry", "small", place=workspace) == "nothing failed or lost\n"


def test_retry_of_both_kinds_leaves_the_pruned_ones(store: Store, workspace: Workspace, ablate: Ablate) -> None:
    run(small_study(), workspace)
    first, second = jobs_in(store, "failed")
    store.finish("small", Outcome(first, 2, "pruned", cause="pruned", reason="below the median"))
    said = ablate("retry", "small", place=workspace)
    assert said.startswith("1 job queued again")
    assert said.endswith("\n1 pruned is left: ended by a search\n")
    assert (jobs_in(store, "pruned"), jobs_in(store, "queued")) == ([first], [second])


def test_job_that_was_not_run_is_retried_with_the_one_it_needs(store: Store, workspace: Workspace, ablate: Ablate) -> None:
    study = make_study(trainer="model_zoo", axes={"decoder.width": [32, 64]}, metric={"name": "val_loss", "goal": "min"})
    plan = make_plan(study, make_arms(study))
    store.record_plan(plan, axes={}, simulated=False)
    encoder, *others = plan.jobs
    lose(store, encoder)
    for job in others:
        store.skip("small", job, because=encoder)
    assert ablate("retry", "small", "--failed", place=workspace) == "nothing failed\n3 lost are left: asked for by --lost\n"
    assert ablate("retry", "small", "--lost", place=workspace).startswith("3 jobs queued again")
    assert jobs_in(store, "queued") == [encoder, *others]


def test_retry_while_a_run_is_at_work_is_refused(
    store: Store, workspace: Workspace, ablate: Ablate, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(small_study(), workspace)
    monkeypatch.setattr(holding, "BEAT_SECONDS", 0.02)  # a challenger waits for a beat, and so does this test
    with holding.held(store, study="small", owner="ablate run small.yaml"):
        said = ablate("retry", "small", place=workspace, code=3)
    assert "another run works on 'small': ablate run small.yaml (process " in said
    assert "wait for it, or `ablate stop small` first" in said
    assert len(jobs_in(store, "failed")) == 2


def test_retry_of_a_study_that_is_not_there_makes_no_database(tmp_path: Path, ablate: Ablate) -> None:
    place = workspace_at(tmp_path / "empty")
    assert "ablate run" in ablate("retry", "small", place=place, code=3)
    assert not (place.folder / "ablate.db").exists()


def test_stop_of_a_run_that_has_just_died_says_so(store: Store, workspace: Workspace, ablate: Ablate) -> None:
    run(small_study(), workspace)
    dead = subprocess.run([sys.executable, "-c", CLAIM_AND_DIE, workspace.store_url], check=False)
    assert dead.returncode == 9
    store.beat(lease_of(store))  # however slow this machine is, it was alive a moment ago
    assert ablate("stop", "small", place=workspace) == "no run works on 'small': its run has just died; the same command goes on\n"


def test_status_of_a_study_whose_run_was_killed_says_that_nobody_works_on_it(store: Store, workspace: Workspace, ablate: Ablate) -> None:
    run(small_study(), workspace)
    said = ablate("status", "small", place=workspace)
    assert "nobody works on it" not in said
    (job, *_) = jobs_in(store, "failed")
    with holding.held(store, study="small", owner="ablate run small.yaml"):
        store.start("small", job, attempt=2)
        assert "a run works on it: ablate run small.yaml (process " in ablate("status", "small", place=workspace)
        assert {row["active"] for row in json.loads(ablate("status", "small", "--json", place=workspace))} == {True}
    said = ablate("status", "small", place=workspace)
    assert f"its run ended without a word; `ablate run --workspace {workspace.folder} FILE, the study's file` goes on" in said
    rows = json.loads(ablate("status", "small", "--json", place=workspace))
    assert [(row["state"], row["active"]) for row in rows].count(("running", False)) == 1


def test_status_of_a_study_whose_run_was_killed_between_two_jobs_says_so_too(
    store: Store, workspace: Workspace, ablate: Ablate, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study()
    plan = make_plan(study, make_arms(study))
    store.record_plan(plan, axes={}, simulated=True)
    assert "nobody works on it" not in ablate("status", "small", place=workspace)  # it was never run
    subprocess.run([sys.executable, "-c", CLAIM_AND_DIE, workspace.store_url], check=False)
    monkeypatch.setattr(sql_leases, "LEASE_TTL", 0.0)  # it has been silent for long enough
    said = ablate("status", "small", place=workspace)
    assert "its run ended without a word" in said
    assert "a run works on it" not in said


def test_job_that_another_study_s_run_executes_is_not_deserted(store: Store, workspace: Workspace, ablate: Ablate) -> None:
    run(small_study(), workspace)
    run(small_study(name="other"), workspace)
    with holding.held(store, study="other", owner="ablate run other.yaml"):
        store.start("other", jobs_in(store, "failed")[0], attempt=2)
        assert "nobody works on it" not in ablate("status", "small", place=workspace)
    assert "nobody works on it" in ablate("status", "small", place=workspace)


def test_logs_of_a_trial_that_never_began_names_no_file(store: Store, workspace: Workspace, ablate: Ablate) -> None:
    study = small_study()
    store.record_plan(make_plan(study, make_arms(study)), axes={}, simulated=True)
    trial = trial_in(store, "queued")
    assert ablate("logs", trial.id, place=workspace) == f"== small: {trial.id}: queued\n-- {trial.chain[0]}: it has not begun\n"


def test_logs_of_an_attempt_say_what_it_wrote_and_how_it_ended(store: Store, workspace: Workspace, ablate: Ablate) -> None:
    run(small_study(), workspace)
    trial = trial_in(store, "failed")
    lose(store, trial.chain[0])
    first = ablate("logs", trial.id, "--attempt", "1", place=workspace)
    assert f"attempt 1, failed (user): {trial.reason}\n-- {workspace.attempt(trial.chain[0], 1) / 'log.txt'}\nTraceback" in first
    last = ablate("logs", trial.id, place=workspace)
    assert last.endswith("attempt 2, lost (lost): its worker process died\n(it wrote nothing)\n")
    done = trial_in(store, "done")
    assert ablate("logs", done.id, place=workspace).endswith(f"-- {done.chain[0]}, attempt 1, done\n(it wrote nothing)\n")


def test_logs_of_an_attempt_that_never_was_lists_those_there_are(store: Store, workspace: Workspace, ablate: Ablate) -> None:
    run(small_study(), workspace)
    said = ablate("logs", "fail=raise", "--attempt", "2", place=workspace, code=2)
    assert said == "".join(f"{job} has no attempt 2: there is attempt 1 only\n" for job in sorted(jobs_in(store, "failed")))


def test_logs_of_an_imported_trial_stayed_where_it_ran(workspace: Workspace, tmp_path: Path, ablate: Ablate) -> None:
    run(small_study(), workspace)
    there = workspace_at(tmp_path / "there")
    export_study(open_store(workspace.store_url), "small", path=tmp_path / "small.zip", workspace=workspace, artefacts=False)
    store = open_store(there.store_url, write=True)
    import_study(read_archive(tmp_path / "small.zip"), store=store, workspace=there)
    said = ablate("logs", trial_in(store, "failed").id, place=there)
    assert f"(it ran on {socket.gethostname()}, outside this workspace, and its log stayed where it ran)" in said
    assert str(there.runs) not in said


def test_explain_lists_the_attempts_of_a_trial_with_their_code(tmp_path: Path, ablate: Ablate) -> None:
    place, project = workspace_at(tmp_path / "work"), tmp_path / "project"
    project.mkdir()
    notes = project / "notes.txt"
    script = f"if 'ready' not in open({str(notes)!r}).read():\n    raise SystemExit(3)\n{REPORTS}"
    study = load_own(project, script=script, axes={"lr": [0.1]})
    notes.write_text("not yet\n")
    commit(project)
    run(study, place)
    store = open_store(place.store_url, write=True)
    (trial,) = store.trials("own")
    store.requeue("own", trial.chain, why="a test")
    notes.write_text("ready\n")
    provenance._seen.cache_clear()  # a repository is looked at once a minute
    run(study, place)
    first, second = json.loads(ablate("explain", trial.id, "--json", place=place))["attempts"]
    assert [(one["number"], one["state"], one["cause"]) for one in (first, second)] == [(1, "failed", "user"), (2, "done", None)]
    assert (first["git"]["dirty"], second["git"]["dirty"]) == (False, True)
    assert len(first["git"]["commit"]) == 40
    diff = place.diff(second["git"]["diff_sha256"])
    assert "+ready" in diff.read_text()
    assert (first["diff"], second["diff"]) == (None, str(diff))
    assert first["host"] == socket.gethostname()
    assert first["devices"][0].startswith("CPU: ")
    said = ablate("explain", trial.id, place=place)
    assert f"{first['git']['commit'][:12]} dirty" in said
    assert said.endswith(f"{trial.chain[0]}, attempt 2: its uncommitted changes are in {diff}\n")


@pytest.mark.fault("F32")
def test_trials_made_with_different_versions_of_a_package_are_named(
    tmp_path: Path, workspace: Workspace, ablate: Ablate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package lies where installed ones do, not beside the study: a new version of it is no new trial."""
    site = tmp_path / "site-packages"
    (site / "kernels").mkdir(parents=True)
    monkeypatch.syspath_prepend(site)
    (tmp_path / "own.py").write_text("import kernels\n\ndef train(config, context):\n    context.report(1, loss=config['lr'])\n")
    for seeds, version in ((1, "1.0"), (2, "2.0")):
        (site / "kernels" / "__init__.py").write_text(f"__version__ = '{version}'\n")
        monkeypatch.delitem(sys.modules, "kernels", raising=False)
        importlib.invalidate_caches()
        provenance._packages.cache_clear()
        file = write_study(tmp_path, trainer="python", function="own:train", extra={"seeds": seeds})
        run(load_study(file), workspace)
    monkeypatch.delitem(sys.modules, "kernels")
    said = ablate("effects", "own", place=workspace)
    assert "! not all of these trials were trained alike:\n  kernels: 1.0 (2 jobs), 2.0 (2 jobs)\n" in said
    assert json.loads(ablate("effects", "own", "--json", place=workspace))["mixed"] == ["kernels: 1.0 (2 jobs), 2.0 (2 jobs)"]
    opened = open_store(workspace.store_url)
    old, new = sorted(row.id for row in opened.trials("own") if row.arm == "base")
    assert "trained with\n  kernels: 1.0 (1 job), 2.0 (1 job)\n" in ablate("explain", old, new, place=workspace)
    made_with = study_report(opened, "own").provenance
    assert made_with["trained with kernels"] == "1.0 (2 jobs), 2.0 (2 jobs)"
    assert made_with["trained with python"] == platform.python_version()
    opened.close()


def test_status_of_a_large_study_lists_what_needs_a_look_first(workspace: Workspace, ablate: Ablate) -> None:
    study = make_study(axes={"num_tokens": list(range(1, 121))}, seeds=2)
    store = open_store(workspace.store_url, write=True)
    plan = make_plan(study, make_arms(study))
    store.record_plan(plan, axes={}, simulated=True)
    *_, done, bad = plan.trials
    store.finish("small", Outcome(done.chain[-1], 1, "done"))
    store.finish("small", Outcome(bad.chain[-1], 1, "failed", cause="user", reason="told to"))
    store.close()
    said = ablate("status", "small", place=workspace).splitlines()
    assert said[1].startswith(bad.id)
    summary = "240 trials: 238 queued, 1 done, 1 failed; 200 are listed, those that are neither done nor queued first, all of them by: "
    assert f"{summary}ablate status small --workspace {workspace.folder} --json" in said
    assert len([line for line in said if " queued" in line and line is not summary]) == 199 + 1
    assert len(json.loads(ablate("status", "small", "--json", place=workspace))) == 240


def test_retry_of_the_lost_takes_what_a_worker_failed_too_often(store: Store, workspace: Workspace, ablate: Ablate) -> None:
    run(small_study(), workspace)
    first, second = jobs_in(store, "failed")
    store.requeue("small", [first], why="test")
    store.finish("small", Outcome(first, 2, "failed", cause="lost", reason="3 times: its worker process died"))
    said = ablate("retry", "small", "--lost", place=workspace)
    assert said.startswith("1 job queued again")
    assert said.endswith("\n1 failed is left: asked for by --failed\n")
    assert (jobs_in(store, "queued"), jobs_in(store, "failed")) == ([first], [second])


def test_lease_is_beaten_on_through_a_store_that_was_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "BEAT_SECONDS", 0.01)
    beats, real = list[str](), store.beat

    def beat(lease: Lease) -> None:
        beats.append(lease.study)
        if len(beats) == 1:
            raise EnvironmentMissing("the store is away")
        real(lease)

    monkeypatch.setattr(store, "beat", beat)
    with holding.held(store, study="small", owner="test") as (_, lost):
        until(lambda: len(beats) > 2)
        assert not lost.is_set()


@pytest.mark.parametrize("text", ["10m", "-1", "nan"])
def test_time_in_the_environment_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, text)
    with pytest.raises(InputError, match=rf"{PATIENCE_VARIABLE}={text}: a number of seconds is needed, such as 600"):
        storage_patience()


@pytest.mark.slow
@pytest.mark.parametrize(("expect", "code"), [("decreases", 0), ("increases", 1)])
def test_strict_run_fails_where_a_claim_is_contradicted(expect: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(f"""\
schema: 1
name: small
trainer: synthetic
base: {{num_params: 1.0e9, noise_sd: 0.001, steps: 5}}
axes: {{num_tokens: [4, 64]}}
seeds: 3
metric: {{name: loss, goal: min}}
claims:
  - {{axis: num_tokens, expect: {expect}}}
""")
    run(load_study(tmp_path / "small.yaml"), workspace_at(tmp_path / ".ablate"))
    again = [sys.executable, "-m", "ablate", "run", "small.yaml", "--strict"]
    ended = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.startswith("contradicted: small: ")) == (code, code == 1), ended.stderr


def test_row_of_a_wide_table_is_one_line_outside_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{f"metric number {column}": "x" * 30 for column in range(40)}] * 3)
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3
