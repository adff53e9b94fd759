"""A config becomes a model. Weights are as the constructors leave them: `model_zoo.initial.initialise` draws them."""

from typing import TYPE_CHECKING, Any

from torch import nn

from model_zoo.config import Config
from model_zoo.data.images import MEAN, SD
from model_zoo.data.pictures import PIXEL_MEAN, PIXEL_SD
from model_zoo.decoders.decoder import Decoder, Packed
from model_zoo.decoders.packed import Decoder as PackedDecoder
from model_zoo.encoders import Encoder
from model_zoo.encoders.from_transformers import FromTransformers
from model_zoo.vlm import VisionLanguageModel

if TYPE_CHECKING:
    from model_zoo.decoders.from_transformers import TransformersDecoder


def build_encoder(config: Encoder, *, files: bool = False) -> nn.Module:
    """[B, C, S, S] or grey [B, S, S] -> [B, P, E], of pixels as digit scenes have them, or as files of one's own do."""
    encoder: Any = config.build()
    if isinstance(config, FromTransformers):
        encoder.normalised_by(*((MEAN, SD) if files else (PIXEL_MEAN, PIXEL_SD)))
    built: nn.Module = encoder
    return built


def build_decoder(config: Decoder, *, vocabulary_size: int) -> "PackedDecoder | TransformersDecoder":
    """Embedded tokens [T, D] -> hidden states [T, D]"""
    if isinstance(config, Packed):
        return PackedDecoder(config, vocabulary_size=vocabulary_size)
    from model_zoo.decoders.from_transformers import TransformersDecoder  # four seconds that the packed one does without

    return TransformersDecoder(config, vocabulary_size=vocabulary_size)


def build_model(config: Config, *, vocabulary_size: int, image_token: int) -> VisionLanguageModel:
    """Encoder, connector and decoder."""
    connector = config.connector.build(config.connector_shape)
    decoder = build_decoder(config.decoder, vocabulary_size=vocabulary_size)
    encoder, views = build_encoder(config.encoder, files=config.data.files is not None), config.encoder.num_views
    return VisionLanguageModel(encoder, connector=connector, decoder=decoder, image_token=image_token, num_views=views)
