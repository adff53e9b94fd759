"""How long a step on files of one's own waits for its data, and whether memory grows with the steps.

The script makes the files itself: WebDataset shards of captioned JPEGs, documents in OBELICS' form, texts, and a tokenizer of their words.
A trial on each source alone and one on MM1's mix then run through the zoo's own loop on one thread, while another thread reads the next
step. Waiting is the wall time inside the loop's phase `data`, with which a step begins. The first steps are left out: files are opened
then, and nothing hides the reading of the very first. Beside it stands what reading takes where nobody trains: what there is to hide.

    python benchmarks/data_wait.py [--sizes 128x2 256x4] [--image-size 64] [--steps 40] [--memory-steps 1000]

Larger models wait less and larger images more: decoding takes its time whatever the model. Where both threads have to share one core
(`taskset -c 0 python benchmarks/data_wait.py`), what reading takes is taken from the step, and shows there rather than as waiting.
"""

import argparse
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.trainers import BpeTrainer

from model_zoo import trainable
from model_zoo.config import Config
from model_zoo.data.files import DATA_VARIABLE
from model_zoo.own_files import OwnFiles

MIXES = {"caption": "100:0:0", "interleaved": "0:100:0", "text": "0:0:100", "mix": "45:45:10"}
WARMUP = 5
"""Steps before the clock starts."""
NUM_PICTURES = 256
"""Different ones; rows share them, decoding does not know."""
PICTURE = (320, 240)
"""Pixels of a file, before it is resized."""
ROWS = {"caption": 1500, "interleaved": 300, "text": 1500}
VOCABULARY = 2000


class Clock:
    """The zoo's `Context`: forgets what is reported, notes when each step begins, how long it waits and what the process holds."""

    seed, device, cpus, num_devices = 0, "cpu", 1, 1

    def __init__(self, folder: Path) -> None:
        self.dir = folder
        self.began: list[float] = []
        self.waited: list[float] = []
        self.ended = 0.0
        self.resident: list[int] = []

    def report(self, step: int, **metrics: float) -> None:
        pass

    def checkpoint(self, state: bytes) -> None:
        pass

    def restore(self) -> None:
        return None

    def should_stop(self) -> bool:
        return False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        if name == "eval":
            self.ended = began
        yield
        if name == "data":
            self.began.append(began)
            self.waited.append(time.perf_counter() - began)
            self.resident.append(psutil.Process().memory_info().rss)

    @property
    def seconds(self) -> float:
        """Of a step, on average."""
        began = self.began[1:]  # the first is of opening the files
        return (self.ended - began[WARMUP]) / len(began[WARMUP:])

    @property
    def share(self) -> float:
        """Of that time, waiting."""
        waited = self.waited[1:]
        return sum(waited[WARMUP:]) / len(waited[WARMUP:]) / self.seconds


def make_files(folder: Path) -> None:
    """Shards, documents, texts and a tokenizer, as many held out as the trial needs."""
    rng = np.random.default_rng(0)
    words = ["".join(map(chr, rng.integers(97, 123, size=rng.integers(2, 10)))) for _ in range(1000)]
    pictures = [_picture(rng) for _ in range(NUM_PICTURES)]

    def text(low: int, high: int) -> str:
        return " ".join(words[place] for place in rng.zipf(1.3, size=rng.integers(low, high)) % len(words))

    for part, share in (("train", 1.0), ("held-out", 0.01)):
        rows = {source: int(number * share) + 1 for source, number in ROWS.items()}
        _write_shard(folder / f"{part}.tar", [(pictures[rng.integers(NUM_PICTURES)], text(8, 25)) for _ in range(rows["caption"])])
        pages = [_page(rng.integers(1, 6), pictures, text, rng) for _ in range(rows["interleaved"])]
        pd.DataFrame(pages).to_parquet(folder / f"{part}.parquet")
        pd.DataFrame({"text": [text(50, 400) for _ in range(rows["text"])]}).to_json(folder / f"{part}.jsonl", orient="records", lines=True)
    whole = Tokenizer(BPE(unk_token="<unk>"))  # noqa: S106
    whole.pre_tokenizer = Whitespace()
    whole.train_from_iterator(words, BpeTrainer(vocab_size=VOCABULARY, special_tokens=["<unk>", "</s>"], show_progress=False))
    whole.save(str(folder / "tokenizer.json"))


def _picture(rng: np.random.Generator) -> bytes:
    """Colours that change slowly with a little noise, which a JPEG holds in about as many bytes as a photo of that size."""
    coarse = Image.fromarray(rng.integers(256, size=(12, 16, 3), dtype=np.uint8)).resize(PICTURE, Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse, np.int16) + rng.integers(-12, 13, size=(PICTURE[1], PICTURE[0], 3))
    stream = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _write_shard(path: Path, pairs: Sequence[tuple[bytes, str]]) -> None:
    with tarfile.open(path, "w") as shard:
        for number, (picture, caption) in enumerate(pairs):
            for suffix, contents in (("jpg", picture), ("txt", caption.encode())):
                entry = tarfile.TarInfo(f"{number:06d}.{suffix}")
                entry.size = len(contents)
                shard.addfile(entry, io.BytesIO(contents))


def _page(num_pictures: int, pictures: Sequence[bytes], text: Any, rng: np.random.Generator) -> dict[str, list[Any]]:
    """A document of so many pictures, a text before, between and after them."""
    images, texts = [None], [text(10, 60)]
    for _ in range(num_pictures):
        images += [{"bytes": pictures[rng.integers(len(pictures))], "path": None}, None]
        texts += [None, text(10, 60)]
    return {"images": images, "texts": texts}


def make_config(size: str, *, mix: str, steps: int, rows: int = 4, image_size: int, folder: Path) -> Config:
    width, depth = map(int, size.split("x"))
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() + 1
    sources = {"caption": ".tar", "interleaved": ".parquet", "text": ".jsonl"}
    files = {name: {"train": [f"train{suffix}"], "held_out": [f"held-out{suffix}"]} for name, suffix in sources.items()}
    limits = {"vocabulary_size": vocabulary, "max_tokens": 512, "max_images": 8, "epochs": 1000}
    return Config.model_validate(
        {
            "encoder": {
                "image_size": image_size,
                "patch_size": image_size // 8,
                "num_channels": 3,
                "width": width,
                "depth": depth,
                "num_heads": 4,
                "training": "full",
                "pretrain": {"objective": "none"},
            },
            "connector": {"kind": "c_abstractor", "num_tokens": 16},
            "decoder": {"width": width, "depth": depth, "num_heads": 4},
            "data": {"mix": MIXES[mix], "files": files | limits | {"tokenizer": str(folder / "tokenizer.json")}},
            "train": {"steps": steps, "rows_per_step": rows, "warmup_steps": 2, "learning_rate": 1e-3},
            "eval": {"tasks": [], "num_validations": 1, "validation_documents": 4},
        }
    )


def read_alone(config: Config) -> float:
    """Seconds a step."""
    world = OwnFiles(config, seed=Clock.seed, device=Clock.device)
    world.read(0)
    began = time.perf_counter()
    for step in range(1, config.train.steps):
        world.read(step)
    return (time.perf_counter() - began) / (config.train.steps - 1)


def train(config: Config) -> Clock:
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(Path(folder))
        (stage,) = trainable.stages(config)
        trainable.train(stage, {}, clock)
    return clock


def watch_memory(config: Config) -> None:
    """Resident set along one trial, from a fifth of it on, when all that is made once is there."""
    clock = train(config)
    resident = [size / 2**20 for size in clock.resident[1:]]
    steps = len(resident)
    along = ", ".join(f"{resident[steps * part // 5 - 1]:.1f}" for part in range(1, 6))
    growth = resident[-1] - resident[steps // 5 - 1]
    print(f"resident set from step {steps // 5} to {steps}: {growth:+.1f} MiB; after each fifth {along} MiB; {clock.share:.1%} waiting")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["128x2", "256x4"], help="width x depth, of encoder and decoder")
    parser.add_argument("--image-size", type=int, default=64, help="pixels the encoder sees")
    parser.add_argument("--mixes", nargs="+", default=list(MIXES), choices=list(MIXES))
    parser.add_argument("--steps", type=int, default=40, help="of each trial, after the warmup")
    parser.add_argument("--memory-steps", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[DATA_VARIABLE] = folder
        make_files(Path(folder))
        for size in options.sizes:
            for mix in options.mixes:
                steps = options.steps + WARMUP
                config = make_config(size, mix=mix, steps=steps, image_size=options.image_size, folder=Path(folder))
                alone, clock = read_alone(config), train(config)
                waiting = f"{clock.share:5.1%} of {1000 * clock.seconds:6.1f} ms a step waiting for data"
                print(f"{size:6} {mix:11}: {waiting}; reading alone {1000 * alone:5.1f} ms", flush=True)
        if options.memory_steps:
            watch_memory(make_config("32x1", mix="mix", steps=options.memory_steps, rows=1, image_size=32, folder=Path(folder)))


if __name__ == "__main__":
    main()
