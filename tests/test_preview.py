"""`ablate plan` and the gate before `ablate run`: what is printed, what is refused, and that nothing was written."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ablate.artefacts import publish
from ablate.attempt import Outcome
from ablate.cost import make_cost
from ablate.errors import InputError
from ablate.plan_screen import show_plan
from ablate.preview import Preview, check_budgets, make_preview, preview_with
from ablate.stores import open_store
from ablate.study import Study
from ablate.workspace import Workspace
from tests.conftest import make_study

HARDWARE = {"device": "H100", "peak_flops": 1e15, "utilisation": 0.4, "price_per_hour": 2.0, "memory_gib": 80.0, "devices": 4}
STUDY = """
schema: 1
name: small
trainer: synthetic
base: {num_params: 1.0e9}
axes: {num_tokens: [16, 64]}
seeds: 3
metric: {name: loss, goal: min}
"""
Show = Callable[..., str]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """What a person sees of a study that never ran."""

    def shown(**study: Any) -> str:
        show_plan(preview_with(make_study(**study), store=None))
        return capsys.readouterr().out

    return shown


def ablate(*words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "ablate", *words], capture_output=True, text=True, cwd=folder, check=False)


def test_screen_says_what_is_compared_run_and_spent(show: Show) -> None:
    text = show(axes={"num_tokens": [64, 16], "connector": ["avg_pool", "c_abstractor"]}, seeds=3, hardware=HARDWARE, question="Why?")
    for expected in (
        "small (simulated)",
        "Why?",
        "64 (baseline: first level, the base says nothing), 16",
        "12 trials = 4 arms (grid) × 3 seeds",
        "12 jobs: one a trial",
        "nothing has run yet",
        "connector=c_abstractor",
        "4 × H100: 1.00e15 FLOP/s at 40%, 2 USD an hour each",
        "assumed",
        "1B",
        "3 seeds, averaged over 2 combinations of the other axes",
        "14.9 GiB at the peak of a job (pretrain), 80 GiB there",
    ):
        assert expected in text


def test_screen_shows_a_mix_as_it_is_written(show: Show) -> None:
    """`:100:` between two numbers is the name of an emoji to the terminal library."""
    mixes = {"simplex": ["caption", "interleaved", "text"], "list": ["50:50:0", "0:100:0"]}
    assert "0:100:0" in show(axes={"mix": mixes})


def test_screen_without_hardware_says_how_to_declare_it(show: Show) -> None:
    text = show()
    assert "Hours are unknown" in text
    assert "hardware: {device: NAME" in text
    assert "One seed: no difference can be told from noise. With 3 seeds it could see:" in text
    assert "4.62 SD" in text


def test_screen_shows_the_first_arms_of_many(show: Show) -> None:
    text = show(axes={"num_tokens": list(range(1, 51))})
    assert "num_tokens=20 " in text
    assert "num_tokens=21 " not in text
    assert "and 30 more" in text


LADDER = {"small": {"decoder.width": 32}, "experts": {"decoder.width": 32, "decoder.moe.num_experts": 4}, "wide": {"decoder.width": 384}}
SIZES = {"trainer": "model_zoo", "axes": {"size": {"levels": LADDER}}, "metric": {"name": "val_loss", "goal": "min"}}


def arms_of(text: str) -> list[str]:
    lines = text.partition("Arms (each as its difference from the base)\n")[2].splitlines()
    return [line.strip() for line in lines[: lines.index("")]]


def test_screen_shows_the_size_of_each_arm_where_they_differ(show: Show) -> None:
    assert arms_of(show(**SIZES)) == [
        "base           N 25.2k                 1 queued",
        "size=experts   N 50.7k, active 33.8k   1 queued",
        "size=wide      N 3.54M                 1 queued",
    ]
    assert arms_of(show(**SHARED)) == ["base                            1 queued", "connector.kind=attention_pool   1 queued"]


def test_screen_leaves_sizes_out_where_there_is_no_room(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for width, shown in ((49, True), (48, False)):
        monkeypatch.setattr("ablate.plan_screen.console", lambda width=width: Console(width=width))
        show_plan(preview_with(make_study(**SIZES), store=None))
        assert ("N 25.2k" in arms_of(capsys.readouterr().out)[0]) is shown


def test_screen_warns_of_a_job_that_does_not_fit(show: Show) -> None:
    text = show(hardware=HARDWARE | {"memory_gib": 8.0}, resources={"gpus": 8})
    assert "! 14.9 GiB on each device at the peak of a job (pretrain) do not fit in the 8 GiB one has" in text
    assert "a job needs 8 devices, and hardware.devices is 4" in text


def test_screen_of_a_search_promises_no_difference(show: Show) -> None:
    text = show(design={"kind": "search", "trials": 2}, axes={"peak_lr": {"log": [1e-5, 1e-3]}})
    assert "2 trials, chosen while running (tpe)" in text
    assert "taking each trial to be like the base" in text
    assert "none is promised" in text


def test_json_has_cost_parameters_noise_and_budget_beside_the_plan() -> None:
    study = make_study(seeds=3, hardware=HARDWARE, budget={"trials": 5, "money": 1000.0})
    document = json.loads(json.dumps(preview_with(study, store=None).to_json(), allow_nan=False))
    plan = {"study", "arms", "trials", "jobs", "totals", "fractions"}
    assert set(document) == plan | {"parameters", "rebuild", "cost", "detectable", "claims", "budget"}
    assert document["parameters"][0]["num_params"] == {"min": 10**9, "max": 10**9}
    assert document["cost"]["device_hours"] == pytest.approx(6 * 6e9 * 40960 / 4e14 / 3600)
    assert document["cost"]["money"] == pytest.approx(2 * document["cost"]["device_hours"])
    assert document["detectable"]["axes"][0]["difference"] == pytest.approx(4.62, abs=0.01)
    assert document["budget"]["limits"] == {"trials": 5, "money": 1000.0}
    assert document["budget"]["over"] == ["the study has 6 trials, and budget.trials allows 5"]


def test_check_budgets_names_every_study_over(tmp_path: Path) -> None:
    studies = [make_study(name=name, seeds=3, budget={"trials": 5}) for name in ("one", "two")]
    place = Workspace(tmp_path / "work", f"sqlite:///{tmp_path / 'none.db'}")  # a run would make it
    with pytest.raises(InputError, match=r"one: over budget: .* 6 trials(.|\n)*two: over budget") as caught:
        check_budgets([*studies, make_study(name="three", seeds=3)], place)
    assert "three" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_plan_over_budget_shows_all_and_exits_2(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY + "budget: {trials: 5}\n", encoding="utf-8")
    for words in (["plan", "s.yaml"], ["plan", "s.yaml", "--json"], ["run", "s.yaml", "--dry-run"]):
        found = ablate(*words, folder=tmp_path)
        assert (found.returncode, found.stderr) == (2, "small: over budget: the study has 6 trials, and budget.trials allows 5\n")
        assert "small" in found.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.yaml"]


def test_run_over_budget_is_refused_before_any_work(tmp_path: Path) -> None:
    hardware = "hardware: {peak_flops: 1.0e+9, utilisation: 0.5, price_per_hour: 2}\n"
    (tmp_path / "s.yaml").write_text(STUDY + hardware + "budget: {money: 1}\n", encoding="utf-8")
    found = ablate("run", "s.yaml", folder=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert "budget.money allows 1" in found.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.yaml"]


@pytest.mark.slow
def test_plan_shows_what_failed_as_failed_and_not_to_run(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY.replace("base: {", "base: {fail: 'raise', "), encoding="utf-8")
    assert ablate("run", "s.yaml", folder=tmp_path).returncode == 1
    document = json.loads(ablate("plan", "s.yaml", "--json", folder=tmp_path).stdout)
    assert {job["state"] for job in document["jobs"]} == {trial["state"] for trial in document["trials"]} == {"failed"}
    shown = ablate("plan", "s.yaml", folder=tmp_path).stdout
    assert "so far: 6 failed of 6 trials; what failed runs again after `ablate retry small`" in shown


def test_screen_says_why_a_level_is_the_baseline(show: Show) -> None:
    text = show(axes={"num_tokens": [16, 64], "peak_lr": [1e-3, 1e-2]}, base={"peak_lr": 1e-4})
    assert "16 (baseline: first level, the base says nothing), 64" in text
    assert "0.001 (baseline: first level, the base's own value is none of them), 0.01" in text


def test_screen_names_levels_that_never_run(show: Show) -> None:
    axes = {"image_size": [224, 336, 448], "num_tokens": [64, 144]}
    text = show(axes=axes, design={"kind": "cumulative", "final": {"image_size": 336}})
    assert "in no arm of this design: image_size = 448" in text


def test_screen_shows_bounds_and_what_is_traded_off(show: Show) -> None:
    design = {"kind": "search", "trials": 2, "objectives": [{"name": "score/0", "goal": "max"}]}
    text = show(design=design, axes={"peak_lr": {"log": [1e-5, 1e-3]}, "num_tokens": {"linspace": [16, 64]}})
    for expected in (
        "values from 1e-05 to 0.001, even in the logarithm",
        "values from 16 to 64, whole",
        "traded off against score/0 (higher",
    ):
        assert expected in text


def test_screen_says_what_each_claim_can_hope_for(show: Show) -> None:
    claims = [
        {"axis": "num_tokens", "expect": "increases", "level": 64, "against": 16},
        {"axis": "num_tokens", "expect": "equivalent", "within": 2.0, "level": 64, "against": 16},
        {"axis": "num_tokens", "expect": "increases", "level": 64, "against": 16, "metric": "score/0"},
    ]
    text = show(axes={"num_tokens": [16, 64]}, seeds=3, metric={"name": "score/8", "goal": "max", "noise_sd": 1.5}, claims=claims)
    for expected in (
        "score/8 increases from num_tokens = 16 to 64\n    found if it is 6.92 or more",
        "! shown by 11% of studies where the levels are alike; 12 seeds would show it in 80%",
        "Nobody has measured yet how much seeds differ in score/0.",
    ):
        assert expected in text


def test_screen_shows_what_a_budget_leaves(show: Show) -> None:
    text = show(seeds=3, hardware=HARDWARE, budget={"trials": 8, "money": 5, "wall_minutes": 20})
    assert "6 of 8 trials, 0.002 of 5, no job starts after 20 minutes" in text


def test_fraction_with_runs_removed_is_refused() -> None:
    axes = {"image_size": [224, 336], "num_tokens": [64, 144], "connector": ["avg_pool", "c_abstractor"], "peak_lr": [1e-4, 2e-4]}
    study = make_study(axes=axes, design="fractional", where=["image_size * num_tokens < 40000"])
    with pytest.raises(InputError, match="a fraction with runs missing cannot tell its effects apart"):
        preview_with(study, store=None)


def test_screen_of_a_mixture_of_experts_shows_active_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    preview = preview_with(make_study(), store=None)
    sparse = {job.id: replace(job, spec=job.spec._replace(active_params=200_000_000)) for job in preview.plan.jobs.values()}  # type: ignore[attr-defined]
    show_plan(replace(preview, cost=make_cost(replace(preview.plan, jobs=sparse))))
    text = capsys.readouterr().out
    assert "active N: what one token uses" in text
    assert "200M" in text


def test_preview_of_a_fraction_says_what_cannot_be_told_apart() -> None:
    axes = {"image_size": [224, 336], "num_tokens": [64, 144], "connector": ["avg_pool", "c_abstractor"], "peak_lr": [1e-4, 2e-4]}
    (document,) = preview_with(make_study(axes=axes, design="fractional"), store=None).to_json()["fractions"]
    assert document["resolution"] == 4
    assert document["generators"] == ["peak_lr = image_size x num_tokens x connector"]
    assert ["image_size x num_tokens", "connector x peak_lr"] in document["aliases"]


def test_preview_counts_the_mixes_that_limits_leave_out() -> None:
    mix = {"simplex": ["caption", "interleaved", "text"], "lattice": 4, "min": {"text": 0.25}}
    preview = preview_with(make_study(axes={"mix": mix}), store=None)
    assert (preview.space[0].left_out, len(preview.plan.arms)) == (5, 10)


SHARED = {"trainer": "model_zoo", "axes": {"connector.kind": ["avg_pool", "attention_pool"]}, "metric": {"name": "val_loss", "goal": "min"}}


def left_by(workspace: Workspace, preview: Preview) -> tuple[Study, str]:
    """The study whose first shared stage is done, and that stage's job."""
    plan = preview.plan
    first = next(job for job in plan.jobs.values() if not job.needs)
    store = open_store(workspace.store_url, write=True)
    store.record_plan(plan, axes={"connector.kind": ["avg_pool", "attention_pool"]}, simulated=False)
    store.finish(plan.study.name, Outcome(first.id, 1, "done", started=1.0, seconds=1.0))
    store.close()
    partial = workspace.artifacts / "partial"
    partial.mkdir()
    (partial / "weights").write_bytes(b"weights")
    publish(partial, workspace.artifacts / first.id)
    return plan.study, first.id


@pytest.mark.parametrize(
    ("damage", "trouble"),
    [
        (lambda artefact: shutil.rmtree(artefact), "it is not there"),
        (lambda artefact: (artefact / "weights").unlink(), "weights is missing"),
        (lambda artefact: (artefact / "weights").write_bytes(b"wei"), "weights is not what was written"),
        (lambda artefact: (artefact / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
    ],
)
def test_plan_shows_a_damaged_artefact_that_is_to_be_read_as_stale(
    damage: Callable[[Path], object], trouble: str, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """F30: before a run, without reading what may be large."""
    study, encoder = left_by(workspace, preview_with(make_study(**SHARED), store=None))
    before = make_preview(study, workspace)
    assert (before.rebuild, before.jobs[encoder]) == ({}, "done")
    damage(workspace.artifacts / encoder)
    after = make_preview(study, workspace)
    assert (dict(after.rebuild), after.jobs[encoder]) == ({encoder: trouble}, "stale")
    stage = {stage.stage: stage for stage in before.cost.stages}, {stage.stage: stage for stage in after.cost.stages}
    assert [stages["encoder"].to_run for stages in stage] == [0, 1]
    document = after.to_json()
    assert (document["rebuild"], document["totals"]["cached_jobs"]) == ({encoder: trouble}, 0)
    assert [job["state"] for job in document["jobs"] if job["id"] == encoder] == ["stale"]
    show_plan(after)
    assert f"! 1 artefact that others read to be rebuilt: {encoder}: {trouble}" in capsys.readouterr().out


def test_damaged_artefact_that_nobody_is_to_read_is_left_alone(workspace: Workspace) -> None:
    study, encoder = left_by(workspace, preview_with(make_study(**SHARED), store=None))
    plan = make_preview(study, workspace).plan
    store = open_store(workspace.store_url, write=True)
    for trial in plan.trials:
        store.finish(study.name, Outcome(trial.chain[-1], 1, "done", started=1.0, seconds=1.0))
    store.close()
    shutil.rmtree(workspace.artifacts / encoder)
    assert (make_preview(study, workspace).rebuild, make_preview(study, workspace).jobs[encoder]) == ({}, "done")
