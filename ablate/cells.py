"""A design's block picks cells: one choice an axis. The order is the author's: axes as written, levels as written, the last axis fastest.

An axis that does not apply in a cell (`when`, another kind's axis) has the choice ABSENT there; `applies` asks the trainer's config.
What a block says that its axes cannot give is found here too.
"""

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from ablate.axes import Axis
from ablate.blocks import Block, Cumulative, Fractional, Grid, LatinHypercube, LeaveOneOut, ListedArms, OneAtATime, Search, Sobol
from ablate.errors import did_you_mean
from ablate.fractional import FractionalDesign, fractional_factorial
from ablate.levels import ABSENT, Choice
from ablate.marked_yaml import Fault, Path, visible
from ablate.model import Level
from ablate.sampling import latin_hypercube, sample_indices, sobol

Cell = tuple[Choice, ...]
"""One choice an axis, in the order of the axes."""
Applies = Callable[[int, Sequence[Choice]], bool]
"""Whether the axis at a place applies, given the choices on the axes before it."""


def draws(block: Block) -> bool:
    """Whether the block takes values between bounds."""
    return isinstance(block, Search | LatinHypercube | Sobol)


def pairs(block: Block) -> bool:
    """Whether the block measures every level against its axis's baseline, so that the baseline has to be among its cells."""
    return isinstance(block, Grid | OneAtATime | LeaveOneOut | Cumulative) and not (isinstance(block, Grid) and block.sample)


def varied(block: Block, axes: Sequence[Axis]) -> tuple[int, ...]:
    """Places of the axes a block varies, in the order the block gives them."""
    chosen = getattr(block, "axes", None)
    if chosen is None:
        return tuple(range(len(axes)))
    places = {axis.name: place for place, axis in enumerate(axes)}
    return tuple(places[name] for name in chosen if name in places)


def most_cells(block: Block, numbers: Sequence[int]) -> int:
    """Cells a block has at most, from the numbers of levels of the axes it varies: by arithmetic, without listing any."""
    match block:
        case Grid(sample=None):
            return math.prod(numbers)
        case Grid(sample=int(count)):
            return count
        case OneAtATime():
            return 1 + sum(numbers)
        case LeaveOneOut() | Cumulative():
            return 1 + len(numbers)
        case LatinHypercube(points=points) | Sobol(points=points):
            return points
        case ListedArms(arms=arms):
            return len(arms)
    return 0


def count_sign(block: Block) -> str:
    """Between the numbers of levels where `most_cells` is written out."""
    return " x " if isinstance(block, Grid) else " + "


def block_faults(block: Block, axes: Mapping[str, Axis], *, names: Sequence[str], at: Path) -> Iterator[Fault]:
    """What does not fit between a block and the axes. `names`: of all axes, of which `axes` has those that could be read whole."""
    listed = getattr(block, "axes", None) or ()
    for place, name in enumerate(listed):
        if name not in names:
            yield Fault((*at, "axes", place), f"no axis '{visible(name)}' ({', '.join(names)}){did_you_mean(name, names)}")
        elif name in listed[:place]:
            yield Fault((*at, "axes", place), f"the axis {name} is given twice; give it once")
    match block:
        case LeaveOneOut(final=final) | Cumulative(final=final):
            yield from _level_faults(final, axes, names=names, varied=listed or names, at=(*at, "final"))
            yield from _unchanged(final, axes, at=(*at, "final"))
        case ListedArms(arms=arms):
            for place, arm in enumerate(arms):
                yield from _level_faults(arm, axes, names=names, varied=listed or names, at=(*at, "arms", place))
            yield from _repeated(arms, axes, at=(*at, "arms"))
    for name in dict.fromkeys(listed or names):
        if name in axes:
            yield from _axis_faults(block, axes[name])


def _axis_faults(block: Block, axis: Axis) -> Iterator[Fault]:
    """What keeps a block from varying an axis."""
    others = [level for level in axis.levels if level.label != axis.base.label]
    if axis.bounds and not draws(block) and not isinstance(block, ListedArms):
        yield Fault(axis.at, f"points is missing: {block.kind} needs levels, and draws none between the bounds")
    elif isinstance(block, Fractional) and (len(others) != 1 or axis.when):
        labels = ", ".join(map(str, axis.all_labels))
        what = "does not apply everywhere" if axis.when else f"has the levels {labels}"
        yield Fault(axis.at, f"fractional needs two levels an axis, the base's own among them; {axis.name} {what}", at_key=True)
    elif isinstance(block, LeaveOneOut | Cumulative) and not others:
        yield Fault(axis.at, f"{block.kind} needs a level that is not the base's own, {axis.baseline}", at_key=True)


def _level_faults(
    levels: Mapping[str, object], axes: Mapping[str, Axis], *, names: Sequence[str], varied: Collection[str], at: Path
) -> Iterator[Fault]:
    for name, written in levels.items():
        if name not in names:
            yield Fault((*at, name), f"no axis '{visible(name)}' ({', '.join(names)}){did_you_mean(name, names)}", at_key=True)
        elif name not in varied:
            yield Fault((*at, name), f"the axis {name} is not among the axes of this design ({', '.join(varied)})", at_key=True)
        elif name in axes and (fault := axes[name].missing(written)):
            yield Fault((*at, name), fault)


def _unchanged(final: Mapping[str, object], axes: Mapping[str, Axis], *, at: Path) -> Iterator[Fault]:
    """What a recipe leaves as it is in the base: a step that changes nothing."""
    for name, written in final.items():
        found = axes[name].find(written) if name in axes else None
        if found and found.label == axes[name].base.label:
            message = f"{found.label} is the base's own level of {name}; write another one, or leave {name} out of this design's axes"
            yield Fault((*at, name), message)


def _repeated(arms: Sequence[Mapping[str, object]], axes: Mapping[str, Axis], *, at: Path) -> Iterator[Fault]:
    """An arm that is listed again, the base's own levels being written in one and left out in the other perhaps."""
    seen: dict[tuple[Level, ...], int] = {}
    for place, arm in enumerate(arms):
        if any(name not in axes or axes[name].missing(written) for name, written in arm.items()):
            continue
        key = tuple([axis.suggested(arm[name]).label if name in arm else axis.base.label for name, axis in axes.items()])
        if seen.setdefault(key, place) != place:
            yield Fault((*at, place), f"arms {seen[key] + 1} and {place + 1} are the same; give each once")


def reference(axes: Sequence[Axis], applies: Applies) -> Cell:
    """The base: every axis at its baseline."""
    return settle([axis.base for axis in axes], axes, applies)


def settle(choices: Sequence[Choice], axes: Sequence[Axis], applies: Applies) -> Cell:
    """The cell with ABSENT wherever an axis does not apply."""
    cell: list[Choice] = []
    for place, axis in enumerate(axes):
        cell.append(ABSENT if axis.when and not applies(place, cell) else choices[place])
    return tuple(cell)


def cells_of(block: Block, axes: Sequence[Axis], *, applies: Applies) -> Iterator[Cell]:
    """The cells of a block, lazily; a random sample of a grid never ends before every cell was drawn once."""
    places = varied(block, axes)
    match block:
        case Grid(sample=None):
            yield from _grid(axes, places, applies)
        case Grid(seed=seed):
            yield from _sampled(axes, places, applies, seed=seed)
        case OneAtATime():
            yield from _singles(axes, places, applies)
        case LeaveOneOut(final=final):
            recipe = _recipe(axes, places, final)
            yield settle(recipe, axes, applies)
            for place in places:
                yield settle([axes[at].base if at == place else choice for at, choice in enumerate(recipe)], axes, applies)
        case Cumulative(final=final):
            recipe, path = _recipe(axes, places, final), [axis.base for axis in axes]
            yield settle(path, axes, applies)
            for place in places:
                path[place] = recipe[place]
                yield settle(path, axes, applies)
        case Fractional():
            yield from _fraction(axes, places, applies, fraction(block, axes))
        case LatinHypercube(points=points, seed=seed):
            yield from _points(latin_hypercube(points, dimensions=len(places), seed=seed), axes, places, applies)
        case Sobol(points=points, seed=seed):
            yield from _points(sobol(points, dimensions=len(places), seed=seed), axes, places, applies)
        case ListedArms(arms=arms):
            for arm in arms:
                chosen = [axis.suggested(arm[axis.name]) if axis.name in arm else axis.base for axis in axes]
                yield settle(chosen, axes, applies)


def fraction(block: Fractional, axes: Sequence[Axis]) -> FractionalDesign:
    """The two-level design of a block."""
    return fractional_factorial([axes[place].name for place in varied(block, axes)], resolution=block.resolution)


def other_level(axis: Axis) -> Choice:
    """The last level that is not the baseline."""
    return [level for level in axis.levels if level.label != axis.base.label][-1]


def ends_of(axis: Axis) -> tuple[Choice, ...]:
    """The levels to try, with the bounds of an axis that is drawn between them."""
    return (*axis.levels, *(axis.suggested(bound) for bound in axis.bounds or ()))


def single_changes(axes: Sequence[Axis], *, applies: Applies) -> Iterator[Cell]:
    """The base, then one change each, bounds counting as levels: what to try where not all cells can be listed."""
    yield from _singles(axes, range(len(axes)), applies)


def whole_space(axes: Sequence[Axis], *, applies: Applies) -> Iterator[Cell]:
    """Every combination of levels, of an axis drawn between bounds the bounds alone."""
    yield from _product([ends_of(axis) for axis in axes], axes, applies)


def _grid(axes: Sequence[Axis], places: Sequence[int], applies: Applies) -> Iterator[Cell]:
    vary = set(places)
    yield from _product([axis.levels if place in vary else (axis.base,) for place, axis in enumerate(axes)], axes, applies)


def _product(levels: Sequence[Sequence[Choice]], axes: Sequence[Axis], applies: Applies) -> Iterator[Cell]:
    if not any(axis.when for axis in axes):
        yield from itertools.product(*levels)
        return

    def extend(cell: Cell) -> Iterator[Cell]:
        place = len(cell)
        if place == len(axes):
            yield cell
        elif axes[place].when and not applies(place, cell):
            yield from extend((*cell, ABSENT))
        else:
            for choice in levels[place]:
                yield from extend((*cell, choice))

    yield from extend(())


def grid_size(axes: Sequence[Axis], places: Sequence[int], applies: Applies, *, limit: int) -> int:
    """Cells of a whole grid; any number above `limit` where there are more. No axis after the last conditional one is listed."""
    vary = set(places)
    levels = [axis.levels if place in vary else (axis.base,) for place, axis in enumerate(axes)]
    last = max((place for place, axis in enumerate(axes) if axis.when), default=-1)
    rest = math.prod(len(choices) for choices in levels[last + 1 :])

    def count(cell: Cell, room: int) -> int:
        place = len(cell)
        if place > last:
            return rest
        if axes[place].when and not applies(place, cell):
            return count((*cell, ABSENT), room)
        if place == last:
            return len(levels[place]) * rest
        total = 0
        for choice in levels[place]:
            total += count((*cell, choice), room - total)
            if total > room:
                break
        return total

    return count((), limit)


def _sampled(axes: Sequence[Axis], places: Sequence[int], applies: Applies, *, seed: int) -> Iterator[Cell]:
    """Cells of the grid in random order, each once, none listed before it is drawn."""
    vary = set(places)
    levels = [axis.levels if place in vary else (axis.base,) for place, axis in enumerate(axes)]
    for index in sample_indices(math.prod(map(len, levels)), seed=seed):
        chosen: list[Choice] = []
        for choices in reversed(levels):
            index, digit = divmod(index, len(choices))
            chosen.append(choices[digit])
        yield settle(chosen[::-1], axes, applies)


def _singles(axes: Sequence[Axis], places: Iterable[int], applies: Applies) -> Iterator[Cell]:
    """The base and its changes; a change that makes further axes apply brings their levels along, one at a time too."""
    base = reference(axes, applies)
    vary = sorted(set(places))

    def around(cell: Cell, wanted: Iterable[int]) -> Iterator[Cell]:
        for place in wanted:
            for level in ends_of(axes[place]):
                if level != cell[place]:
                    changed = _changed(cell, place, level, axes, applies)
                    yield changed
                    yield from around(changed, [at for at in vary if cell[at] is ABSENT and changed[at] is not ABSENT])

    yield base
    yield from around(base, [place for place in vary if base[place] is not ABSENT])


def _changed(cell: Cell, place: int, choice: Choice, axes: Sequence[Axis], applies: Applies) -> Cell:
    chosen = [axis.base if old is ABSENT else old for axis, old in zip(axes, cell, strict=True)]
    chosen[place] = choice
    return settle(chosen, axes, applies)


def _recipe(axes: Sequence[Axis], places: Sequence[int], final: Mapping[str, object]) -> list[Choice]:
    recipe = [axis.base for axis in axes]
    for place in places:
        axis = axes[place]
        recipe[place] = axis.suggested(final[axis.name]) if axis.name in final else other_level(axis)
    return recipe


def _fraction(axes: Sequence[Axis], places: Sequence[int], applies: Applies, design: FractionalDesign) -> Iterator[Cell]:
    for run in design.runs:
        chosen = [axis.base for axis in axes]
        for place, high in zip(places, run, strict=True):
            chosen[place] = other_level(axes[place]) if high else axes[place].base
        yield settle(chosen, axes, applies)


def _points(points: Iterable[Sequence[float]], axes: Sequence[Axis], places: Sequence[int], applies: Applies) -> Iterator[Cell]:
    for point in points:
        chosen = [axis.base for axis in axes]
        for place, position in zip(places, point, strict=True):
            chosen[place] = axes[place].level_at(position)
        yield settle(chosen, axes, applies)
