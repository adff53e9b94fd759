"""Pools of pictures to documents: arrays of tokens, of targets, of picture numbers.

A document with images is a line of segments, each the placeholders of one picture and then a few tokens. What a model
must answer is a target; everything else in a document with images is not learnt.

N documents, C segments (and pictures) in each, Q visual tokens a picture, K tokens after each picture, L = C (Q + K).
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from model_zoo.data.pictures import Ints, Pool
from model_zoo.data.rows import NUM_PICTURES, TEXT_LENGTH
from model_zoo.data.vocabulary import (
    CAPTION,
    DIGIT,
    IMAGE,
    NO_TARGET,
    NUM_DIGITS,
    NUM_PLACES,
    NUM_WORDS,
    PLACE,
    QUESTION,
    WORD,
)

NUM_PAIRS = TEXT_LENGTH // 2
NUM_KEYS = NUM_WORDS // 2
"""Keys of a recall text; the other words are their values."""


class Random(Protocol):
    """A numpy `Generator`, or several of which each draws for its own documents."""

    def integers(self, low: int, high: int | None = None, *, size: int | tuple[int, ...]) -> Ints:
        """In [0, low), or in [low, high)."""

    def random(self, size: int | tuple[int, ...]) -> NDArray[np.float64]:
        """In [0, 1)."""

    def permuted(self, x: Ints, *, axis: int) -> Ints:
        """A copy whose numbers along `axis` are in a random order."""


class Documents(NamedTuple):
    """Equally long documents of one kind."""

    tokens: Ints
    """[N, L]"""
    targets: Ints
    """[N, L]: the next token where it is learnt, else NO_TARGET."""
    pictures: Ints
    """[N, C] numbers in the pool; C is 0 for texts."""


def caption_documents(pool: Pool, *, rng: Random, number: int, pictures: int, num_tokens: int) -> Documents:
    """`[scene] CAP d d d d`, once for each picture."""
    scenes = rng.integers(len(pool.scenes), size=(number, pictures))
    marks = np.full((number, pictures, 1), CAPTION)
    text = np.concatenate((marks, DIGIT + pool.scenes[scenes]), 2)
    return _lay_out(text, answers=[1, 2, 3, 4], pictures=scenes, num_tokens=num_tokens)


def question_documents(pool: Pool, *, rng: Random, number: int, pictures: int, questions: int, num_tokens: int) -> Documents:
    """`[scene] Q p d` with `questions` different places asked of each picture."""
    scenes = rng.integers(len(pool.scenes), size=(number, pictures))
    places = rng.permuted(np.broadcast_to(np.arange(NUM_PLACES), (number, pictures, NUM_PLACES)), axis=2)[..., :questions]
    digits = np.take_along_axis(pool.scenes[scenes], places, 2)
    text = np.stack((np.full_like(places, QUESTION), PLACE + places, DIGIT + digits), 3).reshape(number, pictures, -1)
    return _lay_out(text, answers=list(range(2, 3 * questions, 3)), pictures=scenes, num_tokens=num_tokens)


def label_documents(pool: Pool, *, rng: Random, number: int, num_tokens: int) -> Documents:
    """`[digit] label` nine times; each document draws its two classes and two nonce labels, in any order."""
    side = rng.integers(2, size=(number, NUM_PICTURES))
    classes, labels = _two_of(NUM_DIGITS, rng=rng, number=number), _two_of(NUM_WORDS, rng=rng, number=number)
    pictures = _pick_singles(pool, digits=np.take_along_axis(classes, side, 1), rng=rng)
    return _labelled(pictures, side=side, labels=labels, num_tokens=num_tokens)


def balanced_label_documents(pool: Pool, *, rng: Random, number: int, num_tokens: int) -> Documents:
    """The same for measuring: what a document does not define scores exactly one half.

    Pictures 0-3 and 4-7 show each class twice, so both classes have k/2 shots at position k = 4, 8. Documents come in
    fours that differ only in which class and which label is called first, with one set of pictures for both labellings.
    """
    fours = number // 4
    block = np.broadcast_to(np.array([0, 0, 1, 1]), (fours, 2, 4))
    shots = rng.permuted(block, axis=2).reshape(fours, 8)
    side = np.concatenate((shots, rng.integers(2, size=(fours, 1))), 1)
    classes, labels = _two_of(NUM_DIGITS, rng=rng, number=fours), _two_of(NUM_WORDS, rng=rng, number=fours)
    side, classes, labels = (np.repeat(array, 2, 0) for array in (side, classes, labels))
    classes[1::2] = classes[1::2, ::-1]
    pictures = _pick_singles(pool, digits=np.take_along_axis(classes, side, 1), rng=rng)
    side, pictures, labels = (np.repeat(array, 2, 0) for array in (side, pictures, labels))
    labels[1::2] = labels[1::2, ::-1]
    return _labelled(pictures, side=side, labels=labels, num_tokens=num_tokens)


def progression_documents(*, rng: Random, number: int) -> Documents:
    """32 digits, each the one before plus a step drawn for the document, modulo 10."""
    start, step = (rng.integers(NUM_DIGITS, size=(number, 1)) for _ in range(2))
    return _text(DIGIT + (start + step * np.arange(TEXT_LENGTH)) % NUM_DIGITS)


def recall_documents(*, rng: Random, number: int) -> Documents:
    """16 pairs `key value` of nonce words; each document draws which four words are keys and which value each has."""
    words = rng.permuted(np.broadcast_to(np.arange(NUM_WORDS), (number, NUM_WORDS)), axis=1)
    drawn = rng.integers(NUM_KEYS, size=(number, NUM_PAIRS))
    keys, values = np.take_along_axis(words, drawn, 1), np.take_along_axis(words, NUM_KEYS + drawn, 1)
    return _text(WORD + np.stack((keys, values), 2).reshape(number, TEXT_LENGTH))


def _two_of(count: int, *, rng: Random, number: int) -> Ints:
    first = rng.integers(count, size=number)
    second = (first + rng.integers(1, count, size=number)) % count
    return np.stack((first, second), 1)


def _pick_singles(pool: Pool, *, digits: Ints, rng: Random) -> Ints:
    """For each digit the number of a picture that shows it alone."""
    counts = np.array([len(numbers) for numbers in pool.singles])
    first = counts.cumsum() - counts
    chosen = first[digits] + (rng.random(digits.shape) * counts[digits]).astype(np.int64)
    picked: Ints = np.concatenate(pool.singles)[chosen]
    return picked


def _labelled(pictures: Ints, *, side: Ints, labels: Ints, num_tokens: int) -> Documents:
    text = WORD + np.take_along_axis(labels, side, 1)[..., None]
    return _lay_out(text, answers=[0], pictures=pictures, num_tokens=num_tokens)


def _lay_out(text: Ints, *, answers: list[int], pictures: Ints, num_tokens: int) -> Documents:
    """text [N, C, K], of which the tokens numbered in `answers` are learnt."""
    number, count, after = text.shape
    tokens = np.full((number, count, num_tokens + after), IMAGE, np.int64)
    tokens[..., num_tokens:] = text
    targets = np.full_like(tokens, NO_TARGET)
    before = [num_tokens + answer - 1 for answer in answers]  # the token that has to foretell it
    targets[..., before] = text[..., answers]
    return Documents(tokens.reshape(number, -1), targets.reshape(number, -1), pictures)


def _text(tokens: Ints) -> Documents:
    targets = np.full_like(tokens, NO_TARGET)
    targets[:, :-1] = tokens[:, 1:]
    return Documents(tokens, targets, np.empty((len(tokens), 0), np.int64))
