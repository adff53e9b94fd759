"""Rows of files to documents: texts and pictures in the order they are read. A row that is none is refused with the reason.

| files | a row is | learnt |
|---|---|---|
| WebDataset shards (`.tar`) | an image file and a `.txt`, or a `.json` with `caption`, of one name | the caption |
| LLaVA conversations (`.json`) | `image`, a path beside the file, and `conversations`: turns of `{from, value}` | what `gpt` says |
| OBELICS documents (`.parquet`) | `images` and `texts`, equally long, of which one is null at each place | all text |
| texts (`.parquet` or `.jsonl`) | `text` | all text |

What a model is asked about has readers of its own, `read_captions` and `read_question`, since a row may have several right answers.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
IMAGE_MARK = "<image>"
"""Where LLaVA's conversations have their picture."""


class BadRow(ValueError):
    """A row that is no document."""


class Text(NamedTuple):
    text: str
    learnt: bool = True
    """Whether the model is to foretell it; it reads the rest."""


class Picture(NamedTuple):
    data: bytes
    """The image file."""


Document = tuple[Text | Picture, ...]
Reader = Callable[[Mapping[str, Any], Path], Document]
"""A row, and the folder that its paths start from, to a document."""


def read_pair(row: Mapping[str, Any], folder: Path) -> Document:
    """An image and its caption, of a WebDataset shard."""
    images = [row[suffix] for suffix in IMAGE_SUFFIXES if row.get(suffix) is not None]
    if len(images) != 1:
        raise BadRow(f"{len(images)} images, and a pair has one of {', '.join(IMAGE_SUFFIXES)}")
    caption = row.get("txt")
    if caption is None:
        caption = _fields(row.get("json") or {}, of="json").get("caption")
    return _picture(images[0], folder), Text(_words(caption, of="caption"))


def read_conversation(row: Mapping[str, Any], folder: Path) -> Document:
    """Turns of a person and a model about one image or none, in LLaVA's form."""
    parts: list[Text | Picture] = []
    waiting = [_picture(row["image"], folder)] if row.get("image") is not None else []
    turns = row.get("conversations") or ()
    if not isinstance(turns, list | tuple):
        raise BadRow(f"conversations that are no list but {type(turns).__name__}")
    for turn in turns:
        fields = _fields(turn, of="turn")
        speaker, value = fields.get("from"), _words(fields.get("value"), of="turn")
        if speaker not in ("human", "gpt"):
            raise BadRow(f"a turn is from '{speaker}', not human or gpt")
        before, mark, after = value.partition(IMAGE_MARK)
        if mark:
            if not waiting:
                raise BadRow(f"{IMAGE_MARK} stands where there is no image left")
            parts += [part for part in (Text(before.strip(), learnt=False), waiting.pop()) if part != Text("", learnt=False)]
            value = after.strip()
        if value:
            parts.append(Text(value, learnt=speaker == "gpt"))
    if waiting:
        raise BadRow(f"an image, and no {IMAGE_MARK} in its conversation")
    if not any(isinstance(part, Text) and part.learnt for part in parts):
        raise BadRow("no turn of gpt, so nothing to learn")
    return tuple(parts)


def read_interleaved(row: Mapping[str, Any], folder: Path) -> Document:
    """A web page's texts and images in order, in OBELICS' form."""
    images, texts = row.get("images"), row.get("texts")
    if not isinstance(images, Sequence) or not isinstance(texts, Sequence) or len(images) != len(texts):
        raise BadRow("images and texts are not two lists of one length")
    parts: list[Text | Picture] = []
    for image, text in zip(images, texts, strict=True):
        if (image is None) == (text is None):
            raise BadRow("a place holds both an image and a text, or neither")
        parts.append(_picture(image, folder) if text is None else Text(_words(text, of="text")))
    if not any(isinstance(part, Text) for part in parts):
        raise BadRow("no text, so nothing to learn")
    return tuple(parts)


def read_captions(row: Mapping[str, Any], folder: Path) -> Document:
    """A picture and its captions, one or several, each a text: of a shard, of a row with `image`, or of a conversation with one answer."""
    if row.get("conversations") is not None:
        document = read_conversation(row, folder)
        said = [part for part in document if isinstance(part, Text) and part.learnt]
        pictures = [part for part in document if isinstance(part, Picture)]
        if len(said) != 1 or len(pictures) != 1:
            raise BadRow(f"a conversation with {len(pictures)} images and {len(said)} answers; a caption is one answer about one image")
        return pictures[0], said[0]
    images = [row[key] for key in ("image", *IMAGE_SUFFIXES) if row.get(key) is not None]
    if len(images) != 1:
        raise BadRow(f"{len(images)} images, and captions are of one")
    written = _fields(row.get("json") or row, of="json")
    captions = written.get("captions")
    if captions is None:
        captions = [row["txt"] if row.get("txt") is not None else written.get("caption")]
    return _picture(images[0], folder), *_texts(captions, of="caption")


def read_question(row: Mapping[str, Any], folder: Path) -> Document:
    """A picture, a question about it, which is not learnt, and what people answered."""
    question = Text(_words(row.get("question"), of="question"), learnt=False)
    return _picture(row.get("image"), folder), question, *_texts(row.get("answers"), of="answer")


def read_text(row: Mapping[str, Any], folder: Path) -> Document:
    return (Text(_words(row.get("text"), of="text")),)


def _texts(values: Any, *, of: str) -> list[Text]:
    if not isinstance(values, list | tuple) or not values:
        raise BadRow(f"no list of {of}s")
    return [Text(_words(value, of=of)) for value in values]


def _fields(value: Any, *, of: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadRow(f"a {of} that is no object but {type(value).__name__}")
    return value


def _words(value: Any, *, of: str) -> str:
    if not isinstance(value, str):
        raise BadRow(f"no {of}" if value is None else f"a {of} that is no text but {type(value).__name__}")
    if not value.strip():
        raise BadRow(f"an empty {of}")
    return value


def _picture(value: Any, folder: Path) -> Picture:
    """Bytes as they are, or those of a file beside the data; nothing is downloaded."""
    if isinstance(value, Mapping):
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    if isinstance(value, bytes):
        return Picture(value)
    if not isinstance(value, str):
        raise BadRow(f"an image that is neither bytes nor a path but {type(value).__name__}")
    if "://" in value:
        raise BadRow("an image by its address, and nothing is downloaded: store its bytes, or a path beside the file")
    path = (folder / value).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadRow(f"an image outside its data's folder: {value}")
    try:
        return Picture(path.read_bytes())
    except OSError as error:
        raise BadRow(f"an image that cannot be read: {error.strerror}") from error
