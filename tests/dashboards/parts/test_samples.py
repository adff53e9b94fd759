"""Samples on a trial's page: what stands on a card, what is chosen, and what stands there where none are."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ablate.errors import InputError
from ablate.samples import Picture, Samples
from ablate.workspace import Workspace
from dashboards.address import href
from dashboards.pages import find_page
from dashboards.parts import samples
from dashboards.reader import Reader
from tests.dashboards.conftest import by_id, parts, text
from tests.dashboards.filled import EVIL, LIVE, Writer


def png(size: tuple[int, int]) -> str:
    stream = io.BytesIO()
    Image.new("L", size, 100).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


LINES: list[dict[str, Any]] = [
    {
        "task": "vqa",
        "shots": 0,
        "prompt": f"{EVIL}?",
        "expected": ["7", "seven"],
        "answer": EVIL,
        "correct": False,
        "images": [png((8, 8))],
    },
    {"task": "vqa", "shots": 0, "prompt": "next?", "expected": "1", "answer": "1", "correct": True, "images": [png((80, 40)), png((8, 8))]},
    {"task": "vqa", "shots": 1, "prompt": "next?", "expected": "1", "answer": "", "correct": 0.3, "images": ["../../x.png"]},
    {"task": "caption", "prompt": "say", "expected": "a", "answer": "b"},
]


def write_samples(workspace: Workspace, job: str, lines: list[Any]) -> None:
    (workspace.artifacts / job).mkdir(exist_ok=True)
    (workspace.artifacts / job / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """The first trial of `live` is done and has samples, the second has none, the third waits."""
    workspace = Workspace(tmp_path_factory.mktemp("sampled"))
    Writer(LIVE, workspace=workspace).finish(2).store.close()
    reader = Reader(workspace.store_url, workspace=workspace)
    write_samples(workspace, reader.snapshot("live").trials[0].chain[-1], [*LINES, "nothing"])
    return reader


def found_of(reader: Reader) -> Samples:
    found = samples.found_samples(reader, reader.snapshot("live").trials[0])
    assert found is not None
    return found


def test_card_has_picture_question_and_answers_and_says_in_words_what_is_right(sampled: Reader) -> None:
    wrong, right, partly, unjudged = map(samples.sample_card, found_of(sampled).found)
    for said in (f"{EVIL}?", "7 | seven", f"Answer {EVIL}", "✗ wrong"):
        assert said in text(wrong)
    assert "✓ right" in text(right)
    assert "30% right" in text(partly)
    assert "(nothing)" in text(partly)
    assert "not judged" in text(unjudged)
    first, second = (part for part in parts(right) if part._type == "Img")
    assert (first.src, first.className, first.alt) == (png((80, 40)), "", "picture 1 of 2, 80 × 40 px")
    assert (first.width, first.height) == ("50", "25"), "a shot's picture"
    assert (second.className, second.alt) == ("enlarged", "picture 2 of 2, 8 × 8 px")
    assert (second.width, second.height) == ("160", "160"), "what is asked about"
    assert not [part for part in parts(partly) if part._type == "Img"], "a picture outside the artefact"


@pytest.mark.parametrize(
    ("size", "shown"),
    [((16, 16), (160, 160)), ((14, 28), (70, 140)), ((100, 90), (100, 90)), ((320, 160), (160, 80)), ((4000, 3), (160, 1))],
)
def test_pictures_grow_by_whole_pixels_and_keep_their_aspect(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert samples.shown_size(Picture("", *size), room=160) == shown


def test_cards_stand_by_task_and_shots_and_one_task_can_be_chosen(sampled: Reader) -> None:
    trial, found = sampled.snapshot("live").trials[0], found_of(sampled)
    assert samples.task_options(found) == ["all tasks", "vqa", "caption"]
    every = samples.samples_part(sampled, trial, found=found, task="all tasks")
    assert [text(part) for part in parts(every) if part._type == "H3"] == ["vqa, 0 shots", "vqa, 1 shot", "caption"]
    one = samples.samples_part(sampled, trial, found=found, task="caption")
    assert sum(part._type == "Article" for part in parts(one)) == 1
    assert "1 line of the file is no sample. 1 picture left out" in text(every)
    for task in ("nothing", None, ["vqa"], 3):
        with pytest.raises(InputError, match="there: all tasks, vqa, caption"):
            samples.samples_part(sampled, trial, found=found, task=task)


def test_trial_without_samples_says_what_writes_some(sampled: Reader, reader: Reader) -> None:
    trials = sampled.snapshot("live").trials
    for trial, said in ((trials[1], "left a samples.jsonl"), (trials[2], "No samples yet")):
        shown = text(samples.samples_part(sampled, trial, found=None, task="all tasks"))
        assert said in shown
        assert "docs/study-format.md" in shown
    assert "--workspace" in text(samples.samples_part(reader, trials[0], found=None, task="all tasks"))


def test_chosen_task_is_that_of_the_address(sampled: Reader) -> None:
    def chosen(task: str) -> Any:
        page, names = find_page(href("trial", "live", sampled.snapshot("live").trials[0].id))
        return by_id(page.layout(sampled, names=names, query={"samples": [task]}), "trial-samples").value

    assert (chosen("caption"), chosen(EVIL)) == ("caption", "all tasks")


def test_link_out_of_the_workspace_is_refused(sampled: Reader, tmp_path: Path) -> None:
    assert sampled.workspace
    trial = sampled.snapshot("live").trials[1]
    (tmp_path / "samples.jsonl").write_text("{}")
    link = sampled.workspace.artifacts / trial.chain[-1] / "samples.jsonl"
    link.symlink_to(tmp_path / "samples.jsonl")
    with pytest.raises(InputError, match="outside the workspace"):
        samples.found_samples(sampled, trial)
    page, names = find_page(href("trial", "live", trial.id))
    assert by_id(page.layout(sampled, names=names, query={}), "trial-samples").options == ["all tasks"], "the rest of the page is there"
    link.unlink()
