"""What is wrong with the configs of a study taken together, or on so many devices, and no config shows alone. No torch."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from model_zoo.config import Config, Schedule, Train
from model_zoo.fields import Training

_LORA = ("lora_rank", "lora_alpha")


class Objection(NamedTuple):
    path: tuple[str, ...]
    """Of the field that is at fault."""
    message: str


def objections(configs: Sequence[Config], *, num_devices: int) -> list[tuple[Objection, ...]]:
    """Of each config in turn. `num_devices`: those that a stage trains on, of all its machines."""
    adapted = {block for config in configs for block, _, trainings in _blocks(config) if Training.LORA in trainings}
    unread = _unread(configs)
    return [(*_objections(config, num_devices=num_devices, adapted=adapted), *more) for config, more in zip(configs, unread, strict=True)]


def too_few_rows(train: Train, *, num_devices: int) -> str:
    """Empty where each device has a row of each micro-batch."""
    rows, parts = train.rows_per_step, num_devices * train.accumulate
    shares = f"{num_devices} devices" + (f" x {train.accumulate} micro-batches (accumulate)" if train.accumulate > 1 else "")
    return f"rows_per_step is {rows}, and {shares} need a row each: at least {parts}" if parts > rows else ""


def _objections(config: Config, *, num_devices: int, adapted: set[tuple[str, ...]]) -> Iterator[Objection]:
    for block, train, _ in _blocks(config):
        if message := too_few_rows(train, num_devices=num_devices):
            yield Objection((*block, "rows_per_step"), message)
        for name in _LORA if block not in adapted else ():
            value, default = getattr(train, name), type(train).model_fields[name].default
            if value != default:
                stage = "".join(f"{part}." for part in block[:-1])
                parts_of = f"{stage}encoder.training or {stage}decoder.training"
                other = " (fine-tuning reads sft.train)" if config.sft and not stage else ""
                yield Objection(
                    (*block, name),
                    f"{name} is {value}, and no arm trains a part as lora in this stage{other}: set {parts_of} to lora, or leave it out",
                )


def _unread(configs: Sequence[Config]) -> list[list[Objection]]:
    """Of each config: fields by which the arms differ and that nothing in any of them reads: an axis over them would show nothing."""
    found: list[list[Objection]] = [[] for _ in configs]
    for path, read_where, is_read in _SOMETIMES_READ:
        values = [_value_at(config, path) for config in configs]
        if not any(map(is_read, configs)):
            for value, objections_of_one in zip(values, found, strict=True):
                if value != values[0]:
                    objections_of_one.append(
                        Objection(
                            path, f"{path[-1]} differs between arms, and none of them reads it: it is read {read_where}; leave it out"
                        )
                    )
    return found


def _value_at(config: Config, path: Sequence[str]) -> object:
    value: object = config
    for name in path:
        value = getattr(value, name, None)
    return value


def _reads_scenes(config: Config) -> bool:
    return config.data.files is None


def _is_noisy(*path: str) -> Callable[[Config], bool]:
    """Whether the alt-text there has noise that a rewriting would mend."""
    return lambda config: bool(_value_at(config, (*path, "alt_text", "noise")))


_SOMETIMES_READ: tuple[tuple[tuple[str, ...], str, Callable[[Config], bool]], ...] = (
    (("data", "num_scenes"), "without data.files", _reads_scenes),
    (("eval", "num_documents"), "without data.files", _reads_scenes),
    (("data", "alt_text", "synthetic"), "with noise above 0", _is_noisy("data")),
    (("sft", "data", "alt_text", "synthetic"), "with noise above 0", _is_noisy("sft", "data")),
    (("encoder", "pretrain", "alt_text", "synthetic"), "with noise above 0", _is_noisy("encoder", "pretrain")),
    (("train", "decay_fraction"), "with schedule wsd", lambda config: config.train.schedule is Schedule.WSD),
    (
        ("sft", "train", "decay_fraction"),
        "with schedule wsd",
        lambda config: bool(config.sft and config.sft.train.schedule is Schedule.WSD),
    ),
)
"""Field, where it is read, and whether it is in a config."""


def _blocks(config: Config) -> Iterator[tuple[tuple[str, ...], Train, tuple[Training, ...]]]:
    """Path of what a stage is trained by, that, and how encoder and decoder are trained in it."""
    encoder, decoder = config.encoder.training, config.decoder.training
    yield ("train",), config.train, (encoder, decoder)
    if sft := config.sft:
        yield ("sft", "train"), sft.train, (sft.encoder.training or encoder, sft.decoder.training or decoder)
