"""Where images meet tokens."""

import pytest
import torch

from model_zoo.build import build_encoder, build_model
from model_zoo.config import Config
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.decoders.packed import Group
from model_zoo.encoders.vit import ViT
from model_zoo.initial import initialise
from model_zoo.vlm import splice


def make_model(config: Config):
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    return model


def test_encoder_refuses_images_of_another_size():
    with pytest.raises(ValueError, match=r"images are \(8, 8\), the config says 16 px"):
        build_encoder(ViT())(torch.zeros(1, 8, 8))


def test_splice_puts_tokens_in_order_of_appearance():
    embedded, visual = torch.zeros(7, 2), torch.arange(8.0).view(2, 2, 2)
    placeholders = torch.tensor([1, 1, 0, 0, 1, 1, 0]).bool()
    spliced = splice(embedded, visual=visual, placeholders=placeholders)
    assert spliced[:, 0].tolist() == [0, 2, 0, 0, 4, 6, 0]
    assert spliced[:, 1].tolist() == [1, 3, 0, 0, 5, 7, 0]


def test_splice_with_a_count_that_differs_names_both():
    with pytest.raises(ValueError, match=r"4 visual tokens \(2 images x 2\) for 3 placeholders"):
        splice(torch.zeros(5, 2), visual=torch.zeros(2, 2, 2), placeholders=torch.tensor([1, 1, 1, 0, 0]).bool())


def test_model_reads_texts_without_images(tiny):
    hidden = make_model(tiny)(torch.zeros(6, dtype=torch.long), features=torch.zeros(0, 16, 16), groups=[Group(2, 3)])
    assert hidden.shape == (6, 16)
