"""The store's rows become tidy pandas frames: the one shape that analysis, figures, pages and exports read.

results   `trial, arm, seed, state, <axis columns>, <metric columns>`; no level where the axis does not apply, a missing metric is NaN
law runs  `n_params, lr, seed, <metric>, status`, and `tokens`, `batch_tokens` where the law names them
curves    `trial, arm, seed, metric, step, value`
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

import pandas as pd

from ablate.analysis.optima import DIVERGED
from ablate.errors import InputError, did_you_mean
from ablate.stores import Store, TrialRecord, find_study
from ablate.study import Law

KEYS = ("trial", "arm", "seed", "state")
FINAL = ("done", "cached", "pruned")
FORMATS = ("csv", "json", "parquet", "markdown", "latex")


def results_frame(store: Store, study: str, *, trials: Sequence[TrialRecord] | None = None) -> pd.DataFrame:
    """One row a trial, in the order of the plan. `trials`: the study's, where they were read already."""
    record = find_study(store, study)
    rows = store.trials(study) if trials is None else trials
    metrics = sorted({key for row in rows for key in row.metrics})
    columns = [*KEYS, *record.axes, *metrics]
    named = [(row.id, row.arm, row.seed, row.state) for row in rows]
    held: dict[str, Any] = {key: list(values) for key, values in zip(KEYS, zip(*named, strict=True), strict=True)} if named else {}
    for axis in record.axes:
        levels = [row.levels.get(axis) for row in rows]  # None: the axis does not apply there; its other levels stay what they are
        held[axis] = pd.Series(levels, dtype=object) if any(level is None for level in levels) else levels
    final = [row.metrics if row.state in FINAL else {} for row in rows]  # `_final` of each would take twice as long
    held |= {metric: [nan if (value := values.get(metric)) is None else value for values in final] for metric in metrics}
    return pd.DataFrame(held, columns=columns)


def by_shots(metric: str) -> tuple[str, int]:
    """A key to sort metrics by: `score/4` before `score/16`, and `score` before both."""
    stem, _, shots = metric.rpartition("/")
    return (stem, int(shots)) if stem and shots.isdigit() and len(shots) < 10 else (metric, -1)


def ordered_metrics(metrics: Iterable[str], *, first: str) -> list[str]:
    """`first`, what else is of its family, then the other families by name; each by its number of shots."""
    main = by_shots(first)[0]
    return sorted(metrics, key=lambda name: (name != first, by_shots(name)[0] != main, by_shots(name)))


def at_baselines(frame: pd.DataFrame, *, axes: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """The results as effects pair them: an axis stands at its baseline where it does not apply, so that a kind without a depth is compared
    with one at the baseline depth. `axes`: axis -> its levels, the baseline first."""
    filled = frame.copy()
    for axis, levels in axes.items():
        if levels and frame[axis].isna().any():
            filled[axis] = frame[axis].astype(object).where(frame[axis].notna(), levels[0]).infer_objects()
    return filled


class LawRuns(NamedTuple):
    """The runs a law is fitted to."""

    frame: pd.DataFrame
    held: Mapping[str, Any]
    """Axes that vary within a size and say nothing of rate or tokens -> the baseline at which alone the runs are taken."""


def law_runs(trials: Sequence[TrialRecord], *, law: Law, metric: str, axes: Mapping[str, Sequence[Any]]) -> LawRuns:
    """`axes`: axis -> its levels, the baseline first."""
    mine = (law.hyperparameter, law.size, law.tokens, law.batch_tokens)
    by_size: dict[float, list[TrialRecord]] = {}
    for row in trials:
        by_size.setdefault(law_cell(row, law=law)["n_params"], []).append(row)
    vary = {axis for axis in axes if axis not in mine and any(len({row.levels.get(axis) for row in rows}) > 1 for rows in by_size.values())}
    held = {axis: axes[axis][0] for axis in axes if axis in vary and axes[axis]}
    kept = [row for row in trials if all(row.levels.get(axis) in (level, None) for axis, level in held.items())]
    return LawRuns(_law_frame(kept, law=law, metric=metric), held)


def _law_frame(trials: Iterable[TrialRecord], *, law: Law, metric: str) -> pd.DataFrame:
    """Size, rate, seed, metric and status of every trial, and its tokens where the law says which they are."""
    named = [column for column in ("tokens", "batch_tokens") if getattr(law, column)]
    rows = [
        {
            **law_cell(row, law=law),
            "lr": float(row.levels[law.hyperparameter]),
            "seed": row.seed,
            metric: _final(row, metric),
            "status": DIVERGED if row.state == "failed" and row.cause == "nan" else row.state,
        }
        for row in trials
        if row.levels[law.hyperparameter] is not None and (law.size == "num_params" or row.levels[law.size] is not None)
    ]
    return pd.DataFrame(rows, columns=["n_params", "lr", "seed", metric, "status", *named])


def law_cell(row: TrialRecord, *, law: Law) -> dict[str, float]:
    """Its size, and its tokens and tokens a step where the law says which they are; NaN where the trial does not say."""
    size = row.num_params if law.size == "num_params" else row.levels.get(law.size)
    named = {column: name for column in ("tokens", "batch_tokens") if (name := getattr(law, column))}
    return {"n_params": _number(size) * 1.0} | {column: _level_or_metric(row, name) for column, name in named.items()}


def curves_frame(store: Store, study: str, *, metrics: Iterable[str] | None = None) -> pd.DataFrame:
    """Every recorded point of the trials' last stages, in the order of the plan."""
    trials = {row.chain[-1]: row for row in store.trials(study)}
    place = {job: at for at, job in enumerate(trials)}
    found = sorted(store.curve(trials, keys=metrics), key=lambda point: place[point[0]])
    rows = [(trials[job].id, trials[job].arm, trials[job].seed, key, step, _number(value)) for job, step, key, value in found]
    return pd.DataFrame(rows, columns=["trial", "arm", "seed", "metric", "step", "value"])


def export(frame: pd.DataFrame, form: str) -> str | bytes:
    """The frame as `csv`, `json`, `markdown`, `latex` or `parquet` (bytes). A missing number is empty (csv, tables) or null (json)."""
    match form:
        case "csv":
            return frame.map(_no_formula).to_csv(index=False)
        case "json":
            return json.dumps(json_rows(frame), allow_nan=False, indent=1)
        case "parquet":
            return frame.to_parquet(index=False)
        case "markdown":
            return frame.astype(object).where(frame.notna(), None).to_markdown(index=False, missingval="") + "\n"
        case "latex":
            return frame.to_latex(index=False, escape=True, na_rep="")
    raise InputError(f"unknown format '{form}' ({', '.join(FORMATS)}){did_you_mean(form, FORMATS)}")


def json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values: NaN is null."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows


def _level_or_metric(row: TrialRecord, name: str) -> float:
    level = row.levels.get(name)
    return _number(row.metrics.get(name)) if level is None else float(level)


def _final(row: TrialRecord, metric: str) -> float:
    """A trial that broke half-way has a curve and no final value."""
    return _number(row.metrics.get(metric)) if row.state in FINAL else nan


def _number(value: float | None) -> float:
    return nan if value is None else value


def _no_formula(value: Any) -> Any:
    """A spreadsheet runs text that starts like a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
