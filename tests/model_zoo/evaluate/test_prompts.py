"""What a model is shown, and what a prompt refuses."""

import pytest

from model_zoo.evaluate.prompts import CAPTIONING, VQA, Prompt, Query, Shot, prompt

SETTINGS = {"separator": "\n", "image_mark": "<image>"}


def test_prompt_without_shots_is_the_template_alone():
    assert prompt(Query(7), template=CAPTIONING, shots=[], **SETTINGS) == Prompt("<image> A photo of", (7,))
    asked = prompt(Query(7, "What is it?"), template=VQA, shots=[], **SETTINGS)
    assert asked == Prompt("<image> Question: What is it? Short answer:", (7,))


def test_prompt_with_shots_has_each_picture_before_its_answer():
    shots = [Shot(Query("cat.png", "Who?"), "a cat "), Shot(Query("dog.png", "What {IMAGE} is red?"), "the ball")]
    text = (
        "<image> Question: Who? Short answer: a cat\n"
        "<image> Question: What {IMAGE} is red? Short answer: the ball\n"
        "<image> Question: How many? Short answer:"
    )
    asked = prompt(Query("two.png", "How many?"), template=VQA, shots=shots, **SETTINGS)
    assert asked == Prompt(text, ("cat.png", "dog.png", "two.png"))


def test_prompt_has_as_many_marks_as_pictures():
    for count in (0, 4, 8):
        asked = prompt(Query(count), template=CAPTIONING, shots=[Shot(Query(i), f"picture {i}") for i in range(count)], **SETTINGS)
        assert asked.text.count("<image>") == len(asked.images) == count + 1
        assert asked.images == tuple(range(count + 1))


REFUSED = {
    "no question": (Query(0), VQA, [], "found no question for .* needs one"),
    "a question too many": (Query(0, "Who?"), CAPTIONING, [], "found 'Who\\?' for .* asks none"),
    "a shot without its question": (Query(0, "Who?"), VQA, [Shot(Query(1), "she")], "found no question"),
    "a mark in a question": (Query(0, "What is <image>?"), VQA, [], "holds the image mark <image>"),
    "a mark in an answer": (Query(0), CAPTIONING, [Shot(Query(1), "an <image>")], "'an <image>' holds the image mark"),
    "a shot without an answer": (Query(0), CAPTIONING, [Shot(Query(1), " ")], "a shot has no answer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_prompt_that_would_mislead_is_refused(case):
    query, template, shots, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        prompt(query, template=template, shots=shots, **SETTINGS)
