"""What is measured of trials on files of one's own beside the loss: answers after a few shots, scores of another's harness. Planning reads
it; nothing heavy is imported.
"""

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from model_zoo.data.settings import Patterns
from model_zoo.fields import Count, NonNegativeInt, Settings

SUFFIXES = {"captioning": (".tar", ".json", ".jsonl"), "vqa": (".jsonl",)}
"""Task -> what its files may be: WebDataset shards, LLaVA conversations, rows of JSON."""
PROGRAM = "lm_eval"
"""The module of lm-evaluation-harness."""
NEW_LINE = "\n"
"""Where an answer ends: shots are one line each, and a model that has seen some goes on with the next one."""


class FewShotFiles(Settings):
    """Files of one task; `*` and `**` stand for any names, and relative paths start from ABLATE_DATA."""

    queries: Patterns
    """Files of the pictures that are asked about, which no training may have seen."""
    demonstrations: Patterns
    """Files that the shots of a query are drawn from, such as those of a training split."""


class FewShot(Settings):
    """Captions and answers that the model writes itself, after MM1's prompts (arXiv 2403.09611, footnote 6) and so many shots."""

    captioning: FewShotFiles | None = None
    """Pictures and one or several captions of each, scored by CIDEr-D (`.tar`, `.json`, `.jsonl`)."""
    vqa: FewShotFiles | None = None
    """Pictures, questions, and the ten answers that people gave, scored by the accuracy of VQA (`.jsonl`)."""
    shots: Annotated[tuple[Literal[0, 4, 8], ...], Field(min_length=1)] = (0, 4, 8)
    """Shots before a query: some of 0, 4 and 8. The 4 are the first of the 8."""
    num_queries: Annotated[int, Field(strict=True, ge=2)] = 256
    """Of each task, drawn from its files, the same for all trials; fewer usable rows than that are refused."""
    max_new_tokens: Count = 32
    """Most that an answer may have."""
    separator: str = NEW_LINE
    """What stands after a shot: text that ends with a line break, since an answer ends where a line does."""

    @field_validator("captioning", "vqa")
    @classmethod
    def _has_suffix(cls, value: FewShotFiles | None, info: ValidationInfo) -> FewShotFiles | None:
        if value is None:
            return None
        allowed = SUFFIXES[info.field_name or ""]
        wrong = [name for name in (*value.queries, *value.demonstrations) if PurePath(name).suffix not in allowed]
        if wrong:
            raise ValueError(f"'{wrong[0]}' ends in none of {', '.join(allowed)}, which files of this task do")
        return value

    @field_validator("shots")
    @classmethod
    def _in_one_order(cls, value: tuple[Literal[0, 4, 8], ...]) -> tuple[Literal[0, 4, 8], ...]:
        return tuple(sorted(set(value)))  # the order someone wrote them in is not identity

    @field_validator("separator")
    @classmethod
    def _ends_a_line(cls, value: str) -> str:
        if not value.endswith(NEW_LINE):
            raise ValueError(f'{value!r} does not end with a line break, where an answer ends: write it in double quotes, as in "\\n"')
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> "FewShot":
        if self.captioning is None and self.vqa is None:
            raise ValueError("no files to ask about: give captioning, vqa or both")
        return self


Score = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+){1,2}$")]


class Harness(Settings):
    """Scores of lm-evaluation-harness (github.com/EleutherAI/lm-evaluation-harness): its program reads the trained decoder and no image."""

    scores: Annotated[tuple[Score, ...], Field(min_length=1)]
    """Each is TASK/METRIC, as in `hellaswag/acc_norm`, or TASK/METRIC/FILTER where a task filters its answers in several ways."""
    num_fewshot: NonNegativeInt | None = None
    """Shots before each of its questions; left out, what a task says itself."""

    @field_validator("scores")
    @classmethod
    def _in_one_order(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(value)))

    @property
    def task_names(self) -> list[str]:
        """Of the scores, each once."""
        return sorted({score.partition("/")[0] for score in self.scores})
