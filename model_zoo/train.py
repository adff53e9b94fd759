"""The loop from an encoder and documents to a model, whose second run is the sft stage; `train_encoder.py` has the stages before it.

Bit for bit the same for a seed on one machine's CPU, interrupted or not: digit scenes depend on (seed, step) only,
and what else a step needs, a place in files among it, is in the checkpoint.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from model_zoo.build import build_model
from model_zoo.checkpoint import load_weights, pack, save_weights, unpack
from model_zoo.config import Config, Eval, Latency, Precision
from model_zoo.context import Context
from model_zoo.data.batch import Batch
from model_zoo.decoders.decoder import Decoder
from model_zoo.decoders.moe import Routing
from model_zoo.encoders import Encoder
from model_zoo.evaluate.averages import AVERAGES
from model_zoo.evaluate.few_shot import how_asked
from model_zoo.evaluate.names import score_names
from model_zoo.evaluate.samples import SAMPLES_FILE, Scored, write_samples
from model_zoo.fields import Training
from model_zoo.initial import initialise
from model_zoo.layers import prepare
from model_zoo.optim import descend, make_optimizer, parameter_groups, rate_at
from model_zoo.own_files import OwnFiles
from model_zoo.parallel import OneDevice, devices_of
from model_zoo.pretrained import load_pretrained
from model_zoo.scenes import Scenes
from model_zoo.vlm import VisionLanguageModel

REPORT_EVERY = 20
"""Steps between points of the training curve, each the mean since the last; also how often a stop is noticed."""
CHECKPOINT_SECONDS = 30.0
"""Most of the work that a dying process can lose, beside a step; results do not depend on when the state is kept."""
MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
EVALUATION_FILE = "evaluation.json"


class World(Protocol):
    """What a trial reads, and what it is measured on."""

    @property
    def metrics(self) -> Sequence[str]:
        """What `examine` gives, `val_loss` first."""

    def read(self, step: int) -> Sequence[tuple[Batch, Tensor]]:
        """The micro-batches of a step, each with its pictures in a form that `features` knows."""

    def features(self, encoder: nn.Module, pictures: Tensor) -> Tensor:
        """Of M pictures, each seen in V views -> [M, V P, E]"""

    def validate(self, model: VisionLanguageModel) -> float:
        """The held-out loss."""

    def examine(self, model: VisionLanguageModel) -> Scored:
        """The last step's metrics, and samples of the answers."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep for what is read to go on."""

    def go_on(self, kept: Mapping[str, Tensor]) -> None:
        """After a checkpoint that has what `state` gave."""


def open_world(config: Config, *, encoder: nn.Module, features_file: Path | None, context: Context) -> World:
    """Files of one's own where the config has some, else the digit scenes."""
    if config.data.files is not None:
        return OwnFiles(config, seed=context.seed, device=context.device, folder=context.dir)
    return Scenes(config, encoder=encoder, features_file=features_file, seed=context.seed, device=context.device)


class First(NamedTuple):
    """Files that a stage's first weights and features come from; without any, weights are drawn."""

    encoder: Path | None = None
    """What the encoder stage left."""
    features: Path | None = None
    """What the features stage left."""
    model: Path | None = None
    """What the pretrain stage left, maybe of another resolution."""


Routings = Sequence[tuple[float, Routing]]
"""Of a step's micro-batches, each with its share of the answers."""


class Trial(NamedTuple):
    """What the steps of a stage work with."""

    config: Config
    model: VisionLanguageModel
    adapted: Sequence[str]
    """Parts of the model with maps of low rank beside their own, until the last step."""
    devices: OneDevice
    loss_of: nn.Module
    """See `model_zoo.parallel.Loss`."""
    optimizer: torch.optim.Optimizer
    trained: Sequence[nn.Parameter]
    """In the order of the model."""
    world: World


def train_model(config: Config, *, first: First, context: Context) -> None:
    """Documents of three sources to a model: reports curves and, at the last step, every score asked for."""
    train, num_validations = config.train, config.eval.num_validations
    trial = _set_up(config, first=first, context=context)
    model, devices, world = trial.model, trial.devices, trial.world
    validate_at = {round(train.steps * (i + 1) / num_validations) for i in range(num_validations)}

    begin, tokens, since_report, kept_at = 0, 0, list[float](), time.monotonic()
    if (state := context.restore()) is not None:
        progress = unpack(state, module=model, optimizer=trial.optimizer)
        begin, since_report = progress.step, progress.extra["since_report"].tolist()
        tokens = int(progress.extra["tokens"])
        world.go_on(progress.extra)

    for step in range(begin, train.steps):
        with context.phase("data"):
            batches = world.read(step)
        with context.phase("step"):
            loss, routings = _take_step(trial, batches, step=step)
            since_report.append(loss)
        done, tokens = step + 1, tokens + sum(len(batch.tokens) for batch, _ in batches)
        if not math.isfinite(loss):
            lost = dict.fromkeys(world.metrics, math.nan)
            context.report(done, train_loss=math.nan, tokens=tokens, **_routing_losses(routings, over=devices), **lost)
            return
        if done % REPORT_EVERY == 0 or done == train.steps:
            mean = sum(since_report) / len(since_report)
            context.report(done, train_loss=mean, tokens=tokens, **_routing_losses(routings, over=devices))
            since_report = []
        if done in validate_at and done < train.steps:
            with context.phase("eval"):
                if (whole := devices.whole(model)) is not None:
                    context.report(done, val_loss=world.validate(whole))
                del whole
        is_stopping = done % REPORT_EVERY == 0 and devices.agree(context.should_stop())
        is_due = done in validate_at or devices.agree(is_old(kept_at))
        if done < train.steps and (is_stopping or is_due):
            kept = {"since_report": torch.tensor(since_report, dtype=torch.float64), "tokens": torch.tensor(tokens), **world.state()}
            context.checkpoint(pack(model, optimizer=trial.optimizer, step=done, extra=kept))
            kept_at = time.monotonic()
            if is_stopping:
                return
    _finish(trial, context=context)


def _set_up(config: Config, *, first: First, context: Context) -> Trial:
    """The model with its first weights, where it is trained, by what, and on what."""
    train, trainings = config.train, {"encoder": config.encoder.training, "decoder": config.decoder.training}
    model = _first_model(config, first=first, context=context)
    adapted = [name for name, training in trainings.items() if training is Training.LORA]
    if adapted:
        from model_zoo.lora import add_adapters  # two seconds that the others do without

        for name in adapted:
            add_adapters(model.get_submodule(name), rank=train.lora_rank, alpha=train.lora_alpha, seed=context.seed)
    groups = parameter_groups(model, weight_decay=train.weight_decay, **trainings)
    devices = devices_of(train, device=context.device)
    loss_of, groups = devices.share_out(model, groups)
    optimizer, trained = make_optimizer(groups, kind=train.optimizer), trained_parameters(model)
    prepare(model.decoder.layers, train=train)
    with context.phase("data"):
        dealt = config.model_copy(update={"train": train.model_copy(update={"accumulate": devices.size * train.accumulate})})
        world = open_world(dealt, encoder=model.encoder, features_file=first.features, context=context)
    return Trial(config, model, adapted, devices, loss_of, optimizer, trained, world)


def _first_model(config: Config, *, first: First, context: Context) -> VisionLanguageModel:
    size = config.data.vocabulary_size
    model = build_model(config, vocabulary_size=size, image_token=size - 1)
    parts = ((model.encoder, config.encoder), (model.decoder, config.decoder)) if first.model is None else ()
    set_first_weights(model, parts=parts, encoder_weights=first.encoder, context=context)
    if first.model is not None:
        load_weights(model, first.model)
    return model


def _take_step(trial: Trial, batches: Sequence[tuple[Batch, Tensor]], *, step: int) -> tuple[float, Routings]:
    """Forward and backward through this device's micro-batches, then the weights: the step's loss, and what its routers did."""
    train, devices = trial.config.train, trial.devices
    num_answers, losses, routings = sum(len(batch.answers) for batch, _ in batches), list[Tensor](), list[tuple[float, Routing]]()
    mine = devices.mine(batches)
    for number, (batch, pictures) in enumerate(mine, 1):
        share = devices.size * len(batch.answers) / num_answers  # gradients of several devices are averaged
        with devices.micro_batch(is_last=number == len(mine)):
            with torch.autocast(batch.tokens.device.type, dtype=torch.bfloat16, enabled=train.precision is Precision.BFLOAT16):
                error, routing = trial.loss_of(batch, pictures, trial.world.features)
                loss = error * share
            if loss.requires_grad:
                (loss if routing is None else loss + share * routing.penalty).backward()
            elif devices.size > 1:  # whose gradients the others would wait for
                raise ValueError(
                    "a share of a step has no images, from which a frozen decoder learns nothing: use fewer devices, or no texts"
                )
        losses.append(loss.detach())
        routings += [(share, routing)] if routing else []
    devices.settle(has_pictures=any(len(batch.pictures) for batch, _ in batches))
    descend(trial.trained, trial.optimizer, rate=rate_at(step, train=train), clip_norm=train.clip_norm)
    return devices.mean(torch.stack(losses).sum().item()), routings


def _finish(trial: Trial, *, context: Context) -> None:
    """What the model has come to, measured and kept."""
    whole, config = trial.devices.whole(trial.model), trial.config
    if whole is None:
        return
    if trial.adapted:
        from model_zoo.lora import merge_adapters

        for name in trial.adapted:
            merge_adapters(whole.get_submodule(name))
    with context.phase("eval"):
        scores, samples = trial.world.examine(whole)
    context.report(config.train.steps, **scores)
    if math.isfinite(scores["val_loss"]):
        save_weights(whole, context.dir / MODEL_FILE)
        write_json(config.model_dump(mode="json", exclude={"encoder": {"pretrain", "features"}}), context.dir / CONFIG_FILE)
        write_json(_how_measured(config.eval, device=context.device), context.dir / EVALUATION_FILE)
        write_samples(samples, context.dir / SAMPLES_FILE)


Part = tuple[nn.Module, Encoder | Decoder]
"""A part of a model, and the settings that it was built from."""


def set_first_weights(model: nn.Module, *, parts: Sequence[Part], encoder_weights: Path | None, context: Context) -> None:
    """First weights: drawn, then those of parts that name pretrained ones, then those of the encoder stage, whose part is the first.

    An encoder without a stage of its own has the same ones with and without the rest, which is drawn after it.
    """
    initialise(model, seed=context.seed)
    for part, settings in parts:
        load_pretrained(part, settings)
    if encoder_weights is not None:
        load_weights(parts[0][0], encoder_weights)
    model.to(context.device)


def _how_measured(evaluation: Eval, *, device: str) -> dict[str, Any]:
    """What enters each average that was reported, all parts alike, and what a time was measured on."""
    record: dict[str, Any] = {"averages": {name: AVERAGES[name] for name in score_names(evaluation) if name in AVERAGES}}
    if evaluation.few_shot:
        asked = how_asked(evaluation.few_shot)
        record["averages"] |= asked.pop("averages")
        record["few_shot"] = asked
    if evaluation.latency is Latency.MEASURED:
        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
        record["time_to_first_token"] = {"device": name, "threads": torch.get_num_threads()}
    return record


def is_old(kept_at: float) -> bool:
    """Whether a state that was kept then is to be replaced by a new one."""
    return time.monotonic() - kept_at > CHECKPOINT_SECONDS


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """In the order of the model, in which the norm of the gradient is summed; found once, since the search takes as long as the norm."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _routing_losses(routings: Routings, *, over: OneDevice) -> dict[str, float]:
    """Means over a step; nothing where no layer has experts."""
    if not routings:
        return {}
    load_balance = sum(share * routing.load_balance_loss.item() for share, routing in routings)
    router_z = sum(share * routing.router_z_loss.item() for share, routing in routings)
    return {"load_balance_loss": over.mean(load_balance), "router_z_loss": over.mean(router_z)}


def write_json(record: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")
