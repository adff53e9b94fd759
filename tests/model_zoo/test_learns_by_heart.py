"""Every encoder with every connector and every decoder: an answer comes from the image before it and from nothing after, and is learnt.

Documents are the 12 ordered pairs of 4 images, each image asked about and named by a word of its own:

    [ASK] [image] word [ASK] [image] word

No text tells the words apart but that the second differs from the first, so who does not see guesses at ln 4 and ln 3 nats. A document
begins with two different tokens: rotary positions cannot tell a token from the same one twice.
"""

import itertools
from typing import Any, NamedTuple, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model_zoo.build import build_model
from model_zoo.config import Config
from model_zoo.connectors import KINDS as CONNECTORS
from model_zoo.decoders import from_transformers  # noqa: F401  # seconds that would be the first test's
from model_zoo.decoders.decoder import Decoder
from model_zoo.decoders.packed import Group
from model_zoo.encoders import KINDS as ENCODERS
from model_zoo.initial import initialise
from model_zoo.vlm import VisionLanguageModel

WORDS, ASK, IMAGE = range(4), 4, 5
SIDE, GRID = 8, 2
"""Of an image, in pixels and in patches."""
DECODERS: dict[str, dict[str, Any]] = {model().kind: {"kind": model().kind} for model in get_args(get_args(Decoder)[0])} | {
    "packed-smeared": {"keys": "smeared"},
    "packed-experts": {"moe": {"num_experts": 3, "every": 1}},
}
LEARNT = 0.02
"""Nats: each right word has a probability of 0.98, while guessing costs (ln 4 + ln 3) / 2 = 1.24."""
STEPS = 60
"""At most; the slowest combination needs 33."""


class Documents(NamedTuple):
    """N documents of L tokens."""

    shown: Tensor
    """[N, 2] numbers of images, which are the words too."""
    tokens: Tensor
    """[N, L]"""
    asked_at: Tensor
    """[N, 2] places in the flat tokens, of which the next one is a word."""


def make_documents(num_tokens: int) -> Documents:
    shown = torch.tensor(list(itertools.permutations(WORDS, 2)))
    segments = [torch.full((*shown.shape, 1), ASK), torch.full((*shown.shape, num_tokens), IMAGE), shown[..., None]]
    tokens = torch.cat(segments, 2).flatten(1)
    places = torch.arange(tokens.numel()).view(tokens.shape)
    return Documents(shown, tokens, places[:, num_tokens :: num_tokens + 2])


def make_images() -> Tensor:
    return torch.randn(len(WORDS), SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def make_model(encoder: str, connector: str, decoder: str) -> tuple[VisionLanguageModel, Documents]:
    """16 wide, with as many visual tokens as the connector can give."""
    num_tokens = CONNECTORS[connector]().reachable_tokens(GRID)[-1]
    config = Config.model_validate(
        {
            "encoder": {"kind": encoder, "image_size": SIDE, "patch_size": SIDE // GRID, "width": 16, "pretrain": {"objective": "none"}},
            "connector": {"kind": connector, "num_tokens": num_tokens},
            "decoder": {"width": 16, "depth": 1, **DECODERS[decoder]},
        }
    )
    model = build_model(config, vocabulary_size=IMAGE + 1, image_token=IMAGE)
    initialise(model, seed=0)
    return model, make_documents(num_tokens)


def logits_of(model: VisionLanguageModel, documents: Documents, *, images: Tensor) -> Tensor:
    """Of the words asked for, [N, 2, V]; images [N, 2, S, S]"""
    features = model.encoder(images.flatten(0, 1))
    hidden = model(documents.tokens.flatten(), features=features, groups=[Group(*documents.tokens.shape)])
    return model.logits(hidden[documents.asked_at])


def loss_of(model: VisionLanguageModel, documents: Documents, *, images: Tensor) -> Tensor:
    logits = logits_of(model, documents, images=images[documents.shown])
    return F.cross_entropy(logits.flatten(0, 1), documents.shown.flatten())


def combinations() -> list[Any]:
    """All of them, slow but for a few in which every kind comes once."""
    menus = (list(ENCODERS), list(CONNECTORS), list(DECODERS))
    few = {tuple(menu[place % len(menu)] for menu in menus) for place in range(max(map(len, menus)))}
    return [pytest.param(*names, marks=[] if names in few else pytest.mark.slow) for names in itertools.product(*menus)]


@pytest.mark.parametrize(("encoder", "connector", "decoder"), combinations())
def test_words_for_images_are_learnt_by_heart(encoder: str, connector: str, decoder: str) -> None:
    model, documents = make_model(encoder, connector, decoder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    images = make_images()
    for _ in range(STEPS):
        loss = loss_of(model, documents, images=images)
        if loss < LEARNT:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < LEARNT
    # another image makes it name another word: worse than twice a guess
    assert loss_of(model, documents, images=images.roll(1, 0)) > 2.5


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("connector", CONNECTORS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_answer_depends_on_every_pixel_of_the_images_before_it_alone(encoder: str, connector: str, decoder: str) -> None:
    model, documents = make_model(encoder, connector, decoder)
    images = make_images()[documents.shown].requires_grad_()
    logits = logits_of(model, documents, images=images)
    for answer, expected in enumerate(([SIDE**2, 0], [SIDE**2, SIDE**2])):
        (gradient,) = torch.autograd.grad(logits[1, answer].square().sum(), images, retain_graph=True)
        reached = (gradient != 0).sum((2, 3))
        assert reached.tolist() == [[0, 0], expected] + [[0, 0]] * 10


@pytest.mark.parametrize("decoder", DECODERS)
def test_hidden_state_depends_on_its_document_up_to_its_token_alone(decoder: str) -> None:
    model, _ = make_model("vit", "avg_pool", decoder)
    x = torch.randn(17, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    hidden = model.decoder(x, groups=[Group(2, 5), Group(1, 7)])  # documents 0-4, 5-9, 10-16
    (gradient,) = torch.autograd.grad(hidden[7].sum(), x)
    assert (gradient != 0).any(1).nonzero().ravel().tolist() == [5, 6, 7]
