"""Patch features to visual tokens by convolutions around a pooling, which keeps neighbours together.

M images, P = G x G patches, E width of the encoder, Q = s x s visual tokens, D width of the decoder.
"""

from math import isqrt

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Bottleneck block of ResNet with a depthwise 3 x 3, as Honeybee takes it from RegNet (arXiv 2003.13678).

    Without squeeze-and-excitation, and with a LayerNorm over channels after each convolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.point_in = nn.Linear(width, width)  # a 1 x 1 convolution with the channels last
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.point_out = nn.Linear(width, width)
        self.norm_in, self.norm_depthwise, self.norm_out = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """[M, G, G, E] -> [M, G, G, E]"""
        y = F.silu(self.norm_in(self.point_in(x)))
        y = self.depthwise(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y = self.norm_out(self.point_out(F.silu(self.norm_depthwise(y))))
        return F.silu(x + y)


class CAbstractor(nn.Module):
    """Cha et al. 2023, Honeybee (arXiv 2312.06742, section 3.2): blocks, adaptive average pooling, blocks, projection.

    One block on each side where Honeybee has three: its encoder is a hundred times wider.
    """

    def __init__(self, encoder_width: int, *, num_tokens: int, width: int) -> None:
        super().__init__()
        self.side = isqrt(num_tokens)
        self.before = Block(encoder_width)
        self.after = Block(encoder_width)
        self.project = nn.Linear(encoder_width, width)

    def forward(self, features: Tensor) -> Tensor:
        """[M, P, E] -> [M, Q, D]"""
        m, p, e = features.shape
        grid = self.before(features.view(m, isqrt(p), isqrt(p), e))
        pooled = F.adaptive_avg_pool2d(grid.permute(0, 3, 1, 2), self.side).permute(0, 2, 3, 1)  # [M, s, s, E]
        tokens: Tensor = self.project(self.after(pooled).reshape(m, -1, e))
        return tokens
