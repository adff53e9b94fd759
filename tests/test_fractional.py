"""Fractional factorial designs, checked on the runs themselves: by correlations, by enumeration, and against the published tables."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.errors import InputError
from ablate.fractional import FractionalDesign, fractional_factorial

CASES = [(count, resolution) for resolution in (3, 4, 5) for count in (*range(2, 10), 12, 15)]


def design_of(count: int, resolution: int) -> FractionalDesign:
    return fractional_factorial([f"f{place}" for place in range(count)], resolution=resolution)


def signs(design: FractionalDesign) -> np.ndarray:
    """The runs as a matrix of signs, -1 the base."""
    return 2 * np.array(design.runs) - 1


def shortest_constant_product(matrix: np.ndarray, *, limit: int) -> int | None:
    """The fewest columns, up to `limit`, whose product does not change over the runs."""
    for size in range(1, limit + 1):
        for places in itertools.combinations(range(matrix.shape[1]), size):
            if abs(matrix[:, places].prod(axis=1).sum()) == len(matrix):
                return size
    return None


@pytest.mark.parametrize(("count", "resolution"), CASES)
def test_columns_are_balanced_orthogonal_and_start_at_the_base(count: int, resolution: int) -> None:
    design = design_of(count, resolution)
    matrix = signs(design)
    assert (matrix.T @ matrix == len(matrix) * np.eye(count)).all()
    assert not matrix.sum(axis=0).any()
    assert not any(design.runs[0])
    assert len(set(design.runs)) == len(design.runs)


@pytest.mark.parametrize(("count", "resolution"), CASES)
def test_resolution_is_that_of_the_runs(count: int, resolution: int) -> None:
    design = design_of(count, resolution)
    found = shortest_constant_product(signs(design), limit=min(count, 6))
    assert found == (design.resolution if (design.resolution or 0) <= 6 else None)
    assert design.resolution is None or design.resolution >= resolution
    assert (design.resolution is None) == (len(design.runs) == 2**count)


@pytest.mark.parametrize(("count", "resolution"), [case for case in CASES if case[0] <= 12])
def test_aliases_are_the_equal_columns_of_the_model_matrix(count: int, resolution: int) -> None:
    design = design_of(count, resolution)
    matrix = signs(design)
    effects = {name: matrix[:, place] for place, name in enumerate(design.factors)}
    for first, second in itertools.combinations(design.factors, 2):
        effects[f"{first} x {second}"] = effects[first] * effects[second]
    expected = set()
    for column in effects.values():
        group = frozenset(name for name, other in effects.items() if abs(column @ other) == len(matrix))
        expected |= {group} if len(group) > 1 else set()
    assert {frozenset(group) for group in design.aliases} == expected
    assert len(design.aliases) == len(expected)


@pytest.mark.parametrize(
    ("count", "resolution", "runs", "reached"),
    [
        (2, 3, 4, None),
        (3, 3, 4, 3),
        (3, 4, 8, None),
        (4, 4, 8, 4),
        (4, 5, 16, None),
        (5, 3, 8, 3),
        (5, 5, 16, 5),
        (6, 3, 8, 3),
        (6, 4, 16, 4),
        (7, 3, 8, 3),
        (7, 4, 16, 4),
        (8, 4, 16, 4),
        (8, 5, 64, 5),
        (11, 5, 128, 5),
        (15, 3, 16, 3),
        (15, 4, 32, 4),
        (15, 5, 256, 5),
    ],
)
def test_number_of_runs_is_that_of_box_hunter_and_hunter(count: int, resolution: int, runs: int, reached: int | None) -> None:
    design = design_of(count, resolution)
    assert (len(design.runs), design.resolution) == (runs, reached)


@pytest.mark.parametrize(
    ("count", "resolution", "words"),
    [
        (5, 3, (2, 1, 0)),
        (6, 3, (4, 3, 0, 0)),
        (7, 3, (7, 7, 0, 0, 1)),
        (6, 4, (0, 3, 0, 0)),
        (7, 4, (0, 7, 0, 0, 0)),
        (8, 4, (0, 14, 0, 0, 0, 1)),
        (9, 3, (4, 14, 8, 0, 4, 1, 0)),
        (10, 3, (8, 18, 16, 8, 8, 5, 0, 0)),
        (9, 4, (0, 6, 8, 0, 0, 1, 0)),
        (10, 4, (0, 10, 16, 0, 0, 5, 0, 0)),
        (11, 4, (0, 25, 0, 27, 0, 10, 0, 1, 0)),
        (8, 5, (0, 0, 2, 1, 0, 0)),
        (9, 5, (0, 0, 0, 3, 0, 0, 0)),
        (10, 5, (0, 0, 3, 3, 1, 0, 0, 0)),
        (11, 5, (0, 0, 6, 6, 2, 1, 0, 0, 0)),
        (12, 5, (0, 0, 0, 12, 0, 3, 0, 0, 0, 0)),
        (15, 5, (0, 0, 15, 30, 26, 15, 16, 18, 6, 0, 1, 0, 0)),
    ],
)
def test_words_are_those_of_minimum_aberration_designs(count: int, resolution: int, words: tuple[int, ...]) -> None:
    """Chen, Sun & Wu 1993, International Statistical Review 61, 131; 256 runs by a full enumeration (183 million designs of 15 factors)."""
    assert design_of(count, resolution).word_lengths == words


@pytest.mark.parametrize(("count", "resolution"), [(count, resolution) for resolution in (3, 4, 5) for count in range(3, 9)])
def test_no_design_has_fewer_runs_or_fewer_short_words(count: int, resolution: int) -> None:
    design = design_of(count, resolution)
    generated = count - (len(design.runs).bit_length() - 1)
    for more in range(generated + 1, count - 1):
        assert all(any(lengths[: resolution - 3]) for lengths in all_word_lengths(count, more)), "one with fewer runs"
    if generated:
        assert design.word_lengths == min(all_word_lengths(count, generated))


def all_word_lengths(count: int, generated: int) -> Iterator[tuple[int, ...]]:
    """Words of length 3, 4, ... of every choice of generators of two or more factors."""
    rank = count - generated
    columns = [column for column in range(1, 1 << rank) if column.bit_count() > 1]
    for chosen in itertools.combinations(columns, generated):
        words = [0]
        for place, column in enumerate(chosen):
            words += [word ^ column ^ 1 << (rank + place) for word in words]
        lengths = [word.bit_count() for word in words]
        yield tuple(lengths.count(length) for length in range(3, count + 1))


@pytest.mark.parametrize(("count", "resolution"), [(5, 3), (7, 3), (8, 4), (8, 5), (10, 4)])
def test_defining_relation_is_every_constant_product(count: int, resolution: int) -> None:
    design = design_of(count, resolution)
    matrix = signs(design)
    constant = [
        tuple(design.factors[place] for place in places)
        for size in range(1, count + 1)
        for places in itertools.combinations(range(count), size)
        if abs(matrix[:, places].prod(axis=1).sum()) == len(matrix)
    ]
    assert sorted(design.defining_relation, key=len) == constant
    assert set(design.words) <= set(constant)
    lengths = [len(word) for word in constant]
    assert design.word_lengths == tuple(lengths.count(length) for length in range(3, count + 1))


def test_half_fraction_is_in_standard_order_with_names_in_its_generator() -> None:
    design = fractional_factorial(["encoder.image_size", "data.mix", "connector.kind"], resolution=3)
    assert design.runs == ((0, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0))
    assert design.generators == ("connector.kind = encoder.image_size x data.mix",)
    assert design.defining_relation == (("encoder.image_size", "data.mix", "connector.kind"),)
    assert design.aliases == (
        ("encoder.image_size", "data.mix x connector.kind"),
        ("data.mix", "encoder.image_size x connector.kind"),
        ("connector.kind", "encoder.image_size x data.mix"),
    )


def test_full_factorial_has_nothing_to_confuse() -> None:
    design = fractional_factorial(["a", "b", "c"], resolution=4)
    assert set(design.runs) == set(itertools.product((0, 1), repeat=3))
    assert (design.resolution, design.generators, design.aliases, design.defining_relation) == (None, (), (), ())
    assert fractional_factorial([], resolution=3).runs == ((),)


@given(count=st.integers(3, 11), resolution=st.integers(3, 6), data=st.data())
@settings(max_examples=40)
def test_fraction_tells_main_effects_from_what_its_resolution_promises(count: int, resolution: int, data: st.DataObject) -> None:
    """Any resolution - 1 factors show all their combinations equally often, which is what an estimate of them all needs."""
    design = design_of(count, resolution)
    places = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=resolution - 1, unique=True))
    seen = [tuple(run[place] for place in places) for run in design.runs]
    assert {seen.count(levels) for levels in itertools.product((0, 1), repeat=len(places))} == {len(seen) // 2 ** len(places)}


@pytest.mark.parametrize("resolution", [3, 4, 5])
def test_effects_of_a_known_response_come_back_where_they_are_clear(resolution: int) -> None:
    """With interactions in the response, main effects are right at resolution 4 and 5, and at 3 they are not."""
    design = design_of(6, resolution)
    generator = np.random.default_rng(0)
    main, matrix = generator.normal(size=6), signs(design)
    pairs = list(itertools.combinations(range(6), 2))
    both = generator.normal(size=len(pairs))
    response = matrix @ main + sum(weight * matrix[:, a] * matrix[:, b] for weight, (a, b) in zip(both, pairs, strict=True))
    estimates = matrix.T @ response / len(matrix)
    clear = [place for place in range(6) if not any(f"f{place}" in group for group in design.aliases)]
    assert len(clear) == (0 if resolution == 3 else 6)
    assert np.allclose(estimates[clear], main[clear])
    assert resolution > 3 or not np.isclose(estimates, main).any()


@pytest.mark.parametrize(
    ("factors", "resolution", "words"),
    [
        (["a", "b", "c"], 2, "resolution 2: main effects are mixed up with each other below 3; take 3, 4 or 5"),
        (["a", "b", "a"], 3, "the factor a is given twice"),
        ([f"f{place}" for place in range(25)], 3, "25 factors, and a fractional design takes up to 24; fix some at the base"),
        ([f"f{place}" for place in range(15)], 16, "no design of resolution 16 for 15 factors in 1,024 runs; fix some at the base"),
    ],
)
def test_fraction_that_cannot_be_says_what_to_do(factors: list[str], resolution: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fractional_factorial(factors, resolution=resolution)


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [3, 4, 5])
def test_many_factors_keep_the_resolution(resolution: int) -> None:
    design = design_of(24, resolution)
    assert shortest_constant_product(signs(design), limit=resolution) in (None, resolution)
    assert len(design.runs) == {3: 32, 4: 64, 5: 1024}[resolution]
