"""Held-out files to scores: what a trained model is asked, what it is told before, what counts, and what is refused."""

import io
import json
import math
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from ablate.load import load_study
from model_zoo import trainable
from model_zoo.config import Config, Eval
from model_zoo.data.files import SourceError
from model_zoo.data.packing import Layout
from model_zoo.data.samples import IMAGE_MARK, BadRow, Picture, Text, read_captions, read_question
from model_zoo.data.settings import Files
from model_zoo.data.tokenizer import open_tokenizer
from model_zoo.evaluate import few_shot
from model_zoo.evaluate.few_shot import Example, FewShotTask, open_few_shot, score_few_shot
from model_zoo.evaluate.generate import Asked
from model_zoo.evaluate.names import few_shot_names
from model_zoo.evaluate.settings import FewShot
from tests.model_zoo.conftest import run, weights
from tests.model_zoo.data.test_files import write_shard

COLOURS = {"black": 0, "grey": 120, "white": 255}
BYTES = open_tokenizer("bytes", end_token="")
LAYOUT = Layout(BYTES, num_tokens=1, image_size=8, num_channels=3, max_tokens=600, max_images=16)
FILES = Files()


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def shade(colour: str, number: int) -> bytes:
    """No two are the same file."""
    stream, image = io.BytesIO(), Image.new("RGB", (6, 4), (COLOURS[colour],) * 3)
    image.putpixel((0, 0), (number, 0, 0))
    image.save(stream, "PNG")
    return stream.getvalue()


def shades(first: int, *, number: int) -> list[tuple[bytes, str]]:
    names = list(COLOURS)
    return [(shade(names[n % 3], n), names[n % 3]) for n in range(first, first + number)]


def write_captions(path: Path, rows: Sequence[tuple[bytes, Any]]) -> None:
    """A shard with one caption each, or several."""
    texts = [{"txt": said.encode()} if isinstance(said, str) else {"json": json.dumps({"captions": said}).encode()} for _, said in rows]
    write_shard(path, [{"png": image, **text} for (image, _), text in zip(rows, texts, strict=True)])


def write_questions(path: Path, rows: Sequence[tuple[bytes, list[str]]], *, question: str = "Hue?") -> None:
    lines = []
    for number, (image, answers) in enumerate(rows):
        name = f"{path.stem}-{number}.png"
        (path.parent / name).write_bytes(image)
        lines.append(json.dumps({"image": name, "question": question, "answers": answers}))
    path.write_text("\n".join(lines), encoding="utf-8")


def write_all(folder: Path, *, queries: int = 12, demonstrations: int = 12) -> None:
    asked, shown = shades(100, number=queries), shades(200, number=demonstrations)
    write_captions(folder / "queries.tar", asked)
    write_captions(folder / "shown.tar", shown)
    write_questions(folder / "queries.jsonl", [(image, [colour] * 10) for image, colour in asked])
    write_questions(folder / "shown.jsonl", [(image, [colour] * 10) for image, colour in shown])


def files_of(suffix: str) -> dict[str, list[str]]:
    return {"queries": [f"queries{suffix}"], "demonstrations": [f"shown{suffix}"]}


def settings(**changes: Any) -> FewShot:
    both = {"captioning": files_of(".tar"), "vqa": files_of(".jsonl"), "num_queries": 12, "max_new_tokens": 8}
    return FewShot.model_validate(both | changes)


def config(*, asked: FewShot | None = None, **parts: Any) -> Config:
    files = {"caption": {"train": ["train.tar"], "held_out": ["train.tar"]}, "max_tokens": 600, "epochs": 400}
    written: dict[str, Any] = {
        "encoder": {"patch_size": 4, "image_size": 8, "width": 8, "depth": 1, "training": "full", "pretrain": {"objective": "none"}},
        "connector": {"num_tokens": 1},
        "decoder": {"width": 32, "depth": 1},
        "data": {"mix": "1:0:0", "files": files},
        "train": {"steps": 2, "rows_per_step": 1, "warmup_steps": 1, "learning_rate": 5e-3},
        "eval": {"tasks": [], "num_validations": 1, "validation_documents": 4, "few_shot": (asked or settings()).model_dump(mode="json")},
    }
    for part, fields in parts.items():
        written[part] = written[part] | fields
    return Config.model_validate(written)


def write_training(folder: Path) -> None:
    """Texts as the prompts have them."""
    texts = (" A photo of {}", " Question: Hue? Short answer: {}")
    write_captions(folder / "train.tar", [(image, text.format(colour)) for image, colour in shades(0, number=30) for text in texts])


def test_model_that_has_learnt_answers_right_about_pictures_it_never_saw(tmp_path, make_worker):
    write_all(tmp_path)
    write_training(tmp_path)
    files = {"caption": {"train": ["train.tar"], "held_out": ["train.tar"]}, "max_tokens": 300, "epochs": 400}
    learnt = config(asked=settings(shots=[0]), train={"steps": 100, "warmup_steps": 5}, data={"mix": "1:0:0", "files": files})
    worker = run(learnt, make_worker)
    assert worker.last["vqa_accuracy/0"] == 100
    assert worker.last["cider/0"] == 2.5, "the right word is a whole n-gram of one of four lengths"
    assert worker.last["caption_vqa_mean/0"] == (250 + 100) / 2


def test_trial_reports_every_score_it_names_and_how_it_asked(tmp_path, make_worker):
    write_all(tmp_path)
    write_training(tmp_path)
    worker = run(config(), make_worker)
    names = [f"{name}/{shots}" for name in ("cider", "vqa_accuracy", "caption_vqa_mean") for shots in (0, 4, 8)]
    assert few_shot_names(settings()) == names
    assert set(worker.last) == {"train_loss", "val_loss", "skipped_rows", "tokens", *names}
    assert set(names) <= set(trainable.METRICS)
    assert all(math.isfinite(worker.last[name]) for name in names)
    record = json.loads((worker.dir / "evaluation.json").read_text(encoding="utf-8"))
    assert record["averages"]["caption_vqa_mean/4"] == ["100 x cider/4", "vqa_accuracy/4"]
    assert record["few_shot"] == {
        "prompts": {"captioning": "{IMAGE} A photo of", "vqa": "{IMAGE} Question: {QUESTION} Short answer:"},
        "separator": "\n",
        "num_queries": 12,
    }
    again = run(config(), make_worker, name="again")
    assert again.points == worker.points


def test_scores_of_what_was_written_are_those_of_the_metrics(tmp_path, monkeypatch):
    """With a model that copies the last shot's answer."""
    write_all(tmp_path)
    prompts: list[Asked] = []

    def copy(model: Any, asked: Sequence[Asked], **rest: Any) -> list[str]:
        prompts.extend(asked)
        texts = ["".join(chr(token) if token < 256 else "#" for token in one.tokens) for one in asked]
        return [re.findall(r"(?:of|answer:) (\w+)\n", text)[-1] for text in texts]

    monkeypatch.setattr(few_shot, "generate", copy)
    asked = settings(shots=[4, 8])
    tasks = open_few_shot(asked, files=FILES, layout=LAYOUT)
    scores, samples = score_few_shot(None, tasks, settings=asked, layout=LAYOUT, see=None, device="cpu")  # type: ignore[arg-type]
    assert list(scores) == few_shot_names(asked)
    for task, name, right in zip(tasks, ("cider", "vqa_accuracy"), (2.5, 100), strict=True):
        for shots in (4, 8):
            hits = [query.answers[0] == told[shots - 1].answers[0] for query, told in zip(task.queries, task.shots, strict=True)]
            assert 0 < sum(hits) < len(hits)
            assert scores[f"{name}/{shots}"] == pytest.approx(right * sum(hits) / len(hits))
    assert scores["caption_vqa_mean/4"] == pytest.approx((100 * scores["cider/4"] + scores["vqa_accuracy/4"]) / 2)
    assert [(each.task, each.shots) for each in samples] == [(task.name, shots) for task in tasks for shots in (4, 8) for _ in range(4)]
    for number, each in enumerate(samples[8:12]):
        query, told = tasks[1].queries[number], tasks[1].shots[number][:4]
        shots_text = "".join(f"<image> Question: Hue? Short answer: {shot.answers[0]}\n" for shot in told)
        assert each.prompt == f"{shots_text}<image> Question: Hue? Short answer:"
        assert (each.answer, each.expected) == (told[-1].answers[0], query.answers[:1])
        assert each.correct == float(each.answer == each.expected[0])
    assert samples[0].correct is None, "a caption is neither right nor wrong"


def test_prompt_is_mm1s_with_a_placeholder_for_each_picture(tmp_path):
    write_all(tmp_path)
    captioning, vqa = open_few_shot(settings(), files=FILES, layout=LAYOUT)
    told = vqa.shots[0][:4]
    asked = few_shot._ask(vqa, 0, shots=4, separator="\n\n", layout=LAYOUT._replace(num_tokens=2))
    assert asked.pictures == (*(shot.picture for shot in told), vqa.queries[0].picture)
    shots = "".join(f"## Question: Hue? Short answer: {shot.answers[0]}\n\n" for shot in told)
    shown = {BYTES.image: "#"} | {byte: chr(byte) for byte in range(256)}
    assert "".join(shown[token] for token in asked.tokens) == f"{shots}## Question: Hue? Short answer:"
    alone = few_shot._ask(captioning, 3, shots=0, separator="\n", layout=LAYOUT)
    assert (BYTES.decode(alone.tokens), alone.pictures) == (" A photo of", (captioning.queries[3].picture,))


def test_shots_are_drawn_anew_for_each_query_and_never_its_own_picture(tmp_path):
    write_all(tmp_path)
    rows = shades(0, number=12)
    write_captions(tmp_path / "both.tar", rows)
    both = {"queries": ["both.tar"], "demonstrations": ["both.tar"]}
    (task,) = open_few_shot(settings(captioning=both, vqa=None), files=FILES, layout=LAYOUT)
    assert all(len(set(told)) == 8 and query not in told for query, told in zip(task.queries, task.shots, strict=True))
    assert len(set(task.shots)) == 12
    assert open_few_shot(settings(captioning=both, vqa=None), files=FILES, layout=LAYOUT) == (task,)
    (fewer,) = open_few_shot(settings(captioning=both, vqa=None, shots=[4]), files=FILES, layout=LAYOUT)
    assert fewer.queries == task.queries


def test_captions_are_lines_of_words(tmp_path):
    """A line break in one would end a shot in its middle, and one without a word cannot be likened to anything."""
    write_captions(tmp_path / "queries.tar", [(image, [f"a\n {colour}", "b"]) for image, colour in shades(0, number=4)])
    (task,) = open_few_shot(settings(vqa=None, shots=[0], num_queries=4), files=FILES, layout=LAYOUT)
    assert {query.answers for query in task.queries} == {(f"a {colour}", "b") for colour in COLOURS}
    write_captions(
        tmp_path / "queries.tar", [(image, said) for (image, _), said in zip(shades(0, number=3), ["one", "!", "two"], strict=True)]
    )
    with pytest.raises(SourceError, match="queries has 2 usable rows, and num_queries is 3"):
        open_few_shot(settings(vqa=None, shots=[0], num_queries=3), files=FILES, layout=LAYOUT)


def test_shot_has_what_most_people_said():
    assert Example(b"", "Who?", ("a", "b", "b", "a", "b")).as_shot.answer == "b"
    assert Example(b"", "", ("first", "second")).as_shot.answer == "first"


def test_captions_are_read_from_every_kind_of_file(tmp_path):
    image = shade("grey", 1)
    (tmp_path / "a.png").write_bytes(image)
    several = (Picture(image), Text("one"), Text("two"))
    said = [{"from": "human", "value": "<image>\nDescribe it."}, {"from": "gpt", "value": "one"}]
    assert read_captions({"image": "a.png", "captions": ["one", "two"]}, tmp_path) == several
    assert read_captions({"png": image, "json": {"captions": ["one", "two"]}}, tmp_path) == several
    assert read_captions({"png": image, "txt": "one"}, tmp_path) == several[:2]
    assert read_captions({"image": "a.png", "caption": "one"}, tmp_path) == several[:2]
    assert read_captions({"image": "a.png", "conversations": said}, tmp_path) == several[:2]
    question = read_question({"image": "a.png", "question": "Which?", "answers": ["one", "two"]}, tmp_path)
    assert question == (Picture(image), Text("Which?", learnt=False), Text("one"), Text("two"))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"captions": ["one"]}, "0 images, and captions are of one"),
        ({"image": "a.png"}, "no caption$"),
        ({"image": "a.png", "text": "one"}, "no caption; it has 'text', as texts do"),
        ({"image": "a.png", "captions": "one"}, "no list of captions"),
        ({"image": "a.png", "captions": ["one", " "]}, "an empty caption"),
        (
            {"image": "a.png", "conversations": [{"from": "human", "value": "<image>Which?"}, *[{"from": "gpt", "value": "A"}] * 2]},
            "2 answers",
        ),
        ({"image": "a.png", "question": "Which?"}, "no list of answers"),
        ({"image": "a.png", "question": "Which?", "answers": []}, "no list of answers"),
        ({"question": "Which?", "answers": ["one"]}, "neither bytes nor a path"),
        ({"image": "a.png", "question": None, "answers": ["one"]}, "no question"),
    ],
)
def test_row_that_cannot_be_asked_is_refused(tmp_path, row, why):
    (tmp_path / "a.png").write_bytes(shade("grey", 1))
    with pytest.raises(BadRow, match=why):
        (read_question if "question" in row else read_captions)(row, tmp_path)


def test_bad_rows_are_left_out_and_counted(tmp_path, make_worker):
    write_all(tmp_path)
    write_training(tmp_path)
    good = [(image, [colour] * 10) for image, colour in shades(100, number=12)]
    bad = [(b"no image", ["grey"] * 10), (shade("grey", 90), ["grey"] * 9), (shade("grey", 91), [f"a {IMAGE_MARK}"] * 10)]
    write_questions(tmp_path / "queries.jsonl", [*good, *bad])
    worker = run(config(asked=settings(shots=[0], num_queries=12)), make_worker)
    with pytest.raises(SourceError, match=re.escape("eval.few_shot.vqa.queries has 12 usable rows, and num_queries is 15: lower it")):
        open_few_shot(settings(num_queries=15, captioning=None), files=FILES, layout=LAYOUT)
    with pytest.raises(SourceError, match=r"add rows \(3 of 15 rows were bad, most often: "):
        open_few_shot(settings(num_queries=15, captioning=None), files=FILES, layout=LAYOUT)
    (task,) = open_few_shot(settings(num_queries=12, captioning=None, shots=[0]), files=FILES, layout=LAYOUT)
    assert worker.last["skipped_rows"] == task.num_bad


def test_few_queries_that_are_all_bad_are_said_to_be_bad(tmp_path):
    write_all(tmp_path)
    (tmp_path / "queries.jsonl").write_text('{"text": "one"}\n' * 30, encoding="utf-8")
    why = "source eval.few_shot.vqa.queries: 30 of 30 rows were bad, most often: no question; it has 'text', as texts do; the last: row "
    with pytest.raises(SourceError, match=re.escape(why)):
        open_few_shot(settings(captioning=None), files=FILES, layout=LAYOUT)


def test_more_bad_rows_than_allowed_end_the_trial_before_it_trains(tmp_path, make_worker):
    write_all(tmp_path)
    write_training(tmp_path)
    write_questions(tmp_path / "queries.jsonl", [(b"no image", ["grey"] * 10)] * 150)
    with pytest.raises(SourceError, match=r"source eval.few_shot.vqa.queries: 100 of 100 rows were bad, .* more than .*max_bad_share"):
        run(config(), make_worker)


def test_too_few_demonstrations_are_refused(tmp_path):
    write_all(tmp_path, demonstrations=7)
    why = "eval.few_shot.captioning.demonstrations has 7 usable rows about another picture than a query's, and 8 shots need as many"
    with pytest.raises(SourceError, match=re.escape(why)):
        open_few_shot(settings(), files=FILES, layout=LAYOUT)
    assert open_few_shot(settings(shots=[0, 4]), files=FILES, layout=LAYOUT)


def test_prompt_that_does_not_fit_is_refused_with_numbers(tmp_path):
    write_all(tmp_path)
    whole = open_few_shot(settings(), files=FILES, layout=LAYOUT)
    longest = max(longest_of(task) for task in whole) + 8
    assert open_few_shot(settings(), files=FILES, layout=LAYOUT._replace(max_tokens=longest)) == whole
    why = rf"vqa: the longest prompt of 8 shots has {longest - 8} tokens, and with .* of up to 8 .* max_tokens {longest - 1}: .* {longest}"
    with pytest.raises(SourceError, match=why):
        open_few_shot(settings(), files=FILES, layout=LAYOUT._replace(max_tokens=longest - 1))


def longest_of(task: FewShotTask) -> int:
    template = len(" Question: Hue? Short answer:") if task.name == "vqa" else len(" A photo of")
    told = [sum(1 + template + len(f" {shot.answers[0]}\n") for shot in shots) for shots in task.shots]
    return max(told) + 1 + template


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"captioning": None, "vqa": None}, "no files to ask about: give captioning, vqa or both"),
        ({"vqa": files_of(".tar")}, "'queries.tar' ends in none of .jsonl"),
        ({"shots": [0, 5]}, "0, 4 or 8"),
        ({"shots": []}, "at least 1 item"),
        ({"num_queries": 1}, "greater than or equal to 2"),
        ({"separator": " "}, "does not end with a line break"),
    ],
)
def test_settings_that_ask_nothing_are_refused(changes, why):
    with pytest.raises(ValidationError, match=re.escape(why)):
        settings(**changes)


def test_config_whose_prompts_cannot_fit_or_has_no_files_is_refused_while_planning():
    files = {"caption": {"train": ["train.tar"], "held_out": ["train.tar"]}, "max_tokens": 16}
    with pytest.raises(ValidationError, match=r"8 shots and a query are 9 images of 1 tokens, and an answer up to 8 more: .* at most 16"):
        config(data={"mix": "1:0:0", "files": files})
    assert config(data={"mix": "1:0:0", "files": files}, asked=settings(shots=[4]))
    with pytest.raises(ValidationError, match="ask about files and text, not about digit scenes"):
        Config.model_validate({"eval": {"few_shot": settings().model_dump(mode="json")}})


def test_config_without_it_is_the_trial_it_was():
    assert not {"few_shot", "harness"} & set(Eval().model_dump(mode="json"))
    (stage,) = trainable.stages(config(asked=settings(shots=[8, 0, 8])))
    assert stage.config["eval"]["few_shot"]["shots"] == [0, 8]
    assert json.loads(json.dumps(stage.config)) == stage.config


def test_study_may_be_about_it(tmp_path):
    base = json.loads(config().model_dump_json(exclude_defaults=True))
    study = {"schema": 1, "name": "asked", "trainer": "model_zoo", "base": base, "axes": {"decoder.depth": [1, 2]}}
    (tmp_path / "study.yaml").write_text(json.dumps(study | {"metric": {"name": "caption_vqa_mean/8", "goal": "max"}}), encoding="utf-8")
    assert load_study(tmp_path / "study.yaml").metric.name == "caption_vqa_mean/8"


def test_study_of_the_guide_may_be_measured_as_it_says(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    whole, asked = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL))
    for line in ("eval: {tasks: [], harness", asked):
        told = yaml.safe_load(next(row for row in page.splitlines() if row.startswith(line))) if isinstance(line, str) else line
        whole["base"]["eval"], whole["metric"] = told["eval"], told.get("metric", {"name": "lm_eval/hellaswag/acc_norm", "goal": "max"})
        (tmp_path / "guide.yaml").write_text(yaml.safe_dump(whole | {"name": "guide"}), encoding="utf-8")
        assert load_study(tmp_path / "guide.yaml").metric.name == whole["metric"]["name"]


def test_diverged_trial_has_no_scores(tmp_path, make_worker):
    write_all(tmp_path)
    write_training(tmp_path)
    worker = run(config(train={"learning_rate": 1e30, "steps": 1}), make_worker)
    missing = [value for _, name, value in worker.points if name in chain(few_shot_names(settings()), ("val_loss",))]
    assert len(missing) == 10
    assert all(math.isnan(value) for value in missing)
    with pytest.raises(FileNotFoundError):
        weights(worker)
