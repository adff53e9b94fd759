"""A frozen encoder and pools of pictures to features, and those to a file that many trials read.

Invariant: whoever computes them, a pool goes through whole and in the same batches, so cached features are bit for bit those that a trial
would have computed itself. In batches of another size nobody promises a picture the same last bits.

N pictures, V views of each, P patches, E width of the encoder.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model_zoo.data.pictures import Pool
from model_zoo.encoders.grid import see

PICTURES_AT_ONCE = 512


class PoolFeatures(NamedTuple):
    """Of all pictures a trial sees while its encoder is frozen; documents pick theirs by number."""

    training: Tensor
    """[N, V P, E] of the pool of its seed."""
    held_out: Tensor
    """[N, V P, E] of the pool that every trial is measured on."""


@torch.no_grad()
def encode(encoder: nn.Module, pool: Pool, *, tiles: int, device: str) -> Tensor:
    """Features [N, V P, E] of a whole pool."""
    parts = torch.split(pool.pixels, PICTURES_AT_ONCE)
    return torch.cat([see(encoder, part.to(device), tiles=tiles) for part in parts])


def encode_pools(encoder: nn.Module, *, training: Pool, held_out: Pool, tiles: int, device: str) -> PoolFeatures:
    """Every picture once."""
    training_features, held_out_features = (encode(encoder, pool, tiles=tiles, device=device) for pool in (training, held_out))
    return PoolFeatures(training_features, held_out_features)


def save_features(features: PoolFeatures, path: Path) -> None:
    """12,037 pictures of 16 patches of width 64, as in the tiny world, are 49 MB."""
    save_file({name: tensor.cpu() for name, tensor in features._asdict().items()}, path)


def load_features(path: Path, *, device: str) -> PoolFeatures:
    """On a CPU the file is mapped, so the trials of one machine have it in memory once."""
    return PoolFeatures(**load_file(path, device=device))
