"""Image files to pixels: decoded whole or refused, within a size that an image of a data set has."""

import io
import warnings

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from model_zoo.data.samples import BadRow

MAX_PIXELS = 64_000_000
"""Of one image; more is a file that was made to fill the memory, or a scan nobody trains on as it is."""
MEAN = SD = 0.5
"""Of pixels from 0 to 1, as in SigLIP (arXiv 2303.15343) and ViT."""


def decode(data: bytes, *, image_size: int, num_channels: int) -> Tensor:
    """An image file -> [C, S, S], padded to a square with grey, as LLaVA-1.5 does, and resized."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            file = Image.open(io.BytesIO(data))  # reads the head alone
            width, height = file.size
            if width * height > MAX_PIXELS:
                raise BadRow(f"an image of {width:,} x {height:,} px; at most {MAX_PIXELS:,} in all")
            if not width or not height:
                raise BadRow(f"an image of {width} x {height} px")
            image = file.convert("L" if num_channels == 1 else "RGB")
    except BadRow:
        raise
    except UnidentifiedImageError:
        raise BadRow("no image that can be read") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
        raise BadRow(f"a broken image: {error}") from error
    side = max(width, height)
    square = Image.new(image.mode, (side, side), 128 if num_channels == 1 else (128, 128, 128))
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    array = np.asarray(square.resize((image_size, image_size), Image.Resampling.BICUBIC), np.float32)
    pixels = torch.from_numpy(array.reshape(image_size, image_size, num_channels).transpose(2, 0, 1).copy())
    return (pixels / 255 - MEAN) / SD
