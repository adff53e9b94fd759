"""Embedded tokens to hidden states.

Documents of many lengths lie one after another in a single row of T tokens: linear layers run once over all of them,
attention runs per group of equally long documents, so nothing is padded and nothing masked.

T tokens of all documents, N documents in a group, L their length, D width, H heads, F width of the MLP.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_zoo.decoders.decoder import Decoder as DecoderConfig
from model_zoo.decoders.decoder import Keys
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
    """[T, 1, D/H]"""
    has_previous: Tensor
    """[T, 1, 1]: 0 at the first token of a document, else 1."""


def rotation(groups: Sequence[Group], *, head_width: int, device: torch.device) -> Rotation:
    """Rotary angles, position 0 at the start of each document; halves of a head are paired, as in Llama."""
    position = torch.cat([torch.arange(g.length, device=device).repeat(g.number) for g in groups])
    frequency = ROPE_BASE ** -(torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width)
    angle = (position[:, None].float() * frequency).repeat(1, 2)[:, None]
    return Rotation(angle.cos(), angle.sin(), (position > 0).float()[:, None, None])


class Attention(nn.Module):
    """Causal attention with rotary positions and, where asked for, smeared keys.

    k_t <- (1 - a) k_t + a k_(t-1), one learnt a per head, before the rotation (Olsson et al. 2022, arXiv 2209.11895,
    "smeared keys"): it lets one layer find what followed an earlier likeness of the current token.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = residual(nn.Linear(config.width, config.width, bias=False), depth=config.depth)
        self.smear = nn.Parameter(torch.full((config.num_heads,), SMEAR_LOGIT)) if config.keys is Keys.SMEARED else None

    def forward(self, x: Tensor, *, groups: Sequence[Group], where: Rotation) -> Tensor:
        """[T, D] -> [T, D]"""
        heads = self.num_heads
        qkv = self.qkv(x).view(len(x), 3 * heads, -1)  # [T, 3 H, D/H]
        qk, v = qkv[:, : 2 * heads], qkv[:, 2 * heads :]
        if self.smear is not None:
            k = qk[:, heads:]
            share = torch.sigmoid(self.smear)[:, None] * where.has_previous  # [T, H, 1]
            qk = torch.cat((qk[:, :heads], torch.lerp(k, k.roll(1, 0), share)), 1)
        first, second = qk.chunk(2, -1)
        qk = qk * where.cos + torch.cat((-second, first), -1) * where.sin
        mixed, start = [], 0
        for number, length in groups:
            part = slice(start, start + number * length)
            start = part.stop
            q, k = qk[part].view(number, length, 2, heads, -1).permute(2, 0, 3, 1, 4)  # each [N, H, L, D/H]
            values = v[part].view(number, length, heads, -1).transpose(1, 2)
            y = F.scaled_dot_product_attention(q, k, values, is_causal=True)
            mixed.append(y.transpose(1, 2).reshape(number * length, -1))
        out: Tensor = self.out(torch.cat(mixed))
        return out


class Layer(nn.Module):
    """Pre-norm layer with a SwiGLU MLP (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.gate_up = nn.Linear(config.width, 2 * config.mlp_width, bias=False)
        self.down = residual(nn.Linear(config.mlp_width, config.width, bias=False), depth=config.depth)

    def forward(self, x: Tensor, *, groups: Sequence[Group], where: Rotation) -> Tensor:
        """[T, D] -> [T, D]"""
        x = x + self.attention(self.attention_norm(x), groups=groups, where=where)
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, -1)  # each [T, F]
        out: Tensor = self.down(F.silu(gate) * up)
        return x + out


class Decoder(nn.Module):
    """Llama (Touvron et al. 2023, arXiv 2302.13971), embeddings untied; with plain keys it computes exactly that."""

    def __init__(self, config: DecoderConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.head_width = config.width // config.num_heads
        self.embedding = nn.Embedding(vocabulary_size, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.final_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, vocabulary_size, bias=False)

    def forward(self, x: Tensor, *, groups: Sequence[Group]) -> Tensor:
        """Embedded tokens [T, D] -> hidden states [T, D]; `head` makes logits of those one needs."""
        where = rotation(groups, head_width=self.head_width, device=x.device)
        for layer in self.layers:
            x = layer(x, groups=groups, where=where)
        hidden: Tensor = self.final_norm(x)
        return hidden
