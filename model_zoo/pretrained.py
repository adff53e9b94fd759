"""What a config names as pretrained to the weights of a built encoder or decoder.

What a config says of sizes is the truth, because it was planned with: a checkpoint of another shape is refused with all that differs. What
no size says (rotation, epsilons, activations) is the checkpoint's, and is there once the part is built.
"""

from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import safe_open
from torch import Tensor, nn

from model_zoo.decoders.decoder import Decoder, DecoderSettings, Packed
from model_zoo.decoders.moe import upcycle
from model_zoo.encoders.encoder import EncoderSettings
from model_zoo.encoders.from_transformers import FromTransformers
from model_zoo.hub import CONFIG_FILE, MODEL_FILE, CheckpointError, in_one_line, load_whole, read_json, refuse_odd, tensor_names


@torch.no_grad()
def load_pretrained(part: nn.Module, settings: EncoderSettings | DecoderSettings) -> None:
    """Fills an encoder or a decoder that was built from `settings` with what they name as pretrained; leaves it alone if that is nothing.

    Raises CheckpointError before anything is changed.
    """
    if not isinstance(settings, FromTransformers | DecoderSettings) or settings.pretrained is None:
        return
    if isinstance(settings, Packed):
        _fill_packed(part, settings)
        return
    whole = load_whole(settings)
    if isinstance(settings, FromTransformers):
        kept = part.state_dict()
        tensors = {f"body.{name}": tensor for name, tensor in whole.state_dict().items()}
        part.load_state_dict({name: tensors[name] for name in kept})  # a head, or a last layer, that is not built is left out
        return
    layers = whole.get_submodule("model").state_dict()
    layers.pop("embed_tokens.weight")
    part.get_submodule("body").load_state_dict(layers)
    for own, theirs in (("embedding", "model.embed_tokens"), ("head", "lm_head")):
        mine, whose = part.get_parameter(f"{own}.weight"), whole.get_parameter(f"{theirs}.weight")
        rows = min(len(whose), len(mine) - 1)  # those beyond, the image placeholder's among them, stay as they were drawn
        mine[:rows] = whose[:rows]


def _fill_packed(decoder: nn.Module, settings: Packed) -> None:
    """From the artefact of a pretrain stage of the zoo. Experts that it has not are made of its MLPs."""
    folder, before = _settings_of_artefact(settings)
    tensors, own = _read_tensors(folder / MODEL_FILE, under="decoder."), decoder.state_dict()
    sizes = {"width": "width", "depth": "depth", "num_heads": "num_heads", "num_kv_heads": "kv_heads", "mlp_hidden_size": "mlp_width"}
    rows = {label: (getattr(before, name), getattr(settings, name)) for label, name in {"kind": "kind", **sizes}.items()}
    if isinstance(before, Packed):
        rows["keys"] = (before.keys.value, settings.keys.value)
        if before.moe:
            rows["moe.num_experts"] = (before.moe.num_experts, settings.moe and settings.moe.num_experts)
            rows["moe.every"] = (before.moe.every, settings.moe and settings.moe.every)
    if "embedding.weight" in tensors:
        rows["vocabulary"] = (len(tensors["embedding.weight"]), len(own["embedding.weight"]))
    if different := [f"its {label} is {there}, the config's {here}" for label, (there, here) in rows.items() if there != here]:
        raise CheckpointError(f"{folder} does not fit decoder: {'; '.join(different)}")
    if settings.moe and isinstance(before, Packed) and before.moe is None:
        try:
            upcycle(decoder, tensors)
        except ValueError as error:
            raise CheckpointError(f"{folder / MODEL_FILE}: {error}") from error
        return
    mismatched = [(name, tensors[name].shape, own[name].shape) for name in sorted(own) if name in tensors]
    refuse_odd(
        folder / MODEL_FILE,
        missing=own.keys() - tensors.keys(),
        unexpected=tensors.keys() - own.keys(),
        mismatched=[each for each in mismatched if each[1] != each[2]],
    )
    decoder.load_state_dict(tensors)


def _settings_of_artefact(settings: Packed) -> tuple[Path, DecoderSettings]:
    """The folder that a pretrain stage left, and its decoder's settings."""
    left = "what a pretrain stage of the zoo leaves"
    assert settings.pretrained
    folder = Path(settings.pretrained)
    if not folder.is_dir():
        raise CheckpointError(f"'{folder}' is no folder in {Path.cwd()}: packed starts from {left}")
    if not (folder / MODEL_FILE).is_file():
        raise CheckpointError(f"{folder} has no {MODEL_FILE}: packed starts from {left}")
    try:
        record = read_json(folder / CONFIG_FILE)["decoder"]
        return folder, TypeAdapter[DecoderSettings](Decoder).validate_python({"kind": "packed", **record})
    except (KeyError, TypeError, ValidationError) as error:
        raise CheckpointError(f"{folder / CONFIG_FILE} is not {left}: {in_one_line(error)}") from error


def _read_tensors(path: Path, *, under: str) -> dict[str, Tensor]:
    names = [name for name in tensor_names(path) if name.startswith(under)]
    with safe_open(path, framework="pt") as file:
        return {name.removeprefix(under): file.get_tensor(name) for name in names}
