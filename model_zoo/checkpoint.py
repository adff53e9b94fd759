"""Weights and optimizer states to safetensors and back: tensors only, so nothing that is loaded can run code."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor, distributed, nn


class Progress(NamedTuple):
    """Where an interrupted stage goes on."""

    step: int
    """Steps done."""
    extra: dict[str, Tensor]
    """What the loop wanted kept."""


def save_weights(module: nn.Module, path: Path) -> None:
    """All parameters, on the CPU."""
    save_file(_on_cpu(module.state_dict()), path)


def load_weights(module: nn.Module, path: Path) -> None:
    """Fills `module`; names and shapes must agree exactly, but for the positions of an encoder that was trained at another resolution."""
    module.load_state_dict(load_file(path))


def pack(module: nn.Module, *, optimizer: torch.optim.Optimizer, step: int, extra: Mapping[str, Tensor]) -> bytes:
    """Everything that a resumed stage needs in order to end with the same bits."""
    tensors = {f"module/{name}": tensor for name, tensor in module.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors |= {f"extra/{name}": tensor for name, tensor in extra.items()}
    tensors |= {f"random/{name}": state for name, state in _random_states().items()}
    return save(whole_tensors(tensors | {"step": torch.tensor(step)}))


def unpack(content: bytes, *, module: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Fills `module` and `optimizer` with what `pack` kept, and puts torch's random generators where they were."""
    tensors = load(content)
    own = module.state_dict()
    module.load_state_dict({name: _as_shared(tensor, like=own.get(name)) for name, tensor in _under(tensors, "module/").items()})
    state, parameters = optimizer.state_dict(), [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state["state"] = {}
    for name, tensor in _under(tensors, "optimizer/").items():
        number, key = name.split("/")
        state["state"].setdefault(int(number), {})[key] = _as_shared(tensor, like=parameters[int(number)])
    optimizer.load_state_dict(state)
    for name, kept in _under(tensors, "random/").items():
        if name == "cpu":
            torch.set_rng_state(kept)
        elif torch.cuda.is_available():
            torch.cuda.set_rng_state(kept)
    return Progress(int(tensors["step"]), _under(tensors, "extra/"))


def _random_states() -> dict[str, Tensor]:
    """Of torch's generators; the data's are made anew from seed and step."""
    states = {"cpu": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else states


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def whole_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU. Of what several processes share all of them must ask at once, and the first one alone gets it."""
    if not distributed.is_initialized():
        return _on_cpu(tensors)
    from torch.distributed.tensor import DTensor  # a second that one device does without

    found = dict[str, Tensor]()
    for name, tensor in tensors.items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if distributed.get_rank() == 0:
            found |= _on_cpu({name: whole})
    return found


def _as_shared(tensor: Tensor, *, like: Tensor | None) -> Tensor:
    """Of a whole tensor this process's part, where several share its like."""
    if not distributed.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    # each process has read the whole, so none has to send anything
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
