"""What stands beside a study's effects so that nobody reads more into them than they say.

How loud each metric is and whether it can separate the arms at all, the smallest difference these seeds can find, what the best arm owes to
luck, what else differs between a level and its baseline, and arms whose best learning rate is another than the baseline's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any, Literal

import pandas as pd

from ablate.analysis.columns import numbers
from ablate.analysis.confounds import GUARDED, Confound, MovedOptimum, confounds, moved_optimum
from ablate.analysis.effects import LARGEST, USABLE, Effect, Interval
from ablate.analysis.noise import PairedNoise, SignalToNoise, signal_to_noise
from ablate.analysis.optima import find_optima
from ablate.analysis.power import detectable_difference
from ablate.errors import InputError
from ablate.results import KEYS
from ablate.stores import TrialRecord
from ablate.study import Study
from ablate.study_runs import moving_axes

RATES = ("learning_rate", "lr", "peak_lr")
"""Last parts of the names of axes that are learning rates."""
FEWEST_RATES = 3
"""A sweep with fewer that both arms share and have a finite value at has no optimum inside."""
NAMES: dict[str, str] = {"tokens": "tokens", "train_flops": "training FLOPs", "schedule_fraction": "share of the schedule that ran"}


@dataclass(frozen=True)
class Guards:
    metric: str
    signals: tuple[SignalToNoise, ...]
    """The study's metric first, then every other that finished trials have reported."""
    mde: float | None
    """Smallest true effect that the least clear effect's own seeds and SD find with power 0.8, in the metric's unit."""
    mde_pooled: float | None
    """The same for one cell by the noise pooled over all arms, which has more degrees of freedom."""
    confounds: tuple[Confound, ...]
    """`arm` is `axis = level`, held against the axis's baseline."""
    moved: tuple[MovedOptimum, ...]
    warnings: tuple[str, ...]
    """In words, the study's own metric only."""

    @property
    def cautions(self) -> tuple[str, ...]:
        """The warnings, and what choosing the best of several arms does to its lead."""
        curse = self.signal.curse if self.signal else None
        return (*self.warnings, *([f"winner's curse: {curse.advice}"] if curse else []))

    @property
    def signal(self) -> SignalToNoise | None:
        """Of the study's metric; None where no trial has reported it."""
        return next((signal for signal in self.signals if signal.metric == self.metric), None)

    @property
    def paired(self) -> PairedNoise | None:
        """Noise of the study's metric that pairing by seed leaves."""
        return self.signal.paired if self.signal else None

    def to_json(self) -> dict[str, Any]:
        signal, paired = self.signal, self.paired
        noise: Interval | None = signal.noise.ci if signal else None
        return {
            "noise": {
                "sd": signal.noise.sd if signal else None,
                "df": signal.noise.df if signal else 0,
                "ci": list(noise) if noise else None,
                "paired": None if paired is None else asdict(paired),
                "note": signal.noise.note if signal else f"no finished trial has reported {self.metric}",
            },
            "mde": self.mde,
            "mde_pooled": self.mde_pooled,
            "signal_to_noise": [signal.to_json() for signal in self.signals],
            "winners_curse": signal.curse.to_json() if signal and signal.curse else None,
            "confounds": [asdict(each) for each in self.confounds],
            "moved_optima": [asdict(each) | {"retune": list(each.retune)} for each in self.moved],
            "warnings": list(self.warnings),
        }


def guards_of(
    study: Study, *, results: pd.DataFrame, axes: Mapping[str, Sequence[Any]], trials: Sequence[TrialRecord], effects: Sequence[Effect]
) -> Guards:
    """`results`: as effects pair them, each axis at its baseline where it does not apply; `axes`: axis -> levels, the baseline first."""
    metric = study.metric.name
    measured = [name for name in results.columns if name not in {*KEYS, *axes} and _reported(results, name)]
    ordered = sorted(measured, key=lambda name: name != metric)
    signals = tuple(signal_to_noise(results, metric=name) for name in ordered)
    paired = next((signal.paired for signal in signals if signal.metric == metric), None)
    odd: list[str] = []
    found = tuple(_confounds(study, results=results, axes=axes, trials=trials, odd=odd))
    moved = tuple(_moved(study, results=results, axes=axes, trials=trials)) if metric in measured else ()
    guarded = Guards(
        metric=metric,
        signals=signals,
        mde=_mde(effects),
        mde_pooled=_mde_pooled(effects, paired),
        confounds=found,
        moved=moved,
        warnings=(),
    )
    return replace(guarded, warnings=(*_warnings(guarded), *odd))


def _reported(results: pd.DataFrame, name: str) -> bool:
    return bool(results[name][results["state"].isin(USABLE)].notna().any())


def _mde(effects: Iterable[Effect]) -> float | None:
    known = [detectable_difference(effect.n, sd=effect.sd, alpha=1 - effect.confidence) for effect in effects if effect.sd]
    return max(known, default=None)


def _mde_pooled(effects: Sequence[Effect], paired: PairedNoise | None) -> float | None:
    seeds = [effect.n for effect in effects if effect.n]
    if paired is None or paired.sd is None or not seeds:
        return None
    return detectable_difference(min(seeds), sd=paired.sd * sqrt(2), df=paired.df)


def _confounds(
    study: Study, *, results: pd.DataFrame, axes: Mapping[str, Sequence[Any]], trials: Sequence[TrialRecord], odd: list[str]
) -> Iterable[Confound]:
    """Each level against its baseline where the other axes stand at theirs; over all their cells where that was not run.

    `odd` gathers what cannot be guarded because its numbers are none of its kind.
    """
    costs = {trial.id: trial.train_flops for trial in trials}
    sizes = _sizes(study, results=results, axes=axes, trials=trials)  # they differ in compute by intent
    frame = results.assign(train_flops=results["trial"].map(costs)) if "train_flops" not in results else results
    what = []
    for name in GUARDED:
        if name in frame and _reported(frame, name):
            try:
                confounds(frame.assign(arm="all"), baseline="all", what=[name])
            except InputError as error:
                odd.append(f"not guarded: {error}")
            else:
                what.append(name)
    for axis, levels in axes.items():
        if axis in sizes:
            continue
        alone = _alone(frame, axis=axis, axes=axes)
        done = alone[alone["state"].isin(USABLE)]
        if what and levels and levels[0] in set(done[axis]) and done[axis].nunique() > 1:
            for each in confounds(done.assign(arm=done[axis]), baseline=levels[0], what=what):
                yield replace(each, arm=_at(axis, each.arm))


def _sizes(study: Study, *, results: pd.DataFrame, axes: Mapping[str, Sequence[Any]], trials: Sequence[TrialRecord]) -> set[str]:
    """Axes that the study's law goes over: the one it names, or those that change the parameters."""
    if study.law is None or study.law.size != "num_params" or "num_params" in axes:
        return {study.law.size} if study.law else set()
    counts = {trial.id: float(trial.num_params or "nan") for trial in trials}
    return moving_axes(results.assign(num_params=results["trial"].map(counts)), axes, ["num_params"]) - {study.law.hyperparameter}


def _at(axis: str, level: Any) -> str:
    return f"{axis} = {level:g}" if isinstance(level, float) else f"{axis} = {level}"


def _alone(frame: pd.DataFrame, *, axis: str, axes: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    at_base = pd.Series(True, index=frame.index)
    for other, levels in axes.items():
        if other != axis and levels:
            at_base &= frame[other] == levels[0]
    alone = frame[at_base]
    return alone if alone[alone["state"].isin(USABLE)][axis].nunique() > 1 else frame


def _moved(
    study: Study, *, results: pd.DataFrame, axes: Mapping[str, Sequence[Any]], trials: Sequence[TrialRecord]
) -> Iterable[MovedOptimum]:
    """Levels whose best learning rate is not the baseline's, the axes beside at their baselines. A law's sizes are its own subject."""
    causes = {trial.id: trial.cause for trial in trials}
    frame = results.assign(status=results["state"].where(results["state"] != "failed", results["trial"].map(causes)))
    frame["status"] = frame["status"].replace("nan", "diverged")  # a failure for any other cause says nothing of its rate
    sizes = _sizes(study, results=results, axes=axes, trials=trials)
    for rate in (axis for axis in axes if axis.rpartition(".")[2] in RATES):
        for axis, levels in axes.items():
            if axis == rate or axis in sizes or not levels:
                continue
            others = {name: known for name, known in axes.items() if name != rate}
            alone = _alone(frame, axis=axis, axes=others)
            runs = {level: alone[alone[axis] == level] for level in levels}
            tried = {level: _rates(of, rate=rate, metric=study.metric.name) for level, of in runs.items()}
            found = {
                _at(axis, level): optimum[0]
                for level in levels
                if _share_a_grid(tried[level], tried[levels[0]])
                and (optimum := _optima(runs[level], rate=rate, metric=study.metric.name, goal=study.metric.goal))
            }
            base = _at(axis, levels[0])
            if base in found and found[base].grid_best is not None:
                yield from moved_optimum(found, baseline=base)


def _rates(runs: pd.DataFrame, *, rate: str, metric: str) -> set[Any]:
    """Those with a finite value."""
    return set(runs[rate][runs["state"].isin(USABLE) & (numbers(runs, metric).abs() <= LARGEST)])


def _share_a_grid(one: set[Any], other: set[Any]) -> bool:
    """Whether the best of each can be compared: enough rates, most of them in common. Rates drawn at random are no grid."""
    shared = len(one & other)
    return shared >= FEWEST_RATES and 2 * shared > max(len(one), len(other))


def _optima(runs: pd.DataFrame, *, rate: str, metric: str, goal: Literal["min", "max"]) -> tuple[Any, ...]:
    swept = runs.assign(n_params=1.0, lr=runs[rate])
    if swept.duplicated(["lr", "seed"]).any():
        return ()
    try:
        return find_optima(swept[["n_params", "lr", "seed", metric, "status"]], metric=metric, goal=goal)
    except InputError:
        return ()  # rates that are no positive numbers


def _kind(signal: SignalToNoise) -> str:
    return "paired noise" if signal.blocked else "noise"


def _warnings(found: Guards) -> Iterable[str]:
    signal = found.signal
    if signal is not None and signal.separates is False:
        yield f"{found.metric}: {signal.note} (range of the arms {signal.spread:.3g}, {_kind(signal)} SD {signal.sd:.3g})"
    elif signal is not None and signal.note:
        yield f"{found.metric}: {signal.note}"
    if signal is not None and signal.far_out:
        yield f"{found.metric}: {signal.far_warning}"
    for what, name in NAMES.items():
        unequal = [each for each in found.confounds if each.what == what]
        if unequal:
            factors = [f"{each.arm} ×{each.factor:.3g}" for each in unequal if each.factor is not None]
            shown = ", ".join(factors[:4]) + (f" and {len(factors) - 4} more" if len(factors) > 4 else "")
            yield f"compared at unequal {name}: {shown}; {unequal[0].advice}"
    for moved in found.moved:
        yield f"learning rate: {moved.advice}"
