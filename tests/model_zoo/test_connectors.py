"""What every connector of the menu promises; a new one is tested by its line there. docs/connectors.md is the guide to writing one."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from model_zoo.build import build_model
from model_zoo.config import Config
from model_zoo.connectors import KINDS
from model_zoo.connectors.connector import Shape
from model_zoo.data.batch import collate
from model_zoo.data.documents import caption_documents
from model_zoo.data.pictures import make_pool, training_digits
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.evaluate.loss import answer_loss
from model_zoo.initial import EMBEDDING_SD, initialise
from tests.model_zoo.counting import count_flops, count_saved_bytes

GRID = 4
SHAPE = Shape(num_patches=GRID**2, encoder_width=8, width=12)


def most(kind: str, *, grid: int = GRID) -> int:
    """As many tokens as it can give."""
    return KINDS[kind]().reachable_tokens(grid)[-1]


def make_connector(kind: str, *, num_tokens: int, shape: Shape = SHAPE, seed: int = 0):
    connector = KINDS[kind](num_tokens=num_tokens).build(shape)
    initialise(connector, seed=seed)
    return connector


def make_features(images: int = 3, *, grid: int = GRID):
    return torch.randn(images, grid**2, SHAPE.encoder_width, generator=torch.Generator().manual_seed(0))


def with_connector(config: Config, kind: str) -> Config:
    """The config with as many visual tokens as there are patches, or as many as this kind reaches below that."""
    connector = {"kind": kind, "num_tokens": most(kind, grid=config.encoder.grid)}
    return Config.model_validate(config.model_dump() | {"connector": connector})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grid", [1, 4, 6])
def test_connector_gives_exactly_the_tokens_it_promises(kind, grid):
    reachable = KINDS[kind]().reachable_tokens(grid)
    assert list(reachable) == sorted(set(reachable))
    for num_tokens in reachable:
        connector = make_connector(kind, num_tokens=num_tokens, shape=SHAPE._replace(num_patches=grid**2))
        assert connector(make_features(grid=grid)).shape == (3, num_tokens, SHAPE.width)


@pytest.mark.parametrize("kind", KINDS)
def test_connector_refuses_counts_it_cannot_give(kind):
    reachable = KINDS[kind]().reachable_tokens(GRID)
    for num_tokens in set(range(1, 18)) - set(reachable):
        written = {"encoder": {"image_size": 16}, "connector": {"kind": kind, "num_tokens": num_tokens}}
        with pytest.raises(ValidationError, match=rf"num_tokens is {num_tokens}, which kind {kind} cannot give .*: nearest \d+"):
            Config.model_validate(written)


@pytest.mark.parametrize("kind", KINDS)
def test_connector_counts_its_parameters(kind):
    for num_tokens in KINDS[kind]().reachable_tokens(GRID):
        built = sum(p.numel() for p in make_connector(kind, num_tokens=num_tokens).parameters())
        assert KINDS[kind](num_tokens=num_tokens).num_params(SHAPE) == built


@pytest.mark.parametrize("kind", KINDS)
def test_connector_counts_its_flops_as_torch_does(kind):
    features = make_features()
    for num_tokens in KINDS[kind]().reachable_tokens(GRID):
        connector = make_connector(kind, num_tokens=num_tokens)
        said = KINDS[kind](num_tokens=num_tokens).forward_flops(SHAPE)
        assert len(features) * said == count_flops(lambda connector=connector: connector(features))


@pytest.mark.parametrize("kind", KINDS)
def test_connector_counts_what_autograd_keeps(kind):
    shape = SHAPE._replace(encoder_width=32)
    features = torch.randn(64, GRID**2, 32)  # many images, so that weights and statistics of norms weigh little
    for num_tokens in KINDS[kind]().reachable_tokens(GRID):
        connector = make_connector(kind, num_tokens=num_tokens, shape=shape)
        weights = 4 * sum(p.numel() for p in connector.parameters())
        said = 4 * len(features) * KINDS[kind](num_tokens=num_tokens).numbers_kept(shape)
        assert abs(said - count_saved_bytes(lambda connector=connector: connector(features))) <= 0.1 * said + weights


@pytest.mark.parametrize("kind", KINDS)
def test_connector_has_no_weight_that_the_seed_does_not_draw(kind):
    torch.manual_seed(1)
    one = make_connector(kind, num_tokens=most(kind)).state_dict()
    torch.manual_seed(2)
    other = make_connector(kind, num_tokens=most(kind)).state_dict()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    third = make_connector(kind, num_tokens=most(kind), seed=1).state_dict()
    assert not all(torch.equal(one[name], third[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS)
def test_connector_starts_at_the_scale_of_words(kind):
    connector = make_connector(kind, num_tokens=most(kind), shape=Shape(num_patches=GRID**2, encoder_width=64, width=64))
    spread = connector(torch.randn(32, 16, 64, generator=torch.Generator().manual_seed(0))).std().item()
    assert EMBEDDING_SD / 4 < spread < 4 * EMBEDDING_SD


@pytest.mark.parametrize("kind", KINDS)
def test_connector_looks_at_every_patch_of_its_own_image_alone(kind):
    features = make_features().requires_grad_()
    tokens = make_connector(kind, num_tokens=most(kind))(features)
    tokens[1].square().sum().backward()
    assert [int((image.abs().sum(1) > 0).sum()) for image in features.grad] == [0, GRID**2, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_connector_teaches_every_parameter(kind):
    connector = make_connector(kind, num_tokens=most(kind))
    connector(make_features()).square().sum().backward()
    # one key bias for all patches moves every score alike, so softmax passes nothing on to it
    assert [name for name, p in connector.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", KINDS)
def test_model_answers_depend_on_their_own_image_only(tiny, kind):
    config = with_connector(tiny, kind)
    num_tokens = config.connector.num_tokens
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    pool = make_pool(training_digits(), num_scenes=5, image_size=16, rng=np.random.default_rng(0))
    documents = caption_documents(pool, rng=np.random.default_rng(0), number=3, pictures=1, num_tokens=num_tokens)
    batch = collate([documents], device="cpu")
    pixels = pool.pixels[batch.pictures].clone().requires_grad_()
    hidden = model(batch.tokens, features=model.encoder(pixels), groups=batch.groups)
    at_second_document = hidden.view(3, num_tokens + 5, -1)[1, num_tokens:]
    model.logits(at_second_document).square().sum().backward()
    # every pixel of the second document's image, none of the others'
    assert [int((image.abs() > 0).sum()) for image in pixels.grad] == [0, 256, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_model_learns_a_handful_of_captions_by_heart(tiny, kind):
    config = with_connector(tiny, kind)
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    pool = make_pool(training_digits(), num_scenes=4, image_size=16, rng=np.random.default_rng(0))
    documents = caption_documents(pool, rng=np.random.default_rng(1), number=6, pictures=1, num_tokens=config.connector.num_tokens)
    batch = collate([documents], device="cpu")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        loss = answer_loss(model, batch, features=model.encoder(pool.pixels[batch.pictures]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02  # guessing costs ln 10 = 2.3


def test_average_pool_takes_the_mean_of_each_quadrant():
    connector = make_connector("avg_pool", num_tokens=4, shape=Shape(num_patches=16, encoder_width=2, width=2))
    with torch.no_grad():
        connector.project.weight.copy_(torch.eye(2))
        connector.project.bias.zero_()
    features = torch.randn(1, 16, 2)
    lower_left = features.view(4, 4, 2)[2:, :2].mean((0, 1))
    torch.testing.assert_close(connector(features)[0, 2], lower_left)


def test_average_pool_of_every_patch_is_the_linear_projection():
    connector, features = make_connector("avg_pool", num_tokens=16), make_features()
    torch.testing.assert_close(connector(features), connector.project(features))


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_called_like_its_file(kind):
    assert KINDS[kind]().kind == kind
