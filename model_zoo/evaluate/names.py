"""The metrics that a trial reports, as its config asks for them. Studies are checked by it, so nothing heavy is imported."""

from model_zoo.config import Config, Eval, Latency, Task
from model_zoo.encoders.encoder import Objective
from model_zoo.evaluate.averages import AVERAGES, CAPTION_VQA_MEAN, FEW_SHOT_TASKS, SHOTS
from model_zoo.evaluate.settings import FewShot, Harness

FEW_SHOT_METRICS = {"captioning": "cider", "vqa": "vqa_accuracy"}
"""Of the tasks on files."""
HARNESS = "lm_eval"
"""First part of the names of its scores."""


def reported(config: Config) -> list[str]:
    """Every metric of a trial, those of its curves included."""
    evaluation, names = config.eval, ["train_loss", "val_loss"]
    if config.data.files:
        names += ["skipped_rows", *few_shot_names(evaluation.few_shot), *harness_names(evaluation.harness)]
    else:
        names += [*score_names(evaluation), *first_token_names(evaluation)]
    if getattr(config.decoder, "moe", None):
        names += ["load_balance_loss", "router_z_loss"]
    objective = config.encoder.pretrain.objective
    if objective is not Objective.NONE:
        names += ["encoder_loss", *["encoder_accuracy"] * (objective is Objective.CONTRASTIVE)]
    return [*names, "tokens"]


def score_names(evaluation: Eval) -> list[str]:
    """On digit scenes."""
    names = list[str]()
    for task in FEW_SHOT_TASKS:
        if task in evaluation.tasks:
            kinds = (task, "cider") if task is Task.CAPTION else (task,)
            names += [f"{kind}/{shots}" for kind in kinds for shots in SHOTS]
    if Task.TEXT in evaluation.tasks:
        names += [*AVERAGES["text_score"], "text_score"]
    if set(FEW_SHOT_TASKS) <= set(evaluation.tasks):
        names += [f"few_shot/{shots}" for shots in SHOTS]
    return names


def few_shot_tasks(settings: FewShot) -> list[str]:
    """Those that are asked for."""
    return [name for name in FEW_SHOT_METRICS if getattr(settings, name) is not None]


def few_shot_names(settings: FewShot | None) -> list[str]:
    """On files of one's own."""
    if settings is None:
        return []
    tasks = few_shot_tasks(settings)
    names = [f"{FEW_SHOT_METRICS[name]}/{shots}" for name in tasks for shots in settings.shots]
    return names + [f"{CAPTION_VQA_MEAN}/{shots}" for shots in settings.shots if len(tasks) == 2]


def harness_names(settings: Harness | None) -> list[str]:
    """Of lm-evaluation-harness."""
    return [f"{HARNESS}/{score}" for score in settings.scores] if settings else []


def first_token_names(evaluation: Eval) -> list[str]:
    """Of the time to a first token."""
    measured = ["ttft_encoder_ms", "ttft_prefill_ms", "ttft_ms"]
    return ["ttft_flops", *measured * (evaluation.latency is Latency.MEASURED)]
