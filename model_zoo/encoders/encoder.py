"""What every encoder says of itself, how it is trained before the decoder sees it, and what that costs; nothing heavy is imported.

The settings plan without torch; `build` is the only method that needs it.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, ValidationInfo, field_validator

from model_zoo.data.settings import AltText
from model_zoo.data.vocabulary import NUM_DIGITS, NUM_PLACES, NUM_WORDS
from model_zoo.fields import Count, NonNegativeInt, Pixels, Positive, Settings, Training, nearest_multiples
from model_zoo.linear import LinearMap

if TYPE_CHECKING:
    from torch import nn

HEAD_BLOCKS = 2
"""Blocks of the head that foretells patches."""


class Objective(StrEnum):
    """How the vision encoder is trained before the decoder sees it."""

    CONTRASTIVE = "contrastive"
    """Images against their captions (CLIP, arXiv 2103.00020)."""
    RECONSTRUCTIVE = "reconstructive"
    """Patches in raster order, each from those before it, without captions (AIM, arXiv 2401.08541)."""
    NONE = "none"
    """Not at all: the trial has no encoder stage and starts from random weights."""


class Features(StrEnum):
    """Where a trial has the features of a frozen encoder from. The numbers are the same, so it is no part of what a stage is."""

    COMPUTED = "computed"
    """It computes them itself, before its first step."""
    CACHED = "cached"
    """From a stage of their own, `features`, whose artefact all trials of one seed share that agree on encoder and pictures."""


class EncoderPretrain(Settings):
    """The encoder stage. Its seed is its own unless said otherwise, so that all trials that agree on the encoder share one."""

    objective: Objective = Objective.CONTRASTIVE
    """`contrastive`, `reconstructive` or `none`."""
    steps: Count = 300
    """Optimizer steps."""
    batch_size: Annotated[int, Field(strict=True, ge=2)] = 96
    """Images a step; `contrastive` sets each against the captions of all the others."""
    learning_rate: Positive = 2e-3
    """Peak rate of AdamW."""
    seed: NonNegativeInt | None = 0
    """Seed of weights and images of this stage; `null`: the trial's own, so that each seed has an encoder of its own and what encoders
    differ by is in the intervals."""
    resolution: Pixels | None = None
    """Side of its images in pixels where that is another one; position embeddings, where there are any, are interpolated afterwards."""
    alt_text: AltText | None = Field(default=None, exclude_if=lambda value: value is None)
    """Of `contrastive`: noise in its captions, and how many are rewritten; left out, every caption says what is in its picture."""

    @field_validator("alt_text")
    @classmethod
    def _captions_are_read(cls, value: AltText | None, info: ValidationInfo) -> AltText | None:
        objective = info.data.get("objective")
        if value and objective not in (None, Objective.CONTRASTIVE):
            raise ValueError(
                f"alt_text is of captions, and objective {objective} reads none: leave it out, or set objective to contrastive"
            )
        return value

    @property
    def num_caption_words(self) -> int:
        """Words that the captions are made of: digits, and what alt-text says in place of them."""
        return NUM_DIGITS + (NUM_WORDS if self.alt_text else 0)


class EncoderSettings(Settings):
    """Pixels to features of a square grid of patches. All kinds share these fields, so an arm that changes only `kind` keeps them."""

    kind: str
    """Which encoder: each class has its own name as the only value, and as the default."""
    patch_size: Pixels = 4
    """Side in pixels of the square that one patch feature stands for; a hybrid encoder comes to it by halving the grid."""
    image_size: Pixels = 16
    """Side of the image in pixels; scenes are drawn at 16 and resampled to this."""
    num_channels: Annotated[int, Field(strict=True)] = Field(default=1, exclude_if=lambda value: value == 1)
    """Channels of the image: 1, grey, or 3, RGB. The digit scenes are grey and are repeated over three."""
    num_heads: Count = 2
    """Attention heads."""
    width: Count = 64
    """Size of a patch's feature vector."""
    tiles: Count = Field(default=1, exclude_if=lambda value: value == 1)
    """Sub-images along a side of the picture: 1 is the picture alone; with 2 or more it is `tiles` times `image_size` a side, and is seen
    as an overview of `image_size` and as `tiles`^2 sub-images of that size (SPHINX, arXiv 2311.07575, which MM1 follows in SFT), each
    through encoder and connector."""
    training: Training = Training.FROZEN
    """`frozen`, `slow` (a tenth of the rate), `lora` or `full`, in the pretrain stage."""
    features: Features = Features.COMPUTED
    """`computed` by each trial, or `cached`: by a stage of their own for all trials of a seed, which only a frozen encoder allows."""
    pretrain: EncoderPretrain = EncoderPretrain()
    """The stage before."""

    @field_validator("image_size")
    @classmethod
    def _patches_fill_image(cls, value: int, info: ValidationInfo) -> int:
        patch = info.data.get("patch_size")
        if patch and value % patch:
            raise ValueError(f"{value} is not a multiple of patch {patch}: nearest {nearest_multiples(value, patch)}")
        return value

    @field_validator("num_channels")
    @classmethod
    def _grey_or_rgb(cls, value: int) -> int:
        if value not in (1, 3):
            nearest = "1, 3" if value == 2 else "1" if value < 1 else "3"
            raise ValueError(f"{value} channels: an image has 1 (grey) or 3 (RGB): nearest {nearest}")
        return value

    @field_validator("width")
    @classmethod
    def _heads_divide_width(cls, value: int, info: ValidationInfo) -> int:
        heads = info.data.get("num_heads")
        if heads and value % heads:
            raise ValueError(f"{value} is not divisible by {heads} heads: nearest {nearest_multiples(value, heads)}")
        return value

    @field_validator("features")
    @classmethod
    def _cache_needs_frozen(cls, value: Features, info: ValidationInfo) -> Features:
        training = info.data.get("training")
        if value is Features.CACHED and training not in (None, Training.FROZEN):
            raise ValueError(
                f"cached features are those of a frozen encoder, and training is {training}, which changes them at every step: "
                "use training: frozen, or features: computed"
            )
        return value

    @field_validator("pretrain")
    @classmethod
    def _stage_has_its_images(cls, value: EncoderPretrain, info: ValidationInfo) -> EncoderPretrain:
        patch, image = info.data.get("patch_size"), value.resolution or info.data.get("image_size")
        if not patch or not image:
            return value
        if value.resolution and value.objective is Objective.NONE:
            raise ValueError(
                f"resolution is {value.resolution}, but objective none has no encoder stage: leave it out, or name an objective"
            )
        if image % patch:
            raise ValueError(f"resolution is {image}, not a multiple of patch {patch}: nearest {nearest_multiples(image, patch)}")
        if value.objective is Objective.RECONSTRUCTIVE and patch == 1:
            raise ValueError(
                "reconstructive foretells a patch's pixels less their mean, and a patch of 1 px has nothing else: use patch_size 2 or more"
            )
        if value.objective is Objective.RECONSTRUCTIVE and image == patch:
            raise ValueError(
                f"reconstructive foretells patches from those before, and an image of {patch} px is one patch of {patch}: "
                "use a larger image_size or a smaller patch_size"
            )
        return value

    @property
    def as_pretrained(self) -> Self:
        """The encoder of the encoder stage, which trials that use it at several resolutions share."""
        stage = self.pretrain.model_copy(update={"resolution": None})
        return self.model_copy(update={"image_size": self.pretrain.resolution or self.image_size, "tiles": 1, "pretrain": stage})

    @property
    def num_views(self) -> int:
        """Images that a picture is seen as."""
        return 1 if self.tiles == 1 else 1 + self.tiles**2

    @property
    def picture_size(self) -> int:
        """Side of the picture in pixels, before it is cut."""
        return self.tiles * self.image_size

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def num_patches(self) -> int:
        return self.grid**2

    @property
    def num_params(self) -> int:
        """All of them."""
        raise NotImplementedError

    @property
    def forward_flops(self) -> float:
        """Of one image; what counts is said in `model_zoo.flops`."""
        raise NotImplementedError

    @property
    def attention_flops(self) -> float:
        """Those of it that no weight takes part in: queries with keys, and what they pick with values."""
        raise NotImplementedError

    @property
    def linear_maps(self) -> tuple[LinearMap, ...]:
        """All of them, for LoRA; convolutions are none."""
        raise NotImplementedError

    @property
    def numbers_kept(self) -> float:
        """Of one image, for the backward pass; within a tenth of what autograd keeps."""
        raise NotImplementedError

    def build(self) -> "nn.Module":
        """A module whose `forward` takes pixels [B, C, S, S], or grey ones [B, S, S], to features [B, P, E], patches row by row.

        Weights may be as the constructors leave them: `model_zoo.initial` draws them.
        """
        raise NotImplementedError


def objective_params(encoder: EncoderSettings) -> int:
    """All parameters of the encoder stage's objective, which are thrown away after it."""
    e = encoder.width
    match encoder.pretrain.objective:
        case Objective.CONTRASTIVE:
            return NUM_PLACES * encoder.pretrain.num_caption_words * e + (4 * e**2 + 3 * e) + (e**2 + e) + 1
        case Objective.RECONSTRUCTIVE:
            return HEAD_BLOCKS * (8 * e**2 + 7 * e) + 2 * e + (e + 1) * encoder.num_channels * encoder.patch_size**2
        case Objective.NONE:
            return 0


def objective_forward_flops(encoder: EncoderSettings) -> float:
    """One image of the encoder stage, after the encoder."""
    e = encoder.width
    match encoder.pretrain.objective:
        case Objective.CONTRASTIVE:
            return 2.0 * (4 * e**2 + e**2) + 2.0 * encoder.pretrain.batch_size * e
        case Objective.RECONSTRUCTIVE:
            return 2.0 * (encoder.num_patches - 1) * (HEAD_BLOCKS * 8 * e**2 + e * encoder.num_channels * encoder.patch_size**2)
        case Objective.NONE:
            return 0.0
