"""The seam: a config becomes stages, a stage becomes weights and metrics. Planning with it loads no torch."""

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from model_zoo import flops
from model_zoo.config import Config, Eval, Train
from model_zoo.connectors import Connector
from model_zoo.context import Context
from model_zoo.data.mix import Data
from model_zoo.decoders.decoder import Decoder
from model_zoo.encoders import Encoder, read_encoder
from model_zoo.encoders.encoder import Features, Objective, objective_params
from model_zoo.evaluate.metrics import SCALES, in_words
from model_zoo.evaluate.names import HARNESS
from model_zoo.evaluate.names import reported as reports
from model_zoo.lacking import lacks
from model_zoo.objections import objections

__all__ = ["METRICS", "SCALES", "Config", "StageSpec", "lacks", "objections", "reports", "stages", "train"]

_HARNESS_SCORE = re.compile(HARNESS + r"(/[\w.-]+){2,3}")


class _Metrics(dict[str, str]):
    """Has the scores of lm-evaluation-harness too, whose tasks it alone knows."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and _HARNESS_SCORE.fullmatch(name) is not None)


METRICS: dict[str, str] = _Metrics({name: in_words(name) for name in SCALES})

_CHANGEABLE = ("learning_rate", "weight_decay", "clip_norm")
STEP_FIELDS = {"rows_per_step", "optimizer", "accumulate", "precision", "checkpoint_layers", "lora_rank", "sharding"}
"""Of the training; of all the others a trial has only more or fewer steps."""
UPSTREAM_FIELDS = {"pretrain", "features"}
"""Of the encoder; what they come to is in the stages that `pretrain` needs, and so is no part of its own config."""


def changeable(base: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields that may change while the last stage trains: what another value of them would have kept can be gone on from."""
    block = "sft.train" if base.get("sft") else "train"
    return tuple(f"{block}.{name}" for name in _CHANGEABLE)


class StageSpec(NamedTuple):
    """One stage of one trial."""

    name: str
    """`encoder`, `features`, `pretrain` or `sft`."""
    config: Mapping[str, Any]
    """All that determines the result, as JSON values."""
    needs: tuple[str, ...]
    """Stages whose artefacts it reads."""
    version: str
    """Raised by hand when the same config gives other numbers."""
    seeded: bool
    """Whether the trial's seed enters."""
    num_params: int
    """N: the decoder without embeddings and head, all its parameters; 0 in a stage that has no decoder."""
    embedding_params: int
    """Token embedding and output head, which are not tied."""
    active_params: int
    """Those of `num_params` that one token uses."""
    total_params: int
    """All there is in memory: encoder, connector, decoder, embeddings, head, what LoRA adds; in `encoder` the objective, which is thrown
    away, too; in `features` the encoder."""
    train_flops: float
    """As flops.py counts them."""
    memory_bytes: float
    """As flops.py counts them."""
    shared_bytes: float = 0.0
    """Those of them that several devices share out."""


def stages(config: Config) -> tuple[StageSpec, ...]:
    """The encoder stage, unless its objective is `none`; the features stage, where they are cached; the pretrain stage; the sft stage, if
    there is one."""
    upstream, pretrain = _trained(config, name="pretrain")
    if config.sft is None:
        return (*upstream, pretrain)
    _, sft = _trained(config.for_sft(), name="sft")
    return (*upstream, pretrain, sft._replace(needs=(pretrain.name,)))


def _trained(config: Config, *, name: str) -> tuple[tuple[StageSpec, ...], StageSpec]:
    """What a stage with a decoder reads, and the stage."""
    train = config.train
    model = _model(config.encoder, config.connector, config.decoder, config.data, _what_a_step_is(train))
    stage = StageSpec(
        name=name,
        config={**model.config, "train": _as_json(train), "eval": _as_json(config.eval)},
        needs=tuple(stage.name for stage in model.upstream),
        version="1",
        seeded=True,
        num_params=model.num_params,
        embedding_params=model.embedding_params,
        active_params=model.active_params,
        total_params=model.total_params,
        train_flops=train.steps * model.step_flops + model.pool_flops,
        memory_bytes=model.memory_bytes,
        shared_bytes=model.shared_bytes,
    )
    return model.upstream, stage


class _Model(NamedTuple):
    """What trials of one architecture on one mixture have in common."""

    upstream: tuple[StageSpec, ...]
    config: Mapping[str, Any]
    num_params: int
    embedding_params: int
    active_params: int
    total_params: int
    step_flops: float
    pool_flops: float
    memory_bytes: float
    shared_bytes: float


@lru_cache(maxsize=4096)
def _what_a_step_is(train: Train) -> Train:
    """The fields that what a step costs depends on, and no other."""
    return Train.model_validate(train.model_dump(include=STEP_FIELDS))


# a plan asks for the stages of a hundred thousand trials, which repeat most of their parts
@lru_cache(maxsize=4096)
def _model(encoder: Encoder, connector: Connector, decoder: Decoder, data: Data, step: Train) -> _Model:
    tasks = Eval(tasks=())  # what is evaluated is no part of a model
    config = Config(encoder=encoder, connector=connector, decoder=decoder, data=data, train=step, eval=tasks)
    return _Model(
        upstream=_upstream(encoder, data.num_scenes),
        config=config.model_dump(mode="json", include={"encoder", "connector", "decoder", "data"}, exclude={"encoder": UPSTREAM_FIELDS}),
        num_params=decoder.num_params,
        embedding_params=flops.embedding_params(decoder, data),
        active_params=decoder.active_params,
        total_params=flops.total_params(config),
        step_flops=flops.pretrain_step_flops(config),
        pool_flops=flops.pretrain_pool_flops(config),
        memory_bytes=flops.pretrain_stage_memory(config),
        shared_bytes=flops.shared_bytes(config),
    )


@lru_cache(maxsize=1024)
def _upstream(encoder: Encoder, num_scenes: int) -> tuple[StageSpec, ...]:
    """What the pretrain stage reads."""
    trained = () if encoder.pretrain.objective is Objective.NONE else (_encoder_stage(encoder.as_pretrained),)
    if encoder.features is Features.COMPUTED:
        return trained
    return (*trained, _features_stage(encoder, num_scenes, needs=tuple(stage.name for stage in trained)))


@lru_cache(maxsize=1024)
def _encoder_stage(encoder: Encoder) -> StageSpec:
    return StageSpec(
        name="encoder",
        config={"encoder": encoder.model_dump(mode="json", exclude={"training": True, "features": True, "pretrain": {"resolution"}})},
        needs=(),
        version="1",
        seeded=encoder.pretrain.seed is None,
        num_params=0,
        embedding_params=0,
        active_params=0,
        total_params=encoder.num_params + objective_params(encoder),
        train_flops=flops.encoder_stage_flops(encoder),
        memory_bytes=flops.encoder_stage_memory(encoder),
    )


def _features_stage(encoder: Encoder, num_scenes: int, *, needs: tuple[str, ...]) -> StageSpec:
    """Seeded, because each seed draws scenes of its own."""
    shape = encoder.model_dump(mode="json", exclude={"training", *UPSTREAM_FIELDS})
    return StageSpec(
        name="features",
        config={"encoder": shape, "data": {"num_scenes": num_scenes}},
        needs=needs,
        version="1",
        seeded=True,
        num_params=0,
        embedding_params=0,
        active_params=0,
        total_params=encoder.num_params,
        train_flops=flops.features_stage_flops(encoder, num_scenes=num_scenes),
        memory_bytes=flops.features_stage_memory(encoder, num_scenes=num_scenes),
    )


@lru_cache(maxsize=4096)
def _as_json(part: Train | Eval) -> Mapping[str, Any]:
    return part.model_dump(mode="json")


def train(stage: StageSpec, inputs: Mapping[str, Path], context: Context) -> None:
    """Runs one stage; `inputs` has the artefact folder of each stage it needs. Where there are several devices or machines, a stage with a
    decoder has a process on each, and any other runs here."""
    hosts = os.environ.get("ABLATE_HOSTS", "").split(",")
    if "decoder" in stage.config and max(context.num_devices, len(hosts)) > 1:
        from model_zoo.processes import train_in_processes

        train_in_processes(stage, inputs, context, hosts=hosts if len(hosts) > 1 else ())
    else:
        train_here(stage, inputs, context)


def train_here(stage: StageSpec, inputs: Mapping[str, Path], context: Context) -> None:
    """The same in this process, with the others if it is one of several."""
    import torch

    from model_zoo import train as loops
    from model_zoo.train_encoder import ENCODER_FILE, FEATURES_FILE, compute_features, train_encoder

    torch.set_num_threads(context.cpus)
    weights = inputs["encoder"] / ENCODER_FILE if "encoder" in stage.needs else None
    features = inputs["features"] / FEATURES_FILE if "features" in stage.needs else None
    match stage.name:
        case "encoder":
            train_encoder(read_encoder(stage.config["encoder"]), context=context)
        case "features":
            encoder, data = read_encoder(stage.config["encoder"]), Data.model_validate(stage.config["data"])
            compute_features(encoder, num_scenes=data.num_scenes, encoder_weights=weights, context=context)
        case "pretrain" | "sft":
            own = stage.config["encoder"] if weights else {**stage.config["encoder"], "pretrain": {"objective": Objective.NONE}}
            config = Config.model_validate({**stage.config, "encoder": own})
            before = inputs["pretrain"] / loops.MODEL_FILE if "pretrain" in stage.needs else None
            loops.train_model(config, first=loops.First(weights, features, before), context=context)
        case _:
            raise ValueError(f"unknown stage '{stage.name}' (encoder, features, pretrain, sft)")
