"""The vision transformer against the one of SigLIP in `transformers`, which has no class token either, with copied weights."""

import pytest
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from model_zoo.build import build_encoder
from model_zoo.encoders.grid import resize_positions
from model_zoo.encoders.vit import ViT
from model_zoo.initial import initialise

CONFIG = ViT(width=24, depth=3, num_heads=3, image_size=16)


def make_encoder(config: ViT = CONFIG):
    encoder = build_encoder(config)
    initialise(encoder, seed=0)
    with torch.no_grad():
        for parameter in encoder.parameters():  # biases and gains too, so that one that is left out shows
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    return encoder


def siglip_config(config: ViT) -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=config.width,
        intermediate_size=4 * config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        num_channels=config.num_channels,
        image_size=config.image_size,
        patch_size=config.patch_size,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
        vision_use_head=False,
    )


def siglip_of(encoder, *, config: ViT = CONFIG) -> SiglipVisionModel:
    """The same function in `transformers`; its patches are a convolution, its queries, keys and values three maps."""
    model = SiglipVisionModel(siglip_config(config)).eval()
    ours, side = encoder.state_dict(), config.patch_size
    theirs = {
        "embeddings.patch_embedding.weight": ours["patch_embedding.weight"].view(-1, config.num_channels, side, side),
        "embeddings.patch_embedding.bias": ours["patch_embedding.bias"],
        "embeddings.position_embedding.weight": ours["position_embedding"],
        "post_layernorm.weight": ours["final_norm.weight"],
        "post_layernorm.bias": ours["final_norm.bias"],
    }
    names = {
        "layer_norm1": "attention_norm",
        "self_attn.out_proj": "attention_out",
        "layer_norm2": "mlp_norm",
        "mlp.fc1": "mlp_in",
        "mlp.fc2": "mlp_out",
    }
    for layer in range(CONFIG.depth):
        for kind in ("weight", "bias"):
            theirs |= {f"encoder.layers.{layer}.{name}.{kind}": ours[f"layers.{layer}.{own}.{kind}"] for name, own in names.items()}
            parts = zip("qkv", ours[f"layers.{layer}.qkv.{kind}"].chunk(3), strict=True)
            theirs |= {f"encoder.layers.{layer}.self_attn.{part}_proj.{kind}": tensor for part, tensor in parts}
    known = model.state_dict()
    prefix = "vision_model." if any(name.startswith("vision_model.") for name in known) else ""
    model.load_state_dict({f"{prefix}{name}": tensor for name, tensor in theirs.items()})
    return model


@pytest.mark.parametrize("num_channels", [1, 3])
@torch.no_grad()
def test_encoder_computes_what_siglip_does(num_channels: int) -> None:
    config = ViT(**CONFIG.model_dump() | {"num_channels": num_channels})
    encoder, pixels = make_encoder(config), torch.randn(2, num_channels, 16, 16)
    torch.testing.assert_close(encoder(pixels), siglip_of(encoder, config=config)(pixels).last_hidden_state, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("width", "depth", "image_size", "params"),
    [(1024, 24, 224, 303_176_704), (1024, 24, 336, 303_504_384), (1280, 32, 224, 630_762_240), (1280, 32, 378, 631_367_680)],
)
def test_encoder_has_as_many_parameters_as_siglip_of_its_shape(width: int, depth: int, image_size: int, params: int) -> None:
    """ViT-L/14 and ViT-H/14 (MM1, arXiv 2403.09611, table 1); the first has 304M in FastVLM (arXiv 2412.13303, table 3)."""
    config = ViT(width=width, depth=depth, num_heads=16, patch_size=14, image_size=image_size, num_channels=3)
    with torch.device("meta"):
        built = [sum(p.numel() for p in model.parameters()) for model in (config.build(), SiglipVisionModel(siglip_config(config)))]
    assert [config.num_params, *built] == [params] * 3


@pytest.mark.parametrize("image_size", [24, 32, 8])
@torch.no_grad()
def test_encoder_at_another_resolution_computes_what_siglip_does(image_size: int) -> None:
    trained, pixels = make_encoder(), torch.randn(2, image_size, image_size)
    used = build_encoder(CONFIG.model_copy(update={"image_size": image_size}))
    weights = trained.state_dict()
    weights["position_embedding"] = resize_positions(weights["position_embedding"], num_patches=len(used.position_embedding))
    used.load_state_dict(weights)
    expected = siglip_of(trained)(pixels[:, None], interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(used(pixels), expected, atol=1e-5, rtol=1e-4)


def test_positions_of_the_same_grid_are_left_alone() -> None:
    positions = torch.randn(16, 8)
    assert resize_positions(positions, num_patches=16) is positions
