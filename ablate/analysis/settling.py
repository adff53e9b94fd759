"""How many seeds would settle what is open, if the difference is as it looks, and how far that number can be trusted.

A number of seeds goes as the square of the noise over the difference. The noise is that of the differences of these seeds, and the SD of
three is known to a factor of 0.52 to 6.3: so each number comes with the ones at both ends of the SD's 95 % interval (chi²). The difference
is taken as it is measured; it was selected by nobody, but it is as uncertain as its interval.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from ablate.analysis.effects import Effect
from ablate.analysis.noise import spread_bounds
from ablate.analysis.power import ALPHA, MAX_SEEDS, POWER, seeds_for_margin, seeds_needed


class Seeds(NamedTuple):
    """None is more than 1,000."""

    likely: int | None
    low: int | None
    """Where the SD is at the lower end of its 95 % interval."""
    high: int | None
    df: int
    """Of the SD."""


@dataclass(frozen=True)
class Settling:
    """What one open question would take."""

    what: str
    """The claim in words."""
    metric: str
    seeds_now: int
    seeds: int | None
    """In all, with power 0.8; None where that is above 1,000 or cannot be told, and `note` says which."""
    more: int | None
    """Of them, those that are still to be run."""
    seeds_range: tuple[int | None, int | None] | None
    note: str

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "metric": self.metric,
            "seeds_now": self.seeds_now,
            "seeds": self.seeds,
            "more": self.more,
            "seeds_range": list(self.seeds_range) if self.seeds_range else None,
            "note": self.note,
        }


def seeds_for_difference(effect: Effect) -> Seeds | None:
    """For a two-sided paired test at 5 % to find the effect's own difference; None where it has no interval."""
    if effect.mean_diff is None or not effect.sd:
        return None
    difference = abs(effect.mean_diff)
    return _with_range(lambda sd: _fewest(difference / sd), sd=effect.sd, df=effect.df)


def seeds_for_distance(effect: Effect, *, within: float) -> Seeds | None:
    """To show that the difference lies inside ±`within`, or outside where it looks so; None where it has no interval."""
    if effect.mean_diff is None or not effect.sd:
        return None
    mean, distance = effect.mean_diff, within - abs(effect.mean_diff)
    if distance <= 0:
        return _with_range(lambda sd: _fewest(-distance / sd), sd=effect.sd, df=effect.df)
    return _with_range(lambda sd: seeds_for_margin(mean, within=within, sd=sd), sd=effect.sd, df=effect.df)


def seeds_as_good(effect: Effect, *, sign: int, within: float | None, alpha: float) -> Seeds | None:
    """To show at `alpha` that the level is better than its rival, or by one test at 5 % that it is not worse by the margin; the fewer.

    `sign`: 1 where more is better. None where the effect has no interval.
    """
    if effect.mean_diff is None or not effect.sd:
        return None
    mean = sign * effect.mean_diff

    def needed(sd: float) -> int | None:
        either = [seeds_needed(mean, sd=sd, alpha=alpha)]
        if within is not None and mean + within > 0:
            either.append(seeds_needed(mean + within, sd=sd, alpha=2 * ALPHA))
        return min((count for count in either if count is not None), default=None)

    return _with_range(needed, sd=effect.sd, df=effect.df)


def settles(seeds: Seeds | None) -> str:
    """In words; empty where there is no number to give."""
    if seeds is None:
        return ""
    if seeds.likely is None:
        few = f", {seeds.low} or more" if seeds.low else ""
        return f"over {MAX_SEEDS:,} seeds would be needed if it is as it looks{few and f' ({few[2:]} by the error of the SD)'}"
    high = f"over {MAX_SEEDS:,}" if seeds.high is None else f"{seeds.high}"
    said = f"about {seeds.likely} seeds would settle it if the difference is as it looks (power 0.8)"
    return said if seeds.low == seeds.high else f"{said}; {seeds.low} to {high} by the error of an SD of {seeds.df + 1} seeds"


def _with_range(needed: Callable[[float], int | None], *, sd: float, df: int) -> Seeds:
    low, high = spread_bounds(df)
    return Seeds(needed(sd), needed(sd * low), needed(sd * high), df)


def _fewest(standardised: float) -> int | None:
    """As `power.seeds_needed`, which takes milliseconds, for thousands of arms."""
    reach = _reach()
    found = int(np.searchsorted(-reach, -standardised))  # the first that is no larger
    return found + 2 if found < len(reach) else None


@lru_cache(maxsize=1)
def _reach() -> "np.ndarray[Any, np.dtype[np.float64]]":
    """The difference, in SDs of a paired difference, that 2, 3, ..., 1,000 seeds find; it falls."""
    n = np.arange(2, MAX_SEEDS + 1)
    shift = special.nctdtrinc(n - 1, 1 - POWER, special.stdtrit(n - 1, 1 - ALPHA / 2))
    return np.asarray(shift / np.sqrt(n), dtype=float)
