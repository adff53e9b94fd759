"""Embedded tokens to hidden states.

Documents of many lengths lie one after another in a single row of T tokens: linear layers run once over all of them,
attention runs per group of equally long documents, so nothing is padded and nothing masked.

T tokens of all documents, N documents in a group, L their length, D width, H heads, G heads of keys and values, F width of the MLP.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_zoo.decoders.decoder import Keys, Packed
from model_zoo.decoders.moe import Experts
from model_zoo.initial import residual

ROPE_BASE = 10_000.0
"""Su et al. 2021 (arXiv 2104.09864, section 3.2.2) and Llama."""
SMEAR_LOGIT = 2.0
"""A smeared key starts as 0.88 of the one before: from one half (0), induction did not start within 400 steps."""


class Group(NamedTuple):
    """Equally long documents that lie one after another."""

    number: int
    length: int


class Rotation(NamedTuple):
    """Where each token stands in its document."""

    cos: Tensor
    """[T, 1, D/H]"""
    sin: Tensor
    """[T, 1, D/H], negated in the first half of a head."""
    has_previous: Tensor
    """[T, 1, 1]: 0 at the first token of a document, else 1."""


def rotation(groups: Sequence[Group], *, head_width: int, device: torch.device) -> Rotation:
    """Rotary angles, position 0 at the start of each document; halves of a head are paired, as in Llama."""
    longest = max(group.length for group in groups)
    one = _of_one_document(1 << (longest - 1).bit_length(), head_width=head_width, device=device)  # a power of two: few are ever made
    return Rotation(*(torch.cat([part[:length].repeat(number, 1, 1) for number, length in groups]) for part in one))


@lru_cache(maxsize=4)
def _of_one_document(length: int, *, head_width: int, device: torch.device) -> Rotation:
    position = torch.arange(length, device=device)
    frequency = ROPE_BASE ** -(torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width)
    angle = (position[:, None].float() * frequency)[:, None]
    cos, sin = angle.cos(), angle.sin()
    return Rotation(torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1), (position > 0).float()[:, None, None])


class Attention(nn.Module):
    """Causal attention with rotary positions and, where asked for, shared or smeared keys.

    Head h reads keys and values number h // (H / G) (grouped queries; Ainslie et al. 2023, arXiv 2305.13245, section 2.2).

    k_t <- (1 - a) k_t + a k_(t-1), one learnt a per head, before the rotation (Olsson et al. 2022, arXiv 2209.11895,
    "smeared keys"): it lets one layer find what followed an earlier likeness of the current token.
    """

    def __init__(self, config: Packed) -> None:
        super().__init__()
        self.num_heads, self.kv_heads = config.num_heads, config.kv_heads
        self.qkv = nn.Linear(config.width, (self.num_heads + 2 * self.kv_heads) * config.head_width, bias=False)
        self.out = residual(nn.Linear(config.width, config.width, bias=False), depth=config.depth)
        self.smear = nn.Parameter(torch.full((config.kv_heads,), SMEAR_LOGIT)) if config.keys is Keys.SMEARED else None

    def forward(self, x: Tensor, *, groups: Sequence[Group], where: Rotation) -> Tensor:
        """[T, D] -> [T, D]"""
        heads, kv_heads = self.num_heads, self.kv_heads
        qkv = self.qkv(x).view(len(x), heads + 2 * kv_heads, -1)  # [T, H + 2 G, D/H]
        qk, v = qkv.split([heads + kv_heads, kv_heads], 1)  # and no slices, whose gradients would be padded and added
        if self.smear is not None:
            k = qk[:, heads:]
            share = torch.sigmoid(self.smear)[:, None] * where.has_previous  # [T, G, 1]
            qk = torch.cat((qk[:, :heads], torch.lerp(k, k.roll(1, 0), share.to(k.dtype))), 1)
        first, second = qk.chunk(2, -1)
        qk = qk * where.cos + torch.cat((second, first), -1) * where.sin
        sizes, mixed = [group.number * group.length for group in groups], []
        for (number, length), its_qk, its_v in zip(groups, qk.split(sizes), v.split(sizes), strict=True):
            q, k = its_qk.view(number, length, heads + kv_heads, -1).transpose(1, 2).split([heads, kv_heads], 1)
            values = its_v.view(number, length, kv_heads, -1).transpose(1, 2)  # as k [N, G, L, D/H], and q [N, H, L, D/H]
            y = F.scaled_dot_product_attention(q, k, values, is_causal=True, enable_gqa=kv_heads < heads)
            mixed.append(y.transpose(1, 2).reshape(number * length, -1))
        out: Tensor = self.out(torch.cat(mixed))
        return out


class Layer(nn.Module):
    """Pre-norm layer with a SwiGLU MLP (Shazeer 2020, arXiv 2002.05202), or with experts in its place."""

    def __init__(self, config: Packed, *, number: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.experts: Experts | None = None
        if config.moe and number % config.moe.every == 0:
            self.experts = Experts(config.moe, width=config.width, mlp_width=config.mlp_width, depth=config.depth)
        else:
            self.gate_up = nn.Linear(config.width, 2 * config.mlp_width, bias=False)
            self.down = residual(nn.Linear(config.mlp_width, config.width, bias=False), depth=config.depth)

    def forward(self, x: Tensor, *, groups: Sequence[Group], where: Rotation) -> Tensor:
        """[T, D] -> [T, D]"""
        x = x + self.attention(self.attention_norm(x), groups=groups, where=where)
        return x + self.mlp(self.mlp_norm(x))

    def mlp(self, x: Tensor) -> Tensor:
        """[T, D] -> [T, D]"""
        if self.experts is None:
            gate, up = self.gate_up(x).chunk(2, -1)  # each [T, F]
            out: Tensor = self.down(F.silu(gate) * up)
        else:
            out = self.experts(x)
        return out


class Decoder(nn.Module):
    """Llama (Touvron et al. 2023, arXiv 2302.13971), embeddings untied; with plain keys it computes exactly that."""

    def __init__(self, config: Packed, *, vocabulary_size: int) -> None:
        super().__init__()
        self.head_width = config.head_width
        self.embedding = nn.Embedding(vocabulary_size, config.width)
        self.layers = nn.ModuleList(Layer(config, number=number) for number in range(1, config.depth + 1))
        self.final_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, vocabulary_size, bias=False)

    def forward(self, x: Tensor, *, groups: Sequence[Group]) -> Tensor:
        """Embedded tokens [T, D] -> hidden states [T, D]; `head` makes logits of those one needs."""
        where = rotation(groups, head_width=self.head_width, device=x.device)
        for layer in self.layers:
            x = layer(x, groups=groups, where=where)
        hidden: Tensor = self.final_norm(x)
        return hidden
