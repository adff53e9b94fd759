"""A database becomes one with today's tables: made where there are none, upgraded where they are old, refused where they are newer.

Everything happens in one transaction that holds the database's own lock, so of several programs that start at once one does it, and
what is killed half-way did not happen. Alembic is imported only where something has to be upgraded.
"""

import logging
import os
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from ablate.errors import EnvironmentMissing
from ablate.stores.sql_engine import Database
from ablate.stores.tables import REVISION, meta, metadata

VERSION_TABLE = "ablate_revision"
"""Not Alembic's usual name: MLflow may keep its tables in the same database."""
BEFORE_MIGRATIONS = "0"
LOCK = 0x61626C61
"""PostgreSQL's advisory lock for whoever makes or changes tables; any number that nobody else uses."""

log = logging.getLogger(__name__)


def check_revision(connection: sa.Connection, *, shown: str) -> str:
    """The database's revision. Raises EnvironmentMissing where there are no tables, or newer ones than this program knows."""
    found = found_revision(connection)
    if found is None:
        raise EnvironmentMissing(f"there is no store in {shown} yet; `ablate run` makes one (or name another with --workspace or --store)")
    if not found.isdecimal() or int(found) > int(REVISION):
        raise EnvironmentMissing(
            f"the store {shown} has schema {found}, this program reads up to {REVISION}; use the program that wrote it, or a newer one"
        )
    return found


def found_revision(connection: sa.Connection) -> str | None:
    """The schema's number; None where there are no tables of a store."""
    inspector = sa.inspect(connection)
    if inspector.has_table(VERSION_TABLE):
        return connection.scalar(sa.select(_versions.c.version_num))
    if not inspector.has_table("meta"):
        return None
    schema = connection.scalar(sa.select(meta.c.value).where(meta.c.key == "schema"))
    return BEFORE_MIGRATIONS if schema == "1" else schema


def prepare(database: Database) -> tuple[str | None, str]:
    """Brings a database to today's tables where it is not there; answers the revision before and now."""
    with database.explained():
        with database.engine.connect() as connection:
            before = found_revision(connection)
        if before != REVISION:
            with database.engine.begin() as connection:
                before = _prepare(connection, database)
    return before, REVISION


def _prepare(connection: sa.Connection, database: Database) -> str | None:
    """The same under the lock, where another program may have been faster."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    before = found_revision(connection)
    if before is None:
        _create(connection, shown=database.shown)
    elif check_revision(connection, shown=database.shown) != REVISION:
        backup = _back_up(database.file, revision=before) if database.file else None
        _upgrade(connection)
        kept = f"; as it was: {backup}" if backup else ""
        log.warning("the store %s had schema %s and now has %s%s", database.shown, before, REVISION, kept)
    return before


def _create(connection: sa.Connection, *, shown: str) -> None:
    if taken := sorted(set(sa.inspect(connection).get_table_names()) & set(metadata.tables)):
        raise EnvironmentMissing(
            f"the database {shown} has tables of another program ({', '.join(taken)}); give ablate a database or a schema of its own"
        )
    metadata.create_all(connection)
    _versions.create(connection)
    connection.execute(_versions.insert().values(version_num=REVISION))
    connection.execute(meta.insert().values(key="schema", value=REVISION))


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _back_up(file: Path, *, revision: str) -> Path:
    """A copy beside a SQLite file, whole or not there; readers may go on meanwhile, and the caller holds the lock of writers."""
    target = file.with_name(f"{file.name}.schema-{revision}")
    partial = target.with_name(f"{target.name}.tmp-{os.getpid()}")
    source, copy = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0), sqlite3.connect(partial)
    try:
        source.backup(copy)
    finally:
        copy.close()
        source.close()
    partial.chmod(0o600)
    with open(partial, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(partial, target)
    return target


_versions = sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
