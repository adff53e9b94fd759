"""What every encoder of the menu promises; a new one is tested by its line there."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from model_zoo import flops, trainable
from model_zoo.build import build_model
from model_zoo.config import Config
from model_zoo.connectors import KINDS as CONNECTORS
from model_zoo.data.batch import collate
from model_zoo.data.documents import caption_documents
from model_zoo.data.pictures import make_pool, training_digits
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.encoders import KINDS, read_encoder
from model_zoo.encoders.vit import ViT
from model_zoo.evaluate.loss import answer_loss
from model_zoo.initial import initialise
from tests.model_zoo.conftest import change, run, weights
from tests.model_zoo.counting import count_flops, count_saved_bytes

SHAPES = {
    "tiny": {},
    "coarse": {"image_size": 8},
    "fine": {"image_size": 32, "patch_size": 8},
    "RGB": {"image_size": 32, "num_channels": 3, "width": 48, "num_heads": 3},
}
DEEPER = {
    "hybrid": {"depths": (1, 2, 3, 2), "attention_stages": 2, "patch_size": 16, "image_size": 64},
    "vit": {"depth": 5},
    "clip": {"depth": 5, "intermediate_size": 100},
    "siglip": {"depth": 5, "intermediate_size": 100},
}
"""Fields of its own."""


def make_encoder(kind, *, seed=0, **settings):
    encoder = KINDS[kind](**settings).build()
    initialise(encoder, seed=seed)
    return encoder


def make_images(config, number=3):
    return torch.randn(number, config.num_channels, config.image_size, config.image_size, generator=torch.Generator().manual_seed(0))


def make_captions(config: Config, *, scenes=4, documents=6):
    """A batch of captions, and the pixels of its pictures."""
    pool = make_pool(training_digits(), num_scenes=scenes, image_size=config.encoder.image_size, rng=np.random.default_rng(0))
    rng, num_tokens = np.random.default_rng(1), config.connector.num_tokens
    batch = collate([caption_documents(pool, rng=rng, number=documents, pictures=1, num_tokens=num_tokens)], device="cpu")
    return batch, pool.pixels[batch.pictures]


def with_encoder(config: Config, kind: str, **settings) -> Config:
    """The config with an encoder of that kind, 16 wide, in the place of its own."""
    return Config.model_validate(config.model_dump(mode="json") | {"encoder": {"kind": kind, "width": 16} | settings})


def with_kinds(config: Config, *, encoder: str, connector: str, **settings) -> Config:
    """As many visual tokens as that connector can give."""
    num_tokens = CONNECTORS[connector]().reachable_tokens(config.encoder.grid)[-1]
    return with_encoder(change(config, connector={"kind": connector, "num_tokens": num_tokens}), encoder, **settings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [*SHAPES, "deeper"])
def test_encoder_costs_what_torch_counts(kind, shape):
    settings = SHAPES.get(shape, DEEPER[kind])
    config = KINDS[kind](**settings)
    encoder, images = make_encoder(kind, **settings), make_images(config, 64)
    params = sum(p.numel() for p in encoder.parameters())
    assert encoder(images).shape == (64, config.num_patches, config.width)
    assert config.num_params == params
    assert len(images) * config.forward_flops == count_flops(lambda: encoder(images))
    said = 4 * len(images) * config.numbers_kept
    assert abs(said - count_saved_bytes(lambda: encoder(images))) <= 0.1 * said + 4 * params


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_has_no_weight_that_the_seed_does_not_draw(kind):
    torch.manual_seed(1)
    one = make_encoder(kind).state_dict()
    torch.manual_seed(2)
    other, third = make_encoder(kind).state_dict(), make_encoder(kind, seed=1).state_dict()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert not all(torch.equal(one[name], third[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_looks_at_every_pixel_of_its_own_image_alone(kind):
    images = make_images(KINDS[kind](num_channels=3)).requires_grad_()
    make_encoder(kind, num_channels=3)(images)[1, 0].square().sum().backward()
    assert [int((image != 0).sum()) for image in images.grad] == [0, 3 * 256, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_gives_an_image_the_same_features_alone_and_trained_or_not(kind):
    encoder, images = make_encoder(kind), make_images(KINDS[kind]())
    together = encoder(images)
    for place in range(len(images)):
        torch.testing.assert_close(encoder.eval()(images[place : place + 1])[0], together[place], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_puts_a_patch_where_its_pixels_are(kind):
    """Row by row: what is drawn at one place changes the feature there most."""
    encoder, image = make_encoder(kind), make_images(KINDS[kind](), 1)
    for row, column in ((1, 3), (3, 1), (0, 2)):
        drawn = image.clone()
        drawn[..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] *= -1
        moved = (encoder(drawn) - encoder(image)).norm(dim=-1)[0]
        assert moved.argmax() == 4 * row + column


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_repeats_grey_images_over_its_channels(kind):
    encoder, grey = make_encoder(kind, num_channels=3), torch.randn(2, 16, 16)
    assert torch.equal(encoder(grey), encoder(torch.stack([grey, grey, grey], dim=1)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (torch.zeros(1, 3, 16, 16), "images have 3 channels, the config says 1"),
        (torch.zeros(1, 1, 16, 24), r"images are \(16, 24\), the config says 16 px a side"),
    ],
)
def test_encoder_refuses_images_of_another_shape(kind, pixels, words):
    with pytest.raises(ValueError, match=words):
        make_encoder(kind)(pixels)


@pytest.mark.parametrize("encoder", KINDS)
@pytest.mark.parametrize("connector", CONNECTORS)
def test_model_of_these_kinds_is_counted_and_learns_with_every_parameter(tiny, encoder, connector):
    config = with_kinds(tiny, encoder=encoder, connector=connector, num_channels=3)
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    assert flops.total_params(config) == sum(p.numel() for p in model.parameters())
    batch, pixels = make_captions(config)
    answer_loss(model, batch, features=model.encoder(pixels)).backward()
    blank = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert blank == set()


@pytest.mark.parametrize("connector", CONNECTORS)
def test_model_with_a_hybrid_encoder_learns_a_handful_of_captions_by_heart(tiny, connector):
    # the vision transformer does so in test_connectors.py
    config = with_kinds(tiny, encoder="hybrid", connector=connector)
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    batch, pixels = make_captions(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        loss = answer_loss(model, batch, features=model.encoder(pixels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02  # guessing costs ln 10 = 2.3


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_stage_learns_by_contrast(tiny, make_worker, kind):
    config = with_encoder(tiny, kind, width=32, pretrain={"steps": 100, "batch_size": 16})
    worker = make_worker()
    trainable.train(trainable.stages(config)[0], {}, worker)
    losses = [value for _, name, value in worker.points if name == "encoder_loss"]
    assert losses[-1] < 0.75 * math.log(16)  # of what guessing costs; measured 0.57 and 0.59


@pytest.mark.parametrize("kind", KINDS)
def test_trial_of_an_encoder_at_another_resolution_starts_from_its_weights(tiny, make_worker, kind):
    config = with_encoder(tiny, kind, num_channels=3, image_size=24, pretrain={"resolution": 16, "steps": 3, "batch_size": 4})
    worker = run(config, make_worker)
    before, after = load_file(worker.dir.parent / "trial-encoder" / "encoder.safetensors"), weights(worker)  # frozen
    kept = {name: tensor for name, tensor in before.items() if "position_embedding" not in name}  # those are interpolated
    assert all(torch.equal(tensor, after[f"encoder.{name}"]) for name, tensor in kept.items())
    assert math.isfinite(worker.last["val_loss"])


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_survives_json(kind):
    config = KINDS[kind](num_channels=3)
    assert read_encoder(config.model_dump(mode="json")) == config


def test_vit_of_one_channel_is_dumped_as_before_there_were_others():
    """So that stages that were run stay what they are."""
    assert ViT().model_dump(mode="json", exclude={"pretrain"}) == {
        "patch_size": 4,
        "image_size": 16,
        "num_heads": 2,
        "width": 64,
        "depth": 2,
        "training": "frozen",
        "features": "computed",
    }


@pytest.mark.parametrize(("found", "nearest"), [(0, "1"), (2, "1, 3"), (4, "3")])
def test_channels_that_no_image_has_are_refused(found, nearest):
    with pytest.raises(ValidationError, match=rf"{found} channels: an image has 1 \(grey\) or 3 \(RGB\): nearest {nearest}"):
        ViT(num_channels=found)
