"""A model to an optimizer and a step to a rate."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from model_zoo.config import Optimizer, Schedule, Train, decay_steps
from model_zoo.fields import Training

BETAS = (0.9, 0.95)
"""MM1 trains with beta2 = 0.95, as GPT-3 did (arXiv 2005.14165, appendix B)."""
SLOW = 0.1
"""Rate of a `slow` part, relative to the rest."""
ADDED = ".lora_"
"""In the name of a parameter that `model_zoo.lora` added, as `peft` calls it."""


def parameter_groups(
    model: nn.Module, *, weight_decay: float, encoder: Training = Training.FULL, decoder: Training = Training.FULL
) -> list[dict[str, object]]:
    """Who learns how fast and who decays; frozen parameters are in no group.

    | parameter                                    | rate                                                       | decay        |
    |----------------------------------------------|------------------------------------------------------------|--------------|
    | linear maps and convolutions                 | 1                                                          | weight_decay |
    | all others, and the embedding of patches     | 1                                                          | 0            |
    | the same under `encoder.`, `decoder.`        | 1 (full), SLOW (slow), 0 (frozen; lora, but what it added) | as above     |
    """
    maps = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        scale = _scale(name, encoder if name.startswith("encoder.") else decoder if name.startswith("decoder.") else Training.FULL)
        parameter.requires_grad_(scale > 0)
        if scale > 0:
            decays = id(parameter) in maps and "embedding" not in name
            groups.setdefault((scale, weight_decay if decays else 0.0), []).append(parameter)
    return [{"params": members, "weight_decay": decay, "scale": scale} for (scale, decay), members in groups.items()]


def _scale(name: str, training: Training) -> float:
    if training is Training.LORA:
        return 1.0 if ADDED in name else 0.0
    return {Training.FROZEN: 0.0, Training.SLOW: SLOW, Training.FULL: 1.0}[training]


def make_optimizer(groups: list[dict[str, object]], *, kind: Optimizer = Optimizer.ADAMW) -> torch.optim.Optimizer:
    """`set_rate` gives it its rate; both take `weight_decay` times the rate off a weight before a step.

    AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101) runs in one fused kernel. AdaFactor is that of Shazeer and Stern (2018, arXiv
    1804.04235, algorithms 4 and 5: beta2 of step t is 1 - t^-0.8, an update's root mean square is at most 1, no first moment) without its
    section 8: the rate is ours, neither scaled by the weights' size nor held under 1 / sqrt(t), so that decay means what it does in AdamW.
    """
    if kind is Optimizer.ADAFACTOR:
        from transformers.optimization import Adafactor  # half a second that AdamW need not wait for

        factored: torch.optim.Optimizer = Adafactor(groups, lr=0.0, scale_parameter=False, relative_step=False)  # type: ignore[no-untyped-call]
        return factored
    return torch.optim.AdamW(groups, lr=0.0, betas=BETAS, fused=True)


def descend(parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer, *, rate: float, clip_norm: float) -> None:
    """Gradients to one step down, and away. Those of a loss that is not finite make every weight NaN: the loop must look at it next."""
    set_rate(optimizer, rate)
    torch.nn.utils.clip_grad_norm_(parameters, clip_norm, foreach=True)  # the same bits on a CPU, in less time
    optimizer.step()
    optimizer.zero_grad()


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives each group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def rate_at(step: int, *, train: Train) -> float:
    """Rate of step 0, 1, ..., steps - 1: linear warmup, then the schedule from the peak to its final fraction."""
    if step < train.warmup_steps:
        return train.learning_rate * (step + 1) / train.warmup_steps
    first = train.warmup_steps if train.schedule is Schedule.COSINE else train.steps - decay_steps(train.decay_fraction, steps=train.steps)
    progress = max(0, step - first) / max(1, train.steps - first)
    left = (1 + math.cos(math.pi * progress)) / 2 if train.schedule is Schedule.COSINE else 1 - math.sqrt(progress)
    return train.learning_rate * (train.final_lr_fraction + (1 - train.final_lr_fraction) * left)
