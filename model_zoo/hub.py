"""A name to what `transformers` makes of it: a folder, or a model on Hugging Face's hub, to a config and to a whole model.

Weights are read as safetensors alone, and no code that lies beside them is run. Nothing is downloaded that no config names.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Made = TypeVar("Made", bound="PreTrainedConfig")
Body = TypeVar("Body", bound="PreTrainedModel")
CONFIG_FILE = "config.json"
MODEL_FILE = "model.safetensors"
"""Both are called so by `transformers` and by the zoo."""
INDEX_FILE = "model.safetensors.index.json"
"""Which file has which tensor, where there are several."""
TOKENIZER_FILE = "tokenizer.json"
ADAPTER_FILE = "adapter_config.json"
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""Where `transformers` keeps how pixels are normalised: before version 5, and since."""
HUB_FILES = (CONFIG_FILE, MODEL_FILE, "model-*.safetensors", INDEX_FILE, TOKENIZER_FILE, *PROCESSOR_FILES)
"""What is taken from the hub: no code, no pickles."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
FEW = 3
"""Names that an error lists."""
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class CheckpointError(ValueError):
    """A checkpoint that is not there, cannot be read, or does not fit what the config says."""


class Family(NamedTuple):
    """Names in `transformers`."""

    model_types: tuple[str, ...]
    """In a checkpoint's config.json."""
    model: str
    part: str
    """Of our model."""
    beside: tuple[str, ...] = ()
    """Beginnings of names of tensors that belong to other towers."""


_OTHER_TOWER = ("text_model.", "text_projection.", "visual_projection.", "logit_")
FAMILIES = {
    "clip": Family(("clip_vision_model", "clip"), "CLIPVisionModel", "encoder", _OTHER_TOWER),
    "siglip": Family(("siglip_vision_model", "siglip"), "SiglipVisionModel", "encoder", _OTHER_TOWER),
    "llama": Family(("llama",), "LlamaForCausalLM", "decoder"),
    "qwen2": Family(("qwen2",), "Qwen2ForCausalLM", "decoder"),
    "qwen3": Family(("qwen3",), "Qwen3ForCausalLM", "decoder"),
}
FIELDS = {
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "intermediate_size": "mlp_hidden_size",
}
"""What `transformers` calls a size -> what the zoo's settings call it that do not call it the same."""


class Named(Protocol):
    """Settings of a part that may name a checkpoint."""

    @property
    def kind(self) -> str: ...
    @property
    def pretrained(self) -> str | None: ...
    @property
    def revision(self) -> str | None: ...


def read_config(
    settings: Named,
    *,
    make: "Callable[..., Made]",
    expected: Mapping[str, Any],
    vocabulary_size: int | None = None,
) -> "Made":
    """The checkpoint's config, as the class `make` of `transformers` reads it.

    `expected` has the sizes of the settings as that class names them. Raises CheckpointError with all that differ in the checkpoint, with
    its family if that is another one, and with its vocabulary if it has tokens for which `vocabulary_size`, the image's placeholder
    included, has no place.
    """
    folder, family = _folder(settings), FAMILIES[settings.kind]
    record = read_json(folder / CONFIG_FILE)
    differences = _other_family(record, settings)
    if not differences:
        try:
            with _quiet():
                config: Made = make.from_pretrained(folder, local_files_only=True)  # type: ignore[attr-defined]
        except Exception as error:  # transformers raises errors of many kinds for a value of the wrong type
            raise CheckpointError(f"{folder / CONFIG_FILE} is no config of {settings.kind}: {in_one_line(error)}") from error
        # a config may name code on the hub for this, which would be fetched and run
        config._attn_implementation, config.return_dict = "sdpa", True
        found = config.to_dict()
        if "head_dim" in expected and found.get("head_dim") is None:  # Qwen2's config says it where it is an odd one
            found["head_dim"] = found["hidden_size"] // found["num_attention_heads"]
    else:
        found = _sizes_in(record)
    differences += _other_sizes(found, expected, settings)
    differences += _tokens_without_place(found, folder, vocabulary_size)
    if differences:
        raise CheckpointError(f"{settings.pretrained} does not fit {family.part}: {'; '.join(differences)}")
    return config


def read_normalisation(settings: Named, *, num_channels: int) -> tuple[list[float], list[float]] | None:
    """Mean and deviation of each channel that a checkpoint's images were normalised by, for pixels from 0 to 1; None if it does not say."""
    folder = _folder(settings)
    for name in PROCESSOR_FILES:
        if (folder / name).is_file():
            record = read_json(folder / name)
            inner = record.get("image_processor")
            said = inner if isinstance(inner, dict) else record
            mean, deviation = said.get("image_mean"), said.get("image_std")
            if isinstance(mean, list) and isinstance(deviation, list):
                if {len(mean), len(deviation)} != {num_channels}:
                    raise CheckpointError(f"{folder / name} normalises {len(mean)} channels, and the config has {num_channels}")
                numbers = [value for value in (*mean, *deviation) if isinstance(value, int | float) and math.isfinite(value)]
                if len(numbers) < 2 * num_channels or min(deviation) <= 0:
                    raise CheckpointError(f"{folder / name} normalises by mean {mean} and deviation {deviation}, which are no such numbers")
                return mean, deviation
    return None


def build_body(make: "Callable[[Made], Body]", config: "Made", settings: Named) -> "Body":
    """A model of `transformers`, without weights of its own. Raises CheckpointError where a checkpoint's config makes none."""
    try:
        return make(config)
    except Exception as error:  # whatever transformers raises for a value that it does not know
        if settings.pretrained is None:
            raise
        raise CheckpointError(f"the config of {settings.pretrained} makes no {settings.kind}: {in_one_line(error)}") from error


def load_whole(settings: Named) -> "PreTrainedModel":
    """The checkpoint as a model of `transformers` in the precision of its files, with no weight that is not in them."""
    import transformers

    folder, family = _folder(settings), FAMILIES[settings.kind]
    for path in _weight_files(folder, settings):
        tensor_names(path)  # says which file is broken; the library does not
    try:
        with _quiet():
            whole, report = getattr(transformers, family.model).from_pretrained(
                folder,
                use_safetensors=True,
                local_files_only=True,
                attn_implementation="sdpa",
                ignore_mismatched_sizes=True,  # so that the report names them
                output_loading_info=True,
            )
    except Exception as error:  # whatever transformers and safetensors raise: all of them mean that it cannot be read
        raise CheckpointError(f"{folder} cannot be read: {in_one_line(error)}") from error
    refuse_odd(
        folder,
        missing=report["missing_keys"],  # the library would leave these as it drew them
        unexpected=[name for name in report["unexpected_keys"] if not name.startswith(family.beside)],
        mismatched=sorted(report["mismatched_keys"]),
    )
    loaded: PreTrainedModel = whole
    return loaded


def _weight_files(folder: Path, settings: Named) -> list[Path]:
    """Raises CheckpointError where there are none that may be read."""
    if (folder / ADAPTER_FILE).is_file():
        raise CheckpointError(f"{folder} is an adapter ({ADAPTER_FILE}) of another checkpoint: merge it and save the whole model")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        has = f" but {', '.join(pickles[:FEW])}, pickled, which could run code when read" if pickles else ""
        raise CheckpointError(
            f"{settings.pretrained} has no *.safetensors{has}. If you trust its origin, convert it once in Python: "
            f"transformers.{FAMILIES[settings.kind].model}.from_pretrained('{settings.pretrained}').save_pretrained('NEW_FOLDER')"
        )
    if (folder / INDEX_FILE).is_file():
        shards = read_json(folder / INDEX_FILE).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise CheckpointError(f"{folder / INDEX_FILE} has no weight_map of tensors to files")
        if missing := sorted({name for name in shards.values() if not (folder / name).is_file()}):
            raise CheckpointError(f"{folder} lacks {_few(missing)}, which its {INDEX_FILE} names")
    return weights


def check_checkpoint(settings: Named, *, expected: Mapping[str, Any], weights: bool, vocabulary_size: int | None = None) -> None:
    """Raises CheckpointError with what can be said against a checkpoint without `transformers` and without reading weights.

    `expected` and `vocabulary_size` are as in `read_config`, `weights` is whether those will be read. Of a name on the hub nothing is said
    that may still be fetched.
    """
    assert settings.pretrained
    if not Path(settings.pretrained).is_dir() and _HUB_NAME.fullmatch(settings.pretrained):
        from huggingface_hub import constants

        if not constants.HF_HUB_OFFLINE:
            return
    folder = _folder(settings)
    record = read_json(folder / CONFIG_FILE)
    written = {name: value for name, value in _sizes_in(record).items() if value is not None}
    differences = _other_family(record, settings) + _other_sizes(written, expected, settings)
    differences += _tokens_without_place(written, folder, vocabulary_size)
    if differences:
        raise CheckpointError(f"{settings.pretrained} does not fit {FAMILIES[settings.kind].part}: {'; '.join(differences)}")
    if weights:
        _weight_files(folder, settings)


def _other_family(record: Mapping[str, Any], settings: Named) -> list[str]:
    model_type, allowed = record.get("model_type"), FAMILIES[settings.kind].model_types
    return [] if model_type in allowed else [f"its model_type is {model_type!r}, and {settings.kind} is {' or '.join(map(repr, allowed))}"]


def _sizes_in(record: dict[str, Any]) -> dict[str, Any]:
    """The part of a config.json that says them: of one of both towers that of the vision tower."""
    vision = record.get("vision_config")
    return vision if isinstance(vision, dict) else record


def _other_sizes(found: Mapping[str, Any], expected: Mapping[str, Any], settings: Named) -> list[str]:
    said = []
    for name, value in expected.items():
        if name in found and found[name] != value:
            own = name not in FIELDS or hasattr(settings, name)
            label = name if own else f"{FIELDS[name]} ({name})"
            said.append(f"its {label} is {found[name]}, the config's {value}")
    return said


def _tokens_without_place(found: Mapping[str, Any], folder: Path, vocabulary_size: int | None) -> list[str]:
    tokens = found.get("vocab_size")
    if vocabulary_size is None or not isinstance(tokens, int) or tokens < vocabulary_size:
        return []
    tokens = min(tokens, _tokens_of_tokenizer(folder) or tokens)  # the rows beyond are padding
    if tokens < vocabulary_size:
        return []
    return [
        f"its vocabulary is {tokens:,} tokens, and vocabulary_size {vocabulary_size:,} leaves place for {vocabulary_size - 1:,} "
        f"beside the image's placeholder: set data.files.tokenizer to its tokenizer.json and vocabulary_size to {tokens + 1:,}"
    ]


def _folder(settings: Named) -> Path:
    """A local folder as it is; of a name on the hub, the files that are needed, from the hub's cache if they are there."""
    name = settings.pretrained
    assert name
    if Path(name).is_dir():
        if settings.revision:
            raise CheckpointError(f"{name} is a folder, which has no revision {settings.revision}: leave revision out")
        return Path(name)
    if not _HUB_NAME.fullmatch(name):
        raise CheckpointError(f"'{name}' is no folder in {Path.cwd()}, and no name on the hub, which is owner/name")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=settings.revision, allow_patterns=list(HUB_FILES)))
    except Exception as error:  # whatever the hub's client and the network raise
        beside = [path.as_posix() for path in Path(name).parent.glob("*/")]
        close = "".join(f" (there is {each})" for each in get_close_matches(name, beside, n=1))
        raise CheckpointError(
            f"'{name}' is no folder in {Path.cwd()}{close}, and not to be had from the hub: {in_one_line(error)}"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}") from None
    except ValueError as error:  # of JSON, and of UTF-8
        raise CheckpointError(f"{path} is no JSON: {error}") from error
    except RecursionError:
        raise CheckpointError(f"{path} is nested too deeply to be read, deeper than the config of any model") from None
    if not isinstance(record, dict):
        raise CheckpointError(f"{path} holds a {type(record).__name__}, not an object")
    return record


def tensor_names(path: Path) -> list[str]:
    """Of a file's tensors; the head says how long the file is, so one that was cut is found here."""
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no whole safetensors file ({path.stat().st_size:,} bytes): {in_one_line(error)}") from error


def _tokens_of_tokenizer(folder: Path) -> int | None:
    """Of the tokenizer that lies beside the weights; None where there is none."""
    if not (folder / TOKENIZER_FILE).is_file():
        return None
    from tokenizers import Tokenizer

    try:
        return int(Tokenizer.from_file(str(folder / TOKENIZER_FILE)).get_vocab_size())
    except Exception as error:  # the library raises Exception itself
        raise CheckpointError(f"{folder / TOKENIZER_FILE} is no tokenizer.json: {in_one_line(error)}") from error


def refuse_odd(where: Path, *, missing: Iterable[str], unexpected: Iterable[str], mismatched: Iterable[tuple[str, Any, Any]]) -> None:
    said = [
        f"{text}: {_few(names)}"
        for text, names in (("lacks", sorted(missing)), ("has what is not of this model", sorted(unexpected)))
        if names
    ]
    said += [f"{name} is {list(there)} in it, and {list(here)} by its config" for name, there, here in mismatched][:FEW]
    if said:
        raise CheckpointError(f"{where} {'; '.join(said)}")


def _few(names: list[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"{', '.join(names[:FEW])}{more}"


def in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's report and progress bar; what is wrong becomes an error of ours."""
    from transformers.utils import logging

    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
