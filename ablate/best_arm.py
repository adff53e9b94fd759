"""Which arm is best so far by the study's metric, and how far it is ahead of the next.

Both are chosen by what was measured, so the difference flatters the best one: the winner's curse (noise.py) says by how much.
"""

from dataclasses import dataclass
from heapq import nlargest, nsmallest
from statistics import fmean
from typing import Literal

import pandas as pd

from ablate.analysis.columns import numbers, plain
from ablate.analysis.effects import LARGEST, USABLE, Effect, paired_effect


@dataclass(frozen=True)
class BestArm:
    arm: str
    mean: float
    """Over all its finished trials, as `next_mean`."""
    n: int
    next_arm: str
    next_mean: float
    effect: Effect
    """The best minus the next, over the seeds that both have."""
    arms: int
    """With a finished trial that reported the metric."""

    @property
    def clear(self) -> bool | None:
        """Whether the interval, taken alone, says that it is better; None without one."""
        ci, ahead = self.effect.ci, self.effect.mean_diff
        return None if ci is None or ahead is None else ci[0] > 0 or ci[1] < 0


def best_arm(results: pd.DataFrame, *, metric: str, goal: Literal["min", "max"]) -> BestArm | None:
    """From `arm, seed, state, <metric>`; None before two arms have a finite value."""
    if metric not in results:
        return None
    columns = (plain(results["arm"]), plain(results["seed"]), plain(results["state"]), numbers(results, metric).tolist())
    by_arm: dict[str, dict[int, float]] = {}
    for arm, seed, state, value in zip(*columns, strict=True):
        if state in USABLE and abs(value) <= LARGEST:  # NaN is not
            by_arm.setdefault(arm, {})[seed] = value
    if len(by_arm) < 2:
        return None
    means = {arm: fmean(values.values()) for arm, values in by_arm.items()}
    best, after = (nlargest if goal == "max" else nsmallest)(2, means, key=lambda arm: means[arm])
    effect = paired_effect(by_arm[best], by_arm[after], axis="arm", metric=metric)
    return BestArm(best, means[best], len(by_arm[best]), after, means[after], effect, len(means))
