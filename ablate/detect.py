"""A plan and the noise between seeds become the smallest true difference that each axis can show: known before anything runs.

Two-sided t test at 5 percent, found with power 0.8. As the effects count it, one seed is one observation: its differences are averaged
over the m cells of the other axes in which both levels stand, so a paired difference has an SD of sigma sqrt(2 / m), with n - 1 degrees of
freedom. Nothing is credited for seeds that move both levels alike, so a study may see less than this; it is not promised to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod, sqrt
from typing import Any, Literal

from ablate.analysis.power import ALPHA, POWER, detectable_difference, detectable_shift
from ablate.draft import Arm
from ablate.model import Level
from ablate.planned import Plan

ENOUGH_SEEDS = 3
"""What a study of one seed is told about."""


@dataclass(frozen=True)
class SeedNoise:
    """Standard deviation of the metric between seeds of one arm, and where it is from."""

    sd: float | None
    """In the metric's unit; None where nobody knows, and differences are then in units of it."""
    origin: Literal["measured", "assumed", "unknown"]
    num_arms: int = 0
    """Arms with two finished seeds or more, where it is measured."""
    df: int = 0


@dataclass(frozen=True)
class Detectable:
    """The smallest difference between two levels of an axis that the study finds."""

    axis: str
    difference: float | None
    """In the metric's unit, or in SDs between seeds where `noise` knows none; None where nothing can be told, and `note` says why."""
    seeds: int
    cells: int
    """Cells of the other axes that a seed is averaged over: of the pair of levels with the fewest; 0 where levels do not pair up."""
    df: int
    with_more_seeds: float | None = None
    """What `ENOUGH_SEEDS` seeds would find, for a study of one."""
    note: str = ""


@dataclass(frozen=True)
class Detection:
    """What the study can see."""

    metric: str
    noise: SeedNoise
    axes: tuple[Detectable, ...]

    def to_json(self) -> dict[str, Any]:
        noise = self.noise
        return {
            "metric": self.metric,
            "alpha": ALPHA,
            "power": POWER,
            "unit": "metric" if noise.sd is not None else "standard deviations between seeds",
            "noise": {"sd": noise.sd, "origin": noise.origin, "arms": noise.num_arms, "df": noise.df},
            "axes": [
                {
                    "axis": found.axis,
                    "difference": found.difference,
                    "seeds": found.seeds,
                    "cells": found.cells,
                    "df": found.df,
                    "with_3_seeds": found.with_more_seeds,
                    "note": found.note,
                }
                for found in self.axes
            ],
        }


def detect(plan: Plan, *, axes: Mapping[str, Sequence[Level]], noise: SeedNoise) -> Detection:
    """What each axis can show. `axes`: axis -> its labels, the baseline first."""
    sd = 1.0 if noise.sd is None else noise.sd
    design = {block.kind for block in plan.study.design}
    varied = [axis for axis, labels in axes.items() if len({arm.levels[axis] for arm in plan.arms}) > 1 or len(labels) > 1]
    if design == {"fractional"}:
        found = [_main_effect(axis, plan=plan, effects=len(varied), sd=sd) for axis in varied]
    else:
        blocks = [(len(seeds), cells_in_common(arms, axes=axes)) for seeds, arms in _blocks(plan).items()]
        found = [min((_paired(axis, cells=cells[axis], seeds=seeds, sd=sd) for seeds, cells in blocks), key=_worth) for axis in varied]
    return Detection(plan.study.metric.name, noise, tuple(found))


def _blocks(plan: Plan) -> dict[frozenset[int], list[Arm]]:
    """Seeds that some arm has -> the arms that have all of them. Where arms have unequal seeds, an effect shows best in one of these."""
    own = [frozenset(arm.seeds or plan.study.seeds) for arm in plan.arms]
    blocks = {seeds: [arm for arm, has in zip(plan.arms, own, strict=True) if seeds <= has] for seeds in dict.fromkeys(own)}
    return blocks or {frozenset(plan.study.seeds): []}  # a search has chosen none yet


def _worth(found: Detectable) -> tuple[bool, float, int]:
    return not found.cells, inf if found.difference is None else found.difference, -found.seeds


def known_noise(measured: SeedNoise | None, *, declared: float | None) -> SeedNoise:
    """Measured where it was, else what the study declares, else unknown."""
    if measured is not None:
        return measured
    return SeedNoise(declared, "unknown" if declared is None else "assumed")


def cells_in_common(arms: Sequence[Arm], *, axes: Mapping[str, Sequence[Level]]) -> dict[str, int]:
    """Axis -> cells of the other axes in which a level and the baseline both stand: the fewest over the levels that have any."""
    present = {axis: list(dict.fromkeys(arm.levels[axis] for arm in arms)) for axis in axes}
    if arms and len(arms) == prod(map(len, present.values())):  # a whole grid; arms are unique
        return {axis: len(arms) // len(levels) if len(levels) > 1 else 0 for axis, levels in present.items()}
    baselines = {axis: labels[0] if labels else None for axis, labels in axes.items()}
    # as effects pair them: an axis stands at its baseline where it does not apply
    paired = [{axis: baselines.get(axis) if level is None else level for axis, level in arm.levels.items()} for arm in arms]
    return {axis: _fewest_cells(paired, axis=axis, baseline=baseline) for axis, baseline in baselines.items()}


def _fewest_cells(arms: Sequence[Mapping[str, Level]], *, axis: str, baseline: Level) -> int:
    cells: dict[Level, set[tuple[Level, ...]]] = {}
    for arm in arms:
        levels = dict(arm)
        cells.setdefault(levels.pop(axis), set()).add(tuple(levels.values()))
    reference = cells.pop(baseline, set())
    return min((shared for others in cells.values() if (shared := len(reference & others))), default=0)


def _paired(axis: str, *, cells: int, seeds: int, sd: float) -> Detectable:
    if not cells:
        note = "its levels do not pair up: no two arms differ in it alone; a fitted model is needed, and nothing is promised here"
        return Detectable(axis, None, seeds, 0, 0, note=note)
    of_difference = sd * sqrt(2 / cells)
    if seeds == 1:
        more = detectable_difference(ENOUGH_SEEDS, sd=of_difference)
        return Detectable(axis, None, 1, cells, 0, more, note="one seed: no difference can be told from noise")
    return Detectable(axis, detectable_difference(seeds, sd=of_difference), seeds, cells, seeds - 1)


def _main_effect(axis: str, *, plan: Plan, effects: int, sd: float) -> Detectable:
    """Half of all runs against the other half; what the main effects leave is the noise."""
    runs, seeds = len(plan.arms), len(plan.study.seeds)
    df = runs * seeds - effects - 1
    if df < 1:
        more = detectable_shift(runs * ENOUGH_SEEDS - effects - 1) * sd * 2 / sqrt(runs * ENOUGH_SEEDS) if seeds == 1 else None
        note = f"{runs} runs for {effects} main effects leave no degree of freedom for noise"
        return Detectable(axis, None, seeds, 0, 0, more, note)
    difference = detectable_shift(df) * sd * 2 / sqrt(runs * seeds)
    return Detectable(axis, difference, seeds, 0, df, note=f"main effect: mean over half of the {runs * seeds} runs against the other half")
