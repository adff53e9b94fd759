"""Rates and groups."""

import pytest
import torch

from model_zoo.build import build_model
from model_zoo.config import Config, Train
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.encoders.encoder import Training
from model_zoo.optim import make_optimizer, parameter_groups, rate_at, set_rate


def make_groups(training: Training):
    model = build_model(Config(), vocabulary_size=SIZE, image_token=IMAGE)
    groups = parameter_groups(model, weight_decay=0.1, encoder=training)
    return {id(p): group for group in groups for p in group["params"]}, dict(model.named_parameters())


def test_rate_rises_to_its_peak_and_falls_to_its_last_fraction():
    train = Train(steps=100, warmup_steps=10, learning_rate=1.0, final_lr_fraction=0.1)
    rates = [rate_at(step, train=train) for step in range(100)]
    assert rates[:2] == [0.1, 0.2]
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.55)
    assert rates[99] == pytest.approx(0.1, abs=1e-3)


def test_rate_without_warmup_starts_at_the_peak():
    assert rate_at(0, train=Train(steps=5, warmup_steps=0, learning_rate=0.5)) == 0.5


@pytest.mark.parametrize(("training", "scale"), [(Training.SLOW, 0.1), (Training.FULL, 1.0)])
def test_groups_give_the_encoder_its_share_of_the_rate(training, scale):
    groups, parameters = make_groups(training)
    assert set(groups) == {id(p) for p in parameters.values()}
    for name, parameter in parameters.items():
        assert groups[id(parameter)]["scale"] == (scale if name.startswith("encoder.") else 1.0)


def test_groups_leave_a_frozen_encoder_out():
    groups, parameters = make_groups(Training.FROZEN)
    for name, parameter in parameters.items():
        assert (id(parameter) in groups) == parameter.requires_grad == (not name.startswith("encoder."))


def test_groups_decay_matrices_only():
    groups, parameters = make_groups(Training.FULL)
    decaying = {name for name, p in parameters.items() if groups[id(p)]["weight_decay"] > 0}
    assert {"decoder.head.weight", "connector.project.weight", "encoder.layers.0.qkv.weight"} <= decaying
    assert not any(word in name for name in decaying for word in ("norm", "bias", "embedding.weight", "position", "query"))


def test_set_rate_scales_each_group():
    slow, fast = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = make_optimizer([{"params": [slow], "scale": 0.1}, {"params": [fast], "scale": 1.0}])
    set_rate(optimizer, 2.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 2.0]
