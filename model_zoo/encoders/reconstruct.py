"""The encoder stage's objective without captions: each patch from those before it, in raster order.

B images, P patches, p side of a patch, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_zoo.encoders.encoder import HEAD_BLOCKS, EncoderSettings
from model_zoo.encoders.grid import to_patches, with_channels
from model_zoo.encoders.transformer import MLP_RATIO
from model_zoo.initial import residual


class HeadBlock(nn.Module):
    """Pre-norm residual MLP: patches do not see each other here."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, MLP_RATIO * width)
        self.mlp_out = residual(nn.Linear(MLP_RATIO * width, width), depth=HEAD_BLOCKS)

    def forward(self, x: Tensor) -> Tensor:
        """[B, P, D] -> [B, P, D]"""
        hidden: Tensor = self.mlp_out(F.gelu(self.mlp_in(self.norm(x))))
        return x + hidden


class Reconstruction(nn.Module):
    """AIM (El-Nouby et al. 2024, arXiv 2401.08541, sections 3.1 and 3.2): normalised pixels of the next patch by squared error.

    A prefix of random length is seen in both directions and not scored, so that the encoder learns the attention it will be used with.
    The head has HEAD_BLOCKS blocks of the encoder's width where AIM has 12 of width 2048; it is thrown away after the stage.
    """

    def __init__(self, config: EncoderSettings) -> None:
        super().__init__()
        self.patch_size, self.image_size, self.num_channels = config.patch_size, config.image_size, config.num_channels
        self.blocks = nn.Sequential(*(HeadBlock(config.width) for _ in range(HEAD_BLOCKS)))
        self.final_norm = nn.LayerNorm(config.width)
        self.pixels = nn.Linear(config.width, config.num_channels * config.patch_size**2)

    def forward(self, features: Tensor, *, images: Tensor, prefix: Tensor) -> Tensor:
        """features [B, P, D] under `prefix_mask`, images [B, C, S, S] or [B, S, S], prefix [B] from 1 to P - 1 -> mean squared error"""
        channels = with_channels(images, num_channels=self.num_channels, image_size=self.image_size)
        patches = to_patches(channels, side=self.patch_size)
        targets = F.layer_norm(patches, patches.shape[-1:])[:, 1:]  # each patch by its own mean and spread (AIM, section 3.1)
        foretold = self.pixels(self.final_norm(self.blocks(features[:, :-1])))
        scored = torch.arange(1, patches.shape[1], device=prefix.device) >= prefix[:, None]  # [B, P - 1]
        errors: Tensor = (foretold - targets).square().mean(-1)[scored]
        return errors.mean()


def prefix_mask(prefix: Tensor, *, num_patches: int) -> Tensor:
    """prefix [B] -> [B, 1, P, P] of booleans: a patch sees those before it, itself and the whole prefix."""
    place = torch.arange(num_patches, device=prefix.device)
    causal = place[:, None] >= place  # [P, P]
    return (causal | (place < prefix[:, None, None]))[:, None]
