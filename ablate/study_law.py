"""A study's runs, or those of a CSV, meet the analysis of laws: the fit, what it says of a large run, and which runs to make next."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from ablate.analysis.law_fit import FORMS, Form
from ablate.analysis.laws import COUNTS, Definitions, Recipe
from ablate.analysis.lr_law import TARGET, LawReport, fit_points, fit_runs
from ablate.errors import InputError, did_you_mean
from ablate.explain import explain
from ablate.marked_yaml import read
from ablate.results import LawRuns, law_runs
from ablate.stores import Store, TrialRecord, find_study
from ablate.study import READS, Law, LawDefinitions, Study
from ablate.tables import finished_rows, naming, read_csv, sense

NO_LAW = (
    "the study '{name}' declares no law; add `law: {{hyperparameter: AXIS}}` with the learning rate's axis to its file and run it again"
)


@dataclass(frozen=True)
class Asked:
    """What a person wants of a law beside the runs; None is the study's own, or the default."""

    target: float | None = None
    """Size to predict for, parameters."""
    tokens: float | None = None
    batch_tokens: float | None = None
    compute: float | None = None
    """What a law of more than N reads at the target."""
    form: str | None = None
    tau_prior: float | None = None
    """Scale of a half-normal prior on the scatter between sizes, ln units."""
    definitions: Path | None = None
    """File with what the numbers mean, for runs whose study does not say it."""

    @property
    def at(self) -> dict[str, float]:
        others = {"tokens": self.tokens, "batch_tokens": self.batch_tokens, "compute": self.compute}
        return {name: value for name, value in others.items() if value is not None}


def fit_study_law(store: Store, name: str, asked: Asked | None = None) -> LawReport:
    """The law of a study that declares one. Raises InputError where it does not, or has too little to fit."""
    record = find_study(store, name)
    study = Study.model_validate(record.spec)
    if study.law is None:
        raise InputError(NO_LAW.format(name=name))
    trials, asked = store.trials(name), asked or Asked()
    law = study.law if asked.form is None else _reading(study.law, form=form_of(asked.form), trials=trials, name=name)
    return _fit(study, law_runs(trials, law=law, metric=study.metric.name, axes=record.axes), asked)


def _reading(law: Law, *, form: Form, trials: Sequence[TrialRecord], name: str) -> Law:
    """The law with the column that a form asked for by hand reads: where its file names none, the axis or metric of that very name."""
    column = READS.get(form)
    if column is None or getattr(law, column) is not None:
        return law
    if not any(column in row.levels or column in row.metrics for row in trials):
        said = f"the study '{name}' has no axis or metric of that name; say in its file which it is: law.{column}"
        raise InputError(f"--form {form} reads {column}: {said}")
    return law.model_copy(update={column: column})


def law_so_far(study: Study, runs: LawRuns | None) -> tuple[LawReport | None, str]:
    """The law, or why there is none yet."""
    if study.law is None or runs is None:
        return None, NO_LAW.format(name=study.name)
    try:
        report = _fit(study, runs, Asked())
        report.to_json()  # what it works out only when it is asked can fail as well
    except InputError as error:
        return None, str(error)
    except (ArithmeticError, ValueError) as error:  # numbers no law is made of take nothing else of the study with them
        return None, f"no law: its runs' numbers cannot be computed with ({error})"
    return report, ""


def csv_law(path: Path, asked: Asked, *, metric: str = "loss", goal: str = "min", points: bool = False) -> LawReport:
    """The law of runs made elsewhere: `n_params, lr, seed, <metric>`, or known optima `n_params, eta`."""
    form, better = form_of(asked.form or "N"), sense(goal)
    meant = None if asked.definitions is None else read_definitions(asked.definitions, metric=metric)
    target, prior = TARGET if asked.target is None else asked.target, asked.tau_prior
    if points:
        frame, left_out = finished_rows(read_csv(path), path=path)
        with naming(path):
            report = fit_points(frame, target=target, at=asked.at, form=form, definitions=meant, tau_prior=prior)
        return replace(report, warnings=(*left_out, *report.warnings))
    frame = csv_law_runs(path, metric=metric)
    with naming(path):
        return fit_runs(frame, metric=metric, goal=better, target=target, at=asked.at, form=form, definitions=meant, tau_prior=prior)


def csv_law_runs(path: Path, *, metric: str) -> pd.DataFrame:
    """The rows as a law reads them: how a run ended is its `status`."""
    return read_csv(path, metric=metric).rename(columns={"state": "status"})


def read_definitions(path: Path, *, metric: str) -> Definitions:
    """What a law's numbers mean, from a YAML file with the keys of a study's `law.definitions`."""
    try:
        document = read(path.read_bytes(), file=str(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    if document.problems:
        raise InputError(document.problems)
    values = document.values or {}
    try:
        written = LawDefinitions.model_validate(values)
    except ValidationError as error:
        raise InputError([document.marks.problem(fault) for fault in explain(error, LawDefinitions, values)]) from None
    return definitions_of(written, metric=metric)


def definitions_of(written: LawDefinitions, *, metric: str) -> Definitions:
    return Definitions(
        n_params=COUNTS[written.counts],
        counts=written.counts,
        batch=written.batch,
        horizon=written.horizon,
        schedule=written.schedule,
        weight_decay=written.weight_decay,
        metric=metric,
        recipe=Recipe(written.warmup_fraction, written.batch_tokens, written.tokens),
    )


def _fit(study: Study, runs: LawRuns, asked: Asked) -> LawReport:
    law, metric = study.law, study.metric
    assert law is not None
    if law.definitions and asked.definitions:
        raise InputError(f"--definitions {asked.definitions}: the study '{study.name}' says itself what its law's numbers mean")
    meant = definitions_of(law.definitions, metric=metric.name) if law.definitions else None
    if asked.definitions:
        meant = read_definitions(asked.definitions, metric=metric.name)
    report = fit_runs(
        runs.frame,
        metric=metric.name,
        goal=metric.goal,
        target=law.target if asked.target is None else asked.target,
        at=asked.at,
        form=form_of(asked.form or law.form),
        definitions=meant,
        tau_prior=asked.tau_prior,
    )
    held = [f"{axis} varies within a size and is no part of the law: only its runs at {level} count" for axis, level in runs.held.items()]
    return replace(report, warnings=(*held, *report.warnings))


def form_of(text: str) -> Form:
    for form in FORMS:
        if form == text:
            return form
    raise InputError(f"--form {text}: one of {', '.join(FORMS)}{did_you_mean(text, FORMS)}")
