"""A law's answer for a large run, as a file to start from: each number with its interval, what a wrong one costs, and where it is from.

A number that nobody measured is null, and its origin says so: a large run that copies a default should know that it does.
"""

from dataclasses import asdict, dataclass
from math import exp, isfinite
from typing import Any

from ablate.analysis.law_fit import LawFit
from ablate.analysis.laws import COUNTS, Definitions, Prediction, PublishedLaw, Recipe, decay_for, rate_label, size_label
from ablate.analysis.lr_law import LawReport
from ablate.analysis.published import ranges_label
from ablate.errors import InputError
from ablate.yaml_text import yaml_text

Pair = tuple[float, float]
HEADER = """Hyperparameters of a large run. null: nobody measured it, and `origin` says what the law's runs had.
interval: 95 % prediction interval; regret: what the metric loses if the best value lies at that end of it,
null where no such rate was tried."""


@dataclass(frozen=True)
class Setting:
    """One hyperparameter of the large run. None is not known."""

    value: float | None
    origin: str
    interval: Pair | None = None
    """95 % prediction interval."""
    regret: tuple[float | None, float | None] | None = None
    """What the metric loses if the best value lies at that end of the interval."""

    def to_json(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "regret": None if self.regret is None else list(self.regret),
            "origin": self.origin,
        }


@dataclass(frozen=True)
class LargeRun:
    """What to train a large model with, by one law."""

    law: str
    source: str
    simulated: bool
    n_params: float | None
    counts: str
    """What `n_params` counts."""
    metric: str
    """What regret is measured in."""
    peak_learning_rate: Setting
    weight_decay_per_step: Setting
    """The share of a weight that a step at the peak takes off, decay decoupled from the rate."""
    weight_decay_torch_adamw: Setting
    """The same as `weight_decay=` of torch's AdamW, which multiplies it by the rate."""
    warmup_fraction: Setting
    """Of the steps."""
    warmup_steps: Setting
    batch_tokens: Setting
    """Tokens a step."""
    horizon_tokens: Setting
    """Training tokens."""
    review: tuple[str, str, str]
    """What a reviewer would ask: on what the rate rests, what a wrong one costs, what has to match the law's runs."""
    notes: tuple[str, ...]

    @property
    def settings(self) -> dict[str, Setting]:
        return {name: value for name in asdict(self) if isinstance(value := getattr(self, name), Setting)}

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("law", "source", "simulated", "n_params", "counts", "metric")}
        settings = {name: setting.to_json() for name, setting in self.settings.items()}
        return plain | settings | {"review": list(self.review), "notes": list(self.notes)}

    def to_yaml(self) -> str:
        return yaml_text(self.to_json(), header=HEADER)


def published_run(law: PublishedLaw, prediction: Prediction) -> LargeRun:
    """By a published law, whose interval is not known."""
    fitted = f"fitted for {ranges_label(law)}, {_distance(prediction)}"
    basis = f"The rate is that of {law.source} ({law.formula}), {fitted}; the interval of its fit is not published."
    cost = "What a wrong rate costs is not published with this law; a sweep of your own at small sizes says it (`ablate law fit`)."
    batch = Setting(prediction.batch_tokens, "the same source's law for the batch; no interval") if prediction.batch_tokens else None
    return _large_run(prediction, law.name, law.source, law.definitions, batch=batch, reviews=(basis, cost), simulated=False)


def fitted_run(report: LawReport, prediction: Prediction, *, name: str, source: str, simulated: bool) -> LargeRun:
    """By a law fitted here. Refused while it is not recorded what its numbers mean."""
    fit = report.fit
    assert fit is not None
    if fit.definitions is None:
        raise InputError(
            f"the law of '{name}' does not say what N counts, nor its batch, horizon, schedule and weight decay, which a large run has to "
            "match; say them with --definitions FILE.yaml, or in the study's file (`law.definitions`), and it is written (docs/laws.md)"
        )
    reviews = _basis(report, fit, prediction), _cost(report, prediction)
    batch = None if prediction.batch_tokens is None else Setting(prediction.batch_tokens, "tokens a step as asked; not tuned")
    return _large_run(prediction, name, source, fit.definitions, batch=batch, reviews=reviews, simulated=simulated)


def _large_run(
    prediction: Prediction,
    law: str,
    source: str,
    meant: Definitions,
    *,
    batch: Setting | None,
    reviews: tuple[str, str],
    simulated: bool,
) -> LargeRun:
    recipe = meant.recipe or Recipe()
    batch = batch or _kept(recipe.batch_tokens, meant=f"batch: {meant.batch}")
    horizon = _kept(recipe.tokens, meant=f"horizon: {meant.horizon}")
    if prediction.tokens is not None:
        horizon = Setting(prediction.tokens, "training tokens as asked; not tuned")
    share = _kept(recipe.warmup_fraction, meant=f"schedule: {meant.schedule}")
    steps = None if horizon.value is None or batch.value is None else horizon.value / batch.value
    warmup = None if steps is None or share.value is None else float(round(share.value * steps))
    decay = prediction.weight_decay
    no_decay = "the law states no weight decay"
    return LargeRun(
        law=law,
        source=source,
        simulated=simulated,
        n_params=prediction.n_params,
        counts=COUNTS[meant.counts] if meant.counts != "not known" else meant.n_params,
        metric=meant.metric,
        peak_learning_rate=Setting(prediction.lr, f"the law, {_distance(prediction)}", prediction.interval, prediction.regret),
        weight_decay_per_step=Setting(
            decay.per_step if decay else None,
            f"{decay.torch_adamw:g} of the rate, as MM1 has it; the ratio was not fitted" if decay else no_decay,
            _scaled(prediction.interval, decay.torch_adamw) if decay else None,
        ),
        weight_decay_torch_adamw=Setting(
            decay.torch_adamw if decay else None, "the same decay: torch multiplies it by the rate itself" if decay else no_decay
        ),
        warmup_fraction=share,
        warmup_steps=Setting(
            warmup, "the share above of the steps" if warmup is not None else "not known without share, batch and horizon"
        ),
        batch_tokens=batch,
        horizon_tokens=horizon,
        review=(*reviews, _to_match(meant)),
        notes=prediction.notes,
    )


def _kept(value: float | None, *, meant: str) -> Setting:
    if value is None:
        return Setting(None, f"no number is recorded; the law's runs had: {meant}")
    return Setting(value, f"kept, not fitted ({meant})")


def _distance(prediction: Prediction) -> str:
    far = prediction.extrapolation_decades
    if far is None:
        return "how far outside its range is not known"
    return f"extrapolated by {far:.1f} decades" if far else "inside its range"


def _basis(report: LawReport, fit: LawFit, prediction: Prediction) -> str:
    low, high = map(size_label, fit.n_range)
    size = size_label(prediction.n_params) if prediction.n_params else "this model"
    bounds = "it has no interval"
    if prediction.interval:
        bounds = f"its 95 % prediction interval is {rate_label(prediction.interval[0])} to {rate_label(prediction.interval[1])}"
    left = report.leave_largest_out
    check = f"; the smaller sizes alone miss the best rate of the largest by ×{exp(abs(left.ln_error)):.2f}" if left else ""
    return (
        f"The rate for {size} rests on the best rates of {len(fit.used)} models from {low} to {high} ({fit.formula}), "
        f"{_distance(prediction)}, and {bounds}{check}; so few sizes cannot show whether the law bends."
    )


def _cost(report: LawReport, prediction: Prediction) -> str:
    known = [end for end in prediction.regret or () if end is not None and isfinite(end)]
    if prediction.regret_note:
        said = f" (of its ends: {prediction.regret_words})" if known else ""
        return f"What a wrong rate costs is not known all over that interval{said}: rates there lie {prediction.regret_note}."
    if len(known) < 2:
        return "What a wrong rate costs is not known: there is no interval, or no curve around the best rates."
    worst = f"{max(known):.2g} in {report.metric or 'the metric'}"
    return (
        f"If the best rate lies at an end of that interval, this one costs {worst}, by the curve around the best rate of the nearest size, "
        "taken to hold at this one."
    )


def _to_match(meant: Definitions) -> str:
    return (
        f"The rate holds for the law's own batch ({meant.batch}), horizon ({meant.horizon}), schedule ({meant.schedule}) and weight decay "
        f"({meant.weight_decay}); N counts {meant.n_params}, and a model counted otherwise gets another rate."
    )


def _scaled(pair: Pair | None, factor: float) -> Pair | None:
    return None if pair is None else (decay_for(pair[0], ratio=factor).per_step, decay_for(pair[1], ratio=factor).per_step)
