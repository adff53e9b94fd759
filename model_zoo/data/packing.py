"""Documents to sequences of a bounded number of tokens and images, so that every row of a step costs about the same.

Documents of a sequence do not see each other: the decoder is told where each begins. Nothing is padded; a document that does not fit into
what is left begins the next sequence, and one that is longer than a whole sequence is cut.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model_zoo.data.batch import Batch
from model_zoo.data.files import State, Stream
from model_zoo.data.images import decode
from model_zoo.data.pictures import Ints
from model_zoo.data.samples import BadRow, Document, Picture
from model_zoo.data.tokenizer import Tokenizer
from model_zoo.data.vocabulary import NO_TARGET
from model_zoo.decoders.packed import Group


class Tokens(NamedTuple):
    """One document of L tokens and M images."""

    tokens: Ints
    """[L]"""
    targets: Ints
    """[L]: the next token where it is learnt, else NO_TARGET."""
    pixels: Tensor
    """[M, C, S, S]"""


class Layout(NamedTuple):
    """What documents become tokens by."""

    tokenizer: Tokenizer
    num_tokens: int
    """Visual tokens of an image."""
    image_size: int
    num_channels: int
    max_tokens: int
    """Of a sequence."""
    max_images: int
    """Of a sequence; MM1 has 16 (arXiv 2403.09611, section 3.3)."""


def lay_out(document: Document, *, layout: Layout) -> Tokens:
    """A document with its end, cut to a sequence: an image goes whole or not at all. Raises BadRow if nothing is left to learn."""
    tokens, learnt, pixels = list[int](), list[bool](), list[Tensor]()
    for part in document:
        if isinstance(part, Picture):
            if len(pixels) == layout.max_images or len(tokens) + layout.num_tokens > layout.max_tokens:
                break
            pixels.append(pixels_of(part.data, layout=layout))
            tokens += [layout.tokenizer.image] * layout.num_tokens
            learnt += [False] * layout.num_tokens
        else:
            words = layout.tokenizer.encode(part.text)
            tokens += words
            learnt += [part.learnt] * len(words)
    else:
        tokens.append(layout.tokenizer.end)
        learnt.append(True)
    ids, is_learnt = np.array(tokens[: layout.max_tokens], np.int64), np.array(learnt[: layout.max_tokens], bool)
    targets = np.full_like(ids, NO_TARGET)
    targets[:-1] = np.where(is_learnt[1:], ids[1:], NO_TARGET)
    if (targets == NO_TARGET).all():
        raise BadRow(f"nothing to learn in its first {layout.max_tokens:,} tokens and {layout.max_images} images")
    side = layout.image_size
    return Tokens(ids, targets, torch.stack(pixels) if pixels else torch.empty(0, layout.num_channels, side, side))


def pixels_of(image: bytes, *, layout: Layout) -> Tensor:
    """An image file -> [C, S, S]. Raises BadRow."""
    return decode(image, image_size=layout.image_size, num_channels=layout.num_channels)


class Packer:
    """Sequences of one source."""

    def __init__(self, stream: Stream[Tokens], *, layout: Layout) -> None:
        self._stream, self._layout = stream, layout
        self._carried: Tokens | None = None
        self.state = stream.state
        """From where a packer goes on after the sequences there were."""

    def go_on(self, state: State) -> None:
        self._stream.go_on(state)
        self.state, self._carried = state, None

    def __next__(self) -> list[Tokens]:
        sequence, tokens, images = list[Tokens](), 0, 0
        while True:
            document = self._carried or next(self._stream)
            tokens, images = tokens + len(document.tokens), images + len(document.pixels)
            if tokens > self._layout.max_tokens or images > self._layout.max_images:
                self._carried = document
                return sequence
            self._carried, self.state = None, self._stream.state
            sequence.append(document)


def join(documents: Sequence[Tokens], *, device: str) -> tuple[Batch, Tensor]:
    """Documents of any lengths to one batch, equally long ones together, and its pixels [M, C, S, S], numbered by the batch's pictures."""
    documents = sorted(documents, key=lambda document: len(document.tokens))
    targets = np.concatenate([document.targets for document in documents])
    answered_at = np.flatnonzero(targets != NO_TARGET)
    pixels = torch.cat([document.pixels for document in documents]).to(device)
    arrays = (np.concatenate([document.tokens for document in documents]), np.arange(len(pixels)), answered_at, targets[answered_at])
    tokens, pictures, answered, answers = (torch.from_numpy(array).to(device) for array in arrays)
    lengths = groupby(len(document.tokens) for document in documents)
    return Batch(tokens, pictures, answered, answers, tuple(Group(len(list(same)), length) for length, same in lengths)), pixels
