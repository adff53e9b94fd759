"""A paper's marked numbers meet the store: which still say what it says, which do not, which it does not know."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ablate.errors import InputError, did_you_mean
from ablate.paper_marks import Mark, Marks, printed_number, printed_word
from ablate.paper_numbers import PaperNumber

Outcome = Literal["match", "differs", "unknown", "incomparable"]


@dataclass(frozen=True)
class Compared:
    mark: Mark
    outcome: Outcome
    now: str | None
    """What the store says, with as many digits as are printed; None where it says nothing."""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        mark = self.mark
        said = {"file": mark.file, "line": mark.line, "key": mark.key, "printed": mark.printed}
        return said | {"outcome": self.outcome, "now": self.now, "note": self.note}

    def __str__(self) -> str:
        now = "" if self.now is None else f", now {self.now}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.mark.file}:{self.mark.line}: {self.outcome}: {self.mark.key}: printed {self.mark.printed}{now}{note}"


@dataclass(frozen=True)
class PaperCheck:
    compared: tuple[Compared, ...]
    not_read: tuple[str, ...]
    """Files that the paper reads in and the check did not."""

    @property
    def wrong(self) -> tuple[Compared, ...]:
        """All but those that match."""
        return tuple(one for one in self.compared if one.outcome != "match")

    @property
    def summary(self) -> str:
        counts = Counter(one.outcome for one in self.compared)
        differ = "differs" if counts["differs"] == 1 else "differ"
        others = {differ: counts["differs"], "unknown": counts["unknown"], "cannot be compared": counts["incomparable"]}
        said = "".join(f"; {count} {what}" for what, count in others.items() if count)
        return f"{counts['match']} of {len(self.compared)} marked numbers match the store{said}"

    def to_json(self) -> dict[str, Any]:
        return {"match": not self.wrong, "numbers": [one.to_json() for one in self.compared], "not_read": list(self.not_read)}


def check_paper(marks: Marks, *, numbers: Mapping[str, PaperNumber], studies: Collection[str]) -> PaperCheck:
    """`studies`: the names that are checked against. Raises InputError where the paper has no marks: nothing would be said about it."""
    if not marks.found:
        read = "".join(f"\n{line}" for line in marks.not_read)
        raise InputError(rf"no \ablate{{KEY}}{{NUMBER}} in the paper; tables of `ablate report STUDY --format latex` have them{read}")
    return PaperCheck(tuple(_compare(mark, numbers, studies) for mark in marks.found), marks.not_read)


def _compare(mark: Mark, numbers: Mapping[str, PaperNumber], studies: Collection[str]) -> Compared:
    number = numbers.get(mark.key)
    if number is None:
        study = mark.key.partition("/")[0]
        named = did_you_mean(mark.key, numbers).removeprefix("; ") if study in studies else f"'{study}' is not among the studies named"
        return Compared(mark, "unknown", None, named)
    if number.value is None:
        return Compared(mark, "incomparable", None, "the store has no value for it now")
    if isinstance(number.value, str):
        return Compared(mark, "match" if printed_word(mark.printed) == number.value else "differs", number.value)
    printed = printed_number(mark.printed)
    if printed is None:
        return Compared(mark, "incomparable", number.text, "what is printed is no plain number")
    if printed.agrees(number.value):
        return Compared(mark, "match", printed.like(number.value))
    sign = "the sign differs" if not printed.bound and printed.agrees(-number.value) else ""
    return Compared(mark, "differs", number.text if printed.bound else printed.like(number.value), sign)
