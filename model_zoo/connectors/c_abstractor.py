"""Patch features to visual tokens by convolutions around a pooling, which keeps neighbours together.

M images, P = G x G patches, E width of the encoder, Q = s x s visual tokens, D width of the decoder.
"""

from math import isqrt
from typing import TYPE_CHECKING, Literal

from model_zoo.connectors.connector import ConnectorSettings, Shape, squares

if TYPE_CHECKING:
    from torch import Tensor, nn


class CAbstractor(ConnectorSettings):
    """Cha et al. 2023, Honeybee (arXiv 2312.06742, section 3.2): blocks, adaptive average pooling, blocks, projection.

    One block on each side where Honeybee has three: its encoder is a hundred times wider. A block is the bottleneck block of ResNet with a
    depthwise 3 x 3, as Honeybee takes it from RegNet (arXiv 2003.13678), without squeeze-and-excitation, and with a LayerNorm over channels
    after each convolution.
    """

    kind: Literal["c_abstractor"] = "c_abstractor"
    """Which connector."""

    def reachable_tokens(self, grid: int) -> list[int]:
        return squares(grid)

    def num_params(self, shape: Shape) -> int:
        e = shape.encoder_width
        return 2 * (2 * (e**2 + e) + 10 * e + 6 * e) + (e + 1) * shape.width  # two blocks: two 1 x 1, one 3 x 3, three norms

    def forward_flops(self, shape: Shape) -> float:
        q, e = self.num_tokens, shape.encoder_width
        return 2.0 * q * e * shape.width + 2 * (shape.num_patches + q) * (2 * e**2 + 9 * e)

    def numbers_kept(self, shape: Shape) -> float:
        return 10 * (shape.num_patches + self.num_tokens) * shape.encoder_width

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn
        from torch.nn import functional as F

        from model_zoo.initial import into_stream

        encoder_width = shape.encoder_width

        class Block(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.point_in = nn.Linear(encoder_width, encoder_width)  # a 1 x 1 convolution with the channels last
                self.depthwise = nn.Conv2d(encoder_width, encoder_width, 3, padding=1, groups=encoder_width)
                self.point_out = nn.Linear(encoder_width, encoder_width)
                self.norm_in, self.norm_depthwise, self.norm_out = (nn.LayerNorm(encoder_width) for _ in range(3))

            def forward(self, x: "Tensor") -> "Tensor":
                """[M, G, G, E] -> [M, G, G, E]"""
                y = F.silu(self.norm_in(self.point_in(x)))
                y = self.depthwise(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
                y = self.norm_out(self.point_out(F.silu(self.norm_depthwise(y))))
                return F.silu(x + y)

        class Abstractor(nn.Module):
            def __init__(self, side: int) -> None:
                super().__init__()
                self.side = side
                self.before, self.after = Block(), Block()
                self.project = into_stream(nn.Linear(encoder_width, shape.width))

            def forward(self, features: "Tensor") -> "Tensor":
                m, p, e = features.shape
                grid = self.before(features.view(m, isqrt(p), isqrt(p), e))
                pooled = F.adaptive_avg_pool2d(grid.permute(0, 3, 1, 2), self.side).permute(0, 2, 3, 1)  # [M, s, s, E]
                tokens: Tensor = self.project(self.after(pooled).reshape(m, -1, e))
                return tokens

        return Abstractor(isqrt(self.num_tokens))
