"""Images as encoders read them, and what belongs to the places of their grid.

B images, C channels, S side in pixels, P = G x G patches, p side of a patch, D width, V = 1 + t x t views of a picture cut into t x t.
"""

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def with_channels(pixels: Tensor, *, num_channels: int, image_size: int) -> Tensor:
    """[B, C, S, S], or grey [B, S, S] -> [B, C, S, S]

    Grey images, such as the digit scenes, are repeated over the channels here, so that pools hold them once.
    """
    if pixels.shape[-2:] != (image_size, image_size):
        raise ValueError(f"encoder: images are {tuple(pixels.shape[-2:])}, the config says {image_size} px a side")
    if pixels.dim() == 3:
        return pixels[:, None].expand(-1, num_channels, -1, -1)
    if pixels.shape[1] != num_channels:
        raise ValueError(f"encoder: images have {pixels.shape[1]} channels, the config says {num_channels}")
    return pixels


def see(encoder: nn.Module, pictures: Tensor, *, tiles: int) -> Tensor:
    """[B, C, t S, t S], or grey [B, t S, t S] -> features [B, V P, D]: of the overview, then of each sub-image, row by row."""
    if not len(pictures):
        return pictures.new_zeros(0, 0, 0)  # not every encoder takes none
    if tiles == 1:
        features: Tensor = encoder(pictures)
        return features
    seen: Tensor = encoder(sub_images(pictures, tiles=tiles).flatten(0, 1))
    return seen.reshape(len(pictures), -1, seen.shape[-1])


def sub_images(pictures: Tensor, *, tiles: int) -> Tensor:
    """[B, C, t S, t S], or grey [B, t S, t S] -> [B, V, C, S, S], grey ones without C: the whole picture made small, then its parts."""
    grey = pictures.dim() == 3
    pictures = pictures[:, None] if grey else pictures
    b, c, side, _ = pictures.shape
    size = side // tiles
    overview = F.interpolate(pictures, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    parts = pictures.view(b, c, tiles, size, tiles, size).permute(0, 2, 4, 1, 3, 5).reshape(b, tiles**2, c, size, size)
    views = torch.cat((overview[:, None], parts), 1)
    return views[:, :, 0] if grey else views


def to_patches(pixels: Tensor, *, side: int) -> Tensor:
    """[B, C, S, S] -> [B, P, C p^2]; patches row by row, each channel by channel."""
    b, c, size, _ = pixels.shape
    grid = size // side
    return pixels.view(b, c, grid, side, grid, side).permute(0, 2, 4, 1, 3, 5).reshape(b, grid * grid, c * side * side)


def interpolated(encoder: nn.Module, name: str, *, num_patches: int, num_extra: int = 0) -> None:
    """Lets an encoder take weights of another resolution: of the table `name`, its first `num_extra` rows stand for no patches and stay."""

    def resize(_module: nn.Module, tensors: dict[str, Tensor], prefix: str, *_: object) -> None:
        table = tensors.get(prefix + name)
        if table is not None and len(table) != num_patches + num_extra:
            tensors[prefix + name] = torch.cat((table[:num_extra], resize_positions(table[num_extra:], num_patches=num_patches)))

    encoder.register_load_state_dict_pre_hook(resize)


def resize_positions(positions: Tensor, *, num_patches: int) -> Tensor:
    """[P, D] of one square grid -> [num_patches, D] of another, bicubic (ViT, arXiv 2010.11929, section 3.2)."""
    if len(positions) == num_patches:
        return positions
    before, after = isqrt(len(positions)), isqrt(num_patches)
    grid = positions.T.reshape(1, -1, before, before)
    resized = F.interpolate(grid, size=(after, after), mode="bicubic", align_corners=False)
    return resized[0].flatten(1).T.contiguous()
