"""What is saved comes back, bit for bit."""

import pytest
import torch
from safetensors.torch import load_file

from model_zoo.checkpoint import load_weights, pack, save_weights, unpack
from model_zoo.optim import make_optimizer


def make_pair(seed: int):
    torch.manual_seed(seed)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
    return module, make_optimizer([{"params": list(module.parameters()), "scale": 1.0}])


def step(module, optimizer):
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.zero_grad()
    module(torch.ones(2, 3)).square().sum().backward()
    optimizer.step()


def test_weights_survive_safetensors(tmp_path):
    (module, _), (other, _) = make_pair(0), make_pair(1)
    save_weights(module, tmp_path / "weights.safetensors")
    load_weights(other, tmp_path / "weights.safetensors")
    assert load_file(tmp_path / "weights.safetensors").keys() == module.state_dict().keys()
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_weights_of_another_shape_are_refused(tmp_path):
    save_weights(torch.nn.Linear(2, 2), tmp_path / "weights.safetensors")
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_weights(torch.nn.Linear(2, 3), tmp_path / "weights.safetensors")


def test_training_goes_on_from_a_checkpoint_as_if_never_stopped():
    module, optimizer = make_pair(0)
    for _ in range(3):
        step(module, optimizer)
    kept = pack(module, optimizer=optimizer, step=3, extra={"losses": torch.tensor([0.5])})
    resumed, resumed_optimizer = make_pair(1)
    progress = unpack(kept, module=resumed, optimizer=resumed_optimizer)
    assert (progress.step, progress.extra["losses"].tolist()) == (3, [0.5])
    for pair in ((module, optimizer), (resumed, resumed_optimizer)):
        step(*pair)
    for one, two in zip(module.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)


def test_random_numbers_go_on_from_a_checkpoint_as_if_never_stopped():
    module, optimizer = make_pair(0)
    kept = pack(module, optimizer=optimizer, step=1, extra={})
    drawn = torch.rand(3)
    torch.manual_seed(7)
    unpack(kept, module=module, optimizer=optimizer)
    assert torch.equal(torch.rand(3), drawn)


def test_checkpoint_that_is_not_safetensors_is_refused():
    module, optimizer = make_pair(0)
    with pytest.raises(Exception, match=r"(?i)header"):
        unpack(b"\x80\x04 a pickle", module=module, optimizer=optimizer)
