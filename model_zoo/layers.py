"""A decoder's layers, made ready for a training stage that asks for more than their plain forward pass."""

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from model_zoo.config import Train


def prepare(layers: nn.ModuleList, *, train: Train) -> None:
    """As `train.compile_mlps` and `train.checkpoint_layers` say; names of weights stay."""
    if train.compile_mlps:
        _compile_mlps(layers)
    if train.checkpoint_layers:
        _checkpoint(layers)


def _compile_mlps(layers: nn.ModuleList) -> None:
    """For any number of tokens at once: attention is left alone, whose documents are others in every step, and so are experts."""
    for layer in layers:
        if isinstance(layer.mlp, nn.Module):
            layer.mlp.compile(dynamic=True)
        elif layer.experts is None:
            layer.mlp = torch.compile(layer.mlp, dynamic=True)


def _checkpoint(layers: nn.ModuleList) -> None:
    """Each layer keeps its input alone and runs again in the backward pass (Chen et al. 2016, arXiv 1604.06174)."""
    for layer in layers:
        # there is no dropout, so no random state to put back
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
