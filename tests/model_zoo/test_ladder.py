"""The ladders of decoder sizes: counted on the meta device, where a parameter has a shape and no memory."""

import math

import pytest
import torch

from ablate.design import make_arms
from ablate.load import load_study
from model_zoo.build import build_decoder
from model_zoo.config import Config

PUBLISHED = {
    "9M": 9e6,
    "85M": 85e6,
    "302M": 302e6,
    "1.2B": 1.2e9,
    "3B": 3e9,
    "7B": 7e9,
    "30B": 30e9,
    "3B-MoE": 64e9,
    "7B-MoE": 47e9,
}
"""MM1, arXiv 2403.09611, section 3.1, figure 6 and section 4: labels of its models, and of those with experts the parameters in total."""
CPU_LADDER = [24, 48, 96, 168]


def decoders(study: str):
    """Level -> settings, of a study with one axis of decoders, or of decoders and rates."""
    return {next(iter(arm.levels.values())): Config.model_validate(arm.config).decoder for arm in make_arms(load_study(study))}


def count(settings) -> int:
    with torch.device("meta"):
        decoder = build_decoder(settings, vocabulary_size=2)
    return sum(p.numel() for name, p in decoder.named_parameters() if name not in ("embedding.weight", "head.weight"))


@pytest.mark.parametrize("size", PUBLISHED)
def test_ladder_holds_what_it_says_near_what_mm1_published(size):
    settings = decoders("ladder")[size]
    assert settings.num_params == count(settings)
    assert settings.num_params == pytest.approx(PUBLISHED[size], rel=0.025)  # measured: within 2.2 %


def test_ladder_has_the_experts_of_mm1_in_the_layers_of_the_dense_size():
    found = decoders("ladder")
    assert found.keys() == PUBLISHED.keys()
    for size, experts, every in (("3B", 64, 2), ("7B", 32, 4)):
        dense, sparse = found[size], found[f"{size}-MoE"]
        assert (sparse.moe.num_experts, sparse.moe.every) == (experts, every)
        assert sparse.num_expert_layers == dense.depth // every
        assert sparse.model_copy(update={"moe": None}) == dense
        assert dense.num_params < sparse.active_params < 2 * dense.num_params


def test_ladder_for_a_cpu_has_four_sizes_over_more_than_a_decade_and_a_half():
    found = decoders("lr_law_tiny")
    assert list(found) == CPU_LADDER
    sizes = [settings.num_params for settings in found.values()]
    assert sizes == [count(settings) for settings in found.values()]
    assert math.log10(sizes[-1] / sizes[0]) > 1.5  # 1.69
