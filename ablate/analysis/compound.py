"""Questions that need several differences at once: is one effect larger than another, is the best level inside its axis.

**Size.** A and B are two effects' differences by seed. |A| > |B| is A - B > 0 and A + B > 0, or both < 0: two cones, and the sign of A
picks one. Inside a cone both one-sided tests must pass (intersection-union), so a cone is wrong in at most 2.5 % of cases and the answer
in 5 %. ||A| - |B|| is the smaller of |A - B| and |A + B|, so one of their 95 % intervals inside the margin shows that it is small; two
tries at 2.5 % a side are wrong in at most 5 %.

**Inside.** A level is better than both ends where both one-sided tests pass (intersection-union); the levels tried are Holm's family. An
end is better than every level between where all tests pass; both ends are tried, so they are a family of two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ablate.analysis.effects import Effect, paired_effect
from ablate.analysis.power import MAX_SEEDS, seeds_needed
from ablate.model import Level


@dataclass(frozen=True)
class Sizes:
    """How the size of one effect compares with that of another."""

    order: Literal["larger", "smaller", "alike", "open"]
    """`alike` is within the margin."""
    excess: Effect
    """|A| - |B| as it looks: both turned so that their means are positive."""
    seeds: int | None
    """Seeds that would settle what is open, if it is as it looks; None above 1,000, or where there is no interval."""
    p: float | None = None
    """Of what is decided, two-sided: 5 % is its line."""


@dataclass(frozen=True)
class Inside:
    """Where the best of ordered levels lies."""

    place: Literal["inside", "end", "open"]
    best: Level
    """The level between the ends with the best chance; the end where it is `end`."""
    against: tuple[Effect, ...]
    """`best` minus its rivals: both ends, or every level between them."""
    p: float | None
    """One-sided, corrected for what was tried."""
    seeds: int | None
    """As in `Sizes`."""


def compare_sizes(own: Mapping[Any, float], other: Mapping[Any, float], *, metric: str, within: float | None, confidence: float) -> Sizes:
    """`own` and `other`: seed -> difference."""
    shared = own.keys() & other.keys()
    turned = [{seed: _turn(side, shared) * value for seed, value in side.items()} for side in (own, other)]
    excess, total = (
        paired_effect(turned[0], {seed: sign * value for seed, value in turned[1].items()}, axis="", metric=metric, confidence=confidence)
        for sign in (1, -1)
    )
    if excess.ci is None or total.ci is None:
        return Sizes("open", excess, None)
    if within is not None and any(-within < ci[0] and ci[1] < within for ci in (excess.ci, total.ci)):
        # either interval may show it, so two tries
        return Sizes("alike", excess, None, min(1.0, 4 * min(one.p_within(within) or 0.0 for one in (excess, total))))
    if total.ci[0] > 0 and not excess.ci[0] <= 0 <= excess.ci[1]:
        return Sizes("larger" if excess.ci[0] > 0 else "smaller", excess, None, max(excess.p or 0.0, total.p or 0.0))
    return Sizes("open", excess, _seeds([excess, total], alpha=1 - confidence))


def locate_best(
    between: Sequence[Level], *, ends: Mapping[Level, Mapping[Level, Effect]], goal: Literal["min", "max"], confidence: float
) -> Inside | None:
    """`ends`: end -> level -> the effect `level` minus that end. None where no level between was measured beside both ends."""
    sign, alpha = (1 if goal == "max" else -1), 1 - confidence
    rivals = {level: [effects[level] for effects in ends.values() if level in effects] for level in between}
    measured = {level: found for level, found in rivals.items() if len(found) == len(ends) and all(each.n for each in found)}
    if not measured:
        return None
    worst = {level: max(_worse(effect, sign=sign) for effect in found) for level, found in measured.items()}
    best = min(worst, key=lambda level: worst[level])
    known = all(effect.p is not None for effect in measured[best])
    p = min(1.0, len(between) * worst[best]) if known else None
    if p is not None and p < alpha / 2:
        return Inside("inside", best, tuple(measured[best]), p, None)
    hopes = {end: _end_is_best(effects, between, sign=sign) for end, effects in ends.items()}
    end = min(hopes, key=lambda end: hopes[end])
    turned = tuple(ends[end][level].reversed() for level in between if level in ends[end])
    if (p_end := min(1.0, len(ends) * hopes[end])) < alpha / 2:
        return Inside("end", end, turned, p_end, None)
    looks_inside = all(sign * (effect.mean_diff or 0.0) > 0 for effect in measured[best])
    seeds = _seeds(measured[best] if looks_inside else turned, alpha=alpha / (len(between) if looks_inside else len(ends)))
    return Inside("open", best, tuple(measured[best]), p, seeds)


def _turn(side: Mapping[Any, float], shared: set[Any]) -> int:
    return -1 if sum(side[seed] for seed in shared) < 0 else 1


def _worse(effect: Effect, *, sign: int) -> float:
    """One-sided p of "`level` is not better than `baseline`"; without one, 0.5 to 1.5 by the means, for the order alone."""
    better = sign * (effect.mean_diff or 0.0) > 0
    if effect.p is None:
        return 0.5 if better else 1.5
    return effect.p / 2 if better else 1 - effect.p / 2


def _end_is_best(effects: Mapping[Level, Effect], between: Sequence[Level], *, sign: int) -> float:
    """The worst one-sided p over every level between; 1 where one of them says nothing."""
    if any(level not in effects or effects[level].p is None for level in between):
        return 1.0
    return max(_worse(effects[level].reversed(), sign=sign) for level in between)


def _seeds(effects: Sequence[Effect], *, alpha: float) -> int | None:
    """Seeds with which the least clear of these is found with power 0.8."""
    if any(effect.mean_diff is None or not effect.sd for effect in effects):
        return None
    needed = [seeds_needed(effect.mean_diff or 0.0, sd=effect.sd or 1.0, alpha=alpha) for effect in effects]
    return None if None in needed else max(count or MAX_SEEDS for count in needed)
