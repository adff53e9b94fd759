"""A claim, written down before the runs, meets the results and becomes a verdict with its numbers.

The difference is `level` minus `against`, paired by seed (see effects.py), on the metric's raw value whatever its goal.

| claim      | verdict      | when                                                                                    |
|------------|--------------|-----------------------------------------------------------------------------------------|
| increases  | equivalent   | a margin `within` is given and the 90 % interval lies inside it: too small to matter    |
| (decreases | supported    | else the 95 % interval lies above 0                                                     |
| mirrored)  | contradicted | else the 95 % interval lies below 0                                                     |
|            | inconclusive | else                                                                                    |
| equivalent | supported    | the 90 % interval lies inside the margin (two one-sided tests at 5 %)                   |
|            | contradicted | the 95 % interval lies wholly outside the margin, on either side                        |
|            | inconclusive | else, and without a margin                                                              |
| best_level | contradicted | some other level is better (Holm over the other levels, 5 %)                            |
|            | supported    | else it is better than each other level (same family), or worse by less than the margin |
|            | inconclusive | else                                                                                    |

`equivalent` is thus the verdict of an order claim only; a claim of equivalence that holds is `supported`.
Without an interval (one seed, identical differences) nothing is decided.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Literal

import pandas as pd

from ablate.analysis.effects import Effect, Interval, adjust, level_effects
from ablate.analysis.power import MAX_SEEDS, seeds_for_margin, seeds_needed
from ablate.errors import InputError, did_you_mean
from ablate.study import Claim, Level, Metric

Outcome = Literal["supported", "contradicted", "equivalent", "inconclusive"]
EQUIVALENCE_CONFIDENCE = 0.9


@dataclass(frozen=True)
class Verdict:
    claim: Claim
    verdict: Outcome
    effect: Effect | None
    """The difference that decided it; for `best_level` that to the closest rival."""
    reason: str
    """One sentence with the numbers; for `inconclusive` also what would settle it."""
    statement: str
    """The claim in words, its defaults filled in."""


def verdicts(
    results: pd.DataFrame,
    *,
    claims: Iterable[Claim],
    metric: Metric,
    levels: Mapping[str, Sequence[Level]],
    unit: str = "",
) -> tuple[Verdict, ...]:
    """One verdict a claim, in their order."""
    return tuple(judge(claim, results=results, metric=metric, levels=levels, unit=unit) for claim in claims)


def judge(
    claim: Claim,
    *,
    results: pd.DataFrame,
    metric: Metric,
    levels: Mapping[str, Sequence[Level]],
    unit: str = "",
    confidence: float = 0.95,
) -> Verdict:
    """`levels`: for every axis its labels as in the results, the baseline first, the rest in the author's order.

    A claim's own `level` and `against` must be labels too: whoever reads the study file turns a data mix into a ratio.
    The study's goal is taken to hold for a claim's own metric; only `best_level` needs it.
    """
    if claim.axis not in levels:
        raise InputError(f"claim: no axis '{claim.axis}' (there: {', '.join(levels)}){did_you_mean(claim.axis, levels)}")
    known = levels[claim.axis]
    lowest, highest = _ends(known)
    level = _label(claim.level, default=highest, claim=claim, known=known)
    against = _label(claim.against, default=lowest, claim=claim, known=known)
    name = claim.metric or metric.name
    statement = _statement(claim, level=level, against=against, metric=name)
    if name not in results:
        reported = [str(column) for column in results.columns]
        reason = f"no finished trial has reported {name}{did_you_mean(name, reported)}"
        return Verdict(claim, "inconclusive", None, reason, statement)
    if claim.expect == "best_level":
        effects = _against_all(results, axis=claim.axis, level=level, metric=name, axes=tuple(levels), confidence=confidence)
        outcome, effect, reason = _best(effects, goal=metric.goal, within=claim.within, alpha=1 - confidence, unit=unit)
        return Verdict(claim, outcome, effect, reason, statement)
    if level == against:
        raise InputError(f"claim on {claim.axis}: level and against are both {level!r}")
    pair = results[results[claim.axis].isin([level, against])] if claim.axis in results else results
    found = {
        effect.level: effect
        for effect in _effects(pair, axis=claim.axis, baseline=against, metric=name, axes=tuple(levels), confidence=confidence)
    }
    if level not in found:
        return Verdict(claim, "inconclusive", None, f"no trial at {level!r}", statement)
    effect = found[level]
    outcome, reason = (
        _equivalence(effect, within=claim.within, unit=unit)
        if claim.expect == "equivalent"
        else _order(effect, sign=1 if claim.expect == "increases" else -1, within=claim.within, unit=unit)
    )
    return Verdict(claim, outcome, effect, reason, statement)


def numbers_of(effect: Effect, *, unit: str = "", confidence: float | None = None) -> str:
    """`+39.1 points [35.2, 43.0], n = 3 seeds`; two digits of the interval's half width, three of a bare mean."""
    if effect.mean_diff is None:
        return f"nothing to compare, n = {effect.n} seeds"
    interval = effect.ci if confidence is None else effect.interval(confidence)
    count = f"n = {effect.n} {'seed' if effect.n == 1 else 'seeds'}"
    if interval is None:
        return f"{signed(effect.mean_diff)}{unit and ' ' + unit}, no interval, {count}"
    places = decimals(interval)
    low, high = (minus(f"{bound:.{places}f}") for bound in interval)
    return f"{minus(f'{effect.mean_diff:+.{places}f}')}{unit and ' ' + unit} [{low}, {high}], {count}"


def decimals(interval: Interval) -> int:
    """Decimal places that show two digits of the half width."""
    half = (interval[1] - interval[0]) / 2
    return min(12, max(0, 1 - floor(log10(half)))) if half > 0 else 3


def signed(value: float) -> str:
    return minus(f"{value:+.3g}")


def minus(text: str) -> str:
    """With the minus sign of typography, which a browser does not break from its number."""
    return text.replace("-", "−")


def _ends(known: Sequence[Level]) -> tuple[Level, Level]:
    """What a claim compares unless it says otherwise: lowest and highest number, or baseline and last label."""
    numeric = [level for level in known if isinstance(level, int | float) and not isinstance(level, bool)]
    return (min(numeric), max(numeric)) if len(numeric) == len(known) else (known[0], known[-1])


def _label(value: Level | dict[str, float], *, default: Level, claim: Claim, known: Sequence[Level]) -> Level:
    if value is None and None not in known:
        return default
    if isinstance(value, dict) or value not in known:
        names = [str(label) for label in known]
        raise InputError(f"claim on {claim.axis}: no level {value!r} (there: {', '.join(names)}){did_you_mean(str(value), names)}")
    return value


def _statement(claim: Claim, *, level: Level, against: Level, metric: str) -> str:
    margin = "" if claim.within is None else f" within ±{claim.within:g}"
    match claim.expect:
        case "best_level":
            return f"{metric}: {claim.axis} = {level} is at least as good as every other level{margin}"
        case "equivalent":
            return f"{metric} is the same at {claim.axis} = {level} as at {against}{margin}"
        case order:
            return f"{metric} {order} from {claim.axis} = {against} to {level}"


def _effects(frame: pd.DataFrame, *, axis: str, baseline: Level, metric: str, axes: Sequence[str], confidence: float) -> tuple[Effect, ...]:
    """None at all while the baseline has no trial yet."""
    if axis in frame and not frame[axis].isin([baseline]).any():
        return ()
    return level_effects(frame, axis=axis, baseline=baseline, metric=metric, axes=axes, level=confidence)


def _against_all(
    frame: pd.DataFrame, *, axis: str, level: Level, metric: str, axes: Sequence[str], confidence: float
) -> tuple[Effect, ...]:
    """`level` minus each other level, as one family."""
    effects = _effects(frame, axis=axis, baseline=level, metric=metric, axes=axes, confidence=confidence)
    return adjust(effect.reversed() for effect in effects)


def _order(effect: Effect, *, sign: int, within: float | None, unit: str) -> tuple[Outcome, str]:
    narrow = effect.interval(EQUIVALENCE_CONFIDENCE)
    if within is not None and narrow and -within < narrow[0] and narrow[1] < within:
        return (
            "equivalent",
            f"{numbers_of(effect, unit=unit, confidence=EQUIVALENCE_CONFIDENCE)} (90 %), inside ±{within:g}",
        )
    said = numbers_of(effect, unit=unit)
    if effect.ci is None:
        return "inconclusive", f"{said}; {effect.note}"
    low, high = sorted((sign * effect.ci[0], sign * effect.ci[1]))
    if low > 0:
        return "supported", said
    if high < 0:
        return "contradicted", said
    return "inconclusive", f"{said}; {_settles(effect)}"


def _equivalence(effect: Effect, *, within: float | None, unit: str) -> tuple[Outcome, str]:
    narrow = effect.interval(EQUIVALENCE_CONFIDENCE)
    said = numbers_of(effect, unit=unit)
    if within is None:
        return "inconclusive", f"{said}; no margin: `within` says how small a difference does not matter"
    if narrow is None or effect.ci is None or effect.mean_diff is None:
        return "inconclusive", f"{said}; {effect.note}"
    if -within < narrow[0] and narrow[1] < within:
        return (
            "supported",
            f"{numbers_of(effect, unit=unit, confidence=EQUIVALENCE_CONFIDENCE)} (90 %), inside ±{within:g}",
        )
    if effect.ci[0] > within or effect.ci[1] < -within:
        return "contradicted", f"{said}, wholly outside ±{within:g}"
    distance = within - abs(effect.mean_diff)
    seeds = (
        seeds_for_margin(effect.mean_diff, within=within, sd=effect.sd or 0.0)
        if distance > 0
        else seeds_needed(distance, sd=effect.sd or 0.0)
    )
    return "inconclusive", f"{said}, against ±{within:g}; {_seeds(seeds)}"


def _best(
    effects: Sequence[Effect], *, goal: Literal["min", "max"], within: float | None, alpha: float, unit: str
) -> tuple[Outcome, Effect | None, str]:
    measured = [effect for effect in effects if effect.mean_diff is not None]
    if not measured:
        return "inconclusive", None, "no other level has a trial with the same seed"
    sign = 1 if goal == "max" else -1
    rival = min(measured, key=lambda effect: sign * (effect.mean_diff or 0.0))
    said = f"closest is {rival.baseline}: {numbers_of(rival, unit=unit)}"
    if rival.ci is not None and rival.p_holm is not None:
        said += f", Holm p = {rival.p_holm:.2g} over {len(effects)}"
    beaten = [effect for effect in measured if effect.p_holm is not None and effect.p_holm < alpha and sign * (effect.mean_diff or 0) < 0]
    if beaten:
        return "contradicted", rival, said
    if all(_as_good(effect, sign=sign, within=within, alpha=alpha) for effect in effects):
        return "supported", rival, said + ("" if within is None else f", margin {within:g}")
    return "inconclusive", rival, f"{said}; {_settles(rival) if rival.ci else rival.note}"


def _as_good(effect: Effect, *, sign: int, within: float | None, alpha: float) -> bool:
    if effect.p_holm is None or effect.mean_diff is None:
        return False
    narrow = effect.interval(EQUIVALENCE_CONFIDENCE)
    not_worse = within is not None and narrow is not None and min(sign * narrow[0], sign * narrow[1]) > -within
    return not_worse or (effect.p_holm < alpha and sign * effect.mean_diff > 0)


def _settles(effect: Effect) -> str:
    assert effect.mean_diff is not None
    assert effect.sd is not None
    return _seeds(seeds_needed(effect.mean_diff, sd=effect.sd))


def _seeds(needed: int | None) -> str:
    if needed is None:
        return f"over {MAX_SEEDS:,} seeds would be needed if it is as it looks"
    return f"about {needed} seeds would settle it if the difference is as it looks (power 0.8)"
