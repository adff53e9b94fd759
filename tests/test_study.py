"""A study as a value: its seeds, and that every key and choice is documented."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from ablate import blocks, study
from ablate.blocks import Block, Search
from ablate.model import StudyModel
from ablate.study import Budget, Claim, Contrast, Hardware, Law, LawDefinitions, Metric, Resources, Study
from ablate.trainer_settings import CommandTrainer, PythonTrainer, SurrogateTrainer
from tests.conftest import make_study

DOCUMENT = (Path(__file__).parent.parent / "docs" / "study-format.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("written", "seeds"),
    [({}, (0,)), ({"seeds": 3}, (0, 1, 2)), ({"seeds": [7, 4294967295, 0]}, (7, 4294967295, 0))],
)
def test_seeds_are_a_count_or_a_list(written: dict[str, Any], seeds: tuple[int, ...]) -> None:
    assert make_study(**written).seeds == seeds


MODELS = {
    Study: "",
    Metric: "metric.",
    Claim: "claims.",
    Contrast: "claims.than.",
    Resources: "resources.",
    Hardware: "hardware.",
    Budget: "budget.",
    Law: "law.",
    LawDefinitions: "law.definitions.",
    CommandTrainer: "command.",
    PythonTrainer: "python.",
    SurrogateTrainer: "surrogate.",
    **{block: "search." if block is Search else "design." for block in get_args(get_args(Block)[0])},
}
KEYS = [(f"{prefix}{info.alias or name}", info) for model, prefix in MODELS.items() for name, info in model.model_fields.items()]


def test_every_model_of_the_study_is_checked_against_the_document() -> None:
    found = [value for module in (study, blocks) for value in vars(module).values() if isinstance(value, type)]
    models = {value for value in found if issubclass(value, StudyModel) and not value.__name__.startswith("_")}
    assert models - {StudyModel, blocks.Objective} == set(MODELS)


@pytest.mark.parametrize(("key", "info"), KEYS, ids=[key for key, _ in KEYS])
def test_every_key_and_choice_is_documented(key: str, info: Any) -> None:
    line, *_ = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{key}` |")]
    if get_origin(info.annotation) is Literal:
        assert all(str(choice) in line for choice in get_args(info.annotation))
