"""The menu: a config becomes a model, and the one place that draws its first weights."""

import math

import torch
from torch import nn

from model_zoo import config as settings
from model_zoo.connectors.attention_pool import AttentionPool
from model_zoo.connectors.avg_pool import AveragePool
from model_zoo.connectors.c_abstractor import CAbstractor
from model_zoo.decoder import Decoder
from model_zoo.encoders.vit import VisionTransformer
from model_zoo.vlm import VisionLanguageModel

RESIDUAL = ("out", "down", "attention_out", "mlp_out")
"""Names of the matrices whose output is added to the residual stream."""
EMBEDDING_SD = 0.25
"""Of whatever enters the residual stream, so that words and visual tokens start at one scale."""
SMEAR_LOGIT = 2.0
"""A smeared key starts as 0.88 of the one before: from one half (0), induction did not start within 400 steps."""


def build_encoder(config: settings.Encoder) -> VisionTransformer:
    """Weights as the constructor leaves them: call `initialise`."""
    return VisionTransformer(config)


def build_connector(config: settings.Connector, *, encoder_width: int, width: int) -> nn.Module:
    """[M, P, encoder_width] -> [M, num_tokens, width]"""
    match config:
        case settings.AvgPool():
            return AveragePool(encoder_width, num_tokens=config.num_tokens, width=width)
        case settings.AttentionPool():
            return AttentionPool(encoder_width, num_tokens=config.num_tokens, width=width)
        case settings.CAbstractor():
            return CAbstractor(encoder_width, num_tokens=config.num_tokens, width=width)


def build_model(config: settings.Config, *, vocabulary_size: int, image_token: int) -> VisionLanguageModel:
    """Weights as the constructors leave them: call `initialise`."""
    decoder = Decoder(config.decoder, vocabulary_size=vocabulary_size)
    width = config.decoder.width
    connector = build_connector(config.connector, encoder_width=config.encoder.width, width=width)
    return VisionLanguageModel(build_encoder(config.encoder), connector=connector, decoder=decoder, image_token=image_token)


@torch.no_grad()
def initialise(model: nn.Module, *, seed: int) -> None:
    """Draws every weight anew from one generator of its own.

    | parameter                                       | distribution                                  |
    |-------------------------------------------------|-----------------------------------------------|
    | matrices, convolutions                          | normal, sd 1 / sqrt(fan in)                   |
    | what is added to the residual stream (RESIDUAL) | the same, over sqrt(2 x layers) (GPT-2)       |
    | the connector's projection                      | the same as matrices, times EMBEDDING_SD      |
    | token embeddings, positions, queries, captions  | normal, sd EMBEDDING_SD                       |
    | gains of norms                                  | 1                                             |
    | biases                                          | 0                                             |
    | smear                                           | SMEAR_LOGIT                                   |
    | temperature of the contrast                     | left as built                                 |
    """
    generator = torch.Generator().manual_seed(seed)
    depth = {id(p): len(m) for m in model.modules() if isinstance(m, nn.ModuleList) for p in m.parameters()}
    for name, parameter in model.named_parameters():
        module, _, leaf = name.rpartition(".")
        module = module.rpartition(".")[2]
        if "norm" in module:
            parameter.fill_(1.0 if leaf == "weight" else 0.0)
        elif leaf == "bias":
            parameter.zero_()
        elif leaf == "smear":
            parameter.fill_(SMEAR_LOGIT)
        elif "embedding" in leaf or leaf == "query" or module == "embedding":
            parameter.normal_(0, EMBEDDING_SD, generator=generator)
        elif leaf == "weight":
            sd = 1 / math.sqrt(parameter[0].numel())
            if module in RESIDUAL and id(parameter) in depth:
                sd /= math.sqrt(2 * depth[id(parameter)])
            parameter.normal_(0, sd * EMBEDDING_SD if module == "project" else sd, generator=generator)
