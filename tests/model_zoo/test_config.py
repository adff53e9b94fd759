"""What a config accepts, what it refuses and in which words."""

import pytest
from pydantic import ValidationError

from model_zoo.config import Config, Task
from model_zoo.connectors.attention_pool import AttentionPool
from model_zoo.data.mix import Mix
from model_zoo.decoders.decoder import Packed
from model_zoo.encoders.vit import ViT

REFUSED = {
    "patches": ({"encoder": {"image_size": 30, "patch_size": 8}}, "30 is not a multiple of patch 8: nearest 24, 32"),
    "small image": ({"encoder": {"image_size": 3}}, "3 is not a multiple of patch 4: nearest 4"),
    "encoder heads": ({"encoder": {"width": 65}}, "65 is not divisible by 2 heads: nearest 64, 66"),
    "decoder heads": ({"decoder": {"width": 66}}, "66 is not divisible by 2 heads of even width: nearest 64, 68"),
    "squares": (
        {"connector": {"kind": "c_abstractor", "num_tokens": 5}},
        r"5, which kind c_abstractor cannot give on a grid of 4 x 4 patches \(1, 4, 9, 16\): nearest 4",
    ),
    "too many": (
        {"connector": {"kind": "attention_pool", "num_tokens": 50}},
        r"50, which kind attention_pool cannot give on a grid of 4 x 4 patches \(1 to 16\): nearest 16",
    ),
    "coarse grid": ({"encoder": {"image_size": 4}}, r"num_tokens is 4, which kind avg_pool .* \(1\): nearest 1"),
    "kind": ({"connector": {"kind": "q_former"}}, "'avg_pool', 'attention_pool', 'c_abstractor', 'mlp'"),
    "sum": ({"data": {"mix": {"caption": 0.5, "text": 0.49}}}, "sum is 0.99; use 45:45:10 or shares that sum to 1"),
    "source": ({"data": {"mix": {"vqa": 1.0}}}, "unknown source vqa; sources are caption, interleaved, text"),
    "negative share": ({"data": {"mix": {"caption": -0.5, "text": 1.5}}}, "negative share: caption -0.5"),
    "two parts": ({"data": {"mix": "5:5"}}, '"5:5" has 2 parts; write 3 parts, caption:interleaved:text'),
    "negative part": ({"data": {"mix": "5:-5:1"}}, "has the part -5; parts are finite and 0 or more"),
    "infinite part": ({"data": {"mix": "5:inf:1"}}, "has the part inf"),
    "no number": ({"data": {"mix": "a:b:c"}}, "not a ratio of numbers"),
    "nothing": ({"data": {"mix": "0:0:0"}}, "sums to 0"),
    "base 60": ({"data": {"mix": 164710}}, 'YAML reads a bare 45:45:10 as base 60; put it in quotes, "45:45:10"'),
    "text as number": ({"train": {"steps": "400"}}, "valid integer"),
    "bool as integer": ({"train": {"steps": True}}, "valid integer"),
    "bool as rate": ({"train": {"learning_rate": True}}, "True is not a number"),
    "infinite rate": ({"train": {"learning_rate": float("inf")}}, "finite"),
    "warmup": ({"train": {"steps": 20}}, "40 warmup steps do not fit in 20 steps: at most 20"),
    "unknown field": ({"train": {"learningrate": 1}}, "Extra inputs"),
    "cache of a trained encoder": (
        {"encoder": {"features": "cached", "training": "slow"}},
        "those of a frozen encoder, and training is slow, .*: use training: frozen, or features: computed",
    ),
    "one patch": (
        {"encoder": {"image_size": 4, "pretrain": {"objective": "reconstructive"}}, "connector": {"num_tokens": 1}},
        "an image of 4 px is one patch of 4: use a larger image_size or a smaller patch_size",
    ),
    "stage's image": ({"encoder": {"pretrain": {"resolution": 18}}}, "resolution is 18, not a multiple of patch 4: nearest 16, 20"),
    "no stage": (
        {"encoder": {"pretrain": {"resolution": 16, "objective": "none"}}},
        "objective none has no encoder stage: leave it out, or name an objective",
    ),
    "one pixel": ({"encoder": {"patch_size": 1, "image_size": 4, "pretrain": {"objective": "reconstructive"}}}, "use patch_size 2 or more"),
    "task": ({"eval": {"tasks": ["captions"]}}, "'caption', 'vqa', 'in_context' or 'text'"),
    "fours": ({"eval": {"num_documents": 10}}, "multiple of 4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_config_that_cannot_be_built_is_refused_in_words(case):
    written, words = REFUSED[case]
    with pytest.raises(ValidationError, match=words):
        Config.model_validate(written)


def test_mix_as_ratio_equals_mix_as_shares():
    written = Mix.model_validate({"caption": 0.45, "interleaved": 0.45, "text": 0.10})
    assert Mix.model_validate("45:45:10") == written
    assert Mix.model_validate("9:9:2") == written


def test_mix_ratio_that_does_not_divide_sums_to_one():
    assert sum(Mix.model_validate("33:66:0").shares) == pytest.approx(1.0, abs=1e-12)


def test_mix_without_a_source_gives_it_none():
    assert Mix.model_validate({"caption": 1.0}).shares == (1.0, 0.0, 0.0)


def test_connector_union_follows_kind_alone():
    written = {"connector": {"kind": "c_abstractor", "num_tokens": 4}}
    written["connector"] |= {"kind": "attention_pool"}
    assert Config.model_validate(written).connector == AttentionPool(num_tokens=4)


def test_config_survives_json():
    config = Config.model_validate({"connector": {"kind": "c_abstractor"}, "data": {"mix": "5:5:1"}})
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_rate_as_yaml_reads_it_is_a_number():
    # YAML 1.1 hands over 4e-3 as text, 4.0e-3 as a number
    assert Config.model_validate({"train": {"learning_rate": "4e-3"}}).train.learning_rate == 0.004


def test_tasks_in_any_order_are_one_config():
    one, other = ({"eval": {"tasks": tasks}} for tasks in (["text", "caption"], ["caption", "text", "text"]))
    assert Config.model_validate(one) == Config.model_validate(other)
    assert Config.model_validate(one).eval.tasks == (Task.CAPTION, Task.TEXT)


def test_every_field_says_what_it_is():
    def undocumented(schema):
        for name, model in schema["$defs"].items():
            for field, about in model.get("properties", {}).items():
                if "description" not in about and "$ref" not in about:
                    yield f"{name}.{field}"

    assert list(undocumented(Config.model_json_schema())) == []


def test_derived_values_follow_an_override():
    assert (ViT(image_size=24).grid, ViT(image_size=24).num_patches) == (6, 36)
    assert Packed(width=96).mlp_width == 256


def test_decoder_params_are_near_twelve_widths_squared():
    for width in (24, 48, 96, 168):
        assert Packed(width=width).num_params == pytest.approx(12 * 2 * width**2, rel=0.01)
