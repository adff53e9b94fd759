"""The validation loss: cheap, smooth, and comparable between mixes."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model_zoo.data.batch import Batch, collate
from model_zoo.data.documents import Documents
from model_zoo.evaluate.held_out import ValidationDocuments
from model_zoo.vlm import VisionLanguageModel


def answer_loss(model: VisionLanguageModel, batch: Batch, *, features: Tensor) -> Tensor:
    """Mean cross entropy in nats of the answers of a batch, each token counting alike; the training loss."""
    hidden = model(batch.tokens, features=features, groups=batch.groups)
    return F.cross_entropy(model.logits(hidden.index_select(0, batch.answered_at)), batch.answers)


@torch.no_grad()
def validation_loss(model: VisionLanguageModel, documents: ValidationDocuments, *, features: Tensor) -> float:
    """Mean over the three sources of each one's own loss: equal weights, whatever the mix of the trial."""
    losses = [_source_loss(model, kinds, features=features) for kinds in documents]
    return sum(losses) / len(losses)


def _source_loss(model: VisionLanguageModel, kinds: Sequence[Documents], *, features: Tensor) -> float:
    batch = collate(kinds, device=str(features.device))
    return float(answer_loss(model, batch, features=features[batch.pictures]))
