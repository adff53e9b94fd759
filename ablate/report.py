"""What a report says about one study, as frozen values: `report_page.py` makes a page of them and `paper_tables.py` tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import pandas as pd

from ablate.analysis.effects import Effect
from ablate.analysis.factors import FactorEffects
from ablate.analysis.lr_law import LawReport
from ablate.analysis.verdicts import Verdict
from ablate.deviations import Registration
from ablate.metric_scales import UNKNOWN, MetricScale
from ablate.spent import Spent

MAX_CURVE_ARMS = 12
"""With more arms the curves are left to the dashboard."""


@dataclass(frozen=True)
class StudyDesign:
    """What was declared to be run, in words."""

    kind: str
    """`grid`, `sobol (points 32)`, ..."""
    axes: Mapping[str, tuple[str, ...]]
    """Axis -> its levels, the baseline first."""
    where: tuple[str, ...]
    seeds: str
    claims: tuple[str, ...]
    """Each claim with its margin."""


@dataclass(frozen=True)
class Smallest:
    """Smallest true effect that these seeds find with power 0.8, in the metric's unit."""

    least_clear: float | None
    """Of the effect with the noisiest differences."""
    pooled: float | None
    """Between two arms by the noise pooled over all arms, which has `df` degrees of freedom."""
    df: int


@dataclass(frozen=True)
class StudyReport:
    """All that a report says about one study."""

    study: str
    question: str
    simulated: bool
    metric: str
    goal: Literal["min", "max"]
    results: pd.DataFrame
    """`trial, arm, seed, state, <axis columns>, <metric columns>`."""
    curves: pd.DataFrame
    """`trial, arm, seed, metric, step, value`; no rows where the study has more arms than are drawn."""
    effects: tuple[Effect, ...]
    """With Holm's p over them."""
    verdicts: tuple[Verdict, ...]
    law: LawReport | None
    states: Mapping[str, int]
    """State -> number of trials."""
    spent: Spent | None
    provenance: Mapping[str, str]
    """What the footer says: versions, the trainer, commits."""
    fingerprint: str = ""
    """Of the study file."""
    updated: str = ""
    """Date of the store's last change of it."""
    design: StudyDesign | None = None
    """None for results that no study file declared, such as a CSV's."""
    base: str = ""
    """What the arm `base` stands for, where its name does not say it."""
    axes: tuple[str, ...] = ()
    """Axis columns to draw `metrics` against."""
    metrics: tuple[str, ...] = ()
    """Default: the metric."""
    law_runs: pd.DataFrame | None = None
    """`n_params, lr, seed, <metric>, status`: what the law was fitted to."""
    target: float | None = None
    """Size the law is extrapolated to; default: that of its prediction."""
    unit: str = ""
    scales: Mapping[str, MetricScale] = field(default_factory=dict)
    """Metric -> what the trainer declares of it."""
    registration: Registration | None = None
    """None for results that no study file declared."""
    stale: int = 0
    """Trials that ended and are not in the study's plan any more."""
    smallest: Smallest | None = None
    factors: FactorEffects | None = None
    """Shares of the axes and their interactions; None where no two axes vary together."""
    warnings: tuple[str, ...] = ()
    """What keeps its effects from being overread: noise, unequal compute, learning rates that moved."""

    @property
    def shown_metrics(self) -> tuple[str, ...]:
        """Those that some trial has reported."""
        return tuple(metric for metric in self.metrics or (self.metric,) if metric in self.results)

    @property
    def metric_said(self) -> str:
        """What is declared of the metric beside its goal; empty where nothing is."""
        return replace(self.scales.get(self.metric, UNKNOWN), better="").sentence

    @property
    def law_target(self) -> float | None:
        return self.target or (self.law.prediction.n_params if self.law and self.law.prediction else None)
