"""What each metric of a trial means, and its scale. Pages, docs and plans read it; nothing heavy is imported."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from model_zoo.evaluate.averages import AVERAGES, CAPTION_VQA_MEAN, FEW_SHOT_TASKS, SHOTS


class Metric(NamedTuple):
    """What a number of this name is. None and empty text: not known, or there is none."""

    meaning: str
    """`/K` in it stands for so many shots."""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    """Bounds: no value lies outside them."""
    better: Literal["lower", "higher", ""] = ""
    chance: float | None = None
    """What an answer by lot would get."""


def _percent(meaning: str, *, chance: float | None = None) -> Metric:
    return Metric(meaning, "percent", 0.0, 100.0, "higher", chance)


def _least(meaning: str, unit: str, *, low: float | None = 0.0) -> Metric:
    return Metric(meaning, unit, low, None, "lower")


BY_SHOTS: Mapping[str, Metric] = {
    "caption": _percent("digits of a scene named right, each after the right ones before it"),
    "vqa": _percent("questions about one place of a scene answered right"),
    "in_context": _percent("two-way choice of a label that only the document defines, exactly at chance at 0 shots", chance=50.0),
    "few_shot": _percent(f"plain mean of {', '.join(f'{task}/K' for task in FEW_SHOT_TASKS)}"),
    "cider": Metric("CIDEr-D of the model's own captions; papers print 100 times it", "CIDEr-D", 0.0, 10.0, "higher"),
    "vqa_accuracy": _percent("accuracy of VQA, of answers the model writes to questions of eval.few_shot"),
    CAPTION_VQA_MEAN: Metric("plain mean of 100 x cider/K and vqa_accuracy/K", "neither percent nor CIDEr-D", 0.0, None, "higher"),
}
"""Without `/K`, the number of shots."""
OTHERS: Mapping[str, Metric] = {
    "lm_eval/TASK/METRIC": Metric("what lm-evaluation-harness gives the decoder: each of eval.harness.scores"),
    "progression_score": _percent("digits of a progression continued right from the third on, no image"),
    "recall_score": _percent("values of keys that came before in the text recalled right, no image"),
    "text_score": _percent(f"plain mean of {', '.join(AVERAGES['text_score'])}"),
    "ttft_flops": _least("to the first token of an answer: encoder, connector, decoder and head on an image and a question", "FLOPs"),
    "ttft_ms": _least("time to first token, ttft_encoder_ms + ttft_prefill_ms; only where eval.latency is measured", "milliseconds"),
    "ttft_encoder_ms": _least("of ttft_ms the encoder: one image, batch size 1, median", "milliseconds"),
    "ttft_prefill_ms": _least("of ttft_ms all after the encoder: connector, decoder over the prompt, head, median", "milliseconds"),
    "val_loss": _least("held-out loss, mean over caption, interleaved and text with equal weights", "nats"),
    "train_loss": _least("loss of the trial's own mix, mean over the steps since the last point", "nats"),
    "load_balance_loss": _least("mean over expert layers: 1 where all experts are used alike, up to their number", "", low=None),
    "router_z_loss": _least("squared log of the sum of the exponentials of a router's logits, mean over tokens and layers", ""),
    "encoder_loss": _least("image-caption contrast in nats, or squared error of the next patch's normalised pixels", ""),
    "encoder_accuracy": _percent("images of a batch that find their own caption; contrastive alone"),
    "tokens": Metric("that the decoder has read since the stage began, image tokens included, all devices together", "tokens", 0.0),
    "skipped_rows": Metric("bad rows left out so far, of `data.files` and of eval.few_shot", "rows", 0.0),
}
SCALES: Mapping[str, Metric] = {
    **{f"{name}/{shots}": metric for name, metric in BY_SHOTS.items() for shots in SHOTS},
    **OTHERS,
}


def in_words(name: str) -> str:
    """Meaning and unit of a metric of `SCALES`, its shots among them."""
    metric, shots = SCALES[name], name.rpartition("/")[2]
    meaning = metric.meaning.replace("/K", f"/{shots}") if "/K" in metric.meaning or name in OTHERS else f"{metric.meaning}, {shots} shots"
    return f"{meaning}, {metric.unit}" if metric.unit else meaning
