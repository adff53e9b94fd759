"""The decoder as `transformers` loads it, the call of lm-evaluation-harness, and what is read of its results.

The harness is not installed here: a stand-in takes the arguments that its documentation names and writes the file that it writes. The real
one, 0.4.13, was called by hand with these arguments on tasks of its three kinds, and left this form of results.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, AutoTokenizer

from ablate.load import load_study
from model_zoo import trainable
from model_zoo.build import build_model
from model_zoo.config import Config
from model_zoo.data.settings import Files
from model_zoo.decoders.packed import Group
from model_zoo.evaluate import harness
from model_zoo.evaluate.harness import HarnessError, _score, export_decoder, export_tokenizer
from model_zoo.evaluate.names import harness_names
from model_zoo.evaluate.settings import Harness
from model_zoo.initial import initialise
from tests.model_zoo.conftest import run
from tests.model_zoo.data.test_files import write_texts

STAND_IN = """
import argparse, json, sys
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("model", "model_args", "tasks", "num_fewshot", "batch_size", "device", "output_path"):
    parser.add_argument(f"--{name}")
options = parser.parse_args()
if options.tasks == "broken":
    sys.exit("KeyError: 'no task is called broken'")
arguments = dict(pair.split("=") for pair in options.model_args.split(","))
model, tokenizer = Path(arguments["pretrained"]), Path(arguments["tokenizer"])
shape, header = json.loads((model / "config.json").read_text()), (model / "model.safetensors").read_bytes()
tensors = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])
words = json.loads((tokenizer / "tokenizer.json").read_text())["model"]["vocab"]
if options.tasks == "unwritten":
    print("Could not save results aggregated")
    sys.exit()
results = {
    "asked": {"alias": "asked", "sample_len": 6, "acc,none": len(words), "acc_stderr,none": "N/A"},
    "seen": {"acc,none": shape["vocab_size"], "acc_norm,none": tensors["lm_head.weight"]["shape"][0]},
    "shots": {"exact_match,strict": float(options.num_fewshot or -1), "exact_match,flexible": 0.25},
}
folder = Path(options.output_path) / arguments["pretrained"]
folder.mkdir(parents=True)
found = {"results": {name: results[name] for name in options.tasks.split(",")}, "lm_eval_version": "stand-in", "called": vars(options)}
(folder / "results_2024-01-01T00-00-00.000000.json").write_text(json.dumps(found))
"""


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for part in ("train", "held_out"):
        write_texts(tmp_path / f"{part}.jsonl", ["abcdefgh"[start:] for start in range(5)] * 10)


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "lm_eval"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


def config(*scores: str, decoder: dict[str, Any] | None = None, **settings: Any) -> Config:
    text = {"train": ["train.jsonl"], "held_out": ["held_out.jsonl"]}
    return Config.model_validate(
        {
            "encoder": {"patch_size": 4, "image_size": 8, "width": 8, "depth": 1, "training": "full", "pretrain": {"objective": "none"}},
            "connector": {"num_tokens": 1},
            "decoder": {"width": 16, "depth": 2, "num_kv_heads": 1} | (decoder or {}),
            "data": {"mix": "0:0:1", "files": {"text": text, "max_tokens": 48, "epochs": 50}},
            "train": {"steps": 2, "rows_per_step": 1, "warmup_steps": 1},
            "eval": {
                "tasks": [],
                "num_validations": 1,
                "validation_documents": 4,
                "harness": {"scores": scores or ("asked/acc",), **settings},
            },
        }
    )


@torch.no_grad()
@pytest.mark.parametrize("kind", ["packed", "llama", "qwen2", "qwen3"])
def test_exported_decoder_computes_the_same(kind, tmp_path):
    own = config(decoder={"kind": kind})
    model = build_model(own, vocabulary_size=258, image_token=257)
    initialise(model, seed=3)
    export_decoder(model, config=own, folder=tmp_path / "decoder")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "decoder")
    tokens = torch.tensor(list(b"Is it the same?"))
    hidden = model(tokens, features=torch.empty(0, 4, 8), groups=(Group(1, len(tokens)),))
    torch.testing.assert_close(exported(tokens[None]).logits[0], model.logits(hidden)[:, :257], atol=1e-5, rtol=0)
    assert (exported.config.max_position_embeddings, exported.config.eos_token_id) == (48, 256)
    assert exported.dtype == torch.float32


def test_exported_tokenizer_splits_text_as_training_did(tmp_path):
    text = "Grüße 雪,\n</b> 1111"
    export_tokenizer(Files(end_token="<end>"), folder=tmp_path / "bytes")  # noqa: S106
    found = AutoTokenizer.from_pretrained(tmp_path / "bytes", add_bos_token=False)
    assert found(text)["input_ids"] == list(text.encode())
    assert (found.eos_token, found.eos_token_id, len(found)) == ("<end>", 256, 257)
    assert found.decode(list(text.encode())) == text

    words = {"a": 0, "b": 1, "ab": 2, " ": 3, "</s>": 4, "1": 5, "11": 6}
    Tokenizer(models.BPE(vocab=words, merges=[("a", "b"), ("1", "1")])).save(str(tmp_path / "tokenizer.json"))
    export_tokenizer(Files(tokenizer=str(tmp_path / "tokenizer.json")), folder=tmp_path / "file")
    assert AutoTokenizer.from_pretrained(tmp_path / "file", add_bos_token=False)("ab 11")["input_ids"] == [2, 3, 6]


@pytest.mark.usefixtures("_installed")
def test_trial_reports_the_scores_it_names(make_worker):
    own = config("seen/acc", "seen/acc_norm", "asked/acc", "shots/exact_match/strict", num_fewshot=3)
    worker = run(own, make_worker)
    given = {"asked/acc": 256, "seen/acc": 257, "seen/acc_norm": 257, "shots/exact_match/strict": 3}
    assert {name: worker.last[name] for name in harness_names(own.eval.harness)} == {
        f"lm_eval/{name}": value for name, value in given.items()
    }
    kept = json.loads((worker.dir / "lm_eval.json").read_text(encoding="utf-8"))
    assert kept["called"] == {
        "model": "hf",
        "model_args": "pretrained=decoder,tokenizer=tokenizer,dtype=float32,add_bos_token=False",
        "tasks": "asked,seen,shots",
        "num_fewshot": "3",
        "batch_size": "8",
        "device": "cpu",
        "output_path": "results",
    }


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    ("score", "why"),
    [
        ("broken/acc", r"`lm_eval --model hf .* --tasks broken .*` ended with 1; its last lines:\nKeyError: 'no task is called broken'"),
        ("unwritten/acc", r"left 0 files of results, not one; its last lines:\nCould not save results aggregated"),
        ("seen/f1", r"0 scores are called 'seen/f1'; lm_eval gave seen/acc/none, seen/acc_norm/none"),
    ],
)
def test_program_that_fails_fails_the_trial_with_its_last_lines(score, why, make_worker):
    with pytest.raises(HarnessError, match=why):
        run(config(score), make_worker)


def test_program_that_is_not_there_is_missed_before_training(make_worker, monkeypatch):
    monkeypatch.setattr(harness, "PROGRAM", "lm_eval_elsewhere")
    worker = make_worker("first")
    (stage,) = trainable.stages(config())
    with pytest.raises(HarnessError, match=r"needs lm-evaluation-harness, which .* lacks: pip install 'lm_eval\[hf\]'"):
        trainable.train(stage, {}, worker)
    assert worker.points == []


@pytest.mark.usefixtures("_installed")
def test_diverged_trial_is_not_sent_to_it(make_worker):
    diverged = config().model_copy(update={"train": config().train.model_copy(update={"steps": 1, "learning_rate": 1e30})})
    worker = run(diverged, make_worker)
    assert math.isnan(worker.last["lm_eval/asked/acc"])
    assert not (worker.dir / "lm_eval.json").exists()


RESULTS = {
    "one": {"acc,none": 0.5, "alias": "one", "sample_len": 9},
    "two": {"em,strict": 0.25, "em,loose": 0.75, "em_stderr,strict": "N/A"},
}


@pytest.mark.parametrize(("score", "value"), [("one/acc", 0.5), ("one/acc/none", 0.5), ("two/em/strict", 0.25), ("two/em/loose", 0.75)])
def test_score_is_found_by_task_metric_and_filter(score, value):
    assert _score(RESULTS, score) == value
    assert _score({"only": {"em,strict": 1.0}}, "only/em") == 1


@pytest.mark.parametrize(
    ("score", "why"),
    [
        ("two/em", "2 scores are called 'two/em'; lm_eval gave two/em/strict, two/em/loose"),
        ("two/em/none", "0 scores are called"),
        ("two/em_stderr/strict", "0 scores are called"),
        ("one/sample_len", "0 scores are called"),
        ("three/acc", "nothing for three, only for one, two"),
    ],
)
def test_score_that_is_not_given_is_missed_with_those_that_are(score, why):
    with pytest.raises(HarnessError, match=re.escape(why)):
        _score(RESULTS, score)


@pytest.mark.parametrize("decoder", [{"keys": "smeared"}, {"moe": {"num_experts": 2}}])
def test_decoder_that_transformers_does_not_have_is_refused_while_planning(decoder):
    with pytest.raises(ValidationError, match=r"eval\.harness: a decoder with smeared keys or experts is none that it could load"):
        config(decoder=decoder)


@pytest.mark.parametrize("score", ["hellaswag", "a/b/c/d", "a,b/acc", "a/acc norm", "/acc"])
def test_score_that_is_no_name_is_refused(score):
    with pytest.raises(ValidationError, match="should match pattern"):
        Harness(scores=(score,))


def test_digit_scenes_have_no_text_for_it():
    with pytest.raises(ValidationError, match="ask about files and text, not about digit scenes"):
        Config.model_validate({"eval": {"harness": {"scores": ["asked/acc"]}}})


def test_study_may_be_about_one_of_its_scores(tmp_path):
    base = json.loads(config("asked/acc").model_dump_json(exclude_defaults=True))
    written = {"schema": 1, "name": "asked", "trainer": "model_zoo", "base": base, "axes": {"decoder.depth": [1, 2]}}
    (tmp_path / "study.yaml").write_text(json.dumps(written | {"metric": {"name": "lm_eval/asked/acc", "goal": "max"}}), encoding="utf-8")
    assert load_study(tmp_path / "study.yaml").metric.name == "lm_eval/asked/acc"
    assert "lm_eval/asked" not in trainable.METRICS
    assert {name for name in trainable.METRICS if name.startswith("lm_eval")} == {"lm_eval/TASK/METRIC"}
