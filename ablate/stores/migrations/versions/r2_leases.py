"""Leases of studies, and what an attempt says of itself beyond its end."""

from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    op.execute("ALTER TABLE attempts ADD COLUMN details JSON")
    op.execute(
        "CREATE TABLE leases (study VARCHAR NOT NULL, epoch BIGINT NOT NULL, beats BIGINT NOT NULL, owner VARCHAR, host VARCHAR NOT NULL, "
        "pid INTEGER NOT NULL, taken FLOAT NOT NULL, beaten FLOAT NOT NULL, PRIMARY KEY (study))"
    )
    op.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")
