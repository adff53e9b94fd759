"""Rates and groups."""

import pytest
import torch

from model_zoo.build import build_model
from model_zoo.config import Config, Optimizer, Train
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.fields import Training
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


def test_wsd_stays_at_its_peak_and_falls_by_one_minus_the_root():
    train = Train(steps=100, warmup_steps=10, learning_rate=1.0, final_lr_fraction=0.1, schedule="wsd", decay_fraction=0.4)
    rates = [rate_at(step, train=train) for step in range(100)]
    assert rates[:2] == [0.1, 0.2]
    assert set(rates[9:61]) == {1.0}
    assert rates[70] == pytest.approx(0.1 + 0.9 * (1 - 0.5))  # a quarter of the decay, of which the root is one half
    assert rates[99] == pytest.approx(0.1, abs=0.02)


def test_wsd_without_decay_ends_at_its_peak():
    assert rate_at(4, train=Train(steps=5, warmup_steps=0, learning_rate=0.5, schedule="wsd", decay_fraction=0.0)) == 0.5


def test_wsd_whose_decay_and_warmup_overlap_is_refused_with_what_is_left():
    with pytest.raises(ValueError, match=r"0.5 of 10 steps decay after 7 of warmup: at most the 3 that are left, 0.3"):
        Train(steps=10, warmup_steps=7, schedule="wsd", decay_fraction=0.5)
    assert Train(steps=10, warmup_steps=7, schedule="wsd", decay_fraction=0.3).decay_fraction == 0.3
    assert Train(steps=10, warmup_steps=7, decay_fraction=0.5)  # a cosine does not read it


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


@pytest.mark.parametrize("kind", Optimizer)
def test_decay_of_one_step_is_weight_decay_times_the_rate(kind):
    # MM1's rule, lambda = 0.1 eta (arXiv 2403.09611, section 3.1), as what a step takes off: torch's 0.1
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [3.0, 0.5]]))
    before, rate = weight.detach().clone(), 0.02
    optimizer = make_optimizer([{"params": [weight], "scale": 1.0, "weight_decay": Train().weight_decay}], kind=kind)
    set_rate(optimizer, rate)
    weight.grad = torch.zeros(2, 2)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before - 0.1 * rate * before, rtol=1e-6, atol=0)


def test_adafactor_computes_the_update_of_its_paper():
    """Shazeer and Stern 2018 (arXiv 1804.04235), algorithms 4 and 5 with alpha_t = the rate, in float64."""
    torch.manual_seed(0)
    matrix, vector = torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(5))
    optimizer = make_optimizer([{"params": [matrix, vector], "scale": 1.0, "weight_decay": 0.0}], kind=Optimizer.ADAFACTOR)
    expected = [matrix.detach().double(), vector.detach().double()]
    rows, columns, squares = torch.zeros(3).double(), torch.zeros(4).double(), torch.zeros(5).double()
    for step in range(1, 6):
        set_rate(optimizer, 0.1 / step)
        matrix.grad, vector.grad = torch.randn(3, 4) / step, torch.randn(5)
        optimizer.step()
        beta2 = 1 - step**-0.8
        squared = matrix.grad.double() ** 2 + 1e-30
        rows, columns = (beta2 * kept + (1 - beta2) * squared.sum(dim) for kept, dim in ((rows, 1), (columns, 0)))
        squares = beta2 * squares + (1 - beta2) * (vector.grad.double() ** 2 + 1e-30)
        moments = (torch.outer(rows, columns) / rows.sum(), squares)
        for weight, gradient, moment in zip(expected, (matrix.grad, vector.grad), moments, strict=True):
            update = gradient / moment.sqrt()
            weight -= 0.1 / step * update / update.square().mean().sqrt().clamp(min=1)
    for found, wanted in zip((matrix, vector), expected, strict=True):
        torch.testing.assert_close(found.detach().double(), wanted, rtol=1e-5, atol=1e-6)
