"""The whole model: images and tokens to hidden states.

The decoder's row of tokens holds a placeholder for every visual token; the splice puts the connector's output there.

M images, V views of each, S side in pixels, P patches, E width of the encoder, Q visual tokens of a view, T tokens, D width of the decoder.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model_zoo.decoders.packed import Decoder, Group

if TYPE_CHECKING:
    from model_zoo.decoders.from_transformers import TransformersDecoder


def splice(embedded: Tensor, *, visual: Tensor, placeholders: Tensor) -> Tensor:
    """embedded [T, D], visual [M, Q, D], placeholders [T] of booleans -> [T, D], in order of appearance."""
    produced = visual.shape[0] * visual.shape[1]
    expected = int(placeholders.sum())
    if produced != expected:
        raise ValueError(
            f"splice: {produced} visual tokens ({visual.shape[0]} images x {visual.shape[1]}) "
            f"for {expected} placeholders; documents and connector must agree on num_tokens"
        )
    if not produced:
        return embedded
    index = placeholders.nonzero()[:, 0]
    return torch.index_copy(embedded, 0, index, visual.flatten(0, 1).to(embedded.dtype))


class VisionLanguageModel(nn.Module):
    """Encoder, connector, decoder in the shape of MM1 (arXiv 2403.09611, section 3.1)."""

    def __init__(
        self, encoder: nn.Module, *, connector: nn.Module, decoder: "Decoder | TransformersDecoder", image_token: int, num_views: int = 1
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.connector = connector
        self.decoder = decoder
        self.image_token = image_token
        self.num_views = num_views

    def forward(self, tokens: Tensor, *, features: Tensor, groups: Sequence[Group]) -> Tensor:
        """tokens [T], features [M, V P, E] from the encoder -> hidden states [T, D]

        Features come from outside, because a frozen encoder's are computed once and kept. A picture's views follow each other.
        """
        x: Tensor = self.decoder.embedding(tokens)
        if self.num_views > 1 and len(features):
            features = features.unflatten(1, (self.num_views, -1)).flatten(0, 1)
        visual = self.connector(features) if len(features) else features.new_zeros(0, 0, x.shape[1])
        x = splice(x, visual=visual, placeholders=tokens == self.image_token)
        hidden: Tensor = self.decoder(x, groups=groups)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """[A, D] -> [A, V], for the A tokens whose answers count."""
        out: Tensor = self.decoder.head(hidden)
        return out
