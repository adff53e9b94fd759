"""What all settings of the zoo share: frozen models, numbers that are numbers, the nearest value that would do."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


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
