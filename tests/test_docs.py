"""What is promised in words is there: every verb has help and stands in the README, shipped studies load and plan as they did."""

from importlib import resources
from pathlib import Path

import pytest
import typer

from ablate.cli import app
from ablate.compose import shipped_studies, suite_members
from ablate.design import make_arms
from ablate.load import load_studies, load_study
from ablate.planned import Plan
from ablate.planner import make_plan

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden" / "plans"
SUITES = {name: members for name in shipped_studies() if (members := suite_members(name))}
SHIPPED = sorted(set(shipped_studies()) - set(SUITES))


def verbs() -> dict[str, str]:
    """Verb -> its help, sub-verbs included."""
    group = typer.main.get_command(app)
    found: dict[str, str] = {}
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        for label, verb in {f"{name} {key}": value for key, value in inner.items()}.items() if inner else {name: command}.items():
            found[label] = verb.help or ""
            for parameter in verb.params:
                if parameter.param_type_name == "option":
                    found[f"{label} {parameter.opts[0]}"] = parameter.help or ("built in" if parameter.name == "help" else "")
    return found


def plan_text(plan: Plan) -> str:
    """One line a trial: its id and its jobs."""
    return "".join(f"{trial.id}  {' '.join(trial.chain)}\n" for trial in plan.trials)


def test_every_verb_and_option_has_help() -> None:
    undocumented = [name for name, text in verbs().items() if not text and not name.endswith(("--port", "--help"))]
    assert undocumented == []


def test_every_verb_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in verbs() if " -" not in name and f"ablate {name}" not in readme] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_study_loads_by_name_and_has_its_golden_plan(name: str) -> None:
    """A change of a plan shows as a change of tests/golden/plans/; to accept it: `python -m tests.test_docs`."""
    study = load_study(name)
    golden = GOLDEN / f"{name}.txt"
    assert plan_text(make_plan(study, make_arms(study))) == golden.read_text(encoding="utf-8")


def test_shipped_studies_are_in_the_package() -> None:
    assert {path.name for path in resources.files("studies").iterdir()} >= {f"{name}.yaml" for name in (*SHIPPED, *SUITES)}


@pytest.mark.parametrize("name", SUITES)
def test_shipped_suite_lists_shipped_studies(name: str) -> None:
    assert [study.name for study in load_studies(name)] == [load_study(member).name for member in SUITES[name]]


def test_shipped_studies_stand_in_their_index() -> None:
    index = (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
    assert [name for name in (*SHIPPED, *SUITES) if f"`{name}" not in index] == []


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for shipped in SHIPPED:
        loaded = load_study(shipped)
        (GOLDEN / f"{shipped}.txt").write_text(plan_text(make_plan(loaded, make_arms(loaded))), encoding="utf-8")
