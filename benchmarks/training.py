"""Training tokens per second: the zoo's loop, the Hugging Face `Trainer` and a plain loop, at equal weights, documents and precision.

`Trainer` has a `transformers` Llama of the same shape with the same connector, and pads the documents of a step to the longest. The plain
loop has the zoo's own model and only draws, runs forward and backward and calls fused AdamW: no clipping, schedule, report or loss read.
Then the zoo's loop with a frozen encoder, whose features are computed once, against the same with an encoder that is trained.
All start from the same weights, and their first losses must agree. The sides take turns in rounds, each first in turn, on one thread; a
ratio is the median of the rounds, with the least and the largest. Seconds are of the processor, which other work on the machine disturbs
less; nothing here waits for anything else. Tokens are those of documents: padding counts for nobody. Run it with

    python benchmarks/training.py [--rounds 5] [--sizes 24x2 48x2 64x2 96x2 168x2 384x5] [--memory-steps 1000]

`mixed` is MM1's mix, captions of 9 tokens beside documents of 63; in `text` documents are equally long, so that nobody pads. Everything is
float32.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from model_zoo import train as loops
from model_zoo.build import build_model
from model_zoo.config import Config
from model_zoo.data.batch import collate
from model_zoo.data.documents import Documents
from model_zoo.data.pictures import Pool, training_pool
from model_zoo.data.stream import draw_step
from model_zoo.data.vocabulary import IMAGE, NO_TARGET, SIZE
from model_zoo.evaluate.loss import answer_loss
from model_zoo.features import encode
from model_zoo.initial import initialise
from model_zoo.optim import BETAS
from model_zoo.vlm import VisionLanguageModel

MIXES = {"mixed": "45:45:10", "text": "0:0:100"}
WARMUP = 5
"""Steps of each turn before the clock starts."""


def make_config(size: str, *, mix: str, steps: int, encoder: str = "frozen") -> Config:
    width, depth = map(int, size.split("x"))
    return Config.model_validate(
        {
            "encoder": {"pretrain": {"objective": "none"}, "training": encoder},
            "connector": {"kind": "c_abstractor", "num_tokens": 4},
            "decoder": {"width": width, "depth": depth, "num_heads": 6 if width == 384 else 2},
            "data": {"mix": MIXES[mix], "num_scenes": 512},
            "train": {"steps": steps, "warmup_steps": 2},
            "eval": {"tasks": [], "num_validations": 1, "validation_documents": 4},
        }
    )


@dataclass
class Turn:
    """One side, once."""

    seconds: float
    """Of the processor, for all steps after the warmup."""
    first_loss: float
    waiting: float = 0.0
    """Of those seconds for data; measured in the zoo's loop alone."""


class Clock:
    """The zoo's `Context`: forgets what is reported, notes when each step begins."""

    seed, device, cpus, num_devices = 0, "cpu", 1, 1

    def __init__(self, folder: Path) -> None:
        self.dir = folder
        self.began: list[float] = []
        self.waited: list[float] = []
        self.ended = 0.0
        self.losses: list[float] = []
        self.resident: list[int] = []

    def report(self, step: int, **metrics: float) -> None:
        if "train_loss" in metrics:
            self.losses.append(metrics["train_loss"])
            self.resident.append(psutil.Process().memory_info().rss)

    def checkpoint(self, state: bytes) -> None:
        pass

    def restore(self) -> None:
        return None

    def should_stop(self) -> bool:
        return False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.process_time()
        if name == "eval":
            self.ended = began
        yield
        if name == "data":
            self.began.append(began)
            self.waited.append(time.process_time() - began)


class Common:
    """What the sides share: pictures, features, first weights, documents of each step."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.pool: Pool = training_pool(num_scenes=config.data.num_scenes, image_size=config.encoder.image_size, seed=Clock.seed)
        self.features: Tensor = encode(self.make_model().encoder, self.pool, tiles=1, device="cpu")

    def make_model(self) -> VisionLanguageModel:
        model = build_model(self.config, vocabulary_size=SIZE, image_token=IMAGE)
        initialise(model, seed=Clock.seed)
        model.encoder.requires_grad_(False)
        return model

    def draw(self, step: int) -> list[Documents]:
        rows, tokens = self.config.train.rows_per_step, self.config.connector.num_tokens
        return draw_step(self.pool, mix=self.config.data.mix, seed=Clock.seed, step=step, num_rows=rows, num_tokens=tokens)

    def tokens(self) -> float:
        """In all steps after the warmup."""
        return sum(kind.tokens.size for step in range(WARMUP, self.config.train.steps) for kind in self.draw(step))

    def padding(self) -> float:
        """Share of the tokens in padded batches that are padding."""
        steps = [self.draw(step) for step in range(WARMUP, self.config.train.steps)]
        padded = sum(sum(len(kind.tokens) for kind in kinds) * max(kind.tokens.shape[1] for kind in kinds) for kinds in steps)
        return 1 - self.tokens() / padded


def zoo(common: Common) -> Turn:
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(Path(folder))
        loops.train_model(change_steps(common.config, 1), first=loops.First(), context=clock)
        first = clock.losses[0]
        clock = Clock(Path(folder))
        loops.train_model(common.config, first=loops.First(), context=clock)
    began, waited = clock.began[1:], clock.waited[1:]  # the first is of opening the data
    return Turn(clock.ended - began[WARMUP], first, sum(waited[WARMUP:]))


def change_steps(config: Config, steps: int) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})


def plain(common: Common) -> Turn:
    model, steps, began, first = common.make_model(), common.config.train.steps, 0.0, 0.0
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, betas=BETAS, weight_decay=0.1, fused=True)
    for step in range(steps):
        if step == WARMUP:
            began = time.process_time()
        batch = collate(common.draw(step), device="cpu")
        loss = answer_loss(model, batch, features=common.features[batch.pictures])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 0:
            first = loss.item()
    return Turn(time.process_time() - began, first)


class WithPictures(nn.Module):
    """A `transformers` Llama with the weights of the zoo's decoder, and its connector."""

    def __init__(self, model: VisionLanguageModel, *, features: Tensor, config: Config) -> None:
        super().__init__()
        decoder = config.decoder
        self.llama = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=SIZE,
                hidden_size=decoder.width,
                intermediate_size=decoder.mlp_width,
                num_hidden_layers=decoder.depth,
                num_attention_heads=decoder.num_heads,
                max_position_embeddings=256,
                use_cache=False,
                tie_word_embeddings=False,
            )
        )
        self.connector = model.connector
        self.features = features
        ours = model.decoder.state_dict()
        theirs = {"model.embed_tokens.weight": ours["embedding.weight"], "lm_head.weight": ours["head.weight"]}
        theirs["model.norm.weight"] = ours["final_norm.weight"]
        for number in range(decoder.depth):
            source, target = f"layers.{number}.", f"model.layers.{number}."
            theirs |= {
                f"{target}self_attn.{name}_proj.weight": part
                for name, part in zip("qkv", ours[f"{source}attention.qkv.weight"].chunk(3), strict=True)
            }
            gate, up = ours[f"{source}gate_up.weight"].chunk(2)
            theirs |= {
                f"{target}self_attn.o_proj.weight": ours[f"{source}attention.out.weight"],
                f"{target}mlp.gate_proj.weight": gate,
                f"{target}mlp.up_proj.weight": up,
                f"{target}mlp.down_proj.weight": ours[f"{source}down.weight"],
                f"{target}input_layernorm.weight": ours[f"{source}attention_norm.weight"],
                f"{target}post_attention_layernorm.weight": ours[f"{source}mlp_norm.weight"],
            }
        self.llama.load_state_dict(theirs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, pictures: Tensor, num_items_in_batch: Any = None) -> Any:
        """input_ids, attention_mask, labels [N, L], pictures [M]"""
        x = self.llama.model.embed_tokens(input_ids)
        if len(pictures):
            visual = self.connector(self.features[pictures])
            x = x.masked_scatter((input_ids == IMAGE)[..., None], visual)
        return self.llama(inputs_embeds=x, attention_mask=attention_mask, labels=labels, num_items_in_batch=num_items_in_batch)


class Steps(Dataset[list[Documents]]):
    """Item i is all documents of step i."""

    def __init__(self, common: Common) -> None:
        self.common = common

    def __len__(self) -> int:
        return self.common.config.train.steps

    def __getitem__(self, step: int) -> list[Documents]:
        return self.common.draw(step)


def pad(items: Sequence[list[Documents]]) -> dict[str, Tensor]:
    """Documents to the right-padded batch of a causal language model, whose labels are tokens and not those after them."""
    (kinds,) = items
    tokens = [torch.from_numpy(row) for kind in kinds for row in kind.tokens]
    targets = [torch.from_numpy(row) for kind in kinds for row in kind.targets]
    labels = torch.full_like(input_ids := pad_sequence(tokens, batch_first=True), -100)
    padded = pad_sequence(targets, batch_first=True, padding_value=NO_TARGET)[:, :-1]
    labels[:, 1:] = padded.masked_fill(padded == NO_TARGET, -100)
    lengths = torch.tensor([len(row) for row in tokens])
    mask = (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()
    pictures = torch.cat([torch.from_numpy(kind.pictures.ravel()) for kind in kinds])
    return {"input_ids": input_ids, "attention_mask": mask, "labels": labels, "pictures": pictures}


class StopWatch(TrainerCallback):
    began = ended = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == WARMUP:
            self.began = time.process_time()
        if state.global_step == state.max_steps:
            self.ended = time.process_time()


def hugging_face(common: Common) -> Turn:
    model = WithPictures(common.make_model(), features=common.features, config=common.config)
    with torch.no_grad():
        first = model(**pad([common.draw(0)])).loss.item()
    watch = StopWatch()
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            max_steps=common.config.train.steps,
            per_device_train_batch_size=1,  # an item is a whole step
            train_sampling_strategy="sequential",
            learning_rate=1e-3,
            warmup_steps=2,
            lr_scheduler_type="cosine",
            adam_beta2=BETAS[1],
            weight_decay=0.1,
            logging_steps=loops.REPORT_EVERY,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(model=model, args=options, train_dataset=Steps(common), data_collator=pad, callbacks=[watch])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return Turn(watch.ended - watch.began, first)


SIDES = {"zoo": zoo, "Trainer": hugging_face, "plain": plain}


def compare(size: str, *, mix: str, rounds: int, steps: int) -> None:
    common = Common(make_config(size, mix=mix, steps=steps + WARMUP))
    turns: dict[str, list[Turn]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        first = turn % len(SIDES)
        for side in [*list(SIDES)[first:], *list(SIDES)[:first]]:
            turns[side].append(SIDES[side](common))
    losses = {side: found[0].first_loss for side, found in turns.items()}
    assert max(losses.values()) - min(losses.values()) < 1e-4, losses
    tokens = common.tokens()
    speeds = ", ".join(f"{side} {tokens / statistics.median(t.seconds for t in found):,.0f}" for side, found in turns.items())
    params = common.config.decoder.num_params
    print(f"{size:6} {params:>9,} params, {mix:5}: {speeds} tokens/s; padding {common.padding():.0%} of Trainer's", end="; ")
    for other in ("Trainer", "plain"):
        ratios = sorted(theirs.seconds / ours.seconds for ours, theirs in zip(turns["zoo"], turns[other], strict=True))
        print(f"{statistics.median(ratios):.2f} times {other} ({ratios[0]:.2f} to {ratios[-1]:.2f})", end="; ")
    waiting = sorted(turn.waiting / turn.seconds for turn in turns["zoo"])
    print(f"waiting for data {statistics.median(waiting):.1%} of a step ({waiting[0]:.1%} to {waiting[-1]:.1%})", flush=True)


def compare_unfrozen(size: str, *, rounds: int, steps: int) -> None:
    """A frozen encoder, whose features are there before the first step, against one that is trained along."""
    frozen, trained = (Common(make_config(size, mix="mixed", steps=steps + WARMUP, encoder=encoder)) for encoder in ("frozen", "full"))
    turns = [
        (zoo(trained).seconds, zoo(frozen).seconds) if turn % 2 else (zoo(frozen).seconds, zoo(trained).seconds)[::-1]
        for turn in range(rounds)
    ]
    ratios = sorted(unfrozen / cached for unfrozen, cached in turns)
    print(
        f"{size:6} frozen encoder {statistics.median(ratios):.2f} times one that is trained ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        flush=True,
    )


def watch_memory(size: str, *, steps: int) -> None:
    """Resident set along one trial, from a tenth of it on, when all that is made once is there."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(Path(folder))
        loops.train_model(make_config(size, mix="mixed", steps=steps + steps // 10), first=loops.First(), context=clock)
    resident = [size / 2**20 for size in clock.resident[steps // 10 // loops.REPORT_EVERY - 1 :]]
    last = len(resident) - 1
    along = ", ".join(f"{resident[last * part // 5]:.1f}" for part in range(6))
    print(f"resident set over {steps} steps of {size}: {resident[-1] - resident[0]:+.1f} MiB; after each fifth {along} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200, help="of each turn; a tenth from a width of 200 on")
    parser.add_argument("--sizes", nargs="+", default=["24x2", "48x2", "64x2", "96x2", "168x2", "384x5"], help="width x depth")
    parser.add_argument("--mixes", nargs="+", default=list(MIXES), choices=list(MIXES))
    parser.add_argument("--memory-steps", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for size in options.sizes:
        for mix in options.mixes:
            steps = options.steps // 10 if int(size.split("x")[0]) >= 200 else options.steps
            compare(size, mix=mix, rounds=options.rounds, steps=steps)
    compare_unfrozen("64x2", rounds=options.rounds, steps=options.steps)
    watch_memory("64x2", steps=options.memory_steps)


if __name__ == "__main__":
    main()
