"""What a pretrain stage of the zoo left, as a packed decoder to start from: the settings of its own decoder, and how they differ. Reads no
weights.
"""

from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from model_zoo.decoders.decoder import Decoder, DecoderSettings, Packed
from model_zoo.hub import CONFIG_FILE, MODEL_FILE, CheckpointError, in_one_line, read_json

_LEFT = "what a pretrain stage of the zoo leaves"
_SIZES = {
    "kind": "kind",
    "width": "width",
    "depth": "depth",
    "num_heads": "num_heads",
    "num_kv_heads": "kv_heads",
    "mlp_hidden_size": "mlp_width",
}
"""What a config calls it -> where the number is, given or not."""


class Artefact(NamedTuple):
    """A folder that is one."""

    folder: Path
    decoder: DecoderSettings


def read_artefact(settings: Packed) -> Artefact:
    """The folder that `settings` name as pretrained. Raises CheckpointError where it is none."""
    assert settings.pretrained
    folder = Path(settings.pretrained)
    if not folder.is_dir():
        raise CheckpointError(f"'{folder}' is no folder in {Path.cwd()}: packed starts from {_LEFT}")
    if not (folder / MODEL_FILE).is_file():
        raise CheckpointError(f"{folder} has no {MODEL_FILE}: packed starts from {_LEFT}")
    try:
        record = read_json(folder / CONFIG_FILE)["decoder"]
        return Artefact(folder, TypeAdapter[DecoderSettings](Decoder).validate_python({"kind": "packed", **record}))
    except (KeyError, TypeError, ValidationError) as error:
        raise CheckpointError(f"{folder / CONFIG_FILE} is not {_LEFT}: {in_one_line(error)}") from error


def refuse_other_sizes(found: Artefact, settings: Packed, *, vocabulary: tuple[int, int] | None = None) -> None:
    """Raises CheckpointError with all that differs. `vocabulary`: tokens of the artefact and of ours, where they are known."""
    before = found.decoder
    rows = {label: (getattr(before, name), getattr(settings, name)) for label, name in _SIZES.items()}
    if isinstance(before, Packed):
        rows["keys"] = (before.keys.value, settings.keys.value)
        if before.moe:
            rows["moe.num_experts"] = (before.moe.num_experts, settings.moe and settings.moe.num_experts)
            rows["moe.every"] = (before.moe.every, settings.moe and settings.moe.every)
    if vocabulary:
        rows["vocabulary"] = vocabulary
    if different := [f"its {label} is {there}, the config's {here}" for label, (there, here) in rows.items() if there != here]:
        raise CheckpointError(f"{found.folder} does not fit decoder: {'; '.join(different)}")
