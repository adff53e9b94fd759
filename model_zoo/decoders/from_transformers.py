"""Embedded tokens to hidden states by a decoder of `transformers`, made from its config class, or from the config of a checkpoint.

Each group of equally long documents goes through it as one batch, so nothing is padded here either.

T tokens of all documents, N documents in a group, L their length, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel, PreTrainedModel, Qwen2Config, Qwen2Model, Qwen3Config, Qwen3Model

from model_zoo.decoders.decoder import TransformersSettings
from model_zoo.decoders.packed import ROPE_BASE, Group
from model_zoo.hub import build_body, read_config
from model_zoo.initial import residual

FAMILIES = {"llama": (LlamaConfig, LlamaModel), "qwen2": (Qwen2Config, Qwen2Model), "qwen3": (Qwen3Config, Qwen3Model)}


NO_BIASES = {"attention_bias": False, "mlp_bias": False}
"""Qwen2's are none of these: they are always there, for queries, keys and values."""


class TransformersDecoder(nn.Module):
    """Layers and last norm of `transformers`, embedding and head of our own and not tied, as in the packed decoder.

    What the settings do not say is the checkpoint's, where one is named, else the family's default, but for the rotation: base 10,000 in
    all of them. There is no dropout in either. `model_zoo.pretrained` loads weights.
    """

    def __init__(self, config: TransformersSettings, *, vocabulary_size: int) -> None:
        super().__init__()
        make_config, make_body = FAMILIES[config.kind]
        self.embedding = nn.Embedding(vocabulary_size, config.width)
        if config.pretrained:
            settings = read_config(config, make=make_config, expected=config.sizes | NO_BIASES, vocabulary_size=vocabulary_size)
            settings.use_cache, settings.attention_dropout = False, 0.0
        else:
            rotation = {"rope_type": "default", "rope_theta": ROPE_BASE}
            settings = make_config(**config.sizes, vocab_size=vocabulary_size, rope_parameters=rotation, use_cache=False)
        self.body: PreTrainedModel = build_body(make_body, settings, config)
        self.body.embed_tokens = None  # it gets embedded tokens
        for name, module in self.body.named_modules():
            if name.endswith((".o_proj", ".down_proj")) and isinstance(module, nn.Linear):
                residual(module, depth=config.depth)
        self.head = nn.Linear(config.width, vocabulary_size, bias=False)

    @property
    def layers(self) -> nn.ModuleList:
        """As in the packed decoder."""
        layers = self.body.layers
        assert isinstance(layers, nn.ModuleList)
        return layers

    def forward(self, x: Tensor, *, groups: Sequence[Group]) -> Tensor:
        """Embedded tokens [T, D] -> hidden states [T, D]; `head` makes logits of those one needs."""
        hidden = []
        for (number, length), part in zip(groups, x.split([g.number * g.length for g in groups]), strict=True):
            batch = part.view(number, length, -1)  # [N, L, D]
            hidden.append(self.body(inputs_embeds=batch).last_hidden_state.flatten(0, 1))
        return torch.cat(hidden)
