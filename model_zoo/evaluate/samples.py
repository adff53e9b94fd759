"""A few questions with the model's answers and their pictures, for people to look at: `samples.jsonl` beside the weights.

Taken from what was scored anyway, always of the same documents, so that trials can be compared; nothing is asked again.

N documents, C pictures in each, A answers in a document, Q visual tokens a picture, S side in pixels.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from model_zoo.config import Task
from model_zoo.data.documents import Documents
from model_zoo.data.images import MEAN, SD
from model_zoo.data.pictures import PIXEL_MEAN, PIXEL_SD, Floats, Ints, Pool
from model_zoo.data.rows import NUM_PICTURES
from model_zoo.data.samples import IMAGE_MARK
from model_zoo.data.vocabulary import CAPTION, DIGIT, IMAGE, NUM_DIGITS, NUM_WORDS, PLACE, QUESTION, WORD
from model_zoo.evaluate.averages import SHOTS

SAMPLES_FILE = "samples.jsonl"
NUM_SAMPLES = 4
"""Of each task and number of shots."""
APART = 5
"""Between two documents that are kept. In-context documents come in fours about the same pictures, which differ in their labels: so each is
of another four, and another one in it, and a model that prefers a label which it has not seen is neither always right nor always wrong."""
MAX_SIDE = 224
"""Pixels of a picture that is kept of files; larger ones are shrunk."""
_PLACES = ("top left", "top right", "bottom left", "bottom right")
_WORDS = {CAPTION: "caption:", QUESTION: "digit", IMAGE: IMAGE_MARK}
_WORDS |= {DIGIT + digit: str(digit) for digit in range(NUM_DIGITS)}
_WORDS |= {WORD + word: chr(ord("A") + word) for word in range(NUM_WORDS)}
_WORDS |= {PLACE + place: f"{name}:" for place, name in enumerate(_PLACES)}
"""Token of the tiny world -> how a person reads it."""


class Sample(NamedTuple):
    """One line of the file."""

    task: str
    shots: int
    prompt: str
    """All that was read before the answer, with a mark for each picture."""
    expected: tuple[str, ...]
    """What counts as right; several where people said several things."""
    answer: str
    correct: float | None
    """Share of it that counts as right; None for an answer that is neither right nor wrong, such as a caption in words."""
    images: tuple[str, ...]
    """Data URIs of the last pictures of the prompt."""


class Scored(NamedTuple):
    """What a model has come to."""

    scores: Mapping[str, float]
    samples: tuple[Sample, ...] = ()


def write_samples(samples: Sequence[Sample], path: Path) -> None:
    """One JSON object a line; no file where there are none."""
    if samples:
        path.write_text("".join(f"{json.dumps(sample._asdict(), ensure_ascii=False)}\n" for sample in samples), encoding="utf-8")


def scene_samples(task: Task, documents: Documents, *, said: Ints, right: npt.NDArray[np.bool_], pool: Pool) -> tuple[Sample, ...]:
    """Of `said` and `right` [N, A]. A label means nothing without the pictures that came with it before, so those are kept there too."""
    number = len(documents.tokens)
    answers = said.shape[1] // NUM_PICTURES
    lines = documents.tokens.reshape(number, NUM_PICTURES, -1)
    is_text = lines[0, 0] != IMAGE
    samples = list[Sample]()
    for shots in SHOTS:
        here = slice(shots * answers, (shots + 1) * answers)
        for document in range(0, number, APART)[:NUM_SAMPLES]:
            told = lines[document, : shots + 1, is_text].T  # the text of each picture up to the one that is asked about
            prompt = [_line(text) for text in told[:-1]] + [_line(told[-1][:-answers])]
            pictures = documents.pictures[document, (0 if task is Task.IN_CONTEXT else shots) : shots + 1]
            samples.append(
                Sample(
                    task=task.value,
                    shots=shots,
                    prompt="\n".join(prompt),
                    expected=(_text(told[-1][-answers:]),),
                    answer=_text(said[document, here]),
                    correct=float(right[document, here].mean()),
                    images=tuple(_png(pool.pixels[int(picture)].numpy()) for picture in pictures),
                )
            )
    return tuple(samples)


def jpeg(pixels: Floats) -> str:
    """A picture of a file as the model saw it, [C, S, S], shrunk where it is large; as a data URI."""
    image = _image(pixels, mean=MEAN, sd=SD)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return _uri(image, "jpeg", quality=90)


def _png(pixels: Floats) -> str:
    """A picture of the tiny world as the model saw it, [S, S], as a data URI."""
    return _uri(_image(pixels[None], mean=PIXEL_MEAN, sd=PIXEL_SD), "png", optimize=True)


def _image(pixels: Floats, *, mean: float, sd: float) -> Image.Image:
    """[C, S, S] normalised"""
    shades = np.rint((pixels * sd + mean).clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return Image.fromarray(shades[..., 0] if shades.shape[2] == 1 else shades)


def _uri(image: Image.Image, kind: str, **how: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _line(tokens: Ints) -> str:
    """A picture and its text."""
    return f"{IMAGE_MARK} {_text(tokens)}".rstrip()


def _text(tokens: Ints) -> str:
    return " ".join(_WORDS[token] for token in tokens.tolist())
