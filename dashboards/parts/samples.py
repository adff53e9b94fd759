"""What a trial's model was asked and what it said, with the pictures, on the trial's page."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from dash import Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from ablate.errors import InputError
from ablate.quantities import counted
from ablate.results import FINAL
from ablate.samples import Picture, Sample, Samples, trial_samples
from ablate.stores import TrialRecord
from dashboards.address import Query, choice
from dashboards.parts.logs import KnownTrial
from dashboards.reader import Reader
from dashboards.widgets import aria, chooser, message

ALL = "all tasks"
ROOM, SHOT_ROOM = 160, 50
"""Pixels of a side that a picture has: the last, which is asked about, and those of the shots before it."""
WRITERS = (
    "`model_zoo` writes it where `eval.tasks` or `eval.few_shot` asks for answers. "
    "What a trainer of your own writes there is shown here: docs/study-format.md says how."
)


def place(reader: Reader, trial: TrialRecord, *, query: Query) -> Component:
    try:
        options = task_options(found_samples(reader, trial))
    except InputError:  # the callback says why; the rest of the page is there all the same
        options = [ALL]
    chosen = chooser("trial-samples", label="Task", options=options, value=choice(query, "samples", allowed=options, default=ALL))
    parts = [html.H2("Samples"), html.Div(chosen, className="controls"), html.Div(id="trial-sampled"), dcc.Store(id="trial-sampled-have")]
    return html.Section(parts, className="card")


def register(app: Dash, *, reader: Reader, known_trial: KnownTrial) -> None:
    @app.callback(
        Output("trial-samples", "options"),
        Output("trial-sampled", "children"),
        Output("trial-sampled-have", "data"),
        Input("seen", "data"),
        Input("trial-samples", "value"),
        State("trial-place", "data"),
        State("trial-sampled-have", "data"),
    )
    def _samples(_seen: object, task: object, where: object, have: object) -> tuple[Any, ...]:
        _, trial = known_trial(reader, where)
        try:
            found = found_samples(reader, trial)
        except InputError as error:
            return [ALL], [message(f"No samples are shown: {error}")], None
        shown = [trial.id, trial.state, task, None if found is None else [found.job, len(found.found)]]
        if shown == have:  # an artefact never changes, and pictures are large
            return no_update, no_update, no_update
        return task_options(found), samples_part(reader, trial, found=found, task=task), shown


def found_samples(reader: Reader, trial: TrialRecord) -> Samples | None:
    """Raises InputError for some that may not be shown."""
    return trial_samples(reader.workspace, trial.chain) if reader.workspace else None


def task_options(found: Samples | None) -> list[str]:
    return [ALL, *dict.fromkeys(sample.task for sample in found.found)] if found else [ALL]


def samples_part(reader: Reader, trial: TrialRecord, *, found: Samples | None, task: object) -> list[Component]:
    """The cards of one task or of all, by number of shots, or why there are none."""
    if found is None:
        return [message(_why_none(reader, trial))]
    if task not in task_options(found):
        raise InputError(f"no task '{str(task)[:100]}' among the samples (there: {', '.join(task_options(found))})")
    chosen = [sample for sample in found.found if task in (ALL, sample.task)]
    parts = [*_notes(found)]
    for (name, shots), group in groupby(chosen, key=lambda sample: (sample.task, sample.shots)):
        title = name if shots is None else f"{name}, {counted(shots, 'shot')}"
        parts += [html.H3(title), html.Div([sample_card(sample) for sample in group], className="samples")]
    return parts or [message("The file of samples is empty.")]


def sample_card(sample: Sample) -> Component:
    """What was asked, with the pictures; below it what was expected, the answer beside it, and in words whether it is right."""
    last = len(sample.images)
    pictures = [
        _image(picture, place=place, of=last, room=ROOM if place == last else SHOT_ROOM) for place, picture in enumerate(sample.images, 1)
    ]
    # a prompt's end is what is asked: the box begins there, and its beginning is reached by scrolling
    prompt = html.Div(html.Div(sample.prompt), className="prompt", tabIndex=0, role="region", **aria(label="Prompt"))
    asked = [html.Div(pictures, className="pictures"), prompt] if pictures else [prompt]
    rows = [("Expected", " | ".join(sample.expected)), ("Answer", sample.answer or "(nothing)")]
    said = html.Dl([html.Div([html.Dt(name), html.Dd(value)]) for name, value in rows], className="answers")
    judged = html.Div([said, html.P(_verdict(sample.correct))], className="judged")
    return html.Article([html.Div(asked, className="asked"), judged], className="sample")


def _verdict(correct: float | None) -> Component:
    if correct is None:
        return html.Span("not judged", className="badge")
    if correct in (0, 1):
        return html.Span("✓ right" if correct else "✗ wrong", className=f"badge verdict-{'supported' if correct else 'contradicted'}")
    return html.Span(f"◐ {correct:.0%} right", className="badge")


def _image(picture: Picture, *, place: int, of: int, room: int) -> Component:
    said = (
        f"picture {place} of {of}, {picture.width} × {picture.height} px" if of > 1 else f"picture, {picture.width} × {picture.height} px"
    )
    width, height = shown_size(picture, room=room)
    kind = "enlarged" if width > picture.width else ""
    return html.Img(src=picture.uri, alt=said, title=said, className=kind, width=str(width), height=str(height))


def shown_size(picture: Picture, *, room: int) -> tuple[int, int]:
    """Width and height on the page, in pixels: made larger by a whole number, so that every pixel stays a square, or smaller to fit."""
    longest = max(picture.width, picture.height)
    factor = room // longest if longest <= room else room / longest
    return max(1, round(picture.width * factor)), max(1, round(picture.height * factor))


def _notes(found: Samples) -> Sequence[Component]:
    said = [f"The first {len(found.found)} are shown."] if not found.whole else []
    said += [f"{counted(found.skipped_lines, 'line')} of the file {_is(found.skipped_lines)} no sample."] if found.skipped_lines else []
    if found.skipped_images:
        said.append(f"{counted(found.skipped_images, 'picture')} left out: no PNG or JPEG of the artefact, or too large.")
    return [html.P(" ".join(said), className="note")] if said else []


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _why_none(reader: Reader, trial: TrialRecord) -> str:
    if not reader.workspace:
        return "Samples are read from the workspace, and these pages have no --workspace."
    if trial.state not in FINAL:
        return f"No samples yet: they are there once a stage is done that leaves samples.jsonl. {WRITERS}"
    return f"No job of this trial left a samples.jsonl here. {WRITERS}"
