"""What leads from every schema a released program wrote to the one this program writes; Alembic runs it, `sql_schema` decides when.

Each file in `versions/` is SQL as it was when it was written, and never changes: what `tables.py` says today is no part of it.
"""
