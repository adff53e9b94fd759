"""A study's report made by hand, for the tests of what is written from it."""

from dataclasses import replace
from typing import Any

import pandas as pd

from ablate.analysis.effects import level_effects
from ablate.analysis.lr_law import LawReport, fit_points
from ablate.analysis.published import MM1
from ablate.analysis.verdicts import verdicts
from ablate.report import StudyReport
from ablate.spent import Spent
from ablate.study import Claim, Metric

HOSTILE = "<img src=x onerror=alert(1)>"
NO_CURVES = pd.DataFrame(columns=["trial", "arm", "seed", "metric", "step", "value"])
SPENT = Spent(
    jobs=9,
    jobs_done=8,
    jobs_before=2,
    attempts=11,
    attempts_without_end=1,
    retries=2,
    seconds=3723.0,
    seconds_lost=60.0,
    train_flops=2.588e12,
    wall_seconds=7200.0,
    device_hours=None,
    money=3.5,
    currency="EUR",
)


def report(*, name: str = "resolution", **changes: Any) -> StudyReport:
    rows = [
        {
            "trial": f"{size}-{seed}",
            "arm": f"size={size}",
            "seed": seed,
            "state": "done",
            "size": size,
            "score": size * 0.5 + (size / 16) ** seed,
        }
        for size in (16, 24, 32)
        for seed in range(3)
    ]
    results = pd.DataFrame(rows)
    levels = {"size": [16, 24, 32]}
    base = StudyReport(
        study=name,
        question="Does resolution matter?",
        simulated=False,
        metric="score",
        goal="max",
        results=results,
        curves=NO_CURVES,
        effects=level_effects(results, axis="size", baseline=16, metric="score"),
        verdicts=verdicts(results, claims=[Claim(axis="size", expect="increases")], metric=Metric(name="score", goal="max"), levels=levels),
        law=None,
        states={"done": 9},
        spent=SPENT,
        provenance={"ablate": "0.1.0", "date": "2026-01-31"},
        axes=("size",),
    )
    return replace(base, **changes)


def law() -> LawReport:
    rates = [MM1.lr(size) * shift for size, shift in zip([9e6, 85e6, 302e6, 1.2e9], [1.1, 0.9, 1.05, 0.95], strict=True)]
    return fit_points(pd.DataFrame({"n_params": [9e6, 85e6, 302e6, 1.2e9], "eta": rates}))
