"""How a step is made: micro-batches, precision, layers that run again, optimizers; none of it in the way of the others."""

import numpy as np
import pytest
import torch

from model_zoo import flops, train
from model_zoo.build import build_model
from model_zoo.config import Config, Train
from model_zoo.data.batch import collate, deal
from model_zoo.data.pictures import make_pool, training_digits
from model_zoo.data.stream import draw_step
from model_zoo.data.vocabulary import IMAGE, SIZE
from model_zoo.evaluate.loss import answer_loss
from model_zoo.initial import initialise
from model_zoo.layers import prepare
from model_zoo.optim import make_optimizer, parameter_groups, set_rate
from model_zoo.trainable import stages
from tests.model_zoo.conftest import change, run, weights
from tests.model_zoo.counting import count_saved_bytes


@pytest.fixture
def pool():
    return make_pool(training_digits(), num_scenes=9, image_size=16, rng=np.random.default_rng(0))


def draw(pool, *, mix="45:45:10", rows=8):
    return draw_step(pool, mix=Config.model_validate({"data": {"mix": mix}}).data.mix, seed=0, step=1, num_rows=rows, num_tokens=4)


def make_step(pool):
    """A model, the loss of one step as a function, and the config."""
    config = Config.model_validate({"decoder": {"width": 32, "depth": 6}})
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    initialise(model, seed=0)
    batch = collate(draw(pool), device="cpu")
    with torch.no_grad():
        features = model.encoder(pool.pixels[batch.pictures])
    return model, lambda: answer_loss(model, batch, features=features), config


def test_config_without_the_newer_fields_is_what_it_was():
    assert set(Train().model_dump()) == {
        "steps", "rows_per_step", "learning_rate", "weight_decay", "warmup_steps", "final_lr_fraction", "clip_norm"
    }  # fmt: skip
    written = {"schedule": "wsd", "decay_fraction": 0.1, "optimizer": "adafactor", "accumulate": 2, "precision": "bfloat16"}
    written |= {"checkpoint_layers": True}
    assert Train.model_validate(written).model_dump(mode="json", include=set(written)) == written


def test_more_micro_batches_than_rows_are_refused_with_the_most_there_can_be():
    with pytest.raises(ValueError, match="9 micro-batches of 8 rows: at most one a row, 8"):
        Train(rows_per_step=8, accumulate=9)


@pytest.mark.parametrize("parts", [1, 3, 8])
def test_deal_gives_every_document_to_one_part_and_each_part_its_share_of_every_kind(pool, parts):
    kinds = draw(pool)
    dealt = deal(kinds, parts=parts)
    assert len(dealt) == parts
    for kind in kinds:
        hands = [[d for d in hand if d.tokens.shape == (len(d.tokens), kind.tokens.shape[1])] for hand in dealt]
        rows = [row.tobytes() for hand in hands for documents in hand for row in documents.tokens]
        same = [row.tobytes() for other in kinds if other.tokens.shape[1] == kind.tokens.shape[1] for row in other.tokens]
        assert sorted(rows) == sorted(same)
    sizes = [sum(len(documents.tokens) for documents in hand) for hand in dealt]
    assert max(sizes) - min(sizes) <= 1
    assert all(len(documents.tokens) for hand in dealt for documents in hand)


def test_micro_batches_of_unlike_answers_add_up_to_the_undivided_gradient(tiny, make_worker, monkeypatch):
    found = {}
    for accumulate in (1, 3):
        config = change(tiny, train={"accumulate": accumulate, "steps": 1, "warmup_steps": 0}, encoder={"training": "full"})
        kept = found[accumulate] = {}

        def keep(parameters, optimizer, kept=kept, **_):  # no step, which would hide by clipping and moments how large gradients are
            kept |= {number: parameter.grad.clone() for number, parameter in enumerate(parameters)}

        monkeypatch.setattr(train, "descend", keep)
        worker = make_worker(f"worker-{accumulate}")
        train.train_model(config, first=train.First(), context=worker)
        kept["loss"] = torch.tensor(worker.last["train_loss"])
    assert found[1].keys() == found[3].keys()
    for number, gradient in found[1].items():
        largest = gradient.abs().max().item()
        torch.testing.assert_close(found[3][number], gradient, rtol=0, atol=1e-5 * largest)


def test_routing_losses_of_micro_batches_are_those_of_the_step(tiny, make_worker):
    """Not of the last one alone: a mean over tokens of micro-batches is that over all but for their unlike numbers of tokens."""
    experts = {"decoder": {"keys": "plain", "moe": {"num_experts": 4, "every": 1}}}
    one, three = (
        run(change(tiny, train={"accumulate": accumulate, "steps": 1, "warmup_steps": 0}, **experts), make_worker, name=f"by-{accumulate}")
        for accumulate in (1, 3)
    )
    assert three.last["router_z_loss"] == pytest.approx(one.last["router_z_loss"], rel=0.02)


@pytest.mark.parametrize(
    "fields", [{"accumulate": 3}, {"optimizer": "adafactor"}, {"precision": "bfloat16"}, {"schedule": "wsd", "decay_fraction": 0.5}]
)
def test_training_interrupted_ends_with_the_same_bits(tiny, make_worker, fields):
    config = change(tiny, train={"steps": train.REPORT_EVERY + 4, **fields}, encoder={"training": "slow"})
    calm, stopped, resumed = make_worker("calm"), make_worker("stopped", stop=True), make_worker("resumed")
    for worker in (calm, stopped, resumed):
        resumed.kept = stopped.kept
        train.train_model(config, first=train.First(), context=worker)
    assert not (stopped.dir / train.MODEL_FILE).exists()
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(calm).items())
    assert resumed.last == calm.last


def test_bfloat16_keeps_weights_in_float32_and_stays_near_them(tiny, make_worker):
    exact = run(tiny, make_worker, name="exact")
    rough = run(change(tiny, train={"precision": "bfloat16"}), make_worker, name="rough")
    assert {tensor.dtype for tensor in weights(rough).values()} == {torch.float32}
    assert rough.last["train_loss"] != exact.last["train_loss"]
    assert rough.last["val_loss"] == pytest.approx(exact.last["val_loss"], rel=0.005)  # measured: 0.02 %


@pytest.mark.parametrize("kind", ["packed", "llama"])
def test_layers_that_run_again_give_the_same_bits(tiny, make_worker, kind):
    decoder = {"width": 16, "depth": 2, "kind": kind} | ({"keys": "smeared"} if kind == "packed" else {})
    config = Config.model_validate({**tiny.model_dump(mode="json"), "decoder": decoder})
    kept, again = (
        run(change(config, train={"checkpoint_layers": checkpointed}), make_worker, name=f"trial-{checkpointed}")
        for checkpointed in (False, True)
    )
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in weights(kept).items())
    assert again.last == kept.last


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the compiler's own doing, some of which it means to swallow
@pytest.mark.parametrize("kind", ["packed", "llama"])
def test_compiled_mlps_learn_the_same_up_to_rounding_under_the_same_names(tiny, make_worker, kind, tmp_path, monkeypatch):
    # what is compiled is kept for all programs of the machine, and half of it where one of them was killed
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    decoder = {"width": 16, "depth": 2, "kind": kind}
    config = Config.model_validate({**tiny.model_dump(mode="json"), "decoder": decoder})
    plain, compiled = (
        run(change(config, train={"compile_mlps": compiling}), make_worker, name=f"trial-{compiling}") for compiling in (False, True)
    )
    assert weights(plain).keys() == weights(compiled).keys()
    assert compiled.last["val_loss"] == pytest.approx(plain.last["val_loss"], rel=1e-4)


def test_layers_that_run_again_keep_their_inputs_alone(pool):
    model, loss, config = make_step(pool)
    whole = count_saved_bytes(loss) - sum(4 * parameter.numel() for parameter in model.parameters())
    prepare(model.decoder.layers, train=Train(checkpoint_layers=True))
    beside = sum(4 * parameter.numel() for name, parameter in model.named_parameters() if "layers" not in name)
    peak = count_saved_bytes(loss) - beside + whole / config.decoder.depth  # and the layer that runs again
    assert peak < whole / 2
    planned = [flops.activation_bytes(change(config, train={"checkpoint_layers": again})) for again in (True, False)]
    assert planned[0] / planned[1] == pytest.approx(peak / whole, rel=0.1)


@pytest.mark.parametrize("training", ["frozen", "full"])
def test_planned_memory_follows_what_a_step_is(training):
    base = Config.model_validate({"encoder": {"training": training}})
    plain = stages(base)[-1].memory_bytes
    for fields in ({"accumulate": 4}, {"optimizer": "adafactor"}, {"precision": "bfloat16"}, {"checkpoint_layers": True}):
        assert stages(change(base, train=fields))[-1].memory_bytes < plain, fields
    assert flops.activation_bytes(change(base, train={"accumulate": 4})) == flops.activation_bytes(base) / 4


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_planned_bytes_of_a_parameter_are_those_of_gradient_and_state(optimizer):
    config = Config.model_validate({"decoder": {"width": 96}, "train": {"optimizer": optimizer}})
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    made = make_optimizer(parameter_groups(model, weight_decay=0.1), kind=config.train.optimizer)
    set_rate(made, 0.001)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.step()
    numbers = sum(p.numel() for p in model.parameters())
    state = sum(value.nbytes for state in made.state.values() for value in state.values() if torch.is_tensor(value) and value.dim())
    assert flops.trained_bytes(config) * numbers == pytest.approx(8 * numbers + state, rel=0.02)


def test_bfloat16_keeps_the_share_of_bytes_that_is_planned(pool):
    _, loss, _ = make_step(pool)
    exact = count_saved_bytes(loss)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = count_saved_bytes(loss)
    assert rough / exact == pytest.approx(flops.BFLOAT16_KEPT, abs=0.05)


def test_gradient_is_clipped_over_all_that_is_trained_and_that_alone():
    config = Config()
    model = build_model(config, vocabulary_size=SIZE, image_token=IMAGE)
    parameter_groups(model, weight_decay=0.0, encoder=config.encoder.training)
    trained = train.trained_parameters(model)
    expected = [parameter for name, parameter in model.named_parameters() if not name.startswith("encoder.")]
    assert [id(parameter) for parameter in trained] == [id(parameter) for parameter in expected]
