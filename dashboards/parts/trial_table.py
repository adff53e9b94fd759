"""Trials as columns and rows of a grid."""

from typing import Any

import pandas as pd

from ablate.analysis.columns import plain
from ablate.plot_style import STATES
from ablate.results import KEYS, ordered_metrics
from dashboards.snapshot import Snapshot
from dashboards.widgets import level_text

LETTER = 8.8
"""Pixels of a letter of the grid in a wide font."""
NUMBER = 8
"""Letters of most numbers."""
WIDEST_ID, WIDEST = 480, 240
"""Pixels of a column before anybody widens it; a longer text is whole in its tooltip."""
FILTERED = ("trial", "arm", "state")


def trial_table(results: pd.DataFrame, *, snapshot: Snapshot) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Columns and rows of the grid: the trial, its levels, the study's metric, the others by family; its arm, which the levels say as well,
    stands last. Fields are numbered, because the grid reads a dot in a field's name as a path."""
    axes = snapshot.record.axes
    metrics = [str(column) for column in results.columns if column not in (*KEYS, *axes)]
    first, last = (["trial", "state", *axes, "seed"], ["arm"]) if axes else (["trial", "state", "arm", "seed"], [])
    names = [*first, *ordered_metrics(metrics, first=snapshot.study.metric.name), *last]
    fields = {name: name if name in KEYS else f"column{index}" for index, name in enumerate(names)}
    longest = {axis: max((len(level_text(level)) for level in levels), default=0) for axis, levels in axes.items()}
    longest |= {"trial": max((len(trial.id) for trial in snapshot.trials), default=0)}  # of all, so that a brush changes no column
    longest |= {"arm": max((len(trial.arm) for trial in snapshot.trials), default=0)}
    kinds = dict.fromkeys(KEYS, "key") | dict.fromkeys(axes, "axis")
    columns = [_column(name, field=fields[name], kind=kinds.get(name, "metric"), longest=longest.get(name, NUMBER)) for name in names]
    columns.append({"field": "reason", "headerName": "reason", "tooltipField": "reason", "minWidth": 180, "flex": 2})
    reasons = {trial.id: trial.reason for trial in snapshot.trials}
    cells = [[None if value != value else value for value in plain(results[name])] for name in names]
    rows = [dict(zip(fields.values(), row, strict=True)) for row in zip(*cells, strict=True)]
    return columns, [row | {"reason": reasons.get(row["trial"], "")} for row in rows]


def _column(name: str, *, field: str, kind: str, longest: int) -> dict[str, Any]:
    """`longest`: characters of the longest cell, as far as they are known beforehand."""
    room = 36 + round(LETTER * max(len(name) + (3 if name in FILTERED else 0), longest))
    column: dict[str, Any] = {
        "field": field,
        "headerName": name,
        "headerTooltip": name,
        "minWidth": min(max(room, 80), WIDEST_ID if name == "trial" else WIDEST),
        "flex": 1,
    }
    if name in FILTERED:
        column["filter"] = True
    if name == "state":
        return column | {"cellClassRules": {f"state-text-{state}": f"params.value == '{state}'" for state in STATES}}
    if kind == "metric" or name == "seed":
        return column | {"type": "rightAligned", "valueFormatter": {"function": "shown(params.value)"}}
    if kind == "axis":
        return column | {"valueFormatter": {"function": "level(params.value)"}, "tooltipField": field}
    return column | {"flex": 2, "tooltipField": field}
