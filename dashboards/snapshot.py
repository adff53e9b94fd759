"""A study as one version of the store has it, read whole or brought up to date by what events name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from ablate.errors import InputError
from ablate.stores import Store, StudyRecord, TrialRecord
from ablate.study import Study

Version = list[Any]
"""Changes whenever what a page shows changes; a JSON value, so that the browser can hold it."""

MOST_EVENTS = 1_000
"""That are looked through for what is new of a study; after more it is read whole."""


@dataclass(frozen=True)
class Snapshot:
    """A study as one version of the store has it."""

    record: StudyRecord
    study: Study
    trials: tuple[TrialRecord, ...]
    seq: int
    """Of the last event of any study that it knows of."""
    time: float
    """Of the last one that concerns it."""

    @cached_property
    def trials_of(self) -> Mapping[str, Sequence[str]]:
        """Job -> the trials whose chain it is in."""
        found: dict[str, list[str]] = {}
        for trial in self.trials:
            for job in trial.chain:
                found.setdefault(job, []).append(trial.id)
        return found

    @property
    def version(self) -> Version:
        """Every change of a trial's last job touches `updated`, whichever study's run makes it; points do not (see `num_points`)."""
        return version_of(self.record)


def version_of(record: StudyRecord) -> Version:
    return [record.name, record.updated, record.active]


def followed(store: Store, record: StudyRecord, *, before: Snapshot) -> Snapshot | None:
    """Only the trials that events name are read, in whichever study's run: jobs are shared. None where that does not tell all."""
    if before.record == record:
        return before
    if before.record.spec == record.spec and before.record.axes == record.axes:
        news = store.events(after=before.seq, limit=MOST_EVENTS)
        changed = sorted({name for event in news for name in before.trials_of.get(event.subject, ())})
        concerning = [event for event in news if event.study == record.name or event.subject in before.trials_of]
        told = max((event.time for event in concerning), default=before.time)
        if len(news) < MOST_EVENTS and told >= record.updated and all(event.subject in before.trials_of for event in concerning):
            fresh = {trial.id: trial for trial in store.trials(record.name, ids=changed)}
            trials = tuple(fresh.get(trial.id, trial) for trial in before.trials)
            return Snapshot(record, before.study, trials, news[-1].seq if news else before.seq, told)
    return None


def whole(store: Store, record: StudyRecord) -> Snapshot:
    newest = store.events(limit=1)  # before the trials are read: what comes in between is read twice, not missed
    seq, told = (newest[0].seq, newest[0].time) if newest else (0, 0.0)
    return Snapshot(record, _study(record), tuple(store.trials(record.name)), seq, told)


def _study(record: StudyRecord) -> Study:
    try:
        return Study.model_validate(record.spec)
    except ValidationError as error:
        raise InputError(f"the study '{record.name}' was recorded by another version of ablate; run it again with this one") from error
