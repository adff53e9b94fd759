"""What a decoder is and what it costs; nothing heavy is imported. `model_zoo.build` has the module of each kind."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from model_zoo.fields import Count, FromCheckpoint, NonNegative, Settings, Training, nearest_multiples
from model_zoo.linear import LinearMap

EXPERTS_PER_TOKEN = 2
"""MM1 (arXiv 2403.09611, section 4) routes to the top two, as GShard (arXiv 2006.16668) and ST-MoE (arXiv 2202.08906) do."""


class Keys(StrEnum):
    """What attention matches against."""

    PLAIN = "plain"
    """The key of each token: exactly a Llama."""
    SMEARED = "smeared"
    """A learnt blend of each key and the one before it (Olsson et al. 2022, arXiv 2209.11895)."""


class MoE(Settings):
    """Experts in place of the MLP: each token goes to the two that its router prefers, and none is dropped. The defaults are MM1's."""

    num_experts: Annotated[int, Field(strict=True, ge=2)]
    """MLPs of an expert layer, of which a token uses two."""
    every: Count = 2
    """Layers n, 2n, ... have experts, the others one MLP; MM1 replaces "a dense layer with a sparse layer in every-n layers"."""
    load_balance_coefficient: NonNegative = 0.01
    """Weight of the load-balance loss (Switch Transformer, arXiv 2101.03961, equation 4), added for each expert layer."""
    router_z_coefficient: NonNegative = 0.001
    """Weight of the router z-loss (ST-MoE, arXiv 2202.08906, equation 5), added for each expert layer."""


class HeadDim(Settings):
    """Heads of a width of their own. A class by itself, because `width` is checked after it and the packed decoder has none."""

    head_dim: Count | None = Field(default=None, exclude_if=lambda value: value is None)
    """Numbers in a head, even; left out, `width` over `num_heads`. Qwen3-0.6B has 16 heads of 128 at a width of 1,024."""

    @field_validator("head_dim")
    @classmethod
    def _is_even(cls, value: int | None) -> int | None:
        if value and value % 2:
            raise ValueError(f"{value} is odd, and the rotation of RoPE works on pairs: nearest {nearest_multiples(value, 2)}")
        return value


class DecoderSettings(FromCheckpoint):
    """A decoder-only language model with RoPE, RMSNorm and SwiGLU. All kinds share these fields."""

    kind: str
    """Which decoder: each class has its own name as the only value, and as the default."""
    num_heads: Count = 2
    """Attention heads."""
    width: Count = 64
    """Size of the residual stream."""
    depth: Count = 2
    """Transformer layers."""
    num_kv_heads: Count | None = Field(default=None, exclude_if=lambda value: value is None)
    """Heads of keys and values, each shared by equally many heads (Ainslie et al. 2023, arXiv 2305.13245); left out, as many as heads."""
    mlp_hidden_size: Count | None = Field(default=None, exclude_if=lambda value: value is None)
    """Hidden size of the MLP, of each expert too; left out, 8/3 of the width to the nearest 8."""
    training: Training = Field(default=Training.FULL, exclude_if=lambda value: value is Training.FULL)
    """`frozen`, `slow` (a tenth of the rate), `lora` or `full`, embedding and head included, in the pretrain stage."""

    @field_validator("width")
    @classmethod
    def _heads_divide_width(cls, value: int, info: ValidationInfo) -> int:
        heads = info.data.get("num_heads")
        if heads and not info.data.get("head_dim") and value % (2 * heads):  # RoPE rotates pairs, so a head's width is even
            nearest = nearest_multiples(value, 2 * heads)
            raise ValueError(f"{value} is not divisible by {heads} heads of even width: nearest {nearest}")
        return value

    @field_validator("num_kv_heads")
    @classmethod
    def _groups_are_equal(cls, value: int | None, info: ValidationInfo) -> int | None:
        heads = info.data.get("num_heads")
        if value and heads and heads % value:
            allowed = [count for count in range(1, heads + 1) if heads % count == 0]
            nearest = min(allowed, key=lambda count: abs(count - value))
            listed = ", ".join(map(str, allowed))
            raise ValueError(f"{heads} heads cannot share {value} heads of keys and values equally ({listed}): nearest {nearest}")
        return value

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_kv_heads or self.num_heads

    @property
    def head_width(self) -> int:
        """Numbers in a head."""
        return self.width // self.num_heads

    @property
    def mlp_width(self) -> int:
        """Unless it is given, 8/3 of the width to the nearest 8: three SwiGLU matrices weigh what two of 4 x width would."""
        return self.mlp_hidden_size or 8 * round(self.width / 3)

    @property
    def num_params(self) -> int:
        """Without embeddings and head; about 12 x depth x width^2 (Kaplan et al. 2020, arXiv 2001.08361, eq. 2.1)."""
        return self.depth * (self._attention_params + self._mlp_params + self._extra_params + 2 * self.width) + self.width

    @property
    def active_params(self) -> int:
        """Those of `num_params` that one token uses."""
        return self.num_params

    def forward_flops(self, *, length: int) -> float:
        """Of one document of `length` tokens, without the head; what counts is said in `model_zoo.flops`."""
        linear = self._attention_params + self._mlp_params
        return 2.0 * self.depth * (length * linear + 2 * length**2 * self._query_width)

    def attention_flops(self, *, length: int) -> float:
        """Those of it that no weight takes part in: queries with keys, and what they pick with values."""
        return 4.0 * self.depth * length**2 * self._query_width

    @property
    def numbers_kept(self) -> float:
        """Per token, for the backward pass, within a tenth of what autograd keeps: a layer's norms and attention, its MLP 4 of its own."""
        return self.depth * (6 * self.width + 2 * self._query_width + 2 * self._kv_width + 4 * self.mlp_width) + 2 * self.width

    @property
    def linear_maps(self) -> tuple[LinearMap, ...]:
        """All of them but the head, for LoRA."""
        raise NotImplementedError

    @property
    def _query_width(self) -> int:
        """Of all heads together; the width itself, unless heads have one of their own."""
        return self.num_heads * self.head_width

    @property
    def _kv_width(self) -> int:
        return self.kv_heads * self.head_width

    @property
    def _attention_params(self) -> int:
        """Of the four matrices of a layer."""
        return 2 * self.width * (self._query_width + self._kv_width)

    @property
    def _mlp_params(self) -> int:
        """Of the three matrices of a layer."""
        return 3 * self.width * self.mlp_width

    @property
    def _extra_params(self) -> int:
        """Of a layer, beside matrices and the gains of its two norms."""
        return 0


class Packed(DecoderSettings):
    """The zoo's own: documents of many lengths without padding. With plain keys it computes exactly a Llama."""

    kind: Literal["packed"] = Field(default="packed", exclude_if=lambda value: value == "packed")
    """Which decoder."""
    keys: Keys = Keys.PLAIN
    """`plain` or `smeared`. At this size in-context learning needs `smeared`; large models do not."""
    moe: MoE | None = Field(default=None, exclude_if=lambda value: value is None)
    """Experts in some layers; left out, every layer has one MLP."""

    @field_validator("revision")
    @classmethod
    def _folders_have_none(cls, value: str | None) -> str | None:
        if value:
            raise ValueError(f"revision '{value}': packed starts from a folder, which has none: leave it out")
        return value

    @field_validator("moe")
    @classmethod
    def _some_layer_has_experts(cls, value: MoE | None, info: ValidationInfo) -> MoE | None:
        depth = info.data.get("depth")
        if value and depth and value.every > depth:
            raise ValueError(f"every is {value.every}, so none of {depth} layers would have experts: at most {depth}")
        return value

    @property
    def num_expert_layers(self) -> int:
        """Layers whose MLP is one of experts."""
        return self.depth // self.moe.every if self.moe else 0

    @property
    def num_params(self) -> int:
        return super().num_params + self._beside_dense(self.moe.num_experts if self.moe else 0)

    @property
    def active_params(self) -> int:
        return super().num_params + self._beside_dense(EXPERTS_PER_TOKEN)

    def forward_flops(self, *, length: int) -> float:
        return super().forward_flops(length=length) + 2.0 * length * self._beside_dense(EXPERTS_PER_TOKEN)

    @property
    def numbers_kept(self) -> float:
        attention = 10 * self.width + (4 if self.keys is Keys.SMEARED else 3) * self._kv_width
        kept = self.depth * (attention + 4 * self.mlp_width) + 4 * self.width
        if self.moe:  # of each pair of token and expert, input, output and MLP; of each token, logits and probabilities
            pairs = EXPERTS_PER_TOKEN * (2 * self.width + 4 * self.mlp_width)
            kept += self.num_expert_layers * (pairs - 4 * self.mlp_width + 2 * self.moe.num_experts)
        return kept

    @property
    def _extra_params(self) -> int:
        return self.kv_heads if self.keys is Keys.SMEARED else 0

    @property
    def linear_maps(self) -> tuple[LinearMap, ...]:
        """Queries, keys and values in one, as gate and input of an MLP are; routers among them."""
        d, f, sparse = self.width, self.mlp_width, self.num_expert_layers
        dense, experts = self.depth - sparse, self.moe.num_experts if self.moe else 0
        mlps, passed = dense + sparse * experts, dense + sparse * EXPERTS_PER_TOKEN
        return (
            LinearMap(d, d + 2 * self._kv_width, self.depth, self.depth),
            LinearMap(d, d, self.depth, self.depth),
            LinearMap(d, 2 * f, mlps, passed),
            LinearMap(f, d, mlps, passed),
            LinearMap(d, experts, sparse, sparse),
        )

    def _beside_dense(self, num_experts: int) -> int:
        """Parameters of routers and of so many experts, beyond the one MLP that each of those layers had."""
        if self.moe is None:
            return 0
        return self.num_expert_layers * ((num_experts - 1) * self._mlp_params + self.width * self.moe.num_experts)


class TransformersSettings(DecoderSettings, HeadDim):
    """A decoder of `transformers`."""

    @property
    def head_width(self) -> int:
        return self.head_dim or super().head_width

    @property
    def linear_maps(self) -> tuple[LinearMap, ...]:
        d, q, kv, f = self.width, self._query_width, self._kv_width, self.mlp_width
        shapes = ((d, q), (d, kv), (d, kv), (q, d), (d, f), (d, f), (f, d))
        return tuple(LinearMap(inputs, outputs, self.depth, self.depth) for inputs, outputs in shapes)

    @property
    def sizes(self) -> dict[str, int]:
        """As the config classes of `transformers` name them."""
        return {
            "hidden_size": self.width,
            "intermediate_size": self.mlp_width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_width,
        }


class Llama(TransformersSettings):
    """Llama (Touvron et al. 2023, arXiv 2302.13971) as `transformers` has it."""

    kind: Literal["llama"] = "llama"
    """Which decoder."""


class Qwen2(TransformersSettings):
    """Qwen2 (arXiv 2407.10671) as `transformers` has it: a Llama whose queries, keys and values have biases."""

    kind: Literal["qwen2"] = "qwen2"
    """Which decoder."""

    @property
    def _extra_params(self) -> int:
        return self._query_width + 2 * self._kv_width


class Qwen3(TransformersSettings):
    """Qwen3 (arXiv 2505.09388) as `transformers` has it: a Llama whose queries and keys are normalised head by head."""

    kind: Literal["qwen3"] = "qwen3"
    """Which decoder."""

    @property
    def numbers_kept(self) -> float:
        return super().numbers_kept + self.depth * 2 * (self._query_width + self._kv_width)

    @property
    def _extra_params(self) -> int:
        return 2 * self.head_width


Decoder = Annotated[Packed | Llama | Qwen2 | Qwen3, Field(discriminator="kind")]
"""The menu; `packed` where a config names no kind."""
