"""The transformer layer that encoders are made of.

B images, P patches, D width, H heads.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from model_zoo.initial import residual

MLP_RATIO = 4
"""Hidden width of a layer's MLP over its own width."""


class Layer(nn.Module):
    """Pre-norm transformer layer with attention in both directions."""

    def __init__(self, width: int, *, num_heads: int, depth: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = residual(nn.Linear(width, width), depth=depth)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, MLP_RATIO * width)
        self.mlp_out = residual(nn.Linear(MLP_RATIO * width, width), depth=depth)

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """[B, P, D] -> [B, P, D]; mask [B, 1, P, P]: who sees whom, everybody everybody without one"""
        b, p, d = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(b, p, 3, self.num_heads, d // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, P, D/H]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(b, p, d))
        # exact GELU: on CPU the tanh approximation costs five times as much
        hidden: Tensor = self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x))))
        return x + hidden
