"""What effects cost at 10,000 trials: a CSV of many arms; a factorial study's effects, what stands beside them, and its factors.

Times are of this process after its imports, which are printed too; each is the least of three. Run it with

    python benchmarks/effects.py [--trials 10000]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

GOAL_SECONDS = 2.0
SEEDS = 4
AXES = {"image_size": (112, 224, 336, 448, 560), "num_tokens": (16, 36, 64, 100, 144), "connector": ("avg_pool", "c_abstractor")}
STUDY = {"schema": 1, "name": "effects", "trainer": "synthetic", "metric": {"name": "score/4", "goal": "max"}}


def least(action: Callable[[], object]) -> float:
    """Seconds, the least of three."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return min(taken)


def many_arms(trials: int, *, seeds: int, path: Path) -> None:
    rng = np.random.default_rng(0)
    arms = trials // seeds
    rows = {"arm": np.repeat([f"arm-{index}" for index in range(arms)], seeds), "seed": np.tile(range(seeds), arms)}
    pd.DataFrame(rows | {"score/4": rng.normal(size=arms * seeds)}).to_csv(path, index=False)


def factorial(trials: int) -> pd.DataFrame:
    cells = list(product(*AXES.values()))
    seeds = trials // len(cells)
    frame = pd.DataFrame([(seed, *cell) for seed in range(seeds) for cell in cells], columns=["seed", *AXES])
    names = frame[list(AXES)].astype(str).agg("/".join, axis=1)
    return frame.assign(arm=names, state="done", trial=names, **{"score/4": np.random.default_rng(0).normal(size=len(frame))})


def report(what: str, seconds: float) -> None:
    print(f"{what:<70} {seconds:6.2f} s{'' if seconds < GOAL_SECONDS else f'  over the goal of {GOAL_SECONDS:g} s'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    began = time.perf_counter()
    from ablate.analysis.effects import adjust, level_effects
    from ablate.analysis.factors import factor_effects
    from ablate.api import read_study
    from ablate.conclude import csv_effects
    from ablate.guards import guards_of

    print(f"imports {time.perf_counter() - began:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arms.csv"
        for arms, seeds in ((trials // SEEDS, SEEDS), (trials, 3), (trials // 1000, 1000)):
            many_arms(arms * seeds, seeds=seeds, path=path)
            seconds = least(lambda: csv_effects(path, baseline="arm-0", metric="score/4", goal="max").to_json())
            report(f"CSV of {arms:,} arms x {seeds:,} seeds, read and answered", seconds)
    frame, axes = factorial(trials), list(AXES)

    def effects() -> object:
        return adjust(
            effect for axis in axes for effect in level_effects(frame, axis=axis, baseline=AXES[axis][0], metric="score/4", axes=axes)
        )

    size = f"{len(frame):,} trials, {len(axes)} axes of {', '.join(str(len(levels)) for levels in AXES.values())} levels"
    report(f"study of {size}: effects", least(effects))
    study = read_study(STUDY | {"axes": {axis: list(levels) for axis, levels in AXES.items()}})
    beside = least(lambda: guards_of(study, results=frame, axes=study.axes, trials=(), effects=()))
    report("the same: noise, confounds, warnings", beside)
    report("the same: main effects and two-way interactions", least(lambda: factor_effects(frame, factors=axes, metric="score/4")))
    report(f"{trials:,} trials of 9 axes of 2 levels: the same", least(nine_axes(trials)))


def nine_axes(trials: int) -> Callable[[], object]:
    from ablate.analysis.factors import factor_effects

    names = list("abcdefghi")
    cells = list(product((0, 1), repeat=len(names)))
    frame = pd.DataFrame([(seed, *cell) for seed in range(trials // len(cells)) for cell in cells], columns=["seed", *names])
    frame["score/4"] = np.random.default_rng(0).normal(size=len(frame))
    return lambda: factor_effects(frame, factors=names, metric="score/4")


if __name__ == "__main__":
    main()
