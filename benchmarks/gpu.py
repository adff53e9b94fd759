"""What share of a card's own matmul rate the zoo's training step reaches, in bfloat16.

The rate is measured first, on square products of the decoder's width times eight. A step is the zoo's: autocast, answer loss on every
token, clipping, fused AdamW; documents are texts of one length, as packed files give them. FLOPs are those of the model, three times its
forward pass, with causal attention counted as the half that it needs: what `checkpoint_layers` runs again counts for nothing. Run it with

    python benchmarks/gpu.py [--sizes 302M 1.2B] [--length 2048] [--documents 8] [--steps 20] [--checkpoint-layers] [--compile-mlps]

Without a GPU it refuses, but for `--device cpu`, which shows that it runs and says nothing about a card.
"""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from model_zoo.build import build_model
from model_zoo.config import Config
from model_zoo.data.batch import Batch
from model_zoo.decoders.packed import Group
from model_zoo.evaluate.loss import answer_loss
from model_zoo.initial import initialise
from model_zoo.layers import prepare
from model_zoo.optim import descend, make_optimizer, parameter_groups

SHAPES = {
    "tiny": {"width": 64, "depth": 2, "num_heads": 2},
    "302M": {"width": 1024, "depth": 24, "num_heads": 16},
    "1.2B": {"width": 2048, "depth": 24, "num_heads": 16},
}
"""As in studies/ladder.yaml."""
VOCABULARY = 32_000
WARMUP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=sorted(SHAPES), default=["302M", "1.2B"])
    parser.add_argument("--length", type=int, default=2048, help="tokens of a document")
    parser.add_argument("--documents", type=int, default=8, help="documents a step")
    parser.add_argument("--steps", type=int, default=20, help="steps that are measured, after a warmup of five")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--checkpoint-layers", action="store_true", help="layers keep their inputs alone")
    parser.add_argument("--compile-mlps", action="store_true", help="torch compiles the MLPs")
    asked = parser.parse_args()
    if asked.device != "cpu" and not torch.cuda.is_available():
        sys.exit("no GPU here: nothing was measured (--device cpu only shows that this program runs)")
    name = torch.cuda.get_device_name(asked.device) if asked.device != "cpu" else "this CPU"
    for size in asked.sizes:
        rate = matmul_rate(8 * SHAPES[size]["width"] if asked.device != "cpu" else 512, device=asked.device)
        config = make_config(size, checkpoint_layers=asked.checkpoint_layers, compile_mlps=asked.compile_mlps)
        seconds = step_seconds(config, length=asked.length, documents=asked.documents, steps=asked.steps, device=asked.device)
        tokens = asked.length * asked.documents
        reached = tokens * flops_of_a_token(config, length=asked.length) / seconds
        print(
            f"{size} on {name}: {tokens / seconds:,.0f} tokens/s, {reached / 1e12:.1f} TFLOP/s, "
            f"{100 * reached / rate:.0f} % of the {rate / 1e12:.1f} that its matmul reaches (goal 45 %)"
        )


def make_config(size: str, *, checkpoint_layers: bool, compile_mlps: bool) -> Config:
    return Config.model_validate(
        {
            "decoder": SHAPES[size],
            "train": {"precision": "bfloat16", "checkpoint_layers": checkpoint_layers, "compile_mlps": compile_mlps},
        }
    )


def flops_of_a_token(config: Config, *, length: int) -> float:
    """Forward and backward."""
    decoder = config.decoder
    whole = decoder.forward_flops(length=length) / length
    half_of_attention = 2.0 * decoder.depth * length * decoder.width
    return 3 * (whole - half_of_attention + 2.0 * decoder.width * VOCABULARY)


def matmul_rate(side: int, *, device: str) -> float:
    """FLOP/s of bfloat16 products of two square matrices."""
    one, other = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = timed(lambda: one @ other, repeats=20, device=device)
    return 2 * side**3 / seconds


def step_seconds(config: Config, *, length: int, documents: int, steps: int, device: str) -> float:
    model = build_model(config, vocabulary_size=VOCABULARY, image_token=VOCABULARY - 1)
    initialise(model, seed=0)
    model.to(device)
    prepare(model.decoder.layers, train=config.train)
    optimizer = make_optimizer(parameter_groups(model, weight_decay=config.train.weight_decay))
    trained = [parameter for parameter in model.decoder.parameters() if parameter.requires_grad]
    tokens = torch.randint(VOCABULARY - 1, (length * documents,), device=device)
    answered = torch.arange(len(tokens), device=device)[(torch.arange(len(tokens)) % length != length - 1).to(device)]
    batch = Batch(tokens, tokens.new_empty(0), answered, tokens[answered + 1], (Group(documents, length),))
    features = torch.empty(0, config.encoder.num_patches, config.encoder.width, device=device)

    def step() -> Tensor:
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            loss = answer_loss(model, batch, features=features)
        loss.backward()
        descend(trained, optimizer, rate=1e-4, clip_norm=1.0)
        return loss

    return timed(step, repeats=steps, device=device)


def timed(work: Callable[[], Tensor], *, repeats: int, device: str) -> float:
    """Seconds of one, after a warmup."""
    for _ in range(WARMUP):
        work()
    synchronise(device)
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    synchronise(device)
    return (time.perf_counter() - began) / repeats


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
