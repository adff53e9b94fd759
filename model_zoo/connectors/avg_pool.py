"""Patch features to visual tokens by averaging.

M images, P = G x G patches, E width of the encoder, Q = s x s visual tokens, D width of the decoder.
"""

from math import isqrt

from torch import Tensor, nn
from torch.nn import functional as F


class AveragePool(nn.Module):
    """Average pooling and a linear projection (MM1, arXiv 2403.09611, section 3.1, "average pooling")."""

    def __init__(self, encoder_width: int, *, num_tokens: int, width: int) -> None:
        super().__init__()
        self.side = isqrt(num_tokens)
        self.project = nn.Linear(encoder_width, width)

    def forward(self, features: Tensor) -> Tensor:
        """[M, P, E] -> [M, Q, D]"""
        m, p, e = features.shape
        grid = features.transpose(1, 2).view(m, e, isqrt(p), isqrt(p))
        pooled = F.adaptive_avg_pool2d(grid, self.side)  # windows overlap where s does not divide G
        tokens: Tensor = self.project(pooled.flatten(2).transpose(1, 2))
        return tokens
