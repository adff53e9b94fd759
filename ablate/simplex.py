"""What is written under an axis of data mixes becomes its mixes: listed, on a lattice, drawn at random, or one part raised at a time.

Limits (least shares, repeats of a source) hold for all of them: a lattice leaves out the mixes beyond, random draws go on until enough are
inside, and a mix that the author wrote is a fault there. Nothing here asks the trainer.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field

from ablate.levels import label_of
from ablate.marked_yaml import Fault, Path, shown
from ablate.model import MAX_SEED, Number, StudyModel, Whole
from ablate.shares import (
    Limits,
    OneOrPerSource,
    RatioOrShares,
    Repeats,
    exact_shares,
    is_number,
    per_source,
    ranges_of,
    read_limits,
    read_shares,
    short,
)

MAX_MIXES = 10_000
MAX_DRAWS = 10_000
_FORMS = "list, lattice, dirichlet, raise"
_MILLION = 1_000_000


def _names(value: Any) -> Any:
    if (
        not isinstance(value, list | tuple)
        or len(value) < 2
        or not all(isinstance(source, str) for source in value)
        or len(set(value)) < len(value)
    ):
        raise ValueError(f"expected the names of two or more sources, each once; found {shown(value)}")
    return tuple(value)


class Dirichlet(StudyModel):
    """Mixes drawn at random."""

    points: Annotated[Whole, Field(ge=1, le=1_000)]
    """How many."""
    seed: Annotated[Whole, Field(ge=0, le=MAX_SEED)] = 0
    """Seed of the draw."""
    concentration: OneOrPerSource = 1.0
    """One number, or one per source, from 0.01: 1 draws all mixes alike, above 1 nearer to the middle, below 1 nearer to single sources."""


class Raise(StudyModel):
    """One part at a time grows, and the others keep their proportions."""

    start: Annotated[RatioOrShares, Field(alias="from")]
    """The mix to start from, which is a level too."""
    by: Annotated[tuple[Number, ...], Field(min_length=1)]
    """What is added to one source's share, such as 0.1; each of these for each source. Below 0 the part shrinks."""


class Simplex(StudyModel):
    """Data mixes: shares of two or more sources that sum to 1."""

    simplex: Annotated[
        tuple[str, ...], Field(min_length=2, max_length=64, json_schema_extra={"uniqueItems": True}), BeforeValidator(_names)
    ]
    """Names of the sources; ratios are written in this order."""
    list: tuple[RatioOrShares, ...] | None = None
    """These mixes: ratios such as 5:5:1, or shares by source that sum to 1."""
    lattice: Annotated[Whole, Field(ge=1, le=1_000)] | None = None
    """All mixes in steps of 1 / this number."""
    dirichlet: Dirichlet | None = None
    """Mixes drawn at random."""
    raised: Annotated[Raise | None, Field(alias="raise")] = None
    """A mix, and from it one part at a time raised."""
    min: OneOrPerSource = None
    """Least share of every source, or source -> its least share. Default: 0."""
    repeats: Repeats | None = None
    """How often the data of a source may come again."""
    when: str | None = None
    """Only where this condition holds; written as in `where`, over what stands before this axis."""


class Mix(NamedTuple):
    """One level of an axis of mixes."""

    label: str
    """The ratio as written, else in percent: `45:45:10`."""
    shares: dict[str, float]
    """In the order of the sources; they sum to 1, or as nearly as the author wrote them (a millionth)."""
    at: Path
    """Where it is written."""


class Mixes(NamedTuple):
    found: list[Mix]
    faults: list[Fault]
    left_out: int = 0
    """How many mixes of a lattice the limits removed."""


def mixes(form: Simplex, *, at: Path) -> Mixes:
    """The mixes of an axis in a fixed order, with what is wrong with them; `at` is where the axis stands."""
    written = [name for name, value in _given(form).items() if value is not None]
    if len(written) != 1:
        both = f"found {' and '.join(written)}; write one of {_FORMS}"
        none = f'an axis needs at least one level; write list: ["5:5:1", ...] (or one of {_FORMS})'
        return Mixes([], [Fault(at, both if written else none)])
    limits, faults = read_limits(form.simplex, least=form.min, repeats=form.repeats, at=at)
    if limits is None:
        return Mixes([], faults)
    if form.list is not None:
        return _listed(form.list, limits, at=(*at, "list"))
    if form.lattice is not None:
        return _on_lattice(form.lattice, limits, at=(*at, "lattice"))
    if form.dirichlet:
        return _drawn(form.dirichlet, limits, at=(*at, "dirichlet"))
    assert form.raised
    return _raised(form.raised, limits, at=(*at, "raise"))


def _given(form: Simplex) -> dict[str, Any]:
    return {"list": form.list, "lattice": form.lattice, "dirichlet": form.dirichlet, "raise": form.raised}


def _listed(written: Sequence[Any], limits: Limits, *, at: Path) -> Mixes:
    if not written:
        return Mixes([], [Fault(at, 'an axis needs at least one level; write list: ["5:5:1", ...]')])
    found: list[Mix] = []
    faults: list[Fault] = []
    for index, mix in enumerate(written):
        try:
            found.append(_written(mix, limits, at=(*at, index)))
        except ValueError as error:
            faults.append(Fault((*at, index), str(error)))
    return _without_repeats(found, faults)


def _written(mix: Any, limits: Limits, *, at: Path) -> Mix:
    """A mix the author wrote, in his words where it is a ratio. Raises ValueError."""
    shares = read_shares(mix, limits.sources)
    if broken := limits.broken(shares):
        raise ValueError(broken)
    return Mix(mix if isinstance(mix, str) else _label(shares), shares, at)


def _without_repeats(found: list[Mix], faults: list[Fault]) -> Mixes:
    """A mix that comes again, or would read the same in results, is a fault."""
    seen: dict[Any, int] = {}
    kept = []
    for index, mix in enumerate(found):
        keys = (mix.label, tuple(round(share, 9) for share in mix.shares.values()))
        if first := [seen[key] for key in keys if key in seen]:
            alike = found[first[0]].label
            also = "" if alike == mix.label else f" and {mix.label}"
            if not faults:
                faults = [Fault(mix.at, f"levels {first[0] + 1} and {index + 1} are the same: {alike}{also}")]
            continue
        seen |= dict.fromkeys(keys, index)
        kept.append(mix)
    return Mixes(kept, faults)


def _on_lattice(steps: int, limits: Limits, *, at: Path) -> Mixes:
    low, high = limits.whole_parts(steps)
    in_all = math.comb(steps + len(low) - 1, len(low) - 1)
    count = f"{in_all:,}" if in_all < 1e12 else short(float(in_all))
    parts = list(islice(_compositions(steps, low, high), MAX_MIXES + 1))
    if len(parts) > MAX_MIXES:
        what = f"steps of 1/{steps} over {len(low)} sources are {count} mixes{' before the limits' if limits.bind else ''}"
        return Mixes([], [Fault(at, f"{what}; up to {MAX_MIXES:,} are allowed, so take larger steps")])
    if not parts:
        return Mixes([], [Fault(at, f"the limits leave none of the {count} mixes in steps of 1/{steps}: {ranges_of(limits)}")], in_all)
    found = [_mix([part / steps for part in mix], limits.sources, at=at) for mix in parts]
    return Mixes(found, [], in_all - len(found))


def _compositions(rest: int, low: Sequence[int], high: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Whole parts between `low` and `high` that sum to `rest`, the first part's largest value first; no branch ends without one."""
    if len(low) == 1:
        if low[0] <= rest <= high[0]:
            yield (rest,)
        return
    for part in range(min(high[0], rest - sum(low[1:])), max(low[0], rest - sum(high[1:])) - 1, -1):
        for others in _compositions(rest - part, low[1:], high[1:]):
            yield (part, *others)


def _drawn(written: Dirichlet, limits: Limits, *, at: Path) -> Mixes:
    here = (*at, "concentration")
    weights, faults = per_source(written.concentration, limits.sources, missing=None, what="the concentration", at=here)
    faults += [
        Fault(here, f"the concentration of {source} is {short(weight)}; write a number from 0.01 to 1e6")
        for source, weight in weights.items()
        if not 0.01 <= weight <= 1e6
    ]
    if faults:
        return Mixes([], faults[:1] if is_number(written.concentration) else faults)
    found: dict[str, Mix] = {}
    draws = islice(_draws(list(weights.values()), seed=written.seed), MAX_DRAWS)
    outside = 0
    while len(found) < written.points and (shares := next(draws, None)):
        mix = _mix(shares, limits.sources, at=at)
        if limits.broken(mix.shares):
            outside += 1
        else:
            found.setdefault(mix.label, mix)
    if len(found) < written.points:
        beyond = f"{outside:,} lie outside the limits ({ranges_of(limits)}), " if limits.bind else ""
        what = f"{MAX_DRAWS:,} draws give {len(found)} of {written.points} mixes: {beyond}{MAX_DRAWS - outside - len(found):,} came again"
        return Mixes([], [Fault(at, f"{what}; {'loosen the limits' if limits.bind else 'ask for fewer'}, or use lattice")])
    return Mixes(list(found.values()), [])


def _draws(weights: Sequence[float], *, seed: int) -> Iterator[list[float]]:
    """Shares of gamma variates, in whole millionths: rounding by largest remainder keeps the sum, and hides the last bit of `log`."""
    generator = random.Random(seed)  # noqa: S311 - a design, no secret
    while True:
        drawn = [generator.gammavariate(weight, 1.0) for weight in weights]
        total = math.fsum(drawn)
        if total > 0:  # all underflow together where concentrations are tiny
            yield [part / _MILLION for part in _whole_parts([_MILLION * part / total for part in drawn])]


def _whole_parts(exact: Sequence[float]) -> list[int]:
    """Whole numbers that sum to a million, each less than 1 from its exact part."""
    parts = [math.floor(part) for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: (parts[place] - exact[place], place))
    for place in by_remainder[: _MILLION - sum(parts)]:
        parts[place] += 1
    return parts


def _raised(written: Raise, limits: Limits, *, at: Path) -> Mixes:
    try:
        found = [_written(written.start, limits, at=(*at, "from"))]
    except ValueError as error:
        return Mixes([], [Fault((*at, "from"), str(error))])
    faults = []
    exact = exact_shares(written.start, limits.sources)
    for source in limits.sources:
        for index, step in enumerate(written.by):
            here = (*at, "by", index)
            try:
                shares = [float(share) for share in _with_more(exact, source, Fraction(repr(step))).values()]
                mix = _mix(shares, limits.sources, at=here)
                if broken := limits.broken(mix.shares):
                    raise ValueError(f"{mix.label} breaks a limit: {broken}")
                found.append(mix)
            except ValueError as error:
                faults.append(Fault(here, str(error)))
    return _without_repeats(found, faults)


def _with_more(shares: Mapping[str, Fraction], source: str, step: Fraction) -> dict[str, Fraction]:
    """The mix with this much more of one source and the others in their proportions. Raises ValueError."""
    raised, others = shares[source] + step, 1 - shares[source]
    if not 0 <= raised <= 1:
        numbers = f"{source} {short(float(shares[source]))} {'-' if step < 0 else '+'} {short(abs(float(step)))}"
        raise ValueError(
            f"{numbers} = {short(float(raised))}; a share is from 0 to 1, so take a smaller step, or write the mixes as a list"
        )
    if not others and step:
        raise ValueError(f"{source} is the whole mix, so there are no others to take its share; write the mixes as a list")
    return {name: raised if name == source else share * (1 - raised) / others if others else share for name, share in shares.items()}


def _mix(shares: Sequence[float], sources: Sequence[str], *, at: Path) -> Mix:
    named = dict(zip(sources, shares, strict=True))
    return Mix(_label(named), named, at)


def _label(shares: Mapping[str, float]) -> str:
    return str(label_of(shares))
