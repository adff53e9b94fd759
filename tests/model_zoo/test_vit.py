"""The vision transformer against the one of SigLIP in `transformers`, which has no class token either, with copied weights."""

import pytest
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from model_zoo.build import build_encoder
from model_zoo.encoders.encoder import Encoder
from model_zoo.encoders.vit import resize_positions
from model_zoo.initial import initialise

CONFIG = Encoder(width=24, depth=3, num_heads=3, image_size=16)


def make_encoder(config: Encoder = CONFIG):
    encoder = build_encoder(config)
    initialise(encoder, seed=0)
    with torch.no_grad():
        for parameter in encoder.parameters():  # biases and gains too, so that one that is left out shows
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    return encoder


def siglip_of(encoder) -> SiglipVisionModel:
    """The same function in `transformers`; its patches are a convolution, its queries, keys and values three maps."""
    model = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=CONFIG.width,
            intermediate_size=4 * CONFIG.width,
            num_hidden_layers=CONFIG.depth,
            num_attention_heads=CONFIG.num_heads,
            num_channels=1,
            image_size=CONFIG.image_size,
            patch_size=CONFIG.patch_size,
            hidden_act="gelu",
            layer_norm_eps=1e-5,
            vision_use_head=False,
        )
    ).eval()
    ours, side = encoder.state_dict(), CONFIG.patch_size
    theirs = {
        "embeddings.patch_embedding.weight": ours["patch_embedding.weight"].view(-1, 1, side, side),
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


@torch.no_grad()
def test_encoder_computes_what_siglip_does() -> None:
    encoder, pixels = make_encoder(), torch.randn(2, 16, 16)
    torch.testing.assert_close(encoder(pixels), siglip_of(encoder)(pixels[:, None]).last_hidden_state, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("image_size", [24, 32, 8])
@torch.no_grad()
def test_encoder_at_another_resolution_computes_what_siglip_does(image_size: int) -> None:
    trained, pixels = make_encoder(), torch.randn(2, image_size, image_size)
    used = build_encoder(CONFIG.model_copy(update={"image_size": image_size}))
    weights = trained.state_dict()
    weights["position_embedding"] = resize_positions(weights["position_embedding"], num_patches=used.num_patches)
    used.load_state_dict(weights)
    expected = siglip_of(trained)(pixels[:, None], interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(used(pixels), expected, atol=1e-5, rtol=1e-4)


def test_positions_of_the_same_grid_are_left_alone() -> None:
    positions = torch.randn(16, 8)
    assert resize_positions(positions, num_patches=16) is positions
