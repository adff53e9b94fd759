"""A study file becomes a `Study`, or every mistake in it at once, each at its line and column: the YAML, the keys, the base, the design
(which `design.py` drafts for it), the claims and the law. Writes nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablate.axes import Axis
from ablate.blocks import Search
from ablate.compose import Composed, compose, compose_values, suite_members
from ablate.conditions import ConditionError, parse_condition
from ablate.design import draft_design, draft_unread
from ablate.draft import Draft, Until, block_at
from ablate.errors import InputError, Problem, did_you_mean
from ablate.explain import explain
from ablate.fields import config_names
from ablate.forms import nested_at
from ablate.model import Level
from ablate.overrides import override
from ablate.reader import Fault, visible
from ablate.study import Claim, Contrast, Study
from ablate.trainers import Trainer, load_trainer

ANY_DESIGN = {"kind": "latin_hypercube", "points": 2}
"""In the place of a design that cannot be read: any axis will do for it."""


def load_study(reference: str | Path | Mapping[str, Any], *, overrides: Sequence[str] = ()) -> Study:
    """The study in a file, the shipped one of that name, or the one these keys declare, with arguments such as `seeds=5` on top.

    Raises InputError with every problem of it.
    """
    written = isinstance(reference, Mapping)
    found = compose_values(reference, folder=Path()) if isinstance(reference, Mapping) else compose(reference)
    taken = {(problem.file, problem.line, problem.column) for problem in found.problems if not written}
    override(found, overrides)
    if found.values is None:
        raise InputError(found.problems)
    return _checked(found, taken=taken)


def load_studies(reference: str, *, overrides: Sequence[str] = ()) -> tuple[Study, ...]:
    """The studies of a suite file, or the one study of any other. Raises InputError with every problem of all of them."""
    members = suite_members(reference)
    if members is None:
        return (load_study(reference, overrides=overrides),)
    studies, problems = [], list[Problem]()
    for member in members:
        try:
            studies.append(load_study(member, overrides=overrides))
        except InputError as error:
            problems += error.problems or (Problem(reference, 1, 1, str(error)),)
    names = [study.name for study in studies]
    if twice := [name for name in names if names.count(name) > 1]:
        problems.append(Problem(reference, 1, 1, f"two studies are named '{twice[0]}'; a name is a study's place in the store"))
    if problems:
        raise InputError(problems)
    return tuple(studies)


def _checked(found: Composed, *, taken: set[tuple[str, int, int]]) -> Study:
    """The study, checked through and through. `taken`: places of which all has been said."""
    assert found.values is not None
    study, faults, kept = _validate(found.values if found.parents_known else {"design": ANY_DESIGN} | found.values)
    if not found.parents_known:
        faults = [fault for fault in faults if fault.path or "'name'" in fault.message]  # a parent may have said what is missing
    problems = list(found.problems)
    if study:
        study = study.with_marks(found.marks)
        checks = _Checks(study, claims=kept, until=_until(found, faults), mended=bool(faults), whole=found.parents_known)
        checks.all()
        study = study.model_copy(update={"claims": tuple(checks.claims)})
        faults += checks.faults
    said = set(problems)
    problems += [found.marks.problem(fault) for fault in faults]
    problems = [problem for problem in problems if problem in said or (problem.file, problem.line, problem.column) not in taken]
    if problems or study is None:
        raise InputError(problems)
    return study


def _until(found: Composed, faults: Sequence[Fault]) -> Until:
    """How far the design can be looked at without faults that are none: parts of it may have been mended."""
    broken = {fault.path[0] for fault in faults if fault.path}
    if not found.base_known or broken & {"base", "where"}:
        return "axes"
    return "levels" if "design" in broken else "arms"


def _validate(values: dict[str, Any]) -> tuple[Study | None, list[Fault], list[int]]:
    """The study, or what is left of it without the parts at fault, so that the rest can be checked too; and which claims are left."""
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        from ablate.schema import StudyFile  # knows `extends` too; only mistakes need it

        faults = explain(error, StudyFile, values)
    else:
        return study, [], list(range(len(study.claims)))
    metric = values.get("metric")
    name = metric["name"] if isinstance(metric, dict) and isinstance(metric.get("name"), str) else ""
    mended = {"schema": 1, "name": "unnamed", "trainer": "", "axes": {}, "metric": {"name": name, "goal": "min"}}
    mended |= {key: value for key, value in values.items() if key not in {fault.path[0] for fault in faults if fault.path} - {"claims"}}
    mended.setdefault("design", ANY_DESIGN if "design" in values else "grid")
    written = values.get("claims")
    broken = {fault.path[1] for fault in faults if fault.path[:1] == ("claims",) and len(fault.path) > 1}
    kept = [index for index in range(len(written)) if index not in broken] if isinstance(written, list) else []
    mended["claims"] = [written[index] for index in kept] if isinstance(written, list) else []
    try:
        return Study.model_validate(mended), faults, kept
    except ValidationError:
        return None, faults, kept


class _Checks:
    """What the keys of a study say about each other and about the trainer, each fault where it is written."""

    def __init__(self, study: Study, *, claims: Sequence[int], until: Until, mended: bool, whole: bool) -> None:
        self.study, self.until, self.mended, self.whole = study, until, mended or not whole, whole
        self.faults: list[Fault] = []
        self.claims: list[Claim] = []
        self._places = claims
        """Place in the file of each claim that could be read."""
        self._trainer = self._find_trainer()
        self._draft = Draft()

    def all(self) -> None:
        study = self.study
        self._blocks()
        self._draft = draft_design(study, until=self.until) if self._trainer else draft_unread(study)
        self.faults += self._draft.faults
        self._metric(study.metric.name, "metric", "name")
        axes = {axis.name: axis for axis in self._draft.axes}
        self._law(axes)
        for place, claim in zip(self._places, study.claims, strict=True):
            self.claims.append(self._claim(claim, axes, "claims", place))
        self._contradictions()
        for name in self._draft.names:
            if self._trainer and name in self._trainer.METRICS:
                at = ("axes", *(nested_at(study.axes, name) or ()))
                self._fault(f"'{visible(name)}' is a metric too; the columns of the results would collide", *at)

    def _find_trainer(self) -> Trainer | None:
        """None where there is no such trainer; where none could be read all is said already."""
        try:
            return load_trainer(self.study.trainer) if self.study.trainer or not self.mended else None
        except InputError as error:
            self._fault(str(error), "trainer")
            return None

    def _blocks(self) -> None:
        search = self.study.search
        if search is None:
            return
        at = block_at(self.study, self.study.design.index(search))
        for place, objective in enumerate(search.objectives):
            self._metric(objective.name, *at, "objectives", place, "name")
            if objective.name in (self.study.metric.name, *(other.name for other in search.objectives[:place])):
                self._fault(
                    f"{objective.name} is an objective already, or the study's metric; give it once", *at, "objectives", place, "name"
                )
        if not self.study.axes and not self.mended:
            self._fault("a search needs at least one axis", "axes")
        if len(self.study.design) > 1:
            self._fault("a search stands alone: what it suggests next depends on what is done", "design")
        if search.stop_early == "asha" and not search.max_steps:
            self._fault("max_steps is missing: asha stops trials at parts of it; write max_steps, or stop_early: none", *at)
        if search.objectives and search.stop_early == "asha":
            self._fault("asha compares trials on one metric, and this search has objectives; write stop_early: none", *at, "stop_early")
        if search.objectives and search.sampler == "cmaes":
            self._fault("cmaes has one objective; nsgaii and tpe trade off several", *at, "sampler")
        if search.sampler == "cmaes":
            self._bounds_only(search)
        if len(self.study.seeds) > 1:
            self._fault(f"a search runs each arm with one seed, found {len(self.study.seeds)}; write seeds: 1", "seeds")

    def _bounds_only(self, search: Search) -> None:
        for name, written in self.study.axes.items():
            form = written if isinstance(written, Mapping) else {}
            if not ({"log", "linspace"} & set(form)) or "points" in form:
                message = f"{search.sampler} draws between bounds ({{log: [low, high]}} or linspace, without points); tpe takes levels too"
                self._fault(message, "axes", name)

    def _fault(self, message: str, *path: str | int) -> None:
        self.faults.append(Fault(path, message))

    def _metric(self, name: str, *path: str | int) -> None:
        if not self._trainer or (self.mended and not name):
            return  # nobody to ask, or said already
        metrics = self._trainer.METRICS
        if name not in metrics:
            self._fault(
                f"the trainer {self.study.trainer} declares no '{visible(name)}' ({', '.join(metrics)}){did_you_mean(name, metrics)}", *path
            )

    def _axis(self, name: str, axes: Mapping[str, Axis], *path: str | int) -> Axis | None:
        if name not in self._draft.names and self.whole and not (self.mended and not self.study.axes):
            names = self._draft.names
            self._fault(f"no axis '{visible(name)}' ({', '.join(names)}){did_you_mean(name, names)}", *path)
        return axes.get(name)

    def _law(self, axes: Mapping[str, Axis]) -> None:
        law = self.study.law
        if law is None:
            return
        self._number_axis(law.hyperparameter, axes, "law", "hyperparameter")
        if law.size != "num_params":
            self._number_axis(law.size, axes, "law", "size")

    def _number_axis(self, name: str, axes: Mapping[str, Axis], *path: str | int) -> None:
        axis = self._axis(name, axes, *path)
        if axis and not axis.numeric:
            self._fault(f"a law needs an axis of numbers, and the levels of {name} are {', '.join(map(str, axis.labels))}", *path)

    def _claim(self, claim: Claim, axes: Mapping[str, Axis], *path: str | int) -> Claim:
        """The claim with its levels as labels and its defaults filled in."""
        if claim.metric is not None:
            self._metric(claim.metric, *path, "metric")
        if claim.when is not None:
            self._condition(claim.when, *path, "when")
        self._settings(claim, *path)
        axis = self._axis(claim.axis, axes, *path, "axis")
        than = self._contrast(claim.than, axes, *path, "than") if claim.than else None
        claim = claim.model_copy(update={"than": than})
        if axis is None or self._drawn(axis, *path, "axis"):
            return claim
        known = len(self.faults)
        level = self._level(claim.level, axis, *path, "level")
        against = self._level(claim.against, axis, *path, "against")
        if len(self.faults) == known:
            match claim.expect:
                case "best_level":
                    self._in_arms(axis, level, *path, "level")
                case "interior_optimum":
                    self._interior(axis, level, claim, *path)
                case "increases" | "decreases" if level is None and not axis.numeric:
                    labels = ", ".join(map(str, axis.labels))
                    self._fault(f"{claim.expect} needs level, because the levels of {axis.name} have no order: {labels}", *path, "expect")
                case _:
                    level, against = self._two(axis, level, against, claim.level is not None, *path)
        return claim.model_copy(update={"level": level, "against": against})

    def _settings(self, claim: Claim, *path: str | int) -> None:
        """Which keys of a claim its expectation needs."""
        if claim.expect == "equivalent" and claim.within is None:
            self._fault("equivalent needs within: the largest difference that counts as none, in the metric's unit", *path, "expect")
        if claim.expect == "best_level" and claim.level is None:
            self._fault("best_level needs level: the one that is expected to be best", *path, "expect")
        if (claim.expect == "larger_effect_than") != (claim.than is not None):
            wanted = "larger_effect_than needs than: {axis: ...}, the difference it is compared with"
            self._fault(
                wanted if claim.than is None else "than goes with larger_effect_than only", *path, "than" if claim.than else "expect"
            )

    def _contrast(self, contrast: Contrast, axes: Mapping[str, Axis], *path: str | int) -> Contrast:
        axis = self._axis(contrast.axis, axes, *path, "axis")
        if axis is None or self._drawn(axis, *path, "axis"):
            return contrast
        known = len(self.faults)
        level = self._level(contrast.level, axis, *path, "level")
        against = self._level(contrast.against, axis, *path, "against")
        if len(self.faults) == known:
            level, against = self._two(axis, level, against, contrast.level is not None, *path)
        return contrast.model_copy(update={"level": level, "against": against})

    def _two(self, axis: Axis, level: Level, against: Level, given: bool, *path: str | int) -> tuple[Level, Level]:
        """The two levels to compare, defaults filled in; they must differ."""
        level, against = _defaults(axis, level, against)
        if level == against:
            message = f"level and against are both {level}: a claim needs two levels ({', '.join(map(str, axis.labels))})"
            self._fault(message, *path, "level" if given else "axis")
        for label, key in ((level, "level"), (against, "against")):
            self._in_arms(axis, label, *path, key)
        return level, against

    def _in_arms(self, axis: Axis, label: Level, *path: str | int) -> None:
        """A level that no arm has would leave the claim without a number; where other things are wrong nobody knows."""
        known = label is not None and self._draft.arms and not self._draft.faults
        if known and label not in {arm.levels[axis.name] for arm in self._draft.arms}:
            self._fault(f"no arm has {axis.name} = {label}: the design or its conditions leave it out", *path)

    def _drawn(self, axis: Axis, *path: str | int) -> bool:
        if axis.bounds:
            self._fault(f"{axis.name} is drawn between bounds, and a claim needs levels", *path)
        return bool(axis.bounds)

    def _interior(self, axis: Axis, level: Level, claim: Claim, *path: str | int) -> None:
        """An optimum inside needs three numbers, and no second level to compare with."""
        if claim.against is not None:
            self._fault("interior_optimum compares with both ends by itself; leave against out", *path, "against")
        if not axis.numeric:
            labels = ", ".join(map(str, axis.labels))
            self._fault(f"interior_optimum needs an axis of numbers, and the levels of {axis.name} are {labels}", *path, "axis")
            return
        ordered = sorted({*axis.labels, axis.baseline}, key=float)  # type: ignore[arg-type]
        if len(ordered) < 3:
            self._fault(f"interior_optimum needs three levels or more, {axis.name} has {len(ordered)}", *path, "axis")
        elif level in (ordered[0], ordered[-1]):
            inside = ", ".join(map(str, ordered[1:-1]))
            self._fault(f"{level} is an end of {axis.name}; an optimum inside is one of {inside}", *path, "level")

    def _condition(self, text: str, *path: str | int) -> None:
        known = config_names(self._trainer.Config) if self._trainer else None
        try:
            parse_condition(text, names=known.names if known else None, open_names=known.open_names if known else ())
        except ConditionError as error:
            self.faults += [Fault(path, message, column=column) for column, message in error.faults]

    def _level(self, written: Any, axis: Axis, *path: str | int) -> Level:
        if written is None:
            return None
        found = axis.find(written)
        if found is None:
            self._fault(axis.missing(written), *path)
            return None
        return found.label

    def _contradictions(self) -> None:
        """Two claims about one difference that cannot both come true."""
        seen: dict[tuple[Any, ...], tuple[int, str]] = {}
        for place, claim in zip(self._places, self.claims, strict=True):
            if claim.expect in ("increases", "decreases"):
                key = (claim.axis, str(claim.level), str(claim.against), claim.metric or self.study.metric.name)
                first, expected = seen.setdefault(key, (place, claim.expect))
                if expected != claim.expect:
                    self._fault(f"claims {first + 1} and {place + 1} contradict each other: {expected} and {claim.expect}", "claims", place)


def _defaults(axis: Axis, level: Level, against: Level) -> tuple[Level, Level]:
    if axis.numeric:
        ordered = sorted({*axis.labels, axis.baseline}, key=float)  # type: ignore[arg-type]
        return ordered[-1] if level is None else level, ordered[0] if against is None else against
    against = axis.baseline if against is None else against
    others = [label for label in axis.labels if label != against]
    return (others[-1] if others else against) if level is None else level, against
