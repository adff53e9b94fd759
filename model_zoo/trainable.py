"""The seam: a config becomes stages, a stage becomes weights and metrics. Planning with it loads no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from model_zoo import flops
from model_zoo.config import Config, Encoder, Objective
from model_zoo.context import Context

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
    "encoder_loss": "image-caption contrast of the encoder stage, nats",
    "encoder_accuracy": "images of a batch that find their own caption, percent",
}


class StageSpec(NamedTuple):
    """One stage of one trial."""

    name: str
    """`encoder` or `pretrain`."""
    config: Mapping[str, Any]
    """All that determines the result, as JSON values."""
    needs: tuple[str, ...]
    """Stages whose artefacts it reads."""
    version: str
    """Raised by hand when the same config gives other numbers."""
    seeded: bool
    """Whether the trial's seed enters."""
    num_params: int
    """Non-embedding parameters of the language model; 0 in a stage that has none."""
    train_flops: float
    memory_bytes: float


def stages(config: Config) -> tuple[StageSpec, ...]:
    """The encoder stage, unless its objective is `none`, and the pretrain stage."""
    encoder = StageSpec(
        name="encoder",
        config={"encoder": config.encoder.model_dump(mode="json", exclude={"training"})},
        needs=(),
        version="1",
        seeded=False,
        num_params=0,
        train_flops=flops.encoder_stage_flops(config.encoder),
        memory_bytes=flops.encoder_stage_memory(config.encoder),
    )
    has_encoder_stage = config.encoder.pretrain.objective is not Objective.NONE
    pretrain = StageSpec(
        name="pretrain",
        config=config.model_dump(mode="json", exclude={"encoder": {"pretrain"}}),
        needs=("encoder",) if has_encoder_stage else (),
        version="1",
        seeded=True,
        num_params=config.decoder.num_params,
        train_flops=flops.pretrain_stage_flops(config),
        memory_bytes=flops.pretrain_stage_memory(config),
    )
    return (encoder, pretrain) if has_encoder_stage else (pretrain,)


def train(stage: StageSpec, inputs: Mapping[str, Path], context: Context) -> None:
    """Runs one stage; `inputs` has the artefact folder of each stage it needs."""
    import torch

    from model_zoo import train as loops

    torch.set_num_threads(context.cpus)
    match stage.name:
        case "encoder":
            loops.train_encoder(Encoder.model_validate(stage.config["encoder"]), context=context)
        case "pretrain":
            weights = inputs["encoder"] / loops.ENCODER_FILE if "encoder" in stage.needs else None
            loops.pretrain(Config.model_validate(stage.config), encoder_weights=weights, context=context)
        case _:
            raise ValueError(f"unknown stage '{stage.name}' (encoder, pretrain)")
