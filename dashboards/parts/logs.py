"""The end of an attempt's log: on its trial's page, and on its study's page of one that runs now."""

import heapq
from collections.abc import Callable, Sequence

from dash import Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from ablate.errors import InputError
from ablate.log_tail import newest_log
from ablate.stores import TrialRecord
from ablate.trial_view import StageUse, stages_of
from dashboards.address import Query, choice
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot
from dashboards.widgets import aria, message

LATEST = "latest"
SEPARATOR = " / "
"""Between job and attempt."""
LISTED = 50
"""Trials whose log a study's page offers."""

KnownTrial = Callable[[Reader, object], tuple[Snapshot, TrialRecord]]
"""The place of a trial's page -> the trial, checked."""


def trial_place(options: Sequence[str], *, query: Query) -> Component:
    value = choice(query, "attempt", allowed=options, default=LATEST)
    chooser = dcc.Dropdown(id="trial-attempt", options=list(options), value=value, clearable=False)
    control = html.Div([html.Label("Attempt", htmlFor="trial-attempt"), chooser], className="control wide")
    return html.Section([html.H2("Log"), html.Div(control, className="controls"), html.Div(id="trial-log")], className="card")


def register_trial(app: Dash, *, reader: Reader, known_trial: KnownTrial) -> None:
    @app.callback(
        Output("trial-log", "children"),
        Input("seen", "data"),
        Input("points", "data"),
        Input("trial-attempt", "value"),
        State("trial-place", "data"),
    )
    def _log(_seen: object, _points: object, attempt: object, place: object) -> Sequence[Component]:
        snapshot, trial = known_trial(reader, place)
        stages = reader.read(lambda store: stages_of(store, trial, trials=snapshot.trials))
        return log_part(reader, trial, attempt=known_attempt(attempt, stages=stages))


def study_place(reader: Reader, snapshot: Snapshot, *, query: Query) -> Component:
    options = log_options(logged_trials(reader, snapshot))
    value = choice(query, "log", allowed=options, default=LATEST)
    chooser = dcc.Dropdown(id="study-log", options=options, value=value, clearable=False)
    control = html.Div([html.Label("Trial", htmlFor="study-log"), chooser], className="control wide")
    parts = [html.H2("Log"), html.Div(control, className="controls"), html.Div(id="study-log-tail", className="short")]
    return html.Section(parts, id="study-log-card", className="card", hidden=True)


def study_part(reader: Reader, snapshot: Snapshot, *, wanted: object) -> tuple[bool, list[str], list[Component]]:
    """Whether the card is hidden, the trials to choose from, and the log of the wanted one."""
    trials = logged_trials(reader, snapshot)
    chosen = known_log(reader, snapshot, wanted=wanted, trials=trials)
    if chosen is None:
        return True, [LATEST], []
    return False, log_options([*trials, chosen]), study_log(reader, chosen)


def logged_trials(reader: Reader, snapshot: Snapshot) -> list[TrialRecord]:
    """Those with a log here: what runs, then what failed, then the rest, each the newest first."""
    workspace = reader.workspace
    if workspace is None:
        return []
    begun = [trial for trial in snapshot.trials if trial.state == "running" or trial.attempts]
    rank = {"running": 0, "failed": 1, "lost": 1}
    newest = heapq.nsmallest(LISTED, begun, key=lambda trial: (rank.get(trial.state, 2), -(trial.started or 0.0)))
    return [trial for trial in newest if newest_log(workspace, trial.chain)]


def log_options(trials: Sequence[TrialRecord]) -> list[str]:
    return [LATEST, *dict.fromkeys(trial.id for trial in trials)]


def known_log(reader: Reader, snapshot: Snapshot, *, wanted: object, trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The trial of that id, which may have been left behind by 50 others since; the first of `trials` for `latest`, None without any."""
    if not isinstance(wanted, str):
        raise InputError("the trial whose log is shown has a name")
    return next(iter(trials), None) if wanted == LATEST else reader.trial(snapshot, wanted)


def study_log(reader: Reader, trial: TrialRecord) -> list[Component]:
    return log_part(reader, trial, attempt=newest_log(reader.workspace, trial.chain) if reader.workspace else None)


def attempt_options(stages: Sequence[StageUse]) -> list[str]:
    return [LATEST, *(f"{stage.job}{SEPARATOR}{each}" for stage in stages for each in range(1, stage.attempts + 1))]


def known_attempt(value: object, *, stages: Sequence[StageUse]) -> tuple[str, int] | None:
    """(job, number); None where nothing of the trial has begun. Only a job of the trial is ever looked for in the workspace."""
    begun = {f"{stage.job}{SEPARATOR}{each}": (stage.job, each) for stage in stages for each in range(1, stage.attempts + 1)}
    if value == LATEST:
        return list(begun.values())[-1] if begun else None
    if not isinstance(value, str) or value not in begun:
        raise InputError(f"no attempt '{str(value)[:100]}' of this trial (there: {', '.join(begun) or 'none yet'})")
    return begun[value]


def log_part(reader: Reader, trial: TrialRecord, *, attempt: tuple[str, int] | None) -> list[Component]:
    """The end of a log as text, or why there is none here."""
    if attempt is None:
        return [message("Nothing of this trial has begun, so there is no log.")]
    job, each = attempt
    tail = reader.log(job, each)
    if tail is None:
        where = "in the workspace of these pages" if reader.workspace else "known to these pages, which have no --workspace"
        said = f"{job}, attempt {each}: nothing of it is {where}: it ran elsewhere. On the machine that ran it:"
        return [message(said, command=f"ablate logs {trial.id}")]
    note = f"{job}, attempt {each}: " + ("all it wrote" if tail.whole else f"the end; the whole of it: ablate logs {trial.id}")
    return [html.P(note, className="note"), html.Pre(tail.text or "(it wrote nothing)", className="log", tabIndex=0, **aria(label="Log"))]
