"""Every kind of document says only what its pictures show, and asks only what can be known."""

import numpy as np
import pytest

from model_zoo.data import vocabulary as v
from model_zoo.data.documents import (
    balanced_label_documents,
    caption_documents,
    label_documents,
    progression_documents,
    question_documents,
    recall_documents,
)
from model_zoo.data.pictures import make_pool, training_digits


@pytest.fixture(scope="module")
def pool():
    return make_pool(training_digits(), num_scenes=40, image_size=16, rng=np.random.default_rng(0))


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def digit_shown(pool, pictures):
    """[N, C] picture numbers of single digits -> the digit on each."""
    return np.vectorize(lambda number: next(d for d, some in enumerate(pool.singles) if number in some))(pictures)


def test_caption_names_the_digits_of_its_scene(pool, rng):
    documents = caption_documents(pool, rng=rng, number=20, pictures=1, num_tokens=4)
    assert (documents.tokens[:, :4] == v.IMAGE).all()
    assert (documents.tokens[:, 4] == v.CAPTION).all()
    np.testing.assert_array_equal(documents.tokens[:, 5:], pool.scenes[documents.pictures[:, 0]])
    np.testing.assert_array_equal(documents.targets[:, 4:8], documents.tokens[:, 5:])
    assert (documents.targets[:, [0, 1, 2, 3, 8]] == v.NO_TARGET).all()


def test_questions_ask_different_places_and_hold_the_digit_there(pool, rng):
    documents = question_documents(pool, rng=rng, number=50, pictures=1, questions=2, num_tokens=1)
    text = documents.tokens[:, 1:].reshape(50, 2, 3)
    places = text[..., 1] - v.PLACE
    assert (text[..., 0] == v.QUESTION).all()
    assert (places[:, 0] != places[:, 1]).all()
    np.testing.assert_array_equal(text[..., 2], np.take_along_axis(pool.scenes[documents.pictures[:, 0]], places, 1))
    assert (documents.targets[:, [2, 5]] == text[..., 2]).all()
    assert ((documents.targets >= 0).sum(1) == 2).all()


def test_labels_follow_the_digit_within_a_document(pool, rng):
    documents = label_documents(pool, rng=rng, number=30, num_tokens=2)
    labels = documents.tokens.reshape(30, 9, 3)[..., 2]
    for shown, called in zip(digit_shown(pool, documents.pictures), labels, strict=True):
        pairs = set(zip(shown.tolist(), called.tolist(), strict=True))
        assert len(pairs) == len(set(shown)) == len(set(called)) <= 2
        assert all(v.WORD <= label < v.WORD + v.NUM_WORDS for label in called)


def test_balanced_labels_show_both_classes_equally_before_each_reading(pool, rng):
    documents = balanced_label_documents(pool, rng=rng, number=40, num_tokens=1)
    shown = digit_shown(pool, documents.pictures)
    for shots in (4, 8):
        for row in shown[:, :shots]:
            assert np.unique(row, return_counts=True)[1].tolist() == [shots // 2] * 2


def test_balanced_labels_come_in_fours_that_cancel(pool, rng):
    documents = balanced_label_documents(pool, rng=rng, number=40, num_tokens=1)
    labels = documents.tokens.reshape(10, 2, 2, 9, 2)[..., 1]  # fours, classes swapped, labels swapped
    pictures = documents.pictures.reshape(10, 2, 2, 9)
    np.testing.assert_array_equal(pictures[:, :, 0], pictures[:, :, 1])
    assert (labels[:, :, 0] != labels[:, :, 1]).all()
    np.testing.assert_array_equal(labels[:, 0], labels[:, 1])


def test_progression_steps_evenly(rng):
    documents = progression_documents(rng=rng, number=30)
    steps = np.diff(documents.tokens, axis=1) % 10
    assert documents.tokens.shape == (30, 32)
    assert (steps == steps[:, :1]).all()
    np.testing.assert_array_equal(documents.targets[:, :-1], documents.tokens[:, 1:])


def test_recall_gives_each_key_one_value_of_its_own(rng):
    documents = recall_documents(rng=rng, number=30)
    for row in documents.tokens.reshape(30, 16, 2):
        keys, values = set(row[:, 0].tolist()), set(row[:, 1].tolist())
        assert len({tuple(pair) for pair in row.tolist()}) == len(keys) == len(values)
        assert not keys & values
