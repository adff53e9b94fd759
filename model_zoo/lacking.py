"""What configs name and this machine has not, or has otherwise: files, a tokenizer, checkpoints, a program.

It looks for them and opens the small ones alone: no weights, no rows, no torch. What it cannot see, such as a broken row, a stage still
refuses when it starts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from model_zoo.config import Config
from model_zoo.data.mix import SOURCES, Data
from model_zoo.data.settings import Files
from model_zoo.data.tokenizer import BYTES, tokenizer_of
from model_zoo.decoders.decoder import Packed, TransformersSettings
from model_zoo.encoders.encoder import Features, Objective
from model_zoo.encoders.from_transformers import FromTransformers
from model_zoo.evaluate.settings import PROGRAM, FewShot


class Lack(NamedTuple):
    """Something that is not there."""

    path: tuple[str | int, ...]
    """Of the field that names it."""
    message: str
    stages: tuple[str, ...]
    """Those that would read it."""


def lacks(configs: Iterable[Config]) -> list[tuple[Lack, ...]]:
    """Of each config in turn; what several of them name is looked up once."""
    known = dict[tuple[Any, ...], tuple[Lack, ...]]()
    found = []
    for config in configs:
        names = (config.encoder, config.decoder, config.data, config.eval, config.sft)
        if names not in known:
            known[names] = tuple(_lacks(config))
        found.append(known[names])
    return found


def _lacks(config: Config) -> Iterator[Lack]:
    trained = ("pretrain", "sft") if config.sft else ("pretrain",)
    own = config.sft.data if config.sft else None
    yield from _files(config.data, ("data",), stages=trained[:1] if own else trained)
    if own:
        yield from _files(own, ("sft", "data"), stages=("sft",))
    if config.eval.few_shot:
        yield from _few_shot(config.eval.few_shot, stages=trained)
    if config.eval.harness and find_spec(PROGRAM) is None:
        yield Lack(("eval", "harness"), "lm-evaluation-harness is not installed: pip install 'lm_eval[hf]'", trained)
    yield from _checkpoints(config, trained=trained)


def _files(data: Data, path: tuple[str, ...], *, stages: tuple[str, ...]) -> Iterator[Lack]:
    if data.files is None:
        return
    for name in SOURCES:
        source = getattr(data.files, name)
        if source is not None:
            read = {"train": source.train} if getattr(data.mix, name) > 0 else {}
            yield from _patterns({**read, "held_out": source.held_out}, (*path, "files", name), stages=stages)
    if message := _wrong_tokenizer(data.files):
        yield Lack((*path, "files", "tokenizer"), message, stages)


def _few_shot(asked: FewShot, *, stages: tuple[str, ...]) -> Iterator[Lack]:
    for name in ("captioning", "vqa"):
        task = getattr(asked, name)
        if task is not None:
            shown = {"demonstrations": task.demonstrations} if asked.shots[-1] else {}
            yield from _patterns({"queries": task.queries, **shown}, ("eval", "few_shot", name), stages=stages)


def _patterns(named: Mapping[str, Sequence[str]], path: tuple[str, ...], *, stages: tuple[str, ...]) -> Iterator[Lack]:
    from model_zoo.data.files import MAY_BE_EMPTY, matching, no_file  # numpy, which a plan of digit scenes does without

    for field, patterns in named.items():
        for place, pattern in enumerate(patterns):
            found = matching(pattern)
            if not found:
                yield Lack((*path, field, place), no_file(pattern), stages)
            empty = [each for each in found if each.stat().st_size == 0]
            if empty and (len(empty) == len(found) or empty[0].suffix not in MAY_BE_EMPTY):
                yield Lack((*path, field, place), f"{empty[0]} is empty (0 bytes)", stages)


def _wrong_tokenizer(files: Files) -> str:
    try:
        if files.tokenizer != BYTES and not Path(files.tokenizer).is_file():
            return f"no file '{files.tokenizer}'{'' if Path(files.tokenizer).is_absolute() else f' in {Path.cwd()}'}"
        tokenizer_of(files)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _checkpoints(config: Config, *, trained: tuple[str, ...]) -> Iterator[Lack]:
    """A stage that builds a part reads its checkpoint's config.json, the first one to do so the weights; `packed` needs no config."""
    encoder, decoder = config.encoder, config.decoder
    if isinstance(encoder, FromTransformers) and encoder.pretrained:
        stage = ("encoder",) if encoder.pretrain.objective is not Objective.NONE else ()
        cached = ("features",) if encoder.features is Features.CACHED else ()
        built = (*stage, *cached, *trained)
        yield from _checkpoint(encoder, "encoder", built=built, filled=stage or (*cached, "pretrain"))
    if isinstance(decoder, Packed) and decoder.pretrained:
        if message := _wrong_artefact(decoder):
            yield Lack(("decoder", "pretrained"), message, ("pretrain",))
    elif isinstance(decoder, TransformersSettings) and decoder.pretrained:
        size = config.data.vocabulary_size
        yield from _checkpoint(decoder, "decoder", built=trained, filled=("pretrain",), vocabulary_size=size)


def _checkpoint(
    settings: FromTransformers | TransformersSettings,
    part: str,
    *,
    built: tuple[str, ...],
    filled: tuple[str, ...],
    vocabulary_size: int | None = None,
) -> Iterator[Lack]:
    from model_zoo.hub import CheckpointError, check_checkpoint

    for stages in (built, filled):
        try:
            check_checkpoint(settings, expected=settings.sizes, weights=stages is filled, vocabulary_size=vocabulary_size)
        except (CheckpointError, OSError) as error:
            yield Lack((part, "pretrained"), str(error), stages)
            return


def _wrong_artefact(settings: Packed) -> str:
    from model_zoo.artefact import read_artefact, refuse_other_sizes
    from model_zoo.hub import CheckpointError

    try:
        refuse_other_sizes(read_artefact(settings), settings)
    except (CheckpointError, OSError) as error:
        return str(error)
    return ""
