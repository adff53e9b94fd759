"""Seeds to random generators, many at once: each is `np.random.default_rng` of its own numbers.

A step of a tiny model takes a few milliseconds, and numpy seeds one generator at a time, half of that time outside of its own arithmetic.
Here the same arithmetic runs over all seeds together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_POOL = 4
_ENTROPY, _ENTROPY_FACTOR = 0x43B0D7E5, 0x931E8875
_STATE, _STATE_FACTOR = 0x8B51F9DD, 0x58F38DED
_LEFT, _RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
_HALF = np.uint32(16)


def generators(seed: int, numbers: Sequence[tuple[int, ...]]) -> list[np.random.Generator]:
    """Those of `default_rng((seed, *each))`; the tuples are equally long, their numbers below 2^32."""
    if not numbers:
        return []
    words = [seed & 0xFFFFFFFF]
    while seed := seed >> 32:
        words.append(seed & 0xFFFFFFFF)
    entropy = np.empty((len(words) + len(numbers[0]), len(numbers)), np.uint32)
    entropy[: len(words)] = np.array(words, np.uint32)[:, None]
    entropy[len(words) :] = np.array(numbers, np.uint32).T
    made: list[Any] = [_Known(state) for state in _states(entropy)]  # numpy's stubs leave out what PCG64's documentation allows
    return [np.random.Generator(np.random.PCG64(one)) for one in made]


class _Known(ISeedSequence):
    """What PCG64 asks for its first state."""

    def __init__(self, state: NDArray[np.uint64]) -> None:
        self._state = state

    def generate_state(self, n_words: int, dtype: object = np.uint32) -> NDArray[np.uint64]:
        assert (n_words, dtype) == (len(self._state), np.uint64), "not PCG64"
        return self._state


def _states(entropy: Words) -> NDArray[np.uint64]:
    """Entropy [K, N], in words of 32 bits -> [N, 4], each what a `SeedSequence` gives PCG64.

    M. E. O'Neill, "Developing a seed_seq alternative" (2015), as in `numpy.random.SeedSequence` and with its constants.
    """
    hashed, length = _Hash(_ENTROPY, factor=_ENTROPY_FACTOR), entropy.shape[1]
    pool = [hashed(entropy[i] if i < len(entropy) else np.zeros(length, np.uint32)) for i in range(_POOL)]
    for source in range(_POOL):
        for target in range(_POOL):
            if source != target:
                pool[target] = _mixed(pool[target], hashed(pool[source]))
    for word in entropy[_POOL:]:
        pool = [_mixed(one, hashed(word)) for one in pool]
    hashed = _Hash(_STATE, factor=_STATE_FACTOR)
    words = np.stack([hashed(pool[i % _POOL]) for i in range(2 * _POOL)], axis=1)  # lowest first
    return words.astype("<u4").view("<u8").astype(np.uint64)


class _Hash:
    """Each call multiplies by the next constant of its series."""

    def __init__(self, constant: int, *, factor: int) -> None:
        self._constant, self._factor = constant, factor

    def __call__(self, value: Words) -> Words:
        value = value ^ np.uint32(self._constant)
        self._constant = self._constant * self._factor & 0xFFFFFFFF
        value *= np.uint32(self._constant)
        value ^= value >> _HALF
        return value


def _mixed(left: Words, right: Words) -> Words:
    mixed = left * _LEFT - right * _RIGHT
    mixed ^= mixed >> _HALF
    return mixed
