"""Noisy and rewritten captions as trials have them: what a stage is known by, what it refuses, and whose bits stay as they were."""

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from model_zoo import train, trainable
from model_zoo.build import build_model
from model_zoo.config import Config
from model_zoo.data.settings import AltText
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.encoders.contrast import Contrast
from model_zoo.encoders.encoder import objective_params
from model_zoo.initial import initialise
from model_zoo.objections import objections
from model_zoo.scenes import Scenes
from tests.model_zoo.conftest import change, run, weights

NOISY = {"noise": 0.5, "synthetic": 0.1}
FILES = {"caption": {"train": ["a.tar"], "held_out": ["b.tar"]}}


def with_pretrain(config: Config, **fields) -> Config:
    return change(config, encoder={"pretrain": config.encoder.pretrain.model_dump(mode="json") | fields})


def encoder_weights(config: Config, make_worker, *, name: str):
    worker = make_worker(name)
    trainable.train(trainable.stages(config)[0], {}, worker)
    return load_file(worker.dir / "encoder.safetensors")


def test_stages_without_alt_text_say_nothing_of_it(tiny):
    for stage in trainable.stages(Config.model_validate({**tiny.model_dump(mode="json"), "sft": {}})):
        assert "alt_text" not in str(stage.config)


def test_alt_text_is_part_of_the_stage_that_reads_it_alone(tiny):
    encoder, pretrain = trainable.stages(tiny)
    noisy_data = trainable.stages(change(tiny, data={"alt_text": NOISY}))
    assert noisy_data[0] == encoder
    assert noisy_data[1].config["data"] == {**pretrain.config["data"], "alt_text": NOISY}
    noisy_encoder = trainable.stages(with_pretrain(tiny, alt_text=NOISY))
    assert noisy_encoder[0].config["encoder"]["pretrain"]["alt_text"] == NOISY
    assert noisy_encoder[1] == pretrain


def test_fine_tuning_reads_alt_text_of_its_own_or_that_of_pretraining(tiny):
    noisy = {**change(tiny, data={"alt_text": NOISY}).model_dump(mode="json")}
    assert Config.model_validate({**noisy, "sft": {}}).for_sft().data.alt_text == AltText(**NOISY)
    exact = Config.model_validate({**noisy, "sft": {"data": {"num_scenes": 50}}})
    assert exact.for_sft().data.alt_text is None
    own = Config.model_validate({**tiny.model_dump(mode="json"), "sft": {"data": {"alt_text": NOISY}}})
    assert (own.data.alt_text, own.for_sft().data.alt_text) == (None, AltText(**NOISY))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"data": {"alt_text": {"noise": 1.1}}}, r"data\.alt_text\.noise\n .*less than or equal to 1"),
        ({"data": {"alt_text": {"noise": True}}}, "True is not a number"),
        ({"data": {"alt_text": {"synthetic": 0.07}}}, r"data\.alt_text\.noise\n .*required"),
        ({"data": {"alt_text": {"noise": 0.5, "synthetic": -1}}}, "greater than or equal to 0"),
        (
            {"data": {"mix": "1:0:0", "files": FILES, "alt_text": NOISY}},
            r"data\.alt_text\n.* files has captions of its own: leave out alt_text, or files",
        ),
        (
            {"encoder": {"pretrain": {"objective": "reconstructive", "alt_text": NOISY}}},
            "objective reconstructive reads none: leave it out, or set objective to contrastive",
        ),
        ({"encoder": {"pretrain": {"objective": "none", "alt_text": NOISY}}}, "objective none reads none: leave it out"),
    ],
)
def test_alt_text_that_nothing_can_read_is_refused_in_words(config, said):
    with pytest.raises(ValidationError, match=said):
        Config.model_validate(config)


@pytest.mark.parametrize("path", [("data",), ("sft", "data"), ("encoder", "pretrain")])
@pytest.mark.parametrize(("noise", "number"), [(0.0, 1), (0.5, 0)])
def test_axis_of_rewritten_captions_among_exact_ones_is_objected_to(path, noise, number):
    def config(synthetic):
        written = {"alt_text": {"noise": noise, "synthetic": synthetic}}
        for name in reversed(path):
            written = {name: written}
        return Config.model_validate(written)

    none, found = objections([config(0.0), config(0.07)], num_devices=1)
    assert none == ()
    assert [objection.path for objection in found] == [(*path, "alt_text", "synthetic")] * number
    assert all("none of them reads it: it is read with noise above 0" in objection.message for objection in found)


@pytest.mark.parametrize("alt_text", [{"noise": 0}, {"noise": 0.9, "synthetic": 1}])
def test_training_on_captions_that_are_exact_after_all_ends_with_the_same_bits(tiny, make_worker, alt_text):
    plain = run(tiny, make_worker, name="plain")
    same = run(change(tiny, data={"alt_text": alt_text}), make_worker, name="same")
    assert all(torch.equal(tensor, weights(same)[name]) for name, tensor in weights(plain).items())
    assert same.last == plain.last


def test_training_on_noisy_captions_interrupted_ends_with_the_same_bits(tiny, make_worker):
    written = change(tiny, data={"mix": "1:0:0", "alt_text": NOISY}, train={"steps": train.REPORT_EVERY + 4})
    config = change(written, encoder={"pretrain": {"objective": "none"}})
    calm, stopped, resumed = make_worker("calm"), make_worker("stopped", stop=True), make_worker("resumed")
    for worker in (calm, stopped, resumed):
        resumed.kept = stopped.kept
        train.train_model(config, first=train.First(), context=worker)
    assert not (stopped.dir / train.MODEL_FILE).exists()
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(calm).items())
    exact = make_worker("exact")
    train.train_model(change(config, data={"alt_text": None}), first=train.First(), context=exact)
    assert any(not torch.equal(tensor, weights(exact)[name]) for name, tensor in weights(calm).items())


def test_what_is_measured_is_exact_whatever_is_trained_on(tiny):
    """One model on one world that trains on noise and one that does not: the same loss and the same scores."""
    found = []
    for config in (tiny, change(tiny, data={"alt_text": {"noise": 1.0}})):
        model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
        initialise(model, seed=0)
        scenes = Scenes(config, encoder=model.encoder, features_file=None, seed=0, device="cpu")
        found.append((scenes.validate(model), scenes.examine(model).scores))
    assert found[0] == found[1]


def test_encoder_of_captions_all_rewritten_is_that_of_captions_without_noise(tiny, make_worker):
    exact = encoder_weights(with_pretrain(tiny, alt_text={"noise": 0}), make_worker, name="exact")
    rewritten = encoder_weights(with_pretrain(tiny, alt_text={"noise": 0.8, "synthetic": 1}), make_worker, name="rewritten")
    noisy = encoder_weights(with_pretrain(tiny, alt_text={"noise": 0.8}), make_worker, name="noisy")
    assert all(torch.equal(tensor, rewritten[name]) for name, tensor in exact.items())
    assert any(not torch.equal(tensor, noisy[name]) for name, tensor in exact.items())


def test_encoder_of_noisy_captions_interrupted_ends_with_the_same_bits(tiny, make_worker):
    stage = trainable.stages(with_pretrain(tiny, steps=50, alt_text=NOISY))[0]
    whole, broken, resumed = make_worker("whole"), make_worker("broken", stop=True), make_worker("resumed")
    trainable.train(stage, {}, whole)
    trainable.train(stage, {}, broken)
    resumed.kept = broken.kept
    trainable.train(stage, {}, resumed)
    assert resumed.points == [point for point in whole.points if point[0] > 20]
    one, two = (load_file(worker.dir / "encoder.safetensors") for worker in (whole, resumed))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


@pytest.mark.parametrize(("alt_text", "num_words"), [(None, 10), (NOISY, 18)])
def test_text_tower_knows_nonce_words_where_captions_have_them(alt_text, num_words):
    config = Config.model_validate({"encoder": {"pretrain": {"alt_text": alt_text}}}).encoder
    tower = Contrast(config.width, caption_length=4, num_words=config.pretrain.num_caption_words)
    assert tower.caption_embedding.shape == (4, num_words, config.width)
    assert sum(parameter.numel() for parameter in tower.parameters()) == objective_params(config)
