"""Samples of predictions that a trainer left in its artefact, for a page: texts, and pictures of a known form and a limited size.

artifacts/<job>/samples.jsonl   one JSON object a line:
    task       text: what was asked for, such as `vqa`
    shots      examples that came before the question; null or left out where that means nothing
    prompt     text: what was asked
    expected   text, or a list of several that all count as right
    answer     text: what the model said
    correct    true, false, or the share from 0 to 1 that counts as right; null or left out where nobody judges
    images     PNG or JPEG files: data URIs, or paths relative to the artefact

Nothing in the file is believed: what is too long is cut, lines and pictures that are no such thing are left out and counted.
"""

import base64
import binascii
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ablate.errors import InputError
from ablate.inside import open_inside
from ablate.log_tail import plain
from ablate.workspace import Workspace

FILE = "samples.jsonl"
MOST_SAMPLES = 200
MOST_BYTES = 8 << 20
"""Of the file, and of all pictures together."""
MOST_IMAGE_BYTES = 512 << 10
MOST_SIDE = 2048
"""Pixels of a picture."""
MOST_IMAGES = 16
"""Of one sample; MM1's sequences have as many."""
MOST_TEXT = 4_000
"""Characters of one text; what is longer loses its beginning, since a prompt's end is what is asked."""
MOST_EXPECTED = 20
_URI = re.compile(r"data:image/(?:png|jpeg);base64,")


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)
    task: str
    shots: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    prompt: str
    expected: str | list[str]
    answer: str
    correct: bool | Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    images: list[str] = []


@dataclass(frozen=True)
class Picture:
    uri: str
    """`data:image/...`, written here."""
    width: int
    """Pixels."""
    height: int


@dataclass(frozen=True)
class Sample:
    task: str
    shots: int | None
    prompt: str
    expected: tuple[str, ...]
    answer: str
    correct: float | None
    """Share that counts as right; None where nobody judges."""
    images: tuple[Picture, ...]


@dataclass(frozen=True)
class Samples:
    """What could be read of a job's."""

    job: str
    found: tuple[Sample, ...]
    skipped_lines: int
    """That were no samples."""
    skipped_images: int
    whole: bool
    """Whether these are all that the file has."""


def trial_samples(workspace: Workspace, chain: Sequence[str]) -> Samples | None:
    """Of the last job that left some; None where none did."""
    return next((found for job in reversed(chain) if (found := read_samples(workspace, job)) is not None), None)


def read_samples(workspace: Workspace, job: str) -> Samples | None:
    """None where the job left none here. Raises InputError where the file lies elsewhere, or cannot be read."""
    artefact = workspace.artifacts / job
    try:
        with open_inside(artefact / FILE, folder=workspace.artifacts) as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except InputError as error:
        raise InputError(f"{job}: {error}") from error
    whole = len(data) <= MOST_BYTES
    lines = [line for line in (data if whole else data.rpartition(b"\n")[0]).split(b"\n") if line.strip()]
    parsed = [_parsed(line) for line in lines[:MOST_SAMPLES]]
    album = _Album(artefact)
    found = tuple(_sample(line, album) for line in parsed if line is not None)
    return Samples(job, found, parsed.count(None), album.skipped, whole and len(lines) <= MOST_SAMPLES)


def _parsed(line: bytes) -> _Line | None:
    try:
        return _Line.model_validate_json(line)
    except ValidationError:
        return None


def _sample(line: _Line, album: "_Album") -> Sample:
    expected = [line.expected] if isinstance(line.expected, str) else line.expected[:MOST_EXPECTED]
    return Sample(
        task=_text(line.task),
        shots=line.shots,
        prompt=_text(line.prompt),
        expected=tuple(map(_text, expected)),
        answer=_text(line.answer),
        correct=None if line.correct is None else float(line.correct),
        images=album.pictures(line.images),
    )


def _text(text: str) -> str:
    return plain(text if len(text) <= MOST_TEXT else f"…{text[-MOST_TEXT:]}")


class _Album:
    """Pictures of one artefact: each read once, all together no larger than a page may become."""

    def __init__(self, artefact: Path) -> None:
        self._artefact, self._left = artefact, MOST_BYTES
        self._known: dict[str, Picture | None] = {}
        self.skipped = 0

    def pictures(self, names: Sequence[str]) -> tuple[Picture, ...]:
        """Of the last names, since the last picture is what is asked about."""
        found = [self._picture(name) for name in names[-MOST_IMAGES:]]
        self.skipped += found.count(None) + len(names) - len(found)
        return tuple(picture for picture in found if picture is not None)

    def _picture(self, name: str) -> Picture | None:
        if name not in self._known:
            self._known[name] = _read_picture(name, artefact=self._artefact)
        picture = self._known[name]
        if picture is None or len(picture.uri) > self._left:  # each showing of it is sent
            return None
        self._left -= len(picture.uri)
        return picture


def _read_picture(name: str, *, artefact: Path) -> Picture | None:
    try:
        if start := _URI.match(name[:40]):
            data = base64.b64decode(name[start.end() :], validate=True)
        else:
            with open_inside(artefact / name, folder=artefact) as file:
                data = file.read(MOST_IMAGE_BYTES + 1)
    except (InputError, FileNotFoundError, binascii.Error, ValueError):
        return None
    return _checked(data)


def _checked(data: bytes) -> Picture | None:
    """What its own head says that it is; nothing is decoded here."""
    if len(data) > MOST_IMAGE_BYTES:
        return None
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    if not (0 < image.width <= MOST_SIDE and 0 < image.height <= MOST_SIDE):
        return None
    kind = "png" if image.format == "PNG" else "jpeg"  # a JPEG of several pictures has a format of its own
    return Picture(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", image.width, image.height)
