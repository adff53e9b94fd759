"""Linear maps of a part of the model, which LoRA adds maps of low rank to, and what those cost. No torch; `model_zoo.lora` adds them."""

from collections.abc import Sequence
from typing import NamedTuple


class LinearMap(NamedTuple):
    """A linear map, or several alike."""

    inputs: int
    outputs: int
    number: int
    """How many there are."""
    passes: int
    """How often they are gone through, all together: for each token of a decoder, for each image of an encoder."""


def layer_maps(width: int, *, number: int, passes: int) -> tuple[LinearMap, ...]:
    """Of layers as in a ViT: queries, keys and values in one, what is mixed, and an MLP of four widths."""
    shapes = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
    return tuple(LinearMap(inputs, outputs, number, passes) for inputs, outputs in shapes)


def lora_params(maps: Sequence[LinearMap], *, rank: int) -> int:
    """A [rank, inputs] and B [outputs, rank] of each map (Hu et al. 2021, arXiv 2106.09685, section 4.1)."""
    return rank * sum(one.number * (one.inputs + one.outputs) for one in maps)


def lora_flops(maps: Sequence[LinearMap], *, rank: int) -> float:
    """Forward, of a token or an image."""
    return 2.0 * rank * sum(one.passes * (one.inputs + one.outputs) for one in maps)


def lora_numbers_kept(maps: Sequence[LinearMap], *, rank: int) -> float:
    """For the backward pass, of a token or an image: A x. What A reads is kept for the map itself, in `numbers_kept`."""
    return rank * sum(one.passes for one in maps)
