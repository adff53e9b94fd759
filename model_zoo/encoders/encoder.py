"""What an encoder is, how it is trained before the decoder sees it, and what both cost; nothing heavy is imported."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from model_zoo.data.vocabulary import NUM_DIGITS, NUM_PLACES
from model_zoo.fields import Count, NonNegativeInt, Pixels, Positive, Settings, nearest_multiples

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


class Training(StrEnum):
    """What happens to the vision encoder in the pretrain stage."""

    FROZEN = "frozen"
    """Nothing; its features are computed once a trial, or once for many: see `Features`."""
    SLOW = "slow"
    """Trained at a tenth of the rate."""
    FULL = "full"
    """Trained at the rate of everything else."""


class Features(StrEnum):
    """Where a trial has the features of a frozen encoder from. The numbers are the same, so it is no part of what a stage is."""

    COMPUTED = "computed"
    """It computes them itself, before its first step."""
    CACHED = "cached"
    """From a stage of their own, `features`, whose artefact all trials of one seed share that agree on encoder and pictures."""


class EncoderPretrain(Settings):
    """The encoder stage. Its seed is its own, so that all trials that agree on the encoder share one."""

    objective: Objective = Objective.CONTRASTIVE
    """`contrastive`, `reconstructive` or `none`."""
    steps: Count = 300
    """Optimizer steps."""
    batch_size: Annotated[int, Field(strict=True, ge=2)] = 96
    """Images a step; `contrastive` sets each against the captions of all the others."""
    learning_rate: Positive = 2e-3
    """Peak rate of AdamW."""
    seed: NonNegativeInt = 0
    """Seed of weights and images of this stage."""
    resolution: Pixels | None = None
    """Side of its images in pixels where that is another one; the position embeddings are interpolated afterwards."""


class Encoder(Settings):
    """A vision transformer over square patches."""

    patch_size: Pixels = 4
    """Side of a patch in pixels."""
    image_size: Pixels = 16
    """Side of the image in pixels; scenes are drawn at 16 and resampled to this."""
    num_heads: Count = 2
    """Attention heads."""
    width: Count = 64
    """Size of a patch's feature vector."""
    depth: Count = 2
    """Transformer layers."""
    training: Training = Training.FROZEN
    """`frozen`, `slow` (a tenth of the rate) or `full`, in the pretrain stage."""
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
    def as_pretrained(self) -> "Encoder":
        """The encoder of the encoder stage, which trials that use it at several resolutions share."""
        stage = self.pretrain.model_copy(update={"resolution": None})
        return self.model_copy(update={"image_size": self.pretrain.resolution or self.image_size, "pretrain": stage})

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
        d = self.width
        layer = 12 * d**2 + 13 * d  # attention 4 d^2 + 4 d, MLP 8 d^2 + 5 d, two norms 4 d
        return (self.patch_size**2 + 1) * d + self.num_patches * d + self.depth * layer + 2 * d

    @property
    def forward_flops(self) -> float:
        """Of one image; what counts is said in `model_zoo.flops`."""
        d, p = self.width, self.num_patches
        return 2.0 * p * d * (self.patch_size**2 + self.depth * (12 * d + 2 * p))

    @property
    def numbers_kept(self) -> float:
        """Of one image, for the backward pass: per patch and layer 16 widths (norms 2, attention 5, MLP 8, norm statistics)."""
        return self.num_patches * self.width * (16 * self.depth + 1)


def objective_params(encoder: Encoder) -> int:
    """All parameters of the encoder stage's objective, which are thrown away after it."""
    e = encoder.width
    match encoder.pretrain.objective:
        case Objective.CONTRASTIVE:
            return NUM_PLACES * NUM_DIGITS * e + (4 * e**2 + 3 * e) + (e**2 + e) + 1
        case Objective.RECONSTRUCTIVE:
            return HEAD_BLOCKS * (8 * e**2 + 7 * e) + 2 * e + (e + 1) * encoder.patch_size**2
        case Objective.NONE:
            return 0


def objective_forward_flops(encoder: Encoder) -> float:
    """One image of the encoder stage, after the encoder."""
    e = encoder.width
    match encoder.pretrain.objective:
        case Objective.CONTRASTIVE:
            return 2.0 * (4 * e**2 + e**2) + 2.0 * encoder.pretrain.batch_size * e
        case Objective.RECONSTRUCTIVE:
            return 2.0 * (encoder.num_patches - 1) * (HEAD_BLOCKS * 8 * e**2 + e * encoder.patch_size**2)
        case Objective.NONE:
            return 0.0
