"""A seed and a step are all that decides what is read."""

import numpy as np
import pytest

from model_zoo.data.documents import caption_documents, label_documents, progression_documents, question_documents, recall_documents
from model_zoo.data.mix import Mix
from model_zoo.data.pictures import make_pool, training_digits
from model_zoo.data.rows import LABEL_SHARE
from model_zoo.data.stream import RowGenerators, draw_step, draw_steps, row_sources


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


def test_steps_drawn_together_are_those_drawn_alone(pool):
    mix = Mix.model_validate("45:45:10")
    together = draw_steps(pool, mix=mix, seed=0, steps=range(3, 9), num_rows=3, num_tokens=4)
    for step, documents in zip(range(3, 9), together, strict=True):
        alone = draw_step(pool, mix=mix, seed=0, step=step, num_rows=3, num_tokens=4)
        assert [[array.tolist() for array in kind] for kind in documents] == [[array.tolist() for array in kind] for kind in alone]


@pytest.mark.parametrize("other", [{"seed": 1}, {"step": 4}])
def test_step_differs_between_seeds_and_steps(pool, other):
    assert tokens(pool) != tokens(pool, **other)


def test_arms_with_one_seed_share_the_rows_both_take_from_a_source(pool):
    leaner, richer = (Mix.model_validate(mix) for mix in ("30:70:0", "60:40:0"))
    rows = [row_sources(mix, seed=0, steps=[0], num_rows=200)[0] for mix in (leaner, richer)]
    assert all(a == b or (a, b) == ("interleaved", "caption") for a, b in zip(*rows, strict=True))
    captions = [
        {tuple(row) for row in draw_step(pool, mix=mix, seed=0, step=0, num_rows=40, num_tokens=4)[1].tokens.tolist()}
        for mix in (leaner, richer)
    ]
    assert captions[0] < captions[1]


@pytest.mark.parametrize("mix", ["5:5:1", "1:0:0", "0:9:1", "33:66:0"])
def test_rows_come_in_the_shares_of_the_mix(mix):
    shares = Mix.model_validate(mix).shares
    (rows,) = row_sources(Mix.model_validate(mix), seed=0, steps=[0], num_rows=20_000)
    for source, share in zip(("caption", "interleaved", "text"), shares, strict=True):
        assert rows.count(source) / 20_000 == pytest.approx(share, abs=0.015 if 0 < share < 1 else 0)


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**32, 2**70 + 5])
def test_rows_drawn_together_are_those_of_their_own_generators(pool, seed):
    """Row r of step s of a source is made by default_rng((seed, 1, s, r, source)) alone."""
    (sources,) = row_sources(Mix.model_validate("45:45:10"), seed=seed, steps=[2], num_rows=40)
    expected: dict[str, list] = {}
    for row, source in enumerate(sources):
        rng = np.random.default_rng((seed, 1, 2, row, ("caption", "interleaved", "text").index(source)))
        if source == "caption":
            made = {"caption": caption_documents(pool, rng=rng, number=4, pictures=1, num_tokens=4)}
            made["question"] = question_documents(pool, rng=rng, number=4, pictures=1, questions=2, num_tokens=4)
        elif source == "text":
            made = {"progression": progression_documents(rng=rng, number=1), "recall": recall_documents(rng=rng, number=1)}
        elif rng.random() < LABEL_SHARE:
            made = {"label": label_documents(pool, rng=rng, number=1, num_tokens=4)}
        else:
            made = {"asked": question_documents(pool, rng=rng, number=1, pictures=9, questions=1, num_tokens=4)}
        for kind, documents in made.items():
            expected.setdefault(kind, []).append(documents)
    drawn = draw_step(pool, mix=Mix.model_validate("45:45:10"), seed=seed, step=2, num_rows=40, num_tokens=4)
    for kind, documents in zip(sorted(expected), drawn, strict=True):
        for found, wanted in zip(documents, zip(*expected[kind], strict=True), strict=True):
            np.testing.assert_array_equal(found, np.concatenate(wanted))


def test_row_generators_draw_each_row_from_its_own():
    rng = RowGenerators([np.random.default_rng(seed) for seed in (3, 4)])
    alone = [np.random.default_rng(seed) for seed in (3, 4)]
    assert rng.random((4, 2)).tolist() == [row for one in alone for row in one.random((2, 2)).tolist()]
    for shape in ((1,), (1, 1), (1, 3), (2, 1)):  # one number a row is drawn without a shape: what comes after it must not move
        drawn = rng.integers(1, 9, size=(2 * shape[0], *shape[1:]))
        np.testing.assert_array_equal(drawn, np.concatenate([one.integers(1, 9, size=shape) for one in alone]))
    x = np.arange(12).reshape(2, 6)
    assert rng.permuted(x, axis=1).tolist() == [one.permuted(row).tolist() for one, row in zip(alone, x, strict=True)]
