"""The databases every store contract runs over."""

from tests.postgresql import postgresql

__all__ = ["postgresql"]
