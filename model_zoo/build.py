"""A config becomes a model. Weights are as the constructors leave them: `model_zoo.initial.initialise` draws them."""

from model_zoo.config import Config
from model_zoo.decoders.packed import Decoder
from model_zoo.encoders.encoder import Encoder
from model_zoo.encoders.vit import VisionTransformer
from model_zoo.vlm import VisionLanguageModel


def build_encoder(config: Encoder) -> VisionTransformer:
    """[B, S, S] -> [B, P, E]"""
    return VisionTransformer(config)


def build_model(config: Config, *, vocabulary_size: int, image_token: int) -> VisionLanguageModel:
    """Encoder, connector and decoder."""
    connector = config.connector.build(config.connector_shape)
    decoder = Decoder(config.decoder, vocabulary_size=vocabulary_size)
    return VisionLanguageModel(build_encoder(config.encoder), connector=connector, decoder=decoder, image_token=image_token)
