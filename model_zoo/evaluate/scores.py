"""Answers to scores in percent.

0-, 4- and 8-shot scores are read off one set of nine-picture documents at pictures 0, 4 and 8, after so many shots.

N documents, A answers in a document, V vocabulary.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from model_zoo.config import Eval, Task
from model_zoo.data.documents import Documents
from model_zoo.data.pictures import Pool
from model_zoo.data.rows import NUM_PICTURES
from model_zoo.data.vocabulary import NO_TARGET
from model_zoo.evaluate.answers import answer
from model_zoo.evaluate.held_out import caption_task, label_task, progression_task, question_task, recall_task
from model_zoo.vlm import VisionLanguageModel

SHOTS = (0, 4, 8)
FEW_SHOT_TASKS = (Task.CAPTION, Task.VQA, Task.IN_CONTEXT)


def score_names(evaluation: Eval) -> list[str]:
    """Names `score_tasks` gives for these tasks: no torch runs, so a diverged trial can say what it lacks."""
    names = [f"{task}/{shots}" for task in FEW_SHOT_TASKS if task in evaluation.tasks for shots in SHOTS]
    if set(FEW_SHOT_TASKS) <= set(evaluation.tasks):
        names += [f"few_shot/{shots}" for shots in SHOTS]
    return names + ["text_score"] * (Task.TEXT in evaluation.tasks)


def score_tasks(model: VisionLanguageModel, *, evaluation: Eval, pool: Pool, features: Tensor, num_tokens: int) -> dict[str, float]:
    """Every score of the tasks asked for; `few_shot/k` is the plain mean of caption, vqa and in_context at k shots."""
    number, scores = evaluation.num_documents, dict[str, float]()
    if Task.CAPTION in evaluation.tasks:
        documents = caption_task(pool, number=number, num_tokens=num_tokens)
        scores |= _at_shots(Task.CAPTION, free_choice(model, documents, features=features))
    if Task.VQA in evaluation.tasks:
        documents = question_task(pool, number=number, num_tokens=num_tokens)
        scores |= _at_shots(Task.VQA, free_choice(model, documents, features=features))
    if Task.IN_CONTEXT in evaluation.tasks:
        documents = label_task(pool, number=number, num_tokens=num_tokens)
        scores |= _at_shots(Task.IN_CONTEXT, forced_choice(model, documents, features=features))
    if set(FEW_SHOT_TASKS) <= set(evaluation.tasks):
        for shots in SHOTS:
            scores[f"few_shot/{shots}"] = sum(scores[f"{task}/{shots}"] for task in FEW_SHOT_TASKS) / len(FEW_SHOT_TASKS)
    if Task.TEXT in evaluation.tasks:
        scores["text_score"] = _text_score(model, number=number // 2, features=features)
    return scores


def free_choice(model: VisionLanguageModel, documents: Documents, *, features: Tensor) -> Tensor:
    """[N, A] of booleans: the right token is the likeliest of the whole vocabulary."""
    return answer(model, documents, features=features).argmax(-1) == _right(documents, device=features.device)


def forced_choice(model: VisionLanguageModel, documents: Documents, *, features: Tensor) -> Tensor:
    """[N, A] of booleans: the right one of the two labels is the likelier, so chance is one half."""
    right = _right(documents, device=features.device)
    wrong = right.amin(1, keepdim=True) + right.amax(1, keepdim=True) - right  # a document has exactly two labels
    logits = answer(model, documents, features=features)
    picked = [logits.gather(2, which[..., None])[..., 0] for which in (right, wrong)]
    return picked[0] > picked[1]


def _text_score(model: VisionLanguageModel, *, number: int, features: Tensor) -> float:
    """Mean of two accuracies: digits of a progression from the third on, values of keys that were there before."""
    progressions, recalls = progression_task(number=number), recall_task(number=number)
    progressed = free_choice(model, progressions, features=features)[:, 1:]
    recalled = free_choice(model, recalls, features=features)[:, ::2]  # answers 0, 2, 4 ... are values
    keys = recalls.tokens[:, ::2]
    seen = np.stack([(keys[:, :i] == keys[:, i : i + 1]).any(1) for i in range(keys.shape[1])], 1)
    known = recalled[torch.from_numpy(seen).to(recalled.device)]
    return float(50 * progressed.float().mean() + 50 * known.float().mean())


def _right(documents: Documents, *, device: torch.device) -> Tensor:
    targets = documents.targets[documents.targets != NO_TARGET].reshape(len(documents.targets), -1)
    return torch.from_numpy(targets).to(device)


def _at_shots(task: Task, correct: Tensor) -> Mapping[str, float]:
    per_picture = correct.view(len(correct), NUM_PICTURES, -1).float().mean((0, 2))
    return {f"{task}/{shots}": 100 * float(per_picture[shots]) for shots in SHOTS}
