"""Patch features to visual tokens by learnt queries.

M images, P patches, E width of the encoder, Q visual tokens, D width of the decoder, H heads.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from model_zoo.connectors.connector import ConnectorSettings, Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

NUM_HEADS = 2


class AttentionPool(ConnectorSettings):
    """Q learnable queries attend to the patches, then a projection (MM1, arXiv 2403.09611, section 3.1)."""

    kind: Literal["attention_pool"] = "attention_pool"
    """Which connector."""

    def reachable_tokens(self, grid: int) -> Sequence[int]:
        return range(1, grid**2 + 1)

    def num_params(self, shape: Shape) -> int:
        e = shape.encoder_width
        return self.num_tokens * e + 2 * e + 2 * (e**2 + e) + e**2 + e + (e + 1) * shape.width

    def forward_flops(self, shape: Shape) -> float:
        p, q, e = shape.num_patches, self.num_tokens, shape.encoder_width
        return 2.0 * q * e * shape.width + 2 * (p * 2 * e**2 + 2 * q * p * e + q * e**2)

    def numbers_kept(self, shape: Shape) -> float:
        return (4 * shape.num_patches + 2 * self.num_tokens) * shape.encoder_width

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn
        from torch.nn import functional as F

        from model_zoo.initial import embedding, into_stream

        encoder_width = shape.encoder_width

        class Pool(nn.Module):
            def __init__(self, num_tokens: int) -> None:
                super().__init__()
                self.num_heads = NUM_HEADS if encoder_width % NUM_HEADS == 0 else 1
                self.query = embedding(num_tokens, encoder_width)
                self.norm = nn.LayerNorm(encoder_width)
                self.keys_values = nn.Linear(encoder_width, 2 * encoder_width)
                self.attention_out = nn.Linear(encoder_width, encoder_width)
                self.project = into_stream(nn.Linear(encoder_width, shape.width))

            def forward(self, features: "Tensor") -> "Tensor":
                m, p, e = features.shape
                heads, size = self.num_heads, e // self.num_heads
                k, v = self.keys_values(self.norm(features)).view(m, p, 2, heads, size).permute(2, 0, 3, 1, 4)  # [M, H, P, E/H]
                q = self.query.view(-1, heads, size).transpose(0, 1).expand(m, -1, -1, -1)  # [M, H, Q, E/H]
                mixed = F.scaled_dot_product_attention(q, k, v)
                tokens: Tensor = self.project(self.attention_out(mixed.transpose(1, 2).reshape(m, -1, e)))
                return tokens

        return Pool(self.num_tokens)
