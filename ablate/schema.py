"""The study file as a JSON Schema, for editors: what `load.py` reads, before anything is put in the place of `extends` and `base`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from ablate.blocks import Block, Seed
from ablate.forms import AxisForm
from ablate.model import MAX_TRIALS
from ablate.study import Study

TITLE = "ablate study"
_Kind = Literal["grid", "one_at_a_time", "leave_one_out", "cumulative", "fractional"]
"""Designs that need no settings."""
_Seeds = Annotated[list[Seed], Field(min_length=1, json_schema_extra={"uniqueItems": True})]


class StudyFile(Study):
    """A study as it is written."""

    extends: str | None = None
    """A study file whose keys hold where this one says nothing."""
    base: str | dict[str, Any] = ""  # type: ignore[assignment]
    """The trainer config every arm is a diff against, or a file with it; either may say `extends`."""
    axes: dict[str, AxisForm]
    """What is varied: a field of the config, or a name of its own, and its levels."""
    design: _Kind | Block | Annotated[list[_Kind | Block], Field(min_length=1)] = "grid"  # type: ignore[assignment]
    """Which combinations of levels become arms: one design or several."""
    seeds: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | _Seeds = 1  # type: ignore[assignment]
    """Seeds every arm is run with: a count n means 0 to n - 1."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a study file."""
    schema = StudyFile.model_json_schema(by_alias=True)
    whole = [key for key in schema.pop("required") if key not in ("schema", "name")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": TITLE,
        "required": ["schema", "name"],
        "anyOf": [{"required": ["extends"]}, {"required": whole}],
    }
