"""The encoder stage's objective: each image should find its own caption among those of the batch, and the reverse.

B images, P patches, D width, N words in a caption.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_zoo.initial import embedding


class ContrastScore(NamedTuple):
    """What one batch says."""

    loss: Tensor
    """In nats, the mean over both directions."""
    accuracy: Tensor
    """Share of images whose own caption scores highest."""


class Contrast(nn.Module):
    """CLIP (Radford et al. 2021, arXiv 2103.00020, section 2.3, figure 3), with a tower for captions of fixed length.

    It is thrown away after the stage; only the image encoder goes on.
    """

    def __init__(self, width: int, *, caption_length: int, num_words: int) -> None:
        super().__init__()
        self.caption_embedding = embedding(caption_length, num_words, width)
        self.caption_in = nn.Linear(width, 2 * width)
        self.caption_out = nn.Linear(2 * width, width)
        self.image_out = nn.Linear(width, width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # CLIP's initial temperature

    def forward(self, features: Tensor, *, captions: Tensor) -> ContrastScore:
        """features [B, P, D], captions [B, N] of word numbers"""
        place = torch.arange(captions.shape[1], device=captions.device)
        words = self.caption_embedding[place, captions].sum(1)  # [B, N, D] -> [B, D]
        text = F.normalize(self.caption_out(F.gelu(self.caption_in(words))), dim=-1)
        image = F.normalize(self.image_out(features.mean(1)), dim=-1)
        similarity = image @ text.T * self.log_scale.exp()  # [B, B]
        own = torch.arange(len(captions), device=captions.device)
        loss = (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2
        return ContrastScore(loss, (similarity.argmax(1) == own).float().mean())
