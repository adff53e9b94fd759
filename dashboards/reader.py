"""The store as the pages see it: read-only, opened when needed, opened again after it was away or replaced.

What a study's trials come down to (frame, conclusion, law) is computed once a version and shared by all viewers.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from ablate.analysis.factors import FactorEffects
from ablate.analysis.importance import Importance
from ablate.analysis.lr_law import LawReport
from ablate.analysis.verdicts import Verdict
from ablate.conclude import conclude, judge_claims, study_factors, study_importance
from ablate.curve_points import StageCost
from ablate.deviations import Registration, registration
from ablate.errors import EnvironmentMissing, InputError
from ablate.guards import Guards
from ablate.identity import stale_reasons
from ablate.log_tail import LogTail, log_size, read_log_tail
from ablate.next_study import Next, OpenClaim, open_claims, study_next
from ablate.results import at_baselines, results_frame
from ablate.scaling import MIX_RESAMPLES, MixtureReport, mixture_report, study_mixes
from ablate.spent import Spent, study_spent
from ablate.standing import seconds_spent, study_row
from ablate.stores import EventRecord, Store, StudyRecord, TrialRecord, TrialStanding, find_study, open_store
from ablate.study_law import Asked, fit_study_law
from ablate.study_runs import study_runs
from ablate.trial_view import find_trial
from ablate.workspace import Workspace
from dashboards.known_curves import Curves
from dashboards.snapshot import Snapshot, Version, followed, version_of, whole

KEPT = 64
"""Answers that are kept."""
NEXT_RUNS = 4
"""That are proposed, as many as `ablate next` proposes unless told."""
KEPT_STUDIES = 8
"""Studies whose trials are kept; the largest takes a tenth of a gigabyte."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class StudyRow:
    """What the list of studies says of one."""

    name: str
    version: Version
    standing: Mapping[str, Any]
    """As `ablate status` shows it."""
    event: EventRecord | None
    """The last one."""
    states: Mapping[str, int]
    """Of its trials."""
    verdicts: tuple[str, ...] | None
    """None until they are computed."""


class Mixture(NamedTuple):
    """The law of the mix, and the runs that it was fitted to."""

    report: MixtureReport
    runs: pd.DataFrame


class Reader:
    """Any number of threads may read at once. `workspace`: where the attempts' logs are, if they are on this machine."""

    def __init__(self, url: str, *, workspace: Workspace | None = None) -> None:
        self._url = url
        self.workspace = workspace
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._identity: tuple[int, int] | None = None
        self._computing = threading.RLock()
        self._kept: dict[tuple[str, str], tuple[Version, Any]] = {}
        self._listing = threading.RLock()
        self._judging = threading.Thread()
        self._rows: dict[str, StudyRow] = {}
        self._long: dict[tuple[str, str], threading.Lock] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._curves = Curves()
        self._growing = threading.Lock()
        self._forests: dict[str, tuple[Version, Importance]] = {}

    def read(self, question: Callable[[Store], Answer]) -> Answer:
        """Asks the store; EnvironmentMissing while it is not reachable, and the next question opens it anew."""
        try:
            return question(self._opened())
        except EnvironmentMissing:
            with self._lock:
                self._store = None
            raise

    def snapshot(self, name: object) -> Snapshot:
        """InputError where no study has this name, or where it is no name at all. Of a study that was read before, only what events
        name is read again."""
        if not isinstance(name, str):
            raise InputError("a study's name is text")
        record = self.read(lambda store: find_study(store, name))
        with self._computing:
            before = self._snapshots.pop(name, None)
            found = self.read(lambda store: followed(store, record, before=before)) if before else None
            if found is None:
                found = self.read(lambda store: whole(store, record))
                self._curves.forget(found.trials_of.keys())
            self._snapshots[name] = found
            while len(self._snapshots) > KEPT_STUDIES:
                self._snapshots.pop(next(iter(self._snapshots)))
            return found

    def registration(self, snapshot: Snapshot) -> Registration:
        return self._once("registration", snapshot.version, lambda store: registration(store, snapshot.record.name, trials=snapshot.trials))

    def stale(self, snapshot: Snapshot) -> dict[str, str]:
        """Stale trial -> why it is in the plan no more."""

        def reasons(store: Store) -> dict[str, str]:
            return stale_reasons(store.stale_trials(snapshot.record.name), present=snapshot.trials, store=store)

        return self._once("stale", snapshot.version, reasons)

    def results(self, snapshot: Snapshot) -> pd.DataFrame:
        return self._once("results", snapshot.version, lambda store: results_frame(store, snapshot.record.name, trials=snapshot.trials))

    def verdicts(self, snapshot: Snapshot) -> tuple[Verdict, ...]:
        """Raises InputError where the study's own claims do not fit what was measured."""

        def judged(_store: Store) -> tuple[Verdict, ...]:
            paired = at_baselines(self.results(snapshot), axes=snapshot.record.axes)
            return judge_claims(snapshot.study, paired, axes=snapshot.record.axes, trials=snapshot.trials)

        return self._once_apart("verdicts", snapshot.version, judged)

    def verdicts_of(self, record: StudyRecord) -> tuple[Verdict, ...]:
        """As `verdicts`; where they are known at this version no trial is read."""

        def judged(_store: Store) -> tuple[Verdict, ...]:
            return self.verdicts(self.snapshot(record.name))

        return self._once_apart("verdicts of a record", [record.name, record.updated, record.active], judged)

    def guards(self, snapshot: Snapshot) -> Guards:
        """What to read the study's effects with. Raises InputError where its own claims do not fit what was measured."""
        name = snapshot.record.name
        return self._once_apart("guards", snapshot.version, lambda store: conclude(store, name, trials=snapshot.trials).guards)

    def open_claims(self, snapshot: Snapshot) -> tuple[OpenClaim, ...]:
        """What each inconclusive claim would take, as `ablate next` says it. Raises InputError as `verdicts` does."""

        def asked(_store: Store) -> tuple[OpenClaim, ...]:
            verdicts, axes, flops = self.verdicts(snapshot), dict(snapshot.record.axes), self.job_flops(snapshot)
            return open_claims(snapshot.study, verdicts, trials=snapshot.trials, axes=axes, flops=flops)

        return self._once_apart("open claims", snapshot.version, asked)

    def factors(self, snapshot: Snapshot) -> FactorEffects | None:
        """None where no two axes vary together, or too little has finished."""

        def found(_store: Store) -> FactorEffects | None:
            return study_factors(self.results(snapshot), axes=snapshot.record.axes, metric=snapshot.study.metric.name)

        return self._once("factors", snapshot.version, found)

    def importance(self, snapshot: Snapshot) -> Importance:
        """Takes seconds, in which only others who ask for one wait. Raises InputError where there is too little to go on."""
        results, name = self.results(snapshot), snapshot.record.name
        with self._growing:
            known = self._forests.pop(name, None)
            if known is None or known[0] != snapshot.version:
                known = snapshot.version, study_importance(results, axes=snapshot.record.axes, metric=snapshot.study.metric.name)
            self._forests[name] = known
            while len(self._forests) > KEPT_STUDIES:
                self._forests.pop(next(iter(self._forests)))
            return known[1]

    def law(self, snapshot: Snapshot) -> LawReport:
        """Raises InputError where there is nothing to fit yet."""
        return self._once("law", snapshot.version, lambda store: fit_study_law(store, snapshot.record.name))

    def next_runs(self, snapshot: Snapshot) -> Next:
        """Raises InputError where no run would settle anything."""
        name = snapshot.record.name
        return self._once_apart("next", snapshot.version, lambda store: study_next(store, name, Asked(), count=NEXT_RUNS, per="flop"))

    def mixture(self, snapshot: Snapshot, *, sources: Sequence[str], metric: str, goal: str, form: str) -> Mixture:
        """With intervals, which takes seconds. Raises InputError where there are too few mixes, or what else a fit lacks."""

        def fitted(store: Store) -> Mixture:
            rows, named = study_mixes(study_runs(store, snapshot.record.name), metric=metric, sources=sources, n_params="", tokens="")
            how: dict[str, Any] = {"sources": named, "metric": metric, "form": form, "goal": goal, "resamples": MIX_RESAMPLES}
            return Mixture(mixture_report(rows, limits={}, at={}, **how), rows.frame)

        return self._once_apart(f"mixture {sources} {metric} {goal} {form}", snapshot.version, fitted)

    def spent(self, snapshot: Snapshot) -> Spent:
        """What the study has cost so far."""

        def asked(store: Store) -> Spent:
            return study_spent(store, snapshot.study, trials=snapshot.trials, since=snapshot.record.created)

        return self._once("spent", snapshot.version, asked)

    def seconds_spent(self, snapshot: Snapshot) -> float | None:
        """The same number of compute alone, which of a large study takes a twentieth of the time."""
        return self._once("seconds", snapshot.version, lambda store: seconds_spent(store, snapshot.trials))

    def study_names(self) -> list[str]:
        return [record.name for record in self.read(lambda store: store.studies())]

    def studies_version(self) -> Version:
        """Also changes as verdicts are filled in."""
        records = self.read(lambda store: store.studies())
        with self._listing:
            judged = sum(row.verdicts is not None for row in self._rows.values())
        return [judged, *(version_of(record) for record in records)]

    def studies(self) -> list[StudyRow]:
        """All studies, the last changed first; of each only what has changed since is asked again."""
        records = sorted(self.read(lambda store: store.studies()), key=lambda record: record.updated, reverse=True)
        with self._listing:
            before, self._rows = self._rows, {}
            for record in records:
                known = before.get(record.name)
                if known is None or known.version != version_of(record):
                    known = self._row(record)
                self._rows[record.name] = known
            return list(self._rows.values())

    def _row(self, record: StudyRecord) -> StudyRow:
        known = self.snapshot(record.name).trials if record.name in self._snapshots else None  # of which only what is new is read
        trials: Sequence[TrialStanding] = self.read(lambda store: store.standings(record.name)) if known is None else known
        standing, last = self.read(lambda store: (study_row(store, record, trials=trials), store.events(record.name, limit=1)))
        judged, states = None if record.spec.get("claims") else (), Counter(trial.state for trial in trials)
        return StudyRow(record.name, version_of(record), standing, last[0] if last else None, states, judged)

    def judge(self) -> threading.Thread:
        """Fills in the verdicts of studies that have changed, beside whatever else is answered; one thread for all who ask."""
        with self._listing:
            if not self._judging.is_alive():
                self._judging = threading.Thread(target=self._judge, name="verdicts", daemon=True)
                self._judging.start()
            return self._judging

    def _judge(self) -> None:
        with self._listing:
            waiting = [row for row in self._rows.values() if row.verdicts is None]
        for row in waiting:
            try:
                verdicts = tuple(verdict.verdict for verdict in self.verdicts(self.snapshot(row.name)))
            except InputError:
                verdicts = ()  # the study's own page says why
            except EnvironmentMissing:
                return  # the store is away; the next who asks begins again
            with self._listing:
                if (known := self._rows.get(row.name)) is not None and known.version == row.version:
                    self._rows[row.name] = replace(known, verdicts=verdicts)

    def curves(self, snapshot: Snapshot, metric: str, *, trials: Sequence[TrialRecord]) -> pd.DataFrame:
        """Of these trials' last stages: `trial, arm, seed, metric, step, value`."""
        return self._curves.frame(trials, metric, ask=self.read)

    def stage_costs(self, snapshot: Snapshot) -> dict[str, StageCost]:
        """Trial -> what its own last stage took; only of trials that are done, whose last step is known."""
        flops = self.job_flops(snapshot)
        found = {trial.id: trial for trial in snapshot.trials if trial.state == "done"}
        return {name: StageCost(trial.arm, flops[trial.chain[-1]], trial.seconds, trial.attempts) for name, trial in found.items()}

    def job_flops(self, snapshot: Snapshot) -> dict[str, float]:
        def asked(store: Store) -> dict[str, float]:
            return {job.id: job.train_flops for job in store.jobs(snapshot.record.name)}

        return self._once("job flops", snapshot.version, asked)

    def num_points(self, name: str) -> int:
        """Of the running trials' curves, which grow without an event."""
        running = [trial.chain[-1] for trial in self.snapshot(name).trials if trial.state == "running"]
        return sum(self.read(lambda store: store.num_points(running)).values()) if running else 0

    def trial(self, snapshot: Snapshot, name: str) -> TrialRecord:
        """Of the present plan, or stale. Raises InputError."""
        try:
            return find_trial(name, trials=snapshot.trials)
        except InputError:
            stale = self.read(lambda store: store.stale_trials(snapshot.record.name))
            return find_trial(name, trials=snapshot.trials, stale=[one.trial for one in stale])

    def log(self, job: str, number: int) -> LogTail | None:
        """None where the attempt left none on this machine. Raises InputError for one that may not be shown."""
        return read_log_tail(self.workspace, job, number) if self.workspace else None

    def num_written(self, name: str, trial: str) -> int:
        """Points and bytes of log of the trial's jobs that run now, which grow without an event."""
        chain = self.trial(self.snapshot(name), trial).chain
        running = {job: number for job, (state, number) in self.read(lambda store: store.job_states(chain)).items() if state == "running"}
        if not running:
            return 0
        logged = sum(log_size(self.workspace, job, number) for job, number in running.items()) if self.workspace else 0
        return sum(self.read(lambda store: store.num_points(running)).values()) + logged

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

    def _once_apart(self, what: str, version: Version, question: Callable[[Store], Answer]) -> Answer:
        """As `_once`, of what may take seconds: only who asks the same waits for it."""
        key = (what, str(version[0]))
        with self._computing:
            own = self._long.setdefault(key, threading.Lock())
        with own:
            with self._computing:
                known = self._kept.get(key)
            found: Answer = known[1] if known is not None and known[0] == version else self.read(question)
            return self._once(what, version, lambda _store: found)

    def _opened(self) -> Store:
        with self._lock:
            identity = _file_identity(self._url)
            if self._store is None or identity != self._identity:
                if identity != self._identity:  # another file: nothing that is known is of it
                    self._kept, self._rows, self._snapshots, self._forests, self._curves = {}, {}, {}, {}, Curves()
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
