"""A model and caption documents to the captions it writes itself, each word after its own words before.

N documents, A answers in a document, V vocabulary, W words of a caption, L tokens up to the caption's end.
"""

import numpy as np
from torch import Tensor

from model_zoo.data.documents import Documents
from model_zoo.data.pictures import Ints
from model_zoo.data.rows import NUM_PICTURES
from model_zoo.data.vocabulary import IMAGE, NUM_PLACES
from model_zoo.evaluate.answers import answer
from model_zoo.vlm import VisionLanguageModel


def greedy_captions(model: VisionLanguageModel, documents: Documents, *, logits: Tensor, shots: int, features: Tensor) -> Ints:
    """[N, W]: the likeliest word at each place, of the picture after so many shots with their right captions.

    `logits` [N, A, V] are those of `answer`, which reads the right words before each place. So a caption stands as soon as the
    words it was read from are its own: only documents with another word are read again, at most W - 1 times, since each time
    one more word has settled (Jacobi decoding: Santilli et al. 2023, arXiv 2305.10427). It is exact, and of a trained model
    nearly all captions stand at once.
    """
    end = documents.tokens.shape[1] // NUM_PICTURES * (shots + 1)
    part = Documents(documents.tokens[:, :end].copy(), documents.targets[:, :end], documents.pictures[:, : shots + 1])
    words = slice(end - NUM_PLACES, end)
    captions = _likeliest(logits[:, shots * NUM_PLACES : (shots + 1) * NUM_PLACES])
    unsettled = np.flatnonzero(_differ(captions, part.tokens[:, words]))
    for _ in range(NUM_PLACES - 1):
        if not len(unsettled):
            break
        part.tokens[unsettled, words] = captions[unsettled]
        again = Documents(*(array[unsettled] for array in part))
        said = _likeliest(answer(model, again, features=features)[:, -NUM_PLACES:])
        moved = _differ(said, captions[unsettled])
        captions[unsettled] = said
        unsettled = unsettled[moved]
    return captions


def _differ(one: Ints, other: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """[N] of booleans: in a word that another one follows."""
    differs: np.ndarray[tuple[int], np.dtype[np.bool_]] = (one != other)[:, :-1].any(1)
    return differs


def _likeliest(logits: Tensor) -> Ints:
    """[N, W, V] -> [N, W]; a placeholder is no word, and read again it would ask for a picture."""
    words = logits.clone()
    words[..., IMAGE] = -np.inf
    chosen: Ints = words.argmax(-1).cpu().numpy()
    return chosen
