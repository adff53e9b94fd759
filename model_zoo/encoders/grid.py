"""Images as encoders read them, and what belongs to the places of their grid.

B images, C channels, S side in pixels, P = G x G patches, p side of a patch, D width.
"""

from math import isqrt

from torch import Tensor
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


def to_patches(pixels: Tensor, *, side: int) -> Tensor:
    """[B, C, S, S] -> [B, P, C p^2]; patches row by row, each channel by channel."""
    b, c, size, _ = pixels.shape
    grid = size // side
    return pixels.view(b, c, grid, side, grid, side).permute(0, 2, 4, 1, 3, 5).reshape(b, grid * grid, c * side * side)


def resize_positions(positions: Tensor, *, num_patches: int) -> Tensor:
    """[P, D] of one square grid -> [num_patches, D] of another, bicubic (ViT, arXiv 2010.11929, section 3.2)."""
    if len(positions) == num_patches:
        return positions
    before, after = isqrt(len(positions)), isqrt(num_patches)
    grid = positions.T.reshape(1, -1, before, before)
    resized = F.interpolate(grid, size=(after, after), mode="bicubic", align_corners=False)
    return resized[0].flatten(1).T.contiguous()
