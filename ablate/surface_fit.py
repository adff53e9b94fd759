"""A study's finished trials become a response surface, with its error on arms and on seeds that it was not fitted to.

Each metric, and each point of its curve, is a linear model in the main effects and pairwise interactions of what varied; of several seeds
of an arm, what they differ by is the noise.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from ablate.analysis.ridge import Array, Ridge, fit_ridge, tells_apart
from ablate.errors import InputError
from ablate.metric_scales import UNKNOWN, scales_of
from ablate.stores import Store
from ablate.surface import HeldOut, Metric, Output, Spread, Surface, features, metric_form
from ablate.surface_inputs import Flat, Input, find_inputs
from ablate.surface_trials import Recorded, recorded_trials

MOST_POINTS = 20
"""Points of a curve that are kept."""
LEAST_SPREAD = 0.03
"""Of the noise of all arms: a residual below this share of it says no more than that an arm has little noise."""
DIGITS = 9


class _Design(NamedTuple):
    """Features of every trial."""

    mains: Array
    products: Array


class _Noise(NamedTuple):
    residuals: Array
    """[trials, outputs], in units of the spread."""
    spread: Spread
    shared: Array
    """[outputs]"""
    note: str


def fit_surface(store: Store, names: Sequence[str]) -> Surface:
    """Raises InputError where a study is not known or cannot be learned from."""
    recorded = recorded_trials(store, names)
    metrics, notes = _metrics(recorded)
    outputs, values = _outputs(recorded, metrics)
    steps, more = _steps(recorded)
    inputs = find_inputs(recorded.flats, axes=recorded.axes)
    pairs = _pairs(inputs, recorded.flats)
    design = _design(inputs, pairs, recorded.flats)
    ridge = fit_ridge(*design, values, groups=[output.metric for output in outputs])
    noise = _noise(recorded, values, values - ridge.predict(*design), ridge, design.mains, [output.metric for output in outputs])
    return Surface(
        studies=recorded.studies,
        trainer=str(recorded.spec["trainer"]),
        was_simulated=recorded.simulated,
        trials=len(recorded.trials),
        arms=len(set(recorded.arms)),
        seeds=len(set(recorded.seeds)),
        held_out=_held_out(recorded, design, metrics),
        notes=tuple(note for note in (*notes, more, noise.note) if note),
        config=dict(recorded.trials[0].config),
        inputs=inputs,
        interactions=tuple(pairs),
        metrics=dict(metrics),
        steps=steps,
        outputs=tuple(outputs),
        intercept=_short(ridge.intercept[None])[0],
        coefficients=_short(ridge.coefficients),
        residuals=_short(noise.residuals),
        spread=noise.spread,
        shared=_short(noise.shared[None])[0],
    )


def _metrics(recorded: Recorded) -> tuple[dict[str, Metric], list[str]]:
    """Those with a final value in every trial, and what is said of what was left out."""
    number, scales = len(recorded.trials), scales_of(recorded.spec)
    lost, found = recorded.left_out, dict[str, Metric]()
    notes = [f"{lost} of {lost + number} trials left out (failed, unfinished or not finite)"] if lost else []
    for name in dict.fromkeys(metric for trial in recorded.trials for metric in trial.metrics):
        values = [value for trial in recorded.trials if (value := trial.metrics.get(name)) is not None]
        if len(values) < number:
            notes.append(f"{name} left out: {number - len(values)} of {number} trials lack it")
            continue
        scale = scales.get(name, UNKNOWN)
        values += [value for curve in recorded.curves_of(name) for _, value in curve]
        found[name] = Metric(**asdict(scale), form=metric_form(scale.low, scale.high, values=values))
    if not found:
        raise InputError(f"{', '.join(recorded.studies)}: no metric has a final value in every trial")
    return found, notes


def _final(recorded: Recorded, metric: str) -> Array:
    """[trials], in the metric's unit."""
    return np.array([trial.metrics[metric] for trial in recorded.trials], dtype=float)


def _outputs(recorded: Recorded, metrics: Mapping[str, Metric]) -> tuple[list[Output], Array]:
    """Points of the curves and final values, and [trials, outputs] of them, on the scale of the fit."""
    outputs, columns = list[Output](), list[Array]()
    for name, metric in metrics.items():
        curves = [np.array(curve, dtype=float).reshape(-1, 2) for curve in recorded.curves_of(name)]
        number = min(MOST_POINTS, *(len(curve) for curve in curves)) if len(curves) > 1 else min(MOST_POINTS, len(curves[0]))
        for share in (point / number for point in range(1, number)):
            # a point that is recorded at the next whole step counts as there
            if all(share * curve[-1, 0] + 1 > curve[0, 0] for curve in curves):
                outputs.append(Output(metric=name, at=share))
                read = [np.interp(share * curve[-1, 0], curve[:, 0], curve[:, 1]) for curve in curves]
                columns.append(metric.fitted(np.array(read, dtype=float)))
        outputs.append(Output(metric=name, at=1))
        columns.append(metric.fitted(_final(recorded, name)))
    return outputs, np.stack(columns, axis=1)


def _steps(recorded: Recorded) -> tuple[int | tuple[str, ...], str]:
    """The last step of a run, or the fields of which the first that a config has says it, and what is to be said of it."""
    ends, rest, found = recorded.last_steps, list(zip(recorded.flats, recorded.last_steps, strict=True)), list[str]()
    if len(set(ends)) == 1:
        return ends[0], ""
    while rest:
        fields = sorted({field for flat, _ in rest for field in flat}, key=lambda field: ("steps" not in field, field))
        says = (field for field in fields if all(flat.get(field, end) == end for flat, end in rest))
        if (field := next(says, None)) is None:
            unknown = f"trials ended after {min(ends)} to {max(ends)} steps, and no field says how many"
            return max(ends), f"{unknown}; simulated ones all take {max(ends)}"
        found.append(field)
        rest = [(flat, end) for flat, end in rest if field not in flat]
    return tuple(found), ""


def _pairs(inputs: Sequence[Input], flats: Sequence[Flat]) -> list[tuple[int, int]]:
    """Pairs of inputs whose interaction the trials tell from the effects of each: not where one of the two always stood at the base."""
    each = [np.array([one.features(flat) for flat in flats]) for one in inputs]
    found = []
    for first in range(len(inputs)):
        for second in range(first + 1, len(inputs)):
            products = (each[first][:, :, None] * each[second][:, None, :]).reshape(len(flats), -1)
            if tells_apart(each[first], each[second], products):
                found.append((first, second))
    return found


def _design(inputs: Sequence[Input], pairs: Sequence[tuple[int, int]], flats: Sequence[Flat]) -> _Design:
    size = sum(one.size for one in inputs)
    rows = np.array([features(inputs, pairs, flat) for flat in flats], dtype=float).reshape(len(flats), -1)
    return _Design(rows[:, :size], rows[:, size:])


def _noise(recorded: Recorded, values: Array, unexplained: Array, ridge: Ridge, mains: Array, groups: Sequence[str]) -> _Noise:
    """What trials of one arm differ by; where no arm has two seeds, what the surface does not explain, alike in all arms."""
    arms = np.array(recorded.arms)
    counts = {arm: int((arms == arm).sum()) for arm in set(recorded.arms)}
    several = np.array([counts[arm] > 1 for arm in arms])
    if not several.any():
        scaled = unexplained * np.sqrt(len(values) / np.maximum(len(values) - ridge.freedom, 1.0))
        note = "no arm has two seeds: the noise is what the surface does not explain, and each trial has its own"
        return _Noise(scaled, _spread(np.zeros_like(values), mains * 0.0, groups), np.zeros(values.shape[1]), note)
    residuals = np.zeros_like(values)
    for arm, count in counts.items():
        if count > 1:
            mine = arms == arm
            residuals[mine] = (values[mine] - values[mine].mean(axis=0)) * math.sqrt(count / (count - 1))
    residuals, mains = residuals[several], mains[several]
    spread = _spread(residuals, mains, groups)
    fitted = np.clip(np.array(spread.intercept) + mains @ _table(spread.coefficients, residuals), spread.low, spread.high)
    alike = residuals / np.exp(fitted / 2)
    return _Noise(alike, spread, _shared(alike, np.array(recorded.seeds)[several]), "")


def _spread(residuals: Array, mains: Array, groups: Sequence[str]) -> Spread:
    """A model of the residuals' squares (Harvey 1976, Econometrica 44: 461), fitted as the values are: arms differ in it as far as that
    predicts the squares of trials left out. Its level is set so that residuals in its units have a mean square of 1."""
    variance = (residuals**2).mean(axis=0)
    squares = residuals**2 + LEAST_SPREAD**2 * variance
    logs = np.log(np.where(squares > 0, squares, 1.0))
    ridge = fit_ridge(mains, np.zeros((len(mains), 0)), logs, groups=groups)
    fitted = ridge.predict(mains, np.zeros((len(mains), 0)))
    level = np.log(np.where(variance > 0, (residuals**2 / np.exp(fitted)).mean(axis=0), 1.0))
    return Spread(
        intercept=_short((ridge.intercept + level)[None])[0],
        coefficients=_short(ridge.coefficients),
        low=_short((fitted + level).min(axis=0)[None])[0],
        high=_short((fitted + level).max(axis=0)[None])[0],
    )


def _table(rows: Sequence[Sequence[float]], like: Array) -> Array:
    """[rows, outputs], where there are no rows too."""
    return np.array(rows, dtype=float).reshape(len(rows), like.shape[1])


def _shared(residuals: Array, seeds: "np.ndarray[Any, Any]") -> Array:
    """Of each output: mean product of the residuals of two arms that have a seed in common, in units of their variance, from 0 to 1."""
    products, number = np.zeros(residuals.shape[1]), 0
    for seed in set(seeds):
        mine = residuals[seeds == seed]
        products += mine.sum(axis=0) ** 2 - (mine**2).sum(axis=0)
        number += len(mine) * (len(mine) - 1)
    variance = (residuals**2).mean(axis=0)
    if not number:
        return np.zeros(len(variance))
    found: Array = np.clip(products / number / np.where(variance > 0, variance, 1.0), 0.0, 1.0)
    return found


def _held_out(recorded: Recorded, design: _Design, metrics: Mapping[str, Metric]) -> tuple[HeldOut, ...]:
    """In the metric's unit, whatever the scale of the fit."""
    final = np.stack([_final(recorded, name) for name in metrics], axis=1)
    fitted = np.stack([metric.fitted(final[:, place]) for place, metric in enumerate(metrics.values())], axis=1)

    def predicted(train: Array, test: Array) -> Array:
        ridge = fit_ridge(design.mains[train], design.products[train], fitted[train], groups=list(metrics))
        found = ridge.predict(design.mains[test], design.products[test])
        return np.stack([metric.meant(found[:, place]) for place, metric in enumerate(metrics.values())], axis=1)

    new_arm = _left_out(final, recorded.arms, predicted)
    new_seed = _left_out(final, recorded.seeds, predicted)
    mean = _left_out(final, recorded.arms, lambda train, test: final[train].mean(axis=0)[None])
    between = _between_seeds(final, recorded.arms)
    each = zip(metrics, new_arm, new_seed, mean, between, strict=True)
    return tuple(
        HeldOut(metric=name, new_arm=arm, new_seed=seed, mean=guess, between_seeds=sd, trials=len(final))
        for name, arm, seed, guess, sd in each
    )


def _left_out(values: Array, labels: Sequence[str], predicted: Callable[[Array, Array], Array]) -> list[float | None]:
    """Root mean square error of each column, each label's rows predicted from all others; None where there is one label."""
    names, errors = np.array(labels), np.zeros_like(values)
    if len(set(labels)) < 2:
        return [None] * values.shape[1]
    for label in dict.fromkeys(labels):
        test = names == label
        errors[test] = values[test] - predicted(~test, test)
    return [float(error) for error in np.sqrt((errors**2).mean(axis=0))]


def _between_seeds(values: Array, arms: Sequence[str]) -> list[float | None]:
    """Standard deviation within an arm, pooled over the arms with two seeds or more."""
    names, squares, freedom = np.array(arms), np.zeros(values.shape[1]), 0
    for arm in set(arms):
        mine = values[names == arm]
        squares += ((mine - mine.mean(axis=0)) ** 2).sum(axis=0)
        freedom += len(mine) - 1
    return [float(sd) for sd in np.sqrt(squares / freedom)] if freedom else [None] * values.shape[1]


def _short(table: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.{DIGITS}g}") for value in row) for row in table)
