"""What is promised in words is there: every verb has help and stands in the README, shipped studies load and plan as they did."""

import re
from importlib import resources
from pathlib import Path

import pytest
import typer
import yaml

from ablate.cli import app
from ablate.compose import shipped_studies, suite_members
from ablate.design import make_arms
from ablate.fields import config_names
from ablate.load import load_studies, load_study
from ablate.planned import Plan
from ablate.planner import make_plan
from model_zoo.config import Config
from tests.fields_guide import GUIDE, fields_guide

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
    package = resources.files("studies")
    assert [name for name in (*SHIPPED, *SUITES) if not package.joinpath(f"{name}.yaml").is_file()] == []


@pytest.mark.parametrize("name", SUITES)
def test_shipped_suite_lists_shipped_studies(name: str) -> None:
    assert [study.name for study in load_studies(name)] == [load_study(member).name for member in SUITES[name]]


def test_shipped_studies_stand_in_their_index() -> None:
    index = (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
    assert [name for name in (*SHIPPED, *SUITES) if f"`{name}" not in index] == []


def test_guide_to_the_fields_of_the_zoo_is_what_the_code_says() -> None:
    """To write it anew: `python -m tests.test_docs`."""
    assert GUIDE.read_text(encoding="utf-8") == fields_guide()


def test_guide_has_a_row_for_each_field_of_the_zoo() -> None:
    text = fields_guide()
    rows = set(re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE))
    repeated = tuple(
        f"{path}." for line in re.findall("^The same fields stand under (.+)", text, re.MULTILINE) for path in re.findall("`(.+?)`", line)
    )
    assert {name for name in config_names(Config).fields - rows if not name.startswith(repeated)} == set()


def test_links_to_the_fields_of_the_zoo_lead_to_a_table() -> None:
    text = fields_guide()
    anchors = {heading.replace(".", "") for heading in re.findall(r"^## `(.+)`$", text, re.MULTILINE)}
    links = set(re.findall(r"\(#(\w+)\)", text))
    for page in (ROOT / "docs").glob("*.md"):
        links |= set(re.findall(r"zoo-fields\.md#(\w+)", page.read_text(encoding="utf-8")))
    assert links - anchors == set()


@pytest.mark.parametrize(
    "row",
    [
        "| `encoder.depths` | `hybrid` | a list, one or more of: a whole number from 1 | `[1, 2]` |",
        "| `decoder.moe.num_experts` | a whole number from 2 | required |",
        "| `data.mix` | [fields of its own](#datamix) | `{caption: 0.45, interleaved: 0.45, text: 0.1}` |",
        "| `train.learning_rate` | a number above 0 | `0.004` | Peak rate. |",
        "| `sft.train.steps` | a whole number from 1 | `100` |",
        "| `eval.num_documents` | a whole number from 4 in steps of 4 | `1024` |",
        '| `eval.few_shot.separator` | text | `"\\n"` |',
    ],
)
def test_row_of_the_fields_guide_says_what_is_allowed(row: str) -> None:
    assert f"\n{row}" in fields_guide()


def test_files_are_an_axis_as_the_guide_to_data_says() -> None:
    guide = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    (study,) = re.findall(r"```yaml\n(schema: .*?)```", guide, re.DOTALL)
    (axes,) = re.findall(r"```\n(axes: *\n.*?)```", guide, re.DOTALL)
    arms = make_arms(load_study(yaml.safe_load(study) | yaml.safe_load(axes)))
    trained = {arm.name: arm.settings.model_dump(mode="json")["data"]["files"]["caption"]["train"] for arm in arms}
    assert trained == {
        "base": ["pairs/train-*.tar"],
        "captions=rewritten": ["pairs/rewritten-*.tar"],
        "captions=both": ["pairs/train-*.tar", "pairs/rewritten-*.tar"],
    }


if __name__ == "__main__":
    GUIDE.write_text(fields_guide(), encoding="utf-8")
    for shipped in SHIPPED:
        loaded, golden = load_study(shipped), GOLDEN / f"{shipped}.txt"
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(plan_text(make_plan(loaded, make_arms(loaded))), encoding="utf-8")
