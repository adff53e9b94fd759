"""Optima become a law, ln eta = slopes . ln x + intercept: what it says of a larger model, and how surely.

The interval is a Student-t **prediction** interval: where the optimum of one new model lies, not the mean line. It
holds if the law is log-linear and the scatter between sizes stays as it was; a handful of sizes cannot show a bend.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import dist, exp, log, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np

from ablate.analysis.laws import (
    OPTIONS,
    OUTSIDE,
    SYMBOLS,
    WEIGHT_DECAY_RATIO,
    Definitions,
    Prediction,
    Quantity,
    decades_outside,
    decay_for,
    extrapolation_notes,
    positive,
    rate_label,
    size_label,
    unread_notes,
)
from ablate.analysis.optima import Optimum
from ablate.analysis.random_effects import LineFit, fit_line
from ablate.errors import InputError, did_you_mean

LEVEL = 0.95
ON_A_LINE = 1e-9
"""Residual SD in ln units below which points count as lying exactly on a line."""
FEWEST_DF = 2
"""Optima that a law of more than N needs beyond its constants: with four sizes two constants are the most that can be judged."""
TIED = 0.999
"""Correlation of two regressors from which their effects cannot be told apart."""

BEYOND = 700.0
"""ln units up to which there is a number."""
TOO_WIDE = "no interval: the optima are so uncertain that its ends are beyond all numbers"

Form = Literal["N", "N+D", "N+B", "C"]
FORMS: Mapping[Form, tuple[Quantity, ...]] = {
    "N": ("n_params",),
    "N+D": ("n_params", "tokens"),
    "N+B": ("n_params", "batch_tokens"),
    "C": ("compute",),
}
"""What a law of each form reads: parameters N, training tokens D, tokens a step B, FLOPs C = 6 N D."""


class NoNumber(InputError):
    """What a law says of a model is too large or too small for a number: its exponents are made of noise."""


@dataclass(frozen=True)
class LawFit:
    """A power law in what its form reads over `used`: random effects where their errors are known, else least squares."""

    form: Form
    slopes: Mapping[Quantity, float]
    intercept: float
    line: LineFit | None
    """Errors and scatter of the line; None with two optima."""
    used: tuple[Optimum, ...]
    definitions: Definitions | None = None
    tau_prior: float | None = None
    """Scale of the half-normal prior on the scatter between sizes, ln units; None: no prior."""

    @property
    def slope(self) -> float:
        """Of the law's first quantity: that in ln N, or of a law of C that in ln C."""
        return self.slopes[FORMS[self.form][0]]

    @property
    def n_range(self) -> tuple[float, float]:
        sizes = [optimum.n_params for optimum in self.used]
        return min(sizes), max(sizes)

    @property
    def df(self) -> int:
        return len(self.used) - len(self.slopes) - 1

    @property
    def method(self) -> str:
        return "ols_log_log" if errors_of(self.used) is None else "random_effects"

    @property
    def prior(self) -> str | None:
        return None if self.tau_prior is None else f"half-normal on tau, scale {self.tau_prior:g}"

    @property
    def cov(self) -> tuple[tuple[float, ...], ...] | None:
        """Covariance of the slopes, then the intercept; None without scatter to take it from."""
        return None if self.no_interval or self.line is None else self.line.cov

    @property
    def se_slopes(self) -> Mapping[Quantity, float | None]:
        cov = self.cov
        return {quantity: None if cov is None else sqrt(cov[place][place]) for place, quantity in enumerate(self.slopes)}

    @property
    def se_slope(self) -> float | None:
        """Of the law's first quantity."""
        return self.se_slopes[FORMS[self.form][0]]

    @property
    def se_intercept(self) -> float | None:
        return None if self.cov is None else sqrt(self.cov[-1][-1])

    @property
    def residual_sd(self) -> float | None:
        """SD of the optima around the line, ln units; None with two optima."""
        return None if self.line is None else self.line.residual_sd

    @property
    def tau(self) -> float | None:
        """SD between sizes: the scatter that the optima's own errors leave; None where those are unknown."""
        return None if self.line is None or errors_of(self.used) is None else self.line.scatter

    @property
    def formula(self) -> str:
        """η = exp(−0.4214 ln N − 0.5535)"""
        terms = [f"{slope:.4f} ln {SYMBOLS[quantity]}" for quantity, slope in self.slopes.items()]
        said = " + ".join([*terms, f"{self.intercept:.4f}"]).replace("+ -", "- ")
        return f"η = exp({said})".replace("-", "−")

    def lr(self, n_params: float | None = None, **others: float | None) -> float:
        """Best rate; a law of more than N needs `tokens`, `batch_tokens` or `compute` too."""
        return self._rate(self.place({"n_params": n_params, **others}))

    def interval(self, n_params: float | None = None, *, level: float = LEVEL, **others: float | None) -> tuple[float, float] | None:
        """Prediction interval of the optimum of one such model; None without scatter to build it from, and where an end is no number."""
        return self._interval(self.place({"n_params": n_params, **others}), level=level)

    def predict(
        self,
        n_params: float | None = None,
        *,
        tokens: float | None = None,
        batch_tokens: float | None = None,
        compute: float | None = None,
        level: float = LEVEL,
    ) -> Prediction:
        asked: dict[Quantity, float | None] = {
            "n_params": n_params,
            "tokens": tokens,
            "batch_tokens": batch_tokens,
            "compute": compute,
        }
        given = {quantity: positive(value, what=quantity) for quantity, value in asked.items() if value is not None}
        place = self.place(given)
        rate, interval = self._rate(place), self._interval(place, level=level)
        regret, regret_note = self._regret(place, rate=rate, interval=interval)
        decades = {
            quantity: decades_outside(exp(ln_value), self.range_of(quantity)) or 0.0
            for quantity, ln_value in zip(self.slopes, place, strict=True)
        }
        far = [note for quantity, out in decades.items() for note in self._range_note(quantity, out)]
        read = {*self.slopes, *(("n_params", "tokens") if self.form == "C" and compute is None else ())}
        return Prediction(
            n_params=given.get("n_params"),
            lr=rate,
            interval=interval,
            level=level if interval else None,
            kind="prediction" if interval else None,
            extrapolation_decades=max(decades.values()),
            regret=regret,
            regret_note=regret_note,
            weight_decay=decay_for(rate),
            notes=(
                *unread_notes({quantity: given.get(quantity) for quantity in asked}, reads={"n_params", *read}),
                *((self.no_interval or TOO_WIDE,) if interval is None else ()),
                *far,
                f"weight decay is MM1's {WEIGHT_DECAY_RATIO:g} of the rate, not fitted",
            ),
            tokens=given.get("tokens"),
            compute=exp(place[0]) if self.form == "C" else given.get("compute"),
            batch_tokens=given.get("batch_tokens"),
        )

    def range_of(self, quantity: Quantity) -> tuple[float, float]:
        values = [_of(optimum, quantity) for optimum in self.used]
        return min(values), max(values)

    @property
    def no_interval(self) -> str:
        """Why there is no interval; empty where there is one."""
        if self.line is None:
            return "no interval: two optima always lie on a line, a third is needed"
        if self.line.residual_sd < ON_A_LINE and errors_of(self.used) is None:
            return "no interval: the optima lie exactly on a line, so there is no scatter to build one from"
        return ""

    def _range_note(self, quantity: Quantity, decades: float) -> tuple[str, ...]:
        notes = extrapolation_notes(decades, self.range_of(quantity), quantity=quantity)
        return notes if quantity == "n_params" else tuple(f"{SYMBOLS[quantity]} {note}" for note in notes)

    def place(self, given: Mapping[Any, float | None]) -> list[float]:
        """ln of what the law reads, in its order."""
        known = {quantity: value for quantity, value in given.items() if value is not None}
        if self.form == "C" and "compute" not in known and {"n_params", "tokens"} <= known.keys():
            known["compute"] = 6.0 * float(known["n_params"]) * float(known["tokens"])
        if lacking := [quantity for quantity in self.slopes if quantity not in known]:
            named = " and ".join(f"{OPTIONS[quantity]} ({SYMBOLS[quantity]})" for quantity in lacking)
            instead = ", or --params and --tokens for C = 6 N D" if "compute" in lacking else ""
            raise InputError(f"a law of the form {self.form} needs {named}{instead}")
        return [log(positive(known[quantity], what=quantity)) for quantity in self.slopes]

    def _at(self, place: Sequence[float]) -> float:
        return float(np.dot(list(self.slopes.values()), place)) + self.intercept

    def _rate(self, place: Sequence[float]) -> float:
        ln_rate = self._at(place)
        if abs(ln_rate) > BEYOND:
            raise NoNumber(f"the law's rate there is exp({ln_rate:.4g}), which is no number: its runs do not determine it")
        return exp(ln_rate)

    def _interval(self, place: Sequence[float], *, level: float) -> tuple[float, float] | None:
        if self.no_interval or self.line is None:
            return None
        low, high = self.line.interval(place, level=level, kind="prediction")
        return (exp(low), exp(high)) if max(abs(low), abs(high)) <= BEYOND else None

    def _regret(
        self, place: Sequence[float], *, rate: float, interval: tuple[float, float] | None
    ) -> tuple[tuple[float | None, float | None] | None, str]:
        """With the curvature of the nearest size, as if it held there, and why an end has none: its curve says nothing of rates, be it the
        law's own or the interval's end, that were not tried there."""
        nearest = min(zip(self.used, ln_table(self.used, self.form), strict=True), key=lambda pair: dist(pair[1], place))[0]
        if interval is None or nearest.curvature is None or nearest.tried is None:
            return None, ""
        low, high = nearest.tried
        ends = [nearest.curvature * log(end / rate) ** 2 if low <= min(end, rate) <= max(end, rate) <= high else None for end in interval]
        note = f"{OUTSIDE} at {size_label(nearest.n_params)}, {rate_label(low)} to {rate_label(high)}" if None in ends else ""
        return (None if ends == [None, None] else (ends[0], ends[1])), note


def fit_power_law(
    optima: Iterable[Optimum], *, form: Form = "N", definitions: Definitions | None = None, tau_prior: float | None = None
) -> LawFit:
    """Over the optima that have a rate; the others are left out. Refused where they cannot tell the form's constants.

    `tau_prior` narrows the interval by what is believed of the scatter between sizes (0.15 from Step Law's public runs, 0.3 to be
    careful); it needs the optima's own errors.
    """
    if form not in FORMS:
        raise InputError(f"form: unknown '{form}' ({', '.join(FORMS)}){did_you_mean(form, FORMS)}")
    used = tuple(optimum for optimum in optima if optimum.lr is not None)
    sizes = {optimum.n_params for optimum in used}
    if len(sizes) < 2 or len({optimum.cell for optimum in used}) < len(used):
        raise InputError(f"{len(used)} optima at {len(sizes)} sizes: a law needs one optimum at each of two sizes or more")
    if reason := cannot_fit(used, form=form):
        raise InputError(reason)
    errors = errors_of(used)
    if tau_prior is not None:
        positive(tau_prior, what="tau_prior")
        if errors is None:
            raise InputError("tau_prior: a prior on the scatter between sizes needs the error of each optimum (se_ln), and one has none")
    x, y = ln_table(used, form), [log(optimum.lr or 1.0) for optimum in used]
    if len(used) == 2:
        (first,), (second,) = x
        slope = (y[1] - y[0]) / (second - first)
        return LawFit(form, {FORMS[form][0]: slope}, y[0] - slope * first, None, used, definitions)
    line = fit_line(x, y, errors=errors, tau_prior=tau_prior)
    return LawFit(form, dict(zip(FORMS[form], line.slopes, strict=True)), line.intercept, line, used, definitions, tau_prior)


def cannot_fit(used: Sequence[Optimum], *, form: Form) -> str:
    """Why these optima say nothing of a law of this form; empty where they do."""
    needs = {"C": ("tokens",)}.get(form, FORMS[form][1:])
    if lacking := [name for name in needs if any(getattr(optimum, name) is None for optimum in used)]:
        return f"form {form}: needs the column {' and '.join(lacking)} for every run; a study says with law.{lacking[0]} which it is"
    if len(FORMS[form]) > 1 and len(used) - len(FORMS[form]) - 1 < FEWEST_DF:
        constants = len(FORMS[form]) + 1
        return f"form {form}: {len(used)} optima cannot judge {constants} constants; it needs {constants + FEWEST_DF}"
    table = np.array(ln_table(used, form))
    for place, quantity in enumerate(FORMS[form]):
        if np.ptp(table[:, place]) < 1e-9:
            return f"form {form}: {SYMBOLS[quantity]} is the same in all runs, so its effect is not known"
    if len(FORMS[form]) > 1 and abs(float(np.corrcoef(table.T)[0, 1])) > TIED:
        first, second = (SYMBOLS[quantity] for quantity in FORMS[form])
        return f"form {form}: {second} goes with {first} in these runs, so their effects cannot be told apart; vary one at a fixed other"
    return ""


class LeftOut(NamedTuple):
    """The largest size's optimum beside what the smaller ones say of it: a weak check, since both scatter."""

    n_params: float
    predicted: float
    interval: tuple[float, float] | None
    """None where two sizes are left."""
    found: float
    ln_error: float
    """ln(found / predicted)."""

    def to_json(self) -> dict[str, Any]:
        return self._asdict() | {"interval": None if self.interval is None else list(self.interval)}


def leave_largest_out(fit: LawFit) -> LeftOut | None:
    """The law of all sizes but the largest, asked of that one (of its longest run);
    None where they are too few for the form, or say no number."""
    largest = max(fit.used, key=lambda optimum: (optimum.n_params, optimum.tokens or 0.0, optimum.batch_tokens or 0.0))
    rest = [optimum for optimum in fit.used if optimum.n_params < largest.n_params]
    if len({optimum.n_params for optimum in rest}) < 2 or cannot_fit(rest, form=fit.form):
        return None
    smaller, found = fit_power_law(rest, form=fit.form, tau_prior=fit.tau_prior if len(rest) > 2 else None), largest.lr or 0.0
    at: dict[str, Any] = {"n_params": largest.n_params, "tokens": largest.tokens, "batch_tokens": largest.batch_tokens}
    try:
        predicted = smaller.lr(**at)
    except NoNumber:
        return None
    error = log(found) - log(predicted)
    return LeftOut(largest.n_params, predicted, smaller.interval(**at), found, error) if abs(error) <= BEYOND else None


def ln_table(optima: Sequence[Optimum], form: Form) -> list[list[float]]:
    """ln of what the form reads, one row an optimum."""
    return [[log(_of(optimum, quantity)) for quantity in FORMS[form]] for optimum in optima]


def _of(optimum: Optimum, quantity: Quantity) -> float:
    match quantity:
        case "n_params":
            return optimum.n_params
        case "tokens":
            return optimum.tokens or float("nan")
        case "batch_tokens":
            return optimum.batch_tokens or float("nan")
        case "compute":
            return 6.0 * optimum.n_params * (optimum.tokens or float("nan"))


def errors_of(optima: Iterable[Optimum]) -> list[float] | None:
    """Standard errors of ln lr; None where one is not known, or all are nothing."""
    errors = [optimum.se_ln for optimum in optima]
    known = [error or 0.0 for error in errors]
    return None if None in errors or max(known) < ON_A_LINE else known
