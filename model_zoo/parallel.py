"""Several devices for one stage: each has a process of its own, takes its share of a step's documents, and ends the step with the others.

All of them run one loop, that of `model_zoo.train`, which asks what is below for whatever is not the affair of one device alone. They are
started by `model_zoo.processes`.
"""

import contextlib
import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from model_zoo.checkpoint import whole_tensors
from model_zoo.config import Sharding, Train
from model_zoo.data.batch import Batch
from model_zoo.decoders.moe import Routing, routing_of
from model_zoo.decoders.packed import Decoder
from model_zoo.evaluate.loss import answer_loss
from model_zoo.vlm import VisionLanguageModel

Share = TypeVar("Share")


class Loss(nn.Module):
    """A micro-batch to its loss in one forward pass, as those who share out a model or its gradients need it."""

    def __init__(self, model: VisionLanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, pictures: Tensor, features: Callable[[nn.Module, Tensor], Tensor]) -> tuple[Tensor, Routing | None]:
        """Mean cross entropy of the answers, and what the routers of a decoder with experts have to say."""
        error = answer_loss(self.model, batch, features=features(self.model.encoder, pictures))
        return error, routing_of(self.model.decoder)


class OneDevice:
    """The loop's affairs where there is nobody to share them with."""

    size = 1

    def share_out(self, model: VisionLanguageModel, groups: list[dict[str, Any]]) -> tuple[nn.Module, list[dict[str, Any]]]:
        """What computes a loss as `Loss` does, and the groups with the parameters that the model has from here on."""
        return Loss(model), groups

    def mine(self, parts: Sequence[Share]) -> Sequence[Share]:
        """Of a step's micro-batches those of this device."""
        return parts

    def micro_batch(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Around forward and backward pass."""
        return contextlib.nullcontext()

    def settle(self, *, has_pictures: bool) -> None:
        """After a step's last backward pass."""

    def mean(self, value: float) -> float:
        """Over the devices."""
        return value

    def agree(self, answer: bool) -> bool:
        """What the first device says."""
        return answer

    def whole(self, model: VisionLanguageModel) -> VisionLanguageModel | None:
        """On the first device a model to be measured and kept, None on the others, which go on and wait when they next need it."""
        return model


class Replicas(OneDevice):
    """The whole model on each device; gradients are averaged while the backward pass still runs (DDP)."""

    def __init__(self, device: str) -> None:
        self.size, self._number, self._device = distributed.get_world_size(), distributed.get_rank(), device
        self._loss: nn.Module | None = None

    def share_out(self, model: VisionLanguageModel, groups: list[dict[str, Any]]) -> tuple[nn.Module, list[dict[str, Any]]]:
        # a share without images uses no connector; one that no device used keeps no gradient, as on one device
        self._loss = DistributedDataParallel(Loss(model), forward_sync_buffers=False, find_unused_parameters=True)
        return self._loss, groups

    def mine(self, parts: Sequence[Share]) -> Sequence[Share]:
        return parts[self._number :: self.size]

    def micro_batch(self, *, is_last: bool) -> AbstractContextManager[None]:
        assert isinstance(self._loss, DistributedDataParallel)
        return contextlib.nullcontext() if is_last else self._loss.no_sync()

    def mean(self, value: float) -> float:
        total = torch.tensor(value, dtype=torch.float64, device=self._device)
        distributed.all_reduce(total)
        return total.item() / self.size

    def agree(self, answer: bool) -> bool:
        said = torch.tensor(answer, device=self._device)
        distributed.broadcast(said, src=0)
        return bool(said)

    def whole(self, model: VisionLanguageModel) -> VisionLanguageModel | None:
        return model if self._number == 0 else None


class Shards(Replicas):
    """Of weights, gradients and optimizer state each device has a part; the weights of a packed decoder's layer are gathered while it runs,
    all others for a whole step (FSDP2; Zhao et al. 2023, arXiv 2304.11277). An encoder none of which is trained stays whole."""

    def share_out(self, model: VisionLanguageModel, groups: list[dict[str, Any]]) -> tuple[nn.Module, list[dict[str, Any]]]:
        from torch.distributed.device_mesh import init_device_mesh  # a second that others do without
        from torch.distributed.fsdp import FSDPModule, fully_shard

        # measured and kept is a model as one device has it: the shards are gathered into this copy
        self._copy = copy.deepcopy(model).to("cpu") if self._number == 0 else None
        self._pictorial: list[nn.Module] = [model.encoder, model.connector]
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        encoder = set(model.encoder.parameters())
        ignored = set() if any(parameter.requires_grad for parameter in encoder) else encoder
        mesh = init_device_mesh(torch.device(self._device).type, (self.size,))
        loss = Loss(model)
        # a decoder of transformers runs its layers once for each length of documents, of which processes have unlike numbers: it is
        # gathered once a step, since all of them must gather alike
        for layer in model.decoder.layers if isinstance(model.decoder, Decoder) else ():
            fully_shard(layer, mesh=mesh)
        fully_shard(loss, mesh=mesh, ignored_params=ignored)
        assert isinstance(loss, FSDPModule)
        loss.set_reduce_scatter_unused_params(True)  # a share without images uses no connector
        now = dict(model.named_parameters())
        return loss, [{**group, "params": [now[names[id(old)]] for old in group["params"]]} for group in groups]

    def micro_batch(self, *, is_last: bool) -> AbstractContextManager[None]:
        return contextlib.nullcontext()  # gradients are added up in shards, which is what saves memory

    def settle(self, *, has_pictures: bool) -> None:
        if not has_pictures:  # zeros would move a connector by its moments, and on one device there would be no gradient
            for module in self._pictorial:
                for parameter in module.parameters():
                    parameter.grad = None

    def whole(self, model: VisionLanguageModel) -> VisionLanguageModel | None:
        tensors = whole_tensors(model.state_dict())
        if self._copy is None:
            return None
        self._copy.load_state_dict(tensors)
        return copy.deepcopy(self._copy).to(self._device)


def devices_of(train: Train, *, device: str) -> OneDevice:
    """What a loop shares with others: nothing, unless this is one of several processes of a stage."""
    if not distributed.is_initialized():
        return OneDevice()
    return Replicas(device) if train.sharding is Sharding.REPLICATED else Shards(device)
