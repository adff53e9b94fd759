"""Answers to scores: percent, and CIDEr-D for captions.

0-, 4- and 8-shot scores are read off one set of nine-picture documents at pictures 0, 4 and 8, after so many shots.

N documents, A answers in a document, V vocabulary.
"""

from collections.abc import Mapping
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from model_zoo.config import Eval, Task
from model_zoo.data.documents import Documents
from model_zoo.data.pictures import Pool
from model_zoo.data.rows import NUM_PICTURES
from model_zoo.data.vocabulary import DIGIT, NO_TARGET, NUM_PLACES
from model_zoo.evaluate.answers import answer
from model_zoo.evaluate.averages import AVERAGES, FEW_SHOT_TASKS, SHOTS
from model_zoo.evaluate.captions import greedy_captions
from model_zoo.evaluate.cider import cider_d, document_frequencies
from model_zoo.evaluate.held_out import caption_task, label_task, progression_task, question_task, recall_task
from model_zoo.evaluate.samples import Sample, Scored, scene_samples
from model_zoo.vlm import VisionLanguageModel

WRITTEN_ONE_IN = 4
"""Documents for one in which the model writes captions itself: where its words are wrong, each takes up to three passes more."""


def score_tasks(model: VisionLanguageModel, *, evaluation: Eval, pool: Pool, features: Tensor, num_tokens: int) -> Scored:
    """Every score of the tasks asked for, the averages of which they are all the parts, and samples of the answers."""
    number, scores, samples = evaluation.num_documents, dict[str, float](), list[Sample]()
    if Task.CAPTION in evaluation.tasks:
        documents = caption_task(pool, number=number, num_tokens=num_tokens)
        logits = answer(model, documents, features=features)
        scores |= _at_shots(Task.CAPTION, _is_right(logits, documents))
        scores |= _cider(model, documents, logits=logits, pool=pool, features=features)
        samples += _samples(Task.CAPTION, documents, said=logits.argmax(-1), pool=pool)
    if Task.VQA in evaluation.tasks:
        documents = question_task(pool, number=number, num_tokens=num_tokens)
        logits = answer(model, documents, features=features)
        scores |= _at_shots(Task.VQA, _is_right(logits, documents))
        samples += _samples(Task.VQA, documents, said=logits.argmax(-1), pool=pool)
    if Task.IN_CONTEXT in evaluation.tasks:
        documents = label_task(pool, number=number, num_tokens=num_tokens)
        picked = forced_choice(model, documents, features=features)
        scores |= _at_shots(Task.IN_CONTEXT, picked)
        right, wrong = _two_labels(documents, device=features.device)
        samples += _samples(Task.IN_CONTEXT, documents, said=torch.where(picked, right, wrong), pool=pool)
    if Task.TEXT in evaluation.tasks:
        scores |= _text_scores(model, number=number // 2, features=features)
    if set(FEW_SHOT_TASKS) <= set(evaluation.tasks):
        for shots in SHOTS:
            parts = AVERAGES[f"few_shot/{shots}"]
            scores[f"few_shot/{shots}"] = sum(scores[part] for part in parts) / len(parts)
    return Scored(scores, tuple(samples))


def free_choice(model: VisionLanguageModel, documents: Documents, *, features: Tensor) -> Tensor:
    """[N, A] of booleans: the right token is the likeliest of the whole vocabulary."""
    return _is_right(answer(model, documents, features=features), documents)


def forced_choice(model: VisionLanguageModel, documents: Documents, *, features: Tensor) -> Tensor:
    """[N, A] of booleans: the right one of the two labels is the likelier, so chance is one half."""
    right, wrong = _two_labels(documents, device=features.device)
    logits = answer(model, documents, features=features)
    picked = [logits.gather(2, which[..., None])[..., 0] for which in (right, wrong)]
    return picked[0] > picked[1]


def _cider(model: VisionLanguageModel, documents: Documents, *, logits: Tensor, pool: Pool, features: Tensor) -> Mapping[str, float]:
    """Of captions the model writes itself; n-grams are weighed by the captions of all held-out scenes, so alike at any number of shots."""
    number = len(documents.tokens) // WRITTEN_ONE_IN
    written = Documents(*(array[:number] for array in documents))
    right = written.tokens.reshape(number, NUM_PICTURES, -1)[..., -NUM_PLACES:]
    frequencies = document_frequencies([caption] for caption in (DIGIT + pool.scenes).tolist())
    scores = dict[str, float]()
    for shots in SHOTS:
        said = greedy_captions(model, written, logits=logits[:number], shots=shots, features=features)
        references = {document: [caption] for document, caption in enumerate(right[:, shots].tolist())}
        scores[f"cider/{shots}"] = fmean(cider_d(dict(enumerate(said.tolist())), references=references, frequencies=frequencies).values())
    return scores


def _text_scores(model: VisionLanguageModel, *, number: int, features: Tensor) -> Mapping[str, float]:
    """Two accuracies and their mean: digits of a progression from the third on, values of keys that were there before."""
    progressions, recalls = progression_task(number=number), recall_task(number=number)
    progressed = free_choice(model, progressions, features=features)[:, 1:]
    recalled = free_choice(model, recalls, features=features)[:, ::2]  # answers 0, 2, 4 ... are values
    keys = recalls.tokens[:, ::2]
    seen = np.stack([(keys[:, :i] == keys[:, i : i + 1]).any(1) for i in range(keys.shape[1])], 1)
    known = recalled[torch.from_numpy(seen).to(recalled.device)]
    means = [part.float().mean() for part in (progressed, known)]
    return {
        "progression_score": 100 * float(means[0]),
        "recall_score": 100 * float(means[1]),
        "text_score": float(50 * means[0] + 50 * means[1]),  # added up in float32, as in every trial so far
    }


def _is_right(logits: Tensor, documents: Documents) -> Tensor:
    return logits.argmax(-1) == _right(documents, device=logits.device)


def _right(documents: Documents, *, device: torch.device) -> Tensor:
    targets = documents.targets[documents.targets != NO_TARGET].reshape(len(documents.targets), -1)
    return torch.from_numpy(targets).to(device)


def _two_labels(documents: Documents, *, device: torch.device) -> tuple[Tensor, Tensor]:
    """[N, A] each: the right label, and the other one of the document's two."""
    right = _right(documents, device=device)
    return right, right.amin(1, keepdim=True) + right.amax(1, keepdim=True) - right


def _samples(task: Task, documents: Documents, *, said: Tensor, pool: Pool) -> tuple[Sample, ...]:
    """said [N, A]"""
    right = said == _right(documents, device=said.device)
    return scene_samples(task, documents, said=said.cpu().numpy(), right=right.cpu().numpy(), pool=pool)


def _at_shots(task: Task, correct: Tensor) -> Mapping[str, float]:
    per_picture = correct.view(len(correct), NUM_PICTURES, -1).float().mean((0, 2))
    return {f"{task}/{shots}": 100 * float(per_picture[shots]) for shots in SHOTS}
