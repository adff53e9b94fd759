"""The store in SQL, through SQLAlchemy Core: SQLite by default, PostgreSQL by URL.

SQLite runs in WAL mode and every writing transaction starts with BEGIN IMMEDIATE, so a reader never blocks the writer and a writer
never fails half-way with BUSY. A value that is not finite is NULL with its `kind` beside it, so that no database sees a NaN.
"""

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

from ablate.attempt import Outcome, Point
from ablate.errors import EnvironmentMissing, InputError
from ablate.planner import Job, Plan
from ablate.stores import Declaration, EventRecord, JobRecord, StaleTrial, StudyRecord, TrialRecord
from ablate.stores.sql_rows import identity_of, job_row, joined, trial_record, trial_row
from ablate.stores.tables import (
    SCHEMA_VERSION,
    attempts,
    declarations,
    events,
    identities,
    jobs,
    meta,
    metadata,
    metrics,
    points,
    stale_trials,
    studies,
    trials,
)

CHUNK = 500
ENDED = ("done", "failed", "pruned")
"""States of a last job whose trial is worth keeping when the plan leaves it out."""
KEY = ("place", "id", "arm", "final")
"""What two recordings of a trial under one declaration have in common."""


class SqlStore:
    """See `ablate.stores.Store`."""

    def __init__(self, url: str, *, write: bool) -> None:
        self._engine = _engine(url, write=write)
        self._shown = self._engine.url.render_as_string(hide_password=True)
        self._seen: set[str] = set()
        with _explained(self._shown):
            if write:
                self._create()
            self._check_schema()

    def record_plan(self, plan: Plan, *, axes: Mapping[str, Sequence[Any]], simulated: bool) -> None:
        name, now = plan.study.name, time.time()
        rows = [trial_row(name, trial, place=place) for place, trial in enumerate(plan.trials)]
        spec: dict[str, Any] = {
            "spec": plan.study.model_dump(mode="json", by_alias=True),
            "axes": {axis: list(levels) for axis, levels in axes.items()},
            "simulated": simulated,
        }
        with self._writing() as connection:
            self._add_jobs(connection, plan.jobs)
            before = connection.execute(sa.select(studies).where(studies.c.name == name)).mappings().first()
            stored = self._stored_trials(connection, name)
            kept = [tuple(row[key] for key in KEY) for row in rows]
            same = before is not None and all(before[key] == value for key, value in spec.items())
            if same and stored == kept:
                return
            if before is None:
                connection.execute(studies.insert().values(name=name, **spec, active=False, created=now, updated=now))
            else:
                connection.execute(studies.update().where(studies.c.name == name).values(**spec, updated=now))
            if before is None or before["spec"] != spec["spec"]:
                self._declare(connection, name, spec["spec"], now=now)
            if same and stored == kept[: len(stored)]:  # a search goes on
                new = rows[len(stored) :]
            else:
                self._set_aside(connection, name, rows, now=now)
                connection.execute(trials.delete().where(trials.c.study == name))
                new = rows
            known = {stored_id for _, stored_id, _, _ in stored}
            self._take_back(connection, name, [row["id"] for row in new if row["id"] not in known])
            for chunk in _chunks(new):
                connection.execute(trials.insert(), chunk)

    def set_active(self, study: str, active: bool) -> None:
        with self._writing() as connection:
            connection.execute(studies.update().where(studies.c.name == study).values(active=active, updated=time.time()))
            self._event(connection, study, "run started" if active else "run ended", study, "")

    def start(self, study: str, job: str, *, attempt: int) -> None:
        with self._writing() as connection:
            values = {"state": "running", "cause": None, "reason": "", "started": time.time(), "attempts": attempt}
            connection.execute(jobs.update().where(jobs.c.id == job, jobs.c.state != "done").values(**values))
            self._event(connection, study, "started", job, f"attempt {attempt}")

    def finish(self, study: str, outcome: Outcome, *, final: bool = True) -> None:
        ended = {"cause": outcome.cause, "reason": outcome.reason, "seconds": outcome.seconds}
        values = ended | {"state": outcome.state if final else "queued", "attempts": outcome.attempt}
        if outcome.started:
            values["started"] = outcome.started
        attempt = {"job": outcome.job, "number": outcome.attempt, "host": outcome.host, "pid": outcome.pid}
        attempt |= ended | {"state": outcome.state, "started": outcome.started}
        with self._writing() as connection:
            connection.execute(jobs.update().where(jobs.c.id == outcome.job, jobs.c.state != "done").values(**values))
            self._insert_new(connection, attempts, [attempt])
            if final:
                connection.execute(metrics.delete().where(metrics.c.job == outcome.job))
                rows = [{"job": outcome.job, "key": p.key, "step": p.step, "value": p.value, "kind": p.kind} for p in outcome.metrics]
                self._insert_new(connection, metrics, rows)
            self._event(connection, study, outcome.state, outcome.job, outcome.reason)

    def skip(self, study: str, job: str, *, because: str) -> None:
        reason = f"not run: {because}, which it needs, failed"
        with self._writing() as connection:
            values = {"state": "failed", "cause": "upstream", "reason": reason}
            connection.execute(jobs.update().where(jobs.c.id == job, jobs.c.state != "done").values(**values))
            self._event(connection, study, "failed", job, reason)

    def requeue(self, study: str, jobs_: Iterable[str], *, why: str) -> None:
        with self._writing() as connection:
            for job in jobs_:
                values = {"state": "queued", "cause": None, "reason": ""}
                connection.execute(jobs.update().where(jobs.c.id == job, jobs.c.state != "done").values(**values))
                self._event(connection, study, "queued", job, why)

    def add_points(self, points_: Mapping[tuple[str, int], Sequence[Point]]) -> None:
        rows = [
            {
                "job": job,
                "attempt": attempt,
                "key": point.key,
                "step": point.step,
                "value": point.value,
                "kind": point.kind,
            }
            for (job, attempt), series in points_.items()
            for point in series
        ]
        if rows:
            with self._writing() as connection:
                self._insert_new(connection, points, rows)

    def studies(self) -> list[StudyRecord]:
        with self._reading() as connection:
            return [StudyRecord(**row) for row in connection.execute(sa.select(studies).order_by(studies.c.created)).mappings()]

    def study(self, name: str) -> StudyRecord | None:
        with self._reading() as connection:
            row = connection.execute(sa.select(studies).where(studies.c.name == name)).mappings().first()
            return StudyRecord(**row) if row else None

    def trials(self, study: str) -> list[TrialRecord]:
        with self._reading() as connection:
            return [record for record, _ in self._trial_records(connection, trials, study, order=trials.c.place)]

    def stale_trials(self, study: str) -> list[StaleTrial]:
        with self._reading() as connection:
            if not self._has(connection, stale_trials):
                return []
            found = self._trial_records(connection, stale_trials, study, order=stale_trials.c.since.desc())
            return [StaleTrial(record, since=row["since"]) for record, row in found]

    def declarations(self, study: str) -> list[Declaration]:
        query = sa.select(declarations.c.time, declarations.c.spec).where(declarations.c.study == study).order_by(declarations.c.seq)
        with self._reading() as connection:
            if not self._has(connection, declarations):
                return []
            return [Declaration(**row) for row in connection.execute(query).mappings()]

    def identities(self, jobs_: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        with self._reading() as connection:
            if self._has(connection, identities):
                for chunk in _chunks(sorted(set(jobs_))):
                    rows = connection.execute(sa.select(identities).where(identities.c.job.in_(chunk)))
                    found |= {row.job: row.identity for row in rows}
        return found

    def jobs(self, study: str) -> list[JobRecord]:
        with self._reading() as connection:
            chains = connection.scalars(sa.select(trials.c.chain).where(trials.c.study == study).order_by(trials.c.place)).all()
            rows = {row["id"]: row for row in self._jobs_of(connection, {job for chain in chains for job in chain})}
        ordered = dict.fromkeys(job for chain in chains for job in chain)
        return [
            JobRecord(
                id=job,
                stage=rows[job]["stage"],
                state=rows[job]["state"],
                seconds=rows[job]["seconds"],
                train_flops=rows[job]["train_flops"],
                attempts=rows[job]["attempts"],
                reason=rows[job]["reason"],
            )
            for job in ordered
        ]

    def job_states(self, jobs_: Iterable[str]) -> dict[str, tuple[str, int]]:
        with self._reading() as connection:
            return {row["id"]: (row["state"], row["attempts"]) for row in self._jobs_of(connection, set(jobs_))}

    def recorded_attempts(self, jobs_: Iterable[str]) -> set[tuple[str, int]]:
        found: set[tuple[str, int]] = set()
        with self._reading() as connection:
            for chunk in _chunks(list(jobs_)):
                rows = connection.execute(sa.select(attempts.c.job, attempts.c.number).where(attempts.c.job.in_(chunk)))
                found |= {(row.job, row.number) for row in rows}
        return found

    def curve(self, jobs_: Iterable[str], *, keys: Iterable[str] | None = None) -> list[tuple[str, int, str, float | None]]:
        wanted = None if keys is None else list(keys)
        found: list[tuple[str, int, str, float | None]] = []
        with self._reading() as connection:
            for chunk in _chunks(list(jobs_)):
                query = (
                    sa.select(points.c.job, points.c.attempt, points.c.step, points.c.key, points.c.value)
                    .where(points.c.job.in_(chunk))
                    .order_by(points.c.job, points.c.key, points.c.attempt.desc(), points.c.step)
                )
                if wanted is not None:
                    query = query.where(points.c.key.in_(wanted))
                for (job, key), rows in itertools.groupby(connection.execute(query), key=lambda row: (row.job, row.key)):
                    found += [(job, step, key, value) for step, value in joined(rows)]
        return found

    def events(self, study: str | None = None, *, after: int = 0, limit: int = 1000) -> list[EventRecord]:
        query = sa.select(events).where(events.c.seq > after).order_by(events.c.seq.desc()).limit(limit)
        if study is not None:
            query = query.where(events.c.study == study)
        with self._reading() as connection:
            return [EventRecord(**row) for row in connection.execute(query).mappings()][::-1]

    def close(self) -> None:
        self._engine.dispose()

    def _create(self) -> None:
        with self._writing() as connection:
            metadata.create_all(connection)
            self._insert_new(connection, meta, [{"key": "schema", "value": str(SCHEMA_VERSION)}])
            # a study from before declarations were kept: what it said last is the first that is known for sure
            undeclared = sa.select(studies.c.name, sa.literal(1), studies.c.updated, studies.c.spec).where(
                studies.c.name.not_in(sa.select(declarations.c.study))
            )
            connection.execute(declarations.insert().from_select(["study", "seq", "time", "spec"], undeclared))

    def _check_schema(self) -> None:
        with self._engine.connect() as connection:
            found = connection.scalar(sa.select(meta.c.value).where(meta.c.key == "schema"))
        if found != str(SCHEMA_VERSION):
            raise EnvironmentMissing(
                f"the store {self._shown} has schema {found}, this program reads {SCHEMA_VERSION}; use the program that wrote it"
            )

    def _add_jobs(self, connection: sa.Connection, planned: Mapping[str, Job]) -> None:
        known: set[str] = set()
        for chunk in _chunks(list(planned)):
            known |= set(connection.scalars(sa.select(identities.c.job).where(identities.c.job.in_(chunk))))
        new = [job for job in planned.values() if job.id not in known]
        # a store from before identities were kept has the job already
        self._insert_new(connection, jobs, [job_row(job) for job in new])
        self._insert_new(connection, identities, [{"job": job.id, "identity": identity_of(job)} for job in new])

    @staticmethod
    def _stored_trials(connection: sa.Connection, study: str) -> list[tuple[Any, ...]]:
        """The study's trials by `KEY`, in order."""
        query = sa.select(*(trials.c[key] for key in KEY)).where(trials.c.study == study).order_by(trials.c.place)
        return [tuple(row) for row in connection.execute(query)]

    @staticmethod
    def _declare(connection: sa.Connection, study: str, spec: Mapping[str, Any], *, now: float) -> None:
        last = connection.scalar(sa.select(sa.func.max(declarations.c.seq)).where(declarations.c.study == study))
        connection.execute(declarations.insert().values(study=study, seq=(last or 0) + 1, time=now, spec=spec))

    @staticmethod
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
        for chunk in _chunks(gone):
            copied = sa.select(*(trials.c[name] for name in columns), sa.literal(now, sa.Float)).where(
                trials.c.study == study, trials.c.id.in_(chunk)
            )
            connection.execute(stale_trials.delete().where(stale_trials.c.study == study, stale_trials.c.id.in_(chunk)))
            connection.execute(stale_trials.insert().from_select([*columns, "since"], copied))

    @staticmethod
    def _take_back(connection: sa.Connection, study: str, ids: list[str]) -> None:
        """These trials are in the plan, so they are not stale."""
        for chunk in _chunks(ids):
            connection.execute(stale_trials.delete().where(stale_trials.c.study == study, stale_trials.c.id.in_(chunk)))

    def _trial_records(
        self, connection: sa.Connection, table: sa.Table, study: str, *, order: sa.ColumnElement[Any]
    ) -> list[tuple[TrialRecord, sa.RowMapping]]:
        rows = connection.execute(sa.select(table).where(table.c.study == study).order_by(order, table.c.place)).mappings().all()
        states = {row["id"]: row for row in self._jobs_of(connection, {up for row in rows for up in row["chain"]})}
        finals = sa.select(table.c.final).where(table.c.study == study)
        values: dict[str, dict[str, float | None]] = {}
        for metric in connection.execute(sa.select(metrics).where(metrics.c.job.in_(finals))).mappings():
            values.setdefault(metric["job"], {})[metric["key"]] = metric["value"]
        return [(trial_record(row, states, values.get(row["final"], {})), row) for row in rows]

    def _has(self, connection: sa.Connection, table: sa.Table) -> bool:
        """Whether the database has this table: one that was written before there was such a table is read all the same."""
        if table.name not in self._seen and sa.inspect(connection).has_table(table.name):
            self._seen.add(table.name)
        return table.name in self._seen

    def _insert_new(self, connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(table).on_conflict_do_nothing()
        for chunk in _chunks(rows):
            connection.execute(statement, chunk)

    @staticmethod
    def _jobs_of(connection: sa.Connection, ids: set[str]) -> Iterator[sa.RowMapping]:
        for chunk in _chunks(sorted(ids)):
            yield from connection.execute(sa.select(jobs).where(jobs.c.id.in_(chunk))).mappings()

    @staticmethod
    def _event(connection: sa.Connection, study: str, kind: str, subject: str, message: str) -> None:
        row = {"time": time.time(), "study": study, "kind": kind, "subject": subject, "message": message}
        connection.execute(events.insert().values(**row))
        connection.execute(studies.update().where(studies.c.name == study).values(updated=row["time"]))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with _explained(self._shown), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with _explained(self._shown), self._engine.connect() as connection:
            yield connection


def _engine(url: str, *, write: bool) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except ArgumentError as error:
        raise InputError(
            f"'{url}' is no database URL; write sqlite:////path/to/ablate.db or postgresql+psycopg://user@host/name"
        ) from error
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, write=write)
    try:
        return sa.create_engine(parsed, pool_pre_ping=True, json_serializer=_to_json)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise EnvironmentMissing(f"no driver for '{parsed.drivername}': {error}; install it, or use sqlite") from error


def _sqlite_engine(url: sa.URL, *, write: bool) -> sa.Engine:
    path = Path(url.database or "")
    if not write and not path.is_file():
        raise EnvironmentMissing(f"there is no store at {path} yet; `ablate run` makes one (or name another with --workspace or --store)")
    engine = sa.create_engine(url, json_serializer=_to_json)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's `begin` event below says BEGIN, not the driver
        connection.execute("PRAGMA busy_timeout = 30000")
        if write:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        else:
            connection.execute("PRAGMA query_only = ON")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


@contextmanager
def _explained(shown: str) -> Iterator[None]:
    try:
        yield
    except (OperationalError, DatabaseError) as error:
        cause = str(error.orig).partition("\n")[0]
        raise EnvironmentMissing(f"the store {shown} cannot be used: {cause}; check the path, the disk and the server") from error


def _to_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _chunks(rows: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
