"""What noise replaces, what rewriting keeps, and that nothing else of a step moves."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from model_zoo.data import vocabulary as v
from model_zoo.data.alt_text import as_alt_text
from model_zoo.data.mix import Mix
from model_zoo.data.pictures import make_pool, training_digits
from model_zoo.data.settings import AltText
from model_zoo.data.stream import RowGenerators, draw_step, draw_steps

MANY = 3000


@pytest.fixture(scope="module")
def pool():
    return make_pool(training_digits(), num_scenes=40, image_size=16, rng=np.random.default_rng(0))


def captions(*, noise, synthetic=0.0, seed=5):
    """[MANY, 4] words of captions that all say 7 7 7 7."""
    alt_text = AltText(noise=noise, synthetic=synthetic)
    return as_alt_text(np.full((MANY, v.NUM_PLACES), v.DIGIT + 7), alt_text=alt_text, rng=np.random.default_rng(seed))


def step(pool, *, noise=None, synthetic=0.0, mix="45:45:10", rows=60, number=3, seed=0):
    alt_text = None if noise is None else AltText(noise=noise, synthetic=synthetic)
    return draw_step(pool, mix=Mix.model_validate(mix), seed=seed, step=number, num_rows=rows, num_tokens=2, alt_text=alt_text)


def arrays(documents):
    return [[array.tolist() for array in kind] for kind in documents]


def within(count, *, of, probability):
    """In the interval that a binomial count leaves once in a million."""
    low, high = stats.binom.interval(1 - 1e-6, of, probability)
    return low <= count <= high


@pytest.mark.parametrize("noise", [0.1, 0.5, 0.9])
def test_mentions_are_replaced_as_often_as_noise_says(noise):
    said = captions(noise=noise)
    for place in said.T:
        assert within((place != 7).sum(), of=MANY, probability=noise)
    replaced = said[said != 7]
    counts = np.bincount(replaced, minlength=v.SIZE)
    assert counts[v.WORD : v.WORD + v.NUM_WORDS].sum() == len(replaced)
    assert all(within(count, of=len(replaced), probability=1 / 8) for count in counts[v.WORD : v.WORD + v.NUM_WORDS])


def test_mentions_of_one_caption_are_replaced_independently():
    replaced = (captions(noise=0.4) != 7).sum(1)
    for count in range(v.NUM_PLACES + 1):
        assert within((replaced == count).sum(), of=MANY, probability=stats.binom.pmf(count, v.NUM_PLACES, 0.4))


def test_share_of_captions_is_rewritten_whole():
    """With noise 1 no other caption keeps a digit."""
    kept = (captions(noise=1.0, synthetic=0.07) == 7).sum(1)
    assert set(kept.tolist()) == {0, v.NUM_PLACES}
    assert within((kept == v.NUM_PLACES).sum(), of=MANY, probability=0.07)


def test_more_noise_replaces_the_same_words_and_more():
    found = [captions(noise=noise) for noise in (0.2, 0.6, 1.0)]
    for less, more in pairwise(found):
        assert (more[less != 7] == less[less != 7]).all()
        assert (more != less).any()


def test_noise_zero_and_all_rewritten_are_exact():
    assert (captions(noise=0.0) == 7).all()
    assert (captions(noise=1.0, synthetic=1.0) == 7).all()


@pytest.mark.parametrize("alt_text", [{"noise": 0}, {"noise": 0.7, "synthetic": 1}, {"noise": 0, "synthetic": 0.5}])
def test_step_without_noise_or_all_rewritten_is_the_one_without_alt_text(pool, alt_text):
    assert arrays(step(pool, **alt_text)) == arrays(step(pool))


def test_only_captions_of_a_step_are_noisy_and_what_they_say_is_learnt(pool):
    exact, noisy = step(pool), step(pool, noise=0.5)
    assert len(exact) == 6
    changed = [number for number, (a, b) in enumerate(zip(exact, noisy, strict=True)) if (a.tokens != b.tokens).any()]
    (caption,) = changed
    a, b = exact[caption], noisy[caption]
    assert (b.tokens[:, 2] == v.CAPTION).all()
    np.testing.assert_array_equal(a.tokens[:, :3], b.tokens[:, :3])
    np.testing.assert_array_equal(a.pictures, b.pictures)
    np.testing.assert_array_equal(b.targets[:, 2:6], b.tokens[:, 3:])
    assert (b.targets[:, [0, 1, 6]] == v.NO_TARGET).all()
    replaced = b.tokens != a.tokens
    assert (b.tokens[replaced] >= v.WORD).all()
    assert within(replaced.sum(), of=4 * len(a.tokens), probability=0.5)


def test_steps_with_alt_text_drawn_together_are_those_drawn_alone(pool):
    mix, alt_text = Mix.model_validate("45:45:10"), AltText(noise=0.5, synthetic=0.3)
    together = draw_steps(pool, mix=mix, seed=0, steps=range(3, 7), num_rows=5, num_tokens=2, alt_text=alt_text)
    for number, documents in zip(range(3, 7), together, strict=True):
        assert arrays(documents) == arrays(step(pool, noise=0.5, synthetic=0.3, rows=5, number=number))


def test_row_is_noisy_by_a_generator_of_its_own(pool):
    """That of row r of step s is default_rng((seed, 1, s, r, 4))."""
    exact, noisy = (step(pool, mix="1:0:0", rows=3, noise=noise)[0].tokens[:, 3:] for noise in (None, 0.5))
    own = [np.random.default_rng((0, 1, 3, row, 4)) for row in range(3)]
    np.testing.assert_array_equal(noisy, as_alt_text(exact, alt_text=AltText(noise=0.5), rng=RowGenerators(own)))


@pytest.mark.parametrize("other", [{"seed": 1}, {"number": 4}])
def test_noise_differs_between_seeds_and_steps(pool, other):
    places = [step(pool, mix="1:0:0", noise=0.5, **told)[0].tokens != step(pool, mix="1:0:0", **told)[0].tokens for told in ({}, other)]
    assert (places[0] != places[1]).any()
