"""The two loops: pixels and captions to an encoder, an encoder and documents to a model; between them, a frozen encoder's features.

Bit for bit the same for a seed on one machine's CPU, interrupted or not: data depend on (seed, step) only, and what
else a step needs is in the checkpoint.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from model_zoo.build import build_encoder, build_model
from model_zoo.checkpoint import load_encoder, pack, save_weights, unpack
from model_zoo.config import Config, Eval, Train
from model_zoo.context import Context
from model_zoo.data import vocabulary
from model_zoo.data.batch import collate
from model_zoo.data.pictures import Pool, draw_scenes, resample, training_digits, training_pool
from model_zoo.data.stream import draw_step
from model_zoo.encoders.contrast import Contrast
from model_zoo.encoders.encoder import Encoder, Objective, Training
from model_zoo.encoders.reconstruct import Reconstruction, prefix_mask
from model_zoo.encoders.vit import VisionTransformer
from model_zoo.evaluate.held_out import ValidationDocuments, held_out_pool, validation_documents
from model_zoo.evaluate.loss import answer_loss, validation_loss
from model_zoo.evaluate.scores import score_names, score_tasks
from model_zoo.features import PoolFeatures, encode, encode_pools, load_features, save_features
from model_zoo.initial import initialise
from model_zoo.optim import make_optimizer, parameter_groups, rate_at, set_rate
from model_zoo.vlm import VisionLanguageModel

REPORT_EVERY = 20
"""Steps between points of the training curve, each the mean since the last; also how often a stop is noticed."""
CHECKPOINT_SECONDS = 30.0
"""Most of the work that a dying process can lose, beside a step; results do not depend on when the state is kept."""
ENCODER_FILE = "encoder.safetensors"
FEATURES_FILE = "features.safetensors"
MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"

_PICTURES = 4  # second word of a seed, so that no two uses of one seed share random numbers


class EncoderTraining(nn.Module):
    """The encoder and what it is trained by."""

    def __init__(self, config: Encoder) -> None:
        super().__init__()
        self.encoder = build_encoder(config)
        self.contrast: Contrast | None = None
        self.reconstruction: Reconstruction | None = None
        if config.pretrain.objective is Objective.CONTRASTIVE:
            self.contrast = Contrast(config.width, caption_length=vocabulary.NUM_PLACES)
        else:
            self.reconstruction = Reconstruction(config)

    def forward(self, pixels: Tensor, *, captions: Tensor, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and what else there is to report."""
        if self.contrast is not None:
            score = self.contrast(self.encoder(pixels), captions=captions)
            return score.loss, {"encoder_accuracy": 100 * score.accuracy}
        assert self.reconstruction
        num_patches = self.encoder.num_patches
        prefix = torch.from_numpy(rng.integers(1, num_patches, size=len(pixels))).to(pixels.device)
        features = self.encoder(pixels, mask=prefix_mask(prefix, num_patches=num_patches))
        return self.reconstruction(features, images=pixels, prefix=prefix), {}


def train_encoder(config: Encoder, *, context: Context) -> None:
    """Scenes to the encoder's weights, by its objective. Raises FloatingPointError if it diverges."""
    settings = config.pretrain
    schedule = Train(steps=settings.steps, learning_rate=settings.learning_rate, warmup_steps=min(40, settings.steps // 2))
    model = EncoderTraining(config)
    initialise(model, seed=settings.seed)
    model.to(context.device)
    optimizer = make_optimizer(parameter_groups(model, weight_decay=schedule.weight_decay))
    digits = training_digits()
    first, kept_at = 0, time.monotonic()
    if (state := context.restore()) is not None:
        first = unpack(state, module=model, optimizer=optimizer).step
    for step in range(first, schedule.steps):
        with context.phase("data"):
            rng = np.random.default_rng((settings.seed, _PICTURES, step))
            chosen = rng.integers(len(digits.labels), size=(settings.batch_size, vocabulary.NUM_PLACES))
            pixels = resample(draw_scenes(digits, chosen=chosen), image_size=config.image_size).to(context.device)
            captions = torch.from_numpy(digits.labels[chosen]).to(context.device)
        with context.phase("step"):
            error, also = model(pixels, captions=captions, rng=rng)
            _descend(model, optimizer, loss=error, rate=rate_at(step, train=schedule), clip_norm=schedule.clip_norm)
            loss, done = error.item(), step + 1
        if not math.isfinite(loss):
            context.report(done, encoder_loss=math.nan)
            raise FloatingPointError(f"the encoder's loss is {loss} at step {done}; lower encoder.pretrain.learning_rate")
        if done % REPORT_EVERY == 0 or done == schedule.steps:
            context.report(done, encoder_loss=loss, **{name: value.item() for name, value in also.items()})
        is_stopping = done % REPORT_EVERY == 0 and context.should_stop()
        if done < schedule.steps and (is_stopping or time.monotonic() - kept_at > CHECKPOINT_SECONDS):
            context.checkpoint(pack(model, optimizer=optimizer, step=done, extra={}))
            kept_at = time.monotonic()
            if is_stopping:
                return
    save_weights(model.encoder, context.dir / ENCODER_FILE)
    record = config.model_dump(mode="json", exclude={"training": True, "features": True, "pretrain": {"resolution"}})
    _write_json(record, context.dir / CONFIG_FILE)


def compute_features(config: Encoder, *, num_scenes: int, encoder_weights: Path | None, context: Context) -> None:
    """A frozen encoder to the features of every picture that the trials of a seed see."""
    encoder = build_encoder(config)
    _begin(encoder, encoder=encoder, encoder_weights=encoder_weights, context=context)
    with context.phase("data"):
        pool = training_pool(num_scenes=num_scenes, image_size=config.image_size, seed=context.seed)
        held_out = held_out_pool(image_size=config.image_size)
        save_features(encode_pools(encoder, training=pool, held_out=held_out, device=context.device), context.dir / FEATURES_FILE)


def pretrain(config: Config, *, encoder_weights: Path | None, features_file: Path | None, context: Context) -> None:
    """Documents of three sources to a model: reports curves and, at the last step, every score asked for."""
    train, num_tokens, device = config.train, config.connector.num_tokens, context.device
    model = build_model(config, vocabulary_size=vocabulary.SIZE, image_token=vocabulary.IMAGE)
    _begin(model, encoder=model.encoder, encoder_weights=encoder_weights, context=context)
    optimizer = make_optimizer(parameter_groups(model, weight_decay=train.weight_decay, encoder=config.encoder.training))

    with context.phase("data"):
        world = _open_world(config, encoder=model.encoder, features_file=features_file, context=context)
    pixels = world.pool.pixels.to(device)
    validate_at = {round(train.steps * (i + 1) / config.eval.num_validations) for i in range(config.eval.num_validations)}

    first, since_report, kept_at = 0, list[float](), time.monotonic()
    if (state := context.restore()) is not None:
        progress = unpack(state, module=model, optimizer=optimizer)
        first, since_report = progress.step, progress.extra["since_report"].tolist()

    for step in range(first, train.steps):
        with context.phase("data"):
            rows = train.rows_per_step
            documents = draw_step(world.pool, mix=config.data.mix, seed=context.seed, step=step, num_rows=rows, num_tokens=num_tokens)
            batch = collate(documents, device=device)
        with context.phase("step"):
            features = world.known.training[batch.pictures] if world.known else model.encoder(pixels[batch.pictures])
            loss = answer_loss(model, batch, features=features)
            _descend(model, optimizer, loss=loss, rate=rate_at(step, train=train), clip_norm=train.clip_norm)
            since_report.append(loss.item())
        done = step + 1
        if not math.isfinite(since_report[-1]):
            context.report(done, train_loss=math.nan, **_diverged(config.eval))
            return
        if done % REPORT_EVERY == 0 or done == train.steps:
            context.report(done, train_loss=sum(since_report) / len(since_report))
            since_report = []
        if done in validate_at and done < train.steps:
            with context.phase("eval"):
                features = _held_out_features(model, world, device=device)
                context.report(done, val_loss=validation_loss(model, world.validation, features=features))
        is_stopping = done % REPORT_EVERY == 0 and context.should_stop()
        is_due = done in validate_at or time.monotonic() - kept_at > CHECKPOINT_SECONDS
        if done < train.steps and (is_stopping or is_due):
            kept = {"since_report": torch.tensor(since_report, dtype=torch.float64)}
            context.checkpoint(pack(model, optimizer=optimizer, step=done, extra=kept))
            kept_at = time.monotonic()
            if is_stopping:
                return

    with context.phase("eval"):
        scores = _examine(model, world, config=config, device=device)
    context.report(train.steps, **scores)
    if math.isfinite(scores["val_loss"]):
        save_weights(model, context.dir / MODEL_FILE)
        _write_json(config.model_dump(mode="json", exclude={"encoder": {"pretrain", "features"}}), context.dir / CONFIG_FILE)


def _begin(model: nn.Module, *, encoder: VisionTransformer, encoder_weights: Path | None, context: Context) -> None:
    """First weights. An encoder without a stage of its own has the same ones with and without the rest, which is drawn after it."""
    initialise(model, seed=context.seed)
    if encoder_weights is not None:
        load_encoder(encoder, encoder_weights)
    model.to(context.device)


class _World(NamedTuple):
    """What one trial reads, and what it is measured on."""

    pool: Pool
    held_out: Pool
    validation: ValidationDocuments
    known: PoolFeatures | None
    """Of every picture, while the encoder is frozen; otherwise each step encodes the pictures of its documents."""


def _open_world(config: Config, *, encoder: nn.Module, features_file: Path | None, context: Context) -> _World:
    image_size, documents = config.encoder.image_size, config.eval.validation_documents
    pool = training_pool(num_scenes=config.data.num_scenes, image_size=image_size, seed=context.seed)
    held_out = held_out_pool(image_size=image_size)
    validation = validation_documents(held_out, number=documents, num_tokens=config.connector.num_tokens)
    known = None
    if features_file is not None:
        known = load_features(features_file, device=context.device)
    elif config.encoder.training is Training.FROZEN:
        known = encode_pools(encoder, training=pool, held_out=held_out, device=context.device)
    return _World(pool, held_out, validation, known)


def _held_out_features(model: VisionLanguageModel, world: _World, *, device: str) -> Tensor:
    return world.known.held_out if world.known else encode(model.encoder, world.held_out, device=device)


def _examine(model: VisionLanguageModel, world: _World, *, config: Config, device: str) -> dict[str, float]:
    """The validation loss and every score asked for."""
    features = _held_out_features(model, world, device=device)
    val_loss = validation_loss(model, world.validation, features=features)
    if not math.isfinite(val_loss):  # the last step went too far; argmax would still find "answers"
        return _diverged(config.eval)
    num_tokens = config.connector.num_tokens
    scores = score_tasks(model, evaluation=config.eval, pool=world.held_out, features=features, num_tokens=num_tokens)
    return {"val_loss": val_loss, **scores}


def _descend(model: nn.Module, optimizer: torch.optim.Optimizer, *, loss: Tensor, rate: float, clip_norm: float) -> None:
    """One step down. A loss that is not finite makes every weight NaN: the loop must look at it next."""
    set_rate(optimizer, rate)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()


def _diverged(evaluation: Eval) -> dict[str, float]:
    """Every metric the last step would have had: not a number, which is not the same as not measured."""
    return dict.fromkeys(["val_loss", *score_names(evaluation)], math.nan)


def _write_json(record: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")
