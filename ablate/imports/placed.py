"""Runs in their places become trials: the arm their levels name, their seed, the whole config, their size and what they cost."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.axes import RESERVED
from ablate.base import Base
from ablate.draft import Drafting
from ablate.imported import trainer_for
from ablate.imports.choice import NULL
from ablate.imports.names import nested
from ablate.imports.runs import Asked, Run, clean, number_of
from ablate.imports.seeding import Resolved
from ablate.levels import label_text
from ablate.model import Level
from ablate.study import Study

SIZES = ("n_params", "num_params", "params")
"""Columns that say a run's parameters where --size names none."""
TOKENS = ("tokens", "train_tokens", "n_tokens")
FLOPS = ("train_flops", "flops")
MAX_CONFIG = 1_000
"""Columns that are kept of a run's config."""
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Trial:
    """One run in its place."""

    run: Run
    arm: str
    seed: int
    levels: Mapping[str, Level]
    changes: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[int, float]]]
    num_params: int
    train_flops: float


def make_trials(
    study: Study,
    asked: Asked,
    *,
    kept: Resolved,
    levels: Mapping[str, Sequence[Level]],
    columns: Mapping[str, Sequence[Level]],
    names: Mapping[str, str],
    baselines: Mapping[str, Level],
) -> tuple[Trial, ...]:
    short = Drafting(study, base=Base(trainer_for(study).Config, study.base), names=tuple(levels)).short_names
    plain = [name for name in list(columns)[:MAX_CONFIG] if name not in names]
    size, tokens, flops = (_numbers(columns, candidates) for candidates in ((asked.size, *SIZES), TOKENS, FLOPS))
    rename = metric_names(levels)
    trials = []
    for place in kept.places:
        run = kept.runs[place]
        here = {axis: values[place] for axis, values in levels.items()}
        changed = {axis: level for axis, level in here.items() if level is not None and level != baselines[axis]}
        arm = ",".join(f"{short[axis]}={label_text(level)}" for axis, level in changed.items()) or "base"
        config: dict[str, Any] = {name: value for name in plain if (value := columns[name][place]) is not None}
        config |= {axis: None if level == NULL else level for axis, level in here.items() if level is not None}
        num_params = size(place)
        spent = flops(place) or 6.0 * num_params * tokens(place)
        trials.append(
            Trial(
                run=run,
                arm=arm,
                seed=kept.seeds[place],
                levels=here,
                changes=changed,
                config=nested(config),
                metrics={rename(key): value for key, value in run.metrics.items()},
                curves={rename(key): points for key, points in run.curves.items()},
                num_params=min(int(num_params), LARGEST),
                train_flops=spent if math.isfinite(spent) else 0.0,
            )
        )
    return tuple(trials)


def _numbers(columns: Mapping[str, Sequence[Level]], candidates: Sequence[str]) -> Callable[[int], float]:
    """The first of these columns by place; 0 where it says nothing."""
    values = next((columns[name] for name in candidates if name in columns), None)

    def at(place: int) -> float:
        number = number_of(values[place]) if values is not None else None
        return number if number is not None and 0 < number < math.inf else 0.0

    return at


def metric_names(axes: Collection[str]) -> Callable[[str], str]:
    """A metric that is called like an axis, or like a column of the results, gets another name."""
    return lambda key: clean(f"metrics.{key}" if key in axes or key in RESERVED else key)


def unpaired(trials: Sequence[Trial], *, metric: str, drawn: Collection[str]) -> list[str]:
    """What to do where no two finished trials differ in one axis alone, so that no level can be compared to another."""
    done = [trial for trial in trials if trial.run.state == "done" and math.isfinite(trial.run.metrics[metric])]
    axes = [axis for axis in trials[0].levels if axis not in drawn]
    if len(done) < 2 or not axes or _pairs(done, axes, by_seed=True):
        return []
    if drawn:
        how = "no two finished runs differ in one axis alone, since values were drawn; --importance says what each axis explains"
    elif _pairs(done, axes, by_seed=False):
        how = "arms that differ in one axis alone share no seed; --repeats number counts runs with the same levels as seeds 0, 1, ..."
    else:
        how = "no two finished runs differ in one axis alone; name the axes that were varied with --axis"
    return [f"`ablate effects` has nothing to compare: {how}"]


def _pairs(done: Sequence[Trial], axes: Sequence[str], *, by_seed: bool) -> bool:
    # an axis that does not apply in some runs moves with its owner
    fixed = [axis for axis in done[0].levels if all(trial.levels[axis] is not None for trial in done)]
    for axis in axes:
        seen: dict[tuple[object, ...], Level] = {}
        for trial in done:
            level = trial.levels[axis]
            cell = (trial.seed if by_seed else 0, *(trial.levels[other] for other in fixed if other != axis))
            if level is not None and seen.setdefault(cell, level) != level:
                return True
    return False
