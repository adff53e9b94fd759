"""CIDEr-D against the COCO toolkit, small cases by hand, and what it refuses."""

import math

import pytest

from model_zoo.evaluate.cider import caption_words, cider_d, document_frequencies

CAPTIONS = {
    "beach": (
        "a dog runs on the beach",
        ["a dog is running along the beach", "a brown dog runs on the sand", "the dog runs near the water"],
    ),
    "kitchen": ("a man a man in a kitchen", ["a man cooks in a kitchen", "a chef prepares food in the kitchen"]),
    "street": ("two red buses on a street", ["a double decker bus drives down a city street", "a bus on a street"]),
    "cat": ("cat", ["a cat sleeps on a sofa"]),
    "none": ("", ["a plate of food on a table"]),
}
TOOLKIT = {
    "beach": 3.0042240200439636,
    "kitchen": 2.0886999143323686,
    "street": 1.3854229400710265,
    "cat": 1.0167067829206098,
    "none": 0.0,
}
"""Of `CiderScorer` in pycocoevalcap 1.2 (its Python port of github.com/tylin/coco-caption), given these captions as they stand here,
without its Java tokenizer, which splits none of them otherwise than at spaces."""


def score(candidates, references):
    return cider_d(candidates, references=references, frequencies=document_frequencies(references.values()))


def test_cider_equals_that_of_the_coco_toolkit():
    candidates = {image: caption_words(said) for image, (said, _) in CAPTIONS.items()}
    references = {image: [caption_words(text) for text in texts] for image, (_, texts) in CAPTIONS.items()}
    assert score(candidates, references) == pytest.approx(TOOLKIT, abs=1e-12)


def test_cider_of_the_reference_itself_is_ten_and_of_other_words_nothing():
    references = {0: ["abcde"], 1: ["fghij"]}
    scores = score({0: list("abcde"), 1: list("vwxyz")}, {image: [list(text) for text in texts] for image, texts in references.items()})
    assert scores == pytest.approx({0: 10.0, 1: 0.0})


def test_cider_by_hand_counts_each_length_alike():
    """Both n-grams of each image are its own, so all weigh log 2 and cancel: cosines 1/2 of words and 0 of pairs, nothing longer."""
    references = {0: [["a", "b"]], 1: [["c", "d"]]}
    assert score({0: ["a", "x"], 1: ["c", "d"]}, references) == pytest.approx({0: 10 * (1 / 2) / 4, 1: 10 * (1 + 1) / 4})


def test_cider_by_hand_clips_what_is_said_too_often():
    """Words only: 3 a against 1 a, so the product is 1 x 1 of norms 3 and 1; two words more cost exp(-4/72)."""
    references = {0: [["a"]], 1: [["c"]]}
    assert score({0: ["a", "a", "a"], 1: ["c"]}, references)[0] == pytest.approx(10 * (1 / 3) * math.exp(-4 / 72) / 4)


def test_cider_by_hand_weighs_what_every_image_has_as_nothing():
    """`a` occurs with both images, so only `b` and `c` are left; saying `a` is worth nothing."""
    references = {0: [["a"], ["b"]], 1: [["a"], ["c"]]}
    assert score({0: ["a"], 1: ["c"]}, references) == pytest.approx({0: 0.0, 1: 10 * 1 / 4 / 2})


def test_cider_counts_an_image_once_for_all_its_references():
    frequencies = document_frequencies([[["a", "b"], ["a", "a"]], [["a"]]])
    assert (frequencies.num_images, frequencies.counts[("a",)], frequencies.counts[("a", "a")]) == (2, 2, 1)


def test_caption_words_are_lower_case_without_punctuation():
    assert caption_words("Two men's T-shirts, on a well-lit (red) table.") == [
        "two",
        "men's",
        "t-shirts",
        "on",
        "a",
        "well-lit",
        "red",
        "table",
    ]
    assert caption_words(" ...  ") == []


REFUSED = {
    "nothing": ({}, {}, "no candidates"),
    "id without references": ({0: ["a"], 1: ["b"]}, {0: [["a"]]}, "1 of 2 candidates have no references, such as 1: the ids must match"),
    "id without candidate": ({0: ["a"]}, {0: [["a"]], "x": [["b"]]}, "1 of 2 images have no candidate, such as 'x': the ids must match"),
    "no reference": ({0: ["a"]}, {0: []}, "image 0 has no references: at least one caption"),
    "reference without words": ({0: ["a"]}, {0: [["a"], []]}, "image 0: reference 2 has no words: leave it out"),
    "candidate as text": ({0: "a dog"}, {0: [["a"]]}, "image 0: 'a dog' is text; captions are sequences of words"),
    "reference as text": ({0: ["a"]}, {0: ["a dog"]}, "image 0: 'a dog' is text"),
    "references as text": ({0: ["a"]}, {0: "a dog"}, "image 0: 'a dog' is text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_cider_refuses_in_words(case):
    candidates, references, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        cider_d(candidates, references=references, frequencies=document_frequencies([[["a"]], [["b"]]]))


@pytest.mark.parametrize(("references", "found"), [([], "0 images"), ([[["a"]]], "1 image:")])
def test_document_frequencies_of_fewer_than_two_images_are_refused(references, found):
    with pytest.raises(ValueError, match=found):
        document_frequencies(references)
