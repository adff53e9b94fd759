"""What the vision transformers of `transformers` have in common: settings, the costs of a layer, how a checkpoint is named and read."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field, field_validator

from model_zoo.encoders.encoder import EncoderPretrain, EncoderSettings, Objective
from model_zoo.fields import Count, FromCheckpoint
from model_zoo.linear import LinearMap

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedConfig, PreTrainedModel

Made = TypeVar("Made", bound="PreTrainedConfig")


class FromTransformers(EncoderSettings, FromCheckpoint):
    """Drawn by the seed, or a checkpoint's."""

    depth: Count = 2
    """Transformer layers."""
    intermediate_size: Count | None = Field(default=None, exclude_if=lambda value: value is None)
    """Hidden size of a layer's MLP; left out, four times the width."""

    @field_validator("pretrain")
    @classmethod
    def _sees_what_is_foretold(cls, value: EncoderPretrain) -> EncoderPretrain:
        if value.objective is Objective.RECONSTRUCTIVE:
            raise ValueError(
                "reconstructive foretells each patch from those before it, and here each patch sees all others: "
                "use objective contrastive or none, or kind vit"
            )
        return value

    @property
    def mlp_width(self) -> int:
        """Four times the width, unless it is given."""
        return self.intermediate_size or 4 * self.width

    @property
    def sizes(self) -> dict[str, int]:
        """As the config classes of `transformers` name them."""
        return {
            "hidden_size": self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.num_heads,
            "intermediate_size": self.mlp_width,
            "patch_size": self.patch_size,
            "num_channels": self.num_channels,
        }

    @property
    def layer_params(self) -> int:
        """Of one layer: attention 4 d^2 + 4 d, MLP 2 d f + f + d, two norms 4 d."""
        d, f = self.width, self.mlp_width
        return 4 * d**2 + 2 * d * f + 9 * d + f

    def layer_flops(self, num_tokens: int) -> float:
        """Of one layer over one image."""
        return 2.0 * num_tokens * self.width * (4 * self.width + 2 * self.mlp_width + 2 * num_tokens)

    def layer_attention_flops(self, num_tokens: int) -> float:
        """Those of it that no weight takes part in."""
        return 4.0 * num_tokens**2 * self.width

    def layer_maps(self, num_tokens: int, *, depth: int) -> tuple[LinearMap, ...]:
        """Of so many layers: queries, keys, values and what is mixed; the MLP's two."""
        shapes = ((self.width, self.width, 4), (self.width, self.mlp_width, 1), (self.mlp_width, self.width, 1))
        return tuple(LinearMap(inputs, outputs, each * depth, each * depth * num_tokens) for inputs, outputs, each in shapes)

    @property
    def patch_flops(self) -> float:
        """Of the convolution that makes patches of one image."""
        return 2.0 * self.num_patches * self.width * self.num_channels * self.patch_size**2

    def config_of(self, make: "Callable[..., Made]") -> "Made":
        """The checkpoint's, with positions for images of our size; without one, the family's defaults with our sizes. No dropout."""
        if self.pretrained:
            from model_zoo.hub import read_config

            config = read_config(self, make=make, expected=self.sizes)
        else:
            config = make(**self.sizes)
        config.update({"image_size": self.image_size, "attention_dropout": 0.0})
        return config

    def wrap(self, body: "PreTrainedModel", *, num_extra: int) -> "nn.Module":
        """`body` of `transformers`, whose first `num_extra` tokens are no patches, as an encoder of the zoo."""
        import torch
        from torch import nn

        from model_zoo.encoders.grid import interpolated, with_channels
        from model_zoo.initial import residual

        settings, normalisation = self, None
        if self.pretrained:
            from model_zoo.hub import read_normalisation

            normalisation = read_normalisation(self, num_channels=self.num_channels)

        class VisionTransformer(nn.Module):
            scale: "Tensor | None"
            shift: "Tensor | None"

            def __init__(self) -> None:
                super().__init__()
                self.body = body
                for name, module in body.named_modules():
                    if name.endswith((".out_proj", ".fc2")) and isinstance(module, nn.Linear):
                        residual(module, depth=body.config.num_hidden_layers)
                self.register_buffer("scale", None, persistent=False)
                self.register_buffer("shift", None, persistent=False)
                interpolated(self, "body.embeddings.position_embedding.weight", num_patches=settings.num_patches, num_extra=num_extra)

            def normalised_by(self, mean: float, deviation: float) -> None:
                """What its pixels are given as; where the checkpoint says that it was trained on others, they become those."""
                if normalisation is not None:
                    theirs, width = (torch.tensor(values)[:, None, None] for values in normalisation)
                    self.scale, self.shift = deviation / width, (mean - theirs) / width

            def forward(self, pixels: "Tensor") -> "Tensor":
                pixels = with_channels(pixels, num_channels=settings.num_channels, image_size=settings.image_size)
                if self.scale is not None and self.shift is not None:
                    pixels = pixels * self.scale + self.shift
                features: Tensor = self.body(pixel_values=pixels).last_hidden_state[:, num_extra:]
                return features

        return VisionTransformer()
