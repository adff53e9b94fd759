"""Encoders and decoders that start from a checkpoint: tiny ones, made here, against the models of `transformers` that they are of."""

import copy
import json
import math
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn

from ablate.design import make_arms
from ablate.load import load_study
from ablate.planner import make_plan
from model_zoo import trainable
from model_zoo.build import build_decoder, build_encoder
from model_zoo.config import Config
from model_zoo.data.images import MEAN, SD
from model_zoo.data.pictures import PIXEL_MEAN, PIXEL_SD
from model_zoo.decoders.decoder import Decoder, Packed
from model_zoo.decoders.packed import Group
from model_zoo.encoders import KINDS
from model_zoo.encoders.from_transformers import FromTransformers
from model_zoo.hub import CheckpointError
from model_zoo.initial import initialise
from model_zoo.pretrained import load_pretrained
from tests.model_zoo.conftest import change, run, weights

GUIDE = (Path(__file__).parents[2] / "docs" / "pretrained.md").read_text(encoding="utf-8")
VISION = {
    "hidden_size": 16,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
    # what no setting of the zoo says, and no default
    "hidden_act": "relu",
    "layer_norm_eps": 1e-2,
    "attention_dropout": 0.5,
}
ENCODER = {"width": 16, "intermediate_size": 40, "depth": 3, "num_heads": 2, "patch_size": 4, "image_size": 16, "num_channels": 3}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "vocab_size": 20,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    "rms_norm_eps": 1e-2,
    "attention_dropout": 0.5,
    "bos_token_id": None,
    "eos_token_id": None,
}
DECODER = {"width": 16, "mlp_hidden_size": 40, "depth": 2, "num_heads": 4, "num_kv_heads": 2}
VOCABULARY = 25
ENCODERS = {"clip": ("CLIP", "pre_layrnorm.weight"), "siglip": ("Siglip", "post_layernorm.weight")}
DECODERS = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}


def drawn(make: Any, config: Any) -> Any:
    """A model whose every parameter is drawn, those that would be 0 or 1 too, so that one that is left out shows."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        model = make(config)
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def make_vision(kind: str, **changes: Any) -> Any:
    family = ENCODERS[kind][0]
    config = getattr(transformers, f"{family}VisionConfig")(**VISION | changes)
    return drawn(getattr(transformers, f"{family}VisionModel"), config)


def make_text(kind: str, **changes: Any) -> Any:
    family = DECODERS[kind]
    return drawn(getattr(transformers, f"{family}ForCausalLM"), getattr(transformers, f"{family}Config")(**TEXT | changes))


def saved(model: Any, folder: Path, **settings: Any) -> str:
    model.save_pretrained(folder, **settings)
    return str(folder)


def encoder_settings(kind: str, pretrained: str, **changes: Any) -> FromTransformers:
    found = KINDS[kind].model_validate({"kind": kind, **ENCODER, "pretrained": pretrained, **changes})
    assert isinstance(found, FromTransformers)
    return found


def make_encoder(kind: str, pretrained: str, *, files: bool = True, **changes: Any) -> nn.Module:
    settings = encoder_settings(kind, pretrained, **changes)
    encoder = build_encoder(settings, files=files)
    initialise(encoder, seed=0)
    load_pretrained(encoder, settings)
    return encoder


def make_decoder(kind: str, pretrained: str, *, vocabulary_size: int = VOCABULARY, **changes: Any) -> Any:
    settings = TypeAdapter(Decoder).validate_python({"kind": kind, **DECODER, "pretrained": pretrained, **changes})
    decoder = build_decoder(settings, vocabulary_size=vocabulary_size)
    initialise(decoder, seed=0)
    load_pretrained(decoder, settings)
    return decoder


def theirs(model: Any, pixels: Tensor, **how: Any) -> Tensor:
    """The features that a checkpoint is to give: CLIP's patches before its last layer, SigLIP's after all."""
    out = model(pixels, output_hidden_states=True, **how)
    features: Tensor = out.hidden_states[-2][:, 1:] if isinstance(model, transformers.CLIPVisionModel) else out.last_hidden_state
    return features


def tensors_of(folder: str) -> dict[str, Tensor]:
    return load_file(Path(folder) / "model.safetensors")


def rewrite(folder: str, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, Path(folder) / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: str, **changes: Any) -> None:
    path = Path(folder) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def refused(make: Any, *said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert [words for words in said if words not in str(caught.value)] == [], str(caught.value)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("image_size", [16, 24])
@torch.no_grad()
def test_encoder_of_a_checkpoint_gives_the_features_of_transformers(kind, image_size, tmp_path):
    model, pixels = make_vision(kind), torch.randn(2, 3, image_size, image_size)
    encoder = make_encoder(kind, saved(model, tmp_path / "checkpoint"), image_size=image_size)
    assert encoder.training  # where dropout would be
    expected = theirs(model, pixels, interpolate_pos_encoding=True)
    torch.testing.assert_close(encoder(pixels), expected, atol=1e-6, rtol=1e-6)
    if image_size == 16:
        assert torch.equal(encoder(pixels), expected)


@pytest.mark.parametrize("kind", ENCODERS)
@torch.no_grad()
def test_encoder_is_taken_out_of_a_checkpoint_of_both_towers(kind, tmp_path):
    family = ENCODERS[kind][0]
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
    text |= {"bos_token_id": None, "eos_token_id": None}
    config = getattr(transformers, f"{family}Config")(vision_config=VISION, text_config=text)
    both = drawn(getattr(transformers, f"{family}Model"), config)
    pixels = torch.randn(2, 3, 16, 16)
    encoder = make_encoder(kind, saved(both, tmp_path / "checkpoint"))
    assert torch.equal(encoder(pixels), theirs(both.vision_model, pixels))


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
@torch.no_grad()
def test_pixels_become_those_that_the_checkpoint_was_trained_on(name, tmp_path):
    model, pixels = make_vision("clip"), torch.rand(2, 3, 16, 16)
    folder = saved(model, tmp_path / "checkpoint")
    said = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    written = said if name.startswith("pre") else {"image_processor": said}
    (tmp_path / "checkpoint" / name).write_text(json.dumps(written), encoding="utf-8")
    mean, deviation = (torch.tensor(values)[:, None, None] for values in said.values())
    found = make_encoder("clip", folder)((pixels - MEAN) / SD)
    torch.testing.assert_close(found, theirs(model, (pixels - mean) / deviation), atol=1e-5, rtol=1e-5)
    scenes = make_encoder("clip", folder, files=False)((pixels - PIXEL_MEAN) / PIXEL_SD)
    torch.testing.assert_close(scenes, found, atol=1e-5, rtol=1e-5)
    for odd in ({"image_std": [0.2, 0.0, 0.4]}, {"image_mean": [math.nan] * 3}, {"image_mean": ["0.4", 0.5, 0.6]}):
        (tmp_path / "checkpoint" / name).write_text(json.dumps(said | odd), encoding="utf-8")
        refused(lambda: make_encoder("clip", folder), f"{name} normalises by mean")
    refused(lambda: make_encoder("clip", folder, num_channels=1), "num_channels is 3, the config's 1")
    written = {"image_mean": [0.5], "image_std": [0.5]}
    (tmp_path / "checkpoint" / name).write_text(json.dumps(written), encoding="utf-8")
    refused(lambda: make_encoder("clip", folder), f"{name} normalises 1 channels, and the config has 3")


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_decoder_of_a_checkpoint_gives_the_logits_of_transformers(kind, tied, tmp_path):
    model = make_text(kind, tie_word_embeddings=tied)
    decoder = make_decoder(kind, saved(model, tmp_path / "checkpoint", max_shard_size="4KB"))
    assert len(list((tmp_path / "checkpoint").glob("*.safetensors"))) > 1
    tokens = torch.randint(20, (2, 9), generator=torch.Generator().manual_seed(0))
    hidden = decoder(decoder.embedding(tokens.flatten()), groups=[Group(2, 9)])
    found = decoder.head(hidden)[:, :20].view(2, 9, 20)
    torch.testing.assert_close(found, model(tokens).logits, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", DECODERS)
def test_decoder_of_a_checkpoint_may_have_heads_of_their_own_width(kind, tmp_path):
    model = make_text(kind, head_dim=6)
    folder = saved(model, tmp_path / "checkpoint")
    decoder = make_decoder(kind, folder, head_dim=6)
    tokens = torch.randint(20, (2, 9), generator=torch.Generator().manual_seed(0))
    found = decoder.head(decoder(decoder.embedding(tokens.flatten()), groups=[Group(2, 9)]))[:, :20].view(2, 9, 20)
    torch.testing.assert_close(found, model(tokens).logits, atol=1e-6, rtol=1e-6)
    refused(lambda: make_decoder(kind, folder), "its head_dim is 6, the config's 4")


def test_head_width_that_a_checkpoint_leaves_to_its_other_sizes_is_compared(tmp_path):
    folder = saved(make_text("qwen2"), tmp_path / "checkpoint")
    path = Path(folder, "config.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["head_dim"]
    path.write_text(json.dumps(record), encoding="utf-8")
    make_decoder("qwen2", folder)
    refused(lambda: make_decoder("qwen2", folder, head_dim=8), "its head_dim is 4, the config's 8")


def test_checkpoint_in_half_precision_is_trained_in_float32(tmp_path):
    model = make_text("llama").to(torch.bfloat16)
    decoder = make_decoder("llama", saved(model, tmp_path / "checkpoint"))
    assert {parameter.dtype for parameter in decoder.parameters()} == {torch.float32}
    assert torch.equal(decoder.embedding.weight[:20], model.model.embed_tokens.weight.float())
    encoder = make_encoder("siglip", saved(make_vision("siglip").to(torch.bfloat16), tmp_path / "encoder"))
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


@pytest.mark.parametrize("tied", [True, False])
def test_rows_that_the_checkpoint_has_not_stay_as_they_were_drawn(tied, tmp_path):
    model = make_text("llama", tie_word_embeddings=tied)
    decoder = make_decoder("llama", saved(model, tmp_path / "checkpoint"))
    fresh = build_decoder(TypeAdapter(Decoder).validate_python({"kind": "llama", **DECODER}), vocabulary_size=VOCABULARY)
    initialise(fresh, seed=0)
    for own, whose in (("embedding", model.model.embed_tokens), ("head", model.lm_head)):
        assert torch.equal(decoder.get_parameter(f"{own}.weight")[:20], whose.weight)
        assert torch.equal(decoder.get_parameter(f"{own}.weight")[20:], fresh.get_parameter(f"{own}.weight")[20:])


def test_vocabulary_that_has_no_place_is_refused_with_both_numbers(tmp_path):
    folder = saved(make_text("llama"), tmp_path / "checkpoint")
    make_decoder("llama", folder, vocabulary_size=21)
    refused(
        lambda: make_decoder("llama", folder, vocabulary_size=20),
        "its vocabulary is 20 tokens, and vocabulary_size 20 leaves place for 19 beside the image's placeholder",
        "vocabulary_size to 21",
    )


def test_rows_beyond_the_checkpoints_own_tokenizer_are_padding(tmp_path):
    """Qwen's tables are longer than their tokenizer."""
    model = make_text("qwen2")
    folder = saved(model, tmp_path / "checkpoint")
    words = Tokenizer(WordLevel({f"w{number}": number for number in range(17)}, unk_token="w0"))  # noqa: S106
    words.save(str(tmp_path / "checkpoint" / "tokenizer.json"))
    decoder = make_decoder("qwen2", folder, vocabulary_size=18)
    assert torch.equal(decoder.embedding.weight[:17], model.model.embed_tokens.weight[:17])
    assert not torch.equal(decoder.embedding.weight[17], model.model.embed_tokens.weight[17])
    refused(
        lambda: make_decoder("qwen2", folder, vocabulary_size=17), "its vocabulary is 17 tokens, and vocabulary_size 17 leaves place for 16"
    )


def test_sizes_that_differ_are_told_all_at_once(tmp_path):
    folder = saved(make_text("llama", mlp_bias=True), tmp_path / "decoder")
    changes = {"width": 24, "depth": 3, "num_heads": 2, "num_kv_heads": 1, "mlp_hidden_size": 48}
    refused(
        lambda: make_decoder("llama", folder, vocabulary_size=10, **changes),
        f"{folder} does not fit decoder: its width (hidden_size) is 16, the config's 24",
        "its depth (num_hidden_layers) is 2, the config's 3",
        "its num_heads (num_attention_heads) is 4, the config's 2",
        "its num_kv_heads (num_key_value_heads) is 2, the config's 1",
        "its head_dim is 4, the config's 12",
        "its mlp_hidden_size (intermediate_size) is 40, the config's 48",
        "its mlp_bias is True, the config's False",
        "its vocabulary is 20 tokens",
    )
    folder = saved(make_vision("siglip"), tmp_path / "encoder")
    changes = {"width": 24, "depth": 2, "num_heads": 3, "intermediate_size": 41, "patch_size": 8, "num_channels": 1}
    refused(
        lambda: make_encoder("clip", folder, **changes),
        f"{folder} does not fit encoder: its model_type is 'siglip_vision_model', and clip is 'clip_vision_model' or 'clip'",
        "its width (hidden_size) is 16, the config's 24",
        "its depth (num_hidden_layers) is 3, the config's 2",
        "its num_heads (num_attention_heads) is 2, the config's 3",
        "its intermediate_size is 40, the config's 41",
        "its patch_size is 4, the config's 8",
        "its num_channels is 3, the config's 1",
    )


def test_tensors_that_are_missing_too_many_or_of_another_shape_are_named_and_nothing_is_filled(tmp_path):
    folder = saved(make_text("llama"), tmp_path / "checkpoint")
    whole = tensors_of(folder)
    settings = TypeAdapter(Decoder).validate_python({"kind": "llama", **DECODER, "pretrained": folder})
    decoder = build_decoder(settings, vocabulary_size=VOCABULARY)
    initialise(decoder, seed=0)
    before = copy.deepcopy(decoder.state_dict())

    names = [f"model.layers.{layer}.mlp.{part}_proj.weight" for layer in (0, 1) for part in ("down", "gate")]
    rewrite(folder, {name: tensor for name, tensor in whole.items() if name not in names})
    refused(lambda: load_pretrained(decoder, settings), f"lacks: {', '.join(names[:3])} and 1 more")
    rewrite(folder, whole | {"model.odd.weight": torch.zeros(2)})
    refused(lambda: load_pretrained(decoder, settings), "has what is not of this model: model.odd.weight")
    rewrite(folder, whole | {names[0]: torch.zeros(3, 5)})
    refused(lambda: load_pretrained(decoder, settings), f"{names[0]} is [3, 5] in it, and [16, 40] by its config")
    rewrite(folder, whole | {names[0]: torch.full_like(whole[names[0]], torch.nan)})
    refused(lambda: load_pretrained(decoder, settings), f"{folder} has numbers that are not finite, in 1 of its 21 tensors: {names[0]}")
    assert all(torch.equal(tensor, decoder.state_dict()[name]) for name, tensor in before.items())


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoder_that_is_not_whole_is_refused(kind, tmp_path):
    folder = saved(make_vision(kind), tmp_path / "checkpoint")
    tensors = tensors_of(folder)
    del tensors[ENCODERS[kind][1]]
    rewrite(folder, tensors | {"odd": torch.zeros(2)})
    refused(lambda: make_encoder(kind, folder), f"lacks: {ENCODERS[kind][1]}; has what is not of this model: odd")


@pytest.mark.parametrize("content", [lambda data: data[:-9], lambda data: data[:20], lambda data: b"", lambda data: b"GIF89a" * 9])
def test_files_that_are_cut_or_no_safetensors_are_named(content, tmp_path):
    folder = saved(make_text("llama"), tmp_path / "checkpoint")
    path = Path(folder) / "model.safetensors"
    path.write_bytes(content(path.read_bytes()))
    refused(lambda: make_decoder("llama", folder), f"{path} is no whole safetensors file ({path.stat().st_size:,} bytes): SafetensorError")


def test_shard_that_is_not_there_is_named(tmp_path):
    folder = saved(make_text("llama"), tmp_path / "checkpoint", max_shard_size="4KB")
    sorted(Path(folder).glob("*.safetensors"))[1].unlink()
    refused(lambda: make_decoder("llama", folder), f"{folder} lacks model-00002-of-", "which its model.safetensors.index.json names")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 100_000, "is nested too deeply to be read"),
        ("{}", "has no weight_map of tensors to files"),
        ('{"weight_map": {"a": 1}}', "has no weight_map of tensors to files"),
    ],
)
def test_index_that_is_none_is_refused(content, said, tmp_path):
    folder = saved(make_text("llama"), tmp_path / "checkpoint", max_shard_size="4KB")
    Path(folder, "model.safetensors.index.json").write_text(content, encoding="utf-8")
    refused(lambda: make_decoder("llama", folder), f"model.safetensors.index.json {said}")


class Loud:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("loud",))


def test_pickled_weights_are_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = saved(make_text("llama"), tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "model.safetensors").unlink()
    (tmp_path / "checkpoint" / "pytorch_model.bin").write_bytes(pickle.dumps(Loud()))
    refused(
        lambda: make_decoder("llama", folder),
        f"{folder} has no *.safetensors but pytorch_model.bin, pickled, which could run code when read. If you trust its origin",
        f"transformers.LlamaForCausalLM.from_pretrained('{folder}').save_pretrained('NEW_FOLDER')",
    )
    assert not (tmp_path / "loud").exists()


def test_code_beside_the_weights_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = saved(make_text("llama"), tmp_path / "checkpoint")
    config = tmp_path / "checkpoint" / "config.json"
    mapped = {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"auto_map": mapped}), encoding="utf-8")
    (tmp_path / "checkpoint" / "code.py").write_text("import os\nos.mkdir('loud')\n", encoding="utf-8")
    make_decoder("llama", folder)
    assert not (tmp_path / "loud").exists()


def test_adapter_is_no_whole_checkpoint(tmp_path):
    folder = saved(make_text("llama"), tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/name"}', encoding="utf-8")
    refused(lambda: make_decoder("llama", folder), "is an adapter (adapter_config.json) of another checkpoint")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "config.json is no JSON"),
        (b"\xff", "config.json is no JSON"),
        (b"[]", "config.json holds a list, not an object"),
        (b"[" * 100_000, "config.json is nested too deeply to be read"),
        (b"{}", "its model_type is None, and llama is 'llama'"),
        (b'{"model_type": "llama", "hidden_size": "many"}', "config.json is no config of llama"),
        (b'{"model_type": "opt", "hidden_size": "many", "vocab_size": "few"}', "its width (hidden_size) is many, the config's 16"),
        (b'{"model_type": "clip", "vision_config": "none"}', "its model_type is 'clip', and llama is 'llama'"),
        (None, "has no config.json"),
    ],
)
def test_config_that_is_none_is_refused(content, said, tmp_path):
    folder = saved(make_text("llama"), tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / "config.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    refused(lambda: make_decoder("llama", folder), said)


@pytest.mark.parametrize("name", ["folder", "/no/such/folder", "a/b/c"])
def test_name_of_nothing_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(lambda: make_decoder("llama", name), f"'{name}' is no folder in {tmp_path}, and no name on the hub, which is owner/name")


def test_relative_folder_starts_where_the_run_does(tmp_path, monkeypatch):
    model = make_text("llama")
    saved(model, tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    assert torch.equal(make_decoder("llama", "owner/name").embedding.weight[:20], model.model.embed_tokens.weight)
    refused(lambda: make_decoder("llama", "owner/name", revision="main"), "owner/name is a folder, which has no revision main")


@pytest.mark.parametrize(
    ("part", "settings", "said"),
    [
        ("encoder", {"kind": "clip", "revision": "main"}, "revision 'main' of nothing: name what it is of as pretrained"),
        ("decoder", {"kind": "llama", "revision": "main"}, "revision 'main' of nothing: name what it is of as pretrained"),
        ("decoder", {"pretrained": "folder", "revision": "main"}, "revision 'main': packed starts from a folder, which has none"),
        ("decoder", {"kind": "llama", "pretrained": ""}, "at least 1 character"),
        ("encoder", {"pretrained": "folder"}, "Extra inputs are not permitted"),
        ("encoder", {"kind": "clip", "depth": 1}, "greater than or equal to 2"),
        ("encoder", {"kind": "siglip", "pretrain": {"objective": "reconstructive"}}, "use objective contrastive or none, or kind vit"),
    ],
)
def test_settings_that_mean_nothing_are_refused_while_planning(part, settings, said):
    with pytest.raises(ValidationError, match=re.escape(said)):
        Config.model_validate({part: settings})


@pytest.mark.slow
def test_name_on_the_hub_is_looked_up_in_its_cache_and_only_there_when_offline(tmp_path):
    """In a process of its own, since the client reads its environment when it is imported."""
    model, commit = make_text("llama"), "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "hub" / "models--owner--name"
    saved(model, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "v1").write_text(commit, encoding="utf-8")
    script = """
from tests.model_zoo.test_pretrained import CheckpointError, make_decoder
for revision in ("v1", "0123456789abcdef0123456789abcdef01234567", "v2"):
    try:
        print(make_decoder("llama", "owner/name", revision=revision).embedding.weight[:20].sum().item())
    except CheckpointError as error:
        print(error)
"""
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    (tmp_path / "owner" / "names").mkdir(parents=True)
    environment["PYTHONPATH"] = os.getcwd()
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    *sums, why = done.stdout.splitlines()
    assert [float(found) for found in sums] == [model.model.embed_tokens.weight.sum().item()] * 2
    assert why.startswith("'owner/name' is no folder in")
    assert "(there is owner/names), and not to be had from the hub: " in why


def with_parts(tiny: Config, tmp_path: Path, **encoder: Any) -> Config:
    """A trial whose two parts start from checkpoints."""
    parts = {
        "encoder": {"kind": "clip", **ENCODER, "pretrained": saved(make_vision("clip"), tmp_path / "clip"), **encoder},
        "decoder": {"kind": "llama", **DECODER, "pretrained": saved(make_text("llama"), tmp_path / "llama")},
    }
    return Config.model_validate(tiny.model_dump(mode="json") | parts)


def test_trial_starts_from_its_checkpoints_and_is_another_one_than_without(tiny, make_worker, tmp_path):
    config = with_parts(tiny, tmp_path, pretrain={"objective": "none"})
    worker = run(change(config, train={"learning_rate": 1e-12}), make_worker)
    kept, vision, text = weights(worker), tensors_of(str(tmp_path / "clip")), tensors_of(str(tmp_path / "llama"))
    assert torch.equal(kept["encoder.body.encoder.layers.1.mlp.fc1.weight"], vision["encoder.layers.1.mlp.fc1.weight"])
    assert not any("layers.2." in name for name in kept if name.startswith("encoder."))  # LLaVA leaves out the last one
    torch.testing.assert_close(kept["decoder.head.weight"][:20], text["lm_head.weight"], atol=1e-6, rtol=0)
    (stage,) = trainable.stages(config)
    fresh = change(config, encoder={"pretrained": None}, decoder={"pretrained": None})
    assert trainable.stages(fresh)[0].config != stage.config
    assert stage.total_params == sum(tensor.numel() for tensor in kept.values())


def test_features_of_a_checkpoint_are_cached_once(tiny, make_worker, tmp_path):
    cached = run(with_parts(tiny, tmp_path, pretrain={"objective": "none"}, features="cached"), make_worker, name="cached")
    computed = run(with_parts(tiny, tmp_path, pretrain={"objective": "none"}), make_worker, name="computed")
    assert cached.last == computed.last


def test_encoder_stage_starts_from_the_checkpoint(tiny, make_worker, tmp_path):
    config = with_parts(tiny, tmp_path, pretrain={"steps": 1, "batch_size": 4, "learning_rate": 1e-9})
    worker = run(config, make_worker)
    own = load_file(worker.dir.parent / "trial-encoder" / "encoder.safetensors")
    whole = tensors_of(str(tmp_path / "clip"))
    assert {name.removeprefix("body.") for name in own} < set(whole)
    for name, tensor in own.items():
        torch.testing.assert_close(tensor, whole[name.removeprefix("body.")], atol=1e-6, rtol=0)
    assert all(torch.equal(tensor, weights(worker)[f"encoder.{name}"]) for name, tensor in own.items())


def test_sft_stage_goes_on_from_pretrain_and_not_from_the_checkpoint(tiny, make_worker, tmp_path):
    """At another resolution; what no setting says is still the checkpoint's."""
    config = with_parts(tiny, tmp_path, pretrain={"objective": "none"}, training="full")
    sft = {"encoder": {"image_size": 24}, "train": {"steps": 1, "warmup_steps": 1, "learning_rate": 1e-12}}
    config = Config.model_validate(config.model_dump(mode="json") | {"sft": sft})
    first, second = trainable.stages(config)
    pretrained, adapted = make_worker("pretrain"), make_worker("sft")
    trainable.train(first, {}, pretrained)
    checkpoint = tensors_of(str(tmp_path / "clip"))
    for part in ("clip", "llama"):
        (tmp_path / part / "model.safetensors").unlink()
    trainable.train(second, {"pretrain": pretrained.dir}, adapted)
    before, after = weights(pretrained), weights(adapted)
    name = "encoder.body.encoder.layers.0.mlp.fc1.weight"
    assert not torch.allclose(before[name], checkpoint[name.removeprefix("encoder.body.")], atol=1e-4)
    torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    positions = "encoder.body.embeddings.position_embedding.weight"
    assert [tensors[positions].shape[0] for tensors in (before, after)] == [1 + 4 * 4, 1 + 6 * 6]
    torch.testing.assert_close(after[positions][0], before[positions][0], atol=1e-6, rtol=0)  # the class token's is none of a place


def packed_trial(tiny: Config, make_worker: Any, **decoder: Any) -> str:
    """The folder that a pretrain stage leaves."""
    config = change(tiny, encoder={"pretrain": {"objective": "none"}}, decoder={"depth": 2, "num_heads": 4, "num_kv_heads": 2} | decoder)
    return str(run(config, make_worker, name="before").dir)


def packed(folder: str, **changes: Any) -> tuple[nn.Module, Packed]:
    settings = {"width": 16, "depth": 2, "num_heads": 4, "num_kv_heads": 2, "keys": "smeared", "pretrained": folder, **changes}
    config = Packed.model_validate(settings)
    decoder = build_decoder(config, vocabulary_size=VOCABULARY)
    initialise(decoder, seed=5)
    load_pretrained(decoder, config)
    return decoder, config


def test_packed_decoder_starts_from_what_a_pretrain_stage_left(tiny, make_worker):
    folder = packed_trial(tiny, make_worker)
    decoder, _ = packed(folder)
    before = tensors_of(folder)
    assert all(torch.equal(tensor, before[f"decoder.{name}"]) for name, tensor in decoder.state_dict().items())


def test_experts_are_made_of_a_dense_decoder(tiny, make_worker):
    folder = packed_trial(tiny, make_worker)
    dense, _ = packed(folder)
    sparse, _ = packed(folder, moe={"num_experts": 4})
    x = torch.randn(14, 16, generator=torch.Generator().manual_seed(0))
    # two equal experts with gates that sum to 1
    torch.testing.assert_close(sparse(x, groups=[Group(2, 7)]), dense(x, groups=[Group(2, 7)]), atol=1e-5, rtol=1e-5)
    fresh = build_decoder(packed(folder, moe={"num_experts": 4})[1], vocabulary_size=VOCABULARY)
    initialise(fresh, seed=5)
    assert torch.equal(sparse.get_parameter("layers.1.experts.router.weight"), fresh.get_parameter("layers.1.experts.router.weight"))


def test_packed_decoder_with_experts_starts_from_its_like_alone(tiny, make_worker):
    folder = packed_trial(tiny, make_worker, moe={"num_experts": 4})
    decoder, _ = packed(folder, moe={"num_experts": 4})
    assert torch.equal(
        decoder.get_parameter("layers.1.experts.router.weight"), tensors_of(folder)["decoder.layers.1.experts.router.weight"]
    )
    refused(lambda: packed(folder), "its moe.num_experts is 4, the config's None", "its moe.every is 2, the config's None")
    refused(lambda: packed(folder, moe={"num_experts": 8, "every": 1}), "num_experts is 4, the config's 8", "every is 2, the config's 1")


def test_packed_decoder_of_another_shape_is_refused_with_all_that_differs(tiny, make_worker):
    folder = packed_trial(tiny, make_worker)
    changes = {"width": 8, "depth": 3, "num_heads": 2, "num_kv_heads": 1, "mlp_hidden_size": 9, "keys": "plain"}
    refused(
        lambda: packed(folder, **changes),
        f"{folder} does not fit decoder: its width is 16, the config's 8; its depth is 2, the config's 3; its num_heads is 4",
        "its num_kv_heads is 2, the config's 1; its mlp_hidden_size is 40, the config's 9; its keys is smeared, the config's plain",
    )
    settings = Packed.model_validate({"width": 16, "depth": 2, "num_heads": 4, "num_kv_heads": 2, "keys": "smeared", "pretrained": folder})
    refused(lambda: load_pretrained(build_decoder(settings, vocabulary_size=30), settings), "its vocabulary is 25, the config's 30")


def test_packed_decoder_refuses_what_is_not_whole(tiny, make_worker, tmp_path):
    folder = packed_trial(tiny, make_worker)
    whole = tensors_of(folder)
    rewrite(folder, {name: tensor for name, tensor in whole.items() if name != "decoder.layers.0.down.weight"})
    refused(lambda: packed(folder), "lacks: layers.0.down.weight")
    refused(lambda: packed(folder, moe={"num_experts": 4}), "the dense decoder has no layers.0.down.weight")
    rewrite(folder, whole | {"decoder.odd": torch.zeros(1)})
    refused(lambda: packed(folder), "has what is not of this model: odd")
    rewrite(folder, whole | {"decoder.layers.0.down.weight": torch.zeros(2, 2)})
    refused(lambda: packed(folder), "layers.0.down.weight is [2, 2] in it, and [16, 40] by its config")
    rewrite(folder, whole | {"decoder.layers.0.down.weight": torch.full((16, 40), torch.inf)})
    refused(lambda: packed(folder), "has numbers that are not finite")
    path = Path(folder) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    refused(lambda: packed(folder), f"{path} is no whole safetensors file")
    path.unlink()
    refused(lambda: packed(folder), f"{folder} has no model.safetensors: packed starts from what a pretrain stage of the zoo leaves")
    refused(lambda: packed("owner/name"), "'owner/name' is no folder in")
    other = saved(make_text("llama"), tmp_path / "llama")
    refused(lambda: packed(other), "config.json is not what a pretrain stage of the zoo leaves: KeyError: 'decoder'")


def test_packed_decoder_does_not_start_from_one_of_transformers(tiny, make_worker):
    config = Config.model_validate(
        tiny.model_dump(mode="json") | {"decoder": {"kind": "llama", "width": 16, "depth": 2, "num_heads": 4, "num_kv_heads": 2}}
    )
    folder = str(run(change(config, encoder={"pretrain": {"objective": "none"}}), make_worker).dir)
    refused(lambda: packed(folder, keys="plain"), "its kind is llama, the config's packed")


def test_part_that_names_nothing_is_left_alone():
    settings = Packed()
    decoder = build_decoder(settings, vocabulary_size=VOCABULARY)
    initialise(decoder, seed=0)
    before = copy.deepcopy(decoder.state_dict())
    load_pretrained(decoder, settings)
    assert all(torch.equal(tensor, decoder.state_dict()[name]) for name, tensor in before.items())


@pytest.mark.parametrize("kind", [*DECODERS, "packed"])
def test_config_that_names_no_checkpoint_is_dumped_as_before(kind):
    written = TypeAdapter(Decoder).validate_python({"kind": kind}).model_dump(mode="json")
    assert {"pretrained", "revision"} & set(written) == set()


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoder_that_names_no_checkpoint_is_dumped_without_one(kind):
    assert {"pretrained", "revision", "intermediate_size"} & set(KINDS[kind]().model_dump(mode="json")) == set()


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoder_without_a_checkpoint_starts_with_the_stream_at_the_scale_of_the_others(kind):
    settings = KINDS[kind](width=64, depth=5)
    encoder = build_encoder(settings)
    initialise(encoder, seed=0)
    layers = encoder.get_submodule("body.encoder.layers")
    assert isinstance(layers, nn.ModuleList)
    for name, fan_in in (("self_attn.out_proj", 64), ("mlp.fc2", 256)):
        spread = torch.cat([layer.get_parameter(f"{name}.weight").flatten() for layer in layers]).std().item()
        assert spread == pytest.approx((fan_in * 2 * len(layers)) ** -0.5, rel=0.02)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(("width", "depth", "image_size", "mlp"), [(1024, 24, 336, 4096), (1152, 27, 378, 4304)])
def test_large_encoder_has_as_many_parameters_as_are_built(kind, width, depth, image_size, mlp):
    """The shapes of CLIP ViT-L/14 at 336 px, and of SigLIP SO400M/14 at 384 px, whose grid is that of 378."""
    settings = KINDS[kind](
        width=width, depth=depth, num_heads=16, patch_size=14, image_size=image_size, num_channels=3, intermediate_size=mlp
    )
    with torch.device("meta"):
        assert settings.num_params == sum(parameter.numel() for parameter in settings.build().parameters())


def test_study_of_the_guide_is_planned(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.DOTALL)
    (tmp_path / "pretrained.yaml").write_text(example, encoding="utf-8")
    study = load_study(tmp_path / "pretrained.yaml")
    plan = make_plan(study, make_arms(study))
    assert {job.spec.name for job in plan.jobs.values()} == {"pretrain"}
    assert len(plan.jobs) == 4


@pytest.mark.parametrize(
    "odd",
    [{"hidden_act": "nope"}, {"rope_parameters": {"rope_type": "nope", "rope_theta": 1e4}}, {"pad_token_id": 100_000}],
    ids=lambda odd: next(iter(odd)),
)
def test_config_that_makes_no_model_is_refused(odd, tmp_path):
    folder = saved(make_text("llama"), tmp_path / "checkpoint")
    change_config(folder, **odd)
    refused(lambda: make_decoder("llama", folder), "llama")


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_code_that_a_config_names_for_attention_is_not_asked_for(key, tmp_path):
    folder = saved(make_text("llama"), tmp_path / "checkpoint")
    change_config(folder, **{key: "kernels-community/flash-attn", "return_dict": False})
    decoder = make_decoder("llama", folder)
    assert decoder.body.config._attn_implementation == "sdpa"
    assert decoder(decoder.embedding(torch.arange(6)), groups=[Group(2, 3)]).shape == (6, DECODER["width"])
