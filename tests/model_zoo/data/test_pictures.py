"""Digits, scenes, pools."""

import numpy as np
import torch

from model_zoo.data.pictures import draw_scenes, held_out_digits, make_pool, resample, training_digits


def test_digits_split_is_disjoint_and_whole():
    training, held_out = training_digits().originals, held_out_digits().originals
    assert (len(training), len(held_out)) == (1400, 397)
    assert sorted(np.concatenate((training, held_out))) == list(range(1797))


def test_digits_split_shares_no_image():
    training, held_out = ({image.tobytes() for image in half().images} for half in (training_digits, held_out_digits))
    assert not training & held_out


def test_scene_holds_its_digits_in_reading_order():
    digits = training_digits()
    scene = draw_scenes(digits, chosen=np.array([[5, 6, 7, 8]]))[0]
    quarters = [scene[:8, :8], scene[:8, 8:], scene[8:, :8], scene[8:, 8:]]
    for quarter, number in zip(quarters, (5, 6, 7, 8), strict=True):
        np.testing.assert_array_equal(quarter, digits.images[number])


def test_pool_singles_show_every_digit_of_the_half_once():
    pool = make_pool(held_out_digits(), num_scenes=3, image_size=16, rng=np.random.default_rng(0))
    assert sorted(np.concatenate(pool.singles)) == list(range(3, 3 + 397))
    assert len(pool.pixels) == 400
    labels = held_out_digits().labels
    for digit, numbers in enumerate(pool.singles):
        assert (labels[numbers - 3] == digit).all()


def test_resample_to_the_canvas_changes_nothing_and_smaller_keeps_the_mean():
    canvases = draw_scenes(training_digits(), chosen=np.arange(80).reshape(20, 4))
    full, small = (resample(canvases, image_size=size) for size in (16, 8))
    assert small.shape == (20, 8, 8)
    torch.testing.assert_close(full.mean((1, 2)), small.mean((1, 2)), atol=0.05, rtol=0)


def test_pixels_are_about_zero_and_one():
    pool = make_pool(training_digits(), num_scenes=200, image_size=16, rng=np.random.default_rng(0))
    assert abs(float(pool.pixels[:200].mean())) < 0.05
    assert abs(float(pool.pixels[:200].std()) - 1) < 0.05
