"""What a config names as pretrained to the weights of a built encoder or decoder.

What a config says of sizes is the truth, because it was planned with: a checkpoint of another shape is refused with all that differs. What
no size says (rotation, epsilons, activations) is the checkpoint's, and is there once the part is built.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from model_zoo.artefact import read_artefact, refuse_other_sizes
from model_zoo.decoders.decoder import DecoderSettings, Packed
from model_zoo.decoders.moe import upcycle
from model_zoo.encoders.encoder import EncoderSettings
from model_zoo.encoders.from_transformers import FromTransformers
from model_zoo.hub import MODEL_FILE, CheckpointError, load_whole, refuse_odd, tensor_names


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
    _refuse_broken_numbers(whole.state_dict(), settings.pretrained)
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
    artefact = read_artefact(settings)
    folder, before = artefact
    tensors, own = _read_tensors(folder / MODEL_FILE, under="decoder."), decoder.state_dict()
    _refuse_broken_numbers(tensors, str(folder))
    embedded = tensors.get("embedding.weight")
    refuse_other_sizes(artefact, settings, vocabulary=None if embedded is None else (len(embedded), len(own["embedding.weight"])))
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


def _refuse_broken_numbers(tensors: Mapping[str, Tensor], where: str) -> None:
    """A trial that starts from them would end as diverged, as if its settings had done it."""
    broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{where} has numbers that are not finite, in {len(broken)} of its {len(tensors)} tensors: {broken[0]} for one"
        )


def _read_tensors(path: Path, *, under: str) -> dict[str, Tensor]:
    names = [name for name in tensor_names(path) if name.startswith(under)]
    with safe_open(path, framework="pt") as file:
        return {name.removeprefix(under): file.get_tensor(name) for name in names}
