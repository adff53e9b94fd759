"""A claim in words, its defaults filled in: what a plan announces and a verdict answers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ablate.errors import InputError, did_you_mean
from ablate.model import Level
from ablate.study import Claim, Contrast


class Sides(NamedTuple):
    axis: str
    level: Level
    against: Level


def statement(claim: Claim, *, levels: Mapping[str, Sequence[Level]], metric: str) -> str:
    """The claim as a sentence. `levels`: for every axis its labels, the baseline first; `metric`: the study's own."""
    metric, known = claim.metric or metric, levels_of(claim.axis, levels)
    if claim.expect == "interior_optimum":
        between(claim, known)
        return _interior_statement(claim, known, metric=metric) + _where(claim)
    sides = sides_of(claim, known)
    if claim.expect == "larger_effect_than":
        return f"{metric}: {change(sides)} matters more than {change(than_of(claim, levels))}{_margin(claim)}{_where(claim)}"
    return _statement(claim, level=sides.level, against=sides.against, metric=metric) + _where(claim)


def levels_of(axis: str, levels: Mapping[str, Sequence[Level]]) -> list[Level]:
    if axis not in levels:
        raise InputError(f"claim: no axis '{axis}' (there: {', '.join(levels)}){did_you_mean(axis, levels)}")
    return list(levels[axis])


def numeric(known: Sequence[Level]) -> list[int | float]:
    return [level for level in known if isinstance(level, int | float) and not isinstance(level, bool)]


def sides_of(contrast: Claim | Contrast, known: Sequence[Level]) -> Sides:
    """What is compared; unless it says otherwise the highest with the lowest number, or the last label with the baseline."""
    numbers = numeric(known)
    lowest, highest = (min(numbers), max(numbers)) if len(numbers) == len(known) else (known[0], known[-1])
    level = _label(contrast.level, default=highest, axis=contrast.axis, known=known)
    against = _label(contrast.against, default=lowest, axis=contrast.axis, known=known)
    if level == against and not (isinstance(contrast, Claim) and contrast.expect == "best_level"):
        raise InputError(f"claim on {contrast.axis}: level and against are both {level!r}")
    return Sides(contrast.axis, level, against)


def than_of(claim: Claim, levels: Mapping[str, Sequence[Level]]) -> Sides:
    if claim.than is None:
        raise InputError(f"claim on {claim.axis}: larger_effect_than needs `than: {{axis: ...}}`, the difference it compares with")
    return sides_of(claim.than, levels_of(claim.than.axis, levels))


def between(claim: Claim, known: Sequence[Level]) -> list[Level]:
    """The levels that may hold the optimum: all between the ends, or the one the claim names."""
    numbers = sorted(numeric(known))
    if len(numbers) < len(known) or len(numbers) < 3:
        raise InputError(f"claim on {claim.axis}: interior_optimum needs an axis of three numbers or more, found {listed(known)}")
    if claim.level is None:
        return list(numbers[1:-1])
    level = _label(claim.level, default=None, axis=claim.axis, known=known)
    if level in (numbers[0], numbers[-1]):
        raise InputError(f"claim on {claim.axis}: level {level} is an end of the axis; name one of {listed(numbers[1:-1])}")
    return [level]


def _label(value: Level | dict[str, float], *, default: Level, axis: str, known: Sequence[Level]) -> Level:
    if value is None:
        return default
    if isinstance(value, dict) or value not in known:
        names = [str(label) for label in known]
        raise InputError(f"claim on {axis}: no level {value!r} (there: {listed(known)}){did_you_mean(str(value), names)}")
    return value


def listed(levels: Sequence[Level]) -> str:
    return ", ".join(map(str, levels))


def change(sides: Sides) -> str:
    return f"{sides.axis} {sides.against} -> {sides.level}"


def _margin(claim: Claim) -> str:
    return "" if claim.within is None else f" within ±{claim.within:g}"


def _where(claim: Claim) -> str:
    return "" if claim.when is None else f", where {claim.when}"


def _interior_statement(claim: Claim, known: Sequence[Level], *, metric: str) -> str:
    low, high = min(numeric(known)), max(numeric(known))
    if claim.level is not None:
        return f"{metric} is better at {claim.axis} = {claim.level} than at both {low} and {high}"
    return f"{metric} is best at some {claim.axis} between {low} and {high}"


def _statement(claim: Claim, *, level: Level, against: Level, metric: str) -> str:
    margin = _margin(claim)
    match claim.expect:
        case "best_level":
            return f"{metric}: {claim.axis} = {level} is at least as good as every other level{margin}"
        case "equivalent":
            return f"{metric} is the same at {claim.axis} = {level} as at {against}{margin}"
        case order:
            return f"{metric} {order} from {claim.axis} = {against} to {level}"
