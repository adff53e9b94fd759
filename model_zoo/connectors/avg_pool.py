"""Patch features to visual tokens by averaging.

M images, P = G x G patches, E width of the encoder, Q = s x s visual tokens, D width of the decoder.
"""

from math import isqrt
from typing import TYPE_CHECKING, Literal

from model_zoo.connectors.connector import ConnectorSettings, Shape, squares

if TYPE_CHECKING:
    from torch import Tensor, nn


class AvgPool(ConnectorSettings):
    """Average pooling and a linear map (MM1, arXiv 2403.09611, section 3.1, "average pooling").

    With as many tokens as patches nothing is averaged: LLaVA's linear projection (arXiv 2304.08485, section 4.1).
    """

    kind: Literal["avg_pool"] = "avg_pool"
    """Which connector."""

    def reachable_tokens(self, grid: int) -> list[int]:
        return squares(grid)

    def num_params(self, shape: Shape) -> int:
        return (shape.encoder_width + 1) * shape.width

    def forward_flops(self, shape: Shape) -> float:
        return 2.0 * self.num_tokens * shape.encoder_width * shape.width

    def numbers_kept(self, shape: Shape) -> float:
        return self.num_tokens * shape.encoder_width

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn
        from torch.nn import functional as F

        from model_zoo.initial import into_stream

        class AveragePool(nn.Module):
            def __init__(self, side: int) -> None:
                super().__init__()
                self.side = side
                self.project = into_stream(nn.Linear(shape.encoder_width, shape.width))

            def forward(self, features: "Tensor") -> "Tensor":
                m, p, e = features.shape
                grid = features.transpose(1, 2).view(m, e, isqrt(p), isqrt(p))
                pooled = F.adaptive_avg_pool2d(grid, self.side)  # windows overlap where s does not divide G
                tokens: Tensor = self.project(pooled.flatten(2).transpose(1, 2))
                return tokens

        return AveragePool(isqrt(self.num_tokens))
