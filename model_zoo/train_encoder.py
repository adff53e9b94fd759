"""The stages before a model: pixels and captions to an encoder, and a frozen encoder to its features.

As in `train.py` an encoder is bit for bit the same for a seed on one machine's CPU, interrupted or not.
"""

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model_zoo.build import build_encoder
from model_zoo.checkpoint import pack, save_weights, unpack
from model_zoo.config import Train
from model_zoo.context import Context
from model_zoo.data import vocabulary
from model_zoo.data.alt_text import as_alt_text
from model_zoo.data.pictures import Ints, draw_scenes, resample, training_digits, training_pool
from model_zoo.data.settings import AltText
from model_zoo.encoders import Encoder
from model_zoo.encoders.contrast import Contrast
from model_zoo.encoders.encoder import Objective
from model_zoo.encoders.reconstruct import Reconstruction, prefix_mask
from model_zoo.evaluate.held_out import held_out_pool
from model_zoo.features import encode_pools, save_features
from model_zoo.initial import initialise
from model_zoo.optim import descend, make_optimizer, parameter_groups, rate_at
from model_zoo.pretrained import load_pretrained
from model_zoo.train import CONFIG_FILE, REPORT_EVERY, is_old, set_first_weights, trained_parameters, write_json

ENCODER_FILE = "encoder.safetensors"
FEATURES_FILE = "features.safetensors"

_PICTURES, _ALT_TEXT = 4, 1  # words of a seed, so that no two uses of one seed share random numbers: the second, and after the step


class EncoderTraining(nn.Module):
    """The encoder and what it is trained by."""

    def __init__(self, config: Encoder) -> None:
        super().__init__()
        self.encoder = build_encoder(config)
        self.num_patches = config.num_patches
        self.contrast: Contrast | None = None
        self.reconstruction: Reconstruction | None = None
        if config.pretrain.objective is Objective.CONTRASTIVE:
            self.contrast = Contrast(config.width, caption_length=vocabulary.NUM_PLACES, num_words=config.pretrain.num_caption_words)
        else:
            self.reconstruction = Reconstruction(config)

    def forward(self, pixels: Tensor, *, captions: Tensor, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and what else there is to report."""
        if self.contrast is not None:
            score = self.contrast(self.encoder(pixels), captions=captions)
            return score.loss, {"encoder_accuracy": 100 * score.accuracy}
        assert self.reconstruction
        prefix = torch.from_numpy(rng.integers(1, self.num_patches, size=len(pixels))).to(pixels.device)
        features = self.encoder(pixels, mask=prefix_mask(prefix, num_patches=self.num_patches))
        return self.reconstruction(features, images=pixels, prefix=prefix), {}


def train_encoder(config: Encoder, *, context: Context) -> None:
    """Scenes to the encoder's weights, by its objective. Raises FloatingPointError if it diverges."""
    settings = config.pretrain
    seed = context.seed if settings.seed is None else settings.seed
    schedule = Train(steps=settings.steps, learning_rate=settings.learning_rate, warmup_steps=min(40, settings.steps // 2))
    model = EncoderTraining(config)
    initialise(model, seed=seed)
    load_pretrained(model.encoder, config)
    model.to(context.device)
    optimizer, trained = make_optimizer(parameter_groups(model, weight_decay=schedule.weight_decay)), trained_parameters(model)
    digits = training_digits()
    first, kept_at = 0, time.monotonic()
    if (state := context.restore()) is not None:
        first = unpack(state, module=model, optimizer=optimizer).step
    for step in range(first, schedule.steps):
        with context.phase("data"):
            rng = np.random.default_rng((seed, _PICTURES, step))
            chosen = rng.integers(len(digits.labels), size=(settings.batch_size, vocabulary.NUM_PLACES))
            pixels = resample(draw_scenes(digits, chosen=chosen), image_size=config.image_size).to(context.device)
            words = _captions(digits.labels[chosen], alt_text=settings.alt_text, seed=seed, step=step)
            captions = torch.from_numpy(words).to(context.device)
        with context.phase("step"):
            error, also = model(pixels, captions=captions, rng=rng)
            error.backward()
            descend(trained, optimizer, rate=rate_at(step, train=schedule), clip_norm=schedule.clip_norm)
            loss, done = error.item(), step + 1
        if not math.isfinite(loss):
            context.report(done, encoder_loss=math.nan)
            raise FloatingPointError(f"the encoder's loss is {loss} at step {done}; lower encoder.pretrain.learning_rate")
        if done % REPORT_EVERY == 0 or done == schedule.steps:
            context.report(done, encoder_loss=loss, **{name: value.item() for name, value in also.items()})
        is_stopping = done % REPORT_EVERY == 0 and context.should_stop()
        if done < schedule.steps and (is_stopping or is_old(kept_at)):
            context.checkpoint(pack(model, optimizer=optimizer, step=done, extra={}))
            kept_at = time.monotonic()
            if is_stopping:
                return
    save_weights(model.encoder, context.dir / ENCODER_FILE)
    record = config.model_dump(mode="json", exclude={"training": True, "features": True, "pretrain": {"resolution"}})
    write_json(record, context.dir / CONFIG_FILE)


def _captions(words: Ints, *, alt_text: AltText | None, seed: int, step: int) -> Ints:
    """words [N, 4], the digits of each scene, as this stage's captions have them."""
    if alt_text is None:
        return words
    return as_alt_text(words, alt_text=alt_text, rng=np.random.default_rng((seed, _PICTURES, step, _ALT_TEXT)))


def compute_features(config: Encoder, *, num_scenes: int, encoder_weights: Path | None, context: Context) -> None:
    """A frozen encoder to the features of every picture that the trials of a seed see."""
    encoder = build_encoder(config)
    set_first_weights(encoder, parts=((encoder, config),), encoder_weights=encoder_weights, context=context)
    with context.phase("data"):
        pool = training_pool(num_scenes=num_scenes, image_size=config.picture_size, seed=context.seed)
        held_out = held_out_pool(image_size=config.picture_size)
        features = encode_pools(encoder, training=pool, held_out=held_out, tiles=config.tiles, device=context.device)
        save_features(features, context.dir / FEATURES_FILE)
