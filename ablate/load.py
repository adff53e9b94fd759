"""A study file becomes a `Study`, or every mistake in it at once, each at its line and column: the YAML, the keys, the base, the design
(which `design.py` drafts for it), the claims and the law. Writes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablate.axes import Axis, resolve_unread
from ablate.base import Base
from ablate.blocks import Grid, OneAtATime, Search
from ablate.cells import block_faults, draws
from ablate.claims import Expectations
from ablate.compose import Composed, compose, compose_values, suite_members
from ablate.design import draft_design, draft_unread
from ablate.draft import Draft, Until, block_at
from ablate.errors import InputError, Problem
from ablate.explain import explain
from ablate.forms import nested_at, read_axes
from ablate.levels import MISSING, misread
from ablate.marked_yaml import Fault, visible
from ablate.objections import objections
from ablate.overrides import override
from ablate.sources import own_trainer, with_sources
from ablate.study import Study
from ablate.trainers import IMPORTED, TRAINERS, Trainer, TrainerFaults, trainer_of

FEWEST_TRIALS = {"hyperband": 4, "median": 4, "pbt": 4}
"""Rule of early stopping -> fewest trials among which it can end any: HyperBand's first three run whole, a median is one of three."""
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
    problems += _one_name(studies)
    if problems:
        raise InputError(problems)
    return tuple(studies)


def _one_name(studies: Sequence[Study]) -> Iterator[Problem]:
    """Studies that would be one in the store, or in a file system that takes no notice of case."""
    named: dict[str, Study] = {}
    for study in studies:
        first = named.setdefault(study.name.casefold(), study)
        if first is not study:
            place = first.marks.value(("name",))
            message = (
                f"{study.name} is the name of another study of the suite ({place.file}:{place.line}); it is a study's place in the store"
            )
            yield study.marks.problem(Fault(("name",), message))


def _checked(found: Composed, *, taken: set[tuple[str, int, int]]) -> Study:
    """The study, checked through and through. `taken`: places of which all has been said."""
    assert found.values is not None
    study, faults, kept = _validate(found.values if found.parents_known else {"design": ANY_DESIGN} | found.values)
    if not found.parents_known:
        faults = [fault for fault in faults if fault.path or "'name'" in fault.message]  # a parent may have said what is missing
    problems = list(found.problems)
    if study:
        study, missing = with_sources(study.with_marks(found.marks))
        study = _without_replaced(study, found)
        faults += missing
        checks = _Checks(study, places=kept, until=_until(found, faults), mended=bool(faults), whole=found.parents_known)
        study = checks.all()
        faults += checks.faults
    said = set(problems)
    problems += [found.marks.problem(fault) for fault in faults if not _repeats(fault, found, taken=taken)]
    problems = [problem for problem in problems if problem in said or (problem.file, problem.line, problem.column) not in taken]
    if problems or study is None:
        raise InputError(problems)
    return study


def _without_replaced(study: Study, found: Composed) -> Study:
    """The study, where files or arguments name kinds of their own for groups of the base, without what other kinds had there."""
    if not found.before_kind:
        return study
    try:
        config = trainer_of(study).Config
    except InputError:
        return study  # which is said where the trainer is looked for
    return study.model_copy(update={"base": Base(config, study.base).without_replaced(found.before_kind)})


def _repeats(fault: Fault, found: Composed, *, taken: set[tuple[str, int, int]]) -> bool:
    """Whether it is about a level that lacks a value, because that could not be read."""
    size = len(fault.path)
    inside = (place for path, place in found.marks.values.items() if path[:size] == fault.path) if size > 2 and taken else ()
    return fault.path[:1] == ("axes",) and any(place in taken for place in inside)


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

    def __init__(self, study: Study, *, places: Sequence[int], until: Until, mended: bool, whole: bool) -> None:
        self.study, self.until, self.mended = study, until, mended or not whole
        self.faults: list[Fault] = []
        self._places = places
        """Place in the file of each claim that could be read."""
        self._trainer = self._find_trainer()
        self._draft = _draft(study, until=until) if self._trainer else _draft_unread(study)
        self._expected = Expectations(study, self._draft, self._trainer, mended=self.mended, whole=whole)

    def all(self) -> Study:
        """The study with what its claims leave open filled in."""
        study, expected = self.study, self._expected
        self._own_trainer()
        self._search()
        self._where()
        self._base()
        self._budget()
        self.faults += self._draft.faults
        expected.metric(study.metric.name, "metric", "name")
        expected.law()
        claims = expected.claims(self._places)
        for name in self._draft.names:
            if self._trainer and name in self._trainer.METRICS:
                at = ("axes", *(nested_at(study.axes, name) or ()))
                self._fault(f"'{visible(name)}' is a metric too; the columns of the results would collide", *at)
        self.faults += expected.faults
        if not (self.faults or self.mended) and self.until == "arms":
            self.faults += objections(study)
        return study.model_copy(update={"claims": claims})

    def _find_trainer(self) -> Trainer | None:
        """None where there is no such trainer; where none could be read all is said already."""
        key = self.study.trainer
        if self.mended and (not key or (getattr(self.study, key, self) is None and (key,) in self.study.marks.keys)):
            return None  # it could not be read
        if key == IMPORTED:
            self._fault(
                f"runs that were imported were made elsewhere and cannot be run here; name a trainer ({', '.join(TRAINERS)})", "trainer"
            )
            return None
        try:
            return trainer_of(self.study)
        except TrainerFaults as error:
            self.faults += error.faults
            return None
        except InputError as error:
            self._fault(str(error), "trainer")
            return None

    def _fault(self, message: str, *path: str | int) -> None:
        self.faults.append(Fault(path, message))

    def _own_trainer(self) -> None:
        for key in ("command", "python", "surrogate"):
            if getattr(self.study, key) and self.study.trainer != key and not self.mended:
                self._fault(f"goes with trainer: {key}, and the trainer is {self.study.trainer}; leave one of them out", key)
        if self.study.trainer_must_be_committed and not own_trainer(self.study) and not self.mended:
            self._fault(f"goes with a trainer of your own (command or python), not with {self.study.trainer}", "trainer_must_be_committed")

    def _where(self) -> None:
        if self.study.search and self.study.where:
            self._fault("conditions do not go with design: search; narrow the bounds of its axes", "where")
        seen: dict[str, int] = {}
        for place, text in enumerate(self.study.where):
            if seen.setdefault(text.strip(), place) != place:
                self._fault(f"conditions {seen[text.strip()] + 1} and {place + 1} are the same", "where", place)

    def _budget(self) -> None:
        hardware = self.study.hardware
        for key, lacks in (("device_hours", hardware is None), ("money", hardware is None or hardware.price_per_hour is None)):
            if lacks and getattr(self.study.budget, key) is not None and not self.mended:
                what = "hardware: {peak_flops: ..., utilisation: ...}" if key == "device_hours" else "hardware with its price_per_hour"
                self._fault(f"a limit on {key} needs {what}", "budget", key)
        own = own_trainer(self.study)
        for key in ("train_flops", "device_hours", "money") if own and own[1].train_flops is None and not self.mended else ():
            if getattr(self.study.budget, key) is not None:
                message = f"a limit on {key} needs to know what a training takes: {self.study.trainer}: {{train_flops: ...}}"
                self._fault(message, "budget", key)

    def _base(self) -> None:
        """Values of the base that the trainer would quietly take for something else."""
        if self._trainer and self.until != "axes":
            base = Base(self._trainer.Config, self.study.base)
            written = list(_leaves(base.values))
            meanings = base.meanings({}, paths=[".".join(path) for path, _ in written])
            for path, value in written if meanings is not MISSING else ():
                if fault := misread(value, meanings[".".join(path)], at=("base", *path)):
                    self.faults.append(fault)

    def _search(self) -> None:
        search = self.study.search
        if search is None:
            return
        at = block_at(self.study, self.study.design.index(search))
        for place, objective in enumerate(search.objectives):
            here = (*at, "objectives", place, "name")
            self._expected.metric(objective.name, *here)
            if objective.name in (self.study.metric.name, *(other.name for other in search.objectives[:place])):
                self._fault(f"{objective.name} is an objective already, or the study's metric; give it once", *here)
        if not self.study.axes and not self.mended:
            self._fault("a search needs at least one axis", "axes")
        if len(self.study.design) > 1:
            self._fault("a search stands alone: what it suggests next depends on what is done", "design")
        if search.stop_early != "none":
            self._early_stopping(search, search.stop_early, at=at)
        if search.objectives and search.sampler == "cmaes":
            self._fault("cmaes has one objective; nsgaii and tpe trade off several", *at, "sampler")
        if search.sampler == "cmaes":
            self._bounds_only(search)
        if len(self.study.seeds) > 1:
            self._fault(
                f"a search runs each arm with one seed, found {len(self.study.seeds)}: what it suggests and ends next would hang on which "
                "seed is done first; write seeds: 1, and run the best arms again with several in a study of their own (design: list)",
                "seeds",
            )

    def _early_stopping(self, search: Search, rule: str, *, at: tuple[str | int, ...]) -> None:
        fewest = FEWEST_TRIALS.get(rule, 1)
        if not search.max_steps:
            self._fault(f"max_steps is missing: {rule} compares trials at parts of it; write max_steps, or stop_early: none", *at)
        if search.objectives:
            self._fault(f"{rule} compares trials on one metric, and this search has objectives; write stop_early: none", *at, "stop_early")
        if search.trials < fewest:
            self._fault(f"{rule} needs {fewest} trials or more to compare, found {search.trials}; asha does with fewer", *at, "trials")
        if rule == "pbt":
            self._copies_of_weights(at=at)

    def _copies_of_weights(self, *, at: tuple[str | int, ...]) -> None:
        """Population based training gives a trial another one's weights and changes its values while it trains."""
        changeable = getattr(self._trainer, "changeable", lambda base: ())(self.study.base)
        if self._trainer and not changeable:
            self._fault(
                f"pbt lets a trial go on from another one's weights with other values, and trainer {self.study.trainer} names no "
                "field that may change while it trains; asha, hyperband and median go with any trainer",
                *(*at, "stop_early"),
            )
            return
        for axis in self._draft.axes if self._trainer else ():
            if unchangeable := sorted(set(axis.paths) - set(changeable)):
                message = (
                    f"pbt changes values while a trial trains, and {unchangeable[0]} may not change then "
                    f"(allowed: {', '.join(changeable)}); leave it at the base, or take asha"
                )
                self.faults.append(Fault(axis.at, message, at_key=True))
            elif axis.bounds is None:
                self._fault("pbt moves between bounds; write {log: [low, high]} or linspace, without points", *axis.at)
        if self.study.law and not self.mended:
            self._fault("a law needs trials that kept their values from start to end, and pbt changes them; take asha", "law")

    def _bounds_only(self, search: Search) -> None:
        for name, written in self.study.axes.items():
            form = written if isinstance(written, Mapping) else {}
            if not ({"log", "linspace"} & set(form)) or "points" in form:
                message = f"{search.sampler} draws between bounds ({{log: [low, high]}} or linspace, without points); tpe takes levels too"
                self._fault(message, "axes", name)


def _unused_levels(study: Study, draft: Draft) -> Iterator[Fault]:
    """Levels that an author wrote and that conditions leave in no arm; of spaced or drawn ones some may go, but not all."""
    counts = ", ".join(f"`{text}` removes {count:,}" for text, count in draft.removed.items())
    blocks = [block for block in study.design if isinstance(block, OneAtATime) or (isinstance(block, Grid) and not block.sample)]
    for axis in draft.axes if draft.removed else ():
        if not any(block.axes is None or axis.name in block.axes for block in blocks):
            continue
        found = {arm.levels[axis.name] for arm in draft.arms}
        missing = [level for level in axis.levels if level.label not in found]
        places = [level.at for level in axis.levels]
        alone = [level for level in missing if places.count(level.at) == 1]
        for level in alone:
            yield Fault(level.at, f"no arm with {axis.name} = {level.label} is left: {counts}")
        if not alone and missing and not found - {axis.baseline, None}:
            yield Fault(axis.at, f"of {axis.name} only {axis.baseline} is left: {counts}", at_key=True)


def _leaves(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _draft(study: Study, *, until: Until) -> Draft:
    draft = draft_design(study, until=until)
    return draft if draft.faults or until != "arms" or study.search else replace(draft, faults=tuple(_unused_levels(study, draft)))


def _draft_unread(study: Study) -> Draft:
    """What can be said of a design where the trainer is not known, its axes included."""
    draft, written = draft_unread(study), read_axes(study.axes, drawn=any(map(draws, study.design)))
    grids = [block for block in study.design if isinstance(block, Grid)]
    axes, faults = list[Axis](), list(draft.faults)
    for place, axis in enumerate(written):
        in_grid = any(block.axes is None or axis.name in block.axes for block in grids)
        later = [path for other in written[place + 1 :] for path in other.paths]
        resolved, wrong = resolve_unread(axis, values=study.base, first_is_base=in_grid, later=later)
        axes += [resolved] if resolved else []
        faults += wrong
    known = {axis.name: axis for axis in axes}
    for index, block in enumerate(study.design):
        faults += block_faults(block, known, names=draft.names, at=block_at(study, index))
    return replace(draft, axes=tuple(axes), faults=tuple(dict.fromkeys(faults)))
