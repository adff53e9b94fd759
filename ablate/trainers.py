"""The seam to whatever trains: what a study says of its trainer becomes something with these names.

    Config                        pydantic model of one trial's config: frozen, unknown keys forbidden
    METRICS                       metric name -> what it means and its unit
    SCALES                        metric name -> `meaning`, `unit`, bounds `low` and `high`, which way is `better`, what `chance` gives;
                                  pages and figures show it; may be left out
    stages(config) -> [Stage]     what one trial executes, in order, with costs in closed form; imports no torch
    changeable(base) -> (str, ..)  paths into Config that may change while its last stage trains, for `stop_early: pbt`; may be left out
    objections(configs, num_devices=N) -> [((path, message), ..), ..]   of each config in turn, what is wrong with it on so many devices, or
                                  beside the others, and it does not refuse by itself; makes a study invalid; may be left out
    reports(config) -> [str, ..]   the metrics of a trial with this config; makes a study invalid whose metric is none of any arm's; may be
                                  left out
    lacks(configs) -> [((path, message, stages), ..), ..]   of each in turn, what it names and this machine has not, and which stages would
                                  read that; `run` refuses it where it is needed here; may be left out
    train(stage, inputs, context) runs one stage; the last value reported under a name is the trial's metric

The shipped trainers import nothing of `ablate`, so the seam is structural: protocols here, plain records over there. `command`, `python`
and `surrogate` are made from a study's settings for planning; their stages carry those settings, so that a worker needs the stage and no
study.
"""

import importlib
from collections import ChainMap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, cast

from pydantic import BaseModel

from ablate.errors import InputError, did_you_mean
from ablate.marked_yaml import Fault, dotted
from ablate.study import Study

TRAINERS = {
    "model_zoo": "model_zoo.trainable",
    "synthetic": "ablate.synthetic",
    "command": "ablate.command",
    "python": "ablate.python_trainer",
    "surrogate": "ablate.surrogate",
}
"""Name -> module: a trainer itself, or one that makes a trainer of what a study says under that name (`trainer_for`)."""
SURROGATE = "surrogate"
IMPORTED = "imported"
"""The trainer of studies that `ablate import` made of runs from elsewhere: no file may name it."""
MODULES = ChainMap(TRAINERS, {IMPORTED: "ablate.imported"})


class Stage(Protocol):
    """One stage of one trial, as the trainer describes it before anything runs."""

    @property
    def name(self) -> str:
        """`encoder`, `features`, `pretrain`, `sft` or `align`."""

    @property
    def config(self) -> Mapping[str, Any]:
        """All that determines the stage's result, as JSON values, and nothing else: two trials that agree on it share the stage."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the stages of the same trial whose artefacts this one reads."""

    @property
    def version(self) -> str:
        """Code and data version; raised by hand when the same config would give other numbers."""

    @property
    def seeded(self) -> bool:
        """Whether the trial's seed enters. A stage that is not seeded is shared by all seeds."""

    @property
    def num_params(self) -> int:
        """N of MM1's law: the language model without embeddings and output head, all experts of an MoE; 0 without one."""

    @property
    def embedding_params(self) -> int:
        """Parameters of token embeddings and output head; a matrix that serves as both counts once."""

    @property
    def active_params(self) -> int:
        """Those of `num_params` that one token uses: `num_params` itself where dense, less in a mixture of experts."""

    @property
    def total_params(self) -> int:
        """All the stage holds while it trains, frozen or not: encoder, connector, language model, embeddings, heads; 0: not known."""

    @property
    def train_flops(self) -> float:
        """FLOPs of the stage, forward and backward, in closed form; 0: not known."""

    @property
    def memory_bytes(self) -> float:
        """Peak memory of the stage on one device: weights, gradients, optimizer state, activations; 0: not known. What of it several
        devices share out equally may be said as `shared_bytes`."""


class Context(Protocol):
    """What a stage gets from its worker."""

    seed: int
    dir: Path
    """An empty folder; what lies in it when `train` returns is the stage's artefact."""
    device: str
    """`cpu` or `cuda:0`."""
    cpus: int
    """Threads the stage may use."""

    def report(self, step: int, **metrics: float) -> None:
        """Appends one point to each metric's curve; NaN and infinities are recorded as such."""

    def checkpoint(self, state: bytes) -> None:
        """Keeps `state` (such as `safetensors.torch.save(...)`) whole or not at all, for the next attempt of this job."""

    def restore(self) -> bytes | None:
        """The last state an earlier attempt of this job kept, if any."""

    @property
    def checkpoint_dir(self) -> Path:
        """Every attempt of this job finds it as the last one left it, until the job is done; whole files are the trainer's affair."""

    def refuse(self, why: str, example: str) -> None:
        """Counts something that was to be a report and is none; the first of its kind is shown in the log."""

    def should_stop(self) -> bool:
        """True once the stage should return early: a pruned trial, an interrupted run."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Counts the time inside as that of a phase, such as `data` or `eval`, for the attempt's record."""


class Trainer(Protocol):
    """What a plan is made with."""

    Config: type[BaseModel]
    METRICS: Mapping[str, str]

    def stages(self, config: Any) -> Sequence[Stage]: ...


class Training(Protocol):
    """What a worker needs of a trainer's module; all else comes with the stage."""

    def train(self, stage: Any, inputs: Mapping[str, Path], context: Any) -> None: ...


class TrainerFaults(InputError):
    """What a study says of its trainer is wrong in these places."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{dotted(fault.path)}: {fault.message}" for fault in faults))


def trainer_of(study: Study) -> Trainer:
    """The trainer a study names; it imports no torch until something trains. Raises TrainerFaults, or InputError for a name of none."""
    module: Any = load_trainer(study.trainer)
    found: Trainer = module.trainer_for(study) if hasattr(module, "trainer_for") else module
    return found


def load_trainer(name: str) -> Training:
    """The module of a trainer by its name, for who has a stage of it."""
    if name not in MODULES:
        raise InputError(f"unknown trainer '{name}' ({', '.join(TRAINERS)}){did_you_mean(name, TRAINERS)}")
    return cast(Training, importlib.import_module(MODULES[name]))
