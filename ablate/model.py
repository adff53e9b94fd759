"""What all parts of a study file share: frozen models that refuse unknown keys, numbers that are numbers, the limits."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_TRIALS = 1_000_000
MAX_SEED = 2**32 - 1

Level = bool | int | float | str | None
"""One value of an axis as results show it: a data mix is its ratio, such as `45:45:10`; None where the axis does not apply."""
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]


class StudyModel(BaseModel):
    """Frozen, and a key nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
