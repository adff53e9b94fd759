"""Pixels to patch features by convolutions on fine grids and attention on coarse ones: few features at a high resolution.

B images, C channels, S side in pixels, P = G x G patches, D width of a stage, E that of the last one.
"""

from math import lcm
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from model_zoo.encoders.encoder import EncoderPretrain, EncoderSettings, Objective
from model_zoo.fields import Count, nearest_multiples
from model_zoo.linear import LinearMap, layer_maps

if TYPE_CHECKING:
    from torch import Tensor, nn

KERNEL = 7
"""Side in places of the depthwise convolutions (ConvNeXt, arXiv 2201.03545, section 2.5)."""


class Hybrid(EncoderSettings):
    """Stages at ever coarser grids, each half as fine and twice as wide as the one before, after FastViTHD (FastVLM, arXiv 2412.13303,
    section 3.2), which is `patch_size: 64, depths: [2, 12, 24, 4, 2], width: 1536, attention_stages: 2, num_channels: 3`.

    A convolutional block is ConvNeXt's (arXiv 2201.03545, section 2.5): depthwise convolution, LayerNorm, two pointwise maps with a GELU
    between them. FastViTHD has RepMixer blocks there (FastViT, arXiv 2303.14189), which train several branches with batch norm and fold
    them into one convolution afterwards; here training and use are the same, and nothing looks at other images. An attention stage starts
    with a depthwise convolution that is added (conditional positions, arXiv 2102.10882), so nothing is tied to a resolution.
    """

    kind: Literal["hybrid"] = "hybrid"
    """Which encoder."""
    depths: Annotated[tuple[Count, ...], Field(min_length=2)] = (1, 2)
    """Blocks of each stage, the finest first; between stages the grid is halved."""
    attention_stages: Count = 1
    """How many of them, the last ones, have self-attention; those before are convolutional."""

    @field_validator("depths")
    @classmethod
    def _halves(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        patch, width, heads = (info.data.get(name) for name in ("patch_size", "width", "num_heads"))
        halvings = len(value) - 1
        if patch and patch % 2**halvings:
            raise ValueError(
                f"{len(value)} stages halve the grid {halvings} times, so patch_size is a multiple of {2**halvings}, "
                f"and it is {patch}: nearest {nearest_multiples(patch, 2**halvings)}"
            )
        if width and heads and width % 2**halvings:
            raise ValueError(
                f"each of {len(value)} stages is half as wide as the next, and the last one's width {width} cannot be halved {halvings} "
                f"times: nearest {nearest_multiples(width, lcm(heads, 2**halvings))}"
            )
        return value

    @field_validator("attention_stages")
    @classmethod
    def _has_both(cls, value: int, info: ValidationInfo) -> int:
        depths, width, heads = (info.data.get(name) for name in ("depths", "width", "num_heads"))
        if not depths:
            return value
        if value >= len(depths):
            raise ValueError(f"{value} attention stages of {len(depths)} leave none for convolutions: at most {len(depths) - 1}")
        if width and heads and (width // 2 ** (value - 1)) % heads:
            divisor = lcm(heads * 2 ** (value - 1), 2 ** (len(depths) - 1))
            raise ValueError(
                f"the first of {value} attention stages is {width // 2 ** (value - 1)} wide, not divisible by {heads} heads: "
                f"nearest width {nearest_multiples(width, divisor)}"
            )
        return value

    @field_validator("pretrain")
    @classmethod
    def _sees_what_is_foretold(cls, value: EncoderPretrain) -> EncoderPretrain:
        if value.objective is Objective.RECONSTRUCTIVE:
            raise ValueError(
                "reconstructive foretells each patch from those before it, and the convolutions of hybrid look at the ones after it too: "
                "use objective contrastive or none, or kind vit"
            )
        return value

    @property
    def widths(self) -> tuple[int, ...]:
        """Of each stage."""
        return tuple(self.width >> halvings for halvings in reversed(range(len(self.depths))))

    @property
    def stem_size(self) -> int:
        """Side in pixels of a place of the first stage's grid."""
        return self.patch_size >> len(self.depths) - 1

    @property
    def num_params(self) -> int:
        """All of them."""
        (first, *_), last = self.widths, self.width
        total = (self.num_channels * self.stem_size**2 + 1) * first + 2 * first + 2 * last  # the stem and its norm, the last norm
        for stage, (depth, d) in enumerate(zip(self.depths, self.widths, strict=True)):
            if stage:
                total += 2 * d**2 + 2 * d  # norm d, 2 x 2 convolution 2 d^2 + d
            if self._attends(stage):
                total += (KERNEL**2 + 1) * d + depth * (12 * d**2 + 13 * d)  # positions; layers as in a ViT
            else:
                total += depth * ((KERNEL**2 + 1) * d + 2 * d + 8 * d**2 + 5 * d)  # depthwise, norm, pointwise maps
        return total

    @property
    def forward_flops(self) -> float:
        """Of one image; what counts is said in `model_zoo.flops`."""
        total = 0.0
        for stage, (depth, d) in enumerate(zip(self.depths, self.widths, strict=True)):
            p = self._places(stage)
            total += 2.0 * p * d * (2 * d if stage else self.num_channels * self.stem_size**2)
            if self._attends(stage):
                total += 2.0 * p * d * (KERNEL**2 + depth * (12 * d + 2 * p))
            else:
                total += 2.0 * p * d * depth * (KERNEL**2 + 8 * d)
        return total

    @property
    def attention_flops(self) -> float:
        stages = enumerate(zip(self.depths, self.widths, strict=True))
        return sum(4.0 * depth * self._places(stage) ** 2 * d for stage, (depth, d) in stages if self._attends(stage))

    @property
    def linear_maps(self) -> tuple[LinearMap, ...]:
        found = list[LinearMap]()
        for stage, (depth, d) in enumerate(zip(self.depths, self.widths, strict=True)):
            maps = layer_maps(d, number=depth, passes=depth * self._places(stage))
            found += maps if self._attends(stage) else maps[2:]  # the MLP's alone
        return tuple(found)

    @property
    def numbers_kept(self) -> float:
        """Of one image, for the backward pass.

        In widths per place: 11 a convolutional block (convolution 1, norm 2, MLP 8), 16 a layer as in a ViT, and 1 for added positions;
        4 where the grid is halved (norm 2 and convolution 2, of four places half as wide), 1 for the stem's norm and 1 for the last.
        """
        total = float(self.num_patches * self.width)
        for stage, (depth, d) in enumerate(zip(self.depths, self.widths, strict=True)):
            blocks = 16 * depth + 1 if self._attends(stage) else 11 * depth
            total += self._places(stage) * d * (blocks + (4 if stage else 1))
        return total

    def build(self) -> "nn.Module":
        from torch import nn

        from model_zoo.encoders.convolution import AttentionStage, Coarser, ConvBlock
        from model_zoo.encoders.grid import with_channels

        config = self

        class HybridEncoder(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                first, size = config.widths[0], config.stem_size
                self.stem = nn.Conv2d(config.num_channels, first, size, stride=size)
                self.stem_norm = nn.LayerNorm(first)
                self.stages = nn.Sequential()
                for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
                    if stage:
                        self.stages.append(Coarser(width))
                    if config._attends(stage):
                        self.stages.append(AttentionStage(width, kernel=KERNEL, num_heads=config.num_heads, depth=depth))
                    else:
                        self.stages.extend(ConvBlock(width, kernel=KERNEL, depth=depth) for _ in range(depth))
                self.final_norm = nn.LayerNorm(config.width)

            def forward(self, pixels: "Tensor") -> "Tensor":
                pixels = with_channels(pixels, num_channels=config.num_channels, image_size=config.image_size)
                x = self.stem_norm(self.stem(pixels).permute(0, 2, 3, 1))
                features: Tensor = self.final_norm(self.stages(x)).flatten(1, 2)
                return features

        return HybridEncoder()

    def _attends(self, stage: int) -> bool:
        return stage >= len(self.depths) - self.attention_stages

    def _places(self, stage: int) -> int:
        """Of a stage's grid."""
        return (self.image_size // (self.stem_size << stage)) ** 2
