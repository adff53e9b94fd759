"""What Tune does with its trials becomes events: the driver that Tune's callbacks find, and what a search remembers of its trials.

It outlives a Tune run: trials that one lost, and values that it learnt, are for the next one.
"""

import queue
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.attempt import Outcome, await_last_words, lost, read_outcome, write_outcome
from ablate.continued import FROM, Donor
from ablate.journal import read_points
from ablate.planned import Plan, Trial
from ablate.planner import wanted_trials
from ablate.schedule import TRIED_AGAIN, Event, Finished, Proposed, Started
from ablate.schedule.early_stopping import NAMES, Seen, why_ended
from ablate.schedule.tune_actor import trial_plan
from ablate.search import past_points, told
from ablate.stores import TrialRecord
from ablate.study import Study
from ablate.workspace import Workspace

STALL_SECONDS = 5.0
"""PBT's trials wait for each other, and go on waiting for one that has failed: after so long its Tune run is ended."""


@dataclass
class _Flight:
    """A trial that Tune has."""

    plan: Plan
    attempt: int
    since: float = field(default_factory=time.time)
    waits: bool = False
    """Tune has paused it."""

    @property
    def trial(self) -> Trial:
        return self.plan.trials[0]

    @property
    def job(self) -> str:
        return self.trial.chain[-1]


class TuneTrials:
    """See `ablate.schedule.tune_hooks.Driver`: the thread that Tune runs in calls it, another one takes the events."""

    def __init__(self, workspace: Workspace, *, study: Study, past: Sequence[TrialRecord]) -> None:
        assert study.search
        self._workspace, self._study, self._rule = workspace, study, study.search.stop_early
        self.told = past_points(study, past)
        """What the sampler is to know: trials that ran to their end."""
        self.missing = wanted_trials(study) - sum(FROM not in trial.changes for trial in past)
        self.lost: list[tuple[Plan, int]] = []
        """Trials that died with their worker, or with Tune, and their last attempt."""
        self.events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        """None: the Tune run has ended."""
        self.stop = threading.Event()
        self._known = {trial.chain[-1] for trial in past}
        self._recorded: set[str] = set()
        self._flights: dict[str, _Flight] = {}
        self._seen: dict[str, list[Seen]] = {}
        """Job -> what it reported in this Tune run."""
        self._stalled_since: float | None = None

    def is_known(self, config: Mapping[str, Any]) -> bool:
        """Whether the study has this trial already."""
        return trial_plan(self._study, config, donor=None).trials[0].chain[-1] in self._known

    def started(self, name: str, config: Mapping[str, Any], donor: Donor | None) -> None:
        """A suggestion becomes a trial, unless it is one the study has; one that Tune had paused goes on, or gives way to a copy."""
        plan, flight = trial_plan(self._study, config, donor=donor), self._flights.get(name)
        job = plan.trials[0].chain[-1]
        if flight and flight.job != job:
            self._exploited(name, plan.trials[0], donor)
        elif job in self._known and not flight:
            return
        newest = self._workspace.newest_attempt(job)  # the trial has not begun: Tune says so first
        seen = read_outcome(self._workspace.attempt(job, newest))
        self._flights[name] = _Flight(plan, newest if seen and seen.state == "done" else newest + 1)
        if job not in self._known:
            self._known.add(job)
            self.missing -= donor is None
            self.events.put(Proposed(plan.trials[0], plan.jobs))
        self.events.put(Started(job, self._flights[name].attempt))

    def reported(self, name: str, result: Mapping[str, Any]) -> None:
        metric, flight = self._study.metric.name, self._flights.get(name)
        if flight and metric in result and "step" in result:
            self._seen.setdefault(flight.job, []).append(Seen(result["step"], result[metric]))

    def looked(self, trials: Sequence[Any]) -> None:
        """After each of Tune's steps: notes what has been paused, and sees whether it waits for nobody."""
        waiting = [trial for trial in trials if trial.status == trial.PAUSED]
        for trial in waiting:
            flight = self._flights.get(trial.trial_id)
            if flight and not flight.waits:
                flight.waits = True
                reason = f"paused by {NAMES[self._rule]} at step {self._last_step(flight)}"
                paused = lost(flight.job, attempt=flight.attempt, cause="interrupted", reason=reason)
                self.events.put(Finished(paused, final=False))
        stalled = bool(waiting) and all(trial.is_finished() or trial in waiting for trial in trials)
        self._stalled_since = (self._stalled_since or time.monotonic()) if stalled else None
        if self._stalled_since and time.monotonic() > self._stalled_since + STALL_SECONDS:
            raise RuntimeError("every trial that is left waits for one that has failed")

    def end_all(self, *, failure: str) -> None:
        """The Tune run is over."""
        for name in list(self._flights):
            self.ended(name, failure=failure)
        self._seen.clear()
        self.events.put(None)

    def ended(self, name: str, *, failure: str | None = None) -> None:
        """Records the trial as its journal tells it; without a whole journal it was ended early: by Tune, or by a dying worker."""
        flight = self._flights.pop(name, None)
        if flight is None:
            return
        upstream = [self._upstream(job) for job in flight.trial.chain[:-1]]
        if failed := [outcome for outcome in upstream if outcome and outcome.state == "failed"]:
            reason = f"not run: {failed[0].job}, which it needs, failed"
            self.events.put(Finished(lost(flight.job, attempt=flight.attempt, cause="user", reason=reason)))
            return
        outcome = self._outcome(flight, failure=failure)
        again = outcome.cause in TRIED_AGAIN and outcome.cause != "interrupted"
        if again:
            self.lost.append((flight.plan, flight.attempt))
        self.learn(flight.trial, outcome)
        self.events.put(Finished(outcome, final=not again))

    def _outcome(self, flight: _Flight, *, failure: str | None) -> Outcome:
        folder = self._workspace.attempt(flight.job, flight.attempt)
        if failure is not None and not flight.waits and not self.stop.is_set():
            await_last_words([folder])
        outcome = read_outcome(folder)
        if outcome:
            return outcome
        shutil.rmtree(self._workspace.artifacts / f"{flight.job}.tmp-{flight.attempt}", ignore_errors=True)
        if self.stop.is_set():
            return lost(flight.job, attempt=flight.attempt, cause="interrupted", reason="stopped before it was finished")
        if failure is not None:
            return lost(flight.job, attempt=flight.attempt, cause="lost", reason=failure)
        return self._pruned(flight, self._why_ended(flight))

    def _exploited(self, name: str, heir: Trial, donor: Donor | None) -> None:
        """The trial ends here; what goes on in its place, from another one's weights, is a new one."""
        flight = self._flights.pop(name)
        assert donor
        for job in flight.trial.chain[:-1]:
            self._upstream(job)
        source = f"goes on as {heir.id} from the weights of {donor.trial} at step {donor.step}"
        self.events.put(Finished(self._pruned(flight, f"{self._why_ended(flight)}; {source}")))

    def _why_ended(self, flight: _Flight) -> str:
        return why_ended(self._study, self._seen, trial=flight.job, step=self._last_step(flight))

    def _pruned(self, flight: _Flight, reason: str) -> Outcome:
        last = {point.key: point for point in read_points(self._journal(flight))[0]}
        outcome = Outcome(
            job=flight.job,
            attempt=flight.attempt,
            state="pruned",
            cause="pruned",
            reason=reason,
            metrics=tuple(point for _, point in sorted(last.items())),
            started=flight.since,
            seconds=time.time() - flight.since,
        )
        write_outcome(self._journal(flight).parent, outcome)  # its worker could not: Tune has ended it
        return outcome

    def _upstream(self, job: str) -> Outcome | None:
        """How a stage before the last one ended, which is recorded once."""
        outcome = read_outcome(self._workspace.attempt(job, self._workspace.newest_attempt(job)))
        if outcome and job not in self._recorded:
            self._recorded.add(job)
            self.events.put(Finished(outcome))
        return outcome

    def learn(self, trial: Trial | TrialRecord, outcome: Outcome) -> None:
        """For the next Tune run, should this one end early."""
        metrics = {point.key: point.value for point in outcome.metrics}
        known = told(self._study, levels=trial.levels, metrics=metrics) if outcome.state == "done" and FROM not in trial.changes else None
        if known:
            self.told.append(known)

    def _last_step(self, flight: _Flight) -> int:
        return max((point.step for point in read_points(self._journal(flight))[0]), default=0)

    def _journal(self, flight: _Flight) -> Path:
        return self._workspace.attempt(flight.job, flight.attempt) / "metrics.jsonl"
