"""Fitted laws beside others: the four forms over the same optima by AICc, and slopes against published ones."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite, log
from typing import Any

from scipy import stats

from ablate.analysis.law_fit import FORMS, Form, LawFit, cannot_fit, errors_of, fit_power_law, ln_table
from ablate.analysis.laws import COUNTS, NO_CHANGE, PublishedLaw, Quantity
from ablate.analysis.optima import Optimum
from ablate.analysis.random_effects import log_likelihood


@dataclass(frozen=True)
class FormFit:
    """How well one form describes the optima. None where it does not describe them, and `note` says why."""

    form: Form
    slopes: Mapping[Quantity, float] | None
    se: Mapping[Quantity, float | None] | None
    tau: float | None
    aicc: float | None
    """Akaike's criterion corrected for few points; smaller is better, 2 less is not much, 10 less is."""
    log_likelihood: float | None
    """Of the optima, at its maximum over the line and the scatter between sizes."""
    df: int | None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare_forms(optima: Iterable[Optimum]) -> tuple[FormFit, ...]:
    """The four forms over the same optima, whose errors count. The scatter is a constant of each form like the others."""
    used = tuple(optimum for optimum in optima if optimum.lr is not None)
    return tuple(_form_fit(used, form) for form in FORMS)


def _form_fit(used: tuple[Optimum, ...], form: Form) -> FormFit:
    nothing = FormFit(form, None, None, None, None, None, None)
    if len(used) < 3:
        return replace(nothing, note=f"{len(used)} optima: a comparison needs three or more")
    if reason := cannot_fit(used, form=form):
        return replace(nothing, note=reason.removeprefix(f"form {form}: "))
    fit, constants = fit_power_law(used, form=form), len(FORMS[form]) + 2
    if fit.no_interval:
        return FormFit(form, fit.slopes, None, fit.tau, None, None, fit.df, "the optima lie exactly on this law: nothing to compare by")
    likelihood = log_likelihood(ln_table(used, form), [log(optimum.lr or 1.0) for optimum in used], errors=errors_of(used))
    spare = len(used) - constants - 1
    aicc = -2 * likelihood + 2 * constants * len(used) / spare if spare > 0 else None
    few = f"AICc is not defined for {len(used)} optima and {constants} constants; it needs {constants + 2}" if aicc is None else ""
    return FormFit(form, fit.slopes, fit.se_slopes, fit.tau, aicc, likelihood, fit.df, few)


@dataclass(frozen=True)
class SlopeComparison:
    """A fitted slope against a published one, which is taken as exact: its own error is not published."""

    law: str
    quantity: Quantity
    published_slope: float
    difference: float | None
    """Fitted minus published; None where the two do not speak of the same thing, and `note` says why."""
    t: float | None
    p: float | None
    """Two-sided; None where the fit has no standard error."""
    df: int
    note: str = ""
    """Why they are not compared, or what else differs between the two."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare_slopes(fit: LawFit, *, published: Iterable[PublishedLaw]) -> tuple[SlopeComparison, ...]:
    """Each slope against 0, then against those of the published laws that read what the fit reads.

    What they count must be the same: counting embeddings moves MM1's own slope from -0.42 to between -0.48 and -0.58.
    """
    against_none = [_compared(fit, NO_CHANGE, quantity, 0.0) for quantity in fit.slopes]
    others = [
        _compared(fit, law.name, quantity, law.slope_in(quantity), note=_not_comparable(fit, law), beside=_beside(fit, law))
        for law in published
        if law.has_slopes and set(law.reads) == set(fit.slopes)
        for quantity in fit.slopes
    ]
    return (*against_none, *others)


def _not_comparable(fit: LawFit, law: PublishedLaw) -> str:
    if fit.definitions is None:
        return "not compared: what N counts, batch, horizon and schedule of the fit are not recorded (`law.definitions`, --definitions)"
    if "n_params" in fit.slopes and fit.definitions.counts != law.definitions.counts:
        ours, theirs = COUNTS[fit.definitions.counts], COUNTS[law.definitions.counts]
        return f"not compared: N counts {ours} here and {theirs} there"
    return ""


def _beside(fit: LawFit, law: PublishedLaw) -> str:
    """What the two were trained with: a slope may differ because of it."""
    ours, theirs = fit.definitions, law.definitions
    if ours is None:
        return ""
    return f"batch here: {ours.batch}, there: {theirs.batch}; horizon here: {ours.horizon}, there: {theirs.horizon}"


def _compared(fit: LawFit, law: str, quantity: Quantity, published: float, *, note: str = "", beside: str = "") -> SlopeComparison:
    if note:
        return SlopeComparison(law, quantity, published, None, None, None, fit.df, note)
    difference, se = fit.slopes[quantity] - published, fit.se_slopes[quantity]
    if se is None or fit.df < 1 or not isfinite(se) or se <= 0:
        return SlopeComparison(law, quantity, published, difference, None, None, fit.df, fit.no_interval)
    t = difference / se
    return SlopeComparison(law, quantity, published, difference, t, 2 * float(stats.t.sf(abs(t), fit.df)), fit.df, beside)
