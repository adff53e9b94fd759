"""Which columns of somebody's runs are axes: those that are named, or those that vary and say something of their own.

By default a column is left out that is the same in every run, that has a level of its own in most runs and is no number the source calls
a setting, that moves one to one with the seed or with an earlier column, or that only names combinations of others (`arm` beside `lr` and
`width`, `n_params` beside `width` and `depth`): as an axis it would leave every run alone in its cell, with nothing to be compared to.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ablate.errors import did_you_mean
from ablate.imports.runs import listed
from ablate.marked_yaml import visible
from ablate.model import Level
from ablate.quantities import counted

MANY = 20
"""Numbers up to which a column may have one of its own in most runs and still have levels."""
FEW = 8
"""Numbers from which a column in which nearly every one stands once was drawn."""
NEARLY = 0.9
MAX_AXES = 20
"""By default; more have to be named."""
MAX_LEVELS = 5_000
MAX_LEVEL = 200
"""Characters of a level, which stands in tables, in figures and in the names of arms."""
EACH = "different in every run"
MOST = "different in nearly every run"
NULL = "null"
"""Level of the runs in which nothing was set."""


@dataclass(frozen=True)
class Choice:
    axes: tuple[str, ...]
    drawn: frozenset[str]
    """Axes whose values were drawn between bounds: numbers, most of them in one run only."""
    left_out: Mapping[str, str]
    """Column -> why it is no axis."""


@dataclass(frozen=True)
class _Column:
    name: str
    codes: tuple[int, ...]
    """Equal where the values are; 0 where nothing was set."""
    levels: int
    """Different values that were set."""
    present: int
    """Runs in which it was set."""
    numeric: bool
    longest: int
    once: int
    """Values that one run has."""
    bounded: bool | None
    """Whether the source says that it was drawn between bounds; None where it does not say."""

    @property
    def mostly_alone(self) -> bool:
        """Whether there is a value of its own for most runs."""
        return self.levels > self.present / 2

    @property
    def drawn(self) -> bool:
        if not self.numeric or self.levels < 2:
            return False
        if self.bounded is not None:
            return self.bounded
        return (self.levels > MANY and self.mostly_alone) or (self.levels >= FEW and self.once >= NEARLY * self.levels)


def choose(
    columns: Mapping[str, Sequence[Level]],
    *,
    named: Sequence[str],
    forced: Collection[str],
    settings: Collection[str] | None,
    bounded: Mapping[str, bool],
    seeds: Sequence[int] | None,
    broken: Sequence[bool],
) -> tuple[Choice, list[str]]:
    """The axes and what is wrong with them. `forced`: columns that are axes whatever else is. `settings`: those that the source says were
    set, None where it does not tell. `bounded`: column -> whether it was drawn between bounds, where the source tells. `seeds`: of each
    run. `broken`: whether a run failed or was lost."""
    if named:
        return _named(columns, list(dict.fromkeys((*named, *forced))), bounded=bounded)
    left_out: dict[str, str] = {}
    kept: list[_Column] = []
    read = {
        name: _column(name, values, bounded=bounded.get(name))
        for name, values in columns.items()
        if settings is None or name in settings or name in forced
    }
    shared = [column for column in read.values() if column.levels > 1 and not column.mostly_alone]
    cells = list(zip(*(column.codes for column in shared), seeds or [0] * len(broken), strict=True))
    for name, column in read.items():
        why = _why_not(column, told=settings is not None, values=columns[name]) if name not in forced else ""
        if (
            not why
            and name not in forced
            and column.bounded is None
            and _names_runs(column, shared, cells, seeded=seeds is not None, broken=broken)
        ):
            why = MOST
        if why:
            left_out[name] = why
        else:
            kept.append(column)
    if not kept:
        kept = [read[name] for name, why in left_out.items() if why in (EACH, MOST)][:1]
        left_out = {name: why for name, why in left_out.items() if name not in {column.name for column in kept}}
    for name, why in _without_own(kept, forced=forced, seeds=seeds):
        left_out[name] = why
    kept = [column for column in kept if column.name not in left_out]
    problems = []
    if len(kept) > MAX_AXES:
        problems.append(f"{len(kept)} columns vary ({listed(column.name for column in kept)}); name the axes with --axis COLUMN")
    if not kept:
        problems.append(f"no column varies from run to run in a way that makes an axis; name one with --axis ({listed(columns)})")
    return Choice(tuple(column.name for column in kept), frozenset(column.name for column in kept if column.drawn), left_out), problems


def _why_not(column: _Column, *, told: bool, values: Sequence[Level]) -> str:
    """Why it is no axis by default; empty where it is one."""
    everywhere = column.present == len(values)
    if not column.levels:
        return "empty"
    if column.levels == 1 and everywhere:
        return f"the same in every run: {visible(str(values[0]))}"
    if column.longest > MAX_LEVEL:
        return f"texts of up to {column.longest:,} characters"
    if column.numeric and column.mostly_alone and column.levels > 2 and not told:
        return "a number of its own in nearly every run; --axis takes it where it was set, --also where it was measured"
    if not column.numeric and column.levels == len(values) and len(values) > 2:
        return EACH
    if not column.numeric and column.levels > MANY and column.mostly_alone:
        return MOST
    return ""


def _names_runs(
    column: _Column, shared: Sequence[_Column], cells: Sequence[tuple[int, ...]], *, seeded: bool, broken: Sequence[bool]
) -> bool:
    """Whether a text names or describes single runs: most of its levels, and most runs, stand by themselves.

    Not so where a level of several runs, such as a baseline, stands in the same cell as most of those: it is what they are compared to.
    """
    if column.numeric:
        return False
    own = [place for place, code in enumerate(column.codes) if code and not broken[place]]
    if seeded:  # a rerun of the same cell is no second run
        own = list({(cells[place], column.codes[place]): place for place in own}.values())
    counts = Counter(column.codes[place] for place in own)
    alone = [place for place in own if counts[column.codes[place]] == 1]
    if len(own) < 3 or 2 * len(alone) <= len(own) or 2 * len(alone) <= len(counts):
        return False
    others = [at for at, other in enumerate(shared) if other.name != column.name] + [len(shared)]
    inside = {place: tuple(cells[place][at] for at in others) for place in own}
    compared = {inside[place] for place in own if counts[column.codes[place]] > 1}
    return 2 * sum(inside[place] in compared for place in alone) <= len(alone)


def _named(columns: Mapping[str, Sequence[Level]], named: Sequence[str], *, bounded: Mapping[str, bool]) -> tuple[Choice, list[str]]:
    problems, drawn = [], set[str]()
    for name in named:
        if name not in columns:
            hint = did_you_mean(name, columns) if len(columns) < MAX_LEVELS else ""
            problems.append(f"--axis: no column '{visible(name)}' ({listed(columns)}){hint}")
            continue
        column = _column(name, columns[name], bounded=bounded.get(name))
        if not column.levels:
            problems.append(f"--axis {visible(name)}: the column is empty")
        elif column.longest > MAX_LEVEL:
            problems.append(f"--axis {visible(name)}: texts of up to {column.longest:,} characters, and a level has {MAX_LEVEL} at most")
        elif column.drawn:
            drawn.add(name)
        elif column.levels > MAX_LEVELS:
            problems.append(f"--axis {visible(name)}: {column.levels:,} levels, the limit is {MAX_LEVELS:,}")
    return Choice(tuple(named), frozenset(drawn), {}), problems


def _column(name: str, values: Sequence[Level], *, bounded: bool | None) -> _Column:
    seen: dict[tuple[bool, Level], int] = {}
    codes = tuple(0 if value is None else seen.setdefault((isinstance(value, bool), value), len(seen) + 1) for value in values)
    found, counts = [value for _, value in seen], Counter(codes)
    return _Column(
        name,
        codes,
        levels=len(found),
        present=sum(code > 0 for code in codes),
        numeric=bool(found) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in found),
        longest=max((len(value) for value in found if isinstance(value, str)), default=0),
        once=sum(count == 1 for code, count in counts.items() if code),
        bounded=bounded,
    )


def _without_own(columns: Sequence[_Column], *, forced: Collection[str], seeds: Sequence[int] | None) -> Iterator[tuple[str, str]]:
    """Columns that say nothing of their own beside the others, and why."""
    kept: dict[str, _Column] = {}
    # a column that is named for the law stands for those that move with it
    for column in sorted(columns, key=lambda each: each.name not in forced):
        twin = next((other for other in kept.values() if _one_to_one(column.codes, other.codes)), None)
        if column.name in forced:
            kept[column.name] = column
        elif seeds is not None and len(set(seeds)) > 1 and _one_to_one(column.codes, seeds):
            yield column.name, "moves with the seed"
        elif twin:
            yield column.name, f"moves with {twin.name}"
        else:
            kept[column.name] = column
    for column in sorted(kept.values(), key=lambda each: -each.levels):
        others = [other for other in kept.values() if other is not column and not other.drawn]
        finer = [other.name for other in others if _follows(other.codes, column.codes)]
        if column.name in forced or column.drawn or not finer:
            continue
        if _follows(column.codes, list(zip(*(other.codes for other in others), strict=True))):
            del kept[column.name]
            yield column.name, f"names a combination of {listed(other.name for other in others)}"


def _one_to_one(left: Sequence[object], right: Sequence[object]) -> bool:
    return _follows(left, right) and _follows(right, left)


def _follows(values: Sequence[object], keys: Sequence[object]) -> bool:
    """Whether each key has one value only."""
    seen: dict[object, object] = {}
    return all(seen.setdefault(key, value) == value for key, value in zip(keys, values, strict=True))


def applied(levels: Mapping[str, Sequence[Level]], *, drawn: Collection[str]) -> tuple[dict[str, list[Level]], list[str]]:
    """Axis -> its level in each run, and what was done about runs in which nothing was set.

    Where that follows from another axis, such as a depth that only one kind has, the axis does not apply there, and its level stays None;
    elsewhere nothing is a level like any other.
    """
    found, notes = dict[str, list[Level]](), list[str]()
    for name, values in levels.items():
        absent = [value is None for value in values]
        others = [other for other in levels if other != name and other not in drawn]
        owner = next((other for other in others if _follows(absent, levels[other])), "") if any(absent) else ""
        if not any(absent):
            found[name] = list(values)
        elif owner:
            found[name] = list(values)
            notes.append(f"{name} does not apply in {counted(sum(absent), 'run')}: whether it is set follows from {owner}")
        else:
            found[name] = [NULL if value is None else value for value in values]
            notes.append(f"{name} is not set in {counted(sum(absent), 'run')}, which counts as its level '{NULL}'")
    return found, notes
