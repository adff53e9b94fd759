"""A trainer whose answer is known: a stated law in the config plus seeded noise, in milliseconds. Always labelled simulated.

    loss     = 1.7 + 25 N^-0.17 + 0.02 (ln peak_lr - ln eta*(N))^2 + 0.10 (1 - image_size/448)^2 + 0.02 / num_tokens
               + 0.3 (interleaved - 0.45)^2 + noise
    eta*(N)  = exp(-0.4214 ln N - 0.5535)                                            (MM1, arXiv 2403.09611, Equation 1)
    score/k  = 100 exp(-loss / 4) + k interleaved + 2 caption [k = 0] + connector, in percent points

The connector adds 0 (avg_pool), 0.1 (attention_pool) or 0.2 (c_abstractor) points: practically nothing, as MM1 found.
The noise of a metric is normal with standard deviation `noise_sd` in loss and 10 `noise_sd` in scores. It is drawn from the seed and the
metric's name, so that arms pair by seed, but for a tenth of it, which depends on the arm as well.
"""

import contextlib
import ctypes
import hashlib
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

SIMULATED = True

METRICS = {
    "loss": "validation loss of the stated law, nats (simulated)",
    "score/0": "0-shot score of the stated law, percent (simulated)",
    "score/4": "4-shot score of the stated law, percent (simulated)",
    "score/8": "8-shot score of the stated law, percent (simulated)",
}
SHARES = ("caption", "interleaved", "text")
CONNECTOR_POINTS = {"avg_pool": 0.0, "attention_pool": 0.1, "c_abstractor": 0.2}
FAILURES = ("none", "raise", "nan", "exit", "hang", "sometimes", "hold", "memory", "orphan", "flood")
FAIL_PATTERN = re.compile(rf"({'|'.join(FAILURES)})(?::(0(?:\.\d+)?|1(?:\.0+)?))?")
FLOOD_BYTES = 1_000_000_000


class Config(BaseModel):
    """Fields of the stated law, then what the trial does while it lasts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    num_params: Annotated[float, Field(gt=0, le=1e15)] = 1e9
    """N, non-embedding parameters."""
    peak_lr: Annotated[float, Field(gt=0, le=10)] = 1e-4
    """Peak learning rate."""
    image_size: Annotated[int, Field(gt=0, le=4096)] = 224
    """Pixels a side."""
    num_tokens: Annotated[int, Field(gt=0, le=4096)] = 64
    """Image tokens."""
    connector: Literal["avg_pool", "attention_pool", "c_abstractor"] = "avg_pool"
    """Kind of connector."""
    mix: dict[str, float] = {"caption": 0.45, "interleaved": 0.45, "text": 0.1}
    """Shares of caption, interleaved and text data; a ratio such as `5:5:1` will do."""
    noise_sd: Annotated[float, Field(ge=0, le=10)] = 0.01
    """Standard deviation of the loss between seeds."""
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """Points of the curve."""
    step_seconds: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Time a step takes."""
    fail: str = "none"
    """`none`, `raise`, `nan`, `exit` (the process dies), `hang`, `hold` (hangs with the interpreter's lock, ignoring signals), `memory`
    (has none left), `orphan` (is killed beside a child in a session of its own) or `flood` (prints a gigabyte); `raise:0.3` with
    probability 0.3; `sometimes` is `raise:0.5`."""

    @field_validator("mix", mode="before")
    @classmethod
    def _ratio(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        parts = value.split(":")
        if len(parts) != len(SHARES) or not all(re.fullmatch(r"\d+(\.\d+)?", part) for part in parts):
            raise ValueError(f"'{value}' is not a ratio of {len(SHARES)} parts ({':'.join(SHARES)}); write 5:5:1")
        total = math.fsum(map(float, parts))
        if total == 0:
            raise ValueError(f"the parts of '{value}' are all zero")
        return {name: float(part) / total for name, part in zip(SHARES, parts, strict=True)}

    @field_validator("mix")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(value) - set(SHARES)):
            raise ValueError(f"unknown source '{unknown[0]}' ({', '.join(SHARES)})")
        shares = {name: value.get(name, 0.0) for name in SHARES}
        total = math.fsum(shares.values())
        if min(shares.values()) < 0 or abs(total - 1) > 1e-6:
            raise ValueError(f"shares sum to {total:g}; use 45:45:10 or shares that sum to 1, none negative")
        return shares

    @field_validator("fail")
    @classmethod
    def _fail(cls, value: str) -> str:
        if not FAIL_PATTERN.fullmatch(value):
            raise ValueError(f"'{value}' is none of {', '.join(FAILURES)}, with a probability as in raise:0.3")
        return value


class StageSpec(NamedTuple):
    """The one stage of a simulated trial; fields as `ablate.trainers.Stage` says."""

    name: str
    config: Mapping[str, Any]
    needs: tuple[str, ...]
    version: str
    seeded: bool
    num_params: int
    """The law's N."""
    embedding_params: int
    """None: the law knows of no embeddings."""
    active_params: int
    """All of N: dense."""
    total_params: int
    """N and nothing else."""
    train_flops: float
    """6 N a token (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), 4,096 tokens a step."""
    memory_bytes: float
    """16 bytes a parameter: weight, gradient and two moments in float32; no activations."""


def changeable(_base: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields that may change while a trial trains."""
    return ("peak_lr",)


def stages(config: Config) -> tuple[StageSpec, ...]:
    tokens = config.steps * 4096.0
    return (
        StageSpec(
            name="pretrain",
            config=config.model_dump(mode="json"),
            needs=(),
            version="synthetic-1",
            seeded=True,
            num_params=int(config.num_params),
            embedding_params=0,
            active_params=int(config.num_params),
            total_params=int(config.num_params),
            train_flops=6.0 * config.num_params * tokens,
            memory_bytes=16.0 * config.num_params,
        ),
    )


def optimal_lr(num_params: float) -> float:
    """eta*(N) of the law above."""
    return math.exp(-0.4214 * math.log(num_params) - 0.5535)


def true_metrics(config: Config) -> dict[str, float]:
    """The law without noise: what a study of this trainer should find."""
    distance = math.log(config.peak_lr / optimal_lr(config.num_params))
    interleaved, caption = config.mix["interleaved"], config.mix["caption"]
    loss = (
        1.7
        + 25 * config.num_params**-0.17
        + 0.02 * distance**2
        + 0.10 * (1 - config.image_size / 448) ** 2
        + 0.02 / config.num_tokens
        + 0.3 * (interleaved - 0.45) ** 2
    )
    score = 100 * math.exp(-loss / 4) + CONNECTOR_POINTS[config.connector]
    return {"loss": loss, "score/0": score + 2 * caption} | {f"score/{k}": score + k * interleaved for k in (4, 8)}


def train(stage: StageSpec, inputs: Mapping[str, Path], context: Any) -> None:
    config = Config.model_validate(dict(stage.config))
    failure = _failure(config, seed=context.seed)
    final = {name: value + _noise(config, name, seed=context.seed) for name, value in true_metrics(config).items()}
    pause = threading.Event()
    first = int(context.restore() or 0) + 1 if config.step_seconds else 1
    for step in range(first, config.steps + 1):
        if context.should_stop():
            return
        if config.step_seconds:
            pause.wait(config.step_seconds)
        if failure != "none" and step >= config.steps / 2:
            final |= _break(failure, pause)
        if step < config.steps:
            context.report(step, loss=final["loss"] + (10 - final["loss"]) * math.exp(-5 * step / config.steps))
            if config.step_seconds:
                context.checkpoint(str(step).encode())
    context.report(config.steps, **final)


def _failure(config: Config, *, seed: int) -> str:
    match = FAIL_PATTERN.fullmatch(config.fail)
    assert match
    kind, probability = match.groups()
    chance = float(probability) if probability else (0.5 if kind == "sometimes" else 1.0)
    if _draw(f"fail {config.model_dump_json()} {seed}").random() >= chance:
        return "none"
    return "raise" if kind == "sometimes" else kind


def _break(failure: str, pause: threading.Event) -> dict[str, float]:
    if failure == "nan":
        return dict.fromkeys(METRICS, math.nan)
    if failure == "exit":
        os._exit(3)
    if failure == "hang":
        pause.wait()
    if failure == "hold":
        _hold()
    if failure == "memory":
        raise MemoryError("this synthetic trial was told to have none left")
    if failure == "orphan":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(os.getpid())], start_new_session=True)  # noqa: S603
        os.kill(os.getpid(), signal.SIGKILL)
    if failure == "flood":
        _flood()
        return {}
    raise RuntimeError("this synthetic trial was told to raise")


def _hold() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with contextlib.suppress(ValueError):  # only a main thread may
            signal.signal(number, signal.SIG_IGN)
    ctypes.PyDLL(None).pause()  # PyDLL: without letting go of the interpreter's lock


def _flood() -> None:
    line = b"a line of a trainer that talks too much\n" * 1000
    for _ in range(FLOOD_BYTES // len(line)):
        os.write(1, line)
    os.write(1, b"the last line\n")


def _noise(config: Config, name: str, *, seed: int) -> float:
    scale = config.noise_sd * (1 if name == "loss" else 10)
    arm = _draw(f"{name} {seed} {config.model_dump_json()}").gauss(0, 1)
    return scale * (_draw(f"{name} {seed}").gauss(0, 1) + 0.1 * arm)


def _draw(text: str) -> random.Random:
    # hashlib, not hash(): the same on every machine and in every process
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))  # noqa: S311
