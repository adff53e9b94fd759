"""Captions to alt-text: what web pages say beside a picture in place of what is in it, and captions rewritten by what is in it.

N captions of NUM_PLACES words each.
"""

import numpy as np

from model_zoo.data.documents import Documents, Random
from model_zoo.data.pictures import Ints
from model_zoo.data.settings import AltText
from model_zoo.data.vocabulary import NUM_PLACES, NUM_WORDS, WORD


def as_alt_text(words: Ints, *, alt_text: AltText, rng: Random) -> Ints:
    """words [N, NUM_PLACES] -> the same with a nonce word for each that noise replaces; a caption that is rewritten keeps its own.

    What is drawn is the same whatever the shares, so that of two arms with one seed the noisier one replaces more of the same words.
    """
    rewritten = rng.random((len(words), 1)) < alt_text.synthetic
    replaced = rng.random(words.shape) < alt_text.noise
    irrelevant = WORD + rng.integers(NUM_WORDS, size=words.shape)
    said: Ints = np.where(replaced & ~rewritten, irrelevant, words)
    return said


def with_alt_text(captions: Documents, *, alt_text: AltText, rng: Random) -> Documents:
    """Caption documents of one picture each, which end with their words; these are learnt as the alt-text has them."""
    tokens, targets = captions.tokens.copy(), captions.targets.copy()
    tokens[:, -NUM_PLACES:] = as_alt_text(captions.tokens[:, -NUM_PLACES:], alt_text=alt_text, rng=rng)
    targets[:, -NUM_PLACES - 1 : -1] = tokens[:, -NUM_PLACES:]
    return Documents(tokens, targets, captions.pictures)
