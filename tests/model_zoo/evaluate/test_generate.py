"""What a model writes after prompts: the same as one token at a time and one prompt at a time, and no further than an answer goes."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from model_zoo.build import build_model
from model_zoo.config import Config
from model_zoo.data.tokenizer import open_tokenizer
from model_zoo.decoders.packed import Group
from model_zoo.evaluate import generate as module
from model_zoo.evaluate.generate import Asked, generate
from model_zoo.initial import initialise
from model_zoo.vlm import VisionLanguageModel

BYTES = open_tokenizer("bytes", end_token="")
NUM_TOKENS = 4
PICTURES = (b"one", b"two", b"three")


def see(pictures: Sequence[bytes]) -> Tensor:
    """Features that differ by picture; 16 patches of an encoder of width 8."""
    return torch.stack([torch.randn(16, 8, generator=torch.Generator().manual_seed(len(picture))) for picture in pictures])


def asked(text: str, *pictures: bytes) -> Asked:
    return Asked((*[BYTES.image] * NUM_TOKENS * len(pictures), *BYTES.encode(text)), pictures)


class Scripted:
    """Knows one text by heart, whatever it is asked, and would rather write a placeholder than anything else."""

    def __init__(self, text: str, *, ends: bool) -> None:
        self.script = [*BYTES.encode(text), *[BYTES.end] * ends]
        self.passes = 0

    def __call__(self, tokens: Tensor, *, features: Tensor, groups: Sequence[Group]) -> Tensor:
        said = self.script[self.passes]
        self.passes += 1
        hidden = torch.zeros(len(tokens), BYTES.size)
        hidden[:, said], hidden[:, BYTES.image] = 1, 2
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


def written(model: Scripted, *, at_most: int = 20) -> list[str]:
    return generate(model, [asked("Q", b"one")], tokenizer=BYTES, see=see, max_new_tokens=at_most, device="cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "text", "passes"),
    [
        (Scripted(" a cat", ends=True), "a cat", 7),
        (Scripted(" a cat\n Question: Who?", ends=True), "a cat", 7),
        (Scripted("\na cat", ends=True), "", 1),
        (Scripted("a cat", ends=False), "a c", 3),
        (Scripted("", ends=True), "", 1),
    ],
)
def test_answer_ends_at_the_end_token_a_line_break_or_its_longest(model: Scripted, text: str, passes: int) -> None:
    assert written(model, at_most=3 if text == "a c" else 20) == [text]
    assert model.passes == passes


class Phrases:
    """A tokenizer whose tokens are more than a letter."""

    words, end, image, size = (" a", " cat.\n\nQuestion", " dog"), BYTES.end, BYTES.image, BYTES.size

    def encode(self, text: str) -> list[int]:
        return [0]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self.words[token] for token in tokens)


def test_what_a_token_says_after_its_line_break_is_no_part_of_the_answer() -> None:
    model = Scripted("", ends=True)
    model.script = [0, 1, 2]
    found = generate(model, [asked("Q", b"one")], tokenizer=Phrases(), see=see, max_new_tokens=3, device="cpu")  # type: ignore[arg-type]
    assert (found, model.passes) == (["a cat."], 2)


@torch.no_grad()
@pytest.mark.parametrize("decoder", [{"kind": "packed", "keys": "smeared"}, {"kind": "llama"}, {"kind": "qwen2"}])
def test_prompts_together_are_answered_as_one_by_one(decoder: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = {"patch_size": 4, "image_size": 16, "width": 8, "depth": 1}
    shape = {"width": 16, "depth": 1}
    config = Config.model_validate({"encoder": encoder, "connector": {"num_tokens": NUM_TOKENS}, "decoder": decoder | shape})
    model = build_model(config, vocabulary_size=BYTES.size, image_token=BYTES.image)
    initialise(model, seed=5)
    prompts = [asked("What? A:", b"one", b"two"), asked("Who? B:", b"three"), asked("When? C", b"two"), asked("Why? D:", b"one", b"one")]
    expected = [one_by_one(model, prompt, at_most=6) for prompt in prompts]
    assert len(set(expected)) > 1
    for at_once in (1, 40, 8192):
        monkeypatch.setattr(module, "TOKENS_AT_ONCE", at_once)
        assert generate(model, prompts, tokenizer=BYTES, see=see, max_new_tokens=6, device="cpu") == expected


def one_by_one(model: VisionLanguageModel, prompt: Asked, *, at_most: int) -> str:
    """The definition, without batches."""
    tokens = list(prompt.tokens)
    for _ in range(at_most):
        hidden = model(torch.tensor(tokens), features=see(prompt.pictures), groups=(Group(1, len(tokens)),))
        logits = model.logits(hidden)[-1]
        logits[BYTES.image] = -torch.inf
        if (token := int(logits.argmax())) == BYTES.end:
            break
        tokens.append(token)
        if token == ord("\n"):
            break
    return BYTES.decode(tokens[len(prompt.tokens) :]).partition("\n")[0].strip()
