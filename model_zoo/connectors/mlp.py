"""Each patch feature to one visual token.

P patches, E width of the encoder, D width of the decoder.
"""

from typing import TYPE_CHECKING, Literal

from model_zoo.connectors.connector import ConnectorSettings, Shape

if TYPE_CHECKING:
    from torch import nn


class MLP(ConnectorSettings):
    """Two linear maps with a GELU between them (LLaVA-1.5, arXiv 2310.03744, section 3.3): as many visual tokens as patches."""

    kind: Literal["mlp"] = "mlp"
    """Which connector."""

    def reachable_tokens(self, grid: int) -> list[int]:
        return [grid**2]

    def num_params(self, shape: Shape) -> int:
        return (shape.encoder_width + 1) * shape.width + (shape.width + 1) * shape.width

    def forward_flops(self, shape: Shape) -> float:
        return 2.0 * shape.num_patches * (shape.encoder_width + shape.width) * shape.width

    def numbers_kept(self, shape: Shape) -> float:
        return shape.num_patches * (shape.encoder_width + 2 * shape.width)

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        from model_zoo.initial import into_stream

        hidden, last = nn.Linear(shape.encoder_width, shape.width), nn.Linear(shape.width, shape.width)
        return nn.Sequential(hidden, nn.GELU(), into_stream(last))
