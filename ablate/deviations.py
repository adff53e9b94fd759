"""What a study declared at its runs becomes its registration: when it was declared first, and every edit since, in plain sentences.

The first declaration is the pre-registration. An edit before the first result changes what is asked; one after it may have been made
because of what was seen, so each deviation says how many trials were finished by then. Edits that were taken back stay on the list.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ablate.difference import Moved, differences, value_text
from ablate.stores import Declaration, Store, TrialStanding

if TYPE_CHECKING:
    from ablate.study import Study

NO_DEVIATION = ("schema", "name", "question", "resources", "hardware", "budget", "trainer_must_be_committed")
"""Keys that say nothing of what is asked, or of how it is answered."""
NO_RESULT = (
    "metric.noise_sd",
    "command.folder",
    "command.grace_seconds",
    "command.report",
    "command.pass_env",
    "python.folder",
    "surrogate.file",
)
"""Fields under other keys that enter no result: what `plan` assumes, where a program runs and how it is talked to."""


@dataclass(frozen=True)
class Deviation:
    """One edit of what a study had declared."""

    time: float
    """Unix time of the first run with it."""
    part: str
    """What was edited: `claims`, `metric.name`, `base.steps`, `axes.num_tokens`, `seeds`, ..."""
    what: str
    """The edit in words."""
    finished: int
    """Trials of the study that were finished by then."""

    @property
    def when(self) -> str:
        """Before or after results, in words."""
        if not self.finished:
            return "before any trial was finished"
        return f"after {self.finished} finished trial{'s' * (self.finished != 1)}"

    def to_json(self) -> dict[str, Any]:
        return {
            "date": moment(self.time),
            "part": self.part,
            "what": self.what,
            "finished_trials": self.finished,
            "after_results": self.finished > 0,
        }


@dataclass(frozen=True)
class Registration:
    """What a study declared before it ran, as far as the store knows, and what it changed since."""

    declared: float | None
    """Unix time of the first declaration; None where the store is from before they were kept."""
    finished: int
    """Trials that were finished by then already, for instance in another study."""
    deviations: tuple[Deviation, ...]
    """In order of time."""

    def to_json(self) -> dict[str, Any]:
        return {
            "declared": None if self.declared is None else moment(self.declared),
            "deviations": [deviation.to_json() for deviation in self.deviations],
        }

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.declared is None:
            return "No declaration is recorded; the next run records one"
        known = "" if not self.finished else f", when {self.finished} of its trials were finished already"
        said = f"Declared {moment(self.declared)}{known}; "
        if not self.deviations:
            return f"{said}no deviations since"
        late = sum(deviation.finished > 0 for deviation in self.deviations)
        count = len(self.deviations)
        return f"{said}{count} deviation{'s' * (count != 1)} since, {late} of them after trials were finished"


def registration(store: Store, study: str, *, trials: Sequence[TrialStanding]) -> Registration:
    """`trials`: those of the study's present plan."""
    trials = [*trials, *(stale.trial for stale in store.stale_trials(study))]
    return register(store.declarations(study), ended=[_ended(trial) for trial in trials if trial.state == "done"])


def edited_since(store: Store, study: "Study") -> list[str]:
    """What a study says now and did not say at its last run, in words."""
    declared = store.declarations(study.name)
    return [what for _, what in edits(declared[-1].spec, study.model_dump(mode="json", by_alias=True))] if declared else []


def register(declarations: Sequence[Declaration], *, ended: Iterable[float]) -> Registration:
    """`ended`: Unix time at which each finished trial ended."""
    ends = sorted(ended)
    if not declarations:
        return Registration(declared=None, finished=0, deviations=())
    found = []
    for before, after in itertools.pairwise(declarations):
        finished = sum(end <= after.time for end in ends)
        found += [Deviation(after.time, part, what, finished) for part, what in edits(before.spec, after.spec)]
    first = declarations[0].time
    return Registration(declared=first, finished=sum(end <= first for end in ends), deviations=tuple(found))


def edits(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(part, sentence) of each difference between two specs that matters."""
    old, new = _current(before), _current(after)
    if old is None or new is None:
        return [_plain(moved) for moved in differences(before, after) if moved.path.partition(".")[0] not in NO_DEVIATION]
    return [edit for key in new if key not in NO_DEVIATION for edit in _edits_of(key, old[key], new[key])]


def moment(time: float) -> str:
    return datetime.fromtimestamp(time, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def _ended(trial: TrialStanding) -> float:
    return (trial.started or 0.0) + (trial.seconds or 0.0)


def _current(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """The spec with today's defaults filled in, so that a key more in the format is no edit; None where it cannot be read any more."""
    from pydantic import ValidationError

    from ablate.study import Study  # a study that was declared once has no edits to tell

    try:
        study = Study.model_validate(spec)
    except ValidationError:
        return None
    return study.model_dump(mode="json", by_alias=True) | {"design": design_blocks(study)}


def design_blocks(study: "Study") -> list[dict[str, Any]]:
    """What the study's blocks say beside their defaults."""
    return [{"kind": block.kind, **block.model_dump(mode="json", exclude_defaults=True)} for block in study.design]


def _edits_of(key: str, before: Any, after: Any) -> Iterable[tuple[str, str]]:
    match key:
        case "claims":
            return _claims(before, after)
        case "axes":
            return _axes(before, after)
        case "seeds":
            return [] if before == after else [("seeds", f"seeds {seeds_text(before)} became {seeds_text(after)}")]
        case "where":
            return _conditions(before, after)
        case "design":
            return [] if before == after else [("design", f"design {design_text(before)} became {design_text(after)}")]
    return [_plain(moved) for moved in differences(before, after, path=key) if not moved.path.startswith(NO_RESULT)]


def _plain(moved: Moved) -> tuple[str, str]:
    return moved.path, str(moved)


def _claims(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Claims that are alike but for some fields are one that changed; their order does not matter, nor does the lesson's name."""
    gone, come = _without(before, after), _without(after, before)
    pairs = [(old, new) for old in gone for new in come if old["axis"] == new["axis"]]
    for old, new in sorted(pairs, key=lambda pair: len(differences(*pair))):
        if old in gone and new in come:
            gone.remove(old)
            come.remove(new)
            moved = ", ".join(map(str, differences(old, new)))
            yield "claims", f"claim changed: {_claim(old)}: {moved}"
    yield from (("claims", f"claim removed: {_claim(claim)}") for claim in gone)
    yield from (("claims", f"claim added: {_claim(claim)}") for claim in come)


def _without(claims: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The claims less the others, each once."""
    left = [_bare(claim) for claim in claims]
    for other in map(_bare, others):
        if other in left:
            left.remove(other)
    return left


def _bare(claim: Mapping[str, Any]) -> dict[str, Any]:
    """What a claim says, without what it leaves open and without its lesson's name."""
    said = {key: value for key, value in claim.items() if key != "lesson" and value is not None}
    return {key: _bare(value) if isinstance(value, Mapping) else value for key, value in said.items()}


def _claim(claim: Mapping[str, Any]) -> str:
    details = ", ".join(f"{key} {value_text(value)}" for key, value in claim.items() if key not in ("axis", "expect"))
    return f"{claim['axis']} {claim['expect']}" + (f" ({details})" if details else "")


def _axes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for axis in dict.fromkeys((*before, *after)):
        part = f"axes.{axis}"
        if axis not in after:
            yield part, f"axis {axis} removed"
        elif axis not in before:
            yield part, f"axis {axis} added: {value_text(_levels(after[axis]))}"
        else:
            yield from ((part, said) for said in _levels_moved(axis, _levels(before[axis]), _levels(after[axis])))


def _levels_moved(axis: str, before: Any, after: Any) -> Iterator[str]:
    if not (isinstance(before, list) and isinstance(after, list)):
        yield from (f"axis {moved}" for moved in differences(before, after, path=axis))
        return
    added, removed = [level for level in after if level not in before], [level for level in before if level not in after]
    for verb, levels in (("added", added), ("removed", removed)):
        if levels:
            yield f"axis {axis}: level{'s' * (len(levels) != 1)} {', '.join(map(value_text, levels))} {verb}"
    both = [level for level in before if level in after]
    if both != [level for level in after if level in before]:
        yield f"axis {axis}: levels {value_text(before)} became {value_text(after)}, in another order"


def _levels(written: Any) -> Any:
    """The levels of an axis that is a plain list, in either of its spellings; else what is written."""
    return written["list"] if isinstance(written, Mapping) and list(written) == ["list"] else written


def _conditions(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from (("where", f"condition removed: {text}") for text in before if text not in after)
    yield from (("where", f"condition added: {text}") for text in after if text not in before)


def design_text(blocks: Sequence[Mapping[str, Any]]) -> str:
    """`grid (sample 5) + one_at_a_time`."""
    return " + ".join(_block(block) for block in blocks)


def _block(block: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key} {value_text(value)}" for key, value in block.items() if key != "kind")
    return f"{block['kind']}" + (f" ({settings})" if settings else "")


def seeds_text(seeds: Sequence[int]) -> str:
    """0-4 for a run of whole numbers, else each."""
    whole = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]}-{seeds[-1]}" if whole else ", ".join(map(str, seeds))
