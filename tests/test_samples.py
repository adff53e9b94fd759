"""Samples that a trainer left: what is read, what is cut or left out, and what is refused."""

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ablate import samples
from ablate.errors import InputError
from ablate.samples import Samples, read_samples, trial_samples
from ablate.workspace import Workspace

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path / "work")
    found.create()
    return found


def picture(kind: str = "PNG", *, size: tuple[int, int] = (3, 2)) -> bytes:
    stream = io.BytesIO()
    Image.new("L", size, 100).save(stream, kind)
    return stream.getvalue()


def uri(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def sample(**changes: Any) -> dict[str, Any]:
    return {"task": "vqa", "shots": 4, "prompt": "what?", "expected": "7", "answer": "7", "correct": True, "images": []} | changes


def write(workspace: Workspace, *lines: Any, job: str = "train-1") -> Path:
    folder = workspace.artifacts / job
    folder.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "samples.jsonl").write_text("\n".join(texts), encoding="utf-8")
    return folder


def read(workspace: Workspace) -> Samples:
    found = read_samples(workspace, "train-1")
    assert found is not None
    return found


def test_samples_are_read_as_they_were_written(workspace: Workspace) -> None:
    folder = write(
        workspace,
        sample(images=[uri(picture())]),
        {"task": "caption", "prompt": "say", "expected": ["a", "b"], "answer": "", "images": ["shots/one.jpg"], "more": 1},
        sample(correct=0.25),
        sample(correct=False),
    )
    (folder / "shots").mkdir()
    (folder / "shots" / "one.jpg").write_bytes(picture("JPEG"))
    found = read(workspace)
    assert (found.job, found.skipped_lines, found.skipped_images, found.whole) == ("train-1", 0, 0, True)
    first, second, third, fourth = found.found
    assert (first.task, first.shots, first.prompt, first.expected, first.answer, first.correct) == ("vqa", 4, "what?", ("7",), "7", 1.0)
    assert first.images == (samples.Picture(uri(picture()), 3, 2),)
    assert (second.shots, second.expected, second.correct) == (None, ("a", "b"), None)
    assert second.images[0].uri == uri(picture("JPEG"), "jpeg")
    assert (third.correct, fourth.correct) == (0.25, 0.0)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        "[" * 5000,
        '{"task": "\\ud800"}',
        json.dumps(sample(task=3)),
        json.dumps(sample(prompt=None)),
        json.dumps(sample(expected=[1])),
        json.dumps(sample(correct="yes")),
        json.dumps(sample(correct=1.5)),
        json.dumps(sample(correct=float("nan"))),
        json.dumps(sample(shots=-1)),
        json.dumps(sample(shots=True)),
        json.dumps(sample(images="x.png")),
    ],
)
def test_lines_that_are_no_samples_are_left_out_and_counted(workspace: Workspace, line: str) -> None:
    write(workspace, line, sample(), "")
    found = read(workspace)
    assert (len(found.found), found.skipped_lines) == (1, 1)


def test_bytes_that_are_no_text_are_left_out(workspace: Workspace) -> None:
    folder = write(workspace)
    (folder / "samples.jsonl").write_bytes(b"\xff\xfe\x00\n" + json.dumps(sample()).encode())
    assert (len(read(workspace).found), read(workspace).skipped_lines) == (1, 1)


def test_text_stays_text_and_is_cut(workspace: Workspace) -> None:
    write(workspace, sample(answer=EVIL, prompt="x" * 9_000 + "end", task="\x1b[31m"))
    (found,) = read(workspace).found
    assert (found.answer, found.task) == (EVIL, "\\x1b[31m")
    assert len(found.prompt) == samples.MOST_TEXT + 1
    assert found.prompt.endswith("end")


@pytest.mark.parametrize(
    "name",
    [
        "../../outside.png",
        "../other/outside.png",
        "{tmp}/outside.png",
        "link.png",
        "folder",
        "pipe",
        "",
        "no.png",
        "a\0b.png",
        "n" * 5000,
        "http://example.org/x.png",
        "samples.jsonl",
        "animation.gif",
        uri(picture("GIF"), "gif"),
        uri(picture("GIF"), "png"),
        uri(b"<svg onload='alert(1)'/>", "svg+xml"),
        uri(b"<svg onload='alert(1)'/>"),
        "data:image/png;base64,???",
        "data:image/png;base64,",
        "data:text/html;base64,PGI+",
        uri(picture(size=(3000, 1))),
        uri(picture()[:-30] + b"\0" * 600_000),
        "javascript:alert(1)",
        EVIL,
    ],
)
def test_pictures_are_small_png_or_jpeg_of_the_artefact(workspace: Workspace, tmp_path: Path, name: str) -> None:
    folder = write(workspace, sample(images=[name.format(tmp=tmp_path), uri(picture())]))
    outside, other = tmp_path / "outside.png", workspace.artifacts / "other"
    other.mkdir()
    for path in (outside, other / "outside.png"):
        path.write_bytes(picture())
    (folder / "animation.gif").write_bytes(picture("GIF"))
    (folder / "link.png").symlink_to(outside)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    found = read(workspace)
    assert [each.uri for each in found.found[0].images] == [uri(picture())]
    assert found.skipped_images == 1


def test_more_than_a_page_can_show_is_cut(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write(workspace, *[sample(answer=str(number)) for number in range(samples.MOST_SAMPLES + 1)])
    found = read(workspace)
    assert (len(found.found), found.whole) == (samples.MOST_SAMPLES, False)
    write(workspace, sample(images=[uri(picture(size=(number, 1))) for number in range(1, 20)]))
    found = read(workspace)
    assert [each.width for each in found.found[0].images] == list(range(4, 20)), "the last ones"
    assert found.skipped_images == 3
    write(workspace, *[sample()] * 3)
    line = len(json.dumps(sample())) + 1
    monkeypatch.setattr(samples, "MOST_BYTES", 2 * line + 5)
    found = read(workspace)
    assert (len(found.found), found.skipped_lines, found.whole) == (2, 0, False)


def test_pictures_share_one_budget(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(workspace, *[sample(images=["one.jpg"])] * 3)
    (folder / "one.jpg").write_bytes(picture("JPEG"))
    one = len(uri(picture("JPEG"), "jpeg"))
    assert one > (folder / "samples.jsonl").stat().st_size
    monkeypatch.setattr(samples, "MOST_BYTES", 2 * one + 1)
    found = read(workspace)
    assert [len(each.images) for each in found.found] == [1, 1, 0]
    assert found.skipped_images == 1


@pytest.mark.parametrize("job", ["../../outside", "train-1"])
def test_file_outside_the_workspace_is_refused(workspace: Workspace, tmp_path: Path, job: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "samples.jsonl").write_text(json.dumps(sample()))
    (workspace.artifacts / "train-1").symlink_to(outside)
    with pytest.raises(InputError, match="outside the workspace"):
        read_samples(workspace, job)


def test_samples_are_those_of_the_last_job_that_left_some(workspace: Workspace) -> None:
    assert trial_samples(workspace, ["a", "b"]) is None
    write(workspace, sample(), job="a")
    (workspace.artifacts / "b").mkdir()
    found = trial_samples(workspace, ["a", "b"])
    assert found is not None
    assert found.job == "a"
    write(workspace, "", job="b")
    assert trial_samples(workspace, ["a", "b"]) == Samples("b", (), 0, 0, True)
