"""Training tokens per second: the zoo's loop, the Hugging Face `Trainer` and a plain loop, at equal weights, documents and precision.

`Trainer` has a `transformers` Llama of the same shape with the same connector, and pads the documents of a step to the longest. The plain
loop is what one would write by hand around the zoo's own model: torch's fused AdamW, its `clip_grad_norm_`, a `LambdaLR`, a mean loss every
20 steps. Then the zoo's loop with a frozen encoder, whose features are computed once, against the same with an encoder that is trained.
All start from the same weights and their first losses must agree; so must the last of the zoo and the plain loop, while `Trainer` lets
embeddings decay as well and gives its first step no rate.

The sides take turns of 60 steps within one process, each in a thread of its own that waits while another has its turn, so that what slows
the machine for a while slows all of them. Where a model lies in memory alone makes one of two equal sides up to a tenth faster as long as
it lies there, so all is made anew in several rounds, with another side first: a ratio is the geometric mean over rounds, with its 95 %
interval (Student's t). `--null` compares each side with itself in the same way, which says what a ratio can show. Seconds are of the
processor. Tokens are those of documents: padding counts for nobody. Run it with

    python benchmarks/training.py [--rounds 8] [--sizes 24x2 48x2 64x2 96x2 168x2 384x5] [--memory-steps 1000]

`mixed` is MM1's mix, captions of 9 tokens beside documents of 63; in `text` documents are equally long, so that nobody pads. Everything is
float32.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from scipy.stats import ttest_1samp
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
from model_zoo.optim import BETAS, parameter_groups, rate_at
from model_zoo.scenes import STEPS_AHEAD
from model_zoo.vlm import VisionLanguageModel

MIXES = {"mixed": "45:45:10", "text": "0:0:100"}
LOG_EVERY = loops.REPORT_EVERY
TURN, WIDE_TURN, WIDE = STEPS_AHEAD, 10, 200
"""Steps of a turn: the zoo's loop draws the documents of so many at once, the others each step's. From a width of 200 on, where drawing is
a thousandth of a step, they are fewer. Of the two turns a side has in a round the first, with what it sets up, is not counted."""


def make_config(size: str, *, mix: str, steps: int, encoder: str = "frozen") -> Config:
    width, depth = map(int, size.split("x"))
    return Config.model_validate(
        {
            "encoder": {"pretrain": {"objective": "none"}, "training": encoder},
            "connector": {"kind": "c_abstractor", "num_tokens": 4},
            "decoder": {"width": width, "depth": depth, "num_heads": 6 if width == 384 else 2},
            "data": {"mix": MIXES[mix], "num_scenes": 512},
            "train": {"steps": steps, "warmup_steps": 2, "final_lr_fraction": 0.0},
            "eval": {"tasks": [], "num_validations": 1, "validation_documents": 4},
        }
    )


@dataclass
class Side:
    """One of those that take turns."""

    steps_of_turn: int = TURN
    turn: threading.Event = field(default_factory=threading.Event)
    """Set while it is its turn."""
    seconds: list[float] = field(default_factory=list)
    """Of the processor, turn by turn."""
    losses: list[float] = field(default_factory=list)
    """The first step's, then the mean of the last 20 at each report."""
    waiting: float = 0.0
    """Of those seconds for data; measured in the zoo's loop alone."""
    resident: list[int] = field(default_factory=list)
    """Bytes, at each report."""
    hand_on: Callable[[], None] = lambda: None
    steps: int = 0
    began: float = 0.0

    def step_done(self) -> None:
        """To be called after each step: after the last one of a turn it comes back when the next turn begins."""
        self.steps += 1
        if self.steps % self.steps_of_turn == 0:
            self.seconds.append(time.process_time() - self.began)
            self.hand_on()
            self.began = time.process_time()


def take_rounds(loops_of: Mapping[str, Callable[[Side], None]], *, rounds: int, steps_of_turn: int = TURN) -> list[dict[str, Side]]:
    """Of each round its sides, all made anew."""
    names, found = list(loops_of), []
    for first in range(rounds):
        order = [names[(first + place) % len(names)] for place in range(len(names))]
        found.append(take_turns({name: loops_of[name] for name in order}, steps_of_turn=steps_of_turn))
    return found


def take_turns(loops_of: Mapping[str, Callable[[Side], None]], *, steps_of_turn: int) -> dict[str, Side]:
    """Runs all loops, one at a time; each counts its steps on the side that it is given."""
    sides = {name: Side(steps_of_turn) for name in loops_of}
    failures = list[BaseException]()

    def run(name: str, following: Side) -> None:
        mine = sides[name]

        def pass_to_next() -> None:
            mine.turn.clear()
            following.turn.set()

        def hand_on() -> None:
            if following is not mine:
                pass_to_next()
                mine.turn.wait()

        mine.hand_on = hand_on
        mine.turn.wait()
        torch.set_num_threads(1)  # a setting of each thread
        try:
            loops_of[name](mine)
        except BaseException as error:
            failures.append(error)
        pass_to_next()

    names = list(sides)
    following = {name: sides[names[(number + 1) % len(names)]] for number, name in enumerate(names)}
    threads = [threading.Thread(target=run, args=(name, following[name]), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    sides[names[0]].turn.set()
    for thread in threads:
        while thread.is_alive() and not failures:
            thread.join(1.0)
    if failures:
        raise failures[0]
    return sides


class Clock:
    """The zoo's `Context`: notes what is reported, and when each step begins."""

    seed, device, cpus, num_devices = 0, "cpu", 1, 1

    def __init__(self, folder: Path, *, side: Side) -> None:
        self.dir, self._side, self._read = folder, side, 0

    def report(self, step: int, **metrics: float) -> None:
        if "train_loss" in metrics:
            self._side.losses.append(metrics["train_loss"])
            self._side.resident.append(psutil.Process().memory_info().rss)

    def checkpoint(self, state: bytes) -> None:
        pass

    def restore(self) -> None:
        return None

    def should_stop(self) -> bool:
        return False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        if (name == "data" and self._read > 1) or (name == "eval" and self._read):  # the first is of opening the data
            self._side.step_done()
        began = time.process_time()
        yield
        if name == "data":
            self._read += 1
            if self._side.steps >= self._side.steps_of_turn:
                self._side.waiting += time.process_time() - began
        if name == "eval":
            self._read = 0


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

    def counted(self, steps_of_turn: int) -> list[list[Documents]]:
        """Documents of the steps of all turns but the first."""
        return [self.draw(step) for step in range(steps_of_turn, self.config.train.steps)]


def num_tokens(steps: Sequence[list[Documents]]) -> int:
    return sum(kind.tokens.size for kinds in steps for kind in kinds)


def padding(steps: Sequence[list[Documents]]) -> float:
    """Share of the tokens in padded batches that are padding."""
    padded = sum(sum(len(kind.tokens) for kind in kinds) * max(kind.tokens.shape[1] for kind in kinds) for kinds in steps)
    return 1 - num_tokens(steps) / padded


def zoo(common: Common, side: Side) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one = change_steps(common.config, 1)
        loops.train_model(one, first=loops.First(), context=Clock(Path(folder), side=(first := Side())))
        side.losses += first.losses
        side.began = time.process_time()
        loops.train_model(common.config, first=loops.First(), context=Clock(Path(folder), side=side))


def change_steps(config: Config, steps: int) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})


def plain(common: Common, side: Side) -> None:
    model, train, since_log = common.make_model(), common.config.train, list[Tensor]()
    groups = parameter_groups(model, weight_decay=train.weight_decay, encoder=common.config.encoder.training)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=BETAS, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, train=train))
    for step in range(train.steps):
        batch = collate(common.draw(step), device="cpu")
        loss = answer_loss(model, batch, features=common.features[batch.pictures])
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, train.clip_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        since_log.append(loss.detach())
        if step == 0:
            side.losses.append(loss.item())
        if (step + 1) % LOG_EVERY == 0:
            side.losses.append(torch.stack(since_log).mean().item())
            since_log = []
        side.step_done()


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


class CountSteps(TrainerCallback):
    """Counts the steps of `Trainer`, which reports just after a step."""

    def __init__(self, side: Side) -> None:
        self._side = side

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % LOG_EVERY:
            self._side.step_done()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:
            self._side.losses.append(float(logs["loss"]))
            self._side.step_done()


def hugging_face(common: Common, side: Side) -> None:
    model = WithPictures(common.make_model(), features=common.features, config=common.config)
    with torch.no_grad():
        side.losses.append(model(**pad([common.draw(0)])).loss.item())
    train = common.config.train
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            max_steps=train.steps,
            per_device_train_batch_size=1,  # an item is a whole step
            train_sampling_strategy="sequential",
            learning_rate=train.learning_rate,
            warmup_steps=train.warmup_steps,
            lr_scheduler_type="cosine",
            adam_beta2=BETAS[1],
            weight_decay=train.weight_decay,
            max_grad_norm=train.clip_norm,
            logging_steps=LOG_EVERY,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(model=model, args=options, train_dataset=Steps(common), data_collator=pad, callbacks=[CountSteps(side)])
        trainer.remove_callback(PrinterCallback)
        trainer.train()


SIDES: Mapping[str, Callable[[Common, Side], None]] = {"zoo": zoo, "Trainer": hugging_face, "plain": plain}


def seconds(rounds: Sequence[Mapping[str, Side]], name: str) -> "np.ndarray[Any, Any]":
    """Of a side in each round."""
    return np.array([sum(sides[name].seconds[1:]) for sides in rounds])


def ratio(rounds: Sequence[Mapping[str, Side]], theirs: str, ours: str) -> str:
    """Of the seconds of two sides: geometric mean over rounds, with its 95 % interval."""
    logs = np.log(seconds(rounds, theirs) / seconds(rounds, ours))
    interval = ttest_1samp(logs, 0.0).confidence_interval()
    return f"{np.exp(logs.mean()):.2f} [{np.exp(interval.low):.2f}, {np.exp(interval.high):.2f}] times"


def steps_of_turn(size: str) -> int:
    return WIDE_TURN if int(size.split("x")[0]) >= WIDE else TURN


def compare(size: str, *, mix: str, rounds: int) -> None:
    turn = steps_of_turn(size)
    common = Common(make_config(size, mix=mix, steps=2 * turn))
    found = take_rounds({name: partial(side, common) for name, side in SIDES.items()}, rounds=rounds, steps_of_turn=turn)
    first, last = ({name: side.losses[moment] for name, side in found[0].items()} for moment in (0, -1))
    assert max(first.values()) - min(first.values()) < 1e-4, first
    assert abs(last["plain"] - last["zoo"]) < 1e-6, last
    steps = common.counted(turn)
    speeds = ", ".join(f"{name} {num_tokens(steps) / seconds(found, name).mean():,.0f}" for name in SIDES)
    waiting = sum(sides["zoo"].waiting for sides in found) / seconds(found, "zoo").sum()
    print(f"{size:6} {common.config.decoder.num_params:>9,} params, {mix:5}: {speeds} tokens/s", end="; ")
    print(f"padding {padding(steps):.0%} of Trainer's", end="; ")
    print("; ".join(f"{ratio(found, other, 'zoo')} {other}" for other in ("Trainer", "plain")), end="; ")
    print(f"waiting for data {waiting:.1%} of a step; last losses {', '.join(f'{last[name]:.3f}' for name in SIDES)}", flush=True)


def compare_with_itself(size: str, *, mix: str, rounds: int) -> None:
    turn = steps_of_turn(size)
    common = Common(make_config(size, mix=mix, steps=2 * turn))
    for name, side in SIDES.items():
        found = take_rounds({twin: partial(side, common) for twin in ("one", "other")}, rounds=rounds, steps_of_turn=turn)
        print(f"{size:6} {mix:5}: {name} against itself {ratio(found, 'one', 'other')}", flush=True)


def compare_unfrozen(size: str, *, rounds: int) -> None:
    """A frozen encoder, whose features are there before the first step, against one that is trained along."""
    steps = 2 * TURN
    found = take_rounds(
        {training: partial(zoo, Common(make_config(size, mix="mixed", steps=steps, encoder=training))) for training in ("frozen", "full")},
        rounds=rounds,
    )
    print(f"{size:6} frozen encoder {ratio(found, 'full', 'frozen')} one that is trained", flush=True)


def watch_memory(size: str, *, steps: int) -> None:
    """Resident set along one trial, from a tenth of it on, when all that is made once is there."""
    side = Side()
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(size, mix="mixed", steps=steps + steps // 10)
        loops.train_model(config, first=loops.First(), context=Clock(Path(folder), side=side))
    resident = [size / 2**20 for size in side.resident[steps // 10 // LOG_EVERY - 1 :]]
    last = len(resident) - 1
    along = ", ".join(f"{resident[last * part // 5]:.1f}" for part in range(6))
    print(f"resident set over {steps} steps of {size}: {resident[-1] - resident[0]:+.1f} MiB; after each fifth {along} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=8, help="each of 60 steps of every side and then 60 that count; 10 where they are wide"
    )
    parser.add_argument("--sizes", nargs="+", default=["24x2", "48x2", "64x2", "96x2", "168x2", "384x5"], help="width x depth")
    parser.add_argument("--mixes", nargs="+", default=list(MIXES), choices=list(MIXES))
    parser.add_argument("--memory-steps", type=int, default=1000)
    parser.add_argument("--null", action="store_true", help="each side against itself, and nothing else")
    options = parser.parse_args()
    if options.rounds < 2 or options.memory_steps < 400:
        parser.error("--rounds is at least 2 and --memory-steps at least 400: fewer say nothing")
    torch.set_num_threads(1)
    for size in options.sizes:
        for mix in options.mixes:
            (compare_with_itself if options.null else compare)(size, mix=mix, rounds=options.rounds)
    if options.null:
        return
    compare_unfrozen("64x2", rounds=options.rounds)
    watch_memory("64x2", steps=options.memory_steps)


if __name__ == "__main__":
    main()
