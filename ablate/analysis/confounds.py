"""What else differs between an arm and the baseline: tokens, FLOPs, the share of the schedule that ran, the learning rate each one needs.

A difference found here does not say that an effect is wrong. It says that the effect has a second explanation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, hypot, isfinite, log
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from ablate.analysis.columns import numbers, require_columns
from ablate.analysis.effects import USABLE
from ablate.analysis.laws import positive, rate_label
from ablate.analysis.optima import Optimum
from ablate.errors import InputError, did_you_mean
from ablate.model import Level

What = Literal["tokens", "train_flops", "schedule_fraction", "lr"]
GUARDED: tuple[What, ...] = ("tokens", "train_flops", "schedule_fraction")
"""Not `lr`: arms tuned each for itself differ in it rightly. Name it where all arms should share one."""
TOLERANCE = 0.01
"""Relative: the last incomplete batch moves tokens by less."""
MOVED = 2.0
"""Factor between best rates that counts as moved where their errors are not known: one step of the usual grid."""
Z = 1.96
ADVICE: dict[What, str] = {
    "tokens": "train both on the same tokens, or compare at equal compute and say so",
    "train_flops": "match the FLOPs (fewer steps or a smaller model), or give the effect in compute units",
    "schedule_fraction": "run both schedules to the same end: a rate that has not decayed costs loss whatever the arm does",
    "lr": "use one rate for both, or tune it for each arm alike",
}


@dataclass(frozen=True)
class Confound:
    """An arm that differs from the baseline in something its effect is not about."""

    arm: Level
    what: What
    baseline_value: float
    """Mean over the finished trials; tokens, FLOPs or a share, as the column has it."""
    arm_value: float
    factor: float | None
    """`arm_value / baseline_value`; None where the baseline has 0."""
    advice: str


class BestRate(NamedTuple):
    """A best learning rate that was found elsewhere."""

    lr: float
    se_ln: float | None
    """Standard error of ln lr."""


@dataclass(frozen=True)
class MovedOptimum:
    """An arm whose best learning rate is not the baseline's: compared at one rate, it is at a disadvantage or an advantage."""

    arm: str
    baseline_lr: float
    arm_lr: float
    """The optimum, or the best rate of the grid where that is its end."""
    factor: float
    """`arm_lr / baseline_lr`."""
    se_ln: float | None
    """Of ln `factor`; None where one of the two errors is not known."""
    retune: tuple[float, float, float]
    """Three rates around `arm_lr` to run the arm at."""
    advice: str


def confounds(
    frame: pd.DataFrame, *, baseline: Level, what: Sequence[What] = GUARDED, tolerance: float = TOLERANCE
) -> tuple[Confound, ...]:
    """From trials `arm` and any of the columns of `what` (optionally `state`): arms first, as they appear, then in the order of `what`.

    An arm without a number in a column is not compared in it.
    """
    if unknown := [name for name in what if name not in get_args(What)]:
        allowed = get_args(What)
        raise InputError(f"what: unknown '{unknown[0]}' ({', '.join(allowed)}){did_you_mean(unknown[0], allowed)}")
    if not 0 <= tolerance < 1:
        raise InputError(f"tolerance: {tolerance} is not a relative difference between 0 and 1")
    require_columns(frame, ["arm"])
    present = [name for name in what if name in frame]
    if not present:
        raise InputError(f"no column to guard (there: {', '.join(map(str, frame.columns))}); give one of {', '.join(what)}")
    _known_baseline(baseline, list(dict.fromkeys(frame["arm"])))
    kept = frame[frame["state"].isin(USABLE)] if "state" in frame else frame
    means = {name: _means(kept, name) for name in present}
    return tuple(
        Confound(arm, name, by_arm[baseline], by_arm[arm], by_arm[arm] / by_arm[baseline] if by_arm[baseline] else None, ADVICE[name])
        for arm in dict.fromkeys(kept["arm"])
        for name, by_arm in means.items()
        if arm in by_arm and baseline in by_arm and abs(by_arm[arm] - by_arm[baseline]) > tolerance * by_arm[baseline]
    )


def moved_optimum(optima: Mapping[str, Optimum | BestRate], *, baseline: str, step: float = 2.0) -> tuple[MovedOptimum, ...]:
    """Arms whose best rate differs from the baseline's by more than its error: |ln factor| > 1.96 SE, both errors counted.

    Where an error is not known (one seed, or the best rate is the end of its grid) a factor above 2 counts. All optima are of one size.
    An arm none of whose runs has a finite metric has no best rate and is left out; a baseline without one is refused.
    """
    _known_baseline(baseline, list(optima))
    if not isfinite(step) or step <= 1:
        raise InputError(f"step: {step}; the rates of a re-tune are a factor apart that lies above 1")
    rates = {arm: rate for arm, found in optima.items() if (rate := _rate(found, arm=arm)) is not None}
    if baseline not in rates:
        raise InputError(f"arm {baseline}: no run has a finite metric, so there is no rate to compare with; run it at lower rates")
    base = rates[baseline]
    moved = (_moved(arm, rate, base=base, step=step, found=optima[arm]) for arm, rate in rates.items() if arm != baseline)
    return tuple(each for each in moved if each is not None)


def _moved(arm: str, rate: BestRate, *, base: BestRate, step: float, found: Optimum | BestRate) -> MovedOptimum | None:
    shift = log(rate.lr / base.lr)
    se = None if rate.se_ln is None or base.se_ln is None else hypot(rate.se_ln, base.se_ln)
    # a grid of factor 2 gives 2 only up to rounding
    if abs(shift) <= (log(MOVED) * (1 + 1e-9) if se is None else Z * se):
        return None
    retune = (rate.lr / step, rate.lr, rate.lr * step)
    at_edge = isinstance(found, Optimum) and found.status in ("edge_low", "edge_high")
    advice = (
        f"best at {rate_label(rate.lr)}{' (the end of its grid)' if at_edge else ''}, the baseline at {rate_label(base.lr)}: "
        f"re-tune {arm} at {', '.join(map(rate_label, retune))} and compare the best of each"
    )
    return MovedOptimum(arm, base.lr, rate.lr, exp(shift), se, retune, advice)


def _rate(found: Optimum | BestRate, *, arm: str) -> BestRate | None:
    if isinstance(found, BestRate) or found.lr is not None:
        if found.se_ln is not None and not (isfinite(found.se_ln) and found.se_ln >= 0):
            raise InputError(f"arm {arm}: se_ln {found.se_ln} is not a standard error")
        return BestRate(positive(found.lr or 0.0, what=f"arm {arm}: lr"), found.se_ln)
    return None if found.grid_best is None else BestRate(found.grid_best, None)


def _means(frame: pd.DataFrame, name: What) -> dict[Any, float]:
    """Over the finished trials that have a number."""
    values = numbers(frame, name)
    finite = values[np.isfinite(values)]
    wrong = finite[(finite < 0) | (finite > 1)] if name == "schedule_fraction" else finite[finite < 0]
    if len(wrong):
        allowed = "between 0 and 1" if name == "schedule_fraction" else "0 or more"
        raise InputError(f"column {name}: {wrong.iloc[0]:g}; it must be {allowed}")
    return {arm: float(mean) for arm, mean in finite.groupby(frame["arm"]).mean().items()}


def _known_baseline(baseline: Level, arms: Sequence[Level]) -> None:
    if baseline not in arms:
        found = [str(arm) for arm in arms]
        raise InputError(f"no arm '{baseline}' to compare with (there: {', '.join(found)}){did_you_mean(str(baseline), found)}")
