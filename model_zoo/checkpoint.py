"""Weights and optimizer states to safetensors and back: tensors only, so nothing that is loaded can run code."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor, nn

from model_zoo.encoders.grid import resize_positions

POSITIONS = "position_embedding"


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
    """Fills `module`; names and shapes must agree exactly."""
    module.load_state_dict(load_file(path))


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Fills an encoder with one that may have been trained at another resolution: position embeddings, if it has any, are interpolated."""
    tensors, own = load_file(path), encoder.state_dict()
    if POSITIONS in tensors and POSITIONS in own:
        tensors[POSITIONS] = resize_positions(tensors[POSITIONS], num_patches=len(own[POSITIONS]))
    encoder.load_state_dict(tensors)


def pack(module: nn.Module, *, optimizer: torch.optim.Optimizer, step: int, extra: Mapping[str, Tensor]) -> bytes:
    """Everything that a resumed stage needs in order to end with the same bits."""
    tensors = {f"module/{name}": tensor for name, tensor in module.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors |= {f"extra/{name}": tensor for name, tensor in extra.items()}
    tensors |= {f"random/{name}": state for name, state in _random_states().items()}
    return save(_on_cpu(tensors | {"step": torch.tensor(step)}))


def unpack(content: bytes, *, module: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Fills `module` and `optimizer` with what `pack` kept, and puts torch's random generators where they were."""
    tensors = load(content)
    module.load_state_dict(_under(tensors, "module/"))
    state = optimizer.state_dict()
    state["state"] = {}
    for name, tensor in _under(tensors, "optimizer/").items():
        number, key = name.split("/")
        state["state"].setdefault(int(number), {})[key] = tensor
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


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
