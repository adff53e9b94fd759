"""What may be written under an axis, form by form, and the levels it says; the trainer is not asked here.

A list, or a mapping with one of `list`, `range`, `linspace`, `log`, `levels`, `zip`, `choices`, `simplex`. An axis of the first four, of
`choices` and of `simplex` is named by the field it varies; `levels` and `zip` vary several fields together and have a name of their own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, field_validator

from ablate.errors import did_you_mean
from ablate.explain import explain
from ablate.levels import Choice, kind_of, one_field, repeated, same, unquoted
from ablate.marked_yaml import Fault, Path, shown, visible
from ablate.model import Number, StudyModel
from ablate.simplex import Simplex, mixes

MAX_POINTS = 10_000


def _two_numbers(value: Any) -> Any:
    if not (isinstance(value, list | tuple) and [kind_of(bound) for bound in value] == ["numbers", "numbers"]):
        raise ValueError(f"expected two numbers, [low, high]; found {shown(value)}")
    if value[0] >= value[1]:
        raise ValueError(f"the low bound {shown(value[0])} is not below the high bound {shown(value[1])}")
    return tuple(value)


def _points(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int) or not 2 <= value <= MAX_POINTS:
        raise ValueError(f"expected a whole number from 2 to {MAX_POINTS:,}, found {shown(value)}")
    return value


Bounds = Annotated[tuple[int | float, int | float], BeforeValidator(_two_numbers)]
Points = Annotated[int, Field(ge=2, le=MAX_POINTS), BeforeValidator(_points)]
_ABOVE_0 = {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 2, "maxItems": 2}


class _Form(StudyModel):
    when: str | None = None
    """Only where this condition holds; written as in `where`, over what stands before this axis."""


class Listed(_Form):
    """These levels."""

    values: Annotated[tuple[Any, ...], Field(alias="list")]
    """Numbers, or texts, or booleans, not mixed."""


class Range(_Form):
    """Numbers from low to high in equal steps, high included where a step meets it."""

    range: Bounds
    """[low, high]."""
    step: Annotated[Number, Field(gt=0)]
    """From one level to the next."""


class Linspace(_Form):
    """Numbers evenly spaced between the bounds."""

    linspace: Bounds
    """[low, high]."""
    points: Points | None = None
    """How many levels; without, values between the bounds are drawn by a search, a latin hypercube or a Sobol sequence."""


class Log(_Form):
    """Numbers evenly spaced in the logarithm."""

    log: Annotated[Bounds, WithJsonSchema(_ABOVE_0)]
    """[low, high], above 0."""
    points: Points | None = None
    """How many levels; without, values between the bounds are drawn by a search, a latin hypercube or a Sobol sequence."""

    @field_validator("log")
    @classmethod
    def _positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] <= 0:
            raise ValueError(f"log needs bounds above 0, found {shown(value[0])}; use linspace")
        return value


class Named(_Form):
    """Named levels that set several fields at once."""

    levels: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    """Name -> dotted path -> value."""


class Zipped(_Form):
    """Fields that change together: the first level takes the first value of each, and so on."""

    zip: Annotated[dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(min_length=2)]
    """Dotted path -> its values, equally many each; levels are named by the first path's values."""

    @field_validator("zip")
    @classmethod
    def _equally_many(cls, value: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        if len({len(values) for values in value.values()}) > 1:
            counted = ", ".join(f"{path} has {len(values)}" for path, values in value.items())
            raise ValueError(f"zipped fields need equally many values: {counted}")
        return value


class Choices(_Form):
    """Kinds with axes of their own, which vary only where that kind is chosen."""

    choices: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    """Kind -> dotted path -> an axis in any form; `{}` where a kind has none."""


FORMS: dict[str, type[StudyModel]] = {
    "simplex": Simplex,
    "list": Listed,
    "range": Range,
    "linspace": Linspace,
    "log": Log,
    "levels": Named,
    "zip": Zipped,
    "choices": Choices,
}
"""Key that tells the form -> the form; `simplex` has a `list` of its own."""
_Some = Field(min_length=1)
AxisForm = (
    Annotated[list[int | float], _Some]
    | Annotated[list[str], _Some]
    | Annotated[list[bool], _Some]
    | Listed
    | Range
    | Linspace
    | Log
    | Named
    | Zipped
    | Choices
    | Simplex
)
"""For the JSON Schema."""
_WRITE = "write a list such as [16, 24], or a mapping with one of " + ", ".join(sorted(FORMS))


@dataclass(frozen=True)
class Written:
    """An axis as it is written."""

    name: str
    at: Path
    """Where the axis stands."""
    levels: tuple[Choice, ...] = ()
    bounds: tuple[float, float] | None = None
    log: bool = False
    when: tuple[tuple[str, Path], ...] = ()
    """Conditions, all of which must hold, and where each is written; those of the axes around it come first."""
    context: Mapping[str, str] = field(default_factory=dict)
    """The kinds this axis is nested under: path -> kind. It applies where all of them are chosen."""
    paths: tuple[str, ...] = ()
    """Fields it sets; none where its form cannot be read and the axis has a name of its own."""
    faults: tuple[Fault, ...] = ()
    left_out: int = 0
    """Mixes that the limits of a lattice leave out."""


def read_axes(axes: Mapping[str, Any], *, drawn: bool) -> tuple[Written, ...]:
    """Every axis in the order written, nested ones after the axis they belong to; `drawn`: whether the design draws between bounds."""
    found: list[Written] = []
    for name, written in axes.items():
        found += _read(name, written, at=("axes", name), drawn=drawn)
    return tuple(_unlike(found))


def nested_at(axes: Mapping[str, Any], name: str) -> Path | None:
    """Where the axis of this name stands under `axes`, inside `choices` too; None where there is none."""
    if name in axes:
        return (name,)
    for parent, written in axes.items():
        kinds = written.get("choices") if isinstance(written, Mapping) else None
        for kind, inner in kinds.items() if isinstance(kinds, Mapping) else ():
            if isinstance(inner, Mapping) and (found := nested_at(inner, name)):
                return (parent, "choices", kind, *found)
    return None


def _unlike(axes: Sequence[Written]) -> Iterator[Written]:
    """Two axes with one name, or that set one field (or a group and a field in it), are a fault of the second."""
    names: set[str] = set()
    folded: dict[str, str] = {}
    owners: dict[str, str] = {}
    for axis in axes:
        faults = list(axis.faults)
        if axis.name in names:
            message = f"the axis {axis.name} is written twice; give it once, as an axis of its own with when: such as kind in ['a', 'b']"
            faults.append(Fault(axis.at, message, at_key=True))
        elif axis.name.casefold() in folded:
            message = f"the axes {folded[axis.name.casefold()]} and {axis.name} differ in case only; give one another name"
            faults.append(Fault(axis.at, message, at_key=True))
        elif taken := [(path, other) for path in axis.paths for other in owners if overlap(path, other)]:
            path, other = taken[0]
            of = "" if path == other else f" ({path} and {other} overlap)"
            faults.append(Fault(axis.at, f"{other} is varied by the axis {owners[other]} already{of}", at_key=True))
        faults += _confusing(axis.levels) if not faults else ()
        names.add(axis.name)
        folded.setdefault(axis.name.casefold(), axis.name)
        owners |= {path: axis.name for path in axis.paths if path not in owners}
        yield replace(axis, faults=tuple(faults))


def _confusing(levels: Sequence[Choice]) -> Iterator[Fault]:
    """Levels that a person could not tell apart, or not see whole."""
    seen: dict[str, int] = {}
    for index, choice in enumerate(levels):
        if not isinstance(choice.label, str):
            continue
        first = seen.setdefault(choice.label.casefold(), index)
        if hidden := next((char for char in choice.label if not char.isprintable()), ""):
            yield Fault(choice.at, f"found {shown(choice.label)}; U+{ord(hidden):04X} cannot be seen, and levels stand in tables and names")
        elif first != index:
            both = f"{levels[first].label} and {choice.label}"
            yield Fault(choice.at, f"levels {first + 1} and {index + 1} differ in case only: {both}; one would be taken for the other")


def overlap(path: str, other: str) -> bool:
    """Whether two dotted paths are one, or one leads into the other."""
    return path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.")


def _read(name: str, written: Any, *, at: Path, drawn: bool) -> list[Written]:
    if isinstance(written, list | tuple) and written:
        return [_listed(Written(name, at, paths=(name,)), written, at=at)]
    if not isinstance(written, Mapping) or not written:
        empty = written is None or (isinstance(written, list | tuple | Mapping) and not written)
        message = "an axis needs at least one level" if empty else f"found {shown(written)}, and an axis needs a list of levels"
        return [Written(name, at, paths=(name,), faults=(Fault(at, f"{message}; {_WRITE}"),))]
    keys = [key for key in FORMS if key in written]
    if not keys:
        close = next((hint for key in written if (hint := did_you_mean(str(key), FORMS))), "")
        return [Written(name, at, paths=(name,), faults=(Fault(at, f"found {shown(written)}{close}; {_WRITE}"),))]
    try:
        form = FORMS[keys[0]].model_validate(written)
    except ValidationError as error:
        faults = tuple(fault._replace(path=(*at, *fault.path)) for fault in explain(error, FORMS[keys[0]], written))
        own_name = keys[0] in ("levels", "zip")  # the name of such an axis is no field
        return [Written(name, at, paths=() if own_name else (name,), faults=faults)]
    condition = getattr(form, "when", None)
    start = Written(name, at, when=((condition, (*at, "when")),) if condition is not None else (), paths=(name,))
    return _levels(start, form, drawn=drawn)


def _levels(start: Written, form: StudyModel, *, drawn: bool) -> list[Written]:
    at = start.at
    match form:
        case Listed(values=values):
            return [_listed(start, values, at=(*at, "list"))]
        case Range(range=(low, high), step=step):
            return [_ranged(start, low, high, step)]
        case Linspace(linspace=bounds, points=points):
            return [_spaced(start, bounds, points, log=False, drawn=drawn)]
        case Log(log=bounds, points=points):
            return [_spaced(start, bounds, points, log=True, drawn=drawn)]
        case Named(levels=levels):
            return [_named(start, levels)]
        case Zipped(zip=fields):
            return [_zipped(start, fields)]
        case Choices(choices=kinds):
            return _nested(start, kinds, drawn=drawn)
        case Simplex():
            made = mixes(form, at=at)
            choices = tuple(Choice(mix.label, {start.name: mix.shares}, {start.name: mix.at}) for mix in made.found)
            return [replace(start, levels=choices, faults=tuple(made.faults), left_out=made.left_out)]
    raise AssertionError(form)


def _listed(start: Written, values: Sequence[Any], *, at: Path) -> Written:
    if not values:
        return replace(start, faults=(Fault(at, f"an axis needs at least one level; {_WRITE}"),))
    kinds = [kind_of(value) for value in values]
    faults = [
        Fault((*at, index), f"a level is a number, text, true or false; found {shown(value)}")
        for index, (value, kind) in enumerate(zip(values, kinds, strict=True))
        if not kind
    ]
    if not faults and len(set(kinds)) > 1:
        faults = [_mixed(values, kinds, at=at)]
    kind = "numbers" if "numbers" in kinds else kinds[0]
    levels = [
        one_field(start.name, value, at=(*at, index)) for index, value in enumerate(values) if kind_of(value) and kind_of(value) == kind
    ]
    return _without_repeats(replace(start, levels=tuple(levels), faults=tuple(faults)))


def _mixed(written: Sequence[Any], kinds: Sequence[str], *, at: Path) -> Fault:
    words = " and ".join(dict.fromkeys(sorted(kinds)))
    for index, value in enumerate(written):
        if isinstance(value, str) and not isinstance(unquoted(value), str):
            return Fault((*at, index), f"levels mix {words}: write {visible(value)} without quotes")
    odd = next(index for index, kind in enumerate(kinds) if kind != kinds[0])
    return Fault((*at, odd), f"levels mix {words}: {shown(written[odd])} beside {shown(written[0])}; write all of one kind")


def _without_repeats(axis: Written) -> Written:
    if not axis.faults and (fault := repeated(axis.levels, [choice.value for choice in axis.levels])):
        return replace(axis, levels=tuple(level for level in axis.levels if level.at != fault.path), faults=(fault,))
    return axis


def _ranged(start: Written, low: float, high: float, step: float) -> Written:
    """Steps are added as written in decimals: 0.1 is a tenth, and 0.3 is three of them."""
    first, each = Fraction(repr(low)), Fraction(repr(step))
    count = (Fraction(repr(high)) - first) // each + 1
    if not 2 <= count <= MAX_POINTS:
        many = f"{count:,}" if count < 10**15 else f"about 1e{len(str(count)) - 1}"
        message = f"from {shown(low)} to {shown(high)} in steps of {shown(step)} are {many} levels; 2 to {MAX_POINTS:,} are allowed"
        return replace(start, faults=(Fault((*start.at, "step"), message),))
    exact = [first + index * each for index in range(count)]
    whole = isinstance(low, int) and all(value.denominator == 1 for value in exact)
    # beyond 2^53 a bound's decimals say more than the number has
    return _numbers(start, [min(int(value) if whole else float(value), high) for value in exact])


def _spaced(start: Written, bounds: tuple[float, float], points: int | None, *, log: bool, drawn: bool) -> Written:
    low, high = bounds
    if points is None and drawn:
        return replace(start, bounds=(float(low), float(high)), log=log)
    if points is None:
        message = "points is missing: how many levels between the bounds (search, latin_hypercube and sobol draw values by themselves)"
        return replace(start, faults=(Fault(start.at, message),))
    steps = [step / (points - 1) for step in range(1, points - 1)]
    try:
        inner = [low * (high / low) ** part if log else low + (high - low) * part for part in steps]
        span = float(high / low if log else high - low)
    except OverflowError:
        span = math.inf
    if not math.isfinite(span):
        key = "log" if log else "linspace"
        return replace(start, faults=(Fault((*start.at, key), f"from {shown(low)} to {shown(high)} is too far for numbers between"),))
    # six digits, so that every machine gives the same levels; rounding takes none of them beyond the bounds
    values = [low, *(min(max(six_digits(value), low), high) for value in inner), high]
    whole = isinstance(low, int) and all(float(value).is_integer() for value in values)
    return _numbers(start, [int(value) if whole else value for value in values])


def _numbers(start: Written, values: Sequence[float]) -> Written:
    return _without_repeats(replace(start, levels=tuple(one_field(start.name, value, at=start.at) for value in values)))


def six_digits(value: float) -> float:
    return float(f"{value:.6g}")


def _named(start: Written, levels: Mapping[str, Mapping[str, Any]]) -> Written:
    at = (*start.at, "levels")
    choices = [Choice(name, dict(fields), {path: (*at, name, path) for path in fields}) for name, fields in levels.items()]
    paths = tuple(dict.fromkeys(path for fields in levels.values() for path in fields))
    faults = [Fault((*at, name), "a level sets at least one field: dotted path and value") for name, fields in levels.items() if not fields]
    return replace(start, levels=tuple(choices), paths=paths, faults=tuple(faults))


def _zipped(start: Written, fields: Mapping[str, Sequence[Any]]) -> Written:
    at, first = (*start.at, "zip"), next(iter(fields))
    labels = fields[first]
    for index, label in enumerate(labels):
        if not kind_of(label) or any(same(label, other) for other in labels[:index]):
            message = "the first field's values name the levels: numbers or texts, each once"
            return replace(start, paths=tuple(fields), faults=(Fault((*at, first, index), message),))
    choices = [
        Choice(label, {path: values[index] for path, values in fields.items()}, {path: (*at, path, index) for path in fields})
        for index, label in enumerate(labels)
    ]
    return replace(start, levels=tuple(choices), paths=tuple(fields))


def _nested(start: Written, kinds: Mapping[str, Mapping[str, Any]], *, drawn: bool) -> list[Written]:
    at = (*start.at, "choices")
    levels = tuple(Choice(kind, {start.name: kind}, {start.name: (*at, kind)}) for kind in kinds)
    found = [replace(start, levels=levels)]
    for kind, axes in kinds.items():
        for name, written in axes.items():
            inner = _read(name, written, at=(*at, kind, name), drawn=drawn)
            found += [replace(axis, when=(*start.when, *axis.when), context={start.name: kind, **axis.context}) for axis in inner]
    return found
