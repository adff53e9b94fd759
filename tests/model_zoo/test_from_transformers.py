"""Decoders of `transformers` behave as the packed one does: whose tokens see whose, what the seed draws, what can be learnt."""

import json
import math

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torch.nn import functional as F

from model_zoo import trainable
from model_zoo.build import build_decoder
from model_zoo.config import Config
from model_zoo.data.vocabulary import SIZE
from model_zoo.decoders.decoder import Decoder, Llama, Packed
from model_zoo.decoders.packed import Group
from model_zoo.initial import EMBEDDING_SD, initialise
from model_zoo.optim import parameter_groups
from tests.model_zoo.conftest import run, weights
from tests.model_zoo.test_decoder import make_decoder, make_llama

VOCABULARY = 25
KINDS = ["llama", "qwen2", "qwen3"]
GROUPS = [Group(2, 5), Group(1, 7)]  # documents 0-4, 5-9, 10-16


def make(kind: str, *, seed: int = 3, **settings) -> nn.Module:
    written = {"kind": kind, "width": 24, "num_heads": 4, "num_kv_heads": 2} | settings
    decoder = build_decoder(TypeAdapter(Decoder).validate_python(written), vocabulary_size=VOCABULARY)
    initialise(decoder, seed=seed)
    return decoder


def make_tokens(width: int = 24):
    return torch.randn(17, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_llama_equals_the_packed_decoder_with_its_weights():
    shape = {"width": 48, "num_heads": 6, "num_kv_heads": 2, "mlp_hidden_size": 40, "depth": 3}
    packed = make_decoder(**shape)
    for norm in (m for m in packed.modules() if isinstance(m, nn.RMSNorm)):
        norm.weight.uniform_(0.5, 1.5)
    llama = build_decoder(Llama(**shape), vocabulary_size=VOCABULARY)
    body = make_llama(packed, Packed(**shape)).model.state_dict()
    body.pop("embed_tokens.weight")
    llama.body.load_state_dict(body)
    x = make_tokens(48)
    # measured 1e-6: sums in another order
    torch.testing.assert_close(llama(x, groups=GROUPS), packed(x, groups=GROUPS), atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_output_depends_on_its_document_up_to_its_token_only(kind):
    x = make_tokens().requires_grad_()
    make(kind)(x, groups=GROUPS)[7].sum().backward()
    assert (x.grad.abs().sum(1) > 0).nonzero().ravel().tolist() == [5, 6, 7]


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_groups_equal_documents_one_by_one(kind):
    decoder, x = make(kind), make_tokens()
    apart = [decoder(part, groups=[Group(1, len(part))]) for part in x.split([5, 5, 7])]
    torch.testing.assert_close(decoder(x, groups=GROUPS), torch.cat(apart), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_taught(kind):
    decoder = make(kind)
    tokens = torch.arange(17)
    decoder.head(decoder(decoder.embedding(tokens), groups=GROUPS)).square().sum().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_drawn_by_the_seed_at_the_packed_decoders_scale(kind):
    torch.manual_seed(1)
    one = make(kind, width=64).state_dict()
    torch.manual_seed(2)
    other = make(kind, width=64).state_dict()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert not torch.equal(make(kind, width=64, seed=4).state_dict()["body.layers.0.mlp.down_proj.weight"], one["head.weight"])
    packed = make_decoder(width=64).state_dict()
    pairs = {
        "embedding.weight": "embedding.weight",
        "head.weight": "head.weight",
        "body.layers.1.self_attn.q_proj.weight": "layers.1.attention.qkv.weight",
        "body.layers.1.self_attn.o_proj.weight": "layers.1.attention.out.weight",
        "body.layers.1.mlp.up_proj.weight": "layers.1.gate_up.weight",
        "body.layers.1.mlp.down_proj.weight": "layers.1.down.weight",
    }
    for name, same in pairs.items():
        assert one[name].std().item() == pytest.approx(packed[same].std().item(), rel=0.1)
    assert one["embedding.weight"].std().item() == pytest.approx(EMBEDDING_SD, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_matrices_decay_and_nothing_else(kind):
    decoder = make(kind)
    (decaying,) = [group["params"] for group in parameter_groups(decoder, weight_decay=0.1) if group["weight_decay"]]
    names = {name for name, p in decoder.named_parameters() if any(p is other for other in decaying)}
    assert names == {name for name, p in decoder.named_parameters() if p.dim() == 2 and name != "embedding.weight"}


@pytest.mark.parametrize("kind", KINDS)
def test_trial_with_it_trains_and_leaves_its_weights(tiny, make_worker, kind):
    written = tiny.model_dump(mode="json") | {"decoder": {"kind": kind, "width": 16, "depth": 1, "num_kv_heads": 1}}
    config = Config.model_validate(written | {"encoder": {"width": 16, "depth": 1, "pretrain": {"objective": "none"}}})
    worker = run(config, make_worker)
    assert trainable.stages(config)[-1].num_params == config.decoder.num_params
    assert math.isfinite(worker.last["val_loss"])
    assert json.loads((worker.dir / "config.json").read_text(encoding="utf-8"))["decoder"]["kind"] == kind
    decoder = build_decoder(config.decoder, vocabulary_size=SIZE)
    kept = {name.removeprefix("decoder."): tensor for name, tensor in weights(worker).items() if name.startswith("decoder.")}
    decoder.load_state_dict(kept)  # names and shapes agree


@pytest.mark.parametrize("settings", [{"kind": kind} for kind in KINDS] + [{}, {"moe": {"num_experts": 4, "every": 1}}], ids=str)
def test_a_handful_of_documents_is_learnt_by_heart(settings):
    written = {"kind": "packed", "width": 32, "num_heads": 4, "num_kv_heads": 2} | settings
    decoder = build_decoder(TypeAdapter(Decoder).validate_python(written), vocabulary_size=VOCABULARY)
    initialise(decoder, seed=0)
    tokens = torch.randint(VOCABULARY, (6, 9), generator=torch.Generator().manual_seed(0))
    # the first token tells the document, and the second differs: rotary positions cannot tell one token from the same one twice
    tokens[:, :2] = torch.arange(12).view(2, 6).T
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-2)
    for _ in range(60):
        hidden = decoder(decoder.embedding(tokens[:, :-1].flatten()), groups=[Group(6, 8)])
        loss = F.cross_entropy(decoder.head(hidden), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01  # guessing costs ln 25 = 3.2
