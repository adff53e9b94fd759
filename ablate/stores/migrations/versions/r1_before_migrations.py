"""The tables as they were before there were migrations; a store of that time may lack the three that came last."""

from alembic import op

revision = "1"
down_revision = None

TRIAL = """
    study VARCHAR NOT NULL REFERENCES studies (name),
    id VARCHAR NOT NULL,
    place INTEGER NOT NULL,
    arm VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    levels JSON NOT NULL,
    changes JSON NOT NULL,
    config JSON NOT NULL,
    chain JSON NOT NULL,
    final VARCHAR NOT NULL REFERENCES jobs (id),
    since FLOAT NOT NULL,
    PRIMARY KEY (study, id)
"""


def upgrade() -> None:
    op.execute(
        "CREATE TABLE IF NOT EXISTS identities (job VARCHAR NOT NULL REFERENCES jobs (id), identity JSON NOT NULL, PRIMARY KEY (job))"
    )
    op.execute(f"CREATE TABLE IF NOT EXISTS stale_trials ({TRIAL})")
    op.execute("CREATE INDEX IF NOT EXISTS ix_stale_trials_final ON stale_trials (final)")
    op.execute(
        "CREATE TABLE IF NOT EXISTS declarations (study VARCHAR NOT NULL REFERENCES studies (name), seq INTEGER NOT NULL, "
        "time FLOAT NOT NULL, spec JSON NOT NULL, PRIMARY KEY (study, seq))"
    )
    # a study from before declarations were kept: what it said last is the first that is known for sure
    op.execute(
        "INSERT INTO declarations (study, seq, time, spec) "
        "SELECT name, 1, updated, spec FROM studies WHERE name NOT IN (SELECT study FROM declarations)"
    )
