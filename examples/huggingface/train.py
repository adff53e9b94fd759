"""A tiny language model, made from its config, trained by transformers.Trainer on sequences that count modulo 13. Downloads nothing."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

LENGTH, VOCABULARY = 16, 13


class ReportToAblate(TrainerCallback):
    """Appends what the Trainer logs to the file that ablate reads."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        numbers = {name: value for name, value in (logs or {}).items() if isinstance(value, int | float)}
        with open(os.environ["ABLATE_METRICS"], "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **numbers}) + "\n")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Names the checkpoint that is whole: the Trainer writes its files one by one and may be killed between two of them."""
        Path(f"{newest_name()}.tmp").write_text(f"checkpoint-{state.global_step}", encoding="utf-8")
        os.replace(f"{newest_name()}.tmp", newest_name())


def newest_name() -> Path:
    return Path(os.environ["ABLATE_CHECKPOINT_DIR"]) / "newest"


def newest_checkpoint() -> str | None:
    """What an attempt before this one has left whole."""
    newest = newest_name()
    return str(newest.with_name(newest.read_text(encoding="utf-8"))) if newest.exists() else None


def sequences(count: int, *, first: int) -> list[dict[str, torch.Tensor]]:
    """Sequence n starts at n and counts on in steps of 1 to 5."""
    made = []
    for number in range(first, first + count):
        tokens = (number + torch.arange(LENGTH) * (1 + number % 5)) % VOCABULARY
        made.append({"input_ids": tokens, "labels": tokens})
    return made


def main() -> None:
    with open(os.environ["ABLATE_CONFIG"], encoding="utf-8") as file:
        config = json.load(file)
    arguments = TrainingArguments(
        output_dir=os.environ["ABLATE_CHECKPOINT_DIR"],
        seed=int(os.environ["ABLATE_SEED"]),
        max_steps=config["train"]["steps"],
        per_device_train_batch_size=config["train"]["batch"],
        learning_rate=config["train"]["lr"],
        eval_strategy="steps",
        eval_steps=10,
        logging_steps=10,
        save_strategy="steps",
        save_steps=10,
        save_total_limit=2,  # the one that `newest` names is there until it names the next
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    torch.manual_seed(arguments.seed)
    width = config["model"]["width"]
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=config["model"]["layers"],
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
        )
    )
    data, unseen = sequences(256, first=0), sequences(65, first=1000)
    trainer = Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=unseen, callbacks=[ReportToAblate()])
    trainer.train(resume_from_checkpoint=newest_checkpoint())
    trainer.evaluate()  # said again where the last checkpoint was of the last step
    trainer.save_model(os.environ["ABLATE_TRIAL_DIR"])


if __name__ == "__main__":
    main()
