"""Factors of two levels become a fractional factorial design 2^(k-p): the fewest runs that keep main effects and interactions apart.

A design is k columns, one a factor, each a sum (exclusive or) of the r base factors' columns, in 2^r runs. Columns that sum to nothing are
a word of the defining relation, and the shortest word is the resolution: Box, Hunter & Hunter, Statistics for Experimenters, 2nd ed.
2005, ch. 6. Among designs of one size the one of minimum aberration is best: Fries & Hunter 1980, Technometrics 22, 601.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ablate.errors import InputError

MAX_RUNS = 1024
MAX_FACTORS = 24
_WIDTH = 20
"""Designs that the search keeps at each number of factors."""
_INSTEAD = "take one_at_a_time, latin_hypercube or sobol"


@dataclass(frozen=True)
class FractionalDesign:
    """Which factor is at which level in which run, and what cannot be told apart afterwards."""

    factors: tuple[str, ...]
    runs: tuple[tuple[int, ...], ...]
    """Run -> level of each factor, 0 the base and 1 the other. Standard order: the base first, the first factor changes fastest."""
    resolution: int | None
    """Length of the shortest word; None for the full factorial, which has none."""
    generators: tuple[str, ...]
    """How the factors after the base factors are set, such as `c = a x b`: at the other level where an odd number of a and b are."""
    aliases: tuple[tuple[str, ...], ...]
    """Main effects and two-way interactions that cannot be told apart, in groups of two or more; what is in no group is clear of these."""
    word_lengths: tuple[int, ...]
    """Words of the defining relation of length 3, 4, ..., k: what aberration compares."""
    words: tuple[tuple[str, ...], ...]
    """The defining relation by its generating words, one a generator: the others are their products."""

    @property
    def defining_relation(self) -> tuple[tuple[str, ...], ...]:
        """All 2^p - 1 words, the shortest first."""
        order = {name: place for place, name in enumerate(self.factors)}
        products: list[frozenset[str]] = [frozenset()]
        for word in self.words:
            products += [product ^ frozenset(word) for product in products]
        named = [tuple(sorted(product, key=order.__getitem__)) for product in products[1:]]
        return tuple(sorted(named, key=lambda word: (len(word), [order[name] for name in word])))


def fractional_factorial(factors: Sequence[str], *, resolution: int) -> FractionalDesign:
    """The design of fewest runs with at least this resolution, and of these the one with the fewest short words. Raises InputError.

    The search goes factor by factor and keeps the best designs of each size. Up to 15 factors and resolution 3 to 5 it finds what a full
    enumeration finds; beyond, it may miss a smaller or better design, but the resolution holds.
    """
    names = tuple(factors)
    if resolution < 3:
        raise InputError(f"resolution {resolution}: main effects are mixed up with each other below 3; take 3, 4 or 5")
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InputError(f"the factor {repeated[0]} is given twice; give each once")
    if len(names) > MAX_FACTORS:
        raise InputError(f"{len(names)} factors, and a fractional design takes up to {MAX_FACTORS}; fix some at the base, or {_INSTEAD}")
    found = _smallest(len(names), resolution)
    if found is None:
        what = f"found no design of resolution {resolution} for {len(names)} factors in {MAX_RUNS:,} runs"
        raise InputError(f"{what}; fix some at the base, take a lower resolution, or {_INSTEAD}")
    rank, columns = found.rank, found.columns
    words = [_word(names, 1 << place ^ columns[place]) for place in range(rank, len(names))]
    return FractionalDesign(
        factors=names,
        runs=tuple(tuple((run & column).bit_count() & 1 for column in columns) for run in range(1 << rank)),
        resolution=next((length for length, count in enumerate(found.word_lengths) if count), None),
        # Exclusive or keeps the run of all zeros. In Box's signs, the base as -, a generator is then `c = -ab` where an even number of
        # factors is on the right and `d = abc` where an odd one: the principal fraction or its mirror. With the base as + all signs are +.
        generators=tuple(f"{word[-1]} = {' x '.join(word[:-1])}" for word in words),
        aliases=_aliases(names, columns),
        word_lengths=found.word_lengths[3:],
        words=tuple(words),
    )


def _word(names: Sequence[str], places: int) -> tuple[str, ...]:
    return tuple(name for place, name in enumerate(names) if places >> place & 1)


def _aliases(names: Sequence[str], columns: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    """Effects with one column, main effects first."""
    groups: dict[int, list[str]] = {}
    for name, column in zip(names, columns, strict=True):
        groups.setdefault(column, []).append(name)
    for (first, left), (second, right) in itertools.combinations(zip(names, columns, strict=True), 2):
        groups.setdefault(left ^ right, []).append(f"{first} x {second}")
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


class _Columns(NamedTuple):
    """A design: the base factors' columns are the bits, the others sums of them."""

    word_lengths: tuple[int, ...]
    """Number of words by length, from 0."""
    columns: tuple[int, ...]
    rank: int
    """Number of base factors."""


_Sums = tuple[tuple[int, ...], ...]
"""[j][x]: in how many ways x is the sum of j of the columns. A new column x makes [j][x] words of length j + 1."""


@lru_cache(maxsize=256)
def _smallest(count: int, resolution: int) -> _Columns | None:
    """The columns of a design of `count` factors in the fewest runs, or None where MAX_RUNS are too few."""
    for rank in range(min(count, 1), count + 1):
        if 1 << rank > MAX_RUNS:
            return None
        # columns of an odd number of base factors have words of even length only: the densest of resolution 4, which the search may pass by
        kinds = (False, True) if resolution <= 4 else (False,)
        found = [best for odd in kinds if (best := _search(count, resolution, rank, odd=odd))]
        if found:
            return min(found)
    return None


def _search(count: int, resolution: int, rank: int, *, odd: bool) -> _Columns | None:
    """Adds one column at a time and keeps the designs with the fewest short words, of those that look alike one."""
    base = tuple(1 << place for place in range(rank))
    sums: _Sums = ((1, *[0] * ((1 << rank) - 1)),)
    for column in base:
        sums = _with_column(sums, column)
    kept = [(_Columns((0,) * (count + 1), base, rank), sums)]
    choice = sorted(range(1, 1 << rank), key=lambda column: (column.bit_count(), column))
    choice = [column for column in choice if column.bit_count() % 2 or not odd]
    for _ in range(rank, count):
        longer = sorted(
            (child for parent in kept for child in _longer(*parent, choice, resolution)), key=lambda child: child[0].word_lengths
        )
        if not longer:
            return None
        if len(longer[0][0].columns) == count:
            return longer[0][0]
        kept = list(itertools.islice(_unlike(longer), _WIDTH))
    return kept[0][0]


def _longer(design: _Columns, sums: _Sums, choice: Sequence[int], resolution: int) -> Iterator[tuple[_Columns, _Sums]]:
    """The designs with one more column that keep the resolution, with the sums of the old one; of columns that add the same words one."""
    seen = set()
    for column in choice:
        added = tuple(row[column] for row in sums)
        if not any(added[: resolution - 1]) and added not in seen:
            seen.add(added)
            lengths = list(design.word_lengths)
            for number, ways in enumerate(added, start=1):
                lengths[number] += ways
            yield _Columns(tuple(lengths), (*design.columns, column), design.rank), sums


def _unlike(designs: Sequence[tuple[_Columns, _Sums]]) -> Iterator[tuple[_Columns, _Sums]]:
    """Designs that differ in more than the names of their factors, as far as sums of up to five columns show, with their own sums."""
    seen = set()
    for design, before in designs:
        sums = _with_column(before, design.columns[-1])
        look = (design.word_lengths, *sorted(zip(*sums[:6], strict=True)))
        if look not in seen:
            seen.add(look)
            yield design, sums


def _with_column(sums: _Sums, column: int) -> _Sums:
    """The sums with one more column: each sum of j columns has it or not."""
    moved = [[row[at ^ column] for at in range(len(row))] for row in sums]
    inner = [tuple(map(int.__add__, row, fewer)) for row, fewer in zip(sums[1:], moved, strict=False)]
    return (sums[0], *inner, tuple(moved[-1]))
