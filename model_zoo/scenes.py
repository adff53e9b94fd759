"""The world of digit scenes: what a trial reads, and what it is measured on."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from model_zoo.config import Config
from model_zoo.data.batch import Batch, collate, deal
from model_zoo.data.documents import Documents
from model_zoo.data.pictures import training_pool
from model_zoo.data.stream import draw_steps
from model_zoo.encoders.grid import see
from model_zoo.evaluate.first_token import first_token_metrics
from model_zoo.evaluate.held_out import held_out_pool, validation_documents
from model_zoo.evaluate.loss import validation_loss
from model_zoo.evaluate.names import first_token_names, score_names
from model_zoo.evaluate.samples import Scored
from model_zoo.evaluate.scores import score_tasks
from model_zoo.features import encode, encode_pools, load_features
from model_zoo.fields import Training
from model_zoo.vlm import VisionLanguageModel

STEPS_AHEAD = 60
"""Steps whose documents are drawn at once; what a step reads does not depend on it."""


class Scenes:
    """See `model_zoo.train.World`. While the encoder is frozen, the features of every picture are there before the first step."""

    def __init__(self, config: Config, *, encoder: nn.Module, features_file: Path | None, seed: int, device: str) -> None:
        image_size, documents, tokens = config.encoder.picture_size, config.eval.validation_documents, config.tokens_per_image
        self._config, self._seed, self._device = config, seed, device
        self._pool = training_pool(num_scenes=config.data.num_scenes, image_size=image_size, seed=seed)
        self._held_out = held_out_pool(image_size=image_size)
        self._validation = validation_documents(self._held_out, number=documents, num_tokens=tokens)
        self._pixels, self._known = self._pool.pixels.to(device), None
        self._ahead: dict[int, list[Documents]] = {}
        if features_file is not None:
            self._known = load_features(features_file, device=device)
        elif config.encoder.training is Training.FROZEN:
            tiles = config.encoder.tiles
            self._known = encode_pools(encoder, training=self._pool, held_out=self._held_out, tiles=tiles, device=device)

    def read(self, step: int) -> Sequence[tuple[Batch, Tensor]]:
        config = self._config
        if step not in self._ahead:
            steps = range(step, min(step + STEPS_AHEAD, config.train.steps))
            drawn = draw_steps(
                self._pool,
                mix=config.data.mix,
                seed=self._seed,
                steps=steps,
                num_rows=config.train.rows_per_step,
                num_tokens=config.tokens_per_image,
                alt_text=config.data.alt_text,
            )
            self._ahead = dict(zip(steps, drawn, strict=True))
        parts = deal(self._ahead[step], parts=config.train.accumulate)
        return [(batch, batch.pictures) for batch in (collate(part, device=self._device) for part in parts)]

    def features(self, encoder: nn.Module, pictures: Tensor) -> Tensor:
        return self._known.training[pictures] if self._known else see(encoder, self._pixels[pictures], tiles=self._config.encoder.tiles)

    def validate(self, model: VisionLanguageModel) -> float:
        return validation_loss(model, self._validation, features=self._held_out_features(model))

    def examine(self, model: VisionLanguageModel) -> Scored:
        features, config = self._held_out_features(model), self._config
        val_loss = validation_loss(model, self._validation, features=features)
        if not math.isfinite(val_loss):  # the last step went too far; argmax would still find "answers"
            return Scored(dict.fromkeys(self.metrics, math.nan))
        tokens, picture = config.tokens_per_image, self._held_out.pixels[:1].to(self._device)
        scores, samples = score_tasks(model, evaluation=config.eval, pool=self._held_out, features=features, num_tokens=tokens)
        return Scored({"val_loss": val_loss, **scores, **first_token_metrics(model, config=config, pixels=picture)}, samples)

    @property
    def metrics(self) -> Sequence[str]:
        return ["val_loss", *score_names(self._config.eval), *first_token_names(self._config.eval)]

    def state(self) -> dict[str, Tensor]:
        return {}  # what a step reads depends on its number alone

    def go_on(self, kept: Mapping[str, Tensor]) -> None:
        pass

    def _held_out_features(self, model: VisionLanguageModel) -> Tensor:
        if self._known:
            return self._known.held_out
        return encode(model.encoder, self._held_out, tiles=self._config.encoder.tiles, device=self._device)
