"""The decoder against `transformers`, and what no decoder may do."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from model_zoo.decoders.decoder import Decoder as DecoderConfig
from model_zoo.decoders.packed import Decoder, Group
from model_zoo.initial import initialise

VOCABULARY = 25


def make_decoder(**settings) -> Decoder:
    decoder = Decoder(DecoderConfig.model_validate(settings), vocabulary_size=VOCABULARY)
    initialise(decoder, seed=3)
    return decoder


def make_llama(decoder: Decoder, config: DecoderConfig) -> LlamaForCausalLM:
    """A Llama with the decoder's weights."""
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=config.width,
            intermediate_size=config.mlp_width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_heads,
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
        q, k, v = layer.attention.qkv.weight.chunk(3)
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
@pytest.mark.parametrize(("width", "num_heads"), [(48, 2), (64, 4)])
def test_decoder_with_plain_keys_is_a_llama(width, num_heads):
    decoder = make_decoder(width=width, num_heads=num_heads, depth=2)
    for norm in (m for m in decoder.modules() if isinstance(m, torch.nn.RMSNorm)):
        norm.weight.uniform_(0.5, 1.5)  # gains of 1 would hide a norm in the wrong place
    llama = make_llama(decoder, DecoderConfig(width=width, num_heads=num_heads, depth=2))
    tokens = torch.randint(VOCABULARY, (5, 40), generator=torch.Generator().manual_seed(0))
    ours = decoder.head(decoder(decoder.embedding(tokens.ravel()), groups=[Group(5, 40)]))
    theirs = llama(tokens).logits.reshape(200, VOCABULARY)
    # measured 3e-6 on logits of size 4: sums in another order
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


@pytest.mark.parametrize("keys", ["plain", "smeared"])
def test_decoder_output_depends_on_its_document_up_to_its_token_only(keys):
    decoder = make_decoder(width=24, depth=2, keys=keys)
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
