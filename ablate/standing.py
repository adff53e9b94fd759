"""Where a study stands in the store: its trials as `status` shows them, whether its run died, and what `retry` puts back in the queue."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.identity import stale_reasons
from ablate.results import json_rows, results_frame
from ablate.stores import Store

RETRIED = ("failed", "lost")
"""States of jobs that are tried again on request; a pruned one was ended on purpose."""


def status_rows(store: Store, study: str) -> list[dict[str, Any]]:
    """One row a trial in the order of the plan, then the stale ones."""
    trials, stale = store.trials(study), store.stale_trials(study)
    reasons = {trial.id: trial.reason for trial in trials}
    frame = results_frame(store, study)[["trial", "arm", "seed", "state"]]
    moved = stale_reasons(stale, present=trials, store=store)
    return [row | {"reason": reasons[row["trial"]]} for row in json_rows(frame)] + [
        {"trial": old.id, "arm": old.arm, "seed": old.seed, "state": "stale", "reason": moved[old.id]}
        for old in (one.trial for one in stale)
    ]


def is_deserted(store: Store, study: str) -> bool:
    """Whether jobs of it are recorded as running and no run works on them: theirs was killed and could not say so."""
    worked_on = {job.id for record in store.studies() if record.active for job in store.jobs(record.name)}
    return any(job.state == "running" and job.id not in worked_on for job in store.jobs(study))


@dataclass(frozen=True)
class Retry:
    jobs: tuple[str, ...]
    """To be queued again."""
    left: Mapping[str, int]
    """State -> how many that ended badly stay as they are."""

    @property
    def left_text(self) -> str:
        """What is left and why, a line each."""
        return "".join(f"{count} {state} {'is' if count == 1 else 'are'} left: {_why_left(state)}\n" for state, count in self.left.items())


def jobs_to_retry(store: Store, study: str, *, states: Collection[str]) -> Retry:
    """The study's jobs that ended in one of these states, and those that were not run because of them."""
    ended = {job.id: job.state for job in store.jobs(study) if job.state in (*RETRIED, "pruned")}
    for trial in store.trials(study):
        bad = [job for job in trial.chain if ended.get(job) in RETRIED]
        ended |= dict.fromkeys(bad, ended[bad[0]]) if bad else {}  # the first one is why the others were not run
    return Retry(
        jobs=tuple(job for job, state in ended.items() if state in states),
        left=Counter(state for state in ended.values() if state not in states),
    )


def _why_left(state: str) -> str:
    return "ended by a search" if state == "pruned" else f"asked for by --{state}"
