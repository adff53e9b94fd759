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
from model_zoo.evaluate.averages import AVERAGES, CAPTION_VQA_MEAN, SHOTS
from model_zoo.evaluate.names import HARNESS
from model_zoo.evaluate.names import reported as reports
from model_zoo.lacking import lacks
from model_zoo.objections import objections

__all__ = ["METRICS", "Config", "StageSpec", "lacks", "objections", "reports", "stages", "train"]

_TASKS = {
    "caption": "digits of a scene named right, each after the right ones before it",
    "vqa": "questions about one place of a scene answered right",
    "in_context": "two-way choice of a label that only the document defines (chance 50, exactly 50 at 0 shots)",
}


_HARNESS_SCORE = re.compile(HARNESS + r"(/[\w.-]+){2,3}")


class _Metrics(dict[str, str]):
    """Has the scores of lm-evaluation-harness too, whose tasks it alone knows."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and _HARNESS_SCORE.fullmatch(name) is not None)


_NAMED = {
    **{f"{task}/{shots}": f"{meaning}, {shots} shots, percent" for task, meaning in _TASKS.items() for shots in SHOTS},
    **{f"cider/{shots}": f"CIDEr-D of the model's own captions, {shots} shots, 0 to 10 (papers print 100 times it)" for shots in SHOTS},
    **{
        f"vqa_accuracy/{shots}": f"accuracy of VQA, of answers the model writes to questions of eval.few_shot, {shots} shots, percent"
        for shots in SHOTS
    },
    **{
        f"{CAPTION_VQA_MEAN}/{shots}": f"plain mean of 100 x cider/{shots} and vqa_accuracy/{shots}: neither percent nor CIDEr-D"
        for shots in SHOTS
    },
    "lm_eval/TASK/METRIC": "what lm-evaluation-harness gives the decoder: each of eval.harness.scores",
    "progression_score": "digits of a progression continued right from the third on, no image, percent",
    "recall_score": "values of keys that came before in the text recalled right, no image, percent",
    **{average: f"plain mean of {', '.join(parts)}, percent" for average, parts in AVERAGES.items()},
    "ttft_flops": "FLOPs to the first token of an answer: encoder, connector, decoder and head on one image and a question without shots",
    "ttft_ms": "time to first token, ttft_encoder_ms + ttft_prefill_ms, milliseconds; only where eval.latency is measured",
    "ttft_encoder_ms": "of it the encoder: one image, batch size 1, median, milliseconds",
    "ttft_prefill_ms": "of it all after the encoder: connector, decoder over the prompt, head at the last token, median, milliseconds",
    "val_loss": "held-out loss, mean over caption, interleaved and text with equal weights, nats",
    "skipped_rows": "bad rows left out so far, of `data.files` (train, once an epoch, and held_out) and of eval.few_shot",
    "train_loss": "loss of the trial's own mix, mean over the steps since the last point, nats",
    "tokens": "tokens that the decoder has read since the stage began, image tokens included, all devices together",
    "load_balance_loss": "of a decoder with experts at this step, mean over its expert layers: 1 where all experts are used alike, "
    "up to their number",
    "router_z_loss": "of the same: squared log of the sum of the exponentials of a router's logits, mean over tokens and expert layers",
    "encoder_loss": "of the encoder stage: image-caption contrast in nats, or squared error of the next patch's normalised pixels",
    "encoder_accuracy": "images of a batch that find their own caption, percent; contrastive alone",
}

METRICS: dict[str, str] = _Metrics(_NAMED)

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
        seeded=False,
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
