"""The server of the PostgreSQL tests."""

from tests.postgresql import postgresql

__all__ = ["postgresql"]
