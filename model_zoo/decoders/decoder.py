"""What a decoder is and what it costs; nothing heavy is imported."""

from enum import StrEnum

from pydantic import ValidationInfo, field_validator

from model_zoo.fields import Count, Settings, nearest_multiples


class Keys(StrEnum):
    """What attention matches against."""

    PLAIN = "plain"
    """The key of each token: exactly a Llama."""
    SMEARED = "smeared"
    """A learnt blend of each key and the one before it (Olsson et al. 2022, arXiv 2209.11895)."""


class Decoder(Settings):
    """A decoder-only language model in the shape of Llama: RoPE, RMSNorm, SwiGLU."""

    num_heads: Count = 2
    """Attention heads."""
    width: Count = 64
    """Size of the residual stream."""
    depth: Count = 2
    """Transformer layers."""
    keys: Keys = Keys.PLAIN
    """`plain` or `smeared`. At this size in-context learning needs `smeared`; large models do not."""

    @field_validator("width")
    @classmethod
    def _heads_divide_width(cls, value: int, info: ValidationInfo) -> int:
        heads = info.data.get("num_heads")
        if heads and value % (2 * heads):  # the rotation of RoPE works on pairs, so a head's width is even
            nearest = nearest_multiples(value, 2 * heads)
            raise ValueError(f"{value} is not divisible by {heads} heads of even width: nearest {nearest}")
        return value

    @property
    def mlp_width(self) -> int:
        """8/3 of the width to the nearest 8, so that three SwiGLU matrices weigh what two of 4 x width would."""
        return 8 * round(self.width / 3)

    @property
    def num_params(self) -> int:
        """Without embeddings and head; about 12 x depth x width^2 (Kaplan et al. 2020, arXiv 2001.08361, eq. 2.1)."""
        layer = 4 * self.width**2 + 3 * self.width * self.mlp_width + 2 * self.width
        smear = self.num_heads if self.keys is Keys.SMEARED else 0
        return self.depth * (layer + smear) + self.width

    def forward_flops(self, *, length: int) -> float:
        """Of one document of `length` tokens, without the head; what counts is said in `model_zoo.flops`."""
        d = self.width
        linear = 4 * d**2 + 3 * d * self.mlp_width
        return 2.0 * self.depth * (length * linear + 2 * length**2 * d)

    @property
    def numbers_kept(self) -> float:
        """Per token, for the backward pass: norms and attention 13 widths, smearing 1, the MLP 4 of its own."""
        attention = (14 if self.keys is Keys.SMEARED else 13) * self.width
        return self.depth * (attention + 4 * self.mlp_width) + 4 * self.width
