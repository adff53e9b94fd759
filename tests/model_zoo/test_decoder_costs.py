"""What settings of a decoder say it is and costs, against torch's own counts; what they refuse; what of them is identity."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

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


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_decoder_survives_json(kind, shape):
    settings = read(kind, shape)
    assert SETTINGS.validate_python({"kind": "packed"} | settings.model_dump(mode="json")) == settings
