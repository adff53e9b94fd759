"""Text to tokens and back."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from model_zoo.data.tokenizer import open_tokenizer

TEXTS = ["A photo of", " two dogs,\nand a cat", "Grüße 雪"]


@pytest.fixture
def file(tmp_path: Path) -> str:
    whole = Tokenizer(models.BPE())
    whole.pre_tokenizer, whole.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    whole.train_from_iterator(TEXTS, trainer)
    whole.save(str(tmp_path / "tokenizer.json"))
    return str(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("kind", ["bytes", "file"])
@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_without_what_says_nothing(kind: str, text: str, file: str) -> None:
    tokenizer = open_tokenizer(file if kind == "file" else kind, end_token="</s>")  # noqa: S106
    tokens = tokenizer.encode(text)
    assert len(tokens) > 1
    assert tokenizer.decode(tokens) == text
    assert tokenizer.decode([tokenizer.image, *tokens, tokenizer.end]) == text


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert open_tokenizer("bytes", end_token="").decode(list("é".encode())[:1]) == "\ufffd"


def test_text_with_the_letters_of_the_end_token_does_not_end_there(file: str) -> None:
    tokenizer = open_tokenizer(file, end_token="</s>")  # noqa: S106
    tokens = tokenizer.encode("a cat</s> the dog")
    assert tokenizer.end not in tokens
    assert tokenizer.decode(tokens) == "a cat</s> the dog"
