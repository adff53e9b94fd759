"""What may be written under `design`: one block or a list of them, each a rule that picks combinations of levels.

A block is a name (`grid`), or a mapping with its settings (`{kind: sobol, points: 32}`). The arms of several blocks are joined in their
order, each arm once. `cells.py` lists the combinations a block means.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from ablate.marked_yaml import shown
from ablate.model import MAX_SEED, MAX_TRIALS, Level, Number, StudyModel, Whole

Seed = Annotated[Whole, Field(ge=0, le=MAX_SEED)]


def _count_becomes_list(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TRIALS:
        raise ValueError(f"found {shown(value)}; write a count from 1 to {MAX_TRIALS:,}, or a list of seeds from 0 to {MAX_SEED}")
    return tuple(range(value))


def _seeds_differ(value: tuple[int, ...]) -> tuple[int, ...]:
    if not value:
        raise ValueError("found an empty list; write a count of 1 or more, or at least one seed")
    if len(set(value)) == len(value):
        return value
    seen: dict[int, int] = {}
    for place, seed in enumerate(value, start=1):
        if seed in seen:
            raise ValueError(f"seeds {seen[seed]} and {place} are the same: {seed}")
        seen[seed] = place
    return value


Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_count_becomes_list), AfterValidator(_seeds_differ)]
"""A count n means 0 to n - 1."""
Points = Annotated[Whole, Field(ge=2, le=MAX_TRIALS)]
Levels = dict[str, Level | dict[str, Number]]
"""Axis -> one of its levels."""


class _Block(StudyModel):
    axes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Axes this block varies, in this order; the others stay at the base. Default: all."""


class Grid(_Block):
    """Every combination, in the order written, the last axis fastest."""

    kind: Literal["grid"] = "grid"
    """Which design."""
    sample: Annotated[Whole, Field(ge=1, le=MAX_TRIALS)] | None = None
    """Only so many combinations, drawn at random without listing them all. Default: every one."""
    seed: Seed = 0
    """Seed of `sample`."""


class OneAtATime(_Block):
    """The base, then one change each."""

    kind: Literal["one_at_a_time"] = "one_at_a_time"
    """Which design."""


class LeaveOneOut(_Block):
    """The final recipe, then the recipe with one axis each put back to the base."""

    kind: Literal["leave_one_out"] = "leave_one_out"
    """Which design."""
    final: Levels = Field(default_factory=dict)
    """The recipe: axis -> level. Default: the last level of each axis."""


class Cumulative(_Block):
    """A path from the base to the final recipe: one more axis changed at each step."""

    kind: Literal["cumulative"] = "cumulative"
    """Which design."""
    final: Levels = Field(default_factory=dict)
    """The recipe at the end of the path: axis -> level. Default: the last level of each axis."""


class Fractional(_Block):
    """A two-level fractional factorial design, 2^(k-p): the smallest with this resolution."""

    kind: Literal["fractional"] = "fractional"
    """Which design."""
    resolution: Literal[3, 4, 5] = 4
    """3: main effects may be mixed up with two-way interactions; 4: only interactions with each other; 5: neither."""


class LatinHypercube(_Block):
    """Points spread so that each axis is covered evenly."""

    kind: Literal["latin_hypercube"] = "latin_hypercube"
    """Which design."""
    points: Points
    """How many."""
    seed: Seed = 0
    """Seed of the draw."""


class Sobol(_Block):
    """Points of a scrambled Sobol sequence, which cover all axes together evenly."""

    kind: Literal["sobol"] = "sobol"
    """Which design."""
    points: Points
    """How many; a power of two is balanced best."""
    seed: Seed = 0
    """Seed of the scrambling."""


class ListedArms(_Block):
    """These arms and no others."""

    kind: Literal["list"] = "list"
    """Which design."""
    arms: Annotated[tuple[Levels, ...], Field(min_length=1)]
    """Each arm as axis -> level; axes left out stay at the base."""
    seeds: Seeds | None = None
    """Seeds of these arms, a count or a list; default: the study's. An arm of several blocks has the seeds of all of them."""


class Objective(StudyModel):
    """A further metric of a search."""

    name: str
    """A metric the trainer declares."""
    goal: Literal["min", "max"]
    """Which way is better."""


class Search(StudyModel):
    """Arms are suggested while running (Optuna through Ray Tune)."""

    kind: Literal["search"] = "search"
    """Which design."""
    trials: Annotated[Whole, Field(gt=0, le=100_000)]
    """How many trials to run; under `pbt` those that go on from others come on top."""
    sampler: Literal["tpe", "random", "cmaes", "nsgaii"] = "tpe"
    """Who suggests: `tpe` and `cmaes` (axes between bounds only) learn from what is done, `nsgaii` breeds from it, `random` does not."""
    stop_early: Literal["none", "asha", "hyperband", "median", "pbt"] = "none"
    """Who ends trials that are behind on the study's metric: `asha` after 1/9 and 1/3 of `max_steps`, as they come; `hyperband` at the
    same places, in groups that wait for each other; `median` from 1/3 on, those below the median of the others; `pbt` lets them go on
    from the weights of better ones, with other values."""
    max_steps: Annotated[Whole, Field(gt=0)] | None = None
    """Steps of a full trial, as the trainer counts them in `report`; needed by `stop_early`."""
    objectives: tuple[Objective, ...] = ()
    """Metrics traded off against the study's own (`tpe`, `nsgaii` and `random`)."""


Block = Annotated[
    Grid | OneAtATime | LeaveOneOut | Cumulative | Fractional | LatinHypercube | Sobol | ListedArms | Search,
    Field(discriminator="kind"),
]


def _as_blocks(value: Any) -> Any:
    """A name is a block without settings, and one block is a list of one."""
    blocks = value if isinstance(value, list | tuple) else [value]
    return [{"kind": block} if isinstance(block, str) else block for block in blocks]


Design = Annotated[tuple[Block, ...], BeforeValidator(_as_blocks), Field(min_length=1)]
