"""The hybrid encoder: its convolutional part against ConvNeXt of `transformers` with copied weights, its size against FastViTHD's."""

import pytest
import torch
from pydantic import ValidationError
from transformers import ConvNextConfig, ConvNextModel

from model_zoo.config import Config
from model_zoo.encoders.hybrid import Hybrid
from model_zoo.initial import initialise
from model_zoo.optim import parameter_groups

FASTVITHD = {"patch_size": 64, "depths": (2, 12, 24, 4, 2), "width": 1536, "attention_stages": 2, "num_channels": 3, "num_heads": 24}
CONFIG = Hybrid(patch_size=8, image_size=32, depths=(2, 3, 1), width=32, num_channels=3)

REFUSED = {
    "resolution": ({"patch_size": 8, "image_size": 100}, "100 is not a multiple of patch 8: nearest 96, 104"),
    "stage's resolution": ({"pretrain": {"resolution": 18}}, "resolution is 18, not a multiple of patch 4: nearest 16, 20"),
    "halvings": (
        {"patch_size": 6, "image_size": 24, "depths": [1, 1, 2]},
        "3 stages halve the grid 2 times, so patch_size is a multiple of 4, and it is 6: nearest 4, 8",
    ),
    "width": ({"width": 66, "num_heads": 3, "depths": [1, 1, 2]}, "the last one's width 66 cannot be halved 2 times: nearest 60, 72"),
    "attention alone": ({"depths": [1, 1, 2], "attention_stages": 3}, "3 attention stages of 3 leave none for convolutions: at most 2"),
    "heads": (
        {"width": 36, "num_heads": 4, "depths": [1, 1, 2], "attention_stages": 2},
        "the first of 2 attention stages is 18 wide, not divisible by 4 heads: nearest width 32, 40",
    ),
    "one stage": ({"depths": [2]}, "at least 2"),
    "reconstructive": ({"pretrain": {"objective": "reconstructive"}}, "use objective contrastive or none, or kind vit"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_hybrid_that_cannot_be_built_is_refused_in_words(case):
    written, words = REFUSED[case]
    with pytest.raises(ValidationError, match=words):
        Config.model_validate({"encoder": {"kind": "hybrid", **written}})


@pytest.mark.parametrize(("settings", "nearest"), [({"width": 66, "num_heads": 3}, (60, 72)), ({"width": 36, "num_heads": 4}, (32, 40))])
def test_hybrid_accepts_the_widths_that_its_refusal_names(settings, nearest):
    for width in nearest:
        assert Hybrid(**settings | {"width": width, "depths": (1, 1, 2), "attention_stages": 2}).widths[-1] == width


def test_hybrid_is_near_the_size_of_fastvithd():
    with torch.device("meta"):
        counted = sum(p.numel() for p in Hybrid(**FASTVITHD, image_size=1024).build().parameters())
    assert counted == Hybrid(**FASTVITHD, image_size=1024).num_params
    assert Hybrid(**FASTVITHD, image_size=1024).widths == (96, 192, 384, 768, 1536)
    # 124.1M against 125.1M: other blocks, see the docstring of the class
    assert counted == pytest.approx(125.1e6, rel=0.01)


@pytest.mark.parametrize(("image_size", "tokens"), [(256, 16), (512, 64), (768, 144), (1024, 256)])
def test_hybrid_has_the_tokens_of_fastvithd(image_size, tokens):
    """FastVLM, arXiv 2412.13303, table 4."""
    assert Hybrid(**FASTVITHD, image_size=image_size).num_patches == tokens


def test_convolutions_and_maps_decay_and_all_else_does_not():
    model = torch.nn.ModuleDict({"encoder": CONFIG.build()})
    groups = parameter_groups(model, weight_decay=0.1)
    decaying = {id(p) for group in groups for p in group["params"] if group["weight_decay"]}
    assert {p.dim() for p in model.parameters() if id(p) in decaying} == {2, 4}
    assert {p.dim() for p in model.parameters() if id(p) not in decaying} == {1}


@torch.no_grad()
def test_convolutional_stages_compute_what_convnext_does():
    encoder = CONFIG.build()
    initialise(encoder, seed=0)
    for parameter in encoder.parameters():  # biases and gains too, so that one that is left out shows
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    theirs = ConvNextModel(
        ConvNextConfig(
            num_channels=CONFIG.num_channels,
            patch_size=CONFIG.stem_size,
            num_stages=2,
            depths=list(CONFIG.depths[:2]),
            hidden_sizes=list(CONFIG.widths[:2]),
            layer_scale_init_value=0.0,
        )
    ).eval()
    convolutions = sum(CONFIG.depths[:2]) + 1  # one block each, and a halving
    ours = [*encoder.stem.parameters(), *encoder.stem_norm.parameters(), *encoder.stages[:convolutions].parameters()]
    copies = [p for name, p in theirs.named_parameters() if not name.startswith("layernorm")]
    for copy, own in zip(copies, ours, strict=True):
        copy.copy_(own)
    for module in theirs.modules():
        if hasattr(module, "eps"):
            module.eps = 1e-5
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = theirs(pixels).last_hidden_state
    x = encoder.stem_norm(encoder.stem(pixels).permute(0, 2, 3, 1))
    torch.testing.assert_close(encoder.stages[:convolutions](x).permute(0, 3, 1, 2), expected, atol=1e-5, rtol=1e-4)
