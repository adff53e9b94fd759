"""The store in SQL, through SQLAlchemy Core: SQLite by default, PostgreSQL by URL.

Each method is one function of a connection, so that `Database` can run it again as a whole. A value that is not finite is NULL with its
`kind` beside it, so that no database sees a NaN.
"""

import copy
import dataclasses
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from ablate.errors import EnvironmentMissing
from ablate.journal import Point
from ablate.planned import Plan
from ablate.stores import (
    LEASE_TTL,
    AttemptRecord,
    Declaration,
    EventRecord,
    Holder,
    JobRecord,
    Lease,
    StaleTrial,
    StudyRecord,
    TrialRecord,
    TrialStanding,
    sql_leases,
    sql_plan,
    sql_rows,
    sql_whole,
)
from ablate.stores.rows import KINDS, Row
from ablate.stores.sql_engine import PATIENCE_SECONDS, Database, check_file
from ablate.stores.sql_events import event, rows_added
from ablate.stores.sql_insert import chunks, insert_new
from ablate.stores.sql_rows import joined, storable, trial_record, trial_standing
from ablate.stores.sql_schema import check_revision, prepare
from ablate.stores.tables import attempts, declarations, events, identities, jobs, leases, metrics, points, stale_trials, studies, trials

if TYPE_CHECKING:
    from ablate.attempt import Outcome  # an attempt knows trainers, and a reader of a store needs none

POLL_SECONDS = 0.1
T = TypeVar("T")
Work = Callable[[sa.Connection], T]


class SqlStore:
    """See `ablate.stores.Store`."""

    def __init__(self, url: str, *, write: bool) -> None:
        self._database = Database(url, write=write)
        self._lease: Lease | None = None
        try:
            self._open(write=write)
        except BaseException:
            self._database.close()
            raise

    def record_plan(self, plan: Plan, *, axes: Mapping[str, Sequence[Any]], simulated: bool) -> None:
        self._write(lambda connection: sql_plan.record_plan(connection, plan, axes=axes, simulated=simulated, now=time.time()))

    def add_event(self, study: str, kind: str) -> None:
        self._write(lambda connection: event(connection, study, kind, study, ""))

    def start(self, study: str, job: str, *, attempt: int) -> None:
        values = {"state": "running", "cause": None, "reason": "", "started": time.time(), "attempts": attempt}

        def work(connection: sa.Connection) -> None:
            _change(connection, job, values)
            event(connection, study, "started", job, f"attempt {attempt}")

        self._write(work)

    def finish(self, study: str, outcome: "Outcome", *, final: bool = True) -> None:
        reason = storable(outcome.reason)
        ended = {"cause": outcome.cause, "reason": reason, "seconds": outcome.seconds}
        values = ended | {"state": outcome.state if final else "queued", "attempts": outcome.attempt}
        if outcome.started:
            values["started"] = outcome.started
        attempt = {"job": outcome.job, "number": outcome.attempt, "host": outcome.host, "pid": outcome.pid}
        attempt |= ended | {"state": outcome.state, "started": outcome.started, "details": dict(outcome.details) or None}
        last = [{"job": outcome.job, "key": p.key, "step": p.step, "value": p.value, "kind": p.kind} for p in outcome.metrics]

        def work(connection: sa.Connection) -> None:
            changed = _change(connection, outcome.job, values)
            insert_new(connection, attempts, [attempt])
            if final and changed:  # an artefact that is built again is no new result
                connection.execute(metrics.delete().where(metrics.c.job == outcome.job))
                insert_new(connection, metrics, last)
            event(connection, study, outcome.state, outcome.job, reason)

        self._write(work)

    def skip(self, study: str, job: str, *, because: str) -> None:
        reason = f"not run: {because}, which it needs, failed"

        def work(connection: sa.Connection) -> None:
            _change(connection, job, {"state": "failed", "cause": "upstream", "reason": reason})
            event(connection, study, "failed", job, reason)

        self._write(work)

    def requeue(self, study: str, jobs_: Iterable[str], *, why: str) -> None:
        wanted = list(jobs_)

        def work(connection: sa.Connection) -> None:
            for job in wanted:
                _change(connection, job, {"state": "queued", "cause": None, "reason": ""})
                event(connection, study, "queued", job, why)

        self._write(work)

    def add_points(self, points_: Mapping[tuple[str, int], Sequence[Point]]) -> None:
        rows = [
            {"job": job, "attempt": attempt, "key": point.key, "step": point.step, "value": point.value, "kind": point.kind}
            for (job, attempt), series in points_.items()
            for point in series
        ]
        if rows:
            self._write(lambda connection: insert_new(connection, points, rows))

    def studies(self) -> list[StudyRecord]:
        return self._study_records()

    def study(self, name: str) -> StudyRecord | None:
        found = self._study_records(studies.c.name == name)
        return found[0] if found else None

    def trials(self, study: str, *, ids: Iterable[str] | None = None) -> list[TrialRecord]:
        wanted = None if ids is None else list(ids)
        found = self._read(lambda connection: _trial_records(connection, trials, study, order=trials.c.place, ids=wanted))
        return [record for record, _ in found]

    def standings(self, study: str) -> list[TrialStanding]:
        which = trials.c.study == study
        query = sa.select(trials.c.id, trials.c.arm, trials.c.seed, trials.c.chain).where(which).order_by(trials.c.place)
        columns = [jobs.c[name] for name in ("id", "state", "cause", "reason", "seconds", "started", "attempts")]

        def work(connection: sa.Connection) -> list[TrialStanding]:
            rows = connection.execute(query).all()
            states = _states(connection, [row.chain for row in rows], columns, final=sa.select(trials.c.final).where(which))
            return [trial_standing(study, row, states) for row in rows]

        return self._read(work)

    def stale_trials(self, study: str) -> list[StaleTrial]:
        if not self._has(stale_trials):
            return []
        found = self._read(lambda connection: _trial_records(connection, stale_trials, study, order=stale_trials.c.since.desc()))
        return [StaleTrial(record, since=row["since"]) for record, row in found]

    def declarations(self, study: str) -> list[Declaration]:
        query = sa.select(declarations.c.time, declarations.c.spec).where(declarations.c.study == study).order_by(declarations.c.seq)
        if not self._has(declarations):
            return []
        return self._read(lambda connection: [Declaration(**row) for row in connection.execute(query).mappings()])

    def identities(self, jobs_: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        rows = self._rows_of(identities, sorted(set(jobs_))) if self._has(identities) else []
        return {row["job"]: row["identity"] for row in rows}

    def jobs(self, study: str, *, state: str | None = None) -> list[JobRecord]:
        names = [field.name for field in dataclasses.fields(JobRecord)]
        columns = [jobs.c[name] for name in names]

        def work(connection: sa.Connection) -> list[JobRecord]:
            found: Sequence[Any] = [] if state is None else connection.execute(sa.select(*columns).where(jobs.c.state == state)).all()
            if state is not None and not found:  # as nearly always of `running`: then no chain is read
                return []
            chains = connection.scalars(sa.select(trials.c.chain).where(trials.c.study == study).order_by(trials.c.place)).all()
            ordered = dict.fromkeys(job for chain in chains for job in chain)
            rows = {row.id: JobRecord(*row) for row in (_jobs_of(connection, ordered, columns) if state is None else found)}
            return [rows[job] for job in ordered if job in rows]

        return self._read(work)

    def job_states(self, jobs_: Iterable[str]) -> dict[str, tuple[str, int]]:
        wanted, columns = set(jobs_), [jobs.c.id, jobs.c.state, jobs.c.attempts]
        return self._read(lambda connection: {job: (state, count) for job, state, count in _jobs_of(connection, wanted, columns)})

    def durations(self, jobs_: Iterable[str]) -> dict[str, float]:
        wanted, columns = set(jobs_), [jobs.c.id, jobs.c.state, jobs.c.seconds]
        found = self._read(lambda connection: list(_jobs_of(connection, wanted, columns)))
        return {job: seconds for job, state, seconds in found if state == "done" and seconds is not None}

    def seconds_used(self, jobs_: Iterable[str]) -> float | None:
        wanted = sorted(set(jobs_))
        return self._read(lambda connection: sql_rows.seconds_used(connection, wanted))

    def recorded_attempts(self, jobs_: Iterable[str]) -> set[tuple[str, int]]:
        return {(row["job"], row["number"]) for row in self._rows_of(attempts, list(jobs_), columns=("job", "number"))}

    def attempts(self, jobs_: Iterable[str]) -> list[AttemptRecord]:
        names = [field.name for field in dataclasses.fields(AttemptRecord) if field.name != "details" or self._revision > 1]
        rows = self._rows_of(attempts, sorted(set(jobs_)), columns=names)
        return sorted((AttemptRecord(**row) for row in rows), key=lambda attempt: (attempt.job, attempt.number))

    def curve(
        self, jobs_: Iterable[str], *, keys: Iterable[str] | None = None, after: int | None = None
    ) -> list[tuple[str, int, str, float | None]]:
        wanted, named = list(jobs_), None if keys is None else list(keys)

        def work(connection: sa.Connection) -> list[tuple[str, int, str, float | None]]:
            found: list[tuple[str, int, str, float | None]] = []
            for chunk in chunks(wanted):
                query = (
                    sa.select(points.c.attempt, points.c.job, points.c.step, points.c.key, points.c.value)
                    .where(points.c.job.in_(chunk))
                    .order_by(points.c.job, points.c.key, points.c.attempt.desc(), points.c.step)
                )
                if named is not None:
                    query = query.where(points.c.key.in_(named))
                if after is not None:
                    query = query.where(points.c.step > after)
                found += joined(tuple(row) for row in connection.execute(query))
            return found

        return self._read(work)

    def newest_points(self, jobs_: Iterable[str]) -> list[tuple[str, int, str, float | None]]:
        wanted = list(jobs_)

        def work(connection: sa.Connection) -> list[tuple[str, int, str, float | None]]:
            return [tuple(row) for chunk in chunks(wanted) for row in connection.execute(sql_rows.newest_points(chunk))]

        return self._read(work)

    def num_points(self, jobs_: Iterable[str]) -> dict[str, int]:
        wanted = list(jobs_)

        def work(connection: sa.Connection) -> dict[str, int]:
            found = Counter[str]()
            for chunk in chunks(wanted):
                query = sa.select(points.c.key, sa.func.count()).where(points.c.job.in_(chunk)).group_by(points.c.key)
                found.update({key: count for key, count in connection.execute(query)})
            return dict(found)

        return self._read(work)

    def events(self, study: str | None = None, *, after: int = 0, limit: int = 1000) -> list[EventRecord]:
        query = sa.select(events).where(events.c.seq > after).order_by(events.c.seq.desc()).limit(limit)
        if study is not None:
            query = query.where(events.c.study == study)
        return self._read(lambda connection: [EventRecord(**row) for row in connection.execute(query).mappings()][::-1])

    def rows(self, study: str) -> Iterator[Row]:
        with self._database.reading() as connection:
            yield from sql_whole.rows(connection, study, kinds=[kind for kind in KINDS.values() if kind.table in self._tables])

    def add_rows(self, rows: Callable[[], Iterable[Row]], *, study: str | None, jobs: Iterable[str]) -> None:
        replaced = sorted(jobs)

        def work(connection: sa.Connection) -> None:
            sql_whole.add_rows(connection, rows(), study=study, jobs=replaced)
            rows_added(connection, replaced, study=study)

        self._write(work)

    def claim(self, study: str, *, owner: str, ttl: float = LEASE_TTL, wait: float = 0.0) -> Lease:
        wanted = Lease(study=study, owner=storable(owner), host=socket.gethostname(), pid=os.getpid(), epoch=0)
        first: sql_leases.Sign | None = None
        sign: sql_leases.Sign | None = None
        since = began = time.monotonic()
        while True:
            dead = sign if sign is not None and time.monotonic() - since >= ttl else None

            def look(connection: sa.Connection, dead: sql_leases.Sign | None = dead) -> tuple[Lease | None, Holder | None, Any]:
                return sql_leases.take(connection, wanted, dead=dead), *sql_leases.holder(connection, study)

            taken, found, seen = self._database.write(look, after_outage=_nothing_told)
            if taken is not None:
                return taken
            if seen != sign:
                sign, since = seen, time.monotonic()
                first = first or seen
            if found is not None and seen != first and time.monotonic() - began >= wait:
                raise EnvironmentMissing(
                    f"another run works on '{study}': {found.lease.who}, for {found.held_seconds:.0f} s, last heard of "
                    f"{found.silent_seconds:.1f} s ago; wait for it, or `ablate stop {study}` first"
                )
            time.sleep(min(POLL_SECONDS, ttl / 20))

    def beat(self, lease: Lease) -> None:
        self._database.write(lambda connection: sql_leases.beat(connection, lease), after_outage=_nothing_told)

    def release(self, lease: Lease) -> None:
        self._database.write(lambda connection: sql_leases.release(connection, lease), after_outage=_nothing_told)

    def holder(self, study: str) -> Holder | None:
        return self._read(lambda connection: sql_leases.holder(connection, study)[0]) if self._has(leases) else None

    def fenced(self, lease: Lease) -> "SqlStore":
        fenced = copy.copy(self)
        fenced._lease = lease
        return fenced

    def close(self) -> None:
        self._database.close()

    def _open(self, *, write: bool) -> None:
        if write:
            if self._database.file:
                check_file(self._database.file, shown=self._database.shown)
            prepare(self._database)
            self._database.forget_writers()
        with self._database.reading() as connection:
            self._revision = int(check_revision(connection, shown=self._database.shown))
            self._tables = set(sa.inspect(connection).get_table_names())
        self._database.patience = PATIENCE_SECONDS if write else 0.0

    def _study_records(self, *which: sa.ColumnElement[bool]) -> list[StudyRecord]:
        leased = self._has(leases)

        def work(connection: sa.Connection) -> list[StudyRecord]:
            alive = sql_leases.alive(connection) if leased else sa.literal(False)
            tables = studies.outerjoin(leases, leases.c.study == studies.c.name) if leased else studies
            query = sa.select(studies, alive.label("active")).select_from(tables).where(*which).order_by(studies.c.created)
            return [StudyRecord(**row) for row in connection.execute(query).mappings()]

        return self._read(work)

    def _has(self, table: sa.Table) -> bool:
        """Whether the database has this table: one that was written before there was such a table is read all the same."""
        if table.name not in self._tables:
            self._tables |= set(self._read(lambda connection: sa.inspect(connection).get_table_names()))
        return table.name in self._tables

    def _rows_of(self, table: sa.Table, jobs_: Sequence[str], *, columns: Iterable[str] | None = None) -> list[sa.RowMapping]:
        """The rows of these jobs in a table with a `job` column."""
        wanted = table.columns if columns is None else [table.c[name] for name in columns]

        def work(connection: sa.Connection) -> list[sa.RowMapping]:
            queries = [sa.select(*wanted).where(table.c.job.in_(chunk)) for chunk in chunks(jobs_)]
            return [row for query in queries for row in connection.execute(query).mappings()]

        return self._read(work)

    def _read(self, work: Work[T]) -> T:
        return self._database.read(work)

    def _write(self, work: Work[T]) -> T:
        """One transaction; nothing of it happens where this store writes under a lease that is not held any more."""
        lease = self._lease

        def checked(connection: sa.Connection) -> T:
            if lease is not None:
                sql_leases.check(connection, lease)
            return work(connection)

        def tell(connection: sa.Connection, what: str) -> None:
            event(connection, lease.study if lease else "", "store back", "store", what)

        return self._database.write(checked, after_outage=tell)


def _trial_records(
    connection: sa.Connection, table: sa.Table, study: str, *, order: sa.ColumnElement[Any], ids: Sequence[str] | None = None
) -> list[tuple[TrialRecord, sa.RowMapping]]:
    which = [table.c.study == study] if ids is None else [table.c.study == study, table.c.id.in_(ids)]
    rows = connection.execute(sa.select(table).where(*which).order_by(order, table.c.place)).mappings().all()
    final = sa.select(table.c.final).where(*which)
    states = _states(connection, [row["chain"] for row in rows], jobs.c, final=final)
    last = sa.select(metrics.c.job, metrics.c.key, metrics.c.value).join(table, table.c.final == metrics.c.job).where(*which)
    values: dict[str, dict[str, float | None]] = {}
    for job, key, value in connection.execute(last).all():
        values.setdefault(job, {})[key] = value
    return [(trial_record(row, states, values.get(row["final"], {})), row) for row in rows]


def _states(
    connection: sa.Connection, chains: Iterable[Sequence[str]], columns: Iterable[sa.Column[Any]], *, final: sa.Select[tuple[str]]
) -> dict[str, Any]:
    """Job -> its row, for all jobs of the chains; `final` finds the last ones, which are most of them, in one statement."""
    columns = list(columns)
    states = {row.id: row for row in connection.execute(sa.select(*columns).where(jobs.c.id.in_(final))).all()}
    return states | {row.id: row for row in _jobs_of(connection, {job for chain in chains for job in chain} - states.keys(), columns)}


def _jobs_of(connection: sa.Connection, ids: Iterable[str], columns: Iterable[sa.Column[Any]]) -> Iterator[Any]:
    query = sa.select(*columns)
    for chunk in chunks(sorted(ids)):
        yield from connection.execute(query.where(jobs.c.id.in_(chunk))).all()


def _change(connection: sa.Connection, job: str, values: Mapping[str, Any]) -> bool:
    """A job that is done stays as it is; answers whether this one was not."""
    changed = connection.execute(jobs.update().where(jobs.c.id == job, jobs.c.state != "done").values(**values))
    return changed.rowcount > 0


def _nothing_told(_connection: sa.Connection, _what: str) -> None:
    """A lease is no study's history."""
