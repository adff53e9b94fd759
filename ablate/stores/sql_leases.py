"""Leases in SQL: one row a study, changed only where its epoch is still the one that was read.

Times are the database's and serve people alone. What decides is the beat counter, watched by the challenger's own monotonic clock, so no
wall clock that jumps can end a lease or keep one alive. A holder whose process can be seen to be gone is not waited for.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ablate.living import is_gone, sign_of_life
from ablate.stores import LEASE_TTL, Holder, Lease, LeaseLost
from ablate.stores.tables import leases

_SECONDS = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)",
}
"""Unix time by the database's clock; SQLite's `unixepoch('subsec')` is NULL before 3.42."""

Sign = tuple[int, int]
"""Epoch and beats: changes when the lease changes hands or its holder lives."""


def holder(connection: sa.Connection, study: str) -> tuple[Holder | None, Sign | None]:
    """Who holds the study's lease, if anybody does, and the sign of life to compare with the next one."""
    columns = [column for column in leases.c if column is not leases.c.process]  # which a store of an older schema has not
    row = connection.execute(sa.select(*columns, _now(connection).label("now")).where(leases.c.study == study)).mappings().first()
    if row is None or row["owner"] is None:
        return None, None if row is None else (row["epoch"], row["beats"])
    lease = Lease(study=study, owner=row["owner"], host=row["host"], pid=row["pid"], epoch=row["epoch"])
    held, silent = (max(0.0, row["now"] - row[since]) for since in ("taken", "beaten"))
    return Holder(lease, held_seconds=held, silent_seconds=silent), (row["epoch"], row["beats"])


def alive(connection: sa.Connection) -> sa.ColumnElement[bool]:
    """Whether somebody holds a lease and gave a sign lately, for people to see; a clock that jumped says so for no longer than a beat."""
    return sa.and_(leases.c.owner.is_not(None), sa.func.abs(_now(connection) - leases.c.beaten) <= LEASE_TTL)


def take(connection: sa.Connection, wanted: Lease, *, dead: Sign | None) -> Lease | None:
    """The lease, where nobody holds it, its holder gave no sign but `dead`, or its process is gone; None where somebody was faster."""
    found, sign = holder(connection, wanted.study)
    if found is not None and sign != dead and not _is_gone(connection, found.lease):
        return None
    now, epoch = _now(connection), 1 if sign is None else sign[0] + 1
    holding = {"owner": wanted.owner, "host": wanted.host, "pid": wanted.pid, "process": sign_of_life()}
    values: dict[str, Any] = {"epoch": epoch, "beats": 0, **holding}
    if sign is None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(leases).values(study=wanted.study, taken=now, beaten=now, **values).on_conflict_do_nothing()
        changed = connection.execute(insert).rowcount
    else:
        same = (leases.c.study == wanted.study, leases.c.epoch == sign[0], leases.c.beats == sign[1])
        changed = connection.execute(leases.update().where(*same).values(taken=now, beaten=now, **values)).rowcount
    return Lease(study=wanted.study, owner=wanted.owner, host=wanted.host, pid=wanted.pid, epoch=epoch) if changed == 1 else None


def beat(connection: sa.Connection, lease: Lease) -> None:
    values = {"beats": leases.c.beats + 1, "beaten": _now(connection)}
    if connection.execute(leases.update().where(*_held(lease)).values(**values)).rowcount != 1:
        raise lease_lost(connection, lease)


def release(connection: sa.Connection, lease: Lease) -> None:
    """Gives it back; one that was lost is somebody else's and stays."""
    connection.execute(leases.update().where(*_held(lease)).values(owner=None, process=None))


def check(connection: sa.Connection, lease: Lease) -> None:
    """Raises LeaseLost unless the lease is held, and keeps it from changing hands until this transaction ends."""
    # FOR SHARE: PostgreSQL lets a challenger wait for the end of this transaction; SQLite has one writer anyway and ignores it
    if connection.execute(sa.select(leases.c.epoch).where(*_held(lease)).with_for_update(read=True)).first() is None:
        raise lease_lost(connection, lease)


def lease_lost(connection: sa.Connection, lease: Lease) -> LeaseLost:
    found, _ = holder(connection, lease.study)
    to = f"to {found.lease.who}" if found else "and nobody holds it now"
    return LeaseLost(f"lost the lease on '{lease.study}' {to}; this run writes nothing more. `ablate run` goes on where the other one ends")


def _is_gone(connection: sa.Connection, lease: Lease) -> bool:
    return is_gone(lease.pid, connection.scalar(sa.select(leases.c.process).where(*_held(lease))))


def _held(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    return leases.c.study == lease.study, leases.c.epoch == lease.epoch, leases.c.owner.is_not(None)


def _now(connection: sa.Connection) -> sa.ColumnElement[float]:
    return sa.literal_column(_SECONDS[connection.dialect.name], sa.Float(53))
