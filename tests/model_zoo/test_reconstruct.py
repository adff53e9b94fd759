"""AIM's objective: who sees whom, what is scored, against a loop written out."""

import pytest
import torch

from model_zoo.build import build_encoder
from model_zoo.encoders.grid import to_patches
from model_zoo.encoders.reconstruct import Reconstruction, prefix_mask
from model_zoo.encoders.vit import ViT
from model_zoo.initial import initialise

ENCODER = ViT(width=16, image_size=12)
"""Nine patches."""
PREFIX = torch.tensor([1, 4, 8])


@pytest.fixture
def encoder():
    model = build_encoder(ENCODER)
    initialise(model, seed=0)
    return model


@pytest.fixture
def objective():
    model = Reconstruction(ENCODER)
    initialise(model, seed=1)
    return model


def images():
    return torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_patch_sees_those_before_it_and_the_whole_prefix(encoder):
    mask = prefix_mask(PREFIX, num_patches=9)
    for image, prefix in enumerate(PREFIX.tolist()):
        for place in range(9):
            pixels = images().requires_grad_()
            encoder(pixels, mask=mask)[image, place].square().sum().backward()
            touched = to_patches(pixels.grad[:, None], side=4).abs().sum(-1)[image] > 0
            assert touched.tolist() == [other <= place or other < prefix for other in range(9)]


def test_encoder_that_is_used_sees_everything(encoder):
    pixels = images().requires_grad_()
    encoder(pixels)[1, 0].square().sum().backward()
    assert (to_patches(pixels.grad[:, None], side=4).abs().sum(-1)[1] > 0).all()


def test_error_is_that_of_the_next_patch_beyond_the_prefix(encoder, objective):
    pixels = images()
    features = encoder(pixels, mask=prefix_mask(PREFIX, num_patches=9))
    errors = []
    for image, prefix in enumerate(PREFIX.tolist()):
        for place in range(prefix, 9):
            row, column = divmod(place, 3)
            patch = pixels[image, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].reshape(-1)
            target = (patch - patch.mean()) / (patch.var(unbiased=False) + 1e-5).sqrt()
            x = features[image, place - 1]
            for block in objective.blocks:
                x = block(x)
            errors.append((objective.pixels(objective.final_norm(x)) - target).square().mean())
    assert len(errors) == 8 + 5 + 1
    torch.testing.assert_close(objective(features, images=pixels, prefix=PREFIX), torch.stack(errors).mean())


def test_patch_of_three_channels_is_foretold_whole():
    """Each patch by the mean and spread of all its numbers, whatever their channel."""
    config = ViT(width=16, image_size=12, num_channels=3)
    encoder, objective = config.build(), Reconstruction(config)
    initialise(encoder, seed=0)
    initialise(objective, seed=1)
    pixels = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    features = encoder(pixels, mask=prefix_mask(torch.tensor([8, 8, 8]), num_patches=9))
    last = pixels[:, :, 8:, 8:].reshape(3, -1)
    target = (last - last.mean(1, keepdim=True)) / (last.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    foretold = objective.pixels(objective.final_norm(objective.blocks(features[:, 7])))
    torch.testing.assert_close(objective(features, images=pixels, prefix=torch.tensor([8, 8, 8])), (foretold - target).square().mean())


def test_blank_patch_has_a_blank_target(encoder, objective):
    pixels = torch.zeros(3, 12, 12)
    with torch.no_grad():
        objective.pixels.weight.zero_()
    assert objective(encoder(pixels), images=pixels, prefix=PREFIX).item() == 0.0


def test_handful_of_images_is_learnt_by_heart(encoder, objective):
    pixels, optimizer = images(), torch.optim.AdamW([*encoder.parameters(), *objective.parameters()], lr=3e-3)
    mask = prefix_mask(PREFIX, num_patches=9)
    for _ in range(150):
        loss = objective(encoder(pixels, mask=mask), images=pixels, prefix=PREFIX)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02
