"""Which terms of a factorial model its trials can tell apart, and the squares that each of them explains.

Each seed's mean is taken off the metric and off the model's columns first, so seeds are blocks of every model. Everything else is read off
the products of the columns (X'X, X'y): sums of squares and ranks of all the nested models that type II needs cost one pass over the trials.
`anova_lm` of statsmodels gives the same where no term is aliased and no cell is empty, and has no answer where one is; it goes over the
trials for each term.

Vocabulary: a *term* is a main effect or a two-way interaction; a *group* is a term, or terms that share columns and can be tested together
only. Main effects come first: an interaction in their span is named as their alias and not tested.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from ablate.analysis.noise import centred

RANK = 1e-9
"""Eigenvalue of X'X, over the number of trials, below which a direction counts as not there."""
MAX_COLUMNS = 150
"""Columns of interactions that are looked at: beyond, ranks of nested models take seconds."""

Matrix = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Group:
    """Terms that are tested together: one, unless the design cannot tell them apart."""

    name: str
    factors: tuple[str, ...]
    squares: float
    df: int
    note: str = ""


class LevelEstimate(NamedTuple):
    effect: float
    variance: float
    """In units of the noise's variance."""


@dataclass(frozen=True)
class Design:
    main: tuple[Group, ...]
    interactions: tuple[Group, ...]
    aliased: tuple[tuple[str, ...], ...]
    total: float
    """Squares around the seeds' means."""
    residual: tuple[float, int]
    """Squares that no term explains, and their degrees of freedom."""
    balanced: bool
    """Whether every group of terms is orthogonal to the others."""
    warnings: tuple[str, ...]
    _levels: dict[tuple[str, Any], LevelEstimate] = field(repr=False)

    def level_mean(self, factor: str, level: Any) -> LevelEstimate | None:
        """The level against the mean of its factor's levels, in the model of main effects; None where it cannot be told."""
        return self._levels.get((factor, level))


def design_of(table: pd.DataFrame, *, factors: Sequence[str], interactions: bool) -> Design:
    """From `<factors>, seed, value`, one row a trial, each factor at two levels or more."""
    columns = {factor: _sum_coded(table[factor]) for factor in factors}
    pairs = list(combinations(factors, 2)) if interactions else []
    width = sum(columns[one].shape[1] * columns[other].shape[1] for one, other in pairs)
    warnings = []
    if width > MAX_COLUMNS:
        warnings.append(
            f"{len(pairs)} interactions have {width} degrees of freedom, more than the {MAX_COLUMNS} looked at: main effects alone"
        )
        pairs = []
    terms = columns | {_name(pair): _products(columns[pair[0]], columns[pair[1]]) for pair in pairs}
    model = _Model.of(terms, table["value"].to_numpy(dtype=float), seeds=pd.factorize(table["seed"])[0])
    found = _Terms(model, tuple(factors), {_name(pair): pair for pair in pairs})
    kept = [*factors, *(name for group in found.groups for name in group)]
    whole = model.fit(kept)
    return Design(
        main=tuple(found.main_groups()),
        interactions=tuple(found.interaction_groups()),
        aliased=tuple(found.aliases),
        total=model.squares,
        residual=(max(0.0, model.squares - whole.squares), len(table) - table["seed"].nunique() - whole.rank),
        balanced=len({model.parts[name] for name in kept}) == len(factors) + len(found.groups),
        warnings=(*warnings, *found.warnings),
        _levels=dict(_level_means(table, model, found)),
    )


def _name(pair: Sequence[str]) -> str:
    return " × ".join(pair)


def _sum_coded(labels: "pd.Series[Any]") -> Matrix:
    """One column a level but the last, which is -1 in each."""
    codes, found = pd.factorize(labels)
    coding = np.vstack([np.eye(len(found) - 1), -np.ones(len(found) - 1)])
    coded: Matrix = coding[codes]
    return coded


def _products(first: Matrix, second: Matrix) -> Matrix:
    return (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)


class _Fit(NamedTuple):
    squares: float
    rank: int


@dataclass(frozen=True)
class _Model:
    """Products of all columns, and which columns a term has."""

    gram: Matrix
    moments: Matrix
    squares: float
    """Of the metric around the seeds' means."""
    trials: int
    places: dict[str, range]
    _known: dict[tuple[str, ...], _Fit] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, terms: dict[str, Matrix], values: Matrix, *, seeds: Matrix) -> "_Model":
        x, y = centred(np.hstack(list(terms.values())), seeds), centred(values[:, None], seeds)[:, 0]
        places, start = dict[str, range](), 0
        for name, columns in terms.items():
            places[name] = range(start, start + columns.shape[1])
            start += columns.shape[1]
        return cls(x.T @ x, x.T @ y, float(y @ y), len(y), places)

    def at(self, names: Iterable[str]) -> list[int]:
        return [place for name in names for place in self.places[name]]

    def fit(self, names: Iterable[str]) -> _Fit:
        """Squares these terms explain together, and how many directions they have."""
        apart: dict[int, list[str]] = {}
        for name in names:
            apart.setdefault(self.parts[name], []).append(name)
        fits = [self._fit(tuple(sorted(part))) for part in apart.values()]
        return _Fit(sum(fit.squares for fit in fits), sum(fit.rank for fit in fits))

    @cached_property
    def parts(self) -> dict[str, int]:
        """Term -> the part of the model it is in; parts are orthogonal to each other, in a balanced design each term is its own."""
        touching = np.zeros((len(self.places), len(self.places)), dtype=bool)
        starts = [place.start for place in self.places.values()]
        if starts:
            largest = np.maximum.reduceat(np.maximum.reduceat(np.abs(self.gram), starts, axis=0), starts, axis=1)
            touching = largest > RANK * self.trials
        labels = connected_components(touching, directed=False)[1]
        return dict(zip(self.places, map(int, labels), strict=True))

    def _fit(self, names: tuple[str, ...]) -> _Fit:
        if names not in self._known:
            self._known[names] = self._fitted(names)
        return self._known[names]

    def _fitted(self, names: tuple[str, ...]) -> _Fit:
        at = self.at(names)
        values, vectors = np.linalg.eigh(self.gram[np.ix_(at, at)])
        kept = values > RANK * self.trials
        return _Fit(float(np.sum((vectors[:, kept].T @ self.moments[at]) ** 2 / values[kept])), int(kept.sum()))

    def rank(self, names: Iterable[str]) -> int:
        return self.fit(names).rank

    def gain(self, names: Sequence[str], *, given: Sequence[str]) -> _Fit:
        """What these terms add to others."""
        more, less = self.fit([*given, *names]), self.fit(given)
        return _Fit(max(0.0, more.squares - less.squares), more.rank - less.rank)

    def overlap(self, first: str, second: str, *, given: Sequence[str]) -> bool:
        """Whether two terms have a direction in common, beyond what is given."""
        apart = self.rank([*given, first]) + self.rank([*given, second])
        return apart - self.rank(given) > self.rank([*given, first, second])


@dataclass(frozen=True)
class _Terms:
    """The terms, sorted into those that can be tested and those that cannot."""

    model: _Model
    factors: tuple[str, ...]
    pairs: dict[str, tuple[str, str]]
    """Interaction -> its factors."""

    @cached_property
    def own_rank(self) -> dict[str, int]:
        """Interaction -> the directions it has beyond main effects."""
        return {name: self.model.gain([name], given=self.factors).rank for name in self.pairs}

    @cached_property
    def groups(self) -> list[list[str]]:
        """Interactions that can be tested, those that share columns together."""
        names = [name for name, rank in self.own_rank.items() if rank]
        groups = {name: [name] for name in names}
        for one, other in combinations(names, 2):
            if groups[one] is groups[other] or self.model.parts[one] != self.model.parts[other]:
                continue
            if not self.model.overlap(one, other, given=self.factors):
                continue
            joined = [*groups[one], *groups[other]]
            groups |= dict.fromkeys(joined, joined)
        return [groups[name] for name in names if groups[name][0] == name]

    @cached_property
    def aliases(self) -> list[tuple[str, ...]]:
        """Groups of terms that cannot be told apart, main effects first."""
        found = [tuple(group) for group in self.groups if len(group) > 1]
        hidden = [name for name in self.pairs if not self.own_rank[name]]
        for factor in self.factors:
            moving = [other for other in self.factors if other != factor and self.model.overlap(factor, other, given=())]
            inside = [
                name for name in hidden if factor not in self.pairs[name] and self.model.overlap(name, factor, given=self.pairs[name])
            ]
            if moving or inside:
                group = (factor, *moving, *inside)
                if not any(set(group) <= set(known) for known in found):
                    found.append(group)
        return sorted(found, key=lambda group: [name in self.own_rank for name in group])

    @cached_property
    def warnings(self) -> list[str]:
        found = ["these cannot be told apart in this design: " + " = ".join(group) for group in self.aliases]
        named = {name for group in self.aliases for name in group}
        if missing := [name for name in self.pairs if not self.own_rank[name] and name not in named]:
            found.append(f"not run in enough combinations to tell: {', '.join(missing)}")
        return found

    def main_groups(self) -> list[Group]:
        found = []
        for factor in self.factors:
            others = [name for name in self.factors if name != factor]
            beside = [name for group in self.groups if not any(factor in self.pairs[name] for name in group) for name in group]
            gain = self.model.gain([factor], given=[*others, *beside])
            alone = self.model.gain([factor], given=others)
            gain = gain if gain.rank == alone.rank else alone
            width = len(self.model.places[factor])
            moving = [group for group in self.aliases if factor in group]
            note = f"cannot be told from {', '.join(name for name in moving[0] if name != factor)}" if moving else ""
            if not moving and gain.rank < width:
                note = f"{gain.rank} of its {width} degrees of freedom can be told"
            found.append(Group(factor, (factor,), gain.squares, gain.rank, note))
        return found

    def interaction_groups(self) -> list[Group]:
        found = []
        for group in self.groups:
            others = [name for other in self.groups if other is not group for name in other]
            gain = self.model.gain(group, given=[*self.factors, *others])
            full = max(len(self.model.places[name]) for name in group)
            note = "" if gain.rank >= full else f"{gain.rank} of {full} degrees of freedom: not all combinations were run"
            if gain.rank == 0:
                note = "cannot be told from the other interactions together"
            factors = tuple(dict.fromkeys(factor for name in group for factor in self.pairs[name]))
            found.append(Group(" = ".join(group), factors, gain.squares, gain.rank, note))
        return found


def _level_means(table: pd.DataFrame, model: _Model, found: _Terms) -> Iterable[tuple[tuple[str, Any], LevelEstimate]]:
    """Every level's mean by the model of main effects."""
    at = model.at(found.factors)
    inverse = np.linalg.pinv(model.gram[np.ix_(at, at)], rcond=RANK, hermitian=True)
    fitted = inverse @ model.moments[at]
    for factor in found.factors:
        others = [name for name in found.factors if name != factor]
        if model.gain([factor], given=others).rank < len(model.places[factor]):
            continue  # another factor moved along with it
        places = [at.index(place) for place in model.places[factor]]
        levels = pd.factorize(table[factor])[1]
        coding = np.vstack([np.eye(len(levels) - 1), -np.ones(len(levels) - 1)])
        spread = coding @ inverse[np.ix_(places, places)] @ coding.T
        for row, level in enumerate(levels):
            yield (factor, level), LevelEstimate(float(coding[row] @ fitted[places]), float(spread[row, row]))
