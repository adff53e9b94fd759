"""The pictures no training saw and the documents all trials are measured on, whatever their seed, mix and connector.

Every kind of document has a generator of its own with a fixed seed, so asking for fewer tasks changes no other score.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from model_zoo.data.documents import (
    Documents,
    balanced_label_documents,
    caption_documents,
    label_documents,
    progression_documents,
    question_documents,
    recall_documents,
)
from model_zoo.data.pictures import Pool, held_out_digits, make_pool
from model_zoo.data.rows import NUM_PICTURES

NUM_SCENES = 2048
EVALUATION_SEED = 7


class ValidationDocuments(NamedTuple):
    """What the validation loss is measured on."""

    caption: tuple[Documents, ...]
    interleaved: tuple[Documents, ...]
    text: tuple[Documents, ...]


@lru_cache(maxsize=4)
def held_out_pool(*, image_size: int) -> Pool:
    """2,048 scenes of the 397 held-out digits, and the digits themselves."""
    return make_pool(held_out_digits(), num_scenes=NUM_SCENES, image_size=image_size, rng=_rng(0))


def caption_task(pool: Pool, *, number: int, num_tokens: int) -> Documents:
    """Nine scenes in a document, each with its caption."""
    return caption_documents(pool, rng=_rng(1), number=number, pictures=NUM_PICTURES, num_tokens=num_tokens)


def question_task(pool: Pool, *, number: int, num_tokens: int) -> Documents:
    """Nine scenes in a document, each with one question."""
    return question_documents(pool, rng=_rng(2), number=number, pictures=NUM_PICTURES, questions=1, num_tokens=num_tokens)


def label_task(pool: Pool, *, number: int, num_tokens: int) -> Documents:
    """Nine digits in a document, each with one of two labels; balanced in fours."""
    return balanced_label_documents(pool, rng=_rng(3), number=number, num_tokens=num_tokens)


def progression_task(*, number: int) -> Documents:
    """Digits in steps."""
    return progression_documents(rng=_rng(4), number=number)


def recall_task(*, number: int) -> Documents:
    """Pairs of nonce words."""
    return recall_documents(rng=_rng(5), number=number)


def validation_documents(pool: Pool, *, number: int, num_tokens: int) -> ValidationDocuments:
    """`number` documents of each source, composed as in training: 1:1 captions, 3:1 labels, 1:1 texts."""
    rng = _rng(6)
    one, nine = {"pictures": 1, "questions": 2}, {"pictures": NUM_PICTURES, "questions": 1}
    half, quarter = number // 2, number // 4
    return ValidationDocuments(
        caption=(
            caption_documents(pool, rng=rng, number=half, pictures=1, num_tokens=num_tokens),
            question_documents(pool, rng=rng, number=half, num_tokens=num_tokens, **one),
        ),
        interleaved=(
            label_documents(pool, rng=rng, number=number - quarter, num_tokens=num_tokens),
            question_documents(pool, rng=rng, number=quarter, num_tokens=num_tokens, **nine),
        ),
        text=(progression_documents(rng=rng, number=half), recall_documents(rng=rng, number=half)),
    )


def _rng(kind: int) -> np.random.Generator:
    return np.random.default_rng((EVALUATION_SEED, kind))
