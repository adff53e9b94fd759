"""A seed and a step to that step's documents.

Nothing is carried from step to step: row r of step s of a source has a generator of its own, seeded by (seed, 1, s, r,
source). So a resumed trial reads what an undisturbed one would have read, and two arms with one seed pair: rows that
both take from a source are the same documents, and a row goes to the source that its one uniform number falls on.
What alt-text makes of a row's captions has a generator of its own too, so that nothing else moves with it.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from model_zoo.data.alt_text import with_alt_text
from model_zoo.data.documents import (
    Documents,
    caption_documents,
    label_documents,
    progression_documents,
    question_documents,
    recall_documents,
)
from model_zoo.data.mix import SOURCES, Mix
from model_zoo.data.pictures import Ints, Pool
from model_zoo.data.rows import LABEL_SHARE, NUM_PICTURES, ROWS
from model_zoo.data.seeding import generators
from model_zoo.data.settings import AltText

_STREAM, _CHOICE, _ALT_TEXT = 1, 3, 4
"""Words of seeds, so that no two uses of one seed share random numbers: documents, not pictures (2); which source, and what its captions
say, neither of them one of the three sources."""


def row_sources(mix: Mix, *, seed: int, steps: Sequence[int], num_rows: int) -> list[list[str]]:
    """Which source each row of each step comes from."""
    if 1 in mix.shares:
        return [[SOURCES[mix.shares.index(1)]] * num_rows for _ in steps]
    drawn = generators(seed, [(_STREAM, step, _CHOICE) for step in steps])
    bounds = np.cumsum(mix.shares)
    bounds /= bounds[-1]  # shares sum to 1 within 1e-6; the last source with any share ends at exactly 1
    chosen = np.searchsorted(bounds, np.stack([generator.random(num_rows) for generator in drawn]), side="right")
    return [[SOURCES[index] for index in step] for step in chosen.tolist()]


def draw_step(
    pool: Pool, *, mix: Mix, seed: int, step: int, num_rows: int, num_tokens: int, alt_text: AltText | None = None
) -> list[Documents]:
    """All documents of one step, equal kinds together."""
    (documents,) = draw_steps(pool, mix=mix, seed=seed, steps=[step], num_rows=num_rows, num_tokens=num_tokens, alt_text=alt_text)
    return documents


def draw_steps(
    pool: Pool, *, mix: Mix, seed: int, steps: Sequence[int], num_rows: int, num_tokens: int, alt_text: AltText | None = None
) -> list[list[Documents]]:
    """The documents of each step, as if drawn alone; together they take a fraction of the time."""
    sources = row_sources(mix, seed=seed, steps=steps, num_rows=num_rows)
    rows = [(position, row, source) for position, chosen in enumerate(sources) for row, source in enumerate(chosen)]
    drawn_by = generators(seed, [(_STREAM, steps[position], row, SOURCES.index(source)) for position, row, source in rows])
    of_kind: dict[str, list[np.random.Generator]] = defaultdict(list)
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * len(steps))
    for (position, _, source), generator in zip(rows, drawn_by, strict=True):
        for kind in _kinds(source, rng=generator):
            of_kind[kind].append(generator)
            counts[kind][position] += 1
    drawn: list[list[Documents]] = [[] for _ in steps]
    for kind in sorted(of_kind):  # of the two that share a generator, `caption` and `progression` come first
        documents = draw_rows(pool, kind=kind, drawn_by=of_kind[kind], num_tokens=num_tokens)
        if alt_text and kind == "caption":
            own = [(_STREAM, steps[position], row, _ALT_TEXT) for position, row, source in rows if source == "caption"]
            documents = with_alt_text(documents, alt_text=alt_text, rng=RowGenerators(generators(seed, own)))
        per_row, start = len(documents.tokens) // len(of_kind[kind]), 0
        for position, count in enumerate(counts[kind]):
            if count:
                end = start + count * per_row
                drawn[position].append(Documents(*(array[start:end] for array in documents)))
                start = end
    return drawn


def _kinds(source: str, *, rng: np.random.Generator) -> Collection[str]:
    """Of the documents of one row."""
    if source == "interleaved":
        return ("label",) if rng.random() < LABEL_SHARE else ("asked",)
    return ROWS[source].keys()


def draw_rows(pool: Pool, *, kind: str, drawn_by: Sequence[np.random.Generator], num_tokens: int) -> Documents:
    """Documents of one kind in rows of a generator each."""
    rng, rows = RowGenerators(drawn_by), len(drawn_by)
    match kind:
        case "caption":
            number = rows * int(ROWS["caption"][kind].per_row)
            return caption_documents(pool, rng=rng, number=number, pictures=1, num_tokens=num_tokens)
        case "question":
            number = rows * int(ROWS["caption"][kind].per_row)
            return question_documents(pool, rng=rng, number=number, pictures=1, questions=2, num_tokens=num_tokens)
        case "label":
            return label_documents(pool, rng=rng, number=rows, num_tokens=num_tokens)
        case "asked":
            return question_documents(pool, rng=rng, number=rows, pictures=NUM_PICTURES, questions=1, num_tokens=num_tokens)
        case "progression":
            return progression_documents(rng=rng, number=rows)
        case _:
            return recall_documents(rng=rng, number=rows)


class RowGenerators:
    """Draws for all rows at once, each row's from a generator of its own, so that documents are laid out once and not row by row.

    The first axis of what is drawn is of documents, equally many a row.
    """

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self._generators = generators

    def integers(self, low: int, high: int | None = None, *, size: int | tuple[int, ...]) -> Ints:
        shape = self._of_one_row(size)
        if math.prod(shape) == 1:  # the same number in a quarter of the time
            return np.array([generator.integers(low, high) for generator in self._generators]).reshape(size)
        return np.concatenate([generator.integers(low, high, size=shape) for generator in self._generators])

    def random(self, size: int | tuple[int, ...]) -> NDArray[np.float64]:
        shape = self._of_one_row(size)
        return np.concatenate([generator.random(shape) for generator in self._generators])

    def permuted(self, x: Ints, *, axis: int) -> Ints:
        (rows, *_) = self._of_one_row(x.shape)
        parts = (x[row * rows : (row + 1) * rows] for row in range(len(self._generators)))
        return np.concatenate([generator.permuted(part, axis=axis) for generator, part in zip(self._generators, parts, strict=True)])

    def _of_one_row(self, size: int | tuple[int, ...]) -> tuple[int, ...]:
        number, *rest = (size,) if isinstance(size, int) else size
        return (number // len(self._generators), *rest)
