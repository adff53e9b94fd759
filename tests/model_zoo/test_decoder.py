"""The decoder against `transformers`, and what no decoder may do."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from model_zoo.data.batch import collate
from model_zoo.data.documents import Documents, progression_documents, recall_documents
from model_zoo.decoders.decoder import Packed
from model_zoo.decoders.packed import ROPE_BASE, Decoder, Group, rotation
from model_zoo.initial import initialise

VOCABULARY = 25


def make_decoder(**settings) -> Decoder:
    decoder = Decoder(Packed.model_validate(settings), vocabulary_size=VOCABULARY)
    initialise(decoder, seed=3)
    return decoder


def make_llama(decoder: Decoder, config: Packed) -> LlamaForCausalLM:
    """A Llama with the decoder's weights."""
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=config.width,
            intermediate_size=config.mlp_width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.kv_heads,
            rms_norm_eps=1e-6,
            tie_word_embeddings=False,
        )
    )
    weights = {
        "model.embed_tokens.weight": decoder.embedding.weight,
        "model.norm.weight": decoder.final_norm.weight,
        "lm_head.weight": decoder.head.weight,
    }
    for number, layer in enumerate(decoder.layers):
        kv_width = config.kv_heads * config.head_width
        q, k, v = layer.attention.qkv.weight.split([config.width, kv_width, kv_width])
        gate, up = layer.gate_up.weight.chunk(2)
        parts = {
            "self_attn.q_proj": q,
            "self_attn.k_proj": k,
            "self_attn.v_proj": v,
            "self_attn.o_proj": layer.attention.out.weight,
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": layer.down.weight,
            "input_layernorm": layer.attention_norm.weight,
            "post_attention_layernorm": layer.mlp_norm.weight,
        }
        weights |= {f"model.layers.{number}.{name}.weight": weight for name, weight in parts.items()}
    llama.load_state_dict(weights)
    return llama


@torch.no_grad()
@pytest.mark.parametrize(
    "shape",
    [
        {"width": 48, "num_heads": 2},
        {"width": 64, "num_heads": 4},
        {"width": 64, "num_heads": 8, "num_kv_heads": 2},
        {"width": 48, "num_heads": 6, "num_kv_heads": 1, "mlp_hidden_size": 40},
    ],
)
def test_decoder_with_plain_keys_is_a_llama(shape):
    decoder = make_decoder(depth=2, **shape)
    for norm in (m for m in decoder.modules() if isinstance(m, torch.nn.RMSNorm)):
        norm.weight.uniform_(0.5, 1.5)  # gains of 1 would hide a norm in the wrong place
    llama = make_llama(decoder, Packed(depth=2, **shape))
    tokens = torch.randint(VOCABULARY, (5, 40), generator=torch.Generator().manual_seed(0))
    ours = decoder.head(decoder(decoder.embedding(tokens.ravel()), groups=[Group(5, 40)]))
    theirs = llama(tokens).logits.reshape(200, VOCABULARY)
    # measured 3e-6 on logits of size 4: sums in another order
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


@pytest.mark.parametrize("keys", ["plain", "smeared"])
@pytest.mark.parametrize("num_kv_heads", [3, 1])
def test_decoder_output_depends_on_its_document_up_to_its_token_only(keys, num_kv_heads):
    decoder = make_decoder(width=24, depth=2, keys=keys, num_heads=3, num_kv_heads=num_kv_heads)
    groups = [Group(2, 5), Group(1, 7)]  # documents 0-4, 5-9, 10-16
    x = torch.randn(17, 24, generator=torch.Generator().manual_seed(1), requires_grad=True)
    decoder(x, groups=groups)[7].sum().backward()
    touched = x.grad.abs().sum(1) > 0
    assert touched.nonzero().ravel().tolist() == [5, 6, 7]


@torch.no_grad()
def test_decoder_groups_equal_documents_one_by_one():
    decoder = make_decoder(width=24, depth=2, keys="smeared")
    x = torch.randn(17, 24, generator=torch.Generator().manual_seed(1))
    together = decoder(x, groups=[Group(2, 5), Group(1, 7)])
    apart = [decoder(part, groups=[Group(1, len(part))]) for part in x.split([5, 5, 7])]
    torch.testing.assert_close(together, torch.cat(apart), atol=1e-5, rtol=0)


def test_rotation_of_a_step_is_that_of_each_position_bit_for_bit():
    """However long the other documents are; numbers of finished trials depend on it."""
    groups, width = [Group(2, 5), Group(1, 33), Group(3, 1), Group(1, 8)], 12
    position = torch.cat([torch.arange(length).repeat(number) for number, length in groups])
    angle = (position[:, None].float() * ROPE_BASE ** -(torch.arange(0, width, 2).float() / width)).repeat(1, 2)[:, None]
    found = rotation(groups, head_width=width, device=torch.device("cpu"))
    assert torch.equal(found.cos, angle.cos())
    assert torch.equal(found.sin, angle.sin() * torch.tensor([-1.0, 1.0]).repeat_interleave(width // 2))
    assert torch.equal(found.has_previous.ravel(), (position > 0).float())


def test_equally_long_kinds_in_a_row_are_one_group_whose_bits_are_those_of_two():
    rng = np.random.default_rng(0)
    kinds = [progression_documents(rng=rng, number=3), recall_documents(rng=rng, number=2)]
    batch = collate(kinds, device="cpu")
    assert batch.groups == (Group(5, 32),)
    assert collate([kinds[0], Documents(*(a[:, :9] for a in kinds[1])), kinds[1]], device="cpu").groups == (
        Group(3, 32), Group(2, 9), Group(2, 32)
    )  # fmt: skip
    x = torch.randn(160, 24, generator=torch.Generator().manual_seed(1))
    found = []
    for groups in ([Group(3, 32), Group(2, 32)], batch.groups):
        decoder = make_decoder(width=24, depth=2, keys="smeared")
        hidden = decoder(x, groups=groups)
        hidden.square().sum().backward()
        found.append([hidden, *(p.grad for name, p in decoder.named_parameters() if name.startswith("layers."))])
    assert all(torch.equal(apart, together) for apart, together in zip(*found, strict=True))


@torch.no_grad()
def test_smear_of_zero_share_is_plain():
    plain, smeared = make_decoder(width=24), make_decoder(width=24, keys="smeared")
    smeared.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(9, 24, generator=torch.Generator().manual_seed(1))
    groups = [Group(1, 9)]
    assert not torch.allclose(plain(x, groups=groups), smeared(x, groups=groups), atol=1e-3)
    for layer in smeared.layers:
        layer.attention.smear.fill_(-100.0)
    torch.testing.assert_close(plain(x, groups=groups), smeared(x, groups=groups))
