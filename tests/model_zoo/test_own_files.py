"""Trials on files of one's own: small shards and tables, made here, of every kind the zoo reads."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from ablate.design import make_arms
from ablate.load import load_study
from ablate.planner import make_plan
from model_zoo import flops, train, trainable
from model_zoo.config import Config
from model_zoo.data.files import RunDry, SourceError
from model_zoo.own_files import OwnFiles
from tests.model_zoo.conftest import run, weights
from tests.model_zoo.data.test_files import picture, write_shard, write_texts

GUIDE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
COLOURS = {"black": 0, "grey": 120, "white": 255}


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pairs = [(name, value) for name, value in COLOURS.items()] * 20
    for part in ("train", "held_out"):
        write_shard(tmp_path / f"{part}.tar", [{"png": picture(value), "txt": name.encode()} for name, value in pairs])
        pages = [{"images": [None, {"bytes": picture(value), "path": None}, None], "texts": ["see", None, name]} for name, value in pairs]
        pd.DataFrame(pages).to_parquet(tmp_path / f"{part}.parquet")
        write_texts(tmp_path / f"{part}.jsonl", ["abcdefgh"[start:] for start in range(5)] * 10)


def source(suffix: str) -> dict[str, list[str]]:
    return {"train": [f"train{suffix}"], "held_out": [f"held_out{suffix}"]}


def config(*, steps: int = 3, mix: str = "1:1:1", **parts: Any) -> Config:
    files = {"caption": source(".tar"), "interleaved": source(".parquet"), "text": source(".jsonl"), "max_tokens": 48, "epochs": 50}
    settings: dict[str, Any] = {
        "encoder": {"patch_size": 4, "image_size": 8, "width": 8, "depth": 1, "training": "full", "pretrain": {"objective": "none"}},
        "connector": {"num_tokens": 1},
        "decoder": {"width": 16, "depth": 1},
        "data": {"mix": mix, "files": files},
        "train": {"steps": steps, "rows_per_step": 3, "warmup_steps": 1, "learning_rate": 5e-3},
        "eval": {"tasks": [], "num_validations": 2, "validation_documents": 20},
    }
    for part, fields in parts.items():
        settings[part] = settings[part] | fields
    return Config.model_validate(settings)


def with_files(**changes: Any) -> Config:
    return config(data={"mix": "1:1:1", "files": config().data.files.model_dump(mode="json") | changes})  # type: ignore[union-attr]


def test_trial_on_files_reads_all_sources_and_is_measured_on_what_it_never_read(make_worker):
    worker = run(config(), make_worker)
    assert set(worker.last) == {"train_loss", "val_loss", "skipped_rows", "tokens"}
    assert worker.last["skipped_rows"] == 0
    assert math.isfinite(worker.last["val_loss"])
    assert weights(worker)["decoder.embedding.weight"].shape == (258, 16)


def test_trial_on_files_learns_what_its_images_show(make_worker):
    """The caption follows from the colour alone, so only a model that sees gets under the entropy of three captions, ln 3."""
    data = {"mix": "1:0:0", "files": {"caption": source(".tar"), "max_tokens": 48, "epochs": 50}}
    learnt = run(config(data=data, train={"steps": 150, "rows_per_step": 1, "warmup_steps": 5}), make_worker)
    letters = len("black") + len("grey") + len("white") + 3  # with the ends
    assert learnt.last["val_loss"] < 0.3 * math.log(3) * 3 / letters


@pytest.mark.parametrize("training", ["frozen", "full"])
def test_trial_on_files_that_was_stopped_ends_with_the_same_bits(training, make_worker, monkeypatch):
    monkeypatch.setattr(train, "REPORT_EVERY", 2)
    whole = config(steps=6, encoder={"training": training}, train={"steps": 6, "accumulate": 2})
    calm = run(whole, make_worker, name="calm")
    (stage,) = trainable.stages(whole)
    first = make_worker("first", stop_after=1)
    trainable.train(stage, {}, first)
    assert first.kept
    second = make_worker("second")
    second.kept = first.kept
    trainable.train(stage, {}, second)
    assert second.points == [point for point in calm.points if point[0] > 2]
    assert all(tensor.equal(weights(second)[name]) for name, tensor in weights(calm).items())


def test_files_are_fine_tuned_on_as_sub_images_of_other_files(make_worker):
    """A picture of two tiles a side is read as five images, each of one token."""
    pretrained = config()
    assert pretrained.data.files
    only_captions = {"mix": "1:0:0", "files": {"caption": source(".tar"), "max_tokens": 48, "epochs": 50}}
    sft = {"encoder": {"tiles": 2}, "data": only_captions, "train": {"steps": 2, "warmup_steps": 1, "rows_per_step": 1}}
    whole = Config.model_validate({**pretrained.model_dump(mode="json"), "sft": sft})
    worker = run(whole, make_worker)
    assert worker.dir.name.endswith("sft")
    assert math.isfinite(worker.last["val_loss"])
    (batch, pixels), *_ = OwnFiles(whole.for_sft(), seed=0, device="cpu").read(0)
    assert pixels.shape[1:] == (1, 16, 16)
    assert int((batch.tokens == 257).sum()) == 5 * len(pixels)


def test_two_arms_of_a_seed_read_the_same_documents_of_a_source(make_worker):
    one, other = (OwnFiles(config(mix=mix), seed=1, device="cpu") for mix in ("1:1:1", "1:0:1"))
    texts = [[document.tokens.tolist() for _ in range(20) for document in next(world._packers["text"])] for world in (one, other)]
    assert texts[0] == texts[1]
    another = OwnFiles(config(), seed=2, device="cpu")
    assert texts[0] != [document.tokens.tolist() for _ in range(20) for document in next(another._packers["text"])]


def test_tokenizer_of_a_file_is_used_and_its_size_checked(tmp_path, make_worker):
    words = Tokenizer(WordLevel({"[UNK]": 0, "</s>": 1, "black": 2, "see": 3}, unk_token="[UNK]"))  # noqa: S106
    words.pre_tokenizer = Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    path = str(tmp_path / "tokenizer.json")
    worker = run(with_files(tokenizer=path, vocabulary_size=5), make_worker)
    assert weights(worker)["decoder.embedding.weight"].shape == (5, 16)
    with pytest.raises(SourceError, match="has 5 tokens with the image's: set vocabulary_size to that"):
        run(with_files(tokenizer=path, vocabulary_size=9), make_worker, name="other")
    with pytest.raises(SourceError, match=re.escape("has no token '<end>': name the one that ends its documents as end_token")):
        run(with_files(tokenizer=path, vocabulary_size=5, end_token="<end>"), make_worker, name="third")  # noqa: S106
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    with pytest.raises(SourceError, match=r"is no tokenizer\.json"):
        run(with_files(tokenizer=str(tmp_path / "broken.json")), make_worker, name="fourth")


def test_bad_rows_are_counted_once_an_epoch_and_those_held_out_too(tmp_path, make_worker):
    write_texts(tmp_path / "train.jsonl", ["a" * 40, ""])
    write_texts(tmp_path / "held_out.jsonl", ["good"] * 3 + [None] * 2)
    files = {"text": source(".jsonl"), "max_tokens": 48, "epochs": 50, "max_bad_share": 1}
    alone = config(data={"mix": "0:0:1", "files": files}, train={"steps": 5, "rows_per_step": 1, "warmup_steps": 1})
    world = OwnFiles(alone, seed=0, device="cpu")
    assert world._num_bad_before == 2
    for step in range(5):
        world.read(step)
    assert world._num_bad in (5, 6)  # one in each epoch, and five sequences need the document of a sixth to be full
    worker = run(alone, make_worker)
    assert worker.last["skipped_rows"] == 2 + world._num_bad


def test_source_that_reads_files_of_another_form_ends_the_trial_before_it_trains(make_worker):
    pages = {"train": ["train.jsonl"], "held_out": ["held_out.parquet"]}
    why = r"source data\.files\.text\.held_out: 60 of 60 rows were bad, most often: no text; it has 'texts' and 'images'"
    with pytest.raises(SourceError, match=why):
        run(with_files(text=pages), make_worker)


def test_held_out_files_are_named_as_such(tmp_path, make_worker):
    with pytest.raises(SourceError, match=r"source data\.files\.text\.held_out: no file matches none\.jsonl"):
        run(with_files(text=source(".jsonl") | {"held_out": ["none.jsonl"]}), make_worker)
    with pytest.raises(SourceError, match=r"source data\.files\.text\.train: no file matches none\.jsonl"):
        run(with_files(text=source(".jsonl") | {"train": ["none.jsonl"]}), make_worker, name="other")


def test_source_that_runs_dry_ends_the_trial_with_what_to_do(make_worker):
    with pytest.raises(RunDry, match=r"source data\.files\.\w+\.train has run dry after \d+ rows of 1 file, 1 time over: lower its"):
        run(
            config(
                steps=100, train={"steps": 100}, data={"mix": "1:1:1", "files": with_files(epochs=1).data.files.model_dump(mode="json")}
            ),  # type: ignore[union-attr]
            make_worker,
        )


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"eval": {"tasks": ["caption"]}}, "eval.tasks and eval.latency ask about digit scenes"),
        ({"encoder": {"pretrain": {"objective": "contrastive"}}}, "the encoder stage and cached features are of digit scenes"),
        ({"connector": {"num_tokens": 4}, "data": {"files": {"caption": source(".tar"), "max_tokens": 3}, "mix": "1:0:0"}}, "at most 3"),
        ({"data": {"files": {"text": source(".jsonl")}, "mix": "1:0:1"}}, "no files for caption, which the mix has a share of"),
        ({"data": {"files": {"text": source(".tar")}, "mix": "0:0:1"}}, "'train.tar' ends in none of .parquet, .jsonl"),
        ({"data": {"files": {"text": {"train": [], "held_out": ["a.jsonl"]}}, "mix": "0:0:1"}}, "at least 1 item"),
    ],
)
def test_config_that_cannot_be_is_refused_while_planning(parts, why):
    with pytest.raises(ValidationError, match=re.escape(why)):
        config(**parts)


def test_costs_of_files_are_those_of_full_sequences():
    found = config(mix="0:0:1")
    assert flops.tokens_per_step(found) == 3 * 48
    assert flops.pictures_per_step(found) == 0
    pictured = config(mix="1:0:0")
    assert flops.tokens_per_step(pictured) == 3 * 48
    assert flops.pictures_per_step(pictured) == 3 * 16
    (stage,) = trainable.stages(pictured)
    assert stage.embedding_params == 2 * 258 * 16
    assert json.loads(json.dumps(stage.config)) == stage.config


def test_config_without_files_is_the_trial_it_was():
    assert "files" not in Config().model_dump(mode="json")["data"]


def test_study_of_the_guide_is_planned(tmp_path):
    example, *_ = re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.DOTALL)
    (tmp_path / "own_data.yaml").write_text(example, encoding="utf-8")
    study = load_study(tmp_path / "own_data.yaml")
    plan = make_plan(study, make_arms(study))
    assert [job.spec.name for job in plan.jobs.values()] == ["pretrain"] * 2
