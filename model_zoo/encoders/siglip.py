"""Pixels to patch features by the vision tower of SigLIP.

B images, C channels, S side in pixels, P patches, p side of a patch, D width, F hidden size of an MLP.
"""

from typing import TYPE_CHECKING, Literal

from model_zoo.encoders.from_transformers import FromTransformers
from model_zoo.linear import LinearMap

if TYPE_CHECKING:
    from torch import nn


class Siglip(FromTransformers):
    """Zhai et al. 2023 (arXiv 2303.15343) as `transformers` has it: patches alone, a norm after the layers.

    The features are the patches after the last layer and that norm, which is what the tower's pooling head reads. The head is not built.
    """

    kind: Literal["siglip"] = "siglip"
    """Which encoder."""

    @property
    def num_params(self) -> int:
        """All of them."""
        d = self.width
        patches = (self.num_channels * self.patch_size**2 + 1) * d
        return patches + self.num_patches * d + self.depth * self.layer_params + 2 * d

    @property
    def forward_flops(self) -> float:
        """Of one image; what counts is said in `model_zoo.flops`."""
        return self.patch_flops + self.depth * self.layer_flops(self.num_patches)

    @property
    def attention_flops(self) -> float:
        return self.depth * self.layer_attention_flops(self.num_patches)

    @property
    def linear_maps(self) -> tuple[LinearMap, ...]:
        return self.layer_maps(self.num_patches, depth=self.depth)

    @property
    def numbers_kept(self) -> float:
        """Of one image, for the backward pass: per patch and layer 8 widths (norms 2, attention 5, MLP 1) and the MLP 2 of its own."""
        return self.num_patches * (self.depth * (8 * self.width + 2 * self.mlp_width) + self.width)

    def build(self) -> "nn.Module":
        from transformers import SiglipVisionConfig, SiglipVisionModel

        from model_zoo.hub import build_body

        config = self.config_of(SiglipVisionConfig)
        config.vision_use_head = False
        return self.wrap(build_body(SiglipVisionModel, config, self), num_extra=0)
