"""What one trial of the zoo is: pydantic models and nothing heavy, because planning reads this file without torch.

Invariant: a `Config` that validates can be built. Whatever does not fit together (patches and pixels, tokens and grid,
heads and width, shares that do not sum to 1) is refused here: what was found, what is allowed, the nearest value.
"""

from collections.abc import Mapping
from enum import StrEnum
from math import isqrt
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from model_zoo.connectors import Connector
from model_zoo.connectors.avg_pool import AvgPool
from model_zoo.connectors.connector import Shape
from model_zoo.decoders.decoder import Decoder
from model_zoo.encoders.encoder import Encoder
from model_zoo.fields import Count, Fraction, NonNegative, NonNegativeInt, Positive, Settings

SOURCES = ("caption", "interleaved", "text")
"""Order of the parts in a ratio such as "45:45:10"."""


class Task(StrEnum):
    """What the final evaluation can score."""

    CAPTION = "caption"
    """Name the four digits of a scene."""
    VQA = "vqa"
    """Name the digit at one place of a scene."""
    IN_CONTEXT = "in_context"
    """Choose between two labels that only this document defines."""
    TEXT = "text"
    """Continue progressions and recall pairs, no image."""


class Mix(Settings):
    """Shares of the three data sources, as a mapping or as text such as "45:45:10" (caption:interleaved:text)."""

    caption: Fraction = 0.0
    """Share of rows with one image and its caption or questions."""
    interleaved: Fraction = 0.0
    """Share of rows with nine images in one document."""
    text: Fraction = 0.0
    """Share of rows without images."""

    @model_validator(mode="before")
    @classmethod
    def _from_ratio(cls, value: Any) -> Any:
        if isinstance(value, str):
            return _parse_ratio(value)
        if isinstance(value, Mapping):
            return _check_shares(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 3600:
            # YAML 1.1 reads an unquoted 5:5:1 as hours, minutes and seconds
            text = f"{value // 3600}:{value // 60 % 60}:{value % 60}"
            raise ValueError(f'found the number {value}: YAML reads a bare {text} as base 60; put it in quotes, "{text}"')
        return value

    @property
    def shares(self) -> tuple[float, float, float]:
        """In the order of SOURCES."""
        return (self.caption, self.interleaved, self.text)


def _parse_ratio(text: str) -> dict[str, float]:
    allowed = f'write {len(SOURCES)} parts, {":".join(SOURCES)}, as in "45:45:10"'
    parts = text.split(":")
    if len(parts) != len(SOURCES):
        raise ValueError(f'"{text}" has {len(parts)} parts; {allowed}')
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise ValueError(f'"{text}" is not a ratio of numbers; {allowed}') from None
    for part, number in zip(parts, numbers, strict=True):
        if not 0 <= number < float("inf"):
            raise ValueError(f'"{text}" has the part {part.strip()}; parts are finite and 0 or more')
    total = sum(numbers)
    if total == 0:
        raise ValueError(f'"{text}" sums to 0; at least one part must be above 0')
    return {source: number / total for source, number in zip(SOURCES, numbers, strict=True)}


def _check_shares(shares: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = [str(name) for name in shares if name not in SOURCES]
    if unknown:
        raise ValueError(f"unknown source {', '.join(unknown)}; sources are {', '.join(SOURCES)}")
    numbers = {name: share for name, share in shares.items() if isinstance(share, int | float)}
    if len(numbers) < len(shares):
        return shares  # some share is not a number at all: the field says so
    negative = [f"{name} {share}" for name, share in numbers.items() if share < 0]
    if negative:
        raise ValueError(f"negative share: {', '.join(negative)}; shares are between 0 and 1")
    total = sum(numbers.values())
    if not abs(total - 1) <= 1e-6:
        raise ValueError(f"sum is {total:.6g}; use 45:45:10 or shares that sum to 1")
    return shares


class Data(Settings):
    """What the decoder reads."""

    mix: Mix = Mix(caption=0.45, interleaved=0.45, text=0.10)
    """Shares of caption, interleaved and text rows."""
    num_scenes: Count = 8192
    """Scenes drawn once per trial from the 1,400 training digits; documents pick theirs from this pool."""


class Train(Settings):
    """AdamW with linear warmup and cosine decay."""

    steps: Count = 400
    """Optimizer steps."""
    rows_per_step: Count = 8
    """Rows a step; a row is 8 caption documents, one nine-image document or 2 texts, about 70 tokens."""
    learning_rate: Positive = 4e-3
    """Peak rate."""
    weight_decay: NonNegative = 0.1
    """As torch has it: times the rate, every step. Matrices only."""
    warmup_steps: NonNegativeInt = 40
    """Steps of linear warmup, at most `steps`."""
    final_lr_fraction: Fraction = 0.1
    """Where the cosine ends, as a fraction of the peak."""
    clip_norm: Positive = 1.0
    """Largest global norm of the gradient."""

    @field_validator("warmup_steps")
    @classmethod
    def _warmup_fits(cls, value: int, info: ValidationInfo) -> int:
        steps = info.data.get("steps")
        if steps and value > steps:
            raise ValueError(f"{value} warmup steps do not fit in {steps} steps: at most {steps}")
        return value


class Eval(Settings):
    """What is measured, always on images that training never saw."""

    tasks: tuple[Task, ...] = tuple(Task)
    """Scored at the end; an empty list leaves the validation loss, which is always measured."""
    num_documents: Annotated[int, Field(strict=True, gt=0, multiple_of=4)] = 1024
    """Nine-image documents a task is scored on (a multiple of 4: in-context documents are balanced in fours)."""
    num_validations: Count = 4
    """Measurements of the validation loss, evenly spaced, the last one at the last step."""
    validation_documents: Annotated[int, Field(strict=True, gt=0, multiple_of=4)] = 128
    """Held-out documents of each source in the validation loss."""

    @field_validator("tasks")
    @classmethod
    def _in_one_order(cls, value: tuple[Task, ...]) -> tuple[Task, ...]:
        return tuple(task for task in Task if task in value)  # the order someone wrote them in is not identity


class Config(Settings):
    """One trial of the zoo."""

    encoder: Encoder = Encoder()
    """Pixels to patch features."""
    connector: Connector = AvgPool()
    """Patch features to visual tokens."""
    decoder: Decoder = Decoder()
    """Tokens to the next token."""
    data: Data = Data()
    """The mixture."""
    train: Train = Train()
    """The pretrain stage."""
    eval: Eval = Eval()
    """The measurements."""

    @property
    def connector_shape(self) -> Shape:
        """What the connector stands between."""
        return Shape(self.encoder.num_patches, self.encoder.width, self.decoder.width)

    @field_validator("connector", mode="before")
    @classmethod
    def _plain_kind(cls, value: Any) -> Any:
        return {"kind": "avg_pool", **value} if isinstance(value, Mapping) else value

    @field_validator("connector")
    @classmethod
    def _grid_gives_tokens(cls, value: Connector, info: ValidationInfo) -> Connector:
        encoder = info.data.get("encoder")
        if encoder is None:
            return value
        allowed = value.reachable_tokens(encoder.grid)
        if value.num_tokens not in allowed:
            listed = f"1 to {allowed[-1]}" if len(allowed) > isqrt(allowed[-1]) > 1 else ", ".join(map(str, allowed))
            nearest = min(allowed, key=lambda count: abs(count - value.num_tokens))
            raise ValueError(
                f"num_tokens is {value.num_tokens}, which {value.kind} cannot give on a grid of "
                f"{encoder.grid} x {encoder.grid} patches ({listed}): nearest {nearest}"
            )
        return value
