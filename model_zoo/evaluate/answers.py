"""A model and documents to the logits of every answer, a few documents at a time.

N documents, A answers in a document, V vocabulary.
"""

import torch
from torch import Tensor

from model_zoo.data.batch import collate
from model_zoo.data.documents import Documents
from model_zoo.vlm import VisionLanguageModel

TOKENS_AT_ONCE = 8192


@torch.no_grad()
def answer(model: VisionLanguageModel, documents: Documents, *, features: Tensor) -> Tensor:
    """Logits [N, A, V] at the tokens that have a target; every document has equally many."""
    number, length = documents.tokens.shape
    at_once = max(1, TOKENS_AT_ONCE // length)
    parts = []
    for start in range(0, number, at_once):
        part = Documents(*(array[start : start + at_once] for array in documents))
        batch = collate([part], device=str(features.device))
        hidden = model(batch.tokens, features=features[batch.pictures], groups=batch.groups)
        parts.append(model.logits(hidden[batch.answered_at]))
    logits = torch.cat(parts)
    return logits.view(number, -1, logits.shape[-1])
