"""What a row of each source is made of, in numbers: the stream draws it, `flops.py` prices it."""

from typing import NamedTuple

NUM_PICTURES = 9
"""Pictures of an interleaved document: 8 shots and a question."""
TEXT_LENGTH = 32
LABEL_SHARE = 0.75
"""Interleaved rows whose document labels digits; the others ask about scenes."""


class Kind(NamedTuple):
    """Documents of one kind in one row."""

    per_row: float
    """How many, on average."""
    pictures: int
    """In one document."""
    tokens: int
    """In one document, besides the visual ones."""
    answers: int
    """Tokens of one document that are learnt."""


ROWS: dict[str, dict[str, Kind]] = {
    "caption": {"caption": Kind(4, 1, 5, 4), "question": Kind(4, 1, 6, 2)},
    "interleaved": {
        "label": Kind(LABEL_SHARE, NUM_PICTURES, NUM_PICTURES, NUM_PICTURES),
        "asked": Kind(1 - LABEL_SHARE, NUM_PICTURES, 3 * NUM_PICTURES, NUM_PICTURES),
    },
    "text": {
        "progression": Kind(1, 0, TEXT_LENGTH, TEXT_LENGTH - 1),
        "recall": Kind(1, 0, TEXT_LENGTH, TEXT_LENGTH - 1),
    },
}
