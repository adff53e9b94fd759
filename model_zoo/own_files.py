"""Files of one's own as what a trial reads and is measured on: each row of a step is a sequence of the source that the row falls to.

Two arms of one seed pair: the k-th sequence that either takes from a source is made of the same documents.
"""

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model_zoo.config import Config
from model_zoo.data.batch import Batch
from model_zoo.data.files import RunDry, SourceError, State, Stream
from model_zoo.data.mix import SOURCES
from model_zoo.data.packing import Layout, Packer, Tokens, join, lay_out, pixels_of
from model_zoo.data.samples import READERS
from model_zoo.data.settings import Files, FileSource
from model_zoo.data.stream import row_sources
from model_zoo.data.tokenizer import Tokenizer, tokenizer_of
from model_zoo.encoders.grid import see
from model_zoo.evaluate.few_shot import open_few_shot, score_few_shot
from model_zoo.evaluate.harness import check_installed, run_harness
from model_zoo.evaluate.loss import answer_loss
from model_zoo.evaluate.names import few_shot_names, harness_names
from model_zoo.evaluate.samples import Sample, Scored
from model_zoo.vlm import VisionLanguageModel

_HELD_OUT = 7
"""Seed of the order in which held-out files are read, the same for all trials."""


class Step(NamedTuple):
    """What one step learns from."""

    batches: tuple[tuple[Batch, Tensor], ...]
    """Micro-batches, each with its pixels [M, C, S, S], which the batch's pictures are numbers of."""
    states: Mapping[str, State]
    """Source -> where it goes on after this step."""
    num_bad: int
    """Rows left out so far."""


class OwnFiles:
    """The files of a config that has some; see `model_zoo.train.World`. Steps are read one ahead, by a thread of its own."""

    def __init__(self, config: Config, *, seed: int, device: str, folder: Path | None = None) -> None:
        """`folder`: where another's harness leaves what it wrote."""
        assert config.data.files
        files, tokenizer = config.data.files, _open_tokenizer(config.data.files)
        self._config, self._folder = config, folder
        self._mix, self._train, self._seed, self._device = config.data.mix, config.train, seed, device
        self._tiles = config.encoder.tiles
        self._layout = _layout(config, tokenizer=tokenizer)
        self._streams, self._packers = dict[str, Stream[Tokens]](), dict[str, Packer]()
        for name, source in _sources_of(files).items():
            if getattr(self._mix, name) > 0:
                order = (seed, SOURCES.index(name))
                self._streams[name] = _open(name, "train", source.train, files=files, layout=self._layout, seed=order)
                self._packers[name] = Packer(self._streams[name], layout=self._layout)
        self._held_out, self._num_bad_before = _held_out_batches(config, layout=self._layout, device=device)
        asked = config.eval.few_shot
        self._few_shot = open_few_shot(asked, files=files, layout=self._layout) if asked else ()
        self._num_bad_before += sum(task.num_bad for task in self._few_shot)
        if config.eval.harness:
            check_installed()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="data")
        self._ahead: tuple[int, Future[Step]] | None = None
        self._states: Mapping[str, State] = {}
        self._num_bad = 0

    def state(self) -> dict[str, Tensor]:
        """Where the files are after the last step that was read, for a checkpoint."""
        text = json.dumps(self._states)
        return {"files": torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)}

    def go_on(self, kept: Mapping[str, Tensor]) -> None:
        """From where `state` was taken."""
        for name, state in json.loads(bytes(kept["files"].tolist())).items():
            self._packers[name].go_on(State(*state))

    def read(self, step: int) -> Sequence[tuple[Batch, Tensor]]:
        """Steps are read in order. Raises SourceError."""
        ahead = self._ahead[1] if self._ahead and self._ahead[0] == step else self._reader.submit(self._draw, step)
        found = ahead.result()
        self._ahead = step + 1, self._reader.submit(self._draw, step + 1)
        self._states, self._num_bad = found.states, found.num_bad
        return found.batches

    def features(self, encoder: nn.Module, pictures: Tensor) -> Tensor:
        """pictures [M, C, S, S] as `read` gave them -> [M, V P, E]"""
        return see(encoder, pictures, tiles=self._tiles)

    @property
    def metrics(self) -> Sequence[str]:
        evaluation = self._config.eval
        return ("val_loss", "skipped_rows", *few_shot_names(evaluation.few_shot), *harness_names(evaluation.harness))

    def examine(self, model: VisionLanguageModel) -> Scored:
        evaluation, device, val_loss = self._config.eval, self._device, self.validate(model)
        if not math.isfinite(val_loss):  # the last step went too far; the likeliest token of no number would still be one
            return Scored(dict.fromkeys(self.metrics, math.nan))
        scores: dict[str, float] = {"val_loss": val_loss, "skipped_rows": self._num_bad_before + self._num_bad}
        samples: tuple[Sample, ...] = ()
        if evaluation.few_shot:
            see = partial(self._see, model.encoder)
            tasks, settings = self._few_shot, evaluation.few_shot
            answered = score_few_shot(model, tasks, settings=settings, layout=self._layout, see=see, device=device)
            scores, samples = scores | dict(answered.scores), answered.samples
        if evaluation.harness:
            scores |= run_harness(model, config=self._config, device=device, folder=self._folder)
        return Scored(scores, samples)

    @torch.no_grad()
    def validate(self, model: VisionLanguageModel) -> float:
        """Mean over the sources of each one's own loss, every answer of a source counting alike."""
        losses = list[float]()
        for batches in self._held_out.values():
            answers = [len(batch.answers) for batch, _ in batches]
            means = (float(answer_loss(model, batch, features=self.features(model.encoder, pixels))) for batch, pixels in batches)
            losses.append(sum(mean * number for mean, number in zip(means, answers, strict=True)) / sum(answers))
        return sum(losses) / len(losses)

    def _see(self, encoder: nn.Module, pictures: Sequence[bytes]) -> Tensor:
        """M image files -> [M, V P, E]"""
        pixels = torch.stack([pixels_of(picture, layout=self._layout) for picture in pictures])
        return self.features(encoder, pixels.to(self._device))

    def _draw(self, step: int) -> Step:
        (sources,) = row_sources(self._mix, seed=self._seed, steps=[step], num_rows=self._train.rows_per_step)
        documents, parts = [document for name in sources for document in next(self._packers[name])], self._train.accumulate
        batches = tuple(join(documents[part::parts], device=self._device) for part in range(parts))
        states = {name: packer.state for name, packer in self._packers.items()}
        return Step(batches, states, sum(stream.state.bad for stream in self._streams.values()))


def _held_out_batches(config: Config, *, layout: Layout, device: str) -> tuple[dict[str, list[tuple[Batch, Tensor]]], int]:
    """Source -> its first held-out documents, as many as the config says or as there are, packed; one batch a sequence. And how many rows
    were left out."""
    files, found, num_bad = config.data.files, dict[str, list[tuple[Batch, Tensor]]](), 0
    assert files
    for name, source in _sources_of(files).items():
        stream = _open(name, "held_out", source.held_out, files=files, layout=layout, seed=(_HELD_OUT,))
        documents = list[Tokens]()
        try:
            while len(documents) < config.eval.validation_documents:
                documents.append(next(stream))
        except RunDry:
            pass
        num_bad += stream.state.bad
        found[name] = [join(sequence, device=device) for sequence in _sequences(documents, layout=layout)]
    return found, num_bad


def _sources_of(files: Files) -> dict[str, FileSource]:
    """In the order of a mix."""
    named = {name: getattr(files, name) for name in SOURCES}
    return {name: source for name, source in named.items() if source is not None}


def _open_tokenizer(files: Files) -> Tokenizer:
    """Raises SourceError where it is not there, or not of the size that the config says."""
    try:
        return tokenizer_of(files)
    except ValueError as error:
        raise SourceError(str(error)) from error


def _layout(config: Config, *, tokenizer: Tokenizer) -> Layout:
    assert config.data.files
    return Layout(
        tokenizer,
        num_tokens=config.tokens_per_image,
        image_size=config.encoder.picture_size,
        num_channels=config.encoder.num_channels,
        max_tokens=config.data.files.max_tokens,
        max_images=config.data.files.max_images,
    )


def _open(name: str, part: str, patterns: Sequence[str], *, files: Files, layout: Layout, seed: tuple[int, ...]) -> Stream[Tokens]:
    """`part`: train or held_out."""

    def prepare(document: Any) -> Tokens:
        return lay_out(document, layout=layout)

    epochs = files.epochs if part == "train" else 1
    where, share = f"data.files.{name}.{part}", files.max_bad_share
    return Stream(where, patterns, reader=READERS[name], prepare=prepare, seed=seed, epochs=epochs, max_bad_share=share)


def _sequences(documents: Sequence[Tokens], *, layout: Layout) -> list[list[Tokens]]:
    found: list[list[Tokens]] = [[]]
    for document in documents:
        if sum(len(each.tokens) for each in found[-1]) + len(document.tokens) > layout.max_tokens:
            found.append([])
        found[-1].append(document)
    return [sequence for sequence in found if sequence]
