"""A database URL becomes transactions: whole, tried again when the database went away meanwhile, and explained when they cannot be.

SQLite runs in WAL mode and every writing transaction starts with BEGIN IMMEDIATE, so a reader never blocks the writer and a writer
never fails half-way with BUSY. On PostgreSQL each writing transaction leaves its number in a row of its writer, which tells, after a
connection was lost while it committed, whether it did: a transaction whose answer never came is neither lost nor repeated.
"""

import contextlib
import itertools
import json
import logging
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from ablate.errors import EnvironmentMissing, InputError
from ablate.stores.tables import meta

PATIENCE_SECONDS = 600.0
"""How long a writer waits for a database that was there and went away."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
PASSING_STATES = ("08", "53", "57P", "40001", "40P01")
"""Beginnings of the SQL states that pass: no connection, no room, shutting down or starting up, a conflict."""
PASSING_SQLITE = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_IOERR")
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")

WRITER = "writer"
"""Beginning of the key of a writer's row; after it the day, and the writer's own name."""
REMEMBERED = timedelta(days=365)
"""Rows of writers that were killed are cleared away after so long; no run lives longer."""
POOL_NAME = "ablate"

T = TypeVar("T")
Work = Callable[[sa.Connection], T]
log = logging.getLogger(__name__)


class Database:
    """One database, for reading or for writing too. `patience` is 0 until somebody who can wait sets it."""

    def __init__(self, url: str, *, write: bool) -> None:
        self.engine = _engine(url, write=write)
        self.shown = self.engine.url.render_as_string(hide_password=True)
        self.file = sqlite_file(url)
        self.patience = 0.0
        self._writer = f"{WRITER} {date.today().isoformat()} {uuid.uuid4().hex}"
        self._transactions = itertools.count(1)
        self._signs = False
        """Whether it has left a row."""

    def read(self, work: Work[T]) -> T:
        """What `work` answers, from one snapshot."""
        outage: _Outage | None = None
        while True:
            try:
                with self.engine.connect() as connection:
                    return work(connection)
            except (DBAPIError, ConnectionError) as error:  # the driver lets a reset connection through as it is
                outage = self._wait(error, outage)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A snapshot for whoever takes rows one by one; it is not tried again."""
        with self.explained(), self.engine.connect() as connection:
            yield connection

    def write(self, work: Work[T], *, after_outage: Callable[[sa.Connection, str], None]) -> T:
        """Runs `work` in one transaction, exactly once. The transaction that ends an outage says so through `after_outage`."""
        outage: _Outage | None = None
        unanswered: _Unanswered[T] | None = None
        while True:
            try:
                if unanswered is not None and self._committed(unanswered.number):
                    if outage is not None:
                        with self.engine.begin() as connection:
                            after_outage(connection, f"could not be used for {outage.seconds:.0f} s: {outage.cause}")
                    return unanswered.result
                unanswered = None
                with self.engine.begin() as connection:
                    number = self._sign(connection)
                    result = work(connection)
                    if outage is not None:
                        after_outage(connection, f"could not be used for {outage.seconds:.0f} s: {outage.cause}")
                    unanswered = _Unanswered(number, result)
                return result
            except (DBAPIError, ConnectionError) as error:
                outage = self._wait(error, outage)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """What the driver raises, in words for people."""
        try:
            yield
        except (DBAPIError, ConnectionError) as error:
            raise self._explanation(error) from error

    def forget_writers(self) -> None:
        """Clears away what killed writers left long ago."""
        if self.engine.dialect.name == "postgresql":
            last = f"{WRITER} {(date.today() - REMEMBERED).isoformat()}"
            with self.engine.begin() as connection:
                connection.execute(meta.delete().where(meta.c.key.startswith(f"{WRITER} "), meta.c.key < last))

    def close(self) -> None:
        if self._signs:
            with contextlib.suppress(DBAPIError, ConnectionError), self.engine.begin() as connection:
                connection.execute(meta.delete().where(meta.c.key.startswith(self._writer)))
            self._signs = False
        self.engine.dispose()

    def _wait(self, error: DBAPIError | ConnectionError, outage: "_Outage | None") -> "_Outage":
        """Waits before the next try, or raises: the error will not pass, or did not for too long."""
        if not _passes(error) or self.patience == 0.0 or (outage is not None and outage.seconds > self.patience):
            raise self._explanation(error) from error
        if outage is None:
            outage = _Outage(cause=_cause(error), began=time.monotonic())
            log.warning("the store %s cannot be used now: %s; waiting for it, nothing is lost", self.shown, outage.cause)
        else:
            outage.pause = min(2 * outage.pause, LONGEST_PAUSE)
        time.sleep(outage.pause)
        return outage

    def _explanation(self, error: DBAPIError | ConnectionError) -> EnvironmentMissing:
        if getattr(getattr(error, "orig", None), "sqlite_errorname", "").startswith(DAMAGED):
            return damaged(self.shown, _cause(error))
        return EnvironmentMissing(f"the store {self.shown} cannot be used: {_cause(error)}; check the path, the disk and the server")

    def _sign(self, connection: sa.Connection) -> int:
        """Numbers the transaction, and leaves the number where a server keeps it if it commits."""
        number = next(self._transactions)
        if connection.dialect.name == "postgresql":
            self._signs = True
            row = postgresql.insert(meta).values(key=self._row(), value=str(number))
            connection.execute(row.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": row.excluded.value}))
        return number

    def _row(self) -> str:
        """One a thread: of two that write at once, none covers the other's number."""
        return f"{self._writer} {threading.get_ident()}"

    def _committed(self, number: int) -> bool:
        """Whether a transaction whose commit was never answered took place; SQLite has no answer to lose: what failed was rolled back.

        A transaction's own number would not do: a crashed server may give it to another one.
        """
        if not self._signs:
            return False
        row = postgresql.insert(meta).values(key=self._row(), value="0")
        # a change of the row, not a look at it: it waits for a server process that has not noticed yet that we are gone
        same = row.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": meta.c.value}).returning(meta.c.value)
        with self.engine.begin() as connection:
            return bool(connection.scalar(same) == str(number))


@dataclass
class _Outage:
    cause: str
    began: float
    pause: float = FIRST_PAUSE

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


@dataclass(frozen=True)
class _Unanswered(Generic[T]):
    """A transaction that was asked to commit."""

    number: int
    result: T


class StoreDamaged(EnvironmentMissing):
    """A SQLite file that cannot be trusted."""


def damaged(shown: str, finding: str) -> StoreDamaged:
    return StoreDamaged(
        f"the store {shown} is damaged: {finding}; nothing was changed in it. `ablate store rebuild` puts it aside and restores every "
        "finished job from the attempts' folders"
    )


def sqlite_file(url: str) -> Path | None:
    """Where the database of a SQLite URL lies; None for a server's."""
    parsed = _parsed(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except ArgumentError as error:
        raise InputError(f"'{url}' is no database URL; write sqlite:////path/to/ablate.db or postgresql://user@host/name") from error


def _engine(url: str, *, write: bool) -> sa.Engine:
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, write=write)
    return _server_engine(parsed, write=write)


def _server_engine(url: sa.URL, *, write: bool) -> sa.Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+pg8000")
    try:
        engine = sa.create_engine(
            url,
            pool_pre_ping=True,
            pool_size=2,
            max_overflow=2,
            pool_logging_name=POOL_NAME,
            json_serializer=_to_json,
            json_deserializer=orjson.loads,
        )
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise EnvironmentMissing(
            f"no driver for '{url.drivername}': {error}; pip install 'ablate[postgresql]' for postgresql://, or use sqlite"
        ) from error
    if engine.dialect.name != "postgresql":
        raise EnvironmentMissing(f"no support for '{url.drivername}'; use sqlite:////path/to/ablate.db or postgresql://user@host/name")
    # a connection that broke cannot be closed in order either: no traceback for that, the outage is told in one line
    logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{POOL_NAME}").setLevel(logging.CRITICAL)
    engine.dialect.use_insertmanyvalues_wo_returning = True  # this driver sends one statement a row otherwise
    if url.host:
        sa.event.listen(engine, "do_connect", _connect_or_close)
    if not write:

        @sa.event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.close()
            connection.commit()

    return engine


def _sqlite_engine(url: sa.URL, *, write: bool) -> sa.Engine:
    path = Path(url.database or "")
    if not write and not path.is_file():
        raise EnvironmentMissing(f"there is no store at {path} yet; `ablate run` makes one (or name another with --workspace or --store)")
    if not write and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        # nobody can write here, so SQLite needs none of the files that it keeps beside a database in use
        url = url.set(database=f"{path.resolve().as_uri()}?immutable=1", query={"uri": "true"})
    engine = sa.create_engine(url, json_serializer=_to_json, json_deserializer=orjson.loads)

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


def _connect_or_close(dialect: Any, _record: Any, arguments: list[Any], settings: dict[str, Any]) -> Any:
    """A connection over a socket of ours: of a connection that fails at its start the driver leaves the socket open until it is collected,
    and tells of a reset as no error of a database."""
    host, port = settings["host"], settings.get("port", 5432)
    opened = None
    try:
        opened = socket.create_connection((host, port), settings.get("timeout"))
        return dialect.dbapi.Connection(*arguments, **settings, sock=opened)
    except BaseException as error:
        if opened is not None:
            opened.close()
        if isinstance(error, OSError):
            raise dialect.dbapi.InterfaceError(f"no connection to {host}, port {port}: {error}") from error
        raise


def check_file(path: Path, *, shown: str) -> None:
    """Raises EnvironmentMissing where a SQLite file is damaged, and changes nothing in it or beside it."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    # read-only: the last writable connection to close would carry a write-ahead log over into the damaged file
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0)
    try:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if not error.sqlite_errorname.startswith(DAMAGED):
            raise EnvironmentMissing(f"the store {shown} cannot be used: {error}; check the path and its rights") from error
        finding = str(error)
    finally:
        connection.close()
    if finding != "ok" or (finding := _cut_off(path)):
        raise damaged(shown, " ".join(str(finding).split()))


def _cut_off(path: Path) -> str:
    """How much of the file is missing at its end, where a check of its pages does not see that; empty for a whole one.

    The header counts the pages (https://www.sqlite.org/fileformat.html, section 1.3), and the file has them all unless some are still in
    the write-ahead log.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return ""
    with open(path, "rb") as file:
        header = file.read(100)
    if header[24:28] != header[92:96]:
        return ""  # written by something that does not count
    written, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    size, expected = path.stat().st_size, pages * (65536 if written == 1 else written)
    return f"the file ends after {size:,} of {expected:,} bytes" if size < expected else ""


def _passes(error: DBAPIError | ConnectionError) -> bool:
    """Whether the same transaction may succeed later without anybody changing it."""
    if isinstance(error, ConnectionError):
        return True
    if error.connection_invalidated or type(error.orig).__name__ == "InterfaceError":
        return True
    if name := getattr(error.orig, "sqlite_errorname", ""):
        return bool(name.startswith(PASSING_SQLITE))
    return str(_fields(error).get("C", "")).startswith(PASSING_STATES)


def _cause(error: DBAPIError | ConnectionError) -> str:
    if isinstance(error, ConnectionError):
        return str(error)
    text = _fields(error).get("M") or str(error.orig)
    return str(text).partition("\n")[0]


def _fields(error: DBAPIError) -> dict[str, Any]:
    """What PostgreSQL says of an error, by the letters of its protocol."""
    first = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return first if isinstance(first, dict) else {}


def _to_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)
