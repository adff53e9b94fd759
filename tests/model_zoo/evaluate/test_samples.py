"""Samples of a model whose answers are known, on scenes whose digits are known."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from ablate.samples import read_samples
from ablate.workspace import Workspace
from model_zoo.config import Eval
from model_zoo.data.pictures import PIXEL_MEAN, PIXEL_SD
from model_zoo.data.vocabulary import SIZE
from model_zoo.evaluate.held_out import caption_task, held_out_pool, label_task, question_task
from model_zoo.evaluate.samples import Sample, jpeg, write_samples
from model_zoo.evaluate.scores import score_tasks

KEPT = (0, 5, 10, 15)
"""Documents."""


def samples_of(task, documents, monkeypatch, *, wrong_at=()) -> list[Sample]:
    """Of a model that is right everywhere but at these answers."""
    right = torch.from_numpy(documents.targets[documents.targets >= 0].reshape(len(documents.targets), -1)).clone()
    right[:, list(wrong_at)] = (right[:, list(wrong_at)] + 1) % 10
    oracle = torch.nn.functional.one_hot(right, SIZE).float()
    monkeypatch.setattr("model_zoo.evaluate.scores.answer", lambda *_, **__: oracle)
    monkeypatch.setattr("model_zoo.evaluate.captions.answer", lambda _, read, **__: oracle[: len(read.tokens)])
    evaluation = Eval(tasks=[task], num_documents=len(documents.tokens))
    return list(score_tasks(None, evaluation=evaluation, pool=pool(), features=torch.zeros(1), num_tokens=4).samples)


def pool():
    return held_out_pool(image_size=16)


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def shown(number: int) -> np.ndarray:
    """Picture of that number, 0 to 255."""
    return np.rint((pool().pixels[number].numpy() * PIXEL_SD + PIXEL_MEAN).clip(0, 1) * 255)


def test_captions_are_those_of_the_scenes_that_are_shown(monkeypatch):
    documents = caption_task(pool(), number=20, num_tokens=4)
    found = samples_of("caption", documents, monkeypatch, wrong_at=[1])  # the second digit of the first picture
    assert [(each.task, each.shots) for each in found] == [("caption", shots) for shots in (0, 4, 8) for _ in KEPT]
    for each, (shots, document) in zip(found, [(shots, document) for shots in (0, 4, 8) for document in KEPT], strict=True):
        scenes = documents.pictures[document, : shots + 1]
        captions = [" ".join(map(str, pool().scenes[scene])) for scene in scenes]
        assert each.prompt.split("\n") == [*(f"<image> caption: {caption}" for caption in captions[:-1]), "<image> caption:"]
        assert each.expected == (captions[-1],)
        assert (each.answer == captions[-1]) == (shots > 0)
        assert each.correct == (1.0 if shots else 0.75)
        assert len(each.images) == 1
        assert np.array_equal(pixels(each.images[0]), shown(scenes[-1]))


def test_questions_name_the_place_whose_digit_is_right(monkeypatch):
    documents = question_task(pool(), number=16, num_tokens=4)
    found = samples_of("vqa", documents, monkeypatch, wrong_at=[0])
    places = ["top left:", "top right:", "bottom left:", "bottom right:"]
    for each, (shots, document) in zip(found, [(shots, document) for shots in (0, 4, 8) for document in KEPT], strict=True):
        mark, asked = each.prompt.split("\n")[-1].split(" digit ")
        digit = pool().scenes[documents.pictures[document, shots]][places.index(asked)]
        assert (mark, each.expected) == ("<image>", (str(digit),))
        assert (each.answer == str(digit), each.correct) == (shots > 0, float(shots > 0))


def test_labels_come_with_the_pictures_that_define_them(monkeypatch):
    documents = label_task(pool(), number=16, num_tokens=4)
    found = samples_of("in_context", documents, monkeypatch)
    for each in found:
        lines = each.prompt.split("\n")
        assert len(lines) == len(each.images) == each.shots + 1
        assert (lines[-1], each.answer, each.correct) == ("<image>", each.expected[0], 1.0)
        assert not each.shots or each.expected[0] in {line.removeprefix("<image> ") for line in lines[:-1]}
    assert len({each.images[-1] for each in found if each.shots == 0}) == 4, "no two about one set of pictures"


def test_fewer_documents_than_are_kept_are_all_there_are(monkeypatch):
    found = samples_of("vqa", question_task(pool(), number=4, num_tokens=4), monkeypatch)
    assert [each.shots for each in found] == [0, 4, 8]


def test_what_the_zoo_writes_is_what_a_page_reads(monkeypatch, tmp_path):
    documents = label_task(pool(), number=16, num_tokens=4)
    written, workspace = samples_of("in_context", documents, monkeypatch), Workspace(tmp_path)
    (workspace.artifacts / "pretrain-1").mkdir(parents=True)
    path = workspace.artifacts / "pretrain-1" / "samples.jsonl"
    write_samples(written, path)
    read = read_samples(workspace, "pretrain-1")
    assert (len(read.found), read.skipped_lines, read.skipped_images, read.whole) == (12, 0, 0, True)
    for one, other in zip(read.found, written, strict=True):
        assert (one.task, one.shots, one.prompt, one.expected, one.answer, one.correct) == other[:6]
        assert tuple(image.uri for image in one.images) == other.images
        assert {(image.width, image.height) for image in one.images} == {(16, 16)}
    assert path.stat().st_size < 40_000


def test_trial_without_samples_has_no_file(tmp_path):
    write_samples([], tmp_path / "samples.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("side", "kept"), [(8, 8), (448, 224)])
def test_picture_of_a_file_is_as_the_model_saw_it_and_not_large(side, kept):
    grey = np.zeros((3, side, side), np.float32)  # half of 255, after the normalisation of files
    found = pixels(jpeg(grey))
    assert found.shape == (kept, kept, 3)
    assert abs(found.mean() - 127.5) < 1
