"""A study from a file enters a store: what is new of it, what is here already, and where the two contradict each other.

The history of a study is what it declared, one after the other. Where one side's is the beginning of the other's, the longer one holds;
where they part, nothing is imported. A job that is done on both sides must have ended with the same metrics.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.archive import Archive, refused, unpack_artefacts
from ablate.stores import Store
from ablate.stores.rows import AttemptRow, DeclarationRow, IdentityRow, JobRow, MetricRow, PointRow, Row, StudyRow, TrialRow
from ablate.workspace import Workspace

OWNER = "ablate import"


@dataclass(frozen=True)
class Imported:
    study: str
    jobs: int
    """Whose results were new here."""
    done: int
    """Finished jobs in the file."""
    artefacts: int
    changed: bool
    """Whether the file held anything that was not here."""


@dataclass(frozen=True)
class _Side:
    """A study as one side has it."""

    declared: tuple[Mapping[str, Any], ...]
    trials: Mapping[str, tuple[str, int, str]]
    """Id -> arm, seed, last job."""
    jobs: Mapping[str, JobRow]
    metrics: Mapping[str, frozenset[tuple[str, int, float | None, str]]]


def import_study(archive: Archive, *, store: Store, workspace: Workspace) -> Imported:
    """Raises InputError with every contradiction to what is here; then nothing was changed. A study that is being run is not touched."""
    lease = store.claim(archive.study, owner=OWNER)  # nobody runs it meanwhile
    try:
        return _import(archive, store=store.fenced(lease), workspace=workspace)
    finally:
        store.release(lease)


def _import(archive: Archive, *, store: Store, workspace: Workspace) -> Imported:
    there = _side(archive.rows)
    here = _side(row for row in store.rows(archive.study) if not isinstance(row, PointRow))
    states = store.job_states(there.jobs)  # of other studies too
    if problems := list(_contradictions(here, there)):
        raise refused(archive.path, problems)
    artefacts = unpack_artefacts(archive, workspace=workspace)  # before the rows: a job that is done has its artefact
    jobs = {job for job, row in there.jobs.items() if job not in states or (states[job][0] != "done" and row.state == "done")}
    ahead = len(there.declared) > len(here.declared) or (there.declared == here.declared and len(there.trials) > len(here.trials))
    if jobs or ahead:
        store.add_rows(lambda: _new(archive, jobs=jobs, ahead=ahead), study=archive.study if ahead else None, jobs=jobs)
    done = sum(row.state == "done" for row in there.jobs.values())
    return Imported(archive.study, jobs=len(jobs), done=done, artefacts=artefacts, changed=bool(jobs) or ahead or artefacts > 0)


def _new(archive: Archive, *, jobs: set[str], ahead: bool) -> Iterator[Row]:
    """The rows to add, in the file's order: those that others refer to come first."""
    for row in archive.rows:
        match row:
            case JobRow():
                if row.id in jobs:
                    # nothing of it runs here
                    yield row.model_copy(update={"state": "queued"}) if row.state == "running" else row
            case StudyRow() | DeclarationRow() | TrialRow():
                if ahead:
                    yield row
            case IdentityRow() | AttemptRow() | MetricRow():
                if row.job in jobs:
                    yield row
    yield from (point for point in archive.points() if point.job in jobs)


def _side(rows: Iterable[Row]) -> _Side:
    kept = list(rows)
    metrics: dict[str, set[tuple[str, int, float | None, str]]] = {}
    for row in kept:
        if isinstance(row, MetricRow):
            metrics.setdefault(row.job, set()).add((row.key, row.step, row.value, row.kind))
    declared = sorted((row for row in kept if isinstance(row, DeclarationRow)), key=lambda row: row.seq)
    return _Side(
        declared=tuple(row.spec for row in declared),
        trials={row.id: (row.arm, row.seed, row.final) for row in kept if type(row) is TrialRow},
        jobs={row.id: row for row in kept if isinstance(row, JobRow)},
        metrics={job: frozenset(values) for job, values in metrics.items()},
    )


def _contradictions(here: _Side, there: _Side) -> Iterator[str]:
    if not here.declared:
        return
    shared = min(len(here.declared), len(there.declared))
    parted = next((number for number in range(shared) if here.declared[number] != there.declared[number]), None)
    if parted is not None:
        yield f"the study is here already and declares something else (declaration {parted + 1}: {_differing(here, there, parted)})"
    elif len(here.declared) == len(there.declared):
        yield from _parted_trials(here, there)
    for job in sorted(set(here.jobs) & set(there.jobs)):
        both_done = here.jobs[job].state == there.jobs[job].state == "done"
        if both_done and here.metrics.get(job) != there.metrics.get(job):
            yield f"{job} is done here with other metrics"


def _parted_trials(here: _Side, there: _Side) -> Iterator[str]:
    only_here, only_there = sorted(set(here.trials) - set(there.trials)), sorted(set(there.trials) - set(here.trials))
    if only_here and only_there:
        yield f"both have trials that the other has not: {only_here[0]} here, {only_there[0]} there"
    for trial in sorted(set(here.trials) & set(there.trials)):
        if here.trials[trial] != there.trials[trial]:
            yield f"trial {trial} is another one here"


def _differing(here: _Side, there: _Side, number: int) -> str:
    mine, theirs = here.declared[number], there.declared[number]
    return ", ".join(sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key)))
