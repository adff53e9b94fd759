"""The store as the pages see it: read-only, opened when needed, opened again after it was away or replaced.

What a study's trials come down to (frame, conclusion, law) is computed once a version and shared by all viewers.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd
from pydantic import ValidationError

from ablate.analysis.lr_law import LawReport
from ablate.conclude import Conclusion, conclude
from ablate.deviations import Registration, registration
from ablate.errors import EnvironmentMissing, InputError
from ablate.identity import stale_reasons
from ablate.results import results_frame
from ablate.stores import Store, StudyRecord, TrialRecord, find_study, open_store
from ablate.study import Study
from ablate.study_law import fit_study_law

Version = list[Any]
"""Changes whenever what a page shows changes; a JSON value, so that the browser can hold it."""

KEPT = 64
"""Answers that are kept."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Snapshot:
    """A study as one version of the store has it."""

    record: StudyRecord
    study: Study
    trials: tuple[TrialRecord, ...]

    @property
    def version(self) -> Version:
        """Every change of a trial touches the study's `updated`; points do not (see `Reader.live_version`)."""
        return [self.record.name, self.record.updated, self.record.active]


class Reader:
    """Any number of threads may read at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._identity: tuple[int, int] | None = None
        self._computing = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[Version, Any]] = {}

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
        version = [record.name, record.updated, record.active]
        return self._once("trials", version, lambda store: Snapshot(record, _study(record), tuple(store.trials(record.name))))

    def registration(self, snapshot: Snapshot) -> Registration:
        return self._once("registration", snapshot.version, lambda store: registration(store, snapshot.record.name, trials=snapshot.trials))

    def stale(self, snapshot: Snapshot) -> dict[str, str]:
        """Stale trial -> why it is in the plan no more."""

        def reasons(store: Store) -> dict[str, str]:
            return stale_reasons(store.stale_trials(snapshot.record.name), present=snapshot.trials, store=store)

        return self._once("stale", snapshot.version, reasons)

    def results(self, snapshot: Snapshot) -> pd.DataFrame:
        return self._once("results", snapshot.version, lambda store: results_frame(store, snapshot.record.name))

    def conclusion(self, snapshot: Snapshot) -> Conclusion:
        """Raises InputError where the study's own claims do not fit what was measured."""
        return self._once("conclusion", snapshot.version, lambda store: conclude(store, snapshot.record.name))

    def law(self, snapshot: Snapshot) -> LawReport:
        """Raises InputError where there is nothing to fit yet."""
        return self._once("law", snapshot.version, lambda store: fit_study_law(store, snapshot.record.name))

    def studies_version(self) -> Version:
        return [[record.name, record.updated, record.active] for record in self.read(lambda store: store.studies())]

    def live_version(self, name: str) -> Version:
        """Points come without an event, so the length of the running trials' curves counts too."""
        snapshot = self.snapshot(name)
        running = [trial.chain[-1] for trial in snapshot.trials if trial.state == "running"]
        points = len(self.read(lambda store: store.curve(running))) if running else 0
        return [*snapshot.version, points]

    def _once(self, what: str, version: Version, question: Callable[[Store], Answer]) -> Answer:
        """The answer kept for this version of the study, or the store's; two viewers never compute the same."""
        key = (what, str(version[0]))
        with self._computing:
            known = self._kept.pop(key, None)
            if known is None or known[0] != version:
                known = version, self.read(question)
            self._kept[key] = known
            while len(self._kept) > KEPT:
                self._kept.pop(next(iter(self._kept)))
            answer: Answer = known[1]
            return answer

    def _opened(self) -> Store:
        with self._lock:
            identity = _file_identity(self._url)
            if self._store is None or identity != self._identity:
                self._store, self._identity = open_store(self._url), identity
            return self._store


def _study(record: StudyRecord) -> Study:
    try:
        return Study.model_validate(record.spec)
    except ValidationError as error:
        raise InputError(f"the study '{record.name}' was recorded by another version of ablate; run it again with this one") from error


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
