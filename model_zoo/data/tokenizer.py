"""Text to tokens: bytes, which need no file, or a `tokenizer.json`."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from model_zoo.data.settings import Files

BYTES = "bytes"
NUM_BYTES = 256


class Tokenizer(Protocol):
    end: int
    """What a document ends with."""
    image: int
    """Placeholder of one visual token; no text becomes it."""
    size: int
    """Of the vocabulary, the placeholder included."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, tokens: Sequence[int]) -> str:
        """What tokens say; the end and the placeholder say nothing."""


class _Bytes:
    end, image, size = NUM_BYTES, NUM_BYTES + 1, NUM_BYTES + 2

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(token for token in tokens if token < NUM_BYTES).decode(errors="replace")


class _FromFile:
    def __init__(self, path: Path, *, end_token: str) -> None:
        from tokenizers import Tokenizer as Whole

        try:
            self._whole = Whole.from_file(str(path))
        except Exception as error:  # the library raises Exception itself
            raise ValueError(f"{path} is no tokenizer.json: {error}") from error
        self._whole.encode_special_tokens = True  # a text that has the end token's letters does not end there
        end = self._whole.token_to_id(end_token)
        if end is None:
            raise ValueError(f"{path} has no token '{end_token}': name the one that ends its documents as end_token")
        self.end = end
        self.image = self._whole.get_vocab_size()
        self.size = self.image + 1

    def encode(self, text: str) -> list[int]:
        found: list[int] = self._whole.encode(text, add_special_tokens=False).ids
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        found: str = self._whole.decode([token for token in tokens if token not in (self.end, self.image)], skip_special_tokens=True)
        return found


@lru_cache(maxsize=8)
def open_tokenizer(name: str, *, end_token: str) -> Tokenizer:
    """`bytes`, or the path of a `tokenizer.json`. Raises ValueError where that is none."""
    return _Bytes() if name == BYTES else _FromFile(Path(name), end_token=end_token)


def tokenizer_of(files: Files) -> Tokenizer:
    """The one that they name. Raises ValueError where it is none, or not of the size that they say."""
    found = open_tokenizer(files.tokenizer, end_token=files.end_token)
    if found.size != files.vocabulary_size:
        raise ValueError(f"tokenizer {files.tokenizer} has {found.size:,} tokens with the image's: set vocabulary_size to that")
    return found
