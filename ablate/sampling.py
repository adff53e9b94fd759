"""A seed becomes positions: points spread over a cube, or distinct indices in random order. The same on every machine.

Latin hypercubes and indices are drawn with Python's own generator, whose `random()` and big integers give one sequence everywhere and cost
no import; only `sobol` imports scipy, about 0.7 s.
"""

import random
from collections.abc import Iterator

from ablate.errors import InputError

MAX_SOBOL_DIMENSIONS = 21_201
"""Directions that scipy knows (Joe & Kuo 2008)."""


def latin_hypercube(points: int, *, dimensions: int, seed: int) -> list[tuple[float, ...]]:
    """Points in [0, 1): in each dimension exactly one in each of `points` equal intervals (McKay, Beckman & Conover 1979)."""
    generator = random.Random(seed)  # noqa: S311 - a design, no secret
    columns = [_strata(points, generator) for _ in range(dimensions)]
    return [tuple(column[point] for column in columns) for point in range(points)]


def sobol(points: int, *, dimensions: int, seed: int) -> list[tuple[float, ...]]:
    """The first points in [0, 1) of a scrambled Sobol sequence: more points keep the ones before them. Raises InputError."""
    if dimensions > MAX_SOBOL_DIMENSIONS:
        raise InputError(f"a Sobol sequence has up to {MAX_SOBOL_DIMENSIONS:,} axes, found {dimensions:,}; use latin_hypercube")
    if not points or not dimensions:
        return [()] * points
    import numpy as np
    from scipy.stats import qmc

    # whole powers of two are drawn, since scipy warns of any other number, and the spare ones left out
    generator = np.random.default_rng(seed)
    drawn = qmc.Sobol(dimensions, scramble=True, seed=generator).random_base2((points - 1).bit_length())
    return [tuple(point) for point in drawn[:points].tolist()]


def sample_indices(size: int, *, seed: int) -> Iterator[int]:
    """Every index of range(size) once, in random order, drawn as they are asked for: the first n are a sample without replacement.

    A card shuffle (Fisher & Yates) that remembers only the places it has touched, so `size` may have thirty digits.
    """
    generator = random.Random(seed)  # noqa: S311 - a design, no secret
    moved: dict[int, int] = {}
    for place in range(size):
        other = generator.randrange(place, size)
        here = moved.pop(place, place)
        if other == place:
            yield here
        else:
            yield moved.get(other, other)
            moved[other] = here


def _strata(points: int, generator: random.Random) -> list[float]:
    """One position in each of `points` intervals, in random order."""
    order = sorted(range(points), key=lambda _: generator.random())
    return [min((stratum + generator.random()) / points, _BELOW_ONE) for stratum in order]


_BELOW_ONE = 1 - 2.0**-53
