"""First weights: what a layer is says how they are drawn, and one generator draws all of a model's."""

import math
from typing import TypeVar

import torch
from torch import nn

EMBEDDING_SD = 0.25
"""Of whatever enters the residual stream, so that words and visual tokens start at one scale."""
_DIVISOR = "initial_divisor"
_SD = "initial_sd"
Map = TypeVar("Map", nn.Linear, nn.Conv2d)


def residual(layer: Map, *, depth: int) -> Map:
    """Marks a map whose output is added to a residual stream of `depth` layers, two additions each (GPT-2)."""
    return _marked(layer, math.sqrt(2 * depth))


def into_stream(layer: Map) -> Map:
    """Marks the last map of a connector, whose output stands beside embedded words."""
    return _marked(layer, 1 / EMBEDDING_SD)


def embedding(*shape: int) -> nn.Parameter:
    """A parameter that is looked up or added rather than multiplied: positions, queries, the words of captions."""
    parameter = nn.Parameter(torch.empty(*shape))
    setattr(parameter, _SD, EMBEDDING_SD)
    return parameter


@torch.no_grad()
def initialise(model: nn.Module, *, seed: int) -> None:
    """Draws every weight anew from one generator of its own, in the order of the modules.

    | parameter                             | distribution                            |
    |---------------------------------------|-----------------------------------------|
    | linear maps and convolutions          | normal, sd 1 / sqrt(fan in)             |
    | those marked `residual`               | the same, over sqrt(2 x layers) (GPT-2) |
    | those marked `into_stream`            | the same, times EMBEDDING_SD            |
    | token embeddings, those of `embedding`| normal, sd EMBEDDING_SD                 |
    | gains of norms                        | 1                                       |
    | biases                                | 0                                       |
    | any other                             | left as built                           |
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            if module.weight is not None:
                nn.init.ones_(module.weight)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            sd = 1 / math.sqrt(module.weight[0].numel()) / getattr(module, _DIVISOR, 1)
            module.weight.normal_(0, sd, generator=generator)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0, EMBEDDING_SD, generator=generator)
        else:
            for parameter in module.parameters(recurse=False):
                if sd := getattr(parameter, _SD, 0.0):
                    parameter.normal_(0, sd, generator=generator)
        if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
            nn.init.zeros_(bias)


def _marked(layer: Map, divisor: float) -> Map:
    setattr(layer, _DIVISOR, divisor)
    return layer
