"""Handwritten digits to pools of pictures that documents pick from by number.

scikit-learn's `load_digits`: 1,797 digits of 8 x 8 px (UCI, Alpaydin and Kaynak 1998), split for good into 1,400
for training and 397 held out, by original image, so that nothing drawn from one half holds a stroke of the other.

N pictures, S side in pixels.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from model_zoo.data.vocabulary import NUM_DIGITS, NUM_PLACES

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

NUM_TRAINING = 1400
SPLIT_SEED = 20240314
DIGIT_SIDE = 8
CANVAS = 2 * DIGIT_SIDE
PIXEL_MEAN, PIXEL_SD = 0.3, 0.38
"""Of the digits, whose pixels are 0 to 1 after division by 16."""

_POOL = 2  # second word of a seed, so that no two uses of one seed share random numbers


class Digits(NamedTuple):
    """One half of the split."""

    images: Floats
    """[N, 8, 8], 0 to 1."""
    labels: Ints
    """[N]"""
    originals: Ints
    """[N] row numbers in `load_digits`."""


class Pool(NamedTuple):
    """Pictures that documents pick by number: scenes first, then every digit of the half once, alone in the centre."""

    pixels: Tensor
    """[N, S, S] float32, about zero mean and unit variance."""
    scenes: Ints
    """[num_scenes, 4] digit at each place of the scene with that number."""
    singles: tuple[Ints, ...]
    """For each digit, the numbers of the pictures that show it alone."""


@cache
def training_digits() -> Digits:
    """The 1,400."""
    return _half(slice(None, NUM_TRAINING))


@cache
def held_out_digits() -> Digits:
    """The 397."""
    return _half(slice(NUM_TRAINING, None))


def _half(part: slice) -> Digits:
    everything = load_digits()
    originals = np.random.default_rng(SPLIT_SEED).permutation(len(everything.target))[part]
    images = (everything.images[originals] / 16).astype(np.float32)
    return Digits(images, everything.target[originals].astype(np.int64), originals)


def make_pool(digits: Digits, *, num_scenes: int, image_size: int, rng: np.random.Generator) -> Pool:
    """Scenes of four digits each, drawn with replacement, and every digit by itself."""
    chosen = rng.integers(len(digits.labels), size=(num_scenes, NUM_PLACES))
    alone = np.zeros((len(digits.labels), CANVAS, CANVAS), np.float32)
    margin = DIGIT_SIDE // 2
    alone[:, margin : margin + DIGIT_SIDE, margin : margin + DIGIT_SIDE] = digits.images
    pixels = resample(np.concatenate((draw_scenes(digits, chosen=chosen), alone)), image_size=image_size)
    singles = tuple(num_scenes + np.flatnonzero(digits.labels == digit) for digit in range(NUM_DIGITS))
    return Pool(pixels, digits.labels[chosen], singles)


def training_pool(*, num_scenes: int, image_size: int, seed: int) -> Pool:
    """What a trial of this seed reads about, whatever stage asks."""
    return make_pool(training_digits(), num_scenes=num_scenes, image_size=image_size, rng=np.random.default_rng((seed, _POOL)))


def draw_scenes(digits: Digits, *, chosen: Ints) -> Floats:
    """chosen [N, 4] rows of `digits` -> canvases [N, 16, 16], two digits above two."""
    four = digits.images[chosen].reshape(-1, 2, 2, DIGIT_SIDE, DIGIT_SIDE)
    return four.transpose(0, 1, 3, 2, 4).reshape(-1, CANVAS, CANVAS)


def resample(canvases: Floats, *, image_size: int) -> Tensor:
    """Canvases [N, 16, 16] -> normalised pixels [N, S, S]; smaller loses detail, larger adds none."""
    pixels = (torch.from_numpy(canvases) - PIXEL_MEAN) / PIXEL_SD
    if image_size == CANVAS:
        return pixels
    return F.interpolate(pixels[:, None], size=(image_size, image_size), mode="bilinear", antialias=True)[:, 0]
