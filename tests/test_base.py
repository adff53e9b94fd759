"""The base under a trainer's config: what stands at a path, what the trainer makes of it, and other values in place of it."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from ablate.base import MISSING, Base, fields_at, is_whole


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
