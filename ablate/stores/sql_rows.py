"""What a plan says as rows of the store's tables, and rows as the records that readers get."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ablate.planned import Job, Trial, job_identity, trial_state
from ablate.stores import TrialRecord, TrialStanding
from ablate.stores.sql_insert import chunks
from ablate.stores.tables import attempts, jobs, points


def job_row(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "stage": job.spec.name,
        "state": "queued",
        "reason": "",
        "num_params": job.spec.num_params,
        "train_flops": job.spec.train_flops,
        "attempts": 0,
    }


def identity_of(job: Job) -> dict[str, Any]:
    return job_identity(job.spec, trainer=job.trainer, seed=job.seed, needs=job.needs)


def trial_row(study: str, trial: Trial, *, place: int) -> dict[str, Any]:
    return {
        "study": study,
        "id": trial.id,
        "place": place,
        "arm": trial.arm,
        "seed": trial.seed,
        "levels": dict(trial.levels),
        "changes": dict(trial.changes),
        "config": dict(trial.config),
        "chain": list(trial.chain),
        "final": trial.chain[-1],
    }


def trial_standing(study: str, row: Any, states: Mapping[str, Any]) -> TrialStanding:
    return TrialStanding(study=study, id=row.id, arm=row.arm, seed=row.seed, chain=tuple(row.chain), **_standing(row.chain, states))


def trial_record(row: sa.RowMapping, states: Mapping[str, Any], values: Mapping[str, float | None]) -> TrialRecord:
    chain = [states[job] for job in row["chain"]]
    return TrialRecord(
        study=row["study"],
        id=row["id"],
        arm=row["arm"],
        seed=row["seed"],
        chain=tuple(row["chain"]),
        levels=row["levels"],
        changes=row["changes"],
        config=row["config"],
        metrics=values,
        num_params=chain[-1].num_params,
        train_flops=sum(job.train_flops for job in chain),
        **_standing(row["chain"], states),
    )


def _standing(names: Sequence[str], states: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial's jobs say of it."""
    chain = [states[job] for job in names]
    final = chain[-1]
    broken = next((job for job in chain if job.state in ("failed", "lost", "pruned")), final)
    return {
        "state": trial_state([job.state for job in chain]),
        "cause": broken.cause,
        "reason": broken.reason,
        "seconds": final.seconds,
        "started": final.started,
        "attempts": final.attempts,
    }


def joined(rows: Iterable[tuple[int, str, int, str, float | None]]) -> list[tuple[str, int, str, float | None]]:
    """Curves from `(attempt, job, step, key, value)`, those of a job and key together, the newest attempt first, by steps.

    An earlier attempt stands only before the first step of those after it.
    """
    found: list[tuple[str, int, str, float | None]] = []
    pieces: list[list[tuple[str, int, str, float | None]]] = []
    at, piece, first = (0, "", ""), list[tuple[str, int, str, float | None]](), math.inf
    for attempt, job, step, key, value in rows:  # one pass over what may be a hundred thousand rows
        if (attempt, job, key) != at:
            first = piece[0][1] if piece else first
            if (job, key) != at[1:]:
                found += [point for done in reversed(pieces) for point in done]
                pieces, first = [], math.inf
            at, piece = (attempt, job, key), []
            pieces.append(piece)
        if step < first:
            piece.append((job, step, key, value))
    return found + [point for done in reversed(pieces) for point in done]


def newest_points(wanted: Sequence[str]) -> sa.Select[Any]:
    """(job, step, key, value) at the last step of each job's last attempt that has reported any."""
    attempt = sa.select(points.c.job, sa.func.max(points.c.attempt).label("attempt")).where(points.c.job.in_(wanted)).group_by(points.c.job)
    last = attempt.subquery()
    of_last = (points.c.job == last.c.job) & (points.c.attempt == last.c.attempt)
    step = sa.select(points.c.job, points.c.attempt, sa.func.max(points.c.step).label("step")).join(last, of_last)
    end = step.group_by(points.c.job, points.c.attempt).subquery()
    at_end = (points.c.job == end.c.job) & (points.c.attempt == end.c.attempt) & (points.c.step == end.c.step)
    return sa.select(points.c.job, points.c.step, points.c.key, points.c.value).join(end, at_end).order_by(points.c.job, points.c.key)


def seconds_used(connection: sa.Connection, wanted: Sequence[str]) -> float | None:
    """Of all attempts of these jobs; where none has a known time, of the jobs."""
    for table, job in ((attempts, attempts.c.job), (jobs, jobs.c.id)):
        queries = [sa.select(sa.func.sum(table.c.seconds)).where(job.in_(chunk)) for chunk in chunks(wanted)]
        known = [total for total in map(connection.scalar, queries) if total is not None]
        if known:
            return float(sum(known))
    return None


def storable(text: str) -> str:
    """The text as every database takes it: without NUL, which PostgreSQL refuses, and without halves of characters."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
