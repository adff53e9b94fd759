"""What LoRA adds to parameters, FLOPs and memory, against what `peft` adds and torch counts."""

import numpy as np
import pytest
import torch

from model_zoo import flops
from model_zoo.build import build_decoder, build_encoder, build_model
from model_zoo.config import Config
from model_zoo.data.batch import collate
from model_zoo.data.pictures import make_pool, training_digits
from model_zoo.data.stream import draw_step
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.decoders.packed import Group
from model_zoo.encoders import KINDS as ENCODERS
from model_zoo.evaluate.loss import answer_loss
from model_zoo.initial import initialise
from model_zoo.linear import lora_flops, lora_numbers_kept, lora_params
from model_zoo.lora import add_adapters
from model_zoo.trainable import stages
from tests.model_zoo.counting import count_flops, count_saved_bytes
from tests.model_zoo.test_decoder_costs import CASES, read
from tests.model_zoo.test_encoders import DEEPER

RANK = 3


def adapt(part: torch.nn.Module, *, rank: int = RANK) -> int:
    """Freezes it and adds adapters; how many parameters these have."""
    part.requires_grad_(False)
    before = sum(p.numel() for p in part.parameters())
    add_adapters(part, rank=rank, alpha=16, seed=0)
    return sum(p.numel() for p in part.parameters()) - before


def kept_bytes(part: torch.nn.Module, forward) -> int:
    """For the backward pass, without weights."""
    return count_saved_bytes(forward) - 4 * sum(p.numel() for p in part.parameters())


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_adapted_decoder_costs_what_is_added_and_counted(kind, shape):
    settings = read(kind, shape)
    decoder = build_decoder(settings, vocabulary_size=11)
    initialise(decoder, seed=0)
    assert adapt(decoder) == lora_params(settings.linear_maps, rank=RANK)
    x, groups = torch.randn(64 * 16, settings.width, requires_grad=True), [Group(64, 16)]
    added = len(x) * lora_flops(settings.linear_maps, rank=RANK)
    plain, attention = 64 * settings.forward_flops(length=16), 64 * settings.attention_flops(length=16)
    assert count_flops(lambda: decoder(x, groups=groups)) == plain + added
    both = count_flops(lambda: decoder(x, groups=groups).sum().backward())
    assert both == 2 * (plain - attention) + 3 * attention + 3 * added

    wider = build_decoder(settings, vocabulary_size=11)
    initialise(wider, seed=0)
    adapt(wider, rank=2 * RANK)
    kept, more = (kept_bytes(part, lambda part=part: part(x, groups=groups)) for part in (decoder, wider))
    unit = 4 * len(x) * lora_numbers_kept(settings.linear_maps, rank=RANK)
    assert more - kept == unit
    # measured 1.0 to 1.28: what only gains of norms would need is not kept, and counted
    assert kept <= 1.05 * (4 * len(x) * settings.numbers_kept + unit) <= 1.4 * kept


@pytest.mark.parametrize("deeper", [False, True])
@pytest.mark.parametrize("kind", ENCODERS)
def test_adapted_encoder_costs_what_is_added_and_counted(kind, deeper):
    settings = ENCODERS[kind](**(DEEPER[kind] if deeper else {}), pretrain={"objective": "none"})
    encoder = build_encoder(settings, files=False)
    initialise(encoder, seed=0)
    assert adapt(encoder) == lora_params(settings.linear_maps, rank=RANK)
    pixels = torch.randn(5, settings.num_channels, settings.image_size, settings.image_size, requires_grad=True)
    plain, attention = settings.forward_flops, settings.attention_flops
    added = lora_flops(settings.linear_maps, rank=RANK)
    assert count_flops(lambda: encoder(pixels)) == 5 * (plain + added)
    if kind != "hybrid":  # torch prices a depthwise convolution's backward as a dense one
        both = count_flops(lambda: encoder(pixels).sum().backward())
        assert both == 5 * (2 * (plain - attention) + 3 * (attention + added))
    wider = build_encoder(settings, files=False)
    initialise(wider, seed=0)
    adapt(wider, rank=2 * RANK)
    kept, more = (kept_bytes(part, lambda part=part: part(pixels)) for part in (encoder, wider))
    unit = 4 * 5 * lora_numbers_kept(settings.linear_maps, rank=RANK)
    assert more - kept == unit
    assert kept <= 1.05 * (4 * 5 * settings.numbers_kept + unit) <= 1.4 * kept


def test_stage_with_adapters_counts_them():
    lora = {"training": "lora"}
    written = {"encoder": lora, "decoder": lora, "train": {"rows_per_step": 80, "lora_rank": RANK}, "data": {"mix": "0:1:0"}}
    config = Config.model_validate(written)
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    adapt(model.encoder)
    adapt(model.decoder)
    stage = stages(config)[-1]
    assert stage.total_params == sum(p.numel() for p in model.parameters())

    pool = make_pool(training_digits(), num_scenes=9, image_size=16, rng=np.random.default_rng(0))
    batch = collate(draw_step(pool, mix=config.data.mix, seed=0, step=1, num_rows=80, num_tokens=4), device="cpu")
    pixels = pool.pixels[batch.pictures]
    counted = count_flops(lambda: answer_loss(model, batch, features=model.encoder(pixels)).backward())
    assert flops.pretrain_step_flops(config) == pytest.approx(counted, rel=0.03)  # documents are drawn, pixels need no gradient

    doubled = Config.model_validate(written | {"train": {"rows_per_step": 80, "lora_rank": 2 * RANK}})
    trained = 16 * flops.adapter_params(config)  # AdamW's four numbers each
    kept = flops.activation_bytes(doubled) - flops.activation_bytes(config)
    assert kept > 0
    assert stages(doubled)[-1].memory_bytes - stage.memory_bytes == pytest.approx(trained + kept)
    assert stages(doubled)[-1].train_flops > stage.train_flops
