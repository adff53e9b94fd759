"""The stage after pretrain: first weights, resolution, sub-images, and which parts are trained."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ablate.design import make_arms
from ablate.load import load_study
from ablate.planner import make_plan
from model_zoo import flops, train, trainable
from model_zoo.build import build_encoder, build_model
from model_zoo.config import Config
from model_zoo.data.batch import collate
from model_zoo.data.pictures import make_pool, training_digits
from model_zoo.data.stream import draw_step
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.encoders import KINDS
from model_zoo.encoders.encoder import EncoderSettings
from model_zoo.encoders.grid import see, sub_images
from model_zoo.evaluate.first_token import first_token_flops
from model_zoo.evaluate.loss import answer_loss
from model_zoo.fields import Training
from model_zoo.initial import initialise
from model_zoo.trainable import stages
from tests.model_zoo.conftest import change, run, weights
from tests.model_zoo.counting import count_flops

GUIDE = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text(encoding="utf-8")
SFT = {"train": {"steps": 3, "warmup_steps": 1, "rows_per_step": 3}}


def with_sft(config: Config, **parts) -> Config:
    return Config.model_validate({**config.model_dump(mode="json"), "sft": {**SFT, **parts}})


def moved(before, after) -> set[str]:
    """Parts of the model, encoder, connector or decoder, in which some weight has changed."""
    return {name.partition(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def test_trials_that_differ_in_sft_share_the_stages_before_it(tiny):
    without, low, high = stages(tiny), stages(with_sft(tiny)), stages(with_sft(tiny, encoder={"image_size": 32, "tiles": 2}))
    assert without == low[:-1] == high[:-1]
    assert [stage.name for stage in low] == ["encoder", "pretrain", "sft"]
    assert low[-1].needs == high[-1].needs == ("pretrain",)
    assert low[-1].config != high[-1].config


@pytest.mark.parametrize(
    ("sft", "said"),
    [
        ({"encoder": {"image_size": 30}}, r"sft\.encoder\.image_size: 30 is not a multiple of patch 4: nearest 28, 32"),
        ({"encoder": {"tiles": 0}}, r"sft\.encoder\.tiles\n"),
        ({"train": {"steps": 3}}, r"sft\.train\.warmup_steps\n .*10 warmup steps do not fit in 3 steps"),
        ({"image_size": 32}, r"sft\.image_size\n"),
    ],
)
def test_sft_that_cannot_be_built_is_refused_with_its_field(tiny, sft, said):
    with pytest.raises(ValueError, match=said):
        Config.model_validate({**tiny.model_dump(mode="json"), "sft": sft})


def test_number_of_tokens_that_the_smaller_grid_cannot_give_is_refused(tiny):
    with pytest.raises(ValueError, match=r"sft\.connector: num_tokens is 4, which kind avg_pool cannot give on a grid of 1 x 1"):
        with_sft(tiny, encoder={"image_size": 4})


def test_two_vocabularies_are_refused(tiny):
    files = {"text": {"train": ["a.jsonl"], "held_out": ["b.jsonl"]}}
    with pytest.raises(ValueError, match=r"sft\.data has 258 tokens of bytes that end with </s>, data the words of digit scenes: one"):
        with_sft(tiny, data={"mix": "0:0:1", "files": files})


def test_two_tokenizers_of_one_size_are_refused(tiny):
    files = {"text": {"train": ["a.jsonl"], "held_out": ["b.jsonl"]}}
    own = change(tiny, data={"mix": "0:0:1", "files": files}, eval={"tasks": []}, encoder={"pretrain": {"objective": "none"}})
    with_sft(own, data={"mix": "0:0:1", "files": files})
    with pytest.raises(ValueError, match=r"258 tokens of other\.json that end with </s>, data 258 tokens of bytes"):
        with_sft(own, data={"mix": "0:0:1", "files": files | {"tokenizer": "other.json"}})


def test_field_that_may_change_while_a_trial_trains_is_one_of_its_last_stage():
    assert trainable.changeable({})[0] == "train.learning_rate"
    assert trainable.changeable({"sft": {"train": {"steps": 3}}})[0] == "sft.train.learning_rate"


def test_first_weights_are_those_that_pretrain_left_with_positions_interpolated(tiny, make_worker):
    config = with_sft(tiny, encoder={"image_size": 32}, train={"steps": 1, "learning_rate": 1e-30, "weight_decay": 0.0, "warmup_steps": 0})
    after = weights(run(config, make_worker))
    before = load_file(make_worker("look").dir.parent / "trial-pretrain" / train.MODEL_FILE)
    position = "encoder.position_embedding"
    assert moved(before, {name: tensor for name, tensor in after.items() if name != position}) == set()
    assert before[position].shape == (16, 16)
    assert after[position].shape == (64, 16)
    assert after[position].mean() == pytest.approx(before[position].mean().item(), abs=1e-3)


@pytest.mark.parametrize(
    ("encoder", "decoder", "expected"),
    [
        (None, None, {"connector", "decoder"}),  # as in pretrain: the encoder frozen
        ("full", "frozen", {"connector", "encoder"}),
        ("slow", "slow", {"connector", "encoder", "decoder"}),
        ("lora", "lora", {"connector", "encoder", "decoder"}),
        ("frozen", "frozen", {"connector"}),
    ],
)
def test_parts_are_trained_as_the_stage_says(tiny, make_worker, encoder, decoder, expected):
    config = with_sft(tiny, encoder={"training": encoder}, decoder={"training": decoder})
    after = weights(run(config, make_worker))
    before = load_file(make_worker("look").dir.parent / "trial-pretrain" / train.MODEL_FILE)
    assert after.keys() == before.keys()
    assert moved(before, after) == expected


def test_lora_changes_linear_maps_by_its_rank_and_nothing_else(tiny, make_worker):
    config = with_sft(tiny, encoder={"training": "lora"}, decoder={"training": "lora"}, train={**SFT["train"], "lora_rank": 2})
    after = weights(run(config, make_worker))
    before = load_file(make_worker("look").dir.parent / "trial-pretrain" / train.MODEL_FILE)
    maps = {"qkv", "attention_out", "mlp_in", "mlp_out", "patch_embedding", "out", "gate_up", "down"}
    for name, tensor in after.items():
        part, owner = name.partition(".")[0], name.split(".")[-2]
        difference = tensor - before[name]
        if part == "connector":
            continue
        if owner in maps and name.endswith("weight"):
            assert 0 < torch.linalg.matrix_rank(difference, tol=1e-6) <= 2, name
        else:
            assert not difference.any(), name


@pytest.mark.parametrize("training", ["full", "lora"])
def test_sft_interrupted_ends_with_the_same_bits(tiny, make_worker, training):
    config = with_sft(tiny, encoder={"image_size": 32, "training": training}, decoder={"training": training})
    config = change(config, sft={"train": {**SFT["train"], "steps": train.REPORT_EVERY + 4}})
    inputs = {"pretrain": run(tiny, make_worker).dir}
    stage = stages(config)[-1]
    calm, stopped, resumed = make_worker("calm"), make_worker("stopped", stop=True), make_worker("resumed")
    for worker in (calm, stopped, resumed):
        resumed.kept = stopped.kept
        trainable.train(stage, inputs, worker)
    assert stopped.kept
    assert not (stopped.dir / train.MODEL_FILE).exists()
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(calm).items())
    assert resumed.last == calm.last


def test_sub_images_are_the_picture_made_small_and_its_parts_row_by_row():
    pictures = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).view(2, 3, 8, 8)
    views = sub_images(pictures, tiles=2)
    assert views.shape == (2, 5, 3, 4, 4)
    for number, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)], start=1):
        assert torch.equal(views[:, number], pictures[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4])
    torch.testing.assert_close(views[:, 0].mean((2, 3)), pictures.mean((2, 3)))
    assert torch.equal(sub_images(pictures[:, 0], tiles=2), views[:, :, 0])


def test_each_view_is_encoded_by_itself_and_its_tokens_follow_each_other(tiny):
    config = change(tiny, encoder={"tiles": 2})
    encoder = build_encoder(config.encoder)
    initialise(encoder, seed=0)
    pictures = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))
    seen = see(encoder, pictures, tiles=2).view(3, 5, 16, 16)
    for number, view in enumerate(sub_images(pictures, tiles=2).unbind(1)):
        torch.testing.assert_close(seen[:, number], encoder(view))
    assert config.tokens_per_image == 5 * config.connector.num_tokens


def test_one_view_alone_reaches_the_tokens_of_its_place(tiny):
    """Gradient of a placeholder's embedding with respect to the pixels: within the view that it stands for."""
    config = change(tiny, encoder={"tiles": 2}, connector={"num_tokens": 1})
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    pictures = torch.randn(1, 32, 32, requires_grad=True)
    features = see(model.encoder, pictures, tiles=2)
    visual = model.connector(features.unflatten(1, (5, -1)).flatten(0, 1))  # [5, 1, D]
    for number, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)], start=1):
        (gradient,) = torch.autograd.grad(visual[number].square().sum(), pictures, retain_graph=True)
        inside = gradient[0, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        assert inside.abs().sum() == pytest.approx(gradient.abs().sum().item())
        assert (inside != 0).all()


def test_cached_features_of_sub_images_give_the_same_numbers(tiny, make_worker):
    config = change(tiny, encoder={"tiles": 2})
    computed = run(config, make_worker, name="computed")
    cached = run(change(config, encoder={"features": "cached"}), make_worker, name="cached")
    assert computed.last == cached.last
    assert all(torch.equal(tensor, weights(cached)[name]) for name, tensor in weights(computed).items())


@pytest.mark.parametrize(("encoder", "decoder"), [("full", "full"), ("full", "frozen"), ("frozen", "full"), ("frozen", "frozen")])
def test_flops_of_a_step_are_those_that_torch_counts(encoder, decoder):
    config = Config.model_validate(
        {"encoder": {"training": encoder, "tiles": 2}, "decoder": {"training": decoder}, "data": {"mix": "1:0:0"}}
    )
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    for name, training in (("encoder", encoder), ("decoder", decoder)):
        model.get_submodule(name).requires_grad_(training == "full")
    pool = make_pool(training_digits(), num_scenes=9, image_size=config.encoder.picture_size, rng=np.random.default_rng(0))
    drawn = draw_step(pool, mix=config.data.mix, seed=0, step=1, num_rows=8, num_tokens=config.tokens_per_image)
    batch = collate(drawn, device="cpu")
    with torch.no_grad():
        known = see(model.encoder, pool.pixels[batch.pictures], tiles=2)

    def step():
        features = known if encoder == "frozen" else see(model.encoder, pool.pixels[batch.pictures], tiles=2)
        answer_loss(model, batch, features=features).backward()

    assert count_flops(step) == pytest.approx(flops.pretrain_step_flops(config), rel=0.06)


def test_time_to_first_token_counts_every_view(tiny):
    plain, cut = first_token_flops(tiny), first_token_flops(change(tiny, encoder={"tiles": 2}))
    views = tiny.encoder.forward_flops + tiny.connector.forward_flops(tiny.connector_shape)
    assert cut - plain > 4 * views


def test_guide_has_a_study_with_all_stages(tmp_path):
    (found,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "study.yaml").write_text(found)
    study = load_study(str(tmp_path / "study.yaml"))
    plan = make_plan(study, make_arms(study))
    assert {job.spec.name for job in plan.jobs.values()} == {"encoder", "pretrain", "sft"}
    assert len([job for job in plan.jobs.values() if job.spec.name == "pretrain"]) == 1
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", GUIDE.partition("## Stages")[2], re.MULTILINE))
    assert set(rows) == {"encoder", "features", "pretrain", "sft", *Training}


MOE = {"kind": "packed", "moe": {"num_experts": 4, "every": 1}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "decoder"), [*((kind, {"kind": "llama"}) for kind in sorted(KINDS)), ("vit", MOE), ("vit", {"kind": "qwen3"})]
)
def test_every_kind_is_adapted_at_a_higher_resolution_in_sub_images(tiny, make_worker, encoder, decoder):
    written = tiny.model_dump(mode="json")
    shared = {name: value for name, value in written["encoder"].items() if name in EncoderSettings.model_fields}
    depth = {} if encoder == "hybrid" else {"depth": 2}
    written |= {"encoder": {**shared, **depth, "kind": encoder, "pretrain": {"objective": "none"}}}
    written["decoder"] = {"width": 16, "depth": 1, **decoder}
    fields = {"precision": "bfloat16", "checkpoint_layers": True, "accumulate": 2}
    sft = {"encoder": {"image_size": 32, "tiles": 2, "training": "lora"}, "decoder": {"training": "lora"}}
    config = with_sft(Config.model_validate(written), **sft, train={**SFT["train"], **fields})
    after = weights(run(config, make_worker))
    before = load_file(make_worker("look").dir.parent / "trial-pretrain" / train.MODEL_FILE)
    same = {name: tensor for name, tensor in after.items() if tensor.shape == before[name].shape}
    assert after.keys() == before.keys()
    assert len(after) - len(same) <= 1  # the table of positions, where there is one
    assert moved(before, same) == {"encoder", "connector", "decoder"}
