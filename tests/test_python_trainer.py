"""The python trainer: what cannot be imported or called is said in one line, and a study's modules leave no trace in the process."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ablate.attempt import execute
from ablate.design import make_arms
from ablate.errors import InputError
from ablate.journal import make_point
from ablate.load import load_study
from ablate.planner import make_plan
from ablate.samples import Sample, Samples, read_samples
from ablate.study import Study
from ablate.workspace import Workspace
from tests.own import Remembering, config_of, stage_of, train, write_study

TRAIN = """
from recipe.parts import scale

def train(config, context):
    context.report(1, loss=scale(config["lr"]) + context.seed)
"""


DOCUMENT = (Path(__file__).parent.parent / "docs" / "study-format.md").read_text(encoding="utf-8")


def package(folder: Path, *, factor: int = 10, train: str = TRAIN) -> None:
    """A package `recipe` whose module `own` trains with the help of another."""
    (folder / "recipe").mkdir(exist_ok=True, parents=True)
    (folder / "recipe" / "__init__.py").write_text("", encoding="utf-8")
    (folder / "recipe" / "own.py").write_text(train, encoding="utf-8")
    (folder / "recipe" / "parts.py").write_text(f"def scale(value):\n    return {factor} * value\n", encoding="utf-8")


def load(here: Path, **keys: Any) -> Study:
    return load_study(write_study(here, **{"trainer": "python", "function": "recipe.own:train"} | keys))


def problem(here: Path, **keys: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(here, **keys)
    return str(caught.value)


def test_function_gets_the_config_in_the_form_of_the_base(tmp_path: Path) -> None:
    package(tmp_path)
    study = load(tmp_path)
    assert train(study, tmp_path, arm=1).points == [(1, {"loss": 10 * 0.2 + 3})]
    assert config_of(stage_of(study)) == {"lr": 0.1}


def test_function_gets_the_model_that_the_study_names(tmp_path: Path) -> None:
    package(
        tmp_path,
        train="""
from typing import Literal
from pydantic import BaseModel, Field

class Config(BaseModel):
    lr: float = Field(0.1, gt=0)
    kind: Literal["sgd", "adam"] = "sgd"

def train(config, context):
    assert type(config) is Config
    context.report(1, loss=config.lr)
""",
    )
    study = load(tmp_path, config="recipe.own:Config", axes={"kind": ["sgd", "adam"]}, num_params="1 / lr")
    assert train(study, tmp_path, arm=1).points == [(1, {"loss": 0.1})]
    assert stage_of(study).num_params == 10
    assert "axes.kind[1]: found text 'adamw' (allowed: sgd, adam); did you mean 'adam'?" in problem(
        tmp_path, config="recipe.own:Config", axes={"kind": ["sgd", "adamw"]}
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("os:system", "os:system(command) cannot be called as system(config, context)"),
        ("recipe.gone:train", "recipe.gone cannot be imported: ModuleNotFoundError: No module named 'recipe.gone'"),
        ("recipe.own:trian", "recipe.own has no 'trian'; did you mean 'train'?"),
        ("recipe.broken:train", "recipe.broken cannot be imported: ZeroDivisionError: division by zero"),
        ("recipe.leaves:train", "recipe.leaves cannot be imported: SystemExit: 3"),
        ("recipe.number:train", "recipe.number:train is no function"),
        ("recipe.short:train", "recipe.short:train(config) cannot be called as train(config, context)"),
        ("recipe/own.py", "python.function: found text 'recipe/own.py'; `package.module:function`"),
        ("__import__('os')", "python.function: found"),
    ],
)
def test_function_that_cannot_be_called_is_named_in_one_line(function: str, message: str, tmp_path: Path) -> None:
    package(tmp_path)
    files = {"broken": "1 / 0", "leaves": "import sys; sys.exit(3)", "number": "train = 3", "short": "def train(config): ..."}
    for name, text in files.items():
        (tmp_path / "recipe" / f"{name}.py").write_text(text, encoding="utf-8")
    (found,) = problem(tmp_path, function=function).splitlines()
    assert message in found
    assert f"{tmp_path / 'study.yaml'}:1:" in found


@pytest.mark.parametrize(
    ("config", "message"), [("recipe.own:train", "recipe.own:train is no pydantic model"), ("recipe.own:Confg", "has no 'Confg'")]
)
def test_config_that_is_none_is_refused(config: str, message: str, tmp_path: Path) -> None:
    package(tmp_path)
    assert f"python.config: {message}" in problem(tmp_path, config=config).replace("python.config: recipe.own has", "python.config: has")


def test_python_without_its_key_is_no_trainer(tmp_path: Path) -> None:
    assert "trainer: python needs the key python" in problem(tmp_path, extra={"python": None})


def test_modules_of_one_study_are_not_those_of_the_next(tmp_path: Path) -> None:
    """Two folders with packages of one name, in one process, helpers included."""
    first, second = tmp_path / "first", tmp_path / "second"
    package(first, factor=10)
    package(second, factor=100)
    studies = load(first), load(second)
    assert [train(study, tmp_path).points[0][1]["loss"] for study in (*studies, studies[0])] == [4.0, 13.0, 4.0]
    assert [name for name in sys.modules if name.startswith("recipe")] == []
    assert not {str(first), str(second)} & set(sys.path)


def test_trial_starts_with_fresh_modules(tmp_path: Path) -> None:
    package(tmp_path, train="runs = []\ndef train(config, context):\n    runs.append(1)\n    context.report(1, loss=len(runs))\n")
    study = load(tmp_path)
    assert [train(study, tmp_path).points for _ in range(2)] == [[(1, {"loss": 1})]] * 2


def test_module_that_changed_is_another_trial_and_not_run_for_the_old_one(tmp_path: Path) -> None:
    package(tmp_path)
    study = load(tmp_path)
    package(tmp_path, train=TRAIN.replace("context.seed", "0"))
    assert json.dumps(stage_of(load(tmp_path)).config) != json.dumps(stage_of(study).config)
    with pytest.raises(InputError, match=r"module recipe\.own in .* changed since"):
        train(study, tmp_path, context=Remembering(tmp_path / "trial"))


def test_reports_that_are_none_are_refused_one_by_one(tmp_path: Path, workspace: Workspace) -> None:
    """B47: the trial fails only where its own metric is missing."""
    reports = """
def train(config, context):
    for step, value in [(-1, 1.0), (float("nan"), 1.0), (1, "low"), (1, [1.0]), (1, 1j), (1, True), (3, 0.5), (2, 9.0)]:
        context.report(step, loss=value)
    for name in ("a/../b", "<script>", "x" * 300):
        context.report(4, **{name: 1.0})
"""
    package(tmp_path, train=reports)
    study = load(tmp_path)
    job, *_ = make_plan(study, make_arms(study)).jobs.values()
    outcome = execute(job, workspace=workspace, number=1)
    assert (outcome.state, outcome.details["refused_rows"]) == ("done", 10)
    assert outcome.metrics == (make_point(3, "loss", 0.5),)


def test_function_finds_the_files_that_the_attempt_before_it_left(tmp_path: Path, workspace: Workspace) -> None:
    package(
        tmp_path,
        train="""
def train(config, context):
    kept = context.checkpoint_dir / "step"
    if not kept.exists():
        kept.write_text("7")
        raise RuntimeError("died")
    context.report(int(kept.read_text()), loss=0.5)
""",
    )
    study = load(tmp_path)
    job, *_ = make_plan(study, make_arms(study)).jobs.values()
    first, second = (execute(job, workspace=workspace, number=number) for number in (1, 2))
    assert (first.state, second.state, second.metrics) == ("failed", "done", (make_point(7, "loss", 0.5),))
    assert [path.name for path in (workspace.runs / job.id).iterdir() if not path.name.startswith("attempt-")] == []


def test_samples_that_the_function_leaves_are_those_of_the_job(tmp_path: Path, workspace: Workspace) -> None:
    package(
        tmp_path,
        train="""
import json

def train(config, context):
    lines = [{"task": "sum", "prompt": "1 + 1", "expected": "2", "answer": "3", "correct": False}, {"task": "none"}]
    (context.dir / "samples.jsonl").write_text("\\n".join(map(json.dumps, lines)))
    context.report(1, loss=0.5)
""",
    )
    study = load(tmp_path)
    job, *_ = make_plan(study, make_arms(study)).jobs.values()
    assert read_samples(workspace, job.id) is None
    assert execute(job, workspace=workspace, number=1).state == "done"
    assert read_samples(workspace, job.id) == Samples(job.id, (Sample("sum", None, "1 + 1", ("2",), "3", 0.0, ()),), 1, 0, True)


def test_outcome_does_not_depend_on_what_was_reported_first(tmp_path: Path, workspace: Workspace) -> None:
    """An attempt that goes on from a checkpoint may meet a validation before a training loss (F05)."""
    package(
        tmp_path,
        train="""
def train(config, context):
    context.report(1, val_loss=0.5)
    context.report(2, loss=0.25, val_loss=0.5)
""",
    )
    study = load(tmp_path, metrics={"loss": "nats", "val_loss": "nats"})
    job, *_ = make_plan(study, make_arms(study)).jobs.values()
    outcome = execute(job, workspace=workspace, number=1)
    assert outcome.metrics == (make_point(2, "loss", 0.25), make_point(2, "val_loss", 0.5))


def test_example_of_the_document_trains(tmp_path: Path) -> None:
    (study,) = re.findall(r"```yaml\n# study with the module below beside it\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    (module,) = re.findall(r"```python\n# recipe.py\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    (tmp_path / "study.yaml").write_text(study, encoding="utf-8")
    (tmp_path / "recipe.py").write_text(module, encoding="utf-8")
    points = train(load_study(tmp_path / "study.yaml"), tmp_path, context=Remembering(tmp_path / "trial", seed=4)).points
    assert [step for step, _ in points] == list(range(20))
    assert points[0][1]["loss"] == pytest.approx(0.64)
    assert points[-1][1]["loss"] < 1e-3
