"""A plain frame of arms becomes the effect of each against one arm, its verdict, and what these numbers can see.

| verdict      | when                                                                                                    |
|--------------|---------------------------------------------------------------------------------------------------------|
| equivalent   | a margin is given and the 90 % interval lies inside it (two one-sided tests at 5 %): too small to matter |
| supported    | else the 95 % interval lies on the better side of 0: the arm is better than the baseline                |
| contradicted | else it lies on the worse side                                                                          |
| inconclusive | else, and without an interval                                                                           |

So an arm that nobody made a claim about is judged as a claim of order would be, "this arm is better": the rule of verdicts.py. Each
interval is taken alone; where the p that is corrected over all arms (Holm) does not agree, the reason says so.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal, NamedTuple

import pandas as pd

from ablate.analysis.columns import require_columns
from ablate.analysis.effects import Effect, Interval, level_effects
from ablate.analysis.noise import (
    NoiseFloor,
    PairedNoise,
    SignalToNoise,
    WinnersCurse,
    signal_to_noise,
)
from ablate.analysis.power import ALPHA, POWER, detectable_difference
from ablate.analysis.trial_values import several
from ablate.analysis.verdicts import Outcome, judge_order
from ablate.errors import InputError, did_you_mean
from ablate.quantities import counted

SEEDS_SHOWN = (2, 3, 4, 5, 6, 8, 10, 20)
"""Seed counts for which the smallest difference is told, as in the usual table."""


class Smallest(NamedTuple):
    """What n seeds can find: the smallest true difference between two arms, two-sided test at 5 %, power 0.8."""

    sd: float
    """Of a paired difference, in the metric's unit."""
    df: int
    """Degrees of freedom behind `sd`: of `paired`, whose SDs are one an arm, those of the arm with the fewest pairs. `by_seeds` has those
    that so many seeds would give."""
    by_seeds: dict[int, float]
    """Seeds -> difference in the metric's unit."""


@dataclass(frozen=True)
class Detectability:
    """The smallest difference by each estimate of the noise. One that does not exist is None."""

    paired: Smallest | None
    """By the differences' own SD (root mean square over the arms), which has n - 1 degrees of freedom: what the intervals rest on."""
    pooled: Smallest | None
    """By the noise left once each arm and each seed has its mean, pooled over all arms: sigma sqrt(2 (1 - rho)). Credits the pairing."""
    unpaired: Smallest | None
    """By the noise within arms, pooled: sigma sqrt(2). What it would be if each arm had seeds of its own."""
    rho: float | None
    """Correlation of two arms at one seed: what the pairing is worth."""

    def to_json(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in ("paired", "pooled", "unpaired")}
        return {
            "alpha": ALPHA,
            "power": POWER,
            "rho": self.rho,
            **{
                name: each
                and {
                    "sd_of_differences": each.sd,
                    "df": each.df,
                    "by_seeds": {str(seeds): value for seeds, value in each.by_seeds.items()},
                }
                for name, each in found.items()
            },
        }


@dataclass(frozen=True)
class ArmVerdict:
    """One arm against the baseline."""

    effect: Effect
    verdict: Outcome
    reason: str
    """The numbers, and for `inconclusive` what would settle it."""
    seeds: int | None
    """That would settle it if the difference is as it looks; None where it is settled, or above 1,000."""
    seeds_range: tuple[int | None, int | None] | None
    """The same at both ends of the SD's 95 % interval."""
    ci_pooled: Interval | None
    """95 % interval by the noise pooled over all arms and seeds, which takes it as equal in all arms."""

    def to_json(self) -> dict[str, Any]:
        effect = self.effect
        return {
            "arm": effect.level,
            "mean": effect.level_mean,
            "baseline_mean": effect.baseline_mean,
            "mean_diff": effect.mean_diff,
            "ci": list(effect.ci) if effect.ci else None,
            "ci_pooled": list(self.ci_pooled) if self.ci_pooled else None,
            "p": effect.p,
            "p_holm": effect.p_holm,
            "p_bh": effect.p_bh,
            "hedges_g": effect.hedges_g,
            "hedges_g_note": effect.hedges_g_note,
            "n": effect.n,
            "verdict": self.verdict,
            "reason": self.reason,
            "seeds": self.seeds,
            "seeds_range": list(self.seeds_range) if self.seeds_range else None,
            "note": effect.note,
        }


@dataclass(frozen=True)
class ArmEffects:
    """Every arm of a plain frame against one arm."""

    baseline: str
    metric: str
    goal: Literal["min", "max"]
    arms: tuple[ArmVerdict, ...]
    noise: NoiseFloor
    mde: float | None
    """Smallest true difference that the paired test finds with the seeds there are and power 0.8, in the metric's unit."""
    detectability: Detectability
    signal: SignalToNoise
    curse: WinnersCurse | None
    """What the best arm owes to luck; None below three arms or without a noise floor."""
    warnings: tuple[str, ...]

    @property
    def effects(self) -> tuple[Effect, ...]:
        return tuple(each.effect for each in self.arms)

    def to_json(self) -> dict[str, Any]:
        noise, signal = self.noise, self.signal
        return {
            "baseline": self.baseline,
            "metric": self.metric,
            "goal": self.goal,
            "effects": [each.to_json() for each in self.arms],
            "noise": {"sd": noise.sd, "df": noise.df, "ci": list(noise.ci) if noise.ci else None, "note": noise.note},
            "mde": self.mde,
            "smallest_difference": self.detectability.to_json(),
            "signal_to_noise": signal.to_json(),
            "winners_curse": None if self.curse is None else self.curse.to_json(),
            "warnings": list(self.warnings),
        }


def arm_effects(
    frame: pd.DataFrame,
    *,
    baseline: str,
    metric: str,
    goal: Literal["min", "max"],
    level: float = 0.95,
    within: float | None = None,
) -> ArmEffects:
    """From `arm, seed, <metric>` and optionally `state`: every arm against the arm `baseline`, with the noise floor.

    `within`: the margin below which a difference does not matter, in the metric's unit. Raises InputError.
    """
    if goal not in ("min", "max"):
        raise InputError(f"goal: unknown '{goal}' (min, max){did_you_mean(goal, ('min', 'max'))}")
    if within is not None and not 0 < within < float("inf"):
        raise InputError(f"within: {within:g} is no margin; give a difference above 0 that does not matter, in the unit of {metric}")
    if "arm" in frame and frame["arm"].isna().any():
        raise InputError(f"column arm: {counted(int(frame['arm'].isna().sum()), 'row')} without an arm; fill it in or drop them")
    require_columns(frame, ["arm"])
    baseline = _baseline(frame, baseline)
    effects = level_effects(frame, axis="arm", baseline=baseline, metric=metric, level=level)
    signal = signal_to_noise(frame, metric=metric)
    paired = signal.paired
    sign = 1 if goal == "max" else -1
    arms = tuple(_arm(effect, sign=sign, within=within, paired=paired, family=len(effects)) for effect in effects)
    detectability = _detectability(effects, signal=signal, alpha=1 - level)
    seeds = [effect.n for effect in effects if effect.sd is not None]
    return ArmEffects(
        baseline=baseline,
        metric=metric,
        goal=goal,
        arms=arms,
        noise=signal.noise,
        mde=detectability.paired.by_seeds[min(seeds)] if detectability.paired else None,
        detectability=detectability,
        signal=signal,
        curse=signal.curse,
        warnings=tuple(_warnings(effects, signal=signal)),
    )


def _arm(effect: Effect, *, sign: int, within: float | None, paired: PairedNoise, family: int) -> ArmVerdict:
    decided = judge_order(effect, sign=sign, within=within)
    reason = decided.reason
    if decided.outcome in ("supported", "contradicted") and effect.p_holm is not None and effect.p_holm >= 1 - effect.confidence:
        reason += f"; this interval taken alone: over the {family} arms of this table Holm's p is {effect.p_holm:.2g}"
    pooled = paired.interval(effect.mean_diff, n=effect.n, confidence=effect.confidence) if effect.mean_diff is not None else None
    return ArmVerdict(effect, decided.outcome, reason, decided.seeds, decided.seeds_range, pooled)


def _detectability(effects: tuple[Effect, ...], *, signal: SignalToNoise, alpha: float) -> Detectability:
    noise, paired, arms = signal.noise, signal.paired, signal.arms
    measured = [(effect.n, effect.sd) for effect in effects if effect.sd is not None]
    shown = sorted({*SEEDS_SHOWN, *(n for n, _ in measured)})
    own = None
    if measured:
        sd = sqrt(sum(sd**2 for _, sd in measured) / len(measured))
        own = Smallest(sd, min(n for n, _ in measured) - 1, {n: detectable_difference(n, sd=sd, alpha=alpha) for n in shown})

    def pooled(sd: float, df: int, *, a_seed: int) -> Smallest:
        """`a_seed`: degrees of freedom that each seed after the first gives to all arms."""
        return Smallest(sd, df, {n: detectable_difference(n, sd=sd, df=a_seed * (n - 1), alpha=alpha) for n in shown})

    return Detectability(
        paired=own,
        pooled=None if paired.sd is None else pooled(paired.sd * sqrt(2), paired.df, a_seed=arms - 1),
        unpaired=None if noise.sd is None or noise.ci is None else pooled(noise.sd * sqrt(2), noise.df, a_seed=arms),
        rho=paired.rho,
    )


def _baseline(frame: pd.DataFrame, baseline: str) -> str:
    """The arm of this name, or the one that is the same number: 3e-4 is 0.0003."""
    arms = list(dict.fromkeys(frame["arm"]))
    if baseline in arms:
        return baseline
    alike = [arm for arm in arms if _number(baseline) is not None and _number(arm) == _number(baseline)]
    if len(alike) == 1:
        found: str = alike[0]
        return found
    names = list(map(str, arms))
    raise InputError(f"column arm: no row {str(baseline)!r} (there: {several(names, shown=10)}){did_you_mean(str(baseline), names)}")


def _number(label: Any) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


def _warnings(effects: tuple[Effect, ...], *, signal: SignalToNoise) -> list[str]:
    found = [warning for warning in (signal.note, signal.far_warning) if warning]
    without = [f"{effect.level}: {effect.note}" for effect in effects if effect.ci is None]
    short = [f"{effect.level}: {effect.note}" for effect in effects if effect.ci is not None and effect.note]
    for which, said in ((without, "without an interval"), (short, "on fewer pairs than planned")):
        if which:
            found.append(f"{len(which)} of {counted(len(effects), 'arm')} {said}: {several(which, apart=' | ')}")
    return found
