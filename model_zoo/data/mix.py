"""What the decoder reads: shares of three sources, and the digit scenes or files of one's own that they are of."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from model_zoo.data.settings import AltText, Files
from model_zoo.data.vocabulary import SIZE
from model_zoo.fields import Count, Fraction, Settings

SOURCES = ("caption", "interleaved", "text")
"""Order of the parts in a ratio such as "45:45:10"."""


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
    files: Files | None = Field(default=None, exclude_if=lambda value: value is None)
    """Files of your own in place of the digit scenes, for each source that has a share."""
    alt_text: AltText | None = Field(default=None, exclude_if=lambda value: value is None)
    """Noise in the captions of digit scenes, and how many are rewritten; left out, every caption says what is in its picture."""

    @property
    def vocabulary_size(self) -> int:
        """Tokens, the image's placeholder included."""
        return self.files.vocabulary_size if self.files else SIZE

    @property
    def words(self) -> str:
        """What a token means, in words."""
        if self.files is None:
            return "the words of digit scenes"
        return f"{self.files.vocabulary_size:,} tokens of {self.files.tokenizer} that end with {self.files.end_token}"

    @field_validator("files")
    @classmethod
    def _sources_have_files(cls, value: Files | None, info: ValidationInfo) -> Files | None:
        mix = info.data.get("mix")
        if value is None or mix is None:
            return value
        missing = [name for name in SOURCES if getattr(mix, name) > 0 and getattr(value, name) is None]
        if missing:
            raise ValueError(f"no files for {', '.join(missing)}, which the mix has a share of: name some, or set the share to 0")
        return value

    @field_validator("alt_text")
    @classmethod
    def _captions_are_of_scenes(cls, value: AltText | None, info: ValidationInfo) -> AltText | None:
        if value and info.data.get("files"):
            raise ValueError("alt_text is of the captions of digit scenes, and files has captions of its own: leave out alt_text, or files")
        return value
