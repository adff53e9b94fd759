"""The curves of a study as a person wants to see them, on its overview and on their own page: what there is to choose, and the figure."""

import heapq
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import pandas as pd
import plotly.graph_objects as go
from dash import html
from dash.development.base_component import Component

from ablate import arm_names, figures
from ablate.curve_points import Band, flops_per_step, placed, seconds_per_step
from ablate.errors import InputError
from ablate.stores import TrialRecord
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot
from dashboards.widgets import blank, fit_card, level_text

TOKENS = "tokens"
AGAINST = ("step", TOKENS, "FLOPs", "time")
UNITS = {"time": "s", "FLOPs": "of this stage"}
SCALES = ("linear", "log")
BANDS: tuple[Band, ...] = get_args(Band)
CONTROLS = ("metric", "group", "x", "band", "xscale", "yscale", "only")
MOST_CURVES = 100
"""Trials whose curves are drawn."""
MANY_ARMS = 12
"""Above this many arms curves are grouped by the first axis unless the view says otherwise."""


class View(NamedTuple):
    """What the controls say, checked."""

    metric: str
    group: str
    x: str = "step"
    band: Band = "range"
    xscale: str = "linear"
    yscale: str = "linear"
    only: tuple[str, ...] = ()
    """`axis=level`, as `level_choices` has them."""


def curve_metrics(reader: Reader, snapshot: Snapshot) -> dict[str, int]:
    """Metric -> points in one trial's curve; the study's metric first, then every other that a trial reported."""
    final = {key for trial in snapshot.trials for key in trial.metrics}
    started = [trial.chain[-1] for trial in snapshot.trials if trial.state in ("done", "running")][:1]
    counts = reader.read(lambda store: store.num_points(started))
    return {metric: counts.get(metric, 0) for metric in dict.fromkeys([snapshot.study.metric.name, *sorted(final | counts.keys())])}


def groups_of(snapshot: Snapshot) -> list[str]:
    return ["arm", *snapshot.record.axes]


def first_metric(metrics: Mapping[str, int]) -> str:
    """The study's metric where it has a curve, or else the one with the most points; what was read so far is no result."""
    main = next(iter(metrics))
    return main if metrics[main] > 1 else max(metrics, key=lambda metric: (metric != TOKENS and metrics[metric] > 1, metrics[metric]))


def with_names(frame: pd.DataFrame, *, snapshot: Snapshot) -> pd.DataFrame:
    """The arms by the names they are shown by."""
    return arm_names.with_names(frame, trials=snapshot.trials, axes=snapshot.record.axes)


def base_lines(snapshot: Snapshot) -> list[Component]:
    """What the arm `base` stands for, where several axes say it."""
    note = arm_names.base_note(snapshot.trials, axes=snapshot.record.axes)
    return [html.P(note, className="note")] if note else []


def first_group(snapshot: Snapshot, groups: Sequence[str]) -> str:
    """The one axis of a study, whose levels say more than its arms' names do; of several the arms, unless they are many."""
    arms = {trial.arm for trial in snapshot.trials}
    return groups[1] if len(groups) == 2 or (len(arms) > MANY_ARMS and len(groups) > 1) else groups[0]


def level_choices(snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    """`axis=level` -> both, of the axes that vary over levels with names."""
    axes = {axis: levels for axis, levels in snapshot.record.axes.items() if len(levels) > 1}
    return {f"{axis}={level_text(level)}": (axis, level_text(level)) for axis, levels in axes.items() for level in levels}


def known_view(reader: Reader, snapshot: Snapshot, *, chosen: Mapping[str, object]) -> View:
    """What is not chosen is as at first. Raises InputError for what no control offers."""
    allowed: dict[str, Sequence[str]] = {
        "metric": list(curve_metrics(reader, snapshot)),
        "group": groups_of(snapshot),
        "x": AGAINST,
        "band": BANDS,
        "xscale": SCALES,
        "yscale": SCALES,
    }
    for key in allowed.keys() & chosen.keys():
        if chosen[key] not in allowed[key]:
            raise InputError(f"curves: {key}: unknown '{str(chosen[key])[:100]}' ({', '.join(allowed[key])})")
    levels, only = level_choices(snapshot), chosen.get("only") or []
    if not isinstance(only, list) or not all(isinstance(one, str) and one in levels for one in only):
        raise InputError(f"curves: only: levels are a list of axis=level ({', '.join(levels)})")
    one_of: dict[str, Any] = {key: chosen[key] for key in allowed.keys() & chosen.keys()}
    return View(**one_of, only=tuple(only))


def chosen_trials(snapshot: Snapshot, *, only: Sequence[str]) -> list[TrialRecord]:
    """Those at a chosen level of every axis of which levels are chosen."""
    wanted: dict[str, set[str]] = {}
    for axis, level in (level_choices(snapshot)[one] for one in only):
        wanted.setdefault(axis, set()).add(level)
    return [trial for trial in snapshot.trials if all(level_text(trial.levels.get(axis)) in levels for axis, levels in wanted.items())]


def drawing(reader: Reader, snapshot: Snapshot, *, view: View, dark: bool) -> tuple[go.Figure, list[str]]:
    """The figure, and what is said below it."""
    started = [trial for trial in chosen_trials(snapshot, only=view.only) if trial.state not in ("queued", "cached")]
    drawn = drawn_trials(replace(snapshot, trials=tuple(started)))
    frame = reader.curves(snapshot, view.metric, trials=drawn)
    if frame.empty:
        return blank(f"no {view.metric} recorded yet"), []
    frame, per_step, missing = _against(reader, snapshot, frame=frame, trials=drawn, x=view.x)
    if missing:
        return blank(missing), []
    left = placed(frame, metric=view.metric, x=view.x, per_step=per_step)
    if left.empty or left.groupby("trial")["step"].nunique().max() < 2:
        return blank(f"fewer than two points of {view.metric} against {view.x}: a curve needs two"), []
    levels = {trial.id: level_text(trial.levels.get(view.group)) for trial in drawn}
    frame = with_names(frame, snapshot=snapshot) if view.group == "arm" else frame.assign(**{view.group: frame["trial"].map(levels)})
    figure = figures.curves(
        frame,
        group_by=view.group,
        metric=view.metric,
        x=view.x,
        per_step=per_step,
        band=view.band,
        x_unit=UNITS.get(view.x, ""),
        simulated=snapshot.record.simulated,
        dark=dark,
    )
    figure.update_xaxes(type=view.xscale).update_yaxes(type=view.yscale)
    mixed = bool((frame.groupby(view.group)["arm"].nunique() > 1).any())
    said = _said(view, started=len(started), drawn=len(drawn), shown=left["trial"].nunique(), mixed=mixed)
    return fit_card(figure, view=" ".join([snapshot.record.name, *map(str, view)])), said


def _against(
    reader: Reader, snapshot: Snapshot, *, frame: pd.DataFrame, trials: Sequence[TrialRecord], x: str
) -> tuple[pd.DataFrame, dict[str, float] | None, str]:
    """The frame with what x needs, what a step is worth, and why x is not there."""
    if x == "step":
        return frame, None, ""
    if x == TOKENS:
        tokens = reader.curves(snapshot, TOKENS, trials=trials)
        return pd.concat([frame, tokens]), None, "" if len(tokens) else "the trainer reported no tokens; choose another x"
    costs = reader.stage_costs(snapshot)
    per_step = flops_per_step(frame, costs=costs) if x == "FLOPs" else seconds_per_step(frame, costs=costs)
    return frame, per_step, "" if per_step else f"no trial has ended, so none has its {x} a step yet; choose another x"


def _said(view: View, *, started: int, drawn: int, shown: int, mixed: bool) -> list[str]:
    said = [figures.curves_caption(band=view.band)]
    if mixed:
        said.append("Trials of a group differ in other axes too: its mean and its band are over those trials, not over seeds alone.")
    if view.x in ("FLOPs", "time"):
        said.append(
            f"A trial's last point stands at the {view.x} that its last stage took in all, the others in proportion to their steps."
        )
    if drawn < started:
        said.append(f"{drawn:,} of {started:,} trials are taken: those that run, and others by lot.")
    if shown < drawn:
        said.append(f"{drawn - shown:,} trials have no point against {view.x}, or none yet, and are left out.")
    if "log" in (view.xscale, view.yscale):
        said.append("On a log scale what is 0 or less is not drawn.")
    return said


def drawn_trials(snapshot: Snapshot) -> list[TrialRecord]:
    """Those that run, and as many of the others as a figure can show, drawn by lot; in the order of the plan.

    A lot stays the same while others end, so that an update need not read and send other curves than before.
    """
    started = [trial for trial in snapshot.trials if trial.state not in ("queued", "cached")]
    if len(started) <= MOST_CURVES:
        return started
    running = [trial.id for trial in started if trial.state == "running"][:MOST_CURVES]
    others = [trial.id for trial in started if trial.state != "running"]
    chosen = {*running, *heapq.nsmallest(MOST_CURVES - len(running), others, key=lambda name: zlib.crc32(name.encode()))}
    return [trial for trial in started if trial.id in chosen]
