"""What all settings of the zoo share: frozen models, numbers that are numbers, the nearest value that would do."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a number")  # pydantic's lax float would read it as 0.0 or 1.0
    return value


Count = Annotated[int, Field(strict=True, gt=0)]
Pixels = Annotated[int, Field(strict=True, gt=0, le=4096)]
NonNegativeInt = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[float, BeforeValidator(_refuse_bool), Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, BeforeValidator(_refuse_bool), Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, BeforeValidator(_refuse_bool), Field(ge=0, le=1, allow_inf_nan=False)]


class Training(StrEnum):
    """What happens to a part of the model in a stage."""

    FROZEN = "frozen"
    """Nothing."""
    SLOW = "slow"
    """Trained at a tenth of the rate."""
    LORA = "lora"
    """It stays as it is, and a map of low rank that is added to each of its linear ones is trained (arXiv 2106.09685)."""
    FULL = "full"
    """Trained at the rate of everything else."""


def nearest_multiples(value: int, divisor: int) -> str:
    below = value // divisor * divisor
    return f"{below}, {below + divisor}" if below else str(divisor)


class Settings(BaseModel):
    """A part of a trial's config."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


class FromCheckpoint(Settings):
    """A part that may start from a checkpoint in place of drawn weights."""

    pretrained: Annotated[str, Field(min_length=1)] | None = Field(default=None, exclude_if=lambda value: value is None)
    """What to start from: a folder with config.json and *.safetensors, or a name on Hugging Face's hub (`owner/name`); for a `packed`
    decoder the folder that a pretrain stage of the zoo left, of a dense one too where this one has experts. The trial is known by the name
    as it is written here, so new contents need a new name. Sizes must be the checkpoint's, but for an encoder's `image_size`: positions are
    interpolated to it. An encoder's own stage starts from it too."""
    revision: Annotated[str, Field(min_length=1)] | None = Field(default=None, exclude_if=lambda value: value is None)
    """Of a name on the hub: a commit, tag or branch. Left out: the main branch, as it is when the trial starts. A commit never changes."""

    @field_validator("revision")
    @classmethod
    def _is_of_something(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and "pretrained" in info.data and info.data["pretrained"] is None:
            raise ValueError(f"revision '{value}' of nothing: name what it is of as pretrained, or leave it out")
        return value
