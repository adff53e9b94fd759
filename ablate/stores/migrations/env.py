"""Run by Alembic, with the connection whose transaction `sql_schema` has begun: a migration is whole or did not happen."""

from alembic import context

from ablate.stores.sql_schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
