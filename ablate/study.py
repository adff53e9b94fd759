"""What a study file says, as a frozen `Study`: the question, the base, the axes, the seeds, what is measured and what is expected.

It holds what the author wrote; `load.py` reads it from a file, with the base and the claims' defaults filled in.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator

from ablate.blocks import Design, Grid, Search, Seeds
from ablate.marked_yaml import Marks, shown
from ablate.model import Level, Number, StudyModel, Whole
from ablate.trainer_settings import CommandTrainer, PythonTrainer, SurrogateTrainer

DEVICES = frozenset(("CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))))
"""Names that no file can have on Windows, whatever comes after a dot."""


def _whole(value: Any) -> Any:
    if isinstance(value, bool | float):  # they equal 1
        raise ValueError(f"found {shown(value)} (allowed: 1)")
    return value


class Metric(StudyModel):
    name: str
    """A metric the trainer declares; the last value reported counts."""
    goal: Literal["min", "max"]
    """Which way is better."""
    noise_sd: Annotated[Number, Field(gt=0)] | None = None
    """Standard deviation between the seeds of one arm, in the metric's unit: assumed by `plan` until it is measured."""


class Contrast(StudyModel):
    """Two levels of an axis to compare with another two."""

    axis: str
    """Another axis of the study."""
    level: Level | dict[str, float] = None
    """Default: as in a claim."""
    against: Level | dict[str, float] = None
    """Default: as in a claim."""


class Claim(StudyModel):
    """What the author expects, written down before the runs: `level` against `against` on `metric`."""

    axis: str
    """The axis the claim is about."""
    expect: Literal["increases", "decreases", "equivalent", "best_level", "larger_effect_than", "interior_optimum"]
    """`increases` and `decreases` speak of the metric's value, whatever its goal; `best_level` says no other level is better;
    `larger_effect_than` that the difference is larger, whatever its sign, than that of `than`; `interior_optimum` that some level between
    the lowest and the highest is better than both."""
    level: Level | dict[str, float] = None
    """Default: the highest level of an axis of numbers, else the last one. `best_level` needs it."""
    against: Level | dict[str, float] = None
    """Default: the lowest level of an axis of numbers, else the baseline (the base's own level, or the first)."""
    metric: str | None = None
    """Default: the study's metric."""
    within: Annotated[Number, Field(gt=0)] | None = None
    """Margin of `equivalent`, in the metric's unit."""
    than: Contrast | None = None
    """The difference that `larger_effect_than` compares with."""
    when: str | None = None
    """Only arms in which this condition holds; written as in `where`."""
    lesson: str | None = None
    """Name of the published lesson this claim tests, for the tables."""


class Resources(StudyModel):
    """What one job needs."""

    cpus: Annotated[Number, Field(gt=0, le=1024)] = 1
    """Cores."""
    gpus: Annotated[Number, Field(ge=0, le=64)] = 0
    """GPUs; a fraction shares one."""
    memory_gib: Annotated[Number, Field(gt=0, le=65536)] | None = None
    """Main memory, GiB: no more jobs run on a machine than it has memory for."""
    nodes: Annotated[Whole, Field(ge=1, le=1024)] = 1
    """Machines; each of them gives these cores, GPUs and memory, for trainers that start processes on several."""
    minutes: Annotated[Number, Field(gt=0, le=525_600)] | None = None
    """Wall time of one attempt, in minutes; a job that takes longer is ended and has failed."""
    stall_minutes: Annotated[Number, Field(gt=0, le=525_600)] | None = None
    """Minutes without a report or a checkpoint after which a job counts as hung: it is ended and has failed."""


class Hardware(StudyModel):
    """What the study is to run on, for hours and money; once a throughput is measured it replaces `peak_flops` times `utilisation`."""

    device: str = ""
    """Its name, for people."""
    peak_flops: Annotated[Number, Field(gt=0)]
    """FLOP/s of one device at its peak, in the precision that trains."""
    utilisation: Annotated[Number, Field(gt=0, le=1)]
    """Share of the peak that training reaches (model FLOPs utilisation)."""
    memory_gib: Annotated[Number, Field(gt=0)] | None = None
    """Memory of one device, GiB."""
    price_per_hour: Annotated[Number, Field(ge=0)] | None = None
    """Of one device, in `currency`."""
    currency: str = "USD"
    """What prices are in."""
    devices: Annotated[Whole, Field(gt=0, le=1_000_000)] = 1
    """How many there are."""


class Budget(StudyModel):
    """A study over any of these is refused before it starts."""

    trials: Annotated[Whole, Field(gt=0)] | None = None
    """Trials in all."""
    train_flops: Annotated[Number, Field(gt=0)] | None = None
    """FLOPs of all jobs."""
    device_hours: Annotated[Number, Field(gt=0)] | None = None
    """Hours of one device over all jobs."""
    money: Annotated[Number, Field(gt=0)] | None = None
    """In the currency of `hardware`."""
    wall_minutes: Annotated[Number, Field(gt=0)] | None = None
    """A study that would take longer is not begun, and `run` starts no further job after this many minutes; it stays resumable."""


class LawDefinitions(StudyModel):
    """What the numbers of a law mean. Laws that differ here differ in their constants even where nature does not."""

    counts: Literal["non_embedding", "with_head", "with_embeddings", "total"]
    """What the size counts: the language model without embeddings and output head, with its head, with both; or everything."""
    batch: Annotated[str, Field(min_length=1)]
    """Whether the batch is fixed or grows with the size, and how large it is."""
    horizon: Annotated[str, Field(min_length=1)]
    """How long each size is trained."""
    schedule: Annotated[str, Field(min_length=1)]
    """Warmup and decay of the rate."""
    weight_decay: Annotated[str, Field(min_length=1)]
    """The decay, and by which convention: a step's own factor, or times the rate as in torch's AdamW."""
    warmup_fraction: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Warmup of all runs, as a share of their steps."""
    batch_tokens: Annotated[Number, Field(gt=0)] | None = None
    """Tokens a step of all runs, where it is one number."""
    tokens: Annotated[Number, Field(gt=0)] | None = None
    """Training tokens of all runs, where it is one number."""


READS = {"N+D": "tokens", "C": "tokens", "N+B": "batch_tokens"}
"""Form of a law -> what it reads of a trial beside N."""


class Law(StudyModel):
    """A hyperparameter law to fit over the study's runs: the best value of `hyperparameter` for each size."""

    hyperparameter: str
    """Axis of the hyperparameter, such as `train.learning_rate`."""
    size: str = "num_params"
    """`num_params` (what the trainer counts: non-embedding parameters of the language model) or an axis."""
    target: Annotated[Number, Field(gt=0)] = 30e9
    """Size to extrapolate to, in parameters."""
    form: Literal["N", "N+D", "N+B", "C"] = "N"
    """What the law reads: the size N; N and the training tokens D; N and the tokens a step B; C = 6 N D."""
    tokens: str | None = None
    """Training tokens of a trial: an axis of numbers or a metric; for forms that read D."""
    batch_tokens: str | None = None
    """Tokens a step of a trial: an axis of numbers or a metric; for forms that read B."""
    definitions: LawDefinitions | None = None
    """What the law's numbers mean; without it the law is compared with no published one and emits no large run."""


class Study(StudyModel):
    """One study file, after `base` and data mixes are resolved. See docs/study-format.md."""

    schema_version: Annotated[Literal[1], BeforeValidator(_whole), Field(alias="schema")]
    """Version of this format."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?$")]
    """Letters, digits, - _ . , up to 64; starts with a letter or digit and does not end with a dot."""
    question: str = ""
    """What the study asks, in a sentence; for people."""
    trainer: str
    """Who trains: `model_zoo`, `synthetic`, `command` (any program), `python` (a function) or `surrogate` (a surface fitted to trials)."""
    command: CommandTrainer | None = None
    """The program of `trainer: command`."""
    python: PythonTrainer | None = None
    """The function of `trainer: python`."""
    surrogate: SurrogateTrainer | None = None
    """The surface of `trainer: surrogate`."""
    trainer_must_be_committed: bool = False
    """Whether `run` refuses to start while the files of a `command` or `python` trainer differ from git's last commit."""
    base: dict[str, Any] = Field(default_factory=dict)
    """The trainer config every arm is a diff against, as written (defaults not filled in)."""
    axes: dict[str, Any]
    """Dotted path into the trainer's config -> levels."""
    design: Design = (Grid(),)
    """Which combinations of levels become arms: one block or several."""
    where: tuple[str, ...] = ()
    """Conditions; a combination stays where all are true."""
    seeds: Seeds = (0,)
    """Seeds every arm is run with; a count n means 0 to n - 1."""
    metric: Metric
    """What the study is about."""
    claims: tuple[Claim, ...] = ()
    """What is expected, before the runs."""
    resources: Resources = Resources()
    """What one job needs."""
    hardware: Hardware | None = None
    """What it is to run on, for hours and money."""
    budget: Budget = Budget()
    """What it may cost."""
    law: Law | None = None
    """A law to fit over the runs."""

    _marks: Marks = PrivateAttr(default_factory=Marks)

    @property
    def search(self) -> Search | None:
        """The block of an adaptive study; None where the arms are planned."""
        return next((block for block in self.design if isinstance(block, Search)), None)

    @property
    def marks(self) -> Marks:
        """Where each key and value is written; no part of what the study says."""
        return self._marks

    @property
    def source(self) -> str:
        """The file or name it was loaded from, as written."""
        return self._marks.file

    def with_marks(self, marks: Marks) -> "Study":
        """The same study, knowing where it is written."""
        study = self.model_copy()
        study._marks = marks
        return study

    @field_validator("name")
    @classmethod
    def _no_device(cls, value: str) -> str:
        if value.partition(".")[0].upper() in DEVICES:
            raise ValueError(f"found {shown(value)}, which Windows keeps for a device; choose another name")
        return value
