"""Other data than the digit scenes as they are: captions as the web has them, or which files of one's own, and how they become sequences.

Planning opens none of them.
"""

from pathlib import PurePath
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from model_zoo.fields import Count, Fraction, Settings

SUFFIXES = {"caption": (".tar", ".json"), "interleaved": (".parquet",), "text": (".parquet", ".jsonl")}
"""Source -> what its files may be: WebDataset shards or LLaVA conversations, OBELICS documents, texts."""
Patterns = Annotated[tuple[str, ...], Field(min_length=1)]


class AltText(Settings):
    """Captions of digit scenes as the alt-text of web pages is, of which some are rewritten by what is in the picture (VeCap, arXiv
    2310.07699). Training alone reads them: what is measured is measured on captions that are right."""

    noise: Fraction
    """Probability that an irrelevant word stands where a caption names a digit: one of the eight nonce words, drawn anew each time."""
    synthetic: Fraction = 0.0
    """Share of captions that are dense rewritings: all four digits as they are. Of MM1's image-caption data VeCap is 7 % (arXiv 2403.09611,
    section 3.2)."""


class FileSource(Settings):
    """The files of one source; `*` and `**` stand for any names, and relative paths start from ABLATE_DATA."""

    train: Patterns
    """Files that are learnt from."""
    held_out: Patterns
    """Files that the validation loss is measured on."""


class Files(Settings):
    """Files of one's own, by source. A trial is known by these names, so new contents need new names."""

    caption: FileSource | None = None
    """WebDataset shards of image-caption pairs (`.tar`) or LLaVA conversations (`.json`)."""
    interleaved: FileSource | None = None
    """Documents of texts and images in OBELICS' form (`.parquet`)."""
    text: FileSource | None = None
    """Texts: the column or key `text` (`.parquet`, `.jsonl`)."""
    tokenizer: str = "bytes"
    """`bytes` (UTF-8), or the path of a `tokenizer.json`."""
    end_token: str = "</s>"  # noqa: S105
    """What a document ends with, as the tokenizer of a file calls it."""
    vocabulary_size: Count = 258
    """Tokens, the image's placeholder included; checked when the tokenizer is opened: `bytes` has 258."""
    max_tokens: Count = 2048
    """Of a sequence, visual ones included; a row of a step is one sequence."""
    max_images: Count = 16
    """Of a sequence."""
    max_bad_share: Fraction = 0.01
    """Rows of a source that may be broken, of those read; they are counted and left out."""
    epochs: Count = 1
    """How often a source may be read before it has run dry."""

    @field_validator("caption", "interleaved", "text")
    @classmethod
    def _has_suffix(cls, value: FileSource | None, info: ValidationInfo) -> FileSource | None:
        if value is None:
            return None
        allowed = SUFFIXES[info.field_name or ""]
        wrong = [name for name in (*value.train, *value.held_out) if PurePath(name).suffix not in allowed]
        if wrong:
            raise ValueError(f"'{wrong[0]}' ends in none of {', '.join(allowed)}, which files of this source do")
        return value
