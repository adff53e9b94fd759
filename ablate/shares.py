"""The shares of one mix as an author writes them: a ratio or shares by source, numbers by source, and the limits that shares keep."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from ablate.errors import did_you_mean
from ablate.levels import kind_of
from ablate.marked_yaml import Fault, Path, shown, visible
from ablate.model import Number, StudyModel

_RATIO_PART = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_LARGEST_PART = 1e12
_SLACK = 1e-9
"""What rounding may take a share beyond a limit."""

_SHARES_SCHEMA = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}}
# what is wrong with these is said in the words of mixes, so pydantic lets everything pass
RatioOrShares = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"}, _SHARES_SCHEMA]})]
"""`5:5:1` in the order of the sources, or source -> share."""
OneOrPerSource = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, _SHARES_SCHEMA]})]
"""One number for all sources, or source -> number."""


class Repeats(StudyModel):
    """How often the data of a source may come again in one training."""

    sizes: dict[str, Annotated[Number, Field(ge=0)]]
    """Source -> how much there is, such as tokens."""
    total: Annotated[Number, Field(gt=0)]
    """What one training draws from all sources together, in the same unit."""
    at_most: Annotated[Number, Field(gt=0)]
    """share * total / size may not exceed this."""


@dataclass(frozen=True)
class Limits:
    """Least and largest share of each source; in what is left of the simplex there is at least one mix."""

    sources: tuple[str, ...]
    least: Mapping[str, float]
    most: Mapping[str, float]
    repeats: Repeats | None

    @property
    def bind(self) -> bool:
        return any(self.least.values()) or self.repeats is not None

    def broken(self, shares: Mapping[str, float]) -> str:
        """Which limits a mix breaks, with the numbers; empty for a mix inside."""
        parts = []
        for source, share in shares.items():
            if share < self.least[source] - _SLACK:
                parts.append(f"{source} {short(share)} is under its least share {short(self.least[source])}")
            if self.repeats and share > self.most[source] + _SLACK:
                parts.append(_repeated(source, share, self.repeats))
        return "; ".join(parts)

    def whole_parts(self, steps: int) -> tuple[list[int], list[int]]:
        """Each source's least and most share in whole steps of 1 / `steps`."""
        low = [max(0, math.ceil((self.least[source] - _SLACK) * steps)) for source in self.sources]
        high = [min(steps, math.floor((self.most[source] + _SLACK) * steps)) for source in self.sources]
        return low, high


def _repeated(source: str, share: float, repeats: Repeats) -> str:
    drawn, size = f"{source} {short(share)} x {short(repeats.total)}", repeats.sizes[source]
    if not size:
        return f"{drawn} from a source of size 0, which can have share 0 only"
    return f"{drawn} / {short(size)} = {short(share * repeats.total / size)} repeats, at most {short(repeats.at_most)}"


def read_limits(sources: tuple[str, ...], *, least: Any, repeats: Repeats | None, at: Path) -> tuple[Limits | None, list[Fault]]:
    """The limits of the axis at `at`, or None and what is wrong with them."""
    at_least, faults = per_source(0.0 if least is None else least, sources, missing=0.0, what="the least share", at=(*at, "min"))
    if odd := [source for source in at_least if not 0 <= at_least[source] <= 1]:
        faults.append(Fault((*at, "min"), f"the least share of {odd[0]} is {short(at_least[odd[0]])}; shares are from 0 to 1"))
    most = dict.fromkeys(sources, 1.0)
    if repeats:
        faults += _size_faults(repeats.sizes, sources, at=(*at, "repeats", "sizes"))
        if not faults:
            most = {source: min(1.0, repeats.at_most * repeats.sizes[source] / repeats.total) for source in sources}
    limits = Limits(sources, at_least, most, repeats)
    faults = faults or _empty(limits, at=at)
    return (None if faults else limits), faults


def _size_faults(sizes: Mapping[str, float], sources: Sequence[str], *, at: Path) -> list[Fault]:
    faults = [Fault((*at, name), _unknown(name, sources), at_key=True) for name in sizes if name not in sources]
    if missing := [source for source in sources if source not in sizes]:
        faults.append(Fault(at, f"no size for {', '.join(missing)}; write all of {', '.join(sources)}"))
    return faults


def _empty(limits: Limits, *, at: Path) -> list[Fault]:
    """Limits that no mix can keep."""
    least, most = limits.least, limits.most
    if (total := math.fsum(least.values())) > 1 + _SLACK:
        return [Fault((*at, "min"), f"the least shares {_sum(least)} sum to {short(total)}, over 1; lower some")]
    for source in limits.sources:
        if limits.repeats and least[source] > most[source] + _SLACK:
            return [Fault((*at, "min"), f"no mix has the least share: {_repeated(source, least[source], limits.repeats)}")]
    if limits.repeats and (total := math.fsum(most.values())) < 1 - _SLACK:
        what = f"{short(limits.repeats.at_most)} repeats allow shares up to {_sum(most)}"
        return [Fault((*at, "repeats"), f"{what}, {short(total)} in all, and a mix needs 1; allow more repeats, or draw less")]
    return []


def _sum(shares: Mapping[str, float]) -> str:
    return " + ".join(f"{source} {short(share)}" for source, share in shares.items())


def per_source(written: Any, sources: Sequence[str], *, missing: float | None, what: str, at: Path) -> tuple[dict[str, float], list[Fault]]:
    """A number for every source; `missing` is that of a source left out, None where none may be."""
    if is_number(written):
        return dict.fromkeys(sources, float(written)), []
    if not isinstance(written, Mapping):
        return {}, [Fault(at, f"expected a number, or numbers by source ({', '.join(sources)}); found {shown(written)}")]
    faults = [Fault((*at, name), _unknown(name, sources), at_key=True) for name in written if name not in sources]
    faults += [
        Fault((*at, name), f"{what} of {name} is {shown(value)}; write a number")
        for name, value in written.items()
        if name in sources and not is_number(value)
    ]
    if missing is None and (absent := [source for source in sources if source not in written]):
        faults.append(Fault(at, f"no number for {', '.join(absent)}; write all of {', '.join(sources)}"))
    return ({} if faults else {source: float(written.get(source, missing)) for source in sources}), faults


def ranges_of(limits: Limits) -> str:
    return ", ".join(f"{source} from {short(limits.least[source])} to {short(limits.most[source])}" for source in limits.sources)


def exact_shares(mix: Any, sources: Sequence[str]) -> dict[str, Fraction]:
    """The shares of a mix that `read_shares` has read, as written in decimals: 0.1 is a tenth, and the sum exactly 1."""
    parts = [part.strip() for part in mix.split(":")] if isinstance(mix, str) else [repr(mix[source]) for source in sources]
    exact = [Fraction(part) for part in parts]
    return {source: part / sum(exact) for source, part in zip(sources, exact, strict=True)}


def read_shares(mix: Any, sources: Sequence[str]) -> dict[str, float]:
    """A ratio or shares by source as shares in the order of `sources`. Raises ValueError."""
    order = ":".join(sources)
    if isinstance(mix, str):
        return _ratio(mix, sources)
    if not isinstance(mix, Mapping):
        raise ValueError(f"expected a ratio such as 5:5:1 ({order}) or shares by source, found {shown(mix)}")
    if unknown := [source for source in mix if source not in sources]:
        raise ValueError(_unknown(unknown[0], sources))
    if missing := [source for source in sources if source not in mix]:
        raise ValueError(f"no share for {', '.join(missing)}; write all of {', '.join(sources)}")
    if odd := [source for source in sources if not is_number(mix[source]) or not 0 <= mix[source] <= _LARGEST_PART]:
        raise ValueError(f"the share of {odd[0]} is {shown(mix[odd[0]])}; shares are numbers from 0 to 1")
    total = math.fsum(mix.values())
    if abs(total - 1) > 1e-6:
        raise ValueError(f"sum is {total:.6g}; use 45:45:10 or shares that sum to 1")
    return {source: float(mix[source]) for source in sources}


def _ratio(mix: str, sources: Sequence[str]) -> dict[str, float]:
    order = ":".join(sources)
    parts = [part.strip() for part in mix.split(":")]
    if len(parts) != len(sources):
        raise ValueError(f"{shown(mix)} has {len(parts)} parts, expected {len(sources)}: {order}")
    if odd := [part for part in parts if not _RATIO_PART.fullmatch(part)]:
        raise ValueError(f"the part '{visible(odd[0])}' of {shown(mix)} is not a number of 0 or more; write {order} as in 5:5:1")
    if large := [part for part in parts if float(part) > _LARGEST_PART]:
        raise ValueError(f"the part '{visible(large[0])}' of {shown(mix)} is over {short(_LARGEST_PART)}; write {order} as in 5:5:1")
    total = math.fsum(map(float, parts))
    if not total:
        raise ValueError(f"the parts of {shown(mix)} are all 0")
    return {source: float(part) / total for source, part in zip(sources, parts, strict=True)}


def _unknown(source: Any, sources: Sequence[str]) -> str:
    return f"unknown source '{visible(str(source))}' ({', '.join(sources)}){did_you_mean(str(source), sources)}"


def is_number(value: Any) -> bool:
    return kind_of(value) == "numbers" and math.isfinite(value)


def short(value: float) -> str:
    """Six digits, without the padding of an exponent: 1e10."""
    return re.sub(r"e([-+])0*", lambda match: "e-" if match[1] == "-" else "e", f"{value:.6g}")
