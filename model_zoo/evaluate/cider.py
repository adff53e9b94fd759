"""Captions and their references to CIDEr-D (Vedantam et al. 2015, arXiv 1411.5726).

Values lie between 0 and 10, as the COCO toolkit gives them; papers print 100 times that. A caption is a sequence of words;
where it is text, `caption_words` splits it.
"""

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

Words: TypeAlias = Sequence[Hashable]
Ngram: TypeAlias = tuple[Hashable, ...]
Image = TypeVar("Image", bound=Hashable)
"""Its id."""

LONGEST = 4
"""Words of the longest n-grams that count; all lengths weigh alike."""
SIGMA = 6.0
"""Of the Gaussian penalty on a difference of length, in words."""
SCALE = 10.0

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")


class DocumentFrequencies(NamedTuple):
    """In the references of how many images each n-gram occurs: the rarer, the more it weighs."""

    num_images: int
    counts: Counter[Ngram]


class _Vector(NamedTuple):
    """A caption by its n-grams: for each length their tf-idf weights, and the norm of those."""

    length: int
    weights: tuple[dict[Ngram, float], ...]
    norms: tuple[float, ...]


def caption_words(text: str) -> list[str]:
    """Lower case; a word is a run of letters, digits and underscores, with single - and ' inside; all else is dropped.

    The COCO toolkit splits by Stanford's PTB tokenizer, which needs Java. It differs where an apostrophe stands in a word: there
    "man's" is two words and "don't" is "do n't".
    """
    return _WORD.findall(text.lower())


def document_frequencies(references: Iterable[Sequence[Words]]) -> DocumentFrequencies:
    """Of the references of each image of a set, usually those that are scored. Raises ValueError for fewer than two images."""
    counts, num_images = Counter[Ngram](), 0
    for captions in references:
        counts.update({ngram for caption in captions for ngram in _ngrams(caption)})
        num_images += 1
    if num_images < 2:  # the logarithm of images over images with an n-gram would be 0 for every one
        raise ValueError(f"document frequencies of {num_images} image{'s' * (num_images != 1)}: n-grams have a weight from 2 images on")
    return DocumentFrequencies(num_images, counts)


def cider_d(
    candidates: Mapping[Image, Words], *, references: Mapping[Image, Sequence[Words]], frequencies: DocumentFrequencies
) -> dict[Image, float]:
    """CIDEr-D of each image's caption; the score of a set is the plain mean over its images.

    For each length n: the cosine of the two tf-idf vectors, in which a candidate's weights count up to the reference's, times
    exp(-d^2 / (2 sigma^2)) with d words of difference in length. Then the mean over the references and the four n, times 10.
    A caption without words scores 0, and one of fewer than four words has no n-grams of the longer kinds.
    """
    _check(candidates, references)
    scores = dict[Image, float]()
    for image, candidate in candidates.items():
        said = _vector(candidate, frequencies)
        likeness = sum(_likeness(said, _vector(caption, frequencies)) for caption in references[image])
        scores[image] = SCALE * likeness / len(references[image])
    return scores


def _check(candidates: Mapping[Image, Words], references: Mapping[Image, Sequence[Words]]) -> None:
    if not candidates:
        raise ValueError("no candidates: CIDEr-D needs at least one caption")
    if without := [image for image in candidates if image not in references]:
        raise ValueError(f"{len(without)} of {len(candidates)} candidates have no references, such as {without[0]!r}: the ids must match")
    if without := [image for image in references if image not in candidates]:
        raise ValueError(f"{len(without)} of {len(references)} images have no candidate, such as {without[0]!r}: the ids must match")
    for image, captions in references.items():
        for caption in (candidates[image], captions, *captions):
            if isinstance(caption, str):  # its letters would pass for words
                raise ValueError(f"image {image!r}: {caption[:40]!r} is text; captions are sequences of words, as caption_words makes them")
        if not captions:
            raise ValueError(f"image {image!r} has no references: at least one caption")
        if not all(captions):
            raise ValueError(
                f"image {image!r}: reference {[bool(caption) for caption in captions].index(False) + 1} has no words: leave it out"
            )


def _ngrams(caption: Words) -> Counter[Ngram]:
    words = tuple(caption)
    return Counter(words[start : start + n] for n in range(1, LONGEST + 1) for start in range(len(words) - n + 1))


def _vector(caption: Words, frequencies: DocumentFrequencies) -> _Vector:
    weights = tuple(dict[Ngram, float]() for _ in range(LONGEST))
    for ngram, times in _ngrams(caption).items():
        # one that no reference has weighs as much as one that a single image has
        weights[len(ngram) - 1][ngram] = times * math.log(frequencies.num_images / max(1, frequencies.counts[ngram]))
    return _Vector(len(caption), weights, tuple(math.hypot(*part.values()) for part in weights))


def _likeness(said: _Vector, reference: _Vector) -> float:
    """0 to 1."""
    total = 0.0
    for n in range(LONGEST):
        ours, theirs, norms = said.weights[n], reference.weights[n], said.norms[n] * reference.norms[n]
        if norms:
            total += sum(min(weight, theirs[ngram]) * theirs[ngram] for ngram, weight in ours.items() if ngram in theirs) / norms
    penalty = math.exp(-((said.length - reference.length) ** 2) / (2 * SIGMA**2))
    return penalty * total / LONGEST
