"""Maps of low rank beside a part's linear ones, by `peft`: added before a stage, merged after it, so that its artefact is a plain model."""

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

HEAD = "head"
"""Of a decoder: no map of a layer, and left as it is."""


def add_adapters(part: nn.Module, *, rank: int, alpha: int, seed: int) -> None:
    """W x becomes W x + alpha / rank B A x for every linear map but the head, B being 0 (Hu et al. 2021, arXiv 2106.09685, section 4.1)."""
    names = [name for name, module in part.named_modules() if isinstance(module, nn.Linear) and name != HEAD]
    with torch.random.fork_rng():  # peft draws A from torch's own generator
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=names), part)


def merge_adapters(part: nn.Module) -> None:
    """Every map that has an addition becomes their sum, under its old name."""
    for name, module in list(part.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            part.set_submodule(name, module.get_base_layer())
