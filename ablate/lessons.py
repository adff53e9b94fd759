"""MM1's lessons and what the studies of a store say of them: the claims that name a lesson, each with its verdict.

A lesson is decided once each claim on it is. Claims of several studies on one lesson stand beside each other and are never pooled.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ablate.analysis.verdicts import Outcome, Verdict, numbers_of
from ablate.conclude import conclude
from ablate.errors import InputError
from ablate.mm1_reference import LESSONS, SOURCE, Lesson
from ablate.next_study import OpenClaim, open_claims
from ablate.quantities import counted, duration_text
from ablate.standing import seconds_spent
from ablate.stores import Store, StudyRecord

Standing = Literal["supported", "contradicted", "equivalent", "inconclusive", "mixed", "untested"]
"""Of a lesson: its claims' one verdict, `mixed` where all are decided and not alike, `inconclusive` where one is open."""
DASH = "–"


@dataclass(frozen=True)
class Tested:
    """A lesson's claim in a study."""

    record: StudyRecord
    number: int
    """Among the study's claims, from 1, as `ablate results --claim` takes it."""
    verdict: Verdict | None
    why: str = ""
    """Why there is no verdict."""


@dataclass(frozen=True)
class LessonClaim:
    """What a table says of one claim on a lesson."""

    tested: Tested
    seconds: float | None
    """Of compute, of all attempts of the claim's study."""
    open: OpenClaim | None
    """What would settle it, where it is open."""

    @property
    def command(self) -> str:
        """Prints the trials that the verdict compares."""
        return f"ablate results {self.tested.record.name} --claim {self.tested.number}"

    def to_json(self) -> dict[str, Any]:
        verdict, open_ = self.tested.verdict, self.open
        effect = verdict.effect if verdict else None
        return {
            "study": self.tested.record.name,
            "simulated": self.tested.record.simulated,
            "claim": verdict.statement if verdict else None,
            "verdict": verdict.verdict if verdict else None,
            "reason": verdict.reason if verdict else self.tested.why,
            "difference": effect.mean_diff if effect else None,
            "ci": effect.ci if effect else None,
            "seeds": effect.n if effect else 0,
            "study_seconds": self.seconds,
            "to_settle": open_.to_json() if open_ else None,
            "trials": self.command,
        }


@dataclass(frozen=True)
class LessonRow:
    lesson: Lesson
    claims: tuple[LessonClaim, ...]

    @property
    def standing(self) -> Standing:
        return standing([claim.tested.verdict.verdict if claim.tested.verdict else "inconclusive" for claim in self.claims])

    def to_json(self) -> dict[str, Any]:
        lesson = self.lesson
        published = {"figure": lesson.figure, "axis": lesson.axis, "metric": lesson.metric, "expect": lesson.expect, "source": SOURCE}
        return {
            "lesson": lesson.id,
            "published": published,
            "standing": self.standing,
            "claims": [claim.to_json() for claim in self.claims],
        }


def standing(outcomes: Sequence[Outcome]) -> Standing:
    if not outcomes:
        return "untested"
    if "inconclusive" in outcomes:
        return "inconclusive"
    return outcomes[0] if len(set(outcomes)) == 1 else "mixed"


def tested_by(record: StudyRecord, judge: Callable[[], Sequence[Verdict]]) -> Mapping[str, list[Tested]]:
    """Lesson -> the study's claims on it. `judge` gives the verdicts on all its claims, in their order, and is asked only where there are
    such claims; where it raises InputError nothing can be judged."""
    numbered = [(number, claim.get("lesson")) for number, claim in enumerate(record.spec.get("claims") or (), 1)]
    found: dict[str, list[Tested]] = {lesson: [] for _, lesson in numbered if lesson in LESSONS}
    if not found:
        return {}
    try:
        verdicts, why = judge(), ""
    except InputError as error:
        verdicts, why = (), str(error)
    for number, lesson in numbered:
        if lesson in found:
            found[lesson].append(Tested(record, number, None if why else verdicts[number - 1], why))
    return found


def lesson_rows(store: Store, studies: Sequence[str]) -> tuple[LessonRow, ...]:
    """Every lesson in the order of the paper, with the claims that these studies make on it."""
    claims: dict[str, list[LessonClaim]] = {}
    for name in studies:
        for lesson, found in _study_claims(store, name).items():
            claims.setdefault(lesson, []).extend(found)
    return tuple(LessonRow(lesson, tuple(claims.get(name, ()))) for name, lesson in LESSONS.items())


def _study_claims(store: Store, name: str) -> dict[str, list[LessonClaim]]:
    trials = store.trials(name)
    concluded = conclude(store, name, trials=trials)
    tested = tested_by(concluded.record, lambda: concluded.verdicts)
    if not tested:
        return {}
    flops = {job.id: job.train_flops for job in store.jobs(name)}
    needs = open_claims(concluded.study, concluded.verdicts, trials=trials, axes=dict(concluded.record.axes), flops=flops)
    undecided = [number for number, verdict in enumerate(concluded.verdicts, 1) if verdict.verdict == "inconclusive"]
    open_ = dict(zip(undecided, needs, strict=True))
    seconds = seconds_spent(store, trials)
    return {lesson: [LessonClaim(one, seconds, open_.get(one.number)) for one in found] for lesson, found in tested.items()}


def summary(rows: Sequence[LessonRow]) -> str:
    """`15 of 17 lessons decided (9 supported, 4 contradicted, 2 equivalent); 2 inconclusive`."""
    found = [row.standing for row in rows]
    decided = [counted_as for kind in ("supported", "contradicted", "equivalent", "mixed") if (counted_as := _count(found, kind))]
    left = [counted_as for kind in ("inconclusive", "untested") if (counted_as := _count(found, kind))]
    number = sum(each not in ("inconclusive", "untested") for each in found)
    said = f"{number} of {counted(len(rows), 'lesson')} decided"
    return "; ".join([said + (f" ({', '.join(decided)})" if decided else ""), *([", ".join(left)] if left else [])])


def _count(found: Sequence[Standing], kind: str) -> str:
    number = sum(each == kind for each in found)
    return f"{number} {kind}" if number else ""


def table(rows: Sequence[LessonRow]) -> list[dict[str, str]]:
    """A row a claim, as text; a lesson without one has a row of its own."""
    return [cells for row in rows for cells in ([_cells(row, claim) for claim in row.claims] or [_cells(row, None)])]


def markdown(rows: Sequence[LessonRow]) -> str:
    """The table, and the summary below it; commands as code."""
    found = table(rows)
    cells = [[f"`{text}`" if key in ("lesson", "trials") and text != DASH else text for key, text in row.items()] for row in found]
    lines = [[*found[0]], ["---"] * len(found[0]), *([text.replace("|", r"\|") for text in row] for row in cells)]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", f"{summary(rows)}.", ""])


def to_settle(claim: LessonClaim) -> str:
    """`40 more seeds, 1 h 12 min` of their trials' last stages; `what waits` where too little has ended, or what does may be enough."""
    if claim.open is None:
        return DASH
    if not claim.open.seeds:
        return "what waits" if claim.open.settling.more is not None or not claim.open.settling.seeds_now else "over 1,000 seeds"
    hours = f", {duration_text(claim.open.seconds)}" if claim.open.seconds is not None else ""
    return f"{counted(len(claim.open.seeds), 'more seed')}{hours}"


def _cells(row: LessonRow, claim: LessonClaim | None) -> dict[str, str]:
    lesson = row.lesson
    published = {"lesson": lesson.id, f"MM1 ({SOURCE})": f"{lesson.figure}: {lesson.axis}: {lesson.expect}"}
    if claim is None:
        return published | dict.fromkeys(("claim", "verdict", "difference, 95 % interval", "study's compute", "to settle", "trials"), DASH)
    verdict = claim.tested.verdict
    return published | {
        "claim": verdict.statement if verdict else f"no verdict: {claim.tested.why}",
        "verdict": verdict.verdict if verdict else DASH,
        "difference, 95 % interval": numbers_of(verdict.effect) if verdict and verdict.effect else DASH,
        "study's compute": duration_text(claim.seconds),
        "to settle": to_settle(claim),
        "trials": claim.command,
    }
