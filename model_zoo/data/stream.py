"""A seed and a step to that step's documents.

Nothing is carried from step to step: row r of step s of a source has a generator of its own, seeded by (seed, s, r,
source). So a resumed trial reads what an undisturbed one would have read, and two arms with one seed pair: rows that
both take from a source are the same documents, and a row goes to the source that its one uniform number falls on.
"""

from collections import defaultdict

import numpy as np

from model_zoo.config import SOURCES, Mix
from model_zoo.data.documents import (
    Documents,
    caption_documents,
    label_documents,
    progression_documents,
    question_documents,
    recall_documents,
)
from model_zoo.data.pictures import Pool
from model_zoo.data.rows import LABEL_SHARE, NUM_PICTURES, ROWS

_STREAM, _CHOICE = 1, 3


def row_sources(mix: Mix, *, seed: int, step: int, num_rows: int) -> list[str]:
    """Which source each row of a step comes from."""
    uniform = np.random.default_rng((seed, _STREAM, step, _CHOICE)).random(num_rows)
    bounds = np.cumsum(mix.shares)
    bounds /= bounds[-1]  # shares sum to 1 within 1e-6; the last source with any share ends at exactly 1
    chosen = np.searchsorted(bounds, uniform, side="right")
    return [SOURCES[index] for index in chosen]


def draw_step(pool: Pool, *, mix: Mix, seed: int, step: int, num_rows: int, num_tokens: int) -> list[Documents]:
    """All documents of one step, equal kinds together."""
    kinds: dict[str, list[Documents]] = defaultdict(list)
    for row, source in enumerate(row_sources(mix, seed=seed, step=step, num_rows=num_rows)):
        rng = np.random.default_rng((seed, _STREAM, step, row, SOURCES.index(source)))
        for kind, documents in draw_row(pool, source=source, rng=rng, num_tokens=num_tokens).items():
            kinds[kind].append(documents)
    return [_join(kinds[kind]) for kind in sorted(kinds)]


def draw_row(pool: Pool, *, source: str, rng: np.random.Generator, num_tokens: int) -> dict[str, Documents]:
    """One row: kind of document -> documents."""
    if source == "caption":
        captions, questions = (int(kind.per_row) for kind in ROWS["caption"].values())
        return {
            "caption": caption_documents(pool, rng=rng, number=captions, pictures=1, num_tokens=num_tokens),
            "question": question_documents(pool, rng=rng, number=questions, pictures=1, questions=2, num_tokens=num_tokens),
        }
    if source == "text":
        progressions, recalls = (int(kind.per_row) for kind in ROWS["text"].values())
        return {
            "progression": progression_documents(rng=rng, number=progressions),
            "recall": recall_documents(rng=rng, number=recalls),
        }
    if rng.random() < LABEL_SHARE:
        return {"label": label_documents(pool, rng=rng, number=1, num_tokens=num_tokens)}
    asked = question_documents(pool, rng=rng, number=1, pictures=NUM_PICTURES, questions=1, num_tokens=num_tokens)
    return {"asked": asked}


def _join(documents: list[Documents]) -> Documents:
    tokens, targets, pictures = (np.concatenate(arrays) for arrays in zip(*documents, strict=True))
    return Documents(tokens, targets, pictures)
