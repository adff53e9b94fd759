"""What a study expects and wants fitted, against its axes, arms and metrics: claims with their levels as labels and defaults filled in,
and every fault where it is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ablate.axes import Axis
from ablate.conditions import Condition, ConditionError, Unknown, parse_condition
from ablate.draft import Arm, Draft
from ablate.errors import did_you_mean
from ablate.fields import config_names, lookup_in
from ablate.marked_yaml import Fault, Path, visible
from ablate.model import Level
from ablate.study import READS, Claim, Contrast, Study
from ablate.trainers import Trainer


class _Wanted(NamedTuple):
    """A level that some arm must have."""

    axis: str
    label: Level
    at: Path


@dataclass
class Expectations:
    """Faults gather while a study's metric, law and claims are checked."""

    study: Study
    draft: Draft
    trainer: Trainer | None
    """None where there is no such trainer."""
    mended: bool
    """Whether parts of the study could not be read and stand empty here."""
    whole: bool
    """Whether all axes are known: every study that it extends could be read."""
    faults: list[Fault] = field(default_factory=list)

    def fault(self, message: str, *path: str | int, column: int = 0) -> None:
        self.faults.append(Fault(path, message, column=column))

    def metric(self, name: str, *path: str | int) -> None:
        if not self.trainer or (self.mended and not name):
            return  # nobody to ask, or said already
        metrics = self.trainer.METRICS
        if name not in metrics:
            declared = f"the trainer {self.study.trainer} declares no '{visible(name)}' ({', '.join(metrics)})"
            self.fault(f"{declared}{did_you_mean(name, metrics)}", *path)

    def law(self) -> None:
        law = self.study.law
        if law is None:
            return
        self._number_axis(law.hyperparameter, "law", "hyperparameter")
        if law.size == law.hyperparameter:
            self.fault(f"{law.size} is the hyperparameter; its best value is fitted over something else, such as num_params", "law", "size")
        elif law.size != "num_params":
            self._number_axis(law.size, "law", "size", further=("num_params",))
        for key, name in (("tokens", law.tokens), ("batch_tokens", law.batch_tokens)):
            if name is not None and name in self.draft.names:
                self._number_axis(name, "law", key)
            elif name is not None:
                self.metric(name, "law", key)
        needs = READS.get(law.form)
        if needs and getattr(law, needs) is None:
            self.fault(f"the form {law.form} reads {needs}; name the axis or the metric that says them: law.{needs}", "law", "form")

    def claims(self, places: Sequence[int]) -> tuple[Claim, ...]:
        """The claims, ready to be judged. `places`: where in the file each stands."""
        found = [self._claim(claim, "claims", place) for place, claim in zip(places, self.study.claims, strict=True)]
        self._contradictions(found, places)
        return tuple(found)

    def _axis(self, name: str, *path: str | int, further: Sequence[str] = ()) -> Axis | None:
        if name not in self.draft.names and self.whole and not (self.mended and not self.study.axes):
            names = (*further, *self.draft.names)
            self.fault(f"no axis '{visible(name)}' ({', '.join(names)}){did_you_mean(name, names)}", *path)
        refused = {fault.path for fault in self.draft.faults if fault.path[:1] == ("base",)}
        found = (axis for axis in self.draft.axes if axis.name == name)
        return next((axis for axis in found if not any(("base", *path.split(".")) in refused for path in axis.paths)), None)

    def _number_axis(self, name: str, *path: str | int, further: Sequence[str] = ()) -> None:
        axis = self._axis(name, *path, further=further)
        if axis and not axis.numeric:
            self.fault(f"a law needs an axis of numbers, and the levels of {name} are {_listed(axis)}", *path)

    def _claim(self, claim: Claim, *path: str | int) -> Claim:
        """The claim with its levels as labels and its defaults filled in."""
        if claim.metric is not None:
            self.metric(claim.metric, *path, "metric")
        condition = None if claim.when is None else self._condition(claim.when, *path, "when")
        self._settings(claim, *path)
        known, wanted = len(self.faults), list[_Wanted]()
        level, against = self._levels(claim, wanted, *path, expect=claim.expect)
        than = claim.than
        if than:
            other = self._levels(than, wanted, *path, "than")
            than = than.model_copy(update={"level": other[0], "against": other[1]})
        found = claim.model_copy(update={"level": level, "against": against, "than": than})
        if len(self.faults) == known:
            if than and _pair(than) == _pair(found):
                self.fault(f"{level} against {against} of {claim.axis} is compared with itself; name another difference", *path, "than")
            self._in_arms(wanted, condition, *path, "when")
        return found

    def _settings(self, claim: Claim, *path: str | int) -> None:
        """Which keys of a claim its expectation needs."""
        if claim.expect == "equivalent" and claim.within is None:
            self.fault("equivalent needs within: the largest difference that counts as none, in the metric's unit", *path, "expect")
        if claim.expect == "best_level" and claim.level is None:
            self.fault("best_level needs level: the one that is expected to be best", *path, "expect")
        if claim.expect in ("best_level", "interior_optimum") and claim.against is not None:
            whom = "every other level" if claim.expect == "best_level" else "both ends"
            self.fault(f"{claim.expect} compares with {whom} by itself; leave against out", *path, "against")
        if claim.expect == "larger_effect_than" and claim.than is None:
            self.fault("larger_effect_than needs than: {axis: ...}, the difference it is compared with", *path, "expect")
        if claim.expect != "larger_effect_than" and claim.than:
            self.fault("than goes with larger_effect_than only", *path, "than")

    def _levels(self, written: Claim | Contrast, wanted: list[_Wanted], *path: str | int, expect: str = "") -> tuple[Level, Level]:
        """The levels that are compared, as labels; those that some arm must have are noted in `wanted`."""
        axis = self._axis(written.axis, *path, "axis")
        if axis is None or self._drawn(axis, *path, "axis"):
            return None, None
        known = len(self.faults)
        level = self._level(written.level, axis, *path, "level")
        against = self._level(written.against, axis, *path, "against")
        if len(self.faults) > known:
            return level, against
        match expect:
            case "best_level":
                wanted += [_Wanted(axis.name, level, (*path, "level"))] if level is not None else []
            case "interior_optimum":
                self._interior(axis, level, *path)
            case "increases" | "decreases" if level is None and not axis.numeric:
                message = f"{expect} needs level, because the levels of {axis.name} have no order: {_listed(axis)}"
                self.fault(message, *path, "expect")
            case _:
                given = level is not None
                level, against = _defaults(axis, level, against)
                if level == against:
                    message = f"level and against are both {level}: a claim needs two levels ({_listed(axis)})"
                    self.fault(message, *path, "level" if given else "axis")
                wanted += [_Wanted(axis.name, level, (*path, "level")), _Wanted(axis.name, against, (*path, "against"))]
        return level, against

    def _drawn(self, axis: Axis, *path: str | int) -> bool:
        if axis.bounds:
            self.fault(f"{axis.name} is drawn between bounds, and a claim needs levels", *path)
        return bool(axis.bounds)

    def _level(self, written: object, axis: Axis, *path: str | int) -> Level:
        if written is None:
            return None
        found = axis.find(written)
        if found is None:
            self.fault(axis.missing(written), *path)
            return None
        return found.label

    def _interior(self, axis: Axis, level: Level, *path: str | int) -> None:
        """An optimum inside needs three numbers."""
        if not axis.numeric:
            message = f"interior_optimum needs an axis of numbers, and the levels of {axis.name} are {_listed(axis)}"
            self.fault(message, *path, "axis")
            return
        ordered = _ordered(axis)
        if len(ordered) < 3:
            self.fault(f"interior_optimum needs three levels or more, {axis.name} has {len(ordered)}", *path, "axis")
        elif level in (ordered[0], ordered[-1]):
            inside = ", ".join(map(str, ordered[1:-1]))
            self.fault(f"{level} is an end of {axis.name}; an optimum inside is one of {inside}", *path, "level")

    def _condition(self, text: str, *path: str | int) -> Condition | None:
        known = config_names(self.trainer.Config) if self.trainer else None
        try:
            return parse_condition(text, names=known.names if known else None, open_names=known.open_names if known else ())
        except ConditionError as error:
            self.faults += [Fault(path, message, column=column) for column, message in error.faults]
            return None

    def _in_arms(self, wanted: Sequence[_Wanted], condition: Condition | None, *when: str | int) -> None:
        """A level that no arm has, or none in which the claim's condition holds, would leave the claim without a number."""
        if not self.draft.arms or self.draft.faults:
            return  # a search has its arms later, and where other things are wrong nobody knows
        missing, held = list(wanted), False
        for arm in self.draft.arms:
            try:
                if condition and not _holds(condition, arm):
                    continue
            except ConditionError as error:
                self.faults += [Fault(when, message, column=column) for column, message in error.faults]
                return
            held = True
            missing = [item for item in missing if arm.levels[item.axis] != item.label]
            if not missing:
                return
        if not held:
            self.fault(f"no arm is left where {visible(condition.text if condition else '')}", *when)
        for axis, label, at in missing if held else ():
            why = f"where {visible(condition.text)}" if condition else "the design or its conditions leave it out"
            self.fault(f"no arm has {axis} = {label}{' ' if condition else ': '}{why}", *at)

    def _contradictions(self, claims: Sequence[Claim], places: Sequence[int]) -> None:
        """Two claims about the same differences that cannot both come true."""
        seen: dict[tuple[object, ...], tuple[int, _Said]] = {}
        for place, claim in zip(places, claims, strict=True):
            said = _said(claim)
            if not said:
                continue
            key = (said.about, claim.metric or self.study.metric.name, claim.when)
            first, other = seen.setdefault(key, (place, said))
            if other.way != said.way:
                both = f"{other.words} and {said.words}"
                self.fault(f"claims {first + 1} and {place + 1} contradict each other: {both}", "claims", place)


class _Said(NamedTuple):
    about: tuple[object, ...]
    """The same for every claim about the same differences."""
    way: bool
    """Which of the two ways they can be, as this claim has it."""
    words: str


def _said(claim: Claim) -> _Said | None:
    """None where no other claim could contradict it."""
    if claim.expect in ("increases", "decreases"):
        turned = str(claim.level) < str(claim.against)
        levels = "" if claim.level is None else f" from {claim.against} to {claim.level}"
        return _Said(_pair(claim), (claim.expect == "increases") != turned, f"{claim.expect}{levels}")
    if claim.expect == "larger_effect_than" and claim.than:
        own, other = _pair(claim), _pair(claim.than)
        return _Said(tuple(sorted((own, other))), own < other, f"{claim.axis} larger than {claim.than.axis}")
    return None


def _pair(contrast: Claim | Contrast) -> tuple[str, str, str]:
    """An axis and two levels, whichever of them is compared with the other: the size of a difference has no sign."""
    low, high = sorted((str(contrast.level), str(contrast.against)))
    return contrast.axis, low, high


def _holds(condition: Condition, arm: Arm) -> bool:
    try:
        return condition.holds(lookup_in(arm.settings))
    except Unknown:
        return False


def _listed(axis: Axis) -> str:
    return ", ".join(map(str, axis.all_labels))


def _ordered(axis: Axis) -> list[Level]:
    return sorted(axis.all_labels, key=float)  # type: ignore[arg-type]


def _defaults(axis: Axis, level: Level, against: Level) -> tuple[Level, Level]:
    if axis.numeric:
        ordered = _ordered(axis)
        return ordered[-1] if level is None else level, ordered[0] if against is None else against
    against = axis.baseline if against is None else against
    others = [label for label in axis.labels if label != against]
    return (others[-1] if others else against) if level is None else level, against
