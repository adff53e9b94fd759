"""One import from what is asked to what is said of it: read, declare, take in, and the lines or the document that tell people."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ablate.errors import EnvironmentMissing, InputError, did_you_mean
from ablate.imports.arriving import Arrived, known_study, take_in
from ablate.imports.declared import Declared, declare, goal_problems
from ablate.imports.runs import KINDS, Asked, Found, listed
from ablate.imports.seeding import REPEATS
from ablate.imports.sources import read_runs
from ablate.marked_yaml import visible
from ablate.quantities import counted
from ablate.stores import open_store
from ablate.workspace import Workspace

SHOWN_LEFT_OUT = 20


@dataclass(frozen=True)
class Imported:
    found: Found
    declared: Declared
    arrived: Arrived

    def to_json(self) -> dict[str, Any]:
        arrived, study = self.arrived, self.declared.study
        counts = {
            "new": arrived.new,
            "updated": arrived.changed,
            "same": arrived.same,
            "gone": list(arrived.gone),
            "replaced": arrived.replaced,
        }
        return {
            "study": arrived.study,
            "source": {"kind": self.found.kind, "source": self.found.source, "sha256": self.found.digest or None},
            "changed": arrived.is_changed,
            "metric": study.metric.model_dump(mode="json", exclude_none=True),
            "law": study.law.model_dump(mode="json") if study.law else None,
            "axes": {axis: list(levels) for axis, levels in self.declared.axes.items()},
            "columns": dict(self.declared.columns),
            "left_out": dict(self.declared.left_out),
            "trials": counts | {"states": dict(arrived.states)},
            "notes": list(self.declared.notes),
        }

    def lines(self, *, options: str) -> Iterator[str]:
        """What people read. `options`: what the next command has to repeat."""
        arrived = self.arrived
        states = ", ".join(f"{count} {state}" for state, count in arrived.states.items())
        if not arrived.is_changed:
            yield f"'{arrived.study}' was here already, with all that {self.found.source} holds: {counted(arrived.same, 'trial')}"
            return
        before = (
            f" ({arrived.new} new, {arrived.changed} updated, {arrived.same} as before)"
            if arrived.new < sum(arrived.states.values())
            else f" (in the place of {counted(arrived.replaced, 'trial')})"
            if arrived.replaced
            else ""
        )
        yield f"'{arrived.study}': {counted(sum(arrived.states.values()), 'trial')} from {self.found.source}{before}: {states}"
        for axis, levels in self.declared.axes.items():
            column = self.declared.columns[axis]
            of = f" (column {visible(column)})" if column != axis else ""
            shown = (
                f"{counted(len(levels), 'level')}, baseline {levels[0]} ({listed(levels, most=8)})" if levels else "drawn between bounds"
            )
            yield f"  axis {axis}{of}: {shown}"
        if law := self.declared.study.law:
            yield f"  law of {law.hyperparameter} against {law.size}"
        for column, why in list(self.declared.left_out.items())[:SHOWN_LEFT_OUT]:
            yield f"  no axis: {visible(column)}: {why}"
        if (more := len(self.declared.left_out) - SHOWN_LEFT_OUT) > 0:
            yield f"  and {more:,} more columns are no axes; --json lists them"
        yield from (f"! {note}" for note in self.declared.notes)
        if arrived.gone:
            yield f"! {counted(len(arrived.gone), 'trial')} here are not in the source any more and stay: {listed(arrived.gone, most=3)}"
        verb = "law fit" if self.declared.study.law else "effects"
        if verb == "effects" and any("--importance" in note for note in self.declared.notes):
            verb += " --importance"
        yield f"next: ablate {verb}{options} {arrived.study}"


def import_runs(asked: Asked, workspace: Workspace) -> Imported:
    """Raises InputError with every problem, before the workspace is made and the store is touched."""
    problems = []
    if asked.kind not in KINDS:
        problems.append(f"unknown kind '{visible(asked.kind)}' ({', '.join(KINDS)}){did_you_mean(asked.kind, KINDS)}")
    if not asked.study:
        problems.append("--as is missing: what is the study to be called?")
    if asked.repeats not in REPEATS:
        problems.append(f"--repeats {visible(asked.repeats)}: {', '.join(REPEATS)}{did_you_mean(asked.repeats, REPEATS)}")
    if problems:
        raise InputError("\n".join(problems))
    here = None
    if workspace.has_store:
        try:
            store = open_store(workspace.store_url)
        except EnvironmentMissing:
            if workspace.store is None:
                raise  # one that is there and cannot be read
        else:
            here = known_study(store, asked.study)
            store.close()
    known = None if asked.replace else here
    asked = _with_metric(asked, known.metric if known else "")
    try:
        found = read_runs(asked)
    except InputError as error:
        wrong = goal_problems(asked.goal) if asked.goal or not (known or asked.kind == "optuna") else []
        raise InputError("\n".join([str(error), *wrong])) from None
    declared = declare(found, asked, known=known)
    workspace.create()
    written = open_store(workspace.store_url, write=True)
    try:
        return Imported(found, declared, take_in(declared, found, store=written, known=here, replace=asked.replace))
    finally:
        written.close()


def _with_metric(asked: Asked, metric: str) -> Asked:
    """A study that was imported before knows its metric, and a table has to be told."""
    return Asked(**{**asdict(asked), "metric": asked.metric or metric})
