"""Arms, in full: which ones a study has, what they are called, what they change, what they resolve to."""

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from ablate import trainers
from ablate.design import arm_for, axis_labels, count_removed, make_arms, search_space
from ablate.errors import InputError
from ablate.planner import make_plan
from ablate.study import Study


def study(axes: Mapping[str, Any], **changes: Any) -> Study:
    plain = {"schema": 1, "name": "s", "trainer": "synthetic", "axes": axes, "metric": {"name": "loss", "goal": "min"}}
    return Study.model_validate(plain | changes)


def zoo(axes: Mapping[str, Any], **changes: Any) -> Study:
    return study(axes, **({"trainer": "model_zoo", "metric": {"name": "val_loss", "goal": "min"}} | changes))


def names(declared: Study) -> list[str]:
    return [arm.name for arm in make_arms(declared)]


MIX = {"simplex": ["caption", "interleaved", "text"], "list": ["5:5:1", "9:0:1", {"caption": 0.45, "interleaved": 0.45, "text": 0.10}]}


def test_grid_is_the_product_in_the_order_written() -> None:
    arms = make_arms(study({"num_tokens": [16, 64], "connector": ["avg_pool", "c_abstractor"]}, base={"num_tokens": 64}))
    assert [arm.name for arm in arms] == ["num_tokens=16", "num_tokens=16,connector=c_abstractor", "base", "connector=c_abstractor"]
    assert [arm.levels for arm in arms][1] == {"num_tokens": 16, "connector": "c_abstractor"}
    assert [arm.changes for arm in arms] == [
        {"num_tokens": 16},
        {"num_tokens": 16, "connector": "c_abstractor"},
        {},
        {"connector": "c_abstractor"},
    ]


def test_one_at_a_time_is_the_base_and_one_change_each() -> None:
    declared = study({"num_tokens": [16, 64], "image_size": [224, 336, 448]}, base={"image_size": 336}, design="one_at_a_time")
    assert names(declared) == ["base", "num_tokens=64", "image_size=224", "image_size=448"]
    assert make_arms(declared)[0].config["num_tokens"] == 16  # the first level is the base where the base says nothing
    assert make_arms(declared)[1].config["image_size"] == 336


def test_listed_arms_may_have_seeds_of_their_own_beside_those_of_other_blocks() -> None:
    more = {"kind": "list", "arms": [{}, {"num_tokens": 64}], "seeds": [7, 1]}
    declared = study({"num_tokens": [16, 64, 144]}, design=["grid", more], seeds=2)
    plan = make_plan(declared, make_arms(declared))
    found = {arm.name: [trial.seed for trial in plan.trials if trial.arm == arm.name] for arm in plan.arms}
    assert found == {"base": [0, 1, 7], "num_tokens=64": [0, 1, 7], "num_tokens=144": [0, 1]}
    alone = study({"num_tokens": [16, 64, 144]}, design=more, seeds=2)
    assert [trial.seed for trial in make_plan(alone, make_arms(alone)).trials] == [7, 1, 7, 1]


def test_base_value_that_is_no_level_is_an_arm_one_at_a_time_and_not_in_a_grid() -> None:
    alone = study({"num_tokens": [16, 64]}, base={"num_tokens": 32}, design="one_at_a_time")
    assert names(alone) == ["base", "num_tokens=16", "num_tokens=64"]
    assert axis_labels(alone) == {"num_tokens": (32, 16, 64)}
    grid = study({"num_tokens": [16, 64]}, base={"num_tokens": 32})
    assert names(grid) == ["num_tokens=16", "num_tokens=64"]
    assert axis_labels(grid)["num_tokens"][0] == 16


def test_study_without_axes_is_its_base() -> None:
    assert names(study({}, base={"num_tokens": 32})) == ["base"]
    assert names(study({}, design="one_at_a_time")) == ["base"]


def test_config_is_the_trainers_own_with_defaults_as_json() -> None:
    (arm,) = make_arms(zoo({"encoder.training": ["slow"]}, base={"data": {"mix": "5:5:0"}}))
    assert arm.config["encoder"]["training"] == "slow"
    assert arm.config["data"]["mix"] == {"caption": 0.5, "interleaved": 0.5, "text": 0.0}
    assert arm.config["train"]["weight_decay"] == 0.1


def test_arms_are_frozen_and_the_same_every_time() -> None:
    declared = study({"num_tokens": [16, 64], "peak_lr": {"log": [1e-5, 1e-3], "points": 3}})
    arms = make_arms(declared)
    assert arms == make_arms(Study.model_validate(declared.model_dump(mode="json", by_alias=True)))
    with pytest.raises(FrozenInstanceError):
        arms[0].name = "other"  # type: ignore[misc]


def test_building_arms_leaves_the_study_as_it_was() -> None:
    declared = zoo({"connector.kind": ["avg_pool", "c_abstractor"], "encoder.width": [32]}, base={"encoder": {"depth": 1}})
    before = declared.model_dump(mode="json")
    make_arms(declared)
    assert declared.model_dump(mode="json") == before


def test_base_mix_is_recognised_however_it_is_written() -> None:
    for written in ("45:45:10", "9:9:2", {"caption": 0.45, "interleaved": 0.45, "text": 0.1}):
        for trainer, path, base in (("synthetic", "mix", {"mix": written}), ("model_zoo", "data.mix", {"data": {"mix": written}})):
            metric = {"name": "loss" if trainer == "synthetic" else "val_loss", "goal": "min"}
            declared = study({path: MIX}, trainer=trainer, base=base, metric=metric)
            assert axis_labels(declared)[path][0] == "45:45:10"


def test_plain_list_of_ratios_goes_to_the_trainer() -> None:
    arms = make_arms(zoo({"data.mix": ["5:5:1", "9:0:1"]}, base={"data": {"mix": "10:10:2"}}))
    assert [arm.name for arm in arms] == ["base", "mix=9:0:1"]


def test_arm_names_use_the_shortest_end_that_no_other_field_has() -> None:
    found = names(zoo({"encoder.depth": [2, 3], "decoder.depth": [2, 3], "train.steps": [400, 500]}))
    assert found[-1] == "encoder.depth=3,decoder.depth=3,train.steps=500"
    assert len(set(found)) == len(found) == 8


def test_arm_names_show_numbers_shortly_and_exactly() -> None:
    found = names(
        study({"num_params": [1e9, 1.5e8, 123456789.0], "peak_lr": [1e-4, 0.00012345678]}, base={"num_params": 1.0, "peak_lr": 1.0})
    )
    assert found[0] == "num_params=1e+09,peak_lr=0.0001"
    assert found[-1] == "num_params=123456789.0,peak_lr=0.00012345678"
    assert len(set(found)) == 6


def test_axis_named_like_a_base_label_keeps_names_apart() -> None:
    assert names(study({"fail": ["none", "raise:0.5", "nan:0.5"]})) == ["base", "fail=raise:0.5", "fail=nan:0.5"]


def test_kind_alone_changes_a_union() -> None:
    arms = make_arms(zoo({"connector.kind": ["c_abstractor", "avg_pool"]}, base={"connector": {"kind": "c_abstractor", "num_tokens": 16}}))
    assert [arm.config["connector"] for arm in arms] == [{"kind": "c_abstractor", "num_tokens": 16}, {"kind": "avg_pool", "num_tokens": 16}]


class Pool(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["pool"] = "pool"


class Conv(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["conv"] = "conv"
    kernel: int = 3


class UnionConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")
    connector: Annotated[Pool | Conv, Field(discriminator="kind")] = Pool()


@pytest.fixture
def union_trainer(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "union_trainer", SimpleNamespace(Config=UnionConfig, METRICS={"loss": ""}))  # type: ignore[arg-type]
    monkeypatch.setitem(trainers.TRAINERS, "union", "union_trainer")
    return "union"


def test_settings_of_the_replaced_kind_stay_behind(union_trainer: str) -> None:
    arms = make_arms(study({"connector.kind": ["conv", "pool"]}, trainer=union_trainer, base={"connector": {"kind": "conv", "kernel": 7}}))
    assert [arm.config["connector"] for arm in arms] == [{"kind": "conv", "kernel": 7}, {"kind": "pool"}]


def test_setting_that_no_kind_knows_is_still_refused(union_trainer: str) -> None:
    with pytest.raises(InputError, match="unknown key 'kernle'"):
        make_arms(study({"connector.kind": ["conv", "pool"]}, trainer=union_trainer, base={"connector": {"kind": "conv", "kernle": 7}}))


def test_where_keeps_the_cells_in_which_all_conditions_hold() -> None:
    declared = study({"num_tokens": [16, 64, 144], "image_size": [224, 448]}, where=["num_tokens < 100", "num_tokens * 4 <= image_size"])
    assert names(declared) == ["base", "image_size=448", "num_tokens=64,image_size=448"]
    assert count_removed(declared) == {"num_tokens < 100": 2, "num_tokens * 4 <= image_size": 3}
    assert count_removed(study({"num_tokens": [16]})) == {}


def test_where_rescues_a_grid_from_cells_the_trainer_refuses() -> None:
    axes = {"encoder.image_size": [16, 8], "connector.num_tokens": [4, 16]}
    with pytest.raises(InputError, match="num_tokens is 16, which kind avg_pool cannot give on a grid of 2 x 2"):
        make_arms(zoo(axes))
    declared = zoo(axes, where=["connector.num_tokens <= encoder.num_patches"])
    assert names(declared) == ["base", "num_tokens=16", "image_size=8"]
    assert count_removed(declared) == {"connector.num_tokens <= encoder.num_patches": 1}


def test_message_of_the_trainer_is_given_once() -> None:
    with pytest.raises(InputError) as caught:
        make_arms(zoo({"encoder.image_size": [16, 30], "train.steps": [100, 200, 300], "decoder.depth": [1, 2, 3]}))
    assert [problem.message for problem in caught.value.problems] == [
        "axes.encoder.image_size[1]: 30 is not a multiple of patch 4: nearest 28, 32"
    ]


def test_grid_of_a_trillion_cells_is_refused_at_once() -> None:
    huge = {"points": 1000}
    axes = {"num_params": {"log": [1e3, 1e9], **huge}, "peak_lr": {"log": [1e-4, 1e-1], **huge}}
    axes |= {"noise_sd": {"linspace": [0.1, 1.0], **huge}, "step_seconds": {"linspace": [0.1, 1.0], **huge}}
    started = time.perf_counter()
    with pytest.raises(InputError, match="1,000,000,000,000 trials, the limit is 1,000,000"):
        make_arms(study(axes, where=["num_params > 1"]))
    assert time.perf_counter() - started < 0.1
    with pytest.raises(InputError, match="2 levels x 600000 seeds are 1,200,000 trials"):
        make_arms(study({"num_tokens": [16, 64]}).model_copy(update={"seeds": range(600_000)}))


SEARCH = {"design": {"kind": "search", "trials": 4}}


def test_search_has_a_space_and_no_arms() -> None:
    declared = zoo(
        {
            "train.learning_rate": {"log": [1e-3, 1e-1]},
            "connector.kind": ["avg_pool", "c_abstractor"],
            "decoder.depth": {"linspace": [1, 4]},
        },
        base={"train": {"learning_rate": 0.005}},
        **SEARCH,
    )
    assert make_arms(declared) == ()
    rate, kind, depth = search_space(declared)
    assert (rate.bounds, rate.log, rate.whole, rate.baseline) == ((1e-3, 1e-1), True, False, 0.005)
    assert (kind.bounds, kind.labels) == (None, ("avg_pool", "c_abstractor"))
    assert (depth.bounds, depth.log, depth.whole, depth.baseline) == ((1.0, 4.0), False, True, 2)
    assert axis_labels(declared) == {"train.learning_rate": (), "connector.kind": ("avg_pool", "c_abstractor"), "decoder.depth": ()}


def test_suggested_levels_become_one_arm_and_give_it_again() -> None:
    declared = zoo({"train.learning_rate": {"log": [1e-3, 1e-1]}, "data.mix": MIX, "decoder.depth": {"linspace": [1, 4]}}, **SEARCH)
    arm = arm_for(declared, {"train.learning_rate": 0.0123456789, "data.mix": "9:0:1", "decoder.depth": 2.71})
    assert arm.name == "train.learning_rate=0.0123457,mix=9:0:1,decoder.depth=3"
    assert arm.levels == {"train.learning_rate": 0.0123457, "data.mix": "9:0:1", "decoder.depth": 3}
    assert arm.config["data"]["mix"] == {"caption": 0.9, "interleaved": 0.0, "text": 0.1}
    assert arm_for(declared, arm.levels) == arm
    assert arm_for(declared, {"train.learning_rate": 0.001}).levels["train.learning_rate"] == 0.001
    assert arm_for(declared, {}).name == "base"


def test_suggestion_that_is_no_level_is_refused() -> None:
    declared = zoo({"connector.kind": ["avg_pool", "c_abstractor"]}, **SEARCH)
    with pytest.raises(InputError, match="no level text 'attention_pool'"):
        arm_for(declared, {"connector.kind": "attention_pool"})
    with pytest.raises(InputError, match=r"unknown axis 'connector.knid'.*did you mean 'connector.kind'"):
        arm_for(declared, {"connector.knid": "avg_pool"})


def test_bounds_the_trainer_refuses_are_found_before_the_search() -> None:
    declared = study({"peak_lr": {"log": [1e-3, 1e3]}, "image_size": {"linspace": [0, 448]}}, **SEARCH)
    with pytest.raises(InputError) as caught:
        make_arms(declared)
    assert [problem.message for problem in caught.value.problems] == [
        "axes.image_size: must be above 0, found 0",
        "axes.peak_lr: must be at most 10, found 1000.0",
    ]


def test_arm_of_levels_the_trainer_refuses_together_says_why() -> None:
    declared = zoo({"encoder.image_size": [16, 8], "connector.num_tokens": [4, 16]}, **SEARCH)
    with pytest.raises(InputError, match="num_tokens=16: connector: num_tokens is 16, which kind avg_pool cannot give"):
        arm_for(declared, {"encoder.image_size": 8, "connector.num_tokens": 16})


def test_planning_imports_no_heavy_library() -> None:
    code = (
        "import sys; from ablate.load import load_study; from ablate.design import make_arms; make_arms(load_study('quickstart'));"
        "print([name for name in ('torch', 'ray', 'mlflow', 'dash', 'numpy', 'pandas', 'optuna', 'sqlalchemy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
