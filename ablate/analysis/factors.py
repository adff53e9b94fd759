"""A factorial study becomes main effects, two-way interactions, and the share of the spread that each factor has a hand in.

The model: metric = seed + factors + two-way interactions, every term coded to sum to zero over its levels; seeds are blocks. A term's sum
of squares is what it adds to all terms that do not contain it (type II): in a balanced design that is the only sum of squares there is, and
where trials are missing it is the one whose test of a main effect keeps its power and does not turn on how levels are coded (Langsrud 2003,
Statistics and Computing 13, 163). Terms that share columns (fractional designs) are tested together and named; terms that no trials can
tell from main effects are named and not tested.

Noise is what is left once every cell and every seed has its mean. With one seed it is what no tested term explains, taken for noise.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import exp, hypot, log, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, special

from ablate.analysis.columns import require_columns
from ablate.analysis.design_terms import Design, Group, design_of
from ablate.analysis.effects import Interval, holm
from ablate.analysis.noise import left_by_seeds
from ablate.analysis.trial_values import trial_values
from ablate.errors import InputError
from ablate.model import Level
from ablate.quantities import joined

CAUTION = (
    "a factor that does nothing still gets a share: by chance its degrees of freedom times the noise, shown beside it; "
    "a share says how much this factor moved the metric over the levels tried here, not how much it could"
)
SEED_ALPHA = 0.01
"""Below this p seeds are said to move a factor's levels unlike each other."""

LARGE = 1e4
"""Chi² beyond which its square root is normal to three digits."""


@dataclass(frozen=True)
class LevelMean:
    """One level of a factor against the mean of its levels, the other factors averaged out."""

    factor: str
    level: Level
    effect: float | None
    """In the metric's unit; the effects of a factor's levels sum to 0. None where another factor moved along with it."""
    ci: Interval | None
    trials: int


@dataclass(frozen=True)
class Term:
    """A main effect or an interaction; a number that does not exist is None and `note` says why."""

    name: str
    """`a`, or `a × b`; terms that cannot be told apart are joined by ` = `."""
    factors: tuple[str, ...]
    df: int
    sum_squares: float
    f: float | None
    p: float | None
    share: float | None
    """Of all squares between the trials of a seed; shares of terms and noise add up to 1 where the design is balanced. None where the term
    has no degrees of freedom of its own, or there is no noise to tell it from."""
    share_ci: Interval | None
    """Of the share without noise's part; from 0 where the term cannot be told from noise."""
    chance: float | None
    """The share that a term which does nothing has on average."""
    p_holm: float | None = None
    """Over the main effects, or over the interactions."""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        keys = ("name", "df", "sum_squares", "f", "p", "p_holm", "share", "chance", "note")
        found = {key: getattr(self, key) for key in keys}
        return found | {"factors": list(self.factors), "share_ci": list(self.share_ci) if self.share_ci else None}


@dataclass(frozen=True)
class FactorEffects:
    metric: str
    main: tuple[Term, ...]
    """The largest share first."""
    interactions: tuple[Term, ...]
    """The largest share first."""
    higher: Term | None
    """All that cells differ by beyond these terms; None where nothing is left, or where it had to serve as the noise."""
    levels: tuple[LevelMean, ...]
    noise_sd: float | None
    noise_df: int
    noise_share: float | None
    """Of all squares between the trials of a seed."""
    noise_from: Literal["seeds", "higher-order terms", "none"]
    trials: int
    seeds: int
    aliased: tuple[tuple[str, ...], ...]
    """Terms that this design cannot tell apart, main effects first."""
    balanced: bool
    warnings: tuple[str, ...]
    caution: str = CAUTION

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "main": [term.to_json() for term in self.main],
            "interactions": [term.to_json() for term in self.interactions],
            "higher_order": self.higher and self.higher.to_json(),
            "levels": [
                {"factor": each.factor, "level": each.level, "effect": each.effect, "ci": list(each.ci) if each.ci else None}
                | {"trials": each.trials}
                for each in self.levels
            ],
            "noise": {"sd": self.noise_sd, "df": self.noise_df, "share": self.noise_share, "from": self.noise_from},
            "trials": self.trials,
            "seeds": self.seeds,
            "aliased": [list(group) for group in self.aliased],
            "balanced": self.balanced,
            "warnings": list(self.warnings),
            "caution": self.caution,
        }


def vary_together(frame: pd.DataFrame, *, factors: Sequence[str]) -> bool:
    """Whether two factors were each tried at two levels of the other: what one-at-a-time designs and random draws never do."""
    require_columns(frame, factors)
    for first, second in combinations(factors, 2):
        present = (pd.crosstab(frame[first], frame[second]) > 0).to_numpy(dtype=int)
        shared = present @ present.T
        if (shared - np.diag(np.diag(shared)) >= 2).any():
            return True
    return False


def factor_effects(
    frame: pd.DataFrame, *, factors: Sequence[str], metric: str, interactions: Literal[1, 2] = 2, confidence: float = 0.95
) -> FactorEffects:
    """From `<factors>, seed, <metric>` and optionally `state`, one row a trial. `interactions`: 1 for main effects alone.

    Raises InputError for columns that are not there, fewer than two factors that vary, or too few trials.
    """
    if interactions not in (1, 2):
        raise InputError(f"interactions: {interactions}; 1 (main effects alone) or 2 (with two-way interactions)")
    if len(factors) < 2:
        raise InputError(f"factors: {', '.join(factors) or 'none'}; it takes two that vary")
    if len(set(factors)) < len(factors):
        raise InputError(f"factors: {', '.join(factors)}: one is given twice")
    table, left_out = trial_values(frame, keys=list(factors), metric=metric)
    varying = [factor for factor in factors if table[factor].nunique() > 1]
    if len(varying) < 2:
        raise InputError(f"among the finished trials {', '.join(varying) or 'none'} of {', '.join(factors)} varies; it takes two that do")
    design = design_of(table, factors=varying, interactions=interactions == 2)
    noise = _noise(table, design, factors=varying)
    main = [_term(group, design, noise, confidence=confidence) for group in design.main]
    pairs = [_term(group, design, noise, confidence=confidence) for group in design.interactions]
    warnings = [left_out, *noise.warnings, *design.warnings, *_unlike_seeds(table, varying, noise)]
    return FactorEffects(
        metric=metric,
        main=_adjusted(main),
        interactions=_adjusted(pairs),
        higher=None if noise.higher is None else _term(noise.higher, design, noise, confidence=confidence),
        levels=tuple(_levels(table, design, noise, order=_orders(frame, varying), confidence=confidence)),
        noise_sd=noise.sd,
        noise_df=noise.df,
        noise_share=None if noise.sd is None or not design.total else noise.sd**2 * noise.df / design.total,
        noise_from=noise.origin,
        trials=len(table),
        seeds=int(table["seed"].nunique()),
        aliased=design.aliased,
        balanced=design.balanced,
        warnings=tuple(warning for warning in warnings if warning),
    )


class _Noise(NamedTuple):
    sd: float | None
    df: int
    origin: Literal["seeds", "higher-order terms", "none"]
    higher: Group | None
    warnings: tuple[str, ...] = ()


def _noise(table: pd.DataFrame, design: Design, *, factors: Sequence[str]) -> _Noise:
    cells = table.groupby(list(factors), sort=False).ngroup()
    pure = left_by_seeds(cells, table["seed"], table["value"])
    rest, rest_df = design.residual
    if pure.df > 0 and pure.sd is None:
        return _Noise(None, pure.df, "none", None, ("the trials' differences are the same in every seed: no noise, so no test",))
    if pure.sd is not None:
        squares, df = max(0.0, rest - pure.sd**2 * pure.df), rest_df - pure.df
        return _Noise(pure.sd, pure.df, "seeds", Group("higher-order terms", (), squares, df) if df > 0 else None)
    if rest_df > 0 and rest > 1e-20 * max(design.total, 1e-300):
        warning = (
            f"one trial a cell: what no term explains ({rest_df} degrees of freedom) is taken for noise; a second seed would measure it"
        )
        return _Noise(sqrt(rest / rest_df), rest_df, "higher-order terms", None, (warning,))
    return _Noise(None, 0, "none", None, ("no noise: one trial a cell and as many terms as cells; a second seed gives one",))


def _term(group: Group, design: Design, noise: _Noise, *, confidence: float) -> Term:
    plain = Term(group.name, group.factors, group.df, group.squares, None, None, None, None, None, note=group.note)
    if group.df == 0:
        return replace(plain, note=group.note or "no degrees of freedom of its own: other terms take them all")
    if noise.sd is None:
        return replace(plain, note=joined(group.note, "no noise to tell it from"))
    error = noise.sd**2
    f = group.squares / group.df / error
    return replace(
        plain,
        f=f,
        p=float(special.fdtrc(group.df, noise.df, f)),
        share=group.squares / design.total,
        share_ci=_share_interval(group, total=design.total, noise=error, noise_df=noise.df, confidence=confidence),
        chance=group.df * error / design.total,
    )


def _share_interval(group: Group, *, total: float, noise: float, noise_df: int, confidence: float) -> Interval:
    """Three things are uncertain: the term's own squares, those of other terms, and how much of the rest noise has. Each has an interval of
    its own, and their distances add in squares, on the scale of ln(term / rest) (Zou & Donner 2008, Statistics in Medicine 27, 1693).

    The term's: by the noncentral chi², the noise enlarged by (t / z)² for its few degrees of freedom, which is exact for one degree. The
    others' in the same way, for large squares. The noise's by chi².
    """
    tail = (1 - confidence) / 2
    rest, t = total - group.squares, float(special.stdtrit(noise_df, 1 - tail))
    enlarged = noise * (t / float(special.ndtri(1 - tail))) ** 2
    low, high = (enlarged * _noncentrality(group.squares / enlarged, group.df, below=below) for below in (1 - tail, tail))
    if rest <= 0 or group.squares <= 0:
        return 0.0, max(group.squares / total, _share(high, rest=max(rest, noise)))
    others = 2 * t * sqrt(max(0.0, rest - noise * noise_df) * noise)
    least, most = (noise_df / float(special.chdtri(noise_df, p)) - 1 for p in (tail, 1 - tail))
    fewer = log(max(rest - hypot(noise * noise_df * least, others), noise) / rest)
    more = log((rest + hypot(noise * noise_df * most, others)) / rest)
    odds = log(group.squares / rest)
    above = exp(odds + hypot(log(max(high / group.squares, 1.0)), min(fewer, 0.0)))
    below = exp(odds - hypot(log(group.squares / low), more)) if 0 < low < group.squares else 0.0
    return below / (1 + below), above / (1 + above)


def _share(squares: float, *, rest: float) -> float:
    return squares / (squares + rest) if squares > 0 else 0.0


def _noncentrality(value: float, df: int, *, below: float) -> float:
    """Of the chi² distribution that falls below `value` with this probability; 0 where even the central one does so less often."""
    if value <= 0 or float(special.chdtr(df, value)) <= below:
        return 0.0
    if value > LARGE:  # normal in its square root
        return max(0.0, sqrt(value) - float(special.ndtri(below))) ** 2

    def excess(noncentrality: float) -> float:
        return float(special.chndtr(value, df, noncentrality)) - below

    high = 10.0 + 2 * value
    while excess(high) > 0:
        high *= 2
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-9 * high))


def _adjusted(terms: Iterable[Term]) -> tuple[Term, ...]:
    """With Holm's p over these, the largest share first."""
    terms = list(terms)
    tested = [term for term in terms if term.p is not None]
    corrected = dict(zip((term.name for term in tested), holm([term.p or 0.0 for term in tested]), strict=True)) if tested else {}
    ordered = sorted(terms, key=lambda term: -term.sum_squares)
    return tuple(replace(term, p_holm=corrected.get(term.name)) for term in ordered)


def _orders(frame: pd.DataFrame, factors: Sequence[str]) -> dict[str, list[Any]]:
    """Factor -> its levels: numbers ascending, labels as they first appear."""
    found = {factor: list(dict.fromkeys(frame[factor])) for factor in factors}
    return {factor: sorted(levels) if frame[factor].dtype.kind in "if" else levels for factor, levels in found.items()}


def _levels(
    table: pd.DataFrame, design: Design, noise: _Noise, *, order: Mapping[str, Sequence[Any]], confidence: float
) -> Iterable[LevelMean]:
    for factor, levels in order.items():
        counts = table[factor].value_counts()
        for level in (level for level in levels if level in counts.index):
            found = design.level_mean(factor, level)
            ci = None
            if found is not None and noise.sd is not None:
                half = float(special.stdtrit(noise.df, (1 + confidence) / 2)) * noise.sd * sqrt(found.variance)
                ci = (found.effect - half, found.effect + half)
            plain = level.item() if isinstance(level, np.generic) else level
            yield LevelMean(factor, plain, None if found is None else found.effect, ci, int(counts[level]))


def _unlike_seeds(table: pd.DataFrame, factors: Sequence[str], noise: _Noise) -> list[str]:
    """Factors whose levels each seed moves by an amount of its own, the same in all cells: then cells are no replicates of each other."""
    if noise.origin != "seeds" or noise.sd is None:
        return []
    cells = table.pivot(index=list(factors), columns="seed", values="value")
    if cells.isna().to_numpy().any():
        return []
    values = cells.to_numpy(dtype=float)
    left = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0, keepdims=True) + values.mean()
    total, found = float((left**2).sum()), []
    for factor in factors:
        codes = pd.factorize(cells.index.get_level_values(factor))[0]
        sizes = np.bincount(codes)
        means = np.stack([left[codes == code].mean(axis=0) for code in range(len(sizes))])
        squares, df = float((sizes[:, None] * means**2).sum()), (len(sizes) - 1) * (values.shape[1] - 1)
        rest_df = noise.df - df
        if rest_df > 0 and total > squares and special.fdtrc(df, rest_df, squares / df / ((total - squares) / rest_df)) < SEED_ALPHA:
            said = "what a level changes is not the same in every seed, so its interval here is too narrow: take that of the effects table"
            found.append(f"{factor}: {said}")
    return found
