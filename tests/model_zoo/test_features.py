"""Features of a frozen encoder, cached: the same numbers as without, for fewer FLOPs, and only where the study allows it."""

import json
from collections import Counter
from typing import Any

import pytest
import torch

from ablate.design import make_arms
from ablate.errors import InputError
from ablate.load import load_study
from ablate.planned import Plan
from ablate.planner import make_plan
from model_zoo import flops, trainable
from model_zoo.build import build_encoder
from model_zoo.config import Config
from model_zoo.data.pictures import training_pool
from model_zoo.evaluate.held_out import held_out_pool
from model_zoo.features import PICTURES_AT_ONCE, encode, encode_pools, load_features, save_features
from model_zoo.initial import initialise
from tests.model_zoo.conftest import change, run, weights

STUDY: dict[str, Any] = {
    "schema": 1,
    "name": "features",
    "trainer": "model_zoo",
    "axes": {
        "encoder.image_size": [16, 24],
        "connector.kind": ["avg_pool", "c_abstractor"],
        "data.mix": {"simplex": ["caption", "interleaved", "text"], "list": ["1:1:1", "1:0:0"]},
    },
    "seeds": 3,
    "metric": {"name": "val_loss", "goal": "min"},
}


def plan_with(features: str, **base: Any) -> Plan:
    study = load_study(STUDY | {"base": {"encoder": {"features": features}} | base})
    return make_plan(study, make_arms(study))


def jobs_of(plan: Plan) -> Counter[str]:
    return Counter(job.spec.name for job in plan.jobs.values())


def test_stages_cached_features_are_a_stage_between_the_two():
    encoder, features, pretrain = trainable.stages(change(Config(), encoder={"features": "cached"}))
    assert (encoder.name, features.name, pretrain.name) == ("encoder", "features", "pretrain")
    assert (features.needs, pretrain.needs) == (("encoder",), ("encoder", "features"))
    assert features.seeded  # each seed draws scenes of its own
    assert (features.num_params, features.embedding_params) == (0, 0)


def test_stages_cached_features_move_flops_from_the_trial_to_their_stage():
    computed = trainable.stages(Config())
    cached = trainable.stages(change(Config(), encoder={"features": "cached"}))
    assert cached[0] == computed[0]
    assert cached[1].train_flops > 0
    assert cached[2].train_flops + cached[1].train_flops == pytest.approx(computed[1].train_flops, rel=1e-12)
    assert cached[2].config == computed[1].config  # all that tells the two apart is what they need


def test_stages_without_an_encoder_stage_cache_features_of_first_weights():
    config = change(Config(), encoder={"features": "cached", "pretrain": {"objective": "none"}})
    assert [(stage.name, stage.needs) for stage in trainable.stages(config)] == [("features", ()), ("pretrain", ("features",))]


def test_plan_has_features_once_a_resolution_and_seed():
    cached, computed = plan_with("cached"), plan_with("computed")
    assert jobs_of(computed) == {"encoder": 2, "pretrain": 24}
    assert jobs_of(cached) == {"encoder": 2, "features": 6, "pretrain": 24}
    pool = {size: flops.pretrain_pool_flops(Config.model_validate({"encoder": {"image_size": size}})) for size in (16, 24)}
    saved = sum((12 - 3) * each for each in pool.values())  # 12 trials a resolution, 3 seeds
    assert cached.train_flops == pytest.approx(computed.train_flops - saved, rel=1e-12)


@pytest.mark.parametrize(
    "other",
    [
        {"data": {"num_scenes": 50}},
        {"encoder": {"features": "cached", "patch_size": 8}},
        {"encoder": {"features": "cached", "pretrain": {"steps": 7}}},  # the same shape, other weights
    ],
    ids=str,
)
def test_plan_shares_no_features_of_other_pictures_or_weights(other):
    one, two = plan_with("cached"), plan_with("cached", **other)
    assert not {job for job in one.jobs if job.startswith("features")} & set(two.jobs)


def test_plan_of_a_study_that_caches_shares_encoders_with_one_that_does_not():
    cached, computed = plan_with("cached"), plan_with("computed")
    assert {job for job in cached.jobs if job in computed.jobs} == {job for job in cached.jobs if job.startswith("encoder")}


@pytest.mark.parametrize(
    "encoder",
    [{"image_size": 16}, {"image_size": 24}, {"image_size": 16, "pretrain": {"objective": "none"}}],
    ids=["16 px", "24 px", "no encoder stage"],
)
def test_train_with_cached_features_ends_with_the_same_bits(tiny, make_worker, encoder):
    config = change(tiny, encoder=encoder, connector={"kind": "c_abstractor"})
    computed = run(config, make_worker, name="computed", seed=3)
    cached = run(change(config, encoder={"features": "cached"}), make_worker, name="cached", seed=3)
    assert cached.points == computed.points
    assert all(torch.equal(tensor, weights(cached)[name]) for name, tensor in weights(computed).items())


def test_train_leaves_configs_that_do_not_tell_where_features_came_from(tiny, make_worker):
    config = change(tiny, encoder={"features": "cached"})
    folder = run(config, make_worker).dir.parent
    encoder, _, pretrain = trainable.stages(config)
    assert json.loads((folder / "trial-encoder" / "config.json").read_text()) == encoder.config["encoder"]
    assert json.loads((folder / "trial-pretrain" / "config.json").read_text()) == pretrain.config


def test_train_reads_the_features_it_is_given(tiny, make_worker):
    """Zeros in their place: training and measuring both see them, so no encoder runs beside the cache."""
    config = change(tiny, encoder={"features": "cached"})
    inputs, (_, features, pretrain) = {}, trainable.stages(config)
    for stage in trainable.stages(config)[:2]:
        worker = make_worker(stage.name)
        trainable.train(stage, inputs, worker)
        inputs[stage.name] = worker.dir
    seeing, blind_in_training, blind_when_measured = make_worker("seeing"), make_worker("training"), make_worker("measured")
    trainable.train(pretrain, inputs, seeing)
    file = inputs[features.name] / "features.safetensors"
    known = load_features(file, device="cpu")
    for worker, blinded in ((blind_in_training, "training"), (blind_when_measured, "held_out")):
        file.unlink()  # it is mapped
        save_features(known._replace(**{blinded: torch.zeros_like(getattr(known, blinded))}), file)
        trainable.train(pretrain, inputs, worker)
    assert blind_in_training.last["train_loss"] != seeing.last["train_loss"]
    assert blind_when_measured.last["train_loss"] == seeing.last["train_loss"]
    assert blind_when_measured.last["val_loss"] != seeing.last["val_loss"]


def test_features_survive_their_file(tiny, tmp_path):
    encoder = build_encoder(tiny.encoder)
    initialise(encoder, seed=0)
    pool, held_out = training_pool(num_scenes=50, image_size=16, seed=0), held_out_pool(image_size=16)
    features = encode_pools(encoder, training=pool, held_out=held_out, tiles=1, device="cpu")
    assert len(pool.pixels) % PICTURES_AT_ONCE  # the last batch is smaller
    save_features(features, tmp_path / "features.safetensors")
    again = load_features(tmp_path / "features.safetensors", device="cpu")
    assert torch.equal(again.training, encode(encoder, pool, tiles=1, device="cpu"))
    assert torch.equal(again.held_out, encode(encoder, held_out, tiles=1, device="cpu"))
    tensors = (*encoder.parameters(), pool.pixels, features.training, features.training)
    assert flops.features_stage_memory(tiny.encoder, num_scenes=50) == sum(tensor.nbytes for tensor in tensors)


FAULTS = {
    "in the base": (
        "base: {encoder: {features: cached, training: slow}}\naxes: {train.steps: [100, 200]}",
        ":4:28: base.encoder.features: ",
    ),
    "by an axis of training": (
        "base: {encoder: {features: cached}}\naxes: {encoder.training: [frozen, full]}",
        ":5:35: axes.encoder.training[1]: ",
    ),
    "by an axis of features": (
        "base: {encoder: {training: full}}\naxes: {encoder.features: [computed, cached]}",
        ":5:37: axes.encoder.features[1]: ",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_study_that_caches_features_of_a_trained_encoder_is_refused_where_it_says_so(case, tmp_path):
    written, place = FAULTS[case]
    file = tmp_path / "study.yaml"
    head = "schema: 1\nname: cache\ntrainer: model_zoo\n"
    file.write_text(f"{head}{written}\nmetric: {{name: val_loss, goal: min}}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_study(str(file))
    (message,) = str(caught.value).splitlines()
    assert place in message
    assert "cached features are those of a frozen encoder, and training is" in message
    assert "use training: frozen, or features: computed" in message


def test_study_with_features_that_are_no_choice_is_told_the_choices(tmp_path):
    with pytest.raises(InputError, match=r"features.*'cachd'.*computed, cached.*did you mean 'cached'"):
        load_study(STUDY | {"base": {"encoder": {"features": "cachd"}}})
