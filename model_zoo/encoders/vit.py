"""Pixels to patch features.

B images, S side in pixels, P patches, p side of a patch, D width, H heads.
"""

from math import isqrt

from torch import Tensor, nn
from torch.nn import functional as F

from model_zoo.encoders.encoder import Encoder
from model_zoo.initial import embedding, residual

MLP_RATIO = 4
"""Hidden width of a layer's MLP over its own width."""


class Layer(nn.Module):
    """Pre-norm transformer layer with attention in both directions."""

    def __init__(self, width: int, *, num_heads: int, depth: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = residual(nn.Linear(width, width), depth=depth)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, MLP_RATIO * width)
        self.mlp_out = residual(nn.Linear(MLP_RATIO * width, width), depth=depth)

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """[B, P, D] -> [B, P, D]; mask [B, 1, P, P]: who sees whom, everybody everybody without one"""
        b, p, d = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(b, p, 3, self.num_heads, d // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, P, D/H]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(b, p, d))
        # exact GELU: on CPU the tanh approximation costs five times as much
        hidden: Tensor = self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x))))
        return x + hidden


class VisionTransformer(nn.Module):
    """Dosovitskiy et al. 2020 (arXiv 2010.11929, section 3.1), without a class token: the patches are the output."""

    def __init__(self, config: Encoder) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.image_size = config.image_size
        self.num_patches = config.num_patches
        self.patch_embedding = nn.Linear(config.patch_size**2, config.width)
        self.position_embedding = embedding(config.num_patches, config.width)
        layers = (Layer(config.width, num_heads=config.num_heads, depth=config.depth) for _ in range(config.depth))
        self.layers = nn.ModuleList(layers)
        self.final_norm = nn.LayerNorm(config.width)

    def forward(self, pixels: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """[B, S, S] -> [B, P, D]; patches row by row, mask [B, 1, P, P] of who sees whom"""
        if pixels.shape[1:] != (self.image_size, self.image_size):
            raise ValueError(f"encoder: images are {tuple(pixels.shape[1:])}, the config says {self.image_size} px a side")
        x: Tensor = self.patch_embedding(to_patches(pixels, side=self.patch_size)) + self.position_embedding
        for layer in self.layers:
            x = layer(x, mask=mask)
        features: Tensor = self.final_norm(x)
        return features


def to_patches(pixels: Tensor, *, side: int) -> Tensor:
    """[B, S, S] -> [B, P, side^2], row by row."""
    b, grid = len(pixels), pixels.shape[1] // side
    return pixels.view(b, grid, side, grid, side).transpose(2, 3).reshape(b, grid * grid, side * side)


def resize_positions(positions: Tensor, *, num_patches: int) -> Tensor:
    """[P, D] of one square grid -> [num_patches, D] of another, bicubic (ViT, arXiv 2010.11929, section 3.2)."""
    if len(positions) == num_patches:
        return positions
    before, after = isqrt(len(positions)), isqrt(num_patches)
    grid = positions.T.reshape(1, -1, before, before)
    resized = F.interpolate(grid, size=(after, after), mode="bicubic", align_corners=False)
    return resized[0].flatten(1).T.contiguous()
