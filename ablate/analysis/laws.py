"""Published hyperparameter laws as data, with what makes two laws comparable: definitions, units, range and source."""

from dataclasses import asdict, dataclass
from math import exp, isfinite, log, log10
from typing import Any, Literal

from ablate.errors import InputError, did_you_mean

WEIGHT_DECAY_RATIO = 0.1
"""MM1: lambda = 0.1 eta."""


@dataclass(frozen=True)
class Definitions:
    """What a law's numbers mean. Two laws that differ here differ in their constants even where nature does not."""

    n_params: str
    batch: str
    horizon: str
    schedule: str
    weight_decay: str
    metric: str


@dataclass(frozen=True)
class WeightDecay:
    """One decay in the two conventions in use."""

    per_step: float
    """lambda: the factor a weight loses each step, decay decoupled from the rate."""
    torch_adamw: float
    """The same as `weight_decay=` of torch's AdamW, which multiplies it by the rate itself."""


@dataclass(frozen=True)
class Prediction:
    """The best peak learning rate at `n_params`. None where a thing is undefined; `notes` say why."""

    n_params: float
    lr: float
    interval: tuple[float, float] | None
    level: float | None
    kind: Literal["prediction"] | None
    """`prediction`: the interval is for the optimum of one new model, not for the mean line."""
    extrapolation_decades: float
    """Decades outside the sizes of the fit; 0 inside."""
    regret: tuple[float, float] | None
    """What the metric loses if the true optimum lies at that end of the interval."""
    weight_decay: WeightDecay | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        record = asdict(self)
        return record | {"interval": _listed(self.interval), "regret": _listed(self.regret), "notes": list(self.notes)}


@dataclass(frozen=True)
class PublishedLaw:
    name: str
    formula: str
    slope: float
    """Exponent of N: d ln eta / d ln N."""
    intercept: float
    """ln eta at N = 1."""
    definitions: Definitions
    n_range: tuple[float, float]
    """Smallest and largest N of its fit."""
    source: str
    notes: tuple[str, ...] = ()

    def lr(self, n_params: float) -> float:
        return exp(self.slope * log(n_params) + self.intercept)


MM1 = PublishedLaw(
    name="mm1",
    formula="eta = exp(-0.4214 ln N - 0.5535), lambda = 0.1 eta",
    slope=-0.4214,
    intercept=-0.5535,
    definitions=Definitions(
        n_params="non-embedding parameters of the language model",
        batch="fixed; 512 sequences of 4096 tokens in the final models",
        horizon="fixed; 200,000 steps in the final models",
        schedule="2,000 steps of warmup, then cosine to 10 % of the peak (secondary source)",
        weight_decay="lambda = 0.1 eta; whether per step or torch's AdamW is not said, so both are given",
        metric="average of downstream 8-shot scores; points are close-to-optimal runs",
    ),
    n_range=(9e6, 1.2e9),
    source="MM1, arXiv 2403.09611, equation 1 and figure 6",
    notes=("the points, the grid and the interval of the fit are not published",),
)

PUBLISHED: dict[str, PublishedLaw] = {law.name: law for law in (MM1,)}


def published_law(name: str) -> PublishedLaw:
    if name not in PUBLISHED:
        raise InputError(f"no published law '{name}' ({', '.join(PUBLISHED)}){did_you_mean(name, PUBLISHED)}")
    return PUBLISHED[name]


def predict(name: str, n_params: float) -> Prediction:
    """What a published law says of a model with `n_params` parameters, counted as the law counts them."""
    law = published_law(name)
    size = positive(n_params, what="n_params")
    decades = decades_outside(size, law.n_range)
    return Prediction(
        n_params=size,
        lr=law.lr(size),
        interval=None,
        level=None,
        kind=None,
        extrapolation_decades=decades,
        regret=None,
        weight_decay=decay_for(law.lr(size)),
        notes=(*extrapolation_notes(decades, law.n_range), f"N counts {law.definitions.n_params}", *law.notes),
    )


def decay_for(lr: float) -> WeightDecay:
    return WeightDecay(per_step=WEIGHT_DECAY_RATIO * lr, torch_adamw=WEIGHT_DECAY_RATIO)


def decades_outside(n_params: float, n_range: tuple[float, float]) -> float:
    return max(0.0, log10(n_params / n_range[1]), log10(n_range[0] / n_params))


def extrapolation_notes(decades: float, n_range: tuple[float, float]) -> tuple[str, ...]:
    if decades == 0:
        return ()
    return (f"extrapolated by {decades:.1f} decades outside {size_label(n_range[0])} to {size_label(n_range[1])}",)


def positive(value: float, *, what: str) -> float:
    """As a float, so that products of counts cannot overflow."""
    number = float(value)
    if not isfinite(number) or number <= 0:
        raise InputError(f"{what}: {value} is not a positive, finite number")
    return number


def size_label(n_params: float) -> str:
    """9M, 302M, 1.2B."""
    for scale, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n_params >= scale * 0.9995:
            return f"{n_params / scale:.3g}{suffix}"
    return f"{n_params:.3g}"


def rate_label(lr: float) -> str:
    """2.21e-5: as a config writes it, so that it can be copied into one."""
    mantissa, exponent = f"{lr:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _listed(pair: tuple[float, float] | None) -> list[float] | None:
    return None if pair is None else list(pair)
