"""Torch's own counts, to hold closed forms against."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_flops(function) -> int:
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # other kernels go uncounted on CPU
        function()
    return counter.get_total_flops()


def count_saved_bytes(function) -> int:
    storages = {}

    def remember(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        result = function()  # kept alive, so that no address is used twice
    del result
    return sum(storages.values())
