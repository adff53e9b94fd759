"""A model to its time to first token, on one image and a question without shots: `[image] Q p`, of which the answer is foretold.

As FastVLM defines it (arXiv 2412.13303, section 3), the vision encoder's latency plus the language model's prefill. What that leaves
open: the connector counts to the prefill, and so do the words of the question and the head at the last token. Batch size 1, the
numbers the trial was evaluated in (float32), nothing compiled; making pixels of an image file is left out.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.benchmark import Timer

from model_zoo.config import Config, Latency
from model_zoo.data.vocabulary import IMAGE, PLACE, QUESTION, SIZE
from model_zoo.decoders.packed import Group
from model_zoo.encoders.grid import see
from model_zoo.vlm import VisionLanguageModel

WORDS = (QUESTION, PLACE)
"""Of the prompt, after the visual tokens."""
SECONDS = 0.2
"""Each part is repeated for so long, after a warm-up; its median counts."""
FEWEST = 10
"""Repeats, about, of what takes longer."""


def first_token_metrics(model: VisionLanguageModel, *, config: Config, pixels: Tensor) -> dict[str, float]:
    """FLOPs, and milliseconds where they are asked for; pixels [1, S, S]."""
    metrics = {"ttft_flops": first_token_flops(config)}
    if config.eval.latency is Latency.MEASURED:
        tokens = torch.tensor([IMAGE] * config.tokens_per_image + list(WORDS), device=pixels.device)
        encoder, prefill = measure_first_token(model, pixels=pixels, tokens=tokens, tiles=config.encoder.tiles)
        metrics |= {"ttft_encoder_ms": encoder, "ttft_prefill_ms": prefill, "ttft_ms": encoder + prefill}
    return metrics


def first_token_flops(config: Config) -> float:
    """Counted as `model_zoo.flops` says."""
    view = config.encoder.forward_flops + config.connector.forward_flops(config.connector_shape)
    prompt = config.decoder.forward_flops(length=config.tokens_per_image + len(WORDS))
    return config.encoder.num_views * view + prompt + 2.0 * config.decoder.width * SIZE


@torch.no_grad()
def measure_first_token(model: VisionLanguageModel, *, pixels: Tensor, tokens: Tensor, tiles: int = 1) -> tuple[float, float]:
    """pixels [1, S, S], tokens [L] -> milliseconds of the encoder, and of all that comes after it."""
    features, groups = see(model.encoder, pixels, tiles=tiles), (Group(1, len(tokens)),)

    def prefill() -> Tensor:
        hidden = model(tokens, features=features, groups=groups)
        return model.logits(hidden[-1:]).argmax()

    return _median_ms(lambda: see(model.encoder, pixels, tiles=tiles)), _median_ms(prefill)


def _median_ms(function: Callable[[], Tensor]) -> float:
    """On the threads torch has now; the timer waits for a GPU to end."""
    timer = Timer("function()", globals={"function": function}, num_threads=torch.get_num_threads())
    once = timer.timeit(1).median
    return 1000 * timer.blocked_autorange(min_run_time=max(SECONDS, FEWEST * once)).median
