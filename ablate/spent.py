"""What a study has cost so far: the store's jobs and attempts become time, FLOPs, retries and money. Nothing is estimated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ablate.cost import devices_of
from ablate.standing import seconds_spent
from ablate.stores import AttemptRecord, JobRecord, Store, TrialStanding
from ablate.study import Study


@dataclass(frozen=True)
class Spent:
    """What was used, as far as the store knows. A number that it does not know is None."""

    jobs: int
    jobs_done: int
    jobs_before: int
    """Jobs whose work was done before the study was in the store, for another study; they are in all numbers but `wall_seconds`."""
    attempts: int
    attempts_without_end: int
    """Attempts of which the store has no end and so no time, such as those of a killed driver."""
    retries: int
    seconds: float | None
    """Of all attempts whose time is known, whatever became of them."""
    seconds_lost: float
    """Of those among them that did not end well."""
    train_flops: float | None
    """Of the jobs that are done, each once; None where the trainer does not say its FLOPs."""
    wall_seconds: float | None
    """From the first attempt's start to the last one's end, pauses between runs included."""
    device_hours: float | None
    """Hours of one GPU; None for a study that asks for none."""
    money: float | None
    """At the price that the study declares, in `currency`."""
    currency: str = ""


@dataclass(frozen=True)
class Bill:
    """What the time of all attempts comes to."""

    seconds: float | None
    device_hours: float | None
    """Hours of one GPU; None for a study that asks for none."""
    money: float | None
    """At the price that the study declares, in `currency`."""
    currency: str


def bill(study: Study, *, seconds: float | None) -> Bill:
    hours = None if seconds is None else seconds / 3600 * devices_of(study.resources)
    price = study.hardware.price_per_hour if study.hardware else None
    return Bill(
        seconds=seconds,
        device_hours=hours if study.resources.gpus else None,
        money=None if price is None or hours is None else price * hours,
        currency=study.hardware.currency if study.hardware else "",
    )


def study_spent(store: Store, study: Study, *, trials: Sequence[TrialStanding], since: float) -> Spent:
    """`trials`: the study's; `since`: Unix time at which it came into the store."""
    jobs = store.jobs(study.name)
    attempts = store.attempts([job.id for job in jobs])
    return spent(study, jobs=jobs, attempts=attempts, seconds=seconds_spent(store, trials), since=since)


def spent(study: Study, *, jobs: Sequence[JobRecord], attempts: Sequence[AttemptRecord], seconds: float | None, since: float) -> Spent:
    """`attempts`: those of the jobs whose end is recorded; `seconds`: as `seconds_spent` has them; `since`: Unix time at which the study
    came into the store."""
    done, billed = [job for job in jobs if job.state == "done"], bill(study, seconds=seconds)
    before = {attempt.job for attempt in attempts if attempt.state == "done" and 0 < attempt.started < since}
    begun = sum(job.attempts for job in jobs)
    return Spent(
        jobs=len(jobs),
        jobs_done=len(done),
        jobs_before=len(before),
        attempts=begun,
        attempts_without_end=max(0, begun - sum(attempt.seconds is not None for attempt in attempts)),
        retries=sum(max(0, job.attempts - 1) for job in jobs),
        seconds=seconds,
        seconds_lost=sum(attempt.seconds or 0.0 for attempt in attempts if attempt.state != "done"),
        train_flops=sum(job.train_flops for job in done) if done and all(job.train_flops for job in done) else None,
        wall_seconds=_wall(attempt for attempt in attempts if attempt.started >= since),
        device_hours=billed.device_hours,
        money=billed.money,
        currency=billed.currency,
    )


def _wall(attempts: Iterable[AttemptRecord]) -> float | None:
    spans = [
        (attempt.started, attempt.started + attempt.seconds) for attempt in attempts if attempt.started and attempt.seconds is not None
    ]
    return max(end for _, end in spans) - min(start for start, _ in spans) if spans else None
