"""Scores of models whose answers are known."""

import numpy as np
import pytest
import torch

from model_zoo.build import build_model
from model_zoo.config import Eval
from model_zoo.data.documents import Documents
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.evaluate.answers import answer
from model_zoo.evaluate.captions import greedy_captions
from model_zoo.evaluate.held_out import caption_task, held_out_pool, label_task, recall_task, validation_documents
from model_zoo.evaluate.loss import validation_loss
from model_zoo.evaluate.names import score_names
from model_zoo.evaluate.scores import forced_choice, score_tasks
from model_zoo.features import encode
from model_zoo.initial import initialise


@pytest.fixture
def model(tiny):
    built = build_model(tiny, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(built, seed=0)
    return built


@pytest.fixture
def pool():
    return held_out_pool(image_size=16)


def score(model, pool, **settings):
    features = encode(model.encoder, pool, tiles=1, device="cpu")
    return score_tasks(model, evaluation=Eval(**settings), pool=pool, features=features, num_tokens=4).scores


def test_in_context_without_shots_scores_exactly_half(model, pool):
    # whatever an untrained model prefers, each picture comes once with either label
    assert score(model, pool, tasks=["in_context"], num_documents=64)["in_context/0"] == 50.0


def test_forced_choice_of_a_model_that_knows_the_labels_is_all_right(model, pool, monkeypatch):
    documents = label_task(pool, number=8, num_tokens=4)
    right = torch.from_numpy(documents.targets[documents.targets >= 0].reshape(8, 9))
    oracle = torch.nn.functional.one_hot(right, SIZE).float()
    monkeypatch.setattr("model_zoo.evaluate.scores.answer", lambda *_, **__: oracle)
    assert forced_choice(model, documents, features=torch.zeros(1)).all()
    monkeypatch.setattr("model_zoo.evaluate.scores.answer", lambda *_, **__: -oracle)
    assert not forced_choice(model, documents, features=torch.zeros(1)).any()


def test_averages_are_plain_means_of_their_tasks(model, pool):
    scores = score(model, pool, num_documents=16)
    for shots in (0, 4, 8):
        parts = [scores[f"{task}/{shots}"] for task in ("caption", "vqa", "in_context")]
        assert scores[f"few_shot/{shots}"] == pytest.approx(np.mean(parts))
    assert scores["text_score"] == pytest.approx((scores["progression_score"] + scores["recall_score"]) / 2)


@pytest.mark.parametrize("tasks", [[], ["text"], ["vqa", "in_context"], ["caption", "vqa", "in_context", "text"]])
def test_scores_are_those_asked_for_and_no_others(model, pool, tasks):
    scores = score(model, pool, tasks=tasks, num_documents=4)
    assert list(scores) == score_names(Eval(tasks=tasks))
    assert all(0 <= value <= 100 for value in scores.values())


def test_score_of_a_task_does_not_depend_on_the_other_tasks(model, pool):
    alone, together = score(model, pool, tasks=["vqa"], num_documents=8), score(model, pool, num_documents=8)
    assert alone["vqa/4"] == together["vqa/4"]


def write_word_by_word(model, documents, *, shots, features):
    """[N, 4] the slow way: all documents are read anew for each word."""
    end = documents.tokens.shape[1] // 9 * (shots + 1)
    tokens = documents.tokens[:, :end].copy()
    for word in range(4):
        read = Documents(tokens, documents.targets[:, :end], documents.pictures[:, : shots + 1])
        logits = answer(model, read, features=features)[:, 4 * shots + word]
        logits[:, IMAGE] = -torch.inf
        tokens[:, end - 4 + word] = logits.argmax(-1)
    return tokens[:, -4:]


@pytest.mark.parametrize("prefers", ["anything", "placeholders"])
@pytest.mark.parametrize("shots", [0, 4, 8])
def test_greedy_captions_are_those_of_writing_word_by_word(model, pool, shots, prefers):
    with torch.no_grad():
        model.decoder.head.weight.mul_(20.0)
        model.decoder.embedding.weight.mul_(5.0)  # what it says depends on what it said
        if prefers == "placeholders":
            model.decoder.head.weight[IMAGE] = -50 * model.decoder.head.weight[:IMAGE].mean(0)
    features = encode(model.encoder, pool, tiles=1, device="cpu")
    documents = caption_task(pool, number=32, num_tokens=4)
    logits = answer(model, documents, features=features)
    assert (logits.argmax(-1) == IMAGE).any() == (prefers == "placeholders")
    kept = documents.tokens.copy()
    slow = write_word_by_word(model, documents, shots=shots, features=features)
    assert np.array_equal(greedy_captions(model, documents, logits=logits, shots=shots, features=features), slow)
    logits[..., IMAGE] = -torch.inf
    assert (slow != logits[:, 4 * shots : 4 * shots + 4].argmax(-1).numpy()).any()  # not those after the right words
    assert np.array_equal(documents.tokens, kept)


def test_cider_of_a_model_that_knows_the_captions_is_ten(model, pool, monkeypatch):
    right = caption_task(pool, number=16, num_tokens=4).targets
    oracle = torch.nn.functional.one_hot(torch.from_numpy(right[right >= 0].reshape(16, 36)), SIZE).float()
    monkeypatch.setattr("model_zoo.evaluate.scores.answer", lambda *_, **__: oracle)
    monkeypatch.setattr("model_zoo.evaluate.captions.answer", lambda *_, **__: pytest.fail("what is right is not read again"))
    evaluation = Eval(tasks=["caption"], num_documents=16)
    scores = score_tasks(model, evaluation=evaluation, pool=pool, features=torch.zeros(1), num_tokens=4).scores
    assert scores == pytest.approx({f"{name}/{shots}": best for name, best in (("caption", 100), ("cider", 10)) for shots in (0, 4, 8)})


def test_cider_is_of_captions_the_model_writes_itself(model, pool, monkeypatch):
    """It names every digit right as long as the ones before are, and starts with a wrong one."""
    documents = caption_task(pool, number=16, num_tokens=4)
    right = torch.from_numpy(documents.targets[documents.targets >= 0].reshape(16, 36))
    logits = torch.nn.functional.one_hot(right, SIZE).float()
    logits[:, ::4] = 0
    logits[:, ::4, SIZE - 2] = 1  # no digit at all
    monkeypatch.setattr("model_zoo.evaluate.scores.answer", lambda *_, **__: logits)
    lost = torch.nn.functional.one_hot(torch.tensor(SIZE - 2), SIZE).float()
    monkeypatch.setattr("model_zoo.evaluate.captions.answer", lambda _, read, **__: lost.expand(len(read.tokens), 36, SIZE))
    evaluation = Eval(tasks=["caption"], num_documents=16)
    scores = score_tasks(model, evaluation=evaluation, pool=pool, features=torch.zeros(1), num_tokens=4).scores
    assert (scores["caption/0"], scores["cider/0"]) == (75.0, 0.0)


def test_recall_task_mostly_asks_for_keys_seen_before():
    keys = recall_task(number=100).tokens[:, ::2]
    seen = [len(set(row[:i])) < len(set(row[: i + 1])) for row in keys for i in range(16)]
    assert 0.2 < np.mean(seen) < 0.26  # 4 first sightings in 16 pairs, less the keys that never come


def test_validation_loss_of_a_model_that_says_nothing_is_that_of_guessing(model, pool):
    with torch.no_grad():
        model.decoder.head.weight.zero_()
    documents = validation_documents(pool, number=8, num_tokens=4)
    loss = validation_loss(model, documents, features=encode(model.encoder, pool, tiles=1, device="cpu"))
    assert loss == pytest.approx(np.log(SIZE), abs=1e-5)
