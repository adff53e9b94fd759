"""The seam: what planning sees, and whole stages in a world of milliseconds."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from model_zoo import trainable
from model_zoo.build import build_encoder
from model_zoo.config import Config
from model_zoo.data.rows import ROWS
from model_zoo.encoders.contrast import Contrast
from model_zoo.encoders.grid import resize_positions
from model_zoo.evaluate import names
from model_zoo.initial import initialise
from tests.model_zoo.conftest import change, run, weights

TINY_YAML = Path(__file__).parents[2] / "studies" / "bases" / "tiny.yaml"


def test_planning_loads_no_torch():
    program = (
        "import sys, model_zoo.trainable as t; t.stages(t.Config());"
        "print([m for m in ('torch', 'numpy', 'sklearn', 'transformers', 'safetensors') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_stages_are_json_and_cost_something():
    for stage in trainable.stages(Config()):
        assert json.loads(json.dumps(stage.config)) == stage.config
        assert stage.train_flops > 0
        assert stage.memory_bytes > 0


def test_stages_share_the_encoder_unless_it_differs():
    base = Config()
    encoder, pretrain = trainable.stages(base)
    assert (encoder.seeded, encoder.needs, pretrain.seeded, pretrain.needs) == (False, (), True, ("encoder",))
    for other in (
        change(base, train={"steps": 500}),
        change(base, connector={"kind": "c_abstractor"}),
        change(base, encoder={"training": "slow"}),
    ):
        assert trainable.stages(other)[0] == encoder
        assert trainable.stages(other)[1].config != pretrain.config
    assert trainable.stages(change(base, encoder={"image_size": 24}))[0].config != encoder.config


def test_encoder_of_the_trials_own_seed_is_that_of_the_same_seed_written_out(tiny, make_worker):
    own, written = (change(tiny, encoder={"pretrain": {"seed": seed}}) for seed in (None, 3))
    assert [trainable.stages(config)[0].seeded for config in (own, written)] == [True, False]
    found = []
    for name, config, seed in (("own", own, 3), ("written", written, 1), ("another", own, 1)):
        worker = run(config, make_worker, name=name, seed=seed)
        found.append(load_file(worker.dir.parent / f"{name}-encoder" / "encoder.safetensors")["position_embedding"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_stages_share_an_encoder_that_is_used_at_several_resolutions():
    base = Config()
    for size in (16, 24, 48):
        encoder, pretrain = trainable.stages(change(base, encoder={"image_size": size, "pretrain": {"resolution": 16}}))
        assert encoder == trainable.stages(base)[0]
        assert pretrain.config["encoder"]["image_size"] == size
        assert (pretrain.train_flops > trainable.stages(base)[1].train_flops) == (size > 16)


def test_stages_without_an_objective_have_no_encoder_stage():
    (only,) = trainable.stages(change(Config(), encoder={"pretrain": {"objective": "none"}}))
    assert (only.name, only.needs) == ("pretrain", ())


def test_stages_pretrain_counts_the_decoder_without_embeddings():
    assert trainable.stages(Config())[-1].num_params == Config().decoder.num_params


def test_train_reports_every_metric_at_the_last_step_and_leaves_safetensors(tiny, make_worker):
    worker = run(tiny, make_worker)
    at_the_end = {name for step, name, _ in worker.points if step == tiny.train.steps}
    not_here = {"encoder_loss", "encoder_accuracy", "load_balance_loss", "router_z_loss", "ttft_ms", "ttft_encoder_ms", "ttft_prefill_ms"}
    of_files = ("skipped_rows", "vqa_accuracy/", "caption_vqa_mean/", "lm_eval/")
    not_here |= {name for name in trainable.METRICS if name.startswith(of_files)}
    assert at_the_end == set(trainable.METRICS) - not_here
    assert sorted(path.name for path in worker.dir.iterdir()) == ["config.json", "evaluation.json", "model.safetensors", "samples.jsonl"]
    assert [step for step, name, _ in worker.points if name == "val_loss"] == [3, 6]


def test_train_encoder_reports_its_contrast(tiny, make_worker):
    stage = trainable.stages(tiny)[0]
    worker = make_worker()
    trainable.train(stage, {}, worker)
    assert worker.last.keys() == {"encoder_loss", "encoder_accuracy"}
    assert (worker.dir / "encoder.safetensors").exists()


def test_train_encoder_without_captions_reports_its_error_alone(tiny, make_worker):
    stage = trainable.stages(change(tiny, encoder={"pretrain": {"objective": "reconstructive", "steps": 100, "batch_size": 32}}))[0]
    worker = make_worker()
    trainable.train(stage, {}, worker)
    errors = [value for _, name, value in worker.points if name == "encoder_loss"]
    assert len(errors) == len(worker.points) == 5
    assert errors[-1] < 0.9 * errors[0]  # it learns something; blank patches are foretold from the start


def test_train_reports_only_what_was_asked_for(tiny, make_worker):
    worker = run(change(tiny, eval={"tasks": ["text"]}), make_worker)
    assert worker.last.keys() == {"train_loss", "val_loss", "tokens", "text_score", "progression_score", "recall_score", "ttft_flops"}


def test_train_at_another_resolution_starts_from_the_encoder_and_resized_positions(tiny, make_worker):
    config = change(tiny, encoder={"image_size": 24, "pretrain": {"resolution": 16, "steps": 3, "batch_size": 4}})
    worker = run(config, make_worker)
    before, after = load_file(worker.dir.parent / "trial-encoder" / "encoder.safetensors"), weights(worker)  # frozen
    positions = before.pop("position_embedding")
    assert all(torch.equal(tensor, after[f"encoder.{name}"]) for name, tensor in before.items())
    assert torch.equal(after["encoder.position_embedding"], resize_positions(positions, num_patches=36))
    assert math.isfinite(worker.last["val_loss"])


@pytest.mark.parametrize("training", ["frozen", "slow"])
def test_train_twice_with_a_seed_gives_the_same_bits(tiny, make_worker, training):
    config = change(tiny, encoder={"training": training}, connector={"kind": "c_abstractor"})
    one, two = (run(config, make_worker, name=name, seed=5) for name in ("one", "two"))
    assert one.points == two.points
    assert all(torch.equal(tensor, weights(two)[name]) for name, tensor in weights(one).items())


def test_samples_are_about_the_same_documents_in_every_trial(tiny, make_worker):
    arms = (tiny, change(tiny, connector={"kind": "c_abstractor"}))
    one, two = (run(config, make_worker, name=str(seed), seed=seed) for seed, config in enumerate(arms))
    asked = [[json.loads(line) for line in (worker.dir / "samples.jsonl").read_text().splitlines()] for worker in (one, two)]
    assert len(asked[0]) == len(asked[1]) > 0
    for first, second in zip(*asked, strict=True):
        assert all(first[key] == second[key] for key in ("task", "shots", "prompt", "expected", "images"))


def test_train_with_another_seed_gives_other_weights(tiny, make_worker):
    one, two = (run(tiny, make_worker, name=str(seed), seed=seed) for seed in (0, 1))
    assert one.last["val_loss"] != two.last["val_loss"]


@pytest.mark.parametrize("training", ["frozen", "slow", "full"])
def test_train_moves_the_encoder_as_far_as_it_may(tiny, make_worker, training):
    worker = run(change(tiny, encoder={"training": training}), make_worker)
    before = load_file(worker.dir.parent / "trial-encoder" / "encoder.safetensors")
    after = weights(worker)
    moved = any(not torch.equal(tensor, after[f"encoder.{name}"]) for name, tensor in before.items())
    assert moved == (training != "frozen")


def test_train_interrupted_and_resumed_ends_with_the_same_bits(tiny, make_worker):
    config = change(tiny, encoder={"pretrain": {"objective": "none"}}, train={"steps": 45})
    (stage,) = trainable.stages(config)
    whole, broken, resumed = make_worker("whole"), make_worker("broken", stop_after=1), make_worker("resumed")
    trainable.train(stage, {}, whole)
    trainable.train(stage, {}, broken)
    assert not list(broken.dir.iterdir())
    assert "caption/0" not in broken.last
    resumed.kept = broken.kept
    trainable.train(stage, {}, resumed)
    assert (resumed.dir / "samples.jsonl").read_bytes() == (whole.dir / "samples.jsonl").read_bytes()
    assert resumed.points[0][0] > 20
    assert resumed.last == whole.last
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(whole).items())


@pytest.mark.parametrize("objective", ["contrastive", "reconstructive"])
def test_train_encoder_interrupted_and_resumed_ends_with_the_same_bits(tiny, make_worker, objective):
    stage = trainable.stages(change(tiny, encoder={"pretrain": {"objective": objective, "steps": 50, "batch_size": 8}}))[0]
    whole, broken, resumed = make_worker("whole"), make_worker("broken", stop=True), make_worker("resumed")
    trainable.train(stage, {}, whole)
    trainable.train(stage, {}, broken)
    assert not list(broken.dir.iterdir())
    resumed.kept = broken.kept
    trainable.train(stage, {}, resumed)
    assert resumed.points == [point for point in whole.points if point[0] > 20]
    one, two = (load_file(worker.dir / "encoder.safetensors") for worker in (whole, resumed))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_train_says_what_its_time_goes_to(tiny, make_worker):
    encoder = make_worker("encoder")
    trainable.train(trainable.stages(tiny)[0], {}, encoder)
    assert encoder.phases == ["data", "step"] * tiny.encoder.pretrain.steps
    pretrain, steps = run(tiny, make_worker).phases, tiny.train.steps
    assert (pretrain.count("data"), pretrain.count("step")) == (1 + steps, steps)
    assert pretrain.count("eval") == tiny.eval.num_validations


@pytest.mark.parametrize("accumulate", [1, 2])
def test_tokens_are_those_of_all_documents_with_their_images(tiny, make_worker, accumulate):
    changes = {"steps": 45, "rows_per_step": 4, "accumulate": accumulate}
    config = change(tiny, data={"mix": "1:0:0"}, train=changes, encoder={"pretrain": {"objective": "none"}}, eval={"tasks": []})
    worker = run(config, make_worker)
    image, of_a_row = config.tokens_per_image, ROWS["caption"]
    a_row = of_a_row["caption"].per_row * (image + 1 + 4) + of_a_row["question"].per_row * (
        image + 2 * 3
    )  # a mark and 4 digits; 2 questions
    points = [(step, value) for step, name, value in worker.points if name == "tokens"]
    assert points == [(step, step * 4 * a_row) for step in (20, 40, 45)]


def test_train_resumed_between_reports_repeats_the_curve(tiny, make_worker):
    config = change(tiny, encoder={"pretrain": {"objective": "none"}}, train={"steps": 45})
    (stage,) = trainable.stages(config)
    whole, resumed = make_worker("whole"), make_worker("resumed")
    trainable.train(stage, {}, whole)  # its last checkpoint is of step 22, two steps after a report
    resumed.kept = whole.kept
    trainable.train(stage, {}, resumed)
    assert resumed.points == [point for point in whole.points if point[0] > 22]


def test_train_that_diverges_reports_nan_and_stops(tiny, make_worker):
    config = change(tiny, train={"learning_rate": 1e30, "steps": 200})
    worker = run(config, make_worker)
    assert worker.points[-1][0] < 200
    last = worker.last
    assert last.pop("tokens") > 0
    assert last.keys() == {"train_loss", "val_loss", "ttft_flops", *names.score_names(config.eval)}
    assert all(math.isnan(value) for value in last.values())


def test_train_that_diverges_at_the_last_step_has_no_scores(tiny, make_worker):
    config = change(tiny, train={"learning_rate": 1e30, "steps": 1, "warmup_steps": 0})
    worker = run(config, make_worker)
    last = worker.last
    assert math.isfinite(last.pop("train_loss") * last.pop("tokens"))
    assert last.keys() == {"val_loss", "ttft_flops", *names.score_names(config.eval)}
    assert all(math.isnan(value) for value in last.values())
    assert not list(worker.dir.iterdir())


def test_train_encoder_that_diverges_says_what_to_do(tiny, make_worker):
    pretrain = tiny.encoder.pretrain.model_dump() | {"learning_rate": 1e30, "steps": 20}
    config = change(tiny, encoder={"pretrain": pretrain})
    worker = make_worker()
    with pytest.raises(ArithmeticError, match=r"lower encoder\.pretrain\.learning_rate"):
        trainable.train(trainable.stages(config)[0], {}, worker)
    assert math.isnan(worker.last["encoder_loss"])


def test_contrast_before_training_is_a_guess(tiny):
    model = torch.nn.ModuleDict({"encoder": build_encoder(tiny.encoder), "contrast": Contrast(16, caption_length=4, num_words=10)})
    initialise(model, seed=0)
    with torch.no_grad():
        model["contrast"].log_scale.fill_(-20.0)  # every pair alike
    captions = torch.randint(10, (32, 4))
    score = model["contrast"](model["encoder"](torch.randn(32, 16, 16)), captions=captions)
    assert score.loss.item() == pytest.approx(math.log(32), abs=1e-3)


def test_tiny_yaml_is_a_config_with_two_stages():
    config = Config.model_validate(yaml.safe_load(TINY_YAML.read_text(encoding="utf-8")))
    assert config.data.mix.shares == (0.45, 0.45, 0.1)
    assert [stage.name for stage in trainable.stages(config)] == ["encoder", "pretrain"]


@pytest.mark.slow
def test_train_learns_captions_and_labels_in_the_tiny_world(make_worker):
    written = yaml.safe_load(TINY_YAML.read_text(encoding="utf-8"))
    written["eval"] = {"num_documents": 256}
    worker = run(Config.model_validate(written), make_worker)
    # measured over three seeds: 97 to 98, 97 to 98, 94 to 98 and 95 to 96
    assert worker.last["caption/0"] > 90
    assert worker.last["vqa/0"] > 90
    assert worker.last["in_context/4"] > 75
    assert worker.last["text_score"] > 80
