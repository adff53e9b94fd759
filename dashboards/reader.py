"""The store as the pages see it: read-only, opened when needed, opened again after it was away or replaced.

What is dear to compute (a study's conclusion) is computed once a version and shared by all viewers.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ablate.conclude import conclude
from ablate.errors import EnvironmentMissing, InputError
from ablate.results import find_study
from ablate.stores import Store, StudyRecord, TrialRecord, open_store

Version = list[Any]
"""Changes whenever what a page shows changes; a JSON value, so that the browser can hold it."""

KEPT = 16
"""Studies whose conclusion is kept."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Snapshot:
    """A study as one version of the store has it."""

    record: StudyRecord
    trials: tuple[TrialRecord, ...]
    version: Version


class Reader:
    """Any number of threads may read at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._identity: tuple[int, int] | None = None
        self._conclusions: dict[str, tuple[Version, Any]] = {}
        self._concluding = threading.Lock()

    def read(self, question: Callable[[Store], Answer]) -> Answer:
        """Asks the store; EnvironmentMissing while it is not reachable, and the next question opens it anew."""
        try:
            return question(self._opened())
        except EnvironmentMissing:
            with self._lock:
                self._store = None
            raise

    def snapshot(self, name: object) -> Snapshot:
        """InputError where no study has this name, or where it is no name at all."""
        if not isinstance(name, str):
            raise InputError("a study's name is text")
        record = self.read(lambda store: find_study(store, name))
        trials = tuple(self.read(lambda store: store.trials(name)))
        return Snapshot(record, trials, self._version(record, trials))

    def studies_version(self) -> Version:
        records = self.read(lambda store: store.studies())
        return [[record.name, record.updated, record.active] for record in records]

    def conclusion(self, name: str) -> Any:
        """What `ablate.conclude` says of the study as it is now."""
        version = self.snapshot(name).version
        with self._concluding:
            known = self._conclusions.pop(name, None)
            if known is None or known[0] != version:
                known = version, self.read(lambda store: conclude(store, name))
            self._conclusions[name] = known
            while len(self._conclusions) > KEPT:
                self._conclusions.pop(next(iter(self._conclusions)))
            return known[1]

    def _version(self, record: StudyRecord, trials: tuple[TrialRecord, ...]) -> Version:
        """Points come without an event, so the curves of running trials count too."""
        running = [trial.chain[-1] for trial in trials if trial.state == "running"]
        points = len(self.read(lambda store: store.curve(running))) if running else 0
        return [record.name, record.updated, record.active, len(trials), points]

    def _opened(self) -> Store:
        with self._lock:
            identity = _file_identity(self._url)
            if self._store is None or identity != self._identity:
                self._store, self._identity = open_store(self._url), identity
            return self._store


def _file_identity(url: str) -> tuple[int, int] | None:
    """Device and inode of a SQLite file: an open connection goes on reading a file that was moved away or replaced."""
    scheme, _, rest = url.partition(":///")
    if not scheme.startswith("sqlite"):
        return None
    try:
        status = os.stat(rest.partition("?")[0])
    except OSError:
        return None
    return status.st_dev, status.st_ino
