"""Where studies stand in the store: how far each is, its trials one by one, whether its run died, and what `retry` queues again."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ablate.identity import stale_reasons
from ablate.stores import Store, StudyRecord, TrialStanding

RETRIED = ("failed", "lost")
"""Jobs that are tried again on request: by their own fault, or by that of a worker, a node or a disk. A pruned one was ended on purpose."""
NOT_ITS_FAULT = ("lost", "storage", "artefact")
"""Causes of the last attempt."""
LISTED = 200
"""Rows that `status` shows at most."""


def study_rows(store: Store) -> list[dict[str, Any]]:
    """One row a study: what was asked, how far it is, what it cost in seconds of all attempts, a shared job's counted once."""
    return [study_row(store, record) for record in store.studies()]


def study_row(store: Store, record: StudyRecord, *, trials: Sequence[TrialStanding] | None = None) -> dict[str, Any]:
    """`trials`: the study's, where they were read already."""
    trials = store.standings(record.name) if trials is None else trials
    states = Counter(trial.state for trial in trials)
    return {
        "study": record.name,
        "question": record.spec.get("question", ""),
        "simulated": record.simulated,
        "active": record.active,
        "trials": states.total(),
        "done": states["done"],
        "running": states["running"],
        "failed": states["failed"] + states["lost"],
        "seconds": seconds_spent(store, trials),
        "updated": datetime.fromtimestamp(record.updated, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }


def seconds_spent(store: Store, trials: Iterable[TrialStanding]) -> float | None:
    """The one number that pages, verbs and reports give as compute: of all attempts, a shared job's once; None where it is not known."""
    return store.seconds_used({job for trial in trials for job in trial.chain})


def status_rows(store: Store, study: str, *, trials: Sequence[TrialStanding]) -> list[dict[str, Any]]:
    """One row a trial in the order of the plan, then the stale ones."""
    stale = store.stale_trials(study)
    moved = stale_reasons(stale, present=store.trials(study), store=store) if stale else {}
    return [_row(trial, state=trial.state, reason=trial.reason) for trial in trials] + [
        _row(old.trial, state="stale", reason=moved[old.trial.id]) for old in stale
    ]


class Listed(NamedTuple):
    rows: list[dict[str, Any]]
    said: str
    """How many there are in all, and which of them are listed; empty where all are."""


def listed(rows: Sequence[dict[str, Any]]) -> Listed:
    """What a person can read of the rows of a large study: first what needs a look."""
    if len(rows) <= LISTED:
        return Listed(list(rows), "")
    states = ", ".join(f"{count:,} {state}" for state, count in Counter(row["state"] for row in rows).items())
    first = sorted(rows, key=lambda row: row["state"] in ("done", "queued"))[:LISTED]
    return Listed(
        first, f"{len(rows):,} trials: {states}; {LISTED} are listed, those that are neither done nor queued first, all of them by"
    )


def is_deserted(store: Store, study: str, *, trials: Sequence[TrialStanding]) -> bool:
    """Whether its run was killed and could not say so: jobs are recorded as running that no run works on, or trials wait and the run's
    lease was never given back."""
    active = {record.name for record in store.studies() if record.active}
    if study in active:
        return False
    left = {job.id for job in store.jobs(study, state="running")}
    if left - {job.id for name in active for job in store.jobs(name, state="running")}:
        return True
    return any(trial.state == "queued" for trial in trials) and store.holder(study) is not None


@dataclass(frozen=True)
class Retry:
    jobs: tuple[str, ...]
    """To be queued again."""
    left: Mapping[str, int]
    """Kind -> how many that ended badly stay as they are."""

    @property
    def left_text(self) -> str:
        """What is left and why, a line each."""
        return "".join(f"{count} {state} {'is' if count == 1 else 'are'} left: {_why_left(state)}\n" for state, count in self.left.items())


def jobs_to_retry(store: Store, study: str, *, kinds: Collection[str]) -> Retry:
    """The study's jobs that ended so (see `RETRIED`), and those that were not run because of them."""
    ended = {job.id: job.state for job in store.jobs(study) if job.state in (*RETRIED, "pruned")}
    causes = {attempt.job: attempt.cause for attempt in store.attempts(ended)}  # the last one's: they come in order
    ended |= {job: "lost" if causes.get(job) in NOT_ITS_FAULT else "failed" for job, state in ended.items() if state in RETRIED}
    for trial in store.standings(study):
        bad = [job for job in trial.chain if ended.get(job) in RETRIED]
        ended |= dict.fromkeys(bad, ended[bad[0]]) if bad else {}  # the first one is why the others were not run
    return Retry(
        jobs=tuple(job for job, kind in ended.items() if kind in kinds),
        left=Counter(kind for kind in ended.values() if kind not in kinds),
    )


def _row(trial: TrialStanding, *, state: str, reason: str) -> dict[str, Any]:
    return {"trial": trial.id, "arm": trial.arm, "seed": trial.seed, "state": state, "reason": reason}


def _why_left(state: str) -> str:
    return "ended by a search" if state == "pruned" else f"asked for by --{state}"
