"""Pixels to patch features by the vision tower of CLIP.

B images, C channels, S side in pixels, P patches, p side of a patch, D width, F hidden size of an MLP.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from model_zoo.encoders.from_transformers import FromTransformers
from model_zoo.linear import LinearMap

if TYPE_CHECKING:
    from torch import nn


class Clip(FromTransformers):
    """Radford et al. 2021 (arXiv 2103.00020, section 2.4) as `transformers` has it: a class token beside the patches, a norm before layers.

    The features are the patches after the layer before the last, without the class token, as LLaVA has them in `transformers` (LlavaConfig:
    `vision_feature_layer` -2, `vision_feature_select_strategy` "default"). CLIP itself reads the last layer at the class token alone. That
    layer and the norm after it are not built, and no part of the costs.
    """

    kind: Literal["clip"] = "clip"
    """Which encoder."""
    depth: Annotated[int, Field(strict=True, ge=2)] = 2
    """Transformer layers of the whole tower; images go through all but the last of them."""

    @property
    def num_params(self) -> int:
        """All of them."""
        d = self.width
        patches = self.num_channels * self.patch_size**2 * d
        positions = (self.num_patches + 1) * d
        return patches + d + positions + 2 * d + (self.depth - 1) * self.layer_params

    @property
    def forward_flops(self) -> float:
        """Of one image; what counts is said in `model_zoo.flops`."""
        return self.patch_flops + (self.depth - 1) * self.layer_flops(self.num_patches + 1)

    @property
    def attention_flops(self) -> float:
        return (self.depth - 1) * self.layer_attention_flops(self.num_patches + 1)

    @property
    def linear_maps(self) -> tuple[LinearMap, ...]:
        return self.layer_maps(self.num_patches + 1, depth=self.depth - 1)

    @property
    def numbers_kept(self) -> float:
        """Of one image, for the backward pass: per token and layer 8 widths (norms 2, attention 5, the MLP's input 1) and the MLP 3 of its
        own, because its GELU is x sigmoid(1.702 x); and the norm before the layers."""
        of_token = (self.depth - 1) * (8 * self.width + 3 * self.mlp_width) + 2 * self.width
        return (self.num_patches + 1) * of_token

    def build(self) -> "nn.Module":
        from torch import nn
        from transformers import CLIPVisionConfig, CLIPVisionModel

        from model_zoo.hub import build_body
        from model_zoo.initial import embedding

        config = self.config_of(CLIPVisionConfig)
        config.num_hidden_layers = self.depth - 1
        body = build_body(CLIPVisionModel, config, self)
        body.set_submodule("post_layernorm", nn.Identity())  # of the class token after the last layer
        body.embeddings.class_embedding = embedding(self.width)  # drawn by the seed
        return self.wrap(body, num_extra=1)
