"""What runs at several sizes, token counts or data mixes say: their loss law, their mixture law, and whether the small winner stays.

A study in the store or a CSV becomes one frame, a row a trial, and that frame meets `analysis`. Of a study only the axes that the question
is about vary: others stand at their baseline, and a warning says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.analysis.columns import all_numbers, require_columns
from ablate.analysis.laws import decades_outside, extrapolation_notes, positive, size_label
from ablate.analysis.loss_laws import RESAMPLED, Budget, LossAt, LossLaw, fit_loss_law
from ablate.analysis.mixture_forms import Form, Shape
from ablate.analysis.mixture_laws import MixtureLaw, fit_mixture_law
from ablate.analysis.mixture_optimum import BestMixture, check_resamples, limits_of
from ablate.analysis.published_losses import PUBLISHED_LOSSES
from ablate.analysis.size_report import SizeReport, compare_sizes
from ablate.errors import InputError, did_you_mean
from ablate.model import Level
from ablate.shares import read_shares
from ablate.study_runs import StudyRuns, moving_axes
from ablate.tables import finished_rows, read_csv, sense

BOOTSTRAP = 1000
MIX_RESAMPLES = 200
FORMS: dict[str, Form] = {"additive": "additive", "exponential": "exponential", "regmix": "linear", "joint": "joint"}
"""As the command line says them."""
AUTO = "auto"
"""The richest of `BY_RICHNESS` that leaves a degree of freedom."""
BY_RICHNESS = ("additive", "exponential", "regmix")
"""Forms of one size, those of more constants first."""
AT_OPTIONS = {"n_params": ("--params", "--n-params"), "tokens": ("--at-tokens", "--tokens")}
"""What a best mix can be sought at: the option that says the value, and that which names the column."""
FROM_FLOPS = "train_flops / 6 N"
Watch = Callable[[int, int], None]
"""Hears how many resamples are done, and of how many."""


@dataclass(frozen=True)
class Source:
    """What was read: a study or a file, and which of its columns."""

    name: str
    simulated: bool
    columns: Mapping[str, str]
    """n_params, tokens, ... -> the column or axis it was taken from."""

    def to_json(self) -> dict[str, Any]:
        return {"source": self.name, "simulated": self.simulated, "columns": dict(self.columns)}


@dataclass(frozen=True)
class LossReport:
    source: Source
    law: LossLaw
    budgets: tuple[Budget, ...]
    at: LossAt | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return self.source.to_json() | {
            "law": self.law.to_json() | {"warnings": list(self.warnings)},
            "budgets": [budget.to_json() for budget in self.budgets],
            "at": self.at and self.at.to_json(),
            "published": [law.to_json() for law in PUBLISHED_LOSSES.values()],
        }


@dataclass(frozen=True)
class MixtureReport:
    source: Source
    form: str
    law: MixtureLaw
    best: BestMixture
    at: Mapping[str, float]
    """n_params and tokens of the best mix, where the law has a term for them."""
    limits: Mapping[str, tuple[float, float]]
    warnings: tuple[str, ...]

    @property
    def undetermined(self) -> str:
        """Why no best mix may be named; empty where one may."""
        if self.law.left_out is not None:
            return ""
        return (
            f"no best mix is named: {self.law.mixtures} mixes determine the law only all together, so nothing says how far off it is; "
            "add two mixes or more, near those that did best"
        )

    def to_json(self) -> dict[str, Any]:
        return self.source.to_json() | {
            "form": self.form,
            "law": self.law.to_json() | {"form": self.form, "warnings": list(self.warnings)},
            "best": None if self.undetermined else self.best.to_json() | {"at": dict(self.at)},
            "undetermined": self.undetermined,
            "limits": {name: list(ends) for name, ends in self.limits.items()},
        }


@dataclass(frozen=True)
class ScalesReport:
    source: Source
    sizes: SizeReport

    def to_json(self) -> dict[str, Any]:
        return self.source.to_json() | self.sizes.to_json()


@dataclass(frozen=True)
class Rows:
    """One row a run, and what is to be known of them."""

    frame: pd.DataFrame
    source: Source
    notes: tuple[str, ...] = ()


def loss_report(
    rows: Rows,
    *,
    metric: str,
    bootstrap: int | None,
    budgets: Sequence[float] = (),
    at: tuple[float, float] | None = None,
    progress: Watch | None = None,
) -> LossReport:
    """`rows` hold `n_params`, `tokens` and the metric. `bootstrap` None: 1,000, or none below ten rows, and that is said."""
    columns = rows.source.columns
    frame, notes = rows.frame, list(rows.notes)
    if bootstrap is None:
        bootstrap = BOOTSTRAP if len(frame) >= RESAMPLED else 0
        if not bootstrap:
            notes.append(f"no spread of the constants: {len(frame)} rows resample to hardly anything new, {RESAMPLED} are needed")
    law = fit_loss_law(
        frame, metric=metric, n_params=columns["n_params"], tokens=columns["tokens"], bootstrap=bootstrap, progress=_of(bootstrap, progress)
    )
    found = tuple(law.budget(compute) for compute in budgets)
    return LossReport(rows.source, law, found, law.at(*at) if at else None, (*notes, *law.warnings))


def mixture_report(
    rows: Rows,
    *,
    sources: Sequence[str],
    metric: str,
    form: str,
    goal: str,
    limits: Mapping[str, tuple[float, float]],
    at: Mapping[str, float | None],
    resamples: int,
    progress: Watch | None = None,
) -> MixtureReport:
    """The law of the mix and its best mix; where the law has a term for a size that is not said, at the largest size of the runs."""
    problems = [problem for problem in [_unknown("--form", form, (AUTO, *FORMS))] if problem]
    form, why_form = richest_form(rows.frame, sources, sizes=tuple(rows.source.columns.values())) if form == AUTO else (form, "")
    problems += _said(lambda: sense(goal))
    problems += _said(lambda: check_resamples(resamples)) if resamples else []
    if len(set(sources)) < max(2, len(sources)):
        problems.append(f"--sources {','.join(sources)}: a mix needs two sources or more, each once")
    else:
        problems += _said(lambda: limits_of(sources, limits, called="--limit"))
    columns = rows.source.columns
    asked = {kind: value for kind, value in at.items() if value is not None}
    for kind, value in asked.items():
        option, naming = AT_OPTIONS[kind]
        problems += _said(partial(positive, value, what=option))
        if kind not in columns:
            problems.append(f"{option} {value:g}: the law reads no {kind}; name their column with {naming} COLUMN, or leave {option} out")
    laws: list[MixtureLaw] = []
    kind = FORMS.get(form, "additive")
    problems += _said(
        lambda: laws.append(
            fit_mixture_law(
                rows.frame,
                proportions=sources,
                metric=metric,
                form=kind,
                called=form,
                goal="max" if goal == "max" else "min",
                n_params=columns.get("n_params"),
                tokens=columns.get("tokens"),
            )
        )
    )
    if problems:
        raise InputError("\n".join(problems))
    (law,) = laws
    largest = {kind: float(all_numbers(rows.frame, [name])[name].max()) for kind, name in columns.items() if name in law.sizes}
    held = largest | {kind: value for kind, value in asked.items() if kind in largest}
    notes = [why_form] if why_form else []
    notes += [f"the best mix is that at the largest {kind} of the runs" for kind in held if kind not in asked and law.form == "joint"]
    notes += [f"{AT_OPTIONS[kind][0]} changes nothing: {columns[kind]} does not vary in the runs" for kind in asked if kind not in held]
    if not resamples:
        notes.append("no interval of the best mix: no resamples were asked for")
    for size, value in held.items():
        column = all_numbers(rows.frame, [columns[size]])[columns[size]]
        tried = float(column.min()), float(column.max())
        notes += [f"{columns[size]} {size_label(value)}: {note}" for note in extrapolation_notes(decades_outside(value, tried), tried)]
    best = law.best(
        bounds=limits, n_params=held.get("n_params"), tokens=held.get("tokens"), resamples=resamples, progress=_of(resamples, progress)
    )
    return MixtureReport(rows.source, form, law, best, held, limits, (*rows.notes, *notes, *law.warnings))


def richest_form(frame: pd.DataFrame, sources: Sequence[str], *, sizes: Sequence[str]) -> tuple[str, str]:
    """Of the forms whose constants these mixes determine with one degree of freedom or more that with most constants, and why; where sizes
    vary it is the additive one, which has a term for them."""
    if any(frame[column].nunique() > 1 for column in sizes if column in frame):
        return "additive", "form additive: chosen because it has a term for the sizes that vary"
    if any(source not in frame for source in sources):
        return BY_RICHNESS[0], ""  # the fit says which are missing
    mixes = len(frame[list(sources)].drop_duplicates())
    constants = {name: Shape(FORMS[name], len(sources), 0).of_mixture for name in BY_RICHNESS}
    form = next((name for name in BY_RICHNESS if mixes > constants[name]), BY_RICHNESS[-1])
    richer = [f"{name} has {constants[name]}" for name in BY_RICHNESS[: BY_RICHNESS.index(form)]]
    if mixes <= constants[form]:
        return form, f"form {form}: the one of fewest constants, {constants[form]}; none leaves a degree of freedom of {mixes} mixes"
    said = f"form {form}: the richest that leaves a degree of freedom of {mixes} mixes, with {constants[form]} constants"
    return form, said + (f" ({', '.join(richer)})" if richer else "")


def scales_report(rows: Rows, *, baseline: Level, metric: str, goal: str) -> ScalesReport:
    """`rows` hold `arm, n_params, seed`, the metric and optionally `state` and `compute`."""
    columns, why = rows.source.columns, "no column compute, and none of tokens to count 6 N D with"
    found = compare_sizes(
        rows.frame,
        baseline=baseline,
        metric=metric,
        goal=sense(goal),
        no_compute=columns.get("compute", why),
        notes=rows.notes,
        called=columns,
    )
    return ScalesReport(rows.source, found)


def csv_rows(path: Path, *, columns: Mapping[str, str] | None = None) -> Rows:
    frame, left_out = finished_rows(read_csv(path), path=path)
    return Rows(frame, Source(str(path), simulated=False, columns=columns or {}), left_out)


def csv_scales(path: Path, *, size: str, arm: str, baseline: str, metric: str, goal: str, compute: str) -> ScalesReport:
    """`arm, n_params, seed, <metric>`; compute from its column, else 6 N D in FLOPs where there is a column of tokens."""
    frame = read_csv(path, names=("arm", arm))
    problems = _said(lambda: require_columns(frame, [arm, size, "seed", metric, *([compute] if compute else [])]))
    known = list(dict.fromkeys(frame[arm].dropna())) if arm in frame else []
    there = f" (there: {', '.join(known)})" if known else ""
    if not baseline:
        problems.append(f"{path}: say with --baseline ARM which arm the others are compared with{there}")
    elif problems and known and baseline not in known:
        problems.append(f"no arm '{baseline}' to compare with{there}{did_you_mean(baseline, known)}")
    if problems:
        raise InputError("\n".join(problems))
    named = frame[[arm, size, "seed", metric]].set_axis(["arm", "n_params", "seed", metric], axis=1)
    if "state" in frame:
        named["state"] = frame["state"]
    used, notes = {"arm": arm, "n_params": size}, []
    if column := compute or ("compute" if "compute" in frame else "train_flops" if "train_flops" in frame else ""):
        named["compute"], used["compute"] = frame[column], column
    elif "tokens" in frame:
        read = all_numbers(frame, [size, metric, "tokens"])  # as floats: 6 N D of whole numbers would overflow
        named["compute"], used["compute"] = 6 * read[size] * read["tokens"], f"6 {size} tokens"
        notes.append(f"compute is 6 N D, from {size} and tokens")
    return scales_report(Rows(named, Source(str(path), False, used), tuple(notes)), baseline=baseline, metric=metric, goal=goal)


def study_losses(runs: StudyRuns, *, metric: str, n_params: str, tokens: str) -> Rows:
    """The finished trials at several sizes and token counts; tokens are train_flops / 6 N where no column says them."""
    frame, notes = runs.finished(metric)
    size = n_params or "num_params"
    horizon = tokens or ("tokens" if "tokens" in frame else FROM_FLOPS)
    frame[size] = runs.column(frame, size)
    if horizon == FROM_FLOPS:
        frame[horizon] = frame["train_flops"] / (6 * frame[size])
        notes.append(f"tokens are {FROM_FLOPS}, the trainer's FLOPs of all stages; --tokens names an axis, metric or field instead")
    else:
        frame[horizon] = runs.column(frame, horizon)
    known = runs.known(frame, {size: "--n-params", horizon: "--tokens"})
    kept = runs.at_baseline(known.frame, sizes=moving_axes(known.frame, runs.axes, [size, horizon]))
    source = Source(runs.name, runs.simulated, {"n_params": size, "tokens": horizon})
    return Rows(kept.frame, source, (*notes, *known.notes, *kept.notes))


def study_mixes(runs: StudyRuns, *, metric: str, sources: Sequence[str], n_params: str, tokens: str) -> tuple[Rows, tuple[str, ...]]:
    """The finished trials on several mixes, a column a source, and the sources in the order of the axis."""
    axis, named = _mix_axis(runs, sources)
    frame, notes = runs.finished(metric)
    shares = pd.DataFrame([read_shares(label, named) for label in frame[axis]], index=frame.index, columns=list(named))
    if clash := [name for name in named if name in frame]:
        frame = frame.drop(columns=clash)
    frame = pd.concat([frame, shares], axis=1)
    columns = {kind: column for kind, column in (("n_params", n_params), ("tokens", tokens)) if column}
    frame = frame.assign(**{column: runs.column(frame, column) for column in columns.values()})
    known = runs.known(frame, {column: AT_OPTIONS[kind][1] for kind, column in columns.items()})
    sizes = moving_axes(known.frame, runs.axes, list(columns.values())) - {axis} if columns else set()
    kept = runs.at_baseline(known.frame, sizes=sizes, others={axis})
    return Rows(kept.frame, Source(runs.name, runs.simulated, columns), (*notes, *known.notes, *kept.notes)), named


def mix_axes(forms: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The axes of data mixes with their sources. `forms`: axis -> as the study's file writes it."""
    return {name: tuple(form["simplex"]) for name, form in forms.items() if isinstance(form, Mapping) and "simplex" in form}


def _mix_axis(runs: StudyRuns, sources: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The axis of data mixes, and its sources; `sources` choose among several."""
    axes = mix_axes(runs.forms)
    listed = "; ".join(f"{name} of {', '.join(found)}" for name, found in axes.items())
    if not axes:
        raise InputError(f"the study '{runs.name}' has no axis of data mixes (a `simplex:`); its axes: {', '.join(runs.axes)}")
    fitting = [name for name, found in axes.items() if not sources or set(found) == set(sources)]
    if not fitting:
        known = [source for found in axes.values() for source in found]
        hints = "".join(did_you_mean(source, known) for source in sources if source not in known)
        raise InputError(f"--sources {','.join(sources)}: no axis mixes just these (there: {listed}){hints}")
    if len(fitting) > 1:
        raise InputError(f"several axes of data mixes ({listed}): name the sources of one with --sources")
    return fitting[0], axes[fitting[0]]


def study_scales(runs: StudyRuns, *, size: str, arm: str, baseline: str, metric: str, goal: str, compute: str) -> ScalesReport:
    """Arms are the levels of one axis; the size is the baseline arm's, so that arms which add parameters are still compared at one size."""
    frame = runs.frame.copy()
    if metric not in frame:
        runs.column(frame, metric)  # says which there are
    chosen = runs.sizes_and_arms(size=size, arm=arm)
    kept = runs.at_baseline(frame, sizes=chosen.size_axes, others={chosen.arm_axis})
    frame, notes = kept.frame.copy(), list(kept.notes)
    labels = runs.axes[chosen.arm_axis]
    level: Level = labels[0]
    if baseline:
        found = [label for label in labels if str(label) == baseline]
        if not found:
            names = [str(label) for label in labels]
            raise InputError(f"--baseline {baseline}: no level of {chosen.arm_axis} ({', '.join(names)}){did_you_mean(baseline, names)}")
        level = found[0]
    frame["n_params"], differing = runs.size_of(frame, chosen, baseline=level)
    if differing:
        notes.append(f"N is that of {chosen.arm_axis} = {level} at each size; other arms differ from it by up to {differing:.2g} times")
    used = {"arm": chosen.arm_axis, "n_params": chosen.size}
    if lost := int(frame["n_params"].isna().sum()):
        where = f"the baseline {level} was not run at their {', '.join(chosen.size_axes)}, or its {chosen.size} is not known"
        notes.append(f"{lost} of {len(frame)} trials left out: {where}")
    frame = frame[frame["n_params"].notna()].assign(arm=frame[chosen.arm_axis])
    values = runs.column(frame, compute or "train_flops")
    if compute or (values > 0).all():
        frame["compute"], used["compute"] = values, compute or "train_flops"
    else:
        used["compute"] = "the trainer counts no train_flops of these trials"
    columns = ["arm", "n_params", "seed", "state", metric, *(["compute"] if "compute" in frame else [])]
    return scales_report(
        Rows(frame[columns], Source(runs.name, runs.simulated, used), tuple(notes)), baseline=level, metric=metric, goal=goal
    )


def _unknown(option: str, found: str, allowed: Sequence[str] | Mapping[str, Any]) -> str:
    return "" if found in allowed else f"{option} {found}: {', '.join(allowed)}{did_you_mean(found, allowed)}"


def _of(total: int, progress: Watch | None) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(done, total)


def _said(action: Callable[[], object]) -> list[str]:
    """What is wrong with it."""
    try:
        action()
    except InputError as error:
        return [str(error)]
    return []
