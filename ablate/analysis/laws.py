"""What a law for the learning rate is and what it says of a model, with what makes two laws comparable: definitions, units and range.

The published laws themselves are data, in `published.py`.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from math import exp, inf, isfinite, log, log10
from typing import Any, Literal

from ablate.errors import InputError

Quantity = Literal["n_params", "tokens", "batch_tokens", "compute"]
"""What a law may read: N parameters, D training tokens, B tokens a step, C training FLOPs."""
SYMBOLS: dict[Quantity, str] = {"n_params": "N", "tokens": "D", "batch_tokens": "B", "compute": "C"}
OPTIONS: dict[Quantity, str] = {"n_params": "--params", "tokens": "--tokens", "batch_tokens": "--batch", "compute": "--compute"}

Counts = Literal["non_embedding", "with_head", "with_embeddings", "total", "not known"]
COUNTS: dict[Counts, str] = {
    "non_embedding": "non-embedding parameters of the language model",
    "with_head": "the language model with its output head",
    "with_embeddings": "the language model with embeddings and head",
    "total": "all parameters, encoder and connector among them",
    "not known": "parameters that are not named",
}
"""What N may count."""

Range = tuple[float | None, float | None]
"""From and to; None is an end that is not known."""

NO_CHANGE = "no change"
"""The slope 0 of a rate that is the same at all sizes, as under muP."""

OUTSIDE = "outside the rates tried"
SCATTER = "scatter between sizes τ (ln units)"
"""SD of the optima around a law that their own errors leave, in the words of every table and sentence."""
ONE_SE, ONE_SD = "1 SE, about 68 %", "1 SD, about 68 %"
"""Beside a factor ×/÷: intervals are of 95 %, these are not."""
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
    tokens: str = "not read"
    compute: str = "not read"
    counts: Counts = "not known"
    """`n_params` as one of a few, so that two laws can be compared."""
    recipe: "Recipe | None" = None
    """What else the runs had in common; None where no number is known."""


@dataclass(frozen=True)
class Recipe:
    """Numbers that a law's runs had in common and that a large run has to choose too. None is not known."""

    warmup_fraction: float | None = None
    """Of the steps."""
    batch_tokens: float | None = None
    """Tokens a step."""
    tokens: float | None = None
    """Training tokens."""


@dataclass(frozen=True)
class WeightDecay:
    """One decay in the two conventions in use."""

    per_step: float
    """lambda: the factor a weight loses each step, decay decoupled from the rate."""
    torch_adamw: float
    """The same as `weight_decay=` of torch's AdamW, which multiplies it by the rate itself."""


@dataclass(frozen=True)
class Prediction:
    """The best peak learning rate of a model. None where a thing is undefined; `notes` say why."""

    n_params: float | None
    """As it was asked; None only where the law reads compute and was asked with that alone."""
    lr: float
    interval: tuple[float, float] | None
    level: float | None
    kind: Literal["prediction"] | None
    """`prediction`: the interval is for the optimum of one new model, not for the mean line."""
    extrapolation_decades: float | None
    """Decades outside the range of the fit, of what lies farthest outside; 0 inside, None where the range is not known."""
    regret: tuple[float | None, float | None] | None
    """What the metric loses if the true optimum lies at that end of the interval; None where `regret_note` says why."""
    weight_decay: WeightDecay | None
    notes: tuple[str, ...] = ()
    tokens: float | None = None
    compute: float | None = None
    """FLOPs as they were asked, or 6 N D where the law reads them and they were not."""
    batch_tokens: float | None = None
    """Tokens a step, where the law's source has a law for them too."""
    regret_note: str = ""
    """Why an end has no regret; empty where both have one, and where there is no curve or no interval to read one from."""

    @property
    def regret_words(self) -> str:
        """At the two ends, such as `0.02 and 0.03`; empty where nothing is known."""
        if self.regret is None:
            return self.regret_note
        return " and ".join(OUTSIDE if end is None else f"{end:.2g}" for end in self.regret)

    def to_json(self) -> dict[str, Any]:
        record = asdict(self)
        return record | {"interval": _listed(self.interval), "regret": _listed(self.regret), "notes": list(self.notes)}


@dataclass(frozen=True)
class PowerLaw:
    """exp(intercept) times the product of (x / unit)^exponent over what it reads."""

    intercept: float
    exponents: Mapping[Quantity, float]
    unit: float = 1.0

    @property
    def reads(self) -> tuple[Quantity, ...]:
        return tuple(self.exponents)

    def at(self, given: Mapping[Quantity, float]) -> float:
        return exp(sum(exponent * log(given[quantity] / self.unit) for quantity, exponent in self.exponents.items()) + self.intercept)


@dataclass(frozen=True)
class LogLinear:
    """constant + slope ln N, which ends in rates below zero."""

    constant: float
    slope: float

    @property
    def reads(self) -> tuple[Quantity, ...]:
        return ("n_params",)

    @property
    def end(self) -> float:
        """The N at which the rate is 0."""
        return exp(-self.constant / self.slope)

    def at(self, given: Mapping[Quantity, float]) -> float:
        return self.constant + self.slope * log(given["n_params"])


@dataclass(frozen=True)
class PublishedLaw:
    name: str
    formula: str
    rate: PowerLaw | LogLinear
    """Peak learning rate."""
    definitions: Definitions
    ranges: Mapping[Quantity, Range]
    """Smallest and largest value it was fitted on or is said to hold for, where one of the two is known."""
    source: str
    evidence: str
    """Primary: the paper's text, the authors' repository or a refit of their data. Secondary: notes and copies."""
    batch: PowerLaw | None = None
    """Tokens a step, from the same source; reads no more than the rate does."""
    weight_decay_ratio: float | None = None
    """lambda / eta; None where the law states no weight decay."""
    six_nd: str = ""
    """How C = 6 N D differs from the law's own C."""
    notes: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[Quantity, ...]:
        return self.rate.reads

    @property
    def n_range(self) -> Range:
        return self.range_of("n_params")

    @property
    def slope(self) -> float:
        """d ln eta / d ln N, tokens being held."""
        if isinstance(self.rate, LogLinear) or "n_params" not in self.rate.exponents:
            raise InputError(f"{self.name} has no slope in N to compare with: {self.formula}")
        return self.rate.exponents["n_params"]

    @property
    def has_slopes(self) -> bool:
        return isinstance(self.rate, PowerLaw)

    def slope_in(self, quantity: Quantity) -> float:
        """d ln eta / d ln of it, what else the law reads being held."""
        assert isinstance(self.rate, PowerLaw)
        return self.rate.exponents[quantity]

    def range_of(self, quantity: Quantity) -> Range:
        return self.ranges.get(quantity, (None, None))

    def lr(self, n_params: float | None = None, *, tokens: float | None = None, compute: float | None = None) -> float:
        """Refused without all that the law reads, and where it gives no rate above 0; silent outside its range."""
        asked: dict[Quantity, float | None] = {"n_params": n_params, "tokens": tokens, "compute": compute}
        given = {quantity: positive(value, what=quantity) for quantity, value in asked.items() if value is not None}
        lacking = [self._lacking(quantity) for quantity in self.reads if quantity not in given]
        if lacking:
            raise InputError(f"{self.name} needs {' and '.join(lacking)}")
        rate = self.rate.at(given)
        if isinstance(self.rate, LogLinear) and rate <= 0:
            raise InputError(
                f"{self.name} has no rate at N = {given['n_params']:.3g}: {self.formula} is {rate:.2g} there, not positive from "
                f"N = {self.rate.end:.3g} on; ask another law (ablate law list)"
            )
        return rate

    def to_json(self) -> dict[str, Any]:
        low, high = self.n_range
        return {
            "law": self.name,
            "formula": self.formula,
            "reads": list(self.reads),
            "from": low,
            "to": high,
            "ranges": {quantity: list(self.range_of(quantity)) for quantity in self.reads},
            "definitions": asdict(self.definitions),
            "source": self.source,
            "evidence": self.evidence,
            "notes": list(self.notes),
        }

    def _lacking(self, quantity: Quantity) -> str:
        meaning = f"{getattr(self.definitions, quantity)}; range: {range_label(self.range_of(quantity), quantity=quantity)}"
        instead = ", or --params and --tokens for C = 6 N D" if quantity == "compute" else ""
        return f"{OPTIONS[quantity]} ({meaning}){instead}"


def decay_for(lr: float, *, ratio: float = WEIGHT_DECAY_RATIO) -> WeightDecay:
    return WeightDecay(per_step=ratio * lr, torch_adamw=ratio)


def decades_outside(value: float, fitted: Range) -> float | None:
    """0 inside; None where an end is not known and the other does not say it."""
    low, high = fitted
    decades = max(0.0, log10(value / high) if high else 0.0, log10(low / value) if low else 0.0)
    return decades if decades or (low and high) else None


def extrapolation_notes(decades: float | None, fitted: Range, *, quantity: Quantity = "n_params") -> tuple[str, ...]:
    if not decades:
        return ()
    low, high = (None if end is None else quantity_label(end, quantity=quantity) for end in fitted)
    outside = f"outside {range_label(fitted, quantity=quantity)}" if low and high else f"above {high}" if high else f"below {low}"
    return (f"extrapolated by {decades:.1f} decades {outside}",)


def range_label(fitted: Range, *, quantity: Quantity) -> str:
    """9M to 1.2B; 1e17 to 2e19 FLOPs; from 760M, upper end not known."""
    low, high = (None if end is None else quantity_label(end, quantity=quantity) for end in fitted)
    unit = " FLOPs" if quantity == "compute" else ""
    if low and high:
        return f"{low} to {high}{unit}"
    if low:
        return f"from {low}{unit}, upper end not known"
    return f"up to {high}{unit}, lower end not known" if high else "not known"


def quantity_label(value: float, *, quantity: Quantity) -> str:
    """Parameters and tokens as 1.2B, FLOPs as 2e19."""
    return f"{value:.3g}".replace("e+", "e") if quantity == "compute" else size_label(value)


def positive(value: float, *, what: str) -> float:
    """As a float, so that products of counts cannot overflow."""
    try:
        number = float(value)
    except OverflowError:  # an int beyond all floats
        number = inf
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


def rates_text(interval: tuple[float, float]) -> str:
    """`[4.38e-9, 2.86e-4]`."""
    return f"[{rate_label(interval[0])}, {rate_label(interval[1])}]"


def unread_notes(asked: Mapping[Quantity, float | None], *, reads: Collection[Quantity]) -> tuple[str, ...]:
    """What was given and changes nothing."""
    unread = [f"{SYMBOLS[quantity]} ({OPTIONS[quantity]})" for quantity, value in asked.items() if value and quantity not in reads]
    return (f"not read by this law: {', '.join(unread)}",) if unread else ()


def _listed(pair: tuple[float | None, float | None] | None) -> list[float | None] | None:
    return None if pair is None else list(pair)
