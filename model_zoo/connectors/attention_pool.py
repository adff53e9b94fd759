"""Patch features to visual tokens by learnt queries.

M images, P patches, E width of the encoder, Q visual tokens, D width of the decoder, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NUM_HEADS = 2


class AttentionPool(nn.Module):
    """Q learnable queries attend to the patches, then a projection (MM1, arXiv 2403.09611, section 3.1)."""

    def __init__(self, encoder_width: int, *, num_tokens: int, width: int) -> None:
        super().__init__()
        self.num_heads = NUM_HEADS if encoder_width % NUM_HEADS == 0 else 1
        self.query = nn.Parameter(torch.empty(num_tokens, encoder_width))
        self.norm = nn.LayerNorm(encoder_width)
        self.keys_values = nn.Linear(encoder_width, 2 * encoder_width)
        self.attention_out = nn.Linear(encoder_width, encoder_width)
        self.project = nn.Linear(encoder_width, width)

    def forward(self, features: Tensor) -> Tensor:
        """[M, P, E] -> [M, Q, D]"""
        m, p, e = features.shape
        heads, size = self.num_heads, e // self.num_heads
        k, v = self.keys_values(self.norm(features)).view(m, p, 2, heads, size).permute(2, 0, 3, 1, 4)  # [M, H, P, E/H]
        q = self.query.view(-1, heads, size).transpose(0, 1).expand(m, -1, -1, -1)  # [M, H, Q, E/H]
        mixed = F.scaled_dot_product_attention(q, k, v)
        tokens: Tensor = self.project(self.attention_out(mixed.transpose(1, 2).reshape(m, -1, e)))
        return tokens
