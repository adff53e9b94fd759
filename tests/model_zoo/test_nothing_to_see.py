"""Steps, or micro-batches, without a picture: texts are documents like others, whatever encoder stands beside them."""

import math

import pytest
import torch

from model_zoo import flops
from model_zoo.build import build_model
from model_zoo.config import Config
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.decoders.packed import Group
from model_zoo.encoders import KINDS
from model_zoo.encoders.encoder import EncoderSettings
from model_zoo.initial import initialise
from tests.model_zoo.conftest import change, run
from tests.model_zoo.counting import count_flops


def of_kind(config: Config, kind: str, **encoder) -> Config:
    written = config.model_dump(mode="json")
    shared = {name: value for name, value in written["encoder"].items() if name in EncoderSettings.model_fields}
    depth = {} if kind == "hybrid" else {"depth": 2}
    return Config.model_validate(written | {"encoder": {**shared, **depth, "kind": kind, "pretrain": {"objective": "none"}, **encoder}})


@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_texts_alone_are_learnt_beside_any_encoder(tiny, make_worker, kind, tiles):
    config = change(of_kind(tiny, kind, training="full", tiles=tiles), data={"mix": "0:0:1"}, train={"steps": 2, "warmup_steps": 1})
    assert math.isfinite(run(config, make_worker).last["val_loss"])


def test_texts_among_pictures_teach_a_frozen_decoder_nothing_and_stop_nothing(tiny, make_worker):
    config = change(
        of_kind(tiny, "vit"), decoder={"training": "frozen"}, data={"mix": "1:0:1"}, train={"rows_per_step": 4, "accumulate": 4}
    )
    worker = run(config, make_worker)
    assert math.isfinite(worker.last["train_loss"])


def test_frozen_decoder_on_texts_alone_is_refused(tiny):
    with pytest.raises(ValueError, match=r"decoder\.training is frozen and data\.mix has texts alone"):
        change(tiny, decoder={"training": "frozen"}, data={"mix": "0:0:1"})


@pytest.mark.parametrize("length", [8, 256])
def test_frozen_decoder_spares_the_gradients_of_its_weights_and_none_of_attention(length):
    config = Config.model_validate({"decoder": {"training": "frozen", "width": 64, "depth": 2}})
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    model.decoder.requires_grad_(False)
    x = torch.randn(length, 64, requires_grad=True)
    counted = count_flops(lambda: model.decoder(x, groups=[Group(1, length)]).sum().backward())
    attention = config.decoder.attention_flops(length=length)
    planned = 2 * (config.decoder.forward_flops(length=length) - attention) + 3 * attention
    assert counted == pytest.approx(planned, rel=0.01)
    whole = flops.pretrain_step_flops(Config.model_validate({"decoder": {"width": 64, "depth": 2}}))
    assert flops.pretrain_step_flops(config) < whole
