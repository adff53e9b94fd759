"""A plan becomes rows: what is new of its study, trials and jobs, and what it leaves out."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ablate.planned import Job, Plan
from ablate.stores.sql_insert import chunks, insert_new
from ablate.stores.sql_rows import identity_of, job_row, trial_row
from ablate.stores.tables import declarations, identities, jobs, stale_trials, studies, trials

ENDED = ("done", "failed", "pruned")
"""States of a last job whose trial is worth keeping when the plan leaves it out."""
KEY = ("place", "id", "arm", "final")
"""What two recordings of a trial under one declaration have in common."""


def record_plan(connection: sa.Connection, plan: Plan, *, axes: Mapping[str, Sequence[Any]], simulated: bool, now: float) -> None:
    name = plan.study.name
    rows = [trial_row(name, trial, place=place) for place, trial in enumerate(plan.trials)]
    spec: dict[str, Any] = {
        "spec": plan.study.model_dump(mode="json", by_alias=True),
        "axes": {axis: list(levels) for axis, levels in axes.items()},
        "simulated": simulated,
    }
    _add_jobs(connection, plan.jobs)
    before = connection.execute(sa.select(studies).where(studies.c.name == name)).mappings().first()
    stored = _stored_trials(connection, name)
    kept = [tuple(row[key] for key in KEY) for row in rows]
    same = before is not None and all(before[key] == value for key, value in spec.items())
    if same and stored == kept:
        return
    if before is None:
        connection.execute(studies.insert().values(name=name, **spec, created=now, updated=now))
    else:
        connection.execute(studies.update().where(studies.c.name == name).values(**spec, updated=now))
    if before is None or before["spec"] != spec["spec"]:
        _declare(connection, name, spec["spec"], now=now)
    if same and stored == kept[: len(stored)]:  # a search goes on
        new = rows[len(stored) :]
    else:
        _set_aside(connection, name, rows, now=now)
        connection.execute(trials.delete().where(trials.c.study == name))
        new = rows
    known = {stored_id for _, stored_id, _, _ in stored}
    _take_back(connection, name, [row["id"] for row in new if row["id"] not in known])
    for chunk in chunks(new):
        connection.execute(trials.insert(), chunk)


def _add_jobs(connection: sa.Connection, planned: Mapping[str, Job]) -> None:
    known: set[str] = set()
    sizes: dict[str, tuple[int, float]] = {}
    for chunk in chunks(list(planned)):
        known |= set(connection.scalars(sa.select(identities.c.job).where(identities.c.job.in_(chunk))))
        query = sa.select(jobs.c.id, jobs.c.num_params, jobs.c.train_flops).where(jobs.c.id.in_(chunk))
        sizes |= {row.id: (row.num_params, row.train_flops) for row in connection.execute(query)}
    new = [job for job in planned.values() if job.id not in known]
    # a store from before identities were kept has the job already
    insert_new(connection, jobs, [job_row(job) for job in new])
    insert_new(connection, identities, [{"job": job.id, "identity": identity_of(job)} for job in new])
    for job in planned.values():
        size = job.spec.num_params, job.spec.train_flops
        if sizes.get(job.id) == (0, 0.0) != size:  # restored from its folder, which does not say what it costs
            connection.execute(jobs.update().where(jobs.c.id == job.id).values(num_params=size[0], train_flops=size[1]))


def _stored_trials(connection: sa.Connection, study: str) -> list[tuple[Any, ...]]:
    """The study's trials by `KEY`, in order."""
    query = sa.select(*(trials.c[key] for key in KEY)).where(trials.c.study == study).order_by(trials.c.place)
    return [tuple(row) for row in connection.execute(query)]


def _declare(connection: sa.Connection, study: str, spec: Mapping[str, Any], *, now: float) -> None:
    last = connection.scalar(sa.select(sa.func.max(declarations.c.seq)).where(declarations.c.study == study))
    connection.execute(declarations.insert().values(study=study, seq=(last or 0) + 1, time=now, spec=spec))


def _set_aside(connection: sa.Connection, study: str, rows: Sequence[Mapping[str, Any]], *, now: float) -> None:
    """Copies the trials that ended and that these rows leave out to the stale ones."""
    ids = {row["id"] for row in rows}
    measured = {row["final"] for row in rows}  # still in the study, if under another arm's name
    query = (
        sa.select(trials.c.id, trials.c.final)
        .join(jobs, jobs.c.id == trials.c.final)
        .where(trials.c.study == study, jobs.c.state.in_(ENDED))
    )
    gone = [row.id for row in connection.execute(query) if row.id not in ids and row.final not in measured]
    columns = [column.name for column in trials.columns]
    for chunk in chunks(gone):
        copied = sa.select(*(trials.c[name] for name in columns), sa.literal(now, sa.Float(53))).where(
            trials.c.study == study, trials.c.id.in_(chunk)
        )
        connection.execute(stale_trials.delete().where(stale_trials.c.study == study, stale_trials.c.id.in_(chunk)))
        connection.execute(stale_trials.insert().from_select([*columns, "since"], copied))


def _take_back(connection: sa.Connection, study: str, ids: list[str]) -> None:
    """These trials are in the plan, so they are not stale."""
    for chunk in chunks(ids):
        connection.execute(stale_trials.delete().where(stale_trials.c.study == study, stale_trials.c.id.in_(chunk)))
