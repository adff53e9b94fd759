"""Generators seeded together against numpy's own, one at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.data.seeding import generators

word = st.integers(0, 2**32 - 1)


@given(
    seed=st.integers(0, 2**130),
    numbers=st.integers(0, 6).flatmap(lambda length: st.lists(st.tuples(*[word] * length), min_size=1, max_size=4)),
)
def test_generators_are_those_of_numpy_one_by_one(seed, numbers):
    for generator, each in zip(generators(seed, numbers), numbers, strict=True):
        assert generator.bit_generator.state == np.random.default_rng((seed, *each)).bit_generator.state


def test_generators_of_nothing_are_none():
    assert generators(0, []) == []


@pytest.mark.parametrize("number", [-1, 2**32])
def test_number_that_is_no_word_is_refused(number):
    with pytest.raises(OverflowError):
        generators(0, [(number,)])
