"""What one trial of the zoo is: pydantic models and nothing heavy, because planning reads this file without torch.

Invariant: a `Config` that validates can be built. Whatever does not fit together (patches and pixels, tokens and grid,
heads and width, shares that do not sum to 1) is refused here: what was found, what is allowed, the nearest value.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from math import isqrt
from typing import Annotated, Any

from pydantic import Field, StrictBool, ValidationError, ValidationInfo, field_validator, model_validator

from model_zoo.connectors import Connector
from model_zoo.connectors.avg_pool import AvgPool
from model_zoo.connectors.connector import Shape
from model_zoo.data.mix import Data
from model_zoo.decoders.decoder import Decoder, Keys, Packed
from model_zoo.encoders import PLAIN, Encoder
from model_zoo.encoders.encoder import Features, Objective
from model_zoo.encoders.vit import ViT
from model_zoo.evaluate.settings import FewShot, Harness
from model_zoo.fields import Count, Fraction, NonNegative, NonNegativeInt, Pixels, Positive, Settings, Training


class Task(StrEnum):
    """What the final evaluation can score."""

    CAPTION = "caption"
    """Name the four digits of a scene."""
    VQA = "vqa"
    """Name the digit at one place of a scene."""
    IN_CONTEXT = "in_context"
    """Choose between two labels that only this document defines."""
    TEXT = "text"
    """Continue progressions and recall pairs, no image."""


class Schedule(StrEnum):
    """How the rate goes on after its warmup."""

    COSINE = "cosine"
    """Half a cosine from the peak down to the last step."""
    WSD = "wsd"
    """Warmup, stable, decay (Hu et al. 2024, arXiv 2404.06395): at the peak, then, over the last `decay_fraction` of the steps, down as
    1 - sqrt(x), x being how far the decay has come (Hägele et al. 2024, arXiv 2405.18392)."""


class Optimizer(StrEnum):
    """What turns gradients into steps."""

    ADAMW = "adamw"
    """Two moments per weight (Loshchilov and Hutter 2017, arXiv 1711.05101)."""
    ADAFACTOR = "adafactor"
    """Second moments of a matrix from sums over rows and columns, no first ones (Shazeer and Stern 2018, arXiv 1804.04235), at our rate."""


class Precision(StrEnum):
    """Numbers that matrix products of a training step are made of; weights, optimizer and evaluation are float32 in either."""

    FLOAT32 = "float32"
    """All of it."""
    BFLOAT16 = "bfloat16"
    """By torch's autocast, encoder included where it is trained."""


class Sharding(StrEnum):
    """What the devices of a trial that has several (`resources.gpus`) share out beside a step's documents."""

    REPLICATED = "replicated"
    """Nothing: each has the whole model, and gradients are averaged (DDP)."""
    SHARDED = "sharded"
    """Weights, gradients and optimizer state (FSDP2)."""


class Train(Settings):
    """AdamW with linear warmup and cosine decay, unless told otherwise."""

    steps: Count = 400
    """Optimizer steps."""
    rows_per_step: Count = 8
    """Rows a step; of digit scenes a row is 8 caption documents, one nine-image document or 2 texts, about 70 tokens, of `data.files` a
    sequence of up to `max_tokens`."""
    learning_rate: Positive = 4e-3
    """Peak rate."""
    weight_decay: NonNegative = 0.1
    """As torch has it: times the rate, every step; matrices only. MM1's rule lambda = 0.1 eta (arXiv 2403.09611, section 3.1), read as the
    share of a weight that a step at the peak takes off, is 0.1 here, whatever the rate. MM1 does not say which convention it means: as
    torch's own number, lambda would be 0.1 times `learning_rate`."""
    warmup_steps: NonNegativeInt = 40
    """Steps of linear warmup, at most `steps`."""
    schedule: Schedule = Field(default=Schedule.COSINE, exclude_if=lambda value: value is Schedule.COSINE)
    """What follows the warmup: `cosine` or `wsd`."""
    decay_fraction: Fraction = Field(default=0.2, exclude_if=lambda value: value == 0.2)
    """Last part of the steps, in which `wsd` decays; with the warmup at most all of them. `cosine` does not read it."""
    final_lr_fraction: Fraction = 0.1
    """Where the decay ends, as a fraction of the peak."""
    clip_norm: Positive = 1.0
    """Largest global norm of the gradient."""
    optimizer: Optimizer = Field(default=Optimizer.ADAMW, exclude_if=lambda value: value is Optimizer.ADAMW)
    """`adamw`, or `adafactor`, which keeps hardly anything beside weights and gradients."""
    accumulate: Count = Field(default=1, exclude_if=lambda value: value == 1)
    """Micro-batches that a step's documents are dealt to, at most `rows_per_step`: less memory, the same gradient up to rounding."""
    precision: Precision = Field(default=Precision.FLOAT32, exclude_if=lambda value: value is Precision.FLOAT32)
    """Of matrix products in training: `float32` or `bfloat16`."""
    lora_rank: Count = Field(default=8, exclude_if=lambda value: value == 8)
    """Rank of what is added to the linear maps of parts that are trained as `lora` (Hu et al. 2021, arXiv 2106.09685)."""
    lora_alpha: Count = Field(default=16, exclude_if=lambda value: value == 16)
    """What is added is scaled by this over the rank."""
    compile_mlps: StrictBool = Field(default=False, exclude_if=lambda value: not value)
    """Whether torch compiles the decoder's MLPs. On a CPU that halves the speed; on a GPU it has not been measured."""
    checkpoint_layers: StrictBool = Field(default=False, exclude_if=lambda value: not value)
    """Whether the decoder's layers keep only their inputs and run again for the backward pass: less memory, more time, the same numbers."""

    sharding: Sharding = Field(default=Sharding.REPLICATED, exclude_if=lambda value: value is Sharding.REPLICATED)
    """Of a trial on several GPUs (`resources.gpus`): `replicated`, the whole model on each, or `sharded`, a part of it, AdamW only."""

    @field_validator("sharding")
    @classmethod
    def _shards_have_an_optimizer(cls, value: Sharding, info: ValidationInfo) -> Sharding:
        if value is Sharding.SHARDED and info.data.get("optimizer") is Optimizer.ADAFACTOR:
            raise ValueError("adafactor needs whole matrices, and sharded has none: set optimizer to adamw, or sharding to replicated")
        return value

    @field_validator("warmup_steps")
    @classmethod
    def _warmup_fits(cls, value: int, info: ValidationInfo) -> int:
        steps = info.data.get("steps")
        if steps and value > steps:
            raise ValueError(f"{value} warmup steps do not fit in {steps} steps: at most {steps}")
        return value

    @field_validator("accumulate")
    @classmethod
    def _micro_batches_have_documents(cls, value: int, info: ValidationInfo) -> int:
        rows = info.data.get("rows_per_step")
        if rows and value > rows:
            raise ValueError(f"{value} micro-batches of {rows} rows: at most one a row, {rows}")
        return value

    @field_validator("decay_fraction")
    @classmethod
    def _decay_follows_warmup(cls, value: float, info: ValidationInfo) -> float:
        steps, warmup = info.data.get("steps"), info.data.get("warmup_steps")
        if info.data.get("schedule") is Schedule.WSD and steps and warmup is not None and warmup + decay_steps(value, steps=steps) > steps:
            left = steps - warmup
            most = f"at most the {left} that are left, {left / steps:.6g}" if left else "none is left; lower warmup_steps"
            raise ValueError(f"{value} of {steps} steps decay after {warmup} of warmup: {most}")
        return value


def decay_steps(fraction: float, *, steps: int) -> int:
    """Of the schedule `wsd`."""
    return round(fraction * steps)


class SftTrain(Train):
    """As `train`, with the defaults of a stage that only adapts."""

    steps: Count = 100
    """Optimizer steps."""
    learning_rate: Positive = 1e-3
    """Peak rate."""
    warmup_steps: NonNegativeInt = 10
    """Steps of linear warmup, at most `steps`."""


class SftEncoder(Settings):
    """What this stage changes of the encoder; left out, it stays as in pretrain."""

    image_size: Pixels | None = None
    """Side of the image in pixels; position embeddings, where there are any, are interpolated."""
    tiles: Count | None = None
    """Sub-images along a side of the picture, as `encoder.tiles`."""
    training: Training | None = None
    """`frozen`, `slow`, `lora` or `full`."""


class SftDecoder(Settings):
    """What this stage changes of the decoder; left out, it stays as in pretrain."""

    training: Training | None = None
    """`frozen`, `slow`, `lora` or `full`."""


class Sft(Settings):
    """A stage after pretrain, on the whole model that it left: other data, a higher resolution, other parts trained."""

    encoder: SftEncoder = SftEncoder()
    """Resolution, and whether it is trained."""
    decoder: SftDecoder = SftDecoder()
    """Whether it is trained."""
    data: Data | None = None
    """What the decoder reads, all of it said here; left out, as in pretrain."""
    train: SftTrain = SftTrain()
    """Steps and rate of this stage."""


class Latency(StrEnum):
    """What becomes of the time to first token."""

    UNMEASURED = "unmeasured"
    """Its FLOPs are reported, no time."""
    MEASURED = "measured"
    """Milliseconds on the trial's own device and threads: a median, but of another run another one."""


class Eval(Settings):
    """What is measured, always on images that training never saw."""

    tasks: tuple[Task, ...] = tuple(Task)
    """Scored at the end; an empty list leaves the validation loss, which is always measured."""
    num_documents: Annotated[int, Field(strict=True, gt=0, multiple_of=4)] = 1024
    """Nine-image documents a task is scored on (a multiple of 4: in-context documents are balanced in fours)."""
    num_validations: Count = 4
    """Measurements of the validation loss, evenly spaced, the last one at the last step."""
    validation_documents: Annotated[int, Field(strict=True, gt=0, multiple_of=4)] = 128
    """Held-out documents of each source in the validation loss."""
    latency: Latency = Field(default=Latency.UNMEASURED, exclude_if=lambda value: value is Latency.UNMEASURED)
    """Time to first token at the end: `unmeasured`, or `measured`, which takes half a second and is no number that a second run repeats."""
    few_shot: FewShot | None = Field(default=None, exclude_if=lambda value: value is None)
    """Of trials on files of one's own: captions and answers after 0, 4 and 8 shots, at the end."""
    harness: Harness | None = Field(default=None, exclude_if=lambda value: value is None)
    """Of trials on files of one's own: scores that lm-evaluation-harness gives the decoder, at the end; it has to be installed."""

    @field_validator("tasks")
    @classmethod
    def _in_one_order(cls, value: tuple[Task, ...]) -> tuple[Task, ...]:
        return tuple(task for task in Task if task in value)  # the order someone wrote them in is not identity


class Config(Settings):
    """One trial of the zoo."""

    encoder: Encoder = ViT()
    """Pixels to patch features."""
    connector: Connector = AvgPool()
    """Patch features to visual tokens."""
    decoder: Decoder = Packed()
    """Tokens to the next token."""
    data: Data = Data()
    """The mixture."""
    train: Train = Train()
    """The pretrain stage."""
    eval: Eval = Eval()
    """The measurements, at the end of each stage that has a decoder."""
    sft: Sft | None = Field(default=None, exclude_if=lambda value: value is None)
    """A stage of its own after pretrain; left out, there is none."""

    @property
    def tokens_per_image(self) -> int:
        """Visual tokens that the decoder reads for a picture: those of each of its views."""
        return self.connector.num_tokens * self.encoder.num_views

    @property
    def connector_shape(self) -> Shape:
        """What the connector stands between."""
        return Shape(self.encoder.num_patches, self.encoder.width, self.decoder.width)

    def for_sft(self) -> "Config":
        """The sft stage as a config of its own: its first weights are those of pretrain, so nothing says where those came from."""
        assert self.sft
        changed = self.sft.encoder.model_dump(exclude_none=True)
        encoder = self.encoder.model_dump() | changed | {"features": Features.COMPUTED, "pretrain": {"objective": Objective.NONE}}
        decoder = self.decoder.model_dump() | self.sft.decoder.model_dump(exclude_none=True)
        data, train = self.sft.data or self.data, Train.model_validate(self.sft.train.model_dump())
        return Config.model_validate(
            {"encoder": encoder, "decoder": decoder, "connector": self.connector, "data": data, "train": train, "eval": self.eval}
        )

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Config":
        found = [*self._untrained(), *self._scenes_asked_of_files(), *self._beyond_a_sequence()]
        found += [message for message in self._unfit_for_sft() if message.partition(": ")[2] not in found]
        if found:
            raise ValueError("\n".join(found))
        return self

    def _untrained(self) -> Iterator[str]:
        if self.decoder.training is Training.FROZEN and self.data.mix.text == 1:
            yield "decoder.training is frozen and data.mix has texts alone, from which connector and encoder learn nothing"

    def _scenes_asked_of_files(self) -> Iterator[str]:
        if self.data.files is None:
            if self.eval.few_shot or self.eval.harness:
                yield "eval.few_shot and eval.harness ask about files and text, not about digit scenes: give data.files"
            return
        if self.eval.tasks or self.eval.latency is Latency.MEASURED:
            yield "eval.tasks and eval.latency ask about digit scenes, not data.files: set tasks to [], latency to unmeasured"
        if self.encoder.pretrain.objective is not Objective.NONE or self.encoder.features is Features.CACHED:
            yield (
                "the encoder stage and cached features are of digit scenes, not of data.files: set encoder.pretrain.objective to none "
                "and encoder.features to computed"
            )
        if self.eval.harness and isinstance(self.decoder, Packed) and (self.decoder.moe or self.decoder.keys is not Keys.PLAIN):
            yield "eval.harness: a decoder with smeared keys or experts is none that it could load: set keys to plain, leave out moe"

    def _beyond_a_sequence(self) -> Iterator[str]:
        files, few_shot = self.data.files, self.eval.few_shot
        if files is None:
            return
        if self.tokens_per_image > files.max_tokens:
            yield f"an image is {self.tokens_per_image} tokens, and a sequence at most {files.max_tokens}: raise max_tokens"
        elif few_shot:
            images, answer = few_shot.shots[-1] + 1, few_shot.max_new_tokens
            if images * self.tokens_per_image + answer > files.max_tokens:
                yield (
                    f"eval.few_shot: {few_shot.shots[-1]} shots and a query are {images} images of {self.tokens_per_image} tokens, and an "
                    f"answer up to {answer} more: a sequence has at most {files.max_tokens}; raise max_tokens, or leave out shots"
                )

    def _unfit_for_sft(self) -> Iterator[str]:
        if self.sft is None:
            return
        if self.sft.data and self.sft.data.words != self.data.words:
            yield f"sft.data has {self.sft.data.words}, data {self.data.words}: one decoder reads both, so use one tokenizer"
        try:
            self.for_sft()
        except ValidationError as error:
            kinds = (self.encoder.kind, self.connector.kind, self.decoder.kind)
            for detail in error.errors(include_url=False):
                where = ".".join(["sft", *(str(part) for part in detail["loc"] if part not in kinds)])
                for line in detail["msg"].removeprefix("Value error, ").splitlines():
                    yield f"{where}: {line}"

    @field_validator("decoder", mode="before")
    @classmethod
    def _plain_decoder(cls, value: Any) -> Any:
        return {"kind": "packed", **value} if isinstance(value, Mapping) else value

    @field_validator("encoder", mode="before")
    @classmethod
    def _plain_encoder(cls, value: Any) -> Any:
        return {"kind": PLAIN, **value} if isinstance(value, Mapping) else value

    @field_validator("connector", mode="before")
    @classmethod
    def _plain_kind(cls, value: Any) -> Any:
        return {"kind": "avg_pool", **value} if isinstance(value, Mapping) else value

    @field_validator("connector")
    @classmethod
    def _grid_gives_tokens(cls, value: Connector, info: ValidationInfo) -> Connector:
        encoder = info.data.get("encoder")
        if encoder is None:
            return value
        allowed = value.reachable_tokens(encoder.grid)
        if value.num_tokens not in allowed:
            listed = f"1 to {allowed[-1]}" if len(allowed) > isqrt(allowed[-1]) > 1 else ", ".join(map(str, allowed))
            nearest = min(allowed, key=lambda count: abs(count - value.num_tokens))
            raise ValueError(
                f"num_tokens is {value.num_tokens}, which kind {value.kind} cannot give on a grid of "
                f"{encoder.grid} x {encoder.grid} patches ({listed}): nearest {nearest}"
            )
        return value
