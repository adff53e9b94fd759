"""Held-out files to scores after a few shots: captions by CIDEr-D, answers by the accuracy of VQA.

All trials are asked the same: queries and their shots are drawn with seeds of their own, not with the trial's.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from model_zoo.data.files import RunDry, SourceError, Stream
from model_zoo.data.packing import Layout, pixels_of
from model_zoo.data.samples import IMAGE_MARK, BadRow, Document, Picture, Text, read_captions, read_question
from model_zoo.data.settings import Files
from model_zoo.evaluate.averages import CAPTION_VQA_MEAN
from model_zoo.evaluate.cider import caption_words, cider_d, document_frequencies
from model_zoo.evaluate.generate import Asked, See, generate
from model_zoo.evaluate.names import FEW_SHOT_METRICS, few_shot_tasks
from model_zoo.evaluate.prompts import CAPTIONING, VQA, Prompt, Query, Shot, prompt
from model_zoo.evaluate.samples import NUM_SAMPLES, Sample, Scored, jpeg
from model_zoo.evaluate.settings import NEW_LINE, FewShot
from model_zoo.evaluate.vqa_accuracy import NUM_ANSWERS, vqa_accuracy
from model_zoo.vlm import VisionLanguageModel

POOL_ROWS = 256
"""Rows of the demonstrations' files that shots are drawn from, or as many as there are."""
_QUERIES, _POOL, _SHOTS = 8, 9, 10  # seeds, so that no two uses share random numbers
_TEMPLATES = {"captioning": CAPTIONING, "vqa": VQA}
_READERS = {"captioning": read_captions, "vqa": read_question}


class Example(NamedTuple):
    """A picture, what is asked about it, and what people said."""

    picture: bytes
    """The image file."""
    question: str
    """Empty for a caption."""
    answers: tuple[str, ...]

    @property
    def as_shot(self) -> Shot[bytes]:
        """With what most people said, and the first of that where several things were said equally often, as captions are."""
        ((answer, _),) = Counter(self.answers).most_common(1)
        return Shot(Query(self.picture, self.question), answer)


class FewShotTask(NamedTuple):
    """What a model is asked."""

    name: str
    """`captioning` or `vqa`."""
    queries: tuple[Example, ...]
    shots: tuple[tuple[Example, ...], ...]
    """Of each query, as many as the most that are asked for."""
    num_bad: int
    """Rows left out."""


def how_asked(settings: FewShot) -> dict[str, Any]:
    """For the record that a trial leaves."""
    means = {
        f"{CAPTION_VQA_MEAN}/{shots}": [f"100 x cider/{shots}", f"vqa_accuracy/{shots}"]
        for shots in settings.shots
        if len(few_shot_tasks(settings)) == 2
    }
    return {
        "prompts": {name: _TEMPLATES[name] for name in few_shot_tasks(settings)},
        "separator": settings.separator,
        "num_queries": settings.num_queries,
        "averages": means,
    }


def open_few_shot(settings: FewShot, *, files: Files, layout: Layout) -> tuple[FewShotTask, ...]:
    """Reads what will be asked. Raises SourceError where rows are missing, and where a prompt does not fit into a sequence."""
    tasks = tuple(_open(name, settings, files=files, layout=layout) for name in few_shot_tasks(settings))
    for task in tasks:
        _check_lengths(task, settings, layout=layout)
    return tasks


def score_few_shot(
    model: VisionLanguageModel, tasks: Sequence[FewShotTask], *, settings: FewShot, layout: Layout, see: See, device: str
) -> Scored:
    """CIDEr-D from 0 to 10, accuracy in percent, and the mean of the two as papers print them; and samples of the answers."""
    scores, samples = dict[str, float](), list[Sample]()
    for task in tasks:
        for number in settings.shots:
            asked = [_ask(task, n, shots=number, separator=settings.separator, layout=layout) for n in range(len(task.queries))]
            said = generate(model, asked, tokenizer=layout.tokenizer, see=see, max_new_tokens=settings.max_new_tokens, device=device)
            scores[f"{FEW_SHOT_METRICS[task.name]}/{number}"] = _cider(task, said) if task.name == "captioning" else _accuracy(task, said)
            samples += _samples(task, said, shots=number, separator=settings.separator, layout=layout)
    if len(tasks) == 2:
        for number in settings.shots:
            scores[f"{CAPTION_VQA_MEAN}/{number}"] = fmean((100 * scores[f"cider/{number}"], scores[f"vqa_accuracy/{number}"]))
    return Scored(scores, tuple(samples))


def _samples(task: FewShotTask, said: Sequence[str], *, shots: int, separator: str, layout: Layout) -> tuple[Sample, ...]:
    """Of the first queries, each with its own picture alone."""
    return tuple(
        Sample(
            task=task.name,
            shots=shots,
            prompt=_prompt(task, number, shots=shots, separator=separator).text,
            expected=tuple(dict.fromkeys(query.answers)),
            answer=answer,
            correct=vqa_accuracy(answer, human_answers=query.answers) if task.name == "vqa" else None,
            images=(jpeg(pixels_of(query.picture, layout=layout).numpy()),),
        )
        for number, (query, answer) in enumerate(list(zip(task.queries, said, strict=True))[:NUM_SAMPLES])
    )


def _open(name: str, settings: FewShot, *, files: Files, layout: Layout) -> FewShotTask:
    patterns, where = getattr(settings, name), f"eval.few_shot.{name}"
    queries, asked = _read(f"{where}.queries", patterns.queries, task=name, number=settings.num_queries, files=files, layout=layout)
    if len(queries) < settings.num_queries:
        raise SourceError(
            f"source {where}.queries has {len(queries):,} usable rows, and num_queries is {settings.num_queries:,}: lower it, or add rows"
            + (f" ({asked.bad_rows})" if asked.bad_rows else "")
        )
    if not (most := settings.shots[-1]):
        return FewShotTask(name, tuple(queries), ((),) * len(queries), asked.state.bad)
    pool, shown = _read(f"{where}.demonstrations", patterns.demonstrations, task=name, number=POOL_ROWS, files=files, layout=layout)
    shots = tuple(_draw(query, pool, seed=(_SHOTS, number), number=most, where=where) for number, query in enumerate(queries))
    return FewShotTask(name, tuple(queries), shots, asked.state.bad + shown.state.bad)


def _read(
    where: str, patterns: Sequence[str], *, task: str, number: int, files: Files, layout: Layout
) -> tuple[list[Example], Stream[Example]]:
    """So many rows in a drawn order, or as many as there are, and what they were read from."""
    are_queries = where.endswith("queries")

    def prepare(document: Document) -> Example:
        example = _example(document)
        if task == "vqa" and are_queries and len(example.answers) != NUM_ANSWERS:
            raise BadRow(f"{len(example.answers)} answers; the accuracy of VQA is defined over {NUM_ANSWERS}")
        if task == "captioning" and not all(caption_words(caption) for caption in example.answers):
            raise BadRow("a caption without a word")
        try:
            prompt(example.as_shot.query, template=_TEMPLATES[task], shots=[example.as_shot], separator=NEW_LINE, image_mark=IMAGE_MARK)
        except ValueError as error:
            raise BadRow(str(error)) from error
        pixels_of(example.picture, layout=layout)  # raises where it is no image
        return example

    seed = (_QUERIES if are_queries else _POOL,)
    rows = Stream(where, patterns, prepare=prepare, seed=seed, epochs=1, max_bad_share=files.max_bad_share, reader=_READERS[task])
    found = list[Example]()
    try:
        while len(found) < number:
            found.append(next(rows))
    except RunDry:
        pass
    return found, rows


def _example(document: Document) -> Example:
    (picture,) = (part.data for part in document if isinstance(part, Picture))
    texts = [part for part in document if isinstance(part, Text)]
    question = " ".join(_one_line(text.text) for text in texts if not text.learnt)
    return Example(picture, question, tuple(_one_line(text.text) for text in texts if text.learnt))


def _one_line(text: str) -> str:
    return " ".join(text.split())  # since a line break ends a shot


def _draw(query: Example, pool: Sequence[Example], *, seed: tuple[int, ...], number: int, where: str) -> tuple[Example, ...]:
    """Never the query's own picture, whatever else is asked about it."""
    others = [example for example in pool if example.picture != query.picture]
    if len(others) < number:
        raise SourceError(
            f"source {where}.demonstrations has {len(others):,} usable rows about another picture than a query's, and {number} shots need "
            f"as many: add rows, or leave out shots"
        )
    chosen = np.random.default_rng(seed).choice(len(others), size=number, replace=False)
    return tuple(others[place] for place in chosen.tolist())


def _prompt(task: FewShotTask, number: int, *, shots: int, separator: str) -> Prompt[bytes]:
    query, before = task.queries[number], [example.as_shot for example in task.shots[number][:shots]]
    question = Query(query.picture, query.question)
    return prompt(question, template=_TEMPLATES[task.name], shots=before, separator=separator, image_mark=IMAGE_MARK)


def _ask(task: FewShotTask, number: int, *, shots: int, separator: str, layout: Layout) -> Asked:
    """The prompt of a query: text in pieces between its pictures, each of which becomes tokens by itself, as in training."""
    text, pictures = _prompt(task, number, shots=shots, separator=separator)
    first, *pieces = text.split(IMAGE_MARK)
    tokens = layout.tokenizer.encode(first)
    for piece in pieces:
        tokens += [layout.tokenizer.image] * layout.num_tokens + layout.tokenizer.encode(piece)
    return Asked(tuple(tokens), pictures)


def _check_lengths(task: FewShotTask, settings: FewShot, *, layout: Layout) -> None:
    most = settings.shots[-1]
    prompts = (_ask(task, n, shots=most, separator=settings.separator, layout=layout) for n in range(len(task.queries)))
    longest = max(len(asked.tokens) for asked in prompts) + settings.max_new_tokens
    if longest > layout.max_tokens:
        raise SourceError(
            f"eval.few_shot.{task.name}: the longest prompt of {most} shots has {longest - settings.max_new_tokens:,} tokens, and with an "
            f"answer of up to {settings.max_new_tokens} is longer than max_tokens {layout.max_tokens:,}: raise max_tokens to {longest:,}, "
            "or leave out shots"
        )


def _cider(task: FewShotTask, said: Sequence[str]) -> float:
    """Mean over the queries; n-grams are weighed by the queries' own captions, as the COCO toolkit does."""
    references = {number: [caption_words(caption) for caption in query.answers] for number, query in enumerate(task.queries)}
    candidates = {number: caption_words(caption) for number, caption in enumerate(said)}
    return fmean(cider_d(candidates, references=references, frequencies=document_frequencies(references.values())).values())


def _accuracy(task: FewShotTask, said: Sequence[str]) -> float:
    """Percent."""
    scores = (vqa_accuracy(answer, human_answers=query.answers) for answer, query in zip(said, task.queries, strict=True))
    return 100 * fmean(scores)
