"""What MM1 (arXiv 2403.09611) published, as far as it was read: its lessons in words, Table 1, and three peak learning rates.

Of its plots the plotted values are not known, so a lesson is a direction and nothing else stands here point by point. The law itself is in
`analysis/published.py`. `evidence` says what was read in the paper's place.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict

from ablate.errors import InputError, did_you_mean

SOURCE = "arXiv 2403.09611"
DATA = Path(__file__).parent / "data" / "mm1_reference.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lesson(_Frozen):
    """One lesson of MM1's ablations: what is changed, what is measured, which way it goes."""

    id: str
    """As a claim's `lesson` names it."""
    axis: str
    metric: str
    expect: str
    figure: str
    """`Figure 4`, `Table 1` or `Appendix C.4`."""
    source: str
    evidence: str

    @property
    def text(self) -> str:
        """`MM1 (Figure 4): image tokens 64 → 144: increase`."""
        return f"MM1 ({self.figure}): {self.axis}: {self.expect}"


class EncoderRow(_Frozen):
    """One image encoder of Table 1."""

    model: str
    objective: str
    architecture: str
    image_size: int
    """Pixels a side."""
    encoder_data: str
    """What the encoder itself was trained on."""
    shots: Mapping[int, float]
    """Examples in context -> average score."""

    @property
    def label(self) -> str:
        return f"{self.model} {self.architecture}, {self.image_size} px"


class EncoderTable(_Frozen):
    caption: str
    source: str
    evidence: str
    unit: str
    notes: tuple[str, ...]
    rows: tuple[EncoderRow, ...]


class LearningRate(_Frozen):
    """A published peak rate: one of the final models', set by the law and rounded. The points of the law's own fit are not known."""

    size: str
    n_params: float
    """Nominal."""
    learning_rate: float
    role: str
    source: str
    evidence: str


class _Reference(_Frozen):
    lessons: tuple[Lesson, ...]
    table1: EncoderTable
    learning_rates: tuple[LearningRate, ...]


_READ = _Reference.model_validate_json(DATA.read_text(encoding="utf-8"))
LESSONS: Mapping[str, Lesson] = MappingProxyType({lesson.id: lesson for lesson in _READ.lessons})
TABLE1 = _READ.table1
LEARNING_RATES = _READ.learning_rates


def lesson(name: str) -> Lesson:
    """Raises InputError for a name that is none of MM1's lessons."""
    if name not in LESSONS:
        raise InputError(f"no lesson '{name}' ({', '.join(LESSONS)}){did_you_mean(name, LESSONS)}")
    return LESSONS[name]
