"""Trials of an Optuna study: suggested values are what was set, the objective what was measured, intermediate values its curve."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from ablate.errors import EnvironmentMissing, InputError, did_you_mean
from ablate.imports.choice import MANY
from ablate.imports.runs import STATES, Asked, Found, Run, State, clean, listed, said, without_credentials
from ablate.marked_yaml import visible

GOALS = {optuna.study.StudyDirection.MINIMIZE: "min", optuna.study.StudyDirection.MAXIMIZE: "max"}
ENDS: dict[Any, tuple[State, str]] = {
    optuna.trial.TrialState.COMPLETE: STATES["complete"],
    optuna.trial.TrialState.PRUNED: STATES["pruned"],
    optuna.trial.TrialState.FAIL: STATES["fail"],
    optuna.trial.TrialState.RUNNING: STATES["running"],
    optuna.trial.TrialState.WAITING: STATES["waiting"],
}


def read_optuna(asked: Asked) -> Found:
    """Raises InputError with what is wrong, or EnvironmentMissing where the storage cannot be asked."""
    shown = without_credentials(asked.source)
    url = _url(asked.source)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        # an empty database gets no tables
        storage = optuna.storages.RDBStorage(url, skip_table_creation=True)
        try:
            name = _name(storage, asked, shown=shown)
            study = optuna.load_study(study_name=name, storage=storage)
            return _found(study, asked, source=f"{shown}, study {clean(name)}")
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except InputError:
        raise
    except Exception as error:  # what Optuna, SQLAlchemy and the database's driver raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        message = without_credentials(first.replace(asked.source, shown))
        raise EnvironmentMissing(f"{shown}: Optuna's storage could not be read: {message}") from None
    finally:
        optuna.logging.set_verbosity(before)


def _url(source: str) -> str:
    """A storage URL; a path is a SQLite file."""
    if "://" in source and not source.startswith("sqlite:///"):
        return source
    path = Path(source.removeprefix("sqlite:///").partition("?")[0])
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; SOURCE is Optuna's storage: sqlite:///FILE, or the URL of another database")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT 1 FROM studies LIMIT 1").fetchone()
            connection.execute("SELECT 1 FROM trial_params LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise InputError(f"{path}: not a storage of Optuna: {error}") from None
    return f"sqlite:///{path.resolve()}"


def _name(storage: Any, asked: Asked, *, shown: str) -> str:
    names = [study.study_name for study in storage.get_all_studies()]
    if asked.experiment:
        if asked.experiment in names:
            return asked.experiment
        hint = did_you_mean(asked.experiment, names)
        raise InputError(f"{shown}: no study '{visible(asked.experiment)}' (there: {listed(names) or 'none'}){hint}")
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise InputError(f"{shown}: it holds no studies")
    raise InputError(f"{shown}: --experiment is missing: which study? ({listed(names)})")


def _found(study: Any, asked: Asked, *, source: str) -> Found:
    trials = study.get_trials(deepcopy=False)
    if not trials:
        raise InputError(f"{source}: it holds no trials")
    single = len(study.directions) == 1
    names = [clean(name) for name in study.metric_names or (["value"] if single else [f"value_{n}" for n in range(len(study.directions))])]
    problems = list[str]()
    if single and asked.metric and not study.metric_names:
        names = [asked.metric]  # it has no name there
    if not single and not asked.metric:
        problems.append(f"--metric is missing: which objective counts? ({', '.join(names)})")
    metric = asked.metric or names[0]
    for wanted in (metric, *asked.also):
        if wanted not in names:
            problems.append(f"no objective '{visible(wanted)}' ({', '.join(names)}){did_you_mean(wanted, names)}")
    goal = GOALS.get(study.directions[names.index(metric)], "") if metric in names else ""
    if asked.goal and goal and asked.goal != goal:
        problems.append(f"--goal {asked.goal}: the study's own direction is {goal}; leave --goal out")
    if problems:
        raise said(problems, about=source)
    runs = tuple(_run(trial, names, metric=metric) for trial in trials)
    settings = dict.fromkeys(clean(name) for trial in trials for name in trial.params)
    columns = tuple(dict.fromkeys((*settings, *(key for run in runs for key in run.config))))
    return Found("optuna", source, runs, columns, frozenset(settings), bounded=_bounded(trials), metric=metric, goal=goal)


def _bounded(trials: Sequence[Any]) -> dict[str, bool]:
    """Parameter -> whether its values were drawn, as its distribution says; those of a grid, or that somebody gave, were not."""
    found: dict[str, bool] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            given = "grid_id" in trial.system_attrs or name in trial.system_attrs.get("fixed_params", {})
            drawn = not given and _is_wide(distribution)
            found[clean(name)] = found.get(clean(name), False) or drawn
    return found


def _is_wide(distribution: Any) -> bool:
    """Whether it is more than a few values to choose from."""
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return False
    return not distribution.step or distribution.log or (distribution.high - distribution.low) / distribution.step >= MANY


def _run(trial: Any, names: Sequence[str], *, metric: str) -> Run:
    state, reason = ENDS[trial.state]
    ended = trial.datetime_complete and trial.datetime_start
    points = sorted((int(step), float(value)) for step, value in trial.intermediate_values.items())
    values = [float(value) for value in trial.values or ()]
    if not values and points and state == "pruned":
        values = [points[-1][1]]
    plain = {clean(f"{key}"): value for key, value in trial.user_attrs.items() if isinstance(value, bool | int | float | str)}
    return Run(
        id=f"trial {trial.number}",
        name=f"trial {trial.number}",
        state=state,
        reason=reason,
        started=trial.datetime_start.timestamp() if trial.datetime_start else None,
        seconds=max((trial.datetime_complete - trial.datetime_start).total_seconds(), 0.0) if ended else None,
        config=plain | {clean(name): value for name, value in trial.params.items()},
        metrics=dict(zip(names, values, strict=False)),
        curves={metric: points} if points else {},
    )
