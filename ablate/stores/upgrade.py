"""`ablate store upgrade`: an existing store gets today's schema. What `run` does by itself when it opens one for writing."""

from dataclasses import dataclass

from ablate.stores import open_store
from ablate.stores.sql_engine import Database
from ablate.stores.sql_schema import found_revision


@dataclass(frozen=True)
class Upgraded:
    before: str
    after: str


def upgrade(url: str) -> Upgraded:
    """Raises EnvironmentMissing where there is no store, or a newer one than this program knows."""
    open_store(url).close()  # a reader makes no database where there is none
    before = _revision(url)
    open_store(url, write=True).close()
    return Upgraded(before=before, after=_revision(url))


def _revision(url: str) -> str:
    database = Database(url, write=False)
    try:
        return str(database.read(found_revision))
    finally:
        database.close()
