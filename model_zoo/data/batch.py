"""Documents of several kinds to the tensors of one forward pass.

T tokens of all documents, M pictures, A answers.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model_zoo.data.documents import Documents
from model_zoo.data.vocabulary import NO_TARGET
from model_zoo.decoders.packed import Group


class Batch(NamedTuple):
    """Documents one after another, equally long ones together."""

    tokens: Tensor
    """[T]"""
    pictures: Tensor
    """[M] numbers in the pool, in the order of their placeholders."""
    answered_at: Tensor
    """[A] tokens that have to foretell the next one."""
    answers: Tensor
    """[A] that next one."""
    groups: tuple[Group, ...]
    """How many documents of which length, in order."""


def collate(kinds: Sequence[Documents], *, device: str) -> Batch:
    """One group for each kind, or for several that follow each other and are equally long."""
    targets = np.concatenate([kind.targets.ravel() for kind in kinds])
    answered_at = np.flatnonzero(targets != NO_TARGET)
    arrays = (
        np.concatenate([kind.tokens.ravel() for kind in kinds]),
        np.concatenate([kind.pictures.ravel() for kind in kinds]),
        answered_at,
        targets[answered_at],
    )
    tokens, pictures, answered_at_tensor, answers = (torch.from_numpy(array).to(device) for array in arrays)
    lengths = groupby(kinds, key=lambda kind: kind.tokens.shape[1])
    groups = tuple(Group(sum(len(kind.tokens) for kind in same), length) for length, same in lengths)
    return Batch(tokens, pictures, answered_at_tensor, answers, groups)


def deal(kinds: Sequence[Documents], *, parts: int) -> list[list[Documents]]:
    """Documents to micro-batches like cards, so that each has its share of every kind, and some document if there are as many as parts."""
    if parts == 1:
        return [list(kinds)]
    dealt: list[list[Documents]] = [[] for _ in range(parts)]
    number = 0  # of documents so far
    for kind in kinds:
        for part, hand in enumerate(dealt):
            chosen = slice((part - number) % parts, None, parts)
            if len(kind.tokens[chosen]):
                hand.append(Documents(*(array[chosen] for array in kind)))
        number += len(kind.tokens)
    return dealt
