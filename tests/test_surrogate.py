"""A study of a surface, from its file to its conclusions: it is simulated, stops early, goes on, and refuses what was not recorded."""
# ruff: noqa: E501 - a message of one line stays one line

import json
import re
import sys
import threading
from math import exp
from pathlib import Path
from typing import Any

import pytest

from ablate.conclude import conclude
from ablate.design import make_arms
from ablate.errors import InputError
from ablate.load import load_study
from ablate.metric_scales import scales_of
from ablate.next_study import study_next
from ablate.planner import is_simulated, make_plan
from ablate.results import curves_frame
from ablate.run import run_study
from ablate.stores import open_store
from ablate.study import Study
from ablate.study_law import Asked
from ablate.surface import EDGE, Metric, Output, Spread, Surface, to_json
from ablate.surface_fit import fit_surface
from ablate.surface_inputs import LevelInput, NumberInput
from ablate.tables import write_new
from ablate.trainers import trainer_of
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.own import Remembering, train
from tests.stores.ran import run, workspace_at

GUIDE = (Path(__file__).parent.parent / "docs" / "surrogate.md").read_text(encoding="utf-8")
AXES: dict[str, Any] = {"peak_lr": [1e-5, 1e-4, 1e-3], "connector": ["avg_pool", "c_abstractor"]}
BASE: dict[str, Any] = {"steps": 12, "noise_sd": 0.01}
WRITTEN = """\
schema: 1
name: simulated
trainer: surrogate
surrogate: {file: surface.json}
base: {steps: 12, noise_sd: 0.01}
axes:
  peak_lr: [1.0e-5, 3.0e-5, 1.0e-3]
  connector: [avg_pool, c_abstractor]
seeds: 2
metric: {name: loss, goal: min}
claims:
  - {axis: connector, expect: equivalent, within: 0.1}
"""


def surface_of(workspace: Workspace, name: str) -> Surface:
    store = open_store(workspace.store_url)
    try:
        return fit_surface(store, [name])
    finally:
        store.close()


@pytest.fixture(scope="module")
def surface(tmp_path_factory: pytest.TempPathFactory) -> Surface:
    workspace = workspace_at(tmp_path_factory.mktemp("recorded"))
    run(make_study(name="recorded", axes=AXES, base=BASE, seeds=3), workspace)
    return surface_of(workspace, "recorded")


@pytest.fixture
def folder(surface: Surface, tmp_path: Path) -> Path:
    """With a surface and a study of it."""
    write_new(to_json(surface), tmp_path / "surface.json")
    write_new(WRITTEN, tmp_path / "study.yaml")
    return tmp_path


def written(folder: Path, **edits: str) -> Path:
    """The study with lines replaced, by the key they begin with."""
    lines = [edits.get(line.strip().partition(":")[0], line) for line in WRITTEN.splitlines()]
    file = folder / "edited.yaml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def problems(file: Path, *overrides: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_study(file, overrides=overrides)
    return str(caught.value).replace(f"{file.parent}/", "").splitlines()


def test_study_runs_in_the_process_and_says_simulated(folder: Path) -> None:
    study = load_study(folder / "study.yaml")
    assert is_simulated(study)
    workspace = workspace_at(folder / "w")
    assert run(study, workspace).counts == {"done": 12}
    store = open_store(workspace.store_url)
    try:
        assert store.studies()[0].simulated
        conclusion = conclude(store, "simulated")
        assert conclusion.verdicts[0].verdict == "supported"
        steps = curves_frame(store, "simulated", metrics=["loss"]).groupby("trial")["step"].apply(list)
        assert all(each == list(range(1, 13)) for each in steps)
    finally:
        store.close()


def test_trials_are_the_same_in_every_run_and_pair_by_seed(folder: Path) -> None:
    study = load_study(folder / "study.yaml")
    first, again = (train(study, folder / name, arm=1).points for name in ("a", "b"))
    assert first == again
    other = train(study, folder / "c", arm=1, context=Remembering(folder / "c", seed=4)).points
    assert other != first
    final = [train(study, folder / f"arm{arm}", arm=arm).points[-1][1]["loss"] for arm in (0, 1)]
    moved = [
        train(study, folder / f"s{arm}", arm=arm, context=Remembering(folder / f"s{arm}", seed=4)).points[-1][1]["loss"] for arm in (0, 1)
    ]
    assert final[1] - final[0] == pytest.approx(moved[1] - moved[0], abs=0.005)  # the noise of a trial has an SD of 0.01


def test_trial_that_is_asked_to_stop_reports_no_more(folder: Path) -> None:
    class Impatient(Remembering):
        def should_stop(self) -> bool:
            return len(self.points) == 3

    found = train(load_study(folder / "study.yaml"), folder, context=Impatient(folder / "trial"))
    assert [step for step, _ in found.points] == [1, 2, 3]


def test_plan_counts_what_the_recorded_trainer_counts_and_needs_no_memory(folder: Path) -> None:
    study = load_study(folder / "study.yaml")
    job = next(iter(make_plan(study, make_arms(study)).jobs.values()))
    assert (job.spec.num_params, job.spec.train_flops) == (10**9, 6e9 * 12 * 4096)
    assert job.spec.memory_bytes == 0


def test_jobs_are_those_of_the_content_and_not_of_the_path(folder: Path, surface: Surface) -> None:
    def jobs() -> set[str]:
        study = load_study(folder / "study.yaml")
        return set(make_plan(study, make_arms(study)).jobs)

    before = jobs()
    (folder / "elsewhere").mkdir()
    for name in ("surface.json", "study.yaml"):
        (folder / name).rename(folder / "elsewhere" / name)
    study = load_study(folder / "elsewhere" / "study.yaml")
    assert set(make_plan(study, make_arms(study)).jobs) == before
    write_new(to_json(surface.model_copy(update={"notes": ("another",)})), folder / "surface.json")
    write_new(WRITTEN, folder / "study.yaml")
    assert not jobs() & before


def test_worker_refuses_a_surface_that_is_not_the_planned_one(folder: Path, surface: Surface) -> None:
    study = load_study(folder / "study.yaml")
    trainer_of(study)
    (folder / "surface.json").write_text(to_json(surface.model_copy(update={"notes": ("another",)})), encoding="utf-8")
    from ablate.surface import read_surface

    read_surface.cache_clear()  # as in another process
    with pytest.raises(InputError, match="its content has changed"):
        train(study, folder)


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        (
            {"peak_lr": "  peak_lr: [1.0e-5, 1.0e-2]"},
            [
                "edited.yaml:7:21: axes.peak_lr[1]: peak_lr is 0.01, and recorded are numbers from 1e-05 to 0.001; beyond them the surface knows nothing"
            ],
        ),
        (
            {"connector": "  connector: [avg_pool, attention_pool]"},
            [
                "edited.yaml:8:25: axes.connector[1]: connector is text 'attention_pool', which was not recorded (text 'avg_pool', text 'c_abstractor')"
            ],
        ),
        (
            {"base": "base: {steps: 12, noise_sd: 0.02}"},
            ["edited.yaml:5:7: base: noise_sd is 0.02, and 0.01 in every recorded trial; of other values the surface knows nothing"],
        ),
        (
            {"metric": "metric: {name: score/16, goal: max}"},
            [
                "edited.yaml:10:16: metric.name: the trainer surrogate declares no 'score/16' (loss, score/0, score/4, score/8); did you mean 'score/8'?"
            ],
        ),
        (
            {"surrogate": "surrogate: {file: none.json}"},
            ["edited.yaml:4:19: surrogate.file: no file none.json; `ablate surrogate STUDY -o FILE.json` writes one"],
        ),
        (
            {"surrogate": "question: none"},
            ["edited.yaml:3:10: trainer: surrogate needs the key surrogate: {file: FILE.json}; `ablate surrogate STUDY` writes one"],
        ),
        (
            {"trainer": "trainer: synthetic"},
            ["edited.yaml:4:12: surrogate: goes with trainer: surrogate, and the trainer is synthetic; leave one of them out"],
        ),
    ],
)
def test_what_was_not_recorded_is_refused_where_it_is_written(folder: Path, edits: dict[str, str], said: list[str]) -> None:
    assert problems(written(folder, **edits)) == said


def test_unknown_field_and_a_file_that_is_no_surface_are_refused(folder: Path) -> None:
    (said,) = problems(written(folder, base="base: {steps: 12, noise_sd: 0.01, stepz: 3}"))
    assert "unknown key 'stepz' (allowed: num_params, peak_lr," in said
    (folder / "other.json").write_text('{"a": 1}', encoding="utf-8")
    (said,) = problems(written(folder, surrogate="surrogate: {file: other.json}"))
    assert "other.json holds no surface" in said
    (said,) = problems(written(folder, surrogate="surrogate: {file: surface.json, digest: '0123'}"))
    assert "and 0123 is asked for" in said


def test_study_in_the_guide_takes_the_config_of_the_zoo(tmp_path: Path, surface: Surface) -> None:
    recorded = load_study("mm1/connector")
    config = make_arms(recorded)[0].config
    kinds, size, tokens = (
        [{"connector.kind": kind} for kind in recorded.axes["connector.kind"]],
        "encoder.image_size",
        "connector.num_tokens",
    )
    inputs: list[Any] = [LevelInput(fields=("connector.kind",), levels=tuple(kinds))]
    inputs += [
        NumberInput(field=field, low=low, high=high, log=False, curved=False) for field, low, high in ((size, 8, 16), (tokens, 1, 4))
    ]
    made = surface.model_copy(
        update={
            "trainer": "model_zoo",
            "config": config,
            "inputs": tuple(inputs),
            "interactions": (),
            "metrics": {"few_shot/4": Metric(low=0, high=100, form="odds")},
            "outputs": (Output(metric="few_shot/4", at=1),),
            "intercept": (0.0,),
            "coefficients": ((0.0,), (0.0,), (0.0,), (0.0,), (2.0,)),
            "residuals": ((0.0,),),
            "spread": Spread(intercept=(0.0,), coefficients=((0.0,),) * 5, low=(0.0,), high=(0.0,)),
            "shared": (0.0,),
        }
    )
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.DOTALL)
    write_new(text, tmp_path / "study.yaml")
    write_new(to_json(made), tmp_path / "connector.json")
    study = load_study(tmp_path / "study.yaml")
    arms = make_arms(study)
    assert [list(arm.changes.values()) for arm in arms] == [[], ["avg_pool"], ["attention_pool"], [8], [1]]
    points = [train(study, tmp_path / arm.name, arm=place).points[-1][1]["few_shot/4"] for place, arm in enumerate(arms)]
    assert points == pytest.approx([100 * (1 / (1 + exp(-x)) - EDGE) / (1 - 2 * EDGE) for x in (2, 2, 2, 2, -2)])
    (said,) = problems(tmp_path / "study.yaml", "sft={train: {steps: 50}}")
    assert "sft is in no recorded trial, so the surface knows nothing of it; leave it out" in said


def test_recorded_config_may_lack_a_field_that_came_later_and_have_none_that_went(folder: Path, surface: Surface) -> None:
    older = {key: value for key, value in surface.config.items() if key != "image_size"}
    write_new(to_json(surface.model_copy(update={"config": older})), folder / "older.json")
    load_study(written(folder, surrogate="surrogate: {file: older.json}"))
    write_new(to_json(surface.model_copy(update={"config": older | {"size": 3}})), folder / "gone.json")
    (said,) = problems(written(folder, surrogate="surrogate: {file: gone.json}"))
    assert "gone.json: trainer synthetic takes the recorded config no more: size: unknown key 'size'" in said


def test_two_arguments_make_a_recorded_study_simulated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that an argument names is looked for where the command is given."""
    text = "\n".join(line for line in WRITTEN.splitlines() if not line.startswith("surrogate"))
    (folder / "inner").mkdir()
    (folder / "inner" / "own.yaml").write_text(text.replace("trainer: surrogate", "trainer: synthetic"), encoding="utf-8")
    monkeypatch.chdir(folder)
    study = load_study("inner/own.yaml", overrides=["trainer=surrogate", "surrogate.file=surface.json"])
    assert study.surrogate is not None
    assert study.surrogate.file == str((folder / "surface.json").resolve())


def test_stored_study_has_the_scales_of_the_recorded_one_while_the_file_is_there(folder: Path, surface: Surface) -> None:
    spec = load_study(folder / "study.yaml").model_dump(mode="json", by_alias=True)
    assert scales_of(spec)["loss"].meaning == surface.metrics["loss"].meaning
    assert scales_of(spec | {"surrogate": {"file": str(folder / "gone.json"), "digest": "0"}}) == {}


def test_surface_of_a_surface_and_of_two_trainers_is_refused(folder: Path) -> None:
    workspace = workspace_at(folder / "w")
    run(load_study(folder / "study.yaml"), workspace)
    with pytest.raises(InputError, match="simulated is itself what a surface answered"):
        surface_of(workspace, "simulated")


def test_function_of_ones_own_has_a_surface_too(tmp_path: Path) -> None:
    (tmp_path / "recipe.py").write_text(
        "def train(config, context):\n    context.report(1, loss=config['lr'] + 0.001 * context.seed)\n", encoding="utf-8"
    )
    own: dict[str, Any] = {"schema": 1, "name": "own", "base": {"lr": 0.1, "kind": "a"}, "axes": {"lr": [0.1, 0.3]}, "seeds": 2}
    own |= {"metric": {"name": "loss", "goal": "min"}, "trainer": "python"}
    file = tmp_path / "own.yaml"
    file.write_text(json.dumps(own | {"python": {"function": "recipe:train", "metrics": {"loss": "nats"}}}), encoding="utf-8")
    workspace = workspace_at(tmp_path / "w")
    run(load_study(file), workspace)
    write_new(to_json(surface_of(workspace, "own")), tmp_path / "surface.json")
    file.write_text(
        json.dumps(own | {"trainer": "surrogate", "surrogate": {"file": "surface.json"}, "axes": {"lr": [0.1, 0.2]}}), encoding="utf-8"
    )
    points = train(load_study(file), tmp_path, arm=1).points
    assert points[-1][1]["loss"] == pytest.approx(0.2, abs=0.01)
    assert "unknown key 'lrr'" in problems(file, "lrr=1")[0]


def test_next_proposes_runs_for_a_simulated_law_and_its_file_goes_on(tmp_path: Path) -> None:
    workspace = workspace_at(tmp_path / "w")
    axes = {"num_params": [1e7, 1e8, 1e9], "peak_lr": {"log": [2e-5, 2e-3], "points": 5}}
    law = {"hyperparameter": "peak_lr", "size": "num_params"}
    run(make_study(name="rates", axes=axes, base={"steps": 1, "noise_sd": 0.02}, seeds=2), workspace)
    write_new(to_json(surface_of(workspace, "rates")), tmp_path / "surface.json")
    text = {
        "schema": 1,
        "name": "planned",
        "trainer": "surrogate",
        "surrogate": {"file": "surface.json"},
        "axes": axes,
        "seeds": 1,
        "law": law,
    }
    text |= {"base": {"steps": 1, "noise_sd": 0.02}, "metric": {"name": "loss", "goal": "min"}}
    (tmp_path / "planned.yaml").write_text(json.dumps(text), encoding="utf-8")
    run(load_study(tmp_path / "planned.yaml"), workspace)
    store = open_store(workspace.store_url)
    try:
        found = study_next(store, "planned", Asked(), count=2, per="flop")
    finally:
        store.close()
    assert found.law is not None
    assert found.law.runs
    (tmp_path / "elsewhere").mkdir()
    write_new(found.file, tmp_path / "elsewhere" / "next.yaml")
    going_on = load_study(tmp_path / "elsewhere" / "next.yaml")
    assert run(going_on, workspace).executed == len(found.law.runs)


def test_training_with_a_surface_needs_neither_torch_nor_pandas(folder: Path) -> None:
    import subprocess

    code = (
        "import sys; from pathlib import Path; from ablate.load import load_study; from tests.own import train\n"
        "train(load_study('study.yaml'), Path('trial'))\n"
        "print([name for name in ('torch', 'pandas', 'scipy', 'sklearn') if name in sys.modules])"
    )
    root = str(Path(__file__).parent.parent)
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{code}"], capture_output=True, text=True, cwd=folder, check=True
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_asha_ends_trials_of_a_surface_early(folder: Path) -> None:
    from ablate.schedule.ray_tasks import start_ray, stop_ray
    from ablate.schedule.ray_tune import RayTune

    text = json.loads(
        json.dumps({"schema": 1, "name": "searched", "trainer": "surrogate", "surrogate": {"file": "surface.json"}, "base": BASE})
    )
    text |= {"axes": {"peak_lr": {"log": [1e-5, 1e-3]}}, "metric": {"name": "loss", "goal": "min"}}
    text |= {"design": {"kind": "search", "trials": 12, "stop_early": "asha", "max_steps": 12}}
    (folder / "searched.yaml").write_text(json.dumps(text), encoding="utf-8")
    workspace, study = workspace_at(folder / "w"), load_study(folder / "searched.yaml")
    slots = start_ray(address="local", slots=2)
    store = open_store(workspace.store_url, write=True)
    try:

        def opened(study: Study) -> Any:
            return RayTune(workspace, study=study, past=store.trials(study.name), slots=slots)

        summary = run_study(study, store=store, workspace=workspace, open_scheduler=opened, stop=threading.Event())
        pruned = [trial for trial in store.trials("searched") if trial.state == "pruned"]
        assert summary.counts == {"done": 12 - len(pruned), "pruned": len(pruned)}
        assert pruned
        assert all(trial.reason.startswith("ended by ASHA at step ") for trial in pruned)
    finally:
        store.close()
        stop_ray()
