"""Published laws of the loss in parameters and tokens, L = E + A / N^alpha + B / D^beta, as data, to stand beside a fitted one.

Only what was read stands here; the rest is "not known". The constants of two laws can be compared only where N, D and the loss mean the
same; the exponents, and with them how a budget is split, can be in any case.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablate.analysis.laws import Quantity, Range


@dataclass(frozen=True)
class PublishedLoss:
    name: str
    alpha: float
    beta: float
    E: float | None
    """In the metric's unit, as are A and B with N parameters and D tokens as counts; None where they were not found."""
    A: float | None
    B: float | None
    n_params: str
    """What N counts."""
    tokens: str
    metric: str
    method: str
    ranges: Mapping[Quantity, Range]
    source: str
    evidence: str
    """Primary: the paper's text, the authors' repository or a refit of their data. Secondary: notes and copies."""
    notes: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[Quantity, ...]:
        return ("n_params", "tokens")

    def range_of(self, quantity: Quantity) -> Range:
        return self.ranges.get(quantity, (None, None))

    @property
    def a(self) -> float:
        """Exponent of the best N: N_opt ~ C^a."""
        return self.beta / (self.alpha + self.beta)

    @property
    def b(self) -> float:
        """Exponent of the best D: D_opt ~ C^b."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def formula(self) -> str:
        e, a, b = (name if value is None else f"{value:g}" for name, value in (("E", self.E), ("A", self.A), ("B", self.B)))
        return f"L = {e} + {a} / N^{self.alpha:g} + {b} / D^{self.beta:g}"

    def to_json(self) -> dict[str, Any]:
        """The keys that the laws of the learning rate have, and the constants."""
        low, high = self.range_of("n_params")
        return {
            "law": self.name,
            "formula": self.formula,
            "reads": list(self.reads),
            "from": low,
            "to": high,
            "ranges": {quantity: list(ends) for quantity, ends in self.ranges.items()},
            "definitions": {"n_params": self.n_params, "tokens": self.tokens, "metric": self.metric, "method": self.method},
            "source": self.source,
            "evidence": self.evidence,
            "notes": list(self.notes),
            "constants": {name: getattr(self, name) for name in ("E", "A", "B", "alpha", "beta", "a", "b")},
        }


_CHINCHILLA_RANGES: dict[Quantity, Range] = {"n_params": (70e6, 16e9), "tokens": (5e9, 500e9)}

CHINCHILLA = PublishedLoss(
    name="chinchilla",
    E=1.69,
    A=406.4,
    B=410.7,
    alpha=0.34,
    beta=0.28,
    n_params="all parameters",
    tokens="training tokens",
    metric="cross-entropy loss",
    method="Huber loss of the residuals of ln L, delta 1e-3; its mean, so that the optimiser stopped early",
    ranges=_CHINCHILLA_RANGES,
    source="Hoffmann et al. 2022 (Chinchilla), arXiv 2203.15556, approach 3",
    evidence="secondary for the constants, primary for the range (abstract)",
    notes=("the constants are rounded in the paper's text, which moves what they predict (Besiroglu et al. 2024); take chinchilla_refit",),
)

CHINCHILLA_REFIT = PublishedLoss(
    name="chinchilla_refit",
    E=1.8172,
    A=482.01,
    B=2085.43,
    alpha=0.3478,
    beta=0.3658,
    n_params="all parameters",
    tokens="training tokens",
    metric="cross-entropy loss",
    method="Huber loss of the residuals of ln L, delta 1e-3, summed",
    ranges=_CHINCHILLA_RANGES,
    source="Besiroglu et al. 2024 (Epoch AI), arXiv 2404.10102",
    evidence="primary (a refit of their 245 points gives these constants without the 5 points of the lowest D / N)",
    notes=(
        "245 points read off the figures of the Chinchilla paper; the range is that paper's",
        "with the 5 points of the lowest D / N beta is 0.4530: five rows of 245 move it by a quarter",
    ),
)

NATIVE_EARLY = PublishedLoss(
    name="native_early",
    E=None,
    A=None,
    B=None,
    alpha=0.301,
    beta=0.335,
    n_params="not known",
    tokens="not known",
    metric="not known",
    method="not known",
    ranges={"n_params": (None, None), "tokens": (None, None)},
    source="native multimodal models, early fusion, arXiv 2504.07951",
    evidence="secondary for the exponents; E, A and B not found",
    notes=("457 native multimodal models; late fusion: alpha 0.290, beta 0.338",),
)

PUBLISHED_LOSSES = {law.name: law for law in (CHINCHILLA, CHINCHILLA_REFIT, NATIVE_EARLY)}
