"""Whether a run works on a study is said by its lease, not by a mark that a killed run leaves behind."""

from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    op.execute("ALTER TABLE studies DROP COLUMN active")
    op.execute("UPDATE meta SET value = '3' WHERE key = 'schema'")
