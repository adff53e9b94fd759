"""Many rows into a table in few statements; those whose key is there already are left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

CHUNK = 500
ARRAY_CHUNK = 5_000


def insert_new(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts the rows whose key is not there yet."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
    elif any(isinstance(column.type, sa.JSON) for column in table.columns):
        for chunk in chunks(rows):
            connection.execute(postgresql.insert(table).on_conflict_do_nothing(), chunk)
    else:
        statement = _insert_arrays(table)
        for start in range(0, len(rows), ARRAY_CHUNK):
            part = rows[start : start + ARRAY_CHUNK]
            connection.execute(statement, {name: [row.get(name) for row in part] for name in table.columns.keys()})


def chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def _insert_arrays(table: sa.Table) -> sa.Insert:
    """A column an array: the driver sends six parameters where it would send six a row, which is ten times faster."""
    names = list(table.columns.keys())
    types = {column.name: postgresql.ARRAY(column.type) for column in table.columns}
    arrays = [sa.cast(sa.bindparam(name, type_=types[name]), types[name]) for name in names]
    rows = sa.func.unnest(*arrays).table_valued(*names).render_derived()
    return postgresql.insert(table).from_select(names, sa.select(rows)).on_conflict_do_nothing()
