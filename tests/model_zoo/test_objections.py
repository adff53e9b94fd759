"""What is wrong with configs beside others or on several devices, at the level or the line that earned it."""

from typing import Any

import pytest

from ablate.errors import InputError
from ablate.load import load_study
from model_zoo.config import Config
from model_zoo.objections import objections


def study(base: dict[str, Any], axes: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": "s",
        "trainer": "model_zoo",
        "base": base,
        "axes": axes,
        "metric": {"name": "val_loss", "goal": "min"},
        **keys,
    }


def said(written: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as refused:
        load_study(written)
    return [problem.message for problem in refused.value.problems]


def test_rows_that_do_not_reach_all_devices_are_refused_at_the_level_that_has_too_few():
    written = study({}, {"train.rows_per_step": [8, 16]}, resources={"gpus": 4, "nodes": 4})
    assert said(written) == ["axes.train.rows_per_step[0]: rows_per_step is 8, and 16 devices need a row each: at least 16"]
    written = study({"train": {"rows_per_step": 16}}, {"train.accumulate": [1, 4]}, resources={"gpus": 8})
    assert said(written) == [
        "axes.train.accumulate[1]: rows_per_step is 16, and 8 devices x 4 micro-batches (accumulate) need a row each: at least 32"
    ]


def test_rows_of_fine_tuning_have_to_reach_all_devices_too():
    written = study({"sft": {"train": {"rows_per_step": 2}}}, {"train.learning_rate": [1e-3, 2e-3]}, resources={"gpus": 4})
    assert said(written) == ["base.sft.train.rows_per_step: rows_per_step is 2, and 4 devices need a row each: at least 4"]


@pytest.mark.parametrize("resources", [{"gpus": 8}, {"gpus": 0.5}, {}])
def test_rows_that_reach_all_devices_are_fine(resources):
    load_study(study({}, {"train.rows_per_step": [8, 16]}, resources=resources))


def test_search_is_refused_for_a_level_that_no_device_count_allows():
    search = {"kind": "search", "trials": 3, "sampler": "random"}
    written = study({}, {"train.rows_per_step": [2, 8, 16], "connector.num_tokens": [1, 4]}, resources={"gpus": 4}, design=search)
    assert said(written) == ["axes.train.rows_per_step[0]: rows_per_step is 2, and 4 devices need a row each: at least 4"]


def test_search_whose_adapted_arm_two_axes_must_meet_for_is_fine():
    training = {"list": ["full", "lora"], "when": "encoder.width == 64 and connector.num_tokens == 16"}
    axes = {"encoder.width": [32, 64], "connector.num_tokens": [4, 16], "decoder.training": training}
    search = {"kind": "search", "trials": 3, "sampler": "random"}
    load_study(study({"train": {"lora_rank": 16}}, axes, design=search))
    del axes["decoder.training"]
    assert "no arm trains a part as lora" in said(study({"train": {"lora_rank": 16}}, axes, design=search))[0]


def test_search_of_more_combinations_than_are_looked_at_is_let_through():
    axes = {"encoder.depth": [*range(1, 13)], "decoder.depth": [*range(1, 13)], "train.warmup_steps": [*range(1, 17)]}
    load_study(study({"train": {"lora_rank": 16}}, axes, design={"kind": "search", "trials": 3, "sampler": "random"}))


def test_rows_that_a_design_draws_between_bounds_are_refused_at_their_axis():
    design = {"kind": "latin_hypercube", "points": 4}
    found = said(study({}, {"train.rows_per_step": {"linspace": [1, 64]}}, resources={"gpus": 32}, design=design))
    assert found
    assert all(message.startswith("axes.train.rows_per_step: rows_per_step is ") for message in found)


def test_lora_settings_that_no_arm_reads_are_refused_for_each_stage():
    written = study({"train": {"lora_rank": 4}}, {"decoder.training": ["full", "slow"]})
    assert said(written) == [
        "base.train.lora_rank: lora_rank is 4, and no arm trains a part as lora in this stage: set encoder.training or decoder.training to "
        "lora, or leave it out"
    ]
    written = study({"train": {"lora_rank": 4}, "sft": {"decoder": {"training": "lora"}}}, {"train.learning_rate": [1e-3, 2e-3]})
    assert said(written) == [
        "base.train.lora_rank: lora_rank is 4, and no arm trains a part as lora in this stage (fine-tuning reads sft.train): set "
        "encoder.training or decoder.training to lora, or leave it out"
    ]
    written = study({"sft": {"train": {"lora_alpha": 4}}}, {"decoder.training": ["full", "slow"]})
    assert "set sft.encoder.training or sft.decoder.training to lora" in said(written)[0]
    assert said(study({}, {"train.lora_rank": [8, 16]}))[0].startswith("axes.train.lora_rank[1]: lora_rank is 16, and no arm")


def test_lora_settings_are_fine_beside_arms_without_lora():
    load_study(study({"train": {"lora_rank": 4}}, {"decoder.training": ["full", "lora"]}))
    load_study(study({"encoder": {"training": "lora"}, "sft": {"train": {"lora_rank": 4}}}, {"decoder.training": ["full", "slow"]}))


def test_objections_are_of_each_config_in_turn():
    fine, few = Config(), Config.model_validate({"train": {"rows_per_step": 1}})
    assert [len(found) for found in objections([fine, few, fine], num_devices=2)] == [0, 1, 0]


REPORTED_OF_TEXT = "train_loss, val_loss, progression_score, recall_score, text_score, ttft_flops, tokens"
FILES = {
    "encoder": {"pretrain": {"objective": "none"}, "features": "computed"},
    "data": {"mix": "0:0:1", "files": {"text": {"train": ["a.jsonl"], "held_out": ["b.jsonl"]}}},
    "eval": {"tasks": []},
}


@pytest.mark.parametrize(
    ("base", "axis", "levels", "where"),
    [
        (FILES, "data.num_scenes", [8192, 512], "without data.files"),
        (FILES, "eval.num_documents", [1024, 64], "without data.files"),
        ({}, "train.decay_fraction", [0.2, 0.3], "with schedule wsd"),
        ({"sft": {}}, "sft.train.decay_fraction", [0.2, 0.3], "with schedule wsd"),
    ],
)
def test_axis_that_nothing_reads_is_refused_at_its_level(base, axis, levels, where):
    field = axis.rpartition(".")[2]
    expected = f"axes.{axis}[1]: {field} differs between arms, and none of them reads it: it is read {where}; leave it out"
    assert said(study(base, {axis: levels})) == [expected]


def test_axis_that_some_arm_reads_is_fine():
    load_study(study({}, {"train.schedule": ["cosine", "wsd"], "train.decay_fraction": [0.2, 0.3]}))
    load_study(study({"train": {"decay_fraction": 0.3}}, {"train.learning_rate": [1e-3, 2e-3]}))


@pytest.mark.parametrize(
    ("base", "metric", "reported"),
    [
        (FILES, "few_shot/4", "train_loss, val_loss, skipped_rows, tokens"),
        ({"eval": {"tasks": ["text"]}, "encoder": {"pretrain": {"objective": "none"}}}, "caption/0", REPORTED_OF_TEXT),
    ],
)
def test_metric_that_no_arm_reports_is_refused_with_those_they_do(base, metric, reported):
    written = study(base, {"train.learning_rate": [1e-3, 2e-3]}) | {"metric": {"name": metric, "goal": "max"}}
    assert said(written) == [
        f"metric.name: no arm reports {metric} as it is configured, only {reported}: name one of these, or ask for it in the base"
    ]


def test_metric_of_a_claim_or_an_objective_that_no_arm_reports_is_refused():
    written = study(FILES, {"train.learning_rate": [1e-3, 2e-3]})
    only = "as it is configured, only train_loss, val_loss, skipped_rows, tokens: name one of these, or ask for it in the base"
    claim = {"axis": "train.learning_rate", "expect": "increases", "metric": "few_shot/4"}
    assert said(written | {"claims": [claim]}) == [f"claims[0].metric: no arm reports few_shot/4 {only}"]
    search = {"kind": "search", "trials": 4, "sampler": "nsgaii", "objectives": [{"name": "cider/0", "goal": "max"}]}
    assert said(written | {"design": search}) == [f"design.objectives[0].name: no arm reports cider/0 {only}"]


def test_metric_that_some_arm_reports_is_fine():
    written = study({}, {"eval.latency": ["unmeasured", "measured"]}) | {"metric": {"name": "ttft_ms", "goal": "min"}}
    load_study(written)
