"""A model to an optimizer and a step to a rate."""

import math

import torch
from torch import nn

from model_zoo.config import Train
from model_zoo.encoders.encoder import Training

BETAS = (0.9, 0.95)
"""MM1 trains with beta2 = 0.95, as GPT-3 did (arXiv 2005.14165, appendix B)."""
SLOW = 0.1
"""Rate of a `slow` encoder, relative to the rest."""


def parameter_groups(model: nn.Module, *, weight_decay: float, encoder: Training = Training.FULL) -> list[dict[str, object]]:
    """Who learns how fast and who decays; frozen parameters are in no group.

    | parameter                                    | rate                              | decay        |
    |----------------------------------------------|-----------------------------------|--------------|
    | linear maps and convolutions                 | 1                                 | weight_decay |
    | all others, and the embedding of patches     | 1                                 | 0            |
    | the same under `encoder.`                    | 1 (full), SLOW (slow), 0 (frozen) | as above     |
    """
    scales = {Training.FROZEN: 0.0, Training.SLOW: SLOW, Training.FULL: 1.0}
    maps = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        scale = scales[encoder] if name.startswith("encoder.") else 1.0
        parameter.requires_grad_(scale > 0)
        if scale > 0:
            decays = id(parameter) in maps and "embedding" not in name
            groups.setdefault((scale, weight_decay if decays else 0.0), []).append(parameter)
    return [{"params": members, "weight_decay": decay, "scale": scale} for (scale, decay), members in groups.items()]


def make_optimizer(groups: list[dict[str, object]]) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101) in one fused kernel; `set_rate` gives it its rate."""
    return torch.optim.AdamW(groups, lr=0.0, betas=BETAS, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives each group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def rate_at(step: int, *, train: Train) -> float:
    """Rate of step 0, 1, ..., steps - 1: linear warmup, then a cosine from the peak to its final fraction."""
    if step < train.warmup_steps:
        return train.learning_rate * (step + 1) / train.warmup_steps
    progress = (step - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return train.learning_rate * (train.final_lr_fraction + (1 - train.final_lr_fraction) * cosine)
