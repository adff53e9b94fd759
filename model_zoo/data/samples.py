"""Rows of files to documents: texts and pictures in the order they are read. A row that is none is refused with the reason.

| files | a row is | learnt |
|---|---|---|
| WebDataset shards (`.tar`) | an image file and a `.txt`, or a `.json` with `caption`, of one name | the caption |
| LLaVA conversations (`.json`) | `image`, a path beside the file, and `conversations`: turns of `{from, value}` | what `gpt` says |
| OBELICS documents (`.parquet`) | `images` and `texts`, equally long, of which one is null at each place | all text |
| texts (`.parquet` or `.jsonl`) | `text` | all text |

What a model is asked about has readers of its own, `read_captions` and `read_question`, since a row may have several right answers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
SHARD_KEY = "__key__"
"""Where `datasets` has the name that the files of a shard's row share."""
IMAGE_MARK = "<image>"
"""Where LLaVA's conversations have their picture."""


_FORMS = {
    "texts": ("text",),
    "interleaved documents": ("texts", "images"),
    "conversations": ("conversations",),
    "questions": ("question", "answers"),
}
"""What rows of each form have, to recognise one where another is read."""


class BadRow(ValueError):
    """A row that is no document. `what` of the row is at fault is told with its place, so that reasons count alike."""

    def __init__(self, why: str, *, what: str = "") -> None:
        super().__init__(why)
        self.what = what


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


def unpacked(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of a shard with what its `.txt` and `.json` say in place of their bytes."""
    return {name: _UNPACK[name](file) if name in _UNPACK and file is not None else file for name, file in row.items()}


def read_caption(row: Mapping[str, Any], folder: Path) -> Document:
    """An image and what is said of it, of a shard or of a conversation."""
    return (read_pair if SHARD_KEY in row else read_conversation)(row, folder)


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
    turns = row.get("conversations")
    if turns is None:
        raise _missing("conversations", row)
    waiting = [_picture(row["image"], folder)] if row.get("image") is not None else []
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
    if images is None and texts is None:
        raise _missing("images and texts", row)
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
        if captions == [None]:
            raise _missing("caption", row)
    return _picture(images[0], folder), *_texts(captions, of="caption")


def read_question(row: Mapping[str, Any], folder: Path) -> Document:
    """A picture, a question about it, which is not learnt, and what people answered."""
    if row.get("question") is None:
        raise _missing("question", row)
    question = Text(_words(row.get("question"), of="question"), learnt=False)
    return _picture(row.get("image"), folder), question, *_texts(row.get("answers"), of="answer")


def read_text(row: Mapping[str, Any], folder: Path) -> Document:
    if row.get("text") is None:
        raise _missing("text", row)
    return (Text(_words(row["text"], of="text")),)


READERS: Mapping[str, Reader] = {"caption": read_caption, "interleaved": read_interleaved, "text": read_text}
"""Source -> what reads its rows."""


def _missing(what: str, row: Mapping[str, Any]) -> BadRow:
    for form, keys in _FORMS.items():
        if all(row.get(key) is not None for key in keys):
            return BadRow(f"no {what}; it has {' and '.join(map(repr, keys))}, as {form} do")
    return BadRow(f"no {what}")


def _text_of(file: bytes) -> str:
    try:
        return file.decode()
    except UnicodeDecodeError:
        raise BadRow("a txt that is not UTF-8") from None


def _value_of(file: bytes) -> Any:
    try:
        return json.loads(file)
    except RecursionError:
        raise BadRow("a json nested too deeply") from None
    except UnicodeDecodeError:
        raise BadRow("a json that is not UTF-8") from None
    except ValueError:
        raise BadRow("a json that is none") from None


_UNPACK: Mapping[str, Callable[[bytes], Any]] = {"txt": _text_of, "json": _value_of}
"""What becomes of a row's files; images stay as they are."""


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
        raise BadRow(f"an image that cannot be read: {error.strerror}", what=value) from error
