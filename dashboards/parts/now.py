"""What a run does at this moment, on its study's page: trials at work, the time they may still take, and how many were at work so far."""

import time
from collections.abc import Sequence
from typing import Any

from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from ablate import run_figures
from ablate.progress import LEFT
from ablate.quantities import counted, duration_text
from ablate.stores import AttemptRecord
from ablate.under_way import UnderWay, slots_in_use, under_way
from dashboards.changes import Sent
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot
from dashboards.widgets import DASH, blank, clock, fit_card, graph, number, register_graph, table

MOST_ROWS = 20
MOST_CHANGES = 1_000
"""Starts and ends that are drawn."""
LATEST = 8
"""Attempts that say where the run's work is done."""


def place() -> Component:
    return html.Div(
        [
            html.Section([html.H2("At work"), html.Div(id="study-now")], className="card"),
            html.Section(graph("study-slots", label="Trials at work over time", min_height=260), className="card"),
        ],
        className="columns even",
    )


def has_work(snapshot: Snapshot) -> bool:
    """Whether something runs or waits: if so, what is at work stands above the results, else below them."""
    return snapshot.record.active or any(trial.state in LEFT for trial in snapshot.trials)


def register(app: Dash, *, reader: Reader, sent: Sent) -> None:
    @app.callback(
        Output("study-slots-made", "data"),
        Input("seen", "data"),
        Input("dark", "data"),
        State("study-name", "data"),
        State("study-slots-have", "data"),
    )
    def _slots(_seen: object, dark: object, name: object, have: object) -> Any:
        return sent.figure(slots_figure(reader.snapshot(name), now=time.time(), dark=bool(dark)), have=have)

    register_graph(app, name="study-slots")


def at_work(reader: Reader, snapshot: Snapshot, *, now: float) -> list[Component]:
    found = under_way(snapshot.trials, now=now)
    shared = shared_at_work(reader, snapshot)
    shown: list[Component] = [html.P(_summary(found, active=snapshot.record.active, shared=bool(shared)))]
    if shared:
        stages = ", ".join(f"{job} (of {counted(trials, 'trial')})" for job, trials in shared.items())
        shown.append(html.P(f"Stages before a trial's last, at work: {stages}."))
    if found.running:
        values = last_values(reader, snapshot, jobs=[one.trial.chain[-1] for one in found.running[:MOST_ROWS]])
        rows = [
            [
                one.trial.id,
                clock(one.trial.started) if one.trial.started else DASH,
                duration_text(one.elapsed),
                duration_text(one.left),
                values.get(one.trial.chain[-1], DASH),
            ]
            for one in found.running[:MOST_ROWS]
        ]
        shown.append(table(["Trial", "Since", "For", "About left", "Last step"], rows, label="Trials at work", numeric=[2, 3]))
        if len(found.running) > MOST_ROWS:
            shown.append(html.P(f"and {len(found.running) - MOST_ROWS:,} more", className="note"))
    if where := places(reader, snapshot):
        shown.append(html.P(f"The last attempts ran on {', '.join(where)}.", className="note"))
    return shown


def shared_at_work(reader: Reader, snapshot: Snapshot) -> dict[str, int]:
    """Job before a trial's last one that runs now -> trials that are to read what it makes."""
    before = [job for trial in snapshot.trials for job in trial.chain[:-1]]
    if not before:
        return {}
    states = reader.read(lambda store: store.job_states(set(before)))
    return {job: len(snapshot.trials_of[job]) for job, (state, _) in states.items() if state == "running"}


def last_values(reader: Reader, snapshot: Snapshot, *, jobs: Sequence[str]) -> dict[str, str]:
    """Job -> the newest step of its curves with the value of the study's metric, or of the first that it reported there."""
    newest: dict[str, tuple[int, dict[str, float | None]]] = {}
    for job, step, key, value in reader.read(lambda store: store.newest_points(jobs)):
        newest.setdefault(job, (step, {}))[1][key] = value
    main = snapshot.study.metric.name
    said = {}
    for job, (step, values) in newest.items():
        key = main if main in values else next(iter(values))
        said[job] = f"{step:,}: {key} {number(values[key])}"
    return said


def places(reader: Reader, snapshot: Snapshot) -> list[str]:
    """Machines and devices of the last attempts that ended, each once."""
    ended = sorted((trial for trial in snapshot.trials if trial.state == "done" and trial.started), key=lambda trial: trial.started or 0.0)
    jobs = [trial.chain[-1] for trial in ended[-LATEST:]]
    found = reader.read(lambda store: store.attempts(jobs)) if jobs else []
    return list(dict.fromkeys(_place(attempt) for attempt in found if attempt.host))


def _place(attempt: AttemptRecord) -> str:
    devices = (attempt.details or {}).get("devices") or []
    return f"{attempt.host} ({', '.join(map(str, devices))})" if devices else attempt.host


def slots_figure(snapshot: Snapshot, *, now: float, dark: bool) -> Any:
    frame = slots_in_use(snapshot.trials, now=now)
    if frame.empty:
        return blank("nothing has run yet")
    figure = run_figures.slots(frame.tail(MOST_CHANGES), simulated=snapshot.record.simulated, dark=dark)
    if len(frame) > MOST_CHANGES:
        figure.update_xaxes(title_text=f"time (UTC); the last {MOST_CHANGES:,} starts and ends")
    return fit_card(figure, view=snapshot.record.name)


def _summary(found: UnderWay, *, active: bool, shared: bool) -> str:
    if not found.running and not shared:
        return "Nothing is at work." if not found.queued else f"Nothing is at work; {found.queued:,} wait."
    left = "" if found.seconds_left is None else f"; about {duration_text(found.seconds_left)} left at this pace"
    said = f"{len(found.running):,} at work, {found.queued:,} wait{left}."
    return said if active else f"{said} No run gives a sign of life: `ablate run` goes on with them."
