"""Closed forms against torch's own counts."""

import numpy as np
import pytest
import torch

from model_zoo import flops
from model_zoo.build import build_model
from model_zoo.config import Config
from model_zoo.data.batch import collate
from model_zoo.data.pictures import make_pool, training_digits
from model_zoo.data.rows import ROWS
from model_zoo.data.stream import draw_step
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.encoders.contrast import Contrast
from model_zoo.encoders.encoder import objective_params
from model_zoo.evaluate.loss import answer_loss
from model_zoo.initial import initialise
from model_zoo.train_encoder import EncoderTraining
from model_zoo.trainable import stages
from tests.model_zoo.counting import count_flops, count_saved_bytes

SHAPES = {
    "avg_pool": {"connector": {"kind": "avg_pool"}},
    "attention_pool": {"connector": {"kind": "attention_pool", "num_tokens": 5}},
    "c_abstractor": {"connector": {"kind": "c_abstractor"}},
    "many tokens": {"connector": {"kind": "c_abstractor", "num_tokens": 16}, "decoder": {"keys": "smeared"}},
    "experts": {"decoder": {"num_heads": 4, "num_kv_heads": 2, "moe": {"num_experts": 4}}},
    "qwen": {"decoder": {"kind": "qwen3", "num_heads": 4, "num_kv_heads": 2, "mlp_hidden_size": 96}},
    "wide and deep": {
        "connector": {"kind": "c_abstractor"},
        "decoder": {"width": 120, "depth": 3, "num_heads": 4, "keys": "smeared"},
        "encoder": {"width": 48, "depth": 3, "num_heads": 3, "image_size": 24},
    },
}


def make_step(config: Config):
    """A model, one step's batch, and the features of its pictures."""
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    rng = np.random.default_rng(0)
    pool = make_pool(training_digits(), num_scenes=9, image_size=config.encoder.image_size, rng=rng)
    num_tokens = config.connector.num_tokens
    documents = draw_step(pool, mix=config.data.mix, seed=0, step=1, num_rows=8, num_tokens=num_tokens)
    batch = collate(documents, device="cpu")
    return model, batch, pool.pixels[batch.pictures]


@pytest.mark.parametrize("shape", SHAPES)
def test_params_equal_those_of_the_built_model(shape):
    config = Config.model_validate(SHAPES[shape])
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    decoder = model.decoder
    assert counts["encoder"] == config.encoder.num_params
    assert counts["connector"] == config.connector.num_params(config.connector_shape)
    embeddings = decoder.embedding.weight.numel() + decoder.head.weight.numel()
    assert embeddings == flops.embedding_params(config.decoder, config.data)
    assert counts["decoder"] - embeddings == config.decoder.num_params
    assert sum(counts.values()) == flops.total_params(config)


@pytest.mark.parametrize("shape", SHAPES)
def test_stages_count_what_they_hold(shape):
    config = Config.model_validate(SHAPES[shape])
    encoder, pretrain = stages(config)
    model, objective = (
        build_model(config, vocabulary_size=SIZE, image_token=IMAGE),
        Contrast(config.encoder.width, caption_length=4, num_words=10),
    )
    assert encoder.total_params == sum(p.numel() for part in (model.encoder, objective) for p in part.parameters())
    assert (encoder.num_params, encoder.embedding_params, encoder.active_params) == (0, 0, 0)
    assert pretrain.total_params == sum(p.numel() for p in model.parameters())
    assert pretrain.embedding_params == model.decoder.embedding.weight.numel() + model.decoder.head.weight.numel()
    assert pretrain.num_params == sum(p.numel() for p in model.decoder.parameters()) - pretrain.embedding_params


def test_stages_dense_decoder_uses_all_its_parameters_a_token():
    """A token's gradient reaches every non-embedding parameter of the language model."""
    config = Config.model_validate(SHAPES["many tokens"])
    model, batch, pixels = make_step(config)
    answer_loss(model, batch, features=model.encoder(pixels)).backward()
    outside = {id(p) for part in (model.decoder.embedding, model.decoder.head) for p in part.parameters()}
    reached = sum(p.numel() for p in model.decoder.parameters() if id(p) not in outside and p.grad is not None)
    assert stages(config)[-1].active_params == reached


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_flops_equal_torchs_count(shape):
    config = Config.model_validate(SHAPES[shape])
    model, batch, pixels = make_step(config)
    images = len(pixels)
    assert count_flops(lambda: model.encoder(pixels)) == images * config.encoder.forward_flops
    features = model.encoder(pixels)
    connector = config.connector.forward_flops(config.connector_shape)
    documents = (g.number * config.decoder.forward_flops(length=g.length) for g in batch.groups)
    head = 2 * len(batch.answers) * config.decoder.width * SIZE
    assert count_flops(lambda: answer_loss(model, batch, features=features)) == images * connector + sum(documents) + head


@pytest.mark.parametrize("shape", ["avg_pool", "attention_pool"])
def test_backward_is_twice_forward(shape):
    # torch prices the depthwise convolution's backward as a dense one, so the C-Abstractor has no oracle here
    model, batch, pixels = make_step(Config.model_validate(SHAPES[shape]))
    features = model.encoder(pixels).detach()
    forward = count_flops(lambda: answer_loss(model, batch, features=features))
    both = count_flops(lambda: answer_loss(model, batch, features=features).backward())
    assert both == pytest.approx(3 * forward, rel=0.02)  # the connector's first layer passes no gradient on


@pytest.mark.parametrize("objective", ["contrastive", "reconstructive"])
@pytest.mark.parametrize(("image_size", "num_channels"), [(16, 1), (24, 1), (64, 1), (24, 3)])
def test_encoder_stage_costs_what_torch_counts(objective, image_size, num_channels):
    encoder = {"image_size": image_size, "num_channels": num_channels, "pretrain": {"objective": objective}}
    config = Config.model_validate({"encoder": encoder}).encoder
    training = EncoderTraining(config)
    initialise(training, seed=0)
    pixels = torch.randn(config.pretrain.batch_size, image_size, image_size)
    captions, rng = torch.zeros(len(pixels), 4, dtype=torch.long), np.random.default_rng(0)
    counted = count_flops(lambda: training(pixels, captions=captions, rng=rng))
    assert 3 * config.pretrain.steps * counted == flops.encoder_stage_flops(config)
    params = sum(p.numel() for p in training.parameters())
    assert params == config.num_params + objective_params(config)
    kept = count_saved_bytes(lambda: training(pixels, captions=captions, rng=rng))
    assert flops.encoder_stage_memory(config) - 12 * params == pytest.approx(kept, rel=0.15)  # gradient and moments are not kept here


def test_step_flops_are_the_mean_of_what_steps_draw():
    config = Config.model_validate({"data": {"mix": "2:5:1"}, "train": {"rows_per_step": 2000}})
    pool = make_pool(training_digits(), num_scenes=9, image_size=16, rng=np.random.default_rng(0))
    drawn = draw_step(pool, mix=config.data.mix, seed=0, step=0, num_rows=2000, num_tokens=4)
    batch = collate(drawn, device="cpu")
    assert len(batch.tokens) == pytest.approx(flops.tokens_per_step(config), rel=0.02)
    assert len(batch.pictures) == pytest.approx(flops.pictures_per_step(config), rel=0.02)


def test_rows_describe_the_documents_drawn():
    pool = make_pool(training_digits(), num_scenes=9, image_size=16, rng=np.random.default_rng(0))
    mix = Config().data.mix
    drawn = draw_step(pool, mix=mix, seed=0, step=0, num_rows=60, num_tokens=4)
    kinds = {name: kind for source in ROWS.values() for name, kind in source.items()}
    for (_, kind), documents in zip(sorted(kinds.items()), drawn, strict=True):
        assert documents.pictures.shape[1] == kind.pictures
        assert documents.tokens.shape[1] == kind.pictures * 4 + kind.tokens
        assert ((documents.targets >= 0).sum(1) == kind.answers).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_activation_bytes_are_near_what_autograd_keeps(shape):
    config = Config.model_validate(SHAPES[shape])
    model, batch, pixels = make_step(config)
    encoder = flops.BYTES * len(pixels) * config.encoder.numbers_kept
    rest = flops.BYTES * len(batch.tokens) * config.decoder.numbers_kept
    rest += 4 * len(pixels) * config.connector.numbers_kept(config.connector_shape)
    weights = 4 * sum(p.numel() for p in model.parameters())
    features = model.encoder(pixels).detach()
    # measured within 9 %: small buffers and, for layers, statistics of norms are left out
    assert encoder == pytest.approx(count_saved_bytes(lambda: model.encoder(pixels)), rel=0.12)
    kept = count_saved_bytes(lambda: answer_loss(model, batch, features=features)) - weights
    assert rest == pytest.approx(kept, rel=0.15)


def test_frozen_encoder_costs_less_than_a_trained_one():
    frozen, full = (Config.model_validate({"encoder": {"training": training}}) for training in ("frozen", "full"))
    assert flops.pretrain_stage_flops(frozen) < flops.pretrain_stage_flops(full)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_devices_share_activations_and_where_they_are_sharded_what_is_kept_of_trained_weights(optimizer):
    def share(**train):
        stage = stages(Config.model_validate({"encoder": {"training": "full"}, "train": train | {"optimizer": optimizer}}))[-1]
        return stage.shared_bytes, stage.memory_bytes, stage.total_params

    replicated, memory, params = share()
    assert share(rows_per_step=16)[0] == 2 * replicated
    assert share(accumulate=4)[0] == replicated / 4
    assert memory - replicated > (16 if optimizer == "adamw" else 8) * params  # all that is trained is on each
    if optimizer == "adamw":
        sharded, same_memory, _ = share(sharding="sharded")
        assert same_memory == memory
        assert sharded - replicated == 12 * params  # gradient and two moments of each, in float32
    upstream = stages(Config())[0]
    assert upstream.shared_bytes == 0
