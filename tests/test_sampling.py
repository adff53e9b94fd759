"""Points that cover a cube and indices in random order: even, distinct, and the same numbers on every machine."""

import itertools
import math
import random
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

from ablate.errors import InputError
from ablate.sampling import latin_hypercube, sample_indices, sobol

SEEDS = st.integers(0, 2**32 - 1)


@given(points=st.integers(1, 40), dimensions=st.integers(0, 6), seed=SEEDS)
def test_latin_hypercube_has_one_point_in_each_interval(points: int, dimensions: int, seed: int) -> None:
    found = latin_hypercube(points, dimensions=dimensions, seed=seed)
    assert len(found) == points
    for place in range(dimensions):
        assert sorted(int(point[place] * points) for point in found) == list(range(points))
        assert all(0 <= point[place] < 1 for point in found)


def test_latin_hypercube_pairs_intervals_at_random() -> None:
    """Over many seeds every order of three intervals against three others is as likely as the next."""
    orders = []
    for seed in range(3000):
        points = sorted(latin_hypercube(3, dimensions=2, seed=seed))
        orders.append(tuple(int(second * 3) for _, second in points))
    counts = [orders.count(order) for order in itertools.permutations(range(3))]
    assert sum((count - 500) ** 2 / 500 for count in counts) < 20.5  # chi squared, 5 degrees of freedom, p = 0.001


@given(points=st.integers(0, 70), dimensions=st.integers(0, 5), seed=SEEDS)
@settings(max_examples=30)
def test_sobol_lies_in_the_cube_and_grows_without_moving(points: int, dimensions: int, seed: int) -> None:
    found = sobol(points, dimensions=dimensions, seed=seed)
    assert [len(point) for point in found] == [dimensions] * points
    assert all(0 <= value < 1 for point in found for value in point)
    assert sobol(points + 5, dimensions=dimensions, seed=seed)[:points] == found


def test_sobol_of_any_number_of_points_warns_nobody() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(sobol(7, dimensions=3, seed=0)) == 7
    assert not caught


def test_sobol_of_sixteen_points_is_balanced_in_every_pair_of_axes() -> None:
    """A (0, 2)-net in the first two axes: any of its 16 boxes of equal size and shape holds one point."""
    found = sobol(16, dimensions=2, seed=3)
    for wide in range(5):
        boxes = {(int(x * 2**wide), int(y * 2 ** (4 - wide))) for x, y in found}
        assert len(boxes) == 16


def test_sobol_covers_better_than_chance() -> None:
    generator = random.Random(0)
    chance = [[generator.random() for _ in range(4)] for _ in range(64)]
    assert qmc.discrepancy(sobol(64, dimensions=4, seed=0)) < qmc.discrepancy(chance) / 3


def test_sobol_of_too_many_axes_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"up to 21,201 axes, found 21,202; use latin_hypercube"):
        sobol(1, dimensions=21_202, seed=0)


@given(size=st.integers(0, 60), seed=SEEDS)
def test_indices_come_once_each_in_an_order_of_the_seed(size: int, seed: int) -> None:
    found = list(sample_indices(size, seed=seed))
    assert sorted(found) == list(range(size))
    assert list(itertools.islice(sample_indices(size, seed=seed), 5)) == found[:5]


@given(size=st.integers(1, 10**30), seed=SEEDS)
def test_indices_of_a_vast_grid_are_distinct_and_cost_only_what_is_drawn(size: int, seed: int) -> None:
    drawn = list(itertools.islice(sample_indices(size, seed=seed), 300))
    assert len(set(drawn)) == len(drawn) == min(size, 300)
    assert all(0 <= index < size for index in drawn)


def test_indices_favour_no_order() -> None:
    orders = [tuple(sample_indices(4, seed=seed)) for seed in range(12_000)]
    counts = [orders.count(order) for order in itertools.permutations(range(4))]
    assert sum((count - 500) ** 2 / 500 for count in counts) < 49.7  # chi squared, 23 degrees of freedom, p = 0.001


def test_indices_of_a_vast_grid_lie_all_over_it() -> None:
    drawn = list(itertools.islice(sample_indices(10**30, seed=5), 4000))
    mean = math.fsum(index / 10**30 for index in drawn) / len(drawn)
    assert abs(mean - 0.5) < 4 / math.sqrt(12 * 4000)


def test_designs_are_the_same_numbers_everywhere() -> None:
    """Ids of trials hang on these: a change here makes every sampled study a new one."""
    assert list(sample_indices(10, seed=0)) == [6, 7, 2, 5, 8, 4, 9, 3, 0, 1]
    assert next(sample_indices(10**30, seed=1)) == 99436813185968347955962756036
    assert latin_hypercube(2, dimensions=2, seed=0) == [
        (0.7102857904154225, 0.8918992945173863),
        (0.12945837514648167, 0.15165636303946373),
    ]
    assert sobol(2, dimensions=2, seed=0) == [(0.40994958858937025, 0.9641202185302973), (0.7219116594642401, 0.10752477683126926)]
