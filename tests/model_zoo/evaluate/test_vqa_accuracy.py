"""The accuracy of VQA against the benchmark's toolkit."""

import pytest

from model_zoo.evaluate.vqa_accuracy import normalise, vqa_accuracy

TOOLKIT_ACCURACY = {0: 0.0, 1: 0.3, 2: 0.6, 3: 0.9, 4: 1.0, 9: 1.0}
"""People among ten who gave the answer -> accuracy by vqaEval.py of github.com/GT-Vision-Lab/VQA at commit a013f00, its prints made
Python 3's; normalised answers below are of the same run."""
TOOLKIT_WORDS = {
    "Yes.": "yes",
    "the Two dogs": "2 dogs",
    "dont know": "don't know",
    "yall'll": "y'all'll",
    "girl's": "girl's",
    "2:50 pm": "2:50 pm",
    "3.5": "3.5",
    "U.S.A.": "usa",
    "100,978": "100978",
    "1,000 (men)": "1000 men",
    "t-shirt": "t shirt",
    "black / white": "black white",
    "none": "0",
    "  an\tapple\n": "apple",
    "": "",
}


@pytest.mark.parametrize("written", TOOLKIT_WORDS)
def test_normalise_equals_the_toolkits(written):
    assert normalise(written) == TOOLKIT_WORDS[written]


@pytest.mark.parametrize("agreeing", TOOLKIT_ACCURACY)
def test_accuracy_equals_the_toolkits(agreeing):
    humans = ["yes"] * agreeing + ["no"] * (10 - agreeing)
    assert vqa_accuracy("yes", human_answers=humans) == pytest.approx(TOOLKIT_ACCURACY[agreeing])


def test_accuracy_normalises_both_sides_even_where_all_people_agree():
    assert vqa_accuracy("The two.", human_answers=["2"] * 10) == 1.0
    assert vqa_accuracy("2", human_answers=["Two!"] * 10) == 1.0


@pytest.mark.parametrize("number", [0, 3, 11])
def test_accuracy_without_ten_answers_is_refused(number):
    with pytest.raises(ValueError, match=f"found {number} human answers; .* over 10"):
        vqa_accuracy("yes", human_answers=["yes"] * number)
