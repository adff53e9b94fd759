"""Claims and the noise between seeds become what the study can say of each, before anything runs.

A difference is found as detect.py counts it. Equivalence is shown where two one-sided tests at 5 % both succeed, and its power is that for
levels that are truly alike: what the margin can at best hope for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

from ablate.analysis.power import detectable_difference, margin_power, seeds_for_margin
from ablate.analysis.statements import statement
from ablate.detect import Detectable, SeedNoise
from ablate.model import Level
from ablate.study import Claim, Study

NoiseOf = Callable[[str], SeedNoise]
"""Metric -> the noise between its seeds."""


@dataclass(frozen=True)
class Prospect:
    """What can be expected of one claim; numbers are None where nobody knows the noise, or where it is no claim about one difference."""

    statement: str
    metric: str
    noise: SeedNoise
    smallest_difference: float | None = None
    """True difference that a claim of order finds with power 0.8."""
    power: float | None = None
    """Of a claim of equivalence, where the levels are alike."""
    seeds_needed: int | None = None
    """For that power to be 0.8."""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "claim": self.statement,
            "noise": {"sd": self.noise.sd, "origin": self.noise.origin},
            "smallest_difference": self.smallest_difference,
            "power": self.power,
            "seeds_needed": self.seeds_needed,
            "note": self.note,
        }


def prospects(
    study: Study, *, levels: Mapping[str, Sequence[Level]], found: Sequence[Detectable], noise_of: NoiseOf
) -> tuple[Prospect, ...]:
    """One for each claim. `levels`: axis -> labels, the baseline first; `found`: what each axis can show."""
    shown = {axis.axis: axis for axis in found}
    return tuple(
        _prospect(
            claim,
            said=statement(claim, levels=levels, metric=study.metric.name),
            metric=claim.metric or study.metric.name,
            noise=noise_of(claim.metric or study.metric.name),
            cells=shown[claim.axis].cells if claim.axis in shown else 0,
            seeds=shown[claim.axis].seeds if claim.axis in shown else len(study.seeds),
        )
        for claim in study.claims
    )


def _prospect(claim: Claim, *, said: str, metric: str, noise: SeedNoise, cells: int, seeds: int) -> Prospect:
    plain = Prospect(said, metric, noise)
    if not cells:
        return replace(plain, note="no two arms differ in this axis alone: nothing can be compared yet")
    if seeds == 1:
        return replace(plain, note="one seed: no difference can be told from noise")
    if noise.sd is None or claim.when or claim.expect in ("larger_effect_than", "interior_optimum"):
        return plain
    sd = noise.sd * sqrt(2 / cells)
    if claim.expect != "equivalent":
        return replace(plain, smallest_difference=detectable_difference(seeds, sd=sd))
    assert claim.within is not None
    power = margin_power(seeds, within=claim.within, sd=sd)
    return replace(plain, power=power, seeds_needed=seeds_for_margin(0.0, within=claim.within, sd=sd))
