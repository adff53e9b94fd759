"""What settings of a decoder say it is and costs, against torch's own counts; what they refuse; what of them is identity."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from transformers import Qwen3Config, Qwen3Model

from model_zoo.build import build_decoder
from model_zoo.decoders.decoder import Decoder, Packed
from model_zoo.decoders.packed import Group
from model_zoo.initial import initialise
from tests.model_zoo.counting import count_flops, count_saved_bytes

SHAPES = {
    "plain": {},
    "grouped": {"width": 64, "num_heads": 8, "num_kv_heads": 2},
    "one head of keys": {"width": 48, "num_heads": 6, "num_kv_heads": 1, "mlp_hidden_size": 40, "depth": 3},
}
KINDS = {
    "packed": {},
    "smeared": {"keys": "smeared"},
    "experts": {"moe": {"num_experts": 3, "every": 1}},
    "some experts": {"moe": {"num_experts": 4}, "keys": "smeared"},
    "llama": {"kind": "llama"},
    "qwen2": {"kind": "qwen2"},
    "qwen3": {"kind": "qwen3"},
    "llama with wide heads": {"kind": "llama", "head_dim": 40},
    "qwen2 with narrow heads": {"kind": "qwen2", "head_dim": 6},
    "qwen3 with wide heads": {"kind": "qwen3", "head_dim": 40},
}
CASES = [(kind, shape) for kind in KINDS for shape in SHAPES]
SETTINGS = TypeAdapter(Decoder)


def read(kind: str, shape: str):
    return SETTINGS.validate_python({"kind": "packed"} | KINDS[kind] | SHAPES[shape])


def make(settings):
    decoder = build_decoder(settings, vocabulary_size=11)
    initialise(decoder, seed=0)
    return decoder


def body(decoder):
    """Parameters without embedding and head, by name."""
    return {name: p for name, p in decoder.named_parameters() if name not in ("embedding.weight", "head.weight")}


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_decoder_counts_its_parameters(kind, shape):
    settings = read(kind, shape)
    assert settings.num_params == sum(p.numel() for p in body(make(settings)).values())


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_decoder_counts_what_one_token_uses(kind, shape):
    """Of each expert all parameters have a gradient or none: two experts of a layer do."""
    settings = read(kind, shape)
    decoder = make(settings)
    x = torch.randn(1, settings.width, generator=torch.Generator().manual_seed(0))
    decoder(x, groups=[Group(1, 1)]).square().sum().backward()
    unused = [name for name in body(decoder) if "experts.experts" in name and not decoder.get_parameter(name).grad.any()]
    assert settings.active_params == sum(p.numel() for name, p in body(decoder).items() if name not in unused)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_decoder_counts_its_flops_as_torch_does(kind, shape):
    settings = read(kind, shape)
    decoder = make(settings)
    x = torch.randn(3 * 7 + 10, settings.width)
    counted = count_flops(lambda: decoder(x, groups=[Group(3, 7), Group(1, 10)]))
    assert counted == 3 * settings.forward_flops(length=7) + settings.forward_flops(length=10)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_decoder_counts_what_autograd_keeps(kind, shape):
    settings = read(kind, shape)
    decoder = make(settings)
    x = torch.randn(64 * 16, settings.width, requires_grad=True)
    weights = 4 * sum(p.numel() for p in decoder.parameters())
    kept = count_saved_bytes(lambda: decoder(x, groups=[Group(64, 16)]))
    # measured within 6 %: small buffers, statistics of norms and indices of experts are left out
    assert 4 * len(x) * settings.numbers_kept == pytest.approx(kept - weights, rel=0.1)


REFUSED = {
    "kv heads": ({"num_heads": 8, "num_kv_heads": 3}, r"8 heads cannot share 3 heads of keys and values equally \(1, 2, 4, 8\): nearest 2"),
    "more kv heads": ({"num_kv_heads": 4}, r"2 heads cannot share 4 heads .* \(1, 2\): nearest 2"),
    "no kv heads": ({"num_kv_heads": 0}, "greater than 0"),
    "no hidden size": ({"mlp_hidden_size": 0}, "greater than 0"),
    "one expert": ({"moe": {"num_experts": 1}}, "greater than or equal to 2"),
    "no expert layer": (
        {"depth": 3, "moe": {"num_experts": 4, "every": 4}},
        "every is 4, so none of 3 layers would have experts: at most 3",
    ),
    "negative weight": ({"moe": {"num_experts": 4, "router_z_coefficient": -1.0}}, "greater than or equal to 0"),
    "experts of a llama": ({"kind": "llama", "moe": {"num_experts": 4}}, "Extra inputs are not permitted"),
    "odd heads": ({"kind": "qwen3", "head_dim": 7}, "7 is odd, and the rotation of RoPE works on pairs: nearest 6, 8"),
    "heads of a packed decoder": ({"head_dim": 64}, "Extra inputs are not permitted"),
    "width of heads that have none of their own": (
        {"kind": "llama", "num_heads": 3},
        "not divisible by 3 heads of even width: nearest 60, 66",
    ),
    "kind": ({"kind": "gpt2"}, "'packed', 'llama', 'qwen2', 'qwen3'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_decoder_that_cannot_be_built_is_refused_in_words(case):
    written, words = REFUSED[case]
    with pytest.raises(ValidationError, match=words):
        SETTINGS.validate_python({"kind": "packed"} | written)


def test_decoder_without_the_new_fields_is_dumped_as_before_them():
    written = {"num_heads": 2, "width": 64, "depth": 2, "keys": "plain"}
    assert Packed().model_dump(mode="json") == written
    assert Packed(num_heads=4, keys="smeared").model_dump() == written | {"num_heads": 4, "keys": "smeared"}


def test_heads_of_their_own_width_need_not_divide_the_streams():
    """16 heads of 128 at a width of 1,024, as Qwen3-0.6B has them."""
    shape = {"kind": "qwen3", "width": 1024, "depth": 28, "num_heads": 16, "num_kv_heads": 8}
    settings = SETTINGS.validate_python(shape | {"head_dim": 128})
    theirs = Qwen3Config(**settings.sizes, vocab_size=1)
    with torch.device("meta"):
        body = Qwen3Model(theirs)
    assert settings.num_params == sum(p.numel() for p in body.parameters()) - 1024  # the one row of its embedding
    assert SETTINGS.validate_python({"kind": "llama", "num_heads": 3, "head_dim": 10}).head_width == 10


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_decoder_without_a_head_dim_is_dumped_as_before_it(kind):
    written = {"num_heads": 2, "width": 64, "depth": 2, "kind": kind}
    assert SETTINGS.validate_python({"kind": kind}).model_dump(mode="json") == written
    assert SETTINGS.validate_python({"kind": kind, "head_dim": 16}).model_dump(mode="json") == written | {"head_dim": 16}


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_decoder_survives_json(kind, shape):
    settings = read(kind, shape)
    assert SETTINGS.validate_python({"kind": "packed"} | settings.model_dump(mode="json")) == settings
