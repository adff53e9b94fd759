"""A study file becomes a `Study`, or every mistake in it at once, each at its line and column: the YAML, the keys, the base, the design
(which `design.py` drafts for it), the claims and the law. Writes nothing.
"""

import importlib.resources
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import ValidationError

from ablate.axes import Axis
from ablate.design import draft_design
from ablate.errors import InputError, Problem, did_you_mean
from ablate.explain import explain
from ablate.reader import MAX_BYTES, Document, Fault, Marks, read, shown, visible
from ablate.study import Claim, Level, Study
from ablate.trainers import load_trainer


def load_study(reference: str | Path) -> Study:
    """The study in a file, or the shipped one of that name. Raises InputError with every problem of the file."""
    found = _find(str(reference))
    document = read(found.data, file=found.name)
    if document.values is None:
        raise InputError(document.problems)
    values, marks, problems = dict(document.values), document.marks, list(document.problems)
    base_known = _resolve_base(values, marks, found=found, problems=problems)
    study, faults, kept = _validate(values)
    if study:
        study = study.with_marks(marks)
        base_known = base_known and not any(fault.path[:1] == ("base",) for fault in faults)
        checks = _Checks(study, claims=kept, base_known=base_known, mended=bool(faults))
        checks.all()
        study = study.model_copy(update={"claims": tuple(checks.claims)})
        problems += checks.problems
        faults += checks.faults
    # what the reader said about a value is all there is to say about it
    taken = {(problem.file, problem.line, problem.column) for problem in document.problems}
    problems += map(marks.problem, faults)
    problems = [
        problem for problem in problems if problem in document.problems or (problem.file, problem.line, problem.column) not in taken
    ]
    if problems or study is None:
        raise InputError(problems)
    return study


class _Found(NamedTuple):
    name: str
    """As the author of the command wrote it."""
    data: bytes
    folder: Traversable
    """Where a base may lie beside it."""
    shown_folder: Path
    """That folder in messages."""


def _find(reference: str) -> _Found:
    path = Path(reference)
    if path.is_file():
        return _Found(reference, _bytes(path), path.parent, path.parent)
    studies = importlib.resources.files("studies")
    shipped = dict(_shipped_studies(studies))
    if reference in shipped:
        inner = reference.rpartition("/")[0]
        return _Found(reference, shipped[reference].read_bytes(), studies.joinpath(inner) if inner else studies, Path("studies") / inner)
    what = "is a folder, not a study file" if path.is_dir() else "is not a regular file" if path.exists() else "is no file here"
    listed = ", ".join(shipped)
    raise InputError(
        f"'{visible(reference)}' {what} and no shipped study ({listed}){did_you_mean(reference, shipped)}; name a file or one of these"
    )


def _shipped_studies(folder: Traversable, *, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yaml") and entry.name != "template.yaml":
            yield f"{prefix}{entry.name.removesuffix('.yaml')}", entry
        elif entry.is_dir() and entry.name != "bases" and not entry.name.startswith("__"):
            yield from _shipped_studies(entry, prefix=f"{prefix}{entry.name}/")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _resolve_base(values: dict[str, Any], marks: Marks, *, found: _Found, problems: list[Problem]) -> bool:
    """Puts a base file's values and marks in the place of its name. Whether the base is known afterwards."""
    written = values.get("base", {})
    if not isinstance(written, str):
        return isinstance(written, dict)
    values["base"] = {}
    try:
        document = _read_base(written, folder=found.folder, shown_folder=found.shown_folder)
    except ValueError as error:
        problems.append(marks.problem(Fault(("base",), str(error))))
        return False
    problems += document.problems
    marks.graft(("base",), document.marks)
    values["base"] = document.values or {}
    return document.values is not None


def _read_base(written: str, *, folder: Traversable, shown_folder: Path) -> Document:
    """The base beside the study, or the shipped one. Raises ValueError."""
    parts = PurePosixPath(written).parts
    inside = bool(parts) and not os.path.isabs(written) and ".." not in parts and "\\" not in written and "\0" not in written
    if inside and isinstance(folder, Path):
        inside = (folder / written).resolve().is_relative_to(folder.resolve())  # a link may lead out
    if not inside:
        raise ValueError(f"'{visible(written)}' lies outside the study's folder; put the file beside the study")
    near = folder.joinpath(written)
    if near.is_file():
        data = _bytes(near) if isinstance(near, Path) else near.read_bytes()
        return read(data, file=str(shown_folder / written))
    shipped = importlib.resources.files("studies")
    bases = sorted(f"bases/{entry.name}" for entry in shipped.joinpath("bases").iterdir() if entry.name.endswith(".yaml"))
    if written in bases:
        return read(shipped.joinpath(written).read_bytes(), file=f"studies/{written}")
    listed = ", ".join(bases)
    looked = f"looked for {visible(str(shown_folder / written), limit=200)} and among the shipped bases ({listed})"
    raise ValueError(f"no file '{visible(written)}': {looked}{did_you_mean(written, bases)}")


def _validate(values: dict[str, Any]) -> tuple[Study | None, list[Fault], list[int]]:
    """The study, or what is left of it without the parts at fault, so that the rest can be checked too; and which claims are left."""
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        faults = explain(error, Study, values)
    else:
        return study, [], list(range(len(study.claims)))
    metric = values.get("metric")
    name = metric["name"] if isinstance(metric, dict) and isinstance(metric.get("name"), str) else ""
    mended = {"schema": 1, "name": "unnamed", "trainer": "", "axes": {}, "metric": {"name": name, "goal": "min"}}
    mended |= {key: value for key, value in values.items() if key not in {fault.path[0] for fault in faults if fault.path} - {"claims"}}
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

    def __init__(self, study: Study, *, claims: Sequence[int], base_known: bool, mended: bool) -> None:
        self.study, self.base_known, self.mended = study, base_known, mended
        self.faults: list[Fault] = []
        self.problems: list[Problem] = []
        self.claims: list[Claim] = []
        self._places = claims
        """Place in the file of each claim that could be read."""

    def all(self) -> None:
        study = self.study
        if (study.design == "search") != bool(study.search):
            missing = "design: search needs search: {trials: n}" if study.design == "search" else "search: goes with design: search only"
            self._fault(missing, "design" if study.design == "search" else "search")
        if study.search and study.search.stop_early == "asha" and not study.search.max_steps:
            self._fault("max_steps is missing: asha stops trials at parts of it; write max_steps, or stop_early: none", "search")
        if self.mended and not study.trainer:
            return  # said already
        try:
            metrics = load_trainer(study.trainer).METRICS
        except InputError as error:
            self._fault(str(error), "trainer")
            return
        self._metric(study.metric.name, metrics, "metric", "name")
        draft = draft_design(study, cells=self.base_known, arms=False)
        self.problems += draft.problems
        axes = {axis.path: axis for axis in draft.axes}
        self._law(axes)
        for place, claim in zip(self._places, study.claims, strict=True):
            self.claims.append(self._claim(claim, axes, metrics, "claims", place))
        self._contradictions()

    def _fault(self, message: str, *path: str | int) -> None:
        self.faults.append(Fault(path, message))

    def _metric(self, name: str, metrics: Mapping[str, str], *path: str | int) -> None:
        if self.mended and not name:
            return  # said already
        if name not in metrics:
            self._fault(
                f"the trainer {self.study.trainer} declares no '{visible(name)}' ({', '.join(metrics)}){did_you_mean(name, metrics)}", *path
            )
        elif name in self.study.axes:
            self._fault(f"'{visible(name)}' is an axis too; the columns of the results would collide", *path)

    def _axis(self, name: str, axes: Mapping[str, Axis], *path: str | int) -> Axis | None:
        if name not in self.study.axes:
            self._fault(f"no axis '{visible(name)}' ({', '.join(self.study.axes)}){did_you_mean(name, self.study.axes)}", *path)
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

    def _claim(self, claim: Claim, axes: Mapping[str, Axis], metrics: Mapping[str, str], *path: str | int) -> Claim:
        """The claim with its levels as labels and its defaults filled in."""
        if claim.metric is not None:
            self._metric(claim.metric, metrics, *path, "metric")
        if claim.expect == "equivalent" and claim.within is None:
            self._fault("equivalent needs within: the largest difference that counts as none, in the metric's unit", *path, "expect")
        if claim.expect == "best_level" and claim.level is None:
            self._fault("best_level needs level: the one that is expected to be best", *path, "expect")
        axis = self._axis(claim.axis, axes, *path, "axis")
        if axis is None:
            return claim
        if axis.bounds:
            self._fault(f"{claim.axis} is searched between bounds, and a claim needs levels", *path, "axis")
            return claim
        known = len(self.faults)
        level = self._level(claim.level, axis, *path, "level")
        against = self._level(claim.against, axis, *path, "against")
        if len(self.faults) > known or claim.expect == "best_level":
            return claim.model_copy(update={"level": level, "against": against})
        if claim.expect != "equivalent" and level is None and not axis.numeric:
            self._fault(
                f"{claim.expect} needs level, because the levels of {claim.axis} have no order: {', '.join(map(str, axis.labels))}",
                *path,
                "expect",
            )
            return claim
        level, against = _defaults(axis, level, against)
        if level == against:
            message = f"level and against are both {level}: a claim needs two levels ({', '.join(map(str, axis.labels))})"
            self._fault(message, *path, "level" if claim.level is not None else "axis")
        return claim.model_copy(update={"level": level, "against": against})

    def _level(self, written: Any, axis: Axis, *path: str | int) -> Level:
        if written is None:
            return None
        found = axis.find(written)
        if found is None:
            labels = [str(label) for label in dict.fromkeys((*axis.labels, axis.baseline))]
            hint = did_you_mean(written, labels) if isinstance(written, str) else ""
            self._fault(f"no level {shown(written)} on {axis.path} ({', '.join(labels)}){hint}", *path)
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
