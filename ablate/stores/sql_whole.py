"""A whole study out of the tables and into them."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

import sqlalchemy as sa

from ablate.stores.rows import JobRow, Row, StudyRow
from ablate.stores.sql_insert import ARRAY_CHUNK, chunks, insert_new
from ablate.stores.tables import attempts, jobs, metadata, metrics, points, stale_trials, studies, trials

OF_A_JOB = (attempts, metrics, points)


def rows(connection: sa.Connection, study: str, *, kinds: Iterable[type[Row]]) -> Iterator[Row]:
    """Rows of these kinds; a store that was written before a table or a column had been thought of has none of it."""
    kinds = list(kinds)
    present = {name for name in (trials.name, stale_trials.name) if name in {kind.table for kind in kinds}}
    chains = [chain for name in sorted(present) for chain in _chains(connection, metadata.tables[name], study)]
    wanted = sorted({job for chain in chains for job in chain})
    for kind in kinds:
        table = metadata.tables[kind.table]
        existing = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        query = sa.select(*(column for column in table.columns if column.name in existing)).order_by(*table.primary_key.columns)
        for condition in _conditions(table, study, wanted):
            for row in connection.execution_options(yield_per=1000).execute(query.where(condition)).mappings():
                yield kind(**row)


def add_rows(connection: sa.Connection, rows: Iterable[Row], *, study: str | None, jobs: Sequence[str]) -> None:
    for table in OF_A_JOB:
        for chunk in chunks(jobs):
            connection.execute(table.delete().where(table.c.job.in_(chunk)))
    if study is not None:
        for table in (trials, stale_trials):
            connection.execute(table.delete().where(table.c.study == study))
    replaced = set(jobs)
    for name, of_kind in itertools.groupby(rows, key=attrgetter("table")):
        while batch := list(itertools.islice(of_kind, ARRAY_CHUNK)):
            for row in batch:
                if (isinstance(row, JobRow) and row.id in replaced) or (isinstance(row, StudyRow) and row.name == study):
                    _replace(connection, row)
            insert_new(connection, metadata.tables[name], [row.model_dump() for row in batch])


def _replace(connection: sa.Connection, row: JobRow | StudyRow) -> None:
    """Brings a row that others refer to up to date, where it is there."""
    key = jobs.c.id == row.id if isinstance(row, JobRow) else studies.c.name == row.name
    table = metadata.tables[row.table]
    connection.execute(table.update().where(key).values(**row.model_dump(exclude={"created"})))


def _chains(connection: sa.Connection, table: sa.Table, study: str) -> Sequence[list[str]]:
    return connection.scalars(sa.select(table.c.chain).where(table.c.study == study)).all()


def _conditions(table: sa.Table, study: str, wanted: Sequence[str]) -> Iterator[sa.ColumnElement[bool]]:
    """What picks a study's rows out of a table, in pieces that a database takes."""
    if table is studies:
        yield studies.c.name == study
    elif "study" in table.columns:
        yield table.c.study == study
    else:
        column = jobs.c.id if table is jobs else table.c.job
        yield from (column.in_(chunk) for chunk in chunks(wanted))
