"""Losses of runs at several sizes and token counts become one law, L = E + A / N^alpha + B / D^beta, and what it says compute buys.

Fitted as Hoffmann et al. 2022 (arXiv 2203.15556, approach 3) did and Besiroglu et al. 2024 (2404.10102) put right: the Huber loss of the
residuals of ln L, **summed** (a mean lets the optimiser stop early), minimised over ln E, ln A, ln B, alpha and beta, with which
ln L is a log-sum-exp. The order of the rows changes nothing. N and D count what the caller's columns count: say which beside the constants.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import exp, log, sqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ablate.analysis.laws import decades_outside, extrapolation_notes, positive, size_label
from ablate.analysis.loss_fit import (
    CONSTANTS,
    MAX_EXPONENT,
    NO_EXPONENT,
    Floats,
    Runs,
    arranged,
    best_fit,
    constants,
    descend,
    enough,
    far_from,
    fewest_tokens,
    misfit,
    objective,
    read_runs,
    take,
)
from ablate.errors import InputError

Interval = tuple[float, float]

MOVED = 0.1
"""Relative move of an exponent without those rows from which on it is warned of. Epoch's beta moves by 0.24 because of 5 rows of 245."""
LEVEL = 0.95
EXACT = 1e-7
"""Residual SD of ln L up to which the runs have no noise that a bootstrap could show."""
NO_RESAMPLES = "no interval: fitted without a bootstrap"
NO_SPLIT = "alpha and beta are both 0: no term of the law falls with N or D"
BEYOND = 600.0
"""ln N of a best size that is none: 1e260, where exponents all but 0 end up."""
LEAST_RESAMPLES = 20
"""Fewer give no interval."""
RESAMPLED = 10
"""Rows from which on a bootstrap says something: of six rows the only resample that five constants fit is the six themselves."""


@dataclass(frozen=True)
class Spread:
    """How far a constant moves from one bootstrap resample of the rows to the next."""

    se: float
    """SD over the resamples; of A and B, whose spread is skewed, the interval says more."""
    interval: tuple[float, float]
    """2.5 % and 97.5 % points."""


@dataclass(frozen=True)
class Robustness:
    """The law without the rows that have the fewest tokens per parameter."""

    rows_left_out: int
    ratio: float
    """D / N up to which rows were left out."""
    alpha: float
    beta: float

    @property
    def a(self) -> float | None:
        return _share(self.beta, self.alpha)


class Allocation(NamedTuple):
    n_params: float
    tokens: float


@dataclass(frozen=True)
class Budget:
    """The best split of a compute budget. Intervals: 95 % of the resamples; None where they say nothing, `notes` say why."""

    compute: float
    """FLOPs."""
    n_params: float | None
    """None, as `tokens` and `loss`, where the law has no optimum."""
    n_interval: Interval | None
    tokens: float | None
    token_interval: Interval | None
    loss: float | None
    """At that N and D, in the metric's unit."""
    loss_interval: Interval | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return _listed(asdict(self))


@dataclass(frozen=True)
class LossAt:
    """The law's loss at one N and D. The interval is that of the law, 95 % of the resamples; one run scatters around it by `run_sd`."""

    n_params: float
    tokens: float
    loss: float
    interval: Interval | None
    run_sd: float
    """Residual SD of the fit, in the metric's unit."""
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return _listed(asdict(self))


@dataclass(frozen=True)
class LossLaw:
    """L = E + A / N^alpha + B / D^beta: E, A, B in the metric's unit with N parameters and D tokens as counts."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    spread: Mapping[str, Spread] | None
    """By constant, and for the exponent `a` unless too few resamples have one; None without a bootstrap."""
    bootstrap: int
    """Resamples behind `spread`."""
    robustness: Robustness | None
    """None where too few rows are left to fit without the lowest."""
    n_range: tuple[float, float]
    token_range: tuple[float, float]
    rows: int
    residual_sd: float
    """Root mean square of the residuals of ln L over rows - 5 degrees of freedom: about the relative error of a loss."""
    objective: float
    """Sum of the Huber losses of the residuals of ln L; comparable only at the same `delta`."""
    delta: float
    metric: str
    warnings: tuple[str, ...]
    resamples: tuple[Mapping[str, float], ...] = field(repr=False, compare=False)
    """The constants of each resample."""

    @property
    def a(self) -> float | None:
        """Exponent of the best N: N_opt ~ C^a; None where alpha and beta are both 0."""
        return _share(self.beta, self.alpha)

    @property
    def b(self) -> float | None:
        """Exponent of the best D: D_opt ~ C^b; None as `a`."""
        return _share(self.alpha, self.beta)

    @property
    def formula(self) -> str:
        return f"L = {self.E:.4g} + {self.A:.4g} / N^{self.alpha:.4f} + {self.B:.4g} / D^{self.beta:.4f}"

    def loss(self, n_params: float, tokens: float) -> float:
        """Inside the runs' ranges or not: `notes` says which."""
        size, horizon = positive(n_params, what="n_params"), positive(tokens, what="tokens")
        return float(self.E + self.A * size**-self.alpha + self.B * horizon**-self.beta)

    def optimal(self, compute: float, *, flops_per_param_token: float = 6.0) -> Allocation:
        """The N and D of the lowest loss among those with flops_per_param_token * N * D = compute (FLOPs); Hoffmann et al., equation 4."""
        budget = positive(compute, what="compute") / positive(flops_per_param_token, what="flops_per_param_token")
        gone = [name for name in ("A", "B", "alpha", "beta") if not getattr(self, name) > NO_EXPONENT]
        if gone:
            why = f"{', '.join(gone)} came out as 0, so the loss does not depend on both N and D; fit runs that vary them more"
            raise InputError(f"no optimum: {why}")
        balance = log(self.alpha) + log(self.A) - log(self.beta) - log(self.B)
        size = (balance + self.beta * log(budget)) / (self.alpha + self.beta)
        if abs(size) > BEYOND:
            raise InputError(f"no optimum: with alpha {self.alpha:.2g} and beta {self.beta:.2g} it lies beyond all sizes")
        return Allocation(exp(size), budget / exp(size))

    def notes(self, n_params: float, tokens: float) -> tuple[str, ...]:
        """How far a point lies outside the runs of the fit, one line for each of N and D; nothing inside."""
        points = (("n_params", n_params, self.n_range), ("tokens", tokens, self.token_range))
        return tuple(
            f"{name} {size_label(value)}: {note}"
            for name, value, known in points
            for note in extrapolation_notes(decades_outside(positive(value, what=name), known), known)
        )

    def budget(self, compute: float, *, flops_per_param_token: float = 6.0) -> Budget:
        """`optimal` with the loss there, how sure the resamples are of all three, and how far outside the runs it lies."""
        positive(compute, what="compute"), positive(flops_per_param_token, what="flops_per_param_token")
        try:
            best = self.optimal(compute, flops_per_param_token=flops_per_param_token)
        except InputError as error:
            return Budget(compute, None, None, None, None, None, None, (str(error),))
        found = []
        for law in self._resampled():
            try:
                there = law.optimal(compute, flops_per_param_token=flops_per_param_token)
            except InputError:
                continue
            found.append((*there, law.loss(*there)))
        lost = len(self.resamples) - len(found)
        sure = bool(found) and lost <= (1 - LEVEL) / 2 * len(self.resamples)
        sizes, horizons, losses = (_interval(column) for column in zip(*found, strict=True)) if sure else (None, None, None)
        notes = [*self.notes(*best)]
        if not sure:
            notes.append(f"no interval: {lost} of {len(self.resamples)} resamples have no optimum" if found or lost else NO_RESAMPLES)
        return Budget(compute, best.n_params, sizes, best.tokens, horizons, self.loss(*best), losses, tuple(notes))

    def at(self, n_params: float, tokens: float) -> LossAt:
        """`loss` with an interval and notes."""
        loss, found = self.loss(n_params, tokens), [law.loss(n_params, tokens) for law in self._resampled()]
        notes = self.notes(n_params, tokens) + (() if found else (NO_RESAMPLES,))
        return LossAt(float(n_params), float(tokens), loss, _interval(found) if found else None, self.residual_sd * loss, notes)

    def to_json(self) -> dict[str, Any]:
        plain = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("spread", "robustness", "resamples")}
        spread = {name: _listed(asdict(found)) for name, found in (self.spread or {}).items()} or None
        robustness = self.robustness and asdict(self.robustness) | {"a": self.robustness.a}
        return _listed(plain) | {"formula": self.formula, "spread": spread, "robustness": robustness, "a": self.a, "b": self.b}

    def _resampled(self) -> "list[LossLaw]":
        return [replace(self, **dict[str, Any](drawn)) for drawn in self.resamples]


def _share(part: float, other: float) -> float | None:
    return part / (part + other) if max(part, other) > NO_EXPONENT else None


def _listed(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


def _interval(values: Sequence[float]) -> Interval:
    low, high = np.quantile(np.asarray(values, dtype=float), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def fit_loss_law(
    frame: pd.DataFrame,
    *,
    metric: str = "loss",
    n_params: str = "n_params",
    tokens: str = "tokens",
    delta: float = 1e-3,
    bootstrap: int = 0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> LossLaw:
    """From one row a run (parameters, training tokens, final loss) to the law; `bootstrap` resamples of the rows say how sure it is.

    `progress` hears how many of them are done, about 0.015 s each whether of 20 or of 245 rows.
    """
    if bootstrap < 0 or 0 < bootstrap < LEAST_RESAMPLES:
        least = f"ask for none (0) or for at least {LEAST_RESAMPLES}, better 1000"
        raise InputError(f"bootstrap: {bootstrap} resamples give no interval; {least}")
    positive(delta, what="delta")
    runs = read_runs(frame, metric=metric, n_params=n_params, tokens=tokens)
    if bootstrap and len(runs.y) < RESAMPLED:
        raise InputError(
            f"bootstrap: {len(runs.y)} rows resample to hardly anything new; fit without one or bring at least {RESAMPLED} runs"
        )
    best = best_fit(runs, delta=delta)
    law = constants(best, runs)
    robustness = _robustness(runs, delta=delta)
    residuals = misfit(best, runs)[0]
    resamples = _resampled(runs, best, delta=delta, count=bootstrap, seed=seed, progress=progress) if bootstrap else []
    spread = spread_of(resamples) if resamples else None
    residual_sd = sqrt(float(residuals @ residuals) / (len(runs.y) - len(CONSTANTS)))
    return LossLaw(
        E=law["E"],
        A=law["A"],
        B=law["B"],
        alpha=law["alpha"],
        beta=law["beta"],
        spread=spread,
        bootstrap=bootstrap,
        robustness=robustness,
        n_range=(float(runs.n.min()), float(runs.n.max())),
        token_range=(float(runs.d.min()), float(runs.d.max())),
        rows=len(runs.y),
        residual_sd=residual_sd,
        objective=objective(best, runs, delta)[0] * delta**2,
        delta=delta,
        metric=metric,
        warnings=(
            *far_from(runs, residuals, metric=metric),
            *_warnings(runs, law, robustness, spread),
            *without_a(law, robustness, resamples),
            *_exact(residual_sd, spread),
        ),
        resamples=tuple(resamples),
    )


def _robustness(runs: Runs, *, delta: float) -> Robustness | None:
    lowest = fewest_tokens(runs)
    kept = np.setdiff1d(np.arange(len(runs.y)), lowest)
    if not enough(runs, kept):
        return None
    theta = best_fit(arranged(np.stack([runs.n, runs.d, np.exp(runs.y)])[:, kept]), delta=delta)
    return Robustness(len(lowest), float((runs.d / runs.n)[lowest].max()), alpha=float(theta[3]), beta=float(theta[4]))


def _resampled(
    runs: Runs, best: Floats, *, delta: float, count: int, seed: int, progress: Callable[[int], None] | None
) -> list[dict[str, float]]:
    """The constants of each resample, descended to from the full fit and from a tenth of it away; what no law fits is redrawn."""
    rng = np.random.default_rng(seed)
    away = best + np.array([-0.1, 0.1, 0.1, 0.1 * best[3], 0.1 * best[4]])
    fits: list[dict[str, float]] = []
    for _ in range(10 * count):
        if len(fits) == count:
            return fits
        rows = np.sort(rng.integers(len(runs.y), size=len(runs.y)))
        if enough(runs, rows):
            drawn = take(runs, rows)
            found = [descend(start, drawn, delta=delta) for start in (best, away)]
            fits.append(constants(min(found, key=lambda theta: objective(theta, drawn, delta)[0]), drawn))
            if progress:
                progress(len(fits))
    if len(fits) < count:
        raise InputError(
            "bootstrap: most resamples hold one N or one D only; fit without a bootstrap or add runs at other sizes and tokens"
        )
    return fits


def spread_of(fits: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    table = pd.DataFrame(fits)
    split = [_share(fit["beta"], fit["alpha"]) for fit in fits]
    columns = {str(name): values for name, values in table.items()} | {"a": pd.Series([a for a in split if a is not None], dtype=float)}
    low, high = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    return {
        name: Spread(float(values.std(ddof=1)), (float(values.quantile(low)), float(values.quantile(high))))
        for name, values in columns.items()
        if len(values) >= LEAST_RESAMPLES
    }


def without_a(law: Mapping[str, float], robustness: Robustness | None, fits: Sequence[Mapping[str, float]]) -> list[str]:
    """Where the exponent of the best N is not there."""
    found = [f"no exponents a and b: {NO_SPLIT}"] if _share(law["beta"], law["alpha"]) is None else []
    if robustness and robustness.a is None:
        found.append(f"no exponent a without the rows of the lowest D / N: {NO_SPLIT}")
    if lost := sum(_share(fit["beta"], fit["alpha"]) is None for fit in fits):
        some = "is that of the others" if len(fits) - lost >= LEAST_RESAMPLES else "is not shown: the others are too few"
        found.append(f"in {lost} of {len(fits)} resamples alpha and beta are both 0: the interval of a {some}")
    return found


def _exact(residual_sd: float, spread: Mapping[str, Spread] | None) -> list[str]:
    if spread is None or residual_sd > EXACT:
        return []
    return [
        f"the runs lie on the law up to rounding ({residual_sd:.1g} of the loss): without noise its intervals say nothing of other runs"
    ]


def _warnings(runs: Runs, law: Mapping[str, float], robustness: Robustness | None, spread: Mapping[str, Spread] | None) -> list[str]:
    found = []
    if (rows := len(runs.y)) < 20:
        found.append(f"{rows} rows for 5 constants: exponents from so few runs move a lot with one more")
    spans = {name: float(values.max() / values.min()) for name, values in (("D / N", runs.d / runs.n), ("N", runs.n), ("D", runs.d))}
    weak = {"D / N": "what N and what D does is hardly told apart; add runs with fewer and with more tokens a parameter"}
    for name, span in spans.items():
        if span < 10:
            found.append(f"{name} spans only a factor of {span:.2g}: {weak.get(name, 'its exponent rests on less than one decade')}")
    found.extend(f"{name} came out as 0: the runs do not show this term" for name in ("E", "A", "B") if law[name] == 0)
    for name in ("alpha", "beta"):
        if not NO_EXPONENT < law[name] < MAX_EXPONENT - NO_EXPONENT:
            found.append(f"{name} = {law[name]:.3g} lies at its bound (0 to {MAX_EXPONENT:g}): the runs do not determine it")
    if robustness is None:
        found.append("robustness not shown: without the rows of the lowest D / N too few are left for a fit")
        return found
    moves = [(name, law[name], getattr(robustness, name)) for name in ("alpha", "beta")]
    if any(abs(after - before) > max(MOVED * before, 1e-3) for _, before, after in moves):
        said = ", ".join(f"{name} {before:.3f} to {after:.3f}" for name, before, after in moves)
        count = robustness.rows_left_out
        found.append(f"not robust: without the {count} of {rows} rows with D / N up to {robustness.ratio:.3g} the law moves: {said}")
    if spread and "a" in spread and spread["a"].interval[1] - spread["a"].interval[0] > 0.2:
        low, high = spread["a"].interval
        found.append(f"the exponent a of the best N lies anywhere from {low:.2f} to {high:.2f}: too wide to split a budget by")
    return found
