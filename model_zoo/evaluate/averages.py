"""Which scores enter which average; nothing heavy is imported."""

from model_zoo.config import Task

SHOTS = (0, 4, 8)
FEW_SHOT_TASKS = (Task.CAPTION, Task.VQA, Task.IN_CONTEXT)

AVERAGES: dict[str, tuple[str, ...]] = {
    **{f"few_shot/{shots}": tuple(f"{task}/{shots}" for task in FEW_SHOT_TASKS) for shots in SHOTS},
    "text_score": ("progression_score", "recall_score"),
}
"""Each is the plain mean of these scores, equal weights, all in percent; CIDEr-D, which is none, enters no average."""

CAPTION_VQA_MEAN = "caption_vqa_mean"
"""On files: the plain mean of 100 x CIDEr-D and the accuracy of VQA in percent, the scales that papers print them in. MM1's averages mix
the two; that they are plain means is inferred (arXiv 2403.09611, tables 1 and 3)."""
