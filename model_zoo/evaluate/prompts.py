"""Pictures and questions to the prompts MM1 is evaluated with (arXiv 2403.09611, footnote 6), text with a mark for each picture.

Without shots there is nothing before the prompt: others put two demonstrations without pictures there, MM1 does not (note to table 3).
How shots are joined stands in the paper's appendix C.1, which is not at hand, so whoever evaluates says so: `separator`.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

CAPTIONING = "{IMAGE} A photo of"
VQA = "{IMAGE} Question: {QUESTION} Short answer:"

Image = TypeVar("Image")


class Query(NamedTuple, Generic[Image]):
    """What is asked about one picture: for a caption nothing more."""

    image: Image
    question: str = ""


class Shot(NamedTuple, Generic[Image]):
    """A query with its answer, or its caption."""

    query: Query[Image]
    answer: str


class Prompt(NamedTuple, Generic[Image]):
    """Text that ends where the model goes on."""

    text: str
    images: tuple[Image, ...]
    """One for each mark in the text, in the same order."""


def prompt(query: Query[Image], *, template: str, shots: Sequence[Shot[Image]], separator: str, image_mark: str) -> Prompt[Image]:
    """Each shot is the template, a space and its answer; then the separator; at the end the template of the query.

    `template` is CAPTIONING or VQA, `image_mark` what the processor replaces by the visual tokens of one picture, such as `<image>`.
    """
    if any(not shot.answer.strip() for shot in shots):
        raise ValueError("a shot has no answer, and would teach the model to say nothing: leave the shot out")
    parts = [f"{_fill(template, shot.query, image_mark)} {_plain(shot.answer, image_mark)}{separator}" for shot in shots]
    text = "".join(parts) + _fill(template, query, image_mark)
    return Prompt(text, (*(shot.query.image for shot in shots), query.image))


def _fill(template: str, query: Query[Image], image_mark: str) -> str:
    if ("{QUESTION}" in template) != bool(query.question):
        found, asks = (f"'{query.question}'" if query.question else "no question"), "{QUESTION}" in template
        raise ValueError(f"found {found} for '{template}', which {'needs one' if asks else 'asks none'}")
    return template.format(IMAGE=image_mark, QUESTION=_plain(query.question, image_mark))


def _plain(text: str, image_mark: str) -> str:
    if image_mark in text:
        raise ValueError(f"'{text}' holds the image mark {image_mark}, and would be taken for a picture: leave the mark out")
    return text.strip()
