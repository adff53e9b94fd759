"""The seam: a config becomes stages, a stage becomes weights and metrics. Planning with it loads no torch."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from model_zoo import flops
from model_zoo.config import Config, Data, Eval, Train
from model_zoo.connectors import Connector
from model_zoo.context import Context
from model_zoo.decoders.decoder import Decoder
from model_zoo.encoders.encoder import Encoder, Features, Objective, objective_params

__all__ = ["METRICS", "Config", "StageSpec", "stages", "train"]

_SHOTS = (0, 4, 8)
_TASKS = {
    "caption": "digits of a scene named right",
    "vqa": "questions about one place of a scene answered right",
    "in_context": "two-way choice of a label that only the document defines (chance 50, exactly 50 at 0 shots)",
    "few_shot": "plain mean of caption, vqa and in_context",
}

METRICS: dict[str, str] = {
    **{f"{task}/{shots}": f"{meaning}, {shots} shots, percent" for task, meaning in _TASKS.items() for shots in _SHOTS},
    "text_score": "mean of progressions continued and pairs recalled right, no image, percent",
    "val_loss": "held-out loss, mean over caption, interleaved and text with equal weights, nats",
    "train_loss": "loss of the trial's own mix, mean over the steps since the last point, nats",
    "encoder_loss": "of the encoder stage: image-caption contrast in nats, or squared error of the next patch's normalised pixels",
    "encoder_accuracy": "images of a batch that find their own caption, percent; contrastive alone",
}

CHANGEABLE = ("train.learning_rate", "train.weight_decay", "train.clip_norm")
"""Fields that may change while a trial trains: what another value of them would have kept can be gone on from."""
UPSTREAM_FIELDS = {"pretrain", "features"}
"""Of the encoder; what they come to is in the stages that `pretrain` needs, and so is no part of its own config."""


class StageSpec(NamedTuple):
    """One stage of one trial."""

    name: str
    """`encoder`, `features` or `pretrain`."""
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
    """All there is in memory: encoder, connector, decoder, embeddings, head; in `encoder` the objective, which is thrown away, too; in
    `features` the encoder."""
    train_flops: float
    """As flops.py counts them."""
    memory_bytes: float
    """As flops.py counts them."""


def stages(config: Config) -> tuple[StageSpec, ...]:
    """The encoder stage, unless its objective is `none`; the features stage, where they are cached; the pretrain stage."""
    train = config.train
    model = _model(config.encoder, config.connector, config.decoder, config.data, train.rows_per_step)
    pretrain = StageSpec(
        name="pretrain",
        config={**model.config, "train": _as_json(train), "eval": _as_json(config.eval)},
        needs=tuple(stage.name for stage in model.upstream),
        version="1",
        seeded=True,
        num_params=model.num_params,
        embedding_params=model.embedding_params,
        active_params=model.num_params,  # dense
        total_params=model.total_params,
        train_flops=train.steps * model.step_flops + model.pool_flops,
        memory_bytes=model.memory_bytes,
    )
    return (*model.upstream, pretrain)


class _Model(NamedTuple):
    """What trials of one architecture on one mixture have in common."""

    upstream: tuple[StageSpec, ...]
    config: Mapping[str, Any]
    num_params: int
    embedding_params: int
    total_params: int
    step_flops: float
    pool_flops: float
    memory_bytes: float


# a plan asks for the stages of a hundred thousand trials, which repeat most of their parts
@lru_cache(maxsize=4096)
def _model(encoder: Encoder, connector: Connector, decoder: Decoder, data: Data, rows_per_step: int) -> _Model:
    config = Config(encoder=encoder, connector=connector, decoder=decoder, data=data, train=Train(rows_per_step=rows_per_step))
    return _Model(
        upstream=_upstream(encoder, data.num_scenes),
        config=config.model_dump(mode="json", include={"encoder", "connector", "decoder", "data"}, exclude={"encoder": UPSTREAM_FIELDS}),
        num_params=decoder.num_params,
        embedding_params=flops.embedding_params(decoder),
        total_params=flops.total_params(config),
        step_flops=flops.pretrain_step_flops(config),
        pool_flops=flops.pretrain_pool_flops(config),
        memory_bytes=flops.pretrain_stage_memory(config),
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
    """Runs one stage; `inputs` has the artefact folder of each stage it needs."""
    import torch

    from model_zoo import train as loops

    torch.set_num_threads(context.cpus)
    weights = inputs["encoder"] / loops.ENCODER_FILE if "encoder" in stage.needs else None
    features = inputs["features"] / loops.FEATURES_FILE if "features" in stage.needs else None
    match stage.name:
        case "encoder":
            loops.train_encoder(Encoder.model_validate(stage.config["encoder"]), context=context)
        case "features":
            encoder, data = Encoder.model_validate(stage.config["encoder"]), Data.model_validate(stage.config["data"])
            loops.compute_features(encoder, num_scenes=data.num_scenes, encoder_weights=weights, context=context)
        case "pretrain":
            config = Config.model_validate(stage.config)
            loops.pretrain(config, encoder_weights=weights, features_file=features, context=context)
        case _:
            raise ValueError(f"unknown stage '{stage.name}' (encoder, features, pretrain)")
