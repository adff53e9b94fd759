"""Pixels to patch features by attention alone.

B images, C channels, S side in pixels, P patches, p side of a patch, D width.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from model_zoo.encoders.encoder import EncoderSettings
from model_zoo.fields import Count
from model_zoo.linear import LinearMap, layer_maps

if TYPE_CHECKING:
    from torch import Tensor, nn


class ViT(EncoderSettings):
    """Dosovitskiy et al. 2020 (arXiv 2010.11929, section 3.1), without a class token: the patches are the output."""

    kind: Literal["vit"] = Field(default="vit", exclude_if=lambda value: value == "vit")
    """Which encoder."""
    depth: Count = 2
    """Transformer layers."""

    @property
    def num_params(self) -> int:
        """All of them."""
        d = self.width
        layer = 12 * d**2 + 13 * d  # attention 4 d^2 + 4 d, MLP 8 d^2 + 5 d, two norms 4 d
        patches = (self.num_channels * self.patch_size**2 + 1) * d
        return patches + self.num_patches * d + self.depth * layer + 2 * d

    @property
    def forward_flops(self) -> float:
        """Of one image; what counts is said in `model_zoo.flops`."""
        d, p = self.width, self.num_patches
        return 2.0 * p * d * (self.num_channels * self.patch_size**2 + self.depth * (12 * d + 2 * p))

    @property
    def attention_flops(self) -> float:
        return 4.0 * self.depth * self.num_patches**2 * self.width

    @property
    def linear_maps(self) -> tuple[LinearMap, ...]:
        d, p = self.width, self.num_patches
        patches = LinearMap(self.num_channels * self.patch_size**2, d, number=1, passes=p)
        return (patches, *layer_maps(d, number=self.depth, passes=self.depth * p))

    @property
    def numbers_kept(self) -> float:
        """Of one image, for the backward pass: per patch and layer 16 widths (norms 2, attention 5, MLP 8, norm statistics)."""
        return self.num_patches * self.width * (16 * self.depth + 1)

    def build(self) -> "nn.Module":
        from torch import nn

        from model_zoo.encoders.grid import interpolated, to_patches, with_channels
        from model_zoo.encoders.transformer import Layer
        from model_zoo.initial import embedding

        config = self

        class VisionTransformer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.patch_embedding = nn.Linear(config.num_channels * config.patch_size**2, config.width)
                self.position_embedding = embedding(config.num_patches, config.width)
                layers = (Layer(config.width, num_heads=config.num_heads, depth=config.depth) for _ in range(config.depth))
                self.layers = nn.ModuleList(layers)
                self.final_norm = nn.LayerNorm(config.width)
                interpolated(self, "position_embedding", num_patches=config.num_patches)

            def forward(self, pixels: "Tensor", *, mask: "Tensor | None" = None) -> "Tensor":
                """mask [B, 1, P, P]: who sees whom, everybody everybody without one"""
                pixels = with_channels(pixels, num_channels=config.num_channels, image_size=config.image_size)
                x: Tensor = self.patch_embedding(to_patches(pixels, side=config.patch_size)) + self.position_embedding
                for layer in self.layers:
                    x = layer(x, mask=mask)
                features: Tensor = self.final_norm(x)
                return features

        return VisionTransformer()
