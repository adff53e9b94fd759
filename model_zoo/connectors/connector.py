"""What every connector says of itself. The settings plan without torch; `build` is the only method that needs it.

P = G x G patches of an image, E width of the encoder, Q visual tokens, D width of the decoder.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from model_zoo.fields import Count, Settings

if TYPE_CHECKING:
    from torch import nn


class Shape(NamedTuple):
    """What a connector stands between."""

    num_patches: int
    """P, of a square grid."""
    encoder_width: int
    """E"""
    width: int
    """D"""


class ConnectorSettings(Settings):
    """Patch features to visual tokens. All kinds share these fields, so an arm that changes only `kind` leaves nothing behind."""

    kind: str
    """Which connector: each class has its own name as the only value, and as the default."""
    num_tokens: Count = 4
    """Visual tokens an image becomes."""

    def reachable_tokens(self, grid: int) -> Sequence[int]:
        """The token counts it can give on a grid of `grid` x `grid` patches, ascending."""
        raise NotImplementedError

    def num_params(self, shape: Shape) -> int:
        """All its parameters."""
        raise NotImplementedError

    def forward_flops(self, shape: Shape) -> float:
        """Of one image; what counts is said in `model_zoo.flops`."""
        raise NotImplementedError

    def numbers_kept(self, shape: Shape) -> float:
        """Of one image, for the backward pass; within a tenth of what autograd keeps."""
        raise NotImplementedError

    def build(self, shape: Shape) -> "nn.Module":
        """A module whose `forward` takes features [M, P, E] of M images, patches row by row, to visual tokens [M, Q, D].

        Weights may be as the constructors leave them: `model_zoo.initial` draws them.
        """
        raise NotImplementedError


def squares(grid: int) -> list[int]:
    """Token counts of a kind that lays its tokens out as a square."""
    return [side**2 for side in range(1, grid + 1)]
