"""A fitted response surface as one JSON file: what the trainer `surrogate` answers with, and how far off that was on trials left out.

`ablate.surface_fit` makes one; this module reads it and says what it gives for a config, so it imports nothing heavy but numpy.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, model_validator

from ablate.errors import InputError
from ablate.fingerprint import canonical
from ablate.marked_yaml import shown, visible
from ablate.model import Number, StudyModel
from ablate.sources import digest_of
from ablate.surface_inputs import Flat, Input, about, flatten

Array = np.ndarray[Any, np.dtype[np.float64]]
Share = Annotated[Number, Field(gt=0, le=1)]


EDGE = 0.005
"""Of a bounded metric's range: how far inside its bounds the logarithm of the odds takes them to be, so that it is finite on them."""


class Metric(StudyModel):
    """What the recorded trainer declares of a metric, as `ablate.metric_scales.MetricScale`, and on which scale it is fitted."""

    meaning: str = ""
    unit: str = ""
    low: Number | None = None
    high: Number | None = None
    better: str = ""
    chance: Number | None = None
    form: Literal["linear", "log", "odds"]
    """`odds` (their logarithm) between two bounds, so that effects and noise shrink towards them; `log` of what is above 0 by its
    declaration and in every trial; else as it is."""

    def fitted(self, values: Array) -> Array:
        """Metric values on the scale of the fit."""
        if self.form == "linear":
            return values
        if self.form == "log":
            return np.log(values)
        share = EDGE + (1 - 2 * EDGE) * (values - self._low) / self._range
        return np.log(share / (1 - share))

    def meant(self, values: Array) -> Array:
        """Values on the scale of the fit as the metric has them, within its bounds."""
        if self.form == "log":
            values = np.exp(values)
        elif self.form == "odds":
            values = self._low + self._range * (1 / (1 + np.exp(-values)) - EDGE) / (1 - 2 * EDGE)
        return np.clip(values, self.low, self.high)

    @property
    def _low(self) -> float:
        assert self.low is not None
        return self.low

    @property
    def _range(self) -> float:
        assert self.high is not None
        return self.high - self._low


def metric_form(low: float | None, high: float | None, *, values: Sequence[float]) -> Literal["linear", "log", "odds"]:
    """`low`, `high`: bounds that are declared; `values`: all that was recorded of it."""
    if low is not None and high is not None:
        return "odds"
    return "log" if low == 0 and min(values) > 0 else "linear"


class HeldOut(StudyModel):
    """How far off the surface is on trials that it was not fitted to; each a root mean square, in the metric's unit, None where it cannot
    be said. All errors hold the noise of the trials left out, so no surface can come below `between_seeds`."""

    metric: str
    new_arm: float | None
    """On the trials of each arm in turn, when it was fitted without that arm."""
    new_seed: float | None
    """On the trials of each seed in turn, when it was fitted without that seed."""
    mean: float | None
    """Of guessing the mean of all other arms' trials."""
    between_seeds: float | None
    """Standard deviation between the seeds of an arm, pooled over the arms."""
    trials: int


class Output(StudyModel):
    metric: str
    at: Share
    """Share of the run; at 1 it is the final value."""


class Spread(StudyModel):
    """Logarithm of the noise's variance, on the scale of the fit: one number an output, a row a main effect."""

    intercept: tuple[Number, ...]
    coefficients: tuple[tuple[Number, ...], ...]
    low: tuple[Number, ...]
    high: tuple[Number, ...]
    """Least and largest of the recorded trials, beyond which no combination of levels is taken."""


class Surface(StudyModel):
    """Two linear models an output, of its value and of its noise, and the noise of the recorded trials."""

    model_config = ConfigDict(ignored_types=(cached_property,))

    format: Literal["ablate surrogate 1"] = "ablate surrogate 1"
    studies: tuple[str, ...]
    """The recorded ones it is fitted to."""
    trainer: str
    """Theirs."""
    was_simulated: bool
    """Whether the recorded trials were simulated themselves."""
    trials: int
    arms: int
    seeds: int
    held_out: tuple[HeldOut, ...]
    notes: tuple[str, ...] = ()
    config: dict[str, Any]
    """Of one recorded trial, whole."""
    inputs: tuple[Input, ...]
    interactions: tuple[tuple[int, int], ...]
    """Pairs of inputs that the recorded trials tell an interaction of."""
    metrics: Annotated[dict[str, Metric], Field(min_length=1)]
    steps: Annotated[int, Field(ge=1)] | tuple[str, ...]
    """Last step of a run, or fields of which the first that a config has says it, such as those of a stage that some trials have."""
    outputs: tuple[Output, ...]
    intercept: tuple[Number, ...]
    """One an output."""
    coefficients: tuple[tuple[Number, ...], ...]
    """A row a feature, a column an output: `features` says their order."""
    residuals: Annotated[tuple[tuple[Number, ...], ...], Field(min_length=1)]
    """Noise of recorded trials in units of `spread`: a row a trial, a column an output."""
    spread: Spread
    shared: tuple[Annotated[Number, Field(ge=0, le=1)], ...]
    """Of each output the share of the noise's variance that trials of one seed have in common."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> "Surface":
        number = len(self.outputs)
        features = self._mains + sum(self.inputs[a].size * self.inputs[b].size for a, b in self.interactions)
        spread = self.spread
        single = (self.intercept, self.shared, spread.intercept, spread.low, spread.high)
        rows = (*single, *self.coefficients, *self.residuals, *spread.coefficients)
        heights = len(self.coefficients), len(spread.coefficients)
        if any(len(row) != number for row in rows) or heights != (features, self._mains):
            raise ValueError("its tables do not fit together")
        return self

    def summary(self) -> dict[str, Any]:
        """As JSON values: what it is fitted to, and how well, without its tables."""
        return self.model_dump(mode="json", exclude={"config", "outputs", "intercept", "coefficients", "residuals", "spread", "shared"})

    def faults(self, flat: Flat) -> Iterator[str]:
        """Why the surface cannot answer for a config, a line a field; nothing where it can."""
        read = {field for one in self.inputs for field in one.fields}
        recorded = flatten(self.config)
        known = [*recorded, *read]
        for path in dict.fromkeys(_shortest(path, known) for path in flat if path not in recorded and path not in read):
            yield about(path, "is in no recorded trial, so the surface knows nothing of it; leave it out")
        for path in dict.fromkeys(_shortest(path, list(flat)) for path in recorded if path not in flat and path not in read):
            yield about(path, "is missing, and every recorded trial has it")
        for path, value in flat.items():
            if path in recorded and path not in read and canonical(value) != canonical(recorded[path]):
                always = f"and {shown(recorded[path])} in every recorded trial"
                yield about(path, f"is {shown(value)}, {always}; of other values the surface knows nothing")
        for one in self.inputs:
            yield from one.faults(flat)

    def last_step(self, flat: Flat) -> int:
        return self.steps if isinstance(self.steps, int) else max(1, next(round(flat[field]) for field in self.steps if field in flat))

    def expected(self, flat: Flat) -> Array:
        """One value an output, on the scale of the fit, without noise."""
        found: Array = np.array(self.intercept)
        if self.coefficients:
            found += np.array(features(self.inputs, self.interactions, flat)) @ self._matrix
        return found

    def noise(self, flat: Flat, *, seed: int) -> Array:
        """Residuals of two recorded trials, all metrics and points of each together: one that the seed picks, for all arms alike, and one
        that seed and arm pick, so mixed that arms of one seed agree as far as the recorded ones did, and scaled to the config's spread."""
        arm = canonical([flat[field] if field in flat else None for one in self.inputs for field in one.fields])
        shared, number = np.array(self.shared, dtype=float), len(self.residuals)
        of_seed = self.residuals[self._order[seed % number]]
        of_both = self.residuals[_draw(f"{self._key} {seed} {arm}") % number]
        mixed = np.sqrt(shared) * np.array(of_seed) + np.sqrt(1 - shared) * np.array(of_both)
        log_variance = np.array(self.spread.intercept)
        if self._mains:
            log_variance = log_variance + np.array(features(self.inputs, (), flat)) @ np.array(self.spread.coefficients)
        scaled: Array = mixed * np.exp(np.clip(log_variance, self.spread.low, self.spread.high) / 2)
        return scaled

    def metrics_of(self, flat: Flat, *, seed: int) -> list[tuple[int, dict[str, float]]]:
        """(step, metric -> value) in the order of the steps, the final values last, each within its metric's bounds."""
        last, values = self.last_step(flat), self.expected(flat) + self.noise(flat, seed=seed)
        found: dict[int, dict[str, float]] = {}
        for output, value in sorted(zip(self.outputs, values, strict=True), key=lambda pair: pair[0].at):
            found.setdefault(max(1, round(output.at * last)), {})[output.metric] = float(self.metrics[output.metric].meant(value))
        return sorted(found.items())

    @property
    def _mains(self) -> int:
        return sum(one.size for one in self.inputs)

    @cached_property
    def _matrix(self) -> Array:
        return np.array(self.coefficients)

    @cached_property
    def _key(self) -> str:
        return hashlib.sha256(canonical([self.intercept, self.studies]).encode()).hexdigest()

    @cached_property
    def _order(self) -> list[int]:
        """So that seeds that follow one another pick different trials."""
        return sorted(range(len(self.residuals)), key=lambda place: _draw(f"{self._key} {place}"))


def features(inputs: Sequence[Input], interactions: Sequence[tuple[int, int]], flat: Flat) -> list[float]:
    """Those of each input in turn, then the products of each pair."""
    each = [one.features(flat) for one in inputs]
    products = [one * other for first, second in interactions for one in each[first] for other in each[second]]
    return [value for part in each for value in part] + products


@lru_cache(maxsize=8)
def read_surface(path: Path, *, digest: str) -> Surface:
    """`digest`: of the file's content as `ablate.sources` makes it. Raises InputError where it is another, or no surface."""
    if digest_of(path) != digest:
        raise InputError(f"{visible(str(path), limit=200)} is not the surface that was named: it is gone, or its content has changed")
    try:
        return Surface.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{visible(str(path), limit=200)} holds no surface ({where}{': ' if where else ''}{first['msg']}); "
            "`ablate surrogate STUDY -o FILE.json` writes one"
        ) from None


def to_json(surface: Surface) -> str:
    """The file's text."""
    return surface.model_dump_json(indent=None) + "\n"


def _shortest(path: str, known: Sequence[str]) -> str:
    """The group around a field of which nothing is known, or the field."""
    parts = path.split(".")
    groups = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return next((group for group in groups if not any(f"{other}.".startswith(f"{group}.") for other in known)), path)


def _draw(text: str) -> int:
    # hashlib, not hash(): the same on every machine and in every process
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
