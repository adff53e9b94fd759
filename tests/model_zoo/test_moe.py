"""Experts against one token at a time, their losses against the formulas, and a dense decoder made into one of experts."""

import math

import pytest
import torch
from torch.nn import functional as F

from model_zoo import trainable
from model_zoo.decoders.decoder import MoE, Packed
from model_zoo.decoders.moe import Experts, routing_of, upcycle
from model_zoo.decoders.packed import Decoder, Group
from model_zoo.initial import initialise
from tests.model_zoo.conftest import change, run, weights

WIDTH, MLP_WIDTH, TOKENS = 12, 20, 37


def make_experts(num_experts: int = 5, **settings) -> Experts:
    experts = Experts(MoE(num_experts=num_experts, **settings), width=WIDTH, mlp_width=MLP_WIDTH, depth=2)
    initialise(experts, seed=1)
    return experts


def make_decoder(**settings) -> Decoder:
    decoder = Decoder(Packed(width=24, depth=4, **settings), vocabulary_size=9)
    initialise(decoder, seed=2)
    return decoder


def make_tokens(number: int = TOKENS, width: int = WIDTH):
    return torch.randn(number, width, generator=torch.Generator().manual_seed(0))


def one_by_one(experts: Experts, x):
    """Each token through each of its two experts, as one would write it down."""
    out = []
    for token in x:
        probabilities = (experts.router.weight @ token).softmax(0)
        first, second = probabilities.argsort(descending=True)[:2].tolist()
        both = probabilities[first] + probabilities[second]
        mixed = torch.zeros(WIDTH)
        for number in (first, second):
            gate, up = (experts.experts[number].gate_up.weight @ token).chunk(2)
            mixed = mixed + probabilities[number] / both * (experts.experts[number].down.weight @ (F.silu(gate) * up))
        out.append(mixed)
    return torch.stack(out)


def gradients(experts: Experts, function, x):
    experts.zero_grad()
    x = x.clone().requires_grad_()
    y = function(x)
    y.mul(make_tokens() + 1).sum().backward()  # another weight for every output
    return y.detach(), {"x": x.grad} | {name: p.grad.clone() for name, p in experts.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("num_experts", [2, 5, 64])
def test_experts_equal_a_loop_over_tokens(num_experts):
    """Also with experts that no token picks: 37 tokens cannot fill 64 evenly."""
    experts, x = make_experts(num_experts), make_tokens()
    y, ours = gradients(experts, experts, x)
    expected, theirs = gradients(experts, lambda x: one_by_one(experts, x), x)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=0)  # measured 1e-6
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs.get(name, torch.zeros_like(gradient)), atol=1e-4, rtol=1e-4, msg=name)


def test_experts_serve_every_token_though_all_pick_the_same():
    experts, x = make_experts(), make_tokens().abs()
    with torch.no_grad():
        experts.router.weight.copy_(torch.tensor([3.0, 2, 0, 0, 0])[:, None].expand(-1, WIDTH))
    y, _ = gradients(experts, experts, x)
    torch.testing.assert_close(y, one_by_one(experts, x).detach(), atol=1e-5, rtol=0)
    assert experts.routing.load_balance_loss.item() > 4  # of 5 experts one is everyone's first choice


def test_routing_losses_equal_their_formulas():
    experts, x = make_experts(load_balance_coefficient=0.3, router_z_coefficient=0.07), make_tokens()
    experts(x)
    logits = (x @ experts.router.weight.T).tolist()
    exponentials = [[math.exp(value) for value in row] for row in logits]
    probabilities = [[value / sum(row) for value in row] for row in exponentials]
    balance = 0.0
    for expert in range(5):
        f = sum(row.index(max(row)) == expert for row in probabilities) / TOKENS  # Switch Transformer, equation 5
        p = sum(row[expert] for row in probabilities) / TOKENS  # equation 6
        balance += 5 * f * p  # equation 4
    z = sum(math.log(sum(row)) ** 2 for row in exponentials) / TOKENS  # ST-MoE, equation 5
    assert experts.routing.load_balance_loss.item() == pytest.approx(balance, rel=1e-5)
    assert experts.routing.router_z_loss.item() == pytest.approx(z, rel=1e-5)
    assert experts.routing.penalty.item() == pytest.approx(0.3 * balance + 0.07 * z, rel=1e-5)


def test_load_balance_loss_is_one_where_experts_are_alike_and_pulls_towards_it():
    experts, x = make_experts(), make_tokens(400) + 0.5  # not centred, so that some experts are everyone's favourites
    optimizer = torch.optim.SGD(experts.router.parameters(), lr=0.2)
    seen = []
    for _ in range(150):
        experts(x)
        seen.append(experts.routing.load_balance_loss.item())
        optimizer.zero_grad()
        experts.routing.load_balance_loss.backward()
        optimizer.step()
    assert seen[0] > 1.3
    assert seen[-1] == pytest.approx(1.0, abs=0.01)


def test_routing_of_a_decoder_sums_penalties_and_averages_losses():
    decoder = make_decoder(moe={"num_experts": 4, "every": 2})
    assert [layer.experts is not None for layer in decoder.layers] == [False, True, False, True]
    assert routing_of(decoder) is None  # nothing has gone through it
    decoder(make_tokens(20, 24), groups=[Group(4, 5)])
    first, second = (decoder.layers[place].experts.routing for place in (1, 3))
    whole = routing_of(decoder)
    torch.testing.assert_close(whole.load_balance_loss, (first.load_balance_loss + second.load_balance_loss) / 2)
    torch.testing.assert_close(whole.router_z_loss, (first.router_z_loss + second.router_z_loss) / 2)
    torch.testing.assert_close(whole.penalty, first.penalty + second.penalty)
    dense = make_decoder()
    dense(make_tokens(20, 24), groups=[Group(4, 5)])
    assert routing_of(dense) is None


def test_router_is_float32_where_the_rest_is_not():
    experts, x = make_experts(), make_tokens()
    experts(x)
    plain = experts.routing
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = experts(x)
    assert experts.routing.router_z_loss.item() == plain.router_z_loss.item()
    torch.testing.assert_close(y, one_by_one(experts, x), atol=0.05, rtol=0)


@torch.no_grad()
def test_decoder_made_of_a_dense_one_computes_what_that_did():
    """Experts are equal and their weights sum to 1, so who is picked makes no difference."""
    dense, sparse = make_decoder(keys="smeared"), make_decoder(keys="smeared", moe={"num_experts": 4, "every": 2})
    initialise(dense, seed=7)
    x, groups = make_tokens(20, 24), [Group(4, 5)]
    assert not torch.allclose(sparse(x, groups=groups), dense(x, groups=groups), atol=0.1)
    routers = [layer.experts.router.weight.clone() for layer in sparse.layers if layer.experts]
    upcycle(sparse, dense.state_dict())
    torch.testing.assert_close(sparse(x, groups=groups), dense(x, groups=groups), atol=1e-5, rtol=0)  # measured 1e-6
    assert all(map(torch.equal, routers, [layer.experts.router.weight for layer in sparse.layers if layer.experts]))
    sparse.layers[1].experts.experts[0].down.weight.zero_()  # a copy, not the dense one itself
    assert dense.layers[1].down.weight.any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"depth": 2}, r"the dense decoder has no layers\.2\.attention\.out\.weight: both must be packed, of equal depth"),
        ({"depth": 5}, r"this decoder has no layers\.4\.attention\.out\.weight"),
        ({"keys": "smeared"}, r"this decoder has no layers\.0\.attention\.smear"),
        ({"moe": {"num_experts": 4}}, r"the dense decoder has no layers\.1\.down\.weight"),
        ({"width": 48}, r"embedding\.weight is \[9, 48\] in the dense decoder, and \[9, 24\] in this one"),
        ({"mlp_hidden_size": 16}, r"layers\.0\.gate_up\.weight is \[32, 24\] in the dense decoder, and \[128, 24\] in this one"),
    ],
)
def test_upcycling_of_another_shape_is_refused_and_changes_nothing(settings, words):
    sparse = make_decoder(moe={"num_experts": 4})
    before = {name: tensor.clone() for name, tensor in sparse.state_dict().items()}
    dense = Decoder(Packed(**{"width": 24, "depth": 4} | settings), vocabulary_size=9)
    with pytest.raises(ValueError, match=words):
        upcycle(sparse, dense.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in sparse.state_dict().items())


def with_experts(config, **settings):
    return change(config, decoder={"moe": {"num_experts": 4, "every": 1} | settings}, train={"steps": 45}, eval={"tasks": []})


def test_stages_count_all_experts_and_those_a_token_uses(tiny):
    dense, sparse = trainable.stages(tiny)[-1], trainable.stages(with_experts(tiny))[-1]
    mlp, router = 3 * 16 * tiny.decoder.mlp_width, 4 * 16
    assert dense.active_params == dense.num_params
    assert sparse.num_params == dense.num_params + 3 * mlp + router
    assert sparse.active_params == dense.num_params + mlp + router
    assert sparse.total_params - sparse.num_params == dense.total_params - dense.num_params


def test_train_reports_how_routers_do_where_there_are_some(tiny, make_worker):
    config = with_experts(tiny)
    worker, dense = run(config, make_worker), run(change(config, decoder={"moe": None}), make_worker, name="dense")
    assert worker.last.keys() - dense.last.keys() == {"load_balance_loss", "router_z_loss"}
    assert [step for step, name, _ in worker.points if name == "load_balance_loss"] == [20, 40, 45]
    assert 1 <= worker.last["load_balance_loss"] < 4
    assert worker.last["router_z_loss"] > 0


def test_train_pulls_at_routers_as_hard_as_the_coefficients_say(tiny, make_worker):
    plain, pulled = (
        run(with_experts(tiny, load_balance_coefficient=weight, router_z_coefficient=weight), make_worker, name=str(weight)).last
        for weight in (0.0, 1.0)
    )
    assert pulled["load_balance_loss"] < plain["load_balance_loss"] - 0.02
    assert pulled["router_z_loss"] < 0.7 * plain["router_z_loss"]


def test_train_with_experts_interrupted_and_resumed_ends_with_the_same_bits(tiny, make_worker):
    (stage,) = trainable.stages(change(with_experts(tiny), encoder={"pretrain": {"objective": "none"}}))
    whole, broken, resumed = make_worker("whole"), make_worker("broken", stop_after=1), make_worker("resumed")
    trainable.train(stage, {}, whole)
    trainable.train(stage, {}, broken)
    resumed.kept = broken.kept
    trainable.train(stage, {}, resumed)
    assert resumed.points == [point for point in whole.points if point[0] > 20]
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(whole).items())
