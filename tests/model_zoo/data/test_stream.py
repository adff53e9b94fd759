"""A seed and a step are all that decides what is read."""

import numpy as np
import pytest

from model_zoo.config import Mix
from model_zoo.data.pictures import make_pool, training_digits
from model_zoo.data.stream import draw_step, row_sources


@pytest.fixture(scope="module")
def pool():
    return make_pool(training_digits(), num_scenes=40, image_size=16, rng=np.random.default_rng(0))


def tokens(pool, *, mix="45:45:10", seed=0, step=3):
    drawn = draw_step(pool, mix=Mix.model_validate(mix), seed=seed, step=step, num_rows=8, num_tokens=4)
    return [documents.tokens.tolist() for documents in drawn]


def test_step_is_the_same_whatever_was_drawn_before(pool):
    first = tokens(pool)
    tokens(pool, step=9)
    assert tokens(pool) == first


@pytest.mark.parametrize("other", [{"seed": 1}, {"step": 4}])
def test_step_differs_between_seeds_and_steps(pool, other):
    assert tokens(pool) != tokens(pool, **other)


def test_arms_with_one_seed_share_the_rows_both_take_from_a_source(pool):
    leaner, richer = (Mix.model_validate(mix) for mix in ("30:70:0", "60:40:0"))
    rows = [row_sources(mix, seed=0, step=0, num_rows=200) for mix in (leaner, richer)]
    assert all(a == b or (a, b) == ("interleaved", "caption") for a, b in zip(*rows, strict=True))
    captions = [
        {tuple(row) for row in draw_step(pool, mix=mix, seed=0, step=0, num_rows=40, num_tokens=4)[1].tokens.tolist()}
        for mix in (leaner, richer)
    ]
    assert captions[0] < captions[1]


@pytest.mark.parametrize("mix", ["5:5:1", "1:0:0", "0:9:1", "33:66:0"])
def test_rows_come_in_the_shares_of_the_mix(mix):
    shares = Mix.model_validate(mix).shares
    rows = row_sources(Mix.model_validate(mix), seed=0, step=0, num_rows=20_000)
    for source, share in zip(("caption", "interleaved", "text"), shares, strict=True):
        assert rows.count(source) / 20_000 == pytest.approx(share, abs=0.015 if 0 < share < 1 else 0)
