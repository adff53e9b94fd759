"""Who ends trials of a search early: Tune's schedulers by their names in the study file.

They compare trials at parts of `max_steps`, whatever the trainer counts: a trial's progress goes from 0 to `WHOLE`, and from there on
nobody ends it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from ablate.axes import Axis
from ablate.design import search_space
from ablate.study import Study

PROGRESS = "progress"
"""What Tune takes for time."""
ENDED = "whole"
"""True in the last report of a trial that ran to its end."""
REDUCTION = 3
WHOLE = REDUCTION**2
"""A full trial: what is behind may end after 1/9 and 1/3 of it."""
FIRST_BRACKET = 3
"""Trials of HyperBand's first group, which nobody ends. They must be there at once: Tune forgets those that are done, and would go on
filling the group."""
GRACE = WHOLE / REDUCTION
"""Before that a median says little, since losses fall fast and not alike."""
WORST = 1e300
"""Stands for a value that is not finite, which Tune's schedulers would take for neither good nor bad."""
NAMES = {"asha": "ASHA", "hyperband": "HyperBand", "median": "the median rule", "pbt": "PBT"}


class Seen(NamedTuple):
    """What the search knows of a trial while it runs."""

    step: int
    value: float


def make_scheduler(study: Study) -> TrialScheduler:
    search = study.search
    assert search
    measured: dict[str, Any] = {"time_attr": PROGRESS, "metric": study.metric.name, "mode": study.metric.goal}
    match search.stop_early:
        case "none":
            return FIFOScheduler()
        case "asha":
            return ASHAScheduler(**measured, max_t=WHOLE, grace_period=1, reduction_factor=REDUCTION)
        case "hyperband":
            return HyperBandScheduler(**measured, max_t=WHOLE, reduction_factor=REDUCTION)
        case "median":
            # no trial leaves its slot to others while there are too few to compare with: the slice it is left for has no end
            endless: Any = math.inf
            return MedianStoppingRule(**measured, grace_period=GRACE, min_time_slice=endless)
        case "pbt":
            drawn = domains(search_space(study))
            return PopulationBasedTraining(
                **measured,
                synch=True,  # compared at one step, not as they happen to come
                perturbation_interval=1,
                hyperparam_mutations=drawn,
                custom_explore_fn=_Explored(drawn),
                log_config=False,
            )


def domains(axes: Sequence[Axis]) -> dict[str, Any]:
    """Axis -> where Tune draws it from; all of them lie between bounds."""
    return {axis.name: (tune.loguniform if axis.log else tune.uniform)(*(axis.bounds or (0, 0))) for axis in axes}


def reported(values: Mapping[str, float | None], *, step: int, study: Study) -> dict[str, Any]:
    """What Tune is told of a trial that goes on."""
    assert study.search
    finite = {name: math.nan if value is None else value for name, value in values.items()}
    if values.get(study.metric.name, 0.0) is None and study.search.stop_early != "none":
        finite[study.metric.name] = WORST if study.metric.goal == "min" else -WORST
    return finite | {"step": step, PROGRESS: WHOLE * step / (study.search.max_steps or math.inf)}


def ninth(step: int, *, study: Study) -> int:
    """Which part of a trial a step lies in: 0 to 8, or beyond."""
    assert study.search
    assert study.search.max_steps
    return WHOLE * step // study.search.max_steps


def why_ended(study: Study, seen: Mapping[str, Sequence[Seen]], *, trial: str, step: int) -> str:
    """In a line: who ended a trial, when, and how it stood among those that had got as far. `seen`: trial -> its reports in order."""
    assert study.search
    said = f"ended by {NAMES[study.search.stop_early]} at step {step} of {study.search.max_steps}"
    own = seen.get(trial)
    if not own:
        return said
    value = own[-1].value
    others = [reports[-1].value for reports in (_until(points, own[-1].step) for name, points in seen.items() if name != trial) if reports]
    better = sum(other < value if study.metric.goal == "min" else other > value for other in others)
    shown = "not finite" if abs(value) >= WORST else f"{value:.4g}"
    where = "" if own[-1].step == step else f" at step {own[-1].step}"
    return f"{said}: {study.metric.name} {shown}{where}, place {better + 1} of {len(others) + 1} there"


def _until(points: Sequence[Seen], step: int) -> list[Seen]:
    """The reports up to a step of a trial that got as far; none of one that did not."""
    return [point for point in points if point.step <= step] if points and points[-1].step >= step else []


class _Explored:
    """What a copy changes stays between the bounds, and no two copies are the same: they could be one trial twice."""

    def __init__(self, drawn: Mapping[str, Any]) -> None:
        self._drawn = drawn
        self._taken: set[tuple[str, ...]] = set()

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        found = {name: min(max(config[name], domain.lower), domain.upper) for name, domain in self._drawn.items()}
        while (point := tuple(f"{value:.5g}" for value in found.values())) in self._taken:
            found = {name: domain.sample() for name, domain in self._drawn.items()}
        self._taken.add(point)
        return config | found
