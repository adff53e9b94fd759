"""Prompts of text and pictures to what a model writes after them: always the likeliest token, one after another.

Nothing is kept of a token but the token: n of them after a prompt of L tokens cost n passes over L to L + n. So every decoder of the zoo
writes with the forward pass that it was trained with, and what it writes is exact; a cache would make it one long pass and n short ones.

N prompts of a batch, L tokens of one, M pictures, P patches, E width of the encoder, V vocabulary.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from model_zoo.data.tokenizer import Tokenizer
from model_zoo.decoders.packed import Group
from model_zoo.evaluate.answers import TOKENS_AT_ONCE
from model_zoo.evaluate.settings import NEW_LINE
from model_zoo.vlm import VisionLanguageModel

See = Callable[[Sequence[bytes]], Tensor]
"""M image files -> features [M, P, E]"""


class Asked(NamedTuple):
    """A prompt as the model reads it."""

    tokens: tuple[int, ...]
    """[L], with a placeholder for each visual token."""
    pictures: tuple[bytes, ...]
    """Image files, in the order of their placeholders."""


def generate(
    model: VisionLanguageModel, prompts: Sequence[Asked], *, tokenizer: Tokenizer, see: See, max_new_tokens: int, device: str
) -> list[str]:
    """What is written after each prompt, to the end token, a line break or so many tokens: greedy, without the spaces around it.

    A line break ends an answer because each shot before it is a line: a model that has seen some goes on with a line of its own, which is
    no part of its answer. Placeholders are never written. Prompts of about one length go through the model together.
    """
    found = [""] * len(prompts)
    for batch in _batches(prompts, more=max_new_tokens):
        texts = _write([prompts[n] for n in batch], model, tokenizer=tokenizer, see=see, max_new_tokens=max_new_tokens, device=device)
        for n, text in zip(batch, texts, strict=True):
            found[n] = text
    return found


def _batches(prompts: Sequence[Asked], *, more: int) -> list[list[int]]:
    """Numbers of the prompts, shortest first, with at most TOKENS_AT_ONCE tokens at their end together, or one."""
    batches, room = list[list[int]](), 0
    for number in sorted(range(len(prompts)), key=lambda n: len(prompts[n].tokens)):
        length = len(prompts[number].tokens) + more
        if not batches or length > room:
            batches.append([])
            room = TOKENS_AT_ONCE
        batches[-1].append(number)
        room -= length
    return batches


@torch.no_grad()
def _write(
    prompts: Sequence[Asked], model: VisionLanguageModel, *, tokenizer: Tokenizer, see: See, max_new_tokens: int, device: str
) -> list[str]:
    """Of prompts in the order of their lengths, in which they stay, since each grows by one token a pass."""
    pictures = list(dict.fromkeys(picture for prompt in prompts for picture in prompt.pictures))
    features, place = see(pictures), {picture: number for number, picture in enumerate(pictures)}
    written: list[list[int]] = [[] for _ in prompts]
    unfinished = list(range(len(prompts)))
    for _ in range(max_new_tokens):
        rows = [(*prompts[n].tokens, *written[n]) for n in unfinished]
        groups = tuple(Group(len(list(same)), length) for length, same in groupby(map(len, rows)))
        tokens = torch.tensor([token for row in rows for token in row], device=device)
        seen = torch.tensor([place[picture] for n in unfinished for picture in prompts[n].pictures], dtype=torch.long, device=device)
        hidden = model(tokens, features=features[seen], groups=groups)
        ends = torch.tensor([len(row) for row in rows], device=device).cumsum(0) - 1
        logits = model.logits(hidden[ends])  # [N, V]
        logits[:, tokenizer.image] = -torch.inf
        likeliest = dict(zip(unfinished, logits.argmax(-1).tolist(), strict=True))
        unfinished = [n for n in unfinished if likeliest[n] != tokenizer.end]
        for n in unfinished:
            written[n].append(likeliest[n])
        unfinished = [n for n in unfinished if NEW_LINE not in tokenizer.decode(written[n])]
        if not unfinished:
            break
    return [tokenizer.decode(tokens).partition(NEW_LINE)[0].strip() for tokens in written]
