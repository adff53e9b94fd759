"""The two loops: pixels and captions to an encoder, an encoder and documents to a model.

Bit for bit the same for a seed on one machine's CPU, interrupted or not: data depend on (seed, step) only, and what
else a step needs is in the checkpoint.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_zoo.build import build_encoder, build_model, initialise
from model_zoo.checkpoint import load_weights, pack, save_weights, unpack
from model_zoo.config import Config, Encoder, Eval, Train, Training
from model_zoo.context import Context
from model_zoo.data import vocabulary
from model_zoo.data.batch import collate
from model_zoo.data.pictures import draw_scenes, make_pool, resample, training_digits
from model_zoo.data.stream import draw_step
from model_zoo.encoders.contrast import Contrast
from model_zoo.evaluate.answers import encode
from model_zoo.evaluate.held_out import held_out_pool, validation_documents
from model_zoo.evaluate.loss import answer_loss, validation_loss
from model_zoo.evaluate.scores import score_names, score_tasks
from model_zoo.optim import make_optimizer, parameter_groups, rate_at, set_rate

REPORT_EVERY = 20
"""Steps between points of the training curve, each the mean since the last; also how often a stop is noticed."""
CHECKPOINT_SECONDS = 30.0
"""Most of the work that a dying process can lose, beside a step; results do not depend on when the state is kept."""
ENCODER_FILE = "encoder.safetensors"
MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"

_POOL, _PICTURES = 2, 4  # second word of a seed, so that no two uses of one seed share random numbers


class _EncoderTraining(torch.nn.Module):
    def __init__(self, config: Encoder) -> None:
        super().__init__()
        self.encoder = build_encoder(config)
        self.contrast = Contrast(config.width, caption_length=vocabulary.NUM_PLACES)


def train_encoder(config: Encoder, *, context: Context) -> None:
    """Scenes against their captions, to the encoder's weights. Raises FloatingPointError if it diverges."""
    settings = config.pretrain
    schedule = Train(steps=settings.steps, learning_rate=settings.learning_rate, warmup_steps=min(40, settings.steps // 2))
    model = _EncoderTraining(config)
    initialise(model, seed=settings.seed)
    model.to(context.device)
    optimizer = make_optimizer(parameter_groups(model, weight_decay=schedule.weight_decay))
    digits = training_digits()
    first, kept_at = 0, time.monotonic()
    if (state := context.restore()) is not None:
        first = unpack(state, module=model, optimizer=optimizer).step
    for step in range(first, schedule.steps):
        rng = np.random.default_rng((settings.seed, _PICTURES, step))
        chosen = rng.integers(len(digits.labels), size=(settings.batch_size, vocabulary.NUM_PLACES))
        pixels = resample(draw_scenes(digits, chosen=chosen), image_size=config.image_size).to(context.device)
        captions = torch.from_numpy(digits.labels[chosen]).to(context.device)
        score = model.contrast(model.encoder(pixels), captions=captions)
        _descend(model, optimizer, loss=score.loss, rate=rate_at(step, train=schedule), clip_norm=schedule.clip_norm)
        loss, done = score.loss.item(), step + 1
        if not math.isfinite(loss):
            context.report(done, encoder_loss=math.nan)
            raise FloatingPointError(f"the encoder's loss is {loss} at step {done}; lower encoder.pretrain.learning_rate")
        if done % REPORT_EVERY == 0 or done == schedule.steps:
            context.report(done, encoder_loss=loss, encoder_accuracy=100 * score.accuracy.item())
        is_stopping = done % REPORT_EVERY == 0 and context.should_stop()
        if done < schedule.steps and (is_stopping or time.monotonic() - kept_at > CHECKPOINT_SECONDS):
            context.checkpoint(pack(model, optimizer=optimizer, step=done, extra={}))
            kept_at = time.monotonic()
            if is_stopping:
                return
    save_weights(model.encoder, context.dir / ENCODER_FILE)
    _write_json(config.model_dump(mode="json", exclude={"training"}), context.dir / CONFIG_FILE)


def pretrain(config: Config, *, encoder_weights: Path | None, context: Context) -> None:
    """Documents of three sources to a model: reports curves and, at the last step, every score asked for."""
    train, evaluation, num_tokens, device = config.train, config.eval, config.connector.num_tokens, context.device
    model = build_model(config, vocabulary_size=vocabulary.SIZE, image_token=vocabulary.IMAGE)
    initialise(model, seed=context.seed)
    if encoder_weights is not None:
        load_weights(model.encoder, encoder_weights)
    model.to(device)
    groups = parameter_groups(model, weight_decay=train.weight_decay, encoder=config.encoder.training)
    optimizer = make_optimizer(groups)

    with context.phase("data"):
        digits, pool_rng = training_digits(), np.random.default_rng((context.seed, _POOL))
        pool = make_pool(digits, num_scenes=config.data.num_scenes, image_size=config.encoder.image_size, rng=pool_rng)
        held_out = held_out_pool(image_size=config.encoder.image_size)
        validation = validation_documents(held_out, number=evaluation.validation_documents, num_tokens=num_tokens)
    validate_at = {round(train.steps * (i + 1) / evaluation.num_validations) for i in range(evaluation.num_validations)}
    is_frozen = config.encoder.training is Training.FROZEN
    # A frozen encoder sees each picture of the pool once; otherwise every step encodes the pictures of its documents.
    known = encode(model, pool, device=device) if is_frozen else None
    held_out_features = encode(model, held_out, device=device) if is_frozen else None
    pixels = pool.pixels.to(device)

    first, since_report, kept_at = 0, list[float](), time.monotonic()
    if (state := context.restore()) is not None:
        progress = unpack(state, module=model, optimizer=optimizer)
        first, since_report = progress.step, progress.extra["since_report"].tolist()

    for step in range(first, train.steps):
        with context.phase("data"):
            rows = train.rows_per_step
            documents = draw_step(pool, mix=config.data.mix, seed=context.seed, step=step, num_rows=rows, num_tokens=num_tokens)
            batch = collate(documents, device=device)
        features = known[batch.pictures] if known is not None else model.encoder(pixels[batch.pictures])
        loss = answer_loss(model, batch, features=features)
        _descend(model, optimizer, loss=loss, rate=rate_at(step, train=train), clip_norm=train.clip_norm)
        since_report.append(loss.item())
        done = step + 1
        if not math.isfinite(since_report[-1]):
            context.report(done, train_loss=math.nan, **_diverged(evaluation))
            return
        if done % REPORT_EVERY == 0 or done == train.steps:
            context.report(done, train_loss=sum(since_report) / len(since_report))
            since_report = []
        if done in validate_at and done < train.steps:
            with context.phase("eval"):
                features = held_out_features if held_out_features is not None else encode(model, held_out, device=device)
                context.report(done, val_loss=validation_loss(model, validation, features=features))
        is_stopping = done % REPORT_EVERY == 0 and context.should_stop()
        is_due = done in validate_at or time.monotonic() - kept_at > CHECKPOINT_SECONDS
        if done < train.steps and (is_stopping or is_due):
            kept = {"since_report": torch.tensor(since_report, dtype=torch.float64)}
            context.checkpoint(pack(model, optimizer=optimizer, step=done, extra=kept))
            kept_at = time.monotonic()
            if is_stopping:
                return

    with context.phase("eval"):
        features = held_out_features if held_out_features is not None else encode(model, held_out, device=device)
        val_loss = validation_loss(model, validation, features=features)
        if not math.isfinite(val_loss):  # the last step went too far; argmax would still find "answers"
            context.report(train.steps, **_diverged(evaluation))
            return
        scores = score_tasks(model, evaluation=evaluation, pool=held_out, features=features, num_tokens=num_tokens)
    context.report(train.steps, val_loss=val_loss, **scores)
    save_weights(model, context.dir / MODEL_FILE)
    _write_json(config.model_dump(mode="json", exclude={"encoder": {"pretrain"}}), context.dir / CONFIG_FILE)


def _descend(model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, loss: Tensor, rate: float, clip_norm: float) -> None:
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
