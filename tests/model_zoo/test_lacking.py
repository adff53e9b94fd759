"""What configs of the zoo name and is not here: of everything they may name, for the stages that would read it."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import ones

from model_zoo.config import Config
from model_zoo.lacking import Lack, lacks

ENCODER = {"kind": "siglip", "width": 16, "depth": 2, "num_heads": 2, "patch_size": 4, "image_size": 8, "training": "full"}
LLAMA = {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": None}
SIGLIP = {"model_type": "siglip", "vision_config": {"hidden_size": 16, "num_hidden_layers": 3, "patch_size": 4}}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ABLATE_DATA", raising=False)
    for name in ("a.tar", "b.jsonl", "tokenizer.json"):
        (tmp_path / name).write_text("{}", encoding="utf-8")


def config(*, data: dict[str, Any] | None = None, evaluation: dict[str, Any] | None = None, **parts: Any) -> Config:
    files = {"text": {"train": ["b.jsonl"], "held_out": ["b.jsonl"]}}
    plain: dict[str, Any] = {
        "encoder": {"width": 8, "training": "full", "pretrain": {"objective": "none"}},
        "connector": {"num_tokens": 1},
        "data": data or {"mix": "0:0:1", "files": files},
        "eval": {"tasks": [], **(evaluation or {})},
    }
    return Config.model_validate(plain | parts)


def checkpoint(folder: Path, record: dict[str, Any], *files: str) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(record), encoding="utf-8")
    for name in files:
        (folder / name).touch()
    return str(folder)


def lacked(found: Config) -> list[Lack]:
    return list(lacks([found])[0])


def paths(found: Config) -> list[str]:
    return [".".join(map(str, lack.path)) for lack in lacked(found)]


def test_config_that_names_what_is_there_lacks_nothing():
    assert lacks([Config(), config()]) == [(), ()]


def test_files_that_no_pattern_finds_are_named_one_by_one(tmp_path):
    files = {
        "caption": {"train": ["a.tar", "none-*.tar"], "held_out": ["no.tar"]},
        "text": {"train": ["unread.jsonl"], "held_out": ["b.jsonl", "nor.jsonl"]},
    }
    found = lacked(config(data={"mix": "1:0:0", "files": files}))
    assert [lack.path for lack in found] == [
        ("data", "files", "caption", "train", 1),
        ("data", "files", "caption", "held_out", 0),
        ("data", "files", "text", "held_out", 1),  # a source without a share is measured, and not learnt from
    ]
    assert found[0] == (
        found[0].path,
        f"no file matches none-*.tar in {tmp_path} (set ABLATE_DATA to the folder of the data)",
        ("pretrain",),
    )


def test_folder_that_a_pattern_finds_is_no_file(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    files = {"text": {"train": ["folder.jsonl"], "held_out": ["b.jsonl"]}}
    assert paths(config(data={"mix": "0:0:1", "files": files})) == ["data.files.text.train.0"]


def test_tokenizer_that_cannot_be_looked_for_is_one_that_is_not_there():
    files = {"text": {"train": ["b.jsonl"], "held_out": ["b.jsonl"]}, "tokenizer": 5000 * "x", "end_token": "w1"}
    (lack,) = lacked(config(data={"mix": "0:0:1", "files": files}))
    assert "File name too long" in lack.message


def test_files_without_a_byte_are_named_where_nothing_else_is_read_or_the_trial_would_end(tmp_path):
    for name in ("empty.jsonl", "part-0.jsonl", "part-0.tar"):
        (tmp_path / name).touch()
    for name in ("part-1.jsonl", "part-1.tar"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    files = {
        "caption": {"train": ["part-*.tar"], "held_out": ["part-1.tar"]},
        "text": {"train": ["empty.jsonl", "part-*.jsonl"], "held_out": ["b.jsonl"]},
    }
    found = lacked(config(data={"mix": "1:0:1", "files": files}))
    assert [(".".join(map(str, lack.path)), lack.message) for lack in found] == [
        ("data.files.caption.train.0", "part-0.tar is empty (0 bytes)"),
        ("data.files.text.train.0", "empty.jsonl is empty (0 bytes)"),
    ]


def test_tokenizer_that_is_not_there_is_none_or_has_another_size(tmp_path):
    def said(name: str) -> str:
        files = {"text": {"train": ["b.jsonl"], "held_out": ["b.jsonl"]}, "tokenizer": name, "end_token": "w1"}
        (lack,) = lacked(config(data={"mix": "0:0:1", "files": files}))
        assert lack.path == ("data", "files", "tokenizer")
        return lack.message

    assert said("gone.json") == f"no file 'gone.json' in {tmp_path}"
    assert said("tokenizer.json").startswith("tokenizer.json is no tokenizer.json: ")
    Tokenizer(WordLevel({"w0": 0, "w1": 1}, unk_token="w0")).save(str(tmp_path / "words.json"))  # noqa: S106
    assert said("words.json") == "tokenizer words.json has 3 tokens with the image's: set vocabulary_size to that"


def test_files_of_each_stage_are_needed_by_it():
    files = {"text": {"train": ["gone.jsonl"], "held_out": ["b.jsonl"]}}
    own = config(data={"mix": "0:0:1", "files": files}, sft={"data": {"mix": "0:0:1", "files": files}})
    assert [(lack.path[:2], lack.stages) for lack in lacked(own)] == [(("data", "files"), ("pretrain",)), (("sft", "data"), ("sft",))]
    shared = config(data={"mix": "0:0:1", "files": files}, sft={})
    assert [lack.stages for lack in lacked(shared)] == [("pretrain", "sft")]


def test_files_to_ask_about_and_the_harness_are_needed_where_they_are_asked():
    task = {"queries": ["gone.jsonl"], "demonstrations": ["none.jsonl", "b.jsonl"]}
    asked = {"few_shot": {"vqa": task}, "harness": {"scores": ["t/m"]}}
    assert paths(config(evaluation=asked))[:2] == ["eval.few_shot.vqa.queries.0", "eval.few_shot.vqa.demonstrations.0"]
    no_shots = {"few_shot": {"vqa": task, "shots": [0]}}
    assert paths(config(evaluation=no_shots)) == ["eval.few_shot.vqa.queries.0"]


def test_harness_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr("model_zoo.lacking.PROGRAM", "no_such_program")
    (lack,) = lacked(config(evaluation={"harness": {"scores": ["t/m"]}}))
    assert (lack.path, lack.message) == (("eval", "harness"), "lm-evaluation-harness is not installed: pip install 'lm_eval[hf]'")


def test_checkpoints_sizes_are_compared_without_transformers(tmp_path):
    folder = checkpoint(tmp_path / "llama", LLAMA, "model.safetensors")
    right = {"kind": "llama", "width": 16, "depth": 2, "num_heads": 2, "pretrained": folder}
    assert lacked(config(decoder=right)) == []
    (lack,) = lacked(config(decoder=right | {"width": 32, "depth": 3}))
    assert lack.path == ("decoder", "pretrained")
    assert lack.message == (
        f"{folder} does not fit decoder: its width (hidden_size) is 16, the config's 32; its depth (num_hidden_layers) is 2, the config's 3"
    )
    (lack,) = lacked(
        config(decoder=right | {"pretrained": checkpoint(tmp_path / "wordy", LLAMA | {"vocab_size": 300}, "model.safetensors")})
    )
    assert "its vocabulary is 300 tokens, and vocabulary_size 258 leaves place for 257" in lack.message
    (lack,) = lacked(config(decoder=right | {"kind": "qwen2"}))
    assert "its model_type is 'llama', and qwen2 is 'qwen2'" in lack.message


def test_weights_are_needed_by_the_stage_that_reads_them_and_the_config_by_all(tmp_path):
    def stages(folder: str, **encoder: Any) -> list[tuple[str, ...]]:
        found = Config.model_validate({"encoder": ENCODER | {"depth": 3, "pretrained": folder, **encoder}, "sft": {}})
        return [lack.stages for lack in lacked(found)]

    assert stages(str(tmp_path / "nowhere")) == [("encoder", "pretrain", "sft")]
    pickled = checkpoint(tmp_path / "pickled", SIGLIP, "pytorch_model.bin")
    assert stages(pickled) == [("encoder",)]
    assert stages(pickled, pretrain={"objective": "none"}) == [("pretrain",)]
    assert stages(pickled, pretrain={"objective": "none"}, training="frozen", features="cached") == [("features", "pretrain")]
    assert stages(checkpoint(tmp_path / "whole", SIGLIP, "model.safetensors")) == []


def test_name_on_the_hub_is_left_to_the_trial_unless_nothing_may_be_fetched(tmp_path, monkeypatch):
    from huggingface_hub import constants

    named = config(decoder={"kind": "llama", "pretrained": "some-owner/some-model"})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert lacked(named) == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    (lack,) = lacked(named)
    assert f"'some-owner/some-model' is no folder in {tmp_path}, and not to be had from the hub" in lack.message


def test_packed_decoder_needs_the_folder_of_a_pretrain_stage_of_its_sizes(tmp_path):
    decoder = {"width": 16, "depth": 1, "pretrained": str(tmp_path / "left"), "num_heads": 2}
    (lack,) = lacked(Config.model_validate({"decoder": decoder, "sft": {}}))
    assert (lack.path, lack.stages) == (("decoder", "pretrained"), ("pretrain",))
    assert "is no folder" in lack.message
    folder = Path(checkpoint(tmp_path / "left", {"decoder": {"width": 16, "depth": 2, "num_heads": 2}}))
    save_file({"decoder.x": ones(1)}, folder / "model.safetensors")
    (lack,) = lacked(Config.model_validate({"decoder": decoder}))
    assert lack.message == f"{folder} does not fit decoder: its depth is 2, the config's 1"
    assert lacked(Config.model_validate({"decoder": decoder | {"depth": 2}})) == []


def test_configs_that_name_the_same_are_looked_up_once(tmp_path, monkeypatch):
    looked = list[str]()
    monkeypatch.setattr("model_zoo.data.files.matching", lambda pattern: looked.append(pattern) or [])
    first, second, third = lacks([config(), config(train={"steps": 7, "warmup_steps": 1}), config(sft={})])
    assert first is second
    assert third[0].stages == ("pretrain", "sft")
    assert len(looked) == 4
