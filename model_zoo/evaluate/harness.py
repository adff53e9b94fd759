"""A trained decoder to the scores that lm-evaluation-harness gives it, by its own program in a process of its own.

The program is called as its documentation says (docs/interface.md of github.com/EleutherAI/lm-evaluation-harness):
`lm_eval --model hf --model_args pretrained=FOLDER --tasks TASKS --output_path FOLDER`. It reads no image. What it reads otherwise, and
whether it fetches its tasks' data, is its own affair; `HF_HUB_OFFLINE=1` keeps it from fetching.
"""

import copy
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from model_zoo.config import Config
from model_zoo.data.settings import Files
from model_zoo.data.tokenizer import BYTES, NUM_BYTES, open_tokenizer
from model_zoo.decoders.packed import ROPE_BASE
from model_zoo.decoders.packed import Decoder as PackedDecoder
from model_zoo.evaluate.names import HARNESS
from model_zoo.evaluate.settings import PROGRAM, Harness
from model_zoo.vlm import VisionLanguageModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedConfig

RESULTS_FILE = "lm_eval.json"
BATCH_SIZE = 8
"""Questions at a time; it changes a score by rounding alone."""
LAST_LINES = 20
"""Of what the program said, in the error where it failed."""
_MODEL, _TOKENIZER, _RESULTS = "decoder", "tokenizer", "results"
_MODEL_ARGUMENTS = f"pretrained={_MODEL},tokenizer={_TOKENIZER},dtype=float32,add_bos_token=False"
"""Training adds no token at the beginning of a text, so none is added there."""

_log = logging.getLogger(__name__)


class HarnessError(RuntimeError):
    """The program is not there, failed, or did not give a score that was asked for."""


def check_installed() -> None:
    """Before anything is trained."""
    if find_spec(PROGRAM) is None:
        raise HarnessError(f"eval.harness needs lm-evaluation-harness, which {sys.executable} lacks: pip install 'lm_eval[hf]'")


def run_harness(model: VisionLanguageModel, *, config: Config, device: str, folder: Path | None) -> dict[str, float]:
    """Every score asked for, as the harness gives it; what it wrote stays in `folder`, if there is one."""
    settings = config.eval.harness
    assert settings
    assert config.data.files
    with tempfile.TemporaryDirectory(prefix="harness-") as work:
        export_decoder(model, config=config, folder=Path(work) / _MODEL)
        export_tokenizer(config.data.files, folder=Path(work) / _TOKENIZER)
        results = _evaluate(settings, work=Path(work), device=device)
    if folder is not None:
        (folder / RESULTS_FILE).write_text(json.dumps(results, indent=1), encoding="utf-8")
    return {f"{HARNESS}/{score}": _score(results["results"], score) for score in settings.scores}


def export_decoder(model: VisionLanguageModel, *, config: Config, folder: Path) -> None:
    """As `transformers` loads it, less the last token, the placeholder of images, which no text has."""
    files, decoder, size = config.data.files, model.decoder, model.image_token
    assert files
    if isinstance(decoder, PackedDecoder):
        shape, weights = _llama_config(config), _llama_weights(decoder, config)
    else:
        shape = copy.deepcopy(decoder.body.config)
        weights = {f"model.{name}": tensor for name, tensor in decoder.body.state_dict().items()}
    weights |= {"model.embed_tokens.weight": decoder.embedding.weight[:size], "lm_head.weight": decoder.head.weight[:size]}
    shape.update(
        {
            "vocab_size": size,
            "tie_word_embeddings": False,
            "use_cache": True,
            "max_position_embeddings": files.max_tokens,
            "architectures": [f"{type(shape).__name__.removesuffix('Config')}ForCausalLM"],
            "bos_token_id": None,
            "eos_token_id": open_tokenizer(files.tokenizer, end_token=files.end_token).end,
        }
    )
    shape.save_pretrained(folder)
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def export_tokenizer(files: Files, *, folder: Path) -> None:
    """Into a folder of its own: beside a Qwen2's config.json `transformers` would split text by Qwen2's rules, whatever the file says."""
    from transformers import PreTrainedTokenizerFast

    make: Any = PreTrainedTokenizerFast  # has no types
    make(tokenizer_object=_tokenizer(files), eos_token=files.end_token, model_max_length=files.max_tokens).save_pretrained(folder)


def _llama_config(config: Config) -> "PreTrainedConfig":
    """Of the packed decoder, which with plain keys computes exactly a Llama."""
    from transformers import LlamaConfig

    decoder = config.decoder
    return LlamaConfig(
        hidden_size=decoder.width,
        intermediate_size=decoder.mlp_width,
        num_hidden_layers=decoder.depth,
        num_attention_heads=decoder.num_heads,
        num_key_value_heads=decoder.kv_heads,
        head_dim=decoder.head_width,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
    )


def _llama_weights(decoder: PackedDecoder, config: Config) -> dict[str, Tensor]:
    """Ours has queries, keys and values in one matrix, and gate and up in another."""
    own, width, kv_width = decoder.state_dict(), config.decoder.width, config.decoder.kv_heads * config.decoder.head_width
    weights = {"model.norm.weight": own["final_norm.weight"]}
    for number in range(config.decoder.depth):
        layer = f"layers.{number}"
        q, k, v = own[f"{layer}.attention.qkv.weight"].split([width, kv_width, kv_width])
        gate, up = own[f"{layer}.gate_up.weight"].chunk(2)
        parts = {
            "self_attn.q_proj": q,
            "self_attn.k_proj": k,
            "self_attn.v_proj": v,
            "self_attn.o_proj": own[f"{layer}.attention.out.weight"],
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": own[f"{layer}.down.weight"],
            "input_layernorm": own[f"{layer}.attention_norm.weight"],
            "post_attention_layernorm": own[f"{layer}.mlp_norm.weight"],
        }
        weights |= {f"model.{layer}.{name}.weight": weight for name, weight in parts.items()}
    return weights


def _tokenizer(files: Files) -> "Tokenizer":
    """The file's; for bytes one that gives each byte its own number, and the end token the next."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    if files.tokenizer != BYTES:
        return Tokenizer.from_file(files.tokenizer)
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(NUM_BYTES) if byte not in printable]  # the ByteLevel parts show these as letters from 256 on (GPT-2)
    shown = {chr(byte): byte for byte in printable} | {chr(NUM_BYTES + place): byte for place, byte in enumerate(others)}
    whole = Tokenizer(models.BPE(vocab=shown, merges=[]))
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    whole.decoder = decoders.ByteLevel()
    whole.add_special_tokens([AddedToken(files.end_token, normalized=False)])
    return whole


def _evaluate(settings: Harness, *, work: Path, device: str) -> dict[str, Any]:
    """What the program writes. It runs in `work`, so that no path of ours has to go through its arguments, where a comma parts them."""
    argv = [sys.executable, "-m", PROGRAM, "--model", "hf", "--model_args", _MODEL_ARGUMENTS]
    argv += ["--tasks", ",".join(settings.task_names), "--device", device, "--batch_size", str(BATCH_SIZE), "--output_path", _RESULTS]
    if settings.num_fewshot is not None:
        argv += ["--num_fewshot", str(settings.num_fewshot)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    said = deque[str](maxlen=LAST_LINES)
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(argv, cwd=work, env=environment, text=True, errors="replace", **streams) as program:  # noqa: S603
        assert program.stdout
        for line in program.stdout:
            _log.info(line.rstrip())
            said.append(line)
    command, last = " ".join(argv[2:]), "".join(said).rstrip() or "nothing"
    if program.returncode:
        raise HarnessError(f"`{command}` ended with {program.returncode}; its last lines:\n{last}")
    written = list((work / _RESULTS).rglob("results_*.json"))
    if len(written) != 1:  # it ends with 0 where it could not write
        raise HarnessError(f"`{command}` left {len(written)} files of results, not one; its last lines:\n{last}")
    results: dict[str, Any] = json.loads(written[0].read_text(encoding="utf-8"))
    return results


def _score(results: Mapping[str, Mapping[str, Any]], score: str) -> float:
    """Of `results[task]["metric,filter"]`; without a filter the one named `none`, or the only one there is."""
    task, metric, *filters = score.split("/")
    given = {tuple(key.split(",")): value for key, value in results.get(task, {}).items() if "," in key and isinstance(value, int | float)}
    found = [key for key in given if key[0] == metric and key[1] in (filters or [key[1]])]
    if not filters and (metric, "none") in found:
        found = [(metric, "none")]
    if len(found) != 1:
        listed = ", ".join("/".join((task, *key)) for key in given) or f"nothing for {task}, only for {', '.join(results)}"
        raise HarnessError(f"eval.harness: {len(found)} scores are called '{score}'; lm_eval gave {listed}")
    return float(given[found[0]])
