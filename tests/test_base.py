"""The base under a trainer's config: what stands at a path, what the trainer makes of it, and other values in place of it."""

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ablate import synthetic
from ablate.base import MISSING, Base, Reader, fields_at, is_whole
from model_zoo.config import Config as ZooConfig


class Pool(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["pool"] = "pool"


class Conv(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["conv"] = "conv"
    kernel: int = 3


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    connector: Annotated[Pool | Conv, Field(discriminator="kind")] = Pool()
    shares: dict[str, float] = {}
    rate: Annotated[float, Field(gt=0)] = 0.5


def test_value_at_a_path_is_as_written_and_means_what_the_trainer_reads() -> None:
    base = Base(Config, {"rate": "0.25", "connector": {"kind": "conv"}})
    assert (base.own("rate"), base.default("rate")) == ("0.25", 0.25)
    assert (base.own("connector.kernel"), base.default("connector.kernel")) == (MISSING, 3)
    assert (base.meanings({"rate": "0.125"}, paths=["rate"]), base.meanings({"rate": -1}, paths=["rate"])) == ({"rate": 0.125}, MISSING)
    assert Base(Config, {"rate": -1}).default("rate") is MISSING


def test_new_kind_comes_first_and_takes_its_own_settings_only() -> None:
    base = Base(Config, {"connector": {"kind": "conv", "kernel": 7}})
    assert base.with_values({"connector.kind": "pool"}) == {"connector": {"kind": "pool"}}
    assert base.with_values({"connector.kernel": 5, "connector.kind": "conv"}) == {"connector": {"kernel": 5, "kind": "conv"}}
    assert base.values == {"connector": {"kind": "conv", "kernel": 7}}


def test_settings_of_a_replaced_kind_are_left_out_and_no_others() -> None:
    written = {"rate": 1.0, "connector": {"kind": "pool", "kernel": 7, "size": 2}}
    base = Base(Config, written)
    before = frozenset({"kernel", "size", "kind"})
    assert base.without_replaced({("base", "connector"): before}) == {"rate": 1.0, "connector": {"kind": "pool", "size": 2}}
    assert base.without_replaced({("base", "connector"): before - {"kernel"}, ("base",): before, ("base", "rate"): before}) == written
    assert base.values == written


def test_single_value_above_a_path_is_found() -> None:
    assert Base(Config, {"connector": "pool"}).value_above("connector.kind") == "connector"
    assert Base(Config, {"connector": None}).value_above("connector.kind") == ""
    assert Base(Config, {"rate": 1}).value_above("rate") == ""


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("connector.kernel", True),
        ("rate", False),
        ("shares.anything", False),
        ("rate.more", "rate is one value, and nothing lies under it; write rate"),
        ("connector.kernle", "no field 'kernle' in connector (kind, kernel); did you mean 'kernel'?"),
    ],
)
def test_path_leads_to_fields_or_to_the_reason_why_not(path: str, answer: Any) -> None:
    found = fields_at(Config, path)
    assert (found if isinstance(found, str) else is_whole(found)) == answer


ZOO: dict[str, list[Any]] = {
    "encoder": [{"width": 32}, {"pretrain": {"steps": 7}}],
    "encoder.patch_size": [4, 8, 3],
    "encoder.image_size": [16, 24, 8, 30, "16"],
    "encoder.width": [32, 64, 63],
    "encoder.training": ["slow", "frozen", "fast"],
    "encoder.pretrain": [{"objective": "none"}, {"steps": 5, "seed": 1}],
    "encoder.pretrain.steps": [10, 0, True],
    "connector": [{"num_tokens": 9}, {"kind": "attention_pool", "num_tokens": 5}],
    "connector.kind": ["avg_pool", "c_abstractor", "attention_pool", "pool"],
    "connector.num_tokens": [1, 4, 16, 5, 64],
    "decoder.width": [32, 64, 65],
    "decoder.depth": [1, 2],
    "data.mix": ["45:45:10", "5:5", {"caption": 1.0}, {"caption": 0.5, "interleaved": 0.4, "text": 0.1}, 19871],
    "train.steps": [5, 100, 400],
    "train.warmup_steps": [0, 40, 500],
    "train.learning_rate": [1e-3, "1e-3", 0],
    "eval.tasks": [[], ["few_shot/4"], ["nothing"]],
    "evil.tasks": [1],
}
SYNTHETIC: dict[str, list[Any]] = {
    "num_params": [1e6, 0, "1e6", True],
    "peak_lr": [1e-3, 99],
    "image_size": [224, 224.0, 224.5],
    "connector": ["avg_pool", "c_abstractor", "pool"],
    "mix": ["5:5:1", "5:5", {"caption": 1}, {"caption": 0.5, "interleaved": 0.5}],
    "fail": ["none", "raise:0.5", "perhaps"],
}


@st.composite
def changes_over(draw: Any, written: dict[str, list[Any]]) -> tuple[dict[str, Any], list[list[dict[str, Any]]]]:
    """Values of a base by dotted path, and cells whose changes come from a few mappings, as the levels of axes do."""
    one = st.sampled_from(sorted(written)).flatmap(lambda path: st.tuples(st.just(path), st.sampled_from(written[path])))
    several = st.lists(one, min_size=1, max_size=3).map(dict)
    levels = draw(st.lists(several, min_size=1, max_size=6))
    cells = draw(st.lists(st.lists(st.sampled_from(range(len(levels))), max_size=4, unique=True), min_size=1, max_size=8))
    return dict(draw(st.lists(one, max_size=3))), [[levels[place] for place in cell] for cell in cells]


def outcome(read: Any) -> tuple[Any, Any]:
    """What a reader makes of it, or what it says."""
    try:
        config = read()
    except ValidationError as error:
        return str(error), None
    return config, config.model_dump(mode="json")


@pytest.mark.parametrize(("config", "written"), [(ZooConfig, ZOO), (synthetic.Config, SYNTHETIC)], ids=["model_zoo", "synthetic"])
@settings(max_examples=150)
@given(data=st.data())
def test_reading_again_and_again_is_reading_whole(config: type[BaseModel], written: dict[str, list[Any]], data: st.DataObject) -> None:
    """Parts that are read once and shared give the same configs, JSON values and sentences as every value read anew."""
    stated, cells = data.draw(changes_over(written))
    base = Base(config, Base(config, {}).with_values(stated))
    reader = Reader(base)
    for changes in cells:
        values = {path: value for level in changes for path, value in level.items()}
        whole = outcome(lambda values=values: config.model_validate(base.with_values(values)))
        again = outcome(lambda changes=changes: reader.read(changes))
        assert again == whole
        if isinstance(again[0], BaseModel):
            assert reader.as_json(again[0]) == whole[1]
            assert [type(value) for value in reader.as_json(again[0]).values()] == [type(value) for value in whole[1].values()]
