"""What happened, as rows; and whom it concerns: a job may be part of several studies."""

import time
from collections.abc import Sequence

import sqlalchemy as sa

from ablate.stores import ROWS_ADDED
from ablate.stores.sql_insert import chunks
from ablate.stores.tables import events, studies, trials


def event(connection: sa.Connection, study: str, kind: str, subject: str, message: str) -> None:
    """Touches the study, and others of which the subject is a trial's last job."""
    row = {"time": time.time(), "study": study, "kind": kind, "subject": subject, "message": message}
    connection.execute(events.insert().values(**row))
    concerned = (studies.c.name == study) | studies.c.name.in_(sa.select(trials.c.study).where(trials.c.final == subject))
    connection.execute(studies.update().where(concerned).values(updated=row["time"]))


def rows_added(connection: sa.Connection, jobs: Sequence[str], *, study: str | None) -> None:
    """Tells this study, and those of which any of the jobs is a trial's last, that what they show may be another."""
    concerned = {study} if study is not None else set()
    for chunk in chunks(jobs):
        concerned |= set(connection.scalars(sa.select(trials.c.study).where(trials.c.final.in_(chunk)).distinct()))
    for name in sorted(concerned):
        event(connection, name, ROWS_ADDED, name, "")
