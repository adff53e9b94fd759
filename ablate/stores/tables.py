"""The store's tables as they are now. A change of them is a new `REVISION` and a file in `migrations/versions/` that leads to it.

A job is known by its identity, whatever studies it serves; a trial names the jobs of its chain. `points` holds every attempt's curves,
`metrics` the last values of the attempt that ended a job, `events` what happened in order. `declarations` only grows: what a study said
at its first run and at each run that found it changed. `stale_trials` are those that ended and are in their study's plan no more.
`leases` says who may write for a study: a row stays when its lease is given back, so that epochs only grow.
"""

from typing import Any

import sqlalchemy as sa

REVISION = "4"

metadata = sa.MetaData()
meta = sa.Table("meta", metadata, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.String, nullable=False))
"""What programs from before migrations look at: any `schema` but 1 makes them refuse."""
studies = sa.Table(
    "studies",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("axes", sa.JSON, nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
)


def _trial_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("study", sa.String, sa.ForeignKey("studies.name"), primary_key=True),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("arm", sa.String, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("levels", sa.JSON, nullable=False),
        sa.Column("changes", sa.JSON, nullable=False),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("chain", sa.JSON, nullable=False),
        sa.Column("final", sa.String, sa.ForeignKey("jobs.id"), nullable=False, index=True),
    )


trials = sa.Table("trials", metadata, *_trial_columns(), sa.UniqueConstraint("study", "arm", "seed"))
stale_trials = sa.Table("stale_trials", metadata, *_trial_columns(), sa.Column("since", sa.Float, nullable=False))
declarations = sa.Table(
    "declarations",
    metadata,
    sa.Column("study", sa.String, sa.ForeignKey("studies.name"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
)
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("stage", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("cause", sa.String),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("num_params", sa.BigInteger, nullable=False),
    sa.Column("train_flops", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("seconds", sa.Float),
)
identities = sa.Table(
    "identities",
    metadata,
    sa.Column("job", sa.String, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("identity", sa.JSON, nullable=False),
)
attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("job", sa.String, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("cause", sa.String),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float),
    sa.Column("host", sa.String, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("details", sa.JSON(none_as_null=True)),
)
metrics = sa.Table(
    "metrics",
    metadata,
    sa.Column("job", sa.String, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Float(53)),
    sa.Column("kind", sa.String, nullable=False),
)
points = sa.Table(
    "points",
    metadata,
    sa.Column("job", sa.String, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True),
    sa.Column("value", sa.Float(53)),
    sa.Column("kind", sa.String, nullable=False),
    sqlite_with_rowid=False,  # the primary key is the table: half the size, and curves lie together
)
events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("study", sa.String, nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("message", sa.String, nullable=False),
)
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("study", sa.String, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("beats", sa.BigInteger, nullable=False),
    sa.Column("owner", sa.String),  # NULL: nobody holds it
    sa.Column("host", sa.String, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process", sa.String),  # a sign of `ablate.living`; NULL: its system tells none
    sa.Column("taken", sa.Float(53), nullable=False),
    sa.Column("beaten", sa.Float(53), nullable=False),
)
