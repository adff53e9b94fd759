"""Mixture of experts: an MLP for which each token's router picks two of E. Dropless: however many pick one expert, all are served.

T tokens, D width, F width of an expert, E experts, K = 2 experts per token. `_N` stands for the T x K pairs of a token and its expert.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_zoo.decoders.decoder import EXPERTS_PER_TOKEN, MoE
from model_zoo.initial import residual


class Routing(NamedTuple):
    """What one forward pass says of its routers. Scalars."""

    load_balance_loss: Tensor
    """E times the sum over experts of (share of tokens whose first choice it is) x (its mean probability); 1 where all are alike."""
    router_z_loss: Tensor
    """Mean over tokens of the squared log of the sum of the exponentials of a router's logits."""
    penalty: Tensor
    """Both times their coefficients: what is added to the training loss."""


class Expert(nn.Module):
    """A SwiGLU MLP, named as the one in a dense layer."""

    def __init__(self, *, width: int, mlp_width: int, depth: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * mlp_width, bias=False)
        self.down = residual(nn.Linear(mlp_width, width, bias=False), depth=depth)

    def forward(self, x: Tensor) -> Tensor:
        """[tokens, D] -> [tokens, D]"""
        gate, up = self.gate_up(x).chunk(2, -1)
        out: Tensor = self.down(F.silu(gate) * up)
        return out


class Experts(nn.Module):
    """Top-2 routing of GShard (Lepikhin et al. 2020, arXiv 2006.16668, algorithm 1) without its capacity and its random second choice.

    Load-balance loss: Switch Transformer (Fedus et al. 2021, arXiv 2101.03961, equations 4 to 6); with two choices a token the first one
    counts, as in GShard. Router z-loss: ST-MoE (Zoph et al. 2022, arXiv 2202.08906, equation 5). The router is float32 in any precision
    (Switch Transformer, section 2.4).
    """

    def __init__(self, config: MoE, *, width: int, mlp_width: int, depth: int) -> None:
        super().__init__()
        self.coefficients = (config.load_balance_coefficient, config.router_z_coefficient)
        self.router = nn.Linear(width, config.num_experts, bias=False)
        self.experts = nn.ModuleList(Expert(width=width, mlp_width=mlp_width, depth=depth) for _ in range(config.num_experts))
        self.routing: Routing | None = None
        """Of the last forward pass."""

    def forward(self, x_TD: Tensor) -> Tensor:
        """[T, D] -> [T, D]"""
        with torch.autocast(x_TD.device.type, enabled=False):
            logits_TE = self.router(x_TD.float())
        probability_TE = logits_TE.softmax(-1)
        gate_TK, expert_TK = probability_TE.topk(EXPERTS_PER_TOKEN)
        gate_TK = gate_TK / gate_TK.sum(-1, keepdim=True)
        self.routing = self._routing(logits_TE, probability_TE=probability_TE, first_T=expert_TK[:, 0])

        # sorted by expert, so that each runs once; permutations and sums over K add in one order, which index_add would not on a GPU
        expert_N = expert_TK.flatten()
        order_N = expert_N.argsort(stable=True)
        x_ND = x_TD[:, None].expand(-1, EXPERTS_PER_TOKEN, -1).flatten(0, 1)[order_N]
        counts = expert_N.bincount(minlength=len(self.experts)).tolist()
        y_ND = torch.cat([expert(part) for expert, part in zip(self.experts, x_ND.split(counts), strict=True)])
        y_TKD = y_ND[order_N.argsort()].view(-1, EXPERTS_PER_TOKEN, x_TD.shape[1])
        out: Tensor = (gate_TK[..., None] * y_TKD).sum(1).to(x_TD.dtype)
        return out

    def _routing(self, logits_TE: Tensor, *, probability_TE: Tensor, first_T: Tensor) -> Routing:
        num_experts = logits_TE.shape[1]
        share_E = first_T.bincount(minlength=num_experts) / len(first_T)
        load_balance = num_experts * (share_E * probability_TE.mean(0)).sum()
        router_z = logits_TE.logsumexp(-1).square().mean()
        return Routing(load_balance, router_z, self.coefficients[0] * load_balance + self.coefficients[1] * router_z)


def routing_of(model: nn.Module) -> Routing | None:
    """Of a model's last forward pass: the losses as means over its expert layers, penalties added (Switch Transformer, section 2.2);
    None where it has no experts."""
    found = [module.routing for module in model.modules() if isinstance(module, Experts) and module.routing]
    if not found:
        return None
    load_balance, router_z, penalty = (torch.stack(values) for values in zip(*found, strict=True))
    return Routing(load_balance.mean(), router_z.mean(), penalty.sum())


@torch.no_grad()
def upcycle(decoder: nn.Module, dense: Mapping[str, Tensor]) -> None:
    """Fills a decoder that has experts with the weights of one that has none (Komatsuzaki et al. 2022, arXiv 2212.05055, section 3).

    Every expert becomes a copy of the MLP that stood in its layer; routers keep the weights they have. `dense` is the state of a packed
    decoder of the same shape.
    """
    state = decoder.state_dict()
    sources = {name: _dense_name(name) for name in state if not name.endswith(".experts.router.weight")}
    if odd := sorted(set(sources.values()) ^ set(dense)):
        owner = "this decoder" if odd[0] in dense else "the dense decoder"
        raise ValueError(f"{owner} has no {odd[0]}: both must be packed, of equal depth and with the same keys, and one must be dense")
    for name, source in sources.items():
        if dense[source].shape != state[name].shape:
            raise ValueError(f"{source} is {list(dense[source].shape)} in the dense decoder, and {list(state[name].shape)} in this one")
    decoder.load_state_dict(state | {name: dense[source] for name, source in sources.items()})


def _dense_name(name: str) -> str:
    """`layers.1.experts.experts.3.down.weight` stood at `layers.1.down.weight`; what is of no expert, where it is."""
    layer, is_expert, rest = name.partition(".experts.experts.")
    return f"{layer}.{rest.partition('.')[2]}" if is_expert else name
