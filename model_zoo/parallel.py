"""Several devices for one stage: each has a process of its own, takes its share of a step's documents, and ends the step with the others.

The worker's process starts one process a device (`model_zoo.rank`), answers what they ask of its context and trains nothing itself. All of
them run one loop, that of `model_zoo.train`, which asks what is below for whatever is not the affair of one device alone.
"""

import contextlib
import copy
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from model_zoo.checkpoint import whole_tensors
from model_zoo.config import Sharding, Train
from model_zoo.context import Context
from model_zoo.data.batch import Batch
from model_zoo.decoders.moe import Routing, routing_of
from model_zoo.decoders.packed import Decoder
from model_zoo.evaluate.loss import answer_loss
from model_zoo.vlm import VisionLanguageModel

BLAME_SECONDS = 1.0
"""Others notice a process that was killed by their broken connections, perhaps before the system says how it ended."""
NEVER = timedelta(days=365)
"""Processes wait for one another however long one evaluates: a dead one is noticed by the worker, a hanging one by its guardian."""

Share = TypeVar("Share")


class Task(NamedTuple):
    """What a process is told first."""

    stage: Any
    """A `model_zoo.trainable.StageSpec`."""
    inputs: dict[str, Path]
    seed: int
    dir: Path
    device: str
    """Its own, `cpu` or `cuda:N`."""
    cpus: int
    """Its own share of them."""
    number: int
    """Of the process, from 0."""
    size: int
    """How many there are."""
    meeting: Path
    """File by which they find each other."""


class _Rank(NamedTuple):
    """One process, as the worker sees it."""

    process: subprocess.Popen[bytes]
    line: Connection
    name: str


def train_in_processes(stage: Any, inputs: Mapping[str, Path], context: Context) -> None:
    """Runs a stage on the context's devices, a process each. Raises what one of them raised, or RuntimeError where one died.

    No process is left when this returns or raises. Where this process dies first, theirs are killed by the system (Linux).
    """
    size = context.num_devices
    _check_rows(Train.model_validate(stage.config["train"]), size=size)
    cuda = context.device.startswith("cuda")
    with tempfile.TemporaryDirectory(prefix="ablate-ranks-") as folder, contextlib.ExitStack() as started:
        ranks = list[_Rank]()
        for number in range(size):
            device = f"cuda:{number}" if cuda else context.device
            task = Task(
                stage=stage,
                inputs=dict(inputs),
                seed=context.seed,
                dir=context.dir.absolute(),
                device=device,
                cpus=max(1, context.cpus // size),
                number=number,
                size=size,
                meeting=Path(folder) / "meeting",
            )
            ranks.append(started.enter_context(_started(task)))
        _relay(ranks, context)


def _check_rows(train: Train, *, size: int) -> None:
    parts = size * train.accumulate
    if parts > train.rows_per_step:
        shares = f"{size} devices" + (f" x {train.accumulate} micro-batches" if train.accumulate > 1 else "")
        raise ValueError(f"train.rows_per_step is {train.rows_per_step}, and {shares} need a row each: at least {parts}")


@contextlib.contextmanager
def _started(task: Task) -> Iterator[_Rank]:
    """A process, dead at the end."""
    ours, theirs = Pipe()
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # DDP advises against looking for unused parameters wherever the first step has none: a text share will
    environment = {"TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(task.cpus)}
    argv = [sys.executable, "-P", "-m", "model_zoo.rank", str(theirs.fileno()), str(os.getpid())]
    # a session of its own, so that the terminal's Ctrl-C reaches it by way of the worker alone
    process = subprocess.Popen(argv, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    theirs.close()
    try:
        with contextlib.suppress(ConnectionError):
            ours.send(task)
        yield _Rank(process, ours, f"process {task.number + 1} of {task.size} ({task.device})")
    finally:
        process.kill()
        process.wait()
        ours.close()


def _relay(ranks: Sequence[_Rank], context: Context) -> None:
    """Does for them what they ask, until all have ended well."""
    lines: dict[Connection, _Rank] = {rank.line: rank for rank in ranks}
    phases = list[AbstractContextManager[None]]()
    try:
        while lines:
            for line in wait(list(lines)):
                assert isinstance(line, Connection)
                try:
                    word, *said = line.recv()
                    state = line.recv_bytes() if word == "checkpoint" else b""
                except (EOFError, ConnectionError):
                    _must_have_ended_well(lines.pop(line))
                    continue
                match word:
                    case "report":
                        context.report(said[0], **said[1])
                    case "checkpoint":
                        context.checkpoint(state)
                    case "restore":
                        _reply(line, context.restore() or b"")
                    case "should_stop":
                        _reply(line, b"yes" if context.should_stop() else b"")
                    case "begin":
                        phases.append(context.phase(said[0]))
                        phases[-1].__enter__()
                    case "end":
                        phases.pop().__exit__(None, None, None)
                    case "failed":
                        _blame_the_dead(ranks)
                        error, traceback = said
                        error.add_note(f"in {lines[line].name}:\n{traceback}")
                        raise error
    finally:
        for phase in reversed(phases):
            phase.__exit__(None, None, None)


def _reply(line: Connection, content: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # that it died meanwhile is what the line says next
        line.send_bytes(content)


def _must_have_ended_well(rank: _Rank) -> None:
    code = rank.process.wait()
    if code:
        how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        raise RuntimeError(f"{rank.name} ended by {how}; all of them were ended, and a next attempt goes on from the last checkpoint")


def _blame_the_dead(ranks: Sequence[_Rank]) -> None:
    """Raises for a process that died, where another one failed: it failed for want of the first."""
    for rank in ranks:
        with contextlib.suppress(subprocess.TimeoutExpired):
            rank.process.wait(BLAME_SECONDS / len(ranks))
            _must_have_ended_well(rank)


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
