"""What a study file says under `command` and `python`: a trainer of somebody else's, the metrics it reports, what one training costs;
and under `surrogate`: the surface that stands for one.

The shapes are checked here; what the texts mean (templates, names of fields, functions) is checked where the trainer is made.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from ablate.marked_yaml import shown, visible
from ablate.model import Number, StudyModel

METRIC_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:+-]*(?:/[A-Za-z0-9_@:+-][A-Za-z0-9_.@:+-]*)*")
MAX_METRIC_NAME = 100
TAKEN_NAMES = ("step", "self", "trial", "arm", "seed", "state")
"""Names that a metric cannot have: the step of a row, and columns of the results."""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
STARTS_PROGRAMS = frozenset(("PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "BASH_ENV", "ENV", "IFS"))
SCHEDULED = frozenset(("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"))
SECRET_WORDS = frozenset(("TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "APIKEY", "CREDENTIAL", "CREDENTIALS"))
URL_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def metric_fault(name: str) -> str:
    """Why this is no name for a metric; empty where it is one."""
    if name in TAKEN_NAMES:
        return f"'{name}' is taken ({', '.join(TAKEN_NAMES)}); name the metric otherwise"
    if len(name) > MAX_METRIC_NAME or not METRIC_NAME.fullmatch(name):
        allowed = f"letters, digits, _ . @ : + - and single slashes, up to {MAX_METRIC_NAME}, starting with a letter or digit"
        return f"'{visible(name, limit=60)}' is no name for a metric: {allowed}"
    return ""


def variable_fault(name: str) -> str:
    """Why a study may not set, or pass on, this variable of the environment; empty where it may."""
    if not VARIABLE.fullmatch(name):
        return f"'{visible(name)}' is no name of a variable: letters, digits and _, not starting with a digit"
    if name in STARTS_PROGRAMS or name.startswith(("LD_", "DYLD_")):
        return f"{name} is not allowed: it decides which program runs; name the program by its path in argv"
    if name in SCHEDULED or name.startswith(("RAY_", "ABLATE_")):
        return f"{name} is set by the scheduler; leave it out"
    return ""


def _metrics(metrics: dict[str, str]) -> dict[str, str]:
    if wrong := [fault for name in metrics if (fault := metric_fault(name))]:
        raise ValueError("; ".join(wrong))
    return metrics


def _env(env: dict[str, str]) -> dict[str, str]:
    wrong = [fault for name in env if (fault := variable_fault(name))]
    wrong += [
        f"{name} looks like a secret, and this file is no place for one; write pass_env: [{name}] and set it where `ablate run` starts"
        for name, value in env.items()
        if set(name.upper().split("_")) & SECRET_WORDS or URL_PASSWORD.search(value)
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
    return env


def _pass_env(names: tuple[str, ...]) -> tuple[str, ...]:
    if wrong := [fault for name in names if (fault := variable_fault(name))]:
        raise ValueError("; ".join(wrong))
    return names


def _as_list(argv: Any) -> Any:
    if isinstance(argv, str):
        raise ValueError(f"found {shown(argv)}; write a list with one argument each, as in [python, train.py]: no shell reads it")
    return argv


def _as_digests(files: Any) -> Any:
    """A list of files has digests once the study knows its folder."""
    return dict.fromkeys(files, "") if isinstance(files, list | tuple) and all(isinstance(name, str) for name in files) else files


def _inside(names: Iterable[str]) -> None:
    for name in names:
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"'{visible(name)}' lies outside the folder; write a path below it")


Amount = Annotated[Number, Field(gt=0)] | str
"""A number, or arithmetic over fields of the config such as `12 * depth * width * width`."""


class OwnTrainer(StudyModel):
    """What every trainer of somebody else's declares."""

    metrics: Annotated[dict[str, str], Field(min_length=1), AfterValidator(_metrics)]
    """Metric -> what it means, with its unit."""
    version: str = "1"
    """Raised by hand when the same settings would give other numbers: part of what a trial is."""
    sources: Annotated[dict[str, str], BeforeValidator(_as_digests, json_schema_input_type=list[str])] = Field(default_factory=dict)
    """Files whose content is part of what a trial is, beside the script or module that is named; each with its digest once loaded."""
    num_params: Amount | None = None
    """Parameters of the language model without embeddings and output head."""
    train_flops: Amount | None = None
    """FLOPs of one training, forward and backward."""
    memory_bytes: Amount | None = None
    """Peak memory of one training."""
    folder: str = ""
    """Where the program runs and files are looked for; default: the folder of the study file."""

    @field_validator("sources")
    @classmethod
    def _sources_inside(cls, value: dict[str, str]) -> dict[str, str]:
        _inside(value)
        return value


class CommandTrainer(OwnTrainer):
    """Any program: started once a trial, it reports metrics as lines of JSON."""

    argv: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_as_list)]
    """The program and its arguments; `{train.lr}` is a field of the config, `{seed}`, `{dir}`, `{checkpoint_dir}`, `{config_file}` and
    `{python}` are given."""
    report: str = "stdout"
    """Where it reports: `stdout`, or a file in the trial's folder."""
    env: Annotated[dict[str, str], AfterValidator(_env)] = Field(default_factory=dict)
    """Variables of its environment."""
    pass_env: Annotated[tuple[str, ...], AfterValidator(_pass_env)] = ()
    """Names of variables it gets from where the run was started; for secrets."""
    grace_seconds: Annotated[Number, Field(ge=0, le=3600)] = 10
    """Time it has between SIGTERM and SIGKILL."""

    @field_validator("report")
    @classmethod
    def _report_inside(cls, value: str) -> str:
        _inside([value])
        return value


class PythonTrainer(OwnTrainer):
    """A function `train(config, context)` of an importable module."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]
    """`package.module:function`."""
    config: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")] | None = None
    """`package.module:Config`, a pydantic model of the config; default: the form of the base."""


class SurrogateTrainer(StudyModel):
    """A response surface that stands for a trainer: `ablate surrogate` fits one to recorded trials."""

    file: Annotated[str, Field(min_length=1)]
    """The surface's file."""
    digest: str = ""
    """Beginning of the SHA-256 of its content, part of what a trial is; where it is written, the file must have it."""
