"""Time to first token: FLOPs against torch's count, and what is timed."""

import json
import math

import numpy as np
import pytest
import torch

from model_zoo import trainable
from model_zoo.build import build_model
from model_zoo.config import Config, Eval
from model_zoo.data.documents import question_documents
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.decoders.packed import Group
from model_zoo.evaluate import first_token
from model_zoo.evaluate.first_token import WORDS, first_token_flops, first_token_metrics, measure_first_token
from model_zoo.evaluate.held_out import held_out_pool
from model_zoo.evaluate.names import first_token_names
from model_zoo.initial import initialise
from tests.model_zoo.conftest import change, run
from tests.model_zoo.counting import count_flops

SHAPES = {
    "tiny": {"connector": {"kind": "avg_pool"}},
    "many tokens": {"connector": {"kind": "c_abstractor", "num_tokens": 16}, "decoder": {"keys": "smeared", "depth": 3}},
    "fine image": {"encoder": {"image_size": 32, "width": 48}, "connector": {"kind": "attention_pool", "num_tokens": 5}},
}


@pytest.fixture(autouse=True)
def _brief(monkeypatch):
    monkeypatch.setattr(first_token, "SECONDS", 0.001)


def make(config: Config):
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    return model, torch.randn(1, config.encoder.image_size, config.encoder.image_size)


@pytest.mark.parametrize("shape", SHAPES)
def test_first_token_flops_equal_torchs_count(shape):
    config = Config.model_validate(SHAPES[shape])
    model, pixels = make(config)
    tokens = torch.tensor([IMAGE] * config.connector.num_tokens + list(WORDS))
    groups = (Group(1, len(tokens)),)
    counted = count_flops(lambda: model.logits(model(tokens, features=model.encoder(pixels), groups=groups)[-1:]))
    assert first_token_flops(config) == counted


def test_words_are_those_before_the_answer_of_a_question():
    documents = question_documents(
        held_out_pool(image_size=16), rng=np.random.default_rng(0), number=1, pictures=1, questions=1, num_tokens=4
    )
    asked = np.flatnonzero(documents.targets[0] >= 0)[0]
    assert asked + 1 == 4 + len(WORDS)


def test_measured_is_the_encoder_alone_and_then_all_after_it(tiny):
    model, pixels = make(tiny)
    ran = []
    for part in ("encoder", "connector", "decoder"):
        getattr(model, part).register_forward_hook(lambda _, given, __, part=part: ran.append((part, tuple(given[0].shape))))
    model.decoder.head.register_forward_hook(lambda _, given, __: ran.append(("head", tuple(given[0].shape))))
    times = measure_first_token(model, pixels=pixels, tokens=torch.tensor([IMAGE] * 4 + list(WORDS)))
    assert all(time > 0 for time in times)
    last_encoder = max(index for index, (part, _) in enumerate(ran) if part == "encoder")
    before, after = ran[: last_encoder + 1], ran[last_encoder + 1 :]
    assert len(before) >= 1 + 2  # for the features, then a warm-up and one repeat
    assert set(before) == {("encoder", (1, 16, 16))}
    assert len(after) >= 2 * 3  # a warm-up and one repeat
    assert set(after) == {("connector", (1, 16, 16)), ("decoder", (6, 16)), ("head", (1, 16))}


def test_metrics_are_those_named(tiny):
    model, pixels = make(tiny)
    measured = change(tiny, eval={"latency": "measured"})
    metrics = first_token_metrics(model, config=measured, pixels=pixels)
    assert list(metrics) == first_token_names(measured.eval)
    assert metrics["ttft_ms"] == metrics["ttft_encoder_ms"] + metrics["ttft_prefill_ms"]
    plain = first_token_metrics(model, config=tiny, pixels=pixels)
    assert plain == {"ttft_flops": metrics["ttft_flops"]}
    assert list(plain) == first_token_names(tiny.eval)


def test_a_config_without_a_measured_latency_is_what_it_was(tiny):
    assert list(Eval().model_dump(mode="json")) == ["tasks", "num_documents", "num_validations", "validation_documents"]
    measured = change(tiny, eval={"latency": "measured"})
    assert trainable.stages(measured)[-1].config["eval"]["latency"] == "measured"
    assert Config.model_validate_json(measured.model_dump_json()) == measured


def test_train_measures_what_was_asked_for_and_says_on_what(tiny, make_worker):
    worker = run(change(tiny, eval={"tasks": ["text"], "latency": "measured"}), make_worker)
    text = {"text_score", "progression_score", "recall_score"}
    assert worker.last.keys() == {"train_loss", "val_loss", "tokens", "ttft_flops", "ttft_ms", "ttft_encoder_ms", "ttft_prefill_ms"} | text
    assert all(math.isfinite(value) for value in worker.last.values())
    assert json.loads((worker.dir / "evaluation.json").read_text(encoding="utf-8")) == {
        "averages": {"text_score": ["progression_score", "recall_score"]},
        "time_to_first_token": {"device": "cpu", "threads": 1},
    }


def test_train_records_what_enters_each_average(tiny, make_worker):
    worker = run(tiny, make_worker)
    record = json.loads((worker.dir / "evaluation.json").read_text(encoding="utf-8"))
    assert record.keys() == {"averages"}
    assert record["averages"]["few_shot/4"] == ["caption/4", "vqa/4", "in_context/4"]
    for average, parts in record["averages"].items():
        assert worker.last[average] == pytest.approx(sum(worker.last[part] for part in parts) / len(parts))
        assert trainable.METRICS[average] == f"plain mean of {', '.join(parts)}, percent"
