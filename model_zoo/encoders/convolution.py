"""The blocks on grids that the hybrid encoder is made of.

B images, P = G x G patches, D width.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from model_zoo.encoders.transformer import MLP_RATIO, Layer
from model_zoo.initial import residual


class ConvBlock(nn.Module):
    """ConvNeXt's block: places mix by a depthwise convolution, features by an MLP."""

    def __init__(self, width: int, *, kernel: int, depth: int) -> None:
        super().__init__()
        self.depthwise = _depthwise(width, kernel=kernel)
        self.norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, MLP_RATIO * width)
        self.mlp_out = residual(nn.Linear(MLP_RATIO * width, width), depth=depth)

    def forward(self, x: Tensor) -> Tensor:
        """[B, G, G, D] -> [B, G, G, D]"""
        hidden: Tensor = self.mlp_out(F.gelu(self.mlp_in(self.norm(_over_grid(self.depthwise, x)))))
        return x + hidden


class AttentionStage(nn.Module):
    """Conditional positions, then transformer layers."""

    def __init__(self, width: int, *, kernel: int, num_heads: int, depth: int) -> None:
        super().__init__()
        self.positions = _depthwise(width, kernel=kernel)
        self.layers = nn.Sequential(*(Layer(width, num_heads=num_heads, depth=depth) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, G, G, D] -> [B, G, G, D]"""
        x = x + _over_grid(self.positions, x)
        mixed: Tensor = self.layers(x.flatten(1, 2))  # [B, P, D]
        return mixed.view(x.shape)


class Coarser(nn.Module):
    """Four places become one, twice as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width // 2)
        self.convolution = nn.Conv2d(width // 2, width, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, G, G, D / 2] -> [B, G / 2, G / 2, D]"""
        return _over_grid(self.convolution, self.norm(x))


def _depthwise(width: int, *, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)


def _over_grid(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """[B, G, G, D] -> [B, G', G', D']; maps and norms want the channels last, convolutions first"""
    moved: Tensor = convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return moved
