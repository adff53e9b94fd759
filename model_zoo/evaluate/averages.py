"""Which scores enter which average; nothing heavy is imported."""

from model_zoo.config import Task

SHOTS = (0, 4, 8)
FEW_SHOT_TASKS = (Task.CAPTION, Task.VQA, Task.IN_CONTEXT)

AVERAGES: dict[str, tuple[str, ...]] = {
    **{f"few_shot/{shots}": tuple(f"{task}/{shots}" for task in FEW_SHOT_TASKS) for shots in SHOTS},
    "text_score": ("progression_score", "recall_score"),
}
"""Each is the plain mean of these scores, equal weights, all in percent; CIDEr-D, which is none, enters no average."""
